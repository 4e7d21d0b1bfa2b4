"""The pictures of generation: which document speaks at each token, what a search looked at. The style is that of `plots`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from minirag.teaching.plots import BLACK, BLUE, GREY, VERMILLION, axes_of, ink, shade, short, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Prefix = tuple[str, ...]  # the tokens of a hypothesis so far


@styled
def posterior_heatmap(
    posterior: Float[Tensor, "T K"], tokens: Sequence[str], documents: Sequence[str], title: str = ""
) -> Figure:
    """Which of K documents speaks at each of T tokens (the paper's figure 2): columns sum to 1, the number in each cell.
    It looks like the one to be hovered over, `widgets.heatmap`."""
    from matplotlib.colors import to_rgb

    figure, axes = axes_of(1.9 + 0.36 * len(tokens), 1.2 + 0.3 * len(documents))
    axes.imshow([[to_rgb(shade(share)) for share in row] for row in posterior.T.tolist()], aspect="auto")
    for t, row in enumerate(posterior.tolist()):
        for k, share in enumerate(row):
            axes.text(t, k, f"{share:.2f}", ha="center", va="center", color=ink(share), fontsize=8)
    axes.set_xticks(range(len(tokens)), [token.strip() or "␣" for token in tokens], rotation=90)
    axes.set_yticks(range(len(documents)), [short(document) for document in documents])
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    axes.set_title(title)
    return figure


@styled
def search_tree(looked_at: Mapping[Prefix, float], kept: Collection[Prefix], best: Prefix = (), title: str = "") -> Figure:
    """The prefixes that a search looked at, as a tree that grows to the right; in each box a token and p(prefix).

    `looked_at`: log p of each prefix, with all that it begins with, except the empty one. `kept` are those that went on or
    ended well, in solid boxes; the others, in dashed grey ones, were dropped. The way to `best` is drawn thick.
    """
    from matplotlib.lines import Line2D

    place = places(looked_at)
    depth = max(map(len, place))
    figure, axes = axes_of(0.8 + 1.45 * depth, 1.0 + 0.36 * (1 + max(y for _, y in place.values())))
    chosen = {best[:n] for n in range(1, len(best) + 1)}
    looks: Any = {  # colour, line style, line width
        "on the way to the best": (VERMILLION, "-", 2.4),
        "kept": (BLUE, "-", 1.2),
        "dropped": (GREY, "--", 0.8),
    }
    for prefix, log_probability in looked_at.items():
        name = "on the way to the best" if prefix in chosen else "kept" if prefix in kept else "dropped"
        colour, style, width = looks[name]
        ends = zip(place[prefix[:-1]], place[prefix], strict=True)
        axes.plot(*ends, color=colour, linestyle=style, linewidth=width, zorder=1)
        box = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": colour, "linestyle": style, "linewidth": width}
        label = f"{short(prefix[-1].strip() or '␣', 14)}  {_probability(log_probability)}"
        ink = GREY if name == "dropped" else BLACK
        axes.text(*place[prefix], label, ha="center", va="center", fontsize=8, bbox=box, color=ink, parse_math=False)
    axes.plot(0, place[()][1], "o", color=BLACK, markersize=5)
    axes.set(xlabel="tokens", title=title, xlim=(-0.2, depth + 0.55))
    axes.set_xticks(range(depth + 1))
    axes.set_yticks([])
    axes.invert_yaxis()
    axes.margins(y=0.12)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False)
    lines = [Line2D([], [], color=colour, linestyle=style, linewidth=width) for colour, style, width in looks.values()]
    figure.legend(lines, list(looks), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def places(prefixes: Collection[Prefix]) -> dict[Prefix, tuple[float, float]]:
    """Where each prefix stands: as far right as it is long, and at the middle of what follows it, in the order given.

    >>> places([("a",), ("b",), ("a", "c"), ("a", "d")])
    {('a', 'c'): (2.0, 0.0), ('a', 'd'): (2.0, 1.0), ('a',): (1.0, 0.5), ('b',): (1.0, 2.0), (): (0.0, 1.25)}
    """
    after: dict[Prefix, list[Prefix]] = {}
    for prefix in prefixes:
        after.setdefault(prefix[:-1], []).append(prefix)
    places: dict[Prefix, tuple[float, float]] = {}
    leaves = map(float, range(len(prefixes) + 1))

    def put(prefix: Prefix) -> float:
        heights = [put(each) for each in after.get(prefix, ())]
        y = (heights[0] + heights[-1]) / 2 if heights else next(leaves)
        places[prefix] = (float(len(prefix)), y)
        return y

    put(())
    return places


def _probability(log_probability: float) -> str:
    """
    >>> _probability(math.log(0.25)), _probability(-20.0)
    ('0.25', '<0.01')
    """
    p = math.exp(log_probability)
    return f"{p:.2f}" if p >= 0.01 else "<0.01"
