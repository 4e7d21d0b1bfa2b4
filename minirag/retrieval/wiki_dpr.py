"""Hugging Face's `wiki_dpr`, and any data set laid out like it: passages and their vectors in one table, in Arrow or Parquet.

Its columns are id, title, text and embeddings; files ending in .arrow hold a stream, as the `datasets` library writes them, or
Arrow's file format. They are read batch by batch, twice: once for the passages, once for the vectors.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.files import only_process
from minirag.retrieval.gathering import begun_from
from minirag.retrieval.vector_writer import VectorSettings
from minirag.retrieval.vectors import VectorStore

TEXTS = ("id", "title", "text")
VECTORS = "embeddings"
END = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # of a stream
ROWS = 1_000  # rows of a Parquet file read at once, as many as `datasets` puts into a batch


def import_wiki_dpr(
    sources: Sequence[str | Path], folder: str | Path, dtype: str = "float32", shard_rows: int = 65_536, progress: bool = True
) -> tuple[PassageStore, VectorStore]:
    """Write folder/passages and folder/vectors from the files, or from all files in the folders, of `sources`, in their order.

    Run again after a kill: the passages are written anew, the vectors go on. Memory: some batches, and one shard of vectors.
    Raises `MiniragError`, naming file and row (from 0), for a row without id, title, text or vector, for a vector of another
    dimension or with a number that is not finite, and for files that are damaged or laid out otherwise.
    """
    files, folder = _files(sources), Path(folder)
    dim = _dim(files)
    passages = PassageStore.write(folder / "passages", _passages(files), progress)
    settings = VectorSettings(len(passages), dim, dtype, shard_rows, passages=passages.fingerprint)
    out = folder / "vectors"
    out.mkdir(exist_ok=True)
    with only_process(out / ".lock", f"another process is writing into {out}; wait for it, or choose another folder"):
        writer = begun_from(out, settings, files)
        left = settings.shards - writer.next_shard
        for shard in tqdm(_shards(files, settings, writer.next_shard), "vectors", left, unit="shard", disable=not progress):
            writer.append(shard)
        writer.finish()
    return passages, VectorStore.open(out, verify=False)


def _files(sources: Sequence[str | Path]) -> list[Path]:
    files: list[Path] = []
    for source in map(Path, sources):
        inside = [path for kind in ("*.arrow", "*.parquet") for path in source.glob(kind) if not path.name.startswith("cache-")]
        if source.is_dir() and not inside:
            raise MiniragError(f"{source} holds neither .arrow nor .parquet files; name the folder of the data set's files")
        files += sorted(inside) if source.is_dir() else [source]
    return files


def _dim(files: Sequence[Path]) -> int:
    """Numbers in the first vector: seen before the passages are written, as is a data set without vectors."""
    for file in files:
        for _, batch in _batches(file, VECTORS):
            if len(batch):
                return len(_lists(file, batch)[0].as_py() or [0])
    return 1


def _passages(files: Sequence[Path]) -> Iterator[Passage]:
    for file in files:
        for first, batch in _batches(file, *TEXTS):
            columns = [_texts(file, first, batch, name) for name in TEXTS]
            yield from map(Passage, *columns)


def _texts(file: Path, first: int, batch: pa.RecordBatch, name: str) -> list[str]:
    column = batch.column(name)
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or (name == "id" and pa.types.is_integer(kind))):
        raise MiniragError(f"{file} has a column {name!r} of type {kind}, which is no text; give a data set like wiki_dpr")
    if column.null_count:
        raise MiniragError(f"{file}, row {first + _place(column.is_null())}, has no {name}; mend the row, or leave it out")
    texts: list[str] = column.cast(pa.string()).to_pylist()
    return texts


def _lists(file: Path, batch: pa.RecordBatch) -> pa.Array:
    """The column of vectors, which is one of lists of floating-point numbers."""
    column = batch.column(VECTORS)
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_kind(column.type) for is_kind in kinds) or not pa.types.is_floating(column.type.value_type):
        raise MiniragError(f"{file} has {VECTORS} of type {column.type}, which are no vectors; give a data set like wiki_dpr")
    return column


def _vectors(file: Path, first: int, batch: pa.RecordBatch, settings: VectorSettings) -> np.ndarray:
    """The vectors of one batch [n, D], as they are to be stored."""
    column = _lists(file, batch)
    other = pc.fill_null(pc.not_equal(pc.list_value_length(column), settings.dim), True)
    if pc.any(other).as_py():
        place = _place(other)
        length = len(column[place].as_py() or ())
        raise MiniragError(
            f"{file}, row {first + place}, has a vector of {length} numbers where the first has {settings.dim}; mend it"
        )
    numbers = column.flatten()
    with np.errstate(over="ignore"):  # what overflows float16 becomes inf, and is refused as such
        flat = numbers.to_numpy(zero_copy_only=False).astype(settings.dtype)  # null is NaN
    rows = flat.reshape(-1, settings.dim)  # [n, D]
    if len(broken := np.flatnonzero(~np.isfinite(rows).all(axis=1))):
        where = f"{file}, row {first + int(broken[0])},"
        raise MiniragError(f"{where} holds NaN or infinity as {settings.dtype}; encode it again, or store float32")
    return rows


def _shards(files: Sequence[Path], settings: VectorSettings, done: int) -> Iterator[np.ndarray]:
    """The shards after the first `done`, in one array that is used again and again."""
    size, passed, held = settings.shard_rows, done * settings.shard_rows, 0
    shard = np.empty((min(size, settings.rows), settings.dim), settings.dtype)
    for file in files:
        for first, batch in _batches(file, VECTORS):
            rows = _vectors(file, first, batch, settings)
            leave = min(passed, len(rows))
            passed, rows = passed - leave, rows[leave:]
            while len(rows):
                part, rows = rows[: size - held], rows[size - held :]
                shard[held : held + len(part)] = part
                held += len(part)
                if held == size:
                    yield shard
                    held = 0
    if held:
        yield shard[:held]


def _batches(file: Path, *columns: str) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The batches of one file, each with the number of its first row."""
    first = 0
    try:
        with open(file, "rb") as raw:
            start = raw.read(6)
        for batch in _read(file, start, columns):
            batch.validate(full=True)  # lengths written in a file are not to lead out of it
            yield first, batch
            first += len(batch)
    except (OSError, ValueError, pa.ArrowException) as error:  # a name that is no UTF-8 is a ValueError
        why = " ".join(str(error).split())[:200]
        raise MiniragError(f"{file} cannot be read as Arrow or Parquet after row {first} ({why}); get it anew") from None


def _read(file: Path, start: bytes, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    if start[:4] == b"PAR1":
        table = pq.ParquetFile(file, memory_map=True)
        _expect(file, table.schema_arrow.names, columns)
        yield from table.iter_batches(ROWS, columns=list(columns))
        return
    source = pa.memory_map(str(file))
    if start != b"ARROW1" and source.read_at(8, max(source.size() - 8, 0)) != END:
        raise pa.ArrowInvalid("it does not end as a stream does")  # Arrow itself takes a cut between two batches for the end
    reader = pa.ipc.open_file(source) if start == b"ARROW1" else pa.ipc.open_stream(source)
    _expect(file, reader.schema.names, columns)
    batches = map(reader.get_batch, range(reader.num_record_batches)) if start == b"ARROW1" else reader
    for batch in batches:
        yield batch.select(list(columns))


def _expect(file: Path, names: list[str], columns: tuple[str, ...]) -> None:
    for name in columns:
        if names.count(name) != 1:
            raise MiniragError(
                f"{file} has the columns {', '.join(names)[:200]}, not one {name!r}; give a data set like wiki_dpr"
            )


def _place(flags: pa.BooleanArray) -> int:
    return int(pc.index(flags, True).as_py())
