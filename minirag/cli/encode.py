"""`minirag encode`: passages become vectors, in shards, going on where an interrupted run stopped."""

import argparse
import contextlib
import sys
from pathlib import Path

from minirag.cli.common import Commands, command, json_option, open_encoder, positive, quiet_option, show

EXAMPLES = """
minirag encode --passages runs/passages --out runs/vectors
minirag encode --passages runs/passages --encoder facebook/contriever --dtype float16 --out runs/vectors
minirag encode --passages runs/passages --out runs/vectors --encoder \\
    facebook/dpr-question_encoder-single-nq-base,facebook/dpr-ctx_encoder-single-nq-base
minirag encode --engine ray --workers 8 --passages shared/passages --out shared/vectors
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
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="ray: on the cluster that RAY_ADDRESS names, else by several processes here (default: %(default)s)",
    )
    parser.add_argument("--workers", type=positive, metavar="N", help="of ray (default: as many as there is room for)")
    parser.add_argument("--gpus", type=positive, metavar="N", help="of each worker of ray (default: none)")
    json_option(parser)
    quiet_option(parser)


def run(arguments: argparse.Namespace) -> None:
    from minirag.corpus.store import PassageStore

    if arguments.engine != "ray" and (arguments.workers or arguments.gpus):
        arguments.usage_error("--workers and --gpus belong to --engine ray")
    passages = PassageStore.open(arguments.passages)
    encoder = open_encoder(arguments.encoder)
    given = (passages, encoder, arguments.out, arguments.shard_rows, arguments.dtype, not arguments.quiet)
    if arguments.engine == "ray":
        from minirag.cluster.encode import encode_corpus as encode_on_a_cluster

        with contextlib.redirect_stdout(sys.stderr):  # Ray tells of workers that died where the result belongs
            store = encode_on_a_cluster(*given, workers=arguments.workers, gpus=arguments.gpus or 0)
    else:
        from minirag.retrieval.encode import encode_corpus

        store = encode_corpus(*given)
    result = {
        "folder": str(arguments.out),
        "rows": len(store),
        "dim": store.shape[1],
        "dtype": store.dtype,
        "encoder": store.encoder,
        "passages": store.passages,
    }
    show(result, f"{arguments.out}: {len(store):,} vectors of {store.shape[1]} × {store.dtype}", arguments.json)
