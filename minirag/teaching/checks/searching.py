"""Exercise of notebook 07: beam search with a length penalty."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.draw import normal
from minirag.teaching.checks.exercise import Args, Exercise, Mistake

NextLogProbs = Callable[[Sequence[int]], Tensor]
Found = tuple[list[int], float]  # a hypothesis and its score


@dataclass(frozen=True)
class Language:
    """log p of each next token [V], from a table {prefix: {token: p}}; what is not in the table ends (token 0) for certain."""

    vocabulary: int
    table: dict[tuple[int, ...], dict[int, float]]

    def __call__(self, prefix: Iterable[int]) -> Tensor:
        row = self.table.get(tuple(map(int, prefix)), {0: 1.0})
        return torch.tensor([row.get(token, 0.0) for token in range(self.vocabulary)]).log()


@dataclass(frozen=True)
class RandomLanguage:
    """log p of each next token [V]: random numbers that depend on the prefix and nothing else."""

    vocabulary: int
    seed: int

    def __call__(self, prefix: Iterable[int]) -> Tensor:
        return _random_row(self.vocabulary, (self.seed, *map(int, prefix))).clone()


@lru_cache(maxsize=4096)
def _random_row(vocabulary: int, key: tuple[int, ...]) -> Tensor:
    return (1.5 * normal(np.random.default_rng(key), vocabulary)).log_softmax(0)


@dataclass(frozen=True)
class _Rules:
    """What is right in beam search; each mistake changes one of them."""

    looked_at: int = 2  # times the beams: continuations from which running ones are taken
    counted: int = 1  # times the beams: continuations among which an end counts
    stops: str = "at the length"  # or "first end", "no better now"
    cut_counts: bool = True
    ends: bool = True
    lower_first: bool = True  # of equals
    impossible: bool = False  # keep what has probability 0
    normalise: Callable[[float, int, float], float] = lambda total, length, alpha: total / length**alpha


def _search(
    next_log_probs: NextLogProbs, beams: int, max_length: int, eos: int, alpha: float, rules: _Rules = _Rules()
) -> list[Found]:
    sign = 1 if rules.lower_first else -1

    def order(each: tuple[list[int], float]) -> tuple[float, list[int]]:
        return -each[1], [sign * token for token in each[0]]

    running: list[Found] = [([], 0.0)]
    ended: list[Found] = []
    for length in range(1, max_length + 1):
        grown = [
            ([*tokens, token], total + log_p)
            for tokens, total in running
            for token, log_p in enumerate(next_log_probs(tokens).tolist())
            if log_p > -math.inf or rules.impossible
        ]
        best = sorted(grown, key=order)[: rules.looked_at * beams]
        stops = [(tokens[-1] == eos and rules.ends) or (length == max_length and rules.cut_counts) for tokens, _ in best]
        for (tokens, total), stop in list(zip(best, stops, strict=True))[: rules.counted * beams]:
            if stop:
                ended.append((tokens, rules.normalise(total, length, alpha)))
        ended = sorted(ended, key=order)[:beams]
        running = [each for each, stop in zip(best, stops, strict=True) if not stop][:beams]
        if not running or (rules.stops == "first end" and ended):
            break
        full = rules.stops == "no better now" and len(ended) == beams
        if full and rules.normalise(running[0][1], length, alpha) <= ended[-1][1]:
            break
    return ended


def _beam_search(next_log_probs: NextLogProbs, beams: int, max_length: int, eos: int, alpha: float) -> list[Found]:
    return _search(next_log_probs, beams, max_length, eos, alpha)


def _but(**changed: Any) -> Callable[..., list[Found]]:
    return partial(_search, rules=replace(_Rules(), **changed))


def _greedy(next_log_probs: NextLogProbs, beams: int, max_length: int, eos: int, alpha: float) -> list[Found]:
    tokens: list[int] = []
    total = 0.0
    while len(tokens) < max_length and tokens[-1:] != [eos]:
        best, token = next_log_probs(tokens).max(0)
        tokens, total = [*tokens, int(token)], total + float(best)
    return [(tokens, total / len(tokens) ** alpha)]


def _some_language(rng: np.random.Generator, size: int) -> Args:
    language = RandomLanguage(3 + int(rng.integers(2 + size // 8)), int(rng.integers(1_000_000)))
    return language, 2 + int(rng.integers(3)), 1 + int(rng.integers(2 + size // 6)), 0, float(rng.choice([0.0, 0.7, 1.0, 2.0]))


_NILE = Language(  # notebook 07: 1 in, 2 the, 3 Egypt, 4 Africa, 5 Sudan, 6 Mediterranean, 7 sea, 8 Sea, 9 today
    10,
    {
        (): {1: 0.5, 2: 0.4, 3: 0.1},
        (1,): {3: 0.4, 4: 0.34, 5: 0.26},
        (2,): {6: 0.9, 7: 0.1},
        (1, 3): {0: 0.6, 9: 0.4},
        (2, 6): {0: 0.6, 8: 0.4},
    },
)
_SHORT = Language(4, {(): {0: 0.5, 1: 0.3, 2: 0.2}, (1,): {0: 0.4, 3: 0.6}})
_THIRD = Language(7, {(): {1: 0.5, 2: 0.35, 0: 0.15}, (1,): {3: 0.7, 4: 0.3}, (2,): {5: 0.6, 4: 0.4}, (2, 5): {6: 0.6, 0: 0.4}})
_LATE = Language(
    4, {(): {0: 0.55, 1: 0.45}, (1,): {0: 0.9, 2: 0.1}, (1, 2): {3: 1.0}, (1, 2, 3): {3: 1.0}, (1, 2, 3, 3): {3: 1.0}}
)
_EVEN = Language(4, {(): {0: 0.25, 1: 0.25, 2: 0.25, 3: 0.25}})
_TWO = Language(4, {(): {1: 0.75, 2: 0.25}})


def _log(*found: tuple[list[int], float, int]) -> list[Found]:
    return [(tokens, math.log(p) / divided_by) for tokens, p, divided_by in found]


check_beam_search = Exercise(
    number="7.3",
    name="beam_search",
    title="Beam search with a length penalty",
    stars=3,
    minutes=45,
    points=10,
    reference=_beam_search,
    by_hand=(
        ((_NILE, 2, 6, 0, 0.0), _log(([2, 6, 0], 0.216, 1), ([2, 6, 8, 0], 0.144, 1))),
        ((_NILE, 2, 6, 0, 1.0), _log(([2, 6, 8, 0], 0.144, 4), ([2, 6, 0], 0.216, 3))),
        ((_NILE, 2, 2, 0, 0.0), _log(([2, 6], 0.36, 1), ([1, 3], 0.2, 1))),
        ((_SHORT, 2, 5, 0, 0.0), _log(([0], 0.5, 1), ([2, 0], 0.2, 1))),
        ((_THIRD, 2, 5, 0, 0.0), _log(([1, 3, 0], 0.35, 1), ([2, 5, 6, 0], 0.126, 1))),
        ((_LATE, 2, 6, 0, 1.0), _log(([1, 0], 0.405, 2), ([1, 2, 3, 3, 3, 0], 0.045, 6))),
        ((_EVEN, 2, 1, 0, 0.0), _log(([0], 0.25, 1), ([1], 0.25, 1))),
        ((_TWO, 3, 5, 0, 0.0), _log(([1, 0], 0.75, 1), ([2, 0], 0.25, 1))),
    ),
    draw=_some_language,
    mistakes=(
        Mistake(
            "greedy",
            "Only one prefix was kept at each step, so that a good answer with an unlikely first word is lost: keep `beams`.",
            _greedy,
        ),
        Mistake(
            "length penalty the wrong way",
            "Log-probabilities are negative: multiplied by lengthᵅ, long hypotheses become worse. Divide by it.",
            _but(normalise=lambda total, length, alpha: total * length**alpha),
        ),
        Mistake(
            "no length penalty",
            "Hypotheses that ended compete by log p / lengthᵅ, and here by log p alone.",
            _but(normalise=lambda total, length, alpha: total),
        ),
        Mistake(
            "length off by one",
            "The length of a hypothesis is the number of its tokens, with the end among them.",
            _but(normalise=lambda total, length, alpha: total / max(length - 1, 1) ** alpha),
        ),
        Mistake(
            "the end goes on",
            "A hypothesis that has written `eos` is finished: set it aside, and let it neither grow nor take a place in the "
            "beam.",
            _but(ends=False),
        ),
        Mistake(
            "stopped at the first end",
            "The first hypothesis to end need not be the best: search on, as long as one that runs may still become better.",
            _but(stops="first end"),
        ),
        Mistake(
            "stopped too early",
            "With a length penalty one that runs can still become better by growing longer, though it is no better at its "
            "present length. Search on until nothing runs, or `max_length` is reached.",
            _but(stops="no better now"),
        ),
        Mistake(
            "cut-off ones forgotten",
            "At `max_length` hypotheses are cut off and count as they stand, without an end; here they are lost.",
            _but(cut_counts=False),
        ),
        Mistake(
            "the beam shrinks",
            "Those that end took the places of those that run. Look at the best 2 · beams continuations: then `beams` are "
            "left to run on, however many end.",
            _but(looked_at=1),
        ),
        Mistake(
            "every end counts",
            "An end counts only among the best `beams` continuations of its step, not among all that were looked at.",
            _but(counted=2),
        ),
        Mistake(
            "equal ones in the wrong order",
            "Of two that are equally good the one with the lower tokens comes first; sort by (−score, tokens).",
            _but(lower_first=False),
        ),
        Mistake(
            "impossible ones kept",
            "A continuation with probability 0 (log-probability −inf) is none: return fewer hypotheses rather than such ones.",
            _but(impossible=True),
        ),
    ),
    hint="Grow all prefixes by all tokens, take the best 2 · beams; of the first `beams` those that stop are set aside with "
    "their score, of the others the best `beams` run on. Work it through for the first case with pencil and paper.",
)
