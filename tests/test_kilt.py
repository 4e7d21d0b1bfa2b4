"""KILT's examples and scores: its own expectations on data of the same kind, definitions by hand, and what is malformed."""

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.publish import files
from minirag.errors import MiniragError
from minirag.tasks.kilt import kilt_scores, precision_at, r_precision, read_kilt, recall_at
from minirag.tasks.openqa import Question

ROW = {
    "id": "5",
    "input": " Who wrote it? ",
    "output": [
        {"answer": "Ovid", "provenance": [{"wikipedia_id": "7", "title": "Ovid"}, {"wikipedia_id": 8}]},
        {"answer": "Publius Ovidius Naso"},
        {"provenance": [{"wikipedia_id": "9"}]},
        {"answer": "Ovid", "provenance": [{"wikipedia_id": "8"}, {"wikipedia_id": "7"}]},
    ],
    "meta": {},
}


def written(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_examples_have_answers_and_the_pages_of_each_set(tmp_path: Path) -> None:
    (one,) = read_kilt(written(tmp_path / "x.jsonl", ROW))
    evidence = (frozenset({"7", "8"}), frozenset({"9"}))
    assert one == Question("5", "Who wrote it?", ("Ovid", "Publius Ovidius Naso"), evidence=evidence)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"id": "5", "input": "?"}, "row 1.*'output'"),
        (ROW | {"output": ["x"]}, "row 1.*'output'"),
        (ROW | {"output": [{"provenance": []}]}, "row 1.*no output has an 'answer'"),
        (ROW | {"output": [{"answer": "x", "provenance": [{}]}]}, "row 1.*'wikipedia_id'"),
        (ROW | {"output": [{"answer": "x", "provenance": 3}]}, "row 1.*'provenance'"),
        (ROW | {"output": [{"answer": 3}]}, "row 1"),
        (ROW | {"input": ""}, "row 1"),
        ("text", "row 1"),
    ],
)
def test_what_is_no_example_is_named(tmp_path: Path, row: object, why: str) -> None:
    with pytest.raises(MiniragError, match=why):
        read_kilt(written(tmp_path / "x.jsonl", row))
    with pytest.raises(MiniragError, match="no example"):
        read_kilt(written(tmp_path / "empty.jsonl"))


def test_kilts_own_expectation() -> None:
    """Two of three match exactly, the third has half of its words: EM 2/3, F1 0.8333, as KILT's test has them."""
    examples = [Question(str(i), "?", answers) for i, answers in enumerate((("Ovid",), ("The Suicide", "x"), ("a b c",)))]
    found = kilt_scores(["ovid!", "suicide", "c"], [[], [], []], examples)
    assert found.downstream["EM"] == pytest.approx(2 / 3)
    assert found.downstream["F1"] == pytest.approx((1 + 1 + 2 / 3) / 3)  # "a" is an article: b c against c
    assert found.downstream["accuracy"] == 0
    assert set(found.kilt.values()) == {0.0}


def test_answers_count_only_where_r_precision_is_one() -> None:
    both = Question("1", "?", ("Ovid",), evidence=(frozenset({"7", "8"}), frozenset({"9"})))
    pages = [["7", "8"], ["9", "1"], ["7", "1", "8"], ["1", "9"]]
    assert [r_precision(own, both.evidence) for own in pages] == [1.0, 1.0, 0.5, 0.0]
    found = kilt_scores(["Ovid"] * 4, pages, [both] * 4)
    assert (found.downstream["EM"], found.r_precision, found.kilt["EM"]) == (1.0, 2.5 / 4, 0.5)
    assert found.recall_at_5 == 0.5  # each time one of two sets
    with pytest.raises(MiniragError, match="1 outputs and 2 lists"):
        kilt_scores(["x"], [[], []], [both])


@pytest.mark.parametrize(
    ("pages", "sets", "recalls", "precisions"),
    [
        ("abc", ["a", "b"], [0.5, 1, 1], [1, 1, 2 / 3]),
        ("axb", ["ab"], [0, 1, 1], [0, 0.5, 1 / 3]),  # x, then the whole of ab
        ("xax", ["a"], [0, 1, 1], [0, 0.5, 1 / 3]),
        ("aab", ["ab"], [0, 1, 1], [0, 0.5, 1 / 3]),  # a page seen before takes a place
        ("ab", ["ab", "a"], [0.5, 1, 1], [1, 1, 2 / 3]),
        ("xyz", ["a"], [0, 0, 0], [0, 0, 0]),
        ("a", ["ab"], [0, 0, 0], [0, 0, 0]),
    ],
)
def test_a_set_takes_one_place(pages: str, sets: list[str], recalls: list[float], precisions: list[float]) -> None:
    evidence = tuple(map(frozenset, sets))
    assert [recall_at(list(pages), evidence, k) for k in (1, 2, 3)] == pytest.approx(recalls)
    assert [precision_at(list(pages), evidence, k) for k in (1, 2, 3)] == pytest.approx(precisions)


PAGES = st.lists(st.sampled_from("abcde"), unique=True, max_size=5)
SETS = st.lists(st.frozensets(st.sampled_from("abcde"), min_size=1), min_size=1, max_size=3, unique=True).map(tuple)


@given(PAGES, SETS)
@settings(deadline=None)
def test_of_single_pages_recall_is_the_share_that_is_found(pages: list[str], sets: tuple[frozenset[str], ...]) -> None:
    single = tuple(dict.fromkeys(frozenset({min(own)}) for own in sets))
    for k in (1, 2, 5):
        found = sum(min(own) in pages[:k] for own in single)
        assert recall_at(pages, single, k) == found / len(single)
        assert precision_at(pages, single, k) == found / k
    assert recall_at(pages, sets, 99) == sum(own <= set(pages) for own in sets) / len(sets)
    best = max(
        len(own & set(part)) / len(own) for own in sets for part in itertools.accumulate([[], *pages[: len(own)]], _longer)
    )
    assert r_precision(pages, sets) == best


def _longer(before: list[str], page: str) -> list[str]:
    return [*before, page]


def test_without_evidence_nothing_is_found() -> None:
    assert (recall_at(["a"], (), 1), precision_at(["a"], (), 1), r_precision(["a"], ())) == (0, 0, 0)


def test_what_miniwiki_publishes_is_read(lands: MiniWiki, tmp_path: Path) -> None:
    examples = lands.by_split("nq")["train"]
    (content,) = (content for name, content in files(lands) if name == "kilt/nq-train.jsonl")
    (tmp_path / "train.jsonl").write_bytes(content)
    for one, example in zip(read_kilt(tmp_path / "train.jsonl"), examples, strict=True):
        assert (one.id, one.question) == (example.id, example.text)
        assert set(one.answers) == set(example.answers)
        assert frozenset().union(*one.evidence) == {place.page.id for place in lands.evidence_of(example)}
