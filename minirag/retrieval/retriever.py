"""The retriever p(z|x) of the paper (section 2.2): a question in, its top-K passages and their probabilities out.

It ties together what must belong together: an encoder, an index over that encoder's vectors, and the passages that the
index's rows stand for. BM25 takes the place of encoder and vectors at once (the paper's ablation, section 4.5).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError


@runtime_checkable
class QueryEncoder(Protocol):
    """What a retriever needs of a `BiEncoder`."""

    @property
    def fingerprint(self) -> str: ...

    def encode_queries(self, questions: Sequence[str]) -> Tensor: ...


@dataclass(frozen=True)
class Retrieved:
    """What one question found: K passages or fewer, best first."""

    question: str
    passages: list[Passage]
    rows: Int64[Tensor, " K"]
    scores: Float32[Tensor, " K"]

    @property
    def probabilities(self) -> Float32[Tensor, " K"]:
        """p(z|x) ∝ exp(score), over the passages found.

        >>> Retrieved("?", [], torch.tensor([4, 2]), torch.tensor([1.0, 1.0])).probabilities
        tensor([0.5000, 0.5000])
        """
        return torch.softmax(self.scores, dim=0)


class Retriever:
    """Search by question.

    Args:
        index: anything with `search(queries, k)` and `len`: `ExactIndex`, `IVFIndex`, `FaissIndex`, or a `BM25Index`.
        passages: row i of the index is passage i.
        encoder: makes the questions' vectors; None for an index that takes text.

    Raises MiniragError if index and passages differ in number, or the vectors come from another encoder or other passages.
    """

    def __init__(self, index: Any, passages: PassageStore, encoder: QueryEncoder | None = None) -> None:
        if len(index) != len(passages):
            raise MiniragError(f"the index has {len(index)} rows, there are {len(passages)} passages; build it from these")
        memory = getattr(index, "memory", None)
        if memory is not None and encoder is None:
            raise MiniragError("this index holds vectors, and a question is text; give the encoder that made the vectors")
        if memory is not None and memory.passages not in ("", passages.fingerprint):
            raise MiniragError("the index was built on other passages than these; open those, or build it again")
        names = set() if memory is None or encoder is None else {memory.encoder, encoder.fingerprint} - {""}  # "" is unknown
        if len(names) == 2:
            raise MiniragError("the index holds another encoder's vectors; load that encoder, or encode the passages again")
        self.index, self.passages, self.encoder = index, passages, encoder

    def search(self, questions: Sequence[str], k: int) -> list[Retrieved]:
        """The top k passages of each question; fewer where the index finds fewer. An empty question is refused."""
        for i, question in enumerate(questions):
            if not question.strip():
                raise MiniragError(f"question {i} is empty; ask something")
        queries = questions if self.encoder is None else self.encoder.encode_queries(questions)  # text, or [B, D]
        scores, ids = self.index.search(queries, k)  # [B, k], [B, k]
        found = []
        for question, score, row in zip(questions, scores, ids, strict=True):
            real = row >= 0  # −1 stands for "no such passage", never for another one
            found.append(Retrieved(question, self.passages.take(row[real]), row[real], score[real]))
        return found
