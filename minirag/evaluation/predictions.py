"""Predictions on disk: a line for each example as soon as it is there, so that a run that was stopped goes on behind the last.

    FOLDER/run.json             what answers what, and how: the task, the model's and the questions' fingerprints, the decoding
    FOLDER/predictions.jsonl    {"id", "question", "output", "answers", "log_probability", "passages": [{"id", …}]}

A file made elsewhere may be scored as well: of a line only the id and the output are needed. KILT's layout is read, too, and
there the pages of the provenance are the passages.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minirag.corpus.readers import id_of
from minirag.corpus.rows import BadRows, RowError, json_rows, made_of
from minirag.errors import MiniragError
from minirag.files import atomic_path, only_process, read_json, write_json
from minirag.tasks.metrics import Match
from minirag.tasks.openqa import Question

PREDICTIONS, RUN = "predictions.jsonl", "run.json"
FACTS = {"task", "system", "data", "examples", "decoding", "made_from"}  # that a run tells of itself


@dataclass(frozen=True)
class Read:
    """A passage that a prediction rests on: p(z|x), and whether it holds an answer (None where that says nothing).

    `page`: where the task's evidence is pages, the id of this passage's, empty if it is evidence of no example at all.
    """

    id: str
    title: str
    probability: float
    holds_answer: bool | None = None
    page: str | None = None


@dataclass(frozen=True)
class Prediction:
    """What was said of an example, beside what counts for it. `log_probability` is log p(y|x); `probabilities` those of the
    labels, in classification. Of a long output `pieces` are the tokens, and `speaks` tells which passage spoke at each of them
    (`document_posterior`, [T, K]).
    """

    id: str
    question: str
    output: str
    answers: tuple[str, ...] = ()
    match: Match = "string"
    log_probability: float | None = None
    passages: tuple[Read, ...] = ()
    probabilities: Mapping[str, float] | None = None
    evidence: tuple[frozenset[str], ...] = ()
    pieces: tuple[str, ...] = ()
    speaks: tuple[tuple[float, ...], ...] = ()

    @property
    def pages(self) -> list[str]:
        """The pages of the passages, best first; one that is no evidence goes by its title, and is like no id."""
        return [passage.page or f"without id: {passage.title}" for passage in self.passages]

    @property
    def found(self) -> bool:
        """Whether one of the passages holds an answer."""
        return any(passage.holds_answer for passage in self.passages)

    @property
    def example(self) -> Question:
        return Question(self.id, self.question, self.answers, self.match, self.evidence)


def read_predictions(path: str | Path) -> list[Prediction]:
    """Read a file of predictions, one JSON object a line. Raises `MiniragError` with file and row for a line that is none."""
    path = Path(path)
    found = list(made_of(path, json_rows(path, BadRows()), _prediction, BadRows()))
    if not found:
        raise MiniragError(f"{path} holds no prediction; check that it is the right file")
    if len({one.id for one in found}) < len(found):
        raise MiniragError(f"{path} has two predictions with one id; give each example one")
    return found


def in_order_of(questions: Sequence[Question], predictions: Iterable[Prediction], path: str | Path) -> list[Prediction]:
    """The predictions, one for each question in turn. Raises `MiniragError` for a question without, or one nobody asked."""
    by_id = {one.id: one for one in predictions}
    if missing := next((one for one in questions if one.id not in by_id), None):
        raise MiniragError(f"{path} has no prediction for '{missing.id}' ({missing.question[:40]}…); give each example one")
    if more := by_id.keys() - {one.id for one in questions}:
        raise MiniragError(f"{path} answers '{min(more)}', which the questions do not have; give the questions that were asked")
    return [by_id[one.id] for one in questions]


class Run:
    """A folder in which predictions are gathered, by one process at a time: those that are there, and a place for more.

    Entering raises `MiniragError` where the folder is another run's, by what it was `made_from`, or another process's.
    """

    def __init__(self, folder: str | Path, facts: Mapping[str, Any]) -> None:
        self.folder, self.path, self.facts = Path(folder), Path(folder) / PREDICTIONS, dict(facts)
        self.done: list[Prediction] = []
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Run:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        busy = f"another process gathers predictions in {self.folder}; wait for it, or choose another folder"
        self._held.enter_context(only_process(self.folder.with_name(f".{self.folder.name}.lock"), busy))
        try:
            self._take_up()
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def _take_up(self) -> None:
        if (self.folder / RUN).exists():
            _check_same(self.folder, self.facts)
        elif self.folder.exists() and any(self.folder.iterdir()):
            raise MiniragError(f"{self.folder} is there already and holds no predictions; choose another folder")
        self.folder.mkdir(exist_ok=True)
        write_json(self.folder / RUN, self.facts)
        self.done = self._whole_lines()

    def add(self, predictions: Iterable[Prediction]) -> None:
        """Write some more, and see to it that they are on disk."""
        new = list(predictions)
        with open(self.path, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(_row(one), ensure_ascii=False) + "\n" for one in new)
            file.flush()
            os.fsync(file.fileno())
        self.done += new

    def _whole_lines(self) -> list[Prediction]:
        """What is there already; half a line, which a kill leaves, is cut off."""
        if not self.path.exists():
            return []
        raw = self.path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):
            with atomic_path(self.path) as temporary:
                temporary.write_bytes(whole)
        return read_predictions(self.path) if whole else []


def read_run(folder: str | Path) -> tuple[dict[str, Any], list[Prediction]]:
    """What a run says of itself, and its predictions. Raises `MiniragError` for a folder that is no run, or not finished."""
    folder = Path(folder)
    if not (folder / RUN).exists():
        raise MiniragError(f"{folder} holds no {RUN}; name a folder that `minirag evaluate` has written")
    facts = read_json(folder / RUN)
    if not isinstance(facts, dict) or not facts.keys() >= FACTS:
        raise MiniragError(f"{folder / RUN} does not say what was run; run `minirag evaluate` again, into another folder")
    found = read_predictions(folder / PREDICTIONS)
    if len(found) < facts["examples"]:
        raise MiniragError(f"{folder} has {len(found)} of {facts['examples']} predictions; run `minirag evaluate` again")
    return facts, found


def _check_same(folder: Path, facts: Mapping[str, Any]) -> None:
    before = read_json(folder / RUN)
    if not isinstance(before, dict) or before.get("made_from") != facts["made_from"]:
        odd = [name for name, value in facts.items() if isinstance(before, dict) and before.get(name) != value]
        raise MiniragError(f"{folder} holds another run's predictions ({', '.join(odd) or RUN} differs); choose another folder")


def _row(one: Prediction) -> dict[str, Any]:
    row = asdict(one) | {"evidence": [sorted(pages) for pages in one.evidence] or None}
    for passage in row["passages"]:
        if passage["page"] is None:
            del passage["page"]
    for name in ("pieces", "speaks"):
        row[name] = row[name] or None
    return {name: value for name, value in row.items() if value is not None}


def _prediction(row: dict[str, object], number: int) -> Prediction:
    return Prediction(
        id_of(row, number),
        str(row.get("question", row.get("input", ""))),
        _output(row),
        tuple(_answers(row)),
        "regex" if row.get("match") == "regex" else "string",
        _number(row, "log_probability"),
        tuple(_passages(row) if "passages" in row else _provenance(row)),
        _probabilities(row),
        tuple(_evidence(row)),
        *_speaking(row),
    )


def _output(row: Mapping[str, object]) -> str:
    """What was said: `output`, a text or KILT's list of objects with an "answer"; else `prediction`."""
    said = row.get("output", row.get("prediction"))
    if isinstance(said, list):
        answers = [one.get("answer") for one in said if isinstance(one, dict) and one.get("answer") is not None]
        said = answers[0] if answers else None
    if not isinstance(said, str):
        raise RowError("has no 'output' that is a text")
    return said


def _answers(row: Mapping[str, object]) -> list[str]:
    answers = row.get("answers", [])
    if not (isinstance(answers, list) and all(isinstance(answer, str) for answer in answers)):
        raise RowError("has 'answers' that are no list of texts")
    return answers


def _passages(row: Mapping[str, object]) -> Iterator[Read]:
    given = row.get("passages", [])
    if not isinstance(given, list):
        raise RowError("has 'passages' that are no list")
    for one in given:
        if not isinstance(one, dict) or "id" not in one:
            raise RowError("has a passage without an 'id'")
        holds, page = one.get("holds_answer"), one.get("page")
        yield Read(
            str(one["id"]),
            str(one.get("title", "")),
            _number(one, "probability") or 0.0,
            None if holds is None else bool(holds),
            None if page is None else str(page),
        )


def _provenance(row: Mapping[str, object]) -> Iterator[Read]:
    """The pages of KILT's layout, those of its first output that has any."""
    said = row.get("output")
    outputs = [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []
    for place in next((given for one in outputs if (given := one.get("provenance"))), ()):
        if not isinstance(place, dict) or place.get("wikipedia_id") is None:
            raise RowError("has a place in 'provenance' without a 'wikipedia_id'")
        page = str(place["wikipedia_id"]).strip()
        yield Read(page, str(place.get("title", "")), 0.0, page=page)


def _evidence(row: Mapping[str, object]) -> Iterator[frozenset[str]]:
    given = row.get("evidence", [])
    if not (isinstance(given, list) and all(isinstance(one, list) for one in given)):
        raise RowError("has 'evidence' that is no list of lists of pages")
    for one in given:
        yield frozenset(map(str, one))


def _speaking(row: Mapping[str, object]) -> tuple[tuple[str, ...], tuple[tuple[float, ...], ...]]:
    """The tokens, and for each of them a probability of every passage; nothing where the row does not say."""
    pieces, speaks, passages = (row.get(name, []) for name in ("pieces", "speaks", "passages"))
    if not (isinstance(pieces, list) and all(isinstance(piece, str) for piece in pieces)):
        raise RowError("has 'pieces' that are no list of texts")
    if not (isinstance(speaks, list) and len(speaks) == len(pieces) and all(map(_are_probabilities, speaks))):
        raise RowError("has 'speaks' that does not hold a list of probabilities for each of its 'pieces'")
    if isinstance(passages, list) and any(len(each) != len(passages) for each in speaks):
        raise RowError("has 'speaks' with more or fewer probabilities than 'passages'")
    return tuple(pieces), tuple(tuple(map(float, each)) for each in speaks)


def _are_probabilities(given: object) -> bool:
    return isinstance(given, list) and all(isinstance(p, int | float) and 0 <= p <= 1 for p in given)


def _probabilities(row: Mapping[str, object]) -> dict[str, float] | None:
    given = row.get("probabilities")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise RowError("has 'probabilities' that are no object")
    return {str(label): _number(given, label) or 0.0 for label in given}


def _number(row: Mapping[str, object], name: str) -> float | None:
    value = row.get(name)
    if value is not None and not isinstance(value, int | float):
        raise RowError(f"has a '{name}' that is no number")
    return None if value is None else float(value)
