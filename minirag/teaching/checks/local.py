"""Calls a student's function here: on copies, within a time, and seeing whether the package's own function did the work."""

from __future__ import annotations

import copy
import cProfile
import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minirag.teaching.checks.compare import differ

_PACKAGE = str(Path(__file__).resolve().parents[2]) + "/"
_OURS = ("minirag.teaching.checks.local.", "minirag.teaching.grader.")  # this file's steps; `print`, where the grader runs it


@dataclass(frozen=True)
class Answer:
    """What a call gave: a value, or trouble in words. `raised`: the exception's name; `final`: nothing to compare."""

    value: Any = None
    trouble: str = ""
    raised: str = ""
    final: bool = False


class TimeUp(BaseException):
    """Thrown into a function that takes too long; no `except Exception` catches it."""


@dataclass(frozen=True)
class Local:
    """A `Caller` for a function of this process."""

    function: Any  # whatever the student has under that name
    allowed: tuple[str, ...] = ()
    seconds: float = 5.0

    def __call__(self, args: tuple[Any, ...], wrt: Sequence[int]) -> Answer:
        if not callable(self.function):
            return Answer(trouble=f"a function is asked for, and this is of type {type(self.function).__name__}.", final=True)
        given, used = copied(args), set[str]()
        try:
            with within(self.seconds), watched(used, self.allowed) as unseen:
                own = tuple(unseen(arg) if callable(arg) else arg for arg in given)
                value = gradients_of(self.function, own, wrt) if wrt else self.function(*own)
        except TimeUp:
            return Answer(trouble=f"it did not end within {self.seconds:g} seconds; is there an endless loop?", final=True)
        except NotImplementedError as error:
            return Answer(trouble=f"not written yet ({error}).", raised="NotImplementedError", final=True)
        except Exception as error:
            return Answer(trouble=f"it raised {type(error).__name__}: {error}", raised=type(error).__name__)
        if used:
            return Answer(trouble=f"it calls {min(used)}, and the exercise is to write that oneself.", final=True)
        for place, (before, after) in enumerate(zip(args, given, strict=True)):
            if not callable(before) and differ(before, after, 0.0):
                return Answer(trouble=f"it changes its argument number {place + 1}; work on a copy (`.clone()`).", final=True)
        return Answer(value)


def copied(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Copies of the arguments, so that nobody can change a case; functions stay what they are."""
    return tuple(arg if callable(arg) else copy.deepcopy(arg) for arg in args)


def gradients_of(function: Callable[..., Any], args: tuple[Any, ...], wrt: Sequence[int]) -> tuple[Tensor, ...]:
    """The function's value, and the gradient of its sum by each argument at `wrt`: zeros where nothing flows.

    >>> x = torch.tensor([1.0, 2.0])
    >>> gradients_of(lambda a, b: (a * b.detach()).sum(), (x, x + 1), (0, 1))
    (tensor(8.), tensor([2., 3.]), tensor([0., 0.]))
    """
    with torch.enable_grad():
        leaves = [arg.detach().clone().requires_grad_() if place in wrt else arg for place, arg in enumerate(args)]
        value = function(*leaves)
        if not isinstance(value, Tensor):
            raise TypeError(f"a tensor is asked for, whose gradient can be taken, and this is a {type(value).__name__}")
        if not value.requires_grad:
            return (value, *(torch.zeros_like(args[place]) for place in wrt))
        gradients = torch.autograd.grad(value.sum(), [leaves[place] for place in wrt], allow_unused=True)
    flows = (
        torch.zeros_like(args[place]) if gradient is None else gradient for place, gradient in zip(wrt, gradients, strict=True)
    )
    return (value.detach(), *flows)


@contextmanager
def watched(used: set[str], allowed: tuple[str, ...]) -> Iterator[Callable[[Callable[..., Any]], Callable[..., Any]]]:
    """Adds to `used` the package's functions that are called within, but for those in modules that are allowed.

    Yields what makes a function one that is not looked into: for those that a case hands to the student's function. Who turns
    the watching off is found out; who copies a function's code is not.
    """
    profile = cProfile.Profile(builtins=False)

    def unseen(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            profile.disable()
            try:
                return function(*args, **named)
            finally:
                profile.enable()

        return call

    profile.enable()
    try:
        yield unseen
    finally:
        _seen_last()
        profile.disable()
        codes = [entry.code for entry in profile.getstats() if not isinstance(entry.code, str)]
        names = (f"{_module(code.co_filename)}.{code.co_name}" for code in codes if code.co_filename.startswith(_PACKAGE))
        used |= {name for name in names if not name.startswith(_OURS + allowed)}
        if _seen_last.__code__ not in codes:
            used.add("sys.setprofile")


def _seen_last() -> None:
    """Is called at the end of what is watched, and must have been seen."""


def _module(file: str) -> str:
    return ".".join(("minirag", *Path(file).relative_to(_PACKAGE).with_suffix("").parts))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Throws `TimeUp` into the code within when the time is over, and again each second until it ends.

    An exception thrown from another thread works in every thread and on every system; it waits for the end of a call into C.
    """
    thread, over, lock = ctypes.c_ulong(threading.get_ident()), threading.Event(), threading.Lock()

    def wait() -> None:
        pause = seconds
        while not over.wait(pause):
            with lock:
                if not over.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(TimeUp))
            pause = 1.0

    threading.Thread(target=wait, daemon=True).start()
    try:
        try:
            yield
        finally:
            with lock:  # from here on nothing is thrown; what has been thrown arrives before the lock is had
                over.set()
    finally:  # it may have arrived just before
        over.set()
