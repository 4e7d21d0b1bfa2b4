"""MS MARCO 2.1 (Nguyen et al. 2016): queries typed into a search engine, and answers that people wrote for them.

| layout | looks like | published as |
|---|---|---|
| columns | one JSON object `{"query": {"0": ..., "1": ...}, "wellFormedAnswers": {"0": [...], "1": "[]"}, ...}` | the data |
| rows | JSON lines `{"query_id", "query", "answers", "wellFormedAnswers", "passages", "query_type"}` | the data, converted |
| answers | JSON lines `{"query_id", "answers": [...]}` | references and candidates |

Any of them may be gzipped. The paper's task (§3.2) is the NLG subset: the queries for which someone wrote a well-formed answer,
a sentence that is understood without the query. They are 182,669 of 1,010,916. Ten passages come with each query, marked where
the answer was written from them; the paper does not use them, but has to find its own.
"""

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from minirag.corpus.rows import DAMAGED, BadRows, RowError, cut_short, json_rows, made_of, open_bytes, text_of
from minirag.errors import MiniragError
from minirag.tasks.generation import NO_ANSWER
from minirag.tasks.openqa import Question

Value = TypeVar("Value")

PIECE = 1 << 20  # characters read at a time
LARGEST_CELL = 1 << 24  # characters; ten passages take some ten thousand

_COLUMNS = re.compile(r'\s*\{\s*"[^"]*"\s*:\s*\{')  # in rows no cell is an object
_SIGN = re.compile(r"[^ \t\n\r]")
_AFTER_A_VALUE = " \t\n\r,:}]"
_decode = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class Marco:
    """The NLG subset, and the number of queries that are not in it, for want of a well-formed answer."""

    questions: tuple[Question, ...]
    without_answer: int


@dataclass(frozen=True, slots=True)
class Given:
    """A passage that was shown to those who wrote the answer, and whether they wrote it from this one."""

    text: str
    url: str
    is_selected: bool


def read_msmarco(path: str | Path, bad: BadRows | None = None) -> Marco:
    """The queries that have well-formed answers; these are the targets, the ids are the query ids.

    A file in columns is read piece by piece, and passages, its bulk, are let go as they come. Its rows are named by their keys,
    those of JSON lines by their line. Raises `MiniragError` for a file without any well-formed answer, and, unless `bad` skips
    them, with file and row for rows that cannot be used.
    """

    def question(row: dict[str, object], id: str) -> Question | None:
        query, answers = text_of(row, "query").strip(), _well_formed(row)
        return Question(id, query, answers) if answers else None

    found = _by_query(path, ("query_id", "query", "wellFormedAnswers"), question, bad)
    questions = tuple(each for each in found.values() if each is not None)
    if not questions:
        raise MiniragError(f"{path} holds no well-formed answer; check that it is training or development data of MS MARCO")
    return Marco(questions, len(found) - len(questions))


def read_given(path: str | Path, bad: BadRows | None = None) -> dict[str, tuple[Given, ...]]:
    """The passages that were given with each query, by query id; queries without an answer among them."""

    def given(row: dict[str, object], id: str) -> tuple[Given, ...]:
        return tuple(_passage(each) for each in _list(row, "passages"))

    return _by_query(path, ("query_id", "passages"), given, bad)


def read_answers(path: str | Path, bad: BadRows | None = None) -> dict[str, tuple[str, ...]]:
    """The answers of a reference or candidate file, by query id, as they stand: an empty one, and "No Answer Present.", too."""

    def answers(row: dict[str, object], id: str) -> tuple[str, ...]:
        return tuple(_text(each, "answers") for each in _list(row, "answers"))

    return _by_query(path, ("query_id", "answers"), answers, bad)


def _by_query(
    path: str | Path, columns: tuple[str, ...], value_of: Callable[[dict[str, object], str], Value], bad: BadRows | None
) -> dict[str, Value]:
    bad = BadRows() if bad is None else bad
    found: dict[str, Value] = {}

    def put(row: dict[str, object], number: int) -> None:
        id = row.get("query_id")
        id = str(id) if type(id) is int else text_of(row, "query_id")
        if id in found:
            raise RowError(f"the query id {id!r} stands in an earlier row, too")
        found[id] = value_of(row, id)

    for _ in made_of(path, _rows(path, columns, bad), put, bad):
        pass
    return found


def _well_formed(row: dict[str, object]) -> tuple[str, ...]:
    """Without repetitions; none where the file has the text "[]" for an empty list."""
    if "wellFormedAnswers" not in row:
        raise RowError("there is no 'wellFormedAnswers'; those of MS MARCO's evaluation set are not public")
    if row["wellFormedAnswers"] == "[]":
        return ()
    texts = [_text(each, "wellFormedAnswers").strip() for each in _list(row, "wellFormedAnswers")]
    return tuple(dict.fromkeys(text for text in texts if text not in ("", NO_ANSWER)))


def _passage(given: object) -> Given:
    if not isinstance(given, dict) or given.get("is_selected") not in (0, 1):
        raise RowError("'passages' should be objects whose 'is_selected' is 0 or 1")
    return Given(text_of(given, "passage_text"), text_of(given, "url"), bool(given["is_selected"]))


def _list(row: dict[str, object], key: str) -> list[object]:
    value = row.get(key)
    if not isinstance(value, list):
        raise RowError(f"{key!r} should be a list but is {type(value).__name__}" if key in row else f"there is no {key!r}")
    return value


def _text(value: object, key: str) -> str:
    return value if isinstance(value, str) and not value.strip() else text_of({key: value}, key)


def _rows(path: str | Path, columns: tuple[str, ...], bad: BadRows) -> Iterator[tuple[int, dict[str, object]]]:
    """Numbered rows; of a file in columns only the columns asked for."""
    with _opened(path) as file:
        try:
            in_columns = _COLUMNS.match(file.read(1000))
        except DAMAGED as error:
            raise cut_short(path, "its beginning", error) from error
    if not in_columns:
        yield from json_rows(path, bad)
        return
    rows: dict[int, dict[str, object]] = {}
    for column, row, cell in _cells(path):
        if column in columns:
            rows.setdefault(row, {})[column] = cell
    yield from rows.items()


def _opened(path: str | Path) -> io.TextIOBase:
    return io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", errors="surrogateescape")


def _cells(path: str | Path) -> Iterator[tuple[str, int, object]]:
    """(column, row, cell) of a file in columns, in its order."""
    where = "its beginning"
    with _opened(path) as file:
        pieces = _Pieces(file)
        try:
            for column in pieces.members():
                for row in pieces.members():
                    where = f"column {column!r}, row {row}"
                    yield column, int(row), pieces.value()
            if pieces.peek():
                raise ValueError("more follows the closing brace")
        except DAMAGED as error:
            raise cut_short(path, where, error) from error
        except (ValueError, RecursionError) as error:
            raise MiniragError(f"{path}, {where}: from here it is not laid out in columns ({error}); fetch it again") from error


class _Pieces:
    """JSON read a piece at a time, by a caller who says what comes next. Raises `ValueError` where something else does."""

    def __init__(self, file: io.TextIOBase) -> None:
        self.file = file
        self.text = ""
        self.at = 0  # where in `text` the unread part begins

    def members(self) -> Iterator[str]:
        """The keys of an object; the caller reads the value of each before it asks for the next."""
        self.sign("{")
        if self.sign('"}') == "}":
            return
        while True:
            self.at -= 1  # the quotation mark is the key's
            key = self.value()
            self.sign(":")
            yield str(key)
            if self.sign(",}") == "}":
                return
            self.sign('"')

    def value(self) -> object:
        """The whole value that comes next."""
        self.peek()
        while True:
            try:
                value, end = _decode(self.text, self.at)
                if end < len(self.text) and self.text[end] in _AFTER_A_VALUE:  # otherwise 12 may be the beginning of 1234
                    self.at = end
                    return value
                why = "a value has no end"
            except ValueError as error:  # either wrong, or not read to its end yet
                why = str(error)
            if len(self.text) - self.at > LARGEST_CELL or not self._read_on():
                raise ValueError(why)

    def sign(self, expected: str) -> str:
        """The sign that comes next, one of those expected."""
        found = self.peek()
        if not found or found not in expected:
            raise ValueError(f"{found or 'the end'!r} where one of {expected} should be")
        self.at += 1
        return found

    def peek(self) -> str:
        """The sign that comes next, not yet taken; empty at the end of the file."""
        while not (found := _SIGN.search(self.text, self.at)):
            self.at = len(self.text)
            if not self._read_on():
                return ""
        self.at = found.start()
        return found[0]

    def _read_on(self) -> bool:
        """Drop what is done with and read on: in a long value twice as far each time, lest it cost the square of its length."""
        piece = self.file.read(max(PIECE, len(self.text) - self.at))
        self.text, self.at = self.text[self.at :] + piece, 0
        return piece != ""
