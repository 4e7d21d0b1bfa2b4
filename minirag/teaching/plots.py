"""The pictures of the course and of the reports, in one visual language.

Every function returns a `matplotlib.figure.Figure` and touches no global state, so it works in a notebook, in a report and on
a machine without a screen. Colours are Okabe and Ito's (2008), told apart also by the colour-blind, and no picture relies
on colour alone: markers, labels and positions say the same. `svg` turns a figure into the same text each time.
"""

from __future__ import annotations

import hashlib
import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILLION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)  # yellow is too pale for lines on white
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
GREY = "#6b6b6b"
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: it can be searched, and read aloud
    "svg.hashsalt": "minirag",
}
P = ParamSpec("P")


@dataclass(frozen=True)
class Point:
    """One measured system: its recall with an interval, its time, and the family whose points are joined by a line."""

    family: str
    label: str
    milliseconds: float
    recall: float
    low: float
    high: float


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw under `STYLE`, leaving the caller's own matplotlib settings alone."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        import matplotlib

        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


@styled
def recall_against_latency(points: Sequence[Point], k: int, title: str, floor: float | None = None) -> Figure:
    """Recall (up is better) against time per question (left is better, logarithmic). `floor`, what chance
    finds, is told in the legend."""
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, axes = axes_of(4.6, 3.4)
    families = list(dict.fromkeys(point.family for point in points))
    for family, colour, marker in zip(families, PALETTE, MARKERS, strict=False):
        own = sorted((point for point in points if point.family == family), key=lambda point: point.milliseconds)
        x, y = [point.milliseconds for point in own], [100 * point.recall for point in own]
        spread = [[100 * (p.recall - p.low) for p in own], [100 * (p.high - p.recall) for p in own]]
        axes.errorbar(x, y, spread, color=colour, marker=marker, markersize=5, linewidth=1.2, capsize=2, label=family)
        for point in own:
            where = (point.milliseconds, 100 * point.recall)
            axes.annotate(point.label, where, (4, -10), textcoords="offset points", color=colour, fontsize=8)
    lowest = min((100 * point.low for point in points), default=0)
    axes.set_xscale("log")
    axes.set(xlabel="time per question (ms)", ylabel=f"top-{k} answer recall (%)", title=title)
    axes.set_ylim(max(lowest - 8, 0), 101)
    if floor is not None:  # far below the rest: drawn to scale it would press all points into one line
        axes.plot([], [], " ", label=f"(random passages: {100 * floor:.1f} %)")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.12)
    axes.legend(loc="lower right", fontsize=8)
    return figure


@styled
def recall_bars(systems: Sequence[str], recalls: Mapping[int, Sequence[tuple[float, float, float]]], title: str) -> Figure:
    """Bars of top-k recall, a group for each system and a bar for each k; (value, low, high) are proportions."""
    figure, axes = axes_of(4.6, 0.7 + 0.62 * len(systems))
    height = 0.8 / len(recalls)
    for i, ((k, values), colour) in enumerate(zip(recalls.items(), PALETTE, strict=False)):
        places = [row + (i - (len(recalls) - 1) / 2) * height for row in range(len(systems))]
        middle = [100 * value for value, _, _ in values]
        spread = [[100 * (value - low) for value, low, _ in values], [100 * (high - value) for value, _, high in values]]
        axes.barh(places, middle, height * 0.9, xerr=spread, color=colour, ecolor=GREY, capsize=2, label=f"top {k}")
        for place, value, (_, _, high) in zip(places, middle, values, strict=True):
            axes.text(100 * high + 1.2, place, f"{value:.0f}", va="center", fontsize=8)
    axes.set_yticks(range(len(systems)), systems)
    axes.invert_yaxis()
    axes.set(xlabel="questions whose answer was found (%)", xlim=(0, 108), title=title)
    axes.set_xticks(range(0, 101, 20))
    axes.grid(visible=False, axis="y")
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.16 - 0.3 / len(systems)), ncols=len(recalls), fontsize=8)
    return figure


@styled
def learning_curves(curves: Mapping[str, Sequence[tuple[int, float]]], what: str, title: str = "") -> Figure:
    """(step, value) of each run, by its name."""
    figure, axes = axes_of(4.6, 3.0)
    for (name, points), colour, marker in zip(curves.items(), PALETTE, MARKERS, strict=False):
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, color=colour, marker=marker, markersize=4, linewidth=1.2, label=name)
    axes.set(xlabel="step", ylabel=what, title=title)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    return figure


@styled
def posterior_bars(probabilities: Float[Tensor, " K"], labels: Sequence[str], title: str = "") -> Figure:
    """How a probability is spread over K passages, the first on top."""
    figure, axes = axes_of(4.6, 0.9 + 0.3 * len(labels))
    values = probabilities.tolist()
    axes.barh(range(len(values)), values, color=BLUE)
    for row, value in enumerate(values):
        axes.text(value + 0.01, row, f"{value:.2f}", va="center", fontsize=8)
    axes.set_yticks(range(len(values)), [short(label) for label in labels])
    axes.invert_yaxis()
    axes.set(xlabel="probability", xlim=(0, 1.08), title=title)
    axes.grid(visible=False, axis="y")
    return figure


@styled
def map_2d(
    points: Float[Tensor, "N 2"], groups: Sequence[str], labels: Sequence[str] = (), title: str = "", axis: str = "component"
) -> Figure:
    """N points in the plane; each group has a colour and a marker, and `labels` (one a point, or none) stand beside them."""
    figure, axes = axes_of(5.0, 4.0)
    for i, group in enumerate(dict.fromkeys(groups)):
        rows = [row for row, each in enumerate(groups) if each == group]
        x, y = points[rows].T.tolist()
        axes.scatter(x, y, s=22, color=PALETTE[i % len(PALETTE)], marker=MARKERS[i % len(MARKERS)], label=group)
    for (x_of, y_of), label in zip(points.tolist(), labels, strict=False):
        axes.annotate(label, (x_of, y_of), (4, 3), textcoords="offset points", fontsize=8)
    axes.set(xlabel=f"{axis} 1", ylabel=f"{axis} 2", title=title)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@styled
def similarity_heatmap(
    scores: Float[Tensor, "B N"], rows: Sequence[str], columns: Sequence[str], title: str = "", unit: str = "inner product"
) -> Figure:
    """Scores of B questions against N passages, the number in each cell, the best of each row in bold."""
    figure, axes = axes_of(2.2 + 0.6 * len(columns), 1.4 + 0.42 * len(rows))
    image = axes.imshow(scores.numpy(), cmap="cividis", aspect="auto")
    middle = (scores.min() + scores.max()) / 2
    for row, column in [(i, j) for i in range(len(rows)) for j in range(len(columns))]:
        value = scores[row, column]
        colour = "white" if value < middle else "black"
        weight = "bold" if column == int(scores[row].argmax()) else "normal"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8, fontweight=weight)
    axes.set_xticks(range(len(columns)), [short(column) for column in columns], rotation=40, ha="right")
    axes.set_yticks(range(len(rows)), [short(row) for row in rows])
    axes.grid(visible=False)
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label=unit)
    return figure


@styled
def list_sizes(sizes: Int[Tensor, " C"], title: str = "") -> Figure:
    """How many of an IVF index's C lists hold how many vectors, with the mean as a line."""
    figure, axes = axes_of(4.6, 2.8)
    mean = sizes.float().mean().item()
    axes.hist(sizes.tolist(), bins=min(30, max(int(sizes.max()) + 1, 1)), color=SKY, edgecolor="white", linewidth=0.5)
    axes.axvline(mean, color=VERMILLION, linestyle="--", label=f"mean {mean:.1f}")
    axes.set(xlabel="vectors in a list", ylabel="lists", title=title)
    axes.legend(fontsize=8)
    return figure


@styled
def growth(
    measured: Mapping[str, Sequence[tuple[int, float]]],
    lines: Mapping[str, Sequence[tuple[int, float]]],
    what: str,
    title: str = "",
) -> Figure:
    """Cost at growing sizes, both axes logarithmic: (size, cost) of each kind as points, and under the same name a dashed line,
    say the one fitted, whose last point is a prediction and hollow."""
    from matplotlib.ticker import LogLocator

    figure, axes = axes_of(4.8, 3.2)
    for (name, points), colour, marker in zip(measured.items(), PALETTE, MARKERS, strict=False):
        sizes, costs = zip(*points, strict=True)
        axes.plot(sizes, costs, color=colour, marker=marker, markersize=5, linestyle="", label=name)
        if name in lines:
            sizes, costs = zip(*lines[name], strict=True)
            axes.plot(sizes, costs, color=colour, linestyle="--", linewidth=1.2)
            axes.plot(sizes[-1:], costs[-1:], color=colour, marker=marker, markersize=9, markerfacecolor="none", linestyle="")
    axes.plot(
        [], [], color=GREY, marker="o", markersize=9, markerfacecolor="none", linestyle="--", label="fitted, and predicted"
    )
    axes.set(xscale="log", yscale="log", xlabel="vectors", ylabel=what, title=title)
    ticks = sorted({size for points in (*measured.values(), *lines.values()) for size, _ in points})
    axes.set_xticks(ticks, [f"{size:,}" for size in ticks])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    axes.legend(fontsize=8)
    return figure


def svg(figure: Figure, description: str) -> str:
    """The figure as an `<svg>` element with `description` as its accessible name: no date, the same text each time.

    Ids are made this figure's own, so that several stand in one page; what nothing refers to loses its id.

    >>> import torch
    >>> svg(list_sizes(torch.tensor([3, 1, 2])), "three lists").startswith('<svg role="img" aria-label="three lists"')
    True
    """
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight", pad_inches=0.05)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    prefix = "f" + hashlib.sha256(text.encode()).hexdigest()[:8]
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda found: f' id="{prefix}-{found[1]}"' if found[1] in used else "", text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", text)
    name = html.escape(description, quote=True)
    return text.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1).strip()


def axes_of(width: float, height: float) -> tuple[Figure, Axes]:
    """One pair of axes on a white page, sizes in inches; no pyplot, which would keep every figure alive."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def shade(share: float) -> str:
    """From white for 0 to the palette's blue for 1: the more, the more ink.

    >>> shade(0.0), shade(1.0)
    ('#ffffff', '#0072b2')
    """
    blue = (int(BLUE[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(255 + share * (part - 255)):02x}" for part in blue)


def ink(share: float) -> str:
    """In what a number can be read on `shade(share)`.

    >>> ink(0.9), ink(0.91)
    ('#000000', '#ffffff')
    """
    return "#ffffff" if share > 0.9 else "#000000"


def short(label: str, length: int = 32) -> str:
    """At most `length` characters.

    >>> short("The quick brown fox", 10)
    'The quick…'
    """
    return label if len(label) <= length else label[: length - 1].rstrip() + "…"
