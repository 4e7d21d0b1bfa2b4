"""Readers of tables and JSON lines: round trips against csv and pyarrow, and one planted fault for every check."""

import bz2
import csv
import gzip
import io
import json

import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.corpus import rows as rows_module
from minirag.corpus.passages import Article, Passage
from minirag.corpus.readers import read_passages_tsv, read_texts
from minirag.corpus.rows import BadRow, BadRows
from minirag.errors import MiniragError

HEADER = b"id\ttext\ttitle\n"
GOOD = b'1\t"one ""quoted"" text"\tOne\n'
LAST = b'9\t"last text"\tLast\n'
# No surrogates (no UTF-8) and nothing blank, which is refused; otherwise any character, with csv's own ones made likely.
TEXT = st.text(st.one_of(st.sampled_from('"\t\n\r, a'), st.characters(codec="utf-8")), min_size=1, max_size=30).filter(
    str.strip
)


def written(path, raw: bytes):
    path.write_bytes(raw)
    return path


def as_tsv(passages: list[Passage]) -> bytes:
    buffer = io.StringIO()
    table = csv.writer(buffer, delimiter="\t", quoting=csv.QUOTE_ALL)
    table.writerow(["id", "text", "title"])
    table.writerows([passage.id, passage.text, passage.title] for passage in passages)
    return buffer.getvalue().encode()


# Sound files


def test_hand_case(tmp_path):
    path = written(tmp_path / "psgs.tsv", HEADER + GOOD + b'2\t"two"\t"Ron ""Amen-Ra"" Lawrence"\n')
    assert list(read_passages_tsv(path)) == [
        Passage("1", "One", 'one "quoted" text'),
        Passage("2", 'Ron "Amen-Ra" Lawrence', "two"),
    ]


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=5))
@settings(max_examples=150)
def test_what_csv_writes_is_read_back(tmp_path_factory, rows):
    passages = [Passage(*row) for row in rows]
    path = written(tmp_path_factory.getbasetemp() / "trip.tsv", as_tsv(passages))
    assert list(read_passages_tsv(path)) == passages


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
@settings(max_examples=50)
def test_json_lines_are_read_back(tmp_path_factory, rows):
    lines = [json.dumps({"title": title, "text": text}) for title, text in rows]
    path = written(tmp_path_factory.getbasetemp() / "trip.jsonl", "\n".join(lines).encode())
    assert list(read_texts(path)) == [Article(str(n), title, text) for n, (title, text) in enumerate(rows, start=1)]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_compression_is_seen_whatever_the_name(tmp_path, pack):
    path = written(tmp_path / "psgs.tsv", pack(HEADER + GOOD))
    assert [passage.id for passage in read_passages_tsv(path)] == ["1"]


def test_columns_in_another_order_crlf_and_byte_order_mark(tmp_path):
    path = written(tmp_path / "own.csv", '\ufeffextra,text,title\r\nx,"a\r\nb",T\r\n\r\ny,c,U'.encode())
    assert list(read_texts(path)) == [Article("2", "T", "a\r\nb"), Article("5", "U", "c")]


def test_ids_of_ones_own(tmp_path):
    lines = [{"id": "a7"}, {"id": 12}, {}]
    raw = "\n\n".join(json.dumps({"title": "T", "text": "t", **line}) for line in lines)
    assert [article.id for article in read_texts(written(tmp_path / "own.jsonl", raw.encode()))] == ["a7", "12", "5"]


def test_long_fields_are_no_fault(tmp_path):
    path = written(tmp_path / "own.csv", b'title,text\nT,"' + b"word " * 100_000 + b'"\n')
    assert [len(article.text) for article in read_texts(path)] == [500_000]


@pytest.mark.shared
def test_the_published_slice_as_csv_and_pyarrow_read_it(shared):
    path = shared / "wikipedia" / "psgs_w100_slice.tsv.gz"
    ours = [(passage.id, passage.text, passage.title) for passage in read_passages_tsv(path)]
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        assert ours == [tuple(row) for row in csv.reader(file, delimiter="\t")][1:]
    everything_is_text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(("id", "text", "title"), pyarrow.string()))
    table = pyarrow.csv.read_csv(
        path, parse_options=pyarrow.csv.ParseOptions(delimiter="\t"), convert_options=everything_is_text
    )
    assert ours == list(zip(*(table[name].to_pylist() for name in ("id", "text", "title")), strict=True))


# Planted faults, each between two sound rows: named when strict, counted and passed when skipping.

TSV_FAULTS = {
    "too few columns": (b'2\t"two"\n', "2 columns where the header has 3"),
    "too many columns": (b'2\t"two"\tTwo\tmore\n', "4 columns where the header has 3"),
    "text after a closing quote": (b'2\t"two" and\tTwo\n', "bad quotes"),
    "a quote never closed": (b'2\t"two\tTwo\n', "bad quotes"),
    "not UTF-8": (b'2\t"tw\xff"\tTwo\n', "'text' holds bytes that are not UTF-8"),
    "half of a character": (b'2\t"two"\tTw\xc3\n', "'title' holds bytes that are not UTF-8"),
    "no title": (b'2\t"two"\t\n', "'title' is empty"),
    "blank text": (b'2\t"  "\tTwo\n', "'text' is empty"),
    "no id": (b'\t"two"\tTwo\n', "'id' is empty"),
}


@pytest.mark.parametrize(("fault", "why"), TSV_FAULTS.values(), ids=TSV_FAULTS.keys())
def test_bad_table_rows(tmp_path, fault, why):
    path = written(tmp_path / "psgs.tsv", HEADER + GOOD + fault + LAST)
    with pytest.raises(MiniragError, match=rf"psgs\.tsv, row 3: .*{why}.*; mend the row, or skip bad rows"):
        list(read_passages_tsv(path))
    bad = BadRows(skip=True)
    assert [passage.id for passage in read_passages_tsv(path, bad)] == ["1", "9"]
    assert bad.total == 1
    assert (bad.examples[0].file, bad.examples[0].row) == (str(path), 3)
    assert why in bad.examples[0].why


JSON_FAULTS = {
    "no JSON": (b'{"title": "T", "text"\n', "not a line of JSON"),
    "no object": (b"[1, 2]\n", "should be a JSON object but is list"),
    "no title": (b'{"text": "t"}\n', "there is no 'title'"),
    "a number for text": (b'{"title": "T", "text": 3}\n', "'text' should be text but is int"),
    "null": (b'{"title": null, "text": "t"}\n', "'title' should be text but is NoneType"),
    "blank": (b'{"title": "T", "text": "\\n"}\n', "'text' is empty"),
    "not UTF-8": (b'{"title": "T", "text": "\xe9t\xe9"}\n', "not UTF-8"),
    "half a pair": (b'{"title": "T", "text": "\\ud800"}\n', "not UTF-8"),
    "a list for id": (b'{"id": [1], "title": "T", "text": "t"}\n', "'id' should be text or a whole number but is list"),
    "a truth for id": (b'{"id": true, "title": "T", "text": "t"}\n', "'id' should be text or a whole number but is bool"),
    "nested without end": (b"[" * 100_000 + b"\n", "not a line of JSON"),
}


@pytest.mark.parametrize(("fault", "why"), JSON_FAULTS.values(), ids=JSON_FAULTS.keys())
def test_bad_json_rows(tmp_path, fault, why):
    good = b'{"title": "T", "text": "t"}\n'
    path = written(tmp_path / "own.jsonl", good + fault + good)
    with pytest.raises(MiniragError, match=rf"own\.jsonl, row 2: .*{why}"):
        list(read_texts(path))
    bad = BadRows(skip=True)
    assert [article.id for article in read_texts(path, bad)] == ["1", "3"]
    assert (bad.total, bad.examples[0].row) == (1, 2)


def test_rows_are_numbered_by_the_lines_they_begin_on(tmp_path):
    path = written(tmp_path / "own.csv", b'title,text\nA,"one\ntwo\nthree"\nB,\nC,"x\ny",z\nD,"four"\n')
    bad = BadRows(skip=True)
    assert [article.id for article in read_texts(path, bad)] == ["2", "8"]
    assert [(each.row, each.why[:9]) for each in bad.examples] == [(5, "'text' is"), (6, "3 columns")]


def test_an_unclosed_quote_costs_its_own_row_even_at_the_end(tmp_path):
    rows = b"".join(b'%d\t"text"\tT\n' % n for n in range(50))
    bad = BadRows(skip=True)
    path = written(tmp_path / "psgs.tsv", HEADER + b'x\t"open\tX\n' + rows + b'y\t"open')
    assert [passage.id for passage in read_passages_tsv(path, bad)] == [str(n) for n in range(50)]
    assert [each.row for each in bad.examples] == [2, 53]


def test_an_unclosed_quote_is_not_followed_through_the_whole_file(tmp_path, monkeypatch):
    read = []

    def lines_one_by_one(path):
        for line in ["id\ttext\ttitle\n", 'x\t"open\tX\n'] + ["1\ttext\tT\n"] * 20:
            read.append(line)
            yield line

    monkeypatch.setattr(rows_module, "LONGEST_RECORD", 5)
    monkeypatch.setattr(rows_module, "text_lines", lines_one_by_one)
    bad = BadRows(skip=True)
    passages = read_passages_tsv("psgs.tsv", bad)
    assert next(passages) == Passage("1", "T", "text")
    assert len(read) == 6
    assert len(list(passages)) == 19
    assert (bad.total, bad.examples[0].row) == (1, 2)


@given(st.binary(max_size=80), st.integers(0, 3))
@settings(max_examples=300)
def test_no_row_is_lost_whatever_the_bytes(tmp_path_factory, junk, at):
    """Arbitrary bytes between sound rows: all sound rows are read, and every line is either a passage or counted as bad."""
    sound = [b'sound %d\t"text"\tT\n' % n for n in range(4)]
    junk = junk.replace(b'"', b"") + b"\n"
    path = written(tmp_path_factory.getbasetemp() / "junk.tsv", HEADER + b"".join([*sound[:at], junk, *sound[at:]]))
    bad = BadRows(skip=True)
    ids = [passage.id for passage in read_passages_tsv(path, bad)]
    assert [each for each in ids if each.startswith("sound ")] == [f"sound {n}" for n in range(4)]
    lines = path.read_bytes().decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert len(ids) + bad.total == sum(line != "" for line in lines) - 1


def test_all_are_counted_and_the_first_listed():
    bad = BadRows(skip=True)
    for row in range(rows_module.EXAMPLES + 30):
        bad.add("f", row, "why")
    assert bad.total == rows_module.EXAMPLES + 30
    assert bad.examples == [BadRow("f", row, "why") for row in range(rows_module.EXAMPLES)]
    assert str(bad.examples[0]) == "f, row 0: why"


# Files that are wrong as a whole: refused even when skipping, since nobody knows what is missing.


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_damaged_archives(tmp_path, pack):
    packed = pack(HEADER + b"".join(b'%d\t"text %d"\tTitle %d\n' % (n, n * n, n) for n in range(1000)))
    cut = [packed[:at] for at in (30, len(packed) // 2, len(packed) - 9)]
    altered = [
        packed[:at] + bytes(byte ^ 0xFF for byte in packed[at : at + 9]) + packed[at + 9 :] for at in range(20, 2000, 97)
    ]
    for damaged in cut + altered:
        path = written(tmp_path / "psgs.tsv.packed", damaged)
        with pytest.raises(MiniragError, match=r"packed(, row 1: the header | is cut short or damaged after line \d+ )"):
            list(read_passages_tsv(path, BadRows(skip=True)))


@pytest.mark.parametrize(
    "header",
    [b"", b"\n", b"id\ttext\n", b"id,text,title\n", b'"id\ttext\ttitle\n', b"id\ttext\ttitle\ttext\n", b"\x93NUMPY\x01"],
)
def test_foreign_headers(tmp_path, header):
    path = written(tmp_path / "psgs.tsv", header)
    with pytest.raises(MiniragError, match=r"psgs\.tsv, row 1: the header "):
        list(read_passages_tsv(path, BadRows(skip=True)))


def test_missing_files_folders_and_unknown_kinds(tmp_path):
    with pytest.raises(MiniragError, match=r"cannot read .*nowhere\.tsv: No such file or directory; check the path"):
        list(read_passages_tsv(tmp_path / "nowhere.tsv"))
    with pytest.raises(MiniragError, match=r"cannot read .*: Is a directory"):
        list(read_passages_tsv(tmp_path))
    with pytest.raises(MiniragError, match=r"own\.docx is neither \.jsonl, \.csv nor \.tsv"):
        list(read_texts(tmp_path / "own.docx"))
