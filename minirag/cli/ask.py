"""`minirag ask`: a question in; its answer, the passages, and where the answer stands in them out."""

import argparse
import math
import textwrap
from typing import Any

from minirag.cli.common import Commands, command, json_option, model_options, open_model, positive, printable, show
from minirag.cli.search import asked, width

EXAMPLES = """
minirag ask "What is the capital of Switzerland?"
minirag ask "who wrote Hamlet" -k 10 --decoder fast --hypotheses 3 --json
minirag ask "who wrote Hamlet" --model facebook/rag-token-nq --index runs/index --passages runs/passages
"""


def declare(commands: Commands) -> None:
    parser = command(commands, "ask", "answer questions from an index's passages", EXAMPLES, run)
    parser.add_argument("questions", nargs="+", metavar="QUESTION", help="what to ask; - reads a question from each input line")
    model_options(parser)
    parser.add_argument("-k", type=positive, default=5, help="passages for each question (default: %(default)s)")
    parser.add_argument("--decoder", choices=("token", "thorough", "fast"), help="default: by the model, token or thorough")
    parser.add_argument("--beams", type=positive, default=4, help="beams of every search (default: %(default)s)")
    parser.add_argument("--max-length", type=positive, default=32, help="tokens of an answer (default: %(default)s)")
    parser.add_argument("--hypotheses", type=positive, default=1, help="answers to show (default: %(default)s)")
    json_option(parser)


def run(arguments: argparse.Namespace) -> None:
    questions = asked(arguments.questions)
    model = open_model(arguments)
    search = {name: getattr(arguments, name) for name in ("beams", "max_length", "hypotheses")}
    answers = [_facts(answer) for answer in model.answer(questions, arguments.k, arguments.decoder, **search)]
    show({"results": answers}, "\n\n".join(map(_text, answers)), arguments.json)


def _facts(answer: Any) -> dict[str, Any]:
    holding = answer.holding()
    return {
        "question": answer.question,
        "answers": [
            {"text": text, "log_probability": found.log_probability, "probability": math.exp(found.log_probability)}
            for text, found in zip(answer.texts, answer.hypotheses, strict=True)
        ],
        "passages": [
            {"rank": k + 1, "prior": prior, "posterior": support, "holds_answer": k in holding} | _shown(z)
            for k, (z, prior, support) in enumerate(
                zip(answer.passages, answer.prior.tolist(), answer.support.tolist(), strict=True)
            )
        ],
    }


def _shown(passage: Any) -> dict[str, str]:
    return {"id": passage.id, "title": passage.title, "text": passage.text}


def _text(facts: dict[str, Any]) -> str:
    """The answers, then each passage with the answer in brackets where it stands."""
    from minirag.corpus.words import pieces

    lines = [printable(facts["question"])]
    lines += [f"  {printable(found['text']) or '(nothing)'}   p(y|x) {found['probability']:.3f}" for found in facts["answers"]]
    for z in facts["passages"]:
        lines.append(f"{z['rank']:3}  p(z|x) {z['prior']:.3f}  p(z|x, y) {z['posterior']:.3f}  {printable(z['title'])}")
        found = pieces(printable(z["text"]), [facts["answers"][0]["text"]])
        text = "".join(f"[{piece}]" if is_answer else piece for piece, is_answer in found)
        lines.append(textwrap.fill(text, width(), initial_indent="     ", subsequent_indent="     "))
    return "\n".join(lines)
