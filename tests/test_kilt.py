"""KILT's questions and pages, and its scores: as published, by hand, and against the definition told another way."""

import gzip
import json
import re
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.publish import files
from minirag.corpus.rows import BadRows
from minirag.corpus.wikipedia import read_kilt as read_pages
from minirag.errors import MiniragError
from minirag.tasks.kilt import (
    answer_scores,
    page_ids,
    precision_at,
    r_precision,
    ranking,
    read_kilt,
    recall_at,
    retrieval_scores,
    success_at,
)
from minirag.tasks.metrics import normalize_answer
from minirag.tasks.openqa import Question

ROW: dict[str, Any] = {
    "id": "q1",
    "input": " What flows round Bern? ",
    "output": [
        {
            "answer": " Aare ",
            "meta": {},
            "provenance": [
                {"wikipedia_id": "7", "title": "Bern", "section": "", "start_paragraph_id": 1},
                {"wikipedia_id": 9, "title": "Aare", "start_paragraph_id": 2},
                {"wikipedia_id": " 7 ", "title": "Bern", "start_paragraph_id": 4},
            ],
        },
        {"answer": "the river Aare"},
        {"answer": "Aare", "provenance": []},
        {"answer": " ", "provenance": None},
        {"provenance": [{"wikipedia_id": "11", "title": "Rivers"}]},
    ],
    "meta": {},
}


def written(path: Path, *rows: object) -> Path:
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return path


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_a_row_by_hand(tmp_path: Path, name: str) -> None:
    sets = (frozenset({"7", "9"}), frozenset({"11"}))
    expected = Question("q1", "What flows round Bern?", ("Aare", "the river Aare"), evidence=sets)
    assert read_kilt(written(tmp_path / name, ROW)) == [expected]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"input": " "}, "'input' is empty"),
        ({"input": 7}, "'input' should be text"),
        ({"output": None}, "'output' should be a list"),
        ({"output": ["Aare"]}, "'output' should be a list of objects"),
        ({"output": []}, "no output has an answer"),
        ({"output": [{"answer": " "}]}, "no output has an answer"),
        ({"output": [{"provenance": [{"wikipedia_id": "7"}]}]}, "no output has an answer"),
        ({"output": [{"answer": 0}]}, "'answer' should be text but is int"),
        ({"output": [{"answer": ["Aare"]}]}, "'answer' should be text but is list"),
        ({"output": [{"answer": "\ud800"}]}, "not UTF-8"),
        ({"output": [{"answer": "Aare", "provenance": {}}]}, "'provenance' should be a list"),
        ({"output": [{"answer": "Aare", "provenance": ["7"]}]}, "'provenance' should be a list of objects"),
        ({"output": [{"answer": "Aare", "provenance": [{"title": "Bern"}]}]}, "there is no 'wikipedia_id'"),
        ({"output": [{"answer": "Aare", "provenance": [{"wikipedia_id": None}]}]}, "'wikipedia_id' should be text"),
        ({"output": [{"answer": "Aare", "provenance": [{"wikipedia_id": True}]}]}, "'wikipedia_id' should be text"),
        ({"id": 1.5}, "'id' should be text or a whole number"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    path = written(tmp_path / "x.jsonl", ROW, ROW | change)
    with pytest.raises(MiniragError, match=why) as error:
        read_kilt(path)
    assert str(error.value).startswith(f"{path}, row 2: ")
    bad = BadRows(skip=True)
    assert len(read_kilt(path, bad)) == bad.total == 1


def test_rows_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(MiniragError, match=r"row 2: there is no 'input'"):
        read_kilt(written(tmp_path / "x.jsonl", ROW, {"id": 1, "output": ROW["output"]}))
    with pytest.raises(MiniragError, match="row 1: should be a JSON object"):
        read_kilt(written(tmp_path / "x.jsonl", [ROW]))
    with pytest.raises(MiniragError, match="holds no question"):
        read_kilt(written(tmp_path / "x.jsonl"))


text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=9).filter(str.strip)


@settings(max_examples=50)
@given(st.lists(st.tuples(text, st.lists(st.tuples(text, st.lists(st.integers(0, 99))), min_size=1)), min_size=1))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, rows: Any) -> None:
    made = [
        {"input": asked, "output": [{"answer": a, "provenance": [{"wikipedia_id": str(i)} for i in ids]} for a, ids in told]}
        for asked, told in rows
    ]
    read = read_kilt(written(tmp_path_factory.mktemp("kilt") / "x.jsonl", *made))
    assert [one.question for one in read] == [asked.strip() for asked, _ in rows]
    assert [one.answers for one in read] == [tuple(dict.fromkeys(a.strip() for a, _ in told)) for _, told in rows]
    assert [one.evidence for one in read] == [tuple({*map(str, ids)} for _, ids in told if ids) for _, told in rows]


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text("ab ", max_size=2), lambda inner: st.lists(inner, max_size=2)
)
places = st.lists(json_like | st.fixed_dictionaries({}, optional={"wikipedia_id": json_like}), max_size=2)
outputs = st.fixed_dictionaries({}, optional={"answer": json_like, "provenance": json_like | places})
rows = st.fixed_dictionaries({}, optional={"id": json_like, "input": json_like, "output": json_like | st.lists(outputs)})


@settings(max_examples=300)
@given(json_like | rows)
def test_any_json_is_a_question_or_one_sentence(tmp_path_factory: pytest.TempPathFactory, row: object) -> None:
    path = written(tmp_path_factory.mktemp("kilt") / "x.jsonl", row, ROW)
    bad = BadRows(skip=True)
    *first, last = read_kilt(path, bad)
    assert last.id == "q1"
    assert len(first) + bad.total == 1
    assert [one.row for one in bad.examples] == [1] * bad.total
    for one in first:
        assert one.question.strip()
        assert all(map(str.strip, one.answers))
        assert all(one.evidence)


# Scores


def asked(*sets: str, answers: tuple[str, ...] = ("Aare",)) -> Question:
    """A question whose sets of evidence are strings of one-letter pages."""
    return Question("1", "What flows round Bern?", answers, evidence=tuple(map(frozenset, sets)))


def test_the_published_figures_of_retrieval() -> None:
    # KILT's tests/test_eval_retrieval.py: sets of two, one and three pages, and two guesses, here with letters for its numbers.
    question = asked("ab", "e", "gik")
    expected = {"R-precision": 1 / 2, "precision@5": 2 / 5, "recall@5": 2 / 3, "success rate@5": 1}
    assert retrieval_scores([list("begxaiyz")], [question]) == pytest.approx(expected)
    assert precision_at(1, list("begxaiyz"), question.evidence) == 1
    expected = {"R-precision": 1, "precision@5": 1 / 5, "recall@5": 1 / 3, "success rate@5": 1}
    assert retrieval_scores([["e"]], [question]) == pytest.approx(expected)
    assert precision_at(1, ["e"], question.evidence) == 1


def test_the_published_figures_of_answers() -> None:
    # KILT's tests/test_eval_downstream.py: the first answer is right and its page found; the second is right but for an
    # article, the third a word of three, and both have found another page.
    questions = [asked("b"), asked("b"), asked("b", answers=("it was Aare",))]
    said, found = ["Aare", "an Aare", "Aare"], [["b"], ["x"], ["x"]]
    assert answer_scores(said, found, questions) == {
        "accuracy": pytest.approx(1 / 3),
        "exact match": pytest.approx(2 / 3),
        "F1": pytest.approx(0.8333333333333334, abs=1e-15),
        "ROUGE-L": pytest.approx(0.7222222178240741, abs=1e-15),
        "KILT-accuracy": pytest.approx(1 / 3),
        "KILT-exact match": pytest.approx(1 / 3),
        "KILT-F1": pytest.approx(1 / 3),
        "KILT-ROUGE-L": pytest.approx(0.3333333316666667, abs=1e-15),
    }
    pages = retrieval_scores(found, questions)
    assert (pages["R-precision"], pages["recall@5"]) == pytest.approx((1 / 3, 1 / 3))
    gold = answer_scores([one.answers[0] for one in questions], [["b"]] * 3, questions)
    assert {name: score for name, score in gold.items() if "ROUGE-L" not in name} == dict.fromkeys(
        ["accuracy", "exact match", "F1", "KILT-accuracy", "KILT-exact match", "KILT-F1"], 1.0
    )
    assert (gold["ROUGE-L"], gold["KILT-ROUGE-L"]) == pytest.approx((0.999999995, 0.999999995), abs=1e-15)


@pytest.mark.parametrize(
    ("found", "sets", "share"),
    [
        ("", ["a"], 0),
        ("a", [], 0),
        ("xa", ["a"], 0),  # R is 1, and the page stands second
        ("xab", ["ab"], 1 / 2),
        ("aab", ["ab"], 1),  # found twice is found once
        ("ba", ["ab", "c"], 1),
        ("ca", ["ab", "c"], 1),  # one set is enough
        ("abx", ["abc", "abcd"], 2 / 3),
    ],
)
def test_r_precision_by_hand(found: str, sets: list[str], share: float) -> None:
    assert r_precision(list(found), asked(*sets).evidence) == pytest.approx(share)


@pytest.mark.parametrize(
    ("found", "sets", "places"),
    [
        ("", ["a"], ""),
        ("xy", [], "--"),
        ("xa", ["a"], "-+"),
        ("axxb", ["ab"], "-+"),  # a set stands where its last page does, and takes one place
        ("xaxy", ["ab"], "---"),  # also one of which a page is missing
        ("aac", ["ab", "ab", "c"], "-+"),  # a set that is named twice is one, and so is a page found twice
        ("a", ["a", "ab"], "+-"),  # a page in two sets has a place in both
        ("ab", ["a", "ab"], "++"),
    ],
)
def test_the_ranking_by_hand(found: str, sets: list[str], places: str) -> None:
    assert ranking(list(found), asked(*sets).evidence) == [place == "+" for place in places]


def places_by_sorting(found: list[str], sets: list[frozenset[str]]) -> list[bool]:
    """Every set of which something was found, and every other page, put in order of where it stands."""
    standing = {page: row for row, page in reversed([*enumerate(found)])}
    ordered = sorted(standing, key=standing.__getitem__)
    places = [(ordered.index(page), 0, False) for page in ordered if not any(page in one for one in sets)]
    for number, one in enumerate(dict.fromkeys(sets)):
        if rows := [ordered.index(page) for page in one if page in ordered]:
            places.append((max(rows), number, len(rows) == len(one)))
    return [hit for _, _, hit in sorted(places)]


pages = st.lists(st.sampled_from("abcdef"), max_size=9)
evidence = st.lists(st.frozensets(st.sampled_from("abcdef"), min_size=1, max_size=3), max_size=4)


@settings(max_examples=300)
@given(pages, evidence, st.integers(1, 6))
def test_the_ranking_against_the_definition_told_another_way(found: list[str], sets: list[frozenset[str]], k: int) -> None:
    places = places_by_sorting(found, sets)
    assert ranking(found, sets) == places
    hits, distinct = sum(places[:k]), len(set(sets))
    assert precision_at(k, found, sets) == pytest.approx(hits / k)
    assert recall_at(k, found, sets) == pytest.approx(hits / distinct if distinct else 0)
    assert success_at(k, found, sets) == (hits > 0)
    if r_precision(found, sets) == 1:
        assert any(places)  # a set that fills the first R pages is found whole
    assert recall_at(99, [*found, *"abcdef"], sets) == (1 if sets else 0)


def kilts_recall(found: list[str], outputs: list[dict[str, Any]], k: int) -> float:
    """Recall@k as KILT's script has it for evidence of one page each: an empty list is a set, too; an absent one is none."""
    sets = {frozenset(place["wikipedia_id"] for place in one["provenance"]) for one in outputs if "provenance" in one}
    return sum(frozenset({page}) in sets for page in found[:k]) / len(sets)


def test_an_empty_list_of_provenance_lowers_kilts_recall_and_not_ours(tmp_path: Path) -> None:
    told = {"answer": "Aare", "provenance": [{"wikipedia_id": "7"}]}
    for alias, theirs in (({"answer": "the Aare"}, 1.0), ({"answer": "the Aare", "provenance": []}, 0.5)):
        outputs = [told, alias]
        (one,) = read_kilt(written(tmp_path / "x.jsonl", {"id": "1", "input": "?", "output": outputs}))
        assert kilts_recall(["7", "8"], outputs, 5) == theirs
        assert recall_at(5, ["7", "8"], one.evidence) == 1.0


def test_titles_tell_pages_where_they_tell_one(tmp_path: Path) -> None:
    places = [
        {"wikipedia_id": "7", "title": "Bern"},
        {"wikipedia_id": 7, "title": " Bern "},
        {"wikipedia_id": "7", "title": "Berne"},  # a page may have two titles
        {"wikipedia_id": "8", "title": "Z\u00fcrich"},
        {"wikipedia_id": "9", "title": "Aare"},
        {"wikipedia_id": "10", "title": "Aare"},  # but which of two pages is it that a passage called so is of?
        {"wikipedia_id": "11"},
    ]
    bad = BadRows()
    path = written(tmp_path / "x.jsonl", ROW | {"output": [{"answer": "x", "provenance": places}, {"answer": "y"}]})
    assert page_ids(path, bad) == {"Bern": "7", "Berne": "7", "Zu\u0308rich": "8"}
    assert bad.passed_over == {"title that stands for several pages": 1}
    with pytest.raises(MiniragError, match="row 1: 'provenance' should be a list"):
        page_ids(written(tmp_path / "y.jsonl", ROW | {"output": [{"answer": "x", "provenance": "Bern"}]}))


def test_what_no_page_tells_counts_nothing() -> None:
    asked_so = [asked("b"), asked()]
    assert retrieval_scores([["b"], ["b"]], asked_so, k=1) == {
        "R-precision": 0.5,
        "precision@1": 0.5,
        "recall@1": 0.5,
        "success rate@1": 0.5,
    }
    assert answer_scores(["Aare", "Aare"], [["b"], ["b"]], asked_so)["KILT-exact match"] == 0.5
    assert recall_at(1, ["b"], [frozenset({"b"}), frozenset()]) == r_precision(["b"], [frozenset({"b"}), frozenset()]) == 1


@pytest.mark.parametrize(
    ("said", "answers", "expected"),
    [
        (" Aare ", ("Bern", "Aare"), (1, 1, 1)),
        ("aare!", ("Aare",), (0, 1, 1)),
        ("Aare and Rhine", ("Rhine", "Aare"), (0, 0, 1 / 2)),
        ("A", ("A", "b"), (1, 1, 0)),  # an article alone: the same, but without a word in common
        (" ", ("the",), (0, 0, 0)),  # nothing said is never right
    ],
)
def test_answers_by_hand(said: str, answers: tuple[str, ...], expected: tuple[float, ...]) -> None:
    scores = answer_scores([said], [["b"]], [asked("b", answers=answers)])
    assert (scores["accuracy"], scores["exact match"], scores["F1"]) == pytest.approx(expected)
    assert all(scores[f"KILT-{name}"] == scores[name] for name in ("accuracy", "exact match", "F1", "ROUGE-L"))
    for pages in ("b", "bxc", "xbc"):  # half of R-precision is not enough
        half = answer_scores([said], [list(pages)], [asked("bc", answers=answers)])
        assert half == {name: 0 if name.startswith("KILT-") else score for name, score in scores.items()}


@given(st.text(st.sampled_from("aAtThe nN.,-'“´É\u2003\t"), max_size=20) | st.text(max_size=20))
def test_kilts_normal_form_is_squads(said: str) -> None:
    # KILT's: lower case, then no ASCII punctuation, then articles as words to blanks, then single spaces.
    bare = said.lower().translate(str.maketrans("", "", string.punctuation))
    assert normalize_answer(said) == " ".join(re.sub(r"\b(?:an?|the)\b", " ", bare).split())


def test_predictions_are_one_for_each_question() -> None:
    with pytest.raises(MiniragError, match="2 predictions for 1 questions"):
        retrieval_scores([["a"], ["b"]], [asked("a")])
    with pytest.raises(MiniragError, match="1 and 2 predictions for 1 questions"):
        answer_scores(["x", "y"], [["a"]], [asked("a")])
    with pytest.raises(MiniragError, match="0 and 0 predictions for 0 questions"):
        answer_scores([], [], [])
    with pytest.raises(MiniragError, match="k is 0"):
        retrieval_scores([["a"]], [asked("a")], k=0)


def test_what_miniwiki_publishes_is_read(lands: MiniWiki, tmp_path: Path) -> None:
    contents = {name: content for name, content in files(lands) if name.startswith("kilt/")}
    (tmp_path / "knowledge.jsonl").write_bytes(contents.pop("kilt/knowledge.jsonl"))
    pages = {article.id: article.title for article in read_pages(tmp_path / "knowledge.jsonl")}
    assert pages == {page.id: page.title for page in lands.pages}
    assert {name.split("/")[1].split("-")[0] for name in contents} == {"nq", "triviaqa", "fever"}
    for name, content in contents.items():
        task, split = Path(name).stem.split("-")
        examples = lands.by_split(task)[split]
        (tmp_path / "x.jsonl").write_bytes(content)
        questions = read_kilt(tmp_path / "x.jsonl")
        assert [(one.id, one.question, one.answers) for one in questions] == [
            (e.id, e.text, tuple(e.answers)) for e in examples
        ]
        told = [list(dict.fromkeys(place.page.id for place in lands.evidence_of(e))) for e in examples]
        assert [list(dict.fromkeys(one.evidence)) for one in questions] == [[frozenset({page}) for page in one] for one in told]
        assert any(told)
        assert all(page in pages for one in told for page in one)
        scores = answer_scores([one.answers[0] for one in questions], told, questions)
        assert scores["exact match"] == 1
        assert scores["KILT-exact match"] == pytest.approx(sum(map(bool, told)) / len(told))
