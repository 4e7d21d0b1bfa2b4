"""The report's pictures and the tables beside them: answer recall and scores against K, and how passages are weighed."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.cli import main
from minirag.errors import MiniragError
from minirag.evaluation import report
from minirag.evaluation.analysis import recall_at_each
from minirag.evaluation.figures import drawn
from minirag.evaluation.findings import Findings
from minirag.evaluation.passages_read import has_read, heat_table, recall_table, speaking_table
from minirag.evaluation.predictions import Prediction, Read, Run
from minirag.evaluation.tables import Curves, Heat, Table
from minirag.evaluation.task_page import html, sections
from minirag.evaluation.task_report import Measured, tables_of
from minirag.retrieval.standins import NO_PASSAGE
from minirag.tasks.metrics import wilson_interval
from minirag.tasks.task import TASKS

FIRST = [1, 2, None, 2]  # the rank of the first passage with an answer, for each example
DECODING = {"decoder": "token", "k": 3, "beams": 1, "max_length": 50}
DATA = "MiniWiki, test"
TITLE = f"{DATA}, in the format of Natural Questions"


def predictions(first: list[int | None], k: int = 3, right: int = 4) -> list[Prediction]:
    return [
        Prediction(
            str(row),
            f"Question {row}?",
            "Ovid" if row < right else "Homer",
            ("Ovid",),
            passages=tuple(Read(str(z), f"Page {z}", 1 / k, z == rank) for z in range(1, k + 1)),
        )
        for row, rank in enumerate(first)
    ]


def run_of(system: str, k: int = 3, right: int = 4, first: list[int | None] = FIRST) -> Measured:
    return Measured(TASKS["nq"], system, DATA, DECODING | {"k": k}, predictions(first, k, right))


def closed() -> Measured:
    nothing = (Read(NO_PASSAGE.id, "", 1.0, False),)
    said = [replace(one, passages=nothing) for one in predictions(FIRST)]
    return Measured(TASKS["nq"], "closed book", DATA, DECODING | {"k": 1}, said)


def table(tables: list[Table], ending: str) -> Table:
    (found,) = (one for one in tables if one.title.endswith(ending))
    return found


def test_recall_at_each_k_by_hand() -> None:
    assert [(share.hits, share.n) for share in recall_at_each(predictions(FIRST))] == [(1, 4), (3, 4), (3, 4)]
    assert recall_at_each([Prediction("1", "?", "x")]) == []


@settings(max_examples=30)
@given(st.lists(st.one_of(st.none(), st.integers(1, 6)), min_size=1, max_size=12))
def test_recall_at_each_k_never_falls_and_ends_at_all_that_was_found(first: list[int | None]) -> None:
    shares = recall_at_each(predictions(first, 6))
    hits = [share.hits for share in shares]
    assert hits == sorted(hits)
    assert hits[-1] == sum(rank is not None for rank in first)
    assert hits == [sum(rank is not None and rank <= k for rank in first) for k in range(1, 7)]


def test_the_table_of_recall_has_its_curve_and_wilsons_interval() -> None:
    told = table(tables_of([run_of("RAG-Token"), closed()], {}), ": answer recall against K")
    assert told.title.startswith(TITLE)
    assert told.heads == ("system", "K = 1", "K = 2", "K = 3")
    low, high = wilson_interval(3, 4)
    assert told.rows == (("RAG-Token", told.rows[0][1], f"75.0 ({100 * low:.1f} to {100 * high:.1f})", told.rows[0][3]),)
    assert isinstance(told.picture, Curves)
    assert [(k, value) for k, value, _, _ in told.picture.lines["RAG-Token"]] == [(1, 0.25), (2, 0.75), (3, 0.75)]
    assert "closed book" not in told.picture.lines  # it reads nothing


def test_many_passages_are_told_at_round_numbers_and_at_the_last() -> None:
    (told,) = recall_table("x", {"RAG-Token": predictions([1, 33], 33)})
    assert told.heads[1:] == ("K = 1", "K = 2", "K = 5", "K = 10", "K = 20", "K = 33")
    assert [cell.split()[0] for cell in told.rows[0][1:]] == ["50.0"] * 5 + ["100.0"]
    assert len(told.picture.lines["RAG-Token"]) == 33


def test_where_no_passage_speaks_of_answers_or_only_one_is_read_there_is_no_curve() -> None:
    silent = [replace(one, passages=(Read("1", "P", 0.5), Read("2", "Q", 0.5))) for one in predictions(FIRST)]
    assert recall_table("x", {"RAG-Token": silent}) == []
    assert recall_table("x", {"RAG-Token": predictions(FIRST, 1)}) == []
    assert recall_table("x", {}) == []
    assert has_read(silent)
    assert not has_read(closed().predictions)


def test_runs_of_one_system_with_other_k_bear_it_in_their_names_and_make_a_curve() -> None:
    runs = [run_of("RAG-Token", 10, right=3), run_of("RAG-Token", 2, right=1), closed(), run_of("RAG-Token", 5, right=2)]
    tables = tables_of(runs, {})
    assert [row[0] for row in tables[0].rows] == ["RAG-Token, K = 2", "RAG-Token, K = 5", "RAG-Token, K = 10", "closed book"]
    told = table(tables, ": exact match against K")
    assert told.heads == ("system", "K = 2", "K = 5", "K = 10")
    assert [cell.split()[0] for cell in told.rows[0]] == ["RAG-Token", "25.0", "50.0", "75.0"]
    assert list(told.picture.lines) == ["RAG-Token"]  # the closed book has one K
    recall = table(tables, ": answer recall against K")
    assert recall.heads[-1] == "K = 10"  # that of the longest
    assert [row[0] for row in recall.rows] == ["RAG-Token"]
    assert [row[0] for row in table(tables, ": differences").rows] == [f"RAG-Token, K = {k} − closed book" for k in (2, 5, 10)]


def test_runs_of_one_system_that_differ_in_more_than_k_are_refused() -> None:
    one = run_of("RAG-Token", 3)
    beams = replace(run_of("RAG-Token", 5), decoding=DECODING | {"k": 5, "beams": 4})
    some = replace(run_of("RAG-Token", 5), predictions=predictions(FIRST, 5)[:2])
    for other in (one, beams, some):
        with pytest.raises(MiniragError, match=f"two runs are called RAG-Token on {TITLE}, and differ in nothing or in more"):
            tables_of([one, other], {})
    titles = [told.title for told in tables_of([one, run_of("RAG-Sequence", 5)], {})]
    assert not any("exact match against K" in title for title in titles)  # other systems, no curve


def test_passages_are_shown_with_their_probabilities() -> None:
    told = table(tables_of([closed(), run_of("RAG-Token")], {}), ": how passages are weighed")
    assert told.heads == ("input", "RAG-Token", "right", "first 5 passages")
    assert " ".join(told.rows[1][3].split()) == "Page 1 0.33; Page 2 0.33 ●; Page 3 0.33"
    assert told.picture.rows[:2] == ("Question 0?", "Question 1?")
    assert told.picture.values[0] == pytest.approx([1 / 3] * 3)
    assert told.picture.marked[1] == (False, True, False)
    assert "● marks one that holds an answer" in told.note
    assert heat_table("x", "closed book", closed().predictions) == []
    silent = [replace(one, passages=(Read("1", "P", 0.5), Read("2", "Q", 0.5))) for one in predictions(FIRST)]
    (told,) = heat_table("x", "RAG-Token", silent)
    assert "●" not in told.note + str(told.rows)


def speaking(*rows: tuple[float, float], **other: Any) -> Prediction:
    pieces = tuple(f" w{t}" for t in range(len(rows)))
    passages = (Read("1", "The Sun Also Rises", 0.75), Read("2", "A Farewell to Arms", 0.25))
    return Prediction("1", "Hemingway", "what he wrote", passages=passages, pieces=pieces, speaks=rows, **other)


def test_who_speaks_is_shown_where_passages_take_turns_most_often() -> None:
    steady, turning = speaking((0.9, 0.1), (0.8, 0.2), (0.9, 0.1)), speaking((0.9, 0.1), (0.2, 0.8), (0.7, 0.3))
    (told,) = speaking_table("Jeopardy", "RAG-Token", [steady, turning])
    assert told.title == "Jeopardy: who speaks at each token"
    assert told.rows == (("1", "The Sun Also Rises", "0.75", "0.60"), ("2", "A Farewell to Arms", "0.25", "0.40"))
    assert told.picture.rows == ("w0", "w1", "w2")
    assert told.picture.values == turning.speaks
    assert "changes most often here, 2 times" in told.note
    assert speaking_table("Jeopardy", "closed book", closed().predictions) == []
    assert [told.title for told in speaking_table("x", "RAG", [replace(turning, speaks=(), pieces=())])] == []


def texts(svg: str) -> list[str]:
    return [" ".join(text.split()) for text in ET.fromstring(svg).itertext() if text.strip()]


def test_curves_name_axes_and_systems_and_tell_their_numbers() -> None:
    lines = {"BM25": [(1, 0.5, 0.4, 0.6), (20, 0.75, 0.7, 0.8)], "MiniLM": [(1, 0.6, 0.5, 0.7), (20, 0.7, 0.6, 0.8)]}
    picture = drawn(Curves("Recall", "questions answered", lines))
    root = ET.fromstring(picture)
    assert root.attrib["role"] == "img"
    told = "BM25: K = 1 50 %, K = 20 75 %; MiniLM: K = 1 60 %, K = 20 70 %."
    assert root.attrib["aria-label"] == f"Recall, for K passages. {told}"
    assert {"Recall", "passages K", "questions answered (%)", "BM25", "MiniLM", "1", "20"} <= set(texts(picture))
    assert drawn(Curves("Recall", "questions answered", lines)) == picture


def test_lines_that_are_one_are_drawn_as_one() -> None:
    same = [(1, 0.5, 0.4, 0.6), (2, 0.7, 0.6, 0.8)]
    picture = drawn(Curves("Recall", "found", {"RAG-Token": same, "RAG-Sequence": list(same), "BM25": same[:1]}))
    assert {"RAG-Token, RAG-Sequence", "BM25"} <= set(texts(picture))
    assert "RAG-Token" not in texts(picture)


def test_a_heat_map_has_a_number_and_a_mark_in_each_cell_and_none_where_no_passage_is() -> None:
    picture = drawn(Heat("p(z|x)", ("Who?", "Where?"), ((0.87, 0.13), (0.99,)), ((False, True), (False,))))
    told = texts(picture)
    assert [text for text in told if re.fullmatch(r"0\.\d[1-46-9]( ●)?|nan", text)] == ["0.87", "0.13 ●", "0.99"]
    assert {"Who?", "Where?", "rank of the passage"} <= set(told)
    assert "<image" not in picture  # cells are shapes, the page loads nothing
    assert "“Who?”: 0.87, 0.13; “Where?”: 0.99" in ET.fromstring(picture).attrib["aria-label"]


HOSTILE = '猫 is $x_1$ <\n& "</svg><script>alert(1)</script>", \\frac{ and more than there is room for?'


def test_questions_and_names_may_hold_anything() -> None:
    heat = Heat(HOSTILE, (HOSTILE,), ((0.5, 0.5),), ((True, False),))
    curves = Curves(HOSTILE, "found", {HOSTILE: [(1, 0.5, 0.4, 0.6)]})
    for picture in (heat, curves):
        svg = drawn(picture)
        assert "<script" not in svg
        assert "猫 is $x_1$ <" in " ".join(texts(svg))
        page = sections([Table("T", "", ("a", "b"), ((HOSTILE, HOSTILE),), picture)])
        assert "<script" not in page
        assert page.count("<svg") == page.count("</svg>") == page.count("<figure>") == 1


def test_prose_is_set_from_the_left_and_intervals_are_not_broken() -> None:
    cells = (("a", "1.0 (0.0 to 2.0)"),)
    numbers, prose = sections([Table("T", "", ("x", "y"), cells)]), sections([Table("T", "", ("x", "y"), cells, prose=True)])
    assert "(0.0\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}2.0)" in numbers
    assert "<td style='text-align:left'>" in prose
    assert "text-align" not in numbers


def test_all_pictures_of_a_page_have_ids_of_their_own() -> None:
    page = html(tables_of([run_of("RAG-Token"), run_of("RAG-Token", 5), closed()], {}))
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert page.count("<svg") == 3
    assert page.count('role="img" aria-label="') == 3


def test_the_quickstarts_page_has_the_pictures_too() -> None:
    tables, nothing = tables_of([run_of("RAG-Token"), closed()], {}), torch.zeros(1, dtype=torch.int64)
    findings = Findings("c", "", "e", [("NQ", 4)], [], [], [], {}, [], nothing, [], {}, "command", 0, 1.0, tasks=tables)
    page = report._tasks(findings)
    assert page.count("<svg") == 2
    assert "These are no numbers of the paper's data sets" in " ".join(page.split())
    assert page.count("<h3>") == len(tables)


def test_the_command_draws_exact_match_against_k(tmp_path: Path) -> None:
    folders = []
    for k in (2, 3):
        run = run_of("RAG-Token", k, right=k)
        facts = {"task": "nq", "system": run.system, "data": DATA, "examples": 4, "decoding": run.decoding, "made_from": str(k)}
        folders.append(tmp_path / f"k{k}")
        with Run(folders[-1], facts) as gathered:
            gathered.add(run.predictions)
    assert main(["report", *map(str, folders), "--out", str(tmp_path / "out")]) == 0
    page, text = ((tmp_path / "out" / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert page.count("<svg") == 3
    assert "K = 2 50 %, K = 3 75 %" in page
    assert "| RAG-Token | 50.0 (" in text
    assert "<svg" not in text
