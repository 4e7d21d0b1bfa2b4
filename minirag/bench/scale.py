"""How building and searching grow with the number of vectors: measured at some sizes, and the largest predicted from the next.

The vectors are made up, in clusters (`scale_stages.py`). Each stage runs in a process of its own, so that the memory it takes
at its highest is its own. Rows have the measured value as `ours`; `peer` is what it is held against:

* seconds and latency: what the next smaller size predicts, by the plan's amounts of work; `equal` within 20 %;
* memory: what was allowed for building; `equal` if it was kept;
* exponents e of cost ~ N^e between sizes, recall against exact search, bytes read for a candidate: they stand alone.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from minirag.bench import scale_stages
from minirag.bench.scale_stages import STAGES, Setting
from minirag.cluster import work
from minirag.cluster.calibration import Calibration
from minirag.cluster.measuring import ROWS, calibrate
from minirag.cluster.work import Size, usual_lists
from minirag.errors import MiniragError
from minirag.retrieval.pq import usual_pieces
from minirag.retrieval.pretrained import mini_biencoder

BUILT = ("train", "code", "list")
WITHIN = 0.2
Measured = Mapping[str, Mapping[str, Any]]  # for each stage its seconds, its memory, and what else it tells


Row = dict[str, Any]


def run(
    sizes: Sequence[int] = (10_000, 100_000, 1_000_000),
    dim: int = 768,
    lists: int = 1_024,
    kind: str = "ivfpq",
    ram: int = 2_000_000_000,
    growing: bool = False,
    folder: str | Path | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """`rows` as above, and `sizes` with all that was measured. `growing`: again with 4·√N lists, where coding grows as N·√N.

    `folder` is where the vectors lie meanwhile (default: the system's temporary folder).
    """
    if list(sizes) != sorted(set(sizes)) or sizes[0] < lists:
        raise MiniragError(f"sizes have to grow, and the first hold {lists:,} vectors or more, one for each list")
    small = sizes[-1] < 4 * ROWS[1]
    calibration = calibrate(dim, usual_pieces(dim), mini_biencoder(), (512, 2_048) if small else ROWS)
    ways = [(f"{lists:,} lists", lambda _: lists)] + ([("4√N lists", usual_lists)] if growing else [])
    told: list[Row] = []
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="minirag-scale-", dir=folder) as work_folder:
        for way, of in ways:
            settings = [Setting(Path(work_folder) / str(n), n, dim, of(n), kind, ram) for n in sizes]
            measured = [_measured(setting, progress) for setting in settings]
            told += [{"vectors": one.rows, "lists": one.lists, **each} for one, each in zip(settings, measured, strict=True)]
            rows += _rows(way, settings, measured, calibration)
    return {"rows": rows, "sizes": told, "vectors": "made up: Gaussian clusters with a decaying spectrum, float16"}


def _measured(setting: Setting, progress: bool) -> Measured:
    known = (setting.folder / "exact.npy").exists()  # of the same vectors in other lists
    stages = [stage for stage in STAGES if not (known and stage in ("write", "exact"))]
    bar = tqdm(stages, desc=f"{setting.rows:,} vectors, {setting.lists:,} lists", disable=not progress)
    return {stage: scale_stages.alone(stage, setting) for stage in bar}


def _rows(way: str, settings: Sequence[Setting], measured: Sequence[Measured], calibration: Calibration) -> list[Row]:
    rows: list[Row] = []
    for i, (setting, each) in enumerate(zip(settings, measured, strict=True)):
        case = f"{setting.rows:,}, {way}"
        before = (settings[i - 1], measured[i - 1]) if i else None
        rows += [_seconds(f"{case}: {stage}", stage, setting, each, before, calibration) for stage in each if stage in _UNITS]
        rows += _memory(case, setting, each)
        rows += _found(case, each["search"])
    last = len(settings) - 1
    for small, large in sorted({*pairwise(range(last + 1)), *((i, last) for i in range(last))}):
        rows += _exponents(way, settings[small], settings[large], measured[small], measured[large])
    return rows


_UNITS: dict[str, Callable[[Size], work.Units] | None] = {
    "write": None,
    "train": work.train,
    "code": work.code,
    "list": work.fill,
    "search": work.search,
}


def predicted(stage: str, smaller: Setting, seconds: float, larger: Setting, calibration: Calibration) -> float:
    """Seconds of a stage at the larger setting: those measured at the smaller one, as much longer as there is more work."""
    units = _UNITS[stage]
    if units is None:  # as many bytes as there are vectors
        return seconds * larger.rows / smaller.rows
    before, after = (work.seconds(units(_size(setting)), calibration)[0] for setting in (smaller, larger))
    return seconds * after / before


def _size(setting: Setting) -> Size:
    size = Size(setting.rows, setting.dim, "ivf" if setting.kind == "ivf" else "ivfpq", lists=setting.lists, ram=setting.ram)
    return replace(size, pieces=setting.build.pieces, cached=True)


def _seconds(
    case: str,
    stage: str,
    setting: Setting,
    each: Measured,
    before: tuple[Setting, Measured] | None,
    calibration: Calibration,
) -> Row:
    key = "median" if stage == "search" else "seconds"
    ours, foreseen, name = float(each[stage][key]), None, ""
    if before:
        foreseen = predicted(stage, before[0], before[1][stage][key], setting, calibration)
        name = f"predicted from {before[0].rows:,}"
    return _row(case if stage != "search" else f"{case}, one question", ours, foreseen, name, "s", WITHIN)


def _memory(case: str, setting: Setting, each: Measured) -> list[Row]:
    """What building takes beside the program, without the pages of files, which the system may take back at any time."""
    rows = []
    for stage in BUILT:
        own = (each[stage]["anon"] - each[stage]["base"]) / 1e9
        rows.append(_row(f"{case}: {stage}, own memory", own, setting.ram / 1e9, "allowed", "GB"))
        rows[-1]["equal"] = own <= setting.ram / 1e9
        rows.append(_row(f"{case}: {stage}, peak of everything", each[stage]["peak"] / 1e9, None, "with mapped files", "GB"))
    return rows


def _found(case: str, search: Mapping[str, Any]) -> list[Row]:
    units = {
        "recall@20": "of exact's", "p95": "s", "batch of 512": "s", "cold": "s", "asked for a candidate": "bytes",
        "read for a candidate": "bytes",
    }  # fmt: skip
    told = {name: unit for name, unit in units.items() if search[name] is not None}
    return [_row(f"{case}: search, {name}", search[name], None, "", unit) for name, unit in told.items()]


def _exponents(way: str, small: Setting, large: Setting, before: Measured, after: Measured) -> list[Row]:
    spans = {stage: (before[stage]["seconds"], after[stage]["seconds"]) for stage in BUILT}
    spans |= {"building": (sum(low for low, _ in spans.values()), sum(high for _, high in spans.values()))}
    name = f"{small.rows:,} to {large.rows:,}, {way}"
    return [
        _row(f"{name}: {stage}", exponent(low, high, small.rows, large.rows), None, "", "exponent")
        for stage, (low, high) in spans.items()
    ]


def exponent(low: float, high: float, few: int, many: int) -> float:
    """e where cost grows as N^e.

    >>> exponent(2.0, 20.0, 1_000, 10_000)
    1.0
    """
    return math.log(high / low) / math.log(many / few)


def _row(case: str, ours: float, peer: float | None, name: str, unit: str, within: float | None = None) -> Row:
    ratio = peer / ours if peer is not None and ours else None
    equal = abs(ratio - 1) <= within if ratio is not None and within is not None else None
    return {"case": case, "ours": ours, "peer": peer, "peer_name": name, "unit": unit, "ratio": ratio, "equal": equal}
