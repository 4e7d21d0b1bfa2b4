"""A machine made up for tests of the plan: every rate is known."""

from collections.abc import Mapping

from minirag.cluster.calibration import UNITS, Calibration, Rate

MACHINE = {"cpu": "made up", "cores": 2, "date": "2020-01-01"}


def made_up(rates: Mapping[str, float] | None = None, dim: int = 768, base: int = 300_000_000) -> Calibration:
    """A nanosecond for everything, off by a tenth; `rates` are others."""
    seconds = dict.fromkeys(UNITS, 1e-9) | dict(rates or {})
    every = {name: Rate(each, 0.1) for name, each in seconds.items()}
    return Calibration(MACHINE, dim, 64, "BERT", "cpu", 24e9, 440_000_000, base, every)
