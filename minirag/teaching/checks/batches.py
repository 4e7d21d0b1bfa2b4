"""Exercise of notebook 08: RAG-Token of a whole batch, with all its gaps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from minirag.rag.marginalize import token_log_likelihood, worked_example
from minirag.teaching.checks.draw import normal
from minirag.teaching.checks.exercise import Args, Exercise, Mistake
from minirag.teaching.checks.generator import padded_targets
from minirag.teaching.checks.marginalisation import some_scores

_PAD = 2


def _some_batch(rng: np.random.Generator, size: int) -> Args:
    """Logits [B, K, T, V], targets [B, T], doc_scores [B, K] and the id of padding; from size 4 on with gaps."""
    batch, documents, length, vocabulary = 1 + size // 4, 1 + int(rng.integers(4)), 1 + int(rng.integers(5)), 4 + size // 8
    logits = 2 * normal(rng, batch, documents, length, vocabulary) * (1 if size < 20 else 15)
    return logits, padded_targets(rng, batch, length, vocabulary), some_scores(rng, batch, documents), 1


_LOGITS, _TARGETS, _SCORES = worked_example()  # their V = 3, the last of which is padding
_PADDED, _PADDED_TOO = torch.tensor([[0, _PAD]]), torch.tensor([[0, -100]])
_TALL = torch.cat([_LOGITS + 1, _LOGITS[:, :1]], 1)  # three documents, the third of which there is not


def _batch(
    logits: Tensor,
    targets: Tensor,
    doc_scores: Tensor,
    pad_id: int,
    prior: Callable[[Tensor], Tensor] = lambda scores: scores.log_softmax(1),
    both: bool = True,
    axis: int = 3,
    total: Callable[[Tensor, Tensor], Tensor] = lambda by_token, real: (by_token * real).sum(1),
) -> Tensor:
    """RAG-Token as a student would write it, with one step exchanged."""
    real = (targets != pad_id) & ((targets != -100) | (not both))
    index = targets.masked_fill(~real, 0)[:, None, :, None].expand(-1, logits.shape[1], -1, 1)
    log_p = logits.log_softmax(axis).gather(3, index)[..., 0]  # [B, K, T]
    return total(torch.logsumexp(prior(doc_scores)[:, :, None] + log_p, 1).masked_fill(~real, 0.0), real)


def _unmasked(logits: Tensor, targets: Tensor, doc_scores: Tensor, pad_id: int) -> Tensor:
    return _batch(logits, targets, doc_scores, -1, both=False)


def _shifted(logits: Tensor, targets: Tensor, doc_scores: Tensor, pad_id: int) -> Tensor:
    return _batch(logits[:, :, :-1], targets[:, 1:], doc_scores, pad_id)


def _sequence(logits: Tensor, targets: Tensor, doc_scores: Tensor, pad_id: int) -> Tensor:
    each = [_batch(own[:, None], targets, torch.zeros(len(own), 1), pad_id) for own in logits.unbind(1)]
    return torch.logsumexp(doc_scores.log_softmax(1) + torch.stack(each, 1), 1)


def _mixed(logits: Tensor, targets: Tensor, doc_scores: Tensor, pad_id: int) -> Tensor:
    mixture = torch.einsum("bk,bktv->btv", doc_scores.softmax(1), logits)
    return _batch(mixture[:, None], targets, torch.zeros(len(targets), 1), pad_id)


def _with_zeros(scores: Tensor) -> Tensor:
    return scores.masked_fill(scores == -torch.inf, 0.0).log_softmax(1)


check_rag_token_batch = Exercise(
    number="8.5",
    name="rag_token_batch",
    title="RAG-Token of a whole batch",
    stars=3,
    minutes=30,
    points=8,
    reference=token_log_likelihood,
    by_hand=(
        ((_LOGITS, _TARGETS, _SCORES, _PAD), torch.tensor([0.42]).log()),
        ((_LOGITS + 1, _PADDED, _SCORES, _PAD), torch.tensor([0.7]).log()),
        ((_LOGITS, _PADDED_TOO, _SCORES, _PAD), torch.tensor([0.7]).log()),
        (
            (_TALL.expand(2, -1, -1, -1), _TARGETS.expand(2, -1), torch.tensor([[3.0, 1.0, 0.0], [1.0, 1.0, 2.0]]).log(), _PAD),
            torch.tensor([0.42, (0.25 * 0.8 + 0.25 * 0.4 + 0.5 * 0.8) * (0.25 * 0.5 + 0.25 * 0.9 + 0.5 * 0.5)]).log(),
        ),
    ),
    draw=_some_batch,
    mistakes=(
        Mistake(
            "padding counted",
            "Padding is nothing that was said: its places count 0 (as logarithms) in the sum over tokens.",
            _unmasked,
        ),
        Mistake(
            "−100 not masked",
            "Padding is written in two ways, `pad_id` and −100, and −100 is no index: put a valid id in its place before you "
            "gather, and 0 after it.",
            partial(_batch, both=False),
        ),
        Mistake(
            "targets shifted",
            "logits[..., i, :] predict targets[..., i]: nothing is shifted here, the decoder's inputs were.",
            _shifted,
        ),
        Mistake(
            "product before sum",
            "Tokens were added up under each document first: that is RAG-Sequence. Add up documents at each token.",
            _sequence,
        ),
        Mistake(
            "logits mixed",
            "Probabilities are mixed, not logits: log-softmax under each document first, then the sum over documents.",
            _mixed,
        ),
        Mistake(
            "softmax over documents",
            "The softmax of the logits goes over the vocabulary, their last axis; documents are weighed by their scores alone.",
            partial(_batch, axis=1),
        ),
        Mistake(
            "scores for the prior",
            "doc_scores are logits of p(z|x): log-softmax over a question's documents makes them log p(z|x).",
            partial(_batch, prior=lambda scores: scores),
        ),
        Mistake(
            "prior over the batch",
            "The documents of one question compete, those of others do not: the prior's softmax goes along K, not along B.",
            partial(_batch, prior=lambda scores: scores.log_softmax(0)),
        ),
        Mistake(
            "missing documents take part",
            "A score of −inf says that there is no such document; with 0 in its place it takes a share of the probability.",
            partial(_batch, prior=_with_zeros),
        ),
        Mistake(
            "one number for the batch",
            "One log-likelihood for each question is asked for, [B].",
            partial(_batch, total=lambda by_token, real: by_token.sum()),
        ),
        Mistake(
            "mean over tokens",
            "An answer's log-probability is the sum over its tokens, whatever their number.",
            partial(_batch, total=lambda by_token, real: by_token.sum(1) / real.sum(1)),
        ),
    ),
    hint="log_softmax over V, gather the targets [B, K, T] (with a valid id at padding), add log p(z|x) as [B, K, 1], "
    "logsumexp over K [B, T], 0 at padding, sum over T [B].",
)
