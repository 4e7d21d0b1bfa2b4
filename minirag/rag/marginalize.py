"""The probability of a target, summed over the documents it may have come from (RAG §2.1), and which document that was.

Everywhere: `logits[b, k, i]` predict `targets[b, i]` given question b, document k and the targets before i; the prior is
p(z_k|x) = softmax_k(doc_scores[b]); targets are padded with `pad_id` or −100. Arithmetic is in float32 whatever comes in. A
score of −inf says that there is no such document.

The example of all docstrings is `worked_example()`, small enough for a pencil.
"""

from typing import Literal

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from minirag.errors import MiniragError

Scheme = Literal["sequence", "token"]


def worked_example() -> tuple[Float[Tensor, "1 2 2 3"], Int[Tensor, "1 2"], Float[Tensor, "1 2"]]:
    """Logits, targets and doc_scores of two documents over a vocabulary of a (0), b (1) and padding (2); the target is "a b".

    Document 1 says p(a) = 0.8 and p(b|a) = 0.5, document 2 says p(a) = 0.4 and p(b|a) = 0.9; the prior is 3/4 and 1/4.
    """
    first, second = [[0.8, 0.2, 0.0], [0.5, 0.5, 0.0]], [[0.4, 0.6, 0.0], [0.1, 0.9, 0.0]]
    return torch.tensor([[first, second]]).log(), torch.tensor([[0, 1]]), torch.tensor([[3.0, 1.0]]).log()


def sequence_log_likelihood(
    logits: Float[Tensor, "B K T V"], targets: Int[Tensor, "B T"], doc_scores: Float[Tensor, "B K"], pad_id: int
) -> Float32[Tensor, " B"]:
    """RAG-Sequence: log Σ_k p(z_k|x) Π_i p(y_i|x, z_k, y_<i). One document answers for the whole target.

    3/4 · 0.8 · 0.5 + 1/4 · 0.4 · 0.9 = 0.39:

    >>> sequence_log_likelihood(*worked_example(), pad_id=2).exp()
    tensor([0.3900])
    """
    by_document = target_log_probs(logits, targets, pad_id).sum(2)  # [B, K]
    return torch.logsumexp(log_prior(doc_scores) + by_document, 1)


def token_log_likelihood(
    logits: Float[Tensor, "B K T V"], targets: Int[Tensor, "B T"], doc_scores: Float[Tensor, "B K"], pad_id: int
) -> Float32[Tensor, " B"]:
    """RAG-Token: Σ_i log Σ_k p(z_k|x) p(y_i|x, z_k, y_<i). Each token may come from another document.

    (3/4 · 0.8 + 1/4 · 0.4) · (3/4 · 0.5 + 1/4 · 0.9) = 0.7 · 0.6 = 0.42:

    >>> token_log_likelihood(*worked_example(), pad_id=2).exp()
    tensor([0.4200])
    """
    by_token = target_log_probs(logits, targets, pad_id)  # [B, K, T]
    return torch.logsumexp(log_prior(doc_scores)[:, :, None] + by_token, 1).sum(1)


def document_posterior(
    logits: Float[Tensor, "B K T V"],
    targets: Int[Tensor, "B T"],
    doc_scores: Float[Tensor, "B K"],
    pad_id: int,
    scheme: Scheme = "token",
) -> Float32[Tensor, "B T K"]:
    """Which document speaks: p(z|x, y_i) at each token (RAG-Token), or p(z|x, y_≤i) after each token (RAG-Sequence).

    "token": ∝ p(z|x) p(y_i|x, z, y_<i), so 0.6 : 0.1 for "a" and 0.375 : 0.225 for "b". "sequence": ∝ p(z|x) Π_{j≤i}
    p(y_j|x, z, y_<j), so 0.6 : 0.1 and then 0.3 : 0.09. At padding: the prior, and what the last token left.

    >>> document_posterior(*worked_example(), 2, "token")
    tensor([[[0.8571, 0.1429],
             [0.6250, 0.3750]]])
    >>> document_posterior(*worked_example(), 2, "sequence")
    tensor([[[0.8571, 0.1429],
             [0.7692, 0.2308]]])
    """
    by_token = target_log_probs(logits, targets, pad_id)  # [B, K, T]
    evidence = by_token.cumsum(2) if scheme == "sequence" else by_token
    return torch.softmax(log_prior(doc_scores)[:, :, None] + evidence, 1).transpose(1, 2)


def marginal_log_probs(logits: Float[Tensor, "B K *J V"], doc_scores: Float[Tensor, "B K"]) -> Float32[Tensor, "B *J V"]:
    """RAG-Token's distribution of a next token, log Σ_k p(z_k|x) p(·|x, z_k, …), of which all log-probabilities are given.

    >>> logits, targets, doc_scores = worked_example()
    >>> marginal_log_probs(logits, doc_scores)[0].exp()
    tensor([[0.7000, 0.3000, 0.0000],
            [0.4000, 0.6000, 0.0000]])
    """
    prior = log_prior(doc_scores).reshape(*doc_scores.shape, *[1] * (logits.dim() - 2))  # [B, K, 1, …, 1]
    return torch.logsumexp(prior + logits.float().log_softmax(-1), 1)


def log_prior(doc_scores: Float[Tensor, "B K"]) -> Float32[Tensor, "B K"]:
    """log p(z_k|x); a question without any document is an error."""
    if bool((doc_scores == -torch.inf).all(1).any()):
        raise MiniragError("a question has no document: all its scores are −inf; retrieve at least one passage for each")
    return doc_scores.float().log_softmax(1)


def target_log_probs(logits: Float[Tensor, "B K T V"], targets: Int[Tensor, "B T"], pad_id: int) -> Float32[Tensor, "B K T"]:
    """log p(y_i|x, z_k, y_<i), and 0 at padding. What is not asked for, log-softmax over all of V, is not stored."""
    padding = is_padding(targets, pad_id)[:, None]  # [B, 1, T]
    index = targets.masked_fill(padding[:, 0], 0)[:, None, :, None].expand(-1, logits.shape[1], -1, 1)  # [B, K, T, 1]
    chosen = logits.gather(3, index).squeeze(3).float()  # [B, K, T]
    return (chosen - logits.float().logsumexp(3)).masked_fill(padding, 0.0)


def is_padding(targets: Int[Tensor, "B T"], pad_id: int) -> Tensor:
    """True where a target is padding, in either of the two ways in which it is written."""
    return (targets == pad_id) | (targets == -100)
