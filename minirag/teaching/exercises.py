"""The students' notebooks, made from the solutions: what stands between the marks becomes `raise NotImplementedError`.

`notebooks/solutions/NN.ipynb` is the source, which the tests run; `notebooks/exercises/NN.ipynb` is built from it and never
edited. Cells carry nbgrader's metadata (version 3 of its schema), so that both can be imported into nbgrader.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minirag.errors import MiniragError
from minirag.files import atomic_path, read_json

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"

Cell = dict[str, Any]
Notebook = dict[str, Any]


def build(notebooks: Path) -> list[Path]:
    """Write `notebooks`/exercises from `notebooks`/solutions, over what is there, and say which files were written."""
    written = []
    for name, text in _built(notebooks).items():
        path = notebooks / "exercises" / name
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def check(notebooks: Path) -> None:
    """MiniragError: an exercises notebook is not what would be built, is not there, or has no solutions."""
    built, folder = _built(notebooks), notebooks / "exercises"
    there = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.ipynb"))}
    for name in sorted(built.keys() | there.keys()):
        if name not in built:
            raise MiniragError(f"{folder / name} has no solutions beside it; remove it")
        if built[name] != there.get(name):
            wrong = "is not what its solutions make of it" if name in there else "is missing"
            raise MiniragError(f"{folder / name} {wrong}; run `minirag exercises build`")


def export(notebooks: Path, course: Path) -> list[Path]:
    """Write the solutions as an nbgrader course's source/, an assignment each; their tests raise, and give points.

    nbgrader itself removes the solutions when it generates what students get, and the hidden tests with them.
    """
    written = []
    for path, solutions in _solutions(notebooks):
        target = course / "source" / path.stem / path.name
        with atomic_path(target) as temporary:
            temporary.write_text(_text(_without_outputs(_for_nbgrader(solutions, path))), encoding="utf-8")
        written.append(target)
    return written


def exercise_notebook(solutions: Notebook, where: Path | str) -> Notebook:
    """The student's notebook: no solutions, no outputs, all else as it is. `where`: how the error names the notebook."""
    made = _without_outputs(_for_nbgrader(solutions, where, hidden=False))
    for number, cell in enumerate(made["cells"], start=1):
        if cell["cell_type"] == "code":
            exercise = _ours(cell).get("exercise", "")
            cell["source"] = _lines(without_solution("".join(cell["source"]), exercise, f"{where}, cell {number}"))
    return made


def without_solution(source: str, exercise: str, where: str) -> str:
    """A cell's text with each marked region replaced, indented as its first mark is.

    >>> print(without_solution("def f(x):\\n    ### BEGIN SOLUTION\\n    return x\\n    ### END SOLUTION", "4.2", "cell 1"))
    def f(x):
        raise NotImplementedError("Exercise 4.2")
    """
    kept: list[str] = []
    inside = False
    for line in source.splitlines():
        mark = line.strip()
        if mark not in (BEGIN, END):
            if BEGIN in line or END in line:
                raise MiniragError(f"{where}: a mark stands beside other text ({mark[:60]!r}); give it a line of its own")
            kept += [] if inside else [line]
            continue
        if inside == (mark == BEGIN):
            raise MiniragError(f"{where}: {mark!r} without its other half; every {BEGIN!r} needs one {END!r} after it")
        inside = mark == BEGIN
        if inside:
            kept.append(f'{line[: len(line) - len(line.lstrip())]}raise NotImplementedError("Exercise {exercise}")')
            if not exercise:
                raise MiniragError(f"{where}: it has a solution and its metadata name no exercise; set minirag.exercise")
    if inside:
        raise MiniragError(f"{where}: {BEGIN!r} without {END!r}; every one needs its other half")
    return "\n".join(kept)


def _built(notebooks: Path) -> dict[str, str]:
    return {path.name: _text(exercise_notebook(solutions, path)) for path, solutions in _solutions(notebooks)}


def _solutions(notebooks: Path) -> Iterator[tuple[Path, Notebook]]:
    paths = sorted((notebooks / "solutions").glob("*.ipynb"))
    if not paths:
        raise MiniragError(f"{notebooks / 'solutions'} holds no notebooks; start in minirag's checkout, or name --notebooks")
    for path in paths:
        notebook = read_json(path)
        if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
            raise MiniragError(f"{path} is no notebook of format 4; open it in JupyterLab and save it")
        yield path, notebook


def _for_nbgrader(solutions: Notebook, where: Path | str, hidden: bool = True) -> Notebook:
    """With nbgrader's metadata: solution cells are the students', check cells are worth the exercise's points.

    `hidden`: check cells also get a test that fails and gives points, for the check itself only prints.
    """
    made = copy.deepcopy(solutions)
    points = {each.number: each.points for each in _exercises()}
    for cell in made["cells"]:
        exercise, role = _ours(cell).get("exercise", ""), _ours(cell).get("role")
        if role not in ("solution", "check"):
            continue
        if exercise not in points:
            raise MiniragError(f"{where}: there is no exercise {exercise!r}; correct the cell's metadata, or write its check")
        graded = {"grade": True, "points": points[exercise]} if role == "check" else {"grade": False}
        cell["metadata"]["nbgrader"] = {
            **graded,
            "grade_id": f"{role}-{exercise.replace('.', '-')}",
            "locked": role == "check",
            "schema_version": 3,
            "solution": role == "solution",
            "task": False,
        }
        if hidden and role == "check":
            cell["source"] = _lines("".join(cell["source"]) + _hidden_test("".join(cell["source"])))
    return made


def _hidden_test(source: str) -> str:
    """nbgrader takes what a test's last line gives for its points, and an error for none."""
    call = re.fullmatch(r"(check_\w+)\((\w+)\)", source.strip())
    if not call:
        raise MiniragError(f"a check cell does more than call its check ({source[:60]!r}); nothing else may stand in it")
    check, function = call.groups()
    return f"""
### BEGIN HIDDEN TESTS
from minirag.teaching.checks.local import Local
outcome = {check}.run(Local({function}, {check}.allowed, {check}.seconds), seed=1)  # choose your own
assert outcome.points > 0, outcome.text
outcome.points
### END HIDDEN TESTS"""


def _exercises() -> Any:
    from minirag.teaching.checks import EXERCISES  # with all their references; only this needs them

    return EXERCISES


def _ours(cell: Cell) -> dict[str, Any]:
    ours = cell.get("metadata", {}).get("minirag", {})
    return ours if isinstance(ours, dict) else {}


def _without_outputs(notebook: Notebook) -> Notebook:
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return notebook


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _text(notebook: Notebook) -> str:
    """As Jupyter writes it, so that saving it there changes nothing."""
    return json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
