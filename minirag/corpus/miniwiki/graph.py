"""The facts as a knowledge graph: triples, each with the passages that state it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from minirag.corpus.miniwiki.articles import page_id
from minirag.corpus.miniwiki.examples import spellings
from minirag.corpus.miniwiki.facts import Domain, Fact, Links, contains, facts_of
from minirag.corpus.miniwiki.pages import Page, passage_numbers

FactId = tuple[str, str, str, str]


@dataclass(frozen=True)
class Place:
    """Where a fact is told: a page, the number of the sentence in it, and the passages in which that sentence stands.

    `clear`: the sentence alone says it, with the title of its page; not "He died in Delft." in the article on another man.
    """

    page: Page
    sentence: int
    passages: tuple[str, ...]
    clear: bool = True


@dataclass(frozen=True)
class Triple:
    """Entity, relation, and entity or literal; entities by the ids of their pages, passages by theirs."""

    subject: str
    relation: str
    object: str
    object_is_entity: bool
    passages: tuple[str, ...]


def fact_id(fact: Fact) -> FactId:
    """The names that make a fact: domain, entity, relation, value."""
    return fact.domain.name, fact.entity.title, fact.relation.name, fact.value.name


def places(pages: Iterable[Page], links: Links) -> dict[FactId, list[Place]]:
    """For each fact the places that tell it, in the order of the pages.

    A sentence may be cut by the end of a passage. Then the passage counts that names both sides of the fact, else both count.
    """
    found: dict[FactId, list[Place]] = defaultdict(list)
    for page, first in passage_numbers(pages):
        texts, spans = page.passages(), page.passages_of_sentences()
        for number, sentence in enumerate(page.sentences):
            for fact in sentence.facts:
                rows = [row for row in spans[number] if len(spans[number]) == 1 or _names_both(texts[row], fact, links)]
                ids = tuple(str(first + row) for row in rows or spans[number])
                own = page.id == page_id(fact.domain.name, fact.entity.title)
                found[fact_id(fact)].append(Place(page, number, ids, own or fact.entity.name.lower() in sentence.text.lower()))
    return found


def triples(domains: Sequence[Domain], links: Links, told: dict[FactId, list[Place]]) -> list[Triple]:
    """Every fact as a triple, in the order of the tables."""
    made = []
    for fact in facts_of(domains):
        target = links.find(fact.value, fact.relation)
        passages = dict.fromkeys(id for place in told[fact_id(fact)] for id in place.passages)
        value = page_id(target[0].name, target[1].title) if target else fact.value.name
        subject = page_id(fact.domain.name, fact.entity.title)
        made.append(Triple(subject, fact.relation.name, value, target is not None, tuple(passages)))
    return made


def _names_both(text: str, fact: Fact, links: Links) -> bool:
    entity = (fact.entity.name, *fact.entity.aliases)
    return all(any(contains(text, name) for name in names) for names in (entity, spellings(fact, links)))
