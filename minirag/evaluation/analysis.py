"""What lies behind a score: where systems differ, what was right without a passage that says so, what training had told.

A run is a list of predictions, and "right" is what the task's leading metric gives full marks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minirag.errors import MiniragError
from minirag.evaluation.predictions import Prediction
from minirag.tasks.metrics import normalize_answer
from minirag.tasks.openqa import Question
from minirag.tasks.task import Task


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    hits: int
    n: int

    @property
    def value(self) -> float | None:
        return self.hits / self.n if self.n else None


def right(task: Task, one: Prediction) -> bool:
    """Whether the task's first metric gives this prediction full marks."""
    metric = task.metrics[0]
    return metric.of(*metric.counts(one.output, one.example)) >= 1.0


def unsupported(task: Task, run: Sequence[Prediction]) -> Share:
    """Right although no passage holds the answer: of the examples whose passages hold none, those that are right.

    An extractive reader gets none of these; the paper's RAG 11.8 % (§4.1, Natural Questions).
    """
    without = [one for one in run if one.passages and not one.found]
    return Share(sum(right(task, one) for one in without), len(without))


def recall_at_each(run: Sequence[Prediction]) -> list[Share]:
    """For K = 1 … all, of how many examples one of the first K passages holds an answer. "All" is the most that any has.

    >>> from minirag.evaluation.predictions import Read
    >>> rome, athens = (Read("1", "Rome", 0.6, True), Read("2", "Athens", 0.4, False))
    >>> run = [Prediction("1", "?", "x", passages=(rome, athens)), Prediction("2", "?", "x", passages=(athens, rome))]
    >>> [(share.hits, share.n) for share in recall_at_each(run)]
    [(1, 2), (2, 2)]
    """
    most = max((len(one.passages) for one in run), default=0)
    ranks = [next((rank for rank, z in enumerate(one.passages, 1) if z.holds_answer), most + 1) for one in run]
    return [Share(sum(rank <= k for rank in ranks), len(run)) for k in range(1, most + 1)]


@dataclass(frozen=True)
class Overlap:
    """Examples whose answer some training example has, too, and the others; how many of each are right."""

    known: Share
    new: Share


def overlap(task: Task, trained: Sequence[Question], run: Sequence[Prediction]) -> Overlap:
    """How much may have been learnt by heart: a test answer is known if one of its forms is some training answer's
    (Lewis et al. 2021, "Question and Answer Test-Train Overlap in Open-Domain Question Answering Datasets").

    >>> from minirag.tasks.task import NQ
    >>> run = [Prediction("1", "Who?", "Ovid", ("Ovid",)), Prediction("2", "Where?", "Rome", ("Athens",))]
    >>> overlap(NQ, [Question("0", "Who wrote it?", ("ovid",))], run)
    Overlap(known=Share(hits=1, n=1), new=Share(hits=0, n=1))
    """
    told = {normalize_answer(answer) for one in trained for answer in one.answers}
    inside = [any(normalize_answer(answer) in told for answer in one.answers) for one in run]
    parts = ([one for one, known in zip(run, inside, strict=True) if known is which] for which in (True, False))
    return Overlap(*(Share(sum(right(task, one) for one in part), len(part)) for part in parts))


def differing(task: Task, ours: Sequence[Prediction], theirs: Sequence[Prediction]) -> tuple[list[int], list[int]]:
    """The rows where the first run is right and the second is not, and the other way round.

    Raises `MiniragError` where the runs are not on the same examples.
    """
    if [one.id for one in ours] != [one.id for one in theirs]:
        raise MiniragError("the two runs are on different examples; evaluate both on the same file, with the same --count")
    marks = [(right(task, one), right(task, other)) for one, other in zip(ours, theirs, strict=True)]
    better, worse = ([i for i, own in enumerate(marks) if own == alone] for alone in ((True, False), (False, True)))
    return better, worse
