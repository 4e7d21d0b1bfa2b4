"""The lists of product codes: M bytes a row, list after list, in whole blocks. All that a search reads of 21 million passages.

    list 0                list 1          …
    block 0 | block 1 |   block 2 |       …     first: the first block of each list
    code 0 … 31 | 32 …                          codes: M bytes at each slot;  rows: the row there, −1 for none

The arrays may be maps of files, so they are filled in by parts and never held whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int32, Int64, UInt8
from torch import Tensor

from minirag.retrieval.scratch import scratch
from minirag.retrieval.visits import BLOCK

CHUNK = 4_096  # rows looked up at once: their 32-bit places stay in cache

Part = tuple[Int64[Tensor, " n"], Int64[Tensor, " n"], UInt8[Tensor, "n M"]]  # row, list and code of some rows


@dataclass(frozen=True)
class CodeLists:
    """Codes and rows at every slot."""

    codes: UInt8[Tensor, "slots M"]
    rows: Int32[Tensor, " slots"]
    first: Int64[Tensor, " bounds"]  # in blocks; the last one is the number of all

    @classmethod
    def of(cls, parts: Iterable[Part], sizes: Int64[Tensor, " C"], pieces: int) -> CodeLists:
        """Lists in memory, from parts whose lists have these sizes altogether."""
        first = first_blocks(sizes)
        slots = int(first[-1]) * BLOCK
        codes = torch.zeros(slots, pieces, dtype=torch.uint8)
        lists = cls(codes, torch.full((slots,), -1, dtype=torch.int32), first)
        lists.fill(parts)
        return lists

    def fill(self, parts: Iterable[Part]) -> None:
        """Put the rows of the parts, one after the other, each at the next slot of its list."""
        following = self.first[:-1] * BLOCK  # [C] the next slot
        for rows, cells, codes in parts:
            order = cells.argsort(stable=True)  # [n]
            sizes = torch.bincount(cells, minlength=len(following))  # [C]
            within = torch.arange(len(order)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
            slots = following[cells[order]] + within
            self.codes[slots], self.rows[slots] = codes[order], rows[order].to(torch.int32)
            following += sizes

    def parts(self) -> Iterable[Part]:
        """The rows that are alive, as they can be filled in elsewhere."""
        cells = torch.arange(len(self.first) - 1).repeat_interleave(self.first.diff() * BLOCK)  # [slots]
        alive = self.rows >= 0
        yield self.rows[alive].long(), cells[alive], self.codes[alive]

    def drop(self, rows: Int64[Tensor, " n"]) -> None:
        """Empty the slots of these rows."""
        self.rows[torch.isin(self.rows, rows.to(torch.int32))] = -1

    def scores(self, cell: int, tables: Float32[Tensor, "places b"], offsets: Int32[Tensor, " M"]) -> Float32[Tensor, "n b"]:
        """`looked_up` for the rows of a list; −inf at its empty slots."""
        slots = slice(int(self.first[cell]) * BLOCK, int(self.first[cell + 1]) * BLOCK)
        return looked_up(self.codes[slots], tables, offsets).masked_fill_((self.rows[slots] < 0)[:, None], -torch.inf)


def looked_up(
    codes: UInt8[Tensor, "n M"], tables: Float32[Tensor, "places b"], offsets: Int32[Tensor, " M"]
) -> Float32[Tensor, "n b"]:
    """Σ_m T[m, c_m] of each code for b questions at once.

    `tables` has place 256·m + j for codeword j at m, for every question: one visit to a row's M places serves them all, as a
    bag of words is summed up from its words' vectors.
    """
    found = []
    for some in codes.split(CHUNK):
        places = torch.add(some, offsets, out=scratch("places", *some.shape, dtype=torch.int32))  # [n, M]
        found.append(F.embedding_bag(places, tables, mode="sum"))
    return torch.cat(found) if len(found) > 1 else found[0]


def first_blocks(sizes: Int64[Tensor, " C"]) -> Int64[Tensor, " bounds"]:
    """The first block of each list of these sizes, and the number of all.

    >>> first_blocks(torch.tensor([1, 33, 0])).tolist()
    [0, 1, 3, 3]
    """
    return F.pad((sizes + BLOCK - 1) // BLOCK, (1, 0)).cumsum(0)
