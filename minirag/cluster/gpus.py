"""What a GPU is said to do: its maker's peak, for products of bfloat16 matrices without sparsity.

Nobody reaches the peak. `UTILISATION` is an assumption, and whatever is computed from it is called an estimate.
"""

from minirag.errors import MiniragError

UTILISATION = 0.35  # of the peak, assumed
PEAK = {  # in 10¹² operations a second, from the makers' data sheets
    "A10": 125.0,
    "A100": 312.0,
    "H100": 989.0,
    "H200": 989.0,
    "L4": 121.0,
    "L40S": 362.0,
    "RTX 4090": 165.0,
}


def passages_per_second(gpu: str, operations: float, gpus: int = 1) -> float:
    """What so many GPUs would encode, if they reach `UTILISATION` of their peak and none waits for another.

    >>> round(passages_per_second("A100", operations=24e9))
    4550
    """
    if gpu not in PEAK:
        raise MiniragError(f"the peak of a GPU {gpu!r} is not known; choose one of {', '.join(PEAK)}")
    return gpus * UTILISATION * PEAK[gpu] * 1e12 / operations
