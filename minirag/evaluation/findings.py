"""What the quickstart found, as plain values: all that its report says, and nothing that would have to be computed again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Int
from torch import Tensor

from minirag.evaluation.answering import Answered
from minirag.evaluation.endtoend import Comparison
from minirag.evaluation.run import Rank, Result
from minirag.evaluation.task_report import Table
from minirag.rag.decode import Decoder
from minirag.retrieval.retriever import Retrieved
from minirag.tasks.openqa import Question


@dataclass(frozen=True)
class System:
    """A way to search: its name in tables and results, the family whose points a plot joins, its label within the family."""

    name: str
    family: str
    label: str = ""


RANDOM = System("random passages", "random passages")
BM25 = System("BM25", "BM25")
EXACT = System("bi-encoder, exact", "bi-encoder, exact")
IVF = "bi-encoder, IVF"  # a family: one index, searched with several n_probe
ENCODING = "bi-encoder, encoding the question"  # timed beside the systems, searched by none


def ivf(n_probe: int, n_lists: int) -> System:
    """
    >>> ivf(2, 9).name, ivf(9, 9).name
    ('bi-encoder, IVF, 2 of 9 lists', 'bi-encoder, IVF, all 9 lists')
    """
    share = f"all {n_lists}" if n_probe == n_lists else f"{n_probe} of {n_lists}"
    return System(f"bi-encoder, IVF, {share} lists", IVF, str(n_probe))


ANSWERING: dict[str, Decoder] = {  # systems that answer, and how they decode
    "RAG-Sequence, bi-encoder": "thorough",
    "RAG-Token, bi-encoder": "token",
    "RAG-Sequence, BM25": "thorough",
}


@dataclass(frozen=True)
class Example:
    """A question, why it is shown, what a system found, and at which rank each system found the answer."""

    kind: str
    question: Question
    system: str
    found: Retrieved
    ranks: Mapping[str, Rank]


@dataclass(frozen=True)
class Findings:
    """`sets` is (name, how many questions), the leading one last; `stages` is (name, seconds, found done)."""

    corpus: str
    note: str  # what a reader of the numbers should know about the corpus
    encoder: str
    sets: Sequence[tuple[str, int]]
    systems: Sequence[System]
    results: Sequence[Result]
    examples: Sequence[Example]
    sizes: Mapping[str, int]
    answered: Sequence[Answered]  # by the first system, on the leading set
    list_sizes: Int[Tensor, " C"]
    stages: Sequence[tuple[str, float, bool]]
    machine: Mapping[str, Any]
    command: str
    seed: int
    seconds: float
    trained: Comparison | None = None  # end to end
    tasks: Sequence[Table] = ()  # of the paper

    def of(self, task: str, system: str, metric: str) -> Result | None:
        """The result of that name, or None where nothing of the kind was measured."""
        wanted = (task, system, metric)
        return next((each for each in self.results if (each.task, each.system, each.metric) == wanted), None)

    @property
    def ks(self) -> list[int]:
        return sorted({int(each.metric.partition("@")[2]) for each in self.results if each.metric.startswith("recall@")})

    @property
    def leading(self) -> str:
        """The name of the question set that tables and pictures show first."""
        return self.sets[-1][0]
