"""Exercises of notebook 16: what an index takes, how building it grows, shards merged, and a job that is taken up again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.draw import whole
from minirag.teaching.checks.exercise import Args, Exercise, Mistake

Shard = tuple[Tensor, Tensor]  # scores [k] and rows [k] of the shard, best first


def _bytes(rows: int, dim: int, kind: str, pieces: int, lists: int) -> int:
    if kind == "pq":
        return rows * (pieces + 8) + 4 * 256 * dim + 4 * lists * dim
    return rows * dim * {"float32": 4, "float16": 2}[kind]


def _without(part: str, rows: int, dim: int, kind: str, pieces: int, lists: int) -> int:
    """The same, but for a part of the PQ index that people forget."""
    forgotten = {"ids": 8 * rows, "codewords": 4 * 256 * dim, "centroids": 4 * lists * dim}[part]
    return _bytes(rows, dim, kind, pieces, lists) - (forgotten if kind == "pq" else 0)


def _index(rng: np.random.Generator, size: int) -> Args:
    pieces = int(rng.choice([8, 16, 64]))
    kind = ("pq", "float32", "float16")[size % 3]
    return 1000 * size + int(rng.integers(1000)), 12 * pieces, kind, pieces, 16 * size


check_bytes_of_index = Exercise(
    number="16.1",
    name="bytes_of_index",
    title="Bytes of an index",
    stars=1,
    minutes=10,
    points=3,
    reference=_bytes,
    by_hand=(
        ((21_015_324, 768, "float32", 0, 0), 64_559_075_328),
        ((100, 8, "float16", 0, 0), 1_600),
        # 100 · (4 + 8) codes and ids, 4 · 256 · 8 of codewords, 4 · 10 · 8 of centroids
        ((100, 8, "pq", 4, 10), 1_200 + 8_192 + 320),
    ),
    draw=_index,
    mistakes=(
        Mistake(
            "ids forgotten",
            "An inverted list must say which passages are in it: 8 bytes of id a row.",
            lambda *a: _without("ids", *a),
        ),
        Mistake(
            "codewords forgotten",
            "Codes mean nothing without their codewords: 256 for each piece, together 256 vectors of float32.",
            lambda *a: _without("codewords", *a),
        ),
        Mistake("centroids forgotten", "The C centroids are vectors too, of float32.", lambda *a: _without("centroids", *a)),
        Mistake("bits", "float32 is 32 bits, which are 4 bytes; here bits are counted.", lambda *a: 8 * _bytes(*a)),
        Mistake(
            "float16 as float32",
            "A number of float16 takes 2 bytes.",
            lambda rows, dim, kind, pieces, lists: _bytes(rows, dim, kind.replace("16", "32"), pieces, lists),
        ),
        Mistake("gibibytes", "Bytes are asked for.", lambda *a: _bytes(*a) / 2**30),
    ),
    hint="Vectors: N · D · bytes a number. PQ: N · (M + 8), and 256 · D and C · D numbers of float32.",
)


def _timed(rng: np.random.Generator, size: int) -> Args:
    sizes = sorted({int(n) for n in 1000 * 10 ** (3 * rng.random(size + 3))})
    power = 0.4 + 1.2 * rng.random()
    return sizes, [1e-4 * n**power * float(np.exp(0.2 * rng.standard_normal())) for n in sizes]


def _slope(x: Sequence[int | float], y: Sequence[int | float]) -> float:
    a, b = np.asarray(x, float), np.asarray(y, float)
    return float(((a - a.mean()) * (b - b.mean())).sum() / ((a - a.mean()) ** 2).sum())


def _exponent(sizes: Sequence[int | float], seconds: Sequence[int | float]) -> float:
    return _slope(np.log(sizes).tolist(), np.log(seconds).tolist())


check_growth_exponent = Exercise(
    number="16.2",
    name="growth_exponent",
    title="How fast does the time grow?",
    stars=2,
    minutes=15,
    points=5,
    reference=_exponent,
    by_hand=(
        (([10, 100, 1000], [1.0, 10.0, 100.0]), 1.0),
        (([1, 100, 10_000], [3.0, 30.0, 300.0]), 0.5),
        (([1, 10, 100], [1.0, 10.0, 10.0]), 0.5),
    ),
    draw=_timed,
    mistakes=(
        Mistake("no logarithms", "This is seconds a passage; an exponent is the slope of log(seconds) over log(N).", _slope),
        Mistake(
            "one logarithm",
            "Both axes are logarithmic: take the logarithm of the sizes too.",
            lambda sizes, seconds: _slope(sizes, np.log(seconds).tolist()),
        ),
        Mistake(
            "the ends alone",
            "Only the first and the last size are used; a line through all points (least squares) is asked for.",
            lambda sizes, seconds: float(np.log(seconds[-1] / seconds[0]) / np.log(sizes[-1] / sizes[0])),
        ),
        Mistake(
            "through the origin",
            "This line is made to go through the origin. Take the means away first, so that it may begin anywhere.",
            lambda sizes, seconds: float((np.log(sizes) * np.log(seconds)).sum() / (np.log(sizes) ** 2).sum()),
        ),
        Mistake(
            "axes exchanged",
            "This is the slope of size over time; time over size is asked for.",
            lambda sizes, seconds: _exponent(seconds, sizes),
        ),
    ),
    hint="x = log N, y = log seconds; the slope is Σ (x − x̄)(y − ȳ) / Σ (x − x̄)².",
)


def _shards(rng: np.random.Generator, size: int) -> Args:
    """Shards of different sizes, scores with ties, some shards with fewer rows than k."""
    sizes = [1 + int(n) for n in rng.integers(0, size + 2, 2 + size % 4)]
    k = 1 + size // 2
    shards = []
    for rows in sizes:
        scores = whole(rng, 0, 4 + size, rows).float()
        order = scores.sort(descending=True, stable=True).indices[:k]
        shards.append((scores[order], order))
    return shards, sizes, k


def _merge(shards: Sequence[Shard], offsets: Sequence[int], k: int, sign: int = 1) -> Shard:
    """The best k by score, of equal ones the lower row (the higher one, if `sign` is −1)."""
    pairs = [
        (-float(score), sign * (offset + int(row)))
        for (scores, rows), offset in zip(shards, offsets, strict=True)
        for score, row in zip(scores, rows, strict=True)
    ]
    best = sorted(pairs)[:k]
    return torch.tensor([-score for score, _ in best]), torch.tensor([sign * row for _, row in best])


def _before(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[:i]) for i in range(len(sizes))]


def _global(shards: Sequence[Shard], sizes: Sequence[int]) -> list[Shard]:
    return [(scores, rows + offset) for (scores, rows), offset in zip(shards, _before(sizes), strict=True)]


def _one_after_another(shards: Sequence[Shard], sizes: Sequence[int], k: int) -> Shard:
    own = _global(shards, sizes)
    return torch.cat([scores for scores, _ in own])[:k], torch.cat([rows for _, rows in own])[:k]


check_merge_shards = Exercise(
    number="16.3",
    name="merge_shards",
    title="The top K of several shards",
    stars=2,
    minutes=20,
    points=6,
    reference=lambda shards, sizes, k: _merge(shards, _before(sizes), k),
    by_hand=(
        (
            ([(torch.tensor([5.0, 2.0]), torch.tensor([3, 0])), (torch.tensor([4.0, 2.0]), torch.tensor([1, 0]))], [10, 7], 3),
            (torch.tensor([5.0, 4.0, 2.0]), torch.tensor([3, 11, 0])),
        ),
        (
            ([(torch.tensor([1.0]), torch.tensor([0])), (torch.tensor([1.0]), torch.tensor([0]))], [1, 1], 5),
            (torch.tensor([1.0, 1.0]), torch.tensor([0, 1])),
        ),
    ),
    draw=_shards,
    mistakes=(
        Mistake(
            "offset forgotten",
            "Each shard counts its rows from 0; in the whole index they begin behind the rows of all shards before it.",
            lambda shards, sizes, k: _merge(shards, [0] * len(sizes), k),
        ),
        Mistake(
            "own size in the offset",
            "The offset of a shard is the size of those before it; here its own size is in it, too.",
            lambda shards, sizes, k: _merge(shards, [sum(sizes[: i + 1]) for i in range(len(sizes))], k),
        ),
        Mistake(
            "one size for all",
            "Shards differ in size: the offset is the sum of the sizes before, not the shard's number times a size.",
            lambda shards, sizes, k: _merge(shards, [i * sizes[0] for i in range(len(sizes))], k),
        ),
        Mistake(
            "ties to the higher row",
            "Of equal scores the lower row comes first.",
            lambda shards, sizes, k: _merge(shards, _before(sizes), k, sign=-1),
        ),
        Mistake(
            "not sorted", "The shards' lists stand one behind the other; their best K must be found anew.", _one_after_another
        ),
    ),
    hint="Add each shard's offset to its rows, put all pairs together, sort by score (descending), then row, and cut at K.",
)


def _manifests(rng: np.random.Generator, size: int) -> Args:
    wanted = {f"shard-{i:02d}": f"{rng.integers(2**32):08x}" for i in range(size + 2)}
    fate = [*rng.permutation(["kept", "gone", "spoiled"]), *rng.choice(["kept", "gone", "spoiled"], size)]
    on_disk = {
        name: checksum if state == "kept" else checksum[::-1] + "0"
        for (name, checksum), state in zip(wanted.items(), fate, strict=False)
        if state != "gone"
    }
    on_disk["shard-99"] = "left over"
    return wanted, {name: on_disk[name] for name in sorted(on_disk, reverse=True)}


def _to_write(wanted: Mapping[str, str], on_disk: Mapping[str, str]) -> list[str]:
    return [name for name in wanted if on_disk.get(name) != wanted[name]]


def _first_alone(wanted: Mapping[str, str], on_disk: Mapping[str, str]) -> list[str]:
    missing = _to_write(wanted, on_disk)
    return list(wanted)[list(wanted).index(missing[0]) :] if missing else []


check_shards_to_write = Exercise(
    number="16.4",
    name="shards_to_write",
    title="After a kill: which shards must be written again?",
    stars=1,
    minutes=10,
    points=3,
    reference=_to_write,
    by_hand=(
        (({"a": "1", "b": "2", "c": "3"}, {"c": "3", "b": "x"}), ["a", "b"]),
        (({"a": "1"}, {"a": "1", "old": "7"}), []),
    ),
    draw=_manifests,
    mistakes=(
        Mistake(
            "damage not seen",
            "A file that is there may be half written: compare its checksum, too.",
            lambda wanted, on_disk: [name for name in wanted if name not in on_disk],
        ),
        Mistake(
            "missing ones forgotten",
            "What is not there at all must be written as well.",
            lambda wanted, on_disk: [name for name in wanted if name in on_disk and on_disk[name] != wanted[name]],
        ),
        Mistake(
            "everything from the first on",
            "Only what is missing or damaged is written again; good shards behind it are kept.",
            _first_alone,
        ),
        Mistake(
            "everything again",
            "This writes all of them; shards whose checksum is right are kept, that is the point of going on.",
            lambda wanted, on_disk: list(wanted),
        ),
        Mistake(
            "left-over files",
            "A file that nobody wants needs no writing: go through `wanted`.",
            lambda wanted, on_disk: _to_write(wanted, on_disk) + [name for name in on_disk if name not in wanted],
        ),
    ),
    hint="For each name in `wanted`, in its order: is it on disk with the same checksum?",
)
