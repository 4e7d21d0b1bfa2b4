"""Design tasks: no right answer to compare with. What a student's design comes to is built and measured, and earns points.

Thresholds and points are told beforehand. What is measured is counted (rows scored, bytes), never timed, so that the same
design earns the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minirag.teaching.checks.compare import shown
from minirag.teaching.checks.exercise import Args, Caller, Exercise, Mistake, Outcome
from minirag.teaching.checks.local import Local


@dataclass(frozen=True)
class Setting:
    """What a design is asked for: the arguments of the student's function, the task in words, and what it is measured with.

    `steps`: (recall, points) rising; so many points are earned from that recall on.
    """

    args: Args
    told: str
    steps: tuple[tuple[float, int], ...]
    rows: Any  # [N, D]
    questions: Any  # [B, D]
    truth: Any  # [B, 10] what exact search finds

    @property
    def most(self) -> int:
        return self.steps[-1][1]

    def earned(self, recall: float) -> int:
        """The points of a recall."""
        return max((points for bar, points in self.steps if recall >= bar), default=0)


@dataclass(frozen=True)
class Measured:
    """What a design came to, in words; `recall` is 0 where it breaks a rule. `mistake`: the name of what is wrong with it."""

    text: str
    recall: float = 0.0
    mistake: str = ""


@dataclass(frozen=True)
class DesignTask:
    """A function that returns settings of an index, scored by what `measure` finds in each of the `draw`n settings.

    `name` is the function's name in the notebook; a `seed` decides on vectors, questions and sizes. `mistakes` hold the hints
    of what `measure` names, each with a function that makes it. Everything else is as in `Exercise`.
    """

    number: str
    name: str
    title: str
    stars: int
    minutes: int
    points: int
    reference: Callable[..., Any]
    draw: Callable[[np.random.Generator], Sequence[Setting]]
    measure: Callable[[Setting, Any], Measured]
    mistakes: tuple[Mistake, ...]
    success: str
    allowed: tuple[str, ...] = ()
    seconds: float = 20.0  # for one setting

    def __call__(self, function: Any, seed: int = 0) -> None:
        """Measure what a student's function designs, and print what came of it."""
        print(self.run(Local(function, self.allowed, self.seconds), seed).text)

    def run(self, call: Caller, seed: int) -> Outcome:
        """All settings in order; their points add up. The first mistake that is found is the one that gets a hint."""
        lines, earned, mistake = list[str](), 0, ""
        for setting in self.draw(np.random.default_rng([seed])):
            answer = call(setting.args, ())
            if answer.final:  # not begun, not ended, or it changed its input
                return Outcome(self.number, 0, self.points, f"✗ {self.number} not yet: {answer.trouble}")
            found = Measured(answer.trouble) if answer.trouble else self.measure(setting, answer.value)
            points = setting.earned(found.recall)
            earned, mistake = earned + points, mistake or (found.mistake if points < setting.most else "")
            design = "" if answer.trouble else shown(answer.value) + ": "
            lines += [f"  asked     {setting.told}", f"  got       {design}{found.text}"]
            lines += [f"  earned    {points} of {setting.most} points{self._steps(setting)}"]
        if earned == self.points:
            return Outcome(self.number, earned, self.points, f"✓ {self.number} right: {self.success}")
        lines.insert(0, f"✗ {self.number} earns {earned} of {self.points} points so far:")
        lines += [f"  hint      {each.hint}" for each in self.mistakes if each.name == mistake]
        return Outcome(self.number, earned, self.points, "\n".join(lines), mistake)

    def _steps(self, setting: Setting) -> str:
        """What is to be had for more recall."""
        return " (" + ", ".join(f"{points} from recall {bar:.2f} on" for bar, points in setting.steps) + ")"


Task = Exercise | DesignTask
