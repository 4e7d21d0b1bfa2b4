"""What the commands share: how one is declared, how its results are shown, and how encoders and indexes are opened."""

import argparse
import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minirag.cluster.collection import TYPES, is_address
from minirag.errors import MiniragError

Commands = argparse._SubParsersAction  # what `add_subparsers` returns has no public name
MADE = Path("runs/quickstart")  # where the quickstart leaves an index and its passages
KINDS = ("exact", "ivf", "ivfpq", "faiss-flat", "faiss-ivf", "faiss-hnsw", "bm25")

MILVUS_KINDS = tuple(f"milvus-{kind}" for kind in TYPES)


def command(
    commands: Commands,
    name: str,
    purpose: str,
    examples: str,
    run: Callable[[argparse.Namespace], None],
    resumes: bool = False,
) -> argparse.ArgumentParser:
    """Declare one command: its purpose in a line, its examples, and what it runs. `resumes`: run again, it goes on."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples.strip().splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, resumes=resumes, usage_error=parser.error)
    return parser


def json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def quiet_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="no progress bars (they go to standard error)")


def positive(text: str) -> int:
    """The type of options that count something.

    >>> positive("12")
    12
    """
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def size(text: str) -> int:
    """The type of options that name an amount of memory or disk, in bytes.

    >>> size("1.5GB"), size("512MiB"), size("4000")
    (1500000000, 536870912, 4000)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", text.strip(), re.IGNORECASE | re.ASCII)
    value = int(float(found[1]) * (1024 if found[3] else 1000) ** " KMGT".index(found[2].upper() or " ")) if found else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of bytes such as 4GB, 512MiB or 1000000")
    return value


def index_place(text: str) -> Path | str:
    """The type of options that name an index: a folder, or the address of one in Milvus, which stays text.

    >>> index_place("milvus://localhost:19530/wiki")
    'milvus://localhost:19530/wiki'
    """
    return text if is_address(text) else Path(text)


def show(value: dict[str, Any], text: str, as_json: bool) -> None:
    """Print one of both. JSON in ASCII, which no terminal or pipe can spoil."""
    print(json.dumps(value) if as_json else text)


def table(facts: dict[str, Any]) -> str:
    """Names and values in two columns, whole numbers with separators; what is None is left out.

    >>> print(table({"rows": 3846, "spherical": True, "dim": None}))
    rows       3,846
    spherical  yes
    """
    known = {name: value for name, value in facts.items() if value is not None}
    width = max(map(len, known)) + 2
    return "\n".join(f"{name:{width}}{_shown(value)}" for name, value in known.items())


def printable(text: str) -> str:
    """One line of text from anywhere, without the control characters that could steer a terminal.

    >>> printable("Bern\\x1b[2J is\\na city")
    'Bern[2J is a city'
    """
    return "".join(character for character in " ".join(text.split()) if unicodedata.category(character) != "Cc")


def open_encoder(name: str) -> Any:
    """The `BiEncoder` behind `--encoder`: "minilm", "mini", a folder or hub name, or two for a pair, parted by a comma."""
    from minirag.retrieval import pretrained

    if name in ("mini", "minilm"):
        return pretrained.mini_biencoder() if name == "mini" else pretrained.minilm()
    questions, comma, passages = name.partition(",")
    return pretrained.from_pretrained(questions, passages if comma else None)


def encoder_of(index: Any, name: str | None) -> Any:
    """The encoder of that name; where none is given, minirag's own mini bi-encoder if it made the index, else MiniLM."""
    if name:
        return open_encoder(name)
    mini = open_encoder("mini")
    made_by = getattr(getattr(index, "memory", None), "encoder", "")
    return mini if made_by == mini.fingerprint else open_encoder("minilm")


def model_options(parser: argparse.ArgumentParser, verified: bool = True) -> None:
    """Which model, over which index and passages; `verified`: whose checksums are compared unless told otherwise."""
    parser.add_argument(
        "--index", type=index_place, default=MADE / "exact", help="a saved index, or milvus://… (default: the quickstart's)"
    )
    parser.add_argument("--passages", type=Path, default=MADE / "passages", help="its passages (default: the quickstart's)")
    parser.add_argument("--model", metavar="PATH", help="a RAG model or a BART (default: the small reader that ships)")
    parser.add_argument(
        "--encoder", metavar="PATH[,PATH2]", help="what encoded the passages (default: the model's, or a shipped one)"
    )
    if verified:
        parser.add_argument("--no-verify", action="store_true", help="do not compare the index's checksums first")


def open_model(arguments: argparse.Namespace) -> Any:
    """The `RagModel` that `model_options` name, its index attached."""
    from minirag.corpus.store import PassageStore
    from minirag.rag import checkpoints
    from minirag.retrieval.bm25 import BM25Index

    for path in (arguments.index, arguments.passages):
        if isinstance(path, Path) and path.parent == MADE and not path.exists():
            raise MiniragError(f"{path} does not exist; run `minirag quickstart` once, or name --index and --passages")
    index = open_index(arguments.index, verify=not arguments.no_verify)
    words = isinstance(index, BM25Index)
    if words and arguments.encoder:
        raise MiniragError(f"{arguments.index} is of kind bm25, which compares words; leave --encoder out")
    encoder = open_encoder(arguments.encoder) if arguments.encoder else None
    model = checkpoints.from_pretrained(arguments.model, encoder) if arguments.model else checkpoints.reader(encoder)
    if words:
        model = model.with_encoder(None)
    elif model.encoder is None:
        model = model.with_encoder(encoder_of(index, None))
    return model.attach(index, PassageStore.open(arguments.passages, verify=not arguments.no_verify))


def index_kind(manifest: dict[str, Any]) -> str:
    """The kind of a saved index as `index build --kind` names it."""
    kind = manifest["kind"]
    return f"faiss-{manifest['settings'].get('kind')}" if kind == "faiss" else kind


def open_index(folder: Path | str, verify: bool) -> Any:
    """An index of any kind, saved or in Milvus. Those of faiss and bm25 are read whole and are always verified."""
    from minirag.retrieval.manifest import read_manifest

    if isinstance(folder, str):
        from minirag.cluster.milvus import MilvusIndex

        return MilvusIndex.open(folder)
    kind = read_manifest(folder)["kind"]
    if kind == "exact":
        from minirag.retrieval.exact import ExactIndex

        return ExactIndex.load(folder, verify)
    if kind == "ivf":
        from minirag.retrieval.ivf import IVFIndex

        return IVFIndex.load(folder, verify)
    if kind == "ivfpq":
        from minirag.retrieval.ivfpq import IVFPQIndex

        return IVFPQIndex.load(folder, verify)
    if kind == "bm25":
        from minirag.retrieval.bm25 import BM25Index

        return BM25Index.load(folder)
    if kind == "faiss":
        from minirag.retrieval.faiss_index import FaissIndex

        return FaissIndex.load(folder)
    if kind == "milvus":
        from minirag.cluster.milvus import MilvusIndex

        return MilvusIndex.load(folder)
    raise MiniragError(f"{folder} holds an index of kind '{kind}', which this version of minirag does not know; update it")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
