"""The students' notebooks: made from the solutions, without them, and the same bytes each time."""

import copy
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirag import cli
from minirag.errors import MiniragError
from minirag.teaching import exercises
from minirag.teaching.checks import EXERCISES

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
NUMBER = "8.2"
POINTS = next(each.points for each in EXERCISES if each.number == NUMBER)

SOLVED = '''def rag_sequence(log_p, log_prior):
    """log p(y|x)."""
    ### BEGIN SOLUTION
    total = log_p.sum(1)

    return torch.logsumexp(log_prior + total, 0)
    ### END SOLUTION
'''
UNSOLVED = '''def rag_sequence(log_p, log_prior):
    """log p(y|x)."""
    raise NotImplementedError("Exercise 8.2")'''


def code(source: str, key: str, role: str = "") -> dict[str, Any]:
    metadata = {"minirag": {"exercise": NUMBER, "role": role}} if role else {"tags": ["kept"]}
    output = {"output_type": "stream", "name": "stdout", "text": ["✓\n"]}
    return {
        "cell_type": "code",
        "id": key,
        "metadata": metadata,
        "execution_count": 1,
        "outputs": [output],
        "source": source.splitlines(keepends=True),
    }


def solutions() -> dict[str, Any]:
    text = {"cell_type": "markdown", "id": "exercise-8-2", "metadata": {}, "source": ["## Exercise 8.2 ★ é\n", "text"]}
    cells = [
        text,
        code("import torch", "imports"),
        code(SOLVED, "solution-8-2", "solution"),
        code("check_rag_sequence(rag_sequence)", "check-8-2", "check"),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    (tmp_path / "solutions").mkdir()
    (tmp_path / "solutions" / "08_marginalisation.ipynb").write_text(json.dumps(solutions()), encoding="utf-8")
    return tmp_path


def test_solutions_go_and_all_else_stays() -> None:
    before = solutions()
    made = exercises.exercise_notebook(before, "08.ipynb")
    assert before == solutions(), "the source is not touched"
    text, imports, solution, check = made["cells"]
    assert text == before["cells"][0]
    assert [(cell["outputs"], cell["execution_count"]) for cell in (imports, solution, check)] == 3 * [([], None)]
    assert "".join(solution["source"]) == UNSOLVED
    assert imports["metadata"] == {"tags": ["kept"]}
    assert [cell["id"] for cell in made["cells"]] == [cell["id"] for cell in before["cells"]]
    assert made["metadata"] == before["metadata"]
    nbformat.validate(made)


def test_nbgrader_knows_the_cells() -> None:
    """The keys that version 3 of nbgrader's schema asks for; a grade cell has points, and no id is used twice."""
    made = exercises.exercise_notebook(solutions(), "08.ipynb")
    _, imports, solution, check = (cell["metadata"].get("nbgrader") for cell in made["cells"])
    assert imports is None
    plain = {"schema_version": 3, "task": False}
    assert solution == {**plain, "grade": False, "solution": True, "locked": False, "grade_id": "solution-8-2"}
    assert check == {**plain, "grade": True, "solution": False, "locked": True, "grade_id": "check-8-2", "points": POINTS}


def test_building_twice_gives_the_same_bytes_and_check_says_so(notebooks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = notebooks / "exercises" / "08_marginalisation.ipynb"
    options = ["--notebooks", str(notebooks)]
    assert cli.main(["exercises", "build", "--check", *options]) == 1
    assert "is missing; run `minirag exercises build`" in capsys.readouterr().err
    assert cli.main(["exercises", "build", *options]) == 0
    raw = path.read_bytes()
    assert raw.decode() == nbformat.writes(nbformat.reads(raw.decode(), as_version=4)) + "\n", "as Jupyter writes it"
    assert cli.main(["exercises", "build", *options]) == 0
    assert path.read_bytes() == raw
    assert cli.main(["exercises", "build", "--check", *options]) == 0
    path.write_bytes(raw.replace(b"torch", b"troch"))
    assert cli.main(["exercises", "build", "--check", *options]) == 1
    assert "is not what its solutions make of it" in capsys.readouterr().err
    path.write_bytes(raw)
    (path.parent / "99_old.ipynb").write_bytes(raw)
    with pytest.raises(MiniragError, match=r"99_old\.ipynb has no solutions beside it; remove it"):
        exercises.check(notebooks)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("### BEGIN SOLUTION\nx = 1", "'### BEGIN SOLUTION' without '### END SOLUTION'"),
        ("x = 1\n### END SOLUTION", "'### END SOLUTION' without its other half"),
        ("### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION", "'### BEGIN SOLUTION' without its other half"),
        ("x = 1  ### BEGIN SOLUTION\n### END SOLUTION", "a mark stands beside other text"),
    ],
)
def test_marks_without_their_other_half_are_told(notebooks: Path, source: str, sentence: str) -> None:
    spoiled = solutions()
    spoiled["cells"][2]["source"] = [source]
    (notebooks / "solutions" / "08_marginalisation.ipynb").write_text(json.dumps(spoiled), encoding="utf-8")
    with pytest.raises(MiniragError, match=sentence) as raised:
        exercises.build(notebooks)
    assert "08_marginalisation.ipynb, cell 3: " in str(raised.value)
    assert not (notebooks / "exercises").exists()


def test_a_solution_must_belong_to_an_exercise() -> None:
    nameless, unknown = solutions(), solutions()
    nameless["cells"][2]["metadata"] = {}
    unknown["cells"][2]["metadata"]["minirag"]["exercise"] = "8.99"
    with pytest.raises(MiniragError, match=r"cell 3: it has a solution and its metadata name no exercise"):
        exercises.exercise_notebook(nameless, "08.ipynb")
    with pytest.raises(MiniragError, match=r"08\.ipynb: there is no exercise '8\.99'"):
        exercises.exercise_notebook(unknown, "08.ipynb")


def test_what_is_no_notebook_is_told(notebooks: Path, tmp_path: Path) -> None:
    (notebooks / "solutions" / "08_marginalisation.ipynb").write_text("[]")
    with pytest.raises(MiniragError, match="is no notebook of format 4"):
        exercises.build(notebooks)
    with pytest.raises(MiniragError, match="holds no notebooks"):
        exercises.build(tmp_path / "elsewhere")


line = st.text("ab #'", max_size=6).filter(lambda each: not each.strip().startswith("###"))


@given(st.lists(st.tuples(st.lists(line, max_size=3), st.lists(line, max_size=3), st.integers(0, 8)), max_size=3))
def test_what_stands_outside_the_marks_stays_line_by_line(regions: list[tuple[list[str], list[str], int]]) -> None:
    source, expected = [], []
    for outside, inside, indent in regions:
        pad = " " * indent
        source += [*outside, pad + exercises.BEGIN, *inside, pad + exercises.END]
        expected += [*outside, pad + 'raise NotImplementedError("Exercise 1.1")']
    assert exercises.without_solution("\n".join(source), "1.1", "cell") == "\n".join(expected)


def test_the_sources_for_nbgrader_keep_solutions_and_have_tests_that_fail(notebooks: Path, tmp_path: Path) -> None:
    assert cli.main(["exercises", "build", "--notebooks", str(notebooks), "--nbgrader", str(tmp_path / "course")]) == 0
    path = tmp_path / "course" / "source" / "08_marginalisation" / "08_marginalisation.ipynb"
    made = json.loads(path.read_text(encoding="utf-8"))
    nbformat.validate(made)
    solution, check = ("".join(cell["source"]) for cell in made["cells"][2:])
    assert solution == SOLVED
    scope: dict[str, Any] = {}
    exec("import torch\nfrom minirag.teaching.checks import check_rag_sequence\n" + solution, scope)
    exec(check, scope)
    assert scope["outcome"].points == POINTS
    exec(UNSOLVED, scope)
    with pytest.raises(AssertionError, match="not written yet"):
        exec(check, scope)
    lines = check.splitlines()
    assert (lines[0], lines[1], lines[-1]) == (
        "check_rag_sequence(rag_sequence)",
        "### BEGIN HIDDEN TESTS",
        "### END HIDDEN TESTS",
    )
    assert lines[-2] == "outcome.points", "what the cell's last line gives, nbgrader takes for partial credit"


def test_a_check_cell_that_does_more_cannot_be_graded_by_nbgrader(notebooks: Path, tmp_path: Path) -> None:
    spoiled = copy.deepcopy(solutions())
    spoiled["cells"][3]["source"] = ["x = 1\n", "check_rag_sequence(x)"]
    (notebooks / "solutions" / "08_marginalisation.ipynb").write_text(json.dumps(spoiled), encoding="utf-8")
    with pytest.raises(MiniragError, match="a check cell does more than call its check"):
        exercises.export(notebooks, tmp_path / "course")


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.name)
def test_the_committed_exercises_are_what_the_solutions_make(path: Path) -> None:
    """`minirag exercises build --check` for one notebook."""
    committed = ROOT / "notebooks" / "exercises" / path.name
    made = exercises.exercise_notebook(json.loads(path.read_text(encoding="utf-8")), path.name)
    assert committed.read_text(encoding="utf-8") == exercises._text(made)
    assert not any("SOLUTION" in "".join(cell["source"]) for cell in made["cells"])


def test_no_exercises_without_solutions() -> None:
    assert {path.name for path in (ROOT / "notebooks" / "exercises").glob("*.ipynb")} == {path.name for path in SOLUTIONS}
