"""Beam search in a small table of next-word probabilities, as a tree: move beams, length penalty and minimum length (RAG §2.5).

tree_widget(table)                        three sliders; needs a live Jupyter
tree_view(table, beams=2)                 one search, for a saved notebook
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from minirag.corpus.words import escape
from minirag.errors import MiniragError
from minirag.rag.decode import Search, Single, beam_search
from minirag.rag.generator import Sizes
from minirag.teaching.plots import BLACK, BLUE, GREY, VERMILLION, short
from minirag.teaching.rag_plots import Prefix, places
from minirag.teaching.widgets.view import Real, View, lettering, live, number, ordinal, picture, slider

END, PAD = "</s>", "<pad>"
Table = Mapping[Prefix, Mapping[str, float]]  # what may follow a prefix, and how likely it is


@dataclass(frozen=True)
class Searched:
    """What a search looked at: log p of each prefix, those `kept`, those `too_short` to end, and what ended, best first."""

    looked_at: dict[Prefix, float]
    kept: set[Prefix]
    too_short: set[Prefix]
    ended: list[tuple[Prefix, float]]  # the text and its score, log p / |y|^α

    @property
    def best(self) -> Prefix:
        return self.ended[0][0]


class TableTree:
    """A table, asked in the way in which beam search asks a generator's tree; it writes down what it was asked."""

    computed = 0

    def __init__(self, table: Table, words: Sequence[str]) -> None:
        self.table, self.words = table, words
        self.leaves: list[Prefix] = [()]
        self.asked: dict[Prefix, None] = {(): None}  # in the order of the questions, which a set would lose

    def grow(self, tokens: Int[Tensor, "N J"], parents: Int[Tensor, "N J"] | None = None) -> Float[Tensor, "N J V"]:
        if parents is not None:
            pairs = zip(parents[0].tolist(), tokens[0].tolist(), strict=True)
            self.leaves = [(*self.leaves[parent], self.words[token]) for parent, token in pairs]
            self.asked |= dict.fromkeys(self.leaves)
        follow = [follows(self.table, leaf) for leaf in self.leaves]
        return torch.tensor([[[each.get(word, 0.0) for word in self.words] for each in follow]]).log()

    def keep(self, rows: Int[Tensor, " m"]) -> None:
        """For searches side by side, some of which have ended. Here there is one."""


def follows(table: Table, prefix: Prefix) -> Mapping[str, float]:
    """What may follow a prefix; one that is not in the table ends for certain."""
    return table.get(prefix, {END: 1.0})


def searched(table: Table, beams: int = 2, length_penalty: float = 0.0, min_length: int = 0) -> Searched:
    """minirag's own beam search in the table. Raises `MiniragError` where a row does not add up to 1, or nothing may end.

    >>> searched({(): {"a": 0.6, "b": 0.4}, ("a",): {"c": 0.7, "d": 0.3}}, beams=1).best
    ('a', 'c', '</s>')
    """
    for prefix, row in table.items():
        if not row or min(row.values()) <= 0 or not math.isclose(sum(row.values()), 1, abs_tol=1e-6):
            raise MiniragError(f"what follows '{' '.join(prefix)}' does not add up to 1; mend that row of the table")
    words = [PAD, END, *dict.fromkeys(word for row in table.values() for word in row if word != END)]
    sizes = Sizes(vocab_size=len(words), positions=len(words), start_id=1, eos_id=1, pad_id=0)
    search = Search(beams, max(map(len, table)) + 2, min_length, length_penalty, hypotheses=beams)
    tree = TableTree(table, words)
    (found,) = beam_search(Single(tree), 1, sizes, search, torch.device("cpu"))
    texts = [(tuple(words[token] for token in each.tokens), each.score) for each in found]
    ended = [(text, score) for text, score in texts if text[-1] == END and score > -math.inf]
    looked_at: dict[Prefix, float] = {(): 0.0}
    for prefix in sorted(tree.asked, key=len):
        if prefix in looked_at:  # what fills up a short beam is in no table
            looked_at |= {(*prefix, word): looked_at[prefix] + math.log(p) for word, p in follows(table, prefix).items()}
    del looked_at[()]
    too_short = {prefix for prefix in looked_at if prefix[-1] == END and len(prefix) <= min_length}
    return Searched(looked_at, (tree.asked.keys() & looked_at.keys()) | {text for text, _ in ended}, too_short, ended)


def told(result: Searched) -> str:
    """What was found, in one line."""
    best, score = result.ended[0]
    return (
        f"{len(result.kept)} of the {len(result.looked_at)} prefixes looked at were kept; the best answer is "
        f"“{' '.join(best[:-1])}” with p = {math.exp(result.looked_at[best]):.2f} and score {number(score)}"
    )


WIDE, HIGH, HALF = 176, 34, 66  # a column and a row of the picture, and half a box, in pixels
LOOKS = {  # colour, width, dashes
    "on the way to the best": (VERMILLION, 3, ""),
    "kept": (BLUE, 1.5, ""),
    "dropped": (GREY, 1, "4 3"),
    "too short to end": (GREY, 1, "1 3"),
}


def tree_html(table: Table, beams: int = 2, length_penalty: float = 0.0, min_length: int = 0) -> str:
    """The search as a tree that grows to the right: in each box a word and p of the text up to it; scores of what ended."""
    result = searched(table, beams, length_penalty, min_length)
    at = {prefix: (26 + WIDE * x, 40 + HIGH * y) for prefix, (x, y) in places(result.looked_at).items()}
    chosen = {result.best[:length] for length in range(1, len(result.best) + 1)}
    ranks = {text: (place, score) for place, (text, score) in enumerate(result.ended, start=1)}
    lines, boxes = [], []
    for prefix in result.looked_at:
        name = (
            "on the way to the best" if prefix in chosen
            else "too short to end" if prefix in result.too_short
            else "kept" if prefix in result.kept
            else "dropped"
        )  # fmt: skip
        (x0, y0), (x, y) = at[prefix[:-1]], at[prefix]
        start = x0 + HALF if len(prefix) > 1 else x0
        curve = f"M{start:.0f} {y0:.0f}C{start + 26:.0f} {y0:.0f} {x - HALF - 26:.0f} {y:.0f} {x - HALF:.0f} {y:.0f}"
        lines.append(f'<path d="{curve}" fill="none" {_stroke(name)}/>')
        boxes.append(_box(x, y, prefix, result.looked_at[prefix], name, ranks.get(prefix)))
    right, low = max(x for x, _ in at.values()), max(y for _, y in at.values())
    title = f"{beams} beam{'s' * (beams > 1)}, length penalty {length_penalty:g}, minimum length {min_length}"
    root = f'<circle cx="26" cy="{at[()][1]:.0f}" r="4" fill="{BLACK}"/>'
    marks = [lettering(10, 14, title, bold=True), *lines, root, *boxes, *_legend(low + 40)]
    return picture(marks, max(right + 160, 640), low + 78, f"{title}: {told(result)}.")


def _box(x: Real, y: Real, prefix: Prefix, log_p: float, name: str, rank: tuple[int, float] | None) -> str:
    p = math.exp(log_p)
    word = f"{short(prefix[-1], 14)}  {p:.2f}" if p >= 0.005 else f"{short(prefix[-1], 14)}  <0.01"
    ink = GREY if name in ("dropped", "too short to end") else BLACK
    ended = f"{ordinal(rank[0])}: {number(rank[1])}" if rank else ""
    tooltip = f"{' '.join(prefix)}: p = {p:.3f}, log p = {number(log_p)}, {name}" + (f"; {ended} in score" if rank else "")
    return (
        f"<g><title>{escape(tooltip)}</title>"
        f'<rect x="{x - HALF:.0f}" y="{y - 12:.0f}" width="{2 * HALF}" height="24" rx="7" fill="#ffffff" {_stroke(name)}/>'
        + lettering(x, y, word, ink, "middle")
        + (lettering(x + HALF + 8, y, ended, VERMILLION if rank[0] == 1 else BLACK, bold=rank[0] == 1) if rank else "")
        + "</g>"
    )


def _stroke(name: str) -> str:
    colour, width, dashes = LOOKS[name]
    return f'stroke="{colour}" stroke-width="{width}"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


def _legend(y: Real) -> list[str]:
    marks = []
    for place, name in enumerate(LOOKS):
        x = 10 + 140 * place + 50 * (place > 0)
        marks.append(f'<path d="M{x} {y:.0f}h26" {_stroke(name)}/>' + lettering(x + 32, y, name))
    return [*marks, lettering(10, y + 22, "Beside what ended: its place, and its score log p / |y|^α.", GREY)]


def tree_view(table: Table, beams: int = 2, length_penalty: float = 0.0, min_length: int = 0) -> View:
    """One search as it stays in a saved notebook."""
    result = searched(table, beams, length_penalty, min_length)
    return View(told(result), tree_html(table, beams, length_penalty, min_length))


def tree_widget(table: Table, beams: int = 2, length_penalty: float = 0.0, min_length: int = 0) -> Any:
    """Three sliders above the tree."""
    controls = {
        "beams": slider("beams", beams, 1, 5),
        "length_penalty": slider("length penalty", length_penalty, -1.0, 2.0, 0.25),
        "min_length": slider("minimum length", min_length, 0, max(map(len, table)) + 2),
    }
    return live(lambda **chosen: tree_html(table, **chosen), controls)
