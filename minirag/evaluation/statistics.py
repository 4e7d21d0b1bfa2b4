"""How sure a score is, and whether two systems differ by more than chance: the bootstrap, approximate randomisation, McNemar.

| question | function |
|---|---|
| within which bounds does a mean lie? | `bootstrap` |
| within which bounds does the difference of two systems lie? | `paired_bootstrap` |
| how probable is such a difference between systems that are alike? | `randomization_test` |
| the same, of right and wrong alone | `mcnemar` |

`ours[i]` and `theirs[i]` belong to the same example. They are numbers, whose mean is the score, or, with a `metric`, anything
that it takes a list of: outputs, or counts to be added up, as of BLEU. Of arrays, with a row for each example, the metric is
given arrays. `tasks.metrics` has the intervals that need no sampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minirag.errors import MiniragError

Examples = Sequence[Any] | NDArray[Any]
Metric = Callable[[Any], Any]  # of a list or an array of examples; what it returns is taken for a float

CELLS = 1 << 22  # of a sampled array that are in memory at a time
SLACK = 1e-12  # sums of the same numbers in another order are as large


def bootstrap(values: Examples, seed: int = 0, samples: int = 10_000, confidence: float = 0.95) -> tuple[float, float, float]:
    """The mean, and its percentile interval (Efron 1979): between which bounds means of as many values, drawn with replacement,
    lie in `confidence` of the samples.

    Raises `MiniragError` where there is no value, or one that is no finite number.

    >>> mean, low, high = bootstrap([True] * 30 + [False] * 10)
    >>> mean, round(low, 3), round(high, 3)
    (0.75, 0.6, 0.875)
    """
    given = _numbers(values)
    distinct, times = np.unique(given, return_counts=True)  # right and wrong are two, however many examples there are
    rng, n = np.random.default_rng(seed), len(given)
    drawn = [rng.multinomial(n, times / n, size) @ distinct / n for size in _blocks(samples, len(distinct))]
    return float(given.mean()), *_bounds(np.concatenate(drawn), confidence)


def paired_bootstrap(
    ours: Examples,
    theirs: Examples,
    metric: Metric | None = None,
    seed: int = 0,
    samples: int = 10_000,
    confidence: float = 0.95,
) -> tuple[float, float, float]:
    """By how much our score is higher than theirs, and the percentile interval of that: both are scored on the same samples of
    the examples (Koehn 2004). Without a metric, of means.

    Raises `MiniragError` where the two are not of the same examples, or there are none.

    >>> def longest(texts): return max(map(len, texts))
    >>> paired_bootstrap(["a", "abc"], ["ab", "ab"], longest, samples=500)
    (1.0, -1.0, 1.0)
    """
    n = _paired(ours, theirs)
    if metric is None:
        return bootstrap(_numbers(ours) - _numbers(theirs), seed, samples, confidence)
    rng = np.random.default_rng(seed)
    gaps = np.empty(_positive(samples))
    for sample in range(samples):
        rows = rng.integers(n, size=n)
        gaps[sample] = _score(metric, _taken(ours, rows)) - _score(metric, _taken(theirs, rows))
    return _score(metric, ours) - _score(metric, theirs), *_bounds(gaps, confidence)


def randomization_test(
    ours: Examples, theirs: Examples, metric: Metric | None = None, seed: int = 0, samples: int = 10_000
) -> float:
    """How probable a difference as large, in either direction, is between systems that are alike (Noreen 1989). Without a
    metric, of means.

    Were they alike, it would be chance which of the two an example's output is from: outputs are exchanged, of all sets of
    examples where there are no more than `samples`, and p is the share whose difference is as large or larger; else of sets
    drawn by lot, and p = (b + 1) / (samples + 1), b of them as large or larger, so that p is never 0.

    Raises `MiniragError` where the two are not of the same examples, or there are none.

    >>> randomization_test([1.0, 0.9, 0.8, 0.7], [0.5, 0.5, 0.5, 0.5])  # 2 of 2⁴: none exchanged, and all
    0.125
    """
    n = _paired(ours, theirs)
    exact = 2**n <= _positive(samples)
    exchanged = _all_sets(n) if exact else _drawn_sets(n, seed, samples)  # blocks of [sets, n]
    if metric is None:
        gaps = _numbers(ours) - _numbers(theirs)  # to exchange two values is to turn the sign of their difference
        least = abs(gaps.sum()) - SLACK * np.abs(gaps).sum()
        larger = sum(int((np.abs((1 - 2.0 * block) @ gaps) >= least).sum()) for block in exchanged)
    else:
        one, other = _score(metric, ours), _score(metric, theirs)
        least = abs(one - other) - SLACK * max(abs(one), abs(other))
        larger = sum(_gap(metric, ours, theirs, which) >= least for block in exchanged for which in block)
    return larger / 2**n if exact else (larger + 1) / (samples + 1)


def mcnemar(ours: Examples, theirs: Examples) -> float:
    """McNemar's exact test, two-sided: of the examples that one system alone has right, is either as likely to be that one?

    p = 2 P(X ≤ min(b, c)) of X ~ Binomial(b + c, ½), at most 1, where b are right by us alone and c by them alone.

    >>> mcnemar([True] * 5 + [False] * 5, [False] * 5 + [False] * 5)  # b = 5, c = 0: 2 / 2⁵
    0.0625
    """
    _paired(ours, theirs)
    if odd := [each for side in (ours, theirs) for each in side if each not in (0, 1)]:
        raise MiniragError(f"McNemar's test is of right and wrong, and {odd[0]!r} is neither; give True and False")
    one, other = np.asarray(ours, dtype=bool), np.asarray(theirs, dtype=bool)
    b, c = int((one & ~other).sum()), int((other & ~one).sum())
    ways = tail = 1  # to choose none of the b + c; whole numbers, of any length
    for k in range(min(b, c)):
        ways = ways * (b + c - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / 2 ** (b + c))


def _gap(metric: Metric, ours: Examples, theirs: Examples, exchanged: NDArray[np.bool_]) -> float:
    """The difference's size once the examples of the set are exchanged."""
    if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
        where = exchanged.reshape(-1, *[1] * (ours.ndim - 1))
        one, other = np.where(where, theirs, ours), np.where(where, ours, theirs)
        return abs(_score(metric, one) - _score(metric, other))
    swapped = [(b, a) if swap else (a, b) for a, b, swap in zip(ours, theirs, exchanged, strict=True)]
    return abs(_score(metric, [a for a, _ in swapped]) - _score(metric, [b for _, b in swapped]))


def _score(metric: Metric, examples: Examples) -> float:
    """A score that is no number would be neither larger nor smaller than any, and look like a difference that never occurs."""
    score = float(metric(examples))
    if not math.isfinite(score):
        raise MiniragError(f"the metric gave {score} for a sample of {len(examples)} examples; have it score any sample")
    return score


def _all_sets(n: int) -> Iterator[NDArray[np.bool_]]:
    yield (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(bool)


def _drawn_sets(n: int, seed: int, samples: int) -> Iterator[NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    for size in _blocks(samples, n):
        yield rng.random((size, n)) < 0.5


def _blocks(samples: int, width: int) -> Iterator[int]:
    """Sizes that add up to `samples`, as many rows of that width at a time as memory is for."""
    most = max(1, CELLS // width)
    for start in range(0, _positive(samples), most):
        yield min(most, samples - start)


def _taken(examples: Examples, rows: NDArray[np.int64]) -> Examples:
    return examples[rows] if isinstance(examples, np.ndarray) else [examples[row] for row in rows]


def _bounds(sampled: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    if not 0 < confidence < 1:
        raise MiniragError(f"a confidence of {confidence} is none; give a share between 0 and 1, such as 0.95")
    low, high = np.quantile(sampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _paired(ours: Examples, theirs: Examples) -> int:
    if len(ours) != len(theirs):
        raise MiniragError(f"{len(ours)} examples cannot be paired with {len(theirs)}; score both systems on the same ones")
    if len(ours) == 0:
        raise MiniragError("there is no example to compare on; look at the file of predictions")
    return len(ours)


def _numbers(values: Examples) -> NDArray[np.float64]:
    try:
        given = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MiniragError(f"not every example is a number ({error}); give a metric that scores them") from None
    if given.ndim != 1 or given.size == 0:
        raise MiniragError(f"scores should be a list of numbers that is not empty, and their shape is {given.shape}")
    if not np.isfinite(given).all():
        raise MiniragError(
            f"the score of example {int(np.argmin(np.isfinite(given)))} is not finite; look at how it was scored"
        )
    return given


def _positive(samples: int) -> int:
    if samples < 1:
        raise MiniragError(f"{samples} samples are none; draw at least one, better thousands")
    return samples
