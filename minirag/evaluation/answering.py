"""Questions answered end to end: a generator reads what was retrieved, and its answers are compared with the right ones."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minirag.evaluation.run import QuestionSet, Result
from minirag.rag.answer import Answer
from minirag.rag.decode import Decoder
from minirag.rag.model import RagModel
from minirag.tasks.metrics import exact_match, wilson_interval
from minirag.tasks.openqa import Question

BATCH = 32  # questions answered together


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

    drawn = {each.name: _drawn(each.questions, count, seed) for each in sets}
    total = len(systems) * sum(map(len, drawn.values()))
    answered: dict[tuple[str, str], list[Answered]] = {}
    with tqdm(total=total, desc="answering", unit="question", disable=not progress) as bar:
        for system, (model, decoder) in systems.items():
            for name, questions in drawn.items():
                own = answered.setdefault((name, system), [])
                for start in range(0, len(questions), BATCH):
                    batch = questions[start : start + BATCH]
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


def _drawn(questions: Sequence[Question], count: int, seed: int) -> list[Question]:
    rows = sorted(random.Random(seed).sample(range(len(questions)), min(count, len(questions))))
    return [questions[row] for row in rows]
