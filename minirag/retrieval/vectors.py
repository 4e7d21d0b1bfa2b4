"""Vectors on disk: [N, D] numbers in memory-mapped shards, and a manifest, written last, that vouches for them.

The paper's memory is 21 million vectors of 768 numbers, 64 GB in float32: more than most machines hold, and days of
encoding. Two things follow. Reading maps the files instead of loading them. Writing goes shard by shard, with a journal, so
that what a killed run has finished is never computed again:

    folder/vectors-00000.npy   rows 0 … R−1      (R = shard_rows; the last shard may be shorter)
    folder/vectors-00001.npy   rows R … 2R−1
    folder/partial.json        while writing: the same fields as the manifest, for the shards that are complete
    folder/manifest.json       when all is written: shape, dtype, SHA-256 of each shard, the encoder, the passages
"""

from __future__ import annotations

import dataclasses
import json
import operator
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from minirag.errors import MiniragError
from minirag.files import atomic_folder, atomic_path, fingerprint_of, read_json, sha256_of, write_json

FORMAT = "minirag vectors 1"
DTYPES = ("float32", "float16")
Array = np.ndarray | Tensor


@dataclasses.dataclass(frozen=True)
class VectorSettings:
    """All that decides what a store's files are, before a single vector is computed. Work goes on only under equal settings."""

    rows: int
    dim: int
    dtype: str = "float32"
    shard_rows: int = 65_536
    encoder: str = ""  # fingerprint of the encoder that computes the vectors
    passages: str = ""  # fingerprint of the passages they are computed from

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise MiniragError(f"vectors cannot be stored as {self.dtype!r}; choose one of {', '.join(DTYPES)}")
        if self.rows < 0 or self.dim < 1 or self.shard_rows < 1:
            raise MiniragError(f"{self} is no shape for a vector store; rows must be ≥ 0, dim and shard_rows ≥ 1")

    @property
    def shards(self) -> int:
        return -(-self.rows // self.shard_rows)

    def bounds(self, shard: int) -> tuple[int, int]:
        """First row of a shard, and the row after its last."""
        return shard * self.shard_rows, min((shard + 1) * self.shard_rows, self.rows)


class VectorStore:
    """Read access to N vectors on disk, always as float32; the mapping costs address space, not memory.

    Slices of a float32 store are views of the mapping: writing to one changes this process's copy, never the file.

    >>> store = VectorStore.from_array(getfixture("tmp_path") / "v", torch.eye(3), shard_rows=2)
    >>> store.shape, store.take([2, 0])
    ((3, 3), tensor([[0., 0., 1.],
            [1., 0., 0.]]))
    """

    def __init__(self, folder: Path, settings: VectorSettings, shards: list[Tensor], fingerprint: str) -> None:
        self.folder, self.settings = folder, settings
        self.shape = (settings.rows, settings.dim)
        self.dtype, self.encoder, self.passages = settings.dtype, settings.encoder, settings.passages
        self.fingerprint = fingerprint
        self._shards = shards

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
        settings, checksums = _read_record(folder / "manifest.json")
        if len(checksums) != settings.shards:
            raise MiniragError(
                f"{folder}/manifest.json lists {len(checksums)} of {settings.shards} shards; write the vectors again"
            )
        shards = [_map_shard(folder, settings, i) for i in range(settings.shards)]
        if verify:
            for i, checksum in enumerate(checksums):
                if sha256_of(_shard_path(folder, i)) != checksum:
                    raise MiniragError(
                        f"{_shard_path(folder, i)} differs from its checksum; write the vectors again to mend this shard"
                    )
        record = json.dumps(dataclasses.asdict(settings), sort_keys=True)
        return cls(folder, settings, shards, fingerprint_of(FORMAT, record, *checksums))

    @classmethod
    def write(cls, folder: str | Path, blocks: Iterable[Array], settings: VectorSettings) -> VectorStore:
        """Write blocks of rows, of whatever lengths, as a store that appears whole or not at all and replaces an older one.

        For work worth resuming use `VectorWriter`, whose caller can start in the middle.
        """
        folder = Path(folder)
        if folder.exists() and any(folder.iterdir()) and not (folder / "manifest.json").exists():
            raise MiniragError(f"{folder} holds something other than finished vectors; choose another folder or empty it")
        with atomic_folder(folder) as temporary:
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


class VectorWriter:
    """Write a store shard by shard; opened again on the same folder after a crash, it goes on after the last good shard.

    `next_shard` says where to go on: shards before it are on disk with the right checksums. A shard that was damaged since,
    also in a finished store, is written again together with those after it.
    Raises `MiniragError` if the folder holds vectors of another encoder, corpus, shape, dtype or shard size, or foreign files.
    """

    def __init__(self, folder: str | Path, settings: VectorSettings) -> None:
        self.folder, self.settings = Path(folder), settings
        self._checksums: list[str] = []
        self.folder.mkdir(parents=True, exist_ok=True)
        records = [path for name in ("manifest.json", "partial.json") if (path := self.folder / name).exists()]
        if records:
            self._resume(records[0])
        elif foreign := [path.name for path in self.folder.iterdir() if not path.name.startswith(".")]:
            raise MiniragError(f"{self.folder} holds {foreign[0]} but no vectors begun by minirag; choose an empty folder")
        for leftover in self.folder.glob(".*.tmp"):  # of a run that was killed in the middle of a file
            leftover.unlink()
        self._write_record("partial.json")
        (self.folder / "manifest.json").unlink(missing_ok=True)  # until `finish`, which costs nothing if nothing was missing

    @property
    def next_shard(self) -> int:
        return len(self._checksums)

    def append(self, vectors: Array) -> None:
        """Write the next shard, whole or not at all: `[shard_rows, D]`, or what remains for the last."""
        first, last = self.settings.bounds(self.next_shard)
        array = np.asarray(vectors.detach().cpu() if isinstance(vectors, Tensor) else vectors)
        if array.shape != (max(last - first, 0), self.settings.dim) or first >= last:
            raise MiniragError(
                f"shard {self.next_shard} of {self.folder} got vectors of shape {array.shape} where rows {first} to {last} of "
                f"dimension {self.settings.dim} belong; give exactly the {self.settings.rows} rows that were announced"
            )
        with np.errstate(over="ignore"):  # what overflows float16 becomes inf, and is refused as such
            array = array.astype(self.settings.dtype, copy=False)
        if not np.isfinite(array).all():
            row = first + int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
            raise MiniragError(
                f"vector {row} holds NaN or infinity as {self.settings.dtype}; check the encoder, or store float32"
            )
        path = _shard_path(self.folder, self.next_shard)
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)
        self._checksums.append(sha256_of(path))
        self._write_record("partial.json")

    def finish(self) -> None:
        """Write the manifest, which makes the store one that can be opened."""
        if self.next_shard != self.settings.shards:
            raise MiniragError(
                f"{self.folder} has {self.next_shard} of {self.settings.shards} shards; give all rows before finishing"
            )
        self._write_record("manifest.json")
        (self.folder / "partial.json").unlink()

    def _resume(self, record: Path) -> None:
        settings, checksums = _read_record(record)
        for field in dataclasses.fields(VectorSettings):
            old, new = getattr(settings, field.name), getattr(self.settings, field.name)
            if old != new:
                raise MiniragError(
                    f"{self.folder} was begun with {field.name} = {old!r}, not {new!r}, and vectors of two kinds do not mix; "
                    "use the same settings, or another folder"
                )
        for i, checksum in enumerate(checksums):
            path = _shard_path(self.folder, i)
            if not path.exists() or sha256_of(path) != checksum:
                break
            self._checksums.append(checksum)

    def _write_record(self, name: str) -> None:
        fields: dict[str, Any] = {"format": FORMAT, **dataclasses.asdict(self.settings), "sha256": self._checksums}
        write_json(self.folder / name, fields)


def _shard_path(folder: Path, shard: int) -> Path:
    return folder / f"vectors-{shard:05d}.npy"


def _read_record(path: Path) -> tuple[VectorSettings, list[str]]:
    fields = read_json(path)
    try:
        if fields.pop("format") != FORMAT:
            raise ValueError
        checksums = [str(checksum) for checksum in fields.pop("sha256")]
        kinds = {
            field.name: type(field.default) if field.name not in ("rows", "dim") else int
            for field in dataclasses.fields(VectorSettings)
        }
        if {name: type(value) for name, value in fields.items()} != kinds:
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError):
        raise MiniragError(
            f"{path} is not a record of {FORMAT!r}; it is damaged or of another version, so write the vectors again"
        ) from None
    return VectorSettings(**fields), checksums


def _map_shard(folder: Path, settings: VectorSettings, shard: int) -> Tensor:
    path, (first, last) = _shard_path(folder, shard), settings.bounds(shard)
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
    return torch.from_numpy(array)


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
