"""Articles by heart, and reading without questions: a name, a number or a few long words are missing in a sentence.

Written without the passage in view, the gaps are what a closed-book model knows: "salient span masking" (Guu et al. 2020),
after which a T5 answered most by heart (Roberts et al. 2020).
"""

from collections.abc import Iterator, Sequence
from random import Random

import regex

from minirag.corpus.miniwiki.prose import sentences
from minirag.corpus.passages import Passage
from minirag.training.copying import Told

FEWEST = 5  # words that stay
# A run of capitalised words, a number with what it counts, or up to three words of five letters and more.
SALIENT = regex.compile(
    r"\p{Lu}[\p{L}\p{M}\p{N}'’-]*(?: (?:(?:of|the|de) )?\p{Lu}[\p{L}\p{M}\p{N}'’-]*)*"
    r"|\p{N}(?:[\p{N},.–-]*\p{N})?(?:%| \p{Ll}+)?"
    r"|\b\p{Ll}{5,}(?: \p{Ll}{5,}){0,2}"
)


def gap(sentence: str, mask: str, chance: Random) -> tuple[str, str] | None:
    """The sentence with `mask` instead of one of its salient spans, and the span; None where there is too little left.

    >>> gap("In 1903 Marie Curie won the prize with her husband.", "[MASK]", Random(2))
    ('In [MASK] Marie Curie won the prize with her husband.', '1903')
    """
    found = [match for match in SALIENT.finditer(sentence) if match.start() > 0]  # a capital at the beginning says nothing
    if not found:
        return None
    drawn = chance.choice(found)
    left = f"{sentence[: drawn.start()]}{mask}{sentence[drawn.end() :]}"
    return (left, drawn[0]) if len(left.split()) > FEWEST else None


def gaps(passages: Sequence[Passage], mask: str, times: int = 4, seed: int = 0) -> Iterator[Told]:
    """Of every sentence of the passages up to `times` different gaps, without the passage."""
    for passage in passages:
        chance = Random(f"{seed} gaps {passage.id}")
        for sentence in sentences(passage.text):
            drawn = (gap(sentence, mask, chance) for _ in range(times))
            yield from (Told(*one) for one in dict.fromkeys(drawn) if one)
