"""An exercise of notebook 06: hard negatives are mined from what a search finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minirag.corpus.passages import Passage
from minirag.tasks.metrics import has_answer
from minirag.teaching.checks.exercise import Args, Exercise, Mistake


@dataclass(frozen=True)
class _HasAnswer:
    """DPR's check, as a case hands it to the student's function."""

    def __call__(self, text: str, answers: list[str]) -> bool:
        return has_answer(text, answers)

    def __repr__(self) -> str:
        return "minirag.tasks.metrics.has_answer"


_ANSWERS = (["1685"], ["Johann Bach", "J. S. Bach"], ["two"])
_TEXTS = (
    "He was born in 1685.",
    "Number 16850 is no year.",
    "Nobody knows when.",
    "A work by J. S. Bach.",
    "Johann Bach wrote two.",
    "Networks are older.",
    "They were twofold.",
)
_TITLES = ("Bach", "1685", "Johann Bach", "Two", "Organ")


def _some_found(rng: np.random.Generator, size: int) -> Args:
    """Passages as a search found them, whose ids do not follow that order; answers, ids of positives, and how many to keep."""
    ids = [str(each) for each in rng.permutation(size + 3)]
    found = [Passage(id, _TITLES[rng.integers(len(_TITLES))], _TEXTS[rng.integers(len(_TEXTS))]) for id in ids]
    positives = [ids[each] for each in rng.integers(len(ids), size=2)]
    return found, list(_ANSWERS[rng.integers(len(_ANSWERS))]), positives, int(rng.integers(size + 2)), _HasAnswer()


Wrong = Callable[[Passage, list[str], list[str], Callable[..., bool]], bool]  # is it a hard negative?


def _is_wrong(passage: Passage, answers: list[str], positives: list[str], holds: Callable[..., bool]) -> bool:
    return passage.id not in positives and not holds(passage.text, answers)


def _mined(wrong: Wrong = _is_wrong, order: Callable[[list[Any]], list[Any]] = list, early: bool = False) -> Callable[..., Any]:
    """The exercise, or with one of its parts exchanged the exercise with a mistake. `early`: cut before it is looked into."""

    def function(
        found: list[Passage], answers: list[str], positives: list[str], keep: int, has_answer: Callable[..., bool]
    ) -> list[Passage]:
        return order([z for z in (found[:keep] if early else found) if wrong(z, answers, positives, has_answer)])[:keep]

    return function


def _up_to_an_answer(
    found: list[Passage], answers: list[str], positives: list[str], keep: int, has_answer: Callable[..., bool]
) -> list[Passage]:
    """The search ends at the first passage that is none."""
    places = [place for place, z in enumerate(found) if not _is_wrong(z, answers, positives, has_answer)]
    return found[: min([*places, keep])]


_FOUND = [
    Passage("4", "Bach", "He was born in 1685."),
    Passage("9", "Bach", "He had sons."),
    Passage("2", "1685", "A year of three composers."),
    Passage("7", "Room", "It is number 16850."),
    Passage("1", "Handel", "Born in 1685, too."),
    Passage("3", "Organ", "It has pipes."),
]

check_mine = Exercise(
    number="6.3",
    name="mine_negatives",
    title="Mining hard negatives",
    stars=2,
    minutes=10,
    points=4,
    reference=_mined(),
    by_hand=(
        ((_FOUND, ["1685"], ["9"], 9, _HasAnswer()), [_FOUND[2], _FOUND[3], _FOUND[5]]),
        ((_FOUND, ["1685"], ["9"], 2, _HasAnswer()), [_FOUND[2], _FOUND[3]]),
        ((_FOUND, ["pipes", "sons"], ["4"], 2, _HasAnswer()), [_FOUND[2], _FOUND[3]]),
    ),
    draw=_some_found,
    mistakes=(
        Mistake(
            "passages with an answer kept",
            "Some of these hold an answer: as negatives they teach the encoder to avoid what is right.",
            _mined(lambda passage, answers, positives, holds: passage.id not in positives),
        ),
        Mistake(
            "positives kept",
            "A positive is among the negatives. It need not hold an answer word for word; leave it out by its id.",
            _mined(lambda passage, answers, positives, holds: not holds(passage.text, answers)),
        ),
        Mistake(
            "cut too early",
            "You look at the first `keep` passages alone. Skip first, then keep: the list is to be filled from further down.",
            _mined(early=True),
        ),
        Mistake(
            "more than asked for",
            "At most `keep` negatives are asked for.",
            lambda found, answers, positives, keep, holds: _mined()(found, answers, positives, len(found), holds),
        ),
        Mistake(
            "order lost",
            "The hardest come first: keep the order in which they were found.",
            _mined(order=lambda some: sorted(some, key=lambda z: int(z.id))),
        ),
        Mistake(
            "titles searched too",
            "An answer in the title alone does not make a passage right: DPR's check looks into the text.",
            _mined(lambda z, answers, positives, holds: z.id not in positives and not holds(f"{z.title} {z.text}", answers)),
        ),
        Mistake(
            "the first answer alone",
            "A question may have several right answers, and a passage with any of them is no negative.",
            _mined(lambda z, answers, positives, holds: z.id not in positives and not holds(z.text, answers[:1])),
        ),
        Mistake(
            "answers as parts of words",
            "1685 is not in 16850: answers are compared token by token. Use the has_answer you were given.",
            _mined(lambda z, answers, positives, holds: z.id not in positives and not any(a in z.text for a in answers)),
        ),
        Mistake(
            "stopped at the first one skipped",
            "A passage that holds an answer is skipped, and the search goes on behind it.",
            _up_to_an_answer,
        ),
    ),
    hint="Go through what was found in its order; skip positives (by id) and texts that hold an answer; stop at `keep`.",
)
