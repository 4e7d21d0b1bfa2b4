"""Exercises of notebook 15: the hot-swap's table, a paired difference with its interval, and reading fewer passages."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.draw import normal, positive
from minirag.teaching.checks.exercise import Args, Exercise, Mistake

Row = tuple[str, str, str, int, int]  # answer, holder in 2016, holder in 2018, year asked about, year of the index
NAMES = ("Rousseff", "Temer", "Hollande", "Macron", "Merkel")


def _office(rng: np.random.Generator) -> tuple[str, str]:
    before, after = rng.choice(NAMES, 2, replace=bool(rng.random() < 0.5))
    return str(before), str(after)


def _swaps(rng: np.random.Generator, size: int) -> Args:
    """Rows of both kinds with a hit and a miss among them, offices that did not change, and some drawn at random."""
    rows: list[Row] = [
        ("Temer", "Rousseff", "Temer", 2018, 2018),
        ("Hollande", "Hollande", "Macron", 2016, 2018),
        ("Macron", "Hollande", "Macron", 2016, 2018),
        ("Rousseff", "Rousseff", "Temer", 2016, 2018),
        ("Rousseff", "Rousseff", "Temer", 2018, 2018),
        ("Merkel", "Merkel", "Merkel", 2018, 2016),
    ]
    for _ in range(size):
        years = [int(year) for year in rng.choice([2016, 2018], 2)]
        rows.append((str(rng.choice(NAMES)), *_office(rng), years[0], years[1]))
    return ([rows[i] for i in rng.permutation(len(rows))],)


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)


def _hot_swap(
    rows: Sequence[Row], changed: bool = True, by_index: bool = False, all_below: bool = False
) -> tuple[float, float]:
    own = [row for row in rows if row[1] != row[2] or not changed]
    kinds: dict[bool, list[bool]] = {True: [], False: []}
    for answer, before, after, asked, index in own:
        kinds[asked == index].append(answer == (before if (index if by_index else asked) == 2016 else after))
    if all_below:
        return sum(kinds[True]) / len(own), sum(kinds[False]) / len(own)
    return _share(kinds[True]), _share(kinds[False])


def _one_number(rows: Sequence[Row]) -> float:
    return _share(
        [answer == (before if asked == 2016 else after) for answer, before, after, asked, _ in rows if before != after]
    )


check_hot_swap = Exercise(
    number="15.1",
    name="hot_swap",
    title="The hot-swap: matched and mismatched",
    stars=2,
    minutes=15,
    points=5,
    reference=_hot_swap,
    by_hand=(
        (
            (
                [
                    ("Temer", "Rousseff", "Temer", 2018, 2018),
                    ("Rousseff", "Rousseff", "Temer", 2018, 2018),
                    ("Macron", "Hollande", "Macron", 2016, 2018),
                    ("Merkel", "Merkel", "Merkel", 2016, 2018),
                ],
            ),
            (0.5, 0.0),
        ),
        (([("Macron", "Hollande", "Macron", 2018, 2018), ("Hollande", "Hollande", "Macron", 2018, 2016)],), (1.0, 0.0)),
    ),
    draw=_swaps,
    mistakes=(
        Mistake(
            "unchanged offices counted",
            "An office whose holder is the same in both years says nothing of the index: leave it out.",
            lambda rows: _hot_swap(rows, changed=False),
        ),
        Mistake(
            "right by the index's year",
            "An answer is right if it names the holder in the year that was asked about, whatever the index holds.",
            lambda rows: _hot_swap(rows, by_index=True),
        ),
        Mistake(
            "one denominator",
            "Each of the two shares is of its own rows: divide by the number of matched and of mismatched rows.",
            lambda rows: _hot_swap(rows, all_below=True),
        ),
        Mistake(
            "the two exchanged",
            "Matched (the index of the year asked about) comes first.",
            lambda rows: _hot_swap(rows)[::-1],
        ),
        Mistake("one number", "Matched and mismatched are two shares.", _one_number),
    ),
    hint="Keep offices that changed hands; right means the holder in the year asked about; two shares, by asked == index.",
)


def _two_systems(rng: np.random.Generator, size: int) -> Args:
    n = size + 3
    common = rng.random(n) < 0.5
    a = [bool(x) for x in np.where(rng.random(n) < 0.7, common, rng.random(n) < 0.6)]
    b = [bool(x) for x in np.where(rng.random(n) < 0.7, common, rng.random(n) < 0.4)]
    return [True, *a], [False, *b]


def _interval(differences: Sequence[float], error: float) -> tuple[float, float, float]:
    mean = float(np.mean(differences))
    return mean, mean - 1.96 * error, mean + 1.96 * error


def _paired(a: Sequence[bool], b: Sequence[bool], ddof: int = 1) -> tuple[float, float, float]:
    differences = [float(x) - float(y) for x, y in zip(a, b, strict=True)]
    return _interval(differences, float(np.std(differences, ddof=ddof)) / math.sqrt(len(differences)))


def _unpaired(a: Sequence[bool], b: Sequence[bool]) -> tuple[float, float, float]:
    differences = [float(x) - float(y) for x, y in zip(a, b, strict=True)]
    variance = float(np.var([float(x) for x in a], ddof=1) + np.var([float(y) for y in b], ddof=1))
    return _interval(differences, math.sqrt(variance / len(a)))


def _not_of_the_mean(a: Sequence[bool], b: Sequence[bool]) -> tuple[float, float, float]:
    differences = [float(x) - float(y) for x, y in zip(a, b, strict=True)]
    return _interval(differences, float(np.std(differences, ddof=1)))


check_paired_interval = Exercise(
    number="15.2",
    name="paired_interval",
    title="Learned or frozen? A paired difference",
    stars=2,
    minutes=20,
    points=5,
    reference=_paired,
    by_hand=(
        # differences 1, 0, 0, -1: mean 0, variance 2/3, error √(2/3/4)
        (([True, True, False, False], [False, True, False, True]), (0.0, -1.96 * math.sqrt(1 / 6), 1.96 * math.sqrt(1 / 6))),
        (([True, True, True], [False, False, False]), (1.0, 1.0, 1.0)),
    ),
    draw=_two_systems,
    mistakes=(
        Mistake(
            "not paired",
            "Both systems answered the same questions: take differences question by question, and their spread.",
            _unpaired,
        ),
        Mistake(
            "spread of one difference",
            "That is how far one question's difference spreads; the mean of n of them spreads by that over √n.",
            _not_of_the_mean,
        ),
        Mistake(
            "n below the variance",
            "The mean was estimated from the same differences: divide by n − 1 in the variance.",
            lambda a, b: _paired(a, b, ddof=0),
        ),
        Mistake("the wrong way round", "a − b is asked for.", lambda a, b: _paired(b, a)),
        Mistake(
            "percent", "Shares between −1 and 1 are asked for, not percent.", lambda a, b: tuple(100 * x for x in _paired(a, b))
        ),
    ),
    hint="d = a − b at each question; mean d̄, sample variance s² (n − 1); d̄ ± 1.96 · s / √n.",
)


def _read(rng: np.random.Generator, size: int) -> Args:
    """log p(y|x, z) [K] and log p(z|x) [K], best first, and how many to read: fewer than there are."""
    documents = 3 + size
    scores = (2 * normal(rng, documents)).sort(descending=True).values
    return -positive(rng, documents) * (1 + size), scores.log_softmax(0), 1 + int(rng.integers(documents - 1))


def _first_k(log_p: Tensor, log_prior: Tensor, k: int) -> Tensor:
    return torch.logsumexp(log_prior[:k].log_softmax(0) + log_p[:k], 0)


check_with_first_k = Exercise(
    number="15.3",
    name="with_first_k",
    title="Fewer passages, the same model",
    stars=1,
    minutes=10,
    points=4,
    reference=_first_k,
    by_hand=(
        # (0.5 · 0.2 + 0.3 · 0.8) / 0.8
        ((torch.tensor([0.2, 0.8, 1.0]).log(), torch.tensor([0.5, 0.3, 0.2]).log(), 2), torch.tensor(0.34 / 0.8).log()),
        ((torch.tensor([0.2, 0.8]).log(), torch.tensor([0.5, 0.5]).log(), 1), torch.tensor(0.2).log()),
    ),
    draw=_read,
    mistakes=(
        Mistake(
            "prior not shared out anew",
            "The first k priors no longer add up to 1; divide by their sum (log_softmax over the k that are left).",
            lambda log_p, log_prior, k: torch.logsumexp(log_prior[:k] + log_p[:k], 0),
        ),
        Mistake(
            "all of them read",
            "k is not used: only the first k documents are read.",
            lambda log_p, log_prior, k: torch.logsumexp(log_prior + log_p, 0),
        ),
        Mistake(
            "one too many",
            "The first k are [:k].",
            lambda log_p, log_prior, k: _first_k(log_p, log_prior, k + 1),
        ),
        Mistake(
            "the last k",
            "The best documents come first; here the last k are read.",
            lambda log_p, log_prior, k: _first_k(log_p[-k:], log_prior[-k:], k),
        ),
        Mistake(
            "a plain mean",
            "The k documents count the same here: weigh them by their prior, shared out anew.",
            lambda log_p, log_prior, k: torch.logsumexp(log_p[:k], 0) - math.log(k),
        ),
    ),
    hint="Cut both to k, make the prior add up to 1 again (log_softmax), then logsumexp of the sum.",
)
