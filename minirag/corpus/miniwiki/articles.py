"""Sentences become articles: an entity's own, one for a value of which much is told, and overviews that list many of a kind.

An entity's article opens with an introduction, states its facts, some of them two or three in a sentence, tells those of
others in which it is the value, and closes with facts of its neighbours: distractors of the same kind, and true.
"""

from collections.abc import Iterator, Sequence

from minirag.corpus.miniwiki.english import capitalised, definite, fill, number_of, pick
from minirag.corpus.miniwiki.facts import Domain, Entity, Fact, Links, Value, facts_of, normal, tokens
from minirag.corpus.miniwiki.pages import WORDS, Draft, Page, Subject
from minirag.corpus.miniwiki.phrasings import Overview, relations_in
from minirag.corpus.miniwiki.telling import PEOPLE, Teller, facts, subject, together

_TOGETHER = 2  # sentences of an article that tell several relations at once
_COMPARED = 2  # neighbours of which an article tells at its end
_LEAST_TOLD = 6  # facts, for a value that is no entity to have an article
_LEAST_LISTED, _MOST_LISTED = 6, 20  # entities in an overview; of more, some by lot
_INTRODUCED = 4  # things that an article on their common value introduces


class Renderer:
    """Writes all pages of a set of domains."""

    def __init__(self, domains: Sequence[Domain]) -> None:
        self.domains = domains
        self.links = Links(domains)
        self.teller = Teller(self.links)
        self._told_of: dict[str, list[Fact]] = {}  # the facts in which an article's subject is the value
        self._loose: dict[str, Value] = {}  # values that are no entity, by the key of their article
        for fact in facts_of(domains):
            target = self.links.find(fact.value, fact.relation)
            if fact.relation.inverse and not (target and _is_mutual(fact, target[1])):
                key = page_id(target[0].name, target[1].title) if target else f"topics/{normal(fact.value.name)}"
                self._told_of.setdefault(key, []).append(fact)
                if not target:
                    self._loose.setdefault(key, fact.value)

    def pages(self) -> Iterator[Page]:
        """Entities in the order of the tables, then the overviews, then the values that deserve an article."""
        for domain in self.domains:
            for place in range(len(domain.entities)):
                yield self._entity_page(domain, place)
        for domain in self.domains:
            for overview in domain.phrasings.overviews:
                yield from self._overview_pages(domain, overview)
        for key in sorted(self._loose):
            if self._has_topic(key):
                yield self._topic_page(key)

    def title(self, domain: Domain, entity: Entity) -> str:
        """The title, told from namesakes in other domains as an encyclopedia does."""
        title = capitalised(entity.title)
        return f"{title} ({domain.phrasings.kind})" if len(self.links.namesakes(entity.title)) > 1 else title

    def _entity_page(self, domain: Domain, place: int) -> Page:
        entity = domain.entities[place]
        draft = Draft(page_id(domain.name, entity.title), self.title(domain, entity))
        told = self.teller.introduce(draft, domain, entity)
        self._state_all(draft, domain, entity, [name for name in entity.cells if name not in told])
        self.teller.tell_from_the_value(draft, self._told_of.get(draft.id, []), subject(domain, entity))
        self._compare(draft, domain, place)
        return draft.page()

    def _state_all(self, draft: Draft, domain: Domain, entity: Entity, names: Sequence[str]) -> None:
        """State these cells in a shuffled order: some together as the phrasings say, some joined by "and", the rest alone."""
        combined = {min(map(names.index, relations_in(t))): t for t in together(domain, entity, names, _TOGETHER)}
        covered = {name for template in combined.values() for name in relations_in(template)}
        single = [i for i, name in enumerate(names) if name not in covered]
        order = sorted([*combined, *single], key=lambda i: i + number_of("order", draft.id, names[i]) % 3)
        while order:
            i = order.pop(0)
            if i in combined:
                self.teller.tell_together(draft, domain, entity, combined[i])
                continue
            joins = order and order[0] not in combined and number_of("join", draft.id, names[i]) % 3 == 0
            if joins and self.teller.state_both(draft, domain, entity, names[i], names[order[0]]):
                order.pop(0)
            else:
                self.teller.state(draft, domain, entity, names[i], self.teller.statement(domain, entity, names[i]))

    def _compare(self, draft: Draft, domain: Domain, place: int) -> None:
        """Close with one or two facts of each of the next entities, rather those that no other article would tell again; but
        open no new passage for them."""
        count, room = len(domain.entities), -draft.words() % WORDS
        for step in range(1, min(_COMPARED + 1, count)):
            neighbour = domain.entities[(place + step) % count]
            draft.pronouns = None
            lots = {name: number_of("compare", domain.name, neighbour.title, name) for name in neighbour.cells}
            known = domain.entities[place].name
            cells = [
                name
                for name, values in neighbour.cells.items()
                if lots[name] % _COMPARED == step - 1  # they share them out
                and known not in [value.name for value in values]  # the article's own entity: it has told that
            ]
            cells.sort(key=lambda name: (self._is_retold(domain, neighbour, name), lots[name]))
            for told, name in enumerate(cells[:2]):
                if told and self._is_retold(domain, neighbour, name):
                    break
                template = self.teller.statement(domain, neighbour, name, elsewhere=True)
                if told == 0:
                    template = self.teller.comparison(domain, neighbour, name, number_of(draft.id) + step)
                room -= self.teller.words(domain, neighbour, name, template)
                if room < 0:
                    return
                self.teller.state(draft, domain, neighbour, name, template)

    def _is_retold(self, domain: Domain, entity: Entity, name: str) -> bool:
        """Whether some article other than the entity's own and its neighbours' tells this cell."""
        if any(name in overview.relations for overview in domain.phrasings.overviews):
            return True
        relation = domain.phrasings.relations[name]
        return bool(relation.inverse) and all(
            self.links.find(value, relation) or self._has_topic(f"topics/{normal(value.name)}") for value in entity.cells[name]
        )

    def _overview_pages(self, domain: Domain, overview: Overview) -> Iterator[Page]:
        relations, group = domain.phrasings.relations, overview.group
        groups: dict[str, list[Entity]] = {}
        for entity in domain.entities:
            if set(overview.relations) <= set(entity.cells) and (group is None or group in entity.cells):
                for value in entity.cells[group] if group else [Value("")]:
                    name = self.teller.phrase(value, relations[group]) if group else ""
                    groups.setdefault(name, []).append(entity)
        for name, entities in groups.items():
            if len(entities) < _LEAST_LISTED:
                continue
            shared = {group: name} if group else {}
            title = fill(overview.title, shared)
            draft = Draft(page_id(f"{domain.name}-overviews", title), title)
            draft.add(fill(pick(overview.opening, draft.id), shared))
            turn = number_of(draft.id)
            listed = sorted(entities, key=lambda entity: number_of(draft.id, entity.title))[:_MOST_LISTED]
            for i, entity in enumerate(entity for entity in entities if entity in listed):
                line = overview.lines[(turn + i) % len(overview.lines)]
                told = self.teller.phrases(entity, relations, turn + i)
                draft.add(fill(line, {**told, **shared}), facts(domain, entity, overview.relations))
            yield draft.page()

    def _has_topic(self, key: str) -> bool:
        return key in self._loose and len(self._told_of[key]) >= _LEAST_TOLD

    def _topic_page(self, key: str) -> Page:
        told, name = self._told_of[key], self._loose[key].name
        title = capitalised(name.removeprefix("the "))
        if self.links.namesakes(name):
            title = f"{title} ({told[0].relation.value})"
        draft = Draft(page_id("topics", title), title)
        person = any(set(fact.relation.value.split()) & PEOPLE for fact in told)
        self.teller.tell_from_the_value(draft, told, Subject(definite(name), "" if person else "it"))
        for fact in told[:_INTRODUCED]:
            if draft.words() < WORDS:
                draft.pronouns = None
                self.teller.introduce(draft, fact.domain, fact.entity, elsewhere=True)
        return draft.page()


def page_id(folder: str, title: str) -> str:
    """A page's id: readable, in plain ASCII, one for each title.

    >>> page_id("languages", "C++"), page_id("languages", "C")
    ('languages/c-plus-plus', 'languages/c')
    """
    signs = {"+": "plus", "#": "sharp", "&": "and", "/": "slash", "*": "star"}
    words = [signs.get(token, token) for token in tokens(title)]
    return f"{folder}/{'-'.join(word for word in words if word.isalnum())}"


def _is_mutual(fact: Fact, target: Entity) -> bool:
    """Whether the value's own row says the same of the entity, as neighbours do."""
    return fact.entity.name in [value.name for value in target.cells.get(fact.relation.name, ())]
