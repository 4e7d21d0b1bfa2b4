"""Exercise of notebook 09: what the decoders cost, in steps of the generator's decoder."""

from __future__ import annotations

import numpy as np

from minirag.teaching.checks.exercise import Args, Exercise, Mistake


def _decoder_steps(decoder: str, documents: int, beams: int, length: int, union: list[tuple[int, ...]]) -> int:
    search = documents * (1 + beams * (length - 1))
    return search + (documents * len(_nodes(union)) if decoder == "thorough" else 0)


def _nodes(union: list[tuple[int, ...]]) -> set[tuple[int, ...]]:
    return {hypothesis[:t] for hypothesis in union for t in range(len(hypothesis))}


def _some_bill(rng: np.random.Generator, size: int) -> Args:
    """A decoder, K, J, T, and a union of up to K·J hypotheses of T tokens."""
    documents, beams, length = (1 + int(rng.integers(2 + size // 4)) for _ in range(3))
    drawn = {tuple(rng.integers(0, 3, length).tolist()) for _ in range(documents * beams)}
    return ("thorough", "fast", "token")[size % 3], documents, beams, length, sorted(drawn)


def _searched(documents: int, beams: int, length: int) -> int:
    return documents * (1 + beams * (length - 1))


_UNION = [(0, 0, 0), (0, 0, 1), (0, 2, 1), (1, 2, 1)]  # prefixes: none; 0, 1; 00, 02, 12

check_decoder_steps = Exercise(
    number="9.4",
    name="decoder_steps",
    title="What decoding costs",
    stars=2,
    minutes=15,
    points=4,
    reference=_decoder_steps,
    by_hand=(
        (("token", 3, 2, 4, [(0, 1, 2, 3)]), 21),  # 3 · (1 + 2 · 3)
        (("fast", 3, 2, 3, _UNION), 15),
        (("thorough", 3, 2, 3, _UNION), 33),  # and 3 · 6
        (("thorough", 1, 1, 1, [(5,)]), 2),
    ),
    draw=_some_bill,
    mistakes=(
        Mistake(
            "one search for RAG-Token",
            "RAG-Token is one search, but every prefix of it is read under all K documents, or there would be nothing to mix.",
            lambda decoder, documents, beams, length, union: (
                1 + beams * (length - 1) if decoder == "token" else _decoder_steps(decoder, documents, beams, length, union)
            ),
        ),
        Mistake(
            "the start token as J beams",
            "At the first step there is one prefix, the start token: only after it there are J of them.",
            lambda decoder, documents, beams, length, union: (
                _decoder_steps(decoder, documents, beams, length, union) + documents * (beams - 1)
            ),
        ),
        Mistake(
            "the start token forgotten",
            "The decoder reads the start token too, once for each document.",
            lambda decoder, documents, beams, length, union: (
                _decoder_steps(decoder, documents, beams, length, union) - documents
            ),
        ),
        Mistake(
            "the last token read",
            "Nothing follows the last token of a hypothesis, so that nobody reads it: a search of T tokens reads the start and "
            "T − 1 more.",
            lambda decoder, documents, beams, length, union: (
                documents * (1 + beams * length) + (documents * len(_nodes(union) | set(union)) if decoder == "thorough" else 0)
            ),
        ),
        Mistake(
            "Thorough for the price of Fast",
            "Thorough searches as Fast does, and then reads all hypotheses once more, under all documents.",
            lambda decoder, documents, beams, length, union: _searched(documents, beams, length),
        ),
        Mistake(
            "scored one by one",
            "The hypotheses of the union begin alike: each of their prefixes is read once for a document, however many "
            "hypotheses go through it.",
            lambda decoder, documents, beams, length, union: (
                _searched(documents, beams, length) + (documents * len(union) * length if decoder == "thorough" else 0)
            ),
        ),
        Mistake(
            "scored under one document",
            "Every document reads every hypothesis of the union, not only its own: the scoring counts K times.",
            lambda decoder, documents, beams, length, union: (
                _searched(documents, beams, length) + (len(_nodes(union)) if decoder == "thorough" else 0)
            ),
        ),
        Mistake(
            "ends read when scored",
            "What follows a whole hypothesis is asked by nobody: count the prefixes that something follows, the empty one "
            "among them.",
            lambda decoder, documents, beams, length, union: (
                _searched(documents, beams, length)
                + (documents * len((_nodes(union) | set(union)) - {()}) if decoder == "thorough" else 0)
            ),
        ),
    ),
    hint="The search: under each document one start token, then J prefixes for each of the T − 1 tokens after the first. "
    "Thorough adds, under each document, one step for every different prefix of the union that something follows.",
)
