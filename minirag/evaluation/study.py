"""The ablations as one command: RAG beside all that it is compared with, over several seeds; and how many passages to read.

    python -m minirag.evaluation.study results/endtoend.json

For each seed every variant is trained (`endtoend.py`); then both schemes answer the new questions from 1 to 50 passages, and
are trained with other numbers of passages. Trainings are kept in `runs/study` and taken up after a kill.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from minirag.corpus.miniwiki import MiniWiki
from minirag.doctor import machine
from minirag.evaluation.endtoend import (
    ABLATIONS,
    CLOSED_BOOK,
    RAG,
    Library,
    compare,
    marks,
    question_sets,
    results_of,
    trained,
)
from minirag.evaluation.run import Result
from minirag.files import write_json
from minirag.retrieval.biencoder import BiEncoder
from minirag.training.finetune import POCKET, Recipe

READ = (1, 2, 5, 10, 20, 50)  # passages read at test
LEARNT_FROM = (1, 10)  # passages in training, beside the recipe's own number
COUNT = 300  # questions of each kind
Row = dict[str, Any]


def study(
    wiki: MiniWiki,
    encoder: BiEncoder,
    folder: Path,
    seeds: Sequence[int],
    recipe: Recipe = POCKET,
    count: int = COUNT,
    read: Sequence[int] = READ,
    progress: bool = True,
) -> list[Row]:
    """All results, each with its seed. Metrics name the two years of a hot-swap, and numbers of passages that are others."""
    rows: list[Row] = []
    for seed in seeds:
        library = Library(wiki, encoder, folder / f"seed {seed}", seed)
        results = [*_compared(library, recipe, count, seed, progress), *_passages(library, recipe, count, seed, read, progress)]
        rows += [asdict(result) | {"seed": seed} for result in results]
    return rows


def _compared(library: Library, recipe: Recipe, count: int, seed: int, progress: bool) -> Iterator[Result]:
    found = compare(library, (*RAG, *ABLATIONS, CLOSED_BOOK), recipe, count, seed, progress)
    yield from found.results
    for swaps in found.swaps.values():
        for (index, holders), result in swaps.items():
            yield replace(result, metric=f"exact_match, index {index}, holders {holders}")


def _passages(library: Library, recipe: Recipe, count: int, seed: int, read: Sequence[int], progress: bool) -> Iterator[Result]:
    """Both schemes on the new questions: from other numbers of passages, and trained with others."""
    pairs, new = library.pairs(), question_sets(library.wiki, count)[1]
    for variant in RAG:
        model, _ = trained(library, variant, recipe, pairs, seed, progress)
        for k in read:
            for result in results_of(variant.name, new.name, marks(model, new.questions, k, beams=1)):
                yield replace(result, metric=f"{result.metric}, {k} read")
        for k in LEARNT_FROM:
            model, _ = trained(library, variant, replace(recipe, k=k), pairs, seed, progress)
            for result in results_of(variant.name, new.name, marks(model, new.questions, recipe.k, beams=1)):
                yield replace(result, metric=f"{result.metric}, {k} in training")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train RAG and its baselines on MiniWiki over several seeds.")
    parser.add_argument("out", type=Path, help="where the results are written, as JSON")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    parser.add_argument("--work", type=Path, default=Path("runs/study"), help="folder of the trainings (default: %(default)s)")
    arguments = parser.parse_args()
    from minirag.retrieval.pretrained import mini_biencoder

    start = time.perf_counter()
    rows = study(MiniWiki.load(), mini_biencoder(), arguments.work, arguments.seeds)
    about = {"recipe": asdict(POCKET), "machine": machine(), "seconds": round(time.perf_counter() - start)}
    write_json(arguments.out, about | {"results": rows})


if __name__ == "__main__":
    main()
