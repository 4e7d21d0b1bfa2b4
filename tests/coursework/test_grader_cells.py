"""Running cells as the worker does, here: magics, failures, versions of a function, and what is printed."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from minirag.teaching.checks.local import Local
from minirag.teaching.grader.cells import Cells


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    return Cells(["f"])


def test_cells_share_a_namespace(cells: Cells) -> None:
    assert cells.run("a = 2", 1, 5.0) == {}
    assert cells.run("def f(x):\n    return a * x", 2, 5.0) == {}
    assert cells.versions["f"][0](4) == 8
    assert f"{cells.versions['f'][0].__module__}" == "__main__"


def test_magics_break_nothing_and_do_no_harm(cells: Cells) -> None:
    assert cells.run("%matplotlib inline\n!touch harm\nx = !ls\nlen?\n%cd ..\nimport os", 1, 5.0) == {}
    assert cells.run("%%bash\nrm -r harm", 2, 5.0) == {}
    assert cells.run("%%time\nb = 3", 3, 5.0) == {}
    assert cells.run("%time c = b + 1", 4, 5.0) == {}
    space = cells.module.__dict__
    assert (space["x"], space["c"]) == ([], 4)


@pytest.mark.parametrize(
    ("source", "raised", "line"),
    [
        ("a = 1\nb = nothing", "NameError", 2),
        ("def g():\n    1 / 0\ng()", "ZeroDivisionError", 2),
        ("def f(x)\n    return x", "SyntaxError", 1),
        ("raise SystemExit", "SystemExit", 1),
        ("import sys; sys.exit(3)", "SystemExit", 1),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", 1),
        ("class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E", "E", 4),
        ("x = '\\x00'\nint('a')", "ValueError", 2),
        ("\x00", "SyntaxError", 0),
    ],
)
def test_what_fails_is_told_and_the_next_cell_runs(cells: Cells, source: str, raised: str, line: int) -> None:
    trouble = cells.run(source, 7, 5.0)
    assert trouble["raised"] == raised
    assert trouble["line"] == line or raised == "SyntaxError"
    assert cells.run("f = 1", 8, 5.0) == {}


def test_a_cell_has_a_limited_time(cells: Cells) -> None:
    assert cells.run("while True:\n    pass", 1, 0.05)["text"] == "it did not end within 0.05 seconds"


def test_every_version_is_kept_once(cells: Cells) -> None:
    for source in ("def f(): return 1", "g = 0", "def f(): return 2", "f = f"):
        assert cells.run(source, 1, 5.0) == {}
    assert [each() for each in cells.versions["f"]] == [1, 2]
    cells.run("def f(): return 3\n1 / 0", 5, 5.0)
    assert cells.versions["f"][-1]() == 3, "what stands before a cell's error counts"


def test_the_beginning_of_what_is_printed_is_kept(cells: Cells) -> None:
    cells.run("print('a' * 9_000)\nprint('b' * 9_000)\nimport sys\nsys.stderr.write('c')", 1, 5.0)
    assert cells.printed.take() == "a" * 9_000 + "\n" + "b" * 999
    cells.run("print('d')", 2, 5.0)
    assert cells.printed.take() == ""


def test_in_a_worker_the_checks_are_stand_ins() -> None:
    code = """
from minirag.teaching.grader import stand_ins
stand_ins.install()
from minirag.teaching.checks import check_rag_sequence, anything
from minirag.teaching.checks.marginalisation import _sequence
import minirag.teaching.checks.exercise as exercise
from minirag.teaching.checks.local import Local
print(check_rag_sequence(3), _sequence(1, 2), exercise.Exercise(4), Local(len)(([1, 2],), ()).value)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("None None None 2\n", "")


def test_who_calls_the_references_is_found_out() -> None:
    from minirag.teaching.checks import marginalisation

    case = next(iter(marginalisation.check_rag_sequence.cases(0)))[0]
    answer = Local(lambda *args: marginalisation._sequence(*args))(case, ())
    assert "minirag.teaching.checks.marginalisation._sequence" in answer.trouble


def test_who_stops_the_watching_is_found_out() -> None:
    def blind(x: int) -> int:
        sys.setprofile(None)
        return x

    assert "sys.setprofile" in Local(blind)((1,), ()).trouble


def test_functions_that_a_case_hands_over_may_use_the_package() -> None:
    from minirag.corpus.words import escape

    assert Local(lambda f, x: f(x) + "!")((escape, "<"), ()).value == "&lt;!"
    assert "minirag.corpus.words.escape" in Local(lambda f, x: escape(x))((escape, "<"), ()).trouble
