"""Badges for Colab: they lead where the copy lies, install that copy and no other, and leave no trace when taken out."""

import json
import shutil
from pathlib import Path

import pytest

from minirag.errors import MiniragError
from minirag.teaching.colab import CELL, main, with_colab, write

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


@pytest.fixture
def course(tmp_path: Path) -> Path:
    for path in NOTEBOOKS.glob("*.ipynb"):
        shutil.copy(path, tmp_path)
    return tmp_path


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.ipynb"))}


def test_every_notebook_is_led_to_itself(course: Path) -> None:
    before = texts(course)
    assert [path.name for path in write(course, "some-one/mini.rag", "spring/2027")] == list(before)
    for name, text in texts(course).items():
        first, second, *_ = json.loads(text)["cells"]
        assert "".join(first["source"]).splitlines()[2] == (
            "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
            f"(https://colab.research.google.com/github/some-one/mini.rag/blob/spring/2027/notebooks/{name})"
        )
        assert second["id"] == CELL
        assert "https://github.com/some-one/mini.rag /content/minirag" in "".join(second["source"])


def test_nothing_is_left_of_them_and_twice_is_once(course: Path) -> None:
    before = texts(course)
    main(["one/course", "--notebooks", str(course)])
    once = texts(course)
    assert write(course, "one/course") == []
    write(course, "another/copy")
    assert "one/course" not in "".join(texts(course).values())
    main(["one/course", "--notebooks", str(course)])
    assert texts(course) == once
    main(["", "--notebooks", str(course)])
    assert texts(course) == before


def test_the_install_cell_does_nothing_elsewhere(course: Path) -> None:
    """It is marked as the cells of live widgets are, which are neither run nor compared where notebooks are validated."""
    notebook = json.loads((course / "00_tour.ipynb").read_text(encoding="utf-8"))
    cell = with_colab(notebook, "00_tour.ipynb", "one/course")["cells"][1]
    assert {"nbval-skip", "skip-execution"} == set(cell["metadata"]["tags"])
    lines = "".join(cell["source"]).splitlines()
    assert [line for line in lines if not line.startswith((" ", "import sys", "if ")) and line] == []


@pytest.mark.parametrize("name", ["minirag", "https://github.com/one/course", "one/course; rm -r x", "one/a/b", "../x", "one/"])
def test_what_is_no_repository_is_refused(course: Path, name: str) -> None:
    before = texts(course)
    with pytest.raises(MiniragError, match="is no repository on GitHub; give owner/name"):
        write(course, name)
    with pytest.raises(MiniragError, match="is no branch's name"):
        write(course, "one/course", "main; true")
    assert texts(course) == before
