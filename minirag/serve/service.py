"""What the service knows how to do, as plain values: passages for a question, and an answer that rests on passages."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minirag.corpus.passages import Passage
from minirag.corpus.words import pieces
from minirag.rag.answer import Answer
from minirag.rag.model import RagModel
from minirag.retrieval.retriever import Retrieved, Retriever

Facts = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A question, and from how many passages it is to be answered."""

    question: str
    k: int


class Service:
    """Searches, and answers if there is a model. Batches come in as they are and go out in the same order.

    One batch of either kind at a time: both use the same encoder, and all processors.
    """

    def __init__(self, retriever: Retriever, model: RagModel | None = None) -> None:
        self.retriever, self.model = retriever, model
        self._turn = threading.Lock()

    def info(self) -> Facts:
        """What is served."""
        index = self.retriever.index
        memory = getattr(index, "memory", None)
        return {
            "index": type(index).__name__,
            "passages": len(self.retriever.passages),
            "dim": None if memory is None else memory.dim,
            "passages_fingerprint": self.retriever.passages.fingerprint,
            "encoder_fingerprint": None if self.retriever.encoder is None else self.retriever.encoder.fingerprint,
            "answers": self.model is not None,
        }

    def search(self, asked: Sequence[Asked]) -> list[Facts]:
        """The passages of each question with p(z|x)."""
        return self._by_k(asked, lambda questions, k: list(map(_passages, self.retriever.search(questions, k))))

    def answer(self, asked: Sequence[Asked]) -> list[Facts]:
        """The answer to each question, with p(y|x), p(z|x) and p(z|x, y)."""
        model = self.model
        assert model is not None
        return self._by_k(asked, lambda questions, k: list(map(_answer, model.answer(questions, k))))

    def _by_k(self, asked: Sequence[Asked], work: Callable[[list[str], int], list[Facts]]) -> list[Facts]:
        """`work` for all of one k together: an answer, and what an approximate index finds, depend on it."""
        done: dict[int, Facts] = {}
        with self._turn:
            for k in {one.k for one in asked}:
                rows = [row for row, one in enumerate(asked) if one.k == k]
                done |= zip(rows, work([asked[row].question for row in rows], k), strict=True)
        return [done[row] for row in range(len(asked))]


def _passages(found: Retrieved) -> Facts:
    numbers = zip(found.passages, found.rows.tolist(), found.scores.tolist(), found.probabilities.tolist(), strict=True)
    passages = [_shown(z) | {"row": row, "score": score, "probability": p} for z, row, score, p in numbers]
    return {"question": found.question, "passages": passages}


def _answer(answer: Answer) -> Facts:
    passages = [  # with the text in pieces, and whether each is the answer
        _shown(z) | {"probability": prior, "posterior": support, "pieces": pieces(z.text, [answer.text])}
        for z, prior, support in zip(answer.passages, answer.prior.tolist(), answer.support.tolist(), strict=True)
    ]
    told = {"answer": answer.text, "probability": math.exp(answer.log_probability), "scheme": answer.scheme}
    return {"question": answer.question, **told, "passages": passages}


def _shown(passage: Passage) -> Facts:
    return {"id": passage.id, "title": passage.title, "text": passage.text}
