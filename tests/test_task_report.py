"""Runs side by side: what is measured and what is published never mix, and what lies behind the scores."""

import re
from pathlib import Path

import pytest

from minirag.cli import main
from minirag.errors import MiniragError
from minirag.evaluation.analysis import Share, differing, overlap, right, unsupported
from minirag.evaluation.predictions import Prediction, Read, Run
from minirag.evaluation.task_page import html, markdown
from minirag.evaluation.task_report import Measured, tables_of, write_task_report
from minirag.tasks.openqa import Question
from minirag.tasks.task import NQ, TASKS

DECODING = {"decoder": "thorough", "k": 5, "beams": 1, "max_length": 50}
ANSWERS = {"1": "Ovid", "2": "Rome", "3": "Paris & Bern", "4": "1066"}


def run_of(task: str, system: str, outputs: list[str], holds: list[bool], data: str = "MiniWiki, test") -> Measured:
    made = [
        Prediction(id, f"Question <{id}>?", output, (answer,), passages=(Read("7", f"Page | {id}", 1.0, held),))
        for (id, answer), output, held in zip(ANSWERS.items(), outputs, holds, strict=True)
    ]
    return Measured(TASKS[task], system, data, DECODING, made)


RAG = run_of("nq", "RAG-Token", ["ovid", "Rome", "Bern", "1066"], [True, True, True, False])
CLOSED = run_of("nq", "closed book", ["Ovid", "Athens", "Lyon", "1067"], [False] * 4)


def test_right_is_what_gets_full_marks() -> None:
    assert [right(NQ, one) for one in RAG.predictions] == [True, True, False, True]
    clue = run_of("jeopardy", "x", ["ovid", "Rome", "Bern", "1066"], [True] * 4)
    assert not right(TASKS["jeopardy"], clue.predictions[2])


def test_right_without_a_passage_that_says_so_is_counted() -> None:
    assert unsupported(NQ, RAG.predictions) == Share(1, 1)
    assert unsupported(NQ, CLOSED.predictions) == Share(1, 4)
    assert Share(0, 0).value is None
    assert Share(1, 4).value == 0.25


def test_known_answers_are_told_from_new_ones() -> None:
    told = [Question("0", "Who?", ("The Ovid", "x")), Question("0", "When?", ("1066.",))]
    found = overlap(NQ, told, RAG.predictions)
    assert (found.known, found.new) == (Share(2, 2), Share(1, 2))


def test_where_two_systems_differ() -> None:
    assert differing(NQ, RAG.predictions, CLOSED.predictions) == ([1, 3], [])
    assert differing(NQ, CLOSED.predictions, RAG.predictions) == ([], [1, 3])
    with pytest.raises(MiniragError, match="on different examples"):
        differing(NQ, RAG.predictions, CLOSED.predictions[:2])


def test_other_data_are_titled_so_and_have_no_published_numbers_beside_them() -> None:
    tables = {table.title: table for table in tables_of([RAG, CLOSED], {})}
    title = "MiniWiki, test, in the format of Natural Questions"
    assert title in tables
    assert not any("published" in name for name in tables)
    scores = tables[title]
    assert scores.heads[:3] == ("measured", "examples", "exact match")
    assert [row[1] for row in scores.rows] == ["4", "4"]
    assert [row[0] for row in scores.rows] == ["RAG-Token", "closed book"]
    assert scores.rows[0][2].startswith("75.0 (")
    assert scores.rows[1][2].startswith("25.0 (")
    (difference,) = tables[f"{title}: differences"].rows
    assert difference[0] == "RAG-Token − closed book"
    assert difference[1].startswith("+50.0 (")
    shown = tables[f"{title}: where they differ"].rows
    assert [row[:4] for row in shown] == [
        ("Question <2>?", "Rome", "Athens", "Rome"),
        ("Question <4>?", "1066", "1067", "1066"),
    ]


def test_published_numbers_stand_in_a_table_of_their_own_beside_the_published_data() -> None:
    run = run_of("nq", "RAG-Token", ["Ovid"] * 4, [True] * 4, data="published")
    titles = [table.title for table in tables_of([run], {})]
    assert titles[:2] == ["Natural Questions", "Natural Questions: published"]
    published = tables_of([run], {})[1]
    assert "not measured by minirag" in published.note
    assert "counts 3,611 test examples (table 7), these runs have 4" in published.note
    rows = {row[0]: dict(zip(published.heads[1:], row[1:], strict=True)) for row in published.rows}
    assert rows["RAG-Token"]["EM, test"] == "44.1"
    assert rows["RAG-Token-BM25"]["EM, dev"] == "29.7"
    assert rows["RAG-Token-BM25"]["EM, test"] == "–"
    measured = tables_of([run], {})[0]
    assert "44.1" not in str(measured.rows)


def test_what_a_published_number_was_given_is_said_beside_it() -> None:
    claims = [Prediction(str(i), "Claim.", "SUPPORTS", ("SUPPORTS",)) for i in range(3)]
    table = tables_of([Measured(TASKS["fever2"], "RAG-Token", "published", DECODING, claims)], {})[1]
    (best,) = (row for row in table.rows if row[0] == "SotA")
    assert "92.2 (with the gold passages given)" in best


def test_overlap_is_told_where_training_is_known() -> None:
    tables = tables_of([RAG], {"nq": [Question("0", "Who?", ("Ovid",))]})
    (behind,) = (table for table in tables if table.title.endswith("behind the scores"))
    assert behind.rows == (("RAG-Token", "1 of 1", "1 of 1", "2 of 3"),)


def test_labels_and_long_outputs_have_tables_that_suit_them() -> None:
    claims = [Prediction(str(i), "Claim.", "SUPPORTS", ("SUPPORTS",)) for i in range(3)]
    fever = Measured(TASKS["fever3"], "RAG-Token", "x", DECODING, claims)
    clues = run_of("jeopardy", "RAG-Token", ["who was this man", "who was this king", "a b c", "d e f"], [True] * 4)
    clues = Measured(clues.task, clues.system, clues.data, DECODING, [
        Prediction(one.id, one.question, one.output, ("a b c d",)) for one in clues.predictions
    ])  # fmt: skip
    tables = {table.title: table for table in tables_of([fever, clues], {})}
    assert tables["x, in the format of FEVER, 3 labels"].rows[0][2].startswith("100.0")
    written = tables["MiniWiki, test, in the format of Jeopardy question generation: what is written"]
    assert written.heads == ("input", "people", "RAG-Token")
    assert written.rows[1] == ("Question <2>?", "a b c d", "who was this king")
    rows = {row[1]: row[2] for row in tables["Diversity"].rows}
    assert rows == {"people": "25.0", "RAG-Token": "83.3"}  # of 8 two are new; of 6 one is there twice
    assert not any(name.endswith("behind the scores") for name in tables)


def test_the_page_and_the_markdown_escape_what_comes_from_outside(tmp_path: Path) -> None:
    path = write_task_report(tmp_path, [RAG, CLOSED], command="minirag report <x>")
    page, text = path.read_text(encoding="utf-8"), (tmp_path / "report.md").read_text(encoding="utf-8")
    for shown in (page, text):
        assert "<2>" not in shown
        assert "&lt;2&gt;" in shown
    assert page.count("<table>") == page.count("</table>") == len(tables_of([RAG, CLOSED], {}))
    assert "Page \\| 2" in text
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")]
    assert all(width >= 3 for width in widths)
    assert html(tables_of([RAG], {})) == html(tables_of([RAG], {}))
    assert markdown(tables_of([RAG], {})).startswith("# The paper's tasks")


def test_two_runs_of_one_name_are_not_taken_for_one() -> None:
    with pytest.raises(MiniragError, match="two runs are called RAG-Token on MiniWiki, test, in the format of Natural"):
        tables_of([RAG, CLOSED, RAG], {})
    some = Measured(CLOSED.task, CLOSED.system, CLOSED.data, DECODING, CLOSED.predictions[:2])
    titles = [table.title for table in tables_of([RAG, some], {})]
    assert not any("differ" in title for title in titles)  # they are on other examples
    assert [row[1] for row in tables_of([RAG, some], {})[0].rows] == ["4", "2"]


def test_nothing_to_report_on_is_said() -> None:
    with pytest.raises(MiniragError, match="no run to report on"):
        tables_of([], {})


def stored(folder: Path, run: Measured) -> Path:
    facts = {
        "task": run.task.name,
        "system": run.system,
        "data": run.data,
        "examples": 4,
        "decoding": DECODING,
        "made_from": "x",
    }
    with Run(folder, facts) as gathered:
        gathered.add(run.predictions)
    return folder


def test_the_commands_score_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = stored(tmp_path / "one", RAG), stored(tmp_path / "other", CLOSED)
    questions = tmp_path / "nq.jsonl"
    questions.write_text("".join(f'{{"id": "{id}", "question": "?", "answer": ["{a}"]}}\n' for id, a in ANSWERS.items()))
    files = [str(folder / "predictions.jsonl") for folder in (one, other)]
    assert main(["score", "nq", "--questions", str(questions), "--predictions", files[0], "--than", files[1]]) == 0
    said = capsys.readouterr().out
    assert re.search(r"exact match +75\.0", said)
    assert re.search(r"exact match +50\.0", said)
    assert re.search(r"exact match +p = 0\.\d{4}, paired", said)
    assert main(["report", str(one), str(other), "--train", f"nq={questions}", "--out", str(tmp_path / "report")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "report" / "report.html")
    assert "3 of 4" in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "x")]) == 1
    assert "holds no run.json" in capsys.readouterr().err
    assert main(["report", str(one), "--train", "nq", "--out", str(tmp_path / "x")]) == 1
    assert "names no file" in capsys.readouterr().err
