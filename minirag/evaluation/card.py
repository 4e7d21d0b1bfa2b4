"""MiniWiki's data card: its sizes, and how hard its test sets are for BM25."""

from collections.abc import Mapping
from typing import Any

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.stats import by_domain, examples, sizes
from minirag.retrieval.bm25 import BM25Index
from minirag.tasks.metrics import answer_recall, has_answer

KS = (1, 5, 20)
_BY_EVIDENCE = ("fever", "msmarco")  # what counts is a passage that tells the fact; elsewhere, one that holds an answer


def figures(wiki: MiniWiki) -> dict[str, Any]:
    """All figures of the card."""
    return {"sizes": sizes(wiki), "domains": by_domain(wiki), "examples": examples(wiki), "bm25": bm25_recall(wiki)}


def bm25_recall(wiki: MiniWiki) -> dict[str, dict[str, float]]:
    """Top-1, 5 and 20 recall of BM25 on every test set, in percent, by task and split ("test" or "prose").

    A passage is right if it holds an answer; for claims and full-sentence answers, if it is one of those that tell the fact.
    """
    index = BM25Index()
    index.add(wiki.passages)
    table = {}
    for task in wiki.examples:
        for split, made in wiki.by_split(task).items():
            asked = [example for example in made if wiki.all_places_of(example)]
            if split in ("train", "dev") or not asked:
                continue
            _, found = index.search([example.text for example in asked], max(KS))
            ranks = []
            for example, rows in zip(asked, found.tolist(), strict=True):
                telling = {id for place in wiki.all_places_of(example) for id in place.passages}
                hits = (
                    wiki.passages[row].id in telling
                    if task in _BY_EVIDENCE
                    else has_answer(wiki.passages[row].text, example.answers)
                    for row in rows
                    if row >= 0
                )
                ranks.append(next((rank for rank, hit in enumerate(hits, 1) if hit), None))
            recall = answer_recall(ranks, KS)
            table[f"{task}, {split}"] = {f"top {k}": round(100 * recall[k], 1) for k in KS} | {"questions": len(asked)}
    return table


def markdown(made: Mapping[str, Any]) -> str:
    """The figures as the tables of the card."""
    parts = [_rows(("", ""), [(name, f"{count:,}") for name, count in made["sizes"].items()])]
    for key, first in (("domains", "domain"), ("examples", "task"), ("bm25", "BM25, percent")):
        table = made[key]
        columns = list(dict.fromkeys(column for row in table.values() for column in row))
        rows = [(name, *(_cell(row.get(column)) for column in columns)) for name, row in table.items()]
        parts.append(_rows((first, *columns), rows))
    return "\n\n".join(parts)


def _rows(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(value: float | int | None) -> str:
    return "" if value is None else f"{value:,}"
