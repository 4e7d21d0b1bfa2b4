"""Who looks into which list: a batch of questions, turned round so that lists can be gone through one after the other.

Questions probe lists; lists are blocks of rows. Scores are computed list after list, for all questions that probe it, and lie
pair after pair (question and list) and block after block. Here stands which question, which block of the index, and which
place in the question's own row of blocks each of these is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

BLOCK = 32  # rows that share one maximum; every list is filled up to whole blocks
CELLS = 16_000_000  # scores held at once: 64 MB


@dataclass(frozen=True)
class Visits:
    """The pairs of question and list, list after list, and their blocks.

    >>> seen = Visits.of(torch.tensor([0, 1, 3]), torch.tensor([[1], [0], [1]]))  # lists of one block and of two
    >>> seen.asking.tolist(), seen.counts
    ([1, 0, 2], [1, 2])
    >>> seen.query.tolist(), seen.block.tolist(), seen.column.tolist()
    ([1, 0, 0, 2, 2], [0, 1, 2, 1, 2], [0, 0, 1, 0, 1])
    """

    asking: Int64[Tensor, " pairs"]  # the question of each pair
    counts: list[int]  # pairs of each list
    query: Int64[Tensor, " blocks"]  # the question of each block of scores
    block: Int64[Tensor, " blocks"]  # the block of the index whose rows were scored
    column: Int64[Tensor, " blocks"]  # its place among the blocks of the question
    width: int  # blocks of the question that has most

    @classmethod
    def of(cls, first: Int64[Tensor, " bounds"], probes: Int64[Tensor, "B P"]) -> "Visits":
        """`first`: the first block of each list, and the number of all blocks."""
        sizes = first.diff()[probes]  # [B, P] blocks in each list probed
        order = probes.flatten().argsort(stable=True)  # [pairs] list after list
        asking = order // probes.shape[1]  # [pairs]
        counts = torch.bincount(probes.flatten(), minlength=len(first) - 1).tolist()
        pair_sizes = sizes.flatten()[order]  # [pairs]
        pair = torch.arange(len(order)).repeat_interleave(pair_sizes)  # [blocks]
        within = torch.arange(len(pair)) - (pair_sizes.cumsum(0) - pair_sizes)[pair]  # [blocks]
        block = first[probes.flatten()[order]][pair] + within
        column = (sizes.cumsum(1) - sizes).flatten()[order][pair] + within
        return cls(asking, counts, asking[pair], block, column, int(sizes.sum(1).max()))


def tiles(first: Int64[Tensor, " bounds"], probes: Int64[Tensor, "B P"]) -> Iterator[slice]:
    """Batches of questions whose scores fit into `CELLS`; at least one question each."""
    work = (first.diff()[probes].sum(dim=1) * BLOCK).tolist()  # rows that each question scans
    start, held = 0, 0
    for i, rows in enumerate(work):
        if held and held + rows > CELLS:
            yield slice(start, i)
            start, held = i, 0
        held += rows
    yield slice(start, len(work))
