"""Decoding (RAG §2.5): one beam search, and the three ways in which it becomes an answer summed over documents.

* `token`: RAG-Token is a generator like any other, whose next-token distribution is the documents' mixture: one beam search.
* `thorough`: RAG-Sequence does not factor over tokens. A beam search under each document; then every hypothesis found under any
  document is scored under all of them, log Σ_k p(z_k|x) p(y|x, z_k).
* `fast`: the same, but a hypothesis that a document's beam did not find is taken to have probability 0 under it: no further
  pass, and a lower bound on what `thorough` gives.

Each document is encoded once. What hypotheses have in common is computed once: those of a search, and those that are scored,
are trees that grow by one level a step, for all questions together. Padding is never generated.
Letters: B questions, K documents, J beams, n = B or B·K searches.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from minirag.errors import MiniragError
from minirag.rag.generator import Generator, GeneratorConfig, Leaves
from minirag.rag.marginalize import log_prior, marginal_log_probs

Decoder = Literal["token", "thorough", "fast"]


@dataclass(frozen=True)
class Search:
    """How to search. Lengths count generated tokens, `<s>` and `</s>` among them; the start token is not generated.

    Args:
        beams: prefixes that are kept at each step; 1 is greedy.
        max_length: where hypotheses are cut off, without an end.
        min_length: how many tokens come before `</s>` may.
        length_penalty: α; hypotheses compete by log p / lengthᵅ, so that 0 means by probability.
        no_repeat: no n-gram of this length twice; 0 allows all.
        early_stopping: stop when `beams` hypotheses have ended (True), when the running ones are no better at their present
            length (False), or when they cannot become better even at `max_length` ("never"); transformers' three rules.
        hypotheses: how many to return.
    """

    beams: int = 4
    max_length: int = 32
    min_length: int = 0
    length_penalty: float = 0.0
    no_repeat: int = 0
    early_stopping: bool | Literal["never"] = False
    hypotheses: int = 1

    def __post_init__(self) -> None:
        if self.beams < 1 or self.max_length < 1 or not self.hypotheses >= 1:
            raise MiniragError("beams, max_length and hypotheses are at least 1; choose larger ones")
        if self.min_length > self.max_length:
            raise MiniragError(f"min_length {self.min_length} is above max_length {self.max_length}; choose a smaller one")

    def normalised(self, log_probability: float, length: int) -> float:
        return log_probability / length**self.length_penalty


@dataclass(frozen=True)
class Hypothesis:
    """One generated sequence: its tokens (no start token, no padding), log p(y|x) and what it was ranked by.

    `by_document`: log p(y|x, z_k) for each document where the decoder knows them; −inf where "fast" takes it to be so.
    """

    tokens: list[int]
    log_probability: float
    score: float
    by_document: list[float] | None = None


@dataclass(frozen=True)
class Generated(Sequence[list[Hypothesis]]):
    """For each question its hypotheses, best first, and what they cost.

    `encoder_passes`: contexts that the encoder read. `decoder_steps`: tokens that the decoder read, each under one document.
    """

    hypotheses: list[list[Hypothesis]]
    encoder_passes: int
    decoder_steps: int

    def __len__(self) -> int:
        return len(self.hypotheses)

    def __getitem__(self, i: Any) -> Any:
        return self.hypotheses[i]


@torch.inference_mode()
def decode(
    generator: Generator,
    context_ids: Int[Tensor, "B K S"],
    context_mask: Int[Tensor, "B K S"] | Bool[Tensor, "B K S"],
    doc_scores: Float[Tensor, "B K"],
    decoder: Decoder = "thorough",
    search: Search = Search(),
) -> Generated:
    """The best sequences for B questions by one of the three decoders."""
    if decoder not in get_args(Decoder):
        raise MiniragError(f"there is no decoder '{decoder}'; choose one of {', '.join(get_args(Decoder))}")
    documents = read(generator, context_ids, context_mask, search.max_length)
    prior, tree = log_prior(doc_scores), generator.tree(documents)  # [B, K]
    (n, k), passes = doc_scores.shape, doc_scores.numel()
    if decoder == "token":
        mixed = beam_search(Mixture(tree, doc_scores), n, generator.config, search, doc_scores.device)
        return Generated([found[: search.hypotheses] for found in mixed], passes, tree.computed)
    beams = beam_search(Single(tree), n * k, generator.config, search, doc_scores.device)
    real = (prior > -torch.inf).tolist()
    own = [[beam if exists else [] for beam, exists in zip(beams[b * k :], real[b], strict=False)] for b in range(n)]
    if decoder == "fast":
        return Generated(ranked(_as_found(own), prior, search), passes, tree.computed)
    again = generator.tree(documents)
    union = [list(dict.fromkeys(tuple(found.tokens) for beam in each for found in beam)) for each in own]
    return Generated(
        ranked(score(again, union, k, generator.config, doc_scores.device), prior, search),
        passes,
        tree.computed + again.computed,
    )


def read(generator: Generator, context_ids: Tensor, context_mask: Tensor, max_length: int) -> Any:
    """The documents of B questions, encoded, B·K of them."""
    if max_length > generator.config.positions:
        raise MiniragError(f"max_length {max_length} is above the generator's {generator.config.positions} positions; lower it")
    return generator.read(context_ids.flatten(0, 1), context_mask.flatten(0, 1))


@runtime_checkable
class Step(Protocol):
    """n distributions of a next token, each after the leaves of a tree; see `Leaves`."""

    def log_probs(self, tokens: Int[Tensor, "n J"], parents: Int[Tensor, "n J"] | None) -> Float[Tensor, "n J V"]: ...
    def keep(self, rows: Int[Tensor, " m"]) -> None: ...


class Single:
    """The next-token distribution under one document, for n documents."""

    def __init__(self, tree: Leaves) -> None:
        self.tree = tree

    def log_probs(self, tokens: Int[Tensor, "n J"], parents: Int[Tensor, "n J"] | None) -> Float[Tensor, "n J V"]:
        return self.tree.grow(tokens, parents).float().log_softmax(-1)

    def keep(self, rows: Int[Tensor, " m"]) -> None:
        self.tree.keep(rows)


class Mixture:
    """RAG-Token's next-token distribution, the documents' mixture, for n questions of K documents."""

    def __init__(self, tree: Leaves, doc_scores: Float[Tensor, "n K"]) -> None:
        self.tree, self.doc_scores = tree, doc_scores

    def log_probs(self, tokens: Int[Tensor, "n J"], parents: Int[Tensor, "n J"] | None) -> Float[Tensor, "n J V"]:
        logits = _grow(self.tree, tokens, parents, self.doc_scores.shape[1])  # [n, K, J, V]
        return marginal_log_probs(logits, self.doc_scores)

    def keep(self, rows: Int[Tensor, " m"]) -> None:
        k = self.doc_scores.shape[1]
        self.tree.keep((rows[:, None] * k + torch.arange(k, device=rows.device)).flatten())
        self.doc_scores = self.doc_scores[rows]


@dataclass
class _Beam:
    """One search: the prefixes that run, with their log-probabilities, and the hypotheses that have ended, best first."""

    running: list[tuple[float, list[int]]]
    ended: list[Hypothesis]
    open: bool = True

    def advance(
        self, candidates: Iterable[tuple[float, int, int]], eos_id: int, search: Search
    ) -> list[tuple[float, int, int]]:
        """Take the best 2 J continuations (log p, parent, token), best first; return those that run on, J at most.

        Of 2 J, at least J do not end. One that ends counts only if it is among the first J of all.
        """
        length = len(self.running[0][1]) + 1
        on: list[tuple[float, int, int]] = []
        for rank, (total, parent, token) in enumerate(candidates):
            if total == -math.inf:
                break
            if token == eos_id or length == search.max_length:
                if rank < search.beams:
                    tokens = [*self.running[parent][1], token]
                    self.ended.append(Hypothesis(tokens, total, search.normalised(total, length)))
            elif len(on) < search.beams:
                on.append((total, parent, token))
        self.ended = sorted(self.ended, key=lambda found: -found.score)[: search.beams]
        self.running = [(total, [*self.running[parent][1], token]) for total, parent, token in on]
        self.open = bool(on) and self._can_improve(on[0][0], length, search)
        return on if self.open else []

    def _can_improve(self, best: float, length: int, search: Search) -> bool:
        if len(self.ended) < search.beams:
            return True
        if search.early_stopping is True or search.beams == 1:
            return False
        longest = search.early_stopping == "never" and search.length_penalty > 0
        return search.normalised(best, search.max_length if longest else length) > self.ended[-1].score


def beam_search(step: Step, n: int, config: GeneratorConfig, search: Search, device: torch.device) -> list[list[Hypothesis]]:
    """n searches side by side, each returning at most `beams` hypotheses, best first. What has ended is soon left out."""
    beams = rows = [_Beam([(0.0, [])], []) for _ in range(n)]  # rows: those that are still computed
    leaves = [[(0.0, 0, config.start_id)]] * n  # log p, parent, token
    for length in range(search.max_length):
        totals, parents, tokens = torch.tensor(leaves, dtype=torch.float64).unbind(2)
        before = parents.long().to(device) if length else None
        log_probs = step.log_probs(tokens.long().to(device), before)  # [n, J, V]
        _forbid(log_probs, rows, config, length, search)
        candidates = (log_probs + totals.float().to(device)[:, :, None]).flatten(1)  # [n, J·V]
        best, where = candidates.topk(min(2 * search.beams, candidates.shape[1]))  # [n, 2 J]
        vocab_size = log_probs.shape[2]
        leaves = []
        for beam, values, places in zip(rows, best.tolist(), where.tolist(), strict=True):
            continuations = [(value, *divmod(place, vocab_size)) for value, place in zip(values, places, strict=True)]
            leaves.append(beam.advance(continuations, config.eos_id, search) if beam.open else [])
        if any(not beam.open and not beam.ended for beam in rows):
            raise MiniragError("no token is left that may come next; allow a shorter min_length, or a larger no_repeat or none")
        alive = [i for i, beam in enumerate(rows) if beam.open]
        if not alive:
            break
        if 2 * len(alive) <= len(rows):  # half have ended: copying what is left pays
            step.keep(torch.tensor(alive, device=device))
            rows, leaves = [rows[i] for i in alive], [leaves[i] for i in alive]
        width = max(map(len, leaves))
        leaves = [each + [(-math.inf, 0, config.pad_id)] * (width - len(each)) for each in leaves]
    return [beam.ended for beam in beams]


def score(
    tree: Leaves, union: Sequence[Sequence[tuple[int, ...]]], k: int, config: GeneratorConfig, device: torch.device
) -> list[dict[tuple[int, ...], list[float]]]:
    """log p(y|x, z_k) of every hypothesis y of a question under each of its K documents.

    The hypotheses of a question are one tree of prefixes, walked level by level: a node is decoded once for each document,
    and gives the log-probability of all tokens that follow it.
    """
    most = max(map(len, union))
    lengths = torch.tensor([[len(tokens) for tokens in own] + [0] * (most - len(own)) for own in union])  # [B, M]
    scores = torch.zeros(len(union), k, most, device=device)  # [B, K, M]
    nodes = [[0] * most for _ in union]  # where each hypothesis stands on the present level
    tokens, parents = torch.full((len(union), 1), config.start_id), None
    for t in range(int(lengths.max())):
        logits = _grow(tree, tokens.to(device), parents if parents is None else parents.to(device), k).float()  # [B, K, J, V]
        nexts = [[y[t] if t < len(y) else config.pad_id for y in own] + [0] * (most - len(own)) for own in union]
        at, to = torch.tensor(nodes, device=device), torch.tensor(nexts, device=device)  # [B, M]
        rows = torch.arange(len(union), device=device)[:, None]  # [B, 1]
        log_probs = logits[rows, :, at, to] - logits.logsumexp(3)[rows, :, at]  # [B, M, K]
        scores += log_probs.transpose(1, 2).masked_fill((t >= lengths)[:, None].to(device), 0.0)
        level: list[dict[tuple[int, int], int]] = [{} for _ in union]  # (node, token) → its node on the next level
        for own, places, branches in zip(union, nodes, level, strict=True):
            for m, y in enumerate(own):
                places[m] = branches.setdefault((places[m], y[t]), len(branches)) if t + 1 < len(y) else 0
        width = max(map(len, level))
        grown = [[*branches, *[(0, config.pad_id)] * (width - len(branches))] for branches in level]
        parents, tokens = torch.tensor(grown).unbind(2) if width else (None, tokens)
    by_document = scores.transpose(1, 2).tolist()  # [B, M, K]
    return [dict(zip(own, values, strict=False)) for own, values in zip(union, by_document, strict=True)]


def _grow(tree: Leaves, tokens: Tensor, parents: Tensor | None, k: int) -> Float[Tensor, "n K J V"]:
    """The same leaves under each of a question's K documents."""
    per_document = None if parents is None else parents.repeat_interleave(k, 0)
    return tree.grow(tokens.repeat_interleave(k, 0), per_document).unflatten(0, (-1, k))


def _as_found(own: list[list[list[Hypothesis]]]) -> list[dict[tuple[int, ...], list[float]]]:
    """log p(y|x, z_k) where document k's beam found y, −inf elsewhere."""
    scored: list[dict[tuple[int, ...], list[float]]] = []
    for each in own:
        scored.append({})
        for k, beam in enumerate(each):
            for found in beam:
                by_document = scored[-1].setdefault(tuple(found.tokens), [-math.inf] * len(each))
                by_document[k] = found.log_probability
    return scored


def ranked(
    scored: list[dict[tuple[int, ...], list[float]]], prior: Float[Tensor, "B K"], search: Search
) -> list[list[Hypothesis]]:
    """log Σ_k p(z_k|x) p(y|x, z_k) of each hypothesis, the best of them first; of equals, the one with lower token ids."""
    ranked = []
    for log_prior_of, own in zip(prior.cpu(), scored, strict=True):
        totals = torch.logsumexp(log_prior_of + torch.tensor(list(own.values())), 1).tolist()  # [M]
        found = [
            Hypothesis(list(y), total, search.normalised(total, len(y)), by_document)
            for (y, by_document), total in zip(own.items(), totals, strict=True)
        ]
        ranked.append(sorted(found, key=lambda y: (-y.score, y.tokens))[: search.hypotheses])
    return ranked


def _forbid(
    log_probs: Float[Tensor, "n J V"], rows: Sequence[_Beam], config: GeneratorConfig, length: int, search: Search
) -> None:
    """Take away, in place, what may not come next: padding, an early end, the last token of an n-gram seen before."""
    log_probs[:, :, config.pad_id] = -math.inf
    if length < search.min_length:
        log_probs[:, :, config.eos_id] = -math.inf
    n = search.no_repeat
    for i, beam in enumerate(rows if n else ()):
        for j, (_, tokens) in enumerate(beam.running):
            end = tokens[len(tokens) - n + 1 :]
            seen = [tokens[at + n - 1] for at in range(len(tokens) - n + 1) if tokens[at : at + n - 1] == end]
            log_probs[i, j, seen] = -math.inf
