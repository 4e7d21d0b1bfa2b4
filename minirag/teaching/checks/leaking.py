"""An exercise of notebook 11: which test questions, and which of their answers, training has told already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from minirag.tasks.metrics import normalize_answer
from minirag.teaching.checks.exercise import Args, Exercise, Mistake


@dataclass(frozen=True)
class Normal:
    """SQuAD's normal form of a text."""

    def __call__(self, text: str) -> str:
        return normalize_answer(text)

    def __repr__(self) -> str:
        return "<SQuAD's normal form of a text>"


Example = tuple[str, Sequence[str]]  # a question and its answers
Rule = Callable[[Sequence[str], set[str]], bool]  # of an example's normal forms, and those of training


def _sets(rng: np.random.Generator, size: int) -> Args:
    """Test and training examples from few words, written in many ways."""
    names = ("Rome", "New York", "York", "The Nile", "Ovid", "Mary Shelley", "Shelley", "Po")

    def text(ending: str = "") -> str:
        written = names[int(rng.integers(len(names)))] + ending
        return (written, written.upper(), f"the  {written}", f"{written}.")[int(rng.integers(4))]

    def example(number: int) -> Example:
        return text(f" {number % 4}?"), [text() for _ in range(1 + int(rng.integers(2)))]

    return [example(i) for i in range(2 + size // 2)], [example(i) for i in range(1, 2 + size // 8)], Normal()


def _rows(test: Sequence[Example], train: Sequence[Example], normal: Callable[[str], str], rule: Rule) -> list[int]:
    told = {normal(answer) for _, answers in train for answer in answers}
    return [row for row, (_, answers) in enumerate(test) if rule([normal(answer) for answer in answers], told)]


def _asked(test: Sequence[Example], train: Sequence[Example], normal: Callable[[str], str]) -> list[int]:
    asked = {normal(question) for question, _ in train}
    return [row for row, (question, _) in enumerate(test) if normal(question) in asked]


def _some(answers: Sequence[str], told: set[str]) -> bool:
    return any(answer in told for answer in answers)


def _leaks(
    test: Sequence[Example],
    train: Sequence[Example],
    normal: Callable[[str], str],
    rule: Rule = _some,
) -> tuple[list[int], list[int]]:
    return _asked(test, train, normal), _rows(test, train, normal, rule)


def _of_leaked_questions(
    test: Sequence[Example], train: Sequence[Example], normal: Callable[[str], str]
) -> tuple[list[int], list[int]]:
    asked, known = _leaks(test, train, normal)
    return asked, [row for row in known if row in asked]


_TRAIN = [("Where is the Forum?", ["Rome", "New York"])]

check_leaks = Exercise(
    number="11.5",
    name="leaks",
    title="What training has told",
    stars=1,
    minutes=15,
    points=4,
    reference=_leaks,
    by_hand=(
        (([("where is the forum", ["Athens"]), ("Who?", ["Ovid", "rome"]), ("What?", ["York"])], _TRAIN, Normal()), ([0], [1])),
        (([("Who?", ["the Rome"]), ("Where is the Forum?", ["Rome"])], _TRAIN, Normal()), ([1], [0, 1])),
        (([("Who?", ["Ovid"])], _TRAIN * 2, Normal()), ([], [])),
    ),
    draw=_sets,
    mistakes=(
        Mistake(
            "compared as written",
            "A question is the same with a capital or a full stop more: compare normal forms, of both sides.",
            lambda test, train, normal: _leaks(test, train, str),
        ),
        Mistake(
            "questions as written",
            "Answers are compared in normal form here, and questions as written; do the same for both.",
            lambda test, train, normal: (_asked(test, train, str), _leaks(test, train, normal)[1]),
        ),
        Mistake(
            "every answer wanted",
            "A test question is known as soon as one of its answers is some training answer: any, not all.",
            lambda test, train, normal: _leaks(test, train, normal, lambda answers, told: set(answers) <= told),
        ),
        Mistake(
            "the first answer alone",
            "Any of an example's answers may be the one that training has told.",
            lambda test, train, normal: _leaks(test, train, normal, lambda answers, told: answers[0] in told),
        ),
        Mistake(
            "a part of an answer",
            "York is not New York: the normal forms must be equal, not one in the other.",
            lambda test, train, normal: _leaks(
                test, train, normal, lambda answers, told: any(answer in other for answer in answers for other in told)
            ),
        ),
        Mistake(
            "answers of leaked questions alone",
            "An answer can be known by another question: look for it among all training answers, whatever was asked.",
            _of_leaked_questions,
        ),
        Mistake(
            "rows of training",
            "The rows of the *test* set are asked for: those whose score may be memory.",
            lambda test, train, normal: _leaks(train, test, normal),
        ),
        Mistake(
            "the two exchanged",
            "First the rows whose question leaked, then those whose answer did.",
            lambda test, train, normal: _leaks(test, train, normal)[::-1],
        ),
    ),
    hint="Two sets of normal forms, of training's questions and of all its answers; then go through the test examples.",
)
