"""The last round of every search of ours: a few candidates, scored in float64 from their float32 vectors.

Scores are summed in one fixed order whatever the batch, so equal vectors get equal scores, and ties go to the lower id.
"""

import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from minirag.errors import MiniragError
from minirag.retrieval.memory import Memory

PAIRS = 512  # (question, row) pairs scored at once: few enough for their float64 to stay in cache
TABLE = 4_000_000  # cells of the padded table of candidates; also the candidates held before they are thinned out

Scores = Float32[Tensor, "B k"]
Ids = Int64[Tensor, "B k"]


def check_k(k: int) -> None:
    """Raise MiniragError unless `k` asks for at least one row."""
    if k < 1:
        raise MiniragError(f"k is {k}; ask for at least one passage")


def no_hits(k: int) -> tuple[Scores, Ids]:
    """The answer to no question at all."""
    return torch.empty(0, k), torch.empty(0, k, dtype=torch.int64)


class Candidates:
    """The rows of which a scan could not say that they lose, and in the end the exact top k of each question among them."""

    def __init__(self, questions: Float32[Tensor, "B D"], memory: Memory, k: int) -> None:
        self._questions, self._memory, self._k = questions, memory, k
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []
        self._held = 0
        self._lower = torch.full((len(questions), k), -torch.inf)  # [B, k]

    @property
    def floor(self) -> Float32[Tensor, "B 1"]:
        """What the k-th best row of each question scores at least, as far as is known."""
        return self._lower[:, -1:]

    def raise_floor(self, lower: Float32[Tensor, "B m"]) -> None:
        """Learn lower bounds of the scores of m further rows."""
        self._lower = torch.cat([self._lower, lower], dim=1).topk(self._k).values

    def add(self, query: Int64[Tensor, " P"], row: Int64[Tensor, " P"], upper: Float32[Tensor, " P"]) -> None:
        """Take pairs of question and row, with an upper bound of their score."""
        self._parts.append((query, row, upper))
        self._held += len(query)
        if self._held > TABLE:  # data full of near-ties: keep only the k best of these, so that memory stays bounded
            scores, ids = self.best()
            query, place = (ids >= 0).nonzero(as_tuple=True)  # [P]
            upper = torch.nextafter(scores[query, place].float(), torch.tensor(torch.inf))
            self._parts, self._held = [(query, ids[query, place], upper)], len(query)

    def best(self) -> tuple[Float64[Tensor, "B k"], Ids]:
        """Scores in float64 and row ids, best first, ties by the lower id; −inf and −1 where there are fewer than k."""
        parts = [torch.cat(column) for column in zip(*self._parts, strict=True)] if self._parts else _no_pairs()
        query, row, upper = parts
        real = (row >= 0) & (row < len(self._memory)) & (upper >= self.floor[query, 0])
        query, row, upper = query[real], row[real], upper[real]
        alive = self._memory.alive[row]
        query, row, upper = query[alive], row[alive], upper[alive]
        order = torch.argsort(query * len(self._memory) + row)  # by question, then by id: ties keep the lower id first
        return _best_of(self._questions, self._memory, query[order], row[order], upper[order], self._k)


def _no_pairs() -> list[Tensor]:
    return [torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), torch.empty(0)]


def _best_of(
    questions: Float32[Tensor, "B D"],
    memory: Memory,
    query: Int64[Tensor, " P"],
    row: Int64[Tensor, " P"],
    upper: Float32[Tensor, " P"],
    k: int,
) -> tuple[Float64[Tensor, "B k"], Ids]:
    batch = len(questions)
    counts = torch.bincount(query, minlength=batch)  # [B]
    width = max(int(counts.max()), k)
    if width * batch > TABLE and batch > 1:  # a table would be mostly padding, or too large: halve the batch
        half, cut = batch // 2, int(counts[: batch // 2].sum())
        first = _best_of(questions[:half], memory, query[:cut], row[:cut], upper[:cut], k)
        second = _best_of(questions[half:], memory, query[cut:] - half, row[cut:], upper[cut:], k)
        return torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]])

    starts = counts.cumsum(0) - counts  # [B]
    column = torch.arange(len(query)) - starts[query]  # [P]
    ids = torch.full((batch, width), -1)  # [B, C]
    ids[query, column] = row
    bound = torch.full((batch, width), -torch.inf)  # [B, C]
    bound[query, column] = upper
    exact = torch.full((batch, width), -torch.inf, dtype=torch.float64)  # [B, C]

    # First the most promising; whoever cannot beat the k-th of these need not be read from the disk.
    wave = torch.zeros_like(ids, dtype=torch.bool).scatter_(1, bound.topk(min(2 * k, width)).indices, True)  # [B, C]
    _score(questions, memory, ids, wave & (ids >= 0), exact)
    floor = exact.topk(k).values[:, -1:]  # [B, 1]
    _score(questions, memory, ids, ~wave & (ids >= 0) & (bound >= floor), exact)

    place = torch.sort(exact, dim=1, descending=True, stable=True).indices[:, :k]  # [B, k]
    return exact.gather(1, place), ids.gather(1, place)


def _score(
    questions: Float32[Tensor, "B D"],
    memory: Memory,
    ids: Int64[Tensor, "B C"],
    chosen: Bool[Tensor, "B C"],
    exact: Float64[Tensor, "B C"],
) -> None:
    """Write the float64 inner products of the chosen pairs into `exact`."""
    query, column = chosen.nonzero(as_tuple=True)  # [P]
    row = ids[query, column]  # [P]
    scores = torch.empty(len(query), dtype=torch.float64)  # [P]
    for low in range(0, len(query), PAIRS):
        part = slice(low, low + PAIRS)
        scores[part] = inner_products(memory.take(row[part]), questions.index_select(0, query[part]))
    exact[query, column] = scores


def inner_products(rows: Float32[Tensor, "P D"], questions: Float32[Tensor, "*P D"]) -> Float64[Tensor, " P"]:
    """Inner product of each row with its question in float64, where a product of two float32 is exact, summed in one order."""
    wide = rows.double()  # [P, D]
    wide *= questions.double()
    return wide.sum(dim=1)
