"""The three systems that ship on all of the paper's tasks, over MiniWiki: what the quickstart measures of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minirag.corpus.store import PassageStore
from minirag.evaluation.answering import some_of
from minirag.evaluation.evaluate import evaluate
from minirag.evaluation.task_report import Measured, write_task_report
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
    """Evaluate every system on `count` test examples of every task; predictions in folders of their own, which go on, and
    `report.html` and `report.md` beside them."""
    runs = []
    for name in names:
        questions = some_of(questions_of(miniwiki, name, "test"), count)
        for system, model in models.items():
            out = folder / f"{name}, {system}"
            evaluate(model, TASKS[name], questions, out, system, "MiniWiki, test", READ, progress)
            runs.append(Measured.read(out))
    trained = {name: questions_of(miniwiki, name, "train") for name in names if name in LEARNT}
    write_task_report(folder, runs, trained, "minirag quickstart")
    return runs
