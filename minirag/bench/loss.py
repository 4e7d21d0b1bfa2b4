"""A training step of RAG, loss and gradients, beside transformers: its time, and the memory it takes at its highest.

transformers pads every context to 300 tokens; ours are padded to the longest. There are rows in which both get the same, too,
so that not only padding is compared. `equal`: the same losses and the same gradients of the scores, to a thousandth.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from minirag.bench.encode import bert_tokenizer, miniwiki
from minirag.bench.memory import peak_alone
from minirag.bench.rag_pair import PEERS, contexts, peer_of, random_bart
from minirag.bench.turns import seconds_row, take_turns
from minirag.corpus.passages import Passage
from minirag.models.bart import Bart, BartConfig
from minirag.rag.contexts import Contexts
from minirag.rag.marginalize import Scheme
from minirag.rag.model import RagModel

PADDED = 300  # tokens: transformers' contexts
SCHEMES: tuple[Scheme, ...] = ("sequence", "token")
Step = Callable[[], tuple[Tensor, Tensor]]


def run(
    passages: Sequence[Passage] | None = None,
    questions: int = 2,
    k: int = 5,
    rounds: int = 3,
    config: BartConfig | None = None,
) -> list[dict[str, Any]]:
    """The rows of `minirag bench loss`: seconds for each scheme and padding, then gigabytes. Three minutes on two cores."""
    corpus = list(passages or miniwiki(questions * k))
    words, config = bert_tokenizer(), config or BartConfig()
    bart = random_bart(config, words)
    rows = []
    for scheme in SCHEMES:
        peer = peer_of(bart, scheme, k)
        for length in (PADDED, None):
            theirs = peer_step(peer, *_inputs(words, corpus, questions, k, length))
            ours = our_step(bart, words, scheme, *_inputs(words, corpus, questions, k, None))
            seconds, results = take_turns({"ours": ours, "peer": theirs}, rounds)
            padding = f"peer padded to {length}" if length else "equal padding"
            equal = same(results["ours"], results["peer"])
            case = f"{scheme}: {questions} questions, K = {k}, {padding}"
            rows.append(seconds_row(case, seconds["ours"], seconds["peer"], PEERS[scheme], equal))
        mine, its = (peak_alone(_prepared, whose, scheme, corpus, questions, k, config) for whose in ("ours", "peer"))
        row = seconds_row(f"{scheme}: peak memory, equal padding", mine, its, PEERS[scheme], rows[-1]["equal"])
        rows.append(row | {"unit": "GB"})
    return rows


def same(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> bool:
    """Whether losses and the scores' gradients agree."""
    return all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(ours, theirs, strict=True))


def our_step(bart: Bart, tokenizer: Any, scheme: Scheme, ids: Tensor, mask: Tensor, scores: Tensor, targets: Tensor) -> Step:
    """Losses and gradients by `RagModel.loss`; what is returned to be compared are the losses and the scores' gradients."""
    model = RagModel(bart, Contexts(tokenizer), scheme=scheme)

    def step() -> tuple[Tensor, Tensor]:
        model.zero_grad()
        asked = scores.clone().requires_grad_()
        losses = model.loss(ids, mask, asked, targets)
        losses.sum().backward()
        return losses.detach(), asked.grad if asked.grad is not None else asked

    return step


def peer_step(peer: Any, ids: Tensor, mask: Tensor, scores: Tensor, targets: Tensor) -> Step:
    start = torch.full_like(targets[:, :1], peer.config.generator.decoder_start_token_id)
    labels = torch.cat([start, targets], 1)  # transformers shifts them by one

    def step() -> tuple[Tensor, Tensor]:
        peer.zero_grad()
        asked = scores.clone().requires_grad_()
        losses = peer(
            context_input_ids=ids.flatten(0, 1),
            context_attention_mask=mask.flatten(0, 1).long(),
            doc_scores=asked,
            labels=labels,
            n_docs=scores.shape[1],
        ).loss
        losses.sum().backward()
        return losses.detach(), asked.grad if asked.grad is not None else asked

    return step


def _inputs(
    tokenizer: Any, passages: Sequence[Passage], questions: int, k: int, length: int | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Contexts, scores and targets: as answer, the first words of each question's second passage."""
    ids, mask, scores = contexts(tokenizer, passages, questions, k, length)
    answers = [" ".join(passages[b * k + 1].text.split()[:8]) for b in range(questions)]
    return ids, mask, scores, Contexts(tokenizer).targets(answers)


def _prepared(whose: str, scheme: Scheme, passages: list[Passage], questions: int, k: int, config: BartConfig) -> Step:
    """One side's step alone, on contexts padded to the longest."""
    words = bert_tokenizer()
    bart, inputs = random_bart(config, words), _inputs(words, passages, questions, k, None)
    return our_step(bart, words, scheme, *inputs) if whose == "ours" else peer_step(peer_of(bart, scheme, k), *inputs)
