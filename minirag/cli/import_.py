"""`minirag import`: what others have computed, DPR's shards, `wiki_dpr`'s tables and faiss's files, becomes minirag's own."""

import argparse
from pathlib import Path

from minirag.cli.common import Commands, command, json_option, quiet_option, show

DPR = """
minirag import dpr downloads/wikipedia_passages_* --passages runs/passages --out runs/vectors
minirag import dpr out_0 out_1 --passages runs/passages --id-prefix wiki: --dtype float16 --out runs/vectors
"""
WIKI_DPR = """
minirag import wiki-dpr downloads/wiki_dpr --out runs/wiki    # writes runs/wiki/passages and runs/wiki/vectors
minirag import wiki-dpr part-0.parquet part-1.parquet --dtype float16 --out runs/own
"""
FAISS = """
minirag import faiss index.faiss --passages runs/passages --out runs/theirs  # writes runs/theirs/vectors and runs/theirs/index
minirag import faiss index.dpr --meta index_meta.dpr --passages runs/passages --id-prefix wiki: --out runs/theirs
"""


def declare(commands: Commands) -> None:
    purpose = "take over vectors and indexes that others have made"
    group = commands.add_parser("import", help=purpose, description="Imports: dpr, wiki-dpr, faiss.")
    actions = group.add_subparsers(metavar="WHAT", required=True)
    parser = command(actions, "dpr", "DPR's pickled embeddings become vectors; no pickle is run", DPR, run_dpr, resumes=True)
    parser.add_argument("shards", nargs="+", type=Path, metavar="SHARD", help="pickles of (id, vector), in any order")
    parser.add_argument("--passages", type=Path, required=True, help="folder of the passages that were encoded")
    _prefix(parser)
    _out(parser, "folder of the vectors; one begun before is finished")
    parser = command(
        actions, "wiki-dpr", "a data set like wiki_dpr becomes passages and vectors", WIKI_DPR, run_wiki, resumes=True
    )
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help=".arrow or .parquet files in their order, or folders"
    )
    _out(parser, "folder of both; one begun before is finished")
    parser = command(actions, "faiss", "a faiss index becomes vectors and an index", FAISS, run_faiss, resumes=True)
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="flat, IVFFlat, IVFPQ or HNSWFlat, written by faiss.write_index"
    )
    parser.add_argument(
        "--passages", type=Path, help="folder of its passages: then rows are theirs (default: faiss's own order)"
    )
    parser.add_argument("--meta", type=Path, help="DPR's index_meta.dpr: the passages' ids in the order of faiss's")
    _prefix(parser)
    _out(parser, "folder of both; one begun before is finished")


def run_dpr(arguments: argparse.Namespace) -> None:
    from minirag.corpus.store import PassageStore
    from minirag.retrieval.dpr_shards import import_dpr

    passages = PassageStore.open(arguments.passages)
    store = import_dpr(
        arguments.shards, passages, arguments.out, arguments.dtype, arguments.id_prefix, progress=not arguments.quiet
    )
    result = {"folder": str(arguments.out), "rows": len(store), "dim": store.shape[1], "dtype": store.dtype}
    show(result, f"{arguments.out}: {len(store):,} vectors of {store.shape[1]} × {store.dtype}", arguments.json)


def run_wiki(arguments: argparse.Namespace) -> None:
    from minirag.retrieval.wiki_dpr import import_wiki_dpr

    passages, store = import_wiki_dpr(arguments.files, arguments.out, arguments.dtype, progress=not arguments.quiet)
    result = {
        "passages": str(passages.path),
        "vectors": str(store.folder),
        "rows": len(store),
        "dim": store.shape[1],
        "dtype": store.dtype,
    }
    text = f"{passages.path}: {len(passages):,} passages\n{store.folder}: their vectors of {store.shape[1]} × {store.dtype}"
    show(result, text, arguments.json)


def run_faiss(arguments: argparse.Namespace) -> None:
    from minirag.corpus.store import PassageStore
    from minirag.retrieval.faiss_import import import_faiss

    if arguments.meta and not arguments.passages:
        arguments.usage_error("--meta lists the ids of passages; name them with --passages")
    passages = PassageStore.open(arguments.passages) if arguments.passages else None
    index = import_faiss(
        arguments.file,
        arguments.out,
        passages,
        arguments.meta,
        arguments.id_prefix,
        arguments.dtype,
        progress=not arguments.quiet,
    )
    kind = type(index).__name__
    result = {"folder": str(arguments.out), "index": str(arguments.out / "index"), "kind": kind, "rows": len(index)}
    note = ": it holds codes only, so faiss goes on searching it" if kind == "FaissIndex" else ""
    show(result, f"{arguments.out / 'index'}: {kind} over {len(index):,} rows{note}", arguments.json)


def _prefix(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--id-prefix", default="", metavar="TEXT", help="what their ids have before the passages', such as wiki:"
    )


def _out(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--out", type=Path, required=True, help=what)
    parser.add_argument(
        "--dtype", choices=("float32", "float16"), default="float32", help="how vectors are stored (default: %(default)s)"
    )
    json_option(parser)
    quiet_option(parser)
