"""IVF and product quantisation: all of Wikipedia in 64 bytes a passage, and recall bought back from the disk.

As in `ivf.py` a question looks into the lists of its best cells; there lie codes of what a vector adds to the mean of its cell
(`pq.py`). Their scores are approximate, so the best `finalists` are scored once more from the vectors themselves, which
stay on the disk: 21 million codes take 1.4 GB, and a question asks the disk for some hundred rows of 1.5 KB (in float16).

    q·v  ≈  q·a_cell + Σ_m T[m, c_m]        a: the mean of a cell's vectors; T: the question's table, the same for all lists
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from minirag.errors import MiniragError
from minirag.retrieval.code_lists import CodeLists, Part
from minirag.retrieval.code_scan import CodeScan
from minirag.retrieval.disk import read_index, write_index
from minirag.retrieval.finalists import Candidates, Ids, Scores, check_k, no_hits
from minirag.retrieval.ivf import training_points
from minirag.retrieval.kmeans import PER_CELL, assign, kmeans
from minirag.retrieval.memory import Memory, Rows, as_rows
from minirag.retrieval.pq import WORDS, ProductQuantizer, check_pieces
from minirag.retrieval.vectors import VectorStore

KIND = "ivfpq"
ADD = 8_192  # rows coded at once
FEW, TRIED, SLOW = 4_096, 64, 20e-6  # rows; rows; seconds a row that tell of a disk
ARRAYS = ("centroids", "anchors", "rotation", "codebooks")


class IVFPQIndex:
    """Inner-product search over codes of M bytes in the lists of the `n_probe` best cells.

    >>> index = IVFPQIndex(dim=2, n_lists=2, n_probe=1, pieces=2)
    >>> vectors = torch.tensor([[9.0, 0.1], [8.0, 0.0], [0.1, 5.0], [0.0, 4.0]]).repeat(100, 1)
    >>> index.train(vectors)
    >>> index.add(vectors[:4])
    >>> index.search(torch.tensor([[1.0, 0.0]]), k=3)[1].tolist()  # the other cell is never looked at
    [[0, 1, -1]]
    """

    def __init__(
        self, dim: int, n_lists: int, n_probe: int = 16, pieces: int = 64, finalists: int = 200, spherical: bool = True
    ) -> None:
        """`pieces`: M, the bytes of a code. `finalists`: rows scored from their vectors for each question, at least k; with 0
        the codes' own scores are given out."""
        check_pieces(dim, pieces)
        self.memory = Memory(dim)
        self.n_lists, self.n_probe, self.pieces, self.finalists, self.spherical = n_lists, n_probe, pieces, finalists, spherical
        self.centroids = torch.empty(0, dim)  # [C, D] choose the cell
        self.anchors = torch.empty(0, dim)  # [C, D] are what its codes are added to
        self.quantizer = ProductQuantizer(torch.eye(dim), torch.zeros(pieces, WORDS, dim // pieces))
        self._kept: list[CodeLists] = []  # searched one after the other: what was saved, and what has come since
        self._new: list[Part] = []

    def __len__(self) -> int:
        return len(self.memory)

    def train(
        self,
        vectors: Rows | VectorStore,
        iterations: int = 10,
        seed: int = 0,
        progress: bool = False,
        sample: int | None = None,
    ) -> None:
        """Place the cells by k-means on `sample` of a store's vectors (default: 256 a list), and learn to code what they leave.

        With fewer vectors than lists there is a warning, and `n_lists` becomes their number.
        """
        points = training_points(vectors, self.memory.dim, sample or self.n_lists * PER_CELL, seed)  # [n, D]
        centroids = kmeans(points, self.n_lists, iterations, self.spherical, seed, progress)  # [C, D]
        cells = assign(points, centroids, self.spherical)  # [n]
        sizes = torch.bincount(cells, minlength=len(centroids))[:, None]  # [C, 1]
        means = torch.zeros_like(centroids).index_add_(0, cells, points) / sizes.clamp(min=1)
        anchors = torch.where(sizes > 0, means, centroids)
        quantizer = ProductQuantizer.train(points - anchors[cells], self.pieces, seed=seed, progress=progress)
        self.use(centroids, anchors, quantizer)

    @torch.inference_mode(False)
    def use(self, centroids: Rows, anchors: Rows, quantizer: ProductQuantizer) -> None:
        """Take what was learnt elsewhere, say by faiss, whose anchors are the centroids."""
        if len(self):
            raise MiniragError("the index already holds vectors; give centroids to an empty one")
        self.centroids = as_rows(centroids, self.memory.dim, "centroids")
        self.anchors = as_rows(anchors, self.memory.dim, "anchors")
        self.n_lists, self.quantizer, self.pieces = len(self.centroids), quantizer, quantizer.pieces

    @torch.inference_mode(False)  # whoever adds within inference mode may revise outside of it
    def add(self, vectors: Rows | VectorStore) -> None:
        """Append vectors, each coded in the list of its cell. Raises MiniragError before `train`, and for NaN."""
        self._check_trained()
        start = len(self)
        self.memory.append(vectors)
        for low in range(start, len(self), ADD):
            high = min(low + ADD, len(self))
            self._new.append((torch.arange(low, high), *self.code(self.memory.rows(low, high))))
            self.memory.release()

    def code(self, rows: Float32[Tensor, "n D"]) -> tuple[Int64[Tensor, " n"], UInt8[Tensor, "n M"]]:
        """The list and the code of each row."""
        cells = assign(rows, self.centroids, self.spherical)  # [n]
        codes = [
            self.quantizer.encode(part - self.anchors[cell])
            for part, cell in zip(rows.split(ADD), cells.split(ADD), strict=True)
        ]
        return cells, torch.cat(codes)

    def replace(self, ids: Int64[Tensor, " n"], vectors: Rows) -> None:
        """Give rows new vectors; each moves to the list where it now belongs. A removed row comes back."""
        self.memory.replace(ids, vectors)
        self._drop(ids)
        self._new.append((ids, *self.code(self.memory.take(ids))))

    def remove(self, ids: Int64[Tensor, " n"]) -> None:
        """Take rows out of their lists; the ids of the others stay."""
        self.memory.remove(ids)
        self._drop(ids)

    def _drop(self, ids: Int64[Tensor, " n"]) -> None:
        for lists in self.prepare():
            lists.drop(ids)

    @torch.inference_mode(False)
    def prepare(self) -> list[CodeLists]:
        """Sort what was added since the last search into lists; a search does this by itself.

        What came later is kept beside what there was, as long as it is little: one row revised must not copy a gigabyte.
        """
        if self._new:
            later = self._kept[1:] if self._kept and 8 * self._pending() < len(self._kept[0].rows) else self._kept
            self._kept = [*self._kept[: len(self._kept) - len(later)], self._sorted(later, self._new)]
            self._new = []
        return self._kept

    def _pending(self) -> int:
        return sum(len(lists.rows) for lists in self._kept[1:]) + sum(len(rows) for rows, _, _ in self._new)

    def _sorted(self, old: list[CodeLists], new: list[Part]) -> CodeLists:
        """Lists of all these rows, those of a list in the order of their ids."""
        parts = [*(part for lists in old for part in lists.parts()), *new]
        rows, cells, codes = (torch.cat(column) for column in zip(*parts, strict=True))
        order = rows.argsort()
        sizes = torch.bincount(cells, minlength=self.n_lists)
        return CodeLists.of([(rows[order], cells[order], codes[order])], sizes, self.pieces)

    def search(self, queries: Rows, k: int, n_probe: int | None = None, finalists: int | None = None) -> tuple[Scores, Ids]:
        """The best k rows among the finalists, best first, ties by the lower id.

        Returns scores [B, k] in float32 and ids [B, k]; where the lists hold fewer than k rows, id −1 and score −inf.
        """
        check_k(k)
        self._check_trained()
        n_probe = self.n_probe if n_probe is None else n_probe
        finalists = self.finalists if finalists is None else finalists
        if n_probe < 1 or finalists < 0:
            raise MiniragError(
                f"n_probe is {n_probe} and finalists {finalists}; probe one list or more, and score 0 rows or more"
            )
        questions = as_rows(queries, self.memory.dim, "questions")  # [B, D]
        if not len(questions):
            return no_hits(k)
        probes = (questions @ self.centroids.T).topk(min(n_probe, self.n_lists)).indices  # [B, P]
        scores, ids = CodeScan(self.quantizer, self.anchors).best(
            self.prepare(), questions, probes, max(k, finalists)
        )  # [B, R]
        return self._scored_again(questions, ids, k) if finalists else _ordered(scores, ids, k)

    def _scored_again(self, questions: Float32[Tensor, "B D"], ids: Int64[Tensor, "B R"], k: int) -> tuple[Scores, Ids]:
        """The finalists' exact scores, from the vectors on disk."""
        found = Candidates(questions, self.memory, k)
        query, place = (ids >= 0).nonzero(as_tuple=True)
        self._prefetch(ids[query, place].unique())
        found.add(query, ids[query, place], torch.full((len(query),), torch.inf))
        scores, best = found.best()
        return scores.float(), best

    def _prefetch(self, rows: Int64[Tensor, " n"]) -> None:
        """Have the disk read the rows side by side: always if they are few, else where a few of them show that it has to."""
        if len(rows) > FEW:
            begun = time.perf_counter()
            self.memory.take(rows[:: len(rows) // TRIED])
            if time.perf_counter() - begun < TRIED * SLOW:
                return
        self.memory.prefetch(rows)

    def save(self, folder: str | Path) -> None:
        """Write the index, whole or not at all. Vectors of an untouched `VectorStore` are referred to, not copied."""
        self._check_trained()
        kept = self.prepare()
        lists = kept[0] if len(kept) == 1 and bool((kept[0].rows >= 0).sum() == len(self)) else self._sorted(kept, [])
        arrays = self.trained() | {"codes": lists.codes, "rows": lists.rows, "first": lists.first}
        write_index(folder, KIND, self.settings(), lambda _: arrays, self.memory)

    def settings(self) -> dict[str, int | bool]:
        """What is written beside the arrays."""
        return {"n_probe": self.n_probe, "finalists": self.finalists, "spherical": self.spherical}

    def trained(self) -> dict[str, Tensor]:
        """The arrays that `train` has made."""
        return dict(zip(ARRAYS, (self.centroids, self.anchors, self.quantizer.rotation, self.quantizer.codebooks), strict=True))

    @classmethod
    @torch.inference_mode(False)
    def load(cls, folder: str | Path, verify: bool = True) -> IVFPQIndex:
        """Open a saved index, memory-mapped, after checking the SHA-256 of every file (unless `verify` is False)."""
        required = {"n_probe", "finalists", "spherical", "codes", "rows", "first", *ARRAYS}
        settings, arrays, memory = read_index(folder, KIND, required, verify)
        centroids, anchors, rotation, codebooks = (arrays[name] for name in ARRAYS)
        own = (settings["n_probe"], len(codebooks), settings["finalists"], settings["spherical"])
        index = cls(memory.dim, len(centroids), *own)
        index.use(centroids, anchors, ProductQuantizer(rotation, codebooks))
        index.memory, index._kept = memory, [CodeLists(arrays["codes"], arrays["rows"], arrays["first"])]
        memory.here_and_there()
        return index

    def _check_trained(self) -> None:
        if not len(self.centroids):
            raise MiniragError("the index has no centroids yet; call train with a sample of the vectors first")


def _ordered(scores: Float32[Tensor, "B R"], ids: Int64[Tensor, "B R"], k: int) -> tuple[Scores, Ids]:
    """Best first, ties by the lower id."""
    by_id = ids.argsort(dim=1)
    scores, ids = scores.gather(1, by_id), ids.gather(1, by_id)
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    return scores.gather(1, order), ids.gather(1, order)
