"""An example of any task: what is asked or claimed, what is accepted, the facts it rests on, and how new it is.

How new: the entity may be one that no training example knows, the phrasing one that training never uses.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from minirag.corpus.miniwiki.english import number_of, pick
from minirag.corpus.miniwiki.facts import Fact, Links, Value, normal
from minirag.corpus.miniwiki.splits import FactKey, fact_key
from minirag.corpus.miniwiki.values import styles


@dataclass(frozen=True)
class Example:
    """A question, claim or clue (`text`), what counts as its answer (the first is the articles' own; a claim has its label),
    and where it comes from: the entity it is about, relations, facts by key, and the facts that an article must tell.

    `sentence`: an answer in a whole sentence, for the task that wants one; `category`: a clue's, where its domain is none.
    `evidence`: for an example on prose the sentences that decide it, by page and number.
    """

    id: str
    split: str
    text: str
    answers: tuple[str, ...]
    entity: str
    domain: str
    relations: tuple[str, ...]
    facts: tuple[FactKey, ...]
    told: tuple[Fact, ...]
    inverse: bool = False
    new_phrasing: bool = False
    new_entity: bool = False
    sentence: str = ""
    category: str = ""
    evidence: tuple[tuple[str, int], ...] = ()


def spellings(fact: Fact, links: Links) -> list[str]:
    """What counts as the value: its styles, its other spellings, and the names of the entity that it is."""
    target = links.find(fact.value, fact.relation)
    return [*value_names(fact.value, fact.relation.value), *((target[1].name, *target[1].aliases) if target else ())]


def value_names(value: Value, kind: str) -> list[str]:
    """A value in all its styles and spellings, without the article that it takes in a sentence."""
    return [style.removeprefix("the ") for name in (value.name, *value.others) for style in styles(kind, name)]


def keys_of(facts: Iterable[Fact], links: Links) -> tuple[FactKey, ...]:
    """The keys of facts, each once."""
    return tuple(dict.fromkeys(fact_key(fact, links) for fact in facts))


def phrasing(templates: Sequence[str], split: str, *names: str) -> tuple[str, bool]:
    """A template, and whether it is new: the last one is kept from training, and half of dev and test use it."""
    if split != "train" and number_of("new phrasing", *names) % 2:
        return templates[-1], True
    return pick(templates[:-1], *names), False


def marked(examples: Sequence[Example], trained: Iterable[Example]) -> list[Example]:
    """The examples, those outside training marked if no training example has a fact of their entity."""
    seen = {name for example in trained for key in example.facts for name in key}
    return [
        replace(example, new_entity=example.split != "train" and normal(example.entity) not in seen) for example in examples
    ]
