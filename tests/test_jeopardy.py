"""Three layouts of Jeopardy's clues read into the same, what is cleaned, and what is said about rows that are not clues."""

import csv
import gzip
import html
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.publish import files
from minirag.corpus.rows import BadRows
from minirag.errors import MiniragError
from minirag.tasks import jeopardy as module
from minirag.tasks.jeopardy import clean, read_jeopardy
from minirag.tasks.openqa import Question

COLUMNS = ["round", "clue_value", "daily_double_value", "category", "comments", "answer", "question", "air_date", "notes"]


def written(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def j_archive(*clues: tuple[str, str], show: str = "4680") -> str:
    rest = {"category": "RIVERS", "air_date": "2004-12-31", "value": "$200", "round": "Jeopardy!", "show_number": show}
    return json.dumps([{**rest, "question": f"'{clue}'", "answer": answer} for clue, answer in clues])


def table(*clues: tuple[str, str], columns: list[str] = COLUMNS) -> str:
    """As published: no field is in quotes, and a quote at the edge of one has a backslash before it."""
    rows = [["1", "200", "0", "RIVERS", "", clue, answer, "2004-12-31", ""] for clue, answer in clues]
    return "".join("\t".join(row) + "\n" for row in (columns, *rows))


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_each_layout_by_hand(tmp_path: Path, ending: str) -> None:
    def read(name: str, text: str) -> list[tuple[str, str, tuple[str, ...]]]:
        return [(one.id, one.question, one.answers) for one in read_jeopardy(written(tmp_path / (name + ending), text))]

    aare, ode = ("It flows round Bern", "the Aare"), ("\\\"Ode\" on this \"river\\\"", "\\'Twas the \\\"Rhine\\\"")  # fmt: skip
    assert read("x.json", j_archive(aare, ode)) == [
        ("4680", "the Aare", ("It flows round Bern",)),
        ("4680-2", '\'Twas the "Rhine"', ('"Ode" on this "river"',)),
    ]
    assert read("x.tsv", table(aare, ode)) == [
        ("2", "the Aare", ("It flows round Bern",)),
        ("3", '\'Twas the "Rhine"', ('"Ode" on this "river"',)),
    ]
    older = ["round", "value", "daily_double", "category", "comments", "answer", "question", "air_date", "notes"]
    assert read("older.tsv", table(aare, columns=older)) == [("2", "the Aare", ("It flows round Bern",))]
    lines = "<s> Bern ||| Aare </s> ||| it flows round bern ||| the aare\n\n ||| no snippet ||| none\n"
    assert read("train.txt", lines) == [
        ("1", "the aare", ("it flows round bern",)),
        ("3", "none", ("no snippet",)),
    ]
    assert read("bom.json", "\ufeff" + j_archive(aare)) == read("x.json", j_archive(aare))


RAW: dict[str, Any] = {
    "id": 7,
    "category": "RIVERS",
    "air_date": "2004-12-31",
    "question": "It flows round <i>Bern</i>",
    "value": "$200",
    "answer": "the Aare",
    "round": "Jeopardy!",
    "show_number": "4680",
    "search_results": [{"url": "http://x", "title": "Aare", "snippet": "Bern ...", "related_links": None}],
}


def zipped(path: Path, **members: object) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return path


def test_searchqas_raw_files_are_a_clue_each(tmp_path: Path) -> None:
    without = {name: value for name, value in RAW.items() if name != "id"} | {
        "question": "'It flows round Ulm'",
        "answer": "Danube",
    }
    others = {"val/": b"", "__MACOSX/000003.json": b"\0", "val/.hidden.json": b"\0", "val/stats.txt": b"x"}
    path = zipped(tmp_path / "val.zip", **{"val/000002.json": without, "val/000001.json": RAW}, **others)
    assert read_jeopardy(path) == [
        Question("7", "the Aare", ("It flows round Bern",)),
        Question("000002", "Danube", ("It flows round Ulm",)),
    ]


@pytest.mark.parametrize(
    ("member", "complaint"),
    [
        (b"{", "row 2: b.json is not JSON"),
        (b"[" * 100_000, "row 2: b.json is not JSON"),
        ([RAW], "row 2: b.json should hold a JSON object but holds list"),
        (RAW | {"answer": ""}, "row 2: 'answer' is empty"),
        (RAW | {"question": None}, "row 2: 'question' should be text"),
        (RAW | {"id": [7]}, "row 2: 'id' should be"),
    ],
)
def test_a_bad_raw_file_is_named_and_can_be_skipped(tmp_path: Path, member: object, complaint: str) -> None:
    path = zipped(tmp_path / "x.zip", **{"a.json": RAW, "b.json": member})
    with pytest.raises(MiniragError) as caught:
        read_jeopardy(path)
    assert f"{path}, {complaint}" in str(caught.value)
    bad = BadRows(skip=True)
    assert len(read_jeopardy(path, bad)) == bad.total == 1


def test_archives_that_are_none_or_damaged_or_far_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MiniragError, match="does not exist"):
        read_jeopardy(tmp_path / "none.zip")
    with pytest.raises(MiniragError, match="holds no clue"):
        read_jeopardy(zipped(tmp_path / "empty.zip", **{"stats.txt": b"x"}))
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(MiniragError, match="cannot be unpacked at its table of contents"):
        read_jeopardy(tmp_path / "text.zip")
    path = zipped(tmp_path / "x.zip", **{"a.json": RAW})
    raw = bytearray(path.read_bytes())
    raw[60] ^= 255  # in the compressed clue
    (tmp_path / "bent.zip").write_bytes(raw)
    with pytest.raises(MiniragError, match=r"cannot be unpacked at a\.json"):
        read_jeopardy(tmp_path / "bent.zip")
    monkeypatch.setattr(module, "LARGEST_CLUE", 100)
    with pytest.raises(MiniragError, match=r"a\.json: has .* bytes, too many for one clue"):
        read_jeopardy(path)


def test_ids_are_of_one_clue_each(tmp_path: Path) -> None:
    clues = [*json.loads(j_archive(("a", "b"), ("c", "d"))), *json.loads(j_archive(("e", "f"), show="4681"))]
    path = written(tmp_path / "x.json", json.dumps([*clues, clues[0]]))
    assert [one.id for one in read_jeopardy(path)] == ["4680", "4680-2", "4681", "4680-3"]


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ('Seen <a href="http://x/a.jpg" target="_blank">here</a>, it is <i>tall</i>', "Seen here, it is tall"),
        ('Seen <A HREF="a" target="_blank">here</A> & there', "Seen here & there"),
        ("one<br />two<br>three", "one two three"),
        ("H<sub>2</sub>O &amp; R&amp;B &gt; R&D", "H2O & R&B > R&D"),
        ("&lt;i&gt; is a tag", "<i> is a tag"),
        ("5 < 6 > 4 <3", "5 < 6 > 4 <3"),
        ('Elmer\\\'s \\"Glue\\"', 'Elmer\'s "Glue"'),
        ("C:\\path \\n", "C:\\path \\n"),
        ("  two  \n spaces ", "two spaces"),
        ("'50s & '60s'", "'50s & '60s'"),
    ],
)
def test_what_is_cleaned_and_what_is_not(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@pytest.mark.parametrize("clue", ["'Tis the season'", "the '60s", "'", "said 'no'"])
def test_only_the_quotes_round_the_whole_go(tmp_path: Path, clue: str) -> None:
    (one,) = read_jeopardy(written(tmp_path / "x.json", j_archive((clue, "'x'"))))
    assert (one.question, one.answers) == ("'x'", (clue,))


text = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=20)
text = text.map(str.strip).filter(bool)


@settings(max_examples=60)
@given(st.lists(st.tuples(text, text), min_size=1, max_size=4))
@example([('"<b>\\"', "'&amp;'"), ("\\'", "a|b")])
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, clues: list[tuple[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("clues")

    def read(name: str, content: str) -> list[tuple[str, str]]:
        return [(*one.answers, one.question) for one in read_jeopardy(written(folder / name, content))]

    def marked_up(part: str) -> str:
        return html.escape(part, quote=False).replace('"', '\\"').replace("'", "\\'")

    spaced = [(" ".join(clue.split()), " ".join(answer.split())) for clue, answer in clues]
    assert read("x.json", j_archive(*[(marked_up(clue), marked_up(answer)) for clue, answer in clues])) == spaced

    quoted = io.StringIO()  # nobody has published one in quotes, but programs for tables write them
    writer = csv.writer(quoted, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["category", "answer", "question"])
    writer.writerows(["", *(part.replace('"', '\\"').replace("'", "\\'") for part in clue)] for clue in clues)
    assert read("x.tsv", quoted.getvalue()) == clues

    barless = [(clue.replace("|", "/"), answer.replace("|", "/")) for clue, answer in clues]
    lines = "".join(f"{answer} ||| {clue} | ||| {clue} ||| {answer}\n" for clue, answer in barless)
    assert read("x.txt", lines) == barless


CLUE: dict[str, Any] = json.loads(j_archive(("a", "b")))[0]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("x.json", json.dumps([CLUE, CLUE | {"answer": None}]), "row 2: 'answer' should be text but is NoneType"),
        ("x.json", json.dumps([CLUE, CLUE | {"question": "''"}]), "row 2: 'clue' is empty"),
        ("x.json", json.dumps([CLUE, CLUE | {"question": "'<a href=\"x\"> </a>'"}]), "row 2: 'clue' is empty"),
        ("x.json", json.dumps([CLUE, CLUE | {"answer": "<br />"}]), "row 2: 'answer' is empty"),
        ("x.json", json.dumps([CLUE, {"question": "'a'", "answer": "b"}]), "row 2: there is no 'show_number'"),
        ("x.json", json.dumps([CLUE, "'a'"]), "row 2: should be a JSON object but is str"),
        ("x.tsv", table(("a", "b"), ("c", " ")), "row 3: 'question' is empty"),
        ("x.tsv", table(("a", "b")) + "1\t200\n", "row 3: 2 columns where the header has 9"),
        ("x.tsv", table(("a", "b"), ('"c" d', "e")), "row 3: bad quotes"),
        ("x.txt", "s ||| c ||| a\nc ||| a\n", "row 2: should be 'snippets ||| clue ||| answer' but has 2 of these"),
        ("x.txt", "s ||| c ||| a\ns ||| ||| a\n", "row 2: 'clue' is empty"),
        ("x.txt", "s ||| c ||| a\ns ||| c |||\n", "row 2: 'answer' is empty"),
    ],
)
def test_a_bad_row_is_named_and_can_be_skipped(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    path = written(tmp_path / name, content)
    with pytest.raises(MiniragError) as caught:
        read_jeopardy(path)
    assert f"{path}, {complaint}" in str(caught.value)
    bad = BadRows(skip=True)
    assert len(read_jeopardy(path, bad)) == 1
    assert bad.total == 1


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("x.json", "[", "is not JSON"),
        ("x.json", "[" * 100_000, "is not JSON"),
        ("x.json", json.dumps(CLUE), "should hold a list of clues"),
        ("x.json", "[]", "holds no clue"),
        ("x.tsv", table(), "holds no clue"),
        ("x.tsv", "clue\tresponse\na\tb\n", "row 1: the header should name the columns category, answer, question"),
        ("x.txt", "\n", "holds no clue"),
        ("x.csv", table(("a", "b")), "ends in '.csv'; files of clues end in .json, .tsv, .txt"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    path = written(tmp_path / name, content)
    with pytest.raises(MiniragError) as caught:
        read_jeopardy(path)
    assert str(path) in str(caught.value)
    assert complaint in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for ending in ("json", "tsv", "txt"):
        with pytest.raises(MiniragError, match="cannot read"):
            read_jeopardy(tmp_path / f"none.{ending}")
    path = tmp_path / "x.txt"
    path.write_bytes(b"s ||| caf\xe9 ||| a\n")
    with pytest.raises(MiniragError, match="row 1: 'clue' holds bytes that are not UTF-8"):
        read_jeopardy(path)


def test_what_miniwiki_publishes(lands: MiniWiki, tmp_path: Path) -> None:
    published = dict(files(lands))
    for split, examples in lands.by_split("jeopardy").items():
        assert examples
        expected = [Question(each.id, each.answers[0], (each.text,)) for each in examples]
        for ending in ("json", "txt"):
            path = tmp_path / f"{split}.{ending}"
            path.write_bytes(published[f"jeopardy/{split}.{ending}"])
            found = read_jeopardy(path)
            assert [(one.question, one.answers) for one in found] == [(one.question, one.answers) for one in expected]
            if ending == "json":
                assert found == expected
