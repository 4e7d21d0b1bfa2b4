"""Tables and pictures as plain values: what a report tells, before it becomes a page or Markdown.

A picture belongs to the table that holds its numbers, so that who cannot see it misses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

KS = (1, 2, 5, 10, 20, 50, 100)  # numbers of passages that tables have columns for, as far as there are so many
Point = tuple[int, float, float, float]  # K, a share, and from where to where it may lie


@dataclass(frozen=True)
class Curves:
    """Shares against the number of passages: a line for each system, its points in the order of K."""

    title: str
    what: str
    lines: Mapping[str, Sequence[Point]]


@dataclass(frozen=True)
class Heat:
    """A probability for each row and rank, some of them marked; rows may be of different lengths."""

    title: str
    rows: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    marked: tuple[tuple[bool, ...], ...]


@dataclass(frozen=True)
class Table:
    """Cells of text under heads; a title, a note above, and a picture of its numbers below. `prose`: the cells are to be read
    rather than compared, and are set from the left."""

    title: str
    note: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    picture: Curves | Heat | None = None
    prose: bool = False


def percent(value: float, low: float, high: float, sign: bool = False) -> str:
    """A share and from where to where it may lie, in percent.

    >>> percent(0.5, 0.25, 0.75), percent(0.5, 0.25, 0.75, sign=True)
    ('50.0 (25.0 to 75.0)', '+50.0 (+25.0 to +75.0)')
    """
    shown = "{:+.1f}" if sign else "{:.1f}"
    return f"{shown} ({shown} to {shown})".format(*(100 * each for each in (value, low, high)))


def table_of_curves(title: str, note: str, head: str, curves: Curves, ks: Sequence[int]) -> Table:
    """The curves' points at some K as a table, with their picture; a dash where a line has no point.

    >>> curves = Curves("Recall", "recall", {"BM25": [(1, 0.5, 0.4, 0.6), (2, 0.7, 0.6, 0.8)], "chance": [(2, 0.1, 0, 0.2)]})
    >>> table_of_curves("Recall", "", "system", curves, (1, 2)).rows
    (('BM25', '50.0 (40.0 to 60.0)', '70.0 (60.0 to 80.0)'), ('chance', '–', '10.0 (0.0 to 20.0)'))
    """
    at = {name: {k: percent(value, low, high) for k, value, low, high in points} for name, points in curves.lines.items()}
    rows = tuple((name, *(cells.get(k, "–") for k in ks)) for name, cells in at.items())
    return Table(title, note, (head, *(f"K = {k}" for k in ks)), rows, curves)
