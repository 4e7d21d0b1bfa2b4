"""Intervals and tests: against scipy, against every sample there is, and on differences that are known."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.errors import MiniragError
from minirag.evaluation import statistics
from minirag.evaluation.statistics import bootstrap, mcnemar, paired_bootstrap, randomization_test
from minirag.tasks.generation import bleu_1, bleu_1_counts, bleu_1_of
from minirag.tasks.metrics import paired_difference, wilson_interval

DRAW = np.random.default_rng(0)
SCORES = DRAW.beta(2, 3, 60)
OTHERS = np.clip(SCORES + DRAW.normal(0.08, 0.2, 60), 0, 1)
HITS, MISSES = [True] * 41 + [False] * 19, [True] * 30 + [False] * 30


# The bootstrap of a mean.


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_of_a_mean_is_scipys(confidence: float) -> None:
    mean, low, high = bootstrap(SCORES, confidence=confidence)
    wanted = scipy.stats.bootstrap(
        (SCORES,), np.mean, n_resamples=20_000, confidence_level=confidence, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert mean == pytest.approx(SCORES.mean())
    assert (low, high) == pytest.approx((wanted.low, wanted.high), abs=0.004)
    assert high - low > 0.05


def test_of_three_values_the_interval_is_that_of_all_27_samples() -> None:
    values = [0.0, 1.0, 5.0]
    means = np.sort([np.mean(each) for each in itertools.product(values, repeat=3)])
    # A third of the samples lies beyond the 1/6th and the 5/6th, which stand well inside steps of the distribution.
    assert bootstrap(values, samples=30_000, confidence=2 / 3)[1:] == pytest.approx(np.quantile(means, [1 / 6, 5 / 6]))


def test_right_and_wrong_vary_as_the_binomial() -> None:
    _, low, high = bootstrap(HITS, samples=50_000)
    wanted = scipy.stats.binom(60, 41 / 60)
    assert (low, high) == pytest.approx((wanted.ppf(0.025) / 60, wanted.ppf(0.975) / 60), abs=1.01 / 60)
    assert (low, high) == pytest.approx(wilson_interval(41, 60), abs=0.02)


def test_samples_are_seeded_and_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bootstrap(SCORES) == bootstrap(list(SCORES))
    assert bootstrap(SCORES) != bootstrap(SCORES, seed=1)
    whole, tested = bootstrap(SCORES, samples=100), randomization_test(SCORES, OTHERS, samples=100)
    monkeypatch.setattr(statistics, "CELLS", 400)  # six rows at a time
    assert bootstrap(SCORES, samples=100) == pytest.approx(whole, abs=1e-12)
    assert randomization_test(SCORES, OTHERS, samples=100) == tested
    monkeypatch.setattr(statistics, "CELLS", 1)
    assert bootstrap(SCORES, samples=100) == pytest.approx(whole, abs=1e-12)


@settings(max_examples=50)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=12))
def test_bounds_lie_within_the_values(values: list[float]) -> None:
    mean, low, high = bootstrap(values, samples=50)
    slack = 1e-9 * max(1, *map(abs, values))
    assert min(values) - slack <= low <= high <= max(values) + slack
    assert mean == pytest.approx(sum(values) / len(values), abs=slack)


# The paired bootstrap.


def test_of_means_it_is_the_bootstrap_of_the_differences() -> None:
    assert paired_bootstrap(OTHERS, SCORES) == bootstrap(OTHERS - SCORES)
    assert paired_bootstrap(OTHERS, SCORES) == pytest.approx(paired_difference(list(OTHERS), list(SCORES)), abs=0.005)
    by_metric = paired_bootstrap(OTHERS, SCORES, np.mean, samples=4_000)
    assert by_metric == pytest.approx(paired_bootstrap(OTHERS, SCORES), abs=0.006)


def test_pairs_stay_together() -> None:
    """Scores that differ by the same everywhere differ by it in every sample, however much the scores vary."""
    assert paired_bootstrap(SCORES + 0.25, SCORES, samples=200) == pytest.approx((0.25, 0.25, 0.25))
    assert paired_bootstrap(SCORES + 0.25, SCORES, np.mean, samples=200) == pytest.approx((0.25, 0.25, 0.25))


def test_any_metric_has_scipys_interval() -> None:
    def gap(ours: np.ndarray, theirs: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.median(ours, axis=axis) - np.median(theirs, axis=axis)

    wanted = scipy.stats.bootstrap(
        (OTHERS, SCORES), gap, paired=True, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    found = paired_bootstrap(OTHERS, SCORES, np.median, samples=5_000)
    assert found[0] == pytest.approx(gap(OTHERS, SCORES))
    assert found[1:] == pytest.approx((wanted.low, wanted.high), abs=0.015)


WORDS = ["the", "a", "red", "blue", "lamp", "cat", "sat", "on", "mat", "that", "shines"]
WANTED = [[" ".join(DRAW.choice(WORDS, DRAW.integers(3, 9)))] for _ in range(40)]
GOOD = [" ".join(word if DRAW.random() < 0.9 else "x" for word in one.split()) for [one] in WANTED]
POOR = [" ".join(word if DRAW.random() < 0.6 else "x" for word in one.split())[:-3] for [one] in WANTED]


def bleu(examples: list[tuple[str, list[str]]]) -> float:
    return bleu_1([said for said, _ in examples], [wanted for _, wanted in examples])


def bleu_of_counts(rows: np.ndarray) -> float:
    return bleu_1_of(*rows.sum(0).tolist())


def test_bleu_of_a_corpus_from_texts_and_from_counts() -> None:
    texts = [list(zip(said, WANTED, strict=True)) for said in (GOOD, POOR)]
    counts = [np.array([bleu_1_counts(*one) for one in side]) for side in texts]
    found = paired_bootstrap(*texts, bleu, samples=300)
    assert found[0] == pytest.approx(bleu(texts[0]) - bleu(texts[1]))
    assert found == pytest.approx(paired_bootstrap(*counts, bleu_of_counts, samples=300))
    assert found[1] > 0.1
    p = randomization_test(*texts, bleu, samples=300)
    assert p == randomization_test(*counts, bleu_of_counts, samples=300) == 1 / 301


# The test by randomisation.

SMALL = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=7)


@settings(max_examples=60)
@given(SMALL)
def test_small_sets_are_exchanged_in_every_way(pairs: list[tuple[int, int]]) -> None:
    ours, theirs = ([float(pair[side]) for pair in pairs] for side in (0, 1))
    gaps = [a - b for a, b in pairs]
    sums = [
        abs(sum(sign * gap for sign, gap in zip(signs, gaps, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(gaps))
    ]
    wanted = sum(each >= abs(sum(gaps)) for each in sums) / len(sums)
    assert randomization_test(ours, theirs) == wanted
    assert randomization_test(ours, theirs, lambda values: sum(values)) == wanted
    assert randomization_test(np.array(ours), np.array(theirs), np.mean) == wanted
    assert randomization_test(theirs, ours) == wanted


def test_exact_and_sampled_are_scipys() -> None:
    def gap(ours: np.ndarray, theirs: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.mean(ours, axis=axis) - np.mean(theirs, axis=axis)

    def scipys(n: int, **own: object) -> float:
        return scipy.stats.permutation_test(
            (OTHERS[:n], SCORES[:n]), gap, permutation_type="samples", vectorized=True, **own
        ).pvalue

    assert randomization_test(OTHERS[:12], SCORES[:12]) == pytest.approx(scipys(12, n_resamples=np.inf))
    found, wanted = randomization_test(OTHERS, SCORES), scipys(60, n_resamples=20_000, rng=np.random.default_rng(1))
    assert 0.01 < wanted < 0.5
    assert found == pytest.approx(wanted, abs=0.015)


def test_equal_sums_in_another_order_are_as_large() -> None:
    ours, theirs = [0.1, 0.2, 0.3, 0.0], [0.0, 0.0, 0.0, 0.6]  # 0.1 + 0.2 + 0.3 - 0.6 is 1e-16 or 0 as it is added up
    assert randomization_test(ours, theirs) == 1.0
    assert randomization_test(ours, theirs, math.fsum) == 1.0
    assert randomization_test(ours, theirs, lambda values: sum(reversed(values))) == 1.0


def test_p_is_never_0_and_that_of_equal_runs_1() -> None:
    assert randomization_test([1.0] * 30, [0.0] * 30, samples=999) == 1 / 1000
    assert randomization_test([1.0] * 30, [0.0] * 30, np.mean, samples=99) == 1 / 100
    assert randomization_test(SCORES, SCORES) == randomization_test(SCORES, SCORES, np.median, samples=50) == 1.0


def test_of_systems_that_are_alike_p_is_as_often_small_as_it_says() -> None:
    draw = np.random.default_rng(3)
    found = np.array([randomization_test(draw.random(25), draw.random(25), seed=i, samples=199) for i in range(1_000)])
    for level in (0.05, 0.2, 0.5):
        assert abs((found <= level).mean() - level) < 4 * math.sqrt(level * (1 - level) / 1_000)


# McNemar's test.


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_mcnemar_is_scipys_binomial_test(pairs: list[tuple[bool, bool]]) -> None:
    ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    b, c = sum(a and not d for a, d in pairs), sum(d and not a for a, d in pairs)
    wanted = scipy.stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar(ours, theirs) == pytest.approx(wanted)
    assert mcnemar(theirs, ours) == mcnemar(np.array(ours), np.array(theirs)) == mcnemar(ours, theirs)


def test_mcnemar_of_thousands_is_exact_and_of_small_sets_the_randomization_test() -> None:
    ours, theirs = [True] * 3_000 + [False] * 2_800, [False] * 3_000 + [True] * 2_800
    assert mcnemar(ours, theirs) == pytest.approx(scipy.stats.binomtest(2_800, 5_800).pvalue)
    assert mcnemar([True] * 5_000, [False] * 5_000) == 0.0  # 2⁻⁴⁹⁹⁹ is no float
    for right in range(11):
        one, other = [True] * right + [False] * (10 - right), [False] * right + [True] * (10 - right)
        assert mcnemar(one, other) == pytest.approx(randomization_test(one, other))


# What cannot be computed is a sentence.


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: bootstrap([]), "not empty"),
        (lambda: bootstrap([[1.0], [2.0]]), r"shape is \(2, 1\)"),
        (lambda: bootstrap([0.5, math.nan]), "example 1 is not finite"),
        (lambda: bootstrap(["high"]), "not every example is a number"),
        (lambda: bootstrap([0.5], confidence=95.0), "confidence of 95"),
        (lambda: bootstrap([0.5], samples=0), "0 samples are none"),
        (lambda: paired_bootstrap([1.0], [1.0, 0.0]), "1 examples cannot be paired with 2"),
        (lambda: paired_bootstrap([], []), "no example to compare"),
        (lambda: paired_bootstrap(["a"], ["b"]), "give a metric"),
        (lambda: paired_bootstrap(["a"], ["b"], len, samples=-1), "-1 samples are none"),
        (lambda: paired_bootstrap(["a"], ["b"], lambda _: math.nan), "the metric gave nan"),
        (lambda: randomization_test([1.0], []), "1 examples cannot be paired with 0"),
        (lambda: randomization_test(["a"], ["b"], lambda _: math.inf), "the metric gave inf"),
        (lambda: randomization_test([1.0], [0.0], samples=0), "0 samples are none"),
        (lambda: mcnemar([True], []), "cannot be paired"),
        (lambda: mcnemar([True, 0.5], [True, True]), "0.5 is neither"),
        (lambda: mcnemar([None], [True]), "None is neither"),
    ],
)
def test_what_cannot_be_computed_is_said(call, why: str) -> None:
    with pytest.raises(MiniragError, match=why):
        call()
