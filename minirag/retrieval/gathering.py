"""Vectors that lie scattered in other programs' files become a `VectorStore`, row by row in its own order.

First it is noted where each row's numbers stand, 24 bytes a row; then shard after shard is read from there and written. So no
second copy lies on disk in between, memory holds one shard, and a run that was killed goes on after its last finished shard.
The files' checksums are kept beside the vectors, in `.source.json`: what was begun from other files is never gone on with.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from minirag.errors import MiniragError
from minirag.files import only_process, read_json, sha256_of, write_json
from minirag.retrieval.pickled_arrays import Raw, Vector
from minirag.retrieval.vector_writer import VectorSettings, VectorWriter
from minirag.retrieval.vectors import VectorStore

SOURCE = ".source.json"


class Places:
    """Where in `files` each of `rows` vectors stands; all are of one dimension, those of one file of one type."""

    def __init__(self, rows: int, files: Sequence[Path]) -> None:
        self.files = list(files)
        self.kind: list[Vector | None] = [None] * len(self.files)  # the first of each file
        self.file = np.full(rows, -1, np.int32)  # [N]
        self.item = np.empty(rows, np.int64)  # [N] the number of the row in its file
        self.start = np.empty(rows, np.int64)  # [N]
        self.length = np.empty(rows, np.int32)  # [N] bytes

    def put(self, row: int, file: int, item: int, vector: Vector) -> None:
        """Note one. Raises `MiniragError` if the row has one already, or if it is of another kind than those before it."""
        if self.file[row] >= 0:
            raise MiniragError(
                f"{self.where(file, item)} and {self.where_is(row)} are of one id; leave one of them out, or mend its id"
            )
        first = self.kind[file] = self.kind[file] or vector
        if (vector.dim, vector.dtype, vector.raw.codec) != (self.dim, first.dtype, first.raw.codec):
            raise MiniragError(
                f"{self.where(file, item)} holds a vector of {vector.dim} × {vector.dtype} where those before it are of "
                f"{self.dim} × {first.dtype}; take the files of one run of one encoder"
            )
        self.file[row], self.item[row] = file, item
        self.start[row], self.length[row] = vector.raw.start, vector.raw.stop - vector.raw.start

    @property
    def dim(self) -> int:
        return next((kind.dim for kind in self.kind if kind is not None), 0)

    def where(self, file: int, item: int) -> str:
        """A place as it is told: rows are counted from 0."""
        return f"{self.files[file]}, row {item},"

    def where_is(self, row: int) -> str:
        return self.where(int(self.file[row]), int(self.item[row]))

    def read(self, first: int, last: int, dtype: str) -> np.ndarray:
        """The vectors of rows `first` … `last`−1 [n, D]; a number that is not finite as `dtype` is a `MiniragError`."""
        out = np.empty((last - first, self.dim), dtype)
        for file in np.unique(self.file[first:last]).tolist():
            data = np.memmap(self.files[file], np.uint8, "r")
            for row in (np.flatnonzero(self.file[first:last] == file) + first).tolist():
                out[row - first] = self._vector(data, file, row)
        broken = np.flatnonzero(~np.isfinite(out).all(axis=1))
        if len(broken):
            where = self.where_is(first + int(broken[0]))
            raise MiniragError(f"{where} holds NaN or infinity as {dtype}; check what encoded it, or store float32")
        return out

    def _vector(self, data: np.ndarray, file: int, row: int) -> np.ndarray:
        kind, start = self.kind[file], int(self.start[row])
        assert kind is not None
        vector = Vector(kind.dim, kind.dtype, Raw(start, start + int(self.length[row]), kind.raw.codec))
        try:
            return np.frombuffer(vector.bytes_in(data.data), kind.dtype)
        except ValueError as error:
            raise MiniragError(f"{self.where_is(row)} is damaged ({error}); get the file anew") from None


def gather(
    places: Places, folder: str | Path, passages: str, dtype: str, shard_rows: int = 65_536, progress: bool = True
) -> VectorStore:
    """Write the vectors, every row of which has its place, to `folder`; run again after a kill, it goes on.

    `passages` is the fingerprint of the passages that the rows belong to, "" if unknown. Raises `MiniragError` if `folder` was
    begun from other files or with other settings, or if another process writes there.
    """
    folder = Path(folder)
    settings = VectorSettings(len(places.file), places.dim, dtype, shard_rows, passages=passages)
    folder.mkdir(parents=True, exist_ok=True)
    with only_process(folder / ".lock", f"another process is writing into {folder}; wait for it, or choose another folder"):
        writer = begun_from(folder, settings, places.files)
        shards = range(writer.next_shard, settings.shards)
        for shard in tqdm(shards, desc="vectors", unit="shard", disable=not progress):
            with np.errstate(over="ignore"):  # what overflows float16 becomes inf, and is refused as such
                writer.append(places.read(*settings.bounds(shard), dtype))
        writer.finish()
    return VectorStore.open(folder, verify=False)


def begun_from(folder: Path, settings: VectorSettings, files: Sequence[Path]) -> VectorWriter:
    """A writer that goes on only with what was begun from the same files; of them only the contents and their order count."""
    path, sources = folder / SOURCE, [sha256_of(file) for file in files]
    if path.exists() and read_json(path) != sources:
        raise MiniragError(f"{folder} was begun from other files, or the same in another order; choose another folder")
    if not path.exists():
        if any((folder / name).exists() for name in ("manifest.json", "partial.json")):
            raise MiniragError(f"{folder} holds vectors that were not imported; choose another folder")
        write_json(path, sources)
    return VectorWriter(folder, settings)
