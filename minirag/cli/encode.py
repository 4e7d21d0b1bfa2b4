"""`minirag encode`: passages become vectors, in shards, going on where an interrupted run stopped."""

import argparse
from pathlib import Path

from minirag.cli.common import Commands, command, json_option, open_encoder, positive, quiet_option, show

EXAMPLES = """
minirag encode --passages runs/passages --out runs/vectors
minirag encode --passages runs/passages --encoder facebook/contriever --dtype float16 --out runs/vectors
minirag encode --passages runs/passages --out runs/vectors --encoder \\
    facebook/dpr-question_encoder-single-nq-base,facebook/dpr-ctx_encoder-single-nq-base
"""


def declare(commands: Commands) -> None:
    parser = command(commands, "encode", "turn passages into vectors with a bi-encoder", EXAMPLES, run, resumes=True)
    parser.add_argument("--passages", type=Path, required=True, help="folder written by `minirag passages`")
    parser.add_argument("--out", type=Path, required=True, help="folder of the vectors; one begun before is finished")
    parser.add_argument(
        "--encoder",
        default="minilm",
        metavar="PATH[,PATH2]",
        help="minilm, mini, a folder or a hub name; two of a pair such as DPR, questions first (default: %(default)s)",
    )
    parser.add_argument(
        "--dtype", choices=("float32", "float16"), default="float32", help="how vectors are stored (default: %(default)s)"
    )
    parser.add_argument(
        "--shard-rows", type=positive, default=65_536, metavar="N", help="vectors in a file (default: %(default)s)"
    )
    json_option(parser)
    quiet_option(parser)


def run(arguments: argparse.Namespace) -> None:
    from minirag.corpus.store import PassageStore
    from minirag.retrieval.encode import encode_corpus

    passages = PassageStore.open(arguments.passages)
    encoder = open_encoder(arguments.encoder)
    store = encode_corpus(passages, encoder, arguments.out, arguments.shard_rows, arguments.dtype, progress=not arguments.quiet)
    result = {
        "folder": str(arguments.out),
        "rows": len(store),
        "dim": store.shape[1],
        "dtype": store.dtype,
        "encoder": store.encoder,
        "passages": store.passages,
    }
    show(result, f"{arguments.out}: {len(store):,} vectors of {store.shape[1]} × {store.dtype}", arguments.json)
