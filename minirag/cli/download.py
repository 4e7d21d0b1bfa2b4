"""`minirag download`: the published corpora, questions and checkpoints of the paper, or a list of them."""

import argparse
from pathlib import Path
from typing import Any

from minirag.cli.common import Commands, command, json_option, quiet_option, show

EXAMPLES = """
minirag download                                     # what there is
minirag download psgs_w100 --folder downloads        # 4.7 GB, resumed after an interruption
minirag download qas-nq-test qas-trivia-test --unpack
"""
PACKED = (".gz", ".tgz", ".zip", ".tar")


def declare(commands: Commands) -> None:
    parser = command(commands, "download", "fetch published corpora, questions and checkpoints", EXAMPLES, run, resumes=True)
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to fetch; without a name, list what there is")
    parser.add_argument("--folder", type=Path, default=Path("downloads"), help="where to (default: %(default)s)")
    parser.add_argument("--unpack", action="store_true", help="unpack .gz, .zip and .tar beside the download")
    json_option(parser)
    quiet_option(parser)


def run(arguments: argparse.Namespace) -> None:
    from minirag.corpus.download import download

    if not arguments.names:
        listed = _listed()
        show({"sources": listed}, "\n".join(map(_line, listed)), arguments.json)
        return
    found: dict[str, list[str]] = {}
    for name in arguments.names:
        path = download(name, arguments.folder, progress=not arguments.quiet)
        found[name] = [str(path), *(_unpacked(path) if arguments.unpack else [])]
    show({"paths": found}, "\n".join(path for paths in found.values() for path in paths), arguments.json)


def _listed() -> list[dict[str, Any]]:
    """A line for every file or group of files; a group's size is known if that of every file is."""
    from minirag.corpus.download import Source, sources

    groups: dict[str, list[Source]] = {}
    for name, source in sources().items():
        groups.setdefault(name.split("/")[0], []).append(source)
    listed = []
    for name, files in groups.items():
        sizes = [source.size for source in files if source.size is not None]
        what = files[0].what.rpartition(": ")[0] if len(files) > 1 else files[0].what
        size = sum(sizes) if len(sizes) == len(files) else None
        listed.append({"name": name, "files": len(files), "size": size, "licence": files[0].licence, "what": what})
    return listed


def _line(source: dict[str, Any]) -> str:
    size = "size unknown" if source["size"] is None else f"{source['size'] / 1e6:,.0f} MB"
    files = f", {source['files']} files" if source["files"] > 1 else ""
    return f"{source['name']} ({size}{files}; {source['licence']})\n    {source['what']}"


def _unpacked(path: Path) -> list[str]:
    from minirag.corpus.unpack import unpack

    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [str(unpack(file, file.parent)) for file in files if file.name.endswith(PACKED)]
