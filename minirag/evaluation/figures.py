"""The report's pictures, as inline SVG: which results go into which plot, and what a listener is told about each."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minirag.evaluation.answering import Answered
from minirag.evaluation.findings import BM25, EXACT, IVF, RANDOM, Findings
from minirag.evaluation.tables import KS, Curves, Heat, Point
from minirag.teaching import plots
from minirag.teaching.rag_plots import posterior_heatmap

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def latency(findings: Findings, metric: str, title: str, k: int = 5) -> str:
    """Recall at k of the leading question set against the time that `metric` names."""
    points = []
    for system in findings.systems:
        recall = findings.of(findings.leading, system.name, f"recall@{k}")
        time = findings.of(findings.corpus, system.name, metric)
        if recall and time:
            points.append(plots.Point(system.family, system.label, time.value, recall.value, recall.low, recall.high))
    floor = findings.of(findings.leading, RANDOM.name, f"recall@{k}")
    told = "; ".join(
        f"{p.family} {p.label}: {100 * p.recall:.0f} % at {p.milliseconds:.2g} ms".replace(" :", ":") for p in points
    )
    figure = plots.recall_against_latency(points, k, title, floor.value if floor else None)
    return plots.svg(figure, f"{title}: top-{k} answer recall against search time. {told}.")


def bars(findings: Findings) -> str:
    """Recall at every k for the floor, BM25, exact search, and the IVF that probes a middling number of lists."""
    probed = [system for system in findings.systems if system.family == IVF]
    systems = [RANDOM, BM25, *probed[len(probed) // 2 : len(probed) // 2 + 1], EXACT]
    recalls = {
        k: [(r.value, r.low, r.high) for system in systems if (r := findings.of(findings.leading, system.name, f"recall@{k}"))]
        for k in findings.ks
    }
    names = [system.name.replace(", ", "\n", 1) for system in systems]
    told = "; ".join(
        f"{name}: {', '.join(f'top {k} {100 * recalls[k][i][0]:.0f} %' for k in recalls)}"
        for i, name in enumerate(system.name for system in systems)
    )
    title = f"Answer recall, {findings.leading}"
    return plots.svg(plots.recall_bars(names, recalls, title), f"{title}. {told}.")


def posterior(answered: Answered) -> str:
    """Which passage speaks at each token of an answer."""
    answer = answered.answer
    titles = [passage.title for passage in answer.passages]
    picture = posterior_heatmap(answer.posterior, answer.pieces, titles, answered.question.question)
    told = "; ".join(
        f"after “{piece}” mostly {titles[int(row.argmax())]} ({float(row.max()):.2f})"
        for piece, row in zip(answer.pieces, answer.posterior, strict=True)
    )
    return plots.svg(picture, f"p(document | question, answer so far) for “{answered.question.question}”: {told}.")


def lists(findings: Findings) -> str:
    """How unequal the lists of the inverted file are."""
    sizes = findings.list_sizes
    told = f"Histogram of the sizes of {len(sizes)} lists, from {int(sizes.min())} to {int(sizes.max())} passages."
    return plots.svg(plots.list_sizes(sizes, f"The {len(sizes)} lists of the IVF index"), told)


def drawn(picture: Curves | Heat) -> str:
    """A picture of the report of tasks. Questions and names may hold anything: no dollar sign begins a formula, and a letter
    that matplotlib's own font lacks is the browser's to draw. Long ones are cut short, but for who listens."""
    import matplotlib

    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        if isinstance(picture, Curves):
            told = "; ".join(f"{name}: {_told(points)}" for name, points in picture.lines.items())
            return plots.svg(_curves(picture), f"{picture.title}, for K passages. {told}.")
        told = "; ".join(
            f"“{row}”: {', '.join(f'{value:.2f}' for value in values)}"
            for row, values in zip(picture.rows, picture.values, strict=True)
        )
        return plots.svg(_heat(picture), f"{picture.title}, from the first passage on. {told}.")


def _told(points: Sequence[Point]) -> str:
    shown = _some([k for k, *_ in points])
    return ", ".join(f"K = {k} {100 * value:.0f} %" for k, value, _, _ in points if k in shown)


def _line(text: str, length: int = 32) -> str:
    """A text on one line, cut short.

    >>> _line("The quick brown\\nfox", 16)
    'The quick brown…'
    """
    return plots.short(" ".join(text.split()), length)


def _some(ks: Sequence[int]) -> list[int]:
    """Those that are told and ticked: all, or, of many, round ones and the last."""
    return [k for k in ks if len(ks) <= 7 or k in KS or k == ks[-1]]


@plots.styled
def _curves(picture: Curves) -> Figure:
    """Systems whose points are all the same, as those behind one retriever are, share a line."""
    figure, axes = plots.axes_of(4.6, 3.3)
    together: dict[tuple[Point, ...], list[str]] = {}
    for name, points in picture.lines.items():
        together.setdefault(tuple(points), []).append(_line(name))
    every = sorted({k for points in together for k, *_ in points})
    told = _some(every)
    lowest = min(100 * low for points in together for _, _, low, _ in points)
    highest = max(100 * high for points in together for *_, high in points)
    for i, (points, names) in enumerate(together.items()):
        ks = [k for k, *_ in points]
        values, lows, highs = ([100 * point[place] for point in points] for place in (1, 2, 3))
        colour, marker = plots.PALETTE[i % len(plots.PALETTE)], plots.MARKERS[i % len(plots.MARKERS)]
        where = [place for place, k in enumerate(ks) if k in told]
        axes.plot(ks, values, color=colour, marker=marker, markevery=where, markersize=5, label=_line(", ".join(names), 60))
        axes.fill_between(ks, lows, highs, color=colour, alpha=0.12, linewidth=0)
    if every[-1] > 10:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(told, [str(k) for k in told])
    axes.set(xlabel="passages K", ylabel=f"{picture.what} (%)", title=_line(picture.title, 60))
    axes.set_ylim(max(lowest - 8, -2), min(highest + 8, 102))
    longest = max(len(", ".join(names)) for names in together.values())
    figure.legend(loc="outside lower center", ncols=2 if longest < 32 else 1, fontsize=8)
    return figure


@plots.styled
def _heat(picture: Heat) -> Figure:
    """The number in each cell, which needs no colour bar, with a dot where it is marked; no cell where there is no passage."""
    ranks = range(max(map(len, picture.values)))
    figure, axes = plots.axes_of(2.4 + 0.62 * len(ranks), 1.2 + 0.36 * len(picture.rows))
    cells = [[*values, *[math.nan] * (len(ranks) - len(values))] for values in picture.values]
    axes.pcolormesh(cells, cmap="cividis", vmin=0, vmax=1)
    for row, (values, marks) in enumerate(zip(picture.values, picture.marked, strict=True)):
        for rank, (value, marked) in enumerate(zip(values, marks, strict=True)):
            ink, shown = "white" if value < 0.55 else "black", f"{value:.2f}{' ●' if marked else ''}"
            axes.text(rank + 0.5, row + 0.5, shown, ha="center", va="center", color=ink, fontsize=8)
    axes.set_xticks([rank + 0.5 for rank in ranks], [str(rank + 1) for rank in ranks])
    axes.set_yticks([row + 0.5 for row in range(len(cells))], [_line(row, 30) for row in picture.rows])
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.set(xlabel="rank of the passage", title=_line(picture.title, 60))
    return figure
