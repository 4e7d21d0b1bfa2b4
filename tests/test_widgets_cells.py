"""The map of an IVF's cells: a worked case of four slices, and that what is shown is what the index looks at."""

import math
import xml.etree.ElementTree as ET

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.errors import MiniragError
from minirag.retrieval.kmeans import assign
from minirag.teaching.widgets import cells_view, cells_widget
from minirag.teaching.widgets.cells import cells_html, looked

CROSS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])  # right, up, left, down
POINTS = torch.tensor([[2.0, 0.1], [1.0, -0.1], [0.1, 3.0], [-0.1, 1.0], [-1.0, 0.0], [0.0, -1.0]])
SVG = "{http://www.w3.org/2000/svg}"


def tips(html: str) -> list[str]:
    return [tip.text for tip in ET.fromstring(html).iter(f"{SVG}title")]


def test_a_question_to_the_right_by_hand() -> None:
    """At 20° the best points are 0 (1.91) and 2 (1.12), and then 1: point 2 stands in the cell above."""
    near, both = (looked(POINTS, CROSS, 20, n_probe, k=2) for n_probe in (1, 2))
    assert (near.probed, near.seen, near.found, near.best) == ([0], [0, 1], [0, 1], [0, 2])
    assert (both.probed, both.seen, both.found, both.best) == ([0, 1], [0, 1, 2, 3], [0, 2], [0, 2])
    html = cells_html(POINTS, CROSS, 20, 1, k=2)
    slices, rings = tips(html)[:4], tips(html)[4:7]
    assert sorted(slices) == [
        "cell 1, 2 rows: probed 1st",
        "cell 2, 2 rows: not looked at",
        "cell 3, 1 row: not looked at",
        "cell 4, 1 row: not looked at",
    ]
    assert rings == ["found 1st: row 0", "found 2nd: row 1", "missed: row 2"]
    assert "1 of 4 cells probed: 2 of 6 rows scanned (33 %), 1 of the true 2 neighbours found." in html


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(0, 359), st.integers(1, 5))
def test_the_map_is_what_the_index_looks_at(seed: int, angle: int, n_probe: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(30, 2, generator=generator)
    centroids = torch.nn.functional.normalize(torch.randn(5, 2, generator=generator))
    result = looked(points, centroids, angle, n_probe)
    question = torch.tensor([math.cos(math.radians(angle)), math.sin(math.radians(angle))])
    own = assign(points, centroids)
    assert result.cells.equal(own)
    assert result.probed == (centroids @ question).topk(n_probe).indices.tolist()
    assert result.seen == [row for row in range(30) if int(own[row]) in result.probed]
    assert set(result.found) <= set(result.seen)
    assert n_probe < 5 or result.found == result.best
    ET.fromstring(cells_html(points, centroids, angle, n_probe))


def test_a_single_cell_is_the_whole_cake() -> None:
    html = cells_html(POINTS, CROSS[:1], 0, 1, k=2)
    assert "1 of 1 cells probed: 6 of 6 rows scanned (100 %)" in html
    assert len([each for each in ET.fromstring(html).iter(f"{SVG}circle") if each.get("r") == "170"]) == 1


def test_sliding() -> None:
    angle, n_probe, shown = cells_widget(POINTS, CROSS, angle=20, n_probe=1, k=2).children
    assert "2 of 6 rows scanned" in shown.value
    assert "missed: row 2" in shown.value
    n_probe.value = 2
    assert "4 of 6 rows scanned (67 %), 2 of the true 2 neighbours found" in shown.value
    assert "missed: row" not in shown.value
    n_probe.value = 1
    angle.value = 90
    assert "The question points to 90°. 1 of 4 cells probed" in shown.value
    assert "cell 2, 2 rows: probed 1st" in shown.value
    assert (angle.max, n_probe.max) == (359, 4)


def test_the_static_form_is_the_live_ones_first_view() -> None:
    view = cells_view(POINTS, CROSS, 20, 2, k=2)
    assert view._repr_html_() == cells_widget(POINTS, CROSS, 20, 2, k=2).children[-1].value
    assert repr(view) == "2 of 4 cells probed: 4 of 6 rows scanned (67 %), 2 of the true 2 neighbours found"


def test_the_picture_is_told_in_words() -> None:
    root = ET.fromstring(cells_view(POINTS, CROSS, 20, 2, k=2)._repr_html_())
    picture, caption = root
    assert picture.get("role") == "img"
    assert picture.get("aria-label") == caption.text


def test_too_few_points_are_told() -> None:
    with pytest.raises(MiniragError, match="6 points, and 7 neighbours are looked for; give more"):
        cells_view(POINTS, CROSS, k=7)
