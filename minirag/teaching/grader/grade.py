"""Grading: a submission's notebooks against exercises, and a class of submissions side by side."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from minirag.teaching.checks.design import Task
from minirag.teaching.checks.exercise import Outcome
from minirag.teaching.grader.reading import Notebook, Submission
from minirag.teaching.grader.remote import TURN, Remote
from minirag.teaching.grader.sandbox import Sandbox
from minirag.teaching.grader.session import Gone, Limits, Session
from minirag.teaching.grader.values import text_of

_MOST_VERSIONS = 4  # of one function that are tried, the last ones


@dataclass(frozen=True)
class Grade:
    """What a student gets. `outcomes`: one for each exercise; `notes`: (where, what went wrong); `printed`: by the cells."""

    student: str
    outcomes: tuple[Outcome, ...]
    notes: tuple[tuple[str, str], ...] = ()
    remark: str = ""
    printed: str = ""

    @property
    def points(self) -> int | float:
        return sum(each.points for each in self.outcomes)

    @property
    def of(self) -> int:
        return sum(each.of for each in self.outcomes)


def seed_of(secret: str) -> int:
    """A secret of any form as a seed of 256 bits, so that it cannot be found again from the cases that it draws.

    >>> seed_of("autumn") != seed_of("Autumn"), seed_of("autumn").bit_length() > 200
    (True, True)
    """
    return int.from_bytes(hashlib.sha256(secret.encode()).digest(), "big")


def grade_class(
    submissions: Sequence[Submission],
    exercises: Sequence[Task],
    secret: str,
    sandbox: Sandbox,
    limits: Limits | None = None,
    jobs: int = 2,
    done: Callable[[Grade], None] = lambda grade: None,
) -> list[Grade]:
    """Grade all, `jobs` at a time; in the order of `submissions`. All get the same cases, for luck should not differ."""
    stop = threading.Event()
    seed, most = seed_of(secret), limits or Limits()

    def one(submission: Submission) -> Grade:
        grade = grade_submission(submission, exercises, seed, sandbox, most, stop)
        done(grade)
        return grade

    with ThreadPoolExecutor(jobs) as pool:
        try:
            return list(pool.map(one, submissions))
        except BaseException:  # Ctrl-C, or no sandbox: whoever waits for a worker waits no more
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def grade_submission(
    submission: Submission,
    exercises: Sequence[Task],
    seed: int,
    sandbox: Sandbox,
    limits: Limits,
    stop: threading.Event,
) -> Grade:
    """Every exercise in every notebook; of several attempts at one, the best counts."""
    best = {each.number: _missing(each, "") for each in exercises}
    notes: list[tuple[str, str]] = []
    printed = ""
    for notebook in submission.notebooks:
        if notebook.problem:
            notes.append((notebook.name, notebook.problem))
            continue
        session = Session(notebook.cells, [each.name for each in exercises], sandbox, limits, stop)
        try:
            for outcome in _outcomes(session, exercises, seed):
                best[outcome.number] = max(best[outcome.number], outcome, key=_worth)
        finally:
            session.close()
        notes += [(f"{notebook.name}, cell {number}", text) for number, text in sorted(session.troubles.items())]
        printed += session.printed
    problem = submission.problem or _problem(submission.notebooks)
    failed = sum("not yet: cannot be graded" in each.text for each in best.values())
    remark = "; ".join(
        filter(
            None,
            [
                problem,
                f"{len(notes)} cell{'s' * (len(notes) > 1)} failed" if notes and not problem else "",
                f"{failed} not graded, for the grader failed" if failed else "",
            ],
        )
    )
    return Grade(submission.student, tuple(best.values()), tuple(notes), remark, printed)


def _problem(notebooks: Sequence[Notebook]) -> str:
    problems = [each for each in notebooks if each.problem]
    return "; ".join(f"{each.name}: {each.problem}" if len(notebooks) > 1 else each.problem for each in problems)


def _outcomes(session: Session, exercises: Sequence[Task], seed: int) -> list[Outcome]:
    """One for each exercise, whatever the notebook's code does."""
    outcomes = []
    try:
        session.prepare()
        for exercise in exercises:
            session.prepare()
            outcomes.append(_best_version(session, exercise, seed))
    except Gone as gone:
        outcomes += [_missing(each, f"not reached: {gone}.") for each in exercises[len(outcomes) :]]
    return outcomes


def _best_version(session: Session, exercise: Task, seed: int) -> Outcome:
    """The last definition counts, unless an earlier one earns more: an empty cell run again must not cost points."""
    many = session.versions.get(exercise.name, 0)
    tried: list[Outcome] = []
    for version in range(many - 1, max(-1, many - 1 - _MOST_VERSIONS), -1):
        session.prepare()
        with TURN:
            tried.append(_run(exercise, Remote(session, exercise, version), seed))
        if tried[-1].passed:
            break
    return max(tried, key=_worth) if tried else _missing(exercise, _why_missing(session, exercise.name))


def _run(exercise: Task, call: Remote, seed: int) -> Outcome:
    try:
        outcome = exercise.run(call, seed)
    except Exception as error:  # a value that no check has foreseen must not stop the class
        return _missing(exercise, f"cannot be graded: {type(error).__name__}: {error}")
    points = min(max(outcome.points, 0), exercise.points)
    return Outcome(exercise.number, points, exercise.points, text_of(outcome.text, 5000), text_of(outcome.mistake))


def _worth(outcome: Outcome) -> tuple[float, bool, bool]:
    return float(outcome.points), bool(outcome.text), "not written yet" not in outcome.text


def _why_missing(session: Session, name: str) -> str:
    """Empty where nobody tried; where a cell that defines it failed, that."""
    wanted = re.compile(rf"^\s*(?:def\s+{name}\b|{name}\s*=)", re.MULTILINE)
    for cell in session.cells:
        if cell.number in session.troubles and wanted.search(cell.source):
            return f"{name} is not defined, for cell {cell.number} failed: {session.troubles[cell.number]}"
    return ""


def _missing(exercise: Task, why: str) -> Outcome:
    text = f"✗ {exercise.number} not yet: {why}" if why else ""
    return Outcome(exercise.number, 0, exercise.points, text_of(text, 5000))
