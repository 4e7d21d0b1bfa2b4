"""Several facts on one entity become a trivia question or a Jeopardy clue that only this entity answers.

Built from the statements that open with the entity: "{entity} rises in {value}." gives "Which river rises in …?" and
"This river rises in …". The facts of one text are all of one split; the frames kept for the end are never used in training.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import combinations

from minirag.corpus.miniwiki.english import fill, number_of, pick
from minirag.corpus.miniwiki.examples import Example, keys_of, phrasing
from minirag.corpus.miniwiki.facts import Domain, Entity, Links, contains, share_a_stem
from minirag.corpus.miniwiki.splits import Splitting
from minirag.corpus.miniwiki.telling import Teller, facts, has_one_value_each

_TRIVIA = (
    "Which {kind} {first} and {second}?",
    "What {kind} {first} and {second}?",
    "Of all {plural}, which one {first} and {second}?",
    "Name the {kind} that {first} and {second}.",
)
MORE_TRIVIA = (  # for worlds that are not true only; the last one is not used
    "Which {kind} {first}, and also {second}?",
    "Which is the {kind} that {first} and {second}?",
    "Can you think of the {kind} that {first} and {second}?",
    "It {first} and {second}: which {kind} is it?",
    "There is a {kind} that {first} and {second}; which one?",
    "Among the {plural}, which {first} and {second}?",
    "{first} and {second}: which {kind} is meant?",
    "A {kind} {first} and {second}. Which?",
    "What do you call the {kind} that {first} and {second}?",
    "I am looking for a {kind} that {first}; moreover it {second}. Which one is it?",
    *_TRIVIA,
)
_JEOPARDY = (
    "This {kind} {first} and {second}.",
    "This {kind}, which {first}, {second}.",
    "It {first}; this {kind} {second}.",
    "The {kind} to be named {first} and {second}.",
)
_MOST = {"train": 2, "dev": 2, "test": 4}  # texts of a kind for an entity in a split


def trivia(domains: Sequence[Domain], links: Links, splits: Splitting, frames: Sequence[str] = _TRIVIA) -> list[Example]:
    """Questions as quizzes ask them, for TriviaQA; the last frame is kept from training."""
    return list(_described(domains, links, splits, frames, "trivia"))


def jeopardy(domains: Sequence[Domain], links: Links, splits: Splitting) -> list[Example]:
    """Clues as Jeopardy gives them: a statement whose subject is to be named."""
    return list(_described(domains, links, splits, _JEOPARDY, "jeopardy"))


def category(example: Example, domains: Sequence[Domain]) -> str:
    """The heading under which Jeopardy would give a clue."""
    return next(domain for domain in domains if domain.name == example.domain).phrasings.plural.upper()


def _described(
    domains: Sequence[Domain], links: Links, splits: Splitting, frames: Sequence[str], task: str
) -> Iterator[Example]:
    teller = Teller(links)
    for domain in domains:
        having = _having(domain)
        for entity in domain.entities:
            by_split: dict[str, list[str]] = {}
            for name in entity.cells:
                split = splits.of_all(keys_of(facts(domain, entity, [name]), links))
                if split and _usable(domain, entity, name):
                    by_split.setdefault(split, []).append(name)
            for split, names in by_split.items():
                pairs = [pair for pair in combinations(names, 2) if _only(entity, pair, having)]
                pairs.sort(key=lambda pair: number_of(task, entity.title, *pair))
                for pair in pairs[: _MOST[split]]:
                    yield _example(domain, entity, pair, split, frames, task, teller)


def _example(
    domain: Domain, entity: Entity, names: tuple[str, str], split: str, frames: Sequence[str], task: str, teller: Teller
) -> Example:
    frame, new = phrasing(_for(entity, frames), split, task, domain.name, entity.title, *names)
    phrases = {"kind": domain.phrasings.kind, "plural": domain.phrasings.plural}
    for slot, name, template in zip(("first", "second"), names, _two_predicates(domain, names, task, entity), strict=True):
        phrases[slot] = fill_predicate(template, teller.told(domain, entity, name, template, number_of(task, entity.title)))
    told = facts(domain, entity, names)
    text = fill(frame, phrases)
    answers = tuple(dict.fromkeys((entity.name, *entity.aliases)))
    identity = f"{number_of(task, text):016x}"
    keys = keys_of(told, teller.links)
    return Example(
        identity, split, text, answers, entity.title, domain.name, names, keys, tuple(told), inverse=True, new_phrasing=new
    )


def fill_predicate(template: str, value: str) -> str:
    """The template without its subject and full stop.

    >>> fill_predicate("{entity} rises in {value}.", "Lake Tana")
    'rises in Lake Tana'
    """
    return fill(f"x {template.removeprefix('{entity} ').removesuffix('.')}", {"value": value})[2:]


def _for(entity: Entity, frames: Sequence[str]) -> list[str]:
    """The frames in the words for a person, where it is one."""
    if entity.pronoun in ("it", "they"):
        return list(frames)
    frames = [frame.replace(" that ", " who ").replace("which {first},", "who {first},") for frame in frames]
    return [frame.replace("It {", f"{entity.pronoun.capitalize()} {{") for frame in frames]


def _predicates(domain: Domain, name: str) -> list[str]:
    """The statements of a relation that only say something of the entity, in one clause, without naming its kind again."""
    kinds = f"{domain.phrasings.kind} {domain.phrasings.plural}"
    words = {word for word in kinds.split() if len(word) > 3}  # "of" and "the" are no kinds
    return [
        template
        for template in domain.phrasings.relations[name].statements
        if template.startswith("{entity} ")
        and not any(sign in template for sign in (",", ";", " and "))
        and not words & set(re.findall(r"\w+", template))
        and not share_a_stem(kinds, template)  # an invention that was invented
    ]


def _two_predicates(domain: Domain, names: tuple[str, str], task: str, entity: Entity) -> tuple[str, str]:
    """A predicate for each relation, in different words if that can be: not "died in 1516 and died in Venice"."""
    first = pick(_predicates(domain, names[0]), task, entity.title, names[0])
    others = _predicates(domain, names[1])
    varied = [template for template in others if template.split()[1:3] != first.split()[1:3]]
    return first, pick(varied or others, task, entity.title, names[1])


def _usable(domain: Domain, entity: Entity, name: str) -> bool:
    """Whether the cell has one value, which neither names the entity nor is named by it."""
    values = entity.cells[name]
    names = (entity.name, *entity.aliases)
    value = values[0].name
    shared = any(contains(value, one) or contains(one, value) or share_a_stem(value, one) for one in names)
    return has_one_value_each(f"{{{name}}}", entity) and not shared and bool(_predicates(domain, name))


def _having(domain: Domain) -> dict[tuple[str, str], set[str]]:
    having: dict[tuple[str, str], set[str]] = {}
    for entity in domain.entities:
        for name, values in entity.cells.items():
            for value in values:
                having.setdefault((name, value.name), set()).add(entity.title)
    return having


def _only(entity: Entity, names: tuple[str, ...], having: dict[tuple[str, str], set[str]]) -> bool:
    """Whether no other entity of its domain has these values."""
    return set.intersection(*(having[name, entity.cells[name][0].name] for name in names)) == {entity.title}
