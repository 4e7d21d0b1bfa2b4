"""Writing vectors shard by shard, so that what a killed run has finished is never computed again.

A shard appears whole under its name; then the journal `partial.json`, which has the manifest's fields, takes up its checksum.
A writer that is opened again on the same folder verifies the shards in the journal and goes on after the last good one. When
all are there the manifest is written, which makes the folder a store that `vectors.py` opens.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from minirag.errors import MiniragError
from minirag.files import atomic_path, read_json, sha256_of, write_json

FORMAT = "minirag vectors 1"
DTYPES = ("float32", "float16", "uint8")  # bytes are the codes of a product quantizer
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
        path = shard_path(self.folder, self.next_shard)
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
        settings, checksums = read_record(record)
        for field in dataclasses.fields(VectorSettings):
            old, new = getattr(settings, field.name), getattr(self.settings, field.name)
            if old != new:
                raise MiniragError(
                    f"{self.folder} was begun with {field.name} = {old!r}, not {new!r}, and vectors of two kinds do not mix; "
                    "use the same settings, or another folder"
                )
        for i, checksum in enumerate(checksums):
            path = shard_path(self.folder, i)
            if not path.exists() or sha256_of(path) != checksum:
                break
            self._checksums.append(checksum)

    def _write_record(self, name: str) -> None:
        fields: dict[str, Any] = {"format": FORMAT, **dataclasses.asdict(self.settings), "sha256": self._checksums}
        write_json(self.folder / name, fields)


def shard_path(folder: Path, shard: int) -> Path:
    return folder / f"vectors-{shard:05d}.npy"


def read_record(path: Path) -> tuple[VectorSettings, list[str]]:
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
