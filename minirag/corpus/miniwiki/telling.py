"""Facts become sentences: which phrasing, which style of a number, which of several facts in one sentence.

All choices are made by hashes of names, so that the same tables give the same sentences everywhere.
"""

from collections.abc import Iterable, Sequence

from minirag.corpus.miniwiki.english import after_comma, definite, fill, listed, number_of
from minirag.corpus.miniwiki.facts import UNLINKED_KINDS, Domain, Entity, Fact, Links, Value, normal
from minirag.corpus.miniwiki.pages import Draft, Subject
from minirag.corpus.miniwiki.phrasings import Relation, placeholders, relations_in
from minirag.corpus.miniwiki.values import short_name, styles

PEOPLE = {"person", "people", "man", "woman", "character"}
_FAMILY_NAME_FIRST = {"China", "Vietnam", "South Korea", "North Korea", "Taiwan"}
_COMPARISONS = ("By comparison, ", "For comparison, ", "As for other {plural}, ")
# After these words a list of names reads as well as one name: "the capital of A and B", "wrote A, B and C".
_BEFORE_A_LIST = {"of", "in", "to", "for", "by", "with", "from", "wrote", "painted", "composed", "directed", "discovered"}
_LISTED = 3  # entities in one sentence of that kind
_MOST_TOLD = 6  # facts of one relation told in one article from the value's side
_LONGEST_JOINED = 20  # words: two short statements become one sentence up to here


class Teller:
    """Tells facts in a draft."""

    def __init__(self, links: Links) -> None:
        self.links = links

    def phrase(self, value: Value, relation: Relation, turn: int = 0) -> str:
        """A value as it stands inside a sentence: as the entity it names, if it names one, else in one of its styles."""
        target = self.links.find(value, relation)
        the = target and target[1].the and normal(value.name) == normal(target[1].name) and not value.name.startswith("the ")
        ways = styles(relation.value, value.name)
        return f"the {value.name}" if the else definite(ways[turn % len(ways)])

    def phrases(self, entity: Entity, relations: dict[str, Relation], turn: int = 0) -> dict[str, str]:
        """What each name in braces stands for in a template about `entity`."""
        told = {name: listed([self.phrase(v, relations[name], turn) for v in values]) for name, values in entity.cells.items()}
        return {"entity": entity.phrase, **told}

    def introduce(self, draft: Draft, domain: Domain, entity: Entity, elsewhere: bool = False) -> list[str]:
        """Begin with a sentence on what the entity is; the relations that it tells."""
        template = intro(domain, entity, elsewhere)
        told = relations_in(template)
        phrases = self.phrases(entity, domain.phrasings.relations, number_of(draft.id))
        draft.tell(template, "entity", subject(domain, entity), phrases, facts(domain, entity, told))
        return told

    def tell_together(self, draft: Draft, domain: Domain, entity: Entity, template: str) -> None:
        """Tell two or three relations in one sentence."""
        told = relations_in(template)
        phrases = self.phrases(entity, domain.phrasings.relations, number_of(draft.id, template))
        draft.tell(template, "entity", subject(domain, entity), phrases, facts(domain, entity, told))

    def statement(self, domain: Domain, entity: Entity, name: str, elsewhere: bool = False) -> str:
        """A phrasing of one cell; elsewhere the next phrasing, so that a fact is told in different words."""
        relation = domain.phrasings.relations[name]
        templates = relation.many if len(entity.cells[name]) > 1 else relation.statements
        return templates[(number_of("phrasing", domain.name, entity.title, name) + elsewhere) % len(templates)]

    def state(self, draft: Draft, domain: Domain, entity: Entity, name: str, template: str) -> None:
        """Tell one cell. After it a "he" is clear unless the value is a person, an "it" only if the value is no thing."""
        told = self.told(domain, entity, name, template, number_of(draft.id, name))
        phrases = {"entity": entity.phrase, "value": told}
        rival = _is_rival(domain, entity, name)
        draft.tell(template, "entity", subject(domain, entity), phrases, facts(domain, entity, [name]), rival=rival)

    def state_both(self, draft: Draft, domain: Domain, entity: Entity, first: str, second: str) -> bool:
        """Tell two cells in one sentence, "… is about 80 kilometres long and flows into …", where their phrasings allow it."""
        joined = _join(self.statement(domain, entity, first), self.statement(domain, entity, second))
        if joined is None or max(len(entity.cells[first]), len(entity.cells[second])) > 1:
            return False
        phrases = {"entity": entity.phrase}
        for slot, name in (("first", first), ("second", second)):
            phrases[slot] = self.told(domain, entity, name, joined, number_of(draft.id, name))
        if len(f"{joined} {' '.join(phrases.values())}".split()) > _LONGEST_JOINED + 3:
            return False
        rival = _is_rival(domain, entity, first) or _is_rival(domain, entity, second)
        both = facts(domain, entity, [first, second])
        draft.tell(joined, "entity", subject(domain, entity), phrases, both, rival=rival)
        return True

    def told(self, domain: Domain, entity: Entity, name: str, template: str, turn: int) -> str:
        """The values of a cell as one phrase."""
        relation = domain.phrasings.relations[name]
        values = [self.phrase(value, relation, turn) for value in entity.cells[name]]
        if "the {value}" in template.lower():  # said once before the braces, it is meant for each
            values = [f"the {value.removeprefix('the ')}" for value in values]
        return listed(values)

    def words(self, domain: Domain, entity: Entity, name: str, template: str) -> int:
        """How many words a statement of the cell has when the entity is named in full."""
        return len(fill(template, {"entity": entity.phrase, "value": self.told(domain, entity, name, template, 0)}).split())

    def comparison(self, domain: Domain, entity: Entity, name: str, turn: int) -> str:
        """A statement of the cell that opens with "By comparison," or the like where it reads well so; without where not."""
        opening = _COMPARISONS[turn % len(_COMPARISONS)].replace("{plural}", domain.phrasings.plural)
        statement = self.statement(domain, entity, name, elsewhere=True)
        relation = domain.phrasings.relations[name]
        templates = relation.many if len(entity.cells[name]) > 1 else relation.statements
        continued = next(filter(None, map(after_comma, (statement, *templates))), None)
        return opening + continued if continued else statement

    def tell_from_the_value(self, draft: Draft, told: Sequence[Fact], about: Subject) -> None:
        """Tell the facts in which the article's subject is the value, several in one sentence where that reads well."""
        by_relation: dict[tuple[str, str], list[Fact]] = {}
        for fact in told:
            by_relation.setdefault((fact.domain.name, fact.relation.name), []).append(fact)
        for key, group in by_relation.items():
            group, turn = group[:_MOST_TOLD], number_of("inverse", draft.id, *key)
            templates = group[0].relation.inverse
            together = [template for template in templates if _takes_a_list(template)]
            size = _LISTED if together and len(group) > 2 else 1
            sentences = -(-len(group) // size)
            for i in range(sentences):  # as even as can be: four are told two and two
                some = group[i * len(group) // sentences : (i + 1) * len(group) // sentences]
                usable = together if len(some) > 1 else templates
                phrases = {"value": about.phrase, "entity": listed([fact.entity.phrase for fact in some])}
                draft.tell(usable[(turn + i) % len(usable)], "value", about, phrases, some, rival=False)


def subject(domain: Domain, entity: Entity) -> Subject:
    """An entity as the subject of sentences, with the short forms that suit it."""
    if entity.pronoun in ("he", "she"):
        names = {value.name for values in entity.cells.values() for value in values}
        short = None if names & _FAMILY_NAME_FIRST else short_name(entity.name, entity.aliases)
        return Subject(entity.phrase, entity.pronoun, short=short)
    return Subject(entity.phrase, entity.pronoun, again=domain.phrasings.short if entity.pronoun == "it" else None)


def facts(domain: Domain, entity: Entity, names: Iterable[str]) -> list[Fact]:
    """The facts of an entity's cells."""
    relations = domain.phrasings.relations
    return [Fact(domain, entity, relations[name], value) for name in names for value in entity.cells[name]]


def intro(domain: Domain, entity: Entity, elsewhere: bool = False) -> str:
    """An introduction whose facts are all known, if possible each with one value; elsewhere another one."""
    fits = [template for template in domain.phrasings.intro if set(placeholders(template)) <= {"entity", *entity.cells}]
    plain = [template for template in fits if has_one_value_each(template, entity)]
    return (plain or fits)[(number_of("intro", domain.name, entity.title) + elsewhere) % len(plain or fits)]


def together(domain: Domain, entity: Entity, names: Sequence[str], most: int) -> list[str]:
    """Templates that tell several of these relations at once, none told twice."""
    left, chosen = set(names), list[str]()
    order = sorted(domain.phrasings.together, key=lambda template: number_of("together", entity.title, template))
    for template in order:
        told = set(placeholders(template)) - {"entity"}
        if len(chosen) < most and told <= left and has_one_value_each(template, entity):
            chosen.append(template)
            left -= told
    return chosen


def has_one_value_each(template: str, entity: Entity) -> bool:
    return all(len(entity.cells.get(name, "1")) == 1 for name in placeholders(template))


def _is_rival(domain: Domain, entity: Entity, name: str) -> bool:
    relation = domain.phrasings.relations[name]
    person, plain = bool(set(relation.value.split()) & PEOPLE), relation.value in UNLINKED_KINDS
    return person if entity.pronoun in ("he", "she") else not (person or plain)


def _join(first: str, second: str) -> str | None:
    """Two statements as one sentence: both must open with the entity and go on without a comma.

    >>> _join("{entity} rises in {value}.", "{entity} flows into {value}.")
    '{entity} rises in {first} and flows into {second}.'
    """
    start = "{entity} "
    if not (first.startswith(start) and second.startswith(start)) or "," in first + second or " and " in first + second:
        return None
    return f"{first[:-1].replace('{value}', '{first}')} and {second.removeprefix(start).replace('{value}', '{second}')}"


def _takes_a_list(template: str) -> bool:
    before, _, after = template.partition("{entity}")
    words = before.split()
    return after == "." and words[-1:] != [] and words[-1] in _BEFORE_A_LIST and words[-2:] != ["city", "of"]
