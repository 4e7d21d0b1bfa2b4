"""Articles become passages of 100 words, the units that RAG retrieves (Karpukhin et al. 2020 §4.1; Lewis et al. 2020 §3).

The published file `psgs_w100.tsv` (21,015,324 rows) was made by cutting every article into disjoint runs of 100
whitespace-separated words. What the papers leave unsaid can be read off 9,623 of its rows:

* An article begins with its title: 4,040 rows start with theirs, 760 of them with a bracketed one such as
  "USS Enterprise (CVN-65)". The title is the article's first words and counts among the 100.
* The last passage is filled up from the article's beginning, title first: 1,116 rows end with the opening words of a lead
  passage that is itself among the 9,623. So 8,972 rows have exactly 100 words.
* 650 rows are shorter (5 to 99 words), nearly all broken off in mid-sentence, some in mid-word: no rule explains them, they
  are damage, and nothing here imitates it. One row has 103 words because a quotation mark in its title was misread.
* No lead passage comes round to its own title again, so articles shorter than 100 words were not wrapped; they appear to have
  been left out. Here they become one short passage, for one's own knowledge base may consist of nothing else.
* Words are joined by single spaces: no line breaks, no headings. Italics became "quotation marks" (see `markup.py`). In the
  file every text stands in quotes with inner ones doubled, titles only where they hold one: csv with tabs.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Tail = Literal["wrap", "keep"]


@dataclass(frozen=True, slots=True)
class Article:
    """A whole document: the source's own id, its title, and its plain text."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """What is embedded, indexed and retrieved: the source's own id, the article's title, and about 100 words of text."""

    id: str
    title: str
    text: str


def split_article(article: Article, words: int = 100, tail: Tail = "wrap") -> list[str]:
    """Cut the title and text of `article` into disjoint runs of `words` words.

    With `tail="wrap"` the last run is filled up from the article's beginning, with `tail="keep"` it stays short. An article of
    fewer than `words` words is one short run either way, and one without text gives none. Joined by spaces, the runs of
    `tail="keep"` are the article's words, each once.

    >>> article = Article("7", "Red panda", "The red panda lives in trees.")
    >>> split_article(article, words=3)
    ['Red panda The', 'red panda lives', 'in trees. Red']
    >>> split_article(article, words=3, tail="keep")[-1]
    'in trees.'
    """
    if words < 1:
        raise ValueError(f"a passage needs at least one word, not {words}")
    body = article.text.split()
    if not body:
        return []
    stream = article.title.split() + body
    if tail == "wrap" and len(stream) > words:
        stream += stream[: -len(stream) % words]
    return [" ".join(stream[start : start + words]) for start in range(0, len(stream), words)]


def split_articles(articles: Iterable[Article], words: int = 100, tail: Tail = "wrap") -> Iterator[Passage]:
    """The passages of all articles in order, numbered "1", "2", … as the published file numbers them; one article in memory.

    >>> [passage.id for passage in split_articles([Article("x", "A", "b c"), Article("y", "D", "e")], words=2)]
    ['1', '2', '3']
    """
    number = 0
    for article in articles:
        for text in split_article(article, words, tail):
            number += 1
            yield Passage(str(number), article.title, text)
