"""Questions answered end to end: a generator reads what was retrieved, and its answers are compared with the right ones."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from minirag.evaluation.run import QuestionSet, Result
from minirag.rag.answer import Answer
from minirag.rag.decode import Decoder
from minirag.rag.model import RagModel
from minirag.tasks.metrics import exact_match, wilson_interval
from minirag.tasks.openqa import Question

T = TypeVar("T")
# Read together. What one question's passages propose is scored under all of them, K² logits over the vocabulary: with 32
# questions of 50 passages gigabytes, which took four times as long on two cores as one question after the other.
CONTEXTS = 64


def batches(questions: Sequence[T], k: int) -> list[Sequence[T]]:
    """Questions to be answered together from `k` passages each, as many as have 64 contexts.

    >>> batches("abcde", 30)
    ['ab', 'cd', 'e']
    """
    batch = max(CONTEXTS // k, 1)
    return [questions[start : start + batch] for start in range(0, len(questions), batch)]


@dataclass(frozen=True)
class Answered:
    """A question, what was answered, and whether that is right."""

    question: Question
    answer: Answer
    right: bool


def answer_sets(
    systems: Mapping[str, tuple[RagModel, Decoder]],
    sets: Sequence[QuestionSet],
    count: int,
    k: int,
    seed: int,
    progress: bool = True,
) -> dict[tuple[str, str], list[Answered]]:
    """`count` questions drawn from every set, the same for every system, answered from k passages each.

    By (name of the set, name of the system), in the order of the set.
    """
    from tqdm.auto import tqdm

    drawn = {each.name: some_of(each.questions, count, seed) for each in sets}
    total = len(systems) * sum(map(len, drawn.values()))
    answered: dict[tuple[str, str], list[Answered]] = {}
    with tqdm(total=total, desc="answering", unit="question", disable=not progress) as bar:
        for system, (model, decoder) in systems.items():
            for name, questions in drawn.items():
                own = answered.setdefault((name, system), [])
                for batch in batches(questions, k):
                    answers = model.answer([question.question for question in batch], k, decoder)
                    own += [graded(question, answer) for question, answer in zip(batch, answers, strict=True)]
                    bar.update(len(batch))
    return answered


def graded(question: Question, answer: Answer) -> Answered:
    return Answered(question, answer, exact_match(answer.text, question.answers, question.match))


def match_result(task: str, system: str, answered: Sequence[Answered]) -> Result:
    """The share of exact matches, with Wilson's interval."""
    hits = sum(each.right for each in answered)
    return Result(task, system, "exact_match", hits / len(answered), *wilson_interval(hits, len(answered)), len(answered))


def some_of(questions: Sequence[Question], count: int | None, seed: int = 0) -> list[Question]:
    """`count` of the questions by lot, in their order; all, where there are no more, or for None."""
    rows = sorted(random.Random(seed).sample(range(len(questions)), min(count or len(questions), len(questions))))
    return [questions[row] for row in rows]
