"""`minirag evaluate`: a model on one of the paper's tasks, predictions kept, scores with intervals."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minirag.cli.common import MADE, Commands, command, json_option, model_options, open_model, positive, quiet_option, show
from minirag.errors import MiniragError

EXAMPLES = """
minirag evaluate nq --split test --out runs/nq-test                       # MiniWiki's, after `minirag quickstart`
minirag evaluate fever3 --model data/checkpoints/rag-token --count 200 --out runs/fever
minirag evaluate nq --questions nq-test.qa.csv --data "NQ, test" --model runs/rag-token-nq --index runs/wiki/index \\
  --passages runs/wiki/passages --system RAG-Token --out runs/rag-token-nq-test
"""
NAMES = ("nq", "triviaqa", "webquestions", "curatedtrec", "msmarco", "jeopardy", "fever3", "fever2")


def declare(commands: Commands) -> None:
    parser = command(commands, "evaluate", "answer a task's examples and score the answers", EXAMPLES, run, resumes=True)
    parser.add_argument("task", choices=NAMES, help="how examples are read, answered and scored")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--questions", type=Path, metavar="FILE", help="the examples, in the layout in which they are published")
    which.add_argument("--split", default="test", help="of MiniWiki's examples, where the quickstart left them (default: test)")
    parser.add_argument("--count", type=positive, help="only so many examples, drawn by lot (default: all)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the predictions; goes on where it was stopped")
    parser.add_argument("--system", help="name of the model in reports (default: RAG-Sequence or RAG-Token)")
    parser.add_argument("--data", help="name of the data in reports (default: MiniWiki, or the file's name)")
    parser.add_argument("--scheme", choices=("sequence", "token"), help="the sum over passages (default: the model's own)")
    parser.add_argument("-k", type=positive, help="passages for each example (default: the paper's number)")
    model_options(parser)
    json_option(parser)
    quiet_option(parser)


def run(arguments: argparse.Namespace) -> None:
    from minirag.evaluation.answering import some_of
    from minirag.evaluation.evaluate import evaluate, scored
    from minirag.tasks.task import task_called

    task, path = task_called(arguments.task), arguments.questions or _miniwiki(arguments)
    questions = some_of(list(task.read(path)), arguments.count)
    model = open_model(arguments)
    model.scheme = arguments.scheme or model.scheme
    if arguments.k and arguments.k > len(model.retriever.index):
        raise MiniragError(
            f"-k {arguments.k} is more than the {len(model.retriever.index)} passages of the index; ask for fewer"
        )
    system = arguments.system or ("RAG-Token" if model.scheme == "token" else "RAG-Sequence")
    data = arguments.data or (path.name if arguments.questions else f"MiniWiki, {arguments.split}")
    said = evaluate(model, task, questions, arguments.out, system, data, arguments.k, progress=not arguments.quiet)
    show_scores(scored(task, questions, said, system), arguments)


def show_scores(results: list[Any], arguments: argparse.Namespace, chance: Mapping[str, float] = {}) -> None:
    """A line for each score, in percent with its interval; and for each metric how probable a difference is by chance."""
    from minirag.evaluation.run import line_of

    lines = [f"{arguments.task}, {results[0].n:,} examples, percent with 95 % intervals"]
    for system in dict.fromkeys(one.system for one in results):
        lines += [system, *(f"  {line_of(one)}" for one in results if one.system == system)]
    lines += [f"  {metric:18} p = {p:.4f}, paired, by approximate randomisation" for metric, p in chance.items()]
    told = {"results": [vars(one) for one in results]} | ({"p": dict(chance)} if chance else {})
    show(told, "\n".join(lines), arguments.json)


def _miniwiki(arguments: argparse.Namespace) -> Path:
    from minirag.training.multitask import FILES

    path = MADE / "miniwiki" / FILES[arguments.task].format(arguments.split)
    if not path.exists():
        raise MiniragError(f"{path} does not exist; run `minirag quickstart` once, name another --split, or give --questions")
    return path
