"""`minirag score`: the scores of predictions made anywhere, against a task's examples."""

import argparse
from pathlib import Path

from minirag.cli.common import Commands, command, json_option
from minirag.cli.evaluate import NAMES, examples, show_scores, triviaqa_option

EXAMPLES = """
minirag score nq --questions nq-test.qa.csv --predictions runs/nq-test/predictions.jsonl
minirag score kilt-nq --questions nq-dev-kilt.jsonl --predictions theirs-kilt.jsonl      # with the scores of pages
minirag score triviaqa --questions triviaqa-test.json --predictions theirs.jsonl --than ours.jsonl
"""


def declare(commands: Commands) -> None:
    parser = command(commands, "score", "score predictions made here or elsewhere", EXAMPLES, run)
    parser.add_argument("task", choices=NAMES, help="how examples are read and scored")
    parser.add_argument("--questions", type=Path, required=True, metavar="FILE", help="the examples, as they are published")
    triviaqa_option(parser)
    parser.add_argument(
        "--predictions", type=Path, required=True, metavar="FILE", help='JSON lines of {"id", "output"}, or KILT\'s layout'
    )
    parser.add_argument("--than", type=Path, metavar="FILE", help="other predictions: by how much the first are better")
    json_option(parser)


def run(arguments: argparse.Namespace) -> None:
    from minirag.evaluation.evaluate import difference, scored, significance
    from minirag.evaluation.predictions import in_order_of, read_predictions
    from minirag.tasks.task import task_called

    task = task_called(arguments.task)
    questions, bad = examples(arguments, arguments.questions)
    ours, *others = (
        in_order_of(questions, read_predictions(path), path) for path in (arguments.predictions, arguments.than) if path
    )
    results = scored(task, questions, ours, arguments.predictions.name)
    chance = {}
    for theirs in others:
        results += difference(task, questions, ours, theirs, (arguments.predictions.name, arguments.than.name))
        chance = significance(task, questions, ours, theirs)
    show_scores(results, arguments, bad.passed_over, chance)
