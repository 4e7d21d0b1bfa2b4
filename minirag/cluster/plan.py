"""How long, how large, and does it fit: the whole job for N passages, before a single one is downloaded.

The amounts of work (`work.py`) times the rates of this machine (`calibration.py`). What cannot be measured here is called what
it is: the network's rate is assumed, and other people's GPUs are estimated from their makers' peak (`gpus.py`).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from minirag.cluster import work
from minirag.cluster.calibration import Calibration
from minirag.cluster.gpus import UTILISATION, passages_per_second
from minirag.cluster.work import KINDS, Kind, Size, seconds
from minirag.retrieval.build import COPIES
from minirag.retrieval.kmeans import ROWS, SCORES

ALL = 21_015_324  # passages of the published file,
PACKED, TEXT = 4_694_541_059, 637  # its bytes, and the bytes a passage takes in a store (over 9,623 of them)
NETWORK = 12_500_000  # bytes a second: 100 Mbit/s, assumed
SHARD = 65_536  # passages and vectors held while encoding
TOKEN = 36  # bytes of a token's number in a list, times TOKENS a passage
PER_LIST = 39  # training vectors without which the mean of a list says little
How = Literal["measured rates", "assumed, not measured", "estimated, not measured"]


@dataclass(frozen=True)
class Stage:
    """A stage of the work: seconds and by what share they may be off, bytes of memory and of disk, bytes from the network."""

    name: str
    seconds: float
    error: float
    ram: int = 0
    disk: int = 0
    download: int = 0
    how: How = "measured rates"


@dataclass(frozen=True)
class Choice:
    """An index over vectors of one type: what it takes to build, keep and search."""

    kind: Kind
    vectors: str
    lists: int
    build_seconds: float
    error: float
    ram: int  # to search fast, with program and encoder
    disk: int  # of everything: download, passages, vectors, index, and what building needs for a while
    warm_ms: float  # a question, everything it reads being in memory
    cold_ms: float  # the same where what does not fit comes from the disk
    fits: bool
    why: str


@dataclass(frozen=True)
class Fleet:
    """Machines, and how long the passages and all stages take with them."""

    name: str
    passages_a_second: float
    encode_seconds: float
    total_seconds: float
    how: How


@dataclass(frozen=True)
class Plan:
    """Everything that `minirag plan` tells."""

    passages: int
    dim: int
    lists: int
    stages: tuple[Stage, ...]  # for the index that is advised
    choices: tuple[Choice, ...]
    fleets: tuple[Fleet, ...]
    advised: tuple[str, str]  # its kind and the type of its vectors
    advice: tuple[str, ...]


def plan(
    size: Size, calibration: Calibration, ram: int, disk: int, gpu: str = "A100", gpus: tuple[int, ...] = (1, 8, 64)
) -> Plan:
    """The plan for `size` on a machine of so much memory and free disk. `size.ram` is what building may take of it."""
    size = dataclasses.replace(size, lists=size.settings.n_lists)
    choices = tuple(
        _choice(dataclasses.replace(size, kind=kind, bytes_each=each), calibration, ram, disk)
        for kind in KINDS
        for each in (2, 4)
    )
    fitting = [choice for choice in choices if choice.fits]
    # Among those that fit the exact ones come first, then the smaller files; and where nothing fits, what needs least.
    best = fitting[0] if fitting else min(choices, key=lambda choice: (choice.ram > ram, choice.disk))
    advised = dataclasses.replace(size, kind=best.kind, bytes_each=2 if best.vectors == "float16" else 4)
    stages = tuple(stages_of(advised, calibration, ram))
    return Plan(
        size.passages,
        size.dim,
        size.lists,
        stages,
        choices,
        tuple(_fleets(stages, size.passages, calibration, gpu, gpus)),
        (best.kind, best.vectors),
        tuple(advice(advised, best, choices, calibration, ram, disk)),
    )


def stages_of(size: Size, calibration: Calibration, ram: int, download: bool = True) -> list[Stage]:
    """The stages in their order, from the download to the last checksum. `ram`: of the machine, for its page cache."""
    n, base = size.passages, calibration.base
    size = dataclasses.replace(size, cached=size.vectors < ram - base - size.ram)
    packed = math.ceil(PACKED * n / ALL)
    shard = min(n, SHARD)
    encoding = base + 2 * calibration.weights + shard * (4 * size.dim + TEXT + TOKEN * 137)
    held = min(size.settings.training(size.dim), size.ram) if size.kind != "exact" else 0
    compared = 4 * min(SCORES, ROWS * size.settings.n_lists)  # products of vectors and centroids
    written = {"encode": n, "write": size.vectors, "sha": size.vectors}
    coded = 0 if size.kind == "exact" else n * (4 + (size.pieces if size.kind == "ivfpq" else 0))
    got = [Stage("download", packed / NETWORK, 0.0, base, packed, packed, "assumed, not measured")] if download else []
    return [
        *got,
        _stage("passages", {"passages": n}, calibration, base + 24 * n, n * TEXT),
        _stage("encode", written, calibration, encoding, size.vectors),
        _stage("train", work.train(size), calibration, base + held, 0),
        _stage("code", work.code(size), calibration, base + 3 * shard * 4 * size.dim + compared, coded or work.on_disk(size)),
        _stage("list", work.fill(size), calibration, base + _listing(size), 0 if size.kind == "exact" else work.on_disk(size)),
        _stage("verify", work.verify(size), calibration, base, 0),
    ]


def _listing(size: Size) -> int:
    """Bytes held while lists are filled: rows' lists and order, and for an inverted file a group's vectors."""
    if size.kind == "exact":
        return 0
    return 8 * SHARD * (4 + size.pieces) + size.passages if size.kind == "ivfpq" else 40 * size.passages + size.ram


def _stage(name: str, units: work.Units, calibration: Calibration, ram: int, disk: int) -> Stage:
    return Stage(name, *seconds(units, calibration), ram, disk)


def _choice(size: Size, calibration: Calibration, ram: int, disk: int) -> Choice:
    stages = stages_of(size, calibration, ram)
    built = [stage for stage in stages if stage.name in ("train", "code", "list", "verify")]
    total = sum(stage.seconds for stage in built)
    error = sum(stage.seconds * stage.error for stage in built) / total if total else 0.0
    needed = calibration.base + calibration.weights + work.in_memory(size)
    stored = sum(stage.disk for stage in stages)
    warm, cold = (seconds(work.search(size, cold), calibration)[0] for cold in (False, True))
    vectors = "float16" if size.bytes_each == 2 else "float32"
    fits, why = needed <= ram and stored <= disk, []
    if needed > ram:
        why.append(f"needs {_gb(needed)} of memory to be fast, there are {_gb(ram)}")
    if stored > disk:
        why.append(f"needs {_gb(stored)} of disk, there are {_gb(disk)}")
    lists = 0 if size.kind == "exact" else size.settings.n_lists
    return Choice(
        size.kind, vectors, lists, total, error, needed, stored, 1e3 * warm, 1e3 * cold, fits, "; ".join(why) or "fits"
    )


def _fleets(stages: tuple[Stage, ...], passages: int, calibration: Calibration, gpu: str, gpus: tuple[int, ...]) -> list[Fleet]:
    """This machine, then so many GPUs. Only the encoding is shared out; the rest is one machine's."""
    encode = next(stage.seconds for stage in stages if stage.name == "encode")
    rest = sum(stage.seconds for stage in stages) - encode
    here = 1 / calibration.rates["encode"].seconds
    fleets = [Fleet(f"this machine ({calibration.device})", here, encode, rest + encode, "measured rates")]
    for count in gpus:
        speed = passages_per_second(gpu, calibration.operations, count)
        name = f"{count} × {gpu}" + ("" if count <= 8 else f", {math.ceil(count / 8)} machines")
        fleets.append(Fleet(name, speed, passages / speed, rest + passages / speed, "estimated, not measured"))
    return fleets


def advice(size: Size, best: Choice, choices: tuple[Choice, ...], calibration: Calibration, ram: int, disk: int) -> list[str]:
    """What to take, what not and why, and what to turn for recall and speed."""
    said = []
    if best.fits:
        said.append(f"take {best.kind} over {best.vectors}: it needs {_gb(best.ram)} of {_gb(ram)} of memory to be searched")
    else:
        said.append(f"nothing fits; {best.kind} over {best.vectors} needs least: {best.why}")
    for kind in KINDS:
        least = next(choice for choice in choices if choice.kind == kind)
        if least.ram > ram:
            slow = f"{kind} does not fit into memory: it {least.why.split(';')[0]}"
            said.append(f"{slow}; from the disk a question would take about {_ms(least.cold_ms)}")
    full = next(choice for choice in choices if (choice.kind, choice.vectors) == (best.kind, "float32"))
    if full.disk > disk >= best.disk:
        said.append(f"store float16: float32 {full.why.split('; ')[-1]}")
    if size.kind == "exact":
        return said
    sample, lists = min(size.settings.sample(size.dim), size.passages), size.settings.n_lists
    if sample < PER_LIST * lists:
        wanted = size.settings.beside(size.dim) + int(COPIES * 4 * size.dim) * PER_LIST * lists
        said.append(f"{lists:,} lists are learnt from {sample:,} vectors, which is few; allow {_gb(wanted)} for building")
    more = dataclasses.replace(size, n_probe=2 * size.n_probe)
    before, after = (1e3 * seconds(work.search(each), calibration)[0] for each in (size, more))
    said.append(
        f"for recall raise n_probe first: {size.n_probe} of {lists:,} lists take {_ms(before)} a question, "
        f"{more.n_probe} take {_ms(after)}"
    )
    if size.kind == "ivfpq":
        row = 1e3 * calibration.rates["random"].seconds
        said.append(f"then finalists: each of {size.finalists} costs a read of {row:.2g} ms where the vectors are on disk")
    fastest = fastest_lists(size, calibration)
    said.append(f"{lists:,} lists; {fastest:,} would answer fastest, and coding takes as much longer as there are more of them")
    return said


def fastest_lists(size: Size, calibration: Calibration) -> int:
    """The number of lists at which a question is quickest: C·a + P·N/C·b is least at C = √(P·N·b/a), with a the seconds of a
    centroid and b those of a row in a list."""
    each = calibration.rates["scan" if size.kind == "ivf" else "lookup"].seconds
    return max(round(math.sqrt(size.n_probe * size.passages * each / calibration.rates["centroids"].seconds)), 1)


def as_json(found: Plan, calibration: Calibration) -> dict[str, Any]:
    """The plan, and what it was made from, for JSON."""
    told = dataclasses.asdict(calibration)
    return {**dataclasses.asdict(found), "utilisation": UTILISATION, "network": NETWORK, "calibration": told}


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.3g} ms" if milliseconds < 1_000 else f"{milliseconds / 1e3:.3g} s"
