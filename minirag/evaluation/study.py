"""The ablations as one command: RAG beside all that it is compared with, over several seeds; and how many passages to read.

    python -m minirag.evaluation.study results/endtoend.json

For each seed every variant is trained (`endtoend.py`); both schemes then answer the new questions from 1 to 50 passages, and
are trained with other numbers of passages. Two processes with a thread each do one variant after the other. Trainings and
what was measured are kept in `runs/study` and taken up after a kill, or when seeds are added.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from minirag.corpus.miniwiki import MiniWiki
from minirag.doctor import machine
from minirag.errors import told_in_one_sentence
from minirag.evaluation.endtoend import (
    ABLATIONS,
    CLOSED_BOOK,
    RAG,
    Library,
    Marks,
    Measured,
    Variant,
    compared,
    difference,
    marks,
    measured,
    question_sets,
    results_of,
    trained,
)
from minirag.evaluation.run import Result
from minirag.files import fingerprint_of, read_json, write_json
from minirag.retrieval.biencoder import BiEncoder
from minirag.training.finetune import POCKET, Recipe

READ = (1, 2, 5, 10, 20, 50)  # passages read at test
LEARNT_FROM = (1, 10)  # passages in training, beside the recipe's own number
COUNT = 200  # questions of each kind
# What the retriever's training is worth, and what a bi-encoder is (the paper's table 6): the first less the second.
LADDER = tuple(
    pair
    for own in (variant.name for variant in RAG)
    for pair in ((own, f"{own}, frozen"), (f"{own}, frozen", f"{own}, BM25"), (own, f"{own}, BM25"))
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A training and what is measured after it: all sets and the hot-swap, if it is `compared` with the others; and the new
    questions from each number of passages in `read`."""

    seed: int
    variant: Variant
    recipe: Recipe
    compared: bool
    read: tuple[int, ...] = ()


@dataclass(frozen=True)
class Done:
    """What a part came to: `others` are the results for numbers of passages, `began` the fingerprint of what all begin with,
    `seconds` how long it took, when it was done."""

    part: Part
    measured: Measured | None
    others: Sequence[Result]
    pairs: int
    began: str
    seconds: float


class Workshop:
    """Does parts, one after the other, over one library."""

    def __init__(self, wiki: MiniWiki, encoder: BiEncoder, folder: Path, runs: Path, count: int, progress: bool = True) -> None:
        """`folder` is its own, for passages; `runs`, for the trainings, may be shared."""
        self.library, self.count, self.progress = Library(wiki, encoder, folder, runs), count, progress
        self.pairs = self.library.pairs()

    def __call__(self, part: Part) -> Done:
        """Do it, unless its results are there from an earlier run."""
        made_from = fingerprint_of(self.library.fingerprint, repr(part), str(self.count))[:12]
        file = self.library.runs / f"{part.variant.name}, seed {part.seed}, measured, {made_from}.json"
        if not file.exists():
            done = self._do(part)
            write_json(file, _to_json(done))
        return _from_json(part, read_json(file))

    def _do(self, part: Part) -> Done:
        start = time.perf_counter()
        variant, recipe, library = part.variant, part.recipe, self.library
        if part.compared:
            whole, model = measured(library, variant, recipe, self.pairs, self.count, part.seed, self.progress)
        else:
            whole = None
            model, _ = trained(library, variant, recipe, self.pairs, part.seed, self.progress)
        new = question_sets(library.wiki, self.count)[1]
        others = [
            replace(result, metric=f"{result.metric}, {k} read, {recipe.k} in training")
            for k in part.read
            for result in results_of(variant.name, new.name, marks(model, new.questions, k, beams=1))
        ]
        return Done(part, whole, others, len(self.pairs), library.fingerprint, time.perf_counter() - start)


def _to_json(done: Done) -> dict[str, Any]:
    own = done.measured
    whole = own and {
        "log": list(own.log),
        "marks": {name: asdict(each) for name, each in own.marks.items()},
        "swaps": [[*years, hits] for years, hits in own.swaps.items()],
    }
    others = [asdict(each) for each in done.others]
    return {"measured": whole, "others": others, "pairs": done.pairs, "began": done.began, "seconds": done.seconds}


def _from_json(part: Part, kept: dict[str, Any]) -> Done:
    whole, own = kept["measured"], None
    if whole:
        found = {name: Marks(tuple(each["right"]), tuple(each["found"])) for name, each in whole["marks"].items()}
        swaps = {(index, holders): tuple(hits) for index, holders, hits in whole["swaps"]}
        own = Measured(part.variant.name, whole["log"], found, swaps, None)
    return Done(part, own, [Result(**each) for each in kept["others"]], kept["pairs"], kept["began"], kept["seconds"])


def parts(seeds: Sequence[int], recipe: Recipe, read: Sequence[int] = READ) -> list[Part]:
    """What there is to do, seed by seed; of each the longest first."""
    every: list[Part] = []
    for seed in seeds:
        learnt = [replace(recipe, k=k) for k in sorted(LEARNT_FROM, reverse=True)]
        every += [Part(seed, variant, recipe, True, tuple(read)) for variant in RAG]
        every += [Part(seed, variant, own, False, (recipe.k,)) for own in learnt for variant in RAG]
        every += [Part(seed, variant, recipe, True) for variant in (*ABLATIONS, CLOSED_BOOK)]
    return every


def report(those: Sequence[Done]) -> dict[str, Any]:
    """All results and the logs of what was compared, each with its seed; how many pairs there were to learn from, a name for
    the checkpoints and passages that all began with, and the seconds of all parts, one after the other."""
    rows = [row | {"seed": seed} for seed in sorted({one.part.seed for one in those}) for row in _results(those, seed)]
    logs = [
        {"system": one.measured.name, "seed": one.part.seed, "log": list(one.measured.log)} for one in those if one.measured
    ]
    seconds = round(sum(one.seconds for one in those))
    return {"began with": those[0].began, "pairs": those[0].pairs, "seconds": seconds, "results": rows, "logs": logs}


def _results(those: Sequence[Done], seed: int) -> Iterator[Row]:
    """Of one seed. Metrics name the two years of a hot-swap, and numbers of passages."""
    own = [one for one in those if one.part.seed == seed]
    every = {one.measured.name: one.measured for one in own if one.measured}
    order = [variant.name for variant in (*RAG, *ABLATIONS, CLOSED_BOOK)]
    found = compared([every[name] for name in order if name in every], own[0].part.recipe, own[0].pairs)
    swapped = (
        replace(result, metric=f"exact_match, index {index}, holders {holders}")
        for swaps in found.swaps.values()
        for (index, holders), result in swaps.items()
    )
    apart = (
        difference(one, other, name, every[one].marks[name], every[other].marks[name])
        for one, other in LADDER
        for name in every[one].marks
    )
    for result in (*found.results, *apart, *swapped, *(result for one in own for result in one.others)):
        yield asdict(result)


_workshop: Workshop | None = None  # a process's own
_folder: tempfile.TemporaryDirectory[str] | None = None  # and its passages, which go when it does


def _begin(runs: Path) -> None:
    from minirag.retrieval.pretrained import mini_biencoder

    global _workshop, _folder
    torch.set_num_threads(1)  # two processes with a thread each are faster than two threads
    _folder = tempfile.TemporaryDirectory()
    _workshop = Workshop(MiniWiki.load(), mini_biencoder(), Path(_folder.name), runs, COUNT, progress=False)


def _do(part: Part) -> Done:
    assert _workshop is not None
    return _workshop(part)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train RAG and its baselines on MiniWiki over several seeds.")
    parser.add_argument("out", type=Path, help="where the results are written, as JSON")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    parser.add_argument("--work", type=Path, default=Path("runs/study"), help="folder of the trainings (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="at once; each takes up to 10 GB (default: 2)")
    arguments = parser.parse_args()
    todo = parts(sorted(set(arguments.seeds)), POCKET)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        max(arguments.processes, 1), mp_context=spawn, initializer=_begin, initargs=(arguments.work,)
    ) as pool:
        done = list(tqdm(pool.map(_do, todo), desc="trainings", total=len(todo)))
    about = {"recipe": asdict(POCKET), "machine": machine(), "processes": arguments.processes}
    write_json(arguments.out, about | report(done))


if __name__ == "__main__":
    with told_in_one_sentence():
        main()
