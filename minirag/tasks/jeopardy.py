"""Jeopardy question generation (§3.3): an answer is given, and the clue that asks for it is to be written.

| layout | looks like | published as |
|---|---|---|
| J! Archive | JSON list `[{"category", "question": "'the clue'", "answer", "round", "show_number", ...}]` | 216,930 clues |
| TSV | tab-separated `round`, `clue_value`, ..., `answer`, `question`, ... under such a header | jwolle1's seasons |
| SearchQA | lines `snippets ||| clue ||| answer` | `train.txt`, `val.txt`, `test.txt` |
| SearchQA, raw | a JSON file a clue, with J! Archive's keys and `"search_results"` | `train.zip`, `val.zip`, `test.zip` |

All but the last may be gzipped. On the show the clue is called the answer, since players reply with a question, and so it is in
the TSV: there the column "answer" is the clue. The paper takes SearchQA's splits and counts 97,392, 13,714 and 26,849 clues
(table 7); SearchQA's authors count 99,820, 13,393 and 27,248. The raw files have more, 151,295, 21,613 and 43,228, since only
clues with more than 40 snippets, some of which hold the answer, went into the others.
"""

import html
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from minirag.corpus.readers import id_of
from minirag.corpus.rows import BadRows, RowError, made_of, table_rows, text_lines, text_of
from minirag.errors import MiniragError
from minirag.tasks.openqa import Question

LARGEST_CLUE = 1 << 26  # bytes of a clue with all that a search found for it

_ESCAPED_QUOTE = re.compile(r"""\\(["'])""")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)
_ENTITY = re.compile(r"&#?\w+;")


def read_jeopardy(path: str | Path, bad: BadRows | None = None) -> list[Question]:
    """Clues to be written: `question` is the answer that one is wanted for, and the clue is the only one of `answers`.

    J! Archive's texts, which SearchQA's raw files hold, too, are cleaned as `clean` says, and its clues lose the quotes round
    the whole; the TSV's lose backslashes before quotes; SearchQA's lines stay as they are. No clue goes for want of its
    picture or sound. The id is J! Archive's show number, from a show's second clue on with a running number ("4680",
    "4680-2"); of raw files it is their own, or else the file's name; elsewhere it is the row's line.

    Raises `MiniragError` for a file with another ending or without a clue, and, unless `bad` skips them, with file and row for
    rows that cannot be used.
    """
    readers: dict[str, Callable[[str | Path, BadRows], Iterator[Question]]]
    readers = {".json": _j_archive, ".tsv": _table, ".txt": _search_qa, ".zip": _search_qa_raw}
    ending = Path(str(path).removesuffix(".gz")).suffix
    if ending not in readers:
        raise MiniragError(f"{path} ends in '{ending}'; files of clues end in {', '.join(readers)}, all but .zip also with .gz")
    questions = list(readers[ending](path, BadRows() if bad is None else bad))
    if not questions:
        raise MiniragError(f"{path} holds no clue; check that it is the right file")
    return questions


def clean(text: str) -> str:
    r"""A text of J! Archive without backslashes before quotes, tags, character entities and runs of spaces.

    The words of a link stay, for they are the clue's; a line break becomes a space.

    >>> clean('The <i>\\"Bell\\"</i><br />seen <a href="http://x/y.jpg" target="_blank">here</a> isn\\\'t his &amp; hers')
    'The "Bell" seen here isn\'t his & hers'
    """
    text = _TAG.sub("", _BREAK.sub(" ", _ESCAPED_QUOTE.sub(r"\1", text)))
    return " ".join(_ENTITY.sub(lambda entity: html.unescape(entity[0]), text).split())


def _j_archive(path: str | Path, bad: BadRows) -> Iterator[Question]:
    try:
        clues = json.loads("".join(text_lines(path)))
    except (ValueError, RecursionError) as error:
        raise MiniragError(f"{path} is not JSON ({error}); fetch or write it again") from None
    if not isinstance(clues, list):
        raise MiniragError(f"{path} should hold a list of clues, as J! Archive's file does; check that it is the right one")
    asked = Counter[str]()

    def question(row: object, number: int) -> Question:
        if not isinstance(row, dict):
            raise RowError(f"should be a JSON object but is {type(row).__name__}")
        show = text_of(row, "show_number")
        one = _clue(show if show not in asked else f"{show}-{asked[show] + 1}", row)
        asked[show] += 1
        return one

    return made_of(path, enumerate(clues, 1), question, bad)


def _table(path: str | Path, bad: BadRows) -> Iterator[Question]:
    """A field whose first sign is a quote has it after a backslash, as has one that ends in a quote; no field is in quotes."""

    def question(row: dict[str, object], number: int) -> Question:
        answer, clue = (_ESCAPED_QUOTE.sub(r"\1", text_of(row, column)) for column in ("question", "answer"))
        return _question(str(number), answer, clue)

    return made_of(path, table_rows(path, "\t", ("category", "answer", "question"), bad), question, bad)


def _search_qa(path: str | Path, bad: BadRows) -> Iterator[Question]:
    def question(line: str, number: int) -> Question:
        parts = line.rsplit("|||", 2)  # from the right: snippets of the web may hold bars, too
        if len(parts) < 3:
            raise RowError(f"should be 'snippets ||| clue ||| answer' but has {len(parts)} of these")
        return _question(str(number), parts[2], parts[1])

    return made_of(path, ((n, line) for n, line in enumerate(text_lines(path), 1) if line.strip()), question, bad)


def _search_qa_raw(path: str | Path, bad: BadRows) -> Iterator[Question]:
    """One file after the other, in the order of their names; rows are counted in it."""

    def question(row: tuple[str, bytes], number: int) -> Question:
        name, content = row
        try:
            clue = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise RowError(f"{name} is not JSON ({error})") from None
        if not isinstance(clue, dict):
            raise RowError(f"{name} should hold a JSON object but holds {type(clue).__name__}")
        return _clue(id_of(clue, number) if "id" in clue else Path(name).stem, clue)

    return made_of(path, enumerate(_members(path), 1), question, bad)


def _members(path: str | Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each JSON file in an archive; those that macOS adds are none."""
    where = "its table of contents"
    try:
        with zipfile.ZipFile(path) as archive:
            for member in sorted(archive.infolist(), key=lambda one: one.filename):
                where, parts = member.filename, member.filename.split("/")
                if not parts[-1].endswith(".json") or "__MACOSX" in parts or parts[-1].startswith("."):
                    continue
                if member.file_size > LARGEST_CLUE:
                    raise MiniragError(
                        f"{path}, {where}: has {member.file_size:,} bytes, too many for one clue; fetch it again"
                    )
                yield where, archive.read(member)
    except FileNotFoundError:
        raise MiniragError(f"cannot read {path}: it does not exist; check the path") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise MiniragError(f"{path} cannot be unpacked at {where} ({error}); fetch it again") from error


def _clue(id: str, row: dict[str, object]) -> Question:
    """A clue under J! Archive's keys."""
    clue = text_of(row, "question").strip()
    if clue[0] == clue[-1] == "'":
        clue = clue[1:-1]
    return _question(id, clean(text_of(row, "answer")), clean(clue))


def _question(id: str, answer: str, clue: str) -> Question:
    texts: dict[str, object] = {"answer": answer, "clue": clue}
    return Question(id, text_of(texts, "answer").strip(), (text_of(texts, "clue").strip(),))
