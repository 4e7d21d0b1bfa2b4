"""Fair timing: the contenders take turns, so that a busy moment of the machine falls on all of them; medians count."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Result = TypeVar("Result")


def take_turns(
    contenders: Mapping[str, Callable[[], Result]], rounds: int, warm_up: bool = True
) -> tuple[dict[str, float], dict[str, Result]]:
    """Median seconds of each contender over `rounds` turns, and its last result. A warm-up turn is not counted.

    >>> seconds, results = take_turns({"one": lambda: 1, "two": lambda: 2}, rounds=3)
    >>> sorted(seconds), results
    (['one', 'two'], {'one': 1, 'two': 2})
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    results: dict[str, Result] = {}
    for turn in range(rounds + warm_up):
        for name, run in contenders.items():
            start = time.perf_counter()
            results[name] = run()
            if turn or not warm_up:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in times.items()}, results


def seconds_row(case: str, ours: float, peer: float, peer_name: str, equal: bool) -> dict[str, Any]:
    """A row of a benchmark in seconds; `ratio` says how many times faster than the peer ours is."""
    return {
        "case": case,
        "ours": ours,
        "peer": peer,
        "peer_name": peer_name,
        "unit": "s",
        "ratio": peer / ours,
        "equal": equal,
    }
