"""What training end to end came to, as a part of the quickstart's page."""

import math
from collections.abc import Sequence

from minirag.corpus.miniwiki.snapshots import YEARS
from minirag.corpus.words import escape
from minirag.evaluation.endtoend import Comparison
from minirag.evaluation.run import Result
from minirag.teaching import plots
from minirag.teaching.rag_plots import posterior_heatmap
from minirag.training.state import Row

SETS = {
    "asked": "asked in training",
    "new": "facts never asked",
    "prose": "natural language",
}


def render(found: Comparison) -> str:
    """Exact match and answer recall of every variant, the differences, the hot-swap, how documents are shared, curves."""
    recipe = found.recipe
    first, last = next(iter(found.logs)), list(found.logs)[-1]
    return f"""<h2>What does training end to end add?</h2>
<p class="note">Each was trained for {recipe.steps} steps of {recipe.batch} of {found.pairs:,} question–answer pairs, with
{recipe.k} passages each; no pair says which passage holds the answer. Questions were asked in training, or are on facts that
training never asked, or are natural language on prose. Exact match, and in brackets how often an answer was in the passages, in
percent, with its 95 % interval. Closed book: nothing to read; ten times the steps, at ten times the rate, from a BART that
has restored the articles and never seen a question. The others begin with the reader that ships.</p>
{_scroll("Exact match of what was trained", _matches(found))}
<p class="note">By how much more than {escape(last)}, in percentage points, on the same questions:</p>
{_scroll("Differences", _differences(found, last))}
{_swaps(found)}
{_shared(found)}
<div class="figures">{_curves(found)}{_heat(found, first)}</div>"""


def _matches(found: Comparison) -> str:
    heads = "".join(f'<th scope="col">{SETS[name]}<br><small>{n} questions</small></th>' for name, n in found.sets)
    rows = "".join(
        f'<tr><th scope="row">{escape(system)}</th>'
        + "".join(_cell(found.of(name, system), found.of(name, system, "recall")) for name, _ in found.sets)
        + "</tr>"
        for system in found.logs
    )
    return f'<thead><tr><th scope="col">system</th>{heads}</tr></thead><tbody>{rows}</tbody>'


def _cell(match: Result | None, recall: Result | None) -> str:
    if match is None or recall is None:
        return "<td>–</td>"
    return (
        f"<td>{100 * match.value:.1f} ({100 * recall.value:.0f})"
        f"<br><small>{100 * match.low:.1f}–{100 * match.high:.1f}</small></td>"
    )


def _differences(found: Comparison, last: str) -> str:
    heads = "".join(f'<th scope="col">{SETS[name]}</th>' for name, _ in found.sets)
    rows = ""
    for system in list(found.logs)[:-1]:
        cells = "".join(_signed(found.of(name, f"{system} − {last}")) for name, _ in found.sets)
        rows += f'<tr><th scope="row">{escape(system)}</th>{cells}</tr>'
    return f'<thead><tr><th scope="col">system</th>{heads}</tr></thead><tbody>{rows}</tbody>'


def _signed(result: Result | None) -> str:
    if result is None:
        return "<td>–</td>"
    return f"<td>{100 * result.value:+.1f}<br><small>{100 * result.low:+.1f} to {100 * result.high:+.1f}</small></td>"


def _swaps(found: Comparison) -> str:
    """The paper's table of two indexes and two years' holders."""
    if not found.swaps:
        return ""
    asked = next(iter(next(iter(found.swaps.values())).values())).n
    pairs = [(index, holders) for index in YEARS for holders in YEARS]
    heads = "".join(f'<th scope="col">index {index},<br>holders {holders}</th>' for index, holders in pairs)
    rows = "".join(
        f'<tr><th scope="row">{escape(system)}</th>'
        + "".join(f"<td>{100 * swaps[pair].value:.1f}</td>" for pair in pairs)
        + "</tr>"
        for system, swaps in found.swaps.items()
    )
    table = f'<thead><tr><th scope="col">system</th>{heads}</tr></thead><tbody>{rows}</tbody>'
    return f"""<p class="note">The memory exchanged while nothing is trained: “Who is …?” for {asked} offices, all of which
changed hands between two snapshots. In percent:</p>{_scroll("Index hot-swap", table)}"""


def _shared(found: Comparison) -> str:
    watched = {name: last for name, rows in found.logs.items() if (last := _last_watched(rows)) and found.swaps.get(name)}
    if not watched:
        return ""
    most = next(iter(watched.values()))["documents_most"]
    told = "; ".join(
        f"{escape(name)}: {row['documents_information']:.2f} nats, {100 * row['documents_unique']:.0f} % of the documents "
        f"different{', <strong>collapsed</strong>' if row['collapsed'] else ''}"
        for name, row in watched.items()
    )
    return f"""<p>Has the retriever collapsed? Each of {round(math.exp(most))} questions could tell up to {most:.2f} nats about
its documents. At the end: {told}.</p>"""


def _last_watched(rows: Sequence[Row]) -> Row | None:
    return next((row for row in reversed(rows) if "documents_information" in row), None)


def _curves(found: Comparison) -> str:
    curves = {
        name: [(int(row["step"]), float(row["loss"])) for row in found.logs[name] if "loss" in row]
        for name in list(found.logs)[:-1]  # the last one's steps are others
    }
    told = "; ".join(f"{name} from {points[0][1]:.1f} to {points[-1][1]:.1f}" for name, points in curves.items())
    picture = plots.svg(plots.learning_curves(curves, "−log p(y|x), nats", "Learning"), f"Loss against steps: {told}.")
    return f"<figure>{picture}<figcaption>The loss of a question, the mean of 20 steps.</figcaption></figure>"


def _heat(found: Comparison, system: str) -> str:
    answer = found.answer
    if answer is None:
        return ""
    titles = [passage.title for passage in answer.passages]
    picture = posterior_heatmap(answer.posterior, answer.pieces, titles, answer.question)
    told = f"p(document | question, answer so far) for “{answer.question}”, answered “{answer.text}”."
    return f"""<figure>{plots.svg(picture, told)}<figcaption>{escape(system)} after training: which passage the answer comes
from.</figcaption></figure>"""


def _scroll(label: str, table: str) -> str:
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>{table}</table></div>'
