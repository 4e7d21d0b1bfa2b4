"""Wikipedia in the forms in which it is published, each read as a stream of articles in plain prose.

`read_xml_dump` reads what dumps.wikimedia.org offers (the paper's corpus is the dump of 20 December 2018), `read_wiki_jsonl`
articles with their markup left in, `read_kilt` the knowledge source of Petroni et al. 2021, made from a dump of August 2019.
"""

from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

from minirag.corpus.markup import clean_markup
from minirag.corpus.passages import Article
from minirag.corpus.readers import id_of
from minirag.corpus.rows import DAMAGED, BadRows, RowError, cut_short, json_rows, made_of, open_bytes, text_of
from minirag.errors import MiniragError

CHUNK = 1 << 20  # bytes of XML handed to the parser at a time
NO_PROSE = ("Section::::", "BULLET::::")  # how KILT marks headings and list items


def read_xml_dump(path: str | Path, bad: BadRows | None = None) -> Iterator[Article]:
    """Articles of a MediaWiki XML dump (plain, .bz2 or .gz), one page in memory at a time.

    Redirects, pages outside namespace 0 and pages without prose are counted in `bad.passed_over`; a page without title, id or
    text is a bad row, its row being its number among the pages. Raises `MiniragError` where the XML is broken, cut short,
    no dump, or declares a document type (a dump never does, and entities declared there can expand without bound).
    """

    def article(page: dict[str, object], number: int) -> Article:
        return Article(text_of(page, "id"), text_of(page, "title"), clean_markup(text_of(page, "text")))

    bad = BadRows() if bad is None else bad
    return _with_prose(made_of(path, _articles_only(_pages(path), bad), article, bad), bad)


def read_wiki_jsonl(path: str | Path, bad: BadRows | None = None) -> Iterator[Article]:
    """Articles of a JSON-lines file whose `text` is wiki markup; the `id` is the row's own or its number."""

    def article(row: dict[str, object], number: int) -> Article:
        return Article(id_of(row, number), text_of(row, "title"), clean_markup(text_of(row, "text")))

    bad = BadRows() if bad is None else bad
    return _with_prose(made_of(path, json_rows(path, bad), article, bad), bad)


def read_kilt(path: str | Path, bad: BadRows | None = None) -> Iterator[Article]:
    """Articles of KILT's knowledge source: `wikipedia_id`, `wikipedia_title`, and `text`, a list of paragraphs.

    Headings and list items go, as does the first paragraph where it merely repeats the title.
    """
    bad = BadRows() if bad is None else bad
    return _with_prose(made_of(path, json_rows(path, bad), _kilt_article, bad), bad)


def _kilt_article(row: dict[str, object], number: int) -> Article:
    title, paragraphs = text_of(row, "wikipedia_title"), row.get("text")
    if not isinstance(paragraphs, list) or not paragraphs:
        raise RowError("'text' should be a list of paragraphs")
    kept = []
    for position, paragraph in enumerate(paragraphs):
        if not isinstance(paragraph, str):
            raise RowError(f"paragraph {position} should be text but is {type(paragraph).__name__}")
        repeats_title = position == 0 and paragraph.strip() == title.strip()
        if paragraph.strip() and not paragraph.startswith(NO_PROSE) and not repeats_title:
            kept.append(text_of({"text": paragraph}, "text").strip())
    return Article(text_of(row, "wikipedia_id"), title, "\n".join(kept))


def _with_prose(articles: Iterator[Article], bad: BadRows) -> Iterator[Article]:
    for article in articles:
        if article.text:
            yield article
        else:
            bad.passed_over["no prose"] += 1


def _articles_only(pages: Iterator[dict[str, object]], bad: BadRows) -> Iterator[tuple[int, dict[str, object]]]:
    for number, page in enumerate(pages, start=1):
        if page.get("ns", "0") != "0":
            bad.passed_over["other namespace"] += 1
        elif "redirect" in page:
            bad.passed_over["redirect"] += 1
        else:
            yield number, page


def _pages(path: str | Path) -> Iterator[dict[str, object]]:
    """Every page of a dump as its fields by element name. Raises `MiniragError` as `read_xml_dump` says."""
    pages = _PageParser(path)
    with open_bytes(path) as file:
        while True:
            try:
                chunk = file.read(CHUNK)
                pages.parser.Parse(chunk, not chunk)
            except expat.ExpatError as error:
                raise MiniragError(f"{path} is broken or unfinished XML ({error}); fetch it again") from None
            except DAMAGED as error:
                raise cut_short(path, f"page {pages.count}", error) from error
            yield from pages.complete
            pages.complete.clear()
            if not chunk:
                return


class _PageParser:
    """Collects the fields of each <page>: the first id is the page's own, later ones belong to its revision and author."""

    FIELDS = frozenset({"title", "ns", "id", "redirect", "text"})

    def __init__(self, path: str | Path) -> None:
        self.path, self.count = path, 0
        self.complete: list[dict[str, object]] = []
        self.page: dict[str, object] | None = None
        self.field: str | None = None
        self.pieces: list[str] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype
        self.parser.StartElementHandler = self._check_root
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters

    def _refuse_doctype(self, *_: object) -> None:
        raise MiniragError(
            f"{self.path} declares a document type, which no MediaWiki dump does; use a dump from a source you trust"
        )

    def _check_root(self, name: str, _: dict[str, str]) -> None:
        if name != "mediawiki":
            raise MiniragError(f"{self.path} holds <{name}> where a MediaWiki dump holds <mediawiki>; check the file")
        self.parser.StartElementHandler = self._start

    def _start(self, name: str, _: dict[str, str]) -> None:
        if name == "page":
            self.page = {}
        elif self.page is not None and name in self.FIELDS and name not in self.page:
            self.field, self.pieces = name, []

    def _characters(self, data: str) -> None:
        if self.field is not None:
            self.pieces.append(data)

    def _end(self, name: str) -> None:
        if self.page is None:
            return
        if name == self.field:
            self.page[name] = "".join(self.pieces)
            self.field = None
        elif name == "page":
            self.count += 1
            self.complete.append(self.page)
            self.page = None
