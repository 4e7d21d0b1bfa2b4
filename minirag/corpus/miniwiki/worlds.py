"""MiniWikis that are not true: the same entities, with one another's values, told in other phrasings.

Who reads about such a world learns to find an answer in a passage and to believe it; there is nothing to remember, since the
next world says something else. A world is made of the facts that training may know, and asks for no fact of a dev or test
set that came about by chance.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from minirag.corpus.miniwiki import clues, questions
from minirag.corpus.miniwiki.examples import Example
from minirag.corpus.miniwiki.facts import Domain, Entity, Fact, Value, contains, facts_of, has_intro, normal
from minirag.corpus.miniwiki.graph import Place, fact_id
from minirag.corpus.miniwiki.names import Names, renamed
from minirag.corpus.miniwiki.phrasings import Phrasings, Relation
from minirag.corpus.miniwiki.splits import FactKey, fact_key
from minirag.corpus.miniwiki.wiki import MiniWiki
from minirag.errors import MiniragError

T = TypeVar("T")


@dataclass(frozen=True)
class Tellable:
    """What worlds are made of: the domains with their training facts only, and what no world may ask."""

    domains: list[Domain]
    facts: frozenset[FactKey]
    texts: frozenset[str]

    @classmethod
    def of(cls, wiki: MiniWiki) -> "Tellable":
        """The facts of `wiki` that training questions may ask for; entities kept for dev or test are left out."""
        keys = {fact_key(fact, wiki.links) for fact in facts_of(wiki.domains)}
        held = frozenset(key for key in keys if wiki.splits.of(key) != "train")
        made = (example for examples in wiki.examples.values() for example in examples)
        domains = [_trained(wiki, domain, held) for domain in wiki.domains]
        return cls(domains, held, frozenset(example.text for example in made if example.split != "train"))

    @cached_property
    def names(self) -> Names:
        """The words that a world may exchange."""
        return Names.of(self.domains)


class World:
    """One such wiki, and all the questions that can be asked in it, in the phrasings that training may use."""

    def __init__(self, tellable: Tellable, seed: str) -> None:
        chance = random.Random(seed)
        domains = renamed(tellable.domains, tellable.names.exchanged(chance))
        self.wiki = MiniWiki([_exchanged(domain, chance) for domain in domains], [], [])
        self._tellable = tellable

    @cached_property
    def examples(self) -> list[Example]:
        """The questions, none of whose facts or words are those of a held-out one."""
        domains, links, held = self.wiki.domains, self.wiki.links, self._tellable
        asked = questions.questions(questions.askable(domains, links), EVERYTHING)
        asked += clues.trivia(domains, links, EVERYTHING, clues.MORE_TRIVIA)
        return [example for example in asked if example.text not in held.texts and held.facts.isdisjoint(example.facts)]

    @cached_property
    def told_in(self) -> dict[str, list[Example]]:
        """By a passage's id: the questions that it answers."""
        found: dict[str, list[Example]] = {}
        for example in self.examples:
            for id in dict.fromkeys(id for place in self.places(example) for id in place.passages):
                found.setdefault(id, []).append(example)
        return found

    def places(self, example: Example) -> list[Place]:
        """Where a fact of the example is told."""
        return [place for fact in example.told for place in self.wiki.told[fact_id(fact)]]


class Worlds:
    """One world after the other, each for `renewed` steps, the same for the same step."""

    def __init__(self, tellable: Tellable, seed: int, renewed: int) -> None:
        self.tellable, self.seed, self.renewed = tellable, seed, renewed
        self._worlds: dict[int, World] = {}  # the one at hand

    def world(self, step: int) -> World:
        number = step // self.renewed
        if number not in self._worlds:
            self._worlds.clear()
            self._worlds[number] = World(self.tellable, f"{self.seed} world {number}")
            if not self._worlds[number].examples:
                raise MiniragError("no question can be asked in a world made of these facts; give a MiniWiki with more of them")
        return self._worlds[number]


class _Everything:
    """All facts are for training."""

    def of(self, key: FactKey) -> str:
        return "train"

    def of_all(self, keys: Sequence[FactKey]) -> str:
        return "train"


EVERYTHING = _Everything()


def _trained(wiki: MiniWiki, domain: Domain, held: frozenset[FactKey]) -> Domain:
    def known(entity: Entity, name: str, values: tuple[Value, ...]) -> bool:
        relation = domain.phrasings.relations[name]
        return all(fact_key(Fact(domain, entity, relation, value), wiki.links) not in held for value in values)

    entities = (
        replace(entity, cells={name: values for name, values in entity.cells.items() if known(entity, name, values)})
        for entity in domain.entities
        if normal(entity.title) not in wiki.splits.kept_apart
    )
    return replace(domain, entities=tuple(entities))


def _exchanged(domain: Domain, chance: random.Random) -> Domain:
    """Each column's cells dealt anew to the entities that have one, and all phrasings in another order."""
    phrasings = _reordered(domain.phrasings, chance)
    columns: dict[str, list[tuple[Value, ...]]] = {}
    for entity in domain.entities:
        for name, values in entity.cells.items():
            columns.setdefault(name, []).append(values)
    for column in columns.values():
        chance.shuffle(column)
    entities = []
    for entity in domain.entities:
        dealt = {name: columns[name].pop() for name in entity.cells}
        cells = {name: values for name, values in dealt.items() if not _tells_itself(entity, values)}
        if has_intro(phrasings, cells):
            entities.append(replace(entity, cells=cells))
    chance.shuffle(entities)  # an article compares its subject with its neighbours
    return replace(domain, phrasings=phrasings, entities=tuple(entities))


def _tells_itself(entity: Entity, values: Sequence[Value]) -> bool:
    return any(contains(entity.title, value.name) or contains(value.name, entity.name) for value in values)


def _reordered(phrasings: Phrasings, chance: random.Random) -> Phrasings:
    """Which phrasing is used goes by number, so another order gives other sentences. Worlds have more questions than the data
    sets; the last one stays the last: it is kept from training."""

    def mixed(templates: tuple[T, ...], last: int = 0) -> tuple[T, ...]:
        kept = max(len(templates) - last, 0)  # some relations are asked in one direction only
        return (*chance.sample(templates[:kept], kept), *templates[kept:])

    def relation(one: Relation) -> Relation:
        return replace(
            one,
            statements=mixed(one.statements),
            many=mixed(one.many),
            inverse=mixed(one.inverse),
            questions=mixed(one.more_questions + one.questions, 1),
            inverse_questions=mixed(one.more_inverse_questions + one.inverse_questions, 1),
        )

    relations = {name: relation(one) for name, one in phrasings.relations.items()}
    return replace(phrasings, intro=mixed(phrasings.intro), together=mixed(phrasings.together), relations=relations)
