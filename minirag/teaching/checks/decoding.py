"""Exercise of notebook 09: RAG-Token's next token. More: `thorough.py`, `fast.py`, `costs.py`."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from minirag.rag.marginalize import marginal_log_probs
from minirag.teaching.checks.draw import normal, whole
from minirag.teaching.checks.exercise import Args, Exercise, Mistake
from minirag.teaching.checks.marginalisation import some_scores


def _next_token(logits: Tensor, prefix: Tensor, doc_scores: Tensor) -> Tensor:
    return marginal_log_probs(logits[None, :, -1], doc_scores[None])[0]


def _some_step(rng: np.random.Generator, size: int) -> Args:
    """Logits [K, T, V], the T − 1 tokens so far, doc_scores [K], every second time with a document that is missing."""
    documents, length, vocabulary = 1 + int(rng.integers(4)), 1 + int(rng.integers(1 + size // 2)), 3 + size // 8
    scores = some_scores(rng, 2, documents)[size % 2]
    return 2 * normal(rng, documents, length, vocabulary), whole(rng, 0, vocabulary, length - 1), scores


def _updated(logits: Tensor, prefix: Tensor, doc_scores: Tensor) -> Tensor:
    said = logits[:, :-1].log_softmax(2).gather(2, prefix[None, :, None].expand(len(logits), -1, 1))[..., 0]  # [K, T − 1]
    return _next_token(logits, prefix, doc_scores.log_softmax(0) + said.sum(1))


# The notebook's two states: 0 North, 1 South, 2 Carolina, 3 Dakota; after the first word both documents know what follows.
_NORTH = torch.tensor([[[0.9, 0.1, 0, 0], [0, 0, 0.6, 0.4]], [[0.1, 0.9, 0, 0], [0, 0, 0.05, 0.95]]]).log()
_PRIOR = torch.tensor([0.55, 0.45]).log()
_WORDS = torch.tensor([[[0.5, 0.3, 0.2]], [[0.1, 0.1, 0.8]]]).log()  # [K, T, V], T = 1: nothing is written yet
_NONE = torch.tensor([], dtype=torch.int64)

check_next_token = Exercise(
    number="9.1",
    name="next_token",
    title="RAG-Token's next token",
    stars=2,
    minutes=15,
    points=5,
    reference=_next_token,
    by_hand=(
        ((_WORDS, _NONE, torch.tensor([3.0, 1.0]).log()), torch.tensor([0.4, 0.25, 0.35]).log()),
        (
            (_WORDS + torch.tensor([[[1.0]], [[-1.0]]]), _NONE, torch.tensor([0.0, 0.0])),
            torch.tensor([0.3, 0.2, 0.5]).log(),
        ),
        ((_NORTH, torch.tensor([0]), _PRIOR), torch.tensor([0.0, 0.0, 0.3525, 0.6475]).log()),
        ((_NORTH, torch.tensor([1]), _PRIOR + 1), torch.tensor([0.0, 0.0, 0.3525, 0.6475]).log()),
        ((_WORDS, _NONE, torch.tensor([-math.inf, 5.0])), torch.tensor([0.1, 0.1, 0.8]).log()),
    ),
    draw=_some_step,
    mistakes=(
        Mistake(
            "prior changed by the prefix",
            "The documents were weighed by what they said so far: that is RAG-Sequence's posterior. In RAG-Token every token "
            "is drawn from the mixture anew, with the same p(z|x).",
            _updated,
        ),
        Mistake(
            "logits mixed",
            "Probabilities are mixed, not logits: log-softmax under each document first, then the sum over documents.",
            lambda logits, prefix, doc_scores: (
                (
                    doc_scores.softmax(0) @ logits[:, -1].nan_to_num(neginf=-1e30)  # 0 · −inf would be no number
                ).log_softmax(0)
            ),
        ),
        Mistake(
            "log-probabilities mixed",
            "A mean of logarithms is not the logarithm of a mean, and it does not add up to 1: mix probabilities (logsumexp).",
            lambda logits, prefix, doc_scores: doc_scores.softmax(0) @ logits[:, -1].log_softmax(1),
        ),
        Mistake(
            "each document not normalised",
            "Logits of different documents have no scale in common: log-softmax under each document before they are added up.",
            lambda logits, prefix, doc_scores: torch.logsumexp(doc_scores.log_softmax(0)[:, None] + logits[:, -1], 0),
        ),
        Mistake(
            "no prior",
            "Every document counts the same here: weigh them by p(z|x), the softmax of their scores.",
            lambda logits, prefix, doc_scores: _next_token(logits, prefix, torch.zeros_like(doc_scores)),
        ),
        Mistake(
            "scores for the prior",
            "doc_scores are logits: log-softmax over the documents makes them log p(z|x), and the result adds up to 1.",
            lambda logits, prefix, doc_scores: torch.logsumexp(doc_scores[:, None] + logits[:, -1].log_softmax(1), 0),
        ),
        Mistake(
            "the best document alone",
            "At each word the most favourable document was taken. A sum over documents is asked for, no maximum.",
            lambda logits, prefix, doc_scores: (
                (doc_scores.log_softmax(0)[:, None] + logits[:, -1].log_softmax(1)).max(0).values
            ),
        ),
        Mistake(
            "the first step's logits",
            "What follows the whole prefix stands at the last place, logits[:, −1]; this is what follows the start token.",
            lambda logits, prefix, doc_scores: _next_token(logits[:, :1], prefix, doc_scores),
        ),
    ),
    hint="Only the last logits matter [K, V]: log-softmax over V, add log p(z|x) as [K, 1], logsumexp over documents.",
)
