"""The retrieval explorer: what a question finds, what probing fewer lists misses, and what its controls change."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.ivf import IVFIndex
from minirag.teaching.widgets import Shelf, explorer, explorer_view, explorer_widget
from minirag.teaching.widgets.explorer import explored, explored_html

VECTORS = torch.tensor([[9.0, 0.1], [8.0, 0.0], [0.1, 5.0], [0.0, 4.0]])
DIRECTIONS = {"east": [1.0, 0.2], "north": [0.2, 1.0]}
PASSAGES = [
    Passage(str(row), title, f"{title} is a place.") for row, title in enumerate(("Ostend", "Eastbourne", "Nordkapp", "N"))
]


class Compass:
    """Questions that name a direction."""

    fingerprint = "compass"

    def encode_queries(self, questions):
        return torch.tensor([DIRECTIONS[question.strip().lower()] for question in questions])


def shelf_of(vectors=VECTORS, centroids=((1.0, 0.0), (0.0, 1.0)), passages=PASSAGES) -> Shelf:
    exact, ivf = ExactIndex(2), IVFIndex(2, n_lists=len(centroids))
    ivf.use_centroids(torch.tensor(centroids))
    for index in (exact, ivf):
        index.add(vectors)
    return Shelf(Compass(), passages, exact, ivf)


def test_one_list_of_two_by_hand() -> None:
    """East scores 9.02, 8.00, 1.10 and 0.80. The list of the east has the first two, so the third is missed."""
    result = explored(shelf_of(), "East", k=3, n_probe=1)
    assert result.found.rows.tolist() == [0, 1]
    assert result.missed == [(3, 2)]
    assert (result.probed, result.scanned, result.rows) == ([0], 2, 4)
    assert result.recall == pytest.approx(2 / 3)
    assert result.found.probabilities[0].item() == pytest.approx(1 / (1 + math.exp(8.0 - 9.02)), abs=1e-4)
    html = explored_html(shelf_of(), result)
    assert "1 of 2 lists probed: 2 of 4 rows scanned (50 %), 2 of the true top 3 found (recall@3 = 0.67)." in html
    assert "0.73<div" in html
    assert "<td" in html
    assert "9.02" in html
    assert "Missed, because their lists were not probed: the 3rd, <b>Nordkapp</b>, in list 1." in html
    assert "<b>Ostend</b><br>is a place." in html
    assert "Missed" not in explored_html(shelf_of(), explored(shelf_of(), "East", k=3, n_probe=2))


def test_rows_that_were_removed_are_not_scanned() -> None:
    shelf = shelf_of()
    for index in (shelf.exact, shelf.ivf):
        index.remove(torch.tensor([1]))
    result = explored(shelf, "East", k=4, n_probe=1)
    assert (result.scanned, result.rows, result.true, result.recall) == (1, 3, 3, pytest.approx(1 / 3))


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_more_lists_can_only_help_and_all_are_exact_search(seed: int, k: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shelf = shelf_of(
        torch.randn(40, 2, generator=generator),
        torch.nn.functional.normalize(torch.randn(4, 2, generator=generator)).tolist(),
        [Passage(str(row), f"t{row}", "words") for row in range(40)],
    )
    results = [explored(shelf, "north", k, n_probe) for n_probe in range(1, 5)]
    assert [result.recall for result in results] == sorted(result.recall for result in results)
    assert [result.scanned for result in results] == sorted(result.scanned for result in results)
    assert results[-1].recall == 1
    assert results[-1].scanned == 40
    assert results[-1].found.rows.tolist() == shelf.exact.search(results[-1].asked, k)[1][0].tolist()


def test_the_controls_change_what_is_shown() -> None:
    field, k, n_probe, shown = explorer_widget(shelf_of(), "East", k=3, n_probe=1).children
    assert "recall@3 = 0.67" in shown.value
    n_probe.value = 2
    assert "recall@3 = 1.00" in shown.value
    assert "Nordkapp</b><br>" in shown.value
    k.value = 1
    assert "recall@1 = 1.00" in shown.value
    assert "Nordkapp" not in shown.value
    field.value = "north"
    assert "<b>north</b>" in shown.value
    assert "Nordkapp</b><br>" in shown.value
    assert (k.max, n_probe.max) == (4, 2)


def test_the_live_form_tells_the_time_and_the_static_one_does_not() -> None:
    assert re.search(
        r"the search took \d+\.\d\d ms, an exact one \d+\.\d\d ms\.", explorer_widget(shelf_of(), "East").children[-1].value
    )
    assert " ms" not in explorer_view(shelf_of(), "East")._repr_html_()


def test_the_static_form_is_the_live_ones_first_view(monkeypatch) -> None:
    monkeypatch.setattr(explorer, "latency", lambda shelf, result: "")
    shown = explorer_widget(shelf_of(), "East", k=3, n_probe=1).children[-1].value
    view = explorer_view(shelf_of(), "East", k=3, n_probe=1)
    assert view._repr_html_() == shown
    assert repr(view).startswith("East 1 of 2 lists probed: 2 of 4 rows scanned (50 %)")


def test_an_empty_question_is_told_and_then_one_can_go_on() -> None:
    field, _, _, shown = explorer_widget(shelf_of(), "East").children
    field.value = "  "
    assert shown.value == "<p role='alert'><b>the question is empty; type one</b></p>"
    field.value = "north"
    assert "Nordkapp" in shown.value
    with pytest.raises(KeyError):  # what is no user's error is not hidden
        field.value = "up"


def test_names_are_text_and_not_html(monkeypatch) -> None:
    monkeypatch.setitem(DIRECTIONS, "<i>east</i>", [1.0, 0.2])
    passages = [Passage(str(row), "<b>x</b>", "a <script> & more") for row in range(4)]
    html = explorer_view(shelf_of(passages=passages), "<i>East</i>", k=3, n_probe=1)._repr_html_()
    assert "<i>" not in html
    assert "<script>" not in html
    assert "<b>x</b>" not in html
    assert "&lt;i&gt;East&lt;/i&gt;" in html
    assert html.count("&lt;b&gt;x&lt;/b&gt;") == 3  # two found, one missed


def test_a_shelf_whose_parts_differ_is_refused() -> None:
    with pytest.raises(MiniragError, match="3 passages, 4 exact rows and 4 IVF rows; build"):
        shelf_of(passages=PASSAGES[:3])


def test_a_long_passage_is_cut_between_words() -> None:
    passages = [Passage(str(row), "Wool", "Wool " + "sheep " * 60) for row in range(4)]
    html = explorer_view(shelf_of(passages=passages), "East", k=1, n_probe=1)._repr_html_()
    assert f"<b>Wool</b><br>{'sheep ' * 33}…" in html  # 33 words of 6 letters, and the dots, are at most 200


def test_a_long_passage_without_blanks_is_cut_all_the_same() -> None:
    passages = [Passage(str(row), "羊", "羊毛" * 150) for row in range(4)]
    html = explorer_view(shelf_of(passages=passages), "East", k=1, n_probe=1)._repr_html_()
    assert "羊毛" * 90 in html
    assert "…" in html
