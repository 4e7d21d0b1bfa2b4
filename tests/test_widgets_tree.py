"""The tree of a beam search: what is drawn is what the package's search did with the table."""

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.errors import MiniragError
from minirag.teaching.widgets import tree_view, tree_widget
from minirag.teaching.widgets.tree import searched, tree_html

NILE = {
    (): {"in": 0.5, "the": 0.4, "Egypt": 0.1},
    ("in",): {"Egypt": 0.4, "Africa": 0.34, "Sudan": 0.26},
    ("the",): {"Mediterranean": 0.9, "sea": 0.1},
    ("in", "Egypt"): {"</s>": 0.6, "today": 0.4},
    ("the", "Mediterranean"): {"</s>": 0.6, "Sea": 0.4},
}
SVG = "{http://www.w3.org/2000/svg}"


def boxes(html: str) -> dict[str, str]:
    """What the tooltip of each box says, by the prefix."""
    tips = [tip.text for tip in ET.fromstring(html).iter(f"{SVG}title")]
    return dict(tip.split(": ", 1) for tip in tips)


def every_answer(table, prefix=(), total=0.0):
    for word, p in table.get(prefix, {"</s>": 1.0}).items():
        if word == "</s>":
            yield (*prefix, word), total + math.log(p)
        else:
            yield from every_answer(table, (*prefix, word), total + math.log(p))


def test_one_beam_is_greedy_and_two_find_the_best() -> None:
    assert searched(NILE, beams=1).best == ("in", "Egypt", "</s>")
    assert searched(NILE, beams=2).best == ("the", "Mediterranean", "</s>")
    one = searched(NILE, beams=1)
    assert one.kept == {("in",), ("in", "Egypt"), ("in", "Egypt", "</s>")}
    assert set(one.looked_at) == {
        *((word,) for word in NILE[()]),
        *(("in", word) for word in NILE[("in",)]),
        *(("in", "Egypt", word) for word in NILE[("in", "Egypt")]),
    }
    assert math.exp(one.looked_at[("in", "Egypt", "</s>")]) == pytest.approx(0.5 * 0.4 * 0.6)


@settings(max_examples=40)
@given(st.lists(st.integers(1, 9), min_size=12, max_size=12), st.sampled_from([-1.0, 0.0, 1.0]))
def test_wide_enough_a_search_is_exhaustive(numbers, alpha: float) -> None:
    rows = {(): "ab", ("a",): "cd", ("b",): "cd", ("a", "c"): "e.", ("b", "d"): "e.", ("a", "d"): "e."}
    parts = iter(numbers)
    table = {}
    for prefix, letters in rows.items():
        counts = {letter.replace(".", "</s>"): next(parts) for letter in letters}
        table[prefix] = {word: count / sum(counts.values()) for word, count in counts.items()}
    answers = dict(every_answer(table))
    result = searched(table, beams=len(answers), length_penalty=alpha)
    assert {text for text, _ in result.ended} == set(answers)
    for text, score in result.ended:
        assert score == pytest.approx(answers[text] / len(text) ** alpha, rel=1e-4, abs=1e-6)
    assert [score for _, score in result.ended] == sorted((score for _, score in result.ended), reverse=True)


def test_what_was_looked_at_stands_in_the_order_in_which_it_was_asked_for() -> None:
    """So that a saved picture is the same text each time; sets would change their order from one process to the next."""
    longest = [prefix for prefix in searched(NILE, beams=3).looked_at if len(prefix) == 3]
    asked = [("the", "Mediterranean"), ("in", "Egypt"), ("in", "Africa")]  # 0.36, 0.20, 0.17
    assert list(dict.fromkeys(prefix[:2] for prefix in longest))[:3] == asked
    assert [prefix[2] for prefix in longest[:4]] == ["</s>", "Sea", "</s>", "today"]


def test_each_box_says_what_became_of_its_prefix() -> None:
    told = boxes(tree_html(NILE, beams=2))
    assert told["the Mediterranean </s>"] == "p = 0.216, log p = −1.53, on the way to the best; 1st: −1.53 in score"
    assert told["the Mediterranean Sea </s>"] == "p = 0.144, log p = −1.94, kept; 2nd: −1.94 in score"
    assert told["in Africa"] == "p = 0.170, log p = −1.77, dropped"
    assert len(told) == len(searched(NILE, beams=2).looked_at)


def test_what_may_not_end_yet_is_told() -> None:
    told = boxes(tree_html(NILE, beams=2, min_length=3))
    assert told["the Mediterranean </s>"].endswith("too short to end")
    assert told["the Mediterranean Sea </s>"].endswith("on the way to the best; 1st: −1.94 in score")


def test_no_box_lies_on_another() -> None:
    places = {
        (box.get("x"), box.get("y")) for box in ET.fromstring(tree_html(NILE, beams=5)).iter(f"{SVG}rect") if box.get("x")
    }
    assert len(places) == len(searched(NILE, beams=5).looked_at)


def test_sliding() -> None:
    beams, penalty, shortest, shown = tree_widget(NILE).children
    assert "the best answer is “the Mediterranean” with p = 0.22" in shown.value
    beams.value = 1
    assert "the best answer is “in Egypt” with p = 0.12" in shown.value
    assert ">1 beam, length penalty 0, minimum length 0</text>" in shown.value
    beams.value = 2
    penalty.value = 1.0
    assert "the best answer is “the Mediterranean Sea” with p = 0.14 and score −0.48" in shown.value
    penalty.value = 0.0
    shortest.value = 3
    assert "the best answer is “the Mediterranean Sea” with p = 0.14 and score −1.94" in shown.value


def test_where_nothing_may_end_a_sentence_says_so_and_one_can_go_back() -> None:
    _, _, shortest, shown = tree_widget(NILE, beams=1).children
    before = shown.value
    shortest.value = 4  # "in Egypt today" would be the longest
    assert shown.value.startswith("<p role='alert'><b>no token is left that may come next; allow a shorter min_length")
    shortest.value = 0
    assert shown.value == before


def test_the_static_form_is_the_live_ones_first_view() -> None:
    view = tree_view(NILE, beams=3, length_penalty=0.5)
    assert view._repr_html_() == tree_widget(NILE, beams=3, length_penalty=0.5).children[-1].value
    assert repr(tree_view(NILE)).endswith("the best answer is “the Mediterranean” with p = 0.22 and score −1.53")


def test_words_are_text_and_not_html() -> None:
    html = tree_html({(): {"<b>": 0.5, "&": 0.5}})
    ET.fromstring(html)
    assert "<b>" not in html
    assert "&lt;b&gt;" in html


@pytest.mark.parametrize("row", [{"a": 0.5}, {"a": 1.5, "b": -0.5}, {}, {"a": 1.0, "b": 0.0}])
def test_a_row_that_does_not_add_up_is_refused(row) -> None:
    with pytest.raises(MiniragError, match="what follows 'in' does not add up to 1; mend"):
        tree_view({(): {"in": 1.0}, ("in",): row})
