"""The marginalisation explorer: the sums are the package's, and moving a slider moves them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.errors import MiniragError
from minirag.rag.marginalize import document_posterior, worked_example
from minirag.teaching.widgets import marginalisation_view, marginalisation_widget
from minirag.teaching.widgets.marginalisation import SAID, marginals, marginals_html, told

probability = st.floats(0.01, 0.99)


@st.composite
def tables(draw, most=3):
    k, t = draw(st.integers(1, most)), draw(st.integers(1, most))
    scores = draw(st.lists(st.floats(-3, 3), min_size=k, max_size=k))
    return scores, draw(st.lists(st.lists(probability, min_size=t, max_size=t), min_size=k, max_size=k))


def test_the_worked_example() -> None:
    both = marginals([math.log(3), 0.0], SAID)
    assert (both.sequence, both.token) == (pytest.approx(0.39), pytest.approx(0.42))
    assert both.prior.tolist() == pytest.approx([0.75, 0.25])
    for scheme, posterior in (("token", both.by_token), ("sequence", both.by_sequence)):
        torch.testing.assert_close(posterior, document_posterior(*worked_example(), 2, scheme)[0])


@settings(max_examples=50)
@given(tables())
def test_both_sums_by_hand_and_whatever_the_order_of_documents(table) -> None:
    scores, said = table
    both = marginals(scores, said)
    weights = [math.exp(score) for score in scores]
    prior = [weight / sum(weights) for weight in weights]
    sequence = sum(p * math.prod(row) for p, row in zip(prior, said, strict=True))
    token = math.prod(sum(p * row[t] for p, row in zip(prior, said, strict=True)) for t in range(len(said[0])))
    assert both.sequence == pytest.approx(sequence, rel=1e-4)
    assert both.token == pytest.approx(token, rel=1e-4)
    turned = marginals(scores[::-1], said[::-1])
    assert (turned.sequence, turned.token) == (pytest.approx(both.sequence), pytest.approx(both.token))
    torch.testing.assert_close(turned.by_sequence, both.by_sequence.flip(1))


def test_which_sum_is_larger_is_told() -> None:
    assert told(marginals([0.0, 0.0], [[0.9, 0.1], [0.1, 0.9]])) == (
        "RAG-Sequence 0.09, RAG-Token 0.25: on the whole the documents complement each other"
    )
    assert told(marginals([0.0, 0.0], [[0.9, 0.9], [0.1, 0.1]])) == (
        "RAG-Sequence 0.41, RAG-Token 0.25: on the whole a document that likes one token likes the others, too"
    )
    assert told(marginals([0.0, 0.0], [[0.4, 0.5], [0.4, 0.5]])) == "RAG-Sequence 0.20, RAG-Token 0.20: they agree"


def test_the_sums_are_written_out() -> None:
    html = marginalisation_view()._repr_html_()
    assert "0.75 · 0.40 + 0.25 · 0.36" in html
    assert "0.70 · 0.60" in html
    assert 'title="token 2, “b”: document 2 has 37 %">37</td>' in html  # RAG-Token: 0.225 of 0.6
    assert 'title="token 2, “b”: document 2 has 23 %">23</td>' in html  # RAG-Sequence: 0.09 of 0.39


def test_sliding_moves_the_sums() -> None:
    *rows, shown = marginalisation_widget().children
    assert "RAG-Sequence 0.39, RAG-Token 0.42" in shown.value
    for row in rows:
        row.children[0].value = 0.0  # both documents alike: ½ (0.40 + 0.36), and 0.6 · 0.7
    assert "RAG-Sequence 0.38, RAG-Token 0.42" in shown.value
    rows[0].children[2].value = 0.9
    rows[1].children[2].value = 0.9  # nothing varies in the second token: no covariance
    assert "RAG-Sequence 0.54, RAG-Token 0.54: they agree" in shown.value
    rows[0].children[0].value = 3.0
    assert "0.95 · 0.72 + 0.05 · 0.36" in shown.value


def test_three_documents_and_three_tokens() -> None:
    said = ((0.9, 0.5, 0.1), (0.5, 0.5, 0.5), (0.1, 0.5, 0.9))
    *rows, shown = marginalisation_widget((0.0, 0.0, 0.0), said, ("x", "y", "z")).children
    assert [len(row.children) for row in rows] == [4, 4, 4]
    assert shown.value == marginals_html((0.0, 0.0, 0.0), said, ("x", "y", "z"))
    rows[2].children[3].value = 0.01
    assert shown.value == marginals_html((0.0, 0.0, 0.0), (*said[:2], (0.1, 0.5, 0.01)), ("x", "y", "z"))


def test_the_static_form_is_the_live_ones_first_view() -> None:
    view = marginalisation_view()
    assert view._repr_html_() == marginalisation_widget().children[-1].value
    assert repr(view) == "RAG-Sequence 0.39, RAG-Token 0.42: on the whole the documents complement each other"


def test_tokens_are_text_and_not_html() -> None:
    html = marginalisation_view(tokens=("<b>", "&"))._repr_html_()
    assert "<b>" not in html
    assert "p(&lt;b&gt; | z)" in html


@pytest.mark.parametrize(
    ("scores", "said"),
    [([], []), ([0.0], []), ([0.0], [[]]), ([0.0, 0.0], [[0.5], [0.5, 0.5]]), ([0.0], [[0.0]]), ([0.0], [[1.2]])],
)
def test_what_is_no_table_of_probabilities_is_refused(scores, said) -> None:
    with pytest.raises(MiniragError):
        marginals(scores, said)
    with pytest.raises(MiniragError):
        marginalisation_widget(scores, said)
