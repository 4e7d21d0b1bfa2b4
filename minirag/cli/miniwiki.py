"""`minirag miniwiki`: the encyclopedia that ships: its figures, its files for all tasks, one of its articles."""

import argparse
from pathlib import Path

from minirag.cli.common import Commands, command, json_option, show

EXAMPLES = """
minirag miniwiki --stats
minirag miniwiki --out runs/miniwiki          # questions, claims, clues … in the published layouts
minirag miniwiki --show "Nile"                # an article, its passages, facts and questions
"""


def declare(commands: Commands) -> None:
    parser = command(commands, "miniwiki", "look at the encyclopedia that ships, or write its task files", EXAMPLES, run)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--stats", action="store_true", help="sizes, and what BM25 finds on each test set")
    what.add_argument("--out", type=Path, metavar="DIR", help="write task files, knowledge graph and snapshots here")
    what.add_argument("--show", metavar="TITLE", help="print an article with its passages, facts and questions")
    json_option(parser)


def run(arguments: argparse.Namespace) -> None:
    from minirag.corpus.miniwiki import MiniWiki, publish

    wiki = MiniWiki.load()
    if arguments.stats:
        from minirag.evaluation.card import figures, markdown

        made = figures(wiki)
        show(made, markdown(made), arguments.json)
    elif arguments.out:
        written = publish(arguments.out, wiki)
        show({"files": [str(path) for path in written]}, f"{arguments.out}: {len(written)} files", arguments.json)
    else:
        from minirag.corpus.miniwiki.dossier import dossier

        found = dossier(wiki, arguments.show)
        show(found.as_dict(), found.as_text(), arguments.json)
