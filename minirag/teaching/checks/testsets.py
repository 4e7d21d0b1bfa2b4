"""Exercises of notebook 11, over a whole test set: answer recall, and the paired bootstrap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.draw import normal, whole
from minirag.teaching.checks.exercise import Args, Exercise, Mistake

Hits = Sequence[Sequence[bool]]


def _found(rng: np.random.Generator, size: int) -> Args:
    """Which passages hold an answer, best first; for some questions few were found, or none; one has a hit at the last rank."""
    hits = [[bool(x) for x in rng.random(int(rng.integers(0, 7))) < 0.3] for _ in range(size)]
    return [*hits, [True, True], [False, False, True], []], [1, 2, 3, 5]


def _share(hits: Hits, k: int, over: int = 0) -> float:
    return sum(any(own[:k]) for own in hits) / (over or len(hits))


def _recalls(hits: Hits, ks: Sequence[int]) -> dict[int, float]:
    return {k: _share(hits, k) for k in ks}


def _of_passages(hits: Hits, ks: Sequence[int]) -> dict[int, float]:
    return {k: sum(sum(own[:k]) / k for own in hits) / len(hits) for k in ks}


def _of_hits(hits: Hits, ks: Sequence[int]) -> dict[int, float]:
    return {k: sum(sum(own[:k]) for own in hits) / sum(map(sum, hits)) for k in ks}


check_recall_at = Exercise(
    number="11.3",
    name="recall_at",
    title="Answer recall at k",
    stars=1,
    minutes=10,
    points=3,
    reference=_recalls,
    by_hand=(
        (([[True, True], [False, True], [False, False]], [1, 2]), {1: 1 / 3, 2: 2 / 3}),
        (([[False, False, True], [True], [], [False]], [1, 2, 3]), {1: 0.25, 2: 0.25, 3: 0.5}),
    ),
    draw=_found,
    mistakes=(
        Mistake(
            "share of passages",
            "This is the share of passages that hold an answer (precision). Of a question's first k one is enough: count "
            "questions.",
            _of_passages,
        ),
        Mistake(
            "share of all hits",
            "This is how many of all hits stand among the first k. A question counts once, if any of its first k is a hit.",
            _of_hits,
        ),
        Mistake(
            "one rank too few",
            "Rank k is among the first k: own[:k] has k entries.",
            lambda hits, ks: {k: _share(hits, k - 1) for k in ks},
        ),
        Mistake(
            "one rank too many",
            "Rank k + 1 is not among the first k: own[:k].",
            lambda hits, ks: {k: _share(hits, k + 1) for k in ks},
        ),
        Mistake(
            "rank k alone",
            "You look at the passage of rank k; any of ranks 1 to k will do, and recall never falls with k.",
            lambda hits, ks: {k: sum(any(own[k - 1 : k]) for own in hits) / len(hits) for k in ks},
        ),
        Mistake(
            "unanswered questions left out",
            "Questions without any hit are those that retrieval failed on. They count, below the line.",
            lambda hits, ks: {k: _share(hits, k, over=sum(map(any, hits))) for k in ks},
        ),
        Mistake(
            "questions without passages left out",
            "Where nothing was found, no answer was found either: such questions count, below the line.",
            lambda hits, ks: {k: _share(hits, k, over=sum(map(bool, hits))) for k in ks},
        ),
        Mistake(
            "percent",
            "Shares between 0 and 1 are asked for, not percent.",
            lambda hits, ks: {k: 100 * _share(hits, k) for k in ks},
        ),
    ),
    hint="For each k: of all questions, the share with at least one hit among the first k.",
)


def _samples(rng: np.random.Generator, size: int) -> Args:
    """Scores of two systems that find the same questions hard [N], and rows drawn with replacement [R, N]."""
    questions = 3 + size
    hard = 3 * normal(rng, questions)
    ours, theirs = (hard + shift + normal(rng, questions) for shift in (0.5, 0.0))
    return ours.sigmoid(), theirs.sigmoid(), whole(rng, 0, questions, 20 + 2 * size, questions)


def _ends(sampled: Tensor, low: float = 0.025) -> tuple[float, float]:
    first, last = torch.quantile(sampled.float(), torch.tensor([low, 1 - low])).tolist()
    return first, last


def _bootstrap(ours: Tensor, theirs: Tensor, draws: Tensor) -> tuple[float, float, float]:
    gaps = ours - theirs
    return gaps.mean().item(), *_ends(gaps[draws].mean(1))


def _intervals_subtracted(ours: Tensor, theirs: Tensor, draws: Tensor) -> tuple[float, float, float]:
    (a, b), (c, d) = _ends(ours[draws].mean(1)), _ends(theirs[draws].mean(1))
    return (ours - theirs).mean().item(), a - c, b - d


def _farthest_ends(ours: Tensor, theirs: Tensor, draws: Tensor) -> tuple[float, float, float]:
    (a, b), (c, d) = _ends(ours[draws].mean(1)), _ends(theirs[draws].mean(1))
    return (ours - theirs).mean().item(), a - d, b - c


def _normal_interval(ours: Tensor, theirs: Tensor, draws: Tensor) -> tuple[float, float, float]:
    gaps = ours - theirs
    mean, half = gaps.mean().item(), 1.96 * gaps[draws].mean(1).std().item()
    return mean, mean - half, mean + half


check_paired_bootstrap = Exercise(
    number="11.4",
    name="paired_bootstrap",
    title="Two systems, one set of draws",
    stars=2,
    minutes=20,
    points=6,
    reference=_bootstrap,
    by_hand=(
        # means of the three draws: 0, 1/2 and 1; between them the quantiles lie on straight lines
        (
            (
                torch.tensor([1.0, 1.0, 0.0, 1.0]),
                torch.tensor([0.0, 1.0, 0.0, 0.0]),
                torch.tensor([[0, 1, 2, 3], [1, 2, 1, 2], [0, 3, 0, 3]]),
            ),
            (0.5, 0.025, 0.975),
        ),
        ((torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]), torch.tensor([[0, 0], [0, 0], [1, 0]])), (0.0, 0.025, 0.5)),
    ),
    draw=_samples,
    mistakes=(
        Mistake(
            "two intervals subtracted",
            "Each system got its own interval, low minus low and high minus high. Score both on the same draw, take the "
            "difference, and only then look for the quantiles.",
            _intervals_subtracted,
        ),
        Mistake(
            "as if not paired",
            "The farthest ends of two intervals: as if the questions were not the same. What is hard for both cancels only if "
            "you take the difference within each draw.",
            _farthest_ends,
        ),
        Mistake(
            "spread of the questions",
            "These are quantiles of single questions' differences. Asked for is how the *mean* varies: one mean for each draw.",
            lambda ours, theirs, draws: ((ours - theirs).mean().item(), *_ends(ours - theirs)),
        ),
        Mistake(
            "mean over the draws",
            "The mean went over the R draws. A draw is a row: a mean for each, over its N questions (dimension 1).",
            lambda ours, theirs, draws: ((ours - theirs).mean().item(), *_ends((ours - theirs)[draws].mean(0))),
        ),
        Mistake(
            "the draws' mean for the difference",
            "The difference is that of the questions as they are; the draws serve for the interval alone.",
            lambda ours, theirs, draws: (
                (ours - theirs)[draws].mean().item(),
                *_ends((ours - theirs)[draws].mean(1)),
            ),
        ),
        Mistake(
            "the wrong way round",
            "Ours − theirs is asked for: above 0 where we are better.",
            lambda ours, theirs, draws: _bootstrap(theirs, ours, draws),
        ),
        Mistake(
            "90 percent",
            "5 % at either end leave 90 %: for 95 %, take the quantiles 0.025 and 0.975.",
            lambda ours, theirs, draws: ((ours - theirs).mean().item(), *_ends((ours - theirs)[draws].mean(1), 0.05)),
        ),
        Mistake(
            "mean ± 1.96 s",
            "That is a normal interval; the percentile interval takes the draws as they are: quantiles 0.025 and 0.975.",
            _normal_interval,
        ),
    ),
    hint="d = ours − theirs [N]; d[draws].mean(1) is a mean for each draw [R]; d.mean() and two quantiles of them.",
)
