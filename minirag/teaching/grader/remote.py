"""Calls a student's function in the sandbox, as `checks.local.Local` calls one here: `Exercise.run` cannot tell them apart."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from minirag.teaching.checks.design import Task
from minirag.teaching.checks.local import Answer, TimeUp, within
from minirag.teaching.grader.session import Gone, Session
from minirag.teaching.grader.values import Malformed, decode, encode, text_of

_SHARE = 0.9  # of a case's time, after which functions that were handed over are no longer served: so ends a loop around them

# One thread of the grader computes at a time, the others wait for their workers: references may use torch's one generator.
TURN = threading.Lock()


@contextmanager
def others_turn() -> Iterator[None]:
    """While a worker computes, another thread of the grader may."""
    TURN.release()
    try:
        yield
    finally:
        TURN.acquire()


@dataclass
class Remote:
    """A `Caller` for one version of an exercise's function. `over`: after the worker has died, the answer to everything."""

    session: Session
    exercise: Task
    version: int
    over: Answer | None = None
    _left: float = field(init=False)

    def __post_init__(self) -> None:
        self._left = self.session.limits.exercise

    def __call__(self, args: tuple[Any, ...], wrt: Sequence[int]) -> Answer:
        """What the student's function gives for `args`. The caller holds `TURN`."""
        if self.over is None and self._left <= 0:
            self.over = Answer(trouble=f"all cases together took longer than {self.session.limits.exercise:g} s.", final=True)
        if self.over is not None:
            return self.over
        functions: list[Any] = []
        message = {
            "do": "call",
            "name": self.exercise.name,
            "version": self.version,
            "args": encode(args, functions),
            "wrt": list(wrt),
            "allowed": list(self.exercise.allowed),
            "seconds": self.exercise.seconds,
        }
        before, serving = time.monotonic(), _Serving(functions, self.exercise.seconds)
        try:
            with others_turn():
                reply = self.session.ask(message, self.exercise.seconds + self.session.limits.grace, serving)
            answer = _answer(reply)
        except Gone as gone:
            answer = self.over = Answer(trouble=f"{gone}.", final=True)
        except Malformed as error:
            self.session.close()
            answer = self.over = Answer(trouble=f"what came back cannot be read: {error}.", final=True)
        self._left -= time.monotonic() - before
        return answer


class _Serving:
    """Calls the functions that a case hands over, for the worker, while there is time."""

    def __init__(self, functions: list[Any], seconds: float) -> None:
        self.functions, self.until = functions, time.monotonic() + _SHARE * seconds

    def __call__(self, message: dict[str, Any]) -> dict[str, Any]:
        number = message["ask"]
        if time.monotonic() > self.until:
            return {"stop": True}
        if type(number) is not int or not 0 <= number < len(self.functions):
            raise Malformed("a function that nobody handed over")
        args = decode(message.get("args"))
        if not isinstance(args, tuple):
            raise Malformed("arguments")
        with TURN:
            try:
                with within(max(self.until - time.monotonic(), 0.01)):
                    return {"value": encode(self.functions[number](*args))}
            except TimeUp:
                return {"stop": True}
            except Exception as error:  # theirs, for wrong arguments
                return {"raised": type(error).__name__, "text": str(error)[:500]}


def _answer(reply: dict[str, Any]) -> Answer:
    if "value" in reply:
        return Answer(decode(reply["value"]))
    trouble, raised = text_of(reply.get("trouble")), text_of(reply.get("raised"), 60)
    if not trouble:
        raise Malformed("neither a value nor trouble")
    return Answer(trouble=trouble, raised=raised, final=reply.get("final") is True)
