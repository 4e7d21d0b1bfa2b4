"""In every notebook a wrong output makes nbval fail: shown in an early, cheap cell of each.

What is run is the notebook's first code cell, the imports, and then the first cell that prints, is compared, and needs nothing
else; one character of what is committed there is changed. That cell must fail, and the imports must not; and what it has made
must be what was committed before the change. So the same cells pass without the change, and a single run shows both.
"""

import ast
import builtins
import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_notebooks import NOTEBOOKS, ROOT, SANITIZE, Notebook, code_cell, is_compared, printed, text_of

SLOW = "MiniWiki"  # a cell that loads it takes seconds
BESIDE = ("data", "results")  # what notebooks reach for next to their folder


def prints(cell: Notebook) -> bool:
    """Whether nbval compares what the cell prints."""
    return is_compared(cell) and any(output.get("name") == "stdout" for output in cell["outputs"])


def names(cell: Notebook) -> tuple[set[str], set[str]]:
    """The names that a cell binds, anywhere in it, and those that it reads."""
    lines = "".join(cell["source"]).splitlines()
    tree = ast.parse("\n".join(line for line in lines if not line.startswith(("%", "!"))))
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    bound |= {node.asname or node.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.alias)}
    return bound, read


def wrong(text: str) -> str:
    """The text with its last letter or digit changed: the smallest of mistakes."""
    at = max(place for place, each in enumerate(text) if each.isalnum())
    return text[:at] + ("2" if text[at] == "1" else "1") + text[at + 1 :]


def planted(notebook: Notebook) -> tuple[Notebook, list[Notebook]]:
    """The two cells, with a wrong output in the second; and the right outputs of that one."""
    imports, *rest = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["execution_count"] is not None]
    had = names(imports)[0] | set(dir(builtins))
    alone = (cell for cell in rest if prints(cell) and names(cell)[1] <= names(cell)[0] | had - {SLOW})
    cell = copy.deepcopy(next(alone))
    right = copy.deepcopy(cell["outputs"])
    output = next(output for output in cell["outputs"] if output.get("name") == "stdout")
    output["text"] = wrong("".join(output["text"]))
    return {**notebook, "cells": [imports, cell]}, right


def said_of(folder: Path, notebook: Notebook) -> tuple[list[str], list[Notebook]]:
    """What nbval says of each code cell (passed, failed, skipped), and the outputs that the last one made."""
    (folder / "notebooks").mkdir()
    for name in BESIDE:
        (folder / name).symlink_to(ROOT / name)
    (folder / "notebooks" / "cut.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    options = [
        "--nbval-sanitize-with",
        str(SANITIZE),
        "--nbval-cell-timeout",
        "60",
        "-p",
        "no:cacheprovider",
        "-p",
        "nbval_said",
    ]
    command = [sys.executable, "-m", "pytest", "--nbval", *options, "notebooks"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert (folder / "said.json").is_file(), done.stdout + done.stderr
    said = json.loads((folder / "said.json").read_text(encoding="utf-8"))
    return [outcome for outcome, _ in said], said[-1][1]


def texts(outputs: list[Notebook]) -> list[str]:
    """What was printed, in one, and then every other text that nbval compares."""
    streams = ["".join(output["text"]) for output in outputs if output.get("name") == "stdout"]
    return ["".join(streams), *(text_of(output) for output in outputs if "data" in output)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_wrong_output_is_seen(path: Path, tmp_path: Path) -> None:
    cut, right = planted(json.loads(path.read_text(encoding="utf-8")))
    outcomes, made = said_of(tmp_path, cut)
    assert outcomes == ["passed", "failed"]
    assert texts(made) == texts(right)


def test_the_plant_is_in_the_first_cell_that_prints_and_needs_the_imports_alone() -> None:
    cells = [
        code_cell(1, "%matplotlib inline\nimport math\nx = 1"),
        code_cell(None, "print(x)", printed("1\n")),
        code_cell(2, "y = [slow(math.pi)]\nprint(y)", printed("7\n")),
        code_cell(3, "print(sum(z for z in y))", printed("7\n")),
        code_cell(4, "def f(z):\n    return z + x\n\nprint(f(0), 'kg')", printed("of it\n1 kg\n")),
        code_cell(5, "print(x)", printed("1\n")),
    ]
    cut, right = planted({"cells": cells})
    assert [cell["id"] for cell in cut["cells"]] == ["cell-1", "cell-4"]
    assert cut["cells"][-1]["outputs"][0]["text"] == "of it\n1 k1\n"
    assert right == cells[4]["outputs"] == [printed("of it\n1 kg\n")]
    assert wrong("0.1\n") == "0.2\n"


def test_a_cell_that_fails_anyway_is_told_from_one_that_fails_by_the_plant(tmp_path: Path) -> None:
    cells = [code_cell(1, "x = 1"), code_cell(2, "print('one\\ntwo')", printed("one\n2\n"))]
    cut, right = planted({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    outcomes, made = said_of(tmp_path, cut)
    assert outcomes == ["passed", "failed"]
    assert (texts(made), texts(right)) == (["one\ntwo\n"], ["one\n2\n"])
