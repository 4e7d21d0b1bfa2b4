"""What a faiss file holds, and where in it: read from the bytes themselves, since faiss trusts every length written in a file.

A file is a four-letter name of the kind, a header (dimension, vectors, metric), and the kind's own fields, one after the other;
an index within an index stands in it likewise. All lengths are compared with the file's before anything is read.

    IxFI IxF2 IxFl   flat: header, numbers [N, D]
    IxMp IxM2        with ids of its own: header, an index, ids [N]
    IwFl             inverted file: header, cells C and probes, the centroids as an index, where ids are, C lists (vectors, ids)
    IwPQ             the same with codes instead of vectors, and the product quantizer
    IHNf             HNSW: header, the graph, the vectors as an index
"""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from minirag.errors import MiniragError

METRICS = {0: "ip", 1: "l2"}
OTHERS = {
    b"IHNs": "an HNSW of vectors in eight bits, which are not the vectors themselves",
    b"IHNp": "an HNSW of codes, not of vectors",
    b"IxSQ": "vectors in eight bits or fewer, not the vectors themselves",
    b"IxPq": "codes of a product quantizer, not vectors",
    b"IxPT": "an index behind a transformation of the vectors",
}


@dataclass(frozen=True)
class FaissFile:
    """The contents of an index file. Vector j, of `dim` float32 numbers, begins at byte `starts[j]`."""

    kind: str  # "flat", "ivf", "ivfpq" or "hnsw"
    metric: str  # "ip" or "l2"
    dim: int
    rows: int
    starts: np.ndarray | None = None  # int64 [N]; None for "ivfpq"
    ids: np.ndarray | None = None  # int64 [N] where the file says which id vector j has; else it is j
    list_of: np.ndarray | None = None  # int64 [N] the list of vector j
    centroids: np.ndarray | None = None  # float32 [C, D]
    by_product: bool = True  # whether the lists to probe are found by inner product
    n_probe: int = 0


def read_faiss(path: str | Path) -> FaissFile:
    """Take a file of `faiss.write_index` apart. Raises `MiniragError` for other kinds and for anything damaged."""
    path = Path(path)
    with _mapped(path) as data:
        reader = _Reader(data, path)
        found = _index(reader)
        if reader.at != len(data):
            raise reader.damaged("it goes on behind the index")
    return found


class _Reader:
    """A place in the mapped file that moves on, and never beyond its end."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self.data, self.path, self.at = data, path, 0

    def skip(self, n: int) -> int:
        """Go on by n bytes; return where they began."""
        if not 0 <= n <= len(self.data) - self.at:
            raise self.damaged(f"{n} bytes should follow byte {self.at} where there are {len(self.data) - self.at}")
        self.at += n
        return self.at - n

    def number(self, size: int) -> int:
        begin = self.skip(size)
        return int.from_bytes(self.data[begin : self.at], "little", signed=True)

    def numbers(self, dtype: str, count: int | None = None) -> np.ndarray:
        """So many numbers, or as many as the file says next."""
        count = self.number(8) if count is None else count
        begin = self.skip(count * np.dtype(dtype).itemsize)
        return np.frombuffer(self.data, dtype, count, begin).copy() if count else np.empty(0, dtype)

    def expect(self, found: object, expected: object, what: str) -> None:
        if found != expected:
            raise self.damaged(f"{what} {found} where {expected} belong")

    def damaged(self, why: str) -> MiniragError:
        return MiniragError(f"{self.path} is damaged, or of a faiss that writes otherwise ({why}); get it anew")


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    try:
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise MiniragError(f"{path} is empty; get it anew")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data
    except OSError as error:
        raise MiniragError(f"cannot read {path}: {error.strerror or error}; check the path") from None


def _index(reader: _Reader, within: str = "") -> FaissFile:
    begin = reader.skip(4)
    name = reader.data[begin : reader.at]
    if name in (b"IxFI", b"IxF2", b"IxFl"):
        return _flat(reader)
    if name == b"IHNf" and within != "hnsw":
        return _hnsw(reader)
    if name in (b"IwFl", b"IwPQ") and within in ("", "ids"):
        return _ivf(reader, coded=name == b"IwPQ")
    if name in (b"IxMp", b"IxM2") and not within:
        return _with_ids(reader)
    what = OTHERS.get(name, f"of kind {name.decode('latin-1')!a}") + (f", within one of kind {within}" if within else "")
    raise MiniragError(f"{reader.path} holds {what}; read are faiss's flat, IVFFlat, IVFPQ and HNSWFlat, with or without ids")


def _header(reader: _Reader) -> FaissFile:
    dim, rows = reader.number(4), reader.number(8)
    reader.skip(16)  # two fields of former versions
    trained, metric = reader.number(1), reader.number(4)
    if dim < 1 or rows < 0 or metric not in METRICS or trained != 1:
        raise reader.damaged(f"dimension {dim}, {rows} vectors, trained {trained}, metric {metric}")
    return FaissFile("flat", METRICS[metric], dim, rows)


def _flat(reader: _Reader) -> FaissFile:
    found = _header(reader)
    reader.expect(reader.number(8), found.rows * found.dim, "its vectors are of numbers")
    width = 4 * found.dim
    return replace(found, starts=reader.skip(found.rows * width) + width * np.arange(found.rows))


def _hnsw(reader: _Reader) -> FaissFile:
    found = _header(reader)
    for size in (8, 4, 4, 8, 4):  # the odds of a level, neighbours on it, levels, offsets, neighbours
        reader.skip(reader.number(8) * size)
    reader.skip(5 * 4)  # where to begin, the highest level, how widely to search
    stored = _index(reader, "hnsw")
    reader.expect((stored.rows, stored.dim), (found.rows, found.dim), "its vectors have the shape")
    return replace(stored, kind="hnsw", metric=found.metric)


def _with_ids(reader: _Reader) -> FaissFile:
    found, inner = _header(reader), _index(reader, "ids")
    ids = reader.numbers("<i8")
    reader.expect((len(ids), inner.rows), (found.rows, found.rows), "its ids and vectors are")
    if inner.ids is not None:
        if len(inner.ids) and not (inner.ids.min() >= 0 and inner.ids.max() < found.rows):
            raise reader.damaged("an id stands for none of its vectors")
        ids = ids[inner.ids]
    return replace(inner, ids=ids)


def _ivf(reader: _Reader, coded: bool) -> FaissFile:
    found = _header(reader)
    lists, n_probe = reader.number(8), reader.number(8)
    cells = _index(reader, "ivf")
    reader.expect((cells.rows, cells.dim), (lists, found.dim), "its cells have the shape")
    mapped = reader.number(1)
    reader.numbers("<i8")  # where each id is
    if mapped == 2:
        reader.skip(reader.number(8) * 16)
    width = _quantizer(reader, found.dim) if coded else 4 * found.dim
    starts, ids, list_of = _lists(reader, lists, width)
    reader.expect(len(ids), found.rows, "its lists hold vectors:")
    first = int(cells.starts[0]) if cells.starts is not None and lists else 0
    centroids = np.frombuffer(reader.data, "<f4", lists * found.dim, first).reshape(lists, found.dim).copy()
    return replace(
        found,
        kind="ivfpq" if coded else "ivf",
        starts=None if coded else starts,
        ids=ids,
        list_of=list_of,
        centroids=centroids,
        by_product=(cells.kind, cells.metric) == ("flat", "ip"),
        n_probe=max(1, min(n_probe, lists)),
    )


def _quantizer(reader: _Reader, dim: int) -> int:
    """Bytes of a code, after the product quantizer."""
    reader.skip(1)  # whether residuals are coded
    width = reader.number(8)
    own, pieces, bits = reader.number(8), reader.number(8), reader.number(8)
    if own != dim or pieces < 1 or dim % pieces or not 1 <= bits <= 16 or width != -(-pieces * bits // 8):
        raise reader.damaged(f"codes of {pieces} pieces of {bits} bits, {width} bytes, for dimension {own}")
    reader.expect(len(reader.numbers("<f4")), dim << bits, "its codebooks are of numbers")
    return width


def _lists(reader: _Reader, lists: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each vector of each list begins, its id, and its list."""
    begin = reader.skip(4)
    if reader.data[begin : reader.at] != b"ilar":
        raise MiniragError(f"{reader.path} keeps its lists elsewhere or otherwise; write it with faiss's ordinary lists")
    reader.expect((reader.number(8), reader.number(8)), (lists, width), "its lists and their width are")
    begin = reader.skip(4)
    layout, written = reader.data[begin : reader.at], reader.numbers("<i8")
    if layout == b"sprs":  # only those that are not empty: number, size, number, size …
        numbers, sizes = written[0::2], written[1::2]
    else:
        numbers, sizes = np.arange(lists), written
    if len(numbers) != len(sizes) or layout not in (b"full", b"sprs") or len(numbers) > lists:
        raise reader.damaged("its lists are not told one by one")
    if len(numbers) and (numbers[0] < 0 or numbers[-1] >= lists or (np.diff(numbers) <= 0).any() or sizes.min() < 0):
        raise reader.damaged("its lists are in disorder")
    starts, ids = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for size in sizes.tolist():
        starts.append(reader.skip(size * width) + width * np.arange(size))
        ids.append(reader.numbers("<i8", size))
    return np.concatenate(starts), np.concatenate(ids), np.repeat(numbers, sizes)
