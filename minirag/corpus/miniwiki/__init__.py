"""MiniWiki: a small encyclopedia of true facts that ships with the package, and questions on it with known answers.

It stands in for Wikipedia and Natural Questions where those are too large: `data/miniwiki` holds the facts (one CSV a domain)
and the ways to tell them (one TOML a domain); articles and questions are rendered from them, the same bytes on every machine.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from minirag.corpus.miniwiki.articles import render
from minirag.corpus.miniwiki.facts import Domain, Entity, Fact, Links, Value, facts_of, load_domains, tokens
from minirag.corpus.miniwiki.phrasings import Overview, Phrasings, Relation
from minirag.corpus.miniwiki.questions import SPLITS, Question, fact_key, questions
from minirag.corpus.passages import Article, split_articles
from minirag.files import atomic_path, write_json
from minirag.paths import data_dir

__all__ = [
    "SPLITS",
    "Domain",
    "Entity",
    "Fact",
    "Links",
    "Overview",
    "Phrasings",
    "Question",
    "Relation",
    "Value",
    "articles",
    "checksums",
    "fact_key",
    "facts_of",
    "load_domains",
    "questions",
    "render",
    "renew_checksums",
    "stats",
    "write_questions",
]


def articles() -> list[Article]:
    """All articles of the shipped MiniWiki."""
    return render(load_domains())


def write_questions(folder: Path | str, domains: Sequence[Domain] | None = None) -> dict[str, Path]:
    """Write the questions (by default the shipped ones) to `{split}.jsonl` in `folder`: NQ-open's format, a few keys more."""
    paths = {split: Path(folder) / f"{split}.jsonl" for split in SPLITS}
    for split, lines in _question_files(load_domains() if domains is None else domains).items():
        with atomic_path(paths[split]) as temporary:
            temporary.write_bytes(lines)
    return paths


def stats(domains: Sequence[Domain]) -> dict[str, int]:
    """How large it all is: domains, entities, facts, articles, passages, words, vocabulary, questions in each split."""
    rendered = render(domains)
    sizes = {
        "domains": len(domains),
        "entities": sum(len(domain.entities) for domain in domains),
        "facts": sum(1 for _ in facts_of(domains)),
        "articles": len(rendered),
        "passages": sum(1 for _ in split_articles(rendered)),
        "words": sum(len(article.text.split()) for article in rendered),
        "vocabulary": len({token for article in rendered for token in tokens(article.text) if token.isalnum()}),
    }
    return sizes | {f"questions, {split}": len(asked) for split, asked in questions(domains).items()}


def checksums(domains: Sequence[Domain]) -> dict[str, str]:
    """SHA-256 of all passages and of each split's questions as written."""
    passages = hashlib.sha256()
    for passage in split_articles(render(domains)):
        passages.update(f"{passage.id}\t{passage.text}\t{passage.title}\n".encode())
    lines = _question_files(domains)
    return {"passages": passages.hexdigest()} | {split: hashlib.sha256(lines[split]).hexdigest() for split in SPLITS}


def renew_checksums() -> None:
    """Write the checksums of what is rendered now to `data/miniwiki/checksums.json`: after a change that was meant."""
    write_json(data_dir() / "miniwiki" / "checksums.json", checksums(load_domains()))


def _question_files(domains: Sequence[Domain]) -> dict[str, bytes]:
    keys = ("question", "answer", "id", "domain", "relation", "inverse")
    return {
        split: "".join(
            json.dumps({key: getattr(question, key) for key in keys}, ensure_ascii=False) + "\n" for question in asked
        ).encode()
        for split, asked in questions(domains).items()
    }
