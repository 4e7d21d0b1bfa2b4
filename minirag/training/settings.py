"""How a network is trained, as plain values, and the learning rate that follows from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from minirag.errors import MiniragError

Decay = Literal["linear", "polynomial", "none"]
Precision = Literal["float32", "bfloat16", "float16"]
_CHOICES = {"decay": Decay, "precision": Precision}


@dataclass(frozen=True)
class Settings:
    """How to train; the batch's size is the affair of who draws it.

    The rate rises for `warmup` steps to `rate`, then falls so that a step after the last would have `rate · end`: in a line, by
    a power (fairseq's "polynomial": (1 − progress)^`power`), or not at all. `clip` bounds the norm of all gradients together;
    weight decay is for matrices, not for biases and LayerNorms. `best` names the metric whose best weights are kept, `lowest`
    says that low is good. With a `matrix_rate`, which rises and falls with `rate`, Muon moves the layers' matrices.
    """

    steps: int
    rate: float
    warmup: int = 0
    matrix_rate: float | None = None
    decay: Decay = "linear"
    power: float = 1.0
    end: float = 0.0
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    clip: float = 1.0
    accumulate: int = 1  # pieces of a batch, one after the other
    precision: Precision = "float32"
    seed: int = 0
    log_every: int = 50
    evaluate_every: int = 0  # 0: after the last step only
    save_every: int = 200
    best: str | None = None
    lowest: bool = False

    def __post_init__(self) -> None:
        for name, kind in _CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                raise MiniragError(f"{name} = {getattr(self, name)!r} is not known; choose one of {', '.join(get_args(kind))}")
        self._check("steps", "accumulate", "log_every", "save_every", fits=lambda value: value >= 1, what="at least 1")
        self._check(
            "warmup", "evaluate_every", "weight_decay", "epsilon", "end", fits=lambda value: value >= 0, what="at least 0"
        )
        self._check("rate", "clip", "power", fits=lambda value: value > 0, what="above 0")
        self._check("matrix_rate", fits=lambda value: value is None or value > 0, what="above 0, or None")
        self._check("warmup", fits=lambda value: value < self.steps, what=f"below the number of steps, {self.steps}")
        self._check("betas", fits=lambda pair: all(0 <= beta < 1 for beta in pair), what="at least 0 and below 1")

    def _check(self, *names: str, fits: Callable[[Any], bool], what: str) -> None:
        for name in names:
            if not fits(getattr(self, name)):
                raise MiniragError(f"{name} = {getattr(self, name)} cannot be; choose what is {what}")


def learning_rate(settings: Settings, step: int) -> float:
    """The rate of a step, counted from 0.

    >>> settings = Settings(steps=10, rate=1.0, warmup=2)
    >>> [learning_rate(settings, step) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.125]
    """
    if step < settings.warmup:
        return settings.rate * (step + 1) / settings.warmup
    left = 1 - (step - settings.warmup) / (settings.steps - settings.warmup)  # from 1 down to the last step's share
    shape = {"linear": left, "polynomial": left**settings.power, "none": 1.0}[settings.decay]
    return settings.rate * (settings.end + (1 - settings.end) * shape)
