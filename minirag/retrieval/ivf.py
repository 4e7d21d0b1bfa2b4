"""The inverted file (IVF): look only where the answer is likely to be.

k-means cuts the space into C cells; each keeps the list of its vectors. A question is compared with the centroids and scans
only the lists of its best `n_probe` cells: n_probe/C of the work, and some recall lost, which `n_probe` buys back;
n_probe = C is exact search. Within the lists the search is exact, by the same scan in bytes as `ExactIndex`.

A batch is searched list by list, not question by question: one product serves all questions that probe a list.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from minirag.errors import MiniragError
from minirag.retrieval import scan
from minirag.retrieval.disk import read_index, write_index
from minirag.retrieval.finalists import Candidates, Ids, Scores, check_k, inner_products, no_hits
from minirag.retrieval.kmeans import PER_CELL, assign, kmeans
from minirag.retrieval.lists import Cell, Lists
from minirag.retrieval.memory import Memory, Rows, as_rows
from minirag.retrieval.vectors import VectorStore
from minirag.retrieval.visits import BLOCK, Visits, tiles

KIND = "ivf"
ADD = 65_536  # rows assigned to lists at once


class IVFIndex:
    """Inner-product search over the lists of the `n_probe` cells nearest to each question.

    >>> index = IVFIndex(dim=2, n_lists=2, n_probe=1)
    >>> vectors = torch.tensor([[9.0, 0.1], [8.0, 0.0], [0.1, 5.0], [0.0, 4.0]])
    >>> index.train(vectors)
    >>> index.add(vectors)
    >>> index.search(torch.tensor([[1.0, 0.0]]), k=3)[1].tolist()  # the other cell is never looked at
    [[0, 1, -1]]
    """

    def __init__(self, dim: int, n_lists: int, n_probe: int = 16, spherical: bool = True, in_bytes: bool | None = None) -> None:
        """`in_bytes`: as in `ExactIndex`; the result is the same."""
        self.memory = Memory(dim)
        self.n_lists, self.n_probe, self.spherical = n_lists, n_probe, spherical
        self.in_bytes = scan.use_bytes(dim, in_bytes)
        self.centroids = torch.empty(0, dim)  # [C, D]
        self.list_of = torch.empty(0, dtype=torch.int64)  # [N] the list of each row
        self.coder: scan.Bytes | scan.Floats = scan.Floats()
        self._lists: Lists | None = None
        self._stale = torch.empty(0, dtype=torch.bool)  # [C] lists that changed since they were coded

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
        """Place the centroids by k-means on `sample` of the vectors (default and at most: 256 a list).

        With fewer vectors than lists there is a warning, and `n_lists` becomes their number.
        """
        points = training_points(vectors, self.memory.dim, sample or self.n_lists * PER_CELL, seed)  # [n, D]
        self.use_centroids(kmeans(points, self.n_lists, iterations, self.spherical, seed, progress), points.mean(dim=0))

    @torch.inference_mode(False)
    def use_centroids(self, centroids: Rows, center: Float32[Tensor, " D"] | None = None) -> None:
        """Take centroids trained elsewhere, say by faiss. `center` (default: their mean) affects nothing but speed."""
        if len(self):
            raise MiniragError("the index already holds vectors; give centroids to an empty one")
        self.centroids = as_rows(centroids, self.memory.dim, "centroids")
        self.n_lists = len(self.centroids)
        if self.in_bytes:
            self.coder = scan.Bytes(self.centroids.mean(dim=0) if center is None else center)
        self._stale = torch.ones(self.n_lists, dtype=torch.bool)

    @torch.inference_mode(False)  # whoever adds within inference mode may revise outside of it
    def add(self, vectors: Rows | VectorStore) -> None:
        """Append vectors, each to the list of its nearest centroid. Raises MiniragError before `train`, and for NaN."""
        self._check_trained()
        start = len(self)
        self.memory.append(vectors)
        for low in range(start, len(self), ADD):
            cells = assign(self.memory.rows(low, min(low + ADD, len(self))), self.centroids, self.spherical)
            self.list_of = torch.cat([self.list_of, cells])
            self._stale[cells] = True

    def replace(self, ids: Int64[Tensor, " n"], vectors: Rows) -> None:
        """Give rows new vectors; each moves to the list where it now belongs. A removed row comes back."""
        self.memory.replace(ids, vectors)
        self._stale[self.list_of[ids]] = True
        self.list_of[ids] = assign(self.memory.take(ids), self.centroids, self.spherical)
        self._stale[self.list_of[ids]] = True

    def remove(self, ids: Int64[Tensor, " n"]) -> None:
        """Take rows out of their lists; the ids of the others stay."""
        self.memory.remove(ids)
        self._stale[self.list_of[ids]] = True

    def search(self, queries: Rows, k: int, n_probe: int | None = None) -> tuple[Scores, Ids]:
        """The best k rows among the lists probed, best first, ties by the lower id.

        Returns scores [B, k] in float32 and ids [B, k]; where the lists hold fewer than k rows, id −1 and score −inf.
        """
        check_k(k)
        self._check_trained()
        n_probe = self.n_probe if n_probe is None else n_probe
        if n_probe < 1:
            raise MiniragError(f"n_probe is {n_probe}; probe at least one list")
        questions = as_rows(queries, self.memory.dim, "questions")  # [B, D]
        lists = self.prepare()
        probes = (questions @ self.centroids.T).topk(min(n_probe, self.n_lists)).indices  # [B, n_probe]
        if not len(questions):
            return no_hits(k)
        if len(questions) == 1:
            return self._search_one(lists, questions, probes[0].tolist(), k)
        parts = [self._search(lists, questions[tile], probes[tile], k) for tile in tiles(lists.first, probes)]
        return torch.cat([scores for scores, _ in parts]).float(), torch.cat([ids for _, ids in parts])

    def prepare(self) -> Lists:
        """Code the lists that changed since the last search; a search does this by itself."""
        if self._lists is not None and not bool(self._stale.any()):
            return self._lists
        rows = (self._stale[self.list_of] & self.memory.alive).nonzero()[:, 0]  # [n]
        rows = rows[torch.argsort(self.list_of[rows], stable=True)]  # list after list, ids ascending
        sizes = torch.bincount(self.list_of[rows], minlength=self.n_lists).tolist()
        cells = self._lists.cells if self._lists is not None else []
        cells = [
            Cell.of(ids, self.coder, self.memory.take) if stale else cells[i]
            for i, (ids, stale) in enumerate(zip(rows.split(sizes), self._stale.tolist(), strict=True))
        ]
        self._stale[:] = False
        self._lists = Lists.of(cells)
        return self._lists

    def save(self, folder: str | Path) -> None:
        """Write the index, whole or not at all. Vectors of an untouched `VectorStore` are referred to, not copied."""
        self._check_trained()
        arrays = self.trained() | {"list_of": self.list_of} | (self.prepare().arrays() if self.in_bytes else {})
        write_index(folder, KIND, self.settings(), lambda _: arrays, self.memory)

    def settings(self) -> dict[str, int | bool]:
        """What is written beside the arrays."""
        return {"n_probe": self.n_probe, "spherical": self.spherical, "in_bytes": self.in_bytes}

    def trained(self) -> dict[str, Tensor]:
        """The arrays that `train` has made."""
        coder = {"center": self.coder.center} if isinstance(self.coder, scan.Bytes) else {}
        return {"centroids": self.centroids} | coder

    @classmethod
    @torch.inference_mode(False)
    def load(cls, folder: str | Path, verify: bool = True) -> "IVFIndex":
        """Open a saved index, memory-mapped, after checking the SHA-256 of every file (unless `verify` is False)."""
        required = {"n_probe", "spherical", "in_bytes", "centroids", "list_of"}
        settings, arrays, memory = read_index(folder, KIND, required, verify)
        index = cls(memory.dim, len(arrays["centroids"]), settings["n_probe"], settings["spherical"], settings["in_bytes"])
        index.use_centroids(arrays["centroids"], arrays.get("center"))
        index.memory, index.list_of = memory, arrays["list_of"]
        if "values" in arrays:
            index._lists, index._stale = Lists.from_arrays(arrays), torch.zeros(index.n_lists, dtype=torch.bool)
        return index

    def _check_trained(self) -> None:
        if not len(self.centroids):
            raise MiniragError("the index has no centroids yet; call train with a sample of the vectors first")

    def _search_one(self, lists: Lists, question: Float32[Tensor, "1 D"], probes: list[int], k: int) -> tuple[Scores, Ids]:
        """The batched search for one question, where the bookkeeping of a batch would cost more than the search."""
        cells = [lists.cells[cell] for cell in probes]
        probe = self.coder.probe(question)
        products = torch.cat([scan.product(probe.values, cell.codes.values)[0] for cell in cells]).view(-1, BLOCK)  # [b, 32]
        unit = probe.unit * torch.cat([cell.codes.step for cell in cells])  # [b]
        margin = probe.norm * torch.cat([cell.codes.error for cell in cells])  # [b]
        margin += probe.slip * torch.cat([cell.codes.reach for cell in cells])
        score = products.amax(dim=1) * unit + probe.offset  # [b]
        lower = (score - margin).topk(min(k, len(score))).values
        floor = lower[-1] if len(lower) == k else -torch.inf
        hit = (score + margin >= floor).nonzero()[:, 0]  # [P]
        upper = products[hit] * unit[hit, None] + (probe.offset + margin[hit])[:, None]  # [P, 32]
        slots = torch.cat([cell.slots for cell in cells]).view(-1, BLOCK)[hit]  # [P, 32]
        ids = slots[(upper >= floor) & (slots >= 0)].sort().values
        exact = inner_products(self.memory.take(ids), question[0])
        order = exact.sort(descending=True, stable=True).indices[:k]
        fill = (0, k - len(order))
        return F.pad(exact[order].float(), fill, value=-torch.inf)[None], F.pad(ids[order], fill, value=-1)[None]

    def _search(
        self, lists: Lists, questions: Float32[Tensor, "B D"], probes: Int64[Tensor, "B P"], k: int
    ) -> tuple[Float64[Tensor, "B k"], Ids]:
        probe = self.coder.probe(questions)
        visits = Visits.of(lists.first, probes)
        query, block = visits.query, visits.block  # [blocks]
        products = lists.products(probe.values[visits.asking], visits.counts, len(block) * BLOCK)  # [blocks, 32]
        top = products.amax(dim=1)  # [blocks]
        unit = (probe.unit[query] * lists.step[block]).clamp(min=1e-37)
        margin = probe.norm[query] * lists.error[block] + probe.slip[query] * lists.reach[block]
        score = top * unit + probe.offset[query]
        lower = torch.full((len(questions), visits.width), -torch.inf)  # [B, most blocks of a question]
        lower[query, visits.column] = score - margin
        found = Candidates(questions, self.memory, k)
        found.raise_floor(lower)

        hit = (score + margin >= found.floor[query, 0]).nonzero()[:, 0]  # [P]
        query, block, unit, base = query[hit], block[hit], unit[hit], (probe.offset[query] + margin)[hit]  # [P]
        hits = products[hit]  # [P, 32]
        pair, place = scan.at_least(hits, (found.floor[query, 0] - base) / unit)
        upper = hits[pair, place] * unit[pair] + base[pair]
        found.add(query[pair], lists.slot[block[pair] * BLOCK + place], upper)
        return found.best()


def training_points(vectors: Rows | VectorStore, dim: int, most: int, seed: int) -> Float32[Tensor, "n D"]:
    """The vectors given; of a store at most so many, drawn at random, in its order, as a disk likes it."""
    if isinstance(vectors, VectorStore):
        chosen = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(seed))[:most]
        vectors = vectors.take(chosen.sort().values)
    return as_rows(vectors, dim, "training vectors")
