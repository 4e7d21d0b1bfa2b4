"""faiss behind the methods of our own indexes: an oracle, a peer to be measured against, and the paper's own HNSW.

faiss is imported only where it is used: on macOS the wheels of torch and faiss each carry an OpenMP runtime, and a process that
loads both may abort (`minirag doctor` tells). Ties come in whatever order faiss gives them.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from minirag.errors import MiniragError
from minirag.files import atomic_folder
from minirag.retrieval.manifest import is_index, open_sealed, seal

FILE = "index.faiss"


class FaissIndex:
    """Inner-product search by faiss.

    * "flat": every vector is compared.
    * "ivf": the `n_probe` best of `n_lists` cells are. The cells come from spherical k-means, or from `centroids` [C, D], so
      that another index can be compared on the very same cells.
    * "hnsw": a graph of `links` neighbours per vector. The graph needs a distance, so, as in DPR, each v becomes
      (v, sqrt(φ − |v|²)) with φ = max |v|², and q becomes (q, 0): then |q − v|² = |q|² + φ − 2 q·v, and the nearest vector is
      the one of largest inner product. The paper (§3, with DPR's settings): links 512, ef_construction 200, ef_search 128.

    >>> index = FaissIndex("flat")
    >>> index.add(torch.eye(3))
    >>> index.search(torch.tensor([[0.1, 0.9, 0.5]]), k=2)[1].tolist()
    [[1, 2]]
    """

    def __init__(
        self,
        kind: str = "flat",
        n_lists: int = 512,
        n_probe: int = 16,
        centroids: Tensor | np.ndarray | None = None,
        links: int = 512,
        ef_construction: int = 200,
        ef_search: int = 128,
    ) -> None:
        if kind not in ("flat", "ivf", "hnsw"):
            raise MiniragError(f"faiss index of kind '{kind}' is not known; choose flat, ivf or hnsw")
        self.kind, self.n_lists, self.n_probe = kind, n_lists, n_probe
        self.links, self.ef_construction, self.ef_search = links, ef_construction, ef_search
        self._centroids = None if centroids is None else _rows(centroids, None)
        self._phi = 0.0
        self._rows = 0  # positions ever given out; a removed row leaves a gap
        self._index: Any = None

    def __len__(self) -> int:
        return self._rows

    def train(self, vectors: Tensor | np.ndarray) -> None:
        """Learn what the kind needs before vectors can be added: the cells of "ivf", φ of "hnsw". Else the first `add` does."""
        import faiss

        rows = _rows(vectors, None)
        dim = rows.shape[1]
        if self.kind == "flat":
            self._index = faiss.IndexIDMap2(faiss.IndexFlatIP(dim))  # a plain flat index would move rows up when one is removed
        elif self.kind == "hnsw":
            self._phi = float(_squared_norms(rows).max(initial=0.0))
            self._index = faiss.IndexHNSWFlat(dim + 1, self.links)
            self._index.hnsw.efConstruction, self._index.hnsw.efSearch = self.ef_construction, self.ef_search
        else:
            self._index = self._trained_ivf(rows)

    def _trained_ivf(self, rows: np.ndarray) -> Any:
        import faiss

        dim = rows.shape[1]
        cells = len(self._centroids) if self._centroids is not None else min(self.n_lists, len(rows))
        if self._centroids is None and cells < self.n_lists:
            warnings.warn(f"{len(rows)} vectors cannot fill {self.n_lists} lists; using {cells}", stacklevel=3)
        quantizer = faiss.IndexFlatIP(dim)
        index = faiss.IndexIVFFlat(quantizer, dim, cells, faiss.METRIC_INNER_PRODUCT)
        index.cp.spherical, index.cp.min_points_per_centroid = True, 1
        if self._centroids is not None:
            quantizer.add(_rows(self._centroids, dim))
        index.train(rows)
        index.nprobe = self.n_probe
        return index

    def add(self, vectors: Float[Tensor, "N D"] | Float[np.ndarray, "N D"]) -> None:
        """Append vectors; row numbers go on counting. Raises `MiniragError` for NaN or infinity, another width, and, with
        "hnsw", a vector longer than all that φ was learnt from."""
        if self._index is None:
            self.train(vectors)
        rows = _rows(vectors, self._dim)
        if self.kind == "hnsw":
            room = self._phi - _squared_norms(rows)  # [N]
            if len(rows) and room.min() < 0:
                raise MiniragError(
                    f"vector {int(room.argmin())} is longer than any the HNSW was trained on; train it on all vectors first"
                )
            rows = np.hstack([rows, np.sqrt(room)[:, None].astype(np.float32)])  # [N, D+1]
            self._index.add(rows)
        else:
            self._index.add_with_ids(rows, np.arange(self._rows, self._rows + len(rows)))
        self._rows += len(rows)

    def replace(self, ids: Int[Tensor, " n"], vectors: Float[Tensor, "N D"] | Float[np.ndarray, "N D"]) -> None:
        """Give rows new vectors; a removed row comes back. Not with "hnsw": its graph cannot lose a node."""
        rows = _rows(vectors, self._dim)
        if len(rows) != len(ids):
            raise MiniragError(f"replace got {len(ids)} ids but {len(rows)} vectors; give one vector for each id")
        self._remove(ids)
        self._index.add_with_ids(rows, ids.numpy())

    def remove(self, ids: Int[Tensor, " n"]) -> None:
        """Take rows out of every later search; the ids of the others stay. Not with "hnsw"."""
        if self._remove(ids) != len(ids):
            raise MiniragError("one of the rows to be removed was removed before; each row can be removed once")

    def _remove(self, ids: Int[Tensor, " n"]) -> int:
        if self.kind == "hnsw":
            raise MiniragError("faiss cannot take rows out of an HNSW graph; build it again without them, or use another kind")
        outside = ids[(ids < 0) | (ids >= self._rows)]
        if len(outside):
            raise MiniragError(f"there is no row {int(outside[0])}; the index has rows 0 to {self._rows - 1}")
        if len(ids.unique()) != len(ids):
            raise MiniragError("the same id twice in one call; name each row once")
        return int(self._index.remove_ids(ids.numpy()))

    def search(
        self, queries: Float[Tensor, "B D"] | Float[np.ndarray, "B D"], k: int
    ) -> tuple[Float[Tensor, "B K"], Int[Tensor, "B K"]]:
        """The k largest inner products found for each query, best first; id −1 and score −inf where fewer were found."""
        if k < 1:
            raise MiniragError(f"k is {k}; ask for at least one vector")
        if self._index is None:
            return torch.full((len(queries), k), -torch.inf), torch.full((len(queries), k), -1)
        rows = _rows(queries, self._dim)
        if self.kind == "hnsw":
            scores, ids = self._search_hnsw(rows, k)
        else:
            scores, ids = self._index.search(rows, k)
        scores[ids < 0] = -np.inf
        return torch.from_numpy(scores), torch.from_numpy(ids)

    def _search_hnsw(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Neighbours by the graph, scores by their vectors: the distance |q|² + φ − 2 q·v would cost q·v half its digits."""
        _, ids = self._index.search(np.pad(queries, ((0, 0), (0, 1))), k)  # [B, K]
        vectors = self._index.storage.reconstruct_batch(ids.clip(0).ravel())[:, :-1].reshape(*ids.shape, -1)  # [B, K, D]
        scores = np.where(ids < 0, -np.inf, np.einsum("bd,bkd->bk", queries, vectors)).astype(np.float32)
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)

    def save(self, folder: str | Path) -> None:
        """Write faiss' own file and a manifest with its checksum, whole or not at all."""
        import faiss

        if self._index is None:
            raise MiniragError("an empty faiss index has nothing to save; add vectors first")
        settings = {
            name: getattr(self, name) for name in ("kind", "n_lists", "n_probe", "links", "ef_construction", "ef_search")
        }
        with atomic_folder(folder, is_index) as temporary:
            faiss.write_index(self._index, str(temporary / FILE))
            seal(temporary, "faiss", {"rows": len(self), "dim": self._dim, **settings, "phi": self._phi})

    @classmethod
    def load(cls, folder: str | Path) -> "FaissIndex":
        """Read a saved index; a missing, changed or foreign file is a `MiniragError`."""
        import faiss

        settings = open_sealed(folder, "faiss")["settings"]
        phi = settings["phi"]
        index = cls(**{name: value for name, value in settings.items() if name not in ("rows", "dim", "phi")})
        index._index, index._phi, index._rows = faiss.read_index(str(Path(folder) / FILE)), phi, settings["rows"]
        return index

    @property
    def _dim(self) -> int:
        return self._index.d - (self.kind == "hnsw")


def _rows(vectors: Tensor | np.ndarray, dim: int | None) -> np.ndarray:
    """float32 rows in memory order, as faiss wants them, all finite and of the right width."""
    if isinstance(vectors, Tensor):
        vectors = vectors.detach().to("cpu", torch.float32).numpy()
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if rows.ndim != 2 or (dim is not None and rows.shape[1] != dim):
        raise MiniragError(f"vectors of shape {rows.shape} do not fit an index of width {dim or 'D'}; pass [N, {dim or 'D'}]")
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise MiniragError(f"vector {int(bad.argmax())} holds NaN or infinity; look at what encoded it")
    return rows


def _squared_norms(rows: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", rows, rows, dtype=np.float64)
