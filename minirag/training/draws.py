"""What a step of training sees, as a function of the step's number alone; so that a run that was killed sees the same again."""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from minirag.errors import MiniragError

T = TypeVar("T")


def chance_of(seed: int, *where: int | str) -> random.Random:
    """Random numbers that depend on the seed and on where they are drawn, and on nothing that was drawn before.

    >>> chance_of(0, "step", 7).random() == chance_of(0, "step", 7).random() != chance_of(0, "step", 8).random()
    True
    """
    return random.Random(" ".join(map(str, (seed, *where))))


def epochs(examples: Sequence[T], batch: int, seed: int = 0) -> Callable[[int], list[T]]:
    """Batches that go through all examples in an order drawn anew for each epoch; what is left of an epoch is left out.

    >>> draw = epochs("abcdef", batch=3, seed=1)
    >>> sorted(draw(0) + draw(1)), draw(0) == draw(2)
    (['a', 'b', 'c', 'd', 'e', 'f'], False)
    """
    if not 0 < batch <= len(examples):
        raise MiniragError(f"a batch of {batch} cannot be drawn from {len(examples)} examples; choose a smaller one")
    steps = len(examples) // batch
    order: dict[int, list[int]] = {}  # of the epoch at hand

    def draw(step: int) -> list[T]:
        epoch, place = divmod(step, steps)
        if epoch not in order:
            order.clear()
            order[epoch] = chance_of(seed, "epoch", epoch).sample(range(len(examples)), len(examples))
        return [examples[row] for row in order[epoch][place * batch : (place + 1) * batch]]

    return draw
