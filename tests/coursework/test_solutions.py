"""The solutions notebooks: each exercise stands in one, described as its check describes it, and its solution passes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from minirag.teaching.checks import EXERCISES
from minirag.teaching.checks.local import Local

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"

Cell = dict[str, Any]
Notebook = dict[str, Any]


def read(path: Path) -> Notebook:
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell: Cell) -> str:
    return "".join(cell["source"])


def heading(exercise: Any) -> str:
    stars = "★" * exercise.stars
    return f"## Exercise {exercise.number} {stars} {exercise.title}\n*{exercise.minutes} minutes · {exercise.points} points*"


def faults(notebook: Notebook, exercises: Any) -> list[str]:
    """What is not as it should be in a solutions notebook of these exercises; empty if nothing."""
    cells = {cell["id"]: cell for cell in notebook["cells"]}
    found = []
    for exercise in exercises:
        key = exercise.number.replace(".", "-")
        text, solution, check = (cells.get(f"{role}-{key}") for role in ("exercise", "solution", "check"))
        if not (text and solution and check):
            found.append(f"{exercise.number}: a cell is missing")
            continue
        if not re.sub(r"\n+", "\n", source(text)).startswith(heading(exercise) + "\n"):
            found.append(f"{exercise.number}: its heading is not {heading(exercise)!r}")
        if [f"<summary>Hint {n}</summary>" in source(text) for n in (1, 2, 3, 4)] != [True, True, True, False]:
            found.append(f"{exercise.number}: it has not three hints")
        if source(solution).count(BEGIN) != source(solution).count(END) or BEGIN not in source(solution):
            found.append(f"{exercise.number}: its solution is not marked")
        if not re.search(rf"^def {exercise.name}\(", source(solution), re.MULTILINE):
            found.append(f"{exercise.number}: it does not define {exercise.name}")
        if not re.fullmatch(rf"check_\w+\({exercise.name}\)", source(check)):
            found.append(f"{exercise.number}: its check cell does more than check")
        if not "".join(line for each in check["outputs"] for line in each.get("text", [])).startswith(f"✓ {exercise.number} "):
            found.append(f"{exercise.number}: its solution did not pass when the notebook was run")
        for role, cell in (("solution", solution), ("check", check)):
            if cell["metadata"].get("minirag") != {"exercise": exercise.number, "role": role}:
                found.append(f"{exercise.number}: the {role} cell's metadata do not say so")
    return found


def exercises_of(path: Path) -> list[Any]:
    return [each for each in EXERCISES if int(each.number.split(".")[0]) == int(path.name[:2])]


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.name)
def test_a_solutions_notebook_is_as_its_checks_say(path: Path) -> None:
    assert exercises_of(path)
    assert faults(read(path), exercises_of(path)) == []


def test_every_course_notebook_from_01_to_16_has_exercises() -> None:
    courses = [path.name for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if "01" <= path.name[:2] <= "16"]
    assert [path.name for path in SOLUTIONS] == courses
    assert len(EXERCISES) >= 40


def test_numbers_and_names_are_used_once_and_in_order() -> None:
    numbers = [tuple(map(int, each.number.split("."))) for each in EXERCISES]
    assert numbers == sorted(set(numbers))
    assert len({each.name for each in EXERCISES}) == len(EXERCISES)
    assert {each.stars for each in EXERCISES} == {1, 2, 3}


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.name)
def test_solutions_pass_for_a_seed_that_nobody_has_seen(path: Path) -> None:
    scope: dict[str, Any] = {"__name__": "solutions"}
    for cell in read(path)["cells"]:
        if cell["cell_type"] == "code" and cell["metadata"].get("minirag", {}).get("role") != "check":
            exec(compile(source(cell), path.name, "exec"), scope)
    for exercise in exercises_of(path):
        outcome = exercise.run(Local(scope[exercise.name], exercise.allowed, exercise.seconds), seed=20_260)
        assert outcome.passed, outcome.text


def test_faults_are_seen() -> None:
    path = SOLUTIONS[0]
    exercises = exercises_of(path)
    first = exercises[0].number.replace(".", "-")

    def spoiled(role: str, change: Any) -> list[str]:
        notebook = read(path)
        change(next(cell for cell in notebook["cells"] if cell["id"] == f"{role}-{first}"))
        return faults(notebook, exercises)

    def replaced(old: str, new: str) -> Any:
        return lambda cell: cell.update(source=[source(cell).replace(old, new)])

    planted = [
        ("exercise", replaced("minutes", "hours"), "heading"),
        ("exercise", replaced("Hint 3", "Hint 4"), "three hints"),
        ("solution", replaced(END, ""), "not marked"),
        ("solution", replaced(f"def {exercises[0].name}(", "def other("), "does not define"),
        ("check", replaced("check_", "print(1); check_"), "more than check"),
        ("check", lambda cell: cell.update(outputs=[]), "did not pass"),
        ("check", lambda cell: cell.update(metadata={}), "metadata"),
        ("check", lambda cell: cell.update(id="gone"), "missing"),
    ]
    assert faults(read(path), exercises) == []
    for role, change, said in planted:
        assert [said in fault for fault in spoiled(role, change)] == [True], said
