"""What students hand in, read without belief in it: notebooks, folders of notebooks, and what is neither."""

from __future__ import annotations

import ast
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minirag.errors import MiniragError
from minirag.teaching.grader.values import text_of

_LARGEST = 20_000_000  # bytes of a notebook
_MOST = 40  # notebooks of a student
_LONGEST_CHECK = 2000  # characters of a cell that is looked into
_INSIDE = Path("notebooks") / "exercises"  # where they lie in a copy of the course


@dataclass(frozen=True)
class Cell:
    """A code cell: its place among the notebook's cells, from 1, and its text."""

    number: int
    source: str


@dataclass(frozen=True)
class Notebook:
    """A notebook's code cells but those that only check; `problem`: why there are none."""

    name: str
    cells: tuple[Cell, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Submission:
    """What a student has handed in."""

    student: str
    notebooks: tuple[Notebook, ...]
    problem: str = ""


def read_submissions(paths: Sequence[Path]) -> list[Submission]:
    """One for each file or folder, called after it. MiniragError: two of one name, or one that does not exist."""
    found = []
    for path in paths:
        if not os.path.lexists(path):
            raise MiniragError(f"{path} does not exist; name notebooks, or folders of one student each")
        found.append(read_submission(path))
    names = [each.student.lower() for each in found]
    if twice := next((each.student for each in found if names.count(each.student.lower()) > 1), None):
        raise MiniragError(f"two submissions are called {twice}; rename one, for students are told apart by that")
    return found


def read_submission(path: Path) -> Submission:
    """A notebook, or a folder's notebooks: those that lie in it, or else in its notebooks/exercises."""
    whole = Path(os.path.abspath(path))  # a link keeps its own name
    student = text_of(os.fsencode(whole.name if whole.is_dir() else whole.stem).decode(errors="replace"), 100)
    if not whole.is_dir():
        return Submission(student, (read_notebook(path),))
    inside = next((files for folder in (path, path / _INSIDE) if (files := sorted(folder.glob("*.ipynb")))), [])
    if not inside or len(inside) > _MOST:
        return Submission(student, (), f"{len(inside)} notebooks in the folder" if inside else "no notebook in the folder")
    return Submission(student, tuple(map(read_notebook, inside)))


def read_notebook(path: Path) -> Notebook:
    """A notebook's cells, or why it cannot be read; links are not followed, for they can lead to another's work."""
    try:
        raw = _bytes_of(path)
        cells = _cells_of(json.loads(raw.decode("utf-8-sig")))
    except _Unreadable as problem:
        return Notebook(path.name, problem=str(problem))
    except OSError as error:
        return Notebook(path.name, problem=f"it cannot be read ({error.strerror})")
    except (ValueError, RecursionError):
        return Notebook(path.name, problem="it is no JSON: the file is damaged or no notebook")
    return Notebook(path.name, cells) if cells else Notebook(path.name, problem="it has no code cells")


class _Unreadable(Exception):
    """Why there is nothing to grade."""


def _bytes_of(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        if path.is_symlink():
            raise _Unreadable("it is a link, and links are not followed") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _Unreadable("it is no file")
    with open(descriptor, "rb") as file:
        raw = file.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        raise _Unreadable(f"it has more than {_LARGEST:,} bytes; clear its outputs")
    if not raw.strip():
        raise _Unreadable("it is empty")
    return raw


def _cells_of(notebook: Any) -> tuple[Cell, ...]:
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise _Unreadable("it is no notebook of format 4")
    code = [
        (number, cell, source)
        for number, cell in enumerate(notebook["cells"], start=1)
        if isinstance(cell, dict) and cell.get("cell_type") == "code" and (source := _source(cell)).strip()
    ]
    return tuple(Cell(number, source) for number, cell, source in code if not _only_checks(cell, source))


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    return source.replace("\x00", "").encode(errors="replace").decode() if isinstance(source, str) else ""


def _only_checks(cell: dict[str, Any], source: str) -> bool:
    """Says its metadata so, or does it nothing but call functions named check_…"""
    metadata = cell.get("metadata")
    ours = metadata.get("minirag") if isinstance(metadata, dict) else None
    if isinstance(ours, dict) and ours.get("role") == "check":
        return not any(word in source for word in ("def ", "import "))  # somebody may have written a solution in there
    if "check_" not in source or len(source) > _LONGEST_CHECK:
        return False
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return bool(body) and all(
        isinstance(each, ast.Expr)
        and isinstance(each.value, ast.Call)
        and isinstance(each.value.func, ast.Name)
        and each.value.func.id.startswith("check_")
        for each in body
    )
