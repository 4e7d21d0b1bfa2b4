"""DPR's embeddings as its `generate_dense_embeddings.py` leaves them: pickled lists of (id, vector), in files out_0, out_1 …

With those of Wikipedia an index of the paper's passages is built without encoding them again. They are read without running
them (`pickles.py`), and each vector is put in the row of the passage whose id it bears.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.retrieval.gathering import Places, gather
from minirag.retrieval.passage_rows import PassageRows
from minirag.retrieval.pickled_arrays import Vector
from minirag.retrieval.pickles import pickled_items
from minirag.retrieval.vectors import VectorStore

BATCH = 65_536


def import_dpr(
    shards: Sequence[str | Path],
    passages: PassageStore,
    folder: str | Path,
    dtype: str = "float32",
    id_prefix: str = "",
    shard_rows: int = 65_536,
    progress: bool = True,
) -> VectorStore:
    """Write the vectors of `shards`, in whatever order, to `folder`: row i is passage i's. Run again after a kill, it goes on.

    `id_prefix` is what the shards' ids have before the passages' own, such as DPR's "wiki:". Memory: one shard of the store,
    about a kilobyte for each row of one pickle, and some 40 bytes a passage. Raises `MiniragError`, naming file and row, for a
    pickle of anything else, an id without passage, two vectors of one id, or a number that is not finite; and for passages
    without vector.
    """
    files = [Path(shard) for shard in shards]
    places, rows_of = Places(len(passages), files), PassageRows(passages)
    for number, file in enumerate(tqdm(files, desc="reading", unit="file", disable=not progress)):
        first = 0
        for ids, vectors in _batches(file):
            rows = rows_of.find([id.removeprefix(id_prefix) for id in ids])
            if len(unknown := np.flatnonzero(rows < 0)):
                raise _unknown(ids[int(unknown[0])], places.where(number, first + int(unknown[0])), rows_of)
            for item, (row, vector) in enumerate(zip(rows.tolist(), vectors, strict=True), first):
                places.put(row, number, item, vector)
            first += len(ids)
    if len(missing := np.flatnonzero(places.file < 0)):
        raise MiniragError(
            f"{len(missing)} of {len(passages)} passages have no vector in {len(files)} files, first that of row {missing[0]} "
            f"(id {passages[int(missing[0])].id!r}); name all shards, and the passages that were encoded"
        )
    return gather(places, folder, passages.fingerprint, dtype, shard_rows, progress)


def _batches(file: Path) -> Iterator[tuple[list[str], list[Vector]]]:
    """The (id, vector) pairs of a shard, in their order."""
    items = enumerate(pickled_items(file))
    while batch := list(islice(items, BATCH)):
        ids, vectors = [], []
        for number, pair in batch:
            match pair:
                case (str() | int() as id, Vector() as vector):
                    ids.append(str(id))
                    vectors.append(vector)
                case _:
                    raise MiniragError(f"{file}, row {number}, is no pair of an id and a vector; give DPR's embedding shards")
        yield ids, vectors


def _unknown(id: str, where: str, rows_of: PassageRows) -> MiniragError:
    prefix, colon, rest = id.partition(":")
    if colon and rows_of.find([rest])[0] >= 0:
        return MiniragError(f"{where} has the id {id!r} for passage {rest!r}; give {prefix + colon!r} as the prefix of its ids")
    return MiniragError(f"{where} has the id {id!r} of no passage; give the passages that were encoded")
