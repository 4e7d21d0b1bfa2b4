"""What the checks of notebook 11 hold to be right is what the package computes."""

from typing import Any

import numpy as np
import pytest

from minirag.evaluation.analysis import overlap
from minirag.evaluation.predictions import Prediction
from minirag.evaluation.statistics import paired_bootstrap
from minirag.tasks.metrics import answer_recall, decomposed, has_answer, normalize_answer
from minirag.tasks.openqa import Question
from minirag.tasks.task import NQ
from minirag.teaching import checks
from minirag.teaching.checks.exercise import Exercise


def drawn(exercise: Exercise, count: int = 32) -> list[Any]:
    """The arguments that the exercise draws, of all sizes."""
    return [exercise.draw(np.random.default_rng([5, size]), size) for size in range(1, 33, 32 // count)]


def test_normal_forms_are_the_packages() -> None:
    for text, nfd in drawn(checks.check_normal_form):
        form = decomposed(text) if nfd else text
        assert checks.check_normal_form.reference(text, nfd) == normalize_answer(form)


def test_the_passage_check_is_the_packages_and_finds_as_often_as_not() -> None:
    assert checks.check_holds_answer.reference is has_answer
    found = [has_answer(text, answers) for text, answers in drawn(checks.check_holds_answer)]
    assert 6 <= sum(found) <= 26


def test_recall_is_the_packages() -> None:
    for hits, ks in drawn(checks.check_recall_at):
        ranks = [own.index(True) + 1 if True in own else None for own in hits]
        assert checks.check_recall_at.reference(hits, ks) == answer_recall(ranks, ks)


def test_the_interval_is_the_packages_on_many_draws() -> None:
    ours, theirs, _ = drawn(checks.check_paired_bootstrap)[-1]
    draws = np.random.default_rng(0).integers(len(ours), size=(10_000, len(ours)))
    own = checks.check_paired_bootstrap.reference(ours, theirs, ours.new_tensor(draws).long())
    # The package draws rows of its own: ends of two intervals from 10,000 draws differ by some hundredths of their width.
    theirs_too = paired_bootstrap(ours.numpy(), theirs.numpy())
    assert own[0] == pytest.approx(theirs_too[0], abs=1e-6)
    assert own[1:] == pytest.approx(theirs_too[1:], abs=0.1 * (own[2] - own[1]))


def test_known_answers_are_the_packages() -> None:
    for test, train, normal in drawn(checks.check_leaks):
        asked = [Question(str(row), question, tuple(answers)) for row, (question, answers) in enumerate(train)]
        run = [Prediction(str(row), question, "nothing", tuple(answers)) for row, (question, answers) in enumerate(test)]
        known = checks.check_leaks.reference(test, train, normal)[1]
        assert overlap(NQ, asked, run).known.n == len(known)
        assert all(overlap(NQ, asked, [run[row]]).known.n == 1 for row in known)
