"""The lists of an inverted file, laid out for the scan: coded rows list after list, in whole blocks.

list 0                list 1          …
block 0 | block 1 |   block 2 |       …     step, error, reach: one number a block
slot 0 … 31 | 32 …                          slot: the row id at each place, −1 where the last row fills a block up
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float32, Int8, Int32, Int64
from torch import Tensor

from minirag.retrieval import scan
from minirag.retrieval.visits import BLOCK


@dataclass(frozen=True)
class Cell:
    """One list: the row ids at its slots, and their codes."""

    slots: Int64[Tensor, " n"]
    codes: scan.Codes

    @classmethod
    def of(
        cls,
        ids: Int64[Tensor, " n"],
        coder: scan.Bytes | scan.Floats,
        take: Callable[[Int64[Tensor, " n"]], Float32[Tensor, "n D"]],
    ) -> "Cell":
        """Code the rows `ids`. The last one is repeated to fill its block: so a block's maximum is always a real row's."""
        fill = -len(ids) % BLOCK
        codes = coder.encode(take(torch.cat([ids, ids[-1:].expand(fill)])), BLOCK)
        return cls(torch.cat([ids, torch.full((fill,), -1)]), codes)


@dataclass(frozen=True)
class Lists:
    """All lists of an index."""

    cells: list[Cell]
    first: Int64[Tensor, " bounds"]  # the first block of each list, and the number of all blocks
    slot: Int64[Tensor, " slots"]
    step: Float32[Tensor, " blocks"]
    error: Float32[Tensor, " blocks"]
    reach: Float32[Tensor, " blocks"]

    @classmethod
    def of(cls, cells: list[Cell]) -> "Lists":
        """Put cells side by side; their coded rows stay where they are."""
        sizes = torch.tensor([0] + [len(cell.codes.step) for cell in cells])
        return cls(
            cells,
            sizes.cumsum(0),
            torch.cat([cell.slots for cell in cells]),
            torch.cat([cell.codes.step for cell in cells]),
            torch.cat([cell.codes.error for cell in cells]),
            torch.cat([cell.codes.reach for cell in cells]),
        )

    def arrays(self) -> dict[str, Tensor]:
        """What to write to disk."""
        values = torch.cat([cell.codes.values for cell in self.cells])
        lengths = {"step": self.step, "error": self.error, "reach": self.reach}
        return {"values": values, "first": self.first, "slot": self.slot} | lengths

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Tensor]) -> "Lists":
        """The lists again, as views of (memory-mapped) arrays."""
        bounds, cells = arrays["first"].tolist(), []
        for low, high in pairwise(bounds):
            part, rows = slice(low, high), slice(low * BLOCK, high * BLOCK)
            codes = scan.Codes(arrays["values"][rows], arrays["step"][part], arrays["error"][part], arrays["reach"][part])
            cells.append(Cell(arrays["slot"][rows], codes))
        return cls(cells, *(arrays[name] for name in ("first", "slot", "step", "error", "reach")))

    def products(
        self, values: Int8[Tensor, "P D"] | Float32[Tensor, "P D"], counts: list[int], out_cells: int
    ) -> Int32[Tensor, "blocks 32"] | Float32[Tensor, "blocks 32"]:
        """Products of questions with the lists they probe, in blocks: pair after pair, and block after block of its list.

        `values` holds the questions of list 0, then those of list 1 …, `counts` of them for each list.
        """
        kind = torch.int32 if values.dtype == torch.int8 else torch.float32
        out = torch.empty(out_cells, dtype=kind)
        place, pair = 0, 0
        for cell, count in zip(self.cells, counts, strict=True):
            rows = len(cell.slots)
            if count and rows:
                target = out[place : place + count * rows].view(count, rows)
                scan.product(values[pair : pair + count], cell.codes.values, target)
                place += count * rows
            pair += count
        return out.view(-1, BLOCK)
