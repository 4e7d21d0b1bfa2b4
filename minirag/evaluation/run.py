"""Running retrieval on question sets: at which rank does the first answer stand, how sure is that, and how long did it take.

Everything measured becomes a `Result`, and results lie in `results.json` as one flat list, so that any two runs can be
compared line by line.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor

from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.files import write_json
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.retriever import Retriever
from minirag.tasks.metrics import has_answer, wilson_interval
from minirag.tasks.openqa import Question

Rank = int | None  # of the first passage with an answer, from 1; None where none of those retrieved has one

BATCH = 256  # questions searched together
SINGLE = "milliseconds, one question"
BATCHED = "milliseconds a question, batch"


@dataclass(frozen=True)
class QuestionSet:
    """Questions under a name."""

    name: str
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Result:
    """One number: `metric` of `system` on `task`, between `low` and `high`, from `n` questions.

    For recall, low and high are Wilson's 95 % interval; for times, the value is a median and they are the quartiles.
    """

    task: str
    system: str
    metric: str
    value: float
    low: float
    high: float
    n: int


class Remembering:
    """A query encoder that encodes each question once, however many indexes are searched with it."""

    def __init__(self, encoder: BiEncoder) -> None:
        self.encoder, self.fingerprint = encoder, encoder.fingerprint
        self._known: dict[str, Tensor] = {}

    def encode_queries(self, questions: Sequence[str]) -> Float32[Tensor, "B D"]:
        new = list(dict.fromkeys(question for question in questions if question not in self._known))
        if new:
            self._known |= zip(new, self.encoder.encode_queries(new), strict=True)
        return torch.stack([self._known[question] for question in questions])


class Grader:
    """Says at which rank the first answer stands, and looks at each pair of question and passage once in its life.

    Systems that are compared find much the same passages, and looking for answers takes longer than searching. So it goes by
    row numbers, and fetches a passage's text only where it has to be read.
    """

    def __init__(self, passages: PassageStore) -> None:
        self.passages = passages
        self._seen: dict[tuple[Question, int], bool] = {}

    def rank(self, question: Question, rows: Sequence[int]) -> Rank:
        """The rank, from 1, of the first passage with an answer among `rows`, best first; −1 is no passage."""
        return next((rank for rank, row in enumerate(rows, 1) if row >= 0 and self._answered(question, row)), None)

    def _answered(self, question: Question, row: int) -> bool:
        key = (question, row)
        if key not in self._seen:
            self._seen[key] = has_answer(self.passages[row].text, question.answers, question.match)
        return self._seen[key]


def answer_ranks(
    retriever: Retriever,
    questions: Sequence[Question],
    k: int = 20,
    grader: Grader | None = None,
    on_batch: Callable[[int], object] | None = None,
) -> list[Rank]:
    """The rank of the first passage with an answer, among the top k, for each question; `on_batch` feeds a progress bar."""
    grader = grader or Grader(retriever.passages)
    ranks: list[Rank] = []
    for start in range(0, len(questions), BATCH):
        batch = questions[start : start + BATCH]
        texts = [question.question for question in batch]
        queries = texts if retriever.encoder is None else retriever.encoder.encode_queries(texts)  # text, or [B, D]
        _, ids = retriever.index.search(queries, k)  # [B, k]
        ranks += [grader.rank(question, rows) for question, rows in zip(batch, ids.tolist(), strict=True)]
        if on_batch is not None:
            on_batch(len(batch))
    return ranks


def search_all(
    systems: Mapping[str, Retriever], sets: Sequence[QuestionSet], k: int = 20, progress: bool = True
) -> dict[tuple[str, str], list[Rank]]:
    """Search every question set with every system: ranks by (name of the set, name of the system).

    Raises `MiniragError` if two sets have one name, or the systems search different passages.
    """
    from tqdm.auto import tqdm

    names = [each.name for each in sets]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise MiniragError(f"two question sets are named {twice!r}; give each a name of its own")
    if len({retriever.passages.fingerprint for retriever in systems.values()}) != 1:
        raise MiniragError("the systems to compare search different passages, or there are none; give retrievers over the same")
    grader = Grader(next(iter(systems.values())).passages)
    total = len(systems) * sum(len(each.questions) for each in sets)
    with tqdm(total=total, desc="searching", unit="question", disable=not progress) as bar:
        return {
            (each.name, system): answer_ranks(retriever, each.questions, k, grader, bar.update)
            for system, retriever in systems.items()
            for each in sets
        }


def recall_results(task: str, system: str, ranks: Sequence[Rank], ks: Sequence[int]) -> list[Result]:
    """Top-k answer recall with Wilson's interval, one result for each k.

    >>> first, fifth = recall_results("quiz", "BM25", [1, 3, None, 9], ks=[1, 5])
    >>> first.value, fifth.value, fifth.metric, fifth.n
    (0.25, 0.5, 'recall@5', 4)
    """
    n, results = len(ranks), []
    for k in ks:
        hits = sum(rank is not None and rank <= k for rank in ranks)
        low, high = wilson_interval(hits, n)
        results.append(Result(task, system, f"recall@{k}", hits / n, low, high, n))
    return results


def time_results(
    task: str, system: str, ask: Callable[[Any], object], queries: Any, singles: int = 200, rounds: int = 7
) -> list[Result]:
    """How long `ask(queries[i:j])` takes: `singles` queries one at a time, and all of them in batches, `rounds` times over.

    `queries` is a list of texts or a tensor [B, D]. Both results are milliseconds a question: the median, and the quartiles.
    """
    for warm in (slice(0, 1), slice(0, BATCH)):
        ask(queries[warm])
    count = min(singles, len(queries))
    one = [_milliseconds(ask, queries[i : i + 1]) for i in range(count)]
    batches = [queries[i : i + BATCH] for i in range(0, len(queries), BATCH)]
    many = [sum(_milliseconds(ask, batch) for batch in batches) / len(queries) for _ in range(rounds)]
    return [
        Result(task, system, SINGLE, *_quartiles(one), count),
        Result(task, system, BATCHED, *_quartiles(many), len(queries)),
    ]


def line_of(one: Result) -> str:
    """A result in percent with its interval, to be read on a screen.

    >>> line_of(Result("nq", "RAG-Token", "recall", 0.5, 0.25, 0.75, 8))
    'recall              50.0  (25.0 to 75.0)'
    """
    return f"{one.metric:18} {100 * one.value:5.1f}  ({100 * one.low:.1f} to {100 * one.high:.1f})"


def write_results(path: str | Path, results: Iterable[Result]) -> None:
    """Write `results.json`: a flat list of {"task", "system", "metric", "value", "low", "high", "n"}, atomically."""
    write_json(path, [asdict(result) for result in results])


def _milliseconds(ask: Callable[[Any], object], queries: Any) -> float:
    start = time.perf_counter()
    ask(queries)
    return 1000 * (time.perf_counter() - start)


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return middle, low, high
