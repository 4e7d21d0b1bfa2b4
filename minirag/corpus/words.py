"""Words in text as DPR's evaluation sees them: runs of letters, digits and marks, or single other signs, in any case."""

import html
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import regex

TOKEN = regex.compile(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]")


def pieces(text: str, phrases: Sequence[str]) -> list[tuple[str, bool]]:
    """`text` (NFD) in pieces, each with whether it is one of the phrases: their tokens side by side, whatever their case.

    >>> pieces("Rome & Paris, Parisians", ["paris"])
    [('Rome & ', False), ('Paris', True), (', Parisians', False)]
    """
    text = unicodedata.normalize("NFD", text)
    runs = [TOKEN.findall(unicodedata.normalize("NFD", phrase)) for phrase in phrases]
    patterns = [_side_by_side(tokens) for tokens in sorted(runs, key=len, reverse=True) if tokens]
    if not patterns:
        return [(text, False)]
    # A token that is a word must not go on as a longer word; one that is a sign may.
    whole = regex.compile(rf"(?<![\p{{L}}\p{{N}}\p{{M}}](?=[\p{{L}}\p{{N}}\p{{M}}]))(?:{'|'.join(patterns)})"
                          r"(?!(?<=[\p{L}\p{N}\p{M}])[\p{L}\p{N}\p{M}])", regex.IGNORECASE)  # fmt: skip
    found, end = [], 0
    for match in whole.finditer(text):
        found += [(text[end : match.start()], False), (match[0], True)]
        end = match.end()
    return [piece for piece in [*found, (text[end:], False)] if piece[0]]


@lru_cache(maxsize=1 << 16)
def pattern(phrase: str) -> re.Pattern[str]:
    """Finds a phrase as it is written, in any case, where no word goes on before or behind it.

    >>> pattern("New York").search("In new York, not New Yorker")[0]
    'new York'
    """
    return re.compile(rf"(?<!\w){re.escape(phrase)}(?!\w)", re.IGNORECASE)


def marked(text: str, phrases: Sequence[str]) -> str:
    """`text` as HTML, with `<mark>` around the phrases.

    >>> marked("Rome & Paris", ["paris"])
    'Rome &amp; <mark>Paris</mark>'
    """
    return "".join(f"<mark>{escape(piece)}</mark>" if found else escape(piece) for piece, found in pieces(text, phrases))


def escape(text: object) -> str:
    """Anything as text of an HTML page."""
    return html.escape(unicodedata.normalize("NFC", str(text)), quote=True)


def _side_by_side(tokens: list[str]) -> str:
    """A pattern of tokens with nothing but white space and control characters between them: some between two words."""
    words = [regex.match(r"[\p{L}\p{N}\p{M}]", token) is not None for token in tokens]
    joined = str(regex.escape(tokens[0]))
    for token, both in zip(tokens[1:], map(all, pairwise(words)), strict=True):
        joined += (r"[\p{Z}\p{C}]+" if both else r"[\p{Z}\p{C}]*") + regex.escape(token)
    return joined
