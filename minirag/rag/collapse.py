"""Retrieval collapse (the paper's appendix H) as numbers: the same documents are found whatever is asked.

Over the questions of a batch, x, and the documents that they found, z, with p(z|x): how spread the documents are over all
questions, H(Z); how spread they are for one, H(Z|X); and what a question tells about its documents, I(X; Z) = H(Z) − H(Z|X).
It is log B where B questions have no document in common, and 0 where all find the same: then the retriever has nothing to
teach, and the generator learns to do without.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from minirag.errors import MiniragError
from minirag.retrieval.retriever import Retrieved

ALARM = 0.25  # of what a question could tell


@dataclass(frozen=True)
class Spread:
    """How a batch's questions share their documents; entropies in nats.

    `unique`: different documents among all that were found, from 1/B where all are the same ones to 1; `information`: I(X; Z).
    """

    questions: int
    entropy: float
    entropy_of_one: float
    unique: float

    @property
    def information(self) -> float:
        return self.entropy - self.entropy_of_one

    @property
    def most(self) -> float:
        """What a question could tell about its documents: log B."""
        return math.log(self.questions)

    @property
    def collapsed(self) -> bool:
        """Whether questions tell less than a quarter of what they could about their documents."""
        return self.information < ALARM * self.most


def spread(found: Sequence[Retrieved], scores: Float[Tensor, "B K"]) -> Spread:
    """The documents of different questions, weighed by the softmax of their scores.

    >>> one = Retrieved("?", [], torch.tensor([4, 2]), torch.zeros(2))
    >>> other = Retrieved("!", [], torch.tensor([3, 2]), torch.zeros(2))
    >>> some = spread([one, other], torch.zeros(2, 2))
    >>> round(some.entropy, 3), round(some.entropy_of_one, 3), round(some.information, 3), some.unique
    (1.04, 0.693, 0.347, 0.75)
    """
    if len(found) < 2:
        raise MiniragError(f"{len(found)} questions cannot be told apart by their documents; give at least two")
    if not all(len(one.rows) for one in found):
        raise MiniragError("a question found no document, and shares none with the others; leave it out")
    weights = scores[:, : max(len(one.rows) for one in found)].detach().double().softmax(1).cpu()  # [B, K]
    together: dict[int, float] = {}
    for one, own in zip(found, weights, strict=True):
        for row, weight in zip(one.rows.tolist(), own.tolist(), strict=False):
            together[row] = together.get(row, 0.0) + weight / len(found)
    count = sum(len(one.rows) for one in found)
    of_one = float(torch.special.entr(weights).sum(1).mean())
    return Spread(len(found), _entropy(together.values()), of_one, len(together) / count)


def _entropy(weights: Iterable[float]) -> float:
    return -sum(p * math.log(p) for p in weights if p > 0)
