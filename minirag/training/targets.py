"""Questions with many answers become questions with one each, as the paper does it for each of its tasks (§3.1, appendix D).

| task | targets |
|---|---|
| Natural Questions, WebQuestions | every answer: each question–answer pair is an example |
| TriviaQA | those answers that stand in one of the question's top 1,000 passages |
| CuratedTREC | what its pattern matches most often in the top 1,000; nothing there, what the pattern can be spelled out to |
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import regex

from minirag.corpus.words import pattern
from minirag.errors import MiniragError
from minirag.retrieval.retriever import Retriever
from minirag.tasks.metrics import PATTERN_SECONDS
from minirag.tasks.openqa import Question

TOP = 1_000  # passages that answers are looked for in
MOST_SPELLINGS = 100  # of one pattern
_AT_ONCE = 64  # questions searched together


@dataclass(frozen=True)
class QuestionAnswer:
    """A question and one answer to it: an example of training."""

    question: str
    answer: str


def each_answer(questions: Iterable[Question]) -> list[QuestionAnswer]:
    """Natural Questions, WebQuestions: an example for each answer.

    >>> each_answer([Question("1", "Who wrote it?", ("Mary Shelley", "Shelley"))])[1].answer
    'Shelley'
    """
    return [QuestionAnswer(one.question, answer) for one in questions for answer in one.answers]


def answers_found(questions: Sequence[Question], retriever: Retriever, k: int = TOP) -> list[QuestionAnswer]:
    """TriviaQA: an example for each answer that stands in one of the top `k` passages. Aliases that nobody writes are not worth
    learning to write; a question none of whose answers is found is left out."""
    return [
        QuestionAnswer(question.question, answer)
        for question, texts in _searched(questions, retriever, k)
        for answer in question.answers
        if any(pattern(answer).search(text) for text in texts)
    ]


def answers_matched(questions: Sequence[Question], retriever: Retriever, k: int = TOP) -> list[QuestionAnswer]:
    """CuratedTREC: one example for each question, with what its patterns match most often in the top `k` passages; of equally
    frequent ones the first. Where they match nothing there, an example for each of their `spellings`."""
    return [
        QuestionAnswer(question.question, answer)
        for question, texts in _searched(questions, retriever, k)
        for answer in _most_matched(question.answers, texts) or _spelled(question.answers)
    ]


def spellings(answer_pattern: str) -> list[str]:
    """The texts that a pattern spells out: every way through its alternatives, what may be left out there and not there, a
    blank for whatever can be several things (`.`, `\\s`, a set); at most a hundred.

    >>> spellings(r"(New York|N\\.Y\\.)( City)?")
    ['New York City', 'New York', 'N.Y. City', 'N.Y.']
    >>> spellings(r"19[0-9]8|about\\s+1912")
    ['19 8', 'about 1912']
    """
    parser = _Pattern(answer_pattern)
    found = parser.alternatives()
    if parser.rest:
        raise MiniragError(f"the answer pattern '{answer_pattern}' has a bracket too many; correct it in the question file")
    return list(dict.fromkeys(text for one in found if (text := " ".join(one.split()))))


def _searched(questions: Sequence[Question], retriever: Retriever, k: int) -> Iterator[tuple[Question, list[str]]]:
    k = min(k, len(retriever.index))
    for start in range(0, len(questions), _AT_ONCE):
        some = questions[start : start + _AT_ONCE]
        for question, found in zip(some, retriever.search([one.question for one in some], k), strict=True):
            yield question, [passage.text for passage in found.passages]


def _most_matched(patterns: Sequence[str], texts: Sequence[str]) -> list[str]:
    matched = Counter[str]()
    for one in patterns:
        try:
            compiled = regex.compile(one, regex.IGNORECASE)
            for text in texts:
                matched.update(match.group() for match in compiled.finditer(text, timeout=PATTERN_SECONDS) if match.group())
        except (regex.error, TimeoutError) as error:
            raise MiniragError(f"the answer pattern '{one}' cannot be searched for ({error}); correct it") from None
    return [" ".join(answer.split()) for answer, _ in matched.most_common(1)]


def _spelled(patterns: Sequence[str]) -> list[str]:
    return [text for one in patterns for text in spellings(one)]


class _Pattern:
    """A regular expression, read from the left; `rest` is what is not yet read."""

    def __init__(self, text: str) -> None:
        self.rest = text

    def alternatives(self) -> list[str]:
        """`a|b|c`, up to the end or a closing bracket."""
        found = self._sequence()
        while self.rest.startswith("|"):
            self.rest = self.rest[1:]
            found += self._sequence()
        return found[:MOST_SPELLINGS]

    def _sequence(self) -> list[str]:
        found = [""]
        while self.rest and self.rest[0] not in "|)":
            piece = self._counted(self._piece())
            found = ["".join(both) for both in itertools.islice(itertools.product(found, piece), MOST_SPELLINGS)]
        return found

    def _piece(self) -> list[str]:
        if look := regex.match(r"\(\?<?[=!]", self.rest):  # it looks, and takes no part in what is matched
            self._group(look.end())
            return [""]
        if group := regex.match(r"\((\?:|\?P<\w+>)?", self.rest):
            return self._group(group.end())
        if several := regex.match(r"\.|\\[sSdDwW]|\[\^?\]?(\\.|[^\]])*\]", self.rest):
            self.rest = self.rest[several.end() :]
            return [" "]
        if nothing := regex.match(r"\\[bBAZ]|[\^$]", self.rest):
            self.rest = self.rest[nothing.end() :]
            return [""]
        escaped = len(self.rest) > 1 and self.rest[0] == "\\"
        char, self.rest = self.rest[escaped], self.rest[1 + escaped :]
        return [char]

    def _group(self, begins: int) -> list[str]:
        self.rest = self.rest[begins:]
        found = self.alternatives()
        if not self.rest.startswith(")"):
            raise MiniragError("an answer pattern has a bracket that does not close; correct it in the question file")
        self.rest = self.rest[1:]
        return found

    def _counted(self, piece: list[str]) -> list[str]:
        """The piece under the quantifier that follows, if one does: once, and not at all where that may be."""
        counted = regex.match(r"(\?|\*|\+|\{(\d*),?\d*\})[?+]?", self.rest)
        if not counted:
            return piece
        self.rest = self.rest[counted.end() :]
        if counted[1].startswith("{"):
            times = min(int(counted[2] or 0), MOST_SPELLINGS)
            return [one * max(times, 1) for one in piece] + ([""] if times == 0 else [])
        return piece if counted[1] == "+" else [*piece, ""]
