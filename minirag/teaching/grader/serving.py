"""What a worker does when it is asked: run a cell, or call a function. One message in, one out.

`versions` counts, for each name that matters, the functions that have stood under it; `full`: most of the memory is taken.

{"do": "begin", "names": [...]}                       {}
{"do": "cell", "source", "number", "seconds"}         {"raised", "text", "line", "printed", "full", "versions"}
{"do": "call", "name", "version", "args", "wrt",      {"value"} or {"trouble", "raised", "final"}; before it any number of
 "allowed", "seconds"}                                {"ask": function's number, "args"}, each answered by
                                                      {"value"}, {"raised", "text"} or {"stop": true}
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minirag.teaching.checks.local import Answer, Local, TimeUp
from minirag.teaching.grader.cells import Cells
from minirag.teaching.grader.pipe import Closed, Pipe
from minirag.teaching.grader.values import decode, encode

_LONGEST = 1 << 28


def serve(reading: int, writing: int, full: Callable[[], bool]) -> None:
    """Answer until nobody asks any more. `full`: is most of the memory taken?"""
    pipe = Pipe(reading, writing, _LONGEST)
    cells = Cells(())
    try:
        pipe.send({"ready": True})
        while True:
            message = pipe.receive()
            if message["do"] == "begin":
                cells = Cells(message["names"])
                pipe.send({})
            elif message["do"] == "cell":
                trouble = cells.run(message["source"], message["number"], message["seconds"])
                versions = {name: len(known) for name, known in cells.versions.items()}
                after = {"printed": cells.printed.take(), "versions": versions, "full": full()}
                pipe.send({**trouble, **after})
            else:
                pipe.send(_called(message, cells, pipe))
    except Closed:
        return


@dataclass(frozen=True)
class _Asked:
    """A function that lives in the grader: calling it is asking there."""

    number: int
    pipe: Pipe

    def __call__(self, *args: Any) -> Any:
        self.pipe.send({"ask": self.number, "args": encode(args)})
        told = self.pipe.receive()
        if "stop" in told:
            raise TimeUp
        if "raised" in told:
            kind = getattr(builtins, told["raised"], RuntimeError)
            raise (kind if isinstance(kind, type) and issubclass(kind, Exception) else RuntimeError)(told["text"])
        return decode(told["value"])


def _called(message: dict[str, Any], cells: Cells, pipe: Pipe) -> dict[str, Any]:
    """A student's function called as the notebook's own check would call it."""
    ask: Callable[[int], _Asked] = lambda number: _Asked(number, pipe)  # noqa: E731
    try:
        function = cells.versions[message["name"]][message["version"]]
        local = Local(function, tuple(message["allowed"]), message["seconds"])
        answer = local(decode(message["args"], ask), message["wrt"])
        if not answer.trouble:
            return {"value": encode(answer.value)}
    except Closed:
        raise
    except BaseException as error:  # SystemExit, a __str__ that raises, a value that holds itself
        answer = Answer(trouble=f"it raised {type(error).__name__}", raised=type(error).__name__)
    return {"trouble": answer.trouble[:2000], "raised": answer.raised, "final": answer.final}
