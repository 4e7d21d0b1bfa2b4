"""`minirag plan`: how long, how large, and does it fit, from rates measured on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from minirag.cli.common import Commands, command, json_option, positive, show, size

if TYPE_CHECKING:
    from minirag.cluster.plan import Plan

EXAMPLES = """
minirag plan --passages 21015324 --ram 16GB --disk 500GB
minirag plan --passages 21015324 --ram 16GB --disk 500GB --gpu H100 --gpus 32 --json
minirag plan --passages 1000000 --dim 384 --ram 8GB --disk 50GB --calibration runs/machine.json
"""


def declare(commands: Commands) -> None:
    parser = command(commands, "plan", "say how long a memory takes, how large it is, and what fits", EXAMPLES, run)
    parser.add_argument("--passages", type=positive, default=21_015_324, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--dim", type=positive, default=768, help="numbers of a vector (default: %(default)s)")
    parser.add_argument("--ram", type=size, default=size("16GB"), metavar="SIZE", help="memory of the machine (default: 16GB)")
    parser.add_argument("--disk", type=size, default=size("500GB"), metavar="SIZE", help="its free disk (default: 500GB)")
    parser.add_argument("--lists", type=positive, metavar="N", help="lists of the index (default: 4 times the root of N)")
    parser.add_argument("--probe", type=positive, default=16, metavar="N", help="lists a search looks into (default: 16)")
    parser.add_argument("--gpu", default="A100", metavar="NAME", help="whose peak to estimate from (default: %(default)s)")
    parser.add_argument("--gpus", type=positive, default=64, metavar="N", help="of a cluster (default: %(default)s)")
    parser.add_argument(
        "--calibration", type=Path, metavar="FILE", help="rates to use; where there is no such file, measure and write it"
    )
    json_option(parser)


def run(arguments: argparse.Namespace) -> None:
    from minirag.cluster.calibration import Calibration
    from minirag.cluster.gpus import passages_per_second
    from minirag.cluster.measuring import calibrate
    from minirag.cluster.plan import as_json, plan
    from minirag.cluster.work import Size
    from minirag.errors import MiniragError
    from minirag.retrieval.pq import usual_pieces

    passages_per_second(arguments.gpu, 1.0)  # is it known? that is better said before half a minute of measuring
    pieces, path = usual_pieces(arguments.dim), arguments.calibration
    if path and path.exists():
        calibration = Calibration.load(path)
        if calibration.dim != arguments.dim:
            raise MiniragError(f"{path} was measured at {calibration.dim} dimensions, not {arguments.dim}; measure anew")
    else:
        calibration = calibrate(arguments.dim, pieces)
        if path:
            calibration.save(path)
    wanted = Size(
        arguments.passages,
        arguments.dim,
        lists=arguments.lists or 0,
        n_probe=arguments.probe,
        pieces=pieces,
        ram=min(arguments.ram // 4, size("4GB")),
    )
    gpus = tuple(sorted({1, 8, arguments.gpus}))
    found = plan(wanted, calibration, arguments.ram, arguments.disk, arguments.gpu, gpus)
    show(as_json(found, calibration), _text(found), arguments.json)


def _text(found: Plan) -> str:
    kind, vectors = found.advised
    stages = [
        (
            stage.name,
            duration(stage.seconds),
            _error(stage.error),
            _gb(stage.ram),
            _gb(stage.disk),
            _gb(stage.download),
            stage.how,
        )
        for stage in found.stages
    ]
    choices = [
        (
            *(
                choice.kind,
                choice.vectors,
                duration(choice.build_seconds),
                _error(choice.error),
                _gb(choice.ram),
                _gb(choice.disk),
            ),
            *(f"{choice.warm_ms:.3g}", f"{choice.cold_ms:.3g}", choice.why),
        )
        for choice in found.choices
    ]
    fleets = [
        (each.name, f"{each.passages_a_second:,.0f}", duration(each.encode_seconds), duration(each.total_seconds), each.how)
        for each in found.fleets
    ]
    return "\n".join(
        [
            f"{found.passages:,} passages, {found.dim} dimensions, {found.lists:,} lists; stages for {kind} over {vectors}",
            "",
            *_columns(("stage", "time", "±", "memory", "disk", "download", "how"), stages),
            "",
            *_columns(("index", "vectors", "build", "±", "memory", "disk", "ms warm", "ms cold", "fits"), choices),
            "",
            *_columns(("encoded by", "passages/s", "encoding", "everything", "how"), fleets),
            "",
            *(f"- {sentence}" for sentence in found.advice),
        ]
    )


def _columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (heads, *rows)]


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> duration(0.26), duration(90), duration(5_400), duration(3 * 86_400)
    ('0.3 s', '1.5 min', '1.5 h', '3.0 days')
    """
    for unit, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.1f} s"


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size else "-"


def _error(share: float) -> str:
    return f"{100 * share:.0f} %" if share else "-"
