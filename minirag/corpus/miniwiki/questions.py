"""Facts become questions, forwards and from the value's side, for Natural Questions, WebQuestions and CuratedTREC.

One question for each cell of the tables, and one from the value's side where at most three entities have it. A question about
a value that is itself an entity may go to WebQuestions (its answers are Freebase entities), any other one to CuratedTREC.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from minirag.corpus.miniwiki.english import fill, number_of
from minirag.corpus.miniwiki.examples import Example, keys_of, phrasing, spellings
from minirag.corpus.miniwiki.facts import Domain, Fact, Links, contains, facts_of, normal, share_a_stem, tokens
from minirag.corpus.miniwiki.splits import FactKey, Splitting
from minirag.corpus.miniwiki.values import styles

_MOST_ENTITIES = 3  # an inverse question that more entities answer would not be a fair one
_WEBQUESTIONS, _TREC = 50, 10  # percent of the questions that suit them


@dataclass(frozen=True)
class Asked:
    """A question before its words are chosen: what it gives, what it asks for, and the facts that answer it."""

    given: str
    entity: str
    templates: tuple[str, ...]
    answers: tuple[str, ...]
    facts: tuple[Fact, ...]
    keys: tuple[FactKey, ...]
    inverse: bool


def askable(domains: Sequence[Domain], links: Links) -> list[Asked]:
    """Everything that can be asked, in the order of the tables."""
    return [*_forwards(domains, links), *_backwards(domains, links)]


def tied_by_words(asked: Iterable[Asked]) -> list[tuple[FactKey, ...]]:
    """The facts that one question joins, be it by several answers or by the same words in two domains."""
    by_words: dict[tuple[str, str], list[FactKey]] = {}
    for each in asked:
        for template in each.templates:
            by_words.setdefault((template, normal(each.given)), []).extend(each.keys)
    return [tuple(keys) for keys in by_words.values()]


def questions(asked: Iterable[Asked], splits: Splitting) -> list[Example]:
    """The questions in words; questions of the same words become one, with all their answers and facts."""
    merged: dict[str, Example] = {}
    for each in asked:
        split = splits.of(each.keys[0])
        slot = "value" if each.inverse else "entity"
        first = each.facts[0]
        template, new = phrasing(each.templates, split, first.domain.name, first.relation.name, each.given, slot)
        text = fill(template, {slot: each.given})
        answers = _not_given_away(text, each)
        if answers:
            before = merged.get(text)
            merged[text] = Example(
                id=f"{number_of(text):016x}",
                split=split,
                text=text,
                answers=tuple(dict.fromkeys((before.answers if before else ()) + answers)),
                entity=each.entity,
                domain=first.domain.name,
                relations=(first.relation.name,),
                facts=tuple(dict.fromkeys((before.facts if before else ()) + each.keys)),
                told=(before.told if before else ()) + each.facts,
                inverse=each.inverse,
                new_phrasing=new,
            )
    return list(merged.values())


def published_set(question: Example, links: Links) -> str:
    """Which of the three published sets a question belongs to."""
    lot = number_of("set", question.id) % 100
    if not question.inverse and all(links.find(fact.value, fact.relation) for fact in question.told):
        return "webquestions" if lot < _WEBQUESTIONS else "nq"
    # A pattern is matched whatever the case: the symbol It would be found everywhere.
    return "curatedtrec" if lot < _TREC and min(map(len, question.answers)) > 2 else "nq"


def answer_pattern(answers: Sequence[str]) -> str:
    """A regular expression for the answers, as CuratedTREC has them: whole words, any white space between them.

    >>> answer_pattern(["New York", "N.Y."])
    '(?<!\\\\w)(New\\\\s+York|N\\\\.Y\\\\.)(?!\\\\w)'
    """
    ways = [r"\s+".join(re.escape(word) for word in answer.split()) for answer in answers]
    return rf"(?<!\w)({'|'.join(dict.fromkeys(ways))})(?!\w)"


def _forwards(domains: Sequence[Domain], links: Links) -> Iterator[Asked]:
    for domain in domains:
        for entity in domain.entities:
            for name, values in entity.cells.items():
                relation = domain.phrasings.relations[name]
                facts = tuple(Fact(domain, entity, relation, value) for value in values)
                answers = tuple(spelling for fact in facts for spelling in spellings(fact, links))
                keys = keys_of(facts, links)
                yield Asked(entity.phrase, entity.title, relation.questions, answers, facts, keys, inverse=False)


def _backwards(domains: Sequence[Domain], links: Links) -> Iterator[Asked]:
    by_value: dict[tuple[str, str, str], list[Fact]] = {}
    for fact in facts_of(domains):
        target = links.find(fact.value, fact.relation)
        key = normal(target[1].title if target else fact.value.name)
        by_value.setdefault((fact.domain.name, fact.relation.name, key), []).append(fact)
    for facts in by_value.values():
        first = facts[0]
        plain = not any(share_a_stem(fact.value.name, fact.entity.name) for fact in facts)  # else it answers itself
        if first.relation.inverse_questions and len(facts) <= _MOST_ENTITIES and plain:
            target = links.find(first.value, first.relation)
            given = target[1].phrase if target else styles(first.relation.value, first.value.name)[0]
            answers = tuple(name for fact in facts for name in (fact.entity.name, *fact.entity.aliases))
            templates, keys = first.relation.inverse_questions, keys_of(facts, links)
            yield Asked(given, first.entity.title, templates, answers, tuple(facts), keys, inverse=True)


def _not_given_away(text: str, asked: Asked) -> tuple[str, ...]:
    """The answers without those that stand in the question; none at all if a whole fact is given away."""
    names = [fact.entity.name if asked.inverse else fact.value.name for fact in asked.facts]
    if any(contains(text, name) for name in names):
        return ()
    return tuple(dict.fromkeys(answer for answer in asked.answers if tokens(answer) and not contains(text, answer)))
