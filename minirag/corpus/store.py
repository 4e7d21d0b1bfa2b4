"""Passages on disk: a memory-mapped Arrow file that answers `store[row]` at once, be it 700 passages or 21 million.

Indexes know only row positions 0 … N−1; the store maps a row to its passage. It is a folder of two files:

    passages.arrow   id, title and text as columns, in record batches of equally many rows, so that a row's batch is a division
    manifest.json    number of passages, size and SHA-256 of the file, and the fingerprint of what it holds

Opening reads the manifest and the file's footer; text is read from disk when it is asked for.
"""

import hashlib
import operator
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, SupportsIndex, overload

import numpy as np
import pyarrow as pa

from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.files import atomic_folder, read_json, sha256_of, write_json

DATA, MANIFEST = "passages.arrow", "manifest.json"
FORMAT = "minirag passages 1"
BATCH_ROWS = 4096  # some 2.6 MB of text; 21 M passages are 5,131 batches
SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "title", "text")])


class PassageStore:
    """N passages in a folder: `len(store)`, `store[row]`, `store[start:stop]`, iteration, `take`, `batches`, `fingerprint`.

    Made by `PassageStore.write` or `PassageStore.open`.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], reader: pa.RecordBatchFileReader) -> None:
        self.path = path
        self.fingerprint: str = manifest["fingerprint"]
        self._n: int = manifest["passages"]
        self._rows: int = manifest["batch_rows"]
        self._reader = reader
        self._columns: dict[int, tuple[pa.StringArray, ...]] = {}  # views into the map, not copies

    @classmethod
    def write(cls, path: str | Path, passages: Iterable[Passage], progress: bool = False) -> "PassageStore":
        """Write `passages` to the folder `path` as they come, and open it. An older store there is replaced, at the very end.

        Memory: one record batch, and some 24 bytes a passage to tell that all ids differ. Raises `MiniragError`, leaving what
        was there, if there are no passages, if two have the same id, if one is not valid text, or if `path` is no store.
        """
        from tqdm.auto import tqdm

        path = Path(path)
        with atomic_folder(path, _is_store) as folder:
            bar = tqdm(passages, desc="passages", unit="passage", disable=not progress)
            n, fingerprint, hashes = _write_data(folder / DATA, iter(bar))
            if n == 0:
                raise MiniragError(f"no passages came in to be written to {path}; check the source they are read from")
            manifest = {
                "format": FORMAT,
                "passages": n,
                "batch_rows": BATCH_ROWS,
                "bytes": (folder / DATA).stat().st_size,
                "sha256": sha256_of(folder / DATA),
                "fingerprint": fingerprint,
            }
            with pa.memory_map(str(folder / DATA)) as source:
                _refuse_duplicates(cls(folder, manifest, pa.ipc.open_file(source)), hashes)
            write_json(folder / MANIFEST, manifest)
        return cls.open(path, verify=False)

    @classmethod
    def open(cls, path: str | Path, verify: bool = True) -> "PassageStore":
        """Open the store in the folder `path`. Raises `MiniragError` if it is missing, truncated, altered or something else.

        `verify=True` reads the whole file once for its SHA-256; `verify=False` compares sizes and counts, takes milliseconds
        whatever the size, and still checks a batch's structure when it is first touched.
        """
        path = Path(path)
        manifest = read_json(path / MANIFEST)
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise MiniragError(
                f"{path / MANIFEST} does not describe a {FORMAT!r} store; check the path or write the store anew"
            )
        data = path / DATA
        try:
            whole = data.stat().st_size == manifest["bytes"] and (not verify or sha256_of(data) == manifest["sha256"])
            reader = pa.ipc.open_file(pa.memory_map(str(data))) if whole else None
            if reader is None or reader.schema != SCHEMA:
                raise _damaged(data)
            if reader.num_record_batches != -(-manifest["passages"] // manifest["batch_rows"]):
                raise _damaged(data)
            return cls(path, manifest, reader)
        except FileNotFoundError:
            raise MiniragError(f"{data} does not exist though its manifest does; write the store anew") from None
        except (KeyError, TypeError, ZeroDivisionError, OSError, pa.ArrowException) as error:
            raise _damaged(data) from error

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, row: SupportsIndex) -> Passage: ...
    @overload
    def __getitem__(self, row: slice) -> list[Passage]: ...
    def __getitem__(self, row: SupportsIndex | slice) -> Passage | list[Passage]:
        """The passage in `row`, counted from the end if negative; a list for a slice. Raises IndexError beyond the end."""
        if isinstance(row, slice):
            return [self._passage(each) for each in range(*row.indices(self._n))]
        position = operator.index(row)
        if not -self._n <= position < self._n:
            raise IndexError(f"row {position} of a store of {self._n} passages")
        return self._passage(position % self._n)

    def __iter__(self) -> Iterator[Passage]:
        for start in range(0, self._n, self._rows):
            columns = (column.to_pylist() for column in self._batch(start // self._rows))
            yield from map(Passage, *columns)

    def take(self, ids: Iterable[SupportsIndex]) -> list[Passage]:
        """The passages in the rows `ids`, a sequence or tensor of integers, in its order.

        Raises `MiniragError` for an id outside 0 … N−1; −1 in particular, by which an index says "no hit", is nobody's text.
        """
        rows = [operator.index(each) for each in ids]
        for row in rows:
            if not 0 <= row < self._n:
                why = "means that the index found fewer than k hits; leave such hits out" if row == -1 else "is no row of it"
                raise MiniragError(f"{self.path} holds passages 0 to {self._n - 1} and {row} {why}")
        return [self._passage(row) for row in rows]

    def batches(self, size: int) -> Iterator[list[Passage]]:
        """All passages in order, in lists of `size`, the last one perhaps shorter."""
        if size < 1:
            raise ValueError(f"a batch needs at least one passage, not {size}")
        passages = iter(self)
        while batch := list(islice(passages, size)):
            yield batch

    def _passage(self, row: int) -> Passage:
        batch, offset = divmod(row, self._rows)
        return Passage(*(column[offset].as_py() for column in self._batch(batch)))

    def _batch(self, number: int) -> tuple[pa.StringArray, ...]:
        if number not in self._columns:
            try:
                batch = self._reader.get_batch(number)
                batch.validate(full=True)  # a flipped bit in the offsets must not become a read outside the file
            except (OSError, pa.ArrowException) as error:
                raise _damaged(self.path / DATA) from error
            if len(batch) != min(self._rows, self._n - number * self._rows):
                raise _damaged(self.path / DATA)
            self._columns[number] = tuple(batch.columns)
        return self._columns[number]


def _damaged(data: Path) -> MiniragError:
    return MiniragError(f"{data} is not the file its manifest describes (truncated, altered or foreign); write the store anew")


def _is_store(folder: Path) -> bool:
    return set(os.listdir(folder)) <= {DATA, MANIFEST}


def _write_data(path: Path, passages: Iterator[Passage]) -> tuple[int, str, np.ndarray]:
    """Write the Arrow file; return the number of passages, the fingerprint of their content, and a hash of each id [N]."""
    n, content, hashes = 0, hashlib.sha256(), [np.empty(0, np.int64)]
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        while batch := list(islice(passages, BATCH_ROWS)):
            for row, passage in enumerate(batch, start=n):
                content.update(_framed(passage, row))
            columns = [pa.array([getattr(passage, name) for passage in batch], pa.string()) for name in SCHEMA.names]
            writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
            hashes.append(np.fromiter((hash(passage.id) for passage in batch), np.int64, len(batch)))
            n += len(batch)
    return n, content.hexdigest()[:16], np.concatenate(hashes)


def _framed(passage: Passage, row: int) -> bytes:
    """Id, title and text, each preceded by its length: what `files.fingerprint_of` hashes, here one passage at a time."""
    try:
        raw = [field.encode() for field in (passage.id, passage.title, passage.text)]
    except (UnicodeEncodeError, AttributeError):
        raise MiniragError(f"the passage in row {row} (id {passage.id!r}) is not valid text; mend it at its source") from None
    return b"".join(len(field).to_bytes(8, "little") + field for field in raw)


def _refuse_duplicates(store: PassageStore, hashes: np.ndarray) -> None:
    """Raise `MiniragError` if two passages share an id. Equal hashes alone may be chance, so those ids are compared as text."""
    ordered = np.sort(hashes)  # [N]
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    first: dict[str, int] = {}
    for row in np.flatnonzero(np.isin(hashes, repeated)).tolist():
        known = first.setdefault(store[row].id, row)
        if known != row:
            raise MiniragError(
                f"the passages in rows {known} and {row} have the same id {store[row].id!r}; "
                "give each its own, or write the sources to separate stores"
            )
