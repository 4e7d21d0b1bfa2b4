"""Exercise of notebook 09: Thorough, which scores what any document's beam has found under all documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.draw import positive
from minirag.teaching.checks.exercise import Args, Exercise, Mistake
from minirag.teaching.checks.fast import Hypothesis, as_found, summed
from minirag.teaching.checks.marginalisation import some_scores

LogP = Callable[[int, Hypothesis], float]
_PAD = 1


@dataclass(frozen=True)
class Table:
    """log p(y|x, z_k) for k and y, from a table {y: [p(y|x, z_1), …]}; what is not in it has probability 0."""

    table: dict[Hypothesis, list[float]]

    def __call__(self, k: int, tokens: Iterable[int]) -> float:
        p = self.table.get(tuple(map(int, tokens)), [])
        return math.log(p[k]) if p and p[k] else -math.inf


@dataclass(frozen=True)
class RandomGenerator:
    """log p(y|x, z_k) for k and y: a random cost for each token after each prefix, so that it falls with the length."""

    seed: int

    def __call__(self, k: int, tokens: Iterable[int]) -> float:
        numbers = [1, *map(int, tokens)]  # a start, so that the first token has a pair
        return -sum(_cost(self.seed, k, at, pair) for at, pair in enumerate(pairwise(numbers)))


@lru_cache(maxsize=4096)
def _cost(seed: int, k: int, at: int, pair: tuple[int, int]) -> float:
    return float(positive(np.random.default_rng([seed, k, at, *pair]), 1))


def _cut(tokens: Iterable[int], pad_id: int) -> Hypothesis:
    return tuple(token for token in tokens if token != pad_id)


def _sorted(scored: dict[Hypothesis, float]) -> list[tuple[Hypothesis, float]]:
    return sorted(scored.items(), key=lambda each: (-each[1], each[0]))


def _thorough(found: list[list[list[int]]], log_p: LogP, doc_scores: Tensor, pad_id: int) -> list[tuple[Hypothesis, float]]:
    union = {_cut(tokens, pad_id) for beam in found for tokens in beam}
    return _scored(union, log_p, doc_scores)


def _scored(
    union: Iterable[Hypothesis], log_p: LogP, doc_scores: Tensor, total: Callable[[Tensor, Tensor], float] = summed
) -> list[tuple[Hypothesis, float]]:
    documents = range(len(doc_scores))
    return _sorted({y: total(torch.tensor([log_p(k, y) for k in documents]), doc_scores) for y in union})


def _with(total: Callable[[Tensor, Tensor], float]) -> Callable[..., list[tuple[Hypothesis, float]]]:
    return lambda found, log_p, doc_scores, pad_id: _scored(
        {_cut(tokens, pad_id) for beam in found for tokens in beam}, log_p, doc_scores, total
    )


def _as_fast(found: list[list[list[int]]], log_p: LogP, doc_scores: Tensor, pad_id: int) -> list[tuple[Hypothesis, float]]:
    cut = [{_cut(tokens, pad_id) for tokens in beam} for beam in found]
    own = [{y: log_p(k, y) for y in beam} for k, beam in enumerate(cut)]
    return _sorted(as_found(own, doc_scores))


def _repeated(found: list[list[list[int]]], log_p: LogP, doc_scores: Tensor, pad_id: int) -> list[tuple[Hypothesis, float]]:
    every = [_cut(tokens, pad_id) for beam in found for tokens in beam]
    return sorted((_scored([y], log_p, doc_scores)[0] for y in every), key=lambda each: (-each[1], each[0]))


def _best_document(
    found: list[list[list[int]]], log_p: LogP, doc_scores: Tensor, pad_id: int
) -> list[tuple[Hypothesis, float]]:
    own = {_cut(tokens, pad_id) for tokens in found[int(doc_scores.argmax())]}
    return _scored(own, log_p, doc_scores)


def _some_found(rng: np.random.Generator, size: int) -> Args:
    """K beams, each padded to its longest hypothesis; a generator; doc_scores, every second time with −inf; the pad id."""
    documents = 1 + int(rng.integers(1 + size // 6))
    found = []
    for _ in range(documents):
        lengths = rng.integers(1, 3 + size // 16, 1 + int(rng.integers(1 + size // 8)))
        beam = dict.fromkeys((*rng.integers(2, 4, length - 1).tolist(), 0) for length in lengths.tolist())
        most = max(map(len, beam))
        found.append([[*tokens, *[_PAD] * (most - len(tokens))] for tokens in beam])
    return found, RandomGenerator(int(rng.integers(1_000_000))), some_scores(rng, 2, documents)[size % 2], _PAD


_EVEN, _FIRST = torch.tensor([0.0, 0.0]), torch.tensor([9.0, 1.0]).log()
_SAID = Table({(2, 0): [0.4, 0.2], (3, 0): [0.3, 0.5], (2, 3, 0): [0.1, 0.1]})

check_thorough = Exercise(
    number="9.2",
    name="thorough",
    title="Thorough",
    stars=3,
    minutes=30,
    points=8,
    reference=_thorough,
    by_hand=(
        (([[[2, 0]], [[3, 0]]], _SAID, _EVEN, _PAD), [((3, 0), math.log(0.4)), ((2, 0), math.log(0.3))]),
        (([[[2, 0]], [[3, 0]]], _SAID, _FIRST, _PAD), [((2, 0), math.log(0.38)), ((3, 0), math.log(0.32))]),
        (
            ([[[2, 0]], [[2, 3, 0], [2, 0, 1]]], _SAID, _EVEN, _PAD),
            [((2, 0), math.log(0.3)), ((2, 3, 0), math.log(0.1))],
        ),
        (
            ([[[3, 0]], [[2, 3, 0], [3, 0, 1]]], _SAID, torch.tensor([7.0, -math.inf]), _PAD),
            [((3, 0), math.log(0.3)), ((2, 3, 0), math.log(0.1))],
        ),
    ),
    draw=_some_found,
    mistakes=(
        Mistake(
            "only where it was found",
            "A hypothesis counts under the documents that found it alone: that is Fast. Thorough asks all documents about "
            "each.",
            _as_fast,
        ),
        Mistake(
            "padding kept",
            "The same hypothesis has more padding in a beam with longer ones. Cut the padding off before you compare and "
            "score.",
            lambda found, log_p, doc_scores, pad_id: _scored({tuple(y) for beam in found for y in beam}, log_p, doc_scores),
        ),
        Mistake(
            "no union",
            "What several documents found is one hypothesis and stands in the list once.",
            _repeated,
        ),
        Mistake(
            "one document's beam alone",
            "Only the hypotheses of the most probable document were scored. A union over all documents' beams is asked for.",
            _best_document,
        ),
        Mistake(
            "no prior",
            "The documents were added up without p(z|x): add the log-softmax of doc_scores before the logsumexp.",
            _with(lambda values, doc_scores: float(torch.logsumexp(values, 0))),
        ),
        Mistake(
            "scores for the prior",
            "doc_scores are logits of p(z|x): take their log-softmax over the documents.",
            _with(lambda values, doc_scores: float(torch.logsumexp(values + doc_scores, 0))),
        ),
        Mistake(
            "the best document alone",
            "The largest term was taken for the sum over documents: logsumexp, not max.",
            _with(lambda values, doc_scores: float((values + doc_scores.log_softmax(0)).max())),
        ),
        Mistake(
            "mean of log-probabilities",
            "A mean of logarithms is not the logarithm of a mean: add up probabilities over documents (logsumexp).",
            _with(
                lambda values, doc_scores: float(doc_scores.softmax(0)[doc_scores > -math.inf] @ values[doc_scores > -math.inf])
            ),
        ),
        Mistake(
            "not sorted",
            "The most probable comes first: sort by log p(y|x), the largest in front.",
            lambda found, log_p, doc_scores, pad_id: sorted(_thorough(found, log_p, doc_scores, pad_id)),
        ),
    ),
    hint="Three steps: the union of all beams, without padding; for each of it log p under every document [K]; logsumexp of "
    "that and log p(z|x). Then sort, the largest first.",
)
