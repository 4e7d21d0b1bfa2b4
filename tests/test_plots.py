"""Pictures: what they show is what was given, they are the same each time, and they leave no trace."""

import xml.etree.ElementTree as ET

import matplotlib
import pytest
import torch

from minirag.teaching import plots

POINTS = [
    plots.Point("BM25", "", 0.5, 0.6, 0.55, 0.65),
    plots.Point("IVF", "8", 0.2, 0.5, 0.45, 0.55),
    plots.Point("IVF", "1", 0.1, 0.4, 0.35, 0.45),
]
MAKE = {
    "latency": lambda: plots.recall_against_latency(POINTS, 5, "title", floor=0.05),
    "bars": lambda: plots.recall_bars(["a", "b"], {1: [(0.5, 0.4, 0.6)] * 2, 5: [(0.7, 0.6, 0.8)] * 2}, "title"),
    "posterior": lambda: plots.posterior_bars(torch.tensor([0.7, 0.3]), ["one", "two & <more>"]),
    "map": lambda: plots.map_2d(torch.tensor([[0.0, 1.0], [2.0, 3.0]]), ["g", "h"], ["p", "q"]),
    "heat": lambda: plots.similarity_heatmap(torch.eye(2), ["q1", "q2"], ["z1", "z2"]),
    "lists": lambda: plots.list_sizes(torch.tensor([1, 2, 2, 7])),
    "growth": lambda: plots.growth({"one": [(10, 1.0), (20, 2.5)]}, {"one": [(10, 1.1), (40, 4.4)]}, "seconds"),
}


def texts(figure) -> str:
    return " ".join(ET.fromstring(plots.svg(figure, "x")).itertext())


@pytest.mark.parametrize("name", MAKE)
def test_the_same_text_each_time_well_formed_and_named(name) -> None:
    one, other = plots.svg(MAKE[name](), 'a "picture" & <more>'), plots.svg(MAKE[name](), 'a "picture" & <more>')
    assert one == other
    root = ET.fromstring(one)
    assert root.attrib["aria-label"] == 'a "picture" & <more>'
    assert root.attrib["role"] == "img"
    assert "<metadata" not in one


@pytest.mark.parametrize("name", [name for name in MAKE if name != "heat"])
def test_axes_are_labelled(name) -> None:
    (axes,) = MAKE[name]().axes
    assert axes.get_xlabel()
    assert axes.get_ylabel() or axes.get_yticklabels()


def test_two_pictures_share_no_id() -> None:
    ids = [
        {node.attrib["id"] for node in ET.fromstring(plots.svg(MAKE[name](), "x")).iter() if "id" in node.attrib}
        for name in ("latency", "lists")
    ]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_every_reference_has_its_target() -> None:
    for make in MAKE.values():
        text = plots.svg(make(), "x")
        nodes = list(ET.fromstring(text).iter())
        known = {node.attrib["id"] for node in nodes if "id" in node.attrib}
        wanted = {value[1:] for node in nodes for key, value in node.attrib.items() if key.endswith("href") and value[0] == "#"}
        wanted |= {node.attrib["clip-path"][5:-1] for node in nodes if "clip-path" in node.attrib}
        assert wanted == known


def test_the_latency_plot_shows_the_points() -> None:
    (axes,) = MAKE["latency"]().axes
    ivf = next(lines for lines in axes.containers if lines.get_label() == "IVF")
    assert ivf[0].get_xydata().tolist() == [[0.1, 40.0], [0.2, 50.0]]  # by time, in percent
    assert axes.get_xscale() == "log"
    assert "random passages: 5.0 %" in texts(MAKE["latency"]())


def test_the_bars_are_as_long_as_they_say() -> None:
    (axes,) = MAKE["bars"]().axes
    assert [[bar.get_width() for bar in bars.patches] for bars in axes.containers if hasattr(bars, "patches")] == [
        [50, 50], [70, 70],
    ]  # fmt: skip


def test_the_best_of_each_row_is_bold() -> None:
    axes = MAKE["heat"]().axes[0]
    assert [text.get_fontweight() for text in axes.texts] == ["bold", "normal", "normal", "bold"]


def test_the_histogram_counts_every_list() -> None:
    (axes,) = MAKE["lists"]().axes
    assert sum(bar.get_height() for bar in axes.patches) == 4
    assert "mean 3.0" in texts(MAKE["lists"]())


def test_growth_shows_what_was_measured_and_the_prediction_hollow() -> None:
    (axes,) = MAKE["growth"]().axes
    points, line, foreseen, _ = axes.lines
    assert points.get_xydata().tolist() == [[10, 1.0], [20, 2.5]]
    assert line.get_xydata().tolist() == [[10, 1.1], [40, 4.4]]
    assert foreseen.get_xydata().tolist() == [[40, 4.4]]
    assert (points.get_markerfacecolor() == "none", foreseen.get_markerfacecolor()) == (False, "none")
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["10", "20", "40"]


def test_growth_without_a_line() -> None:
    (axes,) = plots.growth({"one": [(10, 1.0)]}, {}, "seconds").axes
    assert [len(line.get_xdata()) for line in axes.lines] == [1, 0]


def test_the_callers_settings_stay() -> None:
    before = dict(matplotlib.rcParams)
    plots.svg(MAKE["latency"](), "x")
    assert dict(matplotlib.rcParams) == before
