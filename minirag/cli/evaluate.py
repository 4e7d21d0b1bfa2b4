"""`minirag evaluate`: a model on one of the paper's tasks, predictions kept, scores with intervals."""

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from minirag.cli.common import MADE, Commands, command, json_option, model_options, open_model, positive, quiet_option, show
from minirag.errors import MiniragError

EXAMPLES = """
minirag evaluate nq --split test --out runs/nq-test                       # MiniWiki's, after `minirag quickstart`
minirag evaluate fever3 --model data/checkpoints/rag-token --count 200 --out runs/fever
minirag evaluate kilt-fever --split dev --out runs/kilt-fever             # with the scores of pages
minirag evaluate kilt-triviaqa --questions triviaqa-dev_id-kilt.jsonl --triviaqa qa/wikipedia-dev.json --out runs/kilt-tqa
minirag evaluate fever3 --model runs/claim-head --out runs/fever-head     # a head that minirag.training.claim_head has trained
minirag evaluate nq --questions nq-test.qa.csv --data "NQ, test" --model runs/rag-token-nq --index runs/wiki/index \\
  --passages runs/wiki/passages --system RAG-Token --out runs/rag-token-nq-test
"""
KILT = {"kilt-nq": "kilt/nq-{}.jsonl", "kilt-triviaqa": "kilt/triviaqa-{}.jsonl", "kilt-fever": "kilt/fever-{}.jsonl"}
NAMES = ("nq", "triviaqa", "webquestions", "curatedtrec", "msmarco", "jeopardy", "fever3", "fever2", *KILT)


def declare(commands: Commands) -> None:
    parser = command(commands, "evaluate", "answer a task's examples and score the answers", EXAMPLES, run, resumes=True)
    parser.add_argument("task", choices=NAMES, help="how examples are read, answered and scored")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--questions", type=Path, metavar="FILE", help="the examples, in the layout in which they are published")
    which.add_argument("--split", default="test", help="of MiniWiki's examples, where the quickstart left them (default: test)")
    triviaqa_option(parser)
    parser.add_argument("--count", type=positive, help="only so many examples, drawn by lot (default: all)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the predictions; goes on where it was stopped")
    parser.add_argument("--system", help="name of the model in reports (default: RAG-Sequence or RAG-Token)")
    parser.add_argument("--data", help="name of the data in reports (default: MiniWiki, or the file's name)")
    parser.add_argument("--scheme", choices=("sequence", "token"), help="the sum over passages (default: the model's own)")
    parser.add_argument("-k", type=positive, help="passages for each example (default: the paper's number)")
    model_options(parser)
    json_option(parser)
    quiet_option(parser)


def triviaqa_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--triviaqa",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="of kilt-triviaqa: TriviaQA's own files, which have the questions",
    )


def run(arguments: argparse.Namespace) -> None:
    from minirag.evaluation.answering import some_of
    from minirag.evaluation.evaluate import evaluate, scored
    from minirag.tasks.kilt import page_ids
    from minirag.tasks.task import task_called

    task, path = task_called(arguments.task), arguments.questions or _miniwiki(arguments)
    every, passed_over = examples(arguments, path)
    questions = some_of(every, arguments.count)
    model, head = _opened(arguments, task)
    model.scheme = arguments.scheme or model.scheme
    if arguments.k and arguments.k > len(model.retriever.index):
        raise MiniragError(
            f"-k {arguments.k} is more than the {len(model.retriever.index)} passages of the index; ask for fewer"
        )
    scheme = "RAG-Token" if model.scheme == "token" else "RAG-Sequence"
    system = arguments.system or ("RAG, claim head (appendix E)" if head else scheme)
    data = arguments.data or (path.name if arguments.questions else f"MiniWiki, {arguments.split}")
    pages = page_ids(path, passed_over) if task.page_metrics else None
    said = evaluate(head or model, task, questions, arguments.out, system, data, arguments.k, not arguments.quiet, pages)
    show_scores(scored(task, questions, said, system), arguments, passed_over.passed_over)


def examples(arguments: argparse.Namespace, path: Path) -> tuple[list[Any], Any]:
    """A task's examples, and `BadRows` that counts what of the file is none."""
    from minirag.corpus.rows import BadRows
    from minirag.tasks.kilt_files import read_kilt_triviaqa
    from minirag.tasks.task import task_called

    if arguments.triviaqa and arguments.task != "kilt-triviaqa":
        raise MiniragError(
            f"--triviaqa is for kilt-triviaqa, whose questions it holds, and not for {arguments.task}; leave it out"
        )
    read = partial(read_kilt_triviaqa, texts=arguments.triviaqa) if arguments.triviaqa else task_called(arguments.task).read
    bad = BadRows()
    return list(read(path, bad=bad)), bad


def _opened(arguments: argparse.Namespace, task: Any) -> tuple[Any, Any]:
    """The model and, where its folder holds one and the task has labels, the claim head over it."""
    from minirag.rag.claim_files import has_head, head_of

    model = open_model(arguments)
    headed = task.words and arguments.model and has_head(arguments.model)
    return model, head_of(arguments.model, model) if headed else None


def show_scores(
    results: list[Any],
    arguments: argparse.Namespace,
    passed_over: Mapping[str, int],
    chance: Mapping[str, float] = {},
) -> None:
    """A line for each score, in percent with its interval; for each metric how probable a difference is by chance; and what of
    the file was no example."""
    from minirag.evaluation.run import line_of

    lines = [f"{arguments.task}, {results[0].n:,} examples, percent with 95 % intervals"]
    lines += [f"passed over, {why}: {count:,}" for why, count in sorted(passed_over.items()) if count]
    for system in dict.fromkeys(one.system for one in results):
        lines += [system, *(f"  {line_of(one)}" for one in results if one.system == system)]
    lines += [f"  {metric:18} p = {p:.4f}, paired, by approximate randomisation" for metric, p in chance.items()]
    told: dict[str, Any] = {"results": [vars(one) for one in results], "passed_over": dict(passed_over)}
    told |= {"p": dict(chance)} if chance else {}
    show(told, "\n".join(lines), arguments.json)


def _miniwiki(arguments: argparse.Namespace) -> Path:
    from minirag.training.multitask import FILES

    path = MADE / "miniwiki" / (FILES | KILT)[arguments.task].format(arguments.split)
    if not path.exists():
        raise MiniragError(f"{path} does not exist; run `minirag quickstart` once, name another --split, or give --questions")
    return path
