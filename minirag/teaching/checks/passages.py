"""Exercises of notebook 01: passages of n words, and text without wiki links."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from minirag.teaching.checks.exercise import Args, Exercise, Mistake


def _article(rng: np.random.Generator, size: int) -> Args:
    """Words, and how many a passage has: with and without a rest."""
    n = 2 + int(rng.integers(5))
    return [f"w{i}" for i in range(n * (1 + size // 4) + (size % 3 > 0) * (1 + int(rng.integers(n - 1))))], n


def _split(words: Sequence[str], n: int) -> list[list[str]]:
    return [list(words[start : start + n]) for start in range(0, len(words), n)]


check_split_words = Exercise(
    number="1.1",
    name="split_words",
    title="Finish the splitter",
    stars=1,
    minutes=10,
    points=3,
    reference=_split,
    by_hand=(
        ((["to", "be", "or", "not", "to"], 2), [["to", "be"], ["or", "not"], ["to"]]),
        ((["a", "b"], 2), [["a", "b"]]),
        (([], 3), []),
    ),
    draw=_article,
    mistakes=(
        Mistake(
            "the rest is lost",
            "The last words are a passage too, though a shorter one.",
            lambda words, n: [each for each in _split(words, n) if len(each) == n],
        ),
        Mistake(
            "passages overlap",
            "Each word belongs to one passage: the next one begins n words further on, not one.",
            lambda words, n: [list(words[start : start + n]) for start in range(len(words))],
        ),
        Mistake(
            "one word too many",
            "A slice `words[i : i + n]` has n words already; here there is one more in each passage.",
            lambda words, n: [list(words[start : start + n + 1]) for start in range(0, len(words), n)],
        ),
        Mistake(
            "an empty passage at the end",
            "Where nothing is left there is no passage.",
            lambda words, n: [*_split(words, n), []] if len(words) % n == 0 else _split(words, n),
        ),
        Mistake(
            "the rest filled up",
            "The last passage is not filled with the words before it, nor with anything else: it is shorter.",
            lambda words, n: [list(words[min(i, max(len(words) - n, 0)) :][:n]) for i in range(0, len(words), n)],
        ),
    ),
    hint="Begin at 0, n, 2n, …, as long as there are words, and take up to n words each time.",
)

_MARKUP = (
    "[[Nile|the river]]",
    "[[Nile]]",
    "[[File:map.png|thumb|a map]]",
    "flows",
    "[1]",
    "[[Po (river)|Po]]",
    "north.",
    "[[Blue Nile]]s",
)


def _markup(rng: np.random.Generator, size: int) -> Args:
    return (
        " ".join(["[[Nile|It]] meets [[Cairo]]"] + [str(each) for each in rng.choice(_MARKUP, size)] + ["[[File:x.png]] end"]),
    )


def _plain(text: str, shown: str = r"\2", bare: str = r"\1", file: str = "") -> str:
    text = re.sub(r"\[\[File:[^\]]*\]\]", file or "", text) if file != "keep" else text
    text = re.sub(r"\[\[([^\]|]*)\|([^\]]*)\]\]", shown, text)
    return re.sub(r"\[\[([^\]]*)\]\]", bare, text)


check_plain_links = Exercise(
    number="1.2",
    name="plain_links",
    title="Links as they are read",
    stars=2,
    minutes=15,
    points=4,
    reference=_plain,
    by_hand=(
        (("The [[Nile|river]] in [[Cairo]].",), "The river in Cairo."),
        (("A [[File:map.png|thumb|a map]]map [1].",), "A map [1]."),
        (("[[Blue Nile]]s and [[White Nile|white]] ones",), "Blue Niles and white ones"),
    ),
    draw=_markup,
    mistakes=(
        Mistake(
            "the target instead of the text",
            "In `[[target|text]]` the reader sees what stands behind the bar.",
            lambda text: _plain(text, shown=r"\1"),
        ),
        Mistake(
            "links taken out",
            "A link's words are part of the sentence; only the brackets go.",
            lambda text: _plain(text, "", ""),
        ),
        Mistake("files kept", "A picture, `[[File:…]]`, is no text: it goes whole.", lambda text: _plain(text, file="keep")),
        Mistake(
            "one long link",
            "A pattern with `.*` runs from the first `[[` to the last `]]`: keep it from crossing a bracket, as `[^]]*` does.",
            lambda text: re.sub(r"\[\[(?:.*\|)?(.*)\]\]", r"\1", re.sub(r"\[\[File:.*?\]\]", "", text)),
        ),
        Mistake(
            "all brackets gone",
            "Single brackets are no links.",
            lambda text: _plain(text).replace("[", "").replace("]", ""),
        ),
    ),
    hint="Three steps: files out, then `[[target|text]]` to text, then `[[text]]` to text; none may cross a `]`.",
)
