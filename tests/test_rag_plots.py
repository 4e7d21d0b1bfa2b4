"""Pictures of generation: each prefix stands once, in its place, and looks like what the search did with it."""

import math
import xml.etree.ElementTree as ET

import matplotlib
import pytest
import torch
from matplotlib.colors import to_hex

from minirag.teaching import plots, rag_plots

LOOKED_AT = {
    ("a",): math.log(0.6),
    ("$b$",): math.log(0.4),
    ("a", "</s>"): math.log(0.24),
    ("a", " "): math.log(0.36),
    ("$b$", "</s>"): math.log(0.4),
}
KEPT = {("a",), ("$b$",), ("$b$", "</s>")}
BEST = ("$b$", "</s>")


def tree():
    return rag_plots.search_tree(LOOKED_AT, KEPT, BEST, "two beams")


def heat():
    return rag_plots.posterior_heatmap(torch.tensor([[0.9, 0.1], [0.4, 0.6]]), ["Rome", "</s>"], ["one", "two & <more>"], "t")


def boxes():
    (axes,) = tree().axes
    return {text.get_text(): text for text in axes.texts}


@pytest.mark.parametrize("make", [tree, heat])
def test_the_same_text_each_time_and_the_callers_settings_stay(make) -> None:
    before = dict(matplotlib.rcParams)
    one, other = plots.svg(make(), "x"), plots.svg(make(), "x")
    assert one == other
    ET.fromstring(one)
    assert dict(matplotlib.rcParams) == before


def test_every_prefix_is_told_with_its_probability() -> None:
    (axes,) = tree().axes
    told = sorted(text.get_text() for text in axes.texts)
    assert told == sorted(["a  0.60", "$b$  0.40", "</s>  0.24", "␣  0.36", "</s>  0.40"])
    words = " ".join(ET.fromstring(plots.svg(tree(), "x")).itertext())
    assert "$b$  0.40" in words  # no formula
    assert "two beams" in words


def test_what_is_longer_stands_further_right_and_none_on_another() -> None:
    places = {name: text.get_position() for name, text in boxes().items()}
    assert places["a  0.60"][0] == places["$b$  0.40"][0] == 1
    assert places["␣  0.36"][0] == places["</s>  0.40"][0] == 2
    assert places["a  0.60"][1] == (places["</s>  0.24"][1] + places["␣  0.36"][1]) / 2
    assert len(set(places.values())) == len(places)


def test_kept_dropped_and_best_differ_in_more_than_colour() -> None:
    looks = {}
    for name, text in boxes().items():
        box = text.get_bbox_patch()
        looks[name] = (to_hex(box.get_edgecolor()), box.get_linestyle(), box.get_linewidth())
    best, kept, dropped = looks["</s>  0.40"], looks["a  0.60"], looks["</s>  0.24"]
    assert best == looks["$b$  0.40"]
    assert dropped == looks["␣  0.36"]
    assert len({best, kept, dropped}) == 3
    assert len({best[1:], kept[1:], dropped[1:]}) == 3


def test_each_branch_leads_from_a_prefix_to_what_follows_it() -> None:
    (axes,) = tree().axes
    places = rag_plots.places(LOOKED_AT)
    lines = [tuple(map(tuple, line.get_xydata().tolist())) for line in axes.lines if len(line.get_xydata()) == 2]
    assert sorted(lines) == sorted((places[y[:-1]], places[y]) for y in LOOKED_AT)


def test_a_search_of_one_step() -> None:
    (axes,) = rag_plots.search_tree({("a",): 0.0}, {("a",)}).axes
    assert [text.get_text() for text in axes.texts] == ["a  1.00"]


def test_the_heat_map_tells_each_documents_share() -> None:
    axes = heat().axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.90", "0.10", "0.40", "0.60"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Rome", "</s>"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two & <more>"]
