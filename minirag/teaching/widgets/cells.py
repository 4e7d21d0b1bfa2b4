"""The cells of an IVF in the plane: turn the question, probe more cells, and see which rows are looked at.

cells_widget(points, centroids)                        two sliders; needs a live Jupyter
cells_view(points, centroids, angle=50, n_probe=2)     one question, for a saved notebook

For inner products a cell is a cone, in the plane a slice of a cake: a vector's cell does not depend on its length.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from minirag.corpus.words import escape
from minirag.errors import MiniragError
from minirag.retrieval.ivf import IVFIndex
from minirag.retrieval.kmeans import assign
from minirag.teaching.plots import BLACK, BLUE, GREY, VERMILLION
from minirag.teaching.widgets.view import Real, View, lettering, live, ordinal, percent, picture, runs, slider

K = 5  # neighbours that are looked for
Points = Float32[Tensor, "N 2"]
Place = tuple[Real, Real]  # in the picture, in pixels, y downwards


@dataclass(frozen=True)
class Looked:
    """What a question in the plane looked at: cells in the order in which they were probed, rows, and the K best of those.

    `best` are the true K; those of them that were not `found` stand in cells that were not probed.
    """

    probed: list[int]
    cells: Int64[Tensor, " N"]
    seen: list[int]
    found: list[int]
    best: list[int]


def looked(points: Points, centroids: Float32[Tensor, "C 2"], angle: int, n_probe: int, k: int = K) -> Looked:
    """The package's `IVFIndex` on N points, asked in the direction of `angle` (degrees, from the right, anticlockwise)."""
    if len(points) < k:
        raise MiniragError(f"there are {len(points)} points, and {k} neighbours are looked for; give more points")
    index = IVFIndex(dim=2, n_lists=len(centroids))
    index.use_centroids(centroids)
    index.add(points)
    question = torch.tensor([[math.cos(math.radians(angle)), math.sin(math.radians(angle))]])  # [1, 2]
    probed = (question @ centroids.T)[0].topk(min(n_probe, len(centroids))).indices
    found, best = (index.search(question, k, probes)[1][0].tolist() for probes in (n_probe, len(centroids)))
    seen = torch.isin(index.list_of, probed).nonzero()[:, 0].tolist()
    return Looked(probed.tolist(), index.list_of, seen, [row for row in found if row >= 0], best)


def told(result: Looked, cells: int) -> str:
    """What the question looked at, in one line."""
    rows, hits = len(result.cells), len(set(result.found) & set(result.best))
    return (
        f"{len(result.probed)} of {cells} cells probed: {len(result.seen)} of {rows} rows scanned "
        f"({percent(len(result.seen), rows)}), {hits} of the true {len(result.best)} neighbours found"
    )


SIZE, RADIUS, STEPS = 420, 170, 720  # pixels, and directions that are asked for their cell


def cells_html(points: Points, centroids: Float32[Tensor, "C 2"], angle: int = 50, n_probe: int = 2, k: int = K) -> str:
    """The cells as slices, probed ones shaded; rows that were scanned, found and missed; and the question as an arrow."""
    result = looked(points, centroids, angle, n_probe, k)
    scale = RADIUS * 0.97 / float(points.norm(dim=1).max().clamp(min=1e-9))
    places = [(SIZE / 2 + scale * x, SIZE / 2 - scale * y) for x, y in points.tolist()]
    others = set(range(len(points))) - set(result.seen)
    missed = [row for row in result.best if row not in result.found]
    tips = [_around(math.degrees(math.atan2(y, x)), 0.5 * RADIUS) for x, y in centroids.tolist()]
    x, y = _around(angle, RADIUS)
    marks = [
        *_slices(centroids, result),
        _dots([places[row] for row in sorted(others)], "#b5b5b5", 4),
        _dots([places[row] for row in result.seen], BLUE, 5),
        *(_line((SIZE / 2, SIZE / 2), tip, BLACK, 1.2) for tip in tips),
        _line((SIZE / 2, SIZE / 2), (x, y), VERMILLION, 3),
        *(_ring(places[row], f"found {ordinal(place)}: row {row}") for place, row in enumerate(result.found, start=1)),
        *(_ring(places[row], f"missed: row {row}", "3 2") for row in missed),
        *_legend(SIZE + 8, bool(missed)),
    ]
    caption = f"The question points to {angle}°. {told(result, len(centroids))}."
    return picture(marks, SIZE + 190, SIZE, caption)


def _slices(centroids: Float32[Tensor, "C 2"], result: Looked) -> list[str]:
    """A slice for each run of directions that have one cell, named at its rim."""
    turns = (torch.arange(STEPS) + 0.5) * (2 * math.pi / STEPS)
    owner = assign(torch.stack([turns.cos(), turns.sin()], dim=1), centroids).tolist()
    start = next((at for at in range(STEPS) if owner[at] != owner[at - 1]), 0)
    sizes = torch.bincount(result.cells, minlength=len(centroids)).tolist()
    marks, at = [], start
    for cell, steps in runs(owner[start:] + owner[:start]):
        place = result.probed.index(cell) + 1 if cell in result.probed else 0
        fill, width = ("#cfe3f1", 1.5) if place else ("#ffffff", 1)
        tooltip = f"cell {cell + 1}, {sizes[cell]} row{'s' * (sizes[cell] != 1)}: " + (
            f"probed {ordinal(place)}" if place else "not looked at"
        )
        low, high = at * 360 / STEPS, (at + steps) * 360 / STEPS
        marks.append(f"<g><title>{escape(tooltip)}</title>" + _slice(low, high, fill, width))
        x, y = _around((low + high) / 2, RADIUS + 18)
        marks.append(lettering(x, y, f"cell {cell + 1}", BLACK if place else GREY, "middle", bold=bool(place)) + "</g>")
        at += steps
    return marks


def _slice(low: Real, high: Real, fill: str, width: Real) -> str:
    look = f'fill="{fill}" stroke="{GREY}" stroke-width="{width}"'
    if high - low >= 360:
        return f'<circle cx="{SIZE / 2:g}" cy="{SIZE / 2:g}" r="{RADIUS}" {look}/>'
    (x0, y0), (x1, y1) = _around(low, RADIUS), _around(high, RADIUS)
    large = int(high - low > 180)
    arc = f"M{SIZE / 2:g} {SIZE / 2:g}L{x0:.1f} {y0:.1f}A{RADIUS} {RADIUS} 0 {large} 0 {x1:.1f} {y1:.1f}Z"
    return f'<path d="{arc}" {look}/>'


def _around(angle: Real, radius: Real) -> Place:
    turn = math.radians(angle)
    return SIZE / 2 + radius * math.cos(turn), SIZE / 2 - radius * math.sin(turn)


def _dots(places: Sequence[Place], colour: str, width: Real) -> str:
    """All dots of one look as a single path of strokes without length: a tenth of the text that circles would be."""
    path = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in places)
    return f'<path d="{path}" stroke="{colour}" stroke-width="{width:g}" stroke-linecap="round" pointer-events="none"/>'


def _line(start: Place, end: Place, colour: str, width: Real) -> str:
    """An arrow."""
    turn = math.atan2(end[1] - start[1], end[0] - start[0])
    head = 5 + 2 * width
    wings = [(end[0] - head * math.cos(turn + side), end[1] - head * math.sin(turn + side)) for side in (-0.45, 0.45)]
    barbs = "".join(f"M{end[0]:.1f} {end[1]:.1f}L{x:.1f} {y:.1f}" for x, y in wings)
    path = f"M{start[0]:.1f} {start[1]:.1f}L{end[0]:.1f} {end[1]:.1f}{barbs}"
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}" pointer-events="none"/>'


def _ring(place: Place, tooltip: str, dashes: str = "") -> str:
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    look = f'fill="transparent" stroke="{VERMILLION}" stroke-width="2"{dash}'
    return f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="6" {look}><title>{escape(tooltip)}</title></circle>'


def _legend(x: Real, missed: bool) -> list[str]:
    rows = [
        (_line((x, 40), (x + 26, 40), VERMILLION, 3), "question"),
        (_line((x, 66), (x + 26, 66), BLACK, 1.2), "centroid of a cell"),
        (f'<rect x="{x}" y="84" width="26" height="16" fill="#cfe3f1" stroke="{GREY}"/>', "cell that is probed"),
        (_dots([(x + 13, 118)], BLUE, 5), "row that is scanned"),
        (_dots([(x + 13, 144)], "#b5b5b5", 4), "row not looked at"),
        (_ring((x + 13, 170), "found"), "neighbour found"),
        (_ring((x + 13, 196), "missed", "3 2"), "neighbour missed"),
    ]
    return [mark + lettering(x + 36, 40 + 26 * place, name) for place, (mark, name) in enumerate(rows[: 7 if missed else 6])]


def cells_view(points: Points, centroids: Float32[Tensor, "C 2"], angle: int = 50, n_probe: int = 2, k: int = K) -> View:
    """One question as it stays in a saved notebook."""
    result = looked(points, centroids, angle, n_probe, k)
    return View(told(result, len(centroids)), cells_html(points, centroids, angle, n_probe, k))


def cells_widget(points: Points, centroids: Float32[Tensor, "C 2"], angle: int = 50, n_probe: int = 2, k: int = K) -> Any:
    """Sliders for the question's direction and for n_probe above the map."""
    controls = {
        "angle": slider("question (degrees)", angle, 0, 359),
        "n_probe": slider("n_probe cells", n_probe, 1, len(centroids)),
    }
    return live(lambda angle, n_probe: cells_html(points, centroids, angle, n_probe, k), controls)
