"""`minirag report`: runs on the paper's tasks side by side, as a page and as Markdown."""

import argparse
from pathlib import Path

from minirag.cli.common import Commands, command, json_option, show

EXAMPLES = """
minirag report runs/nq-test runs/nq-closed-book --out runs/report
minirag report runs/tasks/* --train nq=runs/quickstart/miniwiki/nq/train.jsonl --out runs/report
"""


def declare(commands: Commands) -> None:
    parser = command(commands, "report", "set runs on the paper's tasks side by side", EXAMPLES, run)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders that `minirag evaluate` has written")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.html and report.md")
    parser.add_argument(
        "--train", nargs="+", default=[], metavar="TASK=FILE", help="training examples, to tell how many answers they gave away"
    )
    json_option(parser)


def run(arguments: argparse.Namespace) -> None:
    from minirag.errors import MiniragError
    from minirag.evaluation.task_report import Measured, write_task_report
    from minirag.tasks.task import task_called

    trained = {}
    for one in arguments.train:
        name, given, path = one.partition("=")
        if not given:
            raise MiniragError(f"--train {one} names no file; write it as TASK=FILE, for instance nq=train.jsonl")
        trained[name] = list(task_called(name).read(path))
    told = " ".join(["minirag report", *map(str, arguments.runs), "--out", str(arguments.out)])
    path = write_task_report(arguments.out, [Measured.read(folder) for folder in arguments.runs], trained, told)
    show({"report": str(path)}, str(path), arguments.json)
