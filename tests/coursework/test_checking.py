"""The machinery of the checks: what a student's function may do to us, and what it is told."""

import contextlib
import math
import threading
from dataclasses import replace
from typing import Any

import grader_cases
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minirag.rag.marginalize import log_prior
from minirag.teaching.checks import check_rag_sequence
from minirag.teaching.checks.compare import differ, shown
from minirag.teaching.checks.exercise import SIZES, Exercise, Mistake
from minirag.teaching.checks.local import Local, gradients_of

doubled = replace(
    grader_cases.doubled,
    mistakes=(
        *grader_cases.doubled.mistakes,
        Mistake("the first alone", "Double all of them.", lambda xs: [2 * x for x in xs[:1]]),
        Mistake("added up", "A list is asked for.", lambda xs: 2 * xs[0]),
    ),
)


def told(function: Any, exercise: Exercise = doubled, seed: int = 0, seconds: float = 5.0) -> str:
    outcome = exercise.run(Local(function, exercise.allowed, seconds), seed)
    assert outcome.points == (exercise.points if outcome.passed else 0)
    return outcome.text


def test_right() -> None:
    assert told(lambda xs: [x + x for x in xs]) == "✓ 0.1 right: 2 cases worked by hand and 32 drawn ones."


def test_wrong_shows_the_smallest_case_and_the_fitting_hint() -> None:
    text = told(lambda xs: [x**2 for x in xs])
    assert [line.split()[0] for line in text.splitlines()] == ["✗", "input", "expected", "got", "hint"]
    assert "xs = [1, 2]" in text
    assert "[2, 4]" in text
    assert "[1, 4]" in text
    assert text.endswith("hint      Squares are asked for in no place.")


def test_a_mistake_nobody_foresaw_gets_the_general_hint() -> None:
    assert told(lambda xs: [3 * x for x in xs]).endswith("Multiply each by 2.")


def test_of_two_mistakes_that_explain_a_case_the_one_that_explains_more_is_named() -> None:
    both = replace(doubled, by_hand=((([2, 0],), [4, 0]), (([3],), [6])))
    assert both.run(Local(lambda xs: [x * x for x in xs]), 0).mistake == "squared"
    assert both.run(Local(lambda xs: [2 * x for x in xs[:1]]), 0).mistake == "the first alone"


def test_an_exception_is_told_and_not_raised() -> None:
    assert "it raised ZeroDivisionError: division by zero" in told(lambda xs: 1 / 0)
    assert doubled.run(Local(lambda xs: 2 * xs[0] if xs else xs[0]), 0).mistake == "added up"


def test_not_written_yet() -> None:
    def stub(xs: list[int]) -> list[int]:
        raise NotImplementedError("Exercise 0.1")

    assert told(stub) == "✗ 0.1 not yet: not written yet (Exercise 0.1)."


def test_no_function_at_all() -> None:
    assert told(7) == "✗ 0.1 not yet: a function is asked for, and this is of type int."


def endless(xs: list[int]) -> None:
    while True:
        with contextlib.suppress(Exception):  # must not help
            len(xs)


def test_an_endless_loop_ends() -> None:
    assert "did not end within 0.05 seconds" in told(endless, seconds=0.05)


def test_an_endless_loop_ends_in_another_thread_too_and_leaves_no_thread() -> None:
    texts: list[str] = []
    thread = threading.Thread(target=lambda: texts.append(told(endless, seconds=0.05)))
    thread.start()
    thread.join()
    assert "did not end within" in texts[0]
    assert told(lambda xs: [2 * x for x in xs]).startswith("✓"), "and what comes next is not hit by a late exception"


def test_changed_input_is_seen_and_does_no_harm() -> None:
    def popping(xs: list[int]) -> list[int]:
        result = [2 * x for x in xs]
        xs.clear()
        return result

    assert told(popping) == "✗ 0.1 not yet: it changes its argument number 1; work on a copy (`.clone()`)."
    assert told(lambda xs: [2 * x for x in xs]).startswith("✓")


def test_the_packages_own_function_is_no_solution() -> None:
    prior = replace(
        doubled,
        reference=lambda scores: scores.log_softmax(1),
        by_hand=(((torch.zeros(1, 2),), torch.full((1, 2), 0.5).log()),),
        draw=lambda rng, size: (torch.zeros(1, size),),
        mistakes=(),
    )
    assert "it calls minirag.rag.marginalize.log_prior" in told(log_prior, prior)
    assert "it calls minirag.rag.marginalize.log_prior" in told(lambda scores: log_prior(scores), prior)
    assert prior.run(Local(log_prior, ("minirag.rag.marginalize",)), 0).passed, "where it is allowed, it may be called"


def test_knowing_the_visible_seed_is_not_enough() -> None:
    known = [(args, expected) for args, expected in check_rag_sequence.cases(0)]

    def learnt(log_p: torch.Tensor, log_prior: torch.Tensor) -> torch.Tensor:
        for (seen, _), expected in known:
            if seen.equal(log_p):
                return expected
        return torch.tensor(0.0)

    assert check_rag_sequence.run(Local(learnt), 0).passed
    assert not check_rag_sequence.run(Local(learnt), 1).passed


def test_the_seed_decides_on_the_cases() -> None:
    def drawn(seed: int) -> list[Any]:
        return [args for args, _ in doubled.cases(seed)][2:]

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)
    assert [len(args[0]) for args in drawn(3)] == list(SIZES)


def test_gradients_by_hand() -> None:
    x, y = torch.tensor([2.0, 3.0]), torch.tensor([5.0, 7.0])
    value, by_x, by_y = gradients_of(lambda x, y: x * y.detach(), (x, y), (0, 1))
    assert value.tolist() == [10, 21]
    assert by_x.tolist() == [5, 7]
    assert by_y.tolist() == [0, 0]
    assert x.grad is None
    constant = gradients_of(lambda x, y: torch.ones(1), (x, y), (0,))
    assert [each.tolist() for each in constant] == [[1.0], [0.0, 0.0]]
    answer = Local(lambda x, y: 3)((x, y), (0,))
    assert answer.raised == "TypeError"


@pytest.mark.parametrize(
    ("expected", "got", "sentence"),
    [
        (1.0, 1.00001, ""),
        (1.0, torch.tensor(1.0), ""),
        (1, 1.0, ""),
        (1, 1.5, "value"),
        (1, math.inf, "value"),
        (1.0, "1", "should be float"),
        (True, 1, "should be bool"),
        (1, True, "should be int"),
        (None, 0, "should be NoneType"),
        ("a", "b", "its value is wrong"),
        ([1, 2], (1, 2), ""),
        ([1, 2], [1], "1 entries and should have 2"),
        ([1], "1", "should be list"),
        ({"a": 1}, {"a": 1.0}, ""),
        ({"a": 1}, {"b": 1}, "keys"),
        ({1, 2}, [1, 2], "should be set"),
        (math.nan, math.nan, ""),
        (-math.inf, -math.inf, ""),
        (torch.tensor([-math.inf, 0.0]), torch.tensor([-math.inf, 0.0]), ""),
        (torch.tensor([1.0]), torch.tensor([1]), "dtype"),
        (torch.tensor([1]), torch.tensor([True]), "dtype"),
        (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64), ""),
        (torch.tensor([1.0]), [1.0], "should be Tensor"),
        (torch.zeros(1, 2), torch.zeros(2), "shape is [2] and should be [1, 2]"),
        (torch.zeros(2), torch.tensor([0.0, math.nan]), "its values are wrong"),
    ],
)
def test_differ(expected: Any, got: Any, sentence: str) -> None:
    found = differ(expected, got, 1e-4)
    assert sentence in found
    assert bool(found) == bool(sentence)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(plain)
def test_everything_equals_itself_and_can_be_shown(value: Any) -> None:
    assert differ(value, value, 0.0) == ""
    assert len(shown(value)) < 400


def test_shown_cuts_what_is_long() -> None:
    assert shown(torch.zeros(2, 3)) == "tensor([[0, 0, 0], [0, 0, 0]])"
    assert shown(torch.zeros(40, 40)) == "tensor of shape [40, 40], its first entries [0, 0, 0, 0, 0, 0, 0, 0]"
    assert shown("x" * 1000).endswith(" …")
    assert len(shown([1.0] * 10_000)) < 400
