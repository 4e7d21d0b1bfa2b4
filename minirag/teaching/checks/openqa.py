"""Exercises of notebook 11, of one question: exact match's normal form, and whether a passage holds an answer.

Over a whole test set: `testsets.py`.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
import regex

from minirag.corpus.words import TOKEN
from minirag.tasks.metrics import decomposed, has_answer, normalize_answer
from minirag.teaching.checks.exercise import Args, Exercise, Mistake

_WORDS = (
    "the",
    "The",
    "a",
    "An",
    "theory",
    "Banana",
    "Orléans",
    "New-York",
    "U.S.A.",
    "4.8",
    "C++",
    "1980’s",
    '"The',
    "(band)",
)


def _text(rng: np.random.Generator, size: int) -> Args:
    """Some words and gaps between them, and whether accents are to be taken off their letters first."""
    words = [str(rng.choice(_WORDS)) for _ in range(1 + size // 3)]
    return "".join(word + " " * int(rng.integers(1, 4)) for word in words), bool(rng.integers(2))


def _normal(text: str, nfd: bool) -> str:
    return normalize_answer(decomposed(text) if nfd else text)


def _bare(text: str, between: str = "") -> str:
    return "".join(between if char in string.punctuation else char for char in text)


def _no_articles(text: str) -> str:
    return " ".join(word for word in text.split() if word not in ("a", "an", "the"))


def _form(text: str, nfd: bool) -> str:
    return decomposed(text) if nfd else text


def _articles_first(text: str, nfd: bool) -> str:
    without = regex.sub(r"\b(a|an|the)\b", " ", _form(text, nfd).lower())
    return " ".join(_bare(without).split())


def _within_words(text: str, nfd: bool) -> str:
    bare = _bare(_form(text, nfd).lower())
    for article in ("the", "an", "a"):
        bare = bare.replace(article, "")
    return " ".join(bare.split())


def _no_accents(text: str, nfd: bool) -> str:
    return "".join(char for char in _normal(text, nfd) if not (nfd and unicodedata.combining(char)))


check_normal_form = Exercise(
    number="11.1",
    name="normal_form",
    title="Exact match's normal form",
    stars=1,
    minutes=12,
    points=4,
    reference=_normal,
    by_hand=(
        (("The  Beatles!", False), "beatles"),
        (("New-York", False), "newyork"),
        (("the U.S.A. ", False), "usa"),
        (('Theory of "An" ant', False), "theory of ant"),
        (("Orléans", False), "orléans"),
        (("Orléans", True), "orle\u0301ans"),
        (("1980’s", True), "1980’s"),
        (("Rock  and  Roll", False), "rock and roll"),
    ),
    draw=_text,
    mistakes=(
        Mistake(
            "case kept",
            "Capitals stay here, and people write as they like: lower case first.",
            lambda text, nfd: " ".join(
                word for word in _bare(_form(text, nfd)).split() if word.lower() not in ("a", "an", "the")
            ),
        ),
        Mistake(
            "articles kept",
            "The words a, an and the are to go: nobody is wrong for having said one.",
            lambda text, nfd: " ".join(_bare(_form(text, nfd).lower()).split()),
        ),
        Mistake(
            "articles inside of words",
            "Articles were cut out of longer words. Only whole words count: split, and leave out those that are an article.",
            _within_words,
        ),
        Mistake(
            "articles before punctuation",
            "Articles went first, and so the a of U.S.A. was one. Take punctuation out before you look for articles.",
            _articles_first,
        ),
        Mistake(
            "a blank for punctuation",
            "Punctuation is removed, and nothing takes its place: U.S.A. becomes usa, and New-York becomes newyork.",
            lambda text, nfd: _no_articles(_bare(_form(text, nfd).lower(), " ")),
        ),
        Mistake(
            "punctuation kept",
            "The signs of `string.punctuation` are to go.",
            lambda text, nfd: _no_articles(_form(text, nfd).lower()),
        ),
        Mistake(
            "blanks kept",
            "One blank between two words, and none at the ends: `' '.join(text.split())` does both.",
            lambda text, nfd: regex.sub(r"\b(a|an|the)\b", "", _bare(_form(text, nfd).lower())),
        ),
        Mistake(
            "accents taken away",
            "NFD takes an accent off its letter, and it stands behind it as a character of its own. It is not removed.",
            _no_accents,
        ),
        Mistake(
            "never decomposed",
            "`nfd` asks for Unicode's decomposed form first: `unicodedata.normalize('NFD', text)`.",
            lambda text, nfd: normalize_answer(text),
        ),
        Mistake(
            "always decomposed",
            "SQuAD's script does not decompose; do it only where `nfd` is true.",
            lambda text, nfd: normalize_answer(decomposed(text)),
        ),
    ),
    hint="In this order: NFD if asked for, lower case, punctuation out, split into words, articles out, one blank between.",
)

_PLACES = ("New York", "Orléans", "U.S.", "1912", "Rome", "Orle\u0301ans", "Mary Shelley", "Mount Apo")
_PIECES: tuple[Callable[[str, str], str], ...] = (  # how an answer stands in a text, or nearly; of it and another one
    lambda own, other: f"He went to {own}, and stayed.",
    lambda own, other: f"{own.upper()}! {other} {own.swapcase()}",
    lambda own, other: f"Pre{own.lower()}s of {other}",
    lambda own, other: " lies by ".join(reversed(own.split(" "))),
    lambda own, other: f"{own.split(' ')[0]}, then {own.split(' ')[-1]}",
    lambda own, other: unicodedata.normalize("NFC", own).join("()"),
    lambda own, other: decomposed(own) + "?",
    lambda own, other: f"{other} and {own.split(' ')[-1]}",
)


def _passage(rng: np.random.Generator, size: int) -> Args:
    """A text that is made of an answer, near to it or of none; in every fourth case one of the answers has no token."""
    own, other = (_PLACES[i] for i in rng.permutation(len(_PLACES))[:2])
    answers = [own, *([""] if size % 4 == 0 else []), *(["Atlantis"] if size % 3 == 0 else [])]
    text = " ".join(
        _PIECES[(size + more * int(rng.integers(1, 8))) % len(_PIECES)](own, other) for more in range(1 + size // 20)
    )
    return text, [answers[i] for i in rng.permutation(len(answers))]


def _tokens(text: str) -> list[str]:
    return [token.lower() for token in TOKEN.findall(decomposed(text))]


def _runs(text: Sequence[str], answers: Sequence[Sequence[str]]) -> bool:
    """Whether one of the answers (tokens) stands in the text (tokens) side by side."""
    starts = range(len(text))
    return any(answer and any(list(text[i : i + len(answer)]) == list(answer) for i in starts) for answer in answers)


check_holds_answer = Exercise(
    number="11.2",
    name="holds_answer",
    title="Does a passage hold an answer?",
    stars=2,
    minutes=20,
    points=5,
    reference=has_answer,
    by_hand=(
        (("He moved to New York.", ["new york"]), True),
        (("The Romans had left.", ["Rome", "Roman"]), False),
        (("A new bridge.", ["New York"]), False),
        (("York is new to him.", ["New York"]), False),
        (("NEW YORK", ["Boston", "New York"]), True),
        (("Joan reached Orle\u0301ans.", ["Orléans"]), True),
        (("A new bridge in York.", ["New York"]), False),
        (("Nothing at all.", [""]), False),
        (("The fleet of Portugal, in 1498", ["Portugal"]), True),
    ),
    draw=_passage,
    mistakes=(
        Mistake(
            "a part of a word",
            "Characters were compared, so that Rome is found in Romeo. Compare tokens: whole words and single signs.",
            lambda text, answers: any(answer and decomposed(answer).lower() in decomposed(text).lower() for answer in answers),
        ),
        Mistake(
            "case counts",
            "New York and NEW YORK are the same answer: bring the tokens of both to lower case.",
            lambda text, answers: _runs(TOKEN.findall(decomposed(text)), [TOKEN.findall(decomposed(a)) for a in answers]),
        ),
        Mistake(
            "two spellings of one letter",
            "An é may be one character or two. Bring the text and the answers to the decomposed form (NFD) before anything.",
            lambda text, answers: _runs(
                [token.lower() for token in TOKEN.findall(text)], [[t.lower() for t in TOKEN.findall(a)] for a in answers]
            ),
        ),
        Mistake(
            "not side by side",
            "All tokens are there, but apart or in another order. An answer's tokens must follow each other without a gap.",
            lambda text, answers: any(_tokens(answer) and set(_tokens(answer)) <= set(_tokens(text)) for answer in answers),
        ),
        Mistake(
            "any of its words",
            "One token of the answer was enough here; all of them are needed, side by side.",
            lambda text, answers: any(set(_tokens(answer)) & set(_tokens(text)) for answer in answers),
        ),
        Mistake(
            "split at blanks",
            "`split` leaves signs at words, and 'York.' is not 'York'. Take tokens: `TOKEN.findall`.",
            lambda text, answers: _runs(decomposed(text).lower().split(), [decomposed(a).lower().split() for a in answers]),
        ),
        Mistake(
            "the first answer alone",
            "Only one of the answers was looked for; any of them counts.",
            lambda text, answers: has_answer(text, answers[:1]),
        ),
        Mistake(
            "every answer wanted",
            "One of the answers is enough: any, not all.",
            lambda text, answers: all(has_answer(text, [answer]) for answer in answers),
        ),
        Mistake(
            "nothing is found everywhere",
            "An answer without a token stands in no text; an empty list is a part of every list, so ask for it by itself.",
            lambda text, answers: has_answer(text, answers) or any(not _tokens(answer) for answer in answers),
        ),
    ),
    hint="Tokens of the NFD form in lower case, of both; then: is one of the answers a run of tokens of the text?",
)
