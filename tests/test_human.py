"""Judgements by people: blinded, carried through CSV and back, counted by hand, and agreement against its definition."""

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_html import plain

from minirag.errors import MiniragError
from minirag.evaluation import human
from minirag.evaluation.human import (
    ASPECTS,
    VERDICTS,
    Judgements,
    Pair,
    Verdicts,
    agreement,
    annotate,
    as_html,
    as_text,
    paired,
    read_key,
    read_sheet,
    rows_of,
    tallied,
    write_sheet,
)
from minirag.tasks.paper import published

INPUTS = {str(i): f"entity {i}" for i in range(200)}
RAG = {id: f"RAG's {id}" for id in INPUTS}
BART = {id: f"BART's {id}" for id in INPUTS}
KEY = {"1": ("RAG", "BART"), "2": ("BART", "RAG"), "3": ("RAG", "BART"), "4": ("RAG", "BART"), "5": ("BART", "RAG")}


def judged(**verdicts: str) -> Judgements:
    return {
        pair: {"factuality": verdict} for pair, verdict in zip(KEY, verdicts["said"].split(), strict=False) if verdict != "-"
    }


def test_sides_are_drawn_by_lot_and_no_text_is_lost() -> None:
    pairs = paired(INPUTS, RAG, BART, ("RAG", "BART"))
    assert pairs == paired(INPUTS, RAG, BART, ("RAG", "BART"))
    assert 70 < sum(pair.systems[0] == "RAG" for pair in pairs) < 130
    for pair in pairs:
        assert dict(zip(pair.systems, pair.texts, strict=True)) == {"RAG": RAG[pair.id], "BART": BART[pair.id]}
    assert [p.systems for p in pairs] != [p.systems for p in paired(INPUTS, RAG, BART, ("RAG", "BART"), seed=1)]
    assert paired({"1": "x"}, {"1": "same"}, {"1": " same"}, ("RAG", "BART")) == []
    for names in (("RAG", "RAG"), ("RAG", "both"), ("no majority", "RAG")):
        with pytest.raises(MiniragError, match="would be confused"):
            paired({"1": "x"}, {"1": "a"}, {"1": "b"}, names)
    with pytest.raises(MiniragError, match="'1' has no text of both"):
        paired({"1": "x"}, {}, {"1": "y"}, ("RAG", "BART"))


def test_the_sheet_says_nothing_of_systems_and_is_never_written_over(tmp_path: Path) -> None:
    pairs = [Pair("1", "=1+1", ('-a, "b"', "line\nline"), ("RAG", "BART"))]
    sheet, key = write_sheet(tmp_path, pairs)
    text = sheet.read_text(encoding="utf-8")
    assert "RAG" not in text
    assert "BART" not in text
    assert read_key(key) == {"1": ("RAG", "BART")}
    with sheet.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["input"], row["A"], row["B"]) == ("'=1+1", '\'-a, "b"', "line\nline")  # no formula
    assert read_sheet(sheet) == {"1": {}}
    with pytest.raises(MiniragError, match="may hold judgements"):
        write_sheet(tmp_path, pairs)


def test_what_judges_fill_in_comes_back(tmp_path: Path) -> None:
    sheet, _ = write_sheet(tmp_path, [Pair(id, "x", ("a", "b"), both) for id, both in KEY.items()])
    with sheet.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    rows[1][-2:] = ["A", " both "]
    rows[3][-1] = "neither"
    with sheet.open("w", encoding="utf-8-sig", newline="") as file:  # as spreadsheets save it
        csv.writer(file).writerows(rows)
    found = read_sheet(sheet)
    assert found["1"] == {"factuality": "A", "specificity": "both"}
    assert found["2"] == {}
    assert found["3"] == {"specificity": "neither"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("pair,input,A,B,factuality,specificity\n1,x,a,b,C,\n", "row 2: 'C' is no verdict"),
        ("pair,input,A,B,factuality,specificity\n1,x,a,b,A,\n1,x,a,b,A,\n", "row 3: pair '1' stands twice"),
        (
            "pair,input,A,B,factuality,specificity\n1,x,a,b,C,D\n2,x,a,b,A,E\n",
            "row 2: 'C' .*; row 2: 'D' .*specificity; row 3: 'E'",
        ),
        (
            "pair,input,A,B,factuality,specificity\n" + "1,x,a,b,A\n" * 30,
            "row 2: 5 cells, .*row 21: 5 cells, where the header has 6; and 10 more; mend",
        ),
        ("pair,input,A,B,factuality,specificity\n1,x,a,b,A,,extra\n", "row 2: 7 cells, where the header has 6"),
        ('pair,input,A,B,factuality,specificity\n\n1,x,"a\na",b,A,\n,x,a,b,A,\n', "row 4: pair '' has no name"),
        ("pair,input,A,B,factuality\n", "no column 'specificity'"),
        ("pair;input;A;B;factuality;specificity\n", "no column 'pair'.*commas"),
        ("pair,input,A,B,factuality,specificity,note,note\n", "2 column 'note'"),
        ("", "no column 'pair'"),
    ],
)
def test_what_is_no_sheet_is_named(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(MiniragError, match=why):
        read_sheet(tmp_path / "x.csv")
    with pytest.raises(MiniragError, match="cannot be read"):
        read_sheet(tmp_path / "none.csv")


def test_the_majority_is_counted_for_the_system_behind_the_letter() -> None:
    judges = [judged(said="A A both A A"), judged(said="A A both B -"), judged(said="B B both neither -")]
    found = tallied(judges, KEY, "factuality")
    # 1: A is RAG; 2: A is BART; 3: both; 4: A, B and neither, no majority; 5: one judge says A, which is BART
    assert found.wins == {"RAG": 1, "BART": 2}
    assert (found.both, found.neither, found.no_majority, found.pairs) == (1, 0, 1, 5)
    half = tallied([judged(said="A"), judged(said="B")], KEY, "factuality")
    assert half.no_majority == 1
    assert tallied([judged(said="- - neither")], KEY, "factuality").neither == 1
    with pytest.raises(MiniragError, match="nobody has judged specificity"):
        tallied(judges, KEY, "specificity")
    with pytest.raises(MiniragError, match="pair '9' is not in the key"):
        tallied([{"9": {"factuality": "A"}}], KEY, "factuality")


def alpha_by_definition(table: list[list[str | None]]) -> float:
    """1 − observed / expected disagreement over all pairs of values of one unit, and of all units (Krippendorff 2011)."""
    units = [[value for value in unit if value] for unit in zip(*table, strict=True)]
    units = [unit for unit in units if len(unit) > 1]
    values = [value for unit in units for value in unit]
    observed = sum(sum(a != b for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in units) / len(values)
    expected = sum(a != b for a, b in itertools.permutations(values, 2)) / (len(values) * (len(values) - 1))
    return 1 - observed / expected


@given(st.lists(st.lists(st.sampled_from([*VERDICTS, None]), min_size=6, max_size=6), min_size=2, max_size=4))
@settings(max_examples=60)
def test_alpha_is_that_of_the_definition(table: list[list[str | None]]) -> None:
    judges: list[Judgements] = [
        {str(i): {"factuality": verdict} for i, verdict in enumerate(row) if verdict is not None} for row in table
    ]
    found = agreement(judges, "factuality")
    shared = [[v for v in unit if v] for unit in zip(*table, strict=True)]
    values = {v for unit in shared if len(unit) > 1 for v in unit}
    if len(values) < 2:
        assert found is None
    else:
        assert found == pytest.approx(alpha_by_definition(table))


def test_alpha_of_chance_is_about_nothing() -> None:
    drawn = np.random.default_rng(0).choice(VERDICTS, (3, 2_000))
    judges: list[Judgements] = [{str(i): {"factuality": str(v)} for i, v in enumerate(row)} for row in drawn]
    assert abs(agreement(judges, "factuality") or 1) < 0.03
    assert set(ASPECTS) == {"factuality", "specificity"}


# Text as models write it, and beginnings that a spreadsheet takes for formulas.
TEXT = st.text(st.sampled_from("ab=+-@'\"',;\t\r\n é<"), min_size=1, max_size=6)


@given(
    st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=4), st.lists(st.sampled_from(VERDICTS), min_size=4, max_size=4)
)
@settings(max_examples=20)
def test_any_text_comes_back_from_its_sheet(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, str, str]], verdicts: list[str]
) -> None:
    pairs = [Pair(f"{text}{i}", text, (a, b), ("-RAG", "=BART")) for i, (text, a, b) in enumerate(drawn)]
    sheet, key = write_sheet(tmp_path_factory.mktemp("judged"), pairs)
    with sheet.open(encoding="utf-8", newline="") as file:
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in csv.reader(file) for cell in row)
    assert read_key(key) == {one.id: one.systems for one in pairs}
    judge = annotate(pairs, sheet).children
    for verdict in verdicts[: len(pairs)]:
        judge[3].value = verdict
        judge[5].value = verdict
    assert read_sheet(sheet) == {one.id: dict.fromkeys(ASPECTS, verdict) for one, verdict in zip(pairs, verdicts, strict=False)}


# The widget: place, texts, question, buttons, question, buttons, how far one is.

PAIRS = [Pair(str(i), f"<i>entity {i}</i>", (f"a{i}", f"b{i}"), ("RAG", "BART")) for i in (1, 2, 3)]


def test_clicks_fill_in_the_sheet_and_the_next_pair_follows(tmp_path: Path) -> None:
    sheet = tmp_path / "ann.csv"
    place, shown, asked, first, _, second, state = annotate(PAIRS, sheet).children
    assert first.options == (("A better", "A"), ("B better", "B"), ("both good", "both"), ("both poor", "neither"))
    assert (place.value, first.value, second.value) == (1, None, None)
    assert "&lt;i&gt;entity 1&lt;/i&gt;" in shown.value
    assert "<td>a1</td><td>b1</td>" in plain(shown.value)
    assert "factually true" in asked.value
    assert "RAG" not in shown.value + sheet.read_text()
    first.value = "A"
    assert read_sheet(sheet) == {"1": {"factuality": "A"}, "2": {}, "3": {}}
    assert (place.value, state.value) == (1, "0 of 3 pairs are judged and saved.")
    second.value = "neither"
    assert read_sheet(sheet)["1"] == {"factuality": "A", "specificity": "neither"}
    assert (place.value, first.value, second.value) == (2, None, None)
    assert "<td>a2</td>" in plain(shown.value)
    assert state.value.startswith("1 of 3")


def test_a_judge_goes_on_where_he_was_and_may_go_back(tmp_path: Path) -> None:
    sheet = tmp_path / "ann.csv"
    place, _, _, first, _, second, _ = annotate(PAIRS, sheet).children
    for verdict in ("A", "B"):
        first.value = second.value = verdict
    place, shown, _, first, _, second, state = annotate(PAIRS, sheet).children
    assert place.value == 3
    place.value = 1
    assert (first.value, second.value) == ("A", "A")
    second.value = "both"  # a pair that was judged is corrected, and stays
    assert place.value == 1
    assert read_sheet(sheet)["1"] == {"factuality": "A", "specificity": "both"}
    place.value = 3
    first.value = second.value = "neither"
    assert (place.value, state.value) == (3, "3 of 3 pairs are judged and saved.")
    assert "<td>a3</td>" in plain(shown.value)
    assert tallied([read_sheet(sheet)], {one.id: one.systems for one in PAIRS}, "factuality").wins == {"RAG": 1, "BART": 1}


def test_open_pairs_before_the_place_are_not_forgotten(tmp_path: Path) -> None:
    place, _, _, first, _, second, _ = annotate(PAIRS, tmp_path / "ann.csv").children
    place.value = 3
    first.value = second.value = "A"
    assert place.value == 1


def test_what_cannot_be_saved_is_said_and_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, _, first, *_, state = annotate(PAIRS, tmp_path / "ann.csv").children
    before = (tmp_path / "ann.csv").read_bytes()

    def full(path: Path) -> None:
        raise MiniragError(f"cannot write {path}: <no space>; free space or choose another folder")

    with monkeypatch.context() as patch:
        patch.setattr(human, "atomic_path", full)
        first.value = "A"
    assert (tmp_path / "ann.csv").read_bytes() == before
    assert first.value is None
    assert "&lt;no space&gt;" in state.value
    first.value = "B"
    assert read_sheet(tmp_path / "ann.csv")["1"] == {"factuality": "B"}
    assert state.value.startswith("0 of 3")


def test_what_else_a_judge_wrote_into_the_sheet_stays(tmp_path: Path) -> None:
    sheet = tmp_path / "ann.csv"
    sheet.write_text("note,pair,input,A,B,specificity,factuality\n=why?,2,x,a2,b2,,A\n\n,1,x,a1,b1,B,\n", encoding="utf-8-sig")
    pairs = [Pair(id, "x", (f"a{id}", f"b{id}"), ("RAG", "BART")) for id in ("1", "2")]
    _, _, _, first, _, second, _ = annotate(pairs, sheet).children
    assert (first.value, second.value) == (None, "B")
    first.value = "both"
    assert sheet.read_text(encoding="utf-8").splitlines() == [
        "note,pair,input,A,B,specificity,factuality",
        "'=why?,2,x,a2,b2,,A",
        ",1,x,a1,b1,B,both",
    ]


def test_a_sheet_of_other_pairs_is_not_gone_on_with(tmp_path: Path) -> None:
    annotate(PAIRS, tmp_path / "ann.csv")
    turned = [Pair(one.id, one.input, one.texts[::-1], one.systems[::-1]) for one in PAIRS]  # another seed
    for others in (turned, PAIRS[:2]):
        with pytest.raises(MiniragError, match=r"ann\.csv is a sheet of other pairs"):
            annotate(others, tmp_path / "ann.csv")
    with pytest.raises(MiniragError, match="no pair to judge"):
        annotate([], tmp_path / "new.csv")
    assert not (tmp_path / "new.csv").exists()


# Table 4.


def test_the_papers_counts_make_the_papers_table() -> None:
    """452 pairs: of the counts, each the only one that is printed so, the shares are those of table 4."""
    rows = rows_of([Verdicts("factuality", {"BART": 32, "RAG": 193}, 53, 80, 94, None)])
    assert [row[0] for row in rows[1:6]] == ["BART better", "RAG better", "both good", "both poor", "no majority"]
    assert [float(row[1].split(" %")[0]) for row in rows[1:6]] == [one.value for one in published("4", metric="factuality")]
    assert rows[2][1] == "42.7 % (193)"
    assert rows[6:] == [("pairs", "452"), ("Krippendorff's alpha", "–")]


def test_tables_have_a_column_for_each_aspect() -> None:
    columns = [
        Verdicts(aspect, {"<RAG>": 3, "BART": 1}, 1, 0, 0, alpha) for aspect, alpha in (("factuality", 0.5), ("x", None))
    ]
    lines = as_text(columns).splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["factuality", "x"],
        ["<RAG>", "better", "60.0", "%", "(3)", "60.0", "%", "(3)"],
    ]
    assert len({len(line) for line in lines}) == 1
    page = as_html(columns)
    assert "<th scope='row'>&lt;RAG&gt; better</th><td>60.0 % (3)</td><td>60.0 % (3)</td>" in page
    assert "<RAG>" not in page
    assert page.count("<tr>") == page.count("</tr>") == len(lines) == 8
    for wrong in ([], [columns[0], Verdicts("x", {"BART": 1}, 0, 0, 0, None)]):
        with pytest.raises(MiniragError, match="same two systems"):
            rows_of(wrong)
