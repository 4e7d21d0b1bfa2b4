"""Exercises of notebook 08: p(z|x), and the two marginalisations in log space. More: `speaking.py`, `batches.py`."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.draw import normal, positive
from minirag.teaching.checks.exercise import Args, Exercise, Mistake

_THIRD = torch.tensor([0.75, 0.25]).log()  # priors [K]
_TWO = torch.tensor([[0.8, 0.5], [0.4, 0.9]]).log()  # the notebook's two documents and two tokens [K, T]


def some_scores(rng: np.random.Generator, batch: int, documents: int) -> Tensor:
    """doc_scores [B, K]: in every second row the last documents may be missing (−inf), the first never."""
    scores = 2 * normal(rng, batch, documents)
    for b in range(1, batch, 2):
        scores[b, int(rng.integers(1, documents + 1)) :] = -math.inf
    return scores


def some_log_p(rng: np.random.Generator, size: int) -> Args:
    """log p(y_i|x, z_k, y_<i) [K, T] and log p(z_k|x) [K]; from size 17 on so improbable that the product underflows."""
    documents, tokens = 1 + int(rng.integers(4)), 1 + size
    log_p = -positive(rng, documents, tokens) * (1 if size < 17 else 20)
    return log_p, (3 * normal(rng, documents)).log_softmax(0)


def _some_prior(rng: np.random.Generator, size: int) -> Args:
    """Scores [B, K], of the size of DPR's: e to the power of them is more than a float32 holds."""
    return (100 * float(rng.integers(2)) + some_scores(rng, 1 + size // 3, 1 + int(rng.integers(1 + size // 2))),)


def _prior(doc_scores: Tensor) -> Tensor:
    return doc_scores.softmax(1)


check_document_prior = Exercise(
    number="8.1",
    name="document_prior",
    title="From scores to p(z|x)",
    stars=1,
    minutes=8,
    points=3,
    reference=_prior,
    by_hand=(
        ((torch.tensor([[3.0, 1.0]]).log(),), torch.tensor([[0.75, 0.25]])),
        ((torch.tensor([[3.0, 1.0], [1.0, 1.0]]).log(),), torch.tensor([[0.75, 0.25], [0.5, 0.5]])),
        ((torch.tensor([[0.0, -math.inf, 0.0]]),), torch.tensor([[0.5, 0.0, 0.5]])),
        ((torch.tensor([[100.0, 100.0]]),), torch.tensor([[0.5, 0.5]])),
    ),
    draw=_some_prior,
    mistakes=(
        Mistake(
            "over the batch",
            "The softmax went over the questions. The documents of one question share its probability: each row adds up to 1.",
            lambda doc_scores: doc_scores.softmax(0),
        ),
        Mistake(
            "over everything at once",
            "The whole table adds up to 1, and each of its rows should: a question's documents compete with one another alone.",
            lambda doc_scores: doc_scores.flatten().softmax(0).view_as(doc_scores),
        ),
        Mistake(
            "scores divided by their sum",
            "Scores may be negative, and only their differences mean something: take e to the power of each before you divide.",
            lambda doc_scores: doc_scores / doc_scores.sum(1, keepdim=True),
        ),
        Mistake(
            "each by itself",
            "A sigmoid makes each document a probability of its own. Here exactly one document is drawn: they add up to 1.",
            lambda doc_scores: doc_scores.sigmoid(),
        ),
        Mistake(
            "the best alone",
            "The best document got everything. It may be wrong, and the others are read too: give each its share, by a "
            "softmax.",
            lambda doc_scores: (doc_scores == doc_scores.max(1, keepdim=True).values).float(),
        ),
        Mistake(
            "logarithms",
            "These are log-probabilities; probabilities are asked for.",
            lambda doc_scores: doc_scores.log_softmax(1),
        ),
        Mistake(
            "missing ones take part",
            "−inf says that there is no such document, and it gets probability 0. With a score of 0 it would take its share.",
            lambda doc_scores: doc_scores.masked_fill(doc_scores == -math.inf, 0.0).softmax(1),
        ),
        Mistake(
            "the exponential overflows",
            "e¹⁰⁰ is more than a float32 holds. Take the row's largest score away from all of them first, or use "
            "torch.softmax.",
            lambda doc_scores: doc_scores.exp() / doc_scores.exp().sum(1, keepdim=True),
        ),
    ),
    hint="One softmax along the documents; e to the power of −inf is 0, so that missing documents need no special care.",
)


def _sequence(log_p: Tensor, log_prior: Tensor) -> Tensor:
    return torch.logsumexp(log_prior + log_p.sum(1), 0)


def _token(log_p: Tensor, log_prior: Tensor) -> Tensor:
    return torch.logsumexp(log_prior[:, None] + log_p, 0).sum()


_UNDERFLOW = "Long answers underflow: multiply by adding logarithms, and add probabilities with torch.logsumexp."
_NO_PRIOR = "Every document counts the same here: p(z|x) is missing."
_MEAN_OF_LOGS = (
    "The mean of log-probabilities is not the logarithm of a mean: add up probabilities over documents (torch.logsumexp)."
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
    draw=some_log_p,
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
        Mistake(
            "probabilities multiplied",
            _UNDERFLOW,
            lambda log_p, log_prior: (log_prior.exp() * log_p.exp().prod(1)).sum().log(),
        ),
        Mistake("mean of logarithms", _MEAN_OF_LOGS, lambda log_p, log_prior: (log_prior.exp() * log_p.sum(1)).sum()),
        Mistake("no prior", _NO_PRIOR, lambda log_p, log_prior: torch.logsumexp(log_p.sum(1), 0)),
        Mistake(
            "the best document alone",
            "This takes the best document and forgets the others: a sum over documents is asked for, no maximum.",
            lambda log_p, log_prior: (log_prior + log_p.sum(1)).max(),
        ),
        Mistake(
            "mean over tokens",
            "A sequence's log-probability is the sum over its tokens; a mean makes long answers as likely as short ones.",
            lambda log_p, log_prior: torch.logsumexp(log_prior + log_p.mean(1), 0),
        ),
    ),
    hint="Three steps: add up log_p over tokens [K], add the log-prior [K], add up probabilities over documents.",
)

check_rag_token = Exercise(
    number="8.3",
    name="rag_token",
    title="RAG-Token in log space",
    stars=2,
    minutes=10,
    points=4,
    reference=_token,
    by_hand=(
        ((_TWO, _THIRD), torch.tensor(0.7 * 0.6).log()),
        ((torch.tensor([[0.5]]).log(), torch.zeros(1)), torch.tensor(0.5).log()),
    ),
    draw=some_log_p,
    mistakes=(
        Mistake(
            "product before sum",
            "A document wrote the whole answer, and only then were documents added up: that is RAG-Sequence. Here each token "
            "may come from another document: the sum over documents comes first.",
            _sequence,
        ),
        Mistake(
            "prior at the first token alone",
            "Each token is drawn from the mixture of all documents anew: the prior belongs to every one of the sums.",
            lambda log_p, log_prior: _token(log_p[:, :1], log_prior) + torch.logsumexp(log_p[:, 1:], 0).sum(),
        ),
        Mistake(
            "probabilities multiplied",
            _UNDERFLOW,
            lambda log_p, log_prior: (log_prior.exp() @ log_p.exp()).prod().log(),
        ),
        Mistake("mean of logarithms", _MEAN_OF_LOGS, lambda log_p, log_prior: (log_prior.exp() @ log_p).sum()),
        Mistake("no prior", _NO_PRIOR, lambda log_p, log_prior: torch.logsumexp(log_p, 0).sum()),
        Mistake(
            "the best document at each token",
            "At each token this takes the best document and forgets the others: a sum is asked for, no maximum.",
            lambda log_p, log_prior: (log_prior[:, None] + log_p).max(0).values.sum(),
        ),
        Mistake(
            "mean over tokens",
            "The log-probability of an answer is the sum over its tokens; a mean makes long answers as likely as short ones.",
            lambda log_p, log_prior: torch.logsumexp(log_prior[:, None] + log_p, 0).mean(),
        ),
    ),
    hint="Give the prior an axis for tokens, [K, 1]; add up probabilities over documents [T]; then logarithms over tokens.",
)
