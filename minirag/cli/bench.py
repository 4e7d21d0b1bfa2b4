"""`minirag bench search | pq | encode | decode | loss | train | serve | scale`: ours beside its peers, in one run."""

import argparse
import json
from pathlib import Path
from typing import Any

from minirag.cli.common import Commands, command, json_option, positive, quiet_option, size

SEARCH = """
minirag bench search
minirag bench search --rows 20000 --batches 1,64 --repeats 3 --json > search.json
"""
ENCODE = """
minirag bench encode
minirag bench encode --passages runs/passages --count 64 --json > encode.json
"""
DECODE = """
minirag bench decode
minirag bench decode --passages runs/passages --json > decode.json
"""
LOSS = """
minirag bench loss
minirag bench loss --passages runs/passages --json > loss.json
"""
TRAIN = """
minirag bench train
minirag bench train --questions 4 --count 4 --rounds 1
minirag bench train --passages runs/passages --json > train.json
"""
PQ = """
minirag bench pq
minirag bench pq --rows 20000 --lists 128 --repeats 1
minirag bench pq --rows 200000 --lists 512 --probe 16 --json > pq.json
"""
SERVE = """
minirag bench serve
minirag bench serve --clients 8 --seconds 5
minirag bench serve --json > serve.json
"""
SCALE = """
minirag bench scale --sizes 2000,4000 --dim 32 --lists 32
minirag bench scale --sizes 10000,100000,1000000 --ram 2GB --growing --json > scale.json
"""


def declare(commands: Commands) -> None:
    group = commands.add_parser(
        "bench",
        help="measure against faiss and transformers",
        description="Benches: search, pq, encode, decode, loss, train, serve, scale.",
    )
    benches = group.add_subparsers(metavar="BENCH", required=True)
    _indexes(benches)
    _networks(benches)
    _jobs(benches)


def _indexes(benches: Commands) -> None:
    """Vectors in, neighbours out."""
    parser = command(benches, "search", "exact and IVF search beside faiss at its best setting", SEARCH, run_search)
    parser.add_argument("--rows", type=positive, default=200_000, help="vectors (default: %(default)s)")
    parser.add_argument("--dim", type=positive, default=768, help="their dimension (default: %(default)s)")
    parser.add_argument(
        "--batches",
        type=positives,
        default=(1, 8, 64, 512, 4096),
        metavar="N,N,…",
        help="questions searched together (default: 1,8,64,512,4096)",
    )
    parser.add_argument("--repeats", type=positive, default=5, help="rounds, of which the median counts (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the random vectors (default: %(default)s)")
    json_option(parser)
    quiet_option(parser)
    parser = command(benches, "pq", "IVF-PQ beside faiss' IndexIVFPQ: time and recall", PQ, run_pq)
    parser.add_argument("--rows", type=positive, default=1_000_000, help="clustered vectors (default: %(default)s)")
    parser.add_argument("--dim", type=positive, default=768, help="their dimension (default: %(default)s)")
    parser.add_argument("--lists", type=positive, default=1_024, help="lists of both (default: %(default)s)")
    parser.add_argument("--probe", type=positive, default=32, help="lists looked into (default: %(default)s)")
    parser.add_argument("--repeats", type=positive, default=5, help="rounds, of which the median counts (default: %(default)s)")
    json_option(parser)
    quiet_option(parser)


def _networks(benches: Commands) -> None:
    """Passages through Transformers."""
    parser = command(benches, "encode", "passages per second beside transformers, and the machine's peak", ENCODE, run_encode)
    parser.add_argument("--count", type=positive, default=32, help="passages to encode (default: %(default)s)")
    _common(parser)
    parser = command(benches, "decode", "RAG's decoders beside transformers, BART-base's sizes", DECODE, run_decode)
    parser.add_argument("--questions", type=positive, default=4, help="decoded together (default: %(default)s)")
    parser.add_argument("-k", type=positive, default=5, help="passages for each (default: %(default)s)")
    parser.add_argument("--beams", type=positive, default=4, help="beams of every search (default: %(default)s)")
    parser.add_argument("--tokens", type=positive, default=16, help="length of every hypothesis (default: %(default)s)")
    _common(parser)
    parser = command(benches, "loss", "a RAG training step beside transformers, BART-base's sizes", LOSS, run_loss)
    parser.add_argument("--questions", type=positive, default=2, help="in a step (default: %(default)s)")
    parser.add_argument("-k", type=positive, default=5, help="passages for each (default: %(default)s)")
    _common(parser)
    parser = command(benches, "train", "steps of DPR's and BART's training beside transformers, base sizes", TRAIN, run_train)
    parser.add_argument("--questions", type=positive, default=8, help="in a step of DPR (default: %(default)s)")
    parser.add_argument("--count", type=positive, default=8, help="passages in a step of BART (default: %(default)s)")
    _common(parser)


def _jobs(benches: Commands) -> None:
    """What runs for a while: a service, and building at growing sizes."""
    parser = command(benches, "serve", "the query service under many clients, batched and one by one", SERVE, run_serve)
    parser.add_argument("--clients", type=positive, default=64, help="that ask without a pause (default: %(default)s)")
    parser.add_argument("--seconds", type=positive, default=60, help="for each of the two (default: %(default)s)")
    json_option(parser)
    quiet_option(parser)
    parser = command(benches, "scale", "building and searching at growing numbers of vectors", SCALE, run_scale)
    parser.add_argument(
        "--sizes", type=positives, default=(10_000, 100_000, 1_000_000), metavar="N,N,…", help="default: 10000,100000,1000000"
    )
    parser.add_argument("--dim", type=positive, default=768, help="of the vectors (default: %(default)s)")
    parser.add_argument("--lists", type=positive, default=1_024, metavar="N", help="at every size (default: %(default)s)")
    parser.add_argument("--growing", action="store_true", help="again, with 4 times the root of N lists")
    parser.add_argument("--kind", choices=("ivf", "ivfpq"), default="ivfpq", help="which index (default: %(default)s)")
    parser.add_argument("--ram", type=size, default=size("2GB"), metavar="SIZE", help="memory for building (default: 2GB)")
    parser.add_argument("--folder", type=Path, help="where the vectors lie meanwhile (default: the system's temporary folder)")
    json_option(parser)
    quiet_option(parser)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--passages", type=Path, help="folder written by `minirag passages` (default: MiniWiki)")
    parser.add_argument("--rounds", type=positive, default=3, help="rounds, of which the median counts (default: %(default)s)")
    json_option(parser)
    quiet_option(parser)


def positives(text: str) -> tuple[int, ...]:
    """Whole numbers parted by commas.

    >>> positives("1,8,64")
    (1, 8, 64)
    """
    return tuple(positive(part) for part in text.split(","))


def run_search(arguments: argparse.Namespace) -> None:
    sizes = {name: getattr(arguments, name) for name in ("dim", "batches", "repeats", "seed")}
    _bench("search", arguments, n=arguments.rows, **sizes)


def run_encode(arguments: argparse.Namespace) -> None:
    passages = _passages(arguments, arguments.count)
    _bench("encode", arguments, passages=passages, count=arguments.count, rounds=arguments.rounds)


def run_decode(arguments: argparse.Namespace) -> None:
    sizes = {name: getattr(arguments, name) for name in ("questions", "k", "beams", "rounds")}
    passages = _passages(arguments, arguments.questions * arguments.k)
    _bench("decode", arguments, passages=passages, new_tokens=arguments.tokens, **sizes)


def run_loss(arguments: argparse.Namespace) -> None:
    sizes = {name: getattr(arguments, name) for name in ("questions", "k", "rounds")}
    _bench("loss", arguments, passages=_passages(arguments, arguments.questions * arguments.k), **sizes)


def run_pq(arguments: argparse.Namespace) -> None:
    _bench("pq", arguments, **{name: getattr(arguments, name) for name in ("rows", "dim", "lists", "probe", "repeats")})


def run_serve(arguments: argparse.Namespace) -> None:
    _bench("serve", arguments, clients=arguments.clients, seconds=float(arguments.seconds))


def run_train(arguments: argparse.Namespace) -> None:
    sizes = {name: getattr(arguments, name) for name in ("questions", "count", "rounds")}
    needed = max(2 * arguments.questions, arguments.count)
    _bench("train", arguments, passages=_passages(arguments, needed), **sizes)


def run_scale(arguments: argparse.Namespace) -> None:
    names = ("sizes", "dim", "lists", "growing", "kind", "ram", "folder")
    _bench("scale", arguments, **{name: getattr(arguments, name) for name in names})


def _passages(arguments: argparse.Namespace, count: int) -> Any:
    """The first `count` of the store that was named, or None for MiniWiki's."""
    if arguments.passages is None:
        return None
    from minirag.corpus.store import PassageStore

    return PassageStore.open(arguments.passages)[:count]


def _bench(name: str, arguments: argparse.Namespace, **options: Any) -> None:
    from minirag import bench

    result = bench.run(name, not arguments.quiet, **options)
    print(json.dumps(result) if arguments.json else _text(result))


def _text(result: dict[str, Any]) -> str:
    """The machine in a line, then a column for every key of a row."""
    machine, rows = result["machine"], result["rows"]
    lines = [f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, torch {machine['torch']}", ""]
    names = ("case", "ours", "peer", "unit", "ratio", "equal", "peer_name")
    cells = [list(names), *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        lines + ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    )


def _cell(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
