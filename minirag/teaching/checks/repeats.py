"""Exercise of notebook 07: no n-gram twice."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.draw import normal
from minirag.teaching.checks.exercise import Args, Exercise, Mistake


def _forbidden(log_probs: Tensor, tokens: Iterable[int], value: float = -math.inf) -> Tensor:
    left = log_probs.clone()
    left[list(tokens)] = value
    return left


def _completing(prefix: list[int], n: int) -> list[int]:
    """The tokens that would complete, after `prefix`, an n-gram that it holds already."""
    end = prefix[len(prefix) - n + 1 :] if n <= len(prefix) else None
    return [prefix[at + n - 1] for at in range(len(prefix) - n + 1) if prefix[at : at + n - 1] == end]


def _without_repeats(log_probs: Tensor, prefix: list[int], n: int) -> Tensor:
    return _forbidden(log_probs, _completing(prefix, n))


def _some_prefix(rng: np.random.Generator, size: int) -> Args:
    """log p [V] of a next token; a prefix of few different tokens, so that n-grams come twice; n from 1 to 4."""
    vocabulary = 3 + size // 12
    prefix = rng.integers(0, vocabulary, int(rng.integers(size + 1))).tolist()
    return normal(rng, vocabulary).log_softmax(0), prefix, 1 + int(rng.integers(4))


_HALVES = torch.tensor([0.5, 0.25, 0.125, 0.125]).log()


def _left(*gone: int) -> Tensor:
    return torch.tensor([-math.inf if token in gone else float(p) for token, p in enumerate(_HALVES)])


check_without_repeats = Exercise(
    number="7.4",
    name="without_repeats",
    title="No n-gram twice",
    stars=2,
    minutes=20,
    points=5,
    reference=_without_repeats,
    by_hand=(
        ((_HALVES, [0, 1, 2, 0], 2), _left(1)),
        ((_HALVES, [0, 1, 0, 2, 0], 2), _left(1, 2)),
        ((_HALVES, [1, 3, 3], 2), _left(3)),
        ((_HALVES, [3, 1, 3], 1), _left(1, 3)),
        ((_HALVES, [2], 3), _HALVES),
        ((_HALVES, [0, 1, 2, 3, 0, 1], 3), _left(2)),
    ),
    draw=_some_prefix,
    mistakes=(
        Mistake(
            "no token twice",
            "Every token of the prefix was forbidden. Forbidden is only what would complete an n-gram that is there already: "
            "the n − 1 tokens before it must match the end of the prefix.",
            lambda log_probs, prefix, n: _forbidden(log_probs, prefix),
        ),
        Mistake(
            "n tokens compared, not n − 1",
            "The last n tokens were compared, and a token after them makes n + 1: an n-gram is n − 1 tokens and the new one.",
            lambda log_probs, prefix, n: _forbidden(log_probs, _completing(prefix, n + 1)),
        ),
        Mistake(
            "the last n-gram overlooked",
            "The n-gram at the very end of the prefix was not looked at: there are len(prefix) − n + 1 of them.",
            lambda log_probs, prefix, n: _forbidden(log_probs, _but_the_last(prefix, n)),
        ),
        Mistake(
            "the first match alone",
            "The end of the prefix may have been there more than once, each time with another token after it: all of those are "
            "forbidden.",
            lambda log_probs, prefix, n: _forbidden(log_probs, _completing(prefix, n)[:1]),
        ),
        Mistake(
            "0 for −inf",
            "A log-probability of 0 is a probability of 1, the most likely token of all. What is forbidden has probability 0: "
            "−inf.",
            lambda log_probs, prefix, n: _forbidden(log_probs, _completing(prefix, n), 0.0),
        ),
        Mistake(
            "probabilities shared out again",
            "What is left was normalised anew. A search only forbids: the log-probabilities of all others stay what they are.",
            lambda log_probs, prefix, n: _without_repeats(log_probs, prefix, n).log_softmax(0),
        ),
        Mistake(
            "prefix[-0:] is the whole prefix",
            "For n = 1 the n − 1 = 0 last tokens are none, but prefix[-0:] are all. Every token of the prefix is forbidden "
            "then.",
            lambda log_probs, prefix, n: log_probs.clone() if n == 1 else _without_repeats(log_probs, prefix, n),
        ),
    ),
    hint="For each place of the prefix at which its last n − 1 tokens stand, too, and something follows: forbid what follows.",
)


def _but_the_last(prefix: list[int], n: int) -> list[int]:
    end = prefix[len(prefix) - n + 1 :] if n <= len(prefix) else None
    return [prefix[at + n - 1] for at in range(len(prefix) - n) if prefix[at : at + n - 1] == end]
