"""An exercise of notebook 06: inverse cloze, a question out of nothing but text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from minirag.corpus.miniwiki.prose import sentences
from minirag.corpus.passages import Passage
from minirag.teaching.checks.exercise import Args, Exercise, Mistake


@dataclass(frozen=True)
class _Sentences:
    """The package's splitter, as a case hands it to the student's function."""

    def __call__(self, text: str) -> list[str]:
        return sentences(text)

    def __repr__(self) -> str:
        return "minirag.corpus.miniwiki.prose.sentences"


_SAID = ("He was born in Bonn.", "He died in 1827.", "Did he hear it?", "Nobody knows.")


def _some_passage(rng: np.random.Generator, size: int) -> Args:
    """A passage of one to five sentences, some of them said twice; the place of the question, and whether it stays."""
    said = [_SAID[each] for each in rng.integers(len(_SAID), size=1 + size % 5)]
    passage = Passage(str(size), "Beethoven", " ".join(said))
    return passage, int(rng.integers(len(said))), bool(rng.random() < 0.3), _Sentences()


Rest = Callable[[list[str], int], Sequence[str]]  # what is left of the sentences without the one at a place


def _cloze(
    rest: Rest = lambda parts, place: parts[:place] + parts[place + 1 :],
    stays: Callable[[bool, int], bool] = lambda keep, count: keep or count == 1,
    title: bool = True,
) -> Callable[..., tuple[str, Passage]]:
    """The exercise, or with one of its parts exchanged the exercise with a mistake."""

    def function(passage: Passage, place: int, keep: bool, sentences: Callable[[str], list[str]]) -> tuple[str, Passage]:
        parts = sentences(passage.text)
        text = " ".join(parts if stays(keep, len(parts)) else rest(parts, place))
        return parts[place], Passage(passage.id, passage.title if title else "", text)

    return function


_BONN = Passage("5", "Beethoven", "He was born in Bonn. He died in 1827. He was born in Bonn.")
_SHORT = Passage("5", "Beethoven", "He was born in Bonn. He died in 1827.")
_ONE = Passage("6", "Beethoven", "He was born in Bonn.")

check_inverse_cloze = Exercise(
    number="6.4",
    name="cloze_pair",
    title="Inverse cloze",
    stars=2,
    minutes=10,
    points=4,
    reference=_cloze(),
    by_hand=(
        (
            (_BONN, 1, False, _Sentences()),
            ("He died in 1827.", Passage("5", "Beethoven", "He was born in Bonn. He was born in Bonn.")),
        ),
        (
            (_BONN, 0, False, _Sentences()),
            ("He was born in Bonn.", Passage("5", "Beethoven", "He died in 1827. He was born in Bonn.")),
        ),
        ((_BONN, 2, False, _Sentences()), ("He was born in Bonn.", _SHORT)),
        ((_BONN, 2, True, _Sentences()), ("He was born in Bonn.", _BONN)),
        ((_ONE, 0, False, _Sentences()), ("He was born in Bonn.", _ONE)),
    ),
    draw=_some_passage,
    mistakes=(
        Mistake(
            "sentence always left in",
            "The question still stands in its passage: matching words is all there is to learn. Take it out, unless `keep`.",
            _cloze(stays=lambda keep, count: True),
        ),
        Mistake(
            "sentence never left in",
            "With `keep` the sentence stays, so that matching words is learnt, too.",
            _cloze(stays=lambda keep, count: count == 1),
        ),
        Mistake(
            "keep the wrong way round",
            "`keep` means that the sentence stays; you take it out just then.",
            _cloze(stays=lambda keep, count: not keep or count == 1),
        ),
        Mistake(
            "every copy taken out",
            "A sentence said twice is gone twice: take out the one at this place, not all that are equal.",
            _cloze(rest=lambda parts, place: [each for each in parts if each != parts[place]]),
        ),
        Mistake(
            "the first copy taken out",
            "A sentence said twice: you take out the first that is equal. The one at this place is meant.",
            _cloze(rest=lambda parts, place: parts[: (first := parts.index(parts[place]))] + parts[first + 1 :]),
        ),
        Mistake(
            "an empty passage",
            "A passage of one sentence would be left without any; there the sentence stays.",
            _cloze(stays=lambda keep, count: keep),
        ),
        Mistake(
            "title lost",
            "The passage keeps its title (and its id); often only the title says what its sentences are about.",
            _cloze(title=False),
        ),
        Mistake(
            "only what follows",
            "What stands before the sentence belongs to the passage, too.",
            _cloze(rest=lambda parts, place: parts[place + 1 :]),
        ),
        Mistake(
            "joined without a space",
            "Sentences are joined by single spaces again.",
            lambda passage, place, keep, sentences: (
                sentences(passage.text)[place],
                Passage(
                    passage.id,
                    passage.title,
                    _cloze()(passage, place, keep, sentences)[1].text.replace(". ", ".").replace("? ", "?"),
                ),
            ),
        ),
    ),
    hint="Split the text; the sentence at `place` is the question; the others, joined by spaces, are the passage's new text.",
)
