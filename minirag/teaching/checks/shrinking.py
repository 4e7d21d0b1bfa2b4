"""A design task of notebook 05: an index in half of its memory, and then in an eighth of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.ivf import IVFIndex
from minirag.retrieval.ivfpq import IVFPQIndex
from minirag.retrieval.pq import WORDS
from minirag.teaching.checks.budgets import K, clustered, recall, whole_numbers
from minirag.teaching.checks.design import DesignTask, Measured, Setting
from minirag.teaching.checks.exercise import Mistake

DIM, READS, SAMPLE = 48, 80, 1_500  # SAMPLE: vectors from which lists and codewords are learnt
FLOATS = {"float32": 4, "float16": 2}  # bytes of a number
LEAST = {"ivf": {"n_lists": 1, "n_probe": 1}, "ivfpq": {"n_lists": 1, "n_probe": 1, "pieces": 1, "finalists": 0}}
NEEDED = 0.95  # recall@10


def _memory(rng: np.random.Generator) -> Sequence[Setting]:
    """Half and an eighth of what float32 takes, over the same vectors."""
    n = 5_600 + 200 * int(rng.integers(5))
    found = clustered(rng, n, DIM)
    settings = []
    for part, steps in ((2, ((NEEDED, 3),)), (8, ((0.8, 2), (0.9, 4), (NEEDED, 6)))):
        allowed = 4 * DIM * n // part
        told = f"{n:,} vectors of {DIM} numbers in {allowed:,} bytes; at most {READS} rows read for a question"
        settings.append(Setting((n, DIM, allowed, READS), told, steps, *found))
    return settings


def _shrunk(setting: Setting, design: Any) -> Measured:
    """Refuse what breaks a rule or cannot fit; build the rest, and weigh it."""
    _, dim, _, reads = setting.args
    numbers = dict(design) if isinstance(design, dict) else {}
    kind = numbers.pop("kind", None)
    if kind not in [*FLOATS, *LEAST] or not whole_numbers(numbers, **LEAST.get(kind, {})):
        return Measured("no kind of index with its own settings, all of them whole numbers", mistake="other settings")
    if kind in FLOATS:
        return _of_floats(setting, kind)
    if design["n_probe"] > design["n_lists"]:
        return Measured("there are fewer lists than are to be probed", mistake="more probes than lists")
    if kind == "ivf":
        return _of_lists(setting, design)
    if dim % design["pieces"]:
        return Measured(f"{dim} numbers cannot be cut into {design['pieces']} equal pieces", mistake="unequal pieces")
    if design["finalists"] > reads:
        return Measured(f"{design['finalists']} rows read for a question", mistake="too many rows read")
    return _of_codes(setting, design)


def _of_floats(setting: Setting, kind: str) -> Measured:
    """Exact search over rounded vectors."""
    size = FLOATS[kind] * setting.rows.numel()
    if size > setting.args[2]:
        return Measured(f"{size:,} bytes", mistake="floats kept")
    index = ExactIndex(DIM, in_bytes=False)
    index.add(setting.rows.half().float() if kind == "float16" else setting.rows)
    return _found(setting, index, size)


def _of_lists(setting: Setting, design: dict[str, Any]) -> Measured:
    """An inverted file that scans eight bits a number; the finalists' vectors lie on the disk."""
    n, dim, allowed, _ = setting.args
    if (least := n * dim + 4 * design["n_lists"] * dim) > allowed:
        return Measured(f"more than {least:,} bytes", mistake="a byte for each number")
    index = IVFIndex(dim, design["n_lists"], design["n_probe"], in_bytes=True)
    index.train(setting.rows[:SAMPLE])
    index.add(setting.rows)
    found = _found(setting, index, _bytes([*index.prepare().arrays().values(), *index.trained().values()]))
    return Measured(found.text, found.recall, found.mistake or "too few lists probed")


def _of_codes(setting: Setting, design: dict[str, Any]) -> Measured:
    """Product codes in lists; the finalists' vectors lie on the disk."""
    n, dim, allowed, reads = setting.args
    lists, pieces = design["n_lists"], design["pieces"]
    learnt = 4 * dim * (dim + WORDS + 2 * lists)  # rotation, codewords, centroids and the means of cells
    codes = n * (pieces + 4)
    if learnt + codes > allowed:
        mistake = "what is learnt forgotten" if codes <= allowed else "codes too long"
        mistake = "row numbers forgotten" if n * pieces + learnt <= allowed else mistake
        return Measured(f"{codes:,} bytes of codes and row numbers, {learnt:,} learnt once", mistake=mistake)
    index = IVFPQIndex(dim, lists, design["n_probe"], pieces, design["finalists"])
    index.train(setting.rows[:SAMPLE])
    index.add(setting.rows)
    kept = [array for each in index.prepare() for array in (each.codes, each.rows)]
    found = _found(setting, index, _bytes([*kept, *index.trained().values()]))
    if found.recall >= NEEDED or found.mistake:
        return found
    if not design["finalists"]:
        return Measured(found.text, found.recall, "no finalists")
    everywhere = recall(index.search(setting.questions, K, n_probe=lists)[1], setting.truth)
    more = recall(index.search(setting.questions, K, finalists=reads)[1], setting.truth)
    mistake = "too few lists probed" if everywhere >= NEEDED else "too few finalists" if more >= NEEDED else "codes too short"
    return Measured(found.text, found.recall, mistake)


def _found(setting: Setting, index: Any, size: int) -> Measured:
    if size > setting.args[2]:
        return Measured(f"{size:,} bytes", mistake="filled-up lists")
    share = recall(index.search(setting.questions, K)[1], setting.truth)
    return Measured(f"{size:,} bytes, recall@10 {share:.2f}", share)


def _bytes(arrays: Iterable[Tensor]) -> int:
    return sum(array.nbytes for array in arrays)


def _coded(pieces: int, lists: int = 8, probes: int = 8, finalists: int = READS) -> Callable[..., dict[str, Any]]:
    """A design with these codes, where rounded numbers do not fit."""
    coded = {"kind": "ivfpq", "n_lists": lists, "n_probe": probes, "pieces": pieces, "finalists": finalists}
    return lambda n_rows, dim, allowed, reads: {"kind": "float16"} if 2 * dim * n_rows <= allowed else coded


def _as_many_lists_as_fit_on_paper(n_rows: int, dim: int, allowed: int, reads: int) -> dict[str, Any]:
    lists = (allowed - n_rows * (8 + 4) - 4 * dim * (dim + WORDS)) // (8 * dim)
    return _coded(8, lists)(n_rows, dim, allowed, reads)


def _longest_codes(n_rows: int, dim: int, allowed: int, reads: int) -> dict[str, Any]:
    """Rounded numbers if they fit, else the longest codes that do, with a reserve for lists that are filled up."""
    learnt = 4 * dim * (dim + WORDS + 2 * 8)
    pieces = max(m for m in range(1, dim + 1) if dim % m == 0 and n_rows * (m + 4) + learnt <= 0.97 * allowed)
    return _coded(pieces, finalists=reads)(n_rows, dim, allowed, reads)


check_memory_budget = DesignTask(
    number="5.6",
    name="shrink",
    title="Half the memory, and an eighth",
    stars=3,
    minutes=30,
    points=9,
    reference=_longest_codes,
    draw=_memory,
    measure=_shrunk,
    success="recall@10 is at least 0.95 in half of the memory, and in an eighth.",
    mistakes=(
        Mistake(
            "other settings",
            'Return a dict of "kind" and just the settings of that kind: "float32" and "float16" have none, "ivf" has n_lists '
            'and n_probe, "ivfpq" has n_lists, n_probe, pieces and finalists.',
            lambda n_rows, dim, allowed, reads: {"kind": "int4"},
        ),
        Mistake(
            "more probes than lists",
            "n_probe is larger than n_lists: no question can look into more lists than there are.",
            _coded(8, lists=4),
        ),
        Mistake(
            "unequal pieces",
            "A vector is cut into equal pieces: `pieces` has to divide the number of dimensions.",
            _coded(7),
        ),
        Mistake(
            "too many rows read",
            "Each finalist is read from the disk; do with as many as are allowed.",
            _coded(8, finalists=READS + 1),
        ),
        Mistake(
            "floats kept",
            "So many numbers of 4 or 2 bytes do not fit: no float is short enough here, and codes are.",
            lambda n_rows, dim, allowed, reads: {"kind": "float16"},
        ),
        Mistake(
            "a byte for each number",
            "An inverted file still holds a byte for each number: a quarter of float32, and no less. Codes are shorter.",
            lambda n_rows, dim, allowed, reads: {"kind": "ivf", "n_lists": 16, "n_probe": 16},
        ),
        Mistake(
            "what is learnt forgotten",
            "Codes and row numbers would fit, but rotation, codewords, centroids and the means of cells are in memory, too: "
            "4·D·(D + 256 + 2·C) bytes.",
            _coded(16),
        ),
        Mistake(
            "row numbers forgotten",
            "Beside its code of M bytes each row keeps its number, another 4 bytes.",
            _coded(12),
        ),
        Mistake(
            "codes too long",
            "The codes alone are too long: with fewer pieces a code has fewer bytes.",
            _coded(48),
        ),
        Mistake(
            "filled-up lists",
            "It fits on paper, but lists are kept in whole blocks of 32 rows, and many lists hold much filling. Take fewer.",
            _as_many_lists_as_fit_on_paper,
        ),
        Mistake(
            "no finalists",
            "The codes' own order is too rough. A second look at finalists costs no memory: their vectors are on the disk.",
            _coded(8, finalists=0),
        ),
        Mistake(
            "too few lists probed",
            "What stands in no list that was probed cannot be found, however well it is coded: probe more of them. Only memory "
            "is short here.",
            _coded(8, probes=2),
        ),
        Mistake(
            "too few finalists",
            "The true ten are not among so few finalists; more of them may be read.",
            _coded(8, finalists=20),
        ),
        Mistake(
            "codes too short",
            "So short a code says too little, even with all finalists and all lists: cut the vectors into more pieces.",
            _coded(4),
        ),
    ),
)
