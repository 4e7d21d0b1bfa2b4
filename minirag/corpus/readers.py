"""Readers of passages already cut (`psgs_w100.tsv`) and of one's own texts, both as streams that account for every bad row."""

from collections.abc import Iterator
from pathlib import Path

from minirag.corpus.passages import Article, Passage
from minirag.corpus.rows import BadRows, RowError, json_rows, made_of, table_rows, text_of
from minirag.errors import MiniragError

DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_passages_tsv(path: str | Path, bad: BadRows | None = None) -> Iterator[Passage]:
    """Passages of a file laid out as `psgs_w100.tsv`: tab-separated id, text and title under that header, text in quotes.

    Without `bad` the first bad row stops with a `MiniragError`; see `rows.py` for what counts as one.
    """

    def passage(row: dict[str, object], number: int) -> Passage:
        return Passage(text_of(row, "id"), text_of(row, "title"), text_of(row, "text"))

    bad = BadRows() if bad is None else bad
    return made_of(path, table_rows(path, "\t", ("id", "text", "title"), bad), passage, bad)


def read_texts(path: str | Path, bad: BadRows | None = None) -> Iterator[Article]:
    """One's own knowledge base: JSON lines (`.jsonl`) or a table with a header (`.csv`, `.tsv`) of `title` and `text`.

    An `id` is taken where there is one, else the row's number stands for it; other columns are ignored. Also compressed
    (`.csv.gz`, `.jsonl.bz2`). Raises `MiniragError` for any other kind of file.
    """

    def article(row: dict[str, object], number: int) -> Article:
        return Article(id_of(row, number), text_of(row, "title"), text_of(row, "text"))

    bad = BadRows() if bad is None else bad
    kind = Path(str(path).removesuffix(".gz").removesuffix(".bz2")).suffix.lower()
    if kind in DELIMITERS:
        return made_of(path, table_rows(path, DELIMITERS[kind], ("title", "text"), bad), article, bad)
    if kind == ".jsonl":
        return made_of(path, json_rows(path, bad), article, bad)
    raise MiniragError(f"{path} is neither .jsonl, .csv nor .tsv (nor one of these compressed); rename or convert it")


def id_of(row: dict[str, object], number: int) -> str:
    """The row's own `id`, text or a whole number, or the row's number where it has none. Raises `RowError` for other types."""
    own = row.get("id", number)
    if isinstance(own, int) and not isinstance(own, bool):
        return str(own)
    if isinstance(own, str):
        return text_of(row, "id")
    raise RowError(f"'id' should be text or a whole number but is {type(own).__name__}")
