"""One value, several styles: 6650 and 6,650 kilometres, 14 July 1789 and July 14, 1789, 490 BC and 490 BCE.

The tables hold one form; articles use several, and each of them counts as an answer.
"""

import calendar
import datetime
import re
from collections.abc import Sequence

MONTHS = tuple(calendar.month_name)[1:]


def styles(kind: str, text: str) -> tuple[str, ...]:
    """The ways to write a value of this kind, the table's own first if it is one of them.

    >>> styles("number", "6650"), styles("year", "490 BC"), styles("city", "Bern")
    (('6650', '6,650'), ('490 BC', '490 BCE'), ('Bern',))
    >>> styles("date", "1789-07-14")
    ('14 July 1789', 'July 14, 1789', 'the 14th of July 1789')
    """
    if kind == "number" and re.fullmatch(r"\d{4,}", text):
        return text, f"{int(text):,}"
    if kind == "year" and text.endswith(" BC"):
        return text, text + "E"
    if kind == "date":
        date = parse_date(text)
        month = MONTHS[date.month - 1]
        return (
            f"{date.day} {month} {date.year}",
            f"{month} {date.day}, {date.year}",
            f"the {ordinal(date.day)} of {month} {date.year}",
        )
    return (text,)


def parse_date(text: str) -> datetime.date:
    """A day as the tables write it, 1789-07-14; ValueError for anything else."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        raise ValueError(f"{text!r} is no day such as 1789-07-14")
    return datetime.date.fromisoformat(text)


def ordinal(number: int) -> str:
    """A number as a rank.

    >>> [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 112)]
    ['1st', '2nd', '3rd', '4th', '11th', '12th', '13th', '21st', '112th']
    """
    endings = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if number % 100 in (11, 12, 13) else endings.get(number % 10, 'th')}"


def short_name(name: str, aliases: Sequence[str]) -> str | None:
    """What a person is called after the first mention, or None where only the whole name is safe.

    An alias that is part of the name decides (Dante); else the last word of a plain name (Darwin).

    >>> short_name("Charles Darwin", []), short_name("Dante Alighieri", ["Dante"]), short_name("Leonardo da Vinci", [])
    ('Darwin', 'Dante', None)
    >>> short_name("Elizabeth II", []), short_name("Gabriel García Márquez", []), short_name("John F. Kennedy", [])
    (None, None, 'Kennedy')
    """
    part = next((alias for alias in aliases if f" {alias} " in f" {name} "), None)
    plain = re.fullmatch(r"[^\W\d]{3,} (?:[A-Z]\. )?([A-ZÀ-Þ][^\W\d]*[a-zß-ÿ])", name)
    return part or (plain[1] if plain else None)
