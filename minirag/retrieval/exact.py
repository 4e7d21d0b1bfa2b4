"""Exact maximum inner-product search: the top-K of p(z|x) ∝ exp(d(z)ᵀq(x)) over every passage (section 2.2 of the paper).

The questions meet all vectors chunk by chunk in the scan's low precision (`scan.py`). Of each block of 64 scores only the
largest is looked at; blocks that cannot hold a winner are dropped, the others give a handful of candidates, and these are
scored exactly (`finalists.py`). Beside the float32 vectors, which stay on disk, the index needs a quarter of their size.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from minirag.retrieval import scan
from minirag.retrieval.disk import mapped, read_index, write_index
from minirag.retrieval.finalists import Candidates, Ids, Scores, check_k, no_hits
from minirag.retrieval.memory import Memory, Rows, as_rows
from minirag.retrieval.vectors import VectorStore

BLOCK = 64  # rows that share one maximum
QUERIES = 1_024  # questions scanned together
ROWS = 2_048  # rows scanned together, at least
ENCODE = 16_384  # rows coded at once
SAMPLE = 16_384  # rows whose mean is the centre
BYTES = "bytes.npy"  # as `write_index` names the array


class ExactIndex:
    """Every vector compared with every question.

    >>> index = ExactIndex(dim=2)
    >>> index.add(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]))
    >>> scores, ids = index.search(torch.tensor([[1.0, 0.5]]), k=2)
    >>> scores.tolist(), ids.tolist()
    ([[3.0, 1.0]], [[2, 0]])
    """

    def __init__(self, dim: int, in_bytes: bool | None = None) -> None:
        """`in_bytes`: scan in eight bits; None (default): where the processor is fast at it. The result is the same."""
        self.memory = Memory(dim)
        self.in_bytes = scan.use_bytes(dim, in_bytes)
        self._coder: scan.Bytes | scan.Floats = scan.Floats()
        self._coded = 0  # rows that have codes
        self._fitted = 0  # rows there were when the centre was taken
        self._bytes = torch.empty(0, dim, dtype=torch.int8)  # [N, D]
        self._step = self._error = self._reach = torch.empty(0)  # [blocks]

    def __len__(self) -> int:
        return len(self.memory)

    def add(self, vectors: Rows | VectorStore) -> None:
        """Append vectors [N, D]; the first row ever added has id 0. A `VectorStore` is searched where it lies.

        Raises MiniragError for a wrong dimension, NaN or infinity.
        """
        self.memory.append(vectors)

    def replace(self, ids: Int64[Tensor, " n"], vectors: Rows) -> None:
        """Give the rows `ids` new vectors: the memory is revised without being rebuilt. A removed row comes back."""
        self.memory.replace(ids, vectors)
        for block in (ids[ids < self._coded] // BLOCK).unique().tolist():
            self._encode(block * BLOCK, min((block + 1) * BLOCK, self._coded))

    def remove(self, ids: Int64[Tensor, " n"]) -> None:
        """Take rows out of every later search; the ids of the others stay."""
        self.memory.remove(ids)

    def search(self, queries: Rows, k: int) -> tuple[Scores, Ids]:
        """The k rows of largest inner product with each question, best first, ties by the lower id.

        Returns scores [B, k] in float32 and ids [B, k]; where there are fewer than k rows, id −1 and score −inf.
        """
        check_k(k)
        questions = as_rows(queries, self.memory.dim, "questions")  # [B, D]
        self.prepare()
        if not len(questions):
            return no_hits(k)
        parts = [self._search(questions[low : low + QUERIES], k) for low in range(0, len(questions), QUERIES)]
        return torch.cat([scores for scores, _ in parts]).float(), torch.cat([ids for _, ids in parts])

    @torch.inference_mode(False)  # what the first search keeps, `replace` changes, in whatever mode either is called
    def prepare(self) -> None:
        """Code what was added since the last search; a search does this by itself."""
        self._fit()
        n = len(self.memory)
        if self._coded == n:
            return
        start = self._coded // BLOCK * BLOCK  # a block that was short is coded again
        grow = -(-n // BLOCK) - len(self._step)
        self._step, self._error, self._reach = (F.pad(array, (0, grow)) for array in (self._step, self._error, self._reach))
        if self.in_bytes and len(self._bytes) < n:
            self._bytes = torch.cat([self._bytes, torch.empty(n - self._coded, self.memory.dim, dtype=torch.int8)])
        self._coded = n
        for low in range(start, n, ENCODE):
            self._encode(low, min(low + ENCODE, n))
            self.memory.release()

    def _fit(self) -> None:
        """Take the centre from what there is, anew whenever the rows have doubled until there are enough."""
        n = len(self.memory)
        if self.in_bytes and self._fitted < min(n, SAMPLE) and n >= 2 * self._fitted:
            sample = torch.linspace(0, n - 1, min(n, SAMPLE), dtype=torch.float64).long()  # float32 cannot count 21 M rows
            self._coder, self._fitted = scan.Bytes(self.memory.take(sample).mean(dim=0)), n
            self._coded, self._bytes = 0, self._bytes[:0]
            self._step = self._error = self._reach = torch.empty(0)

    @torch.inference_mode(False)
    def save(self, folder: str | Path) -> None:
        """Write the index, whole or not at all. Vectors of an untouched `VectorStore` are referred to, not copied.

        What was never searched is coded straight into the file: so an index larger than memory is built.
        """
        self._fit()
        settings = {"in_bytes": self.in_bytes, "fitted": self._fitted}
        fresh = self.in_bytes and self._coded == 0 and len(self) > 0
        write_index(folder, "exact", settings, self._into_file if fresh else self._arrays, self.memory)
        if fresh:  # from here on changes are this process's own
            self._bytes = torch.from_numpy(np.load(Path(folder) / BYTES, mmap_mode="c"))

    def _into_file(self, folder: Path) -> dict[str, Tensor]:
        self._bytes = torch.from_numpy(mapped(folder / BYTES, np.int8, (len(self), self.memory.dim)))
        arrays = self._arrays(folder)
        return {name: array for name, array in arrays.items() if name != "bytes"}

    def _arrays(self, _: Path) -> dict[str, Tensor]:
        self.prepare()
        arrays = {"step": self._step, "error": self._error, "reach": self._reach}
        return arrays | ({"bytes": self._bytes, "center": self._coder.center} if isinstance(self._coder, scan.Bytes) else {})

    @classmethod
    @torch.inference_mode(False)
    def load(cls, folder: str | Path, verify: bool = True) -> "ExactIndex":
        """Open a saved index, memory-mapped, after checking the SHA-256 of every file (unless `verify` is False)."""
        required = {"in_bytes", "fitted", "step", "error", "reach"}
        settings, arrays, memory = read_index(folder, "exact", required, verify)
        index = cls(memory.dim, settings["in_bytes"])
        index.memory, index._fitted, index._coded = memory, settings["fitted"], len(memory)
        index._step, index._error, index._reach = arrays["step"], arrays["error"], arrays["reach"]
        if "bytes" in arrays:
            index._bytes, index._coder = arrays["bytes"], scan.Bytes(arrays["center"])
        return index

    def _search(self, questions: Float32[Tensor, "B D"], k: int) -> tuple[Float64[Tensor, "B k"], Ids]:
        probe = self._coder.probe(questions)
        found = Candidates(questions, self.memory, k)
        step = max(self._coder.cells // len(questions), ROWS) // BLOCK * BLOCK
        for low in range(0, len(self.memory), step):
            high = min(low + step, len(self.memory))
            rows = self._bytes[low:high] if self.in_bytes else self.memory.rows(low, high)
            products = _blocks(scan.product(probe.values, rows), self.memory.alive[low:high])  # [B, n/64, 64]
            blocks = slice(low // BLOCK, -(-high // BLOCK))
            unit = (probe.unit[:, None] * self._step[blocks]).clamp(min=1e-37)  # [B, n/64]
            offset = probe.offset[:, None]  # [B, 1]
            margin = probe.norm[:, None] * self._error[blocks] + probe.slip[:, None] * self._reach[blocks]  # [B, n/64]
            top = products.amax(dim=2)  # [B, n/64]
            score = top * unit + offset  # [B, n/64]
            found.raise_floor((score - margin).masked_fill_(top == scan.lowest(top), -torch.inf))
            query, block = (score + margin >= found.floor).nonzero(as_tuple=True)  # [P]
            slope, base = unit[query, block], (offset + margin)[query, block]  # [P]
            hits = products[query, block]  # [P, 64]
            pair, place = scan.at_least(hits, (found.floor[query, 0] - base) / slope)
            found.add(query[pair], low + block[pair] * BLOCK + place, hits[pair, place] * slope[pair] + base[pair])
        return found.best()

    def _encode(self, low: int, high: int) -> None:
        codes = self._coder.encode(self.memory.rows(low, high), BLOCK)
        blocks = slice(low // BLOCK, -(-high // BLOCK))
        self._step[blocks], self._error[blocks], self._reach[blocks] = codes.step, codes.error, codes.reach
        if self.in_bytes:
            self._bytes[low:high] = codes.values


def _blocks(products: Tensor, alive: Tensor) -> Tensor:
    """Products [B, n] as blocks [B, n/64, 64], with the lowest value for removed rows and for what fills the last block."""
    if not bool(alive.all()):
        products[:, ~alive] = scan.lowest(products)
    if products.shape[1] % BLOCK:
        products = F.pad(products, (0, -products.shape[1] % BLOCK), value=scan.lowest(products))
    return products.view(len(products), -1, BLOCK)
