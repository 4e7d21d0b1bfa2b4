"""`minirag build-wikipedia`: the whole job, from the published file to a verified index and a report."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from minirag.cli.common import Commands, command, json_option, open_encoder, positive, quiet_option, show, size
from minirag.errors import MiniragError

EXAMPLES = """
minirag build-wikipedia --recipe pocket --out runs/pocket                                  # MiniWiki, offline, a minute
minirag build-wikipedia --recipe campus --source slice.tsv.gz --out runs/slice             # one's own file, the rehearsal
minirag build-wikipedia --recipe paper --limit 100000 --encoder minilm --out runs/rehearsal
minirag build-wikipedia --recipe paper --engine ray --out shared/wikipedia                 # 21,015,324 passages
"""
NAMES = ("pocket", "campus", "paper")


def declare(commands: Commands) -> None:
    parser = command(commands, "build-wikipedia", "fetch, cut, encode, index and verify Wikipedia", EXAMPLES, run, resumes=True)
    parser.add_argument(
        "--recipe", choices=NAMES, default="pocket", help="MiniWiki, a million passages, or all of them (default: pocket)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the job; one begun before is finished")
    parser.add_argument("--source", type=Path, metavar="TSV", help="a file laid out as psgs_w100.tsv, instead of the recipe's")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N passages")
    parser.add_argument("--index", choices=("exact", "ivf", "ivfpq"), help="which index (default: the recipe's, ivfpq)")
    parser.add_argument("--encoder", metavar="PATH[,PATH2]", help="as for `minirag encode` (default: the recipe's)")
    parser.add_argument("--ram", type=size, metavar="SIZE", help="memory for building the index (default: 4GB)")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="what encodes (default: %(default)s)")
    parser.add_argument("--calibration", type=Path, metavar="FILE", help="rates to predict from (default: measured at first)")
    json_option(parser)
    quiet_option(parser)


def run(arguments: argparse.Namespace) -> None:
    from minirag.cluster.calibration import Calibration
    from minirag.cluster.report import as_markdown
    from minirag.cluster.wikipedia import RECIPES, build_wikipedia

    given = {"limit": arguments.limit, "kind": arguments.index, "encoder": arguments.encoder, "ram": arguments.ram}
    recipe = dataclasses.replace(RECIPES[arguments.recipe], **{name: value for name, value in given.items() if value})
    encoder: Any = open_encoder(recipe.encoder)
    if arguments.calibration and not arguments.calibration.exists():
        raise MiniragError(
            f"{arguments.calibration} does not exist; make it with `minirag plan --calibration`, or leave it out"
        )
    calibration = Calibration.load(arguments.calibration) if arguments.calibration else None
    report = build_wikipedia(
        arguments.out, recipe, encoder, arguments.source, arguments.engine, calibration, not arguments.quiet
    )
    show(report, as_markdown(report), arguments.json)
