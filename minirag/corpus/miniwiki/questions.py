"""Facts become questions, split so that no fact is asked of in two splits, neither forwards nor backwards.

A fact is known by the unordered pair of its names. A question that joins several facts (several values, several entities,
or the same words in two domains) ties them together; what is tied by any chain of questions goes into one split. (Union-find:
each fact points to another one tied to it, the last in the chain stands for all.)
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from minirag.corpus.miniwiki.facts import Domain, Fact, Links, Value, contains, facts_of, normal
from minirag.corpus.miniwiki.prose import fill, number_of, pick

SPLITS = ("train", "dev", "test")
_MOST_ENTITIES = 3  # an inverse question that more entities answer would not be a fair one
_LARGEST_HELD_OUT = 25  # facts: what ties more together (all borders of a continent) is for training

FactKey = tuple[str, str]


@dataclass(frozen=True)
class Question:
    """A question, every accepted answer (the first is the articles' own spelling), and where it comes from."""

    id: str
    question: str
    answer: tuple[str, ...]
    domain: str
    relation: str
    inverse: bool
    facts: tuple[FactKey, ...]


def questions(domains: Sequence[Domain]) -> dict[str, list[Question]]:
    """One question for each cell, and one from the value's side where at most three entities have it, in three splits.

    About 80, 10 and 10 percent; the same on every machine.
    """
    asked = _merged([*_forwards(domains), *_backwards(domains)])
    split_of = _splits(asked)
    return {split: [question for question in asked if split_of[question.facts[0]] == split] for split in SPLITS}


def fact_key(fact: Fact, links: Links) -> FactKey:
    """The unordered pair of names that a fact, its inverse, and the same fact in another domain share."""
    target = links.find(fact.value, fact.relation)
    one, other = normal(fact.entity.title), normal(target[1].title if target else fact.value.name)
    return (one, other) if one < other else (other, one)


def _forwards(domains: Sequence[Domain]) -> Iterable[Question]:
    links = Links(domains)
    cells: dict[tuple[str, str, str], list[Fact]] = {}
    for fact in facts_of(domains):
        cells.setdefault((fact.domain.name, fact.entity.title, fact.relation.name), []).append(fact)
    for (domain, title, relation), facts in cells.items():
        template = pick(facts[0].relation.questions, "question", domain, title, relation)
        answers = [spelling for fact in facts for spelling in _spellings(fact, links)]
        yield from _asked(fill(template, {"entity": facts[0].entity.phrase}), answers, facts, links, inverse=False)


def _backwards(domains: Sequence[Domain]) -> Iterable[Question]:
    links = Links(domains)
    by_value: dict[tuple[str, str, str], list[Fact]] = {}
    for fact in facts_of(domains):
        target = links.find(fact.value, fact.relation)
        key = normal(target[1].title if target else fact.value.name)
        by_value.setdefault((fact.domain.name, fact.relation.name, key), []).append(fact)
    for (domain, relation, key), facts in by_value.items():
        templates = facts[0].relation.inverse_questions
        if templates and len(facts) <= _MOST_ENTITIES:
            target = links.find(facts[0].value, facts[0].relation)
            name = target[1].phrase if target else facts[0].value.name
            answers = [name for fact in facts for name in (fact.entity.name, *fact.entity.aliases)]
            template = pick(templates, "inverse question", domain, relation, key)
            yield from _asked(fill(template, {"value": name}), answers, facts, links, inverse=True)


def _asked(text: str, answers: list[str], facts: list[Fact], links: Links, inverse: bool) -> Iterable[Question]:
    """The question without the answers that its own words give away; none if that leaves out a whole fact."""
    names = [fact.entity.name if inverse else fact.value.name for fact in facts]
    if not any(contains(text, name) for name in names):
        domain, relation = facts[0].domain.name, facts[0].relation.name
        kept = tuple(dict.fromkeys(answer for answer in answers if not contains(text, answer)))
        keys = tuple(dict.fromkeys(fact_key(fact, links) for fact in facts))
        yield Question(f"{number_of(text):016x}", text, kept, domain, relation, inverse, keys)


def _spellings(fact: Fact, links: Links) -> list[str]:
    """The value, its other spellings, and the names of the entity it is."""
    target = links.find(fact.value, fact.relation)
    return [*_names(fact.value), *((target[1].name, *target[1].aliases) if target else ())]


def _names(value: Value) -> tuple[str, ...]:
    return (value.name.removeprefix("the "), *value.others)


def _merged(asked: Iterable[Question]) -> list[Question]:
    """Questions of the same words become one with all their answers and facts."""
    merged: dict[str, Question] = {}
    for question in asked:
        first = merged.get(question.question)
        if first:
            answer = tuple(dict.fromkeys(first.answer + question.answer))
            facts = tuple(dict.fromkeys(first.facts + question.facts))
            question = Question(first.id, first.question, answer, first.domain, first.relation, first.inverse, facts)
        merged[question.question] = question
    return list(merged.values())


def _splits(asked: Sequence[Question]) -> dict[FactKey, str]:
    """The split of every fact: that of the facts it is tied to."""
    tied: dict[FactKey, FactKey] = {key: key for question in asked for key in question.facts}

    def last(key: FactKey) -> FactKey:
        while tied[key] != key:
            tied[key] = tied[tied[key]]  # halve the chain for the next walk
            key = tied[key]
        return key

    for question in asked:
        for key in question.facts:
            one, other = last(question.facts[0]), last(key)
            tied[max(one, other)] = min(one, other)  # the smallest name stands for all, whatever the order
    sizes = Counter(last(key) for key in tied)

    def split(key: FactKey) -> str:
        lot = number_of("split", *key) % 10
        return "train" if sizes[key] > _LARGEST_HELD_OUT or lot < 8 else SPLITS[lot - 7]

    return {key: split(last(key)) for key in tied}
