"""The float32 vectors behind an index: kept in files, read by row, revised row by row.

A low-precision scan needs only the finalists' exact vectors, a few dozen rows a question. So these need not lie in RAM:
they stay in the `VectorStore` they came from, and what is added or replaced later goes to a spool, a nameless temporary
file. Row positions 0 … N−1 never move; a removed row leaves a gap, so that ids keep agreeing with the passages.
"""

import os
import tempfile
import warnings
import weakref
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from minirag.errors import MiniragError
from minirag.files import read_json, write_json
from minirag.retrieval.vectors import VectorSettings, VectorStore

Rows = Float[Tensor, "N D"] | Float[np.ndarray, "N D"]


def as_rows(vectors: Rows, dim: int, what: str = "vectors") -> Float32[Tensor, "N D"]:
    """`vectors` as a contiguous float32 tensor on the CPU, after checking what no search can mend.

    Raises MiniragError for a wrong dimension and for NaN or infinity, naming the first such row.

    >>> as_rows(np.ones((1, 2)), dim=2)
    tensor([[1., 1.]])
    """
    with warnings.catch_warnings():  # torch warns of arrays that may not be written to; nothing here writes to them
        warnings.filterwarnings("ignore", "The given NumPy array is not writ")
        rows = torch.as_tensor(vectors).detach().to("cpu", torch.float32).contiguous()  # [N, D]
    if rows.shape[1] != dim:
        raise MiniragError(f"the {what} have {rows.shape[1]} dimensions, the index {dim}; use the encoder it was built with")
    broken = (~torch.isfinite(rows.norm(dim=1))).nonzero()  # [n, 1]
    if len(broken):
        raise MiniragError(f"row {int(broken[0])} of the {what} holds NaN or infinity (or is too long); check the encoder")
    return rows


class Memory:
    """Vectors by row position: `append`, `take`, `replace`, `remove`, and which rows are alive.

    >>> memory = Memory(dim=2)
    >>> memory.append(torch.eye(2))
    >>> memory.replace(torch.tensor([1]), torch.tensor([[3.0, 4.0]]))
    >>> memory.take(torch.tensor([1, 0])).tolist()
    [[3.0, 4.0], [1.0, 0.0]]
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._base: VectorStore | None = None  # read-only; rows 0 … len(base)−1
        self._base_rows = 0
        self._tail = _Spool(dim)  # the rows after the base
        # Replaced rows of the base: `_moved_ids` (sorted) lie in the spool `_moved` at `_moved_to`.
        self._moved = _Spool(dim)
        self._moved_ids = torch.empty(0, dtype=torch.int64)
        self._moved_to = torch.empty(0, dtype=torch.int64)
        self.alive: Bool[Tensor, " N"] = torch.empty(0, dtype=torch.bool)
        self.encoder = ""  # fingerprint of the encoder that made the vectors, where the store says so
        self.passages = ""  # fingerprint of the passages they were made from

    def __len__(self) -> int:
        return len(self.alive)

    @torch.inference_mode(False)  # whoever adds within inference mode may revise outside of it
    def append(self, vectors: Rows | VectorStore) -> None:
        """Add rows at the end. A `VectorStore` given to an empty memory is used where it lies, without a copy."""
        if isinstance(vectors, VectorStore):
            if vectors.shape[1] != self.dim:
                raise MiniragError(f"{vectors.folder} holds {vectors.shape[1]} dimensions, the index has {self.dim}")
            if len(self) == 0:
                self._base, self._base_rows = vectors, len(vectors)
                self.encoder, self.passages = vectors.encoder, vectors.passages
                self.alive = torch.ones(len(vectors), dtype=torch.bool)
                return
            for block in vectors.batches(65_536):
                self.append(block)
            return
        rows = as_rows(vectors, self.dim)  # [n, D]
        self._tail.write(rows)
        self.alive = torch.cat([self.alive, torch.ones(len(rows), dtype=torch.bool)])

    def take(self, ids: Int64[Tensor, " n"]) -> Float32[Tensor, "n D"]:
        """The rows at `ids`, in that order, duplicates allowed."""
        if self._base is None:
            return self._tail.rows.index_select(0, ids)
        if self._untouched:
            return self._base.take(ids)
        in_base = ids < self._base_rows  # [n]
        out = torch.empty(len(ids), self.dim)  # [n, D]
        out[in_base] = self._base.take(ids[in_base])
        out[~in_base] = self._tail.rows[ids[~in_base] - self._base_rows]
        if self._moved_ids.numel():
            slot = torch.searchsorted(self._moved_ids, ids).clamp(max=len(self._moved_ids) - 1)  # [n]
            moved = self._moved_ids[slot] == ids  # [n]
            out[moved] = self._moved.rows[self._moved_to[slot[moved]]]
        return out

    def rows(self, low: int, high: int) -> Float32[Tensor, "n D"]:
        """Rows `low` … `high`−1; a view of the file where they lie together."""
        if self._base is None:
            return self._tail.rows[low:high]
        if high <= self._base_rows and not self._moved_ids.numel():
            return self._base[low:high]
        return self.take(torch.arange(low, high))

    def release(self) -> None:
        """Give back the memory that reading the store has mapped in (see `VectorStore.release`)."""
        if self._base is not None:
            self._base.release()

    def prefetch(self, ids: Int64[Tensor, " n"]) -> None:
        """Have the store read these rows, all at once (see `VectorStore.prefetch`)."""
        if self._base is not None:
            self._base.prefetch(ids[ids < self._base_rows])

    def here_and_there(self) -> None:
        """From now on rows are read one here and one there (see `VectorStore.here_and_there`)."""
        if self._base is not None:
            self._base.here_and_there()

    def replace(self, ids: Int64[Tensor, " n"], vectors: Rows) -> None:
        """Give the rows `ids` new vectors; a removed row comes back to life."""
        self._check_ids(ids)
        rows = as_rows(vectors, self.dim)
        if len(rows) != len(ids):
            raise MiniragError(f"replace got {len(ids)} ids but {len(rows)} vectors; give one vector for each id")
        later = ids >= self._base_rows
        if later.any():
            self._tail.rows[ids[later] - self._base_rows] = rows[later]
        if not later.all():
            self._move(ids[~later], rows[~later])
        self.alive[ids] = True

    def remove(self, ids: Int64[Tensor, " n"]) -> None:
        """Take rows out of every later search; their positions stay empty."""
        self._check_ids(ids)
        gone = ids[~self.alive[ids]]
        if len(gone):
            raise MiniragError(f"row {int(gone[0])} was removed before; each row can be removed once")
        self.alive[ids] = False

    def save(self, folder: Path, final: Path) -> None:
        """Write into `folder` (which will be renamed to `final`): by reference if all rows are the store's own, else a copy."""
        if self._base is not None and self._untouched:
            where = os.path.relpath(self._base.folder.resolve(), final.resolve())
            write_json(folder / "memory.json", {"vectors": where, "fingerprint": self._base.fingerprint})
        else:
            blocks = (self.rows(low, min(low + 65_536, len(self))) for low in range(0, len(self), 65_536))
            store = VectorStore.write(
                folder / "vectors", blocks, VectorSettings(len(self), self.dim, encoder=self.encoder, passages=self.passages)
            )
            write_json(folder / "memory.json", {"vectors": "vectors", "fingerprint": store.fingerprint})
        np.save(folder / "alive.npy", np.packbits(self.alive.numpy()))

    @classmethod
    def load(cls, folder: Path, dim: int, verify: bool = True) -> "Memory":
        """Open what `save` wrote; MiniragError if the vectors are gone, damaged or no longer the same."""
        record = read_json(folder / "memory.json")
        memory = cls(dim)
        store = VectorStore.open(folder / record["vectors"], verify=verify)
        if store.fingerprint != record["fingerprint"]:
            raise MiniragError(f"{store.folder} is no longer what the index {folder} was built on; build the index again")
        memory.append(store)
        memory.alive = torch.from_numpy(np.unpackbits(np.load(folder / "alive.npy"), count=len(store))).bool()
        return memory

    @property
    def _untouched(self) -> bool:
        """Whether all rows are the base's own, as they were."""
        return len(self) == self._base_rows and not self._moved_ids.numel()

    def _move(self, ids: Int64[Tensor, " n"], rows: Float32[Tensor, "n D"]) -> None:
        places = torch.cat([self._moved_to, self._moved.write(rows)])
        ids = torch.cat([self._moved_ids, ids])
        # The last place given to an id wins: a stable sort keeps it last among equals.
        order = torch.sort(ids, stable=True).indices
        ids, places = ids[order], places[order]
        last = torch.cat([ids[1:] != ids[:-1], torch.ones(1, dtype=torch.bool)])
        self._moved_ids, self._moved_to = ids[last], places[last]

    def _check_ids(self, ids: Int64[Tensor, " n"]) -> None:
        outside = ids[(ids < 0) | (ids >= len(self))]
        if len(outside):
            raise MiniragError(f"there is no row {int(outside[0])}; the index has rows 0 to {len(self) - 1}")
        if len(ids.unique()) != len(ids):
            raise MiniragError("the same id twice in one call; name each row once")


class _Spool:
    """A nameless temporary file of float32 rows that grows at the end and vanishes with the process."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._count = 0
        self._file = tempfile.TemporaryFile(prefix="minirag-")  # noqa: SIM115 (it lives as long as the spool)
        weakref.finalize(self, self._file.close)
        self._mapped: Tensor | None = None

    @property
    @torch.inference_mode(False)
    def rows(self) -> Float32[Tensor, "n D"]:
        if self._mapped is None:
            if self._count == 0:
                return torch.empty(0, self._dim)
            self._mapped = torch.from_numpy(np.memmap(self._file, np.float32, "r+", shape=(self._count, self._dim)))
        return self._mapped

    def write(self, rows: Float32[Tensor, "n D"]) -> Int64[Tensor, " n"]:
        """Append rows and return their places."""
        try:
            self._file.seek(0, os.SEEK_END)
            self._file.write(rows.numpy().data.cast("B") if rows.numel() else b"")
            self._file.flush()
        except OSError as error:
            raise MiniragError(
                f"cannot keep {len(rows)} more vectors in {tempfile.gettempdir()} ({error.strerror}); set TMPDIR to more space"
            ) from error
        places = torch.arange(self._count, self._count + len(rows))
        self._count += len(rows)
        self._mapped = None
        return places
