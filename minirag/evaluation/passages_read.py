"""What the passages of a run tell: how soon one holds an answer, how many are worth reading, and how they are weighed.

All of it comes from the predictions on disk, which keep of each passage p(z|x) and whether it holds an answer, and of a long
text which passage speaks at each token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from minirag.evaluation.analysis import recall_at_each
from minirag.evaluation.predictions import Prediction, Read
from minirag.evaluation.run import Result
from minirag.evaluation.tables import KS, Curves, Heat, Point, Table, table_of_curves
from minirag.retrieval.standins import NO_PASSAGE
from minirag.tasks.metrics import wilson_interval

SHOWN = 5  # examples of a heat map, and passages of each
HOLDS = "●"


def has_read(run: Sequence[Prediction]) -> bool:
    """Whether there was something to read: the closed book has one empty passage for everything."""
    return any(passage.id != NO_PASSAGE.id for one in run for passage in one.passages)


def recall_table(name: str, runs: Mapping[str, Sequence[Prediction]]) -> list[Table]:
    """Answer recall among the first K passages, for every K, of the systems that read any; none where no passage says whether
    it holds an answer, or all read one alone."""
    lines = {system: _recall(run) for system, run in runs.items() if has_read(run) and _says(run)}
    most = max((len(points) for points in lines.values()), default=0)
    if most < 2:
        return []
    title = f"{name}: answer recall against K"
    note = "Examples one of whose first K passages holds an answer, as the predictions keep them: percent, with 95 % intervals "
    note += "(Wilson)."
    curves = Curves("Answer recall", "examples with an answer found", lines)
    return [table_of_curves(title, note, "system", curves, [*(k for k in KS if k < most), most])]


def _says(run: Sequence[Prediction]) -> bool:
    return any(passage.holds_answer is not None for one in run for passage in one.passages)


def _recall(run: Sequence[Prediction]) -> list[Point]:
    shares = recall_at_each(run)
    return [(k, own.hits / own.n, *wilson_interval(own.hits, own.n)) for k, own in enumerate(shares, 1)]


def score_table(name: str, scores: Mapping[str, Mapping[int, Result]]) -> list[Table]:
    """The leading metric against K, of the systems that were evaluated with several; none if there is no such system."""
    several = {system: by_k for system, by_k in scores.items() if len(by_k) > 1}
    if not several:
        return []
    lines = {system: [(k, one.value, one.low, one.high) for k, one in sorted(own.items())] for system, own in several.items()}
    (metric, *_) = (one.metric for own in several.values() for one in own.values())
    ks = sorted({k for own in several.values() for k in own})
    title = f"{name}: {metric} against K"
    note = "Runs that differ in the number of passages alone: percent, with 95 % intervals (bootstrap)."
    return [table_of_curves(title, note, "system", Curves(f"{metric.capitalize()} against passages read", metric, lines), ks)]


def heat_table(name: str, system: str, run: Sequence[Prediction]) -> list[Table]:
    """How the first examples' passages are weighed; none where nothing was read, or one passage alone."""
    shown = [one for one in run if len(one.passages) > 1][:SHOWN] if has_read(run) else []
    if not shown:
        return []
    rows = tuple(
        (one.question, one.output, " or ".join(one.answers[:2]), "; ".join(map(_weighed, one.passages[:SHOWN])))
        for one in shown
    )
    note = f"p(z|x) of the passages of {system}, best first, for the first {len(shown)} examples. "
    note += f"{HOLDS} marks one that holds an answer. " if _says(run) else ""
    picture = Heat(
        f"p(z|x), {system}",
        tuple(one.question for one in shown),
        tuple(tuple(z.probability for z in one.passages[:SHOWN]) for one in shown),
        tuple(tuple(bool(z.holds_answer) for z in one.passages[:SHOWN]) for one in shown),
    )
    heads = ("input", system, "right", f"first {SHOWN} passages")
    return [Table(f"{name}: how passages are weighed", note, heads, rows, picture, prose=True)]


def speaking_table(name: str, system: str, run: Sequence[Prediction]) -> list[Table]:
    """Which passage speaks at each token (the paper's figure 2), in the example in which they take turns most often; none where
    no prediction tells, or none has read two passages."""
    told = [one for one in run if one.speaks and len(one.passages) > 1]
    if not told:
        return []
    shown = max(told, key=_turns)
    pieces = tuple(piece.strip() or "␣" for piece in shown.pieces)
    rows = tuple(
        (str(rank), passage.title, f"{passage.probability:.2f}", f"{sum(own) / len(pieces):.2f}")
        for rank, (passage, own) in enumerate(zip(shown.passages, zip(*shown.speaks, strict=True), strict=True), 1)
    )
    note = f"{system} on “{shown.question}”: “{shown.output}”. Of all examples the leading passage changes most often here, "
    note += f"{_turns(shown)} times. The mean is over the {len(pieces)} tokens."
    picture = Heat(f"p(z|x, y), {system}", pieces, shown.speaks, tuple(tuple(False for _ in row) for row in shown.speaks))
    heads = ("rank", "passage", "p(z|x)", "mean of p(z|x, y)")
    return [Table(f"{name}: who speaks at each token", note, heads, rows, picture, prose=True)]


def _turns(one: Prediction) -> int:
    leading = [max(range(len(row)), key=row.__getitem__) for row in one.speaks]
    return sum(before != after for before, after in pairwise(leading))


def _weighed(passage: Read) -> str:
    told = [passage.title, f"{passage.probability:.2f}", *([HOLDS] if passage.holds_answer else [])]
    return "\N{NO-BREAK SPACE}".join(told)
