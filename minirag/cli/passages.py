"""`minirag passages`: text from any source becomes a `PassageStore` of 100-word passages."""

import argparse
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from minirag.cli.common import Commands, command, json_option, positive, quiet_option, show
from minirag.errors import MiniragError

EXAMPLES = """
minirag passages --format miniwiki --out runs/passages          # the texts that ship with minirag
minirag passages own.jsonl more.csv --out runs/passages         # one's own: title, text and perhaps id
minirag passages downloads/psgs_w100.tsv.gz --out runs/passages # already in passages
minirag passages enwiki-pages-articles.xml.bz2 --out runs/passages --skip-bad
"""
FORMATS = ("auto", "psgs_w100", "dump", "wiki-jsonl", "texts", "kilt", "miniwiki")
HEAD = 1 << 20  # bytes looked at to tell one format from another
LINK, BOLD = re.compile(rb"\[\[[^][\s][^][]*\]\]"), b"'''"  # [[Bern]], '''Bern''': no wiki page is without either


def declare(commands: Commands) -> None:
    parser = command(commands, "passages", "cut texts into passages of 100 words", EXAMPLES, run)
    parser.add_argument("sources", nargs="*", type=Path, metavar="SOURCE", help="files, compressed (.gz, .bz2) or not")
    parser.add_argument("--out", type=Path, required=True, help="folder of the passage store; an older store is replaced")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="auto",
        help="auto (default) looks at names and first bytes; psgs_w100: DPR's table; dump: MediaWiki XML; wiki-jsonl: articles "
        "with markup; texts: one's own .jsonl, .csv or .tsv; kilt: KILT's knowledge source; miniwiki: what ships, no SOURCE",
    )
    parser.add_argument(
        "--words", type=positive, default=100, help="words in a passage, unless cut before (default: %(default)s)"
    )
    parser.add_argument(
        "--tail",
        choices=("wrap", "keep"),
        default="wrap",
        help="an article's last passage: filled up from its beginning, or left short (default: %(default)s)",
    )
    parser.add_argument("--skip-bad", action="store_true", help="count and list bad rows instead of stopping at the first")
    json_option(parser)
    quiet_option(parser)


def run(arguments: argparse.Namespace) -> None:
    from minirag.corpus.rows import BadRows
    from minirag.corpus.store import PassageStore

    if (arguments.format == "miniwiki") == bool(arguments.sources):
        arguments.usage_error("name at least one SOURCE, or --format miniwiki without any")
    formats = _formats(arguments)
    bad = BadRows(skip=arguments.skip_bad)
    passages = _passages(arguments, formats, bad)
    store = PassageStore.write(arguments.out, passages, progress=not arguments.quiet)
    result: dict[str, Any] = {
        "folder": str(arguments.out),
        "passages": len(store),
        "fingerprint": store.fingerprint,
        "formats": {str(source): name for source, name in formats.items()},
        "passed_over": dict(bad.passed_over),
        "bad_rows": bad.total,
        "bad_examples": list(map(str, bad.examples)),
    }
    show(result, _text(result), arguments.json)


def guess_format(path: Path) -> str:
    """The format of a file by its name and its first bytes; MiniragError where they do not tell.

    JSON lines are `wiki-jsonl` where they hold wiki links and bold type, `texts` where they hold neither. One alone may as well
    be source code, which cleaning up would spoil.
    """
    from minirag.corpus.rows import DAMAGED, cut_short, open_bytes

    name = path.name.lower().removesuffix(".gz").removesuffix(".bz2")
    with open_bytes(path) as file:
        try:
            head = file.read(HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
        except DAMAGED as error:
            raise cut_short(path, "its beginning", error) from error
    if head.startswith(b"<mediawiki") or (name.endswith(".xml") and head.startswith(b"<")):
        return "dump"
    if head.startswith(b"id\ttext\ttitle") and head.splitlines()[0].strip() == b"id\ttext\ttitle":
        return "psgs_w100"
    if name.endswith((".csv", ".tsv")):
        return "texts"
    if name.endswith(".jsonl") and head.startswith(b"{"):
        if b'"wikipedia_title"' in head:
            return "kilt"
        link, bold = LINK.search(head) is not None, BOLD in head
        if link == bold:
            return "wiki-jsonl" if link else "texts"
    raise MiniragError(f"what {path} holds cannot be told from its name and first bytes; say it with --format")


def _formats(arguments: argparse.Namespace) -> dict[Path, str]:
    """The format of each source, given or found out."""
    if arguments.format != "auto":
        return dict.fromkeys(arguments.sources, arguments.format)
    formats = {source: guess_format(source) for source in arguments.sources}
    if "psgs_w100" in formats.values() and len(set(formats.values())) > 1:
        raise MiniragError(
            f"{', '.join(map(str, formats))} are partly cut into passages and partly articles; write them to separate stores"
        )
    return formats


def _passages(arguments: argparse.Namespace, formats: dict[Path, str], bad: Any) -> Iterable[Any]:
    from minirag.corpus import readers, wikipedia
    from minirag.corpus.passages import split_articles

    if arguments.format == "miniwiki":
        from minirag.corpus.miniwiki import MiniWiki

        return split_articles(MiniWiki.load().articles, arguments.words, arguments.tail)
    read: dict[str, Callable[[Path, Any], Iterator[Any]]] = {
        "psgs_w100": readers.read_passages_tsv,
        "texts": readers.read_texts,
        "dump": wikipedia.read_xml_dump,
        "wiki-jsonl": wikipedia.read_wiki_jsonl,
        "kilt": wikipedia.read_kilt,
    }
    rows = (row for source, name in formats.items() for row in read[name](source, bad))
    return rows if "psgs_w100" in formats.values() else split_articles(rows, arguments.words, arguments.tail)


def _text(result: dict[str, Any]) -> str:
    lines = [f"{result['folder']}: {result['passages']:,} passages"]
    lines += [f"read as {name}: {source}" for source, name in result["formats"].items()]
    lines += [f"passed over, {why}: {count:,}" for why, count in sorted(result["passed_over"].items())]
    if result["bad_rows"]:
        listed = len(result["bad_examples"])
        lines.append(f"bad rows: {result['bad_rows']:,}" + (f", the first {listed}:" if listed < result["bad_rows"] else ":"))
        lines += [f"  {example}" for example in result["bad_examples"]]
    return "\n".join(lines)
