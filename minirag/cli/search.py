"""`minirag search`: questions in, their passages and p(z|x) out."""

import argparse
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

from minirag.cli.common import (
    Commands,
    command,
    encoder_of,
    index_kind,
    index_place,
    json_option,
    open_index,
    positive,
    printable,
    show,
)
from minirag.errors import MiniragError

EXAMPLES = """
minirag search "What is the capital of Switzerland?" --index runs/index --passages runs/passages
minirag search "who wrote Hamlet" "who wrote Faust" --index runs/bm25 --passages runs/passages -k 3 --json
minirag search "who wrote Hamlet" --index milvus://localhost:19530/wiki --passages runs/passages
cat questions.txt | minirag search - --index runs/ivf --passages runs/passages --probe 32
"""


def declare(commands: Commands) -> None:
    parser = command(commands, "search", "find the passages for questions", EXAMPLES, run)
    parser.add_argument("questions", nargs="+", metavar="QUESTION", help="what to ask; - reads a question from each input line")
    parser.add_argument(
        "--index",
        type=index_place,
        required=True,
        help="folder written by `minirag index build`, or milvus://host:port/collection",
    )
    parser.add_argument("--passages", type=Path, required=True, help="folder written by `minirag passages`")
    parser.add_argument(
        "--encoder",
        metavar="PATH[,PATH2]",
        help="what `minirag encode` was given (default: mini if it made the index, else minilm); bm25 needs none",
    )
    parser.add_argument("-k", type=positive, default=5, help="passages for each question (default: %(default)s)")
    parser.add_argument("--probe", type=positive, metavar="N", help="lists of an ivf to look into (default: as it was built)")
    parser.add_argument(
        "--no-verify", action="store_true", help="do not compare checksums first, which takes minutes for a large index"
    )
    json_option(parser)


def run(arguments: argparse.Namespace) -> None:
    questions = asked(arguments.questions)
    retriever = open_retriever(arguments)
    results = []
    for found in retriever.search(questions, arguments.k):
        numbers = zip(found.rows.tolist(), found.scores.tolist(), found.probabilities.tolist(), strict=True)
        passages = [
            {"rank": rank, "probability": p, "score": score, "row": row, "id": z.id, "title": z.title, "text": z.text}
            for rank, (z, (row, score, p)) in enumerate(zip(found.passages, numbers, strict=True), start=1)
        ]
        results.append({"question": found.question, "passages": passages})
    show({"results": results}, "\n\n".join(map(_text, results)), arguments.json)


def asked(given: list[str]) -> list[str]:
    """The questions as given, with the lines of standard input where "-" stands."""
    questions: list[str] = []
    for question in given:
        try:
            lines = [line.strip() for line in sys.stdin] if question == "-" else [question]
            "".join(lines).encode()
        except UnicodeError:
            where = "standard input" if question == "-" else f"the question {question!r}"
            raise MiniragError(f"{where} is not valid text; give it in UTF-8") from None
        questions += [line for line in lines if line or question != "-"]
    if not questions:
        raise MiniragError("standard input holds no question; write one on each line")
    return questions


def open_retriever(arguments: argparse.Namespace) -> Any:
    """The retriever over the index and the passages that the options name."""
    from minirag.corpus.store import PassageStore
    from minirag.retrieval.manifest import read_manifest
    from minirag.retrieval.retriever import Retriever

    kind = "milvus" if isinstance(arguments.index, str) else index_kind(read_manifest(arguments.index))
    if arguments.probe and kind not in ("ivf", "ivfpq"):
        raise MiniragError(f"{arguments.index} is of kind {kind}, and --probe is for ivf and ivfpq; leave it out")
    if arguments.encoder and kind == "bm25":
        raise MiniragError(f"{arguments.index} is of kind bm25, which compares words; leave --encoder out")
    index = open_index(arguments.index, verify=not arguments.no_verify)
    if arguments.probe:
        index.n_probe = arguments.probe
    passages = PassageStore.open(arguments.passages, verify=not arguments.no_verify)
    return Retriever(index, passages, None if kind == "bm25" else encoder_of(index, arguments.encoder))


def width() -> int:
    """Columns of text: the terminal's, but no more than can be read well."""
    return min(shutil.get_terminal_size().columns, 120)


def _text(result: dict[str, Any]) -> str:
    blocks = [printable(result["question"])]
    for found in result["passages"]:
        head = f"{found['rank']:3}  p(z|x) {found['probability']:.4f}  score {found['score']:.4f}  {printable(found['title'])}"
        body = textwrap.fill(printable(found["text"]), width(), initial_indent="     ", subsequent_indent="     ")
        blocks.append(f"{head}\n{body}")
    return "\n".join(blocks if result["passages"] else [*blocks, "  nothing found"])
