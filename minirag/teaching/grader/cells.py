"""Runs a notebook's cells, one by one in one namespace, as Jupyter would; magics do nothing, and checks are left out."""

from __future__ import annotations

import io
import sys
import traceback
import types
from collections.abc import Sequence
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

from minirag.teaching.checks.local import TimeUp, within

_MOST_PRINTED = 10_000  # characters that are kept
_RUN_THEIR_BODY = ("time", "timeit", "capture", "prun")


class Cells:
    """The namespace of a notebook, and every version of the functions called `names` that has stood in it."""

    def __init__(self, names: Sequence[str]) -> None:
        self.module = types.ModuleType("__main__")
        sys.modules["__main__"] = self.module  # where classes look for the module that they are of
        self.module.__dict__["get_ipython"] = lambda: Shell(self)
        self.versions: dict[str, list[Any]] = {name: [] for name in names}
        self.printed = Printed()

    def run(self, source: str, number: int, seconds: float) -> dict[str, Any]:
        """Run one cell. Returns its trouble, {} if none: the exception's name, its text and its line."""
        sys.stdout = sys.stderr = self.printed
        place = f"<cell {number}>"
        try:
            with within(seconds):
                self.execute(source, place)
        except TimeUp:
            return {"raised": "TimeUp", "text": f"it did not end within {seconds:g} seconds", "line": 0}
        except BaseException as error:  # also SystemExit: the notebook's other cells are run all the same
            return _trouble(error, place)
        finally:
            self._note_versions()
        return {}

    def execute(self, source: str, place: str) -> None:
        code = compile(TransformerManager().transform_cell(source), place, "exec", dont_inherit=True)
        exec(code, self.module.__dict__)

    def _note_versions(self) -> None:
        for name, known in self.versions.items():
            now = self.module.__dict__.get(name)
            if now is not None and not any(now is each for each in known):
                known.append(now)


class Shell:
    """What a notebook's magics call: those that measure run what they measure, all others do nothing."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    def run_cell_magic(self, name: str, line: str, cell: str) -> None:
        if name in _RUN_THEIR_BODY:
            self._cells.execute(cell, "<cell magic>")

    def run_line_magic(self, name: str, line: str, *_: Any, **__: Any) -> None:
        if name in _RUN_THEIR_BODY:
            self._cells.execute(line, "<line magic>")

    def getoutput(self, *_: Any, **__: Any) -> list[str]:
        return []

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class Printed(io.TextIOBase):
    """Keeps the beginning of what is printed."""

    def __init__(self) -> None:
        self._kept: list[str] = []
        self._left = _MOST_PRINTED

    def write(self, text: str, /) -> int:
        if self._left > 0:
            self._kept.append(text[: self._left])
            self._left -= len(text)
        return len(text)

    def fileno(self) -> int:
        return 1  # which leads nowhere

    def take(self) -> str:
        """What was printed since the last time."""
        kept, self._kept = "".join(self._kept), []
        return kept


def _trouble(error: BaseException, place: str) -> dict[str, Any]:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == place]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else 0
    try:
        text = str(error)
    except BaseException:  # a student's exception may have a student's __str__
        text = ""
    return {"raised": type(error).__name__, "text": text[:2000], "line": line or 0}
