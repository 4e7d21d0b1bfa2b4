"""The training loss −log p(y|x), with label smoothing ε: a part ε of each target is spread evenly over the vocabulary.

RAG-Token smooths the distribution that it trains, the mixture: (1 − ε) · nll − ε Σ_i mean_V log Σ_k p(z_k|x) p(·|x, z_k, y_<i).
RAG-Sequence smooths under each document: (1 − ε) · nll − ε log Σ_k p(z_k|x) exp Σ_i mean_V log p(·|x, z_k, y_<i), the prior
once, as in the likelihood itself. (transformers takes the prior and log p V times within that sum, and divides by V outside.)
Smoothing asks for every word's log-probability, so no logit may be −inf then; and a target that no document gives any
probability has an infinite loss, as it should.
"""

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from minirag.errors import MiniragError
from minirag.rag.marginalize import (
    Scheme,
    is_padding,
    log_prior,
    marginal_log_probs,
    sequence_log_likelihood,
    token_log_likelihood,
)


def marginal_loss(
    logits: Float[Tensor, "B K T V"],
    targets: Int[Tensor, "B T"],
    doc_scores: Float[Tensor, "B K"],
    pad_id: int,
    scheme: Scheme = "sequence",
    label_smoothing: float = 0.0,
) -> Float32[Tensor, " B"]:
    """−log p(y|x) in nats, for each question; shapes as in `marginalize.py`.

    >>> from minirag.rag.marginalize import worked_example
    >>> logits, targets, doc_scores = worked_example()
    >>> marginal_loss(logits, targets, doc_scores, pad_id=2, scheme="token")  # −log 0.42
    tensor([0.8675])
    """
    if scheme not in ("sequence", "token"):
        raise MiniragError(f"there is no scheme '{scheme}'; choose 'sequence' or 'token'")
    if not 0 <= label_smoothing <= 1:
        raise MiniragError(f"label_smoothing = {label_smoothing} is no share of 1; choose a number from 0 to 1")
    likelihood = sequence_log_likelihood if scheme == "sequence" else token_log_likelihood
    loss = -likelihood(logits, targets, doc_scores, pad_id)  # [B]
    if label_smoothing:
        evenly = _sequence_evenly if scheme == "sequence" else _token_evenly
        loss = (1 - label_smoothing) * loss - label_smoothing * evenly(logits, is_padding(targets, pad_id), doc_scores)
    return loss


def _token_evenly(logits: Tensor, padding: Tensor, doc_scores: Tensor) -> Float32[Tensor, " B"]:
    return marginal_log_probs(logits, doc_scores).mean(2).masked_fill(padding, 0.0).sum(1)


def _sequence_evenly(logits: Tensor, padding: Tensor, doc_scores: Tensor) -> Float32[Tensor, " B"]:
    wide = logits.float()
    evenly = (wide.mean(3) - wide.logsumexp(3)).masked_fill(padding[:, None], 0.0).sum(2)  # [B, K]
    return torch.logsumexp(log_prior(doc_scores) + evenly, 1)
