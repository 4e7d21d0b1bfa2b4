"""What the tests past one machine share: real passages and questions that are quickly at hand."""

from pathlib import Path

from minirag.corpus.miniwiki.prose import load_prose
from minirag.corpus.passages import Article, split_articles
from minirag.corpus.store import PassageStore


def prose(folder: Path) -> tuple[PassageStore, list[str]]:
    """MiniWiki's prose in passages of 40 words, and what is asked about it."""
    articles = load_prose()
    passages = split_articles((Article(article.id, article.title, article.text) for article in articles), words=40)
    return PassageStore.write(folder, passages), [asked.question for article in articles for asked in article.questions]
