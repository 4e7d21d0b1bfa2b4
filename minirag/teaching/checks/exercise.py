"""What an exercise is, and how an answer to it is checked: worked cases first, then drawn ones that grow, then why it is wrong.

A check knows the mistakes that people make: each is a function that computes what somebody gets who makes it. When a student's
function is wrong, the mistake that gives the same wrong results is named. No student's function is ever called from here
directly: a `Caller` does it, in this process (`local.py`) or in a sandbox (`grader`), so that a check, its seed and what it
expects need not be where the student's code runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minirag.teaching.checks.compare import differ, shown
from minirag.teaching.checks.local import Answer, Local, copied, gradients_of

Args = tuple[Any, ...]
# Calls the student's function on arguments; (the positions of) arguments by which the gradient of its result is wanted too.
Caller = Callable[[Args, Sequence[int]], Answer]
SIZES = range(1, 33)  # drawn cases, from the smallest to the largest


@dataclass(frozen=True)
class Mistake:
    """What people get wrong: its name, what to tell them, and what they compute."""

    name: str
    hint: str
    wrong: Callable[..., Any]


@dataclass(frozen=True)
class Outcome:
    """What came of a check: the points of `of` that were earned, and the text to show. `mistake`: one that was recognised."""

    number: str
    points: int | float
    of: int
    text: str
    mistake: str = ""

    @property
    def passed(self) -> bool:
        return self.points == self.of


@dataclass(frozen=True)
class Exercise:
    """A function to write, checked against `reference` on the cases `by_hand` and on those that `draw` makes of a seed.

    `name` is the function's name in the notebook. `by_hand` holds (arguments, expected); the reference is not asked there.
    `draw(rng, size)` gives the arguments of a case that grows with `size` (1, 2, ..., 32): small ones come first, so the first
    that fails is the smallest. Arguments are plain values, `Passage`s, tensors, or functions of plain values.
    `wrt`: positions of arguments by which the gradient of the result's sum is compared too. `allowed`: modules of minirag, by
    their names' beginnings, that the student may call; calling any other part of the package is no solution.
    `hint` is told where no mistake is recognised.
    """

    number: str
    name: str
    title: str
    stars: int
    minutes: int
    points: int
    reference: Callable[..., Any]
    by_hand: tuple[tuple[Args, Any], ...]
    draw: Callable[[np.random.Generator, int], Args]
    mistakes: tuple[Mistake, ...]
    hint: str
    wrt: tuple[int, ...] = ()
    allowed: tuple[str, ...] = ()
    tolerance: float = 1e-4
    seconds: float = 5.0  # for one case

    def __call__(self, function: Any, seed: int = 0) -> None:
        """Check a student's function and print what came of it."""
        print(self.run(Local(function, self.allowed, self.seconds), seed).text)

    def run(self, call: Caller, seed: int) -> Outcome:
        """All cases in order; on the first that fails, the rest too, to find the mistake that explains them all."""
        cases = self.cases(seed)
        for args, expected in cases:
            answer = call(args, self.wrt)
            if answer.trouble or self.differ(expected, answer.value):
                return self._failed(call, (args, expected, answer), list(cases))
        text = f"✓ {self.number} right: {len(self.by_hand)} cases worked by hand and {len(SIZES)} drawn ones."
        return Outcome(self.number, self.points, self.points, text)

    def cases(self, seed: int) -> Iterator[tuple[Args, Any]]:
        """(arguments, expected): the cases worked by hand, then those drawn from `seed`."""
        yield from self.by_hand
        for size in SIZES:
            args = self.draw(np.random.default_rng([seed, size]), size)
            yield args, self.expected(self.reference, args)

    def expected(self, function: Callable[..., Any], args: Args) -> Any:
        """What one of our own functions computes, on copies; with its gradients where they are compared."""
        own = copied(args)
        return gradients_of(function, own, self.wrt) if self.wrt else function(*own)

    def differ(self, expected: Any, got: Any) -> str:
        return differ(expected, got, self.tolerance)

    def arguments(self, args: Args) -> str:
        """The arguments as a student would write them, one a line."""
        names = inspect.signature(self.reference).parameters
        return "\n            ".join(f"{name} = {shown(value)}" for name, value in zip(names, args, strict=False))

    def _failed(self, call: Caller, failed: tuple[Args, Any, Answer], rest: list[tuple[Args, Any]]) -> Outcome:
        args, expected, answer = failed
        head, found = f"✗ {self.number} not yet: ", None
        if answer.final:  # nothing to compare: not begun, not ended, the package's own function, changed its input
            return Outcome(self.number, 0, self.points, head + answer.trouble)
        found = self._mistake(call, failed, rest)
        told = found.hint if found else self.hint
        lines = [
            head + (answer.trouble or self.differ(expected, answer.value)),
            f"  input     {self.arguments(args)}",
            f"  expected  {shown(expected)}",
            f"  got       {answer.trouble or shown(answer.value)}",
            f"  hint      {told}",
        ]
        return Outcome(self.number, 0, self.points, "\n".join(lines), found.name if found else "")

    def _mistake(self, call: Caller, failed: tuple[Args, Any, Answer], rest: list[tuple[Args, Any]]) -> Mistake | None:
        """The mistake that explains the smallest failing case, and of several the one that explains most of the others."""
        args, _, answer = failed
        likely = [mistake for mistake in self.mistakes if self._explains(mistake, args, answer)]
        if len(likely) < 2:
            return likely[0] if likely else None
        others = [(args, answer) for args, _ in rest if not (answer := call(args, self.wrt)).final]
        return max(likely, key=lambda mistake: sum(self._explains(mistake, *other) for other in others))

    def _explains(self, mistake: Mistake, args: Args, answer: Answer) -> bool:
        try:
            value = self.expected(mistake.wrong, args)
        except Exception as error:  # some mistakes do not fit some shapes
            return answer.raised == type(error).__name__
        return not answer.raised and not self.differ(value, answer.value)
