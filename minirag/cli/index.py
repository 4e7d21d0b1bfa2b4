"""`minirag index build | verify | info`: vectors, or for BM25 words, become something that can be searched."""

import argparse
import math
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minirag.cli.common import (
    KINDS,
    MILVUS_KINDS,
    Commands,
    command,
    index_kind,
    index_place,
    json_option,
    open_index,
    positive,
    quiet_option,
    show,
    size,
    table,
)
from minirag.errors import MiniragError

BUILD = """
minirag index build --vectors runs/vectors --kind exact --out runs/exact
minirag index build --vectors runs/vectors --kind ivf --lists 512 --probe 16 --out runs/ivf
minirag index build --vectors runs/vectors --kind ivfpq --pieces 64 --ram 4GB --out runs/ivfpq
minirag index build --passages runs/passages --kind bm25 --out runs/bm25
minirag index build --vectors runs/vectors --kind milvus-hnsw --out milvus://localhost:19530/wiki
"""
VERIFY = """
minirag index verify runs/ivfpq
"""
INFO = """
minirag index info runs/ivf
minirag index info runs/ivf --verify --json
"""
PROBE, BATCH = 16, 65_536
SAMPLE = 256  # training vectors for each list


def declare(commands: Commands) -> None:
    group = commands.add_parser(
        "index", help="build an index, verify it, or say what it holds", description="Indexes: build, verify, info."
    )
    actions = group.add_subparsers(metavar="ACTION", required=True)
    parser = command(actions, "build", "build an index over vectors, or over words", BUILD, run_build)
    parser.add_argument("--kind", choices=(*KINDS, *MILVUS_KINDS), default="exact", help="which index (default: %(default)s)")
    parser.add_argument("--vectors", type=Path, help="folder written by `minirag encode`; for every kind but bm25")
    parser.add_argument("--passages", type=Path, help="folder written by `minirag passages`; for bm25")
    parser.add_argument(
        "--out",
        type=index_place,
        required=True,
        help="folder of the index, or milvus://host:port/collection for those kinds; an older index is replaced",
    )
    parser.add_argument("--lists", type=positive, metavar="N", help="lists of an IVF (default: the square root of the rows)")
    parser.add_argument(
        "--probe",
        type=positive,
        metavar="N",
        help=f"lists a search looks into, unless it says otherwise (default: {PROBE})",
    )
    parser.add_argument("--pieces", type=positive, metavar="M", help="bytes of a code, for ivfpq (default: at most 64)")
    parser.add_argument(
        "--ram", type=size, default=size("4GB"), metavar="SIZE", help="memory for building ivf and ivfpq (default: 4GB)"
    )
    json_option(parser)
    quiet_option(parser)
    parser = command(actions, "verify", "compare an index, its vectors too, with its checksums", VERIFY, run_verify)
    parser.add_argument("index", type=Path, metavar="DIR", help="folder written by `minirag index build`")
    json_option(parser)
    parser = command(actions, "info", "say what an index holds", INFO, run_info)
    parser.add_argument("index", type=index_place, metavar="DIR", help="folder written by `minirag index build`, or milvus://…")
    parser.add_argument("--verify", action="store_true", help="compare every file, and the vectors, with their checksums")
    json_option(parser)


def run_build(arguments: argparse.Namespace) -> None:
    source, other = ("passages", "vectors") if arguments.kind == "bm25" else ("vectors", "passages")
    if getattr(arguments, source) is None or getattr(arguments, other) is not None:
        arguments.usage_error(f"an index of kind {arguments.kind} is built from --{source}, not from --{other}")
    if not arguments.kind.endswith(("ivf", "ivfpq")) and (arguments.lists or arguments.probe):
        arguments.usage_error(f"--lists and --probe belong to kinds of ivf, not to {arguments.kind}")
    in_milvus = isinstance(arguments.out, str)
    if in_milvus != (arguments.kind in MILVUS_KINDS):
        arguments.usage_error(f"an index of kind {arguments.kind} goes to a {'folder' if in_milvus else 'milvus://… address'}")
    start = time.perf_counter()
    if in_milvus:
        index = _built_in_milvus(arguments)
    else:
        _keep_the_source(arguments.out, getattr(arguments, source))
        index = _built(arguments)
        index.save(arguments.out)
    seconds = time.perf_counter() - start
    result = {"folder": str(arguments.out), "kind": arguments.kind, "rows": len(index), "seconds": round(seconds, 3)}
    show(result, f"{arguments.out}: {arguments.kind} over {len(index):,} rows, built in {seconds:.1f} s", arguments.json)


def run_verify(arguments: argparse.Namespace) -> None:
    index = open_index(arguments.index, verify=True)
    result = {"folder": str(arguments.index), "rows": len(index), "verified": True}
    show(result, f"{arguments.index}: {len(index):,} rows, as they were written", arguments.json)


def run_info(arguments: argparse.Namespace) -> None:
    from minirag.files import read_json
    from minirag.retrieval.manifest import MANIFEST, read_manifest

    if isinstance(arguments.index, str):
        _show_milvus(arguments)
        return
    folder: Path = arguments.index
    manifest = read_manifest(folder)
    sizes = {name: _size(folder / name) for name in sorted([*manifest["files"], MANIFEST])}
    settings = {name: value for name, value in manifest["settings"].items() if name not in ("rows", "dim", "kind", "passages")}
    found: dict[str, Any] = {
        "kind": index_kind(manifest),
        "rows": manifest["settings"].get("rows", manifest["settings"].get("passages")),
        "dim": manifest["settings"].get("dim"),
    }
    if "memory.json" in sizes:
        settings["vectors"] = str((folder / read_json(folder / "memory.json")["vectors"]).resolve())
    if arguments.verify:
        open_index(folder, verify=True)
    checksums = "agree" if arguments.verify else "not compared (--verify compares them)"
    files = {f"  {name}": f"{size:,} bytes" for name, size in sizes.items()}
    text = "\n".join([table({**found, **settings, "checksums": checksums}), "files", table(files)])
    show({**found, "settings": settings, "files": sizes, "verified": arguments.verify}, text, arguments.json)


def _built(arguments: argparse.Namespace) -> Any:
    """The index that was asked for, saved."""
    if arguments.kind == "bm25":
        return _saved(_built_bm25(arguments.passages, arguments.quiet), arguments.out)
    from minirag.retrieval.vectors import VectorStore

    store = VectorStore.open(arguments.vectors)
    lists = arguments.lists or max(round(math.sqrt(len(store))), 1)
    probe = arguments.probe or PROBE
    if arguments.kind.startswith("faiss-"):
        kind = arguments.kind.removeprefix("faiss-")
        return _saved(_built_faiss(kind, store, lists, probe, arguments.quiet), arguments.out)
    if arguments.kind == "exact":
        from minirag.retrieval.exact import ExactIndex

        exact = ExactIndex(store.shape[1])
        exact.add(store)
        return _saved(exact, arguments.out)
    from minirag.retrieval.build import BuildSettings, build
    from minirag.retrieval.pq import usual_pieces

    pieces = arguments.pieces or usual_pieces(store.shape[1])
    settings = BuildSettings(arguments.kind, lists, probe, pieces, ram=arguments.ram)
    return build(store, arguments.out, settings, progress=not arguments.quiet)


def _saved(index: Any, folder: Path) -> Any:
    index.save(folder)
    return index


def _built_bm25(folder: Path, quiet: bool) -> Any:
    from minirag.corpus.store import PassageStore
    from minirag.retrieval.bm25 import BM25Index

    passages, index = PassageStore.open(folder), BM25Index()
    for batch in _progress(passages.batches(BATCH), len(passages), quiet):
        index.add(batch)
    return index


def _built_faiss(kind: str, store: Any, lists: int, probe: int, quiet: bool) -> Any:
    import torch

    from minirag.retrieval.faiss_index import FaissIndex

    index = FaissIndex(kind, n_lists=lists, n_probe=probe)
    # The cells are learnt from a sample; a graph has to know the longest of all vectors before the first is added.
    sample = torch.randperm(len(store), generator=torch.Generator().manual_seed(0))[: lists * SAMPLE].sort().values
    index.train(store[:] if kind == "hnsw" else store.take(sample))
    for batch in _progress(store.batches(BATCH), len(store), quiet):
        index.add(batch)
    return index


def _built_in_milvus(arguments: argparse.Namespace) -> Any:
    from minirag.cluster.collection import MilvusSettings
    from minirag.cluster.milvus import MilvusIndex
    from minirag.retrieval.vectors import VectorStore

    store = VectorStore.open(arguments.vectors)
    lists = arguments.lists or max(round(math.sqrt(len(store))), 1)
    kind = arguments.kind.removeprefix("milvus-")
    return MilvusIndex.build(arguments.out, store, MilvusSettings(kind, lists, arguments.probe or PROBE), not arguments.quiet)


def _show_milvus(arguments: argparse.Namespace) -> None:
    index = open_index(arguments.index, verify=False)
    found = {"kind": f"milvus-{index.settings.kind}", "rows": len(index), "dim": index.dim}
    settings = {**asdict(index.settings), **asdict(index.memory)}
    show({**found, "settings": settings}, table({**found, **settings, "kind": found["kind"]}), arguments.json)


def _progress(batches: Iterable[Any], rows: int, quiet: bool) -> Iterable[Any]:
    from tqdm.auto import tqdm

    return tqdm(batches, desc="index", unit="batch", total=-(-rows // BATCH), disable=quiet)


def _keep_the_source(out: Path, source: Path) -> None:
    """Saving replaces the folder `out`, so what the index is built from must not lie in it."""
    if source.resolve().is_relative_to(out.resolve()):
        raise MiniragError(f"{out} holds {source}, from which the index is built, and is left as it is; choose another --out")


def _size(path: Path) -> int:
    if not path.is_file():
        raise MiniragError(f"{path} is missing though the index lists it; build the index again")
    return path.stat().st_size
