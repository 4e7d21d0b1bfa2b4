"""Vectors on disk: [N, D] numbers in memory-mapped shards, and a manifest, written last, that vouches for them.

The paper's memory is 21 million vectors of 768 numbers, 64 GB in float32: more than most machines hold, so reading maps the
files instead of loading them. How they are written, also across crashes, is in `vector_writer.py`.

    folder/vectors-00000.npy   rows 0 … R−1      (R = shard_rows; the last shard may be shorter)
    folder/vectors-00001.npy   rows R … 2R−1
    folder/partial.json        while writing: the same fields as the manifest, for the shards that are complete
    folder/manifest.json       when all is written: shape, dtype, SHA-256 of each shard, the encoder, the passages
"""

from __future__ import annotations

import dataclasses
import json
import mmap
import operator
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import SupportsIndex

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from minirag.errors import MiniragError
from minirag.files import atomic_folder, fingerprint_of, sha256_of
from minirag.retrieval.vector_writer import FORMAT, Array, VectorSettings, VectorWriter, read_record, shard_path


class VectorStore:
    """Read access to N vectors on disk, always as float32; the mapping costs address space, not memory.

    Slices of a float32 store are views of the mapping: writing to one changes this process's copy, never the file.

    >>> store = VectorStore.from_array(getfixture("tmp_path") / "v", torch.eye(3), shard_rows=2)
    >>> store.shape, store.take([2, 0])
    ((3, 3), tensor([[0., 0., 1.],
            [1., 0., 0.]]))
    """

    def __init__(self, folder: Path, settings: VectorSettings, maps: list[np.memmap], fingerprint: str) -> None:
        self.folder, self.settings = folder, settings
        self.shape = (settings.rows, settings.dim)
        self.dtype, self.encoder, self.passages = settings.dtype, settings.encoder, settings.passages
        self.fingerprint = fingerprint
        self._maps, self._shards = maps, [torch.from_numpy(array) for array in maps]

    @classmethod
    def open(cls, folder: str | Path, verify: bool = True) -> VectorStore:
        """Map a finished store. `verify` checks every byte against its SHA-256; otherwise only sizes, shapes and types.

        Raises `MiniragError` for a store that is missing, unfinished, of another format, or damaged.
        """
        folder = Path(folder)
        if not (folder / "manifest.json").exists() and (folder / "partial.json").exists():
            raise MiniragError(
                f"{folder} is unfinished; run the encoding again with the same settings and it goes on where it stopped"
            )
        settings, checksums = read_record(folder / "manifest.json")
        if len(checksums) != settings.shards:
            raise MiniragError(
                f"{folder}/manifest.json lists {len(checksums)} of {settings.shards} shards; write the vectors again"
            )
        maps = [_map_shard(folder, settings, i) for i in range(settings.shards)]
        if verify:
            for i, checksum in enumerate(checksums):
                if sha256_of(shard_path(folder, i)) != checksum:
                    raise MiniragError(
                        f"{shard_path(folder, i)} differs from its checksum; write the vectors again to mend this shard"
                    )
        record = json.dumps(dataclasses.asdict(settings), sort_keys=True)
        return cls(folder, settings, maps, fingerprint_of(FORMAT, record, *checksums))

    @classmethod
    def write(cls, folder: str | Path, blocks: Iterable[Array], settings: VectorSettings) -> VectorStore:
        """Write blocks of rows, of whatever lengths, as a store that appears whole or not at all and replaces an older one.

        For work worth resuming use `VectorWriter`, whose caller can start in the middle.
        """
        with atomic_folder(folder, _is_store) as temporary:
            writer = VectorWriter(temporary, settings)
            for shard in _regroup(blocks, settings.shard_rows):
                writer.append(shard)
            writer.finish()
        return cls.open(folder, verify=False)

    @classmethod
    def from_array(
        cls,
        folder: str | Path,
        array: Array,
        dtype: str = "float32",
        shard_rows: int = 65_536,
        encoder: str = "",
        passages: str = "",
    ) -> VectorStore:
        """Store vectors `[N, D]` that are already in memory."""
        rows, dim = array.shape
        return cls.write(folder, [array], VectorSettings(rows, dim, dtype, shard_rows, encoder, passages))

    def __len__(self) -> int:
        return self.settings.rows

    def __getitem__(self, key: SupportsIndex | slice) -> Float32[Tensor, "*n D"]:
        if not isinstance(key, slice):
            row = operator.index(key)
            if not -len(self) <= row < len(self):  # IndexError, as for a list: it ends `for vector in store`
                raise IndexError(f"row {row} of a store of {len(self)} vectors")
            return self.take([row % len(self)])[0]
        start, stop, step = key.indices(len(self))
        if step != 1:
            return self.take(torch.arange(len(self))[key] if step > 0 else list(range(start, stop, step)))
        parts, size = [], self.settings.shard_rows
        for i in range(start // size, -(-stop // size) if stop > start else 0):
            parts.append(self._shards[i][max(start - i * size, 0) : stop - i * size].float())
        if not parts:
            return torch.empty(0, self.settings.dim)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def take(self, ids: Int64[Tensor, " n"] | Sequence[int]) -> Float32[Tensor, "n D"]:
        """The vectors of any rows, in the order asked, repeats allowed; raises `MiniragError` for a row that is not there."""
        ids = torch.as_tensor(ids, dtype=torch.int64)
        if len(ids) and (ids.min() < 0 or ids.max() >= len(self)):
            wrong = ids[(ids < 0) | (ids >= len(self))][0]
            raise MiniragError(
                f"row {wrong} is not among the store's {len(self)} vectors; were the ids made for another store?"
            )
        ordered, order = ids.sort()  # one visit a shard, front to back as a disk likes it
        out = torch.empty(len(ids), self.settings.dim)  # [n, D]
        shard_of = ordered // self.settings.shard_rows
        shards, counts = shard_of.unique_consecutive(return_counts=True)
        first = 0
        for i, count in zip(shards.tolist(), counts.tolist(), strict=True):
            here = slice(first, first + count)
            local = ordered[here] - i * self.settings.shard_rows
            out.index_copy_(0, order[here], self._shards[i].index_select(0, local).float())
            first += count
        return out

    def batches(self, rows: int) -> Iterator[Float32[Tensor, "b D"]]:
        """All vectors in order, `rows` at a time, the last batch perhaps shorter."""
        for start in range(0, len(self), rows):
            yield self[start : start + rows]

    def release(self) -> None:
        """Give back the memory that reading has mapped in, changes of this process included; what is read again comes from the
        files. A process that walks through more than its memory holds stays small so."""
        for array in self._maps:
            advise(array, "MADV_DONTNEED")

    def prefetch(self, ids: Int64[Tensor, " n"]) -> None:
        """Have the system read these rows, all at once, so that who takes them does not wait for each in turn. A row costs a
        call of the system, also one that is in memory."""
        size = self.settings.shard_rows
        for row in ids.tolist():
            array = self._maps[row // size]
            begin = array.offset % mmap.ALLOCATIONGRANULARITY + row % size * array.strides[0]
            start = begin - begin % mmap.PAGESIZE
            advise(array, "MADV_WILLNEED", start, begin + array.strides[0] - start)

    def here_and_there(self) -> None:
        """Say that rows will be read one here and one there: the system then reads no pages ahead around each of them."""
        for array in self._maps:
            advise(array, "MADV_RANDOM")


def advise(array: np.memmap, advice: str, *part: int) -> None:
    """Tell the system what a mapped array, or a part of it (start and length in bytes), is wanted for, where it can be told
    (Linux, macOS)."""
    mapped = getattr(array, "_mmap", None)  # an empty array is none
    if mapped is not None and hasattr(mmap, advice):
        mapped.madvise(getattr(mmap, advice), *part)


def _is_store(folder: Path) -> bool:
    own = ("manifest.json", ".lock")
    return all(path.name in own or path.match("vectors-*.npy") for path in folder.iterdir())


def _map_shard(folder: Path, settings: VectorSettings, shard: int) -> np.memmap:
    path, (first, last) = shard_path(folder, shard), settings.bounds(shard)
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)  # copy-on-write, as torch has no read-only tensors
        size = array.offset + array.nbytes
    except FileNotFoundError:
        raise MiniragError(f"{path} is missing; write the vectors again to mend the store") from None
    except (AttributeError, EOFError, OSError, ValueError) as error:
        raise MiniragError(f"{path} is truncated or no array ({error}); write the vectors again to mend the store") from None
    if (array.shape, array.dtype.name, path.stat().st_size) != ((last - first, settings.dim), settings.dtype, size):
        raise MiniragError(
            f"{path} is not the {last - first} × {settings.dim} {settings.dtype} shard of this store; write it again"
        )
    return array


def _regroup(blocks: Iterable[Array], size: int) -> Iterator[np.ndarray]:
    """The same rows in blocks of exactly `size`, the last one perhaps shorter."""
    parts: list[np.ndarray] = []
    held = 0
    for block in blocks:
        array = np.asarray(block.detach().cpu() if isinstance(block, Tensor) else block)
        while len(array):
            part, array = array[: size - held], array[size - held :]
            parts.append(part)
            held += len(part)
            if held == size:
                yield np.concatenate(parts) if len(parts) > 1 else parts[0]
                parts, held = [], 0
    if held:
        yield np.concatenate(parts)
