"""Grading end to end: a few submissions through the command, and what the grader makes of what a worker says."""

import csv
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from grader_cases import RIGHT, TINY, Plus, answers, bubblewrap, doubled, halted, mapped, prior, save

from minirag import cli
from minirag.cli.exercises import chosen
from minirag.errors import MiniragError
from minirag.teaching import checks
from minirag.teaching.checks.exercise import Exercise, Outcome
from minirag.teaching.checks.local import Answer
from minirag.teaching.grader import grade as grading
from minirag.teaching.grader.grade import grade_class, grade_submission, seed_of
from minirag.teaching.grader.reading import Cell, Notebook, Submission
from minirag.teaching.grader.remote import TURN, Remote
from minirag.teaching.grader.sandbox import Sandbox
from minirag.teaching.grader.session import Gone, Limits, Session
from minirag.teaching.grader.values import decode, encode


def test_a_class_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    bubblewrap()
    monkeypatch.setattr(checks, "EXERCISES", TINY)
    monkeypatch.setenv("MINIRAG_SEED", "a secret")
    ada = save(tmp_path / "ada.ipynb", [*reversed(answers()), "def doubled(xs):\n    raise NotImplementedError"])
    bob = save(tmp_path / "bob.ipynb", answers(doubled="import os\ndef doubled(xs):\n    os._exit(1)", mapped="def mapped(f:"))
    (tmp_path / "cyd.ipynb").write_text("{")
    made = {"out": tmp_path / "grades.csv", "junit": tmp_path / "grades.xml", "feedback": tmp_path / "feedback"}
    options = [str(each) for name, path in made.items() for each in (f"--{name}", path)]
    assert cli.main(["exercises", "grade", str(ada), str(bob), str(tmp_path / "cyd.ipynb"), *options]) == 0
    assert sorted(capsys.readouterr().out.splitlines()) == [
        "ada: 14 of 14 points",
        "bob: 9 of 14 points",
        "cyd: 0 of 14 points",
    ]
    rows = list(csv.reader(made["out"].read_text(encoding="utf-8").splitlines()))
    assert rows[0] == ["student", "0.1 (2)", "0.2 (3)", "0.3 (4)", "1.1 (5)", "total (14)", "remark"]
    assert rows[1] == ["ada", "2", "3", "4", "5", "14", ""]
    assert rows[2] == ["bob", "0", "0", "4", "5", "9", "1 cell failed"]
    assert rows[3][:-1] == ["cyd", "0", "0", "0", "0", "0"]
    assert "no JSON" in rows[3][-1]
    page = (made["feedback"] / "bob.html").read_text(encoding="utf-8")
    assert "0.1 not yet: it ended the process (a crash, an exit, or too much memory)." in page
    assert "0.2 not yet: mapped is not defined, for cell 4 failed: SyntaxError in line 1" in page
    assert sorted(path.name for path in made["feedback"].iterdir()) == ["ada.html", "bob.html", "cyd.html"]
    assert made["junit"].read_text(encoding="utf-8").count("<failure") == 6


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "grading needs a secret"),
        (["--seed", ""], "grading needs a secret"),
        (["--seed-file", "nowhere.txt"], "nowhere.txt cannot be read as text"),
        (["--seed", "1", "--only", "99"], "--only 99: no exercise"),
    ],
)
def test_what_the_command_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    monkeypatch.delenv("MINIRAG_SEED", raising=False)
    ada = save(tmp_path / "ada.ipynb", answers())
    assert cli.main(["exercises", "grade", str(ada), "--out", str(tmp_path / "grades.csv"), *arguments]) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "grades.csv").exists()


def test_only_some_exercises() -> None:
    assert chosen(TINY, None) == list(TINY)
    assert chosen(TINY, ["00", "1"]) == list(TINY)
    assert chosen(TINY, ["01"]) == [prior]
    assert chosen(TINY, ["1.1"]) == [prior]
    with pytest.raises(MiniragError, match="--only 2: no exercise"):
        chosen(TINY, ["2"])


@pytest.mark.parametrize(
    ("option", "said"), [("--out", "is a folder"), ("--junit", "is a folder"), ("--feedback", "is a file")]
)
def test_where_grades_cannot_go_is_said_before_anybody_is_graded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, said: str
) -> None:
    monkeypatch.setattr(checks, "EXERCISES", TINY)
    ada = save(tmp_path / "ada.ipynb", answers())
    wrong = ada if option == "--feedback" else tmp_path
    given = {"--out": tmp_path / "grades.csv"} | {option: wrong}
    options = [str(each) for pair in given.items() for each in pair]
    assert cli.main(["exercises", "grade", str(ada), "--seed", "s", *options]) != 0
    told = capsys.readouterr()
    assert said in told.err
    assert "of 14 points" not in told.out


def test_any_secret_makes_a_seed() -> None:
    assert seed_of("a") == seed_of("a")
    assert len({seed_of(each) for each in ("a", "b", "", "7", " 7", "é")}) == 6
    assert [args for args, _ in doubled.cases(seed_of("a"))][2:] != [args for args, _ in doubled.cases(seed_of("b"))][2:]


class Said(Session):
    """A session whose worker says what it is told to, and remembers what it was asked."""

    def __init__(self, *replies: Any, asks: Any = None, **limits: float) -> None:
        super().__init__((), (), Sandbox("none"), Limits(**limits), threading.Event())
        self.replies, self.asks, self.asked, self.closed = list(replies), asks, [], 0

    def ask(self, message: Any, seconds: float, serve: Any) -> Any:
        self.asked.append(message)
        if self.asks:
            self.served = [serve(each) for each in self.asks]
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def close(self) -> None:
        self.closed += 1


def called(session: Session, exercise: Exercise = doubled, args: Any = ([1],)) -> Answer:
    with TURN:
        return Remote(session, exercise, 0)(args, exercise.wrt)


def test_a_call_tells_no_more_than_the_arguments() -> None:
    session = Said({"value": [2]})
    assert called(session) == Answer([2])
    assert session.asked == [
        {"do": "call", "name": "doubled", "version": 0, "args": {"tuple": [[1]]}, "wrt": [], "allowed": [], "seconds": 2.0}
    ]


@pytest.mark.parametrize(
    "reply",
    [{}, {"value": {"pickle": ""}}, {"trouble": ""}, {"trouble": 7}, {"value": {"tensor": "", "dtype": "int8", "shape": [9]}}],
    ids=str,
)
def test_malformed_answers_end_the_worker(reply: Any) -> None:
    session = Said(reply)
    answer = called(session)
    assert answer.final
    assert "cannot be read" in answer.trouble
    assert session.closed == 1


def test_a_worker_that_died_is_not_asked_again() -> None:
    session = Said(Gone("it ended the process"))
    remote = Remote(session, doubled, 0)
    with TURN:
        answers = [remote(([1],), ()) for _ in range(3)]
    assert answers == 3 * [Answer(trouble="it ended the process.", final=True)]
    assert len(session.asked) == 1


def test_all_cases_together_have_a_time() -> None:
    session = Said({"value": [2]}, exercise=0.0)
    assert "longer than 0 s" in called(session).trouble
    assert session.asked == []


def test_functions_are_served_and_their_errors_told() -> None:
    asks = [{"ask": 0, "args": encode((3,))}, {"ask": 0, "args": encode(("a",))}, {"ask": 0, "args": encode(())}]
    session = Said({"value": [4]}, asks=asks)
    assert called(session, mapped, (Plus(1), [3])).value == [4]
    assert decode(session.served[0]["value"]) == 4
    assert [each["raised"] for each in session.served[1:]] == ["TypeError", "TypeError"]


@pytest.mark.parametrize(
    "ask", [{"ask": 1, "args": encode(())}, {"ask": True, "args": encode(())}, {"ask": 0, "args": [1]}, {"ask": 0}]
)
def test_functions_that_nobody_handed_over_are_not_served(ask: Any) -> None:
    assert "cannot be read" in called(Said({"value": 1}, asks=[ask]), mapped, (Plus(1), [3])).trouble


def test_a_function_is_not_served_for_ever() -> None:
    def slow(x: int) -> int:
        while True:
            pass

    session = Said({"trouble": "it did not end"}, asks=[{"ask": 0, "args": encode((1,))}])
    quick = Exercise(**{**vars(mapped), "seconds": 0.05})
    called(session, quick, (slow, [1]))
    assert session.served == [{"stop": True}]


def graded(monkeypatch: pytest.MonkeyPatch, versions: list[tuple[int, str]]) -> Outcome:
    """What `doubled` earns where its versions, the first first, earn and are told what `versions` say."""
    session = Session((), (), Sandbox("none"), Limits(), threading.Event(), versions={"doubled": len(versions)})
    monkeypatch.setattr(Session, "prepare", lambda self: None)

    def run(exercise: Exercise, call: Remote, seed: int) -> Outcome:
        points, text = versions[call.version]
        return Outcome(exercise.number, points, exercise.points, text)

    monkeypatch.setattr(grading, "_run", run)
    return grading._best_version(session, doubled, 1)


@pytest.mark.parametrize(
    ("versions", "best"),
    [
        ([(2, "right"), (0, "not written yet")], "right"),
        ([(0, "wrong"), (0, "not written yet")], "wrong"),
        ([(0, "first"), (0, "second")], "second"),
        ([(1, "half"), (0, "wrong")], "half"),
        ([(2, "too long ago"), *[(0, "wrong")] * 4], "wrong"),
    ],
)
def test_of_several_versions_the_best_counts(monkeypatch: pytest.MonkeyPatch, versions: list[Any], best: str) -> None:
    assert graded(monkeypatch, versions).text == best


class Odd(Exercise):
    """An exercise whose check itself fails."""

    def run(self, call: Any, seed: int) -> Outcome:
        raise OverflowError("int too large to convert to float")


def test_a_check_that_fails_costs_the_class_nothing() -> None:
    outcome = grading._run(Odd(**vars(doubled)), Remote(Said(), doubled, 0), 1)
    assert (outcome.points, outcome.passed) == (0, False)
    assert "cannot be graded: OverflowError" in outcome.text


def test_points_stay_within_what_there_is() -> None:
    class Generous(Exercise):
        def run(self, call: Any, seed: int) -> Outcome:
            return Outcome(self.number, 99, self.points, "x\x00")

    outcome = grading._run(Generous(**vars(doubled)), Remote(Said(), doubled, 0), 1)
    assert (outcome.points, outcome.text) == (2, "x")


def test_no_worker_at_all_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    cells = (Cell(1, RIGHT["doubled"]),)
    with pytest.raises(MiniragError, match=r"no worker starts in the sandbox \(it says nothing\)"):
        grade_class([Submission("ada", (Notebook("ada.ipynb", cells),))], TINY, "s", Sandbox("none"), jobs=1)


def test_when_the_time_is_over_the_rest_is_not_reached() -> None:
    submission = Submission("ada", (Notebook("ada.ipynb", (Cell(1, RIGHT["doubled"]),)),))
    grade = grade_submission(submission, TINY, 1, Sandbox("none"), Limits(notebook=-1.0), threading.Event())
    assert [each.text for each in grade.outcomes][:1] == ["✗ 0.1 not yet: not reached: the notebook's time is over."]
    assert grade.points == 0


def test_gradients_cross() -> None:
    session = Said({"value": encode((torch.tensor(1.0), torch.ones(1), torch.zeros(1)))})
    value = called(session, halted, (torch.ones(1), torch.ones(1))).value
    assert halted.differ(halted.by_hand[0][1], value) == ""
    assert session.asked[0]["wrt"] == [0, 1]
