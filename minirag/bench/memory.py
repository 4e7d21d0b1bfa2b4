"""The memory that something takes at its highest, measured in a process that does nothing else."""

import gc
import multiprocessing
import resource
import sys
from collections.abc import Callable
from pathlib import Path


def peak_alone(prepare: Callable[..., Callable[[], object]], *arguments: object) -> float:
    """Gigabytes that a process of its own has at its highest: it calls `prepare(*arguments)`, and twice what that returns.

    `prepare` and its arguments have to be picklable.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak, (prepare, *arguments))


def peak(prepare: Callable[..., Callable[[], object]], *arguments: object) -> float:
    """The same in this process: gigabytes, together with all that it has held before."""
    step = prepare(*arguments)
    gc.collect()
    step()
    step()  # the first one makes what stays, as an optimiser's averages; the second has all of it at once
    return _highest()


def _highest() -> float:
    """Gigabytes that this process has held at most. On Linux `getrusage` would count what its parent held, too."""
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) * 1_024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
