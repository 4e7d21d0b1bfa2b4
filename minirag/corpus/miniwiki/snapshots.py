"""Two dated snapshots of the same offices, for the paper's index hot-swap (§4.5): who holds them, 2016 and 2018.

Every office changed hands between the two dates, so that a model that answers from its index gives another answer with each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minirag.corpus.miniwiki.articles import page_id
from minirag.corpus.miniwiki.english import capitalised, fill, pick
from minirag.corpus.miniwiki.facts import Links, normal
from minirag.corpus.miniwiki.pages import Draft, Page, Subject
from minirag.corpus.miniwiki.phrasings import OfficePhrasings, read_office_phrasings
from minirag.corpus.miniwiki.tables import read_csv
from minirag.errors import MiniragError
from minirag.paths import data_dir

YEARS = (2016, 2018)  # as of 31 December
_COLUMNS = ["position", "country"] + [
    f"{column}_{year}" for year in YEARS for column in ("holder", "aliases", "pronoun", "since")
]


@dataclass(frozen=True)
class Holder:
    """Who holds an office at a date, and since which year."""

    name: str
    aliases: tuple[str, ...]
    pronoun: str
    since: int


@dataclass(frozen=True)
class Office:
    """An office ("the president of France"), its country if it has one, and its holder at each date."""

    position: str
    country: str
    holders: dict[int, Holder]
    phrasings: OfficePhrasings

    def question(self) -> str:
        """The paper's question."""
        return fill(self.phrasings.question, {"position": self.position})


def load_offices(folder: Path | str | None = None) -> list[Office]:
    """The offices under `folder` (by default the shipped `data/miniwiki/snapshots`); none where there is no such folder."""
    folder = Path(folder) if folder is not None else data_dir() / "miniwiki" / "snapshots"
    if not folder.is_dir():
        return []
    phrasings = read_office_phrasings(folder / "phrasings.toml")
    path = folder / "offices.csv"
    rows = read_csv(path)
    if not rows or rows[0] != _COLUMNS:
        raise MiniragError(f"{path.name}, row 1: is not the header {','.join(_COLUMNS)}; write it so")
    offices = [_office(path, number, row, phrasings) for number, row in enumerate(rows[1:], 2)]
    for number, office in enumerate(offices, 2):
        if normal(office.position) in [normal(other.position) for other in offices[: number - 2]]:
            raise MiniragError(f"{path.name}, row {number}: repeats {office.position!r}; keep one of the rows")
    return offices


def snapshot(offices: Sequence[Office], year: int, links: Links) -> list[Page]:
    """A page for each office and one for each holder, as of the last day of `year`; `links` knows how countries are called."""
    pages = [_office_page(office, year, links) for office in offices]
    held: dict[str, list[Office]] = {}
    for office in offices:
        held.setdefault(office.holders[year].name, []).append(office)
    return pages + [_holder_page(name, theirs, year) for name, theirs in held.items()]


def _office_page(office: Office, year: int, links: Links) -> Page:
    holder, phrasings = office.holders[year], office.phrasings
    title = capitalised(office.position.removeprefix("the "))
    draft = Draft(page_id("offices", title), title)
    phrases = {"position": office.position, "holder": holder.name, "since": str(holder.since)}
    draft.add(fill(pick(phrasings.articles_office, office.position, str(year)), phrases))
    if office.country:
        country = next((entity.phrase for _, entity in links.namesakes(office.country)), office.country)
        draft.add(fill(pick(phrasings.background, office.position), {**phrases, "country": country}))
    return draft.page()


def _holder_page(name: str, offices: Sequence[Office], year: int) -> Page:
    draft = Draft(page_id("holders", name), name)
    for office in offices:
        holder = office.holders[year]
        template = pick(office.phrasings.articles_person, office.position, str(year))
        phrases = {"position": office.position, "since": str(holder.since)}
        draft.tell(template, "holder", Subject(name, holder.pronoun), phrases, [])
    return draft.page()


def _office(path: Path, number: int, row: list[str], phrasings: OfficePhrasings) -> Office:
    def fault(what: str, remedy: str) -> MiniragError:
        return MiniragError(f"{path.name}, row {number}: {what}; {remedy}")

    if len(row) != len(_COLUMNS):
        raise fault(f"has {len(row)} cells", f"write {len(_COLUMNS)}")
    cells = dict(zip(_COLUMNS, row, strict=True))
    holders = {}
    for year in YEARS:
        name, aliases, pronoun, since = (cells[f"{column}_{year}"] for column in ("holder", "aliases", "pronoun", "since"))
        if not cells["position"] or not name or pronoun not in ("he", "she"):
            raise fault("lacks a position, a holder or a pronoun", "fill them in")
        if not (since.isascii() and since.isdecimal()) or int(since) > year:
            raise fault(f"has since_{year} {since!r}", f"write the year, {year} or earlier, in which the tenure began")
        holders[year] = Holder(name, tuple(filter(None, aliases.split(";"))), pronoun, int(since))
    if normal(holders[2016].name) == normal(holders[2018].name) or holders[2018].since <= 2016:
        raise fault("has one holder at both dates", "keep only offices that changed hands in between")
    return Office(cells["position"], cells["country"], holders, phrasings)
