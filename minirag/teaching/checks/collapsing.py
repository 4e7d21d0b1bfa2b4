"""Exercise of notebook 10: retrieval collapse in numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minirag.rag.collapse import ALARM, spread
from minirag.retrieval.retriever import Retrieved
from minirag.teaching.checks.draw import normal
from minirag.teaching.checks.exercise import Args, Exercise, Mistake


def _collapse(found: list[list[int]], doc_scores: Tensor) -> dict[str, Any]:
    own = spread([Retrieved("", [], torch.tensor(one), torch.zeros(len(one))) for one in found], doc_scores)
    return {
        "unique": own.unique,
        "entropy": own.entropy,
        "entropy_of_one": own.entropy_of_one,
        "collapsed": own.collapsed,
    }


def _some_found(rng: np.random.Generator, size: int) -> Args:
    """The passages of B questions, from few to choose from, and doc_scores [B, K]: −inf where one has found fewer than others.

    Every third time all have found nearly the same.
    """
    batch, documents = 2 + size // 4, 1 + int(rng.integers(1 + size // 4))
    most = documents + (1 if size % 3 == 0 else 2 * batch)
    found = [rng.permutation(most)[:documents].tolist() for _ in range(batch)]
    scores = normal(rng, batch, documents)
    for b in range(1, batch, 2):
        count = int(rng.integers(1, documents + 1))
        found[b], scores[b, count:] = found[b][:count], -math.inf
    return found, scores


def _weights(found: list[list[int]], doc_scores: Tensor) -> list[list[float]]:
    return [own[: len(one)] for one, own in zip(found, doc_scores.double().softmax(1).tolist(), strict=True)]


def _entropy(weights: Any, log: Callable[[float], float] = math.log) -> float:
    return -sum(p * log(p) for p in weights if p > 0)


def _but(
    weights: Callable[[list[list[int]], Tensor], list[list[float]]] = _weights,
    key: Callable[[int, int], int] = lambda place, row: row,
    share: Callable[[int], float] = lambda batch: 1 / batch,
    log: Callable[[float], float] = math.log,
    slots: Callable[[list[list[int]], Tensor], int] = lambda found, scores: sum(map(len, found)),
    collapsed: Callable[[float, float, int, int], bool] = lambda h, one, b, k: h - one < ALARM * math.log(b),
) -> Callable[[list[list[int]], Tensor], dict[str, Any]]:
    """The statistics as a student would write them, with one step exchanged."""

    def statistics(found: list[list[int]], doc_scores: Tensor) -> dict[str, Any]:
        each, together = weights(found, doc_scores), dict[int, float]()
        for rows, own in zip(found, each, strict=True):
            for place, (row, weight) in enumerate(zip(rows, own, strict=True)):
                together[key(place, row)] = together.get(key(place, row), 0.0) + weight * share(len(found))
        whole, one = _entropy(together.values(), log), sum(_entropy(own, log) for own in each) / len(found)
        return {
            "unique": len(together) / slots(found, doc_scores),
            "entropy": whole,
            "entropy_of_one": one,
            "collapsed": collapsed(whole, one, len(found), doc_scores.shape[1]),
        }

    return statistics


def _with_nan(found: list[list[int]], doc_scores: Tensor) -> dict[str, Any]:
    weights = doc_scores.double().softmax(1)
    one = float(-(weights * weights.log()).sum(1).mean())
    own = _collapse(found, doc_scores)
    return {**own, "entropy_of_one": one, "collapsed": own["entropy"] - one < ALARM * math.log(len(found))}


_H = math.log(2)
_QUARTER = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
_EIGHTH = -0.875 * math.log(0.875) - 0.125 * math.log(0.125)


def _of(unique: float, entropy: float, entropy_of_one: float, collapsed: bool) -> dict[str, Any]:
    return {"unique": unique, "entropy": entropy, "entropy_of_one": entropy_of_one, "collapsed": collapsed}


check_collapse_statistics = Exercise(
    number="10.3",
    name="collapse_statistics",
    title="Has the retriever collapsed?",
    stars=2,
    minutes=25,
    points=6,
    reference=_collapse,
    by_hand=(
        (([[4, 2], [3, 2]], torch.zeros(2, 2)), _of(0.75, 1.5 * _H, _H, False)),
        (([[1, 2], [2, 1]], torch.zeros(2, 2)), _of(0.5, _H, _H, True)),
        (([[5, 6], [7, 8]], torch.tensor([[3.0, 1.0], [3.0, 1.0]]).log()), _of(1.0, _H + _QUARTER, _QUARTER, False)),
        (([[1], [2, 3]], torch.tensor([[0.0, -math.inf], [0.0, 0.0]])), _of(1.0, 1.5 * _H, _H / 2, False)),
        (([[1]] * 7 + [[2]], torch.zeros(8, 1)), _of(0.25, _EIGHTH, 0.0, True)),
    ),
    draw=_some_found,
    mistakes=(
        Mistake(
            "counted, not weighed",
            "Each document that was found counted the same. Weigh it by p(z|x), the softmax of the question's scores.",
            _but(weights=lambda found, scores: [[1 / len(one)] * len(one) for one in found]),
        ),
        Mistake(
            "logarithms to base 2",
            "Entropies are asked for in nats: use the natural logarithm.",
            _but(log=math.log2, collapsed=lambda h, one, b, k: h - one < ALARM * math.log2(b)),
        ),
        Mistake(
            "not averaged over questions",
            "The weights of all questions together add up to B. Divide by the number of questions: then they are a "
            "distribution.",
            _but(share=lambda batch: 1.0),
        ),
        Mistake(
            "by place, not by passage",
            "Weights were added up by the place in the ranking. Add them up by passage: which ones do questions have in "
            "common?",
            _but(key=lambda place, row: place),
        ),
        Mistake(
            "missing ones counted",
            "Where a question found fewer passages than K, only those count: divide by how many were found in all.",
            _but(slots=lambda found, scores: scores.numel()),
        ),
        Mistake(
            "0 · log 0",
            "A missing document has weight 0, and 0 · log 0 is not a number for a computer. It adds nothing: leave it out.",
            _with_nan,
        ),
        Mistake(
            "judged by the entropy alone",
            "Many documents may be found and yet the same for all questions: the difference of both entropies is what a "
            "question tells about its documents.",
            _but(collapsed=lambda h, one, b, k: h < ALARM * math.log(b)),
        ),
        Mistake(
            "compared with log K",
            "The most that B questions can tell is which of them was asked: log B. How many documents each finds plays no "
            "part.",
            _but(collapsed=lambda h, one, b, k: h - one < ALARM * math.log(k)),
        ),
        Mistake(
            "the alarm turned round",
            "It has collapsed when a question tells little about its documents, not when it tells much.",
            _but(collapsed=lambda h, one, b, k: h - one >= ALARM * math.log(b)),
        ),
    ),
    hint="Softmax each row; add the weights up in a dict by passage id, divided by B; H(Z) is the entropy of that, H(Z|X) the "
    "mean of the rows' entropies; collapsed is H(Z) − H(Z|X) < ¼ log B.",
)
