"""The pictures of generation: which document speaks at each token, what a search looked at. The style is that of `plots`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from minirag.teaching.plots import axes_of, short, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def posterior_heatmap(
    posterior: Float[Tensor, "T K"], tokens: Sequence[str], documents: Sequence[str], title: str = ""
) -> Figure:
    """Which of K documents speaks at each of T tokens (the paper's figure 2): columns sum to 1, the number in each cell."""
    figure, axes = axes_of(1.9 + 0.55 * len(tokens), 1.0 + 0.36 * len(documents))
    image = axes.imshow(posterior.T.numpy(), cmap="cividis", aspect="auto", vmin=0, vmax=1)
    for t, row in enumerate(posterior.tolist()):
        for k, value in enumerate(row):
            colour = "white" if value < 0.5 else "black"
            axes.text(t, k, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(tokens)), [token.strip() or "␣" for token in tokens])
    axes.set_yticks(range(len(documents)), [short(document) for document in documents])
    axes.grid(visible=False)
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label="p(document | question, answer)")
    return figure
