"""Results from files: means and spreads over seeds, retrieval on real questions, published numbers apart, and damaged files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minirag.cli import main
from minirag.errors import MiniragError
from minirag.evaluation.result_tables import published_ablations, retrieval_tables, study_tables
from minirag.evaluation.tables import Table
from minirag.paths import data_dir
from minirag.tasks.paper import published

RESULTS = data_dir().parent / "results"


def row(task: str, system: str, metric: str, value: float, **more: Any) -> dict[str, Any]:
    return {"task": task, "system": system, "metric": metric, "value": value, "low": 0.0, "high": 1.0, "n": 200, **more}


def study() -> dict[str, Any]:
    rows = []
    for seed, by in ((0, 0.0), (1, 0.1)):
        rows += [
            row("new", "RAG-Token", "exact_match", 0.4 + by, seed=seed),
            row("new", "RAG-Token", "recall", 0.8, seed=seed),
            row("new", "closed book", "exact_match", 0.2, seed=seed),
            row("new", "RAG-Token − closed book", "exact_match", 0.2 + by, seed=seed),
            row("new", "RAG-Token", "exact_match, 1 read, 5 in training", 0.3, seed=seed),
            row("new", "RAG-Token", "exact_match, 5 read, 5 in training", 0.4 + by, seed=seed),
            row("new", "RAG-Token", "exact_match, 5 read, 10 in training", 0.5, seed=seed),
            row("hot-swap", "RAG-Token", "exact_match, index 2016, holders 2016", 0.9, seed=seed),
        ]
    return {"pairs": 1234, "results": rows}


def recalls() -> dict[str, Any]:
    rows = [row("a.jsonl", system, f"recall@{k}", k / 100) for system in ("BM25", "MiniLM") for k in (1, 5, 20)]
    return {"passages": 9623, "results": [*rows, row("b.jsonl", "BM25", "recall@1", 0.5)]}


def written(path: Path, told: object) -> Path:
    path.write_text(json.dumps(told), encoding="utf-8")
    return path


def by_title(tables: list[Table]) -> dict[str, Table]:
    return {table.title: table for table in tables}


def test_a_study_is_told_as_means_with_the_spread_over_seeds(tmp_path: Path) -> None:
    tables = by_title(study_tables(written(tmp_path / "s.json", study())))
    title = "MiniWiki, ablations as in the paper's table 6"
    assert list(tables) == [title, f"{title}: differences", "MiniWiki, exact match against K", "The paper's table 6: published"]
    own = tables[title]
    assert own.heads[2] == "exact match, facts never asked"
    assert own.rows[0] == ("RAG-Token", "–", "45.0 (40.0 to 50.0)", "–", "–", "80.0 (80.0 to 80.0)", "–")
    assert own.rows[1][:3] == ("closed book", "–", "20.0 (20.0 to 20.0)")
    assert "over 2 seeds" in own.note
    assert "1,234 question–answer pairs" in own.note
    assert tables[f"{title}: differences"].rows == (("RAG-Token − closed book", "–", "+25.0 (+20.0 to +30.0)", "–"),)
    against = tables["MiniWiki, exact match against K"]
    assert against.heads == ("measured", "K = 1", "K = 5")
    assert [line[0] for line in against.rows] == ["RAG-Token, 5 in training", "RAG-Token, 10 in training"]
    assert against.picture.lines == {"RAG-Token, 5 in training": [(1, 0.3, 0.3, 0.3), (5, pytest.approx(0.45), 0.4, 0.5)]}


def test_what_is_published_shares_no_table_with_what_is_measured(tmp_path: Path) -> None:
    *measured, paper = study_tables(written(tmp_path / "s.json", study()))
    assert "not measured by minirag" in paper.note
    assert all(table.title.startswith("MiniWiki, ") and "Measured by minirag on MiniWiki" in table.note for table in measured)
    systems = {one.system for one in published("6")}
    assert set(paper.heads[1:]) == systems
    assert not any(systems & {"RAG-Token-BM25", "RAG-Sequence-Frozen"} & set(table.heads) for table in measured)


def test_the_papers_table_is_whole() -> None:
    paper = published_ablations()
    cells = {(line[0], head): cell for line in paper.rows for head, cell in zip(paper.heads[1:], line[1:], strict=True)}
    assert len(cells) == len(published("6")) == 60
    assert cells["Natural Questions, EM", "RAG-Token-BM25"] == "29.7"
    assert cells["MS MARCO, ROUGE-L", "RAG-Sequence"] == "57.2"
    assert "WebQuestions: no share of table 7's 362 examples, but one of 361." in paper.note


def test_retrieval_has_a_table_for_each_file_of_questions(tmp_path: Path) -> None:
    one, other = retrieval_tables(written(tmp_path / "r.json", recalls()))
    assert one.title == "Retrieval on real questions: a.jsonl"
    assert one.heads == ("measured", "K = 1", "K = 5", "K = 20")
    assert one.rows[0] == ("BM25", "1.0 (0.0 to 100.0)", "5.0 (0.0 to 100.0)", "20.0 (0.0 to 100.0)")
    assert "of 200 questions" in one.note
    assert "9,623 passages" in one.note
    assert list(one.picture.lines) == ["BM25", "MiniLM"]
    assert other.rows == (("BM25", "50.0 (0.0 to 100.0)"),)


def test_what_codes_find_of_exact_search_is_told_beside_the_recall(tmp_path: Path) -> None:
    told = recalls()
    told["results"].append(
        told["results"][0] | {"system": "MiniLM, IVF-PQ", "metric": "of the top 20 of exact search", "value": 0.963}
    )
    one, other = retrieval_tables(written(tmp_path / "r.json", told))
    assert one.note.endswith("MiniLM, IVF-PQ finds 96.3% of the top 20 of exact search.")
    assert "IVF-PQ" not in other.note


def spoil(told: dict[str, Any], row: int = 0, **fields: Any) -> dict[str, Any]:
    told["results"][row] = {name: value for name, value in (told["results"][row] | fields).items() if value is not ...}
    return told


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (lambda: [], "does not tell pairs and results; name what minirag.evaluation.study has written"),
        (recalls, "does not tell pairs"),
        (lambda: study() | {"pairs": "many"}, "does not tell pairs"),
        (lambda: study() | {"results": []}, "does not tell pairs and results"),
        (lambda: study() | {"results": {"a": 1}}, "does not tell pairs and results"),
        (lambda: study() | {"results": [1]}, "result 1, is no result"),
        (lambda: spoil(study(), 3, value="much"), "result 4, is no result"),
        (lambda: spoil(study(), 3, n=...), "result 4, is no result"),
        (lambda: spoil(study(), 2, value=float("nan")), "result 3, is not finite"),
        (lambda: spoil(study(), 0, seed=...), "exact_match of RAG-Token on new without a seed"),
        (lambda: spoil(study(), 0, seed=1), "exact_match of RAG-Token on new without a seed, or twice for one"),
        (lambda: spoil(study(), 0, seed=7), "lacks exact_match of RAG-Token on new for seed 0"),
        (lambda: study() | {"results": [row("hot-swap", "RAG", "exact_match", 1.0, seed=0)]}, "no exact match of any system"),
    ],
)
def test_a_file_that_is_no_study_is_named(tmp_path: Path, told: Callable[[], object], said: str) -> None:
    path = written(tmp_path / "s.json", told())
    with pytest.raises(MiniragError, match=said) as error:
        study_tables(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (study, "does not tell passages and results; name what minirag.evaluation.retrieval has written"),
        (lambda: spoil(recalls(), 1, metric="exact_match"), "exact_match of BM25 on a.jsonl, which is no answer recall"),
        (lambda: spoil(recalls(), 2, low=None), "result 3, is no result"),
    ],
)
def test_a_file_that_is_no_retrieval_is_named(tmp_path: Path, told: Callable[[], object], said: str) -> None:
    with pytest.raises(MiniragError, match=said):
        retrieval_tables(written(tmp_path / "r.json", told()))


def test_a_file_that_is_cut_off_or_absent_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "s.json", study())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MiniragError, match="cannot be read as JSON"):
        study_tables(path)
    with pytest.raises(MiniragError, match="does not exist"):
        retrieval_tables(tmp_path / "absent.json")


def test_the_command_reports_on_what_was_committed_without_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--study", str(RESULTS / "endtoend.json"), "--retrieval", str(RESULTS / "retrieval.json")]
    assert main(["report", *files, "--out", str(tmp_path)]) == 0
    page, text = ((tmp_path / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    for told in ("MiniWiki, ablations", "The paper's table 6: published", "triviaqa_questions", "popqa_questions"):
        assert told in text
    assert page.count("<svg") == page.count("<figure>") == 4
    assert f"--study {RESULTS / 'endtoend.json'}" in page
    assert main(["report", "--out", str(tmp_path)]) == 1
    assert "no run to report on" in capsys.readouterr().err
