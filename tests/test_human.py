"""Judgements by people: blinded, carried through CSV and back, counted by hand, and agreement against its definition."""

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.errors import MiniragError
from minirag.evaluation.human import (
    ASPECTS,
    VERDICTS,
    Judgements,
    Pair,
    agreement,
    paired,
    read_key,
    read_sheet,
    tallied,
    write_sheet,
)

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
        ("pair,input,A,B,factuality,specificity\n1,x,a,b,A,\n1,x,a,b,A,\n", "row 3: pair '1' is judged twice"),
        ("pair,input,A,B,factuality\n", "no column 'specificity'"),
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
@settings(deadline=None, max_examples=60)
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
