"""Articles become passages of 100 words, the units that RAG retrieves (Karpukhin et al. 2020 §4.1; Lewis et al. 2020 §3)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Article:
    """A whole document: the source's own id, its title, and its plain text."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """What is embedded, indexed and retrieved: an id as the source gives it, the article's title, and about 100 words of text."""

    id: str
    title: str
    text: str
