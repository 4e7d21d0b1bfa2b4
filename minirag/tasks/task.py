"""The paper's tasks (§3, table 7), each as one small record: how its file is read, which answers are learnt, how outputs are
scored, and what the paper decodes with.

    TASKS["msmarco"].read(path)      →  questions, with the answers that count
    score(task, outputs, questions)  →  {"BLEU-1": …, "ROUGE-L": …}

A task of one's own is such a record, too: nothing has to be registered, `evaluate` takes the record itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from minirag.corpus.rows import BadRows
from minirag.errors import MiniragError
from minirag.tasks.fever import LABELS, read_fever
from minirag.tasks.generation import NO_ANSWER, bleu_1_counts, bleu_1_of, rouge_l
from minirag.tasks.jeopardy import read_jeopardy
from minirag.tasks.kilt import ANSWER_SCORES, r_precision, read_kilt, recall_at
from minirag.tasks.kilt_files import read_kilt_fever
from minirag.tasks.metrics import decomposed, exact_match, f1_score, has_answer
from minirag.tasks.msmarco import read_msmarco
from minirag.tasks.openqa import Question, read_questions
from minirag.tasks.qbleu import q_bleu_1

Scheme = Literal["sequence", "token"]
Answers = Literal["each", "found", "matched"]


def _mean(total: float, count: float) -> float:
    return total / count


@dataclass(frozen=True)
class Metric:
    """A score of a test set that is a function of sums over its examples: of a mean, the total and the number; of BLEU-1, the
    words found, the words said and the words wanted. So any part of a set, and any sample of it, is scored by adding up.

    `counts`: an example's summands, from what was said and what counts; `of`: the score from their sums.
    """

    name: str
    counts: Callable[[str, Question], tuple[float, ...]]
    of: Callable[..., float] = _mean


@dataclass(frozen=True)
class PageMetric:
    """A `Metric` that also sees the pages of the passages that were found, best first."""

    name: str
    counts: Callable[[str, Question, Sequence[str]], tuple[float, ...]]
    of: Callable[..., float] = _mean


@runtime_checkable
class Reader(Protocol):
    """Reads a file of examples; what of it is no example is counted in `bad.passed_over`."""

    def __call__(self, path: str | Path, bad: BadRows | None = None) -> Sequence[Question]: ...


@dataclass(frozen=True)
class Decoding:
    """How an answer is looked for: from `k` passages, with so many beams, to so many tokens at most."""

    decoder: Literal["token", "thorough", "fast"]
    k: int
    beams: int = 1
    max_length: int = 50


@dataclass(frozen=True)
class Task:
    """A task: its reader, its metrics, the first of which leads, and the paper's settings.

    `answers`: which of an example's answers are learnt (see `training/targets.py`). `labels`: what there is to choose from, for
    classification; each is said to the generator in the word that `words` gives for it. `page_metrics`: of a task whose
    evidence is pages by their ids, those that count where predictions tell the pages of their passages.
    """

    name: str
    title: str
    read: Reader
    metrics: tuple[Metric, ...]
    decoding: Mapping[Scheme, Decoding]
    answers: Answers = "each"
    words: Mapping[str, str] | None = None
    page_metrics: tuple[PageMetric, ...] = ()

    @property
    def short(self) -> bool:
        """Whether an answer is a few words, that a passage may hold as they are."""
        return self.metrics[0].name.startswith("exact match")

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.words or ())


EXACT_MATCH = Metric("exact match", lambda said, one: (float(exact_match(said, one.answers, one.match)), 1.0))
# The evaluator of NQ-open decomposes characters first, so that "é" is "é" however it was typed; SQuAD's does not.
EXACT_MATCH_NFD = Metric(
    "exact match (NFD)", lambda said, one: (float(exact_match(decomposed(said), [*map(decomposed, one.answers)])), 1.0)
)
# Of CuratedTREC's patterns some match in the middle only: "match" asks for the beginning, "search" for anywhere.
SEARCH = Metric("pattern found", lambda said, one: (float(has_answer(said, one.answers, one.match)), 1.0))
F1 = Metric("F1", lambda said, one: (f1_score(said, one.answers), 1.0))
ACCURACY = Metric("accuracy", lambda said, one: (float(said in one.answers), 1.0))
BLEU_1 = Metric("BLEU-1", lambda said, one: bleu_1_counts("" if said == NO_ANSWER else said, one.answers), bleu_1_of)
ROUGE_L = Metric("ROUGE-L", lambda said, one: (rouge_l("" if said == NO_ANSWER else said, one.answers), 1.0))
Q_BLEU_1 = Metric("Q-BLEU-1", lambda said, one: (q_bleu_1(said, one.answers), 1.0))

# Greedy for questions, where beams did not help (appendix A), and with more passages than in training.
SHORT: Mapping[Scheme, Decoding] = {"sequence": Decoding("thorough", 50), "token": Decoding("token", 15)}
LONG: Mapping[Scheme, Decoding] = {"sequence": Decoding("fast", 10, 4, 128), "token": Decoding("token", 10, 4, 128)}
CHOICE: Mapping[Scheme, Decoding] = {"sequence": Decoding("thorough", 10), "token": Decoding("token", 10)}
# A word for each label that generators know: what Atlas writes for FEVER's labels (Izacard et al. 2022).
WORDS = dict(zip(LABELS, ("true", "false", "maybe"), strict=True))


def _open_questions(path: str | Path, bad: BadRows | None = None) -> Sequence[Question]:
    return read_questions(path)


def _queries(path: str | Path, bad: BadRows | None = None) -> Sequence[Question]:
    marco = read_msmarco(path, bad)
    if bad is not None:
        bad.passed_over["query without a well-formed answer"] += marco.without_answer
    return marco.questions


def _decided(path: str | Path, bad: BadRows | None = None) -> Sequence[Question]:
    return read_fever(path, 2, bad)


def _three_ways(path: str | Path, bad: BadRows | None = None) -> Sequence[Question]:
    return read_fever(path, 3, bad)


NQ = Task("nq", "Natural Questions", _open_questions, (EXACT_MATCH, EXACT_MATCH_NFD, F1), SHORT)
TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        NQ,
        replace(NQ, name="triviaqa", title="TriviaQA", answers="found"),
        replace(NQ, name="webquestions", title="WebQuestions"),
        replace(NQ, name="curatedtrec", title="CuratedTREC", metrics=(EXACT_MATCH, SEARCH), answers="matched"),
        Task("msmarco", "MS MARCO", _queries, (ROUGE_L, BLEU_1), LONG),
        Task("jeopardy", "Jeopardy question generation", read_jeopardy, (Q_BLEU_1, BLEU_1), LONG),
        Task("fever3", "FEVER, 3 labels", _three_ways, (ACCURACY,), CHOICE, words=WORDS),
        Task(
            "fever2",
            "FEVER, 2 labels",
            _decided,
            (ACCURACY,),
            CHOICE,
            words={label: WORDS[label] for label in LABELS[:2]},
        ),
    )
}


def _of_answers(name: str) -> Metric:
    of = ANSWER_SCORES[name]
    return Metric(name, lambda said, one: (of(said.strip(), one.answers), 1.0))


def _of_shown_answers(name: str) -> PageMetric:
    """KILT's: an answer counts where the pages that tell it stand first."""
    of = ANSWER_SCORES[name]
    return PageMetric(
        f"KILT-{name}",
        lambda said, one, found: (of(said.strip(), one.answers) * (r_precision(found, one.evidence) == 1), 1.0),
    )


R_PRECISION = PageMetric("R-precision", lambda said, one, found: (r_precision(found, one.evidence), 1.0))
RECALL_5 = PageMetric("recall@5", lambda said, one, found: (recall_at(5, found, one.evidence), 1.0))


def _kilt(name: str, like: Task, read: Reader, *scores: str) -> Task:
    return replace(
        like,
        name=f"kilt-{name}",
        title=f"{like.title.partition(',')[0]} (KILT)",
        read=read,
        metrics=tuple(map(_of_answers, scores)),
        page_metrics=(*map(_of_shown_answers, scores), R_PRECISION, RECALL_5),
    )


# The paper does not have them; the scores are those of KILT's leaderboard.
KILT: Mapping[str, Task] = {
    task.name: task
    for task in (
        _kilt("nq", NQ, read_kilt, "exact match", "F1"),
        _kilt("triviaqa", TASKS["triviaqa"], read_kilt, "exact match", "F1"),
        _kilt("fever", TASKS["fever2"], read_kilt_fever, "accuracy"),
    )
}


def score(task: Task, outputs: Sequence[str], questions: Sequence[Question]) -> dict[str, float]:
    """All metrics of the task over a set, by name; not those that look at pages.

    >>> asked = [Question("1", "Who?", ("Shelley", "Mary Shelley")), Question("2", "When?", ("1818",))]
    >>> score(NQ, ["Mary Shelley", "in 1817"], asked)
    {'exact match': 0.5, 'exact match (NFD)': 0.5, 'F1': 0.5}
    """
    if len(outputs) != len(questions) or not questions:
        raise MiniragError(f"there are {len(outputs)} outputs for {len(questions)} examples; give one for each, at least one")
    scores = {}
    for metric in task.metrics:
        counts = [metric.counts(said, one) for said, one in zip(outputs, questions, strict=True)]
        scores[metric.name] = metric.of(*map(sum, zip(*counts, strict=True)))
    return scores


def task_called(name: str) -> Task:
    """One of the paper's tasks, or of KILT's, by its name. Raises `MiniragError` for any other."""
    known = {**TASKS, **KILT}
    if name not in known:
        raise MiniragError(f"there is no task '{name}'; choose one of {', '.join(known)}")
    return known[name]
