"""The rates of a machine, as `measuring.py` finds them: seconds a unit of every kind of work, kept as JSON to be used again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minirag.errors import MiniragError
from minirag.files import read_json, write_json

FORMAT = "minirag calibration 1"


@dataclass(frozen=True)
class Rate:
    """Seconds a unit, and by what share that may be off."""

    seconds: float
    error: float


@dataclass(frozen=True)
class Calibration:
    """The rates of a machine, for vectors of `dim` numbers and codes of `pieces` bytes."""

    machine: Mapping[str, Any]
    dim: int
    pieces: int
    encoder: str  # what was encoded with
    device: str  # and where
    operations: float  # multiplications and additions that a passage took it
    weights: int  # bytes of the encoder
    base: int  # bytes that this program takes before it has read anything
    rates: Mapping[str, Rate]

    def save(self, path: str | Path) -> None:
        """Write it as JSON, to be used again."""
        write_json(path, {"format": FORMAT, **dataclasses.asdict(self)})

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what `save` wrote; MiniragError for anything else."""
        found = read_json(path)
        try:
            if found.pop("format") != FORMAT:
                raise ValueError
            rates = {name: Rate(float(rate["seconds"]), float(rate["error"])) for name, rate in found.pop("rates").items()}
            if missing := set(UNITS) - rates.keys():
                raise ValueError(f"it lacks {', '.join(sorted(missing))}")
            return cls(rates=rates, **found)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise MiniragError(f"{path} is no calibration of this version of minirag ({error}); measure anew") from None


# What a unit is of each rate, as tables name it.
UNITS = {
    "passages": "passage of a .tsv.gz read and stored",
    "encode": "passage encoded",
    "kmeans": "vector and list in an iteration of k-means",
    "words": "vector in learning codewords",
    "words_fixed": "principal components of a sample",
    "turn": "vector in a turn of the rotation",
    "turn_fixed": "decomposition in a turn of the rotation",
    "assign": "vector and list compared",
    "code": "vector read and coded into bytes by the quantizer",
    "fill": "code put into its list",
    "bytes": "vector read and coded for the scan",
    "scan": "vector scanned by a question",
    "centroids": "centroid compared with a question",
    "tables": "question's tables",
    "lookup": "code looked up by a question",
    "take": "vector taken from the page cache and scored",
    "random": "row read from the disk at random",
    "read": "byte read from the disk in order",
    "write": "byte written",
    "sha": "byte of a checksum",
}
