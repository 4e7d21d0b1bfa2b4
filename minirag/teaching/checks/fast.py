"""Exercise of notebook 09: Fast, which takes what a document's beam did not find to have probability 0 there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.exercise import Args, Exercise, Mistake
from minirag.teaching.checks.marginalisation import some_scores

Hypothesis = tuple[int, ...]


def summed(values: Tensor, doc_scores: Tensor) -> float:
    """log Σ_k p(z_k|x) p(y|x, z_k) of log p(y|x, z_k) [K]."""
    return float(torch.logsumexp(doc_scores.log_softmax(0) + values, 0))


def as_found(found: list[dict[Hypothesis, float]], doc_scores: Tensor) -> dict[Hypothesis, float]:
    """Fast: log p(y|x) of each hypothesis that any document's beam has found."""
    union = dict.fromkeys(y for beam in found for y in beam)
    return {y: summed(torch.tensor([beam.get(y, -math.inf) for beam in found]), doc_scores) for y in union}


def _some_beams(rng: np.random.Generator, size: int) -> Args:
    """For each of K documents log p of the hypotheses that its beam found; doc_scores, every second time with −inf."""
    documents = 1 + int(rng.integers(1 + size // 4))
    beams = [
        {
            tuple(rng.integers(2, 4, int(rng.integers(1, 3))).tolist()): -3 * float(rng.exponential())
            for _ in range(1 + int(rng.integers(1 + size // 6)))
        }
        for _ in range(documents)
    ]
    return beams, some_scores(rng, 2, documents)[size % 2]


def _by(total: Callable[[dict[int, float], Tensor], float]) -> Callable[..., dict[Hypothesis, float]]:
    """As Fast, but with another total of {k: log p(y|x, z_k)} over the documents that found y, and log p(z|x)."""
    return lambda found, doc_scores: {
        y: total({k: beam[y] for k, beam in enumerate(found) if y in beam}, doc_scores.log_softmax(0))
        for y in dict.fromkeys(y for beam in found for y in beam)
    }


def _logsummed(terms: Iterable[float]) -> float:
    return float(torch.logsumexp(torch.tensor(list(terms)), 0))


_HALF = math.log(0.5)

check_fast = Exercise(
    number="9.3",
    name="fast",
    title="Fast",
    stars=2,
    minutes=15,
    points=5,
    reference=as_found,
    by_hand=(
        (
            ([{(2, 0): _HALF}, {(2, 0): math.log(0.1), (3, 0): _HALF}], torch.tensor([3.0, 1.0]).log()),
            {(2, 0): math.log(0.4), (3, 0): math.log(0.125)},
        ),
        (([{(2,): _HALF}, {(3,): _HALF}], torch.zeros(2)), {(2,): math.log(0.25), (3,): math.log(0.25)}),
    ),
    draw=_some_beams,
    mistakes=(
        Mistake(
            "missing ones count as certain",
            "A log-probability of 0 is a probability of 1. What a document's beam did not find has probability 0 there: −inf, "
            "or no term in the sum.",
            lambda found, doc_scores: {
                y: summed(torch.tensor([beam.get(y, 0.0) for beam in found]), doc_scores)
                for y in dict.fromkeys(y for beam in found for y in beam)
            },
        ),
        Mistake(
            "prior shared out again",
            "The prior of those that found it was made to add up to 1 again. Those that did not find it keep their share of "
            "p(z|x), and add 0 with it.",
            _by(
                lambda own, prior: (
                    _logsummed(float(prior[k]) + p for k, p in own.items()) - float(torch.logsumexp(prior[list(own)], 0))
                )
            ),
        ),
        Mistake(
            "no prior",
            "The documents were added up without p(z|x), the softmax of their scores.",
            _by(lambda own, prior: _logsummed(own.values())),
        ),
        Mistake(
            "scores for the prior",
            "doc_scores are logits of p(z|x): take their log-softmax over all K documents.",
            lambda found, doc_scores: {
                y: total + float(torch.logsumexp(doc_scores, 0)) for y, total in as_found(found, doc_scores).items()
            },
        ),
        Mistake(
            "only what all have found",
            "A hypothesis counts if any document's beam has found it: the union of the beams, not what they have in common.",
            lambda found, doc_scores: {
                y: total for y, total in as_found(found, doc_scores).items() if all(y in beam for beam in found)
            },
        ),
        Mistake(
            "the best document alone",
            "The largest term was taken for the sum over the documents that found it.",
            _by(lambda own, prior: max(float(prior[k]) + p for k, p in own.items())),
        ),
        Mistake(
            "the last document alone",
            "What a later document says of a hypothesis replaced what an earlier one had said: add up, do not overwrite.",
            _by(lambda own, prior: [float(prior[k]) + p for k, p in own.items()][-1]),
        ),
        Mistake(
            "log-probabilities added up",
            "Adding logarithms multiplies probabilities. Documents are alternatives: add up their probabilities (logsumexp).",
            _by(lambda own, prior: sum(float(prior[k]) + p for k, p in own.items())),
        ),
    ),
    hint="For each hypothesis of any beam: log p(z|x) + log p(y|x, z) of the documents that found it, and logsumexp of those.",
)
