"""Targets: one answer for each question, by each task's rule."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.retrieval.bm25 import BM25Index
from minirag.retrieval.retriever import Retriever
from minirag.tasks.openqa import Question
from minirag.training.targets import MOST_SPELLINGS, QuestionAnswer, answers_found, answers_matched, each_answer, spellings

TEXTS = (
    "The Nile was measured in 1912 and in 1913.",
    "In 1913 the river Nile rose.",
    "Of the river Rhine nothing is said but that Father Rhine is old.",
)


@pytest.fixture
def retriever(tmp_path) -> Retriever:
    passages = [Passage(str(row), f"T{row}", text) for row, text in enumerate(TEXTS)]
    index = BM25Index()
    index.add(passages)
    return Retriever(index, PassageStore.write(tmp_path / "passages", passages))


def test_every_answer_is_an_example() -> None:
    questions = [Question("1", "who?", ("A", "B")), Question("2", "what?", ("C",))]
    assert each_answer(questions) == [QuestionAnswer("who?", "A"), QuestionAnswer("who?", "B"), QuestionAnswer("what?", "C")]


def test_aliases_that_no_passage_has_are_left_out(retriever: Retriever) -> None:
    questions = [
        Question("1", "Which river is old?", ("Rhine", "Rhenus", "father rhine", "Rhin")),
        Question("2", "Which river?", ("Danube",)),
    ]
    assert answers_found(questions, retriever) == [
        QuestionAnswer("Which river is old?", "Rhine"),
        QuestionAnswer("Which river is old?", "father rhine"),
    ]


def test_answers_are_looked_for_in_the_top_passages_only(retriever: Retriever) -> None:
    question = [Question("1", "When was the Nile measured?", ("1912", "Father Rhine"))]
    assert [one.answer for one in answers_found(question, retriever, k=1)] == ["1912"]


def test_of_a_pattern_the_most_frequent_match_is_the_target(retriever: Retriever) -> None:
    question = Question("1", "In which year did the Nile rise?", (r"191\d",), "regex")
    assert answers_matched([question], retriever) == [QuestionAnswer(question.question, "1913")]


def test_a_pattern_that_matches_nowhere_is_spelled_out(retriever: Retriever) -> None:
    question = Question("1", "Which river?", (r"Danube|Donau( river)?",), "regex")
    assert [one.answer for one in answers_matched([question], retriever)] == ["Danube", "Donau river", "Donau"]


def test_a_pattern_that_is_none_is_named(retriever: Retriever) -> None:
    with pytest.raises(MiniragError, match=r"the answer pattern '\(Nile' cannot be searched for .*; correct it"):
        answers_matched([Question("1", "Which river?", ("(Nile",), "regex")], retriever)


@pytest.mark.parametrize(
    ("pattern", "spelled"),
    [
        ("Nile", ["Nile"]),
        (r"U\.?S\.?", ["U.S.", "U.S", "US.", "US"]),
        (r"(?<!\w)(New\s+York|N\.Y\.)(?!\w)", ["New York", "N.Y."]),
        (r"\bCapt(ain)? (James )?Cook\b", ["Captain James Cook", "Captain Cook", "Capt James Cook", "Capt Cook"]),
        ("(a|b(c|d))e", ["ae", "bce", "bde"]),
        (r"19[1-3]\d", ["19"]),
        ("[^x]y|[]]z", ["y", "z"]),
        ("a{2}b{0,1}", ["aab", "aa"]),
        ("(?:Mr )?(?P<last>Smith)", ["Mr Smith", "Smith"]),
        ("x*?y+", ["xy", "y"]),
    ],
)
def test_patterns_spelled_out(pattern: str, spelled: list[str]) -> None:
    assert spellings(pattern) == spelled


@pytest.mark.parametrize("pattern", ["(a", "a)", "((a)"])
def test_unbalanced_brackets_are_named(pattern: str) -> None:
    with pytest.raises(MiniragError, match="bracket"):
        spellings(pattern)


def test_a_pattern_with_very_many_ways_is_cut() -> None:
    assert len(spellings("(a|b|c|d)" * 30)) == MOST_SPELLINGS
    assert len(spellings("a{1000000000}")[0]) <= MOST_SPELLINGS


words = st.text("abcXYZ", min_size=1, max_size=4)
patterns = st.recursive(
    words,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda each: f"({'|'.join(each)})"),
        inner.map(lambda each: f"({each})?"),
        st.lists(inner, min_size=1, max_size=2).map("".join),
    ),
    max_leaves=5,
)


@given(patterns)
def test_what_is_spelled_out_matches(pattern: str) -> None:
    """Without sets and counts every spelling is a text that the pattern matches, and no two are alike."""
    found = spellings(pattern)
    assert all(re.fullmatch(pattern, text) for text in found)
    assert len(set(found)) == len(found)
