"""Generations judged by people, two systems side by side and nobody knowing which is which: the paper's table 4 (§4.3).

    sheet.csv   pair, input, A, B, factuality, specificity      what a judge fills in: A, B, both or neither
    key.csv     pair, A, B                                      whose text is whose: kept apart until all is judged

Each judge has a copy of the sheet, and fills it in with a spreadsheet or, in a notebook, with `annotate`. A pair's verdict is
what more than half of its judges say, else there is no majority; how far judges agree is Krippendorff's alpha, 1 where they
always do and 0 where they do as chance would.

pairs = paired(inputs, ours, theirs, ("RAG-Token", "BART"))
write_sheet("judged", pairs)
judges = [read_sheet("judged/ann.csv"), read_sheet("judged/bob.csv")]
print(as_text([tallied(judges, read_key("judged/key.csv"), aspect) for aspect in ASPECTS]))
"""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np

from minirag.corpus.words import escape
from minirag.errors import MiniragError
from minirag.files import atomic_path
from minirag.teaching.widgets.judging import judging

ASPECTS = {
    "factuality": "which text is more factually true?",
    "specificity": "which text is more specific to the input?",
}
VERDICTS = ("A", "B", "both", "neither")
LABELS = dict(zip(("A better", "B better", "both good", "both poor"), VERDICTS, strict=True))
NO_MAJORITY = "no majority"
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for one, by its beginning
LISTED = 20  # rows that are named where many are wrong
SHEET, KEY = ("pair", "input", "A", "B", *ASPECTS), ("pair", "A", "B")


@dataclass(frozen=True)
class Pair:
    """Two texts for one input, in the order in which judges see them; `systems` wrote A and B."""

    id: str
    input: str
    texts: tuple[str, str]
    systems: tuple[str, str]


def paired(
    inputs: Mapping[str, str], ours: Mapping[str, str], theirs: Mapping[str, str], names: tuple[str, str], seed: int = 0
) -> list[Pair]:
    """A pair for every input, by its id; which text is A is drawn by lot. Equal texts are left out: there is nothing to choose.

    Raises `MiniragError` for an input that one of the systems has no text for, and for names that would be confused.

    >>> [pair] = paired({"1": "Ovid"}, {"1": "Who wrote it?"}, {"1": "A poet."}, ("RAG", "BART"))
    >>> sorted(zip(pair.systems, pair.texts))
    [('BART', 'A poet.'), ('RAG', 'Who wrote it?')]
    """
    if len({*names, *VERDICTS, NO_MAJORITY}) < len(names) + len(VERDICTS) + 1:
        raise MiniragError(f"systems called {names[0]} and {names[1]} would be confused; give each a name of its own")
    pairs = []
    for id, text in inputs.items():
        if id not in ours or id not in theirs:
            raise MiniragError(f"'{id}' has no text of both {names[0]} and {names[1]}; give both systems the same inputs")
        if ours[id].strip() != theirs[id].strip():
            turned = random.Random(f"{seed} {id}").random() < 0.5
            both = [(ours[id], names[0]), (theirs[id], names[1])][:: -1 if turned else 1]
            pairs.append(Pair(id, text, (both[0][0], both[1][0]), (both[0][1], both[1][1])))
    return pairs


def write_sheet(folder: str | Path, pairs: Sequence[Pair]) -> tuple[Path, Path]:
    """Write `sheet.csv`, which names no system, and `key.csv`. A sheet that is there is not written over."""
    sheet, key = Path(folder) / "sheet.csv", Path(folder) / "key.csv"
    if sheet.exists():
        raise MiniragError(f"{sheet} is there already and may hold judgements; choose another folder")
    _write(sheet, SHEET, (_unjudged(one) for one in pairs))
    _write(key, KEY, ((one.id, *one.systems) for one in pairs))
    return sheet, key


def _unjudged(one: Pair) -> tuple[str, ...]:
    return (one.id, one.input, *one.texts, *("" for _ in ASPECTS))


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *([_plain(cell) for cell in row] for row in rows)])


def _plain(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: it has one "'" more in front."""
    return f"'{cell}" if cell.lstrip("'").startswith(FORMULA) else cell


def _meant(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULA) else cell


Judgements = dict[str, dict[str, str]]  # pair → aspect → "A", "B", "both", "neither"; what was not judged is not there


def read_sheet(path: str | Path) -> Judgements:
    """A judge's sheet. Raises `MiniragError`, with file and row, for all that is no verdict, for rows of too few cells or too
    many, and for a pair that stands twice; and for columns that are missing.
    """
    rows = _rows(path, SHEET)
    found = {row["pair"]: {aspect: row[aspect].strip() for aspect in ASPECTS if row[aspect].strip()} for _, row in rows}
    odd = [
        f"row {number}: '{verdict}' is no verdict on {aspect}"
        for number, row in rows
        for aspect, verdict in found[row["pair"]].items()
        if verdict not in VERDICTS
    ]
    _refuse(path, odd, f"write one of {', '.join(VERDICTS)}, or nothing")
    return found


def read_key(path: str | Path) -> dict[str, tuple[str, str]]:
    """Whose text was A and whose B, by pair."""
    return {row["pair"]: (row["A"], row["B"]) for _, row in _rows(path, KEY)}


def _rows(path: str | Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows by the names of their columns, numbered as in a spreadsheet: one may be of many lines. Empty ones are nothing."""
    header, *lines = _cells(path)
    if wrong := [name for name in (*columns, *header) if header.count(name) != 1]:
        count = header.count(wrong[0]) or "no"
        raise MiniragError(f"{path} has {count} column '{wrong[0]}'; keep the sheet's columns, and commas between them")
    rows: dict[str, tuple[int, dict[str, str]]] = {}
    bad = []
    for number, cells in enumerate(lines, 2):
        row = dict(zip(header, map(_meant, cells), strict=False))
        if not any(cells):
            continue
        if len(cells) != len(header):
            bad.append(f"row {number}: {len(cells)} cells, where the header has {len(header)}")
        elif not row["pair"] or row["pair"] in rows:
            bad.append(f"row {number}: pair '{row['pair']}' " + ("stands twice" if row["pair"] else "has no name"))
        else:
            rows[row["pair"]] = number, row
    _refuse(path, bad, "mend or remove the row")
    return list(rows.values())


def _cells(path: str | Path) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return list(csv.reader(file)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MiniragError(f"{path} cannot be read ({error}); save it as CSV in UTF-8") from error


def _refuse(path: str | Path, bad: Sequence[str], mend: str) -> None:
    if bad:
        more = f"; and {len(bad) - LISTED} more" if len(bad) > LISTED else ""
        raise MiniragError(f"{path}, {'; '.join(bad[:LISTED])}{more}; {mend}")


def annotate(pairs: Sequence[Pair], sheet_path: str | Path) -> Any:
    """A sheet to fill in with clicks, in a notebook: made if it is not there, else gone on with; saved after each answer.

    Of `pairs` the texts are shown, and no system. Raises `MiniragError` where there is none, or the sheet is of other pairs.
    """
    path = Path(sheet_path)
    if not pairs:
        raise MiniragError("there is no pair to judge; make some with paired()")
    if not path.exists():
        _write(path, SHEET, map(_unjudged, pairs))
    shown = [(one.id, one.input, *one.texts) for one in pairs]
    if sorted(shown) != sorted((row["pair"], row["input"], row["A"], row["B"]) for _, row in _rows(path, SHEET)):
        raise MiniragError(f"{path} is a sheet of other pairs; choose another name, or make the pairs with the seed they had")

    def save(pair: str, aspect: str, verdict: str) -> None:
        rows = [row | ({aspect: verdict} if row["pair"] == pair else {}) for _, row in _rows(path, SHEET)]
        _write(path, list(rows[0]), [list(row.values()) for row in rows])

    return judging(shown, ASPECTS, LABELS, read_sheet(path), save)


@dataclass(frozen=True)
class Verdicts:
    """Table 4, a column of it: how many pairs each system wins, both are good, both poor, or without majority; and alpha."""

    aspect: str
    wins: Mapping[str, int]
    both: int
    neither: int
    no_majority: int
    alpha: float | None

    @property
    def pairs(self) -> int:
        return sum(self.wins.values()) + self.both + self.neither + self.no_majority


def tallied(judges: Sequence[Judgements], key: Mapping[str, tuple[str, str]], aspect: str) -> Verdicts:
    """What the majority of the judges says of each pair that somebody judged.

    Raises `MiniragError` where nobody judged anything, or a sheet has a pair that the key does not know.
    """
    if unknown := next((pair for one in judges for pair in one if pair not in key), None):
        raise MiniragError(f"pair '{unknown}' is not in the key; give the key that was written with the sheet")
    said = {pair: [one[pair][aspect] for one in judges if aspect in one.get(pair, {})] for pair in key}
    said = {pair: own for pair, own in said.items() if own}
    if not said:
        raise MiniragError(f"nobody has judged {aspect}; fill in the sheet's column")
    tally = Counter[str]()
    for pair, own in said.items():
        verdict, votes = Counter(own).most_common(1)[0]
        sides = dict(zip(("A", "B"), key[pair], strict=True))
        tally[sides.get(verdict, verdict) if 2 * votes > len(own) else NO_MAJORITY] += 1
    systems = dict.fromkeys(name for both in key.values() for name in both)
    wins = {name: tally[name] for name in systems}
    return Verdicts(aspect, wins, tally["both"], tally["neither"], tally[NO_MAJORITY], agreement(judges, aspect))


def rows_of(columns: Sequence[Verdicts]) -> list[tuple[str, ...]]:
    """Table 4, its head first: shares of the pairs, and numbers. Raises `MiniragError` for columns of different systems."""
    systems = list(columns[0].wins) if columns else []
    if not columns or any(list(one.wins) != systems for one in columns):
        raise MiniragError("a table is of the same two systems in every column, and of one column at least; tally with one key")
    counts = {f"{name} better": [one.wins[name] for one in columns] for name in systems}
    counts |= {"both good": [one.both for one in columns], "both poor": [one.neither for one in columns]}
    counts |= {NO_MAJORITY: [one.no_majority for one in columns]}
    return [
        ("", *(one.aspect for one in columns)),
        *(
            (name, *(f"{100 * n / one.pairs:.1f} % ({n:,})" for n, one in zip(each, columns, strict=True)))
            for name, each in counts.items()
        ),
        ("pairs", *(f"{one.pairs:,}" for one in columns)),
        ("Krippendorff's alpha", *("–" if one.alpha is None else f"{one.alpha:.2f}" for one in columns)),
    ]


def as_text(columns: Sequence[Verdicts]) -> str:
    """Table 4, to be printed.

    >>> print(as_text([Verdicts("factuality", {"BART": 1, "RAG": 5}, 1, 1, 2, 0.4)]))
                            factuality
    BART better             10.0 % (1)
    RAG better              50.0 % (5)
    both good               10.0 % (1)
    both poor               10.0 % (1)
    no majority             20.0 % (2)
    pairs                           10
    Krippendorff's alpha          0.40
    """
    rows = rows_of(columns)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width + 2) for cell, width in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def as_html(columns: Sequence[Verdicts]) -> str:
    """Table 4 as HTML, every name escaped."""
    rows = [[escape(cell) for cell in row] for row in rows_of(columns)]
    lines = [f"<th scope='row'>{row[0]}</th>" + "".join(f"<td>{cell}</td>" for cell in row[1:]) for row in rows[1:]]
    head = "".join(f"<th scope='col'>{cell}</th>" for cell in rows[0])
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def agreement(judges: Sequence[Judgements], aspect: str) -> float | None:
    """Krippendorff's alpha of nominal verdicts, missing ones allowed; None where no pair has two judges, or all verdicts ever
    given are the same one, so that there is no chance to compare with.

    >>> one, other = ({"1": {"factuality": "A"}, "2": {"factuality": "B"}} for _ in range(2))
    >>> agreement([one, other], "factuality")
    1.0
    """
    pairs = list(dict.fromkeys(pair for one in judges for pair in one))
    table = [[VERDICTS.index(one[pair][aspect]) if aspect in one.get(pair, {}) else np.nan for pair in pairs] for one in judges]
    data = np.array(table, dtype=float)  # [judges, pairs]
    shared = data[:, (~np.isnan(data)).sum(0) > 1] if data.size else data
    if not shared.size or len(set(shared[~np.isnan(shared)].tolist())) < 2:
        return None
    return float(krippendorff.alpha(reliability_data=shared, level_of_measurement="nominal"))
