"""Exercises of notebook 04: exact search with ties and gaps, recall against it, and what a coarse scan must look at again."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.draw import normal, whole
from minirag.teaching.checks.exercise import Args, Exercise, Mistake


def _vectors(rng: np.random.Generator, size: int) -> Args:
    """Small whole numbers, so that scores tie; now and then fewer passages than k."""
    n, d = 2 + size, 1 + size % 3
    k = n + 2 if size % 5 == 0 else 1 + int(rng.integers(n))
    return whole(rng, -2, 3, d).float(), whole(rng, -2, 3, n, d).float(), k


def _top_k(q: Tensor, vectors: Tensor, k: int, sign: int = 1, lower: bool = True) -> tuple[Tensor, Tensor]:
    scores = vectors @ q
    rows = sorted(range(len(vectors)), key=lambda row: (-sign * float(scores[row]), row if lower else -row))[:k]
    gap = k - len(rows)
    return torch.cat([scores[rows], torch.full((gap,), -torch.inf)]), torch.tensor([*rows, *[-1] * gap])


def _without_gap(q: Tensor, vectors: Tensor, k: int) -> tuple[Tensor, Tensor]:
    return _top_k(q, vectors, min(k, len(vectors)))


def _gap_with_row_0(q: Tensor, vectors: Tensor, k: int) -> tuple[Tensor, Tensor]:
    scores, rows = _top_k(q, vectors, k)
    return scores, rows.clamp(min=0)


def _by_distance(q: Tensor, vectors: Tensor, k: int) -> tuple[Tensor, Tensor]:
    distance = (vectors - q).square().sum(1)
    rows = sorted(range(len(vectors)), key=lambda row: (float(distance[row]), row))[:k]
    gap = k - len(rows)
    return torch.cat([-distance[rows], torch.full((gap,), -torch.inf)]), torch.tensor([*rows, *[-1] * gap])


check_top_k = Exercise(
    number="4.1",
    name="top_k",
    title="Exact search",
    stars=2,
    minutes=20,
    points=5,
    reference=_top_k,
    by_hand=(
        (
            (torch.tensor([1.0, 0.5]), torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), 2),
            (torch.tensor([2.0, 1.5]), torch.tensor([0, 2])),
        ),
        ((torch.tensor([1.0]), torch.tensor([[1.0], [3.0], [3.0]]), 2), (torch.tensor([3.0, 3.0]), torch.tensor([1, 2]))),
        ((torch.tensor([1.0]), torch.tensor([[5.0]]), 2), (torch.tensor([5.0, -torch.inf]), torch.tensor([0, -1]))),
    ),
    draw=_vectors,
    mistakes=(
        Mistake(
            "smallest first",
            "The largest inner products are asked for; these are the smallest.",
            lambda q, v, k: _top_k(q, v, k, sign=-1),
        ),
        Mistake(
            "ties to the higher row", "Of equal scores the lower row comes first.", lambda q, v, k: _top_k(q, v, k, lower=False)
        ),
        Mistake(
            "gaps not filled",
            "Always k of them: where there are fewer passages, score −inf and row −1 fill the rest.",
            _without_gap,
        ),
        Mistake("row 0 in the gaps", "A gap has row −1; row 0 would be a real passage's text.", _gap_with_row_0),
        Mistake("distance", "This is nearest by distance; the largest inner product is asked for.", _by_distance),
        Mistake(
            "topk past the last passage",
            "`topk` fails where k is above the number of passages: take min(k, N) of them, then fill with −inf and −1.",
            lambda q, v, k: tuple((v @ q).topk(k)),
        ),
    ),
    hint="scores = vectors @ q; a stable sort, largest first, keeps the lower row ahead; fill up with −inf and −1.",
)


def _found(rng: np.random.Generator, size: int) -> Args:
    n, k = 6 + size, 1 + size % 5
    own = [rng.permutation(n)[: 2 * k].astype(np.int64) for _ in range(2 + size // 3)]
    exact = torch.stack([torch.from_numpy(row[:k]) for row in own])
    found = torch.stack([torch.from_numpy(rng.permutation(row)[:k]) for row in own])
    exact[0, -1] = found[0, 0] = -1 if k > 1 else exact[0, 0]
    return found, exact


def _recall(found: Tensor, exact: Tensor) -> float:
    hits = sum(len({*a} & {*b} - {-1}) for a, b in zip(found.tolist(), exact.tolist(), strict=True))
    return hits / int((exact >= 0).sum())


check_recall = Exercise(
    number="4.2",
    name="recall",
    title="Recall of an approximate search",
    stars=1,
    minutes=10,
    points=3,
    reference=_recall,
    by_hand=(
        ((torch.tensor([[3, 1], [2, 5]]), torch.tensor([[1, 4], [5, 2]])), 0.75),
        ((torch.tensor([[1, -1]]), torch.tensor([[1, -1]])), 1.0),
        ((torch.tensor([[-1, 7]]), torch.tensor([[2, -1]])), 0.0),
    ),
    draw=_found,
    mistakes=(
        Mistake(
            "place by place",
            "The order does not count: a row that was found in another place was found.",
            lambda found, exact: float((found == exact)[exact >= 0].float().mean()),
        ),
        Mistake(
            "−1 is a hit",
            "−1 stands for no passage; two of them are no hit.",
            lambda found, exact: (
                sum(len({*a} & {*b}) for a, b in zip(found.tolist(), exact.tolist(), strict=True)) / int((exact >= 0).sum())
            ),
        ),
        Mistake(
            "gaps below the line",
            "Where exact search has found fewer than k, only those count below the line.",
            lambda found, exact: _recall(found, exact) * int((exact >= 0).sum()) / exact.numel(),
        ),
        Mistake(
            "the best alone",
            "This asks whether the best passage was found; all k of exact search count.",
            lambda found, exact: float((found == exact[:, :1]).any(1).float().mean()),
        ),
        Mistake(
            "all questions in one",
            "A row that another question found is no hit: compare question by question.",
            lambda found, exact: float(torch.isin(exact[exact >= 0], found).float().mean()),
        ),
    ),
    hint="For each question the rows that are in both, without −1; over all rows that exact search found.",
)


def _coarse(rng: np.random.Generator, size: int) -> Args:
    n = 3 + size
    return normal(rng, n), 0.05 + 0.5 * float(rng.random()), 1 + int(rng.integers(n - 1))


def _again(approximate: Tensor, bound: float, k: int, sides: int = 2, strict: bool = False, extra: int = 0) -> list[int]:
    threshold = approximate.sort(descending=True).values[k - 1 + extra] - sides * bound
    keep = approximate > threshold if strict else approximate >= threshold
    return keep.nonzero()[:, 0].tolist()


check_score_again = Exercise(
    number="4.3",
    name="score_again",
    title="Fast and still exact: which must be scored again?",
    stars=3,
    minutes=30,
    points=7,
    reference=_again,
    by_hand=(
        # the second best has at least 0.75 − 0.0625; 0.625 + 0.0625 may be as much, 0.5 + 0.0625 may not
        ((torch.tensor([0.5, 1.0, 0.625, 0.75]), 0.0625, 2), [1, 2, 3]),
        ((torch.tensor([3.0, 1.0, 2.0]), 0.25, 1), [0]),
        ((torch.tensor([3.0, 2.75, 2.0, 1.0]), 0.125, 1), [0, 1]),
    ),
    draw=_coarse,
    mistakes=(
        Mistake(
            "the best k alone",
            "The best k by a coarse score need not be the best k: those that could be, given the error, must be looked at too.",
            lambda approximate, bound, k: _again(approximate, bound, k, sides=0),
        ),
        Mistake(
            "error on one side",
            "Both scores may be wrong: the k-th may be lower by the bound, and the candidate higher by it, twice in all.",
            lambda approximate, bound, k: _again(approximate, bound, k, sides=1),
        ),
        Mistake(
            "just reaching left out",
            "A row that can just reach the k-th best may tie with it, and have the lower number: `>=`.",
            lambda approximate, bound, k: _again(approximate, bound, k, strict=True),
        ),
        Mistake(
            "measured from the best",
            "The threshold hangs on the k-th best score, not on the best.",
            lambda approximate, bound, k: _again(approximate, bound, 1),
        ),
        Mistake(
            "all of them",
            "That is exact, and as slow as before: leave out those that cannot be among the best k.",
            lambda approximate, bound, k: list(range(len(approximate))),
        ),
        Mistake(
            "one place too far",
            "Positions begin at 0: the k-th best is at k − 1.",
            lambda approximate, bound, k: _again(approximate, bound, k, extra=1),
        ),
        Mistake(
            "best first",
            "Rows in ascending order are asked for.",
            lambda approximate, bound, k: sorted(_again(approximate, bound, k), key=lambda row: -float(approximate[row])),
        ),
    ),
    hint="The true k-th best is at least (k-th best coarse score) − bound; a row can reach that if its score + bound does.",
)
