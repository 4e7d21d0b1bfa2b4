"""The three systems that ship on all of the paper's tasks, over MiniWiki: what the quickstart measures of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from minirag.corpus.store import PassageStore
from minirag.evaluation.answering import some_of
from minirag.evaluation.evaluate import difference, evaluate, scored
from minirag.evaluation.run import Result
from minirag.evaluation.task_report import CLOSED_BOOK, Measured, Table, tables_of
from minirag.paths import data_dir
from minirag.rag.checkpoints import from_pretrained
from minirag.rag.model import RagModel
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.standins import no_passages
from minirag.tasks.task import TASKS
from minirag.training.multitask import LEARNT, SYSTEMS, questions_of

READ = 5  # passages for each example, as in training
COUNT = 100  # examples of each task
CHECKPOINTS = data_dir() / "checkpoints"


def systems(encoder: BiEncoder, index: ExactIndex, passages: PassageStore, folder: Path) -> dict[str, RagModel]:
    """The generators of `training/multitask.py`, the encoder's index attached; closed book without."""
    models = {}
    for system, name in SYSTEMS.items():
        model = from_pretrained(CHECKPOINTS / name)
        if system == "closed book":
            model.retriever = no_passages(folder / "no passages")
            models[system] = model
        else:
            models[system] = model.with_encoder(encoder).attach(index, passages)
    return models


def all_tasks(
    models: dict[str, RagModel],
    miniwiki: Path,
    folder: Path,
    count: int = COUNT,
    progress: bool = True,
    names: Sequence[str] = tuple(TASKS),
) -> list[Measured]:
    """Evaluate every system on `count` test examples of every task; predictions in folders of their own, which go on."""
    runs = []
    for name in names:
        questions = some_of(questions_of(miniwiki, name, "test"), count)
        for system, model in models.items():
            out = folder / f"{name}, {system}"
            evaluate(model, TASKS[name], questions, out, system, "MiniWiki, test", READ, progress)
            runs.append(Measured.read(out))
    return runs


def tables(runs: Sequence[Measured], miniwiki: Path) -> list[Table]:
    """All that is told of the runs; of answers also how many training gave away."""
    names = {run.task.name for run in runs} & set(LEARNT)
    return tables_of(runs, {name: questions_of(miniwiki, name, "train") for name in names})


def results(runs: Sequence[Measured]) -> list[Result]:
    """All scores, and by how much each system is better than the closed book."""
    found = [one for run in runs for one in scored(run.task, run.questions, run.predictions, run.system)]
    book = {run.task.name: run for run in runs if run.system == CLOSED_BOOK}
    for run in runs:
        base = book.get(run.task.name)
        if base is not None and run is not base:
            found += difference(run.task, run.questions, run.predictions, base.predictions, (run.system, base.system))
    return [replace(one, task=f"tasks/{one.task}") for one in found]
