"""New names for a world that is not true: about half of the words that names are made of are exchanged.

Who reads of "Georg Teleckner" and "The Golden Letter" in one world, and of others in the next, cannot know names by heart and
learns to take them from the passage, token by token. A word that stands in names only becomes the head of one such word with
the tail of another, of the same kind ("Telemann", "Bruckner"), so that it still looks like what it names; one that has a
meaning ("Scarlet") becomes another of those. It is exchanged wherever it stands, in titles, other names and values, so that
what was linked is linked.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from minirag.corpus.miniwiki.facts import UNLINKED_KINDS, Domain, Entity, Value, normal

_WORD = re.compile(r"[^\W\d_]+")
_JOINT = re.compile(r"(?<=[aeiou])(?=[^\W\d_aeiou])", re.IGNORECASE)  # Te|le|mann
_SHORTEST = 4  # letters of a word that is exchanged (not VII, nor de), or made
_COMMON = 8  # names: a word of more (Mount, University, William) is nobody's own
_SHARE = 0.5  # of the words exchanged in a world
_TRIES = 20


@dataclass(frozen=True)
class Names:
    """The words of names as they are written in them, each with what it names: a domain, or a kind of value.

    `own`: in small letters, words that only names have. `meant`: capitalised words of names that have a meaning elsewhere.
    """

    own: dict[str, str]
    meant: dict[str, str]

    @classmethod
    def of(cls, domains: Sequence[Domain]) -> Names:
        """Words of names begin with a capital, but in titles that are common nouns ("gold"). A word has a meaning if a template
        says it, or some name in small letters. What many names share is left alone, and so are short words."""
        said = {word.lower() for domain in domains for text in _texts(domain.phrasings) for word in _WORD.findall(text)}
        kinds: dict[tuple[str, bool], str] = {}
        names: Counter[str] = Counter()
        for kind, common, name in _named(domains):
            words = [word for word in dict.fromkeys(_WORD.findall(name)) if len(word) >= _SHORTEST and not word.isupper()]
            said |= set() if common else {word for word in words if word.islower()}
            for word in words if common else (word for word in words if word[0].isupper()):
                kinds.setdefault((word.lower(), common), kind)
                names[word.lower()] += 1
        few = {key: kind for key, kind in kinds.items() if names[key[0]] <= _COMMON}
        own = {word: kind for (word, _), kind in few.items() if word not in said}
        return cls(own, {word.title(): kind for (word, common), kind in few.items() if word in said and not common})

    def exchanged(self, chance: random.Random) -> dict[str, str]:
        """New words for some of these; no two are the same, and no word that only names have is made a second time."""
        new, taken = {}, set(self.own)
        alike = _by_kind(word for word in self.own.items() if _JOINT.search(word[0]))
        for word, kind in self.own.items():
            if chance.random() < _SHARE and len(alike[kind]) > 1:
                pairs = (chance.sample(alike[kind], 2) for _ in range(_TRIES))
                made = (blended(one, other, chance) for one, other in pairs)
                new[word] = next((each for each in made if len(each) >= _SHORTEST and each not in taken), word)
                taken.add(new[word])
        for words in _by_kind(self.meant.items()).values():
            some = [word for word in words if chance.random() < _SHARE]
            new |= zip(some, chance.sample(some, len(some)), strict=True)
        return new


def _by_kind(kinds: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for word, kind in kinds:
        found[kind].append(word)
    return found


def blended(one: str, other: str, chance: random.Random) -> str:
    """The head of one word and the tail of another, cut between a vowel and a consonant.

    >>> blended("telemann", "bruckner", random.Random(1)), blended("telemann", "bruckner", random.Random(7))
    ('teckner', 'teleckner')
    """
    head, tail = ([joint.start() for joint in _JOINT.finditer(word)] for word in (one, other))
    return one[: chance.choice(head)] + other[chance.choice(tail) :]


def renamed(domains: Sequence[Domain], new: dict[str, str]) -> list[Domain]:
    """The domains with words exchanged in every name. Of entities of a domain that come out with one title, one is left."""

    def name(text: str) -> str:
        return _WORD.sub(lambda match: word(match[0]), text)

    def word(one: str) -> str:
        other = new.get(one) or new.get(one.lower(), one)
        return other[:1].upper() + other[1:] if one[:1].isupper() else other

    def value(one: Value) -> Value:
        return Value(name(one.name), tuple(map(name, one.others)))

    def entity(one: Entity) -> Entity:
        cells = {relation: tuple(map(value, values)) for relation, values in one.cells.items()}
        return replace(one, title=name(one.title), aliases=tuple(map(name, one.aliases)), cells=cells)

    return [
        replace(domain, entities=tuple({normal(one.title): one for one in map(entity, domain.entities)}.values()))
        for domain in domains
    ]


def _named(domains: Iterable[Domain]) -> Iterable[tuple[str, bool, str]]:
    """What is named, whether it is by a common noun, and the name: titles first."""
    for domain in domains:
        for entity in domain.entities:
            for name in (entity.title, *entity.aliases):
                yield domain.name, entity.common, name
    for domain in domains:
        for entity in domain.entities:
            for relation, values in entity.cells.items():
                kind = domain.phrasings.relations[relation].value
                if kind not in UNLINKED_KINDS:
                    for value in values:
                        for name in (value.name, *value.others):
                            yield kind, False, name


def _texts(part: Any) -> Iterable[str]:
    """Every text of phrasings."""
    if isinstance(part, str):
        yield part
    elif is_dataclass(part):
        for field in fields(part):
            yield from _texts(getattr(part, field.name))
    elif isinstance(part, (tuple, dict)):
        for each in part.values() if isinstance(part, dict) else part:
            yield from _texts(each)
