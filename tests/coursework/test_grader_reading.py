"""What is handed in: whatever it is, there is a row for it, and nothing is read that is not its own."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from grader_cases import RIGHT, answers, notebook, save

from minirag.errors import MiniragError
from minirag.teaching.grader import reading
from minirag.teaching.grader.reading import read_notebook, read_submission, read_submissions


def test_a_notebook_is_its_code_cells_but_the_checks(tmp_path: Path) -> None:
    found = read_submission(save(tmp_path / "ada.ipynb", answers()))
    assert (found.student, found.problem, found.notebooks[0].problem) == ("ada", "", "")
    assert [cell.number for cell in found.notebooks[0].cells] == [2, 3, 4, 5, 6], (
        "counted as Jupyter shows them, checks left out"
    )


def made(**cell: Any) -> bytes:
    whole = notebook([RIGHT["doubled"]])
    whole["cells"].append({"cell_type": "code", "metadata": {}, "source": "", "outputs": [], **cell})
    return json.dumps(whole).encode()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b'{"cells": [', "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "format 4"),
        (b'{"worksheets": []}', "format 4"),
        (b'{"cells": {}}', "format 4"),
        (b'{"cells": []}', "no code cells"),
        (b'{"cells": [null, 7, {"cell_type": "code"}, {"cell_type": "code", "source": [1]}]}', "no code cells"),
        (b"x" * 101, "more than 100 bytes"),
    ],
)
def test_what_cannot_be_read_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: bytes, reason: str) -> None:
    monkeypatch.setattr(reading, "_LARGEST", 100 if len(raw) < 1000 else 1_000_000)
    (tmp_path / "a.ipynb").write_bytes(raw)
    found = read_notebook(tmp_path / "a.ipynb")
    assert found.cells == ()
    assert reason in found.problem


def test_no_link_pipe_or_folder_is_followed(tmp_path: Path) -> None:
    other = save(tmp_path / "other.ipynb", answers())
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "a.ipynb").symlink_to(other)
    os.mkfifo(tmp_path / "ada" / "b.ipynb")
    (tmp_path / "ada" / "c.ipynb").mkdir()
    assert [each.problem for each in read_submission(tmp_path / "ada").notebooks] == [
        "it is a link, and links are not followed",
        "it is no file",
        "it is no file",
    ]


def test_a_copy_of_the_course_is_not_searched_for_solutions(tmp_path: Path) -> None:
    save(tmp_path / "ada" / "notebooks" / "exercises" / "08.ipynb", answers())
    save(tmp_path / "ada" / "notebooks" / "solutions" / "08.ipynb", answers())
    assert [each.name for each in read_submission(tmp_path / "ada").notebooks] == ["08.ipynb"]
    (tmp_path / "bob").mkdir()
    assert read_submission(tmp_path / "bob").problem == "no notebook in the folder"


@pytest.mark.parametrize(
    ("cell", "is_run"),
    [
        ({"source": "check_a(a)\ncheck_b(b)"}, False),
        ({"source": "check_a(a)", "metadata": {"minirag": {"role": "check"}}}, False),
        ({"source": "def a(x): return x\ncheck_a(a)", "metadata": {"minirag": {"role": "check"}}}, True),
        ({"source": "x = check_a(a)"}, True),
        ({"source": "%time\ncheck_a(a)"}, True),
        ({"source": ["a = 1\n", "b = 2"], "metadata": []}, True),
        ({"source": "check_a(a", "metadata": {"minirag": 3}}, True),
    ],
    ids=str,
)
def test_cells_that_only_check_are_left_out(tmp_path: Path, cell: Any, is_run: bool) -> None:
    (tmp_path / "a.ipynb").write_bytes(made(**cell))
    assert len(read_notebook(tmp_path / "a.ipynb").cells) == 1 + is_run


def test_halves_of_characters_do_not_reach_the_worker(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_bytes(made(source="x = '\ud800\x00'"))
    assert read_notebook(tmp_path / "a.ipynb").cells[-1].source == "x = '?'"


def test_two_of_one_name_cannot_be_told_apart(tmp_path: Path) -> None:
    paths = [save(tmp_path / "a" / "Ada.ipynb", []), save(tmp_path / "b" / "ada.ipynb", [])]
    with pytest.raises(MiniragError, match="two submissions are called Ada; rename one"):
        read_submissions(paths)
    with pytest.raises(MiniragError, match=r"gone\.ipynb does not exist"):
        read_submissions([tmp_path / "gone.ipynb"])
