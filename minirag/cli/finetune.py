"""`minirag finetune`: a reader and a question encoder learn from questions and answers, end to end."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minirag.cli.common import Commands, command, json_option, model_options, open_model, positive, quiet_option, show, table
from minirag.errors import MiniragError

EXAMPLES = """
minirag finetune --train runs/quickstart/miniwiki/nq/train.jsonl --dev runs/quickstart/miniwiki/nq/dev.jsonl --out runs/nq
minirag finetune --model runs/nq --train runs/quickstart/miniwiki/curatedtrec/train.tsv --answers matched --out runs/trec
torchrun --no-python --nproc-per-node 8 minirag finetune --recipe paper --scheme token --model bart-large \\
  --encoder dpr-questions,dpr-passages --index runs/wiki/index --passages runs/wiki/passages \\
  --train nq-train.qa.csv --dev nq-dev.qa.csv --out runs/rag-token-nq
"""
AT_MOST = 500


def declare(commands: Commands) -> None:
    purpose = "train question encoder and reader on questions and answers, passages and index fixed"
    parser = command(commands, "finetune", purpose, EXAMPLES, run, resumes=True)
    parser.add_argument("--train", type=Path, nargs="+", required=True, metavar="FILE", help="questions and answers to learn")
    parser.add_argument(
        "--dev", type=Path, metavar="FILE", help=f"questions, of which the first {AT_MOST} are answered at each evaluation"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder of the trained model; what its training needs to go on is kept in OUT.run",
    )
    parser.add_argument(
        "--recipe", choices=("pocket", "campus", "paper"), default="pocket", help="two cores, one GPU, eight (default: pocket)"
    )
    parser.add_argument("--steps", type=positive, help="batches to learn from, in place of the recipe's length")
    parser.add_argument("-k", type=positive, help="passages for each question, in place of the recipe's number")
    parser.add_argument("--scheme", choices=("sequence", "token"), help="the sum over passages (default: the model's own)")
    parser.add_argument(
        "--answers",
        choices=("each", "found", "matched"),
        default="each",
        help="each answer an example (NQ, WebQuestions); those found in the top passages (TriviaQA); what the pattern matches "
        "there most often (CuratedTREC)",
    )
    parser.add_argument("--top", type=positive, default=1_000, help="passages that answers are looked for in (default: 1000)")
    parser.add_argument("--frozen", action="store_true", help="hold the question encoder still")
    parser.add_argument("--seed", type=int, default=0, help="order of the examples (default: 0)")
    model_options(parser)
    json_option(parser)
    quiet_option(parser)


def run(arguments: argparse.Namespace) -> None:
    from minirag.files import refuse_strangers
    from minirag.models.weights import is_sealed
    from minirag.tasks.openqa import read_questions
    from minirag.training.finetune import finetune
    from minirag.training.ranks import processes, rank

    if isinstance(arguments.index, str):
        raise MiniragError(f"{arguments.index} is in Milvus, which gives out no vectors to train against; name an index folder")
    out = arguments.out.resolve()
    refuse_strangers(out, is_sealed)
    asked = [question for path in arguments.train for question in read_questions(path)]
    dev = read_questions(arguments.dev)[:AT_MOST] if arguments.dev else []
    model = open_model(arguments)
    model.scheme = arguments.scheme or model.scheme
    if model.query_encoder is not None:
        model.query_encoder.requires_grad_(not arguments.frozen)
    with processes() as device:
        model.to(device)
        pairs = _pairs(asked, model, arguments)
        recipe = _recipe(arguments, len(pairs))
        run = out.with_name(f"{out.name}.run") / _made_from(arguments, model, recipe, pairs)
        evaluate = (lambda: {"exact_match": _exact_match(model, dev, recipe.k)}) if dev else None
        log = finetune(model, pairs, recipe, run, evaluate, arguments.seed, progress=not arguments.quiet)
        if rank() == 0:
            model.save_pretrained(out)
            facts = {"folder": str(arguments.out), "questions": len(asked), "examples": len(pairs)} | _last(log)
            show(facts, f"{arguments.out}\n{table(facts)}", arguments.json)


def _recipe(arguments: argparse.Namespace, pairs: int) -> Any:
    from minirag.training import finetune

    recipe = getattr(finetune, arguments.recipe.upper())
    if arguments.steps:
        recipe = replace(recipe, steps=arguments.steps, epochs=0, warmup=min(recipe.warmup, arguments.steps // 10))
    return replace(recipe, batch=min(recipe.batch, pairs), k=arguments.k or recipe.k)


def _made_from(arguments: argparse.Namespace, model: Any, recipe: Any, pairs: Sequence[Any]) -> str:
    """A name for all that the training is made from: one that was killed goes on only where it would come out the same."""
    from minirag.files import fingerprint_of
    from minirag.retrieval.manifest import read_manifest
    from minirag.training.state import checksum, weights_of

    weights = {name: tensor.cpu().contiguous() for name, tensor in weights_of(model).items()}
    memory = json.dumps(read_manifest(arguments.index)), model.retriever.passages.fingerprint
    told = repr((recipe, model.scheme, arguments.frozen, arguments.seed, arguments.dev))
    return fingerprint_of(checksum(told, weights), *memory, *(f"{pair.question}\t{pair.answer}" for pair in pairs))


def _pairs(asked: Sequence[Any], model: Any, arguments: argparse.Namespace) -> list[Any]:
    from minirag.training.targets import answers_found, answers_matched, each_answer

    patterns = sum(question.match == "regex" for question in asked)
    if patterns and arguments.answers != "matched":
        raise MiniragError(f"{patterns} answers are patterns and no text to be written; use --answers matched")
    if arguments.answers == "each":
        return each_answer(asked)
    treated = answers_found if arguments.answers == "found" else answers_matched
    top = min(arguments.top, len(model.retriever.passages))
    pairs = treated(asked, model.retriever, top)
    if not pairs:
        raise MiniragError(f"no answer of {len(asked)} questions stands in their top {top} passages; use --answers each")
    return pairs


def _exact_match(model: Any, questions: Sequence[Any], k: int) -> float:
    from minirag.evaluation.endtoend import marks

    right = marks(model, questions, k, beams=1).right
    return sum(right) / len(right)


def _last(log: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The last of each thing that was logged."""
    return {name: value for row in log for name, value in row.items()}
