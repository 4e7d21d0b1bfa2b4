"""How much work a memory of N passages is: for each stage, how many units of which rate (`calibration.UNITS`), in arithmetic
that can be followed by hand. Time is the sum of units times rates.

    train   S·C·10 pairs in k-means (S: the sample), then the quantizer from at most 65,536 vectors, 8 turns of its rotation
    code    N·C pairs of vector and list, N codes                          → N·(4 + M) bytes
    list    N codes into their lists                                       → N·(4 + M) bytes
    search  C centroids, P·N/C codes (P: lists probed), R finalists        (exact search: N vectors)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from minirag.cluster.calibration import Calibration
from minirag.retrieval.build import CELL, BuildSettings
from minirag.retrieval.list_files import COPIES
from minirag.retrieval.pq import SAMPLE, WORDS
from minirag.retrieval.visits import BLOCK

Kind = Literal["exact", "ivf", "ivfpq"]
KINDS: tuple[Kind, ...] = ("exact", "ivf", "ivfpq")
Units = Mapping[str, float | int]
TURNS = 8  # of the quantizer's rotation
SCORED = 64  # rows that an inverted file scores again for a question, as seen on real passages, or exact search
ID = 8  # bytes of a row's number in the lists of an inverted file


@dataclass(frozen=True)
class Size:
    """What is built: N vectors of `dim` numbers of so many bytes, and an index over them."""

    passages: int
    dim: int
    kind: Kind = "ivfpq"
    bytes_each: int = 2  # float16
    lists: int = 0  # 0: `usual_lists`
    n_probe: int = 16
    pieces: int = 64
    finalists: int = 200
    ram: int = 4_000_000_000  # allowed for building
    cached: bool = False  # whether the page cache holds the vectors

    @property
    def settings(self) -> BuildSettings:
        """As `build` takes them."""
        kind: Literal["ivf", "ivfpq"] = "ivf" if self.kind == "ivf" else "ivfpq"
        lists = self.lists or usual_lists(self.passages)
        return BuildSettings(kind, lists, self.n_probe, self.pieces, self.finalists, ram=self.ram)

    @property
    def vectors(self) -> int:
        """Bytes of the vectors on disk."""
        return self.passages * self.dim * self.bytes_each


def usual_lists(passages: int) -> int:
    """4·√N, the usual number of lists; fewer where they would hold less than 39 vectors each, too few to place a mean.

    >>> usual_lists(21_015_324), usual_lists(1_000)
    (18337, 25)
    """
    return max(min(round(4 * math.sqrt(passages)), passages // 39), 1)


def train(size: Size) -> Units:
    """Placing the lists, and learning the codes; nothing for exact search."""
    if size.kind == "exact":
        return {}
    settings = size.settings
    sample = min(settings.sample(size.dim), size.passages)
    read = 0 if size.cached else min(size.vectors, sample * (size.dim * size.bytes_each + 4_096))
    units = {"kmeans": sample * settings.n_lists * settings.iterations, "read": read}
    if size.kind == "ivf":
        return units
    coded = min(sample, SAMPLE)
    words = {"words_fixed": 1, "words": coded, "turn_fixed": TURNS, "turn": TURNS * coded}
    return units | words | {"assign": sample * settings.n_lists}


def code(size: Size) -> Units:
    """Each vector's list, and its code; for exact search this is the whole building."""
    n, read = size.passages, 0 if size.cached else size.vectors
    if size.kind == "exact":
        return {"read": read, "bytes": n, "write": n * size.dim, "sha": n * size.dim}
    written = n * (CELL + (size.pieces if size.kind == "ivfpq" else 0))
    own = {"code": n} if size.kind == "ivfpq" else {}
    return {"read": read, "assign": n * size.settings.n_lists, "write": written, "sha": written, **own}


def fill(size: Size) -> Units:
    """The lists, filled from what was coded."""
    n = size.passages
    if size.kind == "exact":
        return {}
    if size.kind == "ivfpq":
        written = n * (size.pieces + CELL)
        return {"fill": n, "write": written, "sha": 2 * written}
    groups = math.ceil(n * COPIES * 4 * size.dim / size.ram)  # lists are coded in so many groups
    passes = min(groups, 1 + 4_096 / (size.dim * size.bytes_each))  # a page is read once for each row in it at most
    read = 0 if size.cached else passes * size.vectors
    return {"read": read, "take": n, "bytes": n, "write": n * size.dim, "sha": n * size.dim}


def verify(size: Size) -> Units:
    """Every checksum of index and vectors."""
    read = on_disk(size) + size.vectors
    return {"sha": read, "read": 0 if size.cached else read}


def search(size: Size, cold: bool = False) -> Units:
    """One question. `cold`: what does not fit into memory comes from the disk."""
    n, lists = size.passages, size.settings.n_lists
    if size.kind == "exact":
        return {"scan": n, "take": SCORED, "read": n * size.dim if cold else 0}
    rows = min(size.n_probe / lists, 1) * n
    if size.kind == "ivf":
        read = {"read": rows * size.dim, "random": SCORED} if cold else {}
        return {"centroids": lists, "scan": rows, "take": SCORED, **read}
    finalists = min(size.finalists, rows)
    return {"centroids": lists, "tables": 1, "lookup": rows, "take": finalists, "random": finalists if cold else 0}


def on_disk(size: Size) -> int:
    """Bytes of the index beside the vectors. Lists are filled up to whole blocks: half a block each on average."""
    n, dim = size.passages, size.dim
    if size.kind == "exact":
        return n * dim + n * 12 // 64 + n // 8
    lists = size.settings.n_lists
    slots = n + lists * BLOCK // 2
    if size.kind == "ivf":
        return slots * (dim + ID) + slots * 12 // BLOCK + n * ID + lists * dim * 4 + n // 8
    return slots * (size.pieces + 4) + 2 * lists * dim * 4 + 4 * dim * (dim + WORDS) + n // 8


def in_memory(size: Size) -> int:
    """Bytes that a search needs in memory to be fast, beside the program: all that it reads of the index, and a byte a row that
    says whether it is alive."""
    return on_disk(size) + size.passages - size.passages // 8


def seconds(units: Units, calibration: Calibration) -> tuple[float, float]:
    """Units times rates, and by what share the sum may be off: each rate's error counts as its part of the sum does."""
    parts = [(count * calibration.rates[name].seconds, calibration.rates[name].error) for name, count in units.items()]
    total = sum((part for part, _ in parts), 0.0)
    return total, sum((part * error for part, error in parts), 0.0) / total if total else 0.0
