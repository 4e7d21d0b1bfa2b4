"""What the service knows how to do, as plain values: passages for a question, and an answer that rests on passages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minirag.corpus.passages import Passage
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
    """Searches, and answers if there is a model. Batches come in as they are and go out in the same order."""

    def __init__(self, retriever: Retriever, model: RagModel | None = None) -> None:
        self.retriever, self.model = retriever, model

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
        """The passages of each question with p(z|x), over its own k."""
        found = self.retriever.search([one.question for one in asked], max(one.k for one in asked))
        return [_passages(_first(each, one.k)) for one, each in zip(asked, found, strict=True)]

    def answer(self, asked: Sequence[Asked]) -> list[Facts]:
        """The answer to each question, with p(y|x), p(z|x) and p(z|x, y)."""
        assert self.model is not None
        answers: dict[int, Facts] = {}
        for k in {one.k for one in asked}:  # the answer depends on all passages that are read
            rows = [row for row, one in enumerate(asked) if one.k == k]
            answers |= zip(rows, map(_answer, self.model.answer([asked[row].question for row in rows], k)), strict=True)
        return [answers[row] for row in range(len(asked))]


def _first(found: Retrieved, k: int) -> Retrieved:
    return Retrieved(found.question, found.passages[:k], found.rows[:k], found.scores[:k])


def _passages(found: Retrieved) -> Facts:
    numbers = zip(found.passages, found.rows.tolist(), found.scores.tolist(), found.probabilities.tolist(), strict=True)
    passages = [_shown(z) | {"row": row, "score": score, "probability": p} for z, row, score, p in numbers]
    return {"question": found.question, "passages": passages}


def _answer(answer: Answer) -> Facts:
    holding = answer.holding()
    passages = [
        _shown(z) | {"probability": prior, "posterior": support, "holds_answer": k in holding}
        for k, (z, prior, support) in enumerate(
            zip(answer.passages, answer.prior.tolist(), answer.support.tolist(), strict=True)
        )
    ]
    told = {"answer": answer.text, "probability": math.exp(answer.log_probability), "scheme": answer.scheme}
    return {"question": answer.question, **told, "passages": passages}


def _shown(passage: Passage) -> Facts:
    return {"id": passage.id, "title": passage.title, "text": passage.text}
