"""Exercises of notebook 13: answerability, how varied generated texts are, and a tally of blinded judgements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from minirag.teaching.checks.exercise import Args, Exercise, Mistake

KINDS = ("entities", "asking", "content", "function")
WEIGHTS = (0.6, 0.2, 0.1, 0.1)
DELTA = 0.7


def _shares(rng: np.random.Generator, size: int) -> Args:
    """Precision and recall of each kind of word, some of them 0, and BLEU-1."""
    p, r = (np.round(rng.random(4), 2) for _ in range(2))
    p[rng.random(4) < 0.2] = 0.0
    return [float(x) for x in p], [float(x) for x in r], round(float(rng.random()), 2)


def _q_bleu(
    precision: Sequence[float],
    recall: Sequence[float],
    bleu: float,
    weights: Sequence[float] = WEIGHTS,
    delta: float = DELTA,
    mean: bool = False,
) -> float:
    pairs = zip(precision, recall, strict=True)
    f = [(p + r) / 2 if mean else (2 * p * r / (p + r) if p + r else 0.0) for p, r in pairs]
    return delta * sum(w * each for w, each in zip(weights, f, strict=True)) + (1 - delta) * bleu


check_q_bleu = Exercise(
    number="13.1",
    name="q_bleu",
    title="Q-BLEU from its parts",
    stars=1,
    minutes=10,
    points=3,
    reference=_q_bleu,
    by_hand=(
        (([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], 1.0), 1.0),
        # F: 0, 1, 1/2, 1: 0.7 · (0.2 + 0.05 + 0.1) + 0.3 · 0.8
        (([0.0, 1.0, 0.5, 1.0], [0.0, 1.0, 0.5, 1.0], 0.8), 0.485),
        (([1.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0], 0.0), 0.28),
    ),
    draw=_shares,
    mistakes=(
        Mistake(
            "arithmetic mean",
            "F is the harmonic mean 2 P R / (P + R), which is low where one of the two is.",
            lambda p, r, bleu: _q_bleu(p, r, bleu, mean=True),
        ),
        Mistake(
            "equal weights",
            "The kinds of words have weights: 0.6, 0.2, 0.1, 0.1 in the order of entities, asking, content, function.",
            lambda p, r, bleu: _q_bleu(p, r, bleu, weights=(0.25,) * 4),
        ),
        Mistake("δ for BLEU", "δ = 0.7 is answerability's part.", lambda p, r, bleu: _q_bleu(p, r, bleu, delta=1 - DELTA)),
        Mistake("BLEU forgotten", "BLEU-1 is missing: (1 − δ) of it is added.", lambda p, r, bleu: _q_bleu(p, r, 0.0)),
        Mistake(
            "precision alone",
            "F of precision and recall is asked for; this is precision alone.",
            lambda p, r, bleu: _q_bleu(p, p, bleu),
        ),
        Mistake(
            "not added up with δ", "Both parts are weighed: δ and 1 − δ.", lambda p, r, bleu: _q_bleu(p, r, 0.0, delta=1) + bleu
        ),
    ),
    hint="F = 2PR/(P + R), 0 where both are 0; 0.7 · Σ weight · F + 0.3 · BLEU-1.",
)


def _texts(rng: np.random.Generator, size: int) -> Args:
    texts = [[f"w{i}" for i in rng.integers(3, size=int(rng.integers(1, 6)))] for _ in range(1 + size)]
    return [["w0", "w1", "w0", "w1"], ["w0", "w1", "w2"], *texts], 1 + size % 3


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def _distinct(texts: Sequence[Sequence[str]], n: int) -> float:
    grams = [gram for words in texts for gram in _grams(words, n)]
    return len(set(grams)) / len(grams)


check_distinct = Exercise(
    number="13.2",
    name="distinct",
    title="Distinct n-grams",
    stars=1,
    minutes=10,
    points=3,
    reference=_distinct,
    by_hand=(
        (([["a", "b", "a", "b"]], 2), 2 / 3),
        (([["a", "b"], ["a", "b"]], 1), 0.5),
        (([["a"], ["a", "b", "c"]], 2), 1.0),
    ),
    draw=_texts,
    mistakes=(
        Mistake(
            "mean over texts",
            "Texts that all say the same are not varied: count distinct n-grams over all texts together.",
            lambda texts, n: float(np.mean([_distinct([words], n) for words in texts if len(words) >= n])),
        ),
        Mistake(
            "divided by words",
            "Divide by the number of n-grams, which is not the number of words.",
            lambda texts, n: len({gram for words in texts for gram in _grams(words, n)}) / sum(map(len, texts)),
        ),
        Mistake("single words", "n is not used: these are single words.", lambda texts, n: _distinct(texts, 1)),
        Mistake(
            "across texts",
            "An n-gram does not reach from the end of one text into the next.",
            lambda texts, n: _distinct([[word for words in texts for word in words]], n),
        ),
        Mistake(
            "number of n-grams",
            "The share of all n-grams is asked for, not their number.",
            lambda texts, n: len({gram for words in texts for gram in _grams(words, n)}),
        ),
    ),
    hint="All n-grams of each text in one list; how many different ones, over how many.",
)

VERDICTS = ("A", "B", "both", "neither")


def _judged(rng: np.random.Generator, size: int) -> Args:
    verdicts = {str(i): str(rng.choice(VERDICTS)) for i in range(size)}
    key = {str(i): ("RAG", "BART") if rng.random() < 0.5 else ("BART", "RAG") for i in range(size)}
    fixed = {"a": ("A", ("BART", "RAG")), "b": ("A", ("RAG", "BART")), "c": ("B", ("BART", "RAG"))}
    fixed |= {"d": ("both", ("RAG", "BART")), "e": ("neither", ("RAG", "BART")), "f": ("B", ("BART", "RAG"))}
    verdicts |= {id: verdict for id, (verdict, _) in fixed.items()}
    return verdicts, key | {id: pair for id, (_, pair) in fixed.items()}


def _tally(verdicts: Mapping[str, str], key: Mapping[str, tuple[str, str]]) -> dict[str, float]:
    names = [key[id]["AB".index(said)] if said in "AB" else said for id, said in verdicts.items()]
    return {name: names.count(name) / len(names) for name in ("RAG", "BART", "both", "neither")}


def _blind(verdicts: Mapping[str, str], key: Mapping[str, tuple[str, str]]) -> dict[str, float]:
    return _tally(verdicts, dict.fromkeys(key, ("RAG", "BART")))


def _without_neither(verdicts: Mapping[str, str], key: Mapping[str, tuple[str, str]]) -> dict[str, float]:
    decided = {id: said for id, said in verdicts.items() if said != "neither"}
    return _tally(decided, key)


def _both_for_each(verdicts: Mapping[str, str], key: Mapping[str, tuple[str, str]]) -> dict[str, float]:
    own = _tally(verdicts, key)
    return own | {name: own[name] + own["both"] for name in ("RAG", "BART")}


def _turned(verdicts: Mapping[str, str], key: Mapping[str, tuple[str, str]]) -> dict[str, float]:
    return _tally(verdicts, {id: pair[::-1] for id, pair in key.items()})


check_tally = Exercise(
    number="13.3",
    name="tally",
    title="A tally of blinded judgements",
    stars=2,
    minutes=15,
    points=4,
    reference=_tally,
    by_hand=(
        (
            (
                {"1": "A", "2": "A", "3": "both", "4": "neither"},
                {
                    str(i): pair
                    for i, pair in enumerate([("RAG", "BART"), ("BART", "RAG"), ("RAG", "BART"), ("RAG", "BART")], 1)
                },
            ),
            {"RAG": 0.25, "BART": 0.25, "both": 0.25, "neither": 0.25},
        ),
        (
            ({"1": "B", "2": "B"}, {"1": ("BART", "RAG"), "2": ("BART", "RAG")}),
            {"RAG": 1.0, "BART": 0.0, "both": 0.0, "neither": 0.0},
        ),
    ),
    draw=_judged,
    mistakes=(
        Mistake("key not used", "A is not the same system in every pair: look into the key who it was.", _blind),
        Mistake("key the wrong way", "The key's first name is A, its second is B.", _turned),
        Mistake("neither dropped", "Pairs in which neither was better count below the line, too.", _without_neither),
        Mistake("both for each", "A pair judged “both” counts as “both”, and not for either system besides.", _both_for_each),
        Mistake(
            "counts",
            "Shares of all judged pairs are asked for, not counts.",
            lambda verdicts, key: {name: share * len(verdicts) for name, share in _tally(verdicts, key).items()},
        ),
    ),
    hint="Turn each A or B into the system that it was by the key, then count the four names and divide by all.",
)
