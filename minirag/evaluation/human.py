"""Generations judged by people, two systems side by side and nobody knowing which is which: the paper's table 4 (§4.3).

    sheet.csv   pair, input, A, B, factuality, specificity      what a judge fills in: A, B, both or neither
    key.csv     pair, A, B                                      whose text is whose: kept apart until all is judged

Each judge has a copy of the sheet. A pair's verdict is what more than half of its judges say, else there is no majority; how
far judges agree is Krippendorff's alpha, 1 where they always do and 0 where they do as chance would.
"""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import krippendorff
import numpy as np

from minirag.errors import MiniragError
from minirag.files import atomic_path

ASPECTS = {
    "factuality": "which text is more factually true?",
    "specificity": "which text is more specific to the input?",
}
VERDICTS = ("A", "B", "both", "neither")
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

    Raises `MiniragError` for an input that one of the systems has no text for.

    >>> [pair] = paired({"1": "Ovid"}, {"1": "Who wrote it?"}, {"1": "A poet."}, ("RAG", "BART"))
    >>> sorted(zip(pair.systems, pair.texts))
    [('BART', 'A poet.'), ('RAG', 'Who wrote it?')]
    """
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
    rows: dict[Path, list[tuple[str, ...]]] = {
        sheet: [SHEET, *((one.id, one.input, *one.texts, "", "") for one in pairs)],
        key: [KEY, *((one.id, *one.systems) for one in pairs)],
    }
    for path, lines in rows.items():
        with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([_plain(cell) for cell in line] for line in lines)
    return sheet, key


def _plain(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell


Judgements = dict[str, dict[str, str]]  # pair → aspect → "A", "B", "both", "neither"; what was not judged is not there


def read_sheet(path: str | Path) -> Judgements:
    """A judge's sheet. Raises `MiniragError` with file and row for a verdict that is none, and for columns that are missing."""
    found: Judgements = {}
    for number, row in _rows(path, SHEET):
        verdicts = {aspect: row[aspect].strip() for aspect in ASPECTS if row[aspect].strip()}
        if odd := next((verdict for verdict in verdicts.values() if verdict not in VERDICTS), None):
            raise MiniragError(f"{path}, row {number}: '{odd}' is no verdict; write one of {', '.join(VERDICTS)}, or nothing")
        if row["pair"] in found:
            raise MiniragError(f"{path}, row {number}: pair '{row['pair']}' is judged twice; remove one of the rows")
        found[row["pair"]] = verdicts
    return found


def read_key(path: str | Path) -> dict[str, tuple[str, str]]:
    """Whose text was A and whose B, by pair."""
    return {row["pair"]: (row["A"], row["B"]) for _, row in _rows(path, KEY)}


def _rows(path: str | Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
                raise MiniragError(f"{path} has no column '{missing[0]}'; keep the columns of the sheet that was handed out")
            return [(number, {name: row[name] or "" for name in columns}) for number, row in enumerate(reader, 2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MiniragError(f"{path} cannot be read ({error}); save it as CSV in UTF-8") from error


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
        tally[sides.get(verdict, verdict) if 2 * votes > len(own) else "no majority"] += 1
    systems = dict.fromkeys(name for both in key.values() for name in both)
    wins = {name: tally[name] for name in systems}
    return Verdicts(aspect, wins, tally["both"], tally["neither"], tally["no majority"], agreement(judges, aspect))


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
