"""Checks of the checks: each passes on the reference and names the mistake in at least four typical wrong answers."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from minirag.teaching.checks import EXERCISES
from minirag.teaching.checks.design import DesignTask, Task
from minirag.teaching.checks.exercise import Exercise
from minirag.teaching.checks.local import Local

HERE = Path(__file__).parent
MUTANTS: dict[str, tuple[Any, ...]] = {}
for file in sorted(HERE.glob("mutants_*.py")):
    MUTANTS |= importlib.import_module(file.stem).MUTANTS


def number_of(each: Any) -> str:
    return each.number if isinstance(each, Exercise | DesignTask) else getattr(each, "__name__", str(each))


TYPICAL = [(exercise, *mutant) for exercise in EXERCISES for mutant in MUTANTS.get(exercise.number, ())]


def everything(exercise: Task) -> Local:
    return Local(exercise.reference, allowed=("minirag.",))


@pytest.mark.parametrize("exercise", EXERCISES, ids=number_of)
@pytest.mark.parametrize("seed", [0, 7])
def test_the_reference_passes(exercise: Task, seed: int) -> None:
    outcome = exercise.run(everything(exercise), seed)
    assert outcome.passed, outcome.text


@pytest.mark.parametrize(("exercise", "wrong", "name"), TYPICAL, ids=number_of)
def test_a_typical_mistake_fails_and_is_named(exercise: Task, wrong: Any, name: str) -> None:
    outcome = exercise.run(Local(wrong, exercise.allowed), seed=1)
    assert not outcome.passed
    assert outcome.mistake == name, outcome.text
    assert next(each.hint for each in exercise.mistakes if each.name == name) in outcome.text


@pytest.mark.parametrize("exercise", EXERCISES, ids=number_of)
def test_every_exercise_has_four_mutants(exercise: Task) -> None:
    assert len(MUTANTS.get(exercise.number, ())) >= 4


@pytest.mark.parametrize("exercise", [each for each in EXERCISES if isinstance(each, Exercise)], ids=number_of)
def test_a_known_mistake_is_no_answer(exercise: Exercise) -> None:
    for mistake in exercise.mistakes:
        assert not exercise.run(Local(mistake.wrong, ("minirag.",)), seed=2).passed, mistake.name
