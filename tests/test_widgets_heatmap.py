"""The heat map to be hovered over: each cell says its share in ink, in a number and in words."""

import re
import xml.etree.ElementTree as ET

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.errors import MiniragError
from minirag.teaching.widgets import heatmap_view, heatmap_widget
from minirag.teaching.widgets.heatmap import heatmap_html, shade

TOKEN = torch.tensor([[0.857, 0.143], [0.625, 0.375]])
SEQUENCE = torch.tensor([[0.857, 0.143], [0.769, 0.231]])
HEATS = {"RAG-Token": TOKEN, "RAG-Sequence": SEQUENCE}
TOKENS, DOCUMENTS = [" a", "b"], ["document 1", "document 2"]


def numbers(html: str) -> list[list[int]]:
    rows = ET.fromstring(html).iter("tr")
    return [[int(cell.text) for cell in row.iter("td")] for row in rows][1:]


def test_a_row_for_each_document_in_percent() -> None:
    assert numbers(heatmap_html(TOKEN, TOKENS, DOCUMENTS)) == [[86, 62], [14, 38]]  # 62.5 and 37.5, to even


def test_every_cell_says_in_words_what_it_is() -> None:
    cells = list(ET.fromstring(heatmap_html(TOKEN, TOKENS, DOCUMENTS)).iter("td"))
    assert cells[0].get("title") == "token 1, “a”: document 1 has 86 %"
    assert cells[3].get("title") == "token 2, “b”: document 2 has 38 %"


def test_the_more_the_more_ink_and_the_number_can_be_read_on_it() -> None:
    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    shares = [step / 50 for step in range(51)]
    lights = [light(shade(share)) for share in shares]
    assert lights == sorted(lights, reverse=True)
    cells = heatmap_html(torch.tensor([[share] for share in shares]), ["t"] * 51, ["d"])
    inks = re.findall(r";color:(#\w{6})", cells)
    for paper, ink in zip(lights, inks, strict=True):
        bright, dark = max(paper, light(ink)), min(paper, light(ink))
        assert (bright + 0.05) / (dark + 0.05) > 4.0


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 1000))
def test_columns_add_up_to_100_but_for_rounding(k: int, t: int, seed: int) -> None:
    posterior = torch.rand(t, k, generator=torch.Generator().manual_seed(seed)).softmax(1)
    columns = zip(*numbers(heatmap_html(posterior, ["w"] * t, ["d"] * k)), strict=True)
    assert all(abs(sum(column) - 100) <= k / 2 for column in columns)


def test_switching_the_scheme() -> None:
    toggle, shown = heatmap_widget(HEATS, TOKENS, DOCUMENTS).children
    assert toggle.options == ("RAG-Token", "RAG-Sequence")
    assert numbers(shown.value) == [[86, 62], [14, 38]]
    toggle.value = "RAG-Sequence"
    assert numbers(shown.value) == [[86, 77], [14, 23]]
    assert "RAG-Sequence</caption>" in shown.value


def test_the_static_form_is_the_live_ones_first_view() -> None:
    toggle, shown = heatmap_widget(HEATS, TOKENS, DOCUMENTS).children
    assert heatmap_view(HEATS, TOKENS, DOCUMENTS)._repr_html_() == shown.value
    toggle.value = "RAG-Sequence"
    assert heatmap_view(HEATS, TOKENS, DOCUMENTS, "RAG-Sequence")._repr_html_() == shown.value
    assert repr(heatmap_view(HEATS, TOKENS, DOCUMENTS)) == "RAG-Token: which of 2 documents speaks at each of 2 tokens"


def test_names_are_text_and_not_html() -> None:
    html = heatmap_html(TOKEN, ["</s>", '"'], ["<script>", "a & b"], "<i>")
    ET.fromstring(html)
    assert "<script>" not in html
    assert "<i>" not in html
    assert "&lt;/s&gt;" in html


def test_a_token_of_spaces_is_still_seen() -> None:
    assert ">␣</span>" in heatmap_html(TOKEN, [" ", "b"], DOCUMENTS)


def test_names_that_are_too_few_and_schemes_that_are_none() -> None:
    with pytest.raises(MiniragError, match="2 tokens and 2 documents, and there are names for 1 and 2"):
        heatmap_html(TOKEN, ["a"], DOCUMENTS)
    with pytest.raises(MiniragError, match="no posterior of 'fast'; give one of RAG-Token, RAG-Sequence"):
        heatmap_view(HEATS, TOKENS, DOCUMENTS, "fast")
    with pytest.raises(MiniragError):
        heatmap_widget({}, TOKENS, DOCUMENTS)
