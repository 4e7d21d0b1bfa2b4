"""Facts become articles: an entity's own, one for a value of which much is told, and overviews that list many of a kind.

An entity's article opens with an introduction, states its facts, tells those of others in which it is the value, and closes
with facts of its neighbours: distractors of the same kind, and true. Which phrasing, which order and which neighbours is
decided by hashes of names, so that the same tables give the same bytes everywhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from minirag.corpus.miniwiki.facts import UNLINKED_KINDS, Domain, Entity, Fact, Links, Value, facts_of, normal, tokens
from minirag.corpus.miniwiki.phrasings import Overview, Relation, placeholders
from minirag.corpus.miniwiki.prose import after_comma, capitalised, definite, fill, listed, number_of, pick, with_pronoun
from minirag.corpus.passages import Article

_PEOPLE = {"person", "people", "man", "woman", "character"}
_COMPARISONS = ("By comparison, ", "For comparison, ", "As for other {plural}, ")
# After these words a list of names reads as well as one name: "the capital of A and B", "wrote A, B and C".
_BEFORE_A_LIST = {"of", "in", "to", "for", "by", "with", "from", "wrote", "painted", "composed", "directed", "discovered"}
_MOST_TOLD = 12  # facts of one relation told in one article from the value's side
_PRONOUNS_IN_A_ROW = 3
_PASSAGE = 100  # words: an article that is shorter is filled with more comparisons
_LISTED = 3  # entities in one sentence of that kind


@dataclass
class _Draft:
    """An article being written: sentences in order, none twice."""

    id: str
    title: str
    sentences: list[str] = field(default_factory=list)
    pronouns: int | None = None  # told with a pronoun since the name was last told; None: a pronoun would be ambiguous

    def add(self, sentence: str) -> None:
        if sentence not in self.sentences:
            self.sentences.append(sentence)
        self.pronouns = None

    def tell(self, template: str, subject: str, pronoun: str, phrases: dict[str, str], rival: bool = True) -> None:
        """Add the template's sentence, with a pronoun for `{subject}` if the sentence before was about it.

        `rival`: the sentence names something else that the next pronoun could mean, unless the subject opens it.
        """
        shorter = None
        if self.pronouns is not None and self.pronouns < _PRONOUNS_IN_A_ROW:
            shorter = with_pronoun(template, subject, pronoun)
        run = 1 + (self.pronouns or 0) if shorter else 0
        self.add(fill(shorter or template, phrases))
        if shorter or template.startswith(f"{{{subject}}}") or f", {{{subject}}}" in template or not rival:
            self.pronouns = run

    def words(self) -> int:
        """The length of title and text, as passages count it."""
        return len(self.title.split()) + sum(len(sentence.split()) for sentence in self.sentences)

    def article(self) -> Article:
        return Article(self.id, self.title, " ".join(self.sentences))


class Renderer:
    """Writes all articles of a set of domains."""

    def __init__(self, domains: Sequence[Domain]) -> None:
        self.domains = domains
        self.links = Links(domains)
        self._told_of: dict[str, list[Fact]] = {}  # the facts in which an article's subject is the value
        self._loose: dict[str, Value] = {}  # values that are no entity, by the key of their article
        for fact in facts_of(domains):
            target = self.links.find(fact.value, fact.relation)
            if fact.relation.inverse and not (target and _is_mutual(fact, target[1])):
                key = _id(target[0].name, target[1].title) if target else f"topics/{normal(fact.value.name)}"
                self._told_of.setdefault(key, []).append(fact)
                if not target:
                    self._loose.setdefault(key, fact.value)

    def articles(self) -> Iterator[Article]:
        """Entities in the order of the tables, then the overviews, then the values that deserve an article."""
        for domain in self.domains:
            for place in range(len(domain.entities)):
                yield self._entity_article(domain, place)
        for domain in self.domains:
            for overview in domain.phrasings.overviews:
                yield from self._overview_articles(domain, overview)
        for key in sorted(self._loose):
            if self._has_topic(key):
                yield self._topic_article(key)

    def phrase(self, value: Value, relation: Relation) -> str:
        """A value as it stands inside a sentence: as the entity it names, if it names one."""
        target = self.links.find(value, relation)
        the = target and target[1].the and normal(value.name) == normal(target[1].name) and not value.name.startswith("the ")
        return f"the {value.name}" if the else definite(value.name)

    def phrases(self, entity: Entity, relations: dict[str, Relation]) -> dict[str, str]:
        """What each name in braces stands for in a template about `entity`."""
        told = {name: listed([self.phrase(v, relations[name]) for v in values]) for name, values in entity.cells.items()}
        return {"entity": entity.phrase, **told}

    def _entity_article(self, domain: Domain, place: int) -> Article:
        entity, relations = domain.entities[place], domain.phrasings.relations
        draft = _Draft(_id(domain.name, entity.title), self._title(domain, entity))
        intro = _intro(domain, entity)
        draft.tell(intro, "entity", entity.pronoun, self.phrases(entity, relations))
        rest = [name for name in entity.cells if name not in placeholders(intro)]
        order = {name: i + number_of("order", draft.id, name) % 3 for i, name in enumerate(rest)}
        for name in sorted(rest, key=order.__getitem__):
            self._state(draft, domain, entity, name, self._statement(domain, entity, name))
        self._tell_from_the_value(draft, draft.id, entity.phrase, entity.pronoun)
        self._compare(draft, domain, place)
        return draft.article()

    def _title(self, domain: Domain, entity: Entity) -> str:
        """The title, told from namesakes in other domains as an encyclopedia does."""
        title = capitalised(entity.title)
        return f"{title} ({domain.phrasings.kind})" if len(self.links.namesakes(entity.title)) > 1 else title

    def _statement(self, domain: Domain, entity: Entity, name: str, elsewhere: bool = False) -> str:
        """A phrasing of one cell; elsewhere the next phrasing, so that a fact is told in different words."""
        relation = domain.phrasings.relations[name]
        templates = relation.many if len(entity.cells[name]) > 1 else relation.statements
        return templates[(number_of("phrasing", domain.name, entity.title, name) + elsewhere) % len(templates)]

    def _state(self, draft: _Draft, domain: Domain, entity: Entity, name: str, template: str) -> None:
        """Tell one cell. After it a "he" is clear unless the value is a person, an "it" only if the value is no thing."""
        relation = domain.phrasings.relations[name]
        person, plain = bool(set(relation.value.split()) & _PEOPLE), relation.value in UNLINKED_KINDS
        rival = person if entity.pronoun in ("he", "she") else not (person or plain)
        values = [self.phrase(value, relation) for value in entity.cells[name]]
        if "the {value}" in template.lower():  # said once before the braces, it is meant for each
            values = [f"the {value.removeprefix('the ')}" for value in values]
        draft.tell(template, "entity", entity.pronoun, {"entity": entity.phrase, "value": listed(values)}, rival)

    def _tell_from_the_value(self, draft: _Draft, key: str, subject: str, pronoun: str) -> None:
        """Tell the facts in which the article's subject is the value, several in one sentence where that reads well."""
        by_relation: dict[tuple[str, str], list[Fact]] = {}
        for fact in self._told_of.get(key, []):
            by_relation.setdefault((fact.domain.name, fact.relation.name), []).append(fact)
        for (domain_name, name), facts in by_relation.items():
            facts, turn = facts[:_MOST_TOLD], number_of("inverse", key, domain_name, name)
            templates = facts[0].relation.inverse
            together = [template for template in templates if _takes_a_list(template)]
            size = _LISTED if together and len(facts) > 2 else 1
            sentences = -(-len(facts) // size)
            for i in range(sentences):  # as even as can be: four are told two and two
                names = [fact.entity.phrase for fact in facts[i * len(facts) // sentences : (i + 1) * len(facts) // sentences]]
                usable = together if len(names) > 1 else templates
                phrases = {"value": subject, "entity": listed(names)}
                draft.tell(usable[(turn + i) % len(usable)], "value", pronoun, phrases, rival=False)

    def _compare(self, draft: _Draft, domain: Domain, place: int) -> None:
        """Close with facts of the next entities: one or two of each of the next two, rather those that no other article would
        tell again, and in a short article as many more as fill its passage."""
        count = len(domain.entities)
        for step in range(1, min(4, count)):
            neighbour = domain.entities[(place + step) % count]
            draft.pronouns = None
            lots = {name: number_of("compare", domain.name, neighbour.title, name) for name in neighbour.cells}
            cells = [name for name in neighbour.cells if step > 2 or lots[name] % 2 == step - 1]  # the first two share them out
            cells.sort(key=lambda name: (self._is_retold(domain, neighbour, name), lots[name]))
            opening = _COMPARISONS[(number_of(draft.id) + step) % len(_COMPARISONS)].replace(
                "{plural}", domain.phrasings.plural
            )
            for told, name in enumerate(cells):
                needed = step <= 2 and told <= 1 and not (told and self._is_retold(domain, neighbour, name))
                template = self._statement(domain, neighbour, name, elsewhere=True)
                if told == 0:
                    template = self._comparison(domain, neighbour, name, opening)
                if not needed and draft.words() + len(template.split()) + 4 > _PASSAGE:
                    break
                self._state(draft, domain, neighbour, name, template)

    def _comparison(self, domain: Domain, entity: Entity, name: str, opening: str) -> str:
        """A statement of the cell that reads well after the opening words, with them; without them where there is none."""
        statement = self._statement(domain, entity, name, elsewhere=True)
        relation = domain.phrasings.relations[name]
        templates = relation.many if len(entity.cells[name]) > 1 else relation.statements
        continued = next(filter(None, map(after_comma, (statement, *templates))), None)
        return opening + continued if continued else statement

    def _is_retold(self, domain: Domain, entity: Entity, name: str) -> bool:
        """Whether some article other than the entity's own and its neighbours' tells this cell."""
        if any(name in overview.relations for overview in domain.phrasings.overviews):
            return True
        relation = domain.phrasings.relations[name]
        return bool(relation.inverse) and all(
            self.links.find(value, relation) or self._has_topic(f"topics/{normal(value.name)}") for value in entity.cells[name]
        )

    def _overview_articles(self, domain: Domain, overview: Overview) -> Iterator[Article]:
        relations, group = domain.phrasings.relations, overview.group
        groups: dict[str, list[Entity]] = {}
        for entity in domain.entities:
            if set(overview.relations) <= set(entity.cells) and (group is None or group in entity.cells):
                for value in entity.cells[group] if group else [Value("")]:
                    groups.setdefault(self.phrase(value, relations[group]) if group else "", []).append(entity)
        for name, entities in groups.items():
            if len(entities) < 3:
                continue
            shared = {group: name} if group else {}
            title = fill(overview.title, shared)
            draft = _Draft(_id(f"{domain.name}-overviews", title), title)
            draft.add(fill(pick(overview.opening, draft.id), shared))
            turn = number_of(draft.id)
            for i, entity in enumerate(entities):
                line = overview.lines[(turn + i) % len(overview.lines)]
                draft.add(fill(line, {**self.phrases(entity, relations), **shared}))
            yield draft.article()

    def _has_topic(self, key: str) -> bool:
        return key in self._loose and len(self._told_of[key]) >= 3

    def _topic_article(self, key: str) -> Article:
        facts, name = self._told_of[key], self._loose[key].name
        title = capitalised(name.removeprefix("the "))
        if namesakes := self.links.namesakes(name):
            title = f"{title} ({facts[0].relation.value if len(namesakes) else ''})"
        draft = _Draft(_id("topics", title), title)
        person = any(set(fact.relation.value.split()) & _PEOPLE for fact in facts)
        self._tell_from_the_value(draft, key, definite(name), "" if person else "it")
        for fact in facts:  # what it is all about, while the passage has room
            template = _intro(fact.domain, fact.entity, elsewhere=True)
            if draft.words() + len(template.split()) + 6 <= _PASSAGE:
                draft.add(fill(template, self.phrases(fact.entity, fact.domain.phrasings.relations)))
        return draft.article()


def render(domains: Sequence[Domain]) -> list[Article]:
    """The articles of MiniWiki over these domains, the same bytes on every machine."""
    return list(Renderer(domains).articles())


def _intro(domain: Domain, entity: Entity, elsewhere: bool = False) -> str:
    """An introduction whose facts are all known, if possible each with one value; elsewhere another one."""
    fits = [intro for intro in domain.phrasings.intro if set(placeholders(intro)) <= {"entity", *entity.cells}]
    plain = [intro for intro in fits if all(len(entity.cells.get(name, "1")) == 1 for name in placeholders(intro))]
    return (plain or fits)[(number_of("intro", domain.name, entity.title) + elsewhere) % len(plain or fits)]


def _is_mutual(fact: Fact, target: Entity) -> bool:
    """Whether the value's own row says the same of the entity, as neighbours do."""
    return fact.entity.name in [value.name for value in target.cells.get(fact.relation.name, ())]


def _takes_a_list(template: str) -> bool:
    before, _, after = template.partition("{entity}")
    words = before.split()
    return after == "." and words[-1:] != [] and words[-1] in _BEFORE_A_LIST and words[-2:] != ["city", "of"]


def _id(folder: str, title: str) -> str:
    """An article's id: readable, in plain ASCII, one for each title.

    >>> _id("languages", "C++"), _id("languages", "C")
    ('languages/c-plus-plus', 'languages/c')
    """
    signs = {"+": "plus", "#": "sharp", "&": "and", "/": "slash", "*": "star"}
    words = [signs.get(token, token) for token in tokens(title)]
    return f"{folder}/{'-'.join(word for word in words if word.isalnum())}"
