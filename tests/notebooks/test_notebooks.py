"""The notebooks are committed with their outputs, and nbval runs them again and compares.

    pytest --nbval --nbval-sanitize-with tests/notebooks/sanitize.cfg --nbval-cell-timeout 120 notebooks

nbval passes over what it cannot compare, without a word: a cell without execution count is not compared at all, whatever it
does. So this file makes silence impossible. It checks what is committed, and the checks, and nbval itself, on planted faults.
"""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SANITIZE = ROOT / "tests" / "notebooks" / "sanitize.cfg"

LARGEST = 300_000  # bytes: a page that loads at once
PLAYGROUND = {"nbval-skip", "skip-execution"}  # a cell for a live Jupyter: nbval skips by the one tag, nbconvert by the other
UNCOMPARED = (
    "nbval-skip",
    "nbval-ignore-output",
    "pytest-validate-ignore-output",
    "nbval-raises-exception",
    "raises-exception",
)
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|tmp|work|Users|var|opt|usr|private|mnt)/\w|[A-Z]:\\\\?Users")
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")

Notebook = dict[str, Any]


def faults(notebook: Notebook, size: int = 0) -> list[str]:
    """What would keep a notebook of `size` bytes from being compared, or from being read by others; empty if it is sound."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    run = [cell for cell in cells if not is_playground(cell)]
    found = [] if size <= LARGEST else [f"it has {size} bytes, more than {LARGEST}: draw smaller pictures"]
    found += [] if notebook["metadata"].get("kernelspec", {}).get("name") == "python3" else ["its kernel is not python3"]
    if "widgets" in notebook["metadata"]:
        found.append("it holds widget state, with which GitHub does not show it: run nbstripout --keep-output --keep-count")
    if [cell["execution_count"] for cell in run] != list(range(1, len(run) + 1)):
        found.append("its cells are not numbered 1 to n: run it from top to bottom and save it with its outputs")
    if any(cell["outputs"] or cell["execution_count"] for cell in cells if is_playground(cell)):
        found.append("a cell that nobody runs has an output")
    if 2 * sum(map(is_compared, cells)) < len(cells):
        found.append("fewer than half of its code cells are compared")
    for number, cell in enumerate(run, start=1):
        found += [f"cell {number}: {fault}" for output in cell["outputs"] for fault in output_faults(output)]
    return found


def output_faults(output: Notebook) -> list[str]:
    """What must not stand in an output: errors, warnings, and what differs from machine to machine."""
    if output["output_type"] == "error":
        return [f"it failed with {output['ename']}"]
    if output.get("name") == "stderr":
        return ["it wrote to stderr: " + text_of(output)[:80]]
    found = ["a widget view"] if "application/vnd.jupyter.widget-view+json" in output.get("data", {}) else []
    text = text_of(output)
    found += ["a path of one machine"] if MACHINE_PATH.search(text) else []
    found += ["an object's address"] if ADDRESS.search(text) else []
    return found


def text_of(output: Notebook) -> str:
    """All text of an output: what was printed, and what is shown as plain text, HTML, Markdown or SVG."""
    parts = [output.get("text", "")] + [part for kind, part in output.get("data", {}).items() if kind != "image/png"]
    return "\n".join("".join(part) if isinstance(part, list) else str(part) for part in parts)


def is_playground(cell: Notebook) -> bool:
    return set(cell["metadata"].get("tags", [])) >= PLAYGROUND


def is_compared(cell: Notebook) -> bool:
    """Whether nbval compares a cell's output: it has a count, no tag against it, and no comment such as # NBVAL_SKIP."""
    source = "".join(cell["source"]).lower().replace("_", "-")
    marked = any(re.search(rf"^\s*#\s*{mark}\b", source, re.MULTILINE) for mark in UNCOMPARED)
    return cell["execution_count"] is not None and not marked and not set(cell["metadata"].get("tags", [])) & set(UNCOMPARED)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_is_sound(path: Path) -> None:
    assert faults(json.loads(path.read_text(encoding="utf-8")), path.stat().st_size) == []


def test_there_are_notebooks() -> None:
    assert [path.name[:2] for path in NOTEBOOKS][:3] == ["00", "01", "02"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_links_lead_to_notebooks_that_exist(path: Path) -> None:
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "markdown":
            for target in re.findall(r"\]\((?!http)([^)#]+)", "".join(cell["source"])):
                assert (path.parent / target).exists(), f"{path.name} links to {target}"


# --- the checks on planted faults ---


def printed(text: str) -> Notebook:
    return {"output_type": "stream", "name": "stdout", "text": [text]}


def code_cell(number: int | None, source: str, *outputs: Notebook, tags: tuple[str, ...] = ()) -> Notebook:
    metadata = {"tags": list(tags)} if tags else {}
    return {
        "cell_type": "code",
        "id": f"cell-{number}",
        "execution_count": number,
        "metadata": metadata,
        "outputs": list(outputs),
        "source": [source],
    }


@pytest.fixture
def sound() -> Notebook:
    """A notebook of four code cells, one of them a playground, that is as it should be."""
    return {
        "cells": [
            {"cell_type": "markdown", "id": "title", "metadata": {}, "source": ["# Sums"]},
            code_cell(1, "print(1 + 1)", printed("2\n")),
            code_cell(2, "x = 3"),
            code_cell(3, "print(x)", printed("3\n")),
            code_cell(None, "slider()", tags=("nbval-skip", "skip-execution")),
        ],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def test_sound_notebook_has_no_faults(sound: Notebook) -> None:
    assert faults(sound, LARGEST) == []


def test_too_large(sound: Notebook) -> None:
    assert ["bytes" in fault for fault in faults(sound, LARGEST + 1)] == [True]


def test_stripped_counts(sound: Notebook) -> None:
    for cell in sound["cells"][1:]:
        cell["execution_count"], cell["outputs"] = None, []
    assert {fault.split(":")[0] for fault in faults(sound)} == {
        "its cells are not numbered 1 to n",
        "fewer than half of its code cells are compared",
    }


@pytest.mark.parametrize("counts", [(1, 2, 4), (2, 3, 4), (1, 3, 2), (1, None, 2), (1, 1, 2)])
def test_cells_run_out_of_order(sound: Notebook, counts: tuple[int | None, ...]) -> None:
    for cell, count in zip(sound["cells"][1:4], counts, strict=True):
        cell["execution_count"] = count
    assert ["numbered" in fault for fault in faults(sound)] == [True]


def test_widget_state(sound: Notebook) -> None:
    sound["metadata"]["widgets"] = {"application/vnd.jupyter.widget-state+json": {}}
    assert ["widget state" in fault for fault in faults(sound)] == [True]


def test_playground_that_was_run(sound: Notebook) -> None:
    sound["cells"][4]["outputs"] = [printed("IntSlider()")]
    assert faults(sound) == ["a cell that nobody runs has an output"]


def test_foreign_kernel(sound: Notebook) -> None:
    sound["metadata"]["kernelspec"]["name"] = "venv-311"
    assert faults(sound) == ["its kernel is not python3"]


@pytest.mark.parametrize("mark", ["# NBVAL_IGNORE_OUTPUT", "#NBVAL_SKIP", "# nbval_raises_exception", "tag"])
def test_most_cells_uncompared(sound: Notebook, mark: str) -> None:
    for cell in sound["cells"][1:4:2]:
        if mark == "tag":
            cell["metadata"]["tags"] = ["nbval-ignore-output"]
        else:
            cell["source"] = [mark + "\n", *cell["source"]]
    assert faults(sound) == ["fewer than half of its code cells are compared"]


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        ({"output_type": "error", "ename": "KeyError", "evalue": "'x'", "traceback": []}, "it failed with KeyError"),
        ({"output_type": "stream", "name": "stderr", "text": ["UserWarning: slow"]}, "it wrote to stderr: UserWarning: slow"),
        (printed("written to /home/ann/course/out\n"), "a path of one machine"),
        (printed("/tmp/tmpab12/passages, row 3: empty"), "a path of one machine"),
        (printed("C:\\Users\\ann\\out"), "a path of one machine"),
        (printed("<function f at 0x7f3a2b1c4d50>"), "an object's address"),
        (
            {"output_type": "display_data", "metadata": {}, "data": {"text/html": ["<a href='/root/x'>x</a>"]}},
            "a path of one machine",
        ),
        (
            {"output_type": "display_data", "metadata": {}, "data": {"application/vnd.jupyter.widget-view+json": {}}},
            "a widget view",
        ),
    ],
)
def test_bad_output(sound: Notebook, output: Notebook, fault: str) -> None:
    sound["cells"][2]["outputs"] = [output]
    assert faults(sound) == [f"cell 2: {fault}"]


def test_ordinary_text_is_no_path(sound: Notebook) -> None:
    sound["cells"][1]["outputs"] = [printed("2/3 of the rows, and/or passages/passages.arrow; ../data/work/x; km/usr")]
    assert faults(sound) == []


# --- nbval itself on a planted fault ---


def nbval(folder: Path, notebook: Notebook) -> subprocess.CompletedProcess[str]:
    path = folder / "small.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-sanitize-with", str(SANITIZE), "-p", "no:cacheprovider"]
    return subprocess.run([*command, path.name], cwd=folder, capture_output=True, text=True, timeout=120)


def test_nbval_sees_a_wrong_output_and_overlooks_addresses(sound: Notebook, tmp_path: Path) -> None:
    sound["cells"][3] = code_cell(3, "print(object())", printed("<object object at 0x7f0000000000>\n"))
    right = nbval(tmp_path, sound)
    assert right.returncode == 0, right.stdout
    wrong = copy.deepcopy(sound)
    wrong["cells"][1]["outputs"] = [printed("3\n")]
    result = nbval(tmp_path, wrong)
    assert result.returncode == 1
    assert "1 failed" in result.stdout
    assert "Cell 0" in result.stdout
