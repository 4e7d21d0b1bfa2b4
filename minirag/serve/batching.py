"""Requests that come in together are worked on together: one encoding and one search for all that wait.

A single thread does the work, so models and indexes need not be safe for several. While it works on a batch the next one
gathers; nobody waits for a batch to fill up.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


class Busy(Exception):
    """As many requests wait as may."""


class Batcher(Generic[In, Out]):
    """`work` is given at most `most` requests at once and returns a result for each; at most `waiting` more may wait.

    >>> doubled = Batcher(lambda numbers: [2 * n for n in numbers])
    >>> asyncio.run(doubled.ask(4, seconds=5))
    8
    >>> doubled.close()
    """

    def __init__(self, work: Callable[[Sequence[In]], Sequence[Out]], most: int = 64, waiting: int = 256) -> None:
        self._work, self._most = work, most
        self._queue: queue.Queue[tuple[In, Future[Out]] | None] = queue.Queue(waiting)
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    async def ask(self, request: In, seconds: float) -> Out:
        """The result of one request. Raises `Busy` at once where too many wait, TimeoutError after so many seconds, and what
        `work` raises for this request alone."""
        future: Future[Out] = Future()
        try:
            self._queue.put_nowait((request, future))
        except queue.Full:
            raise Busy from None
        return await asyncio.wait_for(asyncio.wrap_future(future), seconds)  # which calls off what has not begun

    def close(self) -> None:
        """Finish what waits, and end."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            while len(batch) < self._most and not self._queue.empty():
                if (another := self._queue.get()) is None:
                    self._answer(batch)
                    return
                batch.append(another)
            self._answer(batch)

    def _answer(self, batch: Sequence[tuple[In, Future[Out]]]) -> None:
        wanted = [(request, future) for request, future in batch if future.set_running_or_notify_cancel()]
        try:
            results = self._work([request for request, _ in wanted]) if wanted else []
        except Exception as error:
            if len(wanted) == 1:
                wanted[0][1].set_exception(error)
                return
            for one in wanted:  # whoever is at fault fails alone
                self._answer_alone(*one)
            return
        for (_, future), result in zip(wanted, results, strict=True):
            future.set_result(result)

    def _answer_alone(self, request: In, future: Future[Out]) -> None:
        try:
            future.set_result(self._work([request])[0])
        except Exception as error:
            future.set_exception(error)
