"""`minirag report`: runs on the paper's tasks side by side, as a page and as Markdown."""

import argparse
import shlex
from pathlib import Path

from minirag.cli.common import Commands, command, json_option, show

EXAMPLES = """
minirag report runs/nq-test runs/nq-closed-book --out runs/report
minirag report runs/nq-k1 runs/nq-k5 runs/nq-k20 --out runs/report       # one model with three -k: exact match against K
minirag report runs/tasks/* --train nq=runs/quickstart/miniwiki/nq/train.jsonl --out runs/report
minirag report --study results/endtoend.json --retrieval results/retrieval.json --out runs/report
"""


def declare(commands: Commands) -> None:
    parser = command(commands, "report", "set runs on the paper's tasks side by side", EXAMPLES, run)
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="folders that `minirag evaluate` has written")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.html and report.md")
    parser.add_argument(
        "--train", nargs="+", default=[], metavar="TASK=FILE", help="training examples, to tell how many answers they gave away"
    )
    parser.add_argument("--study", type=Path, metavar="FILE", help="MiniWiki's ablations, by minirag.evaluation.study")
    parser.add_argument("--retrieval", type=Path, metavar="FILE", help="answer recall, by minirag.evaluation.retrieval")
    json_option(parser)


def run(arguments: argparse.Namespace) -> None:
    from minirag.errors import MiniragError
    from minirag.evaluation.result_tables import retrieval_tables, study_tables
    from minirag.evaluation.task_report import Measured, write_task_report
    from minirag.tasks.task import task_called

    trained = {}
    for one in arguments.train:
        name, given, path = one.partition("=")
        if not given:
            raise MiniragError(f"--train {one} names no file; write it as TASK=FILE, for instance nq=train.jsonl")
        trained[name] = list(task_called(name).read(path))
    runs = [Measured.read(folder) for folder in arguments.runs]
    more = study_tables(arguments.study) if arguments.study else []
    more += retrieval_tables(arguments.retrieval) if arguments.retrieval else []
    path = write_task_report(arguments.out, runs, trained, _told(arguments), more)
    show({"report": str(path)}, str(path), arguments.json)


def _told(arguments: argparse.Namespace) -> str:
    """The command, to be typed again."""
    words = ["minirag", "report", *map(str, arguments.runs)]
    words += ["--train", *arguments.train] if arguments.train else []
    for name in ("study", "retrieval", "out"):
        if value := getattr(arguments, name):
            words += [f"--{name}", str(value)]
    return shlex.join(words)
