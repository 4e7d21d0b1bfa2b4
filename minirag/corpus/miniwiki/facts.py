"""What is known: entities and their facts, read from one CSV a domain and checked cell by cell.

A row is an entity, a column a relation, a cell its value or several separated by `;`, and behind a bar `|` stand further
accepted spellings of a value. Where a value is itself an entity of some domain, `Links` finds it.
"""

import functools
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from minirag.corpus.miniwiki.phrasings import Phrasings, Relation, read_phrasings, relations_in
from minirag.corpus.miniwiki.tables import read_csv
from minirag.corpus.miniwiki.values import parse_date
from minirag.errors import MiniragError
from minirag.paths import data_dir

_FIXED = ("entity", "aliases", "pronoun", "the")
_PRONOUNS = ("it", "he", "she", "they")
_PLACES = {"place", "city", "country", "state", "region", "landmark", "namesake", "power"}
_STEM = 5  # letters that two words share if one gives the other away
UNLINKED_KINDS = ("year", "number", "symbol", "date")  # a year or a symbol that looks like a name is still no entity


@dataclass(frozen=True)
class Value:
    """A value as the articles write it, and other spellings that are accepted as an answer."""

    name: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entity:
    """What an article is about; inside a sentence its name may take an article (`the` United States) or be `common` (gold)."""

    title: str
    aliases: tuple[str, ...]
    pronoun: str
    the: bool
    common: bool
    cells: dict[str, tuple[Value, ...]]

    @property
    def name(self) -> str:
        """The title without a parenthesis that only tells it from its namesakes."""
        return re.sub(r" \([^)]*\)$", "", self.title)

    @property
    def phrase(self) -> str:
        """The name as it stands inside a sentence."""
        name = self.name[:1].lower() + self.name[1:] if self.common else self.name
        return f"the {name}" if self.the else name


@dataclass(frozen=True)
class Domain:
    """Entities of one kind with the ways to tell of them."""

    name: str
    phrasings: Phrasings
    entities: tuple[Entity, ...]


@dataclass(frozen=True)
class Fact:
    """One value of one cell."""

    domain: Domain
    entity: Entity
    relation: Relation
    value: Value


def tokens(text: str) -> list[str]:
    """Words and signs in lower case without accents: what two names must share to be the same.

    >>> tokens("Brasília, C++")
    ['brasilia', ',', 'c', '+', '+']
    """
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return re.findall(r"\w+|[^\w\s]", text.lower())


@functools.lru_cache(maxsize=1 << 16)
def normal(name: str) -> str:
    """A name's key: its tokens without punctuation and without a leading article.

    >>> normal("The Washington, D.C.") == normal("Washington DC")
    False
    >>> normal("the Hague") == normal("Hague")
    True
    """
    words = [token for token in tokens(name) if token not in {",", ".", "'", "’", "-", "–"}]
    return " ".join(words[1:] if words[:1] == ["the"] and len(words) > 1 else words)


def contains(text: str, name: str) -> bool:
    """Whether the tokens of `name` stand side by side in `text`."""
    return _spaced(name) in _spaced(text)


@functools.lru_cache(maxsize=1 << 16)
def _spaced(text: str) -> str:
    return f" {' '.join(tokens(text))} "


def share_a_stem(one: str, other: str) -> bool:
    """Whether a longer word of one begins like a word of the other, so that it gives it away.

    >>> share_a_stem("Jamaica", "Jamaican dollar"), share_a_stem("Chad", "Charles")
    (True, False)
    """
    return not _stems(one).isdisjoint(_stems(other))


@functools.lru_cache(maxsize=1 << 16)
def _stems(text: str) -> frozenset[str]:
    return frozenset(token[:_STEM] for token in tokens(text) if len(token) >= _STEM)


def load_domains(folder: Path | str | None = None) -> list[Domain]:
    """Every domain under `folder` (by default the shipped `data/miniwiki`), in the order of their names.

    Raises `MiniragError` with file, row and column for anything that would make an untrue or broken sentence.
    """
    folder = Path(folder) if folder is not None else data_dir() / "miniwiki"
    facts = {path.stem: path for path in sorted((folder / "facts").glob("*.csv"))}
    phrasings = {path.stem: path for path in sorted((folder / "phrasings").glob("*.toml"))}
    if not facts:
        raise MiniragError(f"{folder} holds no facts/*.csv; choose the folder of MiniWiki's data")
    for name in sorted(set(facts) ^ set(phrasings)):
        there, lacking = ("facts", "phrasings") if name in facts else ("phrasings", "facts")
        raise MiniragError(f"{folder} has {there} but no {lacking} for the domain {name}; write both files")
    return [_read_domain(path, phrasings[name]) for name, path in facts.items()]


def facts_of(domains: Iterable[Domain]) -> Iterator[Fact]:
    """Every fact, one for each value of each cell."""
    for domain in domains:
        for entity in domain.entities:
            for name, values in entity.cells.items():
                for value in values:
                    yield Fact(domain, entity, domain.phrasings.relations[name], value)


class Links:
    """Finds the entity that a value names: one of the value's kind, else the only one that it can be.

    A place may be a city or a country, a namesake a river or a person; but the unit pascal is no programming language.
    """

    def __init__(self, domains: Iterable[Domain]) -> None:
        self._names: dict[str, list[tuple[Domain, Entity]]] = {}
        self._aliases: dict[str, list[tuple[Domain, Entity]]] = {}
        self._found: dict[tuple[str, str], tuple[Domain, Entity] | None] = {}
        for domain in domains:
            for entity in domain.entities:
                for name in {normal(entity.name), normal(entity.title)}:
                    self._names.setdefault(name, []).append((domain, entity))
                for alias in {normal(alias) for alias in entity.aliases}:
                    self._aliases.setdefault(alias, []).append((domain, entity))

    def namesakes(self, name: str) -> list[tuple[Domain, Entity]]:
        """All entities of this name."""
        return self._names.get(normal(name), [])

    def find(self, value: Value, relation: Relation) -> tuple[Domain, Entity] | None:
        """The entity that `value` names as a value of `relation`, or None."""
        key = (value.name, relation.value)
        if key not in self._found:
            self._found[key] = None if relation.value in UNLINKED_KINDS else self._find(value, relation)
        return self._found[key]

    def _find(self, value: Value, relation: Relation) -> tuple[Domain, Entity] | None:
        named, kinds = self.namesakes(value.name), set(relation.value.split())
        aliased = self._aliases.get(normal(value.name), [])
        for candidates in (
            [(d, e) for d, e in (*named, *aliased) if kinds & set(d.phrasings.kind.split())],
            [(d, e) for d, e in named or aliased if _may_be(kinds, d, e)],
        ):
            if len(candidates) == 1:
                return candidates[0]
        return None


def _may_be(kinds: set[str], domain: Domain, entity: Entity) -> bool:
    if entity.pronoun in ("he", "she"):
        return bool(kinds & {"person", "namesake"})
    is_place = {"city", "country", "state", "mountain", "river", "celestial"} & set(domain.phrasings.kind.split())
    return bool(is_place and kinds & _PLACES)


def _read_domain(path: Path, phrasings_path: Path) -> Domain:
    phrasings = read_phrasings(phrasings_path)
    rows = read_csv(path)
    header = rows[0] if rows else []
    columns = [column for column in header if column not in _FIXED]
    for column in columns:
        if column not in phrasings.relations:
            raise _fault(path, 1, column, "is no relation", f"phrase it in {phrasings_path.name} or drop the column")
    for name in (*_FIXED[:3], *phrasings.relations):
        if header.count(name) != 1:
            raise _fault(path, 1, name, f"stands {header.count(name)} times in the header", "write it once")
    entities: list[Entity] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise _fault(path, number, "entity", f"has {len(row)} cells", f"write {len(header)}, and quote a cell with a comma")
        entity = _read_entity(path, number, dict(zip(header, row, strict=True)), phrasings)
        first = seen.setdefault(normal(entity.title), number)
        if first != number:
            raise _fault(path, number, "entity", f"repeats {entity.title!r} of row {first}", "keep one of them")
        entities.append(entity)
    return Domain(path.stem, phrasings, tuple(entities))


def _read_entity(path: Path, number: int, row: dict[str, str], phrasings: Phrasings) -> Entity:
    for column, cell in row.items():
        if cell != " ".join(cell.split()) or not cell.isprintable():
            raise _fault(path, number, column, f"has a stray space or an invisible character in {cell!r}", "remove it")
    if not row["entity"]:
        raise _fault(path, number, "entity", "is empty", "name the entity")
    if row["pronoun"] not in _PRONOUNS:
        raise _fault(path, number, "pronoun", f"is {row['pronoun']!r}", f"use one of {', '.join(_PRONOUNS)}")
    if row.get("the", "") not in ("", "yes"):
        raise _fault(path, number, "the", f"is {row['the']!r}", "write yes or leave it empty")
    aliases = tuple(row["aliases"].split(";")) if row["aliases"] else ()
    cells = {
        name: _read_cell(path, number, row["entity"], phrasings.relations[name], row[name])
        for name in row
        if name not in _FIXED and row[name]
    }
    entity = Entity(row["entity"], aliases, row["pronoun"], row.get("the") == "yes", phrasings.common, cells)
    if not all(aliases) or len({name.lower() for name in (entity.title, *aliases)}) <= len(aliases):
        raise _fault(path, number, "aliases", f"{row['aliases']!r} is empty in part or repeats a name", "keep each name once")
    if not has_intro(phrasings, cells):
        raise _fault(path, number, "entity", f"{entity.title!r} lacks a fact of every intro", "add it, or a shorter intro")
    return entity


def has_intro(phrasings: Phrasings, cells: Collection[str]) -> bool:
    """Whether some introduction tells only of these relations."""
    return any(set(relations_in(intro)) <= set(cells) for intro in phrasings.intro)


def _read_cell(path: Path, number: int, title: str, relation: Relation, cell: str) -> tuple[Value, ...]:
    values = tuple(Value(name, tuple(others)) for name, *others in (part.split("|") for part in cell.split(";")))
    spellings = [spelling for value in values for spelling in (value.name, *value.others)]
    if not all(spelling and spelling == spelling.strip() for spelling in spellings):
        raise _fault(path, number, relation.name, f"{cell!r} has an empty value or a stray space", "mend the separators")
    names = [value.name.lower() for value in values]
    if len(set(names)) < len(names) or any(len({*value.others, value.name}) <= len(value.others) for value in values):
        raise _fault(path, number, relation.name, f"{cell!r} repeats a value", "keep each once")
    if len(values) > 1 and not relation.many:
        raise _fault(
            path, number, relation.name, f"{cell!r} has several values", f"phrase them as relations.{relation.name}.many"
        )
    if tokens(title) in [tokens(value.name) for value in values]:
        raise _fault(path, number, relation.name, f"{cell!r} is the entity itself", "leave the cell empty")
    if relation.value == "year" and not all(re.fullmatch(r"\d{1,5}( BC)?", value.name) for value in values):
        raise _fault(path, number, relation.name, f"{cell!r} is no year", "write it as 1789 or 44 BC")
    if relation.value == "date":
        try:
            [parse_date(value.name) for value in values]
        except ValueError:
            raise _fault(path, number, relation.name, f"{cell!r} is no day", "write it as 1789-07-14") from None
    _refuse_leaks(path, number, relation, values)
    return values


def _refuse_leaks(path: Path, number: int, relation: Relation, values: tuple[Value, ...]) -> None:
    """A question whose own words hold the answer is a fault. (If the name of an entity holds it, that one is not asked.)"""
    for value in values:
        for template in relation.questions:
            if len(value.name) > 2 and contains(template.replace("{entity}", "|"), value.name):
                raise _fault(path, number, relation.name, f"{value.name!r} is answered by {template!r} itself", "rephrase it")


def _fault(path: Path, row: int, column: str, wrong: str, remedy: str) -> MiniragError:
    return MiniragError(f"{path.name}, row {row}, column {column}: {wrong}; {remedy}")
