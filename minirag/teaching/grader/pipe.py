"""Messages over two file descriptors: JSON objects, one a line, none longer than is agreed, none awaited for ever."""

from __future__ import annotations

import json
import os
import select
import threading
import time
from typing import Any

from minirag.teaching.grader.values import Malformed

_PIECE = 1 << 16
_LOOK_UP = 0.5  # seconds after which a waiting side looks whether all is to stop


class Silent(Exception):
    """The other side has said nothing, or taken nothing, within the time."""


class Closed(Exception):
    """The other side is gone."""


class Pipe:
    """One end. `longest`: bytes of a message that is received; `stop`: set from another thread, it ends all waiting."""

    def __init__(self, reading: int, writing: int, longest: int, stop: threading.Event | None = None) -> None:
        self.reading, self.writing, self.longest, self.stop = reading, writing, longest, stop
        self._rest = bytearray()
        for each in (reading, writing):
            os.set_blocking(each, False)

    def send(self, message: dict[str, Any], until: float | None = None) -> None:
        """Write one message. `until`: when to give up, as `time.monotonic` tells it."""
        left = memoryview(json.dumps(message, allow_nan=False).encode() + b"\n")
        while left:
            self._wait(self.writing, select.POLLOUT, until)
            try:
                left = left[os.write(self.writing, left[:_PIECE]) :]
            except BlockingIOError:
                continue
            except OSError:
                raise Closed from None

    def receive(self, until: float | None = None) -> dict[str, Any]:
        """Read one message."""
        looked = 0
        while (end := self._rest.find(b"\n", looked)) < 0:
            looked = len(self._rest)
            if looked > self.longest:
                raise Malformed(f"a message of more than {self.longest} bytes")
            self._wait(self.reading, select.POLLIN, until)
            try:
                piece = os.read(self.reading, _PIECE)
            except BlockingIOError:
                continue
            if not piece:
                raise Closed
            self._rest += piece
        line, self._rest = self._rest[:end], self._rest[end + 1 :]
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            raise Malformed("no JSON") from None
        if not isinstance(message, dict):
            raise Malformed("no object")
        return message

    def _wait(self, descriptor: int, event: int, until: float | None) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        while True:
            left = _LOOK_UP if until is None else min(_LOOK_UP, until - time.monotonic())
            if left <= 0:
                raise Silent
            if self.stop is not None and self.stop.is_set():
                raise Closed
            if poll.poll(1000 * left):
                return
