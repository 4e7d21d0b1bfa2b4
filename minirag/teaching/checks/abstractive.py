"""Exercises of notebook 12: BLEU-1 of a corpus and ROUGE-L, on texts that are lists of words already."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from minirag.teaching.checks.exercise import Args, Exercise, Mistake

Words = Sequence[str]
BETA = 1.2


def _words(rng: np.random.Generator, count: int, kinds: int = 4) -> list[str]:
    return [f"w{i}" for i in rng.integers(kinds, size=count)]


def _corpus(rng: np.random.Generator, size: int) -> Args:
    """Texts and references, on the whole shorter than these for odd sizes and longer for even ones."""
    count = 2 + size % 4
    short, long = (2, 6) if size % 2 else (6, 3)
    said = [_words(rng, short + int(rng.integers(3))) for _ in range(count)]
    right = [_words(rng, long + int(rng.integers(3))) for _ in range(count)]
    return [["w0", "w0", "w0", "w0"], *said], [["w0", "w1", "w2"], *right]


def _bleu(
    said: Sequence[Words], right: Sequence[Words], clipped: bool = True, brief: bool = True, other: bool = False
) -> float:
    """Corpus BLEU-1 with one reference; or without clipping, without brevity penalty, or with it the other way round."""
    hits = sum(
        (Counter(a) & Counter(b)).total() if clipped else sum(w in b for w in a) for a, b in zip(said, right, strict=True)
    )
    c, r = sum(map(len, said)), sum(map(len, right))
    penalty = min(1.0, math.exp(1 - (c / r if other else r / c))) if brief else 1.0
    return hits / c * penalty


def _recall_of_words(said: Sequence[Words], right: Sequence[Words]) -> float:
    c, r = sum(map(len, said)), sum(map(len, right))
    return _bleu(said, right, brief=False) * c / r * min(1.0, math.exp(1 - r / c))


check_bleu_1 = Exercise(
    number="12.1",
    name="bleu_1",
    title="BLEU-1 of a corpus",
    stars=2,
    minutes=20,
    points=5,
    reference=_bleu,
    by_hand=(
        # "the" counts once of three times, "cat" once: 2 of 4; c = 4 and r = 3: no penalty
        (([["the", "the", "the", "cat"]], [["the", "cat", "sat"]]), 0.5),
        (([["a", "lamp"]], [["a", "lamp", "that", "shines"]]), math.exp(-1)),
        (([["a"], ["b", "c", "d"]], [["a", "x"], ["y", "z"]]), 0.25),
    ),
    draw=_corpus,
    mistakes=(
        Mistake(
            "no clipping",
            "A word counts as often as the reference has it at most: four times “the” are not four hits.",
            lambda said, right: _bleu(said, right, clipped=False),
        ),
        Mistake(
            "no brevity penalty",
            "Short texts are not penalised: times min(1, exp(1 − r/c)).",
            lambda said, right: _bleu(said, right, brief=False),
        ),
        Mistake(
            "mean over texts",
            "This is the mean of the texts' own scores. A corpus's score adds up hits and lengths first, and divides once.",
            lambda said, right: float(np.mean([_bleu([a], [b]) for a, b in zip(said, right, strict=True)])),
        ),
        Mistake(
            "penalty the wrong way",
            "The penalty is for texts that are too short: exp(1 − r/c), r the references' length and c that of what was said.",
            lambda said, right: _bleu(said, right, other=True),
        ),
        Mistake(
            "divided by the reference",
            "BLEU is a precision: hits over the words that were said.",
            _recall_of_words,
        ),
    ),
    hint="Sum clipped hits, words said c and words of references r over all texts; hits / c · min(1, exp(1 − r/c)).",
)


def _pair(rng: np.random.Generator, size: int) -> Args:
    return _words(rng, 2 + size, 5), _words(rng, 3 + size // 2, 5)


def _common(a: Words, b: Words) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        new = [0]
        for j, other in enumerate(b):
            new.append(row[j] + 1 if word == other else max(row[j + 1], new[-1]))
        row = new
    return row[-1]


def _side_by_side(a: Words, b: Words) -> int:
    """The length of the longest run that both have."""
    runs = (
        n for n in range(min(len(a), len(b)), 0, -1) if any(list(a[i : i + n]) in _parts(b, n) for i in range(len(a) - n + 1))
    )
    return next(runs, 0)


def _parts(words: Words, n: int) -> list[list[str]]:
    return [list(words[i : i + n]) for i in range(len(words) - n + 1)]


def _f(common: int, said: Words, right: Words, beta: float = BETA) -> float:
    p, r = common / len(said), common / len(right)
    return (1 + beta**2) * p * r / (r + beta**2 * p) if common else 0.0


check_rouge_l = Exercise(
    number="12.2",
    name="rouge_l",
    title="ROUGE-L as MS MARCO has it",
    stars=2,
    minutes=25,
    points=6,
    reference=lambda said, right: _f(_common(said, right), said, right),
    by_hand=(
        # common "a lamp": P = 2/3, R = 2/4
        ((["a", "red", "lamp"], ["a", "lamp", "that", "shines"]), 2.44 * (1 / 3) / (0.5 + 1.44 * 2 / 3)),
        ((["x"], ["y"]), 0.0),
        ((["b", "a"], ["a", "b", "c"]), 2.44 * (1 / 6) / (1 / 3 + 1.44 / 2)),
    ),
    draw=_pair,
    mistakes=(
        Mistake(
            "longest common run",
            "A subsequence may leave words out; here the words had to stand side by side.",
            lambda said, right: _f(_side_by_side(said, right), said, right),
        ),
        Mistake(
            "words in any order",
            "The order counts: the longest common *subsequence*, not the words both have.",
            lambda said, right: _f((Counter(said) & Counter(right)).total(), said, right),
        ),
        Mistake("β of 1", "β is 1.2: recall counts for more.", lambda said, right: _f(_common(said, right), said, right, 1.0)),
        Mistake(
            "precision and recall exchanged",
            "P is the share of what was said, R that of the reference; they are exchanged here.",
            lambda said, right: _f(_common(said, right), right, said),
        ),
        Mistake(
            "recall alone", "F of precision and recall is asked for.", lambda said, right: _common(said, right) / len(right)
        ),
    ),
    hint="L by a table: L[i][j] is L[i−1][j−1] + 1 where words agree, else the larger neighbour; P = L/|said|, R = L/|right|.",
)
