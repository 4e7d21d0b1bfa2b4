"""Wikipedia's own formats: dumps, articles with markup and KILT, by planted page and planted fault, and a real dump's head."""

import bz2
import gzip
import json
from collections import Counter
from itertools import islice
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.corpus import wikipedia as wikipedia_module
from minirag.corpus.passages import Article, split_articles
from minirag.corpus.rows import BadRows
from minirag.corpus.wikipedia import read_kilt, read_wiki_jsonl, read_xml_dump
from minirag.errors import MiniragError

# Dumps


def page(title="T", text="Some text.", ns="0", number=7, more="") -> str:
    return (
        f"<page><title>{escape(title)}</title><ns>{ns}</ns><id>{number}</id>{more}"
        f"<revision><id>99</id><contributor><username>U</username><id>98</id></contributor>"
        f"<text xml:space='preserve'>{escape(text)}</text></revision></page>"
    )


def dump(*pages: str) -> bytes:
    return f"<mediawiki xml:lang='en'><siteinfo><sitename>W</sitename></siteinfo>{''.join(pages)}</mediawiki>".encode()


@pytest.fixture
def written(tmp_path):
    def write(raw: bytes, name="dump.xml"):
        (tmp_path / name).write_bytes(raw)
        return tmp_path / name

    return write


@pytest.mark.parametrize("pack", [bytes, bz2.compress, gzip.compress])
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_pages_of_a_dump(written, monkeypatch, pack, chunk):
    monkeypatch.setattr(wikipedia_module, "CHUNK", chunk)
    raw = dump(
        page("A & <B>", "'''A''' is ''é''.", number=1),
        page("Old", "#REDIRECT [[A]]", number=2, more='<redirect title="A" />'),
        page("Talk:A", "chatter", ns="1", number=3),
        page("Index", "{{list}}", number=4),
        page("C", "c", number=5),
    )
    bad = BadRows()
    assert list(read_xml_dump(written(pack(raw)), bad)) == [Article("1", "A & <B>", 'A is "é".'), Article("5", "C", "c")]
    assert bad.passed_over == Counter({"redirect": 1, "other namespace": 1, "no prose": 1})


def test_streams_joined_in_one_bz2_are_all_read(written):
    raw = dump(page(number=1), page(number=2))
    assert len(list(read_xml_dump(written(bz2.compress(raw[:300]) + bz2.compress(raw[300:]))))) == 2


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), min_size=1))
@settings(max_examples=50)
def test_titles_survive_xml(tmp_path_factory, title):
    path = tmp_path_factory.getbasetemp() / "title.xml"
    path.write_bytes(dump(page(title + "x")))
    assert [article.title for article in read_xml_dump(path)] == [title + "x"]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (page(text=" "), "'text' is empty"),
        (page(title=""), "'title' is empty"),
        (page().replace("<title>T</title>", ""), "there is no 'title'"),
        (page().replace("<text xml:space='preserve'>Some text.</text>", ""), "there is no 'text'"),
        ("<page><title>T</title><ns>0</ns></page>", "there is no 'id'"),
    ],
)
def test_bad_pages(written, broken, why):
    path = written(dump(page("A", number=1), broken, page("B", number=3)))
    with pytest.raises(MiniragError, match=rf"dump\.xml, row 2: {why}"):
        list(read_xml_dump(path))
    bad = BadRows(skip=True)
    assert [article.id for article in read_xml_dump(path, bad)] == ["1", "3"]
    assert (bad.total, bad.examples[0].row) == (1, 2)


BOMB = b'<!DOCTYPE m [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>' + dump(page()).replace(b"Some text.", b"&b;")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (BOMB, "declares a document type"),
        (b'<!DOCTYPE mediawiki SYSTEM "file:///etc/passwd">' + dump(page()), "declares a document type"),
        (b"<html><page/></html>", "holds <html> where a MediaWiki dump holds <mediawiki>"),
        (dump(page())[:-12], "is broken or unfinished XML .*no element found"),
        (dump(page())[:-40], "is broken or unfinished XML"),
        (dump(page(), "</oops>"), "is broken or unfinished XML .*mismatched tag: line 1"),
        (dump(page()).replace(b"Some text.", b"\xff\xfe"), "is broken or unfinished XML .*invalid token"),
        (dump(page()).replace(b"Some text.", b"&undefined;"), "is broken or unfinished XML .*undefined entity"),
        (b"", "is broken or unfinished XML"),
        (b"title,text\na,b\n", "is broken or unfinished XML"),
        (bz2.compress(dump(page()))[:-8], "is cut short or damaged after page 0"),
        (gzip.compress(dump(page()))[:-8], r"is cut short or damaged after page \d"),
    ],
)
def test_broken_dumps_are_refused_even_when_skipping(written, raw, why):
    with pytest.raises(MiniragError, match=rf"dump\.xml {why}"):
        list(read_xml_dump(written(raw), BadRows(skip=True)))


def test_altered_archives_are_refused(written):
    packed = gzip.compress(dump(*(page(f"Title {n}", f"text {n * n}") for n in range(100))))
    for at in range(20, len(packed), 97):
        altered = packed[:at] + bytes(byte ^ 0xFF for byte in packed[at : at + 9]) + packed[at + 9 :]
        with pytest.raises(MiniragError, match=r"dump\.xml is (cut short or damaged|broken or unfinished)"):
            list(read_xml_dump(written(altered), BadRows(skip=True)))


def test_pages_come_before_the_dump_is_read_to_its_end(written):
    """Bounded memory: the first page is handed on although the dump breaks off a few chunks later."""
    raw = dump(page(number=1), *(page(text="word " * 50_000) for _ in range(20)))[:-100]
    articles = read_xml_dump(written(raw))
    assert next(articles).id == "1"
    with pytest.raises(MiniragError, match="unfinished"):
        list(articles)


@pytest.mark.shared
def test_the_head_of_a_real_dump(shared):
    bad = BadRows()
    articles = list(islice(read_xml_dump(shared / "mediawiki" / "gensim-enwiki-shortened.xml.bz2", bad), 12))
    assert [(article.id, article.title) for article in articles[:3]] == [
        ("12", "Anarchism"),
        ("25", "Autism"),
        ("39", "Albedo"),
    ]
    assert articles[0].text.startswith("Anarchism is a political philosophy that advocates self-governed societies")
    assert bad.passed_over["redirect"] > 0
    for article in articles:
        assert not any(mark in article.text for mark in ("{{", "[[", "<ref", "''", "{|", "\n*", "\n=", "\n|"))
    passages = list(split_articles(articles))
    assert len(passages) > 300
    assert {len(passage.text.split()) for passage in passages} == {100}


# Articles as JSON lines, and KILT


def lines(*rows: dict) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


def test_articles_with_markup(written):
    path = written(
        lines(
            {"title": "A", "text": "'''A''' is.\n== B =="},
            {"title": "L", "text": "* item"},
            {"id": 5, "title": "C", "text": "c"},
        )
    )
    bad = BadRows()
    assert list(read_wiki_jsonl(path, bad)) == [Article("1", "A", "A is."), Article("5", "C", "c")]
    assert bad.passed_over == Counter({"no prose": 1})


KILT = {
    "wikipedia_id": "290",
    "wikipedia_title": "A",
    "text": ["A\n", "A is the first letter.\n", "Section::::History.\n", "It is old.\n", "BULLET::::- an item\n", " \n"],
}


def test_kilt(written):
    bad = BadRows()
    path = written(lines(KILT, {**KILT, "text": ["A\n", "Section::::Only.\n"]}, {**KILT, "text": ["First.", "A"]}))
    assert list(read_kilt(path, bad)) == [
        Article("290", "A", "A is the first letter.\nIt is old."),
        Article("290", "A", "First.\nA"),  # only the first paragraph is taken for the title
    ]
    assert bad.passed_over == Counter({"no prose": 1})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"text": "A"}, "'text' should be a list of paragraphs"),
        ({"text": []}, "'text' should be a list of paragraphs"),
        ({"text": ["A", 3]}, "paragraph 1 should be text but is int"),
        ({"text": ["half \ud800"]}, "not UTF-8"),
        ({"wikipedia_id": 290}, "'wikipedia_id' should be text but is int"),
        ({"wikipedia_title": ""}, "'wikipedia_title' is empty"),
    ],
)
def test_bad_kilt_rows(written, change, why):
    path = written(lines(KILT, {**KILT, **change}, KILT))
    with pytest.raises(MiniragError, match=rf"row 2: .*{why}"):
        list(read_kilt(path))
    bad = BadRows(skip=True)
    assert len(list(read_kilt(path, bad))) == 2
    assert (bad.total, bad.examples[0].row) == (1, 2)


def test_missing_keys_of_kilt(written):
    for key in KILT:
        row = {name: value for name, value in KILT.items() if name != key}
        with pytest.raises(MiniragError, match=f"row 1: .*'{key}'"):
            list(read_kilt(written(lines(row))))
