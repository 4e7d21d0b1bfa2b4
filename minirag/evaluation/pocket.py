"""The three systems that ship on all of the paper's tasks, over MiniWiki.

    python -m minirag.evaluation.pocket data/checkpoints results/tasks.json

The quickstart measures them on some test examples of each task; this command on all, and writes a report beside the results.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from minirag.corpus.miniwiki import MiniWiki, publish
from minirag.corpus.store import PassageStore
from minirag.doctor import machine
from minirag.errors import told_in_one_sentence
from minirag.evaluation.answering import some_of
from minirag.evaluation.evaluate import difference, evaluate, scored
from minirag.evaluation.run import Result, line_of
from minirag.evaluation.task_report import CLOSED_BOOK, Measured, Table, tables_of, write_task_report
from minirag.files import write_json
from minirag.paths import data_dir
from minirag.rag.checkpoints import from_pretrained
from minirag.rag.model import RagModel
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.pretrained import mini_biencoder
from minirag.retrieval.standins import no_passages
from minirag.tasks.task import TASKS
from minirag.training.multitask import LEARNT, SYSTEMS, questions_of

READ = 5  # passages for each example, as in training
COUNT = 100  # examples of each task
CHECKPOINTS = data_dir() / "checkpoints"


def systems(
    encoder: BiEncoder, index: Any, passages: PassageStore, folder: Path, checkpoints: Path = CHECKPOINTS
) -> dict[str, RagModel]:
    """The generators of `training/multitask.py`, the encoder's index attached; closed book without."""
    models = {}
    for system, name in SYSTEMS.items():
        model = from_pretrained(checkpoints / name)
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
    count: int | None = COUNT,
    progress: bool = True,
    names: Sequence[str] = tuple(TASKS),
) -> list[Measured]:
    """Evaluate every system on `count` test examples of every task, or on all; predictions are kept, and go on."""
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


def measure(wiki: MiniWiki, checkpoints: Path, work: Path, count: int | None = None, progress: bool = True) -> list[Measured]:
    """All systems of a folder on all tasks; what was answered is kept in `work`, and a report written there."""
    encoder = mini_biencoder()
    index = ExactIndex(encoder.dim)
    index.add(encoder.encode_passages(wiki.passages))
    publish(work / "miniwiki", wiki)
    with tempfile.TemporaryDirectory() as name:
        store = PassageStore.write(Path(name) / "passages", wiki.passages)
        models = systems(encoder, index, store, Path(name), checkpoints)
        runs = all_tasks(models, work / "miniwiki", work / "tasks", count, progress)
    trained = {name: questions_of(work / "miniwiki", name, "train") for name in LEARNT}
    write_task_report(work, runs, trained, "python -m minirag.evaluation.pocket")
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description="Every system that ships on every task, all test examples.")
    parser.add_argument("checkpoints", type=Path, help="folder of the systems' generators")
    parser.add_argument("out", type=Path, help="file for the results, as JSON")
    parser.add_argument("--work", type=Path, default=Path("runs/tasks"), help="folder of predictions (default: %(default)s)")
    arguments = parser.parse_args()
    start = time.perf_counter()
    found = results(measure(MiniWiki.load(), arguments.checkpoints, arguments.work))
    told = {"machine": machine(), "seconds": round(time.perf_counter() - start), "results": [asdict(one) for one in found]}
    write_json(arguments.out, told)
    print("\n".join(f"{one.task:18} {one.system:28} {line_of(one)}" for one in found))


if __name__ == "__main__":
    with told_in_one_sentence():
        main()
