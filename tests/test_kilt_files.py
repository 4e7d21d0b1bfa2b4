"""KILT's tasks from files to scores: TriviaQA's questions found by their ids, two labels of FEVER, and pages end to end."""

import json
from pathlib import Path
from typing import Any

import pytest

from minirag.cli import main
from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.publish import files
from minirag.corpus.rows import BadRows
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.evaluation.evaluate import difference, scored, significance
from minirag.evaluation.predictions import Prediction, Read, read_predictions, read_run
from minirag.evaluation.task_report import Measured, write_task_report
from minirag.retrieval.bm25 import BM25Index
from minirag.tasks.kilt import answer_scores, read_kilt, retrieval_scores
from minirag.tasks.kilt_files import read_kilt_fever, read_kilt_triviaqa, texts_by_id
from minirag.tasks.openqa import Question
from minirag.tasks.task import KILT, TASKS, task_called

TOLD = [{"answer": "Aare", "provenance": [{"wikipedia_id": "7", "title": "Bern"}]}]


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def trivia(path: Path, **texts: str) -> Path:
    data = [{"QuestionId": id, "Question": text, "SearchResults": []} for id, text in texts.items()]
    path.write_text(json.dumps({"Data": data, "Domain": "Wikipedia"}), encoding="utf-8")
    return path


# TriviaQA


def test_ids_find_their_questions_in_all_files(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "x.jsonl",
        {"id": "qw_2", "output": TOLD},
        {"id": "qw_1", "input": " ", "output": TOLD},
        {"id": "own", "input": "Its own?", "output": TOLD},
    )
    texts = [trivia(tmp_path / "a.json", qw_1="What flows round Bern? ", other="?"), trivia(tmp_path / "b.json", qw_2="Which?")]
    sets = (frozenset({"7"}),)
    assert read_kilt_triviaqa(path, texts) == [
        Question("qw_2", "Which?", ("Aare",), evidence=sets),
        Question("qw_1", "What flows round Bern?", ("Aare",), evidence=sets),
        Question("own", "Its own?", ("Aare",), evidence=sets),
    ]


def test_every_id_without_a_question_is_told_in_one_sentence(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", *({"id": f"qw_{i}", "output": TOLD} for i in range(1_025)))
    texts = [trivia(tmp_path / "a.json", qw_0="?"), trivia(tmp_path / "b.json", qw_4="?")]
    with pytest.raises(MiniragError) as caught:
        read_kilt_triviaqa(path, texts)
    said = str(caught.value)
    assert said.startswith(f"{path}: 1,023 ids have no question in {texts[0]}, {texts[1]}: 'qw_1', 'qw_2', 'qw_3', 'qw_5', ")
    assert "'qw_21' and 1,003 more; give TriviaQA's own files" in said
    assert "\n" not in said
    with pytest.raises(MiniragError, match=r"2 ids have no question in .*: 'qw_1', 'qw_3'; give"):
        read_kilt_triviaqa(lines(path, *({"id": f"qw_{i}", "output": TOLD} for i in (0, 1, 3, 4))), texts)
    bad = BadRows(skip=True)
    assert [one.id for one in read_kilt_triviaqa(path, texts, bad)] == ["qw_0", "qw_4"]
    assert (bad.total, bad.examples[0].row, bad.examples[0].why) == (2, 2, "no file of TriviaQA has a question for 'qw_1'")


def test_other_faults_of_the_files_are_named(tmp_path: Path) -> None:
    path, good = lines(tmp_path / "x.jsonl", {"id": "qw_1", "output": TOLD}), trivia(tmp_path / "a.json", qw_1="Which?")
    with pytest.raises(MiniragError, match=r"row 1: there is no 'input'; KILT's TriviaQA is published so"):
        read_kilt(path)  # who does not know is told
    with pytest.raises(MiniragError, match=r"1 ids have no question in no file of TriviaQA: 'qw_1'"):
        read_kilt_triviaqa(path, [])
    with pytest.raises(MiniragError, match="holds no question"):
        read_kilt_triviaqa(lines(tmp_path / "empty.jsonl"), [good])
    with pytest.raises(MiniragError, match="row 1: no output has an answer"):
        read_kilt_triviaqa(lines(tmp_path / "test.jsonl", {"id": "qw_1", "output": []}), [good])
    with pytest.raises(MiniragError, match=r"b.json, row 1: the id 'qw_1' is that of another question"):
        texts_by_id([good, trivia(tmp_path / "b.json", qw_1="Who?")])
    assert texts_by_id([good, good]) == {"qw_1": "Which?"}
    for content, why in (
        ("[", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "no list of objects 'Data'"),
        ('{"Data": ["x"]}', "no list of objects 'Data'"),
        ('{"Data": [{"QuestionId": "1"}]}', "row 1: there is no 'Question'"),
        ('{"Data": [{"Question": "?"}]}', "row 1: there is no 'QuestionId'"),
    ):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(MiniragError, match=why):
            texts_by_id([tmp_path / "bad.json"])
    with pytest.raises(MiniragError, match="cannot read"):
        texts_by_id([tmp_path / "none.json"])


# FEVER


def claim(id: str, *labels: str) -> dict[str, Any]:
    return {"id": id, "input": "Ys sank.", "output": [{"answer": label} for label in labels]}


def test_of_fever_two_labels_are_kept_and_the_rest_is_told(tmp_path: Path) -> None:
    rows = (
        claim("1", "SUPPORTS"),
        claim("2", "NOT ENOUGH INFO"),
        claim("3", "REFUTES", "REFUTES"),
        claim("4", "NOT ENOUGH INFO"),
    )
    bad = BadRows()
    found = read_kilt_fever(lines(tmp_path / "x.jsonl", *rows), bad)
    assert [(one.id, one.answers) for one in found] == [("1", ("SUPPORTS",)), ("3", ("REFUTES",))]
    assert bad.passed_over == {"claim that nothing decides": 2}
    for labels in (("TRUE",), ("SUPPORTS", "REFUTES"), ("SUPPORTS", "NOT ENOUGH INFO")):
        path = lines(tmp_path / "x.jsonl", *rows[:2], claim("5", *labels))
        with pytest.raises(MiniragError, match=r"x\.jsonl, row 3: has the labels"):
            read_kilt_fever(path)
    with pytest.raises(MiniragError, match="no claim that is supported or refuted"):
        read_kilt_fever(lines(tmp_path / "x.jsonl", rows[1]))


# Tasks


def test_the_tasks_are_those_of_the_leaderboard() -> None:
    names = {name: ([m.name for m in task.metrics], [m.name for m in task.page_metrics]) for name, task in KILT.items()}
    pages = ["R-precision", "recall@5"]
    assert names == {
        "kilt-nq": (["exact match", "F1"], ["KILT-exact match", "KILT-F1", *pages]),
        "kilt-triviaqa": (["exact match", "F1"], ["KILT-exact match", "KILT-F1", *pages]),
        "kilt-fever": (["accuracy"], ["KILT-accuracy", *pages]),
    }
    assert all(task_called(name) is task and task.name == name for name, task in KILT.items())
    assert KILT["kilt-fever"].labels == ("SUPPORTS", "REFUTES")
    assert KILT["kilt-triviaqa"].answers == "found"
    assert not KILT.keys() & TASKS.keys()
    assert KILT["kilt-nq"].short


def said(output: str, *pages: str | None) -> Prediction:
    return Prediction("1", "?", output, passages=tuple(Read(str(i), f"t{i}", 0.0, page=page) for i, page in enumerate(pages)))


def test_scores_look_at_pages_only_where_predictions_tell_them() -> None:
    task, asked = KILT["kilt-nq"], [Question("1", "?", ("Aare",), evidence=(frozenset({"7"}),))]
    scores = {one.metric: one.value for one in scored(task, asked, [said("the Aare", "", "7")], "x")}
    assert scores == {
        "exact match": 1.0, "F1": 1.0, "KILT-exact match": 0.0, "KILT-F1": 0.0, "R-precision": 0.0, "recall@5": 1.0,
    }  # fmt: skip
    alone, other = [said("Aare", None)], [said("Aare", "7")]
    assert {one.metric for one in scored(task, asked, alone, "x")} == {"exact match", "F1"}
    assert {one.metric for one in difference(task, asked, other, alone, ("a", "b"))} == {"exact match", "F1"}
    assert set(significance(task, asked, other, other)) == set(scores)
    by_pages = {one.metric: one.value for one in difference(task, asked, other, [said("Aare", "8")], ("a", "b"))}
    assert (by_pages["exact match"], by_pages["KILT-exact match"], by_pages["R-precision"]) == (0, 1, 1)


def test_a_title_is_like_no_id_and_two_passages_of_a_page_are_one() -> None:
    task, asked = KILT["kilt-nq"], [Question("1", "?", ("x",), evidence=(frozenset({"1984"}),))]
    novel = Prediction("1", "?", "x", passages=(Read("1", "1984", 1.0, page=""),))  # "1984" is its title, not its page
    twice = Prediction("1", "?", "x", passages=(Read("1", "a", 0.5, page="1984"), Read("2", "a", 0.5, page="1984")))
    for one, recall in ((novel, 0.0), (twice, 1.0)):
        assert {r.metric: r.value for r in scored(task, asked, [one], "x")}["recall@5"] == recall


def test_kilts_layout_tells_pages(tmp_path: Path) -> None:
    places = [{"wikipedia_id": "9", "title": "Ulm"}, {"wikipedia_id": 7}]
    (one,) = read_predictions(lines(tmp_path / "x.jsonl", {"id": 1, "output": [{"answer": "Aare", "provenance": places}]}))
    assert (one.output, one.pages) == ("Aare", ["9", "7"])
    for wrong in ({"title": "Ulm"}, {"wikipedia_id": None}, "9"):
        with pytest.raises(MiniragError, match="row 1: has a place in 'provenance' without a 'wikipedia_id'"):
            read_predictions(lines(tmp_path / "y.jsonl", {"id": 1, "output": [{"answer": "x", "provenance": [wrong]}]}))
    for wrong in (3, ["7"], {"a": 1}):
        with pytest.raises(MiniragError, match="row 1: has 'evidence' that is no list of lists"):
            read_predictions(lines(tmp_path / "z.jsonl", {"id": 1, "output": "x", "evidence": wrong}))


@pytest.fixture(scope="module")
def made(lands: MiniWiki, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniWiki's KILT files, and its passages and a BM25 index over them."""
    folder = tmp_path_factory.mktemp("kilt")
    for name, content in files(lands):
        if name.startswith("kilt/"):
            (folder / name.removeprefix("kilt/")).write_bytes(content)
    index = BM25Index()
    index.add(lands.passages)
    index.save(folder / "index")
    PassageStore.write(folder / "passages", lands.passages)
    return folder


@pytest.mark.parametrize("name", ["nq", "triviaqa", "fever"])
def test_from_miniwikis_files_to_scores_to_a_report(
    lands: MiniWiki, made: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, run = made / f"{name}-test.jsonl", tmp_path / "run"
    where = ["--index", str(made / "index"), "--passages", str(made / "passages"), "--questions", str(asked)]
    more = ["-k", "3", "--out", str(run), "--quiet", "--json"]
    assert main(["evaluate", f"kilt-{name}", *where, *more]) == 0
    told = json.loads(capsys.readouterr().out)
    ours = {one["metric"]: one["value"] for one in told["results"]}

    questions, dropped = read_kilt(asked), 0
    if name == "fever":
        dropped = sum(one.answers == ("NOT ENOUGH INFO",) for one in questions)
        questions = [one for one in questions if one.answers != ("NOT ENOUGH INFO",)]
        assert told["passed_over"] == {"claim that nothing decides": dropped}
        assert dropped > 0
    facts, predictions = read_run(run)
    assert [one.example for one in predictions] == questions
    evidence = {page for one in questions for pages in one.evidence for page in pages}
    right = [[lands.page_of_passage[z.id] for z in one.passages] for one in predictions]
    assert [[z.page for z in one.passages] for one in predictions] == [
        [page if page in evidence else "" for page in own] for own in right
    ]
    outputs = [one.output for one in predictions]
    expected = answer_scores(outputs, right, questions) | retrieval_scores(right, questions)
    assert expected["recall@5"] > 0.3
    assert {m: v for m, v in ours.items() if m != "recall"} == pytest.approx(
        {m: v for m, v in expected.items() if m in ours}, abs=1e-12
    )
    assert {m.name for m in (*KILT[f"kilt-{name}"].metrics, *KILT[f"kilt-{name}"].page_metrics)} <= ours.keys()

    # The same predictions, in KILT's layout with the ids of all pages, as others would bring them; and a report of the run.
    kilts = [
        {
            "id": one.id,
            "input": one.question,
            "output": [{"answer": one.output, "provenance": [{"wikipedia_id": z} for z in own]}],
        }
        for one, own in zip(predictions, right, strict=True)
    ]
    for path in (lines(tmp_path / "theirs.jsonl", *kilts), run / "predictions.jsonl"):
        assert main(["score", f"kilt-{name}", "--questions", str(asked), "--predictions", str(path), "--json"]) == 0
        again = {one["metric"]: one["value"] for one in json.loads(capsys.readouterr().out)["results"]}
        assert again == pytest.approx({m: v for m, v in ours.items() if m in again})
        assert {"R-precision", "recall@5"} <= again.keys()
    page = write_task_report(tmp_path / "report", [Measured.read(run)]).read_text(encoding="utf-8")
    assert all(head in page for head in ("R-precision", "recall@5", "(KILT)"))
    assert facts["task"] == f"kilt-{name}"


def test_the_command_joins_triviaqa_and_says_whose_option_that_is(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in (made / "triviaqa-test.jsonl").read_text(encoding="utf-8").splitlines()][:3]
    texts = trivia(tmp_path / "wikipedia-dev.json", **{row["id"]: row.pop("input") for row in rows})
    path = lines(tmp_path / "ids.jsonl", *rows)
    where = ["--index", str(made / "index"), "--passages", str(made / "passages"), "--questions", str(path)]
    command = ["evaluate", "kilt-triviaqa", *where, "-k", "2", "--out", str(tmp_path / "run"), "--quiet"]
    assert main(command) == 1
    assert "ids.jsonl, row 1: there is no 'input'" in capsys.readouterr().err
    assert main([*command, "--triviaqa", str(texts)]) == 0
    assert "3 examples" in capsys.readouterr().out
    score = ["score", "kilt-triviaqa", "--questions", str(path), "--predictions", str(tmp_path / "run" / "predictions.jsonl")]
    assert main([*score, "--triviaqa", str(texts)]) == 0
    command[1] = "kilt-nq"
    assert main([*command, "--triviaqa", str(texts)]) == 1
    assert "--triviaqa is for kilt-triviaqa" in capsys.readouterr().err
