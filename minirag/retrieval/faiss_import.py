"""A faiss index, whoever built it, becomes an index of minirag: its vectors a `VectorStore`, its cells and lists an `IVFIndex`.

    flat, HNSWFlat   ExactIndex: the graph is not taken over, the search is exact
    IVFFlat          IVFIndex with the same cells, lists and probes; ExactIndex where its cells are not found by inner product
    IVFPQ            has no vectors any more, only codes: faiss itself goes on searching it, as a `FaissIndex`

minirag searches by inner product. A file of Euclidean distance is taken where both order alike, which is where all its vectors
have one length: as in DPR's HNSW, where v is stored as (v, √(φ − |v|²)); that last column goes.
"""

import shutil
from pathlib import Path

import numpy as np
import torch

from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.files import atomic_folder
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.faiss_files import FaissFile, read_faiss
from minirag.retrieval.faiss_index import FILE, FaissIndex
from minirag.retrieval.gathering import Places, gather
from minirag.retrieval.ivf import IVFIndex
from minirag.retrieval.manifest import is_index, seal
from minirag.retrieval.passage_rows import PassageRows
from minirag.retrieval.pickled_arrays import Raw, Vector
from minirag.retrieval.pickles import pickled_items
from minirag.retrieval.vectors import VectorStore

SLIP = 1e-4  # of the squared length: what float32 loses of φ
ROWS = 65_536


def import_faiss(
    file: str | Path,
    folder: str | Path,
    passages: PassageStore | None = None,
    meta: str | Path | None = None,
    id_prefix: str = "",
    dtype: str = "float32",
    progress: bool = True,
) -> ExactIndex | IVFIndex | FaissIndex:
    """Write the vectors to folder/vectors and the index to folder/index. Run again after a kill, it goes on.

    Vector j goes to the row of its faiss id, j itself if the file gives none. `meta` is DPR's `index_meta.dpr`, the list of the
    passages' ids in the order of faiss's: then it goes to that passage's row, as it does, by the number itself, where the faiss
    ids are not the rows 0 … N−1. Raises `MiniragError` for damage, for other kinds of file, and where ids match no rows.
    """
    file, folder = Path(file), Path(folder)
    found = read_faiss(file)
    rows = _rows(file, found, passages, meta, id_prefix)  # [N]
    if found.starts is None:
        if not np.array_equal(rows, np.arange(found.rows) if found.ids is None else found.ids):
            raise MiniragError(f"{file} holds codes, whose ids cannot be changed, and they are not the rows of the passages")
        return _coded(file, folder / "index", found)
    dim = _searched_dim(file, found)
    places = Places(found.rows, [file])
    for item, (row, start) in enumerate(zip(map(int, rows), map(int, found.starts), strict=True)):
        places.put(row, 0, item, Vector(dim, "<f4", Raw(start, start + 4 * dim, "")))
    fingerprint = passages.fingerprint if passages is not None else ""
    store = gather(places, folder / "vectors", fingerprint, dtype, progress=progress)
    index = _listed(found, store, rows) if found.kind == "ivf" and found.by_product and found.metric == "ip" else _exact(store)
    index.save(folder / "index")
    return index


def _rows(file: Path, found: FaissFile, passages: PassageStore | None, meta: str | Path | None, id_prefix: str) -> np.ndarray:
    """The row of each vector: int64 [N], each of 0 … N−1 once."""
    labels = np.arange(found.rows) if found.ids is None else found.ids
    if passages is not None and len(passages) != found.rows:
        raise MiniragError(
            f"{file} holds {found.rows} vectors, {passages.path} {len(passages)} passages; give those it was built from"
        )
    are_rows = np.array_equal(np.sort(labels), np.arange(found.rows))
    if meta is None and are_rows:
        return labels
    if meta is not None and not are_rows:
        raise MiniragError(f"the ids in {file} are not places in {meta}, 0 to {found.rows - 1}; leave the list of ids out")
    if passages is None:
        raise MiniragError(f"the ids in {meta or file} are not rows 0 to {found.rows - 1}; give the passages with these ids")
    names = list(map(str, labels.tolist()) if meta is None else _meta(Path(meta), found.rows))
    rows = PassageRows(passages).find([name.removeprefix(id_prefix) for name in names])  # of names
    if len(unknown := np.flatnonzero(rows < 0)):
        raise MiniragError(f"{meta or file}: id {names[int(unknown[0])]!r} (number {unknown[0]}) is that of no passage")
    if len(twice := np.flatnonzero(np.bincount(rows, minlength=found.rows) > 1)):
        raise MiniragError(f"{meta or file} has the id {passages[int(twice[0])].id!r} twice; each passage has one vector")
    return rows if meta is None else rows[labels]


def _meta(meta: Path, count: int) -> list[str]:
    ids = list(pickled_items(meta))
    if len(ids) != count or not all(isinstance(id, str | int) for id in ids):
        raise MiniragError(f"{meta} holds {len(ids)} things where {count} ids belong; give the index_meta.dpr of this index")
    return list(map(str, ids))


def _searched_dim(file: Path, found: FaissFile) -> int:
    """The dimension in which inner products order as the file does: its own, or one less where the last column is DPR's."""
    if found.metric == "ip":
        return found.dim
    assert found.starts is not None
    data, low, high, least = np.memmap(file, np.uint8, "r"), np.inf, 0.0, np.inf
    for first in range(0, found.rows, ROWS):
        starts = found.starts[first : first + ROWS].tolist()
        rows = np.stack([np.frombuffer(data.data, "<f4", found.dim, start) for start in starts])  # [n, D]
        lengths = np.einsum("nd,nd->n", rows, rows, dtype=np.float64)
        low, high, least = min(low, lengths.min()), max(high, lengths.max()), min(least, rows[:, -1].min())
    if found.rows and not high - low <= SLIP * high:
        raise MiniragError(
            f"{file} searches by Euclidean distance, and its vectors' squared lengths go from {low:.6g} to {high:.6g}, so that "
            "inner products order otherwise; build the index anew from the vectors"
        )
    return found.dim - 1 if found.kind == "hnsw" and found.dim > 1 and least >= 0 else found.dim


def _exact(store: VectorStore) -> ExactIndex:
    index = ExactIndex(store.shape[1])
    index.add(store)
    return index


def _listed(found: FaissFile, store: VectorStore, rows: np.ndarray) -> IVFIndex:
    """The file's own cells and lists; a vector stays in the list where faiss put it."""
    assert found.centroids is not None
    assert found.list_of is not None
    index = IVFIndex(found.dim, len(found.centroids), found.n_probe)
    index.use_centroids(found.centroids)
    index.memory.append(store)
    list_of = np.empty(found.rows, np.int64)  # [N]
    list_of[rows] = found.list_of
    index.list_of = torch.from_numpy(list_of)
    return index


def _coded(file: Path, folder: Path, found: FaissFile) -> FaissIndex:
    """faiss's own file, sealed as a `FaissIndex` of kind "ivf"; it has been taken apart, so its lengths can be trusted."""
    if found.metric != "ip":
        raise MiniragError(
            f"{file} holds codes compared by Euclidean distance; build an index of inner products from the vectors"
        )
    assert found.centroids is not None
    empty = FaissIndex("ivf", n_lists=len(found.centroids), n_probe=found.n_probe)
    settings = {name: getattr(empty, name) for name in ("kind", "n_lists", "n_probe", "links", "ef_construction", "ef_search")}
    with atomic_folder(folder, is_index) as temporary:
        shutil.copyfile(file, temporary / FILE)
        seal(temporary, "faiss", {"rows": found.rows, "dim": found.dim, **settings, "phi": 0.0})
    try:
        return FaissIndex.load(folder)
    except RuntimeError as error:
        shutil.rmtree(folder)
        raise MiniragError(f"faiss cannot read {file} ({' '.join(str(error).split())[:200]}); get it anew") from None
