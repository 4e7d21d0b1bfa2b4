"""What the widgets are made of: a view that stays in a saved notebook, and controls above what a plain function shows.

A live widget calls its plain function again whenever a control moves, and its first view is the static one. HTML here carries
its styles in the tags, because style sheets are lost where saved notebooks are shown, and says in words what a picture shows.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minirag.corpus.words import escape
from minirag.errors import MiniragError
from minirag.teaching.plots import BLUE, GREY

Real = int | float


@dataclass(frozen=True, repr=False)
class View:
    """Something to look at that needs no kernel: a page of HTML, and in one line of `text` what it says."""

    text: str
    html: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def live(draw: Callable[..., str], controls: Mapping[str, Any], above: Sequence[Any] | None = None) -> Any:
    """What `draw` makes of the controls' values, under them, and anew whenever one of them moves (an `ipywidgets.VBox`).

    Each control's value is the argument of its name. Where `draw` raises a `MiniragError`, its sentence is shown. `above`:
    the controls as they are to be laid out, if not one under the other.
    """
    import ipywidgets

    shown = ipywidgets.HTML()

    def update(_: Any = None) -> None:
        try:
            shown.value = draw(**{name: control.value for name, control in controls.items()})
        except MiniragError as error:  # in a callback nobody would see it
            shown.value = f"<p role='alert'><b>{escape(error)}</b></p>"

    for control in controls.values():
        control.observe(update, names="value")
    update()
    return ipywidgets.VBox([*(list(controls.values()) if above is None else above), shown])


def slider(description: str, value: Real, low: Real, high: Real, step: float | None = None, wide: bool = True) -> Any:
    """A slider of whole numbers, or of decimals where a `step` is given."""
    import ipywidgets

    look = {"description": description, "style": {"description_width": "9rem" if wide else "initial"}}
    look["layout"] = ipywidgets.Layout(width="30rem" if wide else "14rem")
    if step is None:
        return ipywidgets.IntSlider(value=int(value), min=int(low), max=int(high), **look)
    return ipywidgets.FloatSlider(value=value, min=low, max=high, step=step, **look)


def bar(share: float, colour: str = BLUE, width: int = 80) -> str:
    """A share between 0 and 1 as a bar under its number, so that it can be read without the bar.

    >>> bar(0.25)[:4]
    '0.25'
    """
    return f'{share:.2f}<div style="height:6px;width:{width * share:.0f}px;background:{colour}"></div>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """A table of cells that are HTML already; the first column names its rows."""
    style = 'style="text-align:left;vertical-align:top;padding:3px 14px 3px 0"'
    head = "".join(f'<th scope="col" {style}>{cell}</th>' for cell in header)
    lines = "".join(
        f'<tr><th scope="row" {style}>{first}</th>{"".join(f"<td {style}>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    told = f'<caption style="text-align:left;caption-side:top;color:{GREY}">{caption}</caption>' if caption else ""
    return f'<table style="border-collapse:collapse">{told}<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>'


def picture(marks: Sequence[str], width: Real, height: Real, caption: str) -> str:
    """SVG marks on white paper, with `caption` under them in words, which is also what is read aloud for the picture."""
    return (
        f'<figure style="margin:0"><svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(caption)}" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'font-family="sans-serif" font-size="12" style="max-width:100%;height:auto">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(marks)}</svg>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def lettering(x: Real, y: Real, text: str, colour: str = "#000000", anchor: str = "start", bold: bool = False) -> str:
    """A line of SVG text; its middle is at y."""
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.0f}" y="{y + 4:.0f}" fill="{colour}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def number(value: float) -> str:
    """Two decimals and a real minus.

    >>> number(-1.532), number(-0.001)
    ('−1.53', '0.00')
    """
    said = f"{value:.2f}"
    return said.removeprefix("-") if float(said) == 0 else said.replace("-", "−")


def percent(part: int, whole: int) -> str:
    """
    >>> percent(80, 200), percent(1, 999)
    ('40 %', '0.1 %')
    """
    share = 100 * part / max(whole, 1)
    return f"{share:.1f} %" if 0 < share < 1 else f"{share:.0f} %"


def ordinal(place: int) -> str:
    """
    >>> [ordinal(place) for place in (1, 2, 3, 11, 22)]
    ['1st', '2nd', '3rd', '11th', '22nd']
    """
    ending = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending}"


def runs(values: Sequence[int]) -> list[tuple[int, int]]:
    """Equal neighbours in one: (value, how many).

    >>> runs([3, 3, 1, 3])
    [(3, 2), (1, 1), (3, 1)]
    """
    return [(value, len(list(equal))) for value, equal in itertools.groupby(values)]
