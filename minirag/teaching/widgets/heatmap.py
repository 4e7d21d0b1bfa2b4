"""The posterior heat map (the paper's figure 2) to be hovered over: which of K documents speaks at each of T tokens.

A table of numbers on colours; what a cell says in full stands in its tooltip, which needs no JavaScript. So it also works in
a saved page, and where colours are lost the numbers stay.

heatmap_widget({"RAG-Token": token, "RAG-Sequence": sequence}, tokens, documents)      switch between the two
heatmap_view({"RAG-Token": token, "RAG-Sequence": sequence}, tokens, documents, "RAG-Sequence")     one of them, to be kept
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from minirag.corpus.words import escape
from minirag.errors import MiniragError
from minirag.teaching.plots import ink, shade, short
from minirag.teaching.widgets.view import View, live

Heats = Mapping[str, Float[Tensor, "T K"]]  # a posterior under each scheme's name


def heatmap_html(posterior: Float[Tensor, "T K"], tokens: Sequence[str], documents: Sequence[str], caption: str = "") -> str:
    """A row for each document and a column for each token, shares in percent; columns add up to 100.

    Raises `MiniragError` where tokens and documents are not as many as the posterior's.

    >>> import torch
    >>> '>86</td>' in heatmap_html(torch.tensor([[0.857, 0.143]]), ["a"], ["document 1", "document 2"])
    True
    """
    if posterior.shape != (len(tokens), len(documents)):
        raise MiniragError(
            f"the posterior is of {posterior.shape[0]} tokens and {posterior.shape[1]} documents, and there are names for "
            f"{len(tokens)} and {len(documents)}; give a name for each"
        )
    names = [token.strip() or "␣" for token in tokens]
    head = "".join(
        f'<th scope="col" style="{_CELL};vertical-align:bottom;font-weight:normal">'
        f'<span style="writing-mode:vertical-rl;transform:rotate(180deg)">{escape(name)}</span></th>'
        for name in names
    )
    rows = []
    for document, shares in zip(documents, posterior.T.tolist(), strict=True):
        cells = "".join(
            _cell(share, f"token {t}, “{name}”: {document} has {100 * share:.0f} %")
            for t, (name, share) in enumerate(zip(names, shares, strict=True), start=1)
        )
        rows.append(f'<tr><th scope="row" style="{_NAME}">{escape(short(document))}</th>{cells}</tr>')
    told = (
        f'<caption style="text-align:left;caption-side:top;white-space:nowrap;padding-bottom:4px">{escape(caption)}</caption>'
        if caption
        else ""
    )
    return (
        f'<div style="overflow-x:auto"><table style="border-collapse:collapse;font-size:12px">{told}'
        f'<thead><tr><th style="{_NAME}">share in %</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


_CELL = "min-width:26px;padding:4px 2px;text-align:center;border:1px solid #ffffff"
_NAME = "text-align:right;padding:4px 8px;font-weight:normal;white-space:nowrap"


def _cell(share: float, tooltip: str) -> str:
    bold = ";font-weight:bold" if share > 0.9 else ""  # as white ink needs it
    style = f"{_CELL};background-color:{shade(share)};color:{ink(share)}{bold}"
    return f'<td style="{style}" title="{escape(tooltip)}">{100 * share:.0f}</td>'


def heatmap_view(heats: Heats, tokens: Sequence[str], documents: Sequence[str], scheme: str | None = None) -> View:
    """The posterior under one scheme, by default the first, as it stays in a saved notebook."""
    scheme = _chosen(heats, scheme)
    return View(
        f"{scheme}: which of {len(documents)} documents speaks at each of {len(tokens)} tokens",
        heatmap_html(heats[scheme], tokens, documents, scheme),
    )


def heatmap_widget(heats: Heats, tokens: Sequence[str], documents: Sequence[str]) -> Any:
    """The heat map with a button for each scheme above it; the first one's is shown first."""
    import ipywidgets

    toggle = ipywidgets.ToggleButtons(options=list(heats), value=_chosen(heats, None))
    return live(lambda scheme: heatmap_html(heats[scheme], tokens, documents, scheme), {"scheme": toggle})


def _chosen(heats: Heats, scheme: str | None) -> str:
    if not heats or (scheme is not None and scheme not in heats):
        raise MiniragError(f"there is no posterior of '{scheme}'; give one of {', '.join(heats) or 'some scheme'}")
    return next(iter(heats)) if scheme is None else scheme
