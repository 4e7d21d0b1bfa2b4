"""Which facts are for training, which for development and test: no fact, nor what follows from it, in two splits.

A fact is known by the unordered pair of its names, so that it is the same forwards, backwards, and in another domain. Facts are
tied where a question joins them (several values, several entities, the same words in two domains) and where one follows
from another; what is tied by any chain goes into one split. (Union-find: each fact points to another one tied to it, the
last in the chain stands for all.) Some entities are kept from training altogether, for development and for test.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Protocol, runtime_checkable

from minirag.corpus.miniwiki.english import number_of
from minirag.corpus.miniwiki.facts import Domain, Entity, Fact, Links, facts_of, normal

SPLITS = ("train", "dev", "test")
FactKey = tuple[str, str]
_LARGEST_HELD_OUT = 25  # facts: what ties more together (all borders of a continent) is for training
_KEPT_APART = 30  # facts at most that go with an entity that is kept from training
_SHARE = 12  # one entity in so many is kept from training


class Ties:
    """Facts in groups; whatever two groups share makes them one."""

    def __init__(self) -> None:
        self._next: dict[FactKey, FactKey] = {}

    def last(self, key: FactKey) -> FactKey:
        """The fact that stands for the group of `key`."""
        self._next.setdefault(key, key)
        while self._next[key] != key:
            self._next[key] = self._next[self._next[key]]  # halve the chain for the next walk
            key = self._next[key]
        return key

    def tie(self, keys: Iterable[FactKey]) -> None:
        """Make one group of all these facts; the smallest name stands for it, whatever the order."""
        ends = [self.last(key) for key in keys]
        for end in ends:
            self._next[end] = min(ends)

    def sizes(self) -> Counter[FactKey]:
        """How many facts each group has."""
        return Counter(self.last(key) for key in list(self._next))


@runtime_checkable
class Splitting(Protocol):
    """Says to which split facts belong."""

    def of(self, key: FactKey) -> str:
        """The split of a fact."""

    def of_all(self, keys: Sequence[FactKey]) -> str | None:
        """The split of facts that all have the same one; else None."""


class Splits:
    """The split of every fact, and the entities that are kept from training."""

    def __init__(
        self, domains: Sequence[Domain], links: Links, asked: Iterable[Sequence[FactKey]], reserved: Iterable[FactKey]
    ):
        """`asked`: the facts of each question. `reserved`: facts for test, since other tests ask for them."""
        self.ties = Ties()
        for keys in asked:
            self.ties.tie(keys)
        tie_what_follows(self.ties, domains, links)
        self._sizes = self.ties.sizes()
        self._pinned: dict[FactKey, str] = {}
        for key in sorted(set(reserved)):
            self._pin([key], "test")
        self._groups_of: dict[str, set[FactKey]] = defaultdict(set)
        for fact in facts_of(domains):
            key = fact_key(fact, links)
            for name in key:
                self._groups_of[name].add(key)
        self.kept_apart = self._keep_apart(domains)

    def of(self, key: FactKey) -> str:
        """The split of a fact."""
        end = self.ties.last(key)
        lot = number_of("split", *end) % 10
        drawn = "train" if self._sizes[end] > _LARGEST_HELD_OUT or lot < 8 else SPLITS[lot - 7]
        return self._pinned.get(end, drawn)

    def of_all(self, keys: Sequence[FactKey]) -> str | None:
        """The split that all these facts share, or None."""
        shared = {self.of(key) for key in keys}
        return shared.pop() if len(shared) == 1 else None

    def _pin(self, keys: Iterable[FactKey], split: str, most: int = _LARGEST_HELD_OUT) -> bool:
        """Put whole groups into a split, if they are few enough facts and not promised to another one."""
        ends = {self.ties.last(key) for key in keys}
        free = all(self._pinned.get(end, split) == split and self._sizes[end] <= _LARGEST_HELD_OUT for end in ends)
        if free and sum(self._sizes[end] for end in ends) <= most:
            self._pinned |= dict.fromkeys(ends, split)
            return True
        return False

    def _keep_apart(self, domains: Sequence[Domain]) -> dict[str, str]:
        """Entities kept from training, by name: in each domain as many for dev as for test, the first that can be by lot."""
        kept: dict[str, str] = {}
        for domain in domains:
            wanted = ["dev", "test"] * max(1, round(len(domain.entities) / _SHARE / 2))
            for entity in sorted(domain.entities, key=lambda entity: number_of("apart", domain.name, entity.title)):
                if not wanted:
                    break
                name = normal(entity.title)
                if name not in kept and self._pin(self._groups_of[name], wanted[-1], _KEPT_APART):
                    kept[name] = wanted.pop()
        return kept


def fact_key(fact: Fact, links: Links) -> FactKey:
    """The unordered pair of names that a fact, its inverse, and the same fact in another domain share."""
    target = links.find(fact.value, fact.relation)
    return pair(fact.entity.title, target[1].title if target else fact.value.name)


def pair(one: str, other: str) -> FactKey:
    """Two names as a fact's key."""
    first, second = sorted((normal(one), normal(other)))
    return first, second


def tie_what_follows(ties: Ties, domains: Sequence[Domain], links: Links) -> None:
    """Tie a fact to what another one lets conclude.

    * Born in Ulm, Ulm in Germany: born in Germany. Two values of an entity are tied if they are a fact themselves.
    * The highest mountain in India: the highest point of India. A value that names another value is tied to it.
    * Left office in 1797, succeeded by Adams: Adams took office in 1797. And the 2nd comes after the 1st.
    """
    known = {fact_key(fact, links) for fact in facts_of(domains)}
    for domain in domains:
        by_name = {normal(entity.title): entity for entity in domain.entities}
        for entity in domain.entities:
            for one, other in combinations(_values(domain, entity, links), 2):
                if pair(one, other) in known or _names(one, other) or _names(other, one):
                    ties.tie([pair(entity.title, one), pair(entity.title, other)])
            for value in entity.cells.get("predecessor", ()):
                if normal(value.name) in by_name:
                    _tie_succession(ties, by_name[normal(value.name)], entity)


def _tie_succession(ties: Ties, before: Entity, after: Entity) -> None:
    left = {value.name for value in before.cells.get("left_office", ())}
    took = {value.name for value in after.cells.get("took_office", ())}
    for year in left & took:
        ties.tie([pair(before.title, year), pair(after.title, year)])
    for number in after.cells.get("number", ()):
        ties.tie([pair(after.title, number.name), pair(after.title, before.title)])


def _names(text: str, name: str) -> bool:
    return f" {normal(name)} " in f" {normal(text)} "


def _values(domain: Domain, entity: Entity, links: Links) -> list[str]:
    relations = domain.phrasings.relations
    values = [(value, relations[name]) for name, cell in entity.cells.items() for value in cell]
    found = [(links.find(value, relation), value) for value, relation in values]
    return list(dict.fromkeys(target[1].title if target else value.name for target, value in found))
