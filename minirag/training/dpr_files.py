"""DPR's training files: questions, each with passages that answer it and passages that only look as if they did.

A file is one JSON list; DPR's for Natural Questions has several GB, so it is read question by question, and of each
question's many negatives only as many are kept as are asked for.
"""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minirag.corpus.passages import Passage
from minirag.corpus.rows import DAMAGED, LARGEST_FIELD, open_bytes
from minirag.errors import MiniragError
from minirag.files import atomic_path

_PIECE = 1 << 20  # characters read at once
_BLANK = " \t\n\r"


@dataclass(frozen=True)
class Candidate:
    """A passage with the score that the search gave it which found it (0 where none did)."""

    passage: Passage
    score: float = 0.0


@dataclass(frozen=True)
class Asked:
    """A question with its passages: `positives` hold an answer; `hard_negatives` were found for it, by BM25 or by a model,
    and hold none; `negatives` come from anywhere."""

    question: str
    answers: tuple[str, ...]
    positives: tuple[Candidate, ...]
    negatives: tuple[Candidate, ...] = ()
    hard_negatives: tuple[Candidate, ...] = ()
    dataset: str = ""


def read_asked(path: str | Path, keep: int = 30) -> Iterator[Asked]:
    """The questions of a file in DPR's format (.json, may be .gz), as they are read; `keep` negatives of either sort of each.

    Raises `MiniragError` with the number of the question (from 1) for one that is damaged.
    """
    path = Path(path)
    try:
        # Broken bytes are kept as surrogates, so that a question can be blamed for them.
        with open_bytes(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, record in enumerate(_objects(file, path), 1):
                yield _asked(record, keep, f"{path}, question {number}")
    except DAMAGED as error:
        raise MiniragError(f"{path} cannot be read ({error}); check the path, or download it again") from None


def write_asked(path: str | Path, asked: Iterable[Asked]) -> None:
    """Write questions in DPR's format, as its own training and `read_asked` read it."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write("[")
        for number, one in enumerate(asked):
            record = {
                "dataset": one.dataset,
                "question": one.question,
                "answers": list(one.answers),
                "positive_ctxs": _contexts(one.positives),
                "negative_ctxs": _contexts(one.negatives),
                "hard_negative_ctxs": _contexts(one.hard_negatives),
            }
            file.write((",\n" if number else "\n") + json.dumps(record, ensure_ascii=False, indent=1))
        file.write("\n]\n")


def _contexts(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    return [
        {"title": z.title, "text": z.text, "score": score, "title_score": 0, "passage_id": z.id}
        for z, score in ((candidate.passage, candidate.score) for candidate in candidates)
    ]


def _objects(file: io.TextIOWrapper, path: Path) -> Iterator[Any]:
    """The elements of a JSON list, one after the other, without the whole of it in memory."""
    decoder, buffer = json.JSONDecoder(), _past_blanks(file, "")
    if not buffer.startswith("["):
        raise MiniragError(f"{path} is no JSON list; DPR's training files are one list of questions")
    at, number, closed = 1, 0, False
    while not closed:
        try:
            at = _skipped(buffer, at)
            if buffer[at] == "]" and not number:
                at += 1
                break
            record, end = decoder.raw_decode(buffer, at)
            end = _skipped(buffer, end)  # a number may go on in the next piece, but not behind a comma
            closed = {",": False, "]": True}[buffer[end]]
        except (ValueError, IndexError, KeyError, RecursionError):
            piece = file.read(max(_PIECE, len(buffer) - at))  # doubles: a long element is not parsed again and again
            if not piece or len(buffer) - at > LARGEST_FIELD:
                raise MiniragError(f"{path}, question {number + 1} is cut short or no JSON; download the file again") from None
            buffer, at = buffer[at:] + piece, 0
            continue
        at, number = end + 1, number + 1
        yield record
    if _past_blanks(file, buffer[at:]):
        raise MiniragError(f"{path} goes on behind its list; DPR's training files are one list of questions")


def _past_blanks(file: io.TextIOWrapper, buffer: str) -> str:
    """What is left in the buffer or else in the file's next pieces, from what is not blank on; "" at the end."""
    while not (buffer := buffer.lstrip(_BLANK)) and (piece := file.read(_PIECE)):
        buffer = piece
    return buffer


def _skipped(buffer: str, at: int) -> int:
    """The next place that is not blank."""
    while at < len(buffer) and buffer[at] in _BLANK:
        at += 1
    return at


def _asked(record: Any, keep: int, where: str) -> Asked:
    if not isinstance(record, dict) or not _is_text(record.get("question")) or not record["question"].strip():
        raise MiniragError(f"{where} has no question; mend it, or leave it out")
    answers = record.get("answers", [])
    if not isinstance(answers, list) or not all(map(_is_text, answers)):
        raise MiniragError(f"{where} has answers that are no list of strings; mend it, or leave it out")
    parts = {name: record.get(name) or [] for name in ("positive_ctxs", "negative_ctxs", "hard_negative_ctxs")}
    for name, part in parts.items():
        if not isinstance(part, list):
            raise MiniragError(f"{where} has {name} that are no list; mend it, or leave it out")
    # DPR replaces the typographic apostrophe in questions.
    return Asked(
        record["question"].strip().replace("’", "'"),
        tuple(answers),
        tuple(_candidate(context, where) for context in parts["positive_ctxs"]),
        tuple(_candidate(context, where) for context in parts["negative_ctxs"][:keep]),
        tuple(_candidate(context, where) for context in parts["hard_negative_ctxs"][:keep]),
        str(record.get("dataset") or ""),
    )


def _candidate(context: Any, where: str) -> Candidate:
    if not isinstance(context, dict) or not (_is_text(context.get("text")) and _is_text(context.get("title"))):
        raise MiniragError(f"{where} has a passage without title or text; mend it, or leave the question out")
    ids = (context.get(name) for name in ("passage_id", "psg_id"))  # some of DPR's files have the one, some the other
    id = next((str(id) for id in ids if id is not None), "")
    try:
        score = float(context.get("score", 0) or 0)
    except (TypeError, ValueError, OverflowError):
        raise MiniragError(f"{where} has a passage whose score is no number; mend it, or leave the question out") from None
    return Candidate(Passage(id, context["title"], context["text"]), score)


def _is_text(value: Any) -> bool:
    """Whether it is a string that UTF-8 can write: without a broken byte, or half of a pair."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False
