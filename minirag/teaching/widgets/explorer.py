"""The retrieval explorer: a question, K and n_probe in; the passages, p(z|x), and what the IVF missed out (RAG §2.2).

explorer_widget(shelf)                       type, slide, read; needs a live Jupyter
explorer_view(shelf, "Who discovered radium?", k=5, n_probe=4)   the same once, for a saved notebook
"""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten
from time import perf_counter
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor

from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.corpus.words import escape
from minirag.errors import MiniragError
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.ivf import IVFIndex
from minirag.retrieval.retriever import QueryEncoder, Retrieved
from minirag.teaching.plots import short
from minirag.teaching.widgets.view import View, bar, live, number, ordinal, percent, slider, table

MOST = 20  # passages that are shown
LETTERS = 200  # of each


@dataclass(frozen=True)
class Shelf:
    """What is searched: N passages, the encoder, and the passages' vectors in an exact index and in an IVF.

    Raises `MiniragError` where the three do not hold the same number of passages.
    """

    encoder: QueryEncoder
    passages: PassageStore | Sequence[Passage]
    exact: ExactIndex
    ivf: IVFIndex

    def __post_init__(self) -> None:
        if not len(self.passages) == len(self.exact) == len(self.ivf):
            counts = f"{len(self.passages)} passages, {len(self.exact)} exact rows and {len(self.ivf)} IVF rows"
            raise MiniragError(f"there are {counts}; build both indexes from these passages")


@dataclass(frozen=True)
class Explored:
    """What a question found in the lists of `probed` cells, and what it should have found.

    `missed`: (place in the exact ranking, row) of each of the true top K that no probed list holds. `scanned` of `rows` rows
    were looked at. `asked` is the question's vector.
    """

    found: Retrieved
    k: int
    probed: list[int]
    lists: int
    missed: list[tuple[int, int]]
    true: int
    scanned: int
    rows: int
    asked: Float32[Tensor, "1 D"]

    @property
    def recall(self) -> float:
        """The share of the true top K that was found."""
        return 1 - len(self.missed) / self.true if self.true else 1.0


def explored(shelf: Shelf, question: str, k: int, n_probe: int) -> Explored:
    """Search for a question in `n_probe` of the lists, and in all rows. Raises `MiniragError` for an empty one."""
    if not question.strip():
        raise MiniragError("the question is empty; type one")
    ivf, asked = shelf.ivf, shelf.encoder.encode_queries([question]).float().cpu()  # [1, D]
    scores, rows = ivf.search(asked, k, n_probe)  # [1, K], [1, K]
    best = shelf.exact.search(asked, k)[1][0].tolist()
    real = rows[0] >= 0
    found = Retrieved(question, [shelf.passages[row] for row in rows[0, real].tolist()], rows[0, real], scores[0, real])
    probed = (asked @ ivf.centroids.T)[0].topk(min(n_probe, ivf.n_lists)).indices
    lists = ivf.list_of[ivf.memory.alive]
    had = set(found.rows.tolist())
    missed = [(place, row) for place, row in enumerate(best, start=1) if row >= 0 and row not in had]
    true, scanned = sum(row >= 0 for row in best), int(torch.isin(lists, probed).sum())
    return Explored(found, k, probed.tolist(), ivf.n_lists, missed, true, scanned, len(lists), asked)


def told(result: Explored) -> str:
    """The result in one line."""
    return (
        f"{len(result.probed)} of {result.lists} lists probed: {result.scanned} of {result.rows} rows scanned "
        f"({percent(result.scanned, result.rows)}), {result.true - len(result.missed)} of the true top {result.true} found "
        f"(recall@{result.k} = {result.recall:.2f})"
    )


def explored_html(shelf: Shelf, result: Explored, latency: str = "") -> str:
    """The result as HTML: what it cost, each passage with p(z|x) and score, and what was missed. Everything is escaped."""
    found = result.found
    rows = [
        [str(place), bar(p), number(score), str(int(shelf.ivf.list_of[row])), _passage(passage)]
        for place, (p, score, row, passage) in enumerate(
            zip(found.probabilities.tolist(), found.scores.tolist(), found.rows.tolist(), found.passages, strict=True), start=1
        )
    ]
    missed = "; ".join(
        f"the {ordinal(place)}, <b>{escape(shelf.passages[row].title)}</b>, in list {int(shelf.ivf.list_of[row])}"
        for place, row in result.missed
    )
    return (
        f'<div style="max-width:54rem;line-height:1.45"><p style="font-size:1.15em"><b>{escape(found.question)}</b></p>'
        f"<p>{told(result)}{latency}.</p>"
        + table(("", "p(z|x)", "score", "list", "passage"), rows)
        + (f"<p>Missed, because their lists were not probed: {missed}.</p>" if missed else "")
        + "</div>"
    )


def explorer_view(shelf: Shelf, question: str, k: int = 5, n_probe: int = 4) -> View:
    """One search as it stays in a saved notebook; no time in it, which belongs to a machine."""
    result = explored(shelf, question, k, n_probe)
    return View(f"{question} {told(result)}", explored_html(shelf, result))


def explorer_widget(shelf: Shelf, question: str, k: int = 5, n_probe: int = 4) -> Any:
    """A field for the question, sliders for K and n_probe, and what the search finds, with the time that it took."""
    import ipywidgets

    field = ipywidgets.Text(value=question, description="Question", continuous_update=False)
    field.style.description_width, field.layout.width = "9rem", "46rem"
    most = min(MOST, len(shelf.passages))
    sliders = {
        "k": slider("K passages", min(k, most), 1, most),
        "n_probe": slider("n_probe lists", n_probe, 1, shelf.ivf.n_lists),
    }

    def draw(question: str, k: int, n_probe: int) -> str:
        result = explored(shelf, question, k, n_probe)
        return explored_html(shelf, result, latency(shelf, result))

    return live(draw, {"question": field} | sliders)


def latency(shelf: Shelf, result: Explored) -> str:
    """How long the two searches take now, here, without the encoder."""
    seconds = []
    for search in (
        lambda: shelf.ivf.search(result.asked, result.k, len(result.probed)),
        lambda: shelf.exact.search(result.asked, result.k),
    ):
        start = perf_counter()
        search()
        seconds.append(perf_counter() - start)
    return f"; the search took {1000 * seconds[0]:.2f} ms, an exact one {1000 * seconds[1]:.2f} ms"


def _passage(passage: Passage) -> str:
    text = passage.text.removeprefix(passage.title)
    words = shorten(text, LETTERS, placeholder=" …")
    if words == "…":  # a script that has no blanks
        words = short(text, LETTERS)
    return f"<b>{escape(passage.title)}</b><br>{escape(words)}"
