"""How the facts of a domain are told: sentence templates and question templates, read from one TOML table and checked.

A template is plain English with names in braces, `"The capital of {entity} is {value}."`. Everything that could make a
sentence wrong later is refused here, with the file and the key: too few phrasings, an unknown name, a missing full stop.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minirag.corpus.miniwiki.tables import read_toml
from minirag.errors import MiniragError

_RELATION_KEYS = {"label", "value", "statements", "many", "inverse", "open", "absent"}
_RELATION_KEYS |= {"questions", "inverse_questions", "more_questions", "more_inverse_questions"}
_OVERVIEW_KEYS = {"title", "relations", "lines", "opening"}
_DOMAIN_KEYS = {"kind", "plural", "common", "short", "intro", "together", "relations", "overviews"}
# How many phrasings of each sort there must be. The last question of a relation is kept from training (see `questions.py`).
LEAST = {
    "intro": 6,
    "together": 5,
    "statements": 6,
    "many": 3,
    "inverse": 3,
    "questions": 5,
    "inverse_questions": 3,
    "more_questions": 1,
    "more_inverse_questions": 1,
    "lines": 3,
    "opening": 1,
    "articles_office": 6,
    "articles_person": 6,
    "background": 4,
}


@dataclass(frozen=True)
class Relation:
    """A relation such as `capital`, the kind of its values, and the ways to state it and to ask for it.

    `open`: the table need not have all values of an entity, so that another one is not false. `absent`: an empty cell means
    that there is no value (a living writer's year of death), not that the table does not know it. `more_questions` and
    `more_inverse_questions`: further ways to ask, for worlds that are not true only (`worlds.py`); no data set has them.
    """

    name: str
    label: str
    value: str
    statements: tuple[str, ...]
    many: tuple[str, ...]
    inverse: tuple[str, ...]
    questions: tuple[str, ...]
    inverse_questions: tuple[str, ...]
    more_questions: tuple[str, ...] = ()
    more_inverse_questions: tuple[str, ...] = ()
    open: bool = False
    absent: bool = False


@dataclass(frozen=True)
class Overview:
    """A list article over a domain, one for each value of the relation named in its title, or one for all."""

    title: str
    relations: tuple[str, ...]
    lines: tuple[str, ...]
    opening: tuple[str, ...]

    @property
    def group(self) -> str | None:
        """The relation in the title by which the entities are grouped."""
        return next(iter(placeholders(self.title)), None)


@dataclass(frozen=True)
class Phrasings:
    """All the templates of a domain, and what one of its entities is called (`kind`) and several of them (`plural`).

    `common`: the names are common nouns, written small inside a sentence (gold). `short`: what an entity may be called once it
    has been named ("the river"). `together`: sentences that tell two or three relations at once.
    """

    kind: str
    plural: str
    common: bool
    short: str | None
    intro: tuple[str, ...]
    together: tuple[str, ...]
    relations: dict[str, Relation]
    overviews: tuple[Overview, ...]


@dataclass(frozen=True)
class OfficePhrasings:
    """How to tell who holds an office, on its own page and on the holder's, and how to ask for it."""

    articles_office: tuple[str, ...]
    articles_person: tuple[str, ...]
    background: tuple[str, ...]
    question: str


def placeholders(template: str) -> list[str]:
    """The names in braces, in order.

    >>> placeholders("The capital of {entity} is {value}.")
    ['entity', 'value']
    """
    return re.findall(r"\{([a-z0-9_]+)\}", template)


def relations_in(template: str) -> list[str]:
    """The relations that a template on `{entity}` tells."""
    return [name for name in placeholders(template) if name != "entity"]


def read_phrasings(path: Path) -> Phrasings:
    """Read and check one table of phrasings; a `MiniragError` names the file and the key that is wrong."""
    reader = _Table(path.name, "", read_toml(path), _DOMAIN_KEYS)
    relations = {}
    for name, entry in reader.table("relations").items():
        relations[name] = _relation(_Table(path.name, f"relations.{name}.", entry, _RELATION_KEYS), name)
    intro = reader.templates("intro", needs={"entity"}, allows={"entity", *relations}, end=".")
    together = reader.templates("together", needs={"entity"}, allows={"entity", *relations}, end=".")
    for template in together:
        if not 3 <= len(placeholders(template)) <= 4:
            raise reader.fault("together", f"has one relation or too many in {template!r}", "tell two or three")
    overviews = [
        _overview(_Table(path.name, f"overviews[{i}].", entry, _OVERVIEW_KEYS), relations)
        for i, entry in enumerate(reader.raw.get("overviews", []))
    ]
    short = reader.text("short") if "short" in reader.raw else None
    if short is not None and not re.fullmatch(r"the [a-z ]+", short):
        raise reader.fault("short", f"is {short!r}", 'write it like "the river"')
    kind, plural, common = reader.text("kind"), reader.text("plural"), reader.flag("common")
    return Phrasings(kind, plural, common, short, intro, together, relations, tuple(overviews))


def read_office_phrasings(path: Path) -> OfficePhrasings:
    """Read and check the templates of the dated snapshots."""
    reader = _Table(path.name, "", read_toml(path), {"articles_office", "articles_person", "background", "question"})
    told = {"position", "holder", "since"}
    return OfficePhrasings(
        reader.templates("articles_office", needs=told, allows=told, end="."),
        reader.templates("articles_person", needs=told, allows=told, end="."),
        reader.templates("background", needs={"position", "country"}, allows={"position", "country"}, end="."),
        _office_question(reader),
    )


def _office_question(reader: "_Table") -> str:
    question = reader.text("question")
    if placeholders(question) != ["position"] or not question.endswith("?"):
        raise reader.fault("question", f"is {question!r}", 'ask for {position} once, as in "Who is {position}?"')
    return question


def _relation(reader: "_Table", name: str) -> Relation:
    both, entity, value = {"entity", "value"}, {"entity"}, {"value"}
    questions = reader.templates("questions", needs=entity, allows=entity, end="?")
    inverse_questions = reader.templates("inverse_questions", needs=value, allows=value, end="?", optional=True)
    return Relation(
        name=name,
        label=reader.text("label"),
        value=reader.text("value"),
        statements=reader.templates("statements", needs=both, allows=both, end="."),
        many=reader.templates("many", needs=both, allows=both, end=".", optional=True),
        inverse=reader.templates("inverse", needs=both, allows=both, end=".", optional=True),
        questions=questions,
        inverse_questions=inverse_questions,
        more_questions=_more(reader, "more_questions", entity, questions),
        more_inverse_questions=_more(reader, "more_inverse_questions", value, inverse_questions),
        open=reader.flag("open"),
        absent=reader.flag("absent"),
    )


def _more(reader: "_Table", key: str, slot: set[str], questions: tuple[str, ...]) -> tuple[str, ...]:
    """Further ways to ask; where one were a question of the data sets, training would see the words that are kept from it."""
    more = reader.templates(key, needs=slot, allows=slot, end="?", optional=True)
    if again := {template.lower() for template in questions} & {template.lower() for template in more}:
        raise reader.fault(key, f"repeats the question {min(again)!r}", "ask in other words")
    kept = re.sub(r"\\\{[a-z]+\\\}", "(.+)", re.escape(questions[-1])) if questions else "(?!)"  # from training
    if near := [template for template in more if re.fullmatch(kept, template, re.IGNORECASE)]:
        raise reader.fault(key, f"has {near[0]!r}, which asks in the words of the last question", "ask in other words")
    return more


def _overview(reader: "_Table", relations: Collection[str]) -> Overview:
    title = reader.text("title")
    group = set(placeholders(title))
    told = reader.strings("relations")
    if len(group) > 1 or not group <= set(relations):
        raise reader.fault("title", f"groups by {sorted(group)}", "group by one relation of this file, or by none")
    if not 1 <= len(told) <= 3 or not set(told) <= set(relations):
        raise reader.fault("relations", f"is {list(told)}", "name one to three relations of this file")
    lines = reader.templates("lines", needs={"entity", *told}, allows={"entity", *told, *group}, end=".")
    opening = reader.templates("opening", needs=set(), allows=group, end=".")
    return Overview(title, told, lines, opening)


class _Table:
    """A TOML table that knows where it stands, so that every complaint can say so."""

    def __init__(self, file: str, where: str, raw: Any, keys: set[str]) -> None:
        self.file, self.where = file, where
        if not isinstance(raw, dict):
            raise self.fault("", "is not a table", "write it as a TOML table")
        self.raw: dict[str, Any] = raw
        if unknown := sorted(set(raw) - keys):
            raise self.fault(unknown[0], "is not a known key", f"use only {', '.join(sorted(keys))}")

    def fault(self, key: str, wrong: str, remedy: str) -> MiniragError:
        """The error for `key`, ready to be raised."""
        return MiniragError(f"{self.file}: {(self.where + key).rstrip('.')} {wrong}; {remedy}")

    def table(self, key: str) -> dict[str, Any]:
        value = self.raw.get(key)
        if not isinstance(value, dict) or not value:
            raise self.fault(key, "is missing", "write at least one relation")
        return value

    def text(self, key: str) -> str:
        value = self.raw.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.fault(key, "is missing", "write it as a string")
        return value

    def flag(self, key: str) -> bool:
        value = self.raw.get(key, False)
        if not isinstance(value, bool):
            raise self.fault(key, f"is {value!r}", "write true or false")
        return value

    def strings(self, key: str) -> tuple[str, ...]:
        value = self.raw.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fault(key, "is not a list of strings", "write it as one")
        if len(set(value)) < len(value):
            raise self.fault(key, "says the same twice", "leave one of them out")
        return tuple(value)

    def templates(self, key: str, *, needs: set[str], allows: set[str], end: str, optional: bool = False) -> tuple[str, ...]:
        """A list of templates: enough of them, each with the names it needs, no others, none twice, and its end mark."""
        templates = self.strings(key)
        if optional and key not in self.raw:
            return ()
        if len(templates) < LEAST[key]:
            raise self.fault(key, f"has {len(templates)} phrasings", f"write at least {LEAST[key]}")
        for template in templates:
            names = placeholders(template)
            bare = re.sub(r"\{[a-z0-9_]+\}", "", template)
            if not needs <= set(names) <= allows or len(names) > len(set(names)) or "{" in bare or "}" in bare:
                wanted = ", ".join(f"{{{name}}}" for name in sorted(needs or allows))
                raise self.fault(key, f"has wrong placeholders in {template!r}", f"use {wanted}, each once")
            if not template.endswith(end) or template != " ".join(template.split()):
                raise self.fault(key, f"has a stray space or no final {end!r} in {template!r}", "mend the sentence")
        return templates
