"""`minirag quickstart`: the main job, from the shipped encyclopedia to a report."""

import argparse
import shlex
from pathlib import Path

from minirag.cli.common import Commands, command, positive, quiet_option

EXAMPLES = """
minirag quickstart
minirag quickstart --folder /tmp/first-look --steps 30
"""


def declare(commands: Commands) -> None:
    parser = command(commands, "quickstart", "run the whole way on what ships, and write a report", EXAMPLES, run, resumes=True)
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/quickstart"), help="where everything is written (default: %(default)s)"
    )
    parser.add_argument(
        "--steps",
        type=positive,
        default=120,
        help="steps of each training end to end (default: %(default)s; fewer take less time, and learn less)",
    )
    quiet_option(parser)


def run(arguments: argparse.Namespace) -> None:
    from minirag.evaluation.quickstart import quickstart

    command = shlex.join(["minirag", "quickstart", "--folder", str(arguments.folder), "--steps", str(arguments.steps)])
    report = quickstart(arguments.folder, progress=not arguments.quiet, command=command, steps=arguments.steps)
    print(f"the report lies at {report}")
