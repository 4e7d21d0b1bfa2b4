"""MS MARCO's layouts read into the same, the subset of well-formed answers, and what is said about rows that are not."""

import gzip
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.publish import files
from minirag.corpus.rows import BadRows
from minirag.errors import MiniragError
from minirag.tasks import msmarco
from minirag.tasks.msmarco import Given, Marco, read_answers, read_given, read_msmarco
from minirag.tasks.openqa import Question

ROWS: list[dict[str, Any]] = [
    {
        "answers": ["A bulb"],
        "passages": [
            {"is_selected": 1, "url": "http://a", "passage_text": "A bulb gives light."},
            {"is_selected": 0, "url": "http://b", "passage_text": "Tulips grow from bulbs."},
        ],
        "query": " what gives light ",
        "query_id": 9,
        "query_type": "ENTITY",
        "wellFormedAnswers": ["A bulb gives light.", "Light is given by a bulb.", "A bulb gives light. "],
    },
    {
        "answers": ["No Answer Present."],
        "passages": [{"is_selected": 0, "url": "http://c", "passage_text": "Nothing."}],
        "query": "what is {\"odd\": [1",
        "query_id": 4,
        "query_type": "DESCRIPTION",
        "wellFormedAnswers": "[]",
    },
]  # fmt: skip
EXPECTED = Marco((Question("9", "what gives light", ("A bulb gives light.", "Light is given by a bulb.")),), without_answer=1)


def columns_of(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: {str(i): row[name] for i, row in enumerate(rows) if name in row} for name in names}


def lines_of(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def written(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_both_layouts_by_hand(tmp_path: Path, ending: str) -> None:
    texts = {
        "columns.json": json.dumps(columns_of(ROWS)),
        "indented.json": "\ufeff" + json.dumps(columns_of(ROWS), indent=2) + "\n\n",
        "rows.jsonl": lines_of(ROWS),
        "rows.json": lines_of(ROWS),  # known by what it holds
    }
    for name, text in texts.items():
        path = written(tmp_path / (name + ending), text)
        assert read_msmarco(path) == EXPECTED, name
        assert read_given(path) == {
            "9": (Given("A bulb gives light.", "http://a", True), Given("Tulips grow from bulbs.", "http://b", False)),
            "4": (Given("Nothing.", "http://c", False),),
        }, name


@pytest.mark.parametrize("none", ["[]", [], [""], [" "], ["No Answer Present."]])
def test_each_way_of_having_no_answer(tmp_path: Path, none: Any) -> None:
    rows = [ROWS[0], ROWS[1] | {"wellFormedAnswers": none}]
    assert read_msmarco(written(tmp_path / "x.json", json.dumps(columns_of(rows)))) == EXPECTED


def test_references_and_candidates(tmp_path: Path) -> None:
    rows = [{"query_id": 14043, "answers": ["sp2", "sp2 hybridization"]}, {"query_id": 1, "answers": [""]}]
    rows += [{"query_id": 14042, "answers": ["No Answer Present."]}, {"query_id": 2, "answers": []}]
    assert read_answers(written(tmp_path / "references.json", lines_of(rows))) == {
        "14043": ("sp2", "sp2 hybridization"),
        "1": ("",),
        "14042": ("No Answer Present.",),
        "2": (),
    }
    assert read_answers(written(tmp_path / "data.json", json.dumps(columns_of(ROWS))))["9"] == ("A bulb",)


text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=15).filter(str.strip)
row = st.fixed_dictionaries({"query": text, "wellFormedAnswers": st.just("[]") | st.lists(text, max_size=3)})


@settings(max_examples=60)
@given(st.lists(row, min_size=1, max_size=4), st.integers(1, 9), st.sampled_from([None, 1]), st.booleans())
def test_any_text_survives_either_layout(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], piece: int, indent: int | None, ascii: bool
) -> None:
    rows = [{"query_id": 10**i, "answers": [], **row} for i, row in enumerate(rows)]
    expected = {
        str(row["query_id"]): (row["query"].strip(), tuple(dict.fromkeys(map(str.strip, row["wellFormedAnswers"]))))
        for row in rows
        if row["wellFormedAnswers"] not in ("[]", [])
    }
    folder = tmp_path_factory.mktemp("marco")
    whole = json.dumps(columns_of(rows), indent=indent, ensure_ascii=ascii)
    paths = [written(folder / "x.json", whole), written(folder / "x.jsonl", lines_of(rows))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(msmarco, "PIECE", piece)
        for path in paths:
            if not expected:
                with pytest.raises(MiniragError, match="holds no well-formed answer"):
                    read_msmarco(path)
                continue
            found = read_msmarco(path)
            assert {one.id: (one.question, one.answers) for one in found.questions} == expected
            assert found.without_answer == len(rows) - len(expected)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def pieces_of(whole: str) -> dict[str, Any]:
    pieces = msmarco._Pieces(io.StringIO(whole))
    found = {key: pieces.value() for key in pieces.members()}
    if pieces.peek():
        raise ValueError
    return found


@given(st.dictionaries(st.text(max_size=5), values, max_size=4), st.integers(1, 9), st.sampled_from([None, 0, 3]))
@example({"a": 1.5e-7, "b": 1234, "c": -10, "d": True, "e": None}, 1, None)
def test_json_in_pieces_is_what_the_library_reads_whole(whole: dict[str, Any], piece: int, indent: int | None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(msmarco, "PIECE", piece)
        assert pieces_of(json.dumps(whole, indent=indent)) == whole


@settings(max_examples=300)
@given(st.data())
def test_json_in_pieces_is_refused_where_the_library_refuses_it(data: st.DataObject) -> None:
    whole = json.dumps(columns_of([{"a": "x", "b": [1, {}]}, {"a": 2.5}]))
    at = data.draw(st.integers(0, len(whole) - 1))
    broken = whole[:at] + data.draw(st.sampled_from(["", *'{}[]",:7 x'])) + whole[at + 1 :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(msmarco, "PIECE", 3)
        try:
            expected = json.loads(broken)
        except ValueError:
            with pytest.raises(ValueError):  # noqa: PT011
                pieces_of(broken)
        else:
            assert pieces_of(broken) == expected


def test_passages_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of four million characters is read in a fraction of that."""
    monkeypatch.setattr(msmarco, "PIECE", 1 << 16)
    passages = [{"is_selected": 0, "url": "u", "passage_text": "word " * 160}] * 10
    rows = [ROWS[0] | {"query_id": i, "passages": passages} for i in range(500)]
    path = written(tmp_path / "x.json", json.dumps(columns_of(rows)))
    assert path.stat().st_size > 4_000_000
    tracemalloc.start()
    try:
        assert len(read_msmarco(path).questions) == 500
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"query": None}, "'query' should be text but is NoneType"),
        ({"query": " "}, "'query' is empty"),
        ({"query": "\ud800"}, "'query' holds bytes that are not UTF-8"),
        ({"query_id": 9}, "the query id '9' stands in an earlier row, too"),
        ({"query_id": 4.5}, "'query_id' should be text but is float"),
        ({"query_id": True}, "'query_id' should be text but is bool"),
        ({"wellFormedAnswers": "[A bulb]"}, "'wellFormedAnswers' should be a list but is str"),
        ({"wellFormedAnswers": [7]}, "'wellFormedAnswers' should be text but is int"),
        ({"wellFormedAnswers": None}, "'wellFormedAnswers' should be a list but is NoneType"),
    ],
)
def test_a_bad_row_is_named_and_can_be_skipped(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    rows = [ROWS[0], ROWS[1] | change, ROWS[1]]
    for name, whole, number in (("x.json", json.dumps(columns_of(rows)), 1), ("x.jsonl", lines_of(rows), 2)):
        path = written(tmp_path / name, whole)
        with pytest.raises(MiniragError) as caught:
            read_msmarco(path)
        assert f"{path}, row {number}: {complaint}" in str(caught.value)
        bad = BadRows(skip=True)
        assert read_msmarco(path, bad) == EXPECTED
        assert bad.total == 1


def test_a_missing_cell_is_named(tmp_path: Path) -> None:
    for name in ("query", "query_id", "wellFormedAnswers"):
        whole = columns_of(ROWS)
        del whole[name]["1"]
        path = written(tmp_path / "x.json", json.dumps(whole))
        with pytest.raises(MiniragError, match=f"row 1: there is no '{name}'"):
            read_msmarco(path)
    evaluation = [{name: row[name] for name in ("query", "query_id", "passages")} for row in ROWS]
    with pytest.raises(MiniragError, match="those of MS MARCO's evaluation set are not public"):
        read_msmarco(written(tmp_path / "x.json", json.dumps(columns_of(evaluation))))


@pytest.mark.parametrize(
    ("passages", "complaint"),
    [
        (None, "'passages' should be a list but is NoneType"),
        (["text"], "'passages' should be objects"),
        ([{"is_selected": 2, "url": "u", "passage_text": "t"}], "'is_selected' is 0 or 1"),
        ([{"is_selected": 0, "url": "u"}], "there is no 'passage_text'"),
        ([{"is_selected": 0, "passage_text": "t"}], "there is no 'url'"),
    ],
)
def test_a_bad_passage_is_named(tmp_path: Path, passages: Any, complaint: str) -> None:
    path = written(tmp_path / "x.jsonl", lines_of([ROWS[1], ROWS[0] | {"passages": passages}]))
    with pytest.raises(MiniragError, match=f"row 2: .*{complaint}"):
        read_given(path)
    assert len(read_msmarco(path).questions) == 1, "passages are nothing to those who do not read them"


@pytest.mark.parametrize(
    ("whole", "complaint"),
    [
        ('{"query": {"0": "a"', "column 'query', row 0: from here it is not laid out in columns (a value has no end)"),
        ('{"query": {"0": "a" ', "column 'query', row 0: from here it is not laid out in columns ('the end' where"),
        ('{"query": {"0": "a", "1": "b', "column 'query', row 1: from here"),
        ('{"query": {"0": "a", "1": ?}}', "column 'query', row 1: from here"),
        ('{"query": {"0": "a", "x": "b"}}', "column 'query', row x: from here"),
        ('{"query": {"0": "a"}} {', "column 'query', row 0: from here"),
        ('{"query": {"0": "a"}, "answers": 5}', "column 'query', row 0: from here"),
        ('{"query": {"0": ' + "[" * 100_000 + "}}", "column 'query', row 0: from here"),
        ("[]", "row 1: should be a JSON object but is list"),
        ("{", "row 1: not a line of JSON"),
        ("{}", "row 1: there is no 'query_id'"),
        ('{"query": {}}', "holds no well-formed answer"),
        ("", "holds no well-formed answer"),
        (lines_of(ROWS[1:]), "holds no well-formed answer"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, whole: str, complaint: str) -> None:
    path = written(tmp_path / "x.json", whole)
    with pytest.raises(MiniragError) as caught:
        read_msmarco(path)
    assert str(path) in str(caught.value)
    assert complaint in str(caught.value)


def test_a_value_without_an_end_stops_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(msmarco, "PIECE", 10)
    monkeypatch.setattr(msmarco, "LARGEST_CELL", 100)
    file = io.StringIO('{"a": "' + "x" * 100_000)
    pieces = msmarco._Pieces(file)
    with pytest.raises(ValueError, match="Unterminated"):
        [pieces.value() for _ in pieces.members()]
    assert file.tell() < 500


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MiniragError, match="cannot read"):
        read_msmarco(tmp_path / "none.json")
    rows = [ROWS[0] | {"query_id": i, "query": f"{i * 7919 % 10007} {i}"} for i in range(3000)]
    for name, whole in (("x.json.gz", json.dumps(columns_of(rows))), ("x.jsonl.gz", lines_of(rows))):
        path = written(tmp_path / name, whole)
        path.write_bytes(path.read_bytes()[:-3000])
        with pytest.raises(MiniragError, match="cut short or damaged after"):
            read_msmarco(path)


def test_what_miniwiki_publishes(lands: MiniWiki, tmp_path: Path) -> None:
    published = dict(files(lands))
    for split, examples in lands.by_split("msmarco").items():
        path = tmp_path / f"{split}.json"
        path.write_bytes(published[f"msmarco/{split}.json"])
        found = read_msmarco(path)
        assert found.without_answer == 0
        assert [one.answers for one in found.questions] == [(each.sentence,) for each in examples]
        assert [one.question for one in found.questions] == [each.text.rstrip("?").lower() for each in examples]
        passages = read_given(path)
        assert list(passages) == [one.id for one in found.questions]
        assert all(any(each.is_selected for each in ten) for ten in passages.values())
        assert [answers[0] for answers in read_answers(path).values()] == [each.answers[0] for each in examples]
