"""Exercises of notebook 08: the two marginalisations, in log space."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.draw import normal, positive
from minirag.teaching.checks.exercise import Args, Exercise, Mistake

_HALF, _THIRD = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.75, 0.25]).log()  # priors [K]
_TWO = torch.tensor([[0.8, 0.5], [0.4, 0.9]]).log()  # the notebook's two documents and two tokens [K, T]


def _some_log_p(rng: np.random.Generator, size: int) -> Args:
    """log p(y_i|x, z_k, y_<i) [K, T] and log p(z_k|x) [K]; from size 17 on so improbable that the product underflows."""
    documents, tokens = 1 + int(rng.integers(4)), 1 + size
    log_p = -positive(rng, documents, tokens) * (1 if size < 17 else 20)
    return log_p, (3 * normal(rng, documents)).log_softmax(0)


def _sequence(log_p: Tensor, log_prior: Tensor) -> Tensor:
    return torch.logsumexp(log_prior + log_p.sum(1), 0)


def _token(log_p: Tensor, log_prior: Tensor) -> Tensor:
    return torch.logsumexp(log_prior[:, None] + log_p, 0).sum()


_SHARED = (
    Mistake(
        "probabilities multiplied",
        "Long answers underflow: multiply by adding logarithms, and add probabilities with torch.logsumexp.",
        lambda log_p, log_prior: (log_prior.exp() * log_p.exp().prod(1)).sum().log(),
    ),
    Mistake(
        "mean of logarithms",
        "The mean of log-probabilities is not the logarithm of a mean: add up probabilities over documents (torch.logsumexp).",
        lambda log_p, log_prior: (log_prior.exp() * log_p.sum(1)).sum(),
    ),
    Mistake(
        "no prior",
        "Every document counts the same here: p(z|x) is missing.",
        lambda log_p, log_prior: torch.logsumexp(log_p.sum(1), 0),
    ),
    Mistake(
        "the best document alone",
        "This takes the best document and forgets the others: a sum over documents is asked for, no maximum.",
        lambda log_p, log_prior: (log_prior + log_p.sum(1)).max(),
    ),
)

check_rag_sequence = Exercise(
    number="8.2",
    name="rag_sequence",
    title="RAG-Sequence in log space",
    stars=1,
    minutes=10,
    points=4,
    reference=_sequence,
    by_hand=(
        ((_TWO, _THIRD), torch.tensor(0.75 * 0.4 + 0.25 * 0.36).log()),
        ((torch.tensor([[0.5]]).log(), torch.zeros(1)), torch.tensor(0.5).log()),
    ),
    draw=_some_log_p,
    mistakes=(
        Mistake(
            "sum before product",
            "You added up over documents at every token, and then multiplied: that is RAG-Token. Here a document writes the "
            "whole answer: the product over tokens comes first.",
            _token,
        ),
        Mistake(
            "prior added per token",
            "The prior counts once for a document, not once for every token.",
            lambda log_p, log_prior: torch.logsumexp((log_prior[:, None] + log_p).sum(1), 0),
        ),
        *_SHARED,
        Mistake(
            "mean over tokens",
            "A sequence's log-probability is the sum over its tokens; a mean makes long answers as likely as short ones.",
            lambda log_p, log_prior: torch.logsumexp(log_prior + log_p.mean(1), 0),
        ),
    ),
    hint="Three steps: add up log_p over tokens [K], add the log-prior [K], add up probabilities over documents.",
)

EXERCISES: tuple[Exercise, ...] = (check_rag_sequence,)
