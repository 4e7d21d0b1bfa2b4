"""`minirag quickstart`: the main job, from the shipped encyclopedia to a report."""

import argparse
import shlex
from pathlib import Path

from minirag.cli.common import Commands, command, quiet_option

EXAMPLES = """
minirag quickstart
minirag quickstart --folder /tmp/first-look
"""


def declare(commands: Commands) -> None:
    parser = command(commands, "quickstart", "run the whole way on what ships, and write a report", EXAMPLES, run, resumes=True)
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/quickstart"), help="where everything is written (default: %(default)s)"
    )
    quiet_option(parser)


def run(arguments: argparse.Namespace) -> None:
    from minirag.evaluation.quickstart import quickstart

    command = shlex.join(["minirag", "quickstart", "--folder", str(arguments.folder)])
    report = quickstart(arguments.folder, progress=not arguments.quiet, command=command)
    print(f"the report lies at {report}")
