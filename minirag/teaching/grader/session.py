"""A notebook in a sandbox: its cells run once, its functions called, and all of it once more whenever the worker has died."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from minirag.errors import MiniragError
from minirag.teaching.grader.pipe import Closed, Pipe, Silent
from minirag.teaching.grader.reading import Cell
from minirag.teaching.grader.sandbox import Sandbox, Started
from minirag.teaching.grader.values import Malformed, text_of

Message = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """What one notebook may take, in seconds and bytes."""

    cell: float = 30.0
    exercise: float = 60.0  # all its cases together
    notebook: float = 300.0
    grace: float = 5.0  # over a limit that the worker itself should hold, before it is killed
    start: float = 120.0
    starts: int = 12
    memory: int = 2 << 30
    message: int = 8 << 20


class Gone(Exception):
    """The worker is gone; its text says why."""


@dataclass
class Session:
    """Functions called `names` of a notebook's cells. `troubles`: cell's number → what went wrong in it."""

    cells: Sequence[Cell]
    names: Sequence[str]
    sandbox: Sandbox
    limits: Limits
    stop: threading.Event
    troubles: dict[int, str] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    printed: str = ""
    _deadly: set[int] = field(default_factory=set)
    _worker: Started | None = None
    _pipe: Pipe | None = None
    _ends: float = 0.0
    _starts: int = 0

    def prepare(self) -> None:
        """Start a worker and run the cells, again without those that killed one. Raises `Gone` when there is no time left."""
        self._ends = self._ends or time.monotonic() + self.limits.notebook
        while self._worker is None:
            self.versions, self.printed = {}, ""
            self.troubles = {number: text for number, text in self.troubles.items() if number in self._deadly}
            self._start()
            failed = self._run_all([cell for cell in self.cells if cell.number not in self._deadly])
            while self._worker and (again := [cell for cell, raised in failed if raised == "NameError"]):
                failed = self._run_all(again)  # what they lacked may stand further below
                if len([1 for _, raised in failed if raised == "NameError"]) == len(again):
                    break

    def ask(self, message: Message, seconds: float, serve: Callable[[Message], Message]) -> Message:
        """One answer within `seconds`; functions that the worker asks for are called by `serve`. Raises `Gone`, all killed."""
        until = min(time.monotonic() + seconds, self._ends)
        try:
            assert self._pipe is not None
            self._pipe.send(message, until)
            while "ask" in (reply := self._pipe.receive(until)):
                self._pipe.send(serve(reply), until)
            return reply
        except Silent:
            why = "it did not end in time" if until < self._ends else "the notebook's time is over"
        except Closed:
            why = "it ended the process (a crash, an exit, or too much memory)"
        except Malformed as error:
            why = f"what came back cannot be read: {error}"
        self.close()
        raise Gone(why)

    def close(self) -> None:
        if self._worker:
            self._worker.end()
        self._worker = self._pipe = None

    def _start(self) -> None:
        if self.stop.is_set() or time.monotonic() > self._ends:
            raise Gone("the notebook's time is over")
        self._starts += 1
        if self._starts > self.limits.starts:
            raise Gone("it has ended the process too often")
        before = time.monotonic()
        self._worker = self.sandbox.start(self.limits.memory, int(2 * self.limits.notebook))
        self._pipe = self._worker.pipe(self.limits.message, self.stop)
        try:
            self._pipe.receive(time.monotonic() + self.limits.start)
        except (Closed, Silent, Malformed):
            said = self._worker.complaint() or "it says nothing"
            self.close()
            if self.stop.is_set():
                raise Gone("the grading was stopped") from None
            raise MiniragError(f"no worker starts in the sandbox ({said}); try `minirag doctor`, or another sandbox") from None
        self._ends += time.monotonic() - before  # starting is not the student's time
        self.ask({"do": "begin", "names": list(self.names)}, self.limits.start, _nobody)

    def _run_all(self, cells: Sequence[Cell]) -> list[tuple[Cell, str]]:
        """Run cells; those that failed, with the exception's name. Nothing more is done where one killed the worker."""
        failed = []
        for cell in cells:
            self.troubles.pop(cell.number, None)
            message = {"do": "cell", "source": cell.source, "number": cell.number, "seconds": self.limits.cell}
            try:
                reply = self.ask(message, self.limits.cell + self.limits.grace, _nobody)
            except Gone as gone:
                self._deadly.add(cell.number)
                self.troubles[cell.number] = f"{gone}; the cell is left out"
                if time.monotonic() >= self._ends or self.stop.is_set():
                    raise
                return []
            self._note(reply)
            if raised := text_of(reply.get("raised"), 60):
                line = f" in line {reply['line']}" if isinstance(reply.get("line"), int) and reply["line"] > 0 else ""
                said = re.sub(r"\s+", " ", text_of(reply.get("text"), 500))
                self.troubles[cell.number] = f"{raised}{line}: {said}"
                failed.append((cell, raised))
                if reply.get("full") is True:  # what it has taken would be lacking everywhere else
                    self._deadly.add(cell.number)
                    self.troubles[cell.number] += " (and it has taken most of the memory: the cell is left out)"
                    self.close()
                    return []
        return failed

    def _note(self, reply: dict[str, Any]) -> None:
        self.printed = (self.printed + text_of(reply.get("printed"), 10_000))[:10_000]
        versions = reply.get("versions")
        if isinstance(versions, dict):
            self.versions |= {name: many for name, many in versions.items() if name in self.names and type(many) is int}


def _nobody(message: Message) -> Message:
    return {"stop": True}
