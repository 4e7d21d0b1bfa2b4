"""MiniWiki: a small encyclopedia of true facts that ships with the package, and examples for all of the paper's tasks.

It stands in for Wikipedia and the published data sets where those are too large: `data/miniwiki` holds facts (one CSV a
domain), the ways to tell them (one TOML a domain), prose (one TOML an article) and dated offices; articles and examples are
made from them, the same bytes on every machine. In the order of the data:

    tables.py facts.py phrasings.py prose.py  read and checked       values.py english.py   styles, grammar
    pages.py telling.py articles.py  facts become sentences, pages   snapshots.py           dated offices
    splits.py examples.py            what is for training            questions.py clues.py claims.py
    graph.py dossier.py              where each fact is told         wiki.py publish.py     all of it, and its files
"""

from minirag.corpus.miniwiki.examples import Example
from minirag.corpus.miniwiki.facts import Domain, Entity, Fact, Links, Value, facts_of, load_domains
from minirag.corpus.miniwiki.publish import checksums, publish, renew_checksums
from minirag.corpus.miniwiki.splits import SPLITS, fact_key
from minirag.corpus.miniwiki.wiki import TASKS, MiniWiki

__all__ = [
    "SPLITS",
    "TASKS",
    "Domain",
    "Entity",
    "Example",
    "Fact",
    "Links",
    "MiniWiki",
    "Value",
    "checksums",
    "fact_key",
    "facts_of",
    "load_domains",
    "publish",
    "renew_checksums",
]
