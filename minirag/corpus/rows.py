"""Rows of text files, read as a stream: what to do about bad ones, and where in the file each stands.

A row is named by the number of the line on which it begins, the header being line 1, so that an editor finds it. Compressed
files (.gz, .bz2) are recognised by their first bytes, whatever they are called.
"""

import bz2
import csv
import gzip
import io
import json
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from minirag.errors import MiniragError

Row = TypeVar("Row")
Made = TypeVar("Made")

EXAMPLES = 20  # bad rows listed in full; all are counted
LONGEST_RECORD = 1000  # lines one quoted record may span before its opening quote counts as a mistake
DAMAGED = (EOFError, OSError, zlib.error)  # what gzip and bz2 raise while reading
LARGEST_FIELD = 1 << 28  # characters; csv's own guard of 128 K is less than a long article


class RowError(ValueError):
    """Why one row cannot be used; `BadRows` adds where it stands and decides whether to stop."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row that could not be used."""

    file: str
    row: int
    why: str

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}: {self.why}"


@dataclass
class BadRows:
    """What to do about rows that cannot be used: stop at the first, or with `skip=True` count them all and list the first ones.

    `passed_over` counts what is sound but no article, such as redirects, so that every row of the input is accounted for.

    >>> bad = BadRows(skip=True)
    >>> bad.add("own.csv", 3, "the title is empty")
    >>> bad.total, str(bad.examples[0])
    (1, 'own.csv, row 3: the title is empty')
    """

    skip: bool = False
    total: int = 0
    examples: list[BadRow] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)

    def add(self, file: str | Path, row: int, why: str) -> None:
        """Count and list one bad row. Raises `MiniragError` with file and row unless `skip`."""
        bad = BadRow(str(file), row, why)
        if not self.skip:
            raise MiniragError(f"{bad}; mend the row, or skip bad rows to have them counted and listed")
        self.total += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(bad)


def made_of(
    path: str | Path, rows: Iterator[tuple[int, Row]], make: Callable[[Row, int], Made], bad: BadRows
) -> Iterator[Made]:
    """Apply `make(row, number)` to each numbered row; the rows on which it raises `RowError` go to `bad`."""
    for number, row in rows:
        try:
            made = make(row, number)
        except RowError as why:
            bad.add(path, number, str(why))
        else:
            yield made


def text_of(row: dict[str, object], key: str) -> str:
    """The text under `key`, as it stands. Raises `RowError` if it is missing, no string, blank, or not writable as UTF-8."""
    if key not in row:
        raise RowError(f"there is no {key!r}")
    value = row[key]
    if not isinstance(value, str):
        raise RowError(f"{key!r} should be text but is {type(value).__name__}")
    if not value.strip():
        raise RowError(f"{key!r} is empty")
    try:
        value.encode()
    except UnicodeEncodeError:  # a broken byte, which `text_lines` let through as a surrogate, or half of a \u pair in JSON
        raise RowError(f"{key!r} holds bytes that are not UTF-8") from None
    return value


def open_bytes(path: str | Path) -> io.BufferedReader | gzip.GzipFile | bz2.BZ2File:
    """Open a file for reading bytes, decompressing .gz and .bz2. Raises `MiniragError` if it is not there."""
    try:
        with open(path, "rb") as file:
            start = file.read(3)
        if start[:2] == b"\x1f\x8b":
            return gzip.open(path, "rb")
        return bz2.open(path, "rb") if start == b"BZh" else open(path, "rb")
    except OSError as error:
        raise MiniragError(f"cannot read {path}: {error.strerror or error}; check the path") from None


def cut_short(path: str | Path, where: str, error: Exception) -> MiniragError:
    """The error for a damaged archive. What follows the damage is unknown, so skipping bad rows does not get past it."""
    return MiniragError(f"{path} is cut short or damaged after {where} ({error}); fetch or write it again")


def text_lines(path: str | Path) -> Iterator[str]:
    """The lines of a UTF-8 file with their ends, broken bytes kept as surrogates so that a row can be blamed for them."""
    count = 0
    with io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        try:
            for line in file:
                count += 1
                yield line
        except DAMAGED as error:
            raise cut_short(path, f"line {count}", error) from error


def json_rows(path: str | Path, bad: BadRows) -> Iterator[tuple[int, dict[str, object]]]:
    """Numbered objects of a JSON-lines file. Blank lines are nothing; a line that is no JSON object goes to `bad`."""

    def parse(line: str, number: int) -> tuple[int, dict[str, object]]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RowError(f"not a line of JSON ({error})") from None
        if not isinstance(row, dict):
            raise RowError(f"should be a JSON object but is {type(row).__name__}")
        return number, row

    return made_of(path, ((n, line) for n, line in enumerate(text_lines(path), start=1) if line.strip()), parse, bad)


def table_rows(
    path: str | Path, delimiter: str, columns: tuple[str, ...], bad: BadRows
) -> Iterator[tuple[int, dict[str, object]]]:
    """Numbered rows of a csv file as dictionaries by the header's names; in quotes, line breaks stand and quotes are doubled.

    After a row with bad quotes, reading goes on at the very next line, so that one stray quote costs one row.
    Raises `MiniragError` if the header cannot be read or lacks one of `columns`.
    """
    csv.field_size_limit(LARGEST_FIELD)
    lines = _Lines(text_lines(path))
    parser = csv.reader(lines, delimiter=delimiter, strict=True)
    header = _header(path, parser, columns)
    while True:
        number = lines.begin()
        try:
            fields = next(parser)
        except StopIteration:
            return
        except csv.Error as error:
            lines.give_back_all_but_one()
            bad.add(path, number, f"bad quotes ({error})")
            continue
        if len(fields) == len(header):
            yield number, dict(zip(header, fields, strict=True))
        elif fields:  # an empty line is nothing
            bad.add(path, number, f"{len(fields)} columns where the header has {len(header)} ({', '.join(header)})")


def _header(path: str | Path, parser: Iterator[list[str]], columns: tuple[str, ...]) -> list[str]:
    try:
        header = next(parser, [])
    except csv.Error as error:
        raise MiniragError(f"{path}, row 1: the header has bad quotes ({error}); mend it") from None
    if not set(columns) <= set(header) or len(set(header)) < len(header):
        raise MiniragError(
            f"{path}, row 1: the header should name the columns {', '.join(columns)} once each but is {header}; "
            "add a header or check that this is the right kind of file"
        )
    return header


class _Lines:
    """Lines for a csv parser that can be given back: those taken since `begin` belong to one record."""

    def __init__(self, source: Iterator[str]) -> None:
        self.source = source
        self.waiting: deque[str] = deque()
        self.taken: list[str] = []
        self.row = 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.taken) == LONGEST_RECORD:
            raise StopIteration  # the parser takes it for the file's end and reports an unclosed quote
        line = self.waiting.popleft() if self.waiting else next(self.source)
        self.taken.append(line)
        return line

    def begin(self) -> int:
        """Begin a record and return the number of its first line."""
        self.row += len(self.taken)
        self.taken.clear()
        return self.row

    def give_back_all_but_one(self) -> None:
        """Of a bad record only the first line is spent."""
        self.waiting.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]
