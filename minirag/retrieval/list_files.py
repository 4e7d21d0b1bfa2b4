"""The lists of an `IVFIndex`, coded straight into files: as many lists at a time as memory holds the vectors of.

Rows of a list lie all over the store. So they are read for a group of lists together, in the order of the store: the whole is
read about as often as the vectors are larger than the memory allowed.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from tqdm.auto import tqdm

from minirag.retrieval.code_lists import first_blocks
from minirag.retrieval.disk import mapped
from minirag.retrieval.ivf import IVFIndex
from minirag.retrieval.lists import Cell
from minirag.retrieval.vectors import VectorStore, advise
from minirag.retrieval.visits import BLOCK

COPIES = 4  # of a group's vectors while they are coded


def fill_lists(
    folder: Path, index: IVFIndex, store: VectorStore, list_of: Int64[Tensor, " N"], ram: int, progress: bool
) -> dict[str, Tensor]:
    """Write the coded rows of all lists to `values.npy`; return the other arrays of `Lists`."""
    sizes = torch.bincount(list_of, minlength=index.n_lists)  # [C]
    first = first_blocks(sizes)
    blocks, dim = int(first[-1]), store.shape[1]
    values = mapped(folder / "values.npy", np.int8, (blocks * BLOCK, dim))
    slot = torch.full((blocks * BLOCK,), -1)
    lengths = {name: torch.empty(blocks) for name in ("step", "error", "reach")}
    rows = list_of.argsort(stable=True).split(sizes.tolist())  # of each list, ids ascending
    for group in tqdm(list(groups(sizes, ram // (COPIES * 4 * dim))), desc="lists", unit="group", disable=not progress):
        ids = torch.cat(rows[group.start : group.stop]).sort().values
        vectors = store.take(ids)  # [n, D]
        store.release()
        for cell in group:
            coded = Cell.of(rows[cell], index.coder, lambda some, ids=ids, own=vectors: own[torch.searchsorted(ids, some)])  # type: ignore[misc]
            part = slice(int(first[cell]), int(first[cell + 1]))
            slots = slice(part.start * BLOCK, part.stop * BLOCK)
            values[slots], slot[slots] = coded.codes.values.numpy(), coded.slots
            for name, array in lengths.items():
                array[part] = getattr(coded.codes, name)
        advise(values, "MADV_DONTNEED")  # what was filled in is the system's to write down
    return {"first": first, "slot": slot, **lengths}


def groups(sizes: Int64[Tensor, " C"], most: int) -> Iterator[range]:
    """Lists that follow one another, with at most so many rows together; at least one list each.

    >>> [list(group) for group in groups(torch.tensor([3, 1, 9, 2]), 5)]
    [[0, 1], [2], [3]]
    """
    start, held = 0, 0
    for cell, size in enumerate(sizes.tolist()):
        if cell > start and held + size > most:
            yield range(start, cell)
            start, held = cell, 0
        held += size
    yield range(start, len(sizes))
