"""A page: an article that remembers its sentences, and for each of them the facts that it tells.

From this everything that points into the text is made: FEVER's evidence, KILT's provenance, the passages of a triple.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from minirag.corpus.miniwiki.english import fill, with_pronoun
from minirag.corpus.miniwiki.facts import Fact
from minirag.corpus.miniwiki.prose import ProseArticle, sentences
from minirag.corpus.passages import Article, split_article

_PRONOUNS_IN_A_ROW = 2
WORDS = 100  # of a passage
_AGAIN = r"(?:^|\b(?:of|in|on|by|to|for|from|with|that|where|when) )"  # before "the river"; not: "the lake named the river"


@dataclass(frozen=True)
class Sentence:
    """A sentence and the facts that it tells (none where it was written freely)."""

    text: str
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class Page:
    """An article in paragraphs of sentences."""

    id: str
    title: str
    paragraphs: tuple[tuple[Sentence, ...], ...]

    @property
    def sentences(self) -> list[Sentence]:
        """All sentences in order: FEVER's sentence number is the place in this list."""
        return [sentence for paragraph in self.paragraphs for sentence in paragraph]

    @property
    def article(self) -> Article:
        """The page as plain text."""
        paragraphs = [" ".join(sentence.text for sentence in paragraph) for paragraph in self.paragraphs]
        return Article(self.id, self.title, "\n\n".join(paragraphs))

    def passages_of_sentences(self) -> list[range]:
        """For each sentence the numbers (from 0) of this page's passages in which some of its words stand.

        The title counts among the words (`split_article`); what is wrapped round to fill the last passage does not.
        """
        place, spans = len(self.title.split()), []
        for sentence in self.sentences:
            length = len(sentence.text.split())
            spans.append(range(place // WORDS, (place + length - 1) // WORDS + 1))
            place += length
        return spans

    def span(self, number: int) -> tuple[int, int, int]:
        """Where a sentence stands: the paragraph (from 1; KILT counts the title as 0), its first character and the one after
        its last."""
        for place, paragraph in enumerate(self.paragraphs, 1):
            if number < len(paragraph):
                start = sum(len(sentence.text) + 1 for sentence in paragraph[:number])
                return place, start, start + len(paragraph[number].text)
            number -= len(paragraph)
        raise IndexError(f"{self.id} has fewer sentences")

    def passages(self) -> list[str]:
        """The texts of this page's passages, as DPR splits them."""
        return split_article(self.article, WORDS)


@dataclass(frozen=True)
class Subject:
    """What an article is about, and how it may be called again: by a short name that is always clear (Darwin), or, where a
    pronoun would be clear too, by its kind (the river)."""

    phrase: str
    pronoun: str
    short: str | None = None
    again: str | None = None


@dataclass
class Draft:
    """An article being written: sentences in order, none twice."""

    id: str
    title: str
    sentences: list[Sentence] = field(default_factory=list)
    pronouns: int | None = None  # told with a pronoun since the name was last told; None: a pronoun would be ambiguous
    _known: set[str] = field(default_factory=set)  # the sentences so far, and the subjects named in full

    def add(self, text: str, facts: Iterable[Fact] = ()) -> None:
        """Add a sentence, unless it stands here already."""
        if text not in self._known:
            self._known.add(text)
            self.sentences.append(Sentence(text, tuple(facts)))
        self.pronouns = None

    def tell(
        self,
        template: str,
        slot: str,
        subject: Subject,
        phrases: Mapping[str, str],
        facts: Sequence[Fact],
        *,
        rival: bool = True,
    ) -> None:
        """Add the template's sentence, its `slot` filled with a pronoun, a short form or the whole name of the subject.

        `rival`: the sentence names something else that the next pronoun could mean, unless the subject opens it.
        """
        shorter = None
        if self.pronouns is not None and self.pronouns < _PRONOUNS_IN_A_ROW:
            shorter = with_pronoun(template, slot, subject.pronoun)
        run = 1 + (self.pronouns or 0) if shorter else 0
        name = subject.phrase if shorter else self._name(template, slot, subject, phrases)
        self._known.add(subject.phrase)
        self.add(fill(shorter or template, {**phrases, slot: name}), facts)
        if shorter or template.startswith(f"{{{slot}}}") or f", {{{slot}}}" in template or not rival:
            self.pronouns = run

    def _name(self, template: str, slot: str, subject: Subject, phrases: Mapping[str, str]) -> str:
        """The whole name at first, then shorter ones where they are clear."""
        others = " ".join(phrase for name, phrase in phrases.items() if name != slot)
        if subject.phrase in self._known and subject.short and not re.search(rf"\b{re.escape(subject.short)}\b", others):
            return subject.short
        if self.pronouns is not None and subject.again and re.search(rf"{_AGAIN}\{{{slot}\}}", template):
            return subject.again
        return subject.phrase

    def words(self) -> int:
        """The length of title and text, as passages count it."""
        return len(self.title.split()) + sum(len(sentence.text.split()) for sentence in self.sentences)

    def page(self) -> Page:
        """What was written, in one paragraph."""
        return Page(self.id, self.title, (tuple(self.sentences),))


def prose_id(article: ProseArticle) -> str:
    """The id of its page."""
    return f"prose/{article.id}"


def prose_page(article: ProseArticle) -> Page:
    """A freely written article as a page."""
    paragraphs = (tuple(map(Sentence, sentences(paragraph))) for paragraph in article.text.split("\n\n"))
    return Page(prose_id(article), article.title, tuple(paragraphs))


def passage_numbers(pages: Iterable[Page]) -> Iterator[tuple[Page, int]]:
    """Each page with the number of its first passage, from 1, as `split_articles` numbers them."""
    number = 1
    for page in pages:
        yield page, number
        number += len(page.passages())
