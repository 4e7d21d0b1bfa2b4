"""Indexes that do not search, to compare searching with: chance, the right passages, and no passage at all.

Each stands where an index stands, so that a model behind it runs the same code: what changes is only what is found.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.retrieval.retriever import Retriever

NO_PASSAGE = Passage("none", "", "")


class RandomIndex:
    """The floor: k rows drawn at random, the same for the same question. What it finds, chance finds."""

    def __init__(self, rows: int, seed: int = 0) -> None:
        self.rows, self.seed = rows, seed

    def __len__(self) -> int:
        return self.rows

    def search(self, queries: Sequence[str], k: int) -> tuple[Float32[Tensor, "B k"], Int64[Tensor, "B k"]]:
        drawn = [random.Random(f"{self.seed} {query}").sample(range(self.rows), min(k, self.rows)) for query in queries]
        return _side_by_side(drawn, k)


class GivenIndex:
    """The ceiling: for each question the rows that it is given, the first k of them, all with the same score."""

    def __init__(self, rows_of: Mapping[str, Sequence[int]], rows: int) -> None:
        self.rows_of, self.rows = rows_of, rows

    def __len__(self) -> int:
        return self.rows

    def search(self, queries: Sequence[str], k: int) -> tuple[Float32[Tensor, "B k"], Int64[Tensor, "B k"]]:
        """Raises `MiniragError` for a question that was given none."""
        if missing := next((query for query in queries if not self.rows_of.get(query)), None):
            raise MiniragError(f"no passage was given for '{missing}'; give every question its passages")
        return _side_by_side([list(self.rows_of[query][:k]) for query in queries], k)


def no_passages(folder: str | Path) -> Retriever:
    """A memory that holds nothing but one empty passage: who reads from it answers by heart ("closed book")."""
    return Retriever(RandomIndex(1), PassageStore.write(folder, [NO_PASSAGE]))


def _side_by_side(rows: Sequence[Sequence[int]], k: int) -> tuple[Float32[Tensor, "B k"], Int64[Tensor, "B k"]]:
    ids = torch.full((len(rows), k), -1)  # [B, k]; −1 stands for "no such passage"
    for row, own in enumerate(rows):
        ids[row, : len(own)] = torch.tensor(own)
    return torch.where(ids >= 0, 0.0, -torch.inf), ids
