"""Classification by a generator: which of a few labels does the model believe, summed over the passages it has read (FEVER).

The paper tells of two ways. In section 3.4 a label is what the generator writes, and p(label|x) is that of any target: here
`Labels`. In appendix E the claim is given to both halves of BART, as BART is used to classify, and a small network reads the
class from the decoder's last state: here `ClaimHead`. Both sum over documents: p(c|x) = Σ_z p(z|x) p(c|x, z).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from minirag.errors import MiniragError
from minirag.models.bart import Bart
from minirag.rag.marginalize import log_prior, sequence_log_likelihood, token_log_likelihood
from minirag.rag.model import RagModel
from minirag.retrieval.retriever import Retrieved

CONTEXTS = 64  # read together


@dataclass(frozen=True)
class Choice:
    """What a model makes of one claim: p(label|x), which add up to 1, and what they rest on."""

    question: str
    labels: tuple[str, ...]
    probabilities: Float[Tensor, " C"]
    found: Retrieved
    prior: Float[Tensor, " K"]

    @property
    def label(self) -> str:
        return self.labels[int(self.probabilities.argmax())]


@torch.inference_mode()
def choose(model: RagModel, questions: Sequence[str], labels: Sequence[str], k: int) -> list[Choice]:
    """For each question the label that the model would most likely write, were it to write one of them.

    A label may have several tokens: log p(label|x) is the marginal one of the model's scheme, and the labels' are brought to
    add up to 1. For labels of one token RAG-Sequence and RAG-Token say the same.

    However many the questions, 64 contexts are in memory at a time; each is encoded once for all labels.
    """
    if len(set(labels)) < 2:
        raise MiniragError(f"there is nothing to choose from in {list(labels)}; give two labels or more")
    targets = model.contexts.targets(list(labels)).to(model.device)  # [C, T]
    chosen = list[Choice]()
    for some in _batches(questions, k):
        found = model.retrieve(some, k)
        scores = model.doc_scores(found)  # [B, K]
        chosen += _choices(found, labels, _by_label(model, found, scores, targets).softmax(1), scores)
    return chosen


def _by_label(
    model: RagModel, found: Sequence[Retrieved], scores: Float[Tensor, "B K"], targets: Int64[Tensor, "C T"]
) -> Float[Tensor, "B C"]:
    """log p(label|x) of every label: documents are encoded once, and decoded label by label."""
    generator, scheme = model.generator, sequence_log_likelihood if model.scheme == "sequence" else token_log_likelihood
    ids, mask = model.read(found)  # [B, K, S]
    documents = generator.read(ids.flatten(0, 1), mask.flatten(0, 1))
    given = torch.cat([torch.full_like(targets[:, :1], generator.config.start_id), targets[:, :-1]], 1)  # [C, T]
    by_label = []
    for target, before in zip(targets, given, strict=True):
        logits = generator.logits(documents, before.expand(scores.numel(), -1)).unflatten(0, scores.shape)  # [B, K, T, V]
        by_label.append(scheme(logits, target.expand(len(scores), -1), scores, generator.config.pad_id))
    return torch.stack(by_label, 1)


class ClaimHead(nn.Module):
    """Appendix E: the decoder is given the claim, and what it has made of it behind the last token says the class.

    The head is BART's for classification (Lewis et al. 2019 §3.1): a layer with tanh, and one to the classes. RAG-Sequence and
    RAG-Token are the same here: one target.
    """

    def __init__(self, model: RagModel, labels: Sequence[str], dropout: float = 0.0) -> None:
        super().__init__()
        if not isinstance(model.generator, Bart):
            raise MiniragError("the class is read from the decoder's states, which only a BART shows; give a BART generator")
        self.model, self.labels, self.dropout = model, tuple(labels), dropout
        dim = model.generator.config.dim
        self.head = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(dim, dim), nn.Tanh(), nn.Dropout(dropout), nn.Linear(dim, len(labels))
        )

    def forward(self, found: Sequence[Retrieved]) -> Float[Tensor, "B C"]:
        """log Σ_z p(z|x) p(c|x, z) of each class, with gradients to head, generator and, through p(z|x), query encoder."""
        model = self.model
        scores = model.doc_scores(found)  # [B, K]
        ids, mask = model.read(found)  # [B, K, S]
        claims = model.contexts.targets([one.question for one in found]).to(model.device)  # [B, T]
        by_document = self.head(self._last(ids, mask, claims)).float().log_softmax(-1)  # [B, K, C]
        return torch.logsumexp(log_prior(scores)[:, :, None] + by_document, 1)

    def _last(self, ids: Tensor, mask: Tensor, claims: Tensor) -> Float[Tensor, "B K D"]:
        """The decoder's state behind the claim's last token, for every document."""
        bart, k = self.model.generator, ids.shape[1]
        assert isinstance(bart, Bart)
        documents = bart.read(ids.flatten(0, 1), mask.flatten(0, 1))
        states = bart.states(documents, claims.repeat_interleave(k, 0)).unflatten(0, (-1, k))  # [B, K, T, D]
        last = (claims != bart.config.pad_id).sum(1) - 1  # [B]
        return states[torch.arange(len(claims), device=claims.device), :, last]

    @torch.inference_mode()
    def choose(self, questions: Sequence[str], k: int) -> list[Choice]:
        """The class of each claim, as `choose` gives it."""
        chosen = list[Choice]()
        for some in _batches(questions, k):
            found = self.model.retrieve(some, k)
            chosen += _choices(found, self.labels, self(found).exp(), self.model.doc_scores(found))
        return chosen


def _batches(questions: Sequence[str], k: int) -> list[Sequence[str]]:
    """As many questions at a time as have 64 contexts."""
    batch = max(CONTEXTS // k, 1)
    return [questions[start : start + batch] for start in range(0, len(questions), batch)]


def _choices(found: Sequence[Retrieved], labels: Sequence[str], probabilities: Tensor, scores: Tensor) -> list[Choice]:
    prior = scores.float().softmax(1).cpu()  # [B, K]
    return [
        Choice(one.question, tuple(labels), probabilities[row].cpu(), one, prior[row, : len(one.passages)])
        for row, one in enumerate(found)
    ]
