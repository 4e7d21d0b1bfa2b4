"""A model on one of the paper's tasks: every example is answered, or its label chosen, and the scores are told with intervals.

    run = evaluate(model, TASKS["nq"], questions, "runs/nq")     # goes on where it was stopped
    results = scored(TASKS["nq"], questions, run, "RAG-Token")

All scores are functions of sums over examples, so that any sample of them is scored by adding up. Labels are chosen in either
of the paper's ways: a `RagModel` writes their words (§3.4), a `ClaimHead` reads them from the decoder's state (appendix E).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from minirag.errors import MiniragError
from minirag.evaluation.answering import batches
from minirag.evaluation.predictions import Prediction, Read, Run
from minirag.evaluation.run import Result
from minirag.evaluation.statistics import paired_bootstrap, randomization_test
from minirag.files import fingerprint_of
from minirag.rag.answer import Answer
from minirag.rag.classify import Choice, ClaimHead, choose
from minirag.rag.model import RagModel
from minirag.tasks.metrics import decomposed, has_answer
from minirag.tasks.openqa import Question
from minirag.tasks.task import Decoding, Metric, PageMetric, Task
from minirag.training.state import checksum, weights_of

SAMPLES = 2_000  # of the bootstrap
WRITTEN, HEAD = "section 3.4, a label's words", "appendix E, claim head"  # how labels are chosen
RECALL = Metric("recall", lambda _, __: (0.0, 1.0))  # of passages, whatever is said


def evaluate(
    model: RagModel | ClaimHead,
    task: Task,
    questions: Sequence[Question],
    folder: str | Path,
    system: str = "RAG",
    data: str = "",
    k: int | None = None,
    progress: bool = True,
    pages: Mapping[str, str] | None = None,
) -> list[Prediction]:
    """Answer every question as the paper decodes for the task, with `k` passages or, None, the paper's number.

    `folder` keeps a line for each, and a run that was stopped goes on; `system` and `data` are the names under which a report
    shows it. `pages`: of titles the ids of their pages (`tasks.kilt.page_ids`), by which a task's page metrics count. Raises
    `MiniragError` where the folder holds another run's predictions or another process is at work in it, for examples that
    share an id, and for a claim head that has other labels than the task.
    """
    if not questions:
        raise MiniragError("there is no example to evaluate on; look at the question file")
    if twice := [id for id, times in Counter(one.id for one in questions).items() if times > 1]:
        raise MiniragError(f"{len(twice)} ids are those of several examples, '{twice[0]}' for one; give each example its own")
    if isinstance(model, ClaimHead) and set(model.labels) != set(task.labels):
        raise MiniragError(
            f"the claim head chooses among {', '.join(model.labels)}, and task {task.name} among "
            f"{', '.join(task.labels) or 'no labels'}; train a head on the task's labels, or leave it out"
        )
    decoding = decoding_of(_rag(model), task, k)
    facts: dict[str, Any] = {
        "task": task.name,
        "system": system,
        "data": data,
        "examples": len(questions),
        "decoding": asdict(decoding),
        "made_from": _made_from(model, task, questions, decoding, pages),
    }
    if task.words:
        facts["labels"] = HEAD if isinstance(model, ClaimHead) else WRITTEN
    with Run(folder, facts) as run:
        left = questions[len(run.done) :]
        title, done = f"{task.title}, {system}", len(run.done)
        with tqdm(total=len(questions), initial=done, desc=title, unit="example", disable=not progress) as bar:
            for batch in batches(left, decoding.k):
                run.add(_of_pages(one, pages) for one in _said(model, task, batch, decoding))
                bar.update(len(batch))
    return run.done


def _rag(model: RagModel | ClaimHead) -> RagModel:
    return model.model if isinstance(model, ClaimHead) else model


def _of_pages(one: Prediction, pages: Mapping[str, str] | None) -> Prediction:
    if pages is None:
        return one
    return replace(one, passages=tuple(replace(z, page=pages.get(decomposed(z.title), "")) for z in one.passages))


def decoding_of(model: RagModel, task: Task, k: int | None = None) -> Decoding:
    """The paper's decoding for the task and the model's scheme, or with `k` passages; never more of them than there are, so
    that the closed book, which has one, is evaluated like the others; nor more tokens than the generator has positions for."""
    own = task.decoding[model.scheme]
    if model.retriever is None:
        raise MiniragError("the model has no passages to search; give it an index and its passages with attach()")
    longest = min(own.max_length, model.generator.config.positions)
    return replace(own, k=min(k or own.k, len(model.retriever.index)), max_length=longest)


def _said(model: RagModel | ClaimHead, task: Task, batch: Sequence[Question], decoding: Decoding) -> list[Prediction]:
    texts = [one.question for one in batch]
    if isinstance(model, ClaimHead):
        itself = {label: label for label in model.labels}
        return [_chosen(one, said, itself) for one, said in zip(batch, model.choose(texts, decoding.k), strict=True)]
    if task.words:
        label_of = {word: label for label, word in task.words.items()}
        return [
            _chosen(one, said, label_of)
            for one, said in zip(batch, choose(model, texts, list(label_of), decoding.k), strict=True)
        ]
    search: dict[str, Any] = {"beams": decoding.beams, "max_length": decoding.max_length}
    answers = model.answer(texts, decoding.k, decoding.decoder, **search)
    return [_answered(one, said, task.short) for one, said in zip(batch, answers, strict=True)]


def _answered(one: Question, said: Answer, short: bool) -> Prediction:
    read = (
        Read(z.id, z.title, p, has_answer(z.text, one.answers, one.match) if short else None)
        for z, p in zip(said.passages, said.prior.tolist(), strict=True)
    )
    best = said.log_probability
    made = Prediction(one.id, one.question, said.text, one.answers, one.match, best, tuple(read), evidence=one.evidence)
    return made if short else replace(made, pieces=tuple(said.pieces), speaks=_rounded(said.posterior.tolist()))


def _rounded(posterior: list[list[float]]) -> tuple[tuple[float, ...], ...]:
    """As many digits as a picture shows: predictions of long texts stay small."""
    return tuple(tuple(round(p, 3) for p in row) for row in posterior)


def _chosen(one: Question, said: Choice, label_of: Mapping[str, str]) -> Prediction:
    read = (Read(z.id, z.title, p) for z, p in zip(said.found.passages, said.prior.tolist(), strict=True))
    by_label = {label_of[word]: p for word, p in zip(said.labels, said.probabilities.tolist(), strict=True)}
    best = float(said.probabilities.max().log())
    label = label_of[said.label]
    return Prediction(one.id, one.question, label, one.answers, one.match, best, tuple(read), by_label, evidence=one.evidence)


def _made_from(
    model: RagModel | ClaimHead,
    task: Task,
    questions: Sequence[Question],
    decoding: Decoding,
    pages: Mapping[str, str] | None,
) -> str:
    """A name for all that predictions depend on and hold: weights, memory, the task's words, examples, decoding."""
    rag = _rag(model)
    assert rag.retriever is not None
    weights = {name: tensor.cpu().contiguous() for name, tensor in weights_of(model).items()}
    index = rag.retriever.index
    encoder = getattr(getattr(index, "memory", None), "encoder", "")
    memory = f"{type(index).__name__} {getattr(index, 'n_probe', '')} {encoder} {rag.retriever.passages.fingerprint}"
    told = repr((task.name, dict(task.words or {}), decoding, rag.scheme, rag.score_scale))
    if isinstance(model, ClaimHead):
        told += repr(model.labels)
    if pages is not None:
        told += repr(sorted(pages.items()))
    return fingerprint_of(checksum(told, weights), memory, *map(_told, questions))


def _told(one: Question) -> str:
    """An example as text; sets have no order that lasts from one process to the next."""
    return repr(replace(one, evidence=())) + (repr([sorted(pages) for pages in one.evidence]) if one.evidence else "")


def scored(task: Task, questions: Sequence[Question], predictions: Sequence[Prediction], system: str) -> list[Result]:
    """The task's metrics over the set, each with its 95 % interval by the bootstrap; those that look at pages, where the
    predictions tell them; and answer recall, where passages say whether they hold an answer."""
    counts = {metric: counts_of(metric, questions, predictions) for metric in _metrics(task, predictions)}
    if any(passage.holds_answer is not None for one in predictions for passage in one.passages):
        counts[RECALL] = np.array([(float(one.found), 1.0) for one in predictions])
    results = []
    for metric, own in counts.items():
        low, high = np.quantile(_resampled(own, metric.of), [0.025, 0.975]).tolist()
        results.append(Result(task.name, system, metric.name, metric.of(*own.sum(0).tolist()), low, high, len(own)))
    return results


def difference(
    task: Task, questions: Sequence[Question], ours: Sequence[Prediction], theirs: Sequence[Prediction], names: tuple[str, str]
) -> list[Result]:
    """By how much the first run scores higher than the second on the same examples, by each metric, with the interval of the
    paired bootstrap: both are scored on the same samples."""
    results = []
    for metric in _metrics(task, ours, theirs):
        one, other = (counts_of(metric, questions, each) for each in (ours, theirs))
        value, low, high = paired_bootstrap(one, other, _of_rows(metric), samples=SAMPLES)
        results.append(Result(task.name, " − ".join(names), metric.name, value, low, high, len(one)))
    return results


def significance(
    task: Task, questions: Sequence[Question], ours: Sequence[Prediction], theirs: Sequence[Prediction]
) -> dict[str, float]:
    """By metric, how probable a difference as large is between runs that are alike (`randomization_test`)."""
    found = {}
    for metric in _metrics(task, ours, theirs):
        one, other = (counts_of(metric, questions, each) for each in (ours, theirs))
        found[metric.name] = randomization_test(one, other, _of_rows(metric), samples=SAMPLES)
    return found


def _metrics(task: Task, *runs: Sequence[Prediction]) -> tuple[Metric | PageMetric, ...]:
    """The metrics by which all these runs can be scored."""
    paged = all(any(passage.page is not None for one in run for passage in one.passages) for run in runs)
    return (*task.metrics, *(task.page_metrics if paged else ()))


def _of_rows(metric: Metric | PageMetric) -> Callable[[NDArray[np.float64]], float]:
    """The score of examples, given as rows of summands."""
    return lambda rows: metric.of(*rows.sum(0).tolist())


def counts_of(
    metric: Metric | PageMetric, questions: Sequence[Question], predictions: Sequence[Prediction]
) -> NDArray[np.float64]:
    """The metric's summands, a row for each example."""
    rows = [
        metric.counts(said.output, one, said.pages) if isinstance(metric, PageMetric) else metric.counts(said.output, one)
        for one, said in zip(questions, predictions, strict=True)
    ]
    return np.array(rows, dtype=np.float64)


def _resampled(counts: NDArray[np.float64], of: Callable[..., float]) -> NDArray[np.float64]:
    """The score on as many samples of the examples, drawn with replacement; the same samples for the same number of them."""
    n = len(counts)
    times = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), SAMPLES)  # [samples, n]
    return np.array([of(*sums) for sums in times @ counts])
