"""Checks of the course's exercises: `check_NAME(your_function)` prints whether it is right, or what is wrong and a hint."""

from minirag.teaching.checks import marginalisation
from minirag.teaching.checks.exercise import Exercise
from minirag.teaching.checks.marginalisation import *  # noqa: F403

EXERCISES: tuple[Exercise, ...] = (*marginalisation.EXERCISES,)
