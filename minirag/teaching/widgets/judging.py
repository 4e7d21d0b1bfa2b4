"""Two texts to be compared with a click, pair after pair, in a notebook: plain data in, and a function called for each answer.

`evaluation.human.annotate` shows it, and keeps the answers in a judge's sheet.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minirag.corpus.words import escape
from minirag.errors import MiniragError
from minirag.teaching.plots import BLUE

Shown = tuple[str, str, str, str]  # id, input, A, B

_TEXT = f"width:27rem;padding:.4rem .7rem;border-left:4px solid {BLUE};text-align:left;vertical-align:top;white-space:pre-wrap"


def judging(
    pairs: Sequence[Shown],
    questions: Mapping[str, str],
    verdicts: Mapping[str, str],
    said: Mapping[str, Mapping[str, str]],
    save: Callable[[str, str, str], None],
) -> Any:
    """One pair, a row of buttons for each of the `questions`, by aspect, and how far the judge has come (an `ipywidgets.VBox`).

    It begins at the first pair that `said` does not have whole. A click calls `save(pair, aspect, verdict)`, the verdict being
    what `verdicts` has for the button's label; when all is said of a pair, the next open one follows. Any pair can be gone back
    to. Where `save` raises a `MiniragError`, its sentence is shown and the answer does not count.
    """
    import ipywidgets

    done = {id: dict(said.get(id, {})) for id, *_ in pairs}
    place = ipywidgets.BoundedIntText(value=1, min=1, max=len(pairs), description="Pair")
    shown, state = ipywidgets.HTML(), ipywidgets.HTML()
    rows = {aspect: ipywidgets.ToggleButtons(options=list(verdicts.items()), value=None) for aspect in questions}

    def is_open(number: int) -> bool:
        return len(done[pairs[number - 1][0]]) < len(questions)

    def go_to_an_open_one() -> None:
        order = [*range(place.value, len(pairs) + 1), *range(1, place.value)]
        place.value = next(filter(is_open, order), place.value)

    def show(_: Any = None) -> None:
        id, *texts = pairs[place.value - 1]
        shown.value = pair_html(*texts)
        for aspect, row in rows.items():
            row.value = done[id].get(aspect)
        tell()

    def tell(trouble: str = "") -> None:
        judged = len(pairs) - sum(map(is_open, range(1, len(pairs) + 1)))
        state.value = f"<b>{escape(trouble)}</b>" if trouble else f"{judged} of {len(pairs)} pairs are judged and saved."

    def answer(aspect: str, verdict: str | None) -> None:
        own = done[pairs[place.value - 1][0]]
        if verdict == own.get(aspect):
            return  # the row follows what was said, and nobody has clicked
        was_open = is_open(place.value)
        try:
            save(pairs[place.value - 1][0], aspect, str(verdict))
        except MiniragError as error:  # in a callback nobody would see it
            rows[aspect].value = own.get(aspect)
            return tell(str(error))
        own[aspect] = str(verdict)
        tell()
        if was_open and not is_open(place.value):
            go_to_an_open_one()

    for aspect, row in rows.items():
        row.observe(lambda change, aspect=aspect: answer(aspect, change["new"]), names="value")
    place.observe(show, names="value")
    go_to_an_open_one()
    show()
    asked = [widget for aspect, row in rows.items() for widget in (ipywidgets.HTML(escape(questions[aspect])), row)]
    return ipywidgets.VBox([place, shown, *asked, state])


def pair_html(input: str, a: str, b: str) -> str:
    """The input, and the two texts side by side; none of them is taken for HTML.

    >>> "&lt;i&gt;" in pair_html("Ovid", "<i>who?</i>", "a poet")
    True
    """
    cells = "".join(f'<td style="{_TEXT}">{escape(text)}</td>' for text in (a, b))
    head = "".join(f'<th style="text-align:left">{name}</th>' for name in "AB")
    return (
        f'<div style="max-width:54rem;line-height:1.5"><h3 style="white-space:pre-wrap">{escape(input)}</h3>'
        f"<table><tr>{head}</tr><tr>{cells}</tr></table></div>"
    )
