"""`minirag serve`: a page to ask questions on, and JSON behind it."""

import argparse
import os
import sys
from typing import Any

from minirag.cli.common import MADE, Commands, command, model_options, open_model, positive
from minirag.errors import MiniragError

EXAMPLES = """
minirag serve
minirag serve --index runs/ivfpq --passages runs/passages --port 8080
minirag serve --answer --model data/checkpoints/rag-token
"""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# oneDNN keeps the code that it makes for each shape of a product, by itself for 1,024 shapes: batches of requests have so many
# that memory went on growing for minutes. With 64 it does not.
SHAPES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")


def declare(commands: Commands) -> None:
    parser = command(commands, "serve", "answer questions over HTTP, on a page and as JSON", EXAMPLES, run)
    model_options(parser, verified=False)
    parser.add_argument("--answer", action="store_true", help="answer, too, by --model or the small reader that ships")
    parser.add_argument("--probe", type=positive, metavar="N", help="lists of an ivf to look into (default: as it was built)")
    parser.add_argument("--verify", action="store_true", help="compare all checksums first; minutes for a large index")
    parser.add_argument("--host", default=LOOPBACK[0], help="address to listen at (default: %(default)s, this machine only)")
    parser.add_argument("--port", type=_port, default=8080, help="port; 0 takes a free one (default: %(default)s)")
    parser.add_argument("--batch", type=positive, default=64, help="requests worked on together (default: %(default)s)")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65_536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 0 to 65535")
    return int(text)


def run(arguments: argparse.Namespace) -> None:
    os.environ.setdefault(*SHAPES)  # which is read at the first product
    arguments.no_verify = not arguments.verify
    if arguments.model and not arguments.answer:
        arguments.usage_error("--model is for --answer; give both, or neither to search only")
    try:
        from minirag.serve.run import serve
    except ImportError as error:
        raise MiniragError(f"{error.name} is missing; install it with pip install 'minirag[serve]'") from None
    if arguments.host not in LOOPBACK:
        print(f"minirag: whoever reaches {arguments.host} can ask, without a password", file=sys.stderr)
    serve(_service(arguments), arguments.host, arguments.port, arguments.batch)


def _service(arguments: argparse.Namespace) -> Any:
    from minirag.cli.search import open_retriever
    from minirag.serve.service import Service

    if arguments.index == MADE / "exact" and not arguments.index.exists():
        raise MiniragError(f"{arguments.index} does not exist; run `minirag quickstart` once, or name --index and --passages")
    if not arguments.answer:
        return Service(open_retriever(arguments))
    model = open_model(arguments)
    if arguments.probe and not hasattr(model.retriever.index, "n_probe"):
        raise MiniragError(f"{arguments.index} has no lists, and --probe is for ivf and ivfpq; leave it out")
    if arguments.probe:
        model.retriever.index.n_probe = arguments.probe
    return Service(model.retriever, model)
