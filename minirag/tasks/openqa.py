"""Open-domain question answering (§3.1): question sets in the layouts of their publishers, read into one record.

| layout | looks like | published as |
|---|---|---|
| NQ-open | JSON lines `{"question", "answer": [...]}` (or "answers") | NQ-open, WebQuestions, TriviaQA exports |
| WebQuestions | JSON list `[{"qId", "qText", "answers"}]` | brmson's WebQuestions |
| TriviaQA | JSON `{"Data": [{"QuestionId", "Question", "Answer": {"Value", "Aliases"}}]}` | TriviaQA, all versions |
| DPR | tab-separated `question`, `['answer', ...]` | `*.qa.csv` |
| CuratedTREC | tab-separated `id`, `factoid`, `question`, `regex` | brmson's CuratedTREC |

Any of them may be gzipped.
"""

import ast
import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minirag.errors import MiniragError
from minirag.tasks.metrics import Match


@dataclass(frozen=True, slots=True)
class Question:
    """An example of any task: x, which `y` count for it, and how: as strings, or as regular expressions (CuratedTREC).

    x is `question`: a question, or a claim (FEVER), or the entity that is to be asked for (Jeopardy); `answers` then is the
    label, or the clue. `evidence`: sets of pages by title, or of passages by id; each set is enough to tell, if read whole.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    match: Match = "string"
    evidence: tuple[frozenset[str], ...] = ()


def read_questions(path: str | Path, match: Match | None = None) -> list[Question]:
    """Read a question set. Ids are the file's own, else row numbers from 1.

    `match` None means "regex" for CuratedTREC, known by its four columns or by its name (DPR's `curatedtrec-test.qa.csv` looks
    like any other), and "string" for the rest. Raises `MiniragError` with file and row for a question without text or answers,
    and for anything that is not in one of these layouts.
    """
    path = Path(path)
    questions = [_question(path, row, record, match) for row, record in _records(path)]
    if not questions:
        raise MiniragError(f"{path} holds no question; check that it is the right file")
    return questions


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row, {"id"?, "question", "answers", "match"}) for each question, from whichever layout the name's ending says."""
    ending = Path(path.name.removesuffix(".gz")).suffix
    readers = {".jsonl": _json_lines, ".json": _json_list, ".csv": _tab_separated, ".tsv": _tab_separated}
    if ending not in readers:
        raise MiniragError(f"{path} ends in '{ending}'; question files end in {', '.join(readers)}, with or without .gz")
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig", newline="") as lines:
            yield from readers[ending](path, lines)
    except FileNotFoundError:
        raise MiniragError(f"{path} does not exist; check the path or download it first") from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise MiniragError(f"{path} cannot be read ({error}); download it again") from error


def _json_lines(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for row, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield row, _renamed(json.loads(line))
            except ValueError as error:
                raise _bad(path, row, f"is not a JSON object ({error})") from error


def _json_list(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        whole = json.loads("".join(lines))
        records = [_renamed(record) for record in (whole.get("Data", []) if isinstance(whole, dict) else whole)]
    except (ValueError, TypeError) as error:
        raise MiniragError(f"{path} is not a JSON list of questions ({error}); check that it is the right file") from error
    yield from enumerate(records, 1)


def _renamed(record: Any) -> dict[str, Any]:
    """One set of names for NQ-open's, WebQuestions' and TriviaQA's keys."""
    if not isinstance(record, dict):
        raise ValueError(f"{type(record).__name__} instead of an object")
    if isinstance(answer := record.get("Answer"), dict):
        names = [answer.get("Value"), *answer.get("Aliases", []), *answer.get("HumanAnswers", [])]
        return {"id": record.get("QuestionId"), "question": record.get("Question"), "answers": list(dict.fromkeys(names))}
    return {
        "id": record.get("id", record.get("qId")),
        "question": record.get("question", record.get("qText")),
        "answers": record.get("answers", record.get("answer")),
    }


def _tab_separated(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """DPR writes its columns as csv with quotes; CuratedTREC's are raw, and a quote there is a quote."""
    for row, line in enumerate(lines, 1):
        raw = line.rstrip("\r\n").split("\t")
        if len(raw) == 4:
            yield row, {"id": raw[0], "question": raw[2], "answers": [raw[3]], "match": "regex"}
        elif line.strip():
            columns = next(csv.reader([line], delimiter="\t"))
            if len(columns) != 2:
                raise _bad(path, row, f"has {len(columns)} tab-separated columns, not 2 (DPR) or 4 (CuratedTREC)")
            yield row, {"question": columns[0], "answers": _literal_list(path, row, columns[1])}


def _literal_list(path: Path, row: int, text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise _bad(path, row, f"has answers that are not a list of strings ({text[:60]!r})") from error


def _question(path: Path, row: int, record: dict[str, Any], match: Match | None) -> Question:
    question, answers = record["question"], record["answers"]
    answers = [answers] if isinstance(answers, str) else answers
    if not (isinstance(question, str) and question.strip()):
        raise _bad(path, row, "has no question")
    if not (isinstance(answers, list) and answers and all(isinstance(answer, str) and answer.strip() for answer in answers)):
        raise _bad(path, row, "has no list of answers, each a string that is not empty")
    default: Match = "regex" if "match" in record or "curatedtrec" in path.name.lower() else "string"
    id = record.get("id")
    return Question(str(row if id is None else id), question.strip(), tuple(answers), match or default)


def _bad(path: Path, row: int, what: str) -> MiniragError:
    return MiniragError(f"{path}, row {row}: {what}; correct or remove the row")
