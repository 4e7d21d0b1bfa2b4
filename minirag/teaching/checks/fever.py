"""Exercises of notebook 14: a claim's label by its marginal probability, accuracy with three and two labels, evidence found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.draw import normal, positive
from minirag.teaching.checks.exercise import Args, Exercise, Mistake

LABELS = ("SUPPORTS", "REFUTES", "NOT ENOUGH INFO")
NEI = LABELS[2]
Rule = Callable[[Sequence[str], set[str]], float]  # of what was found for a claim, and its evidence


def _claim(rng: np.random.Generator, size: int) -> Args:
    """log p(label's words|x, z) [K, L] and log p(z|x) [K]; large negative ones, as of words of several tokens."""
    documents = 2 + size % 6
    return -(1 + size / 4) * positive(rng, documents, 3), (2 * normal(rng, documents)).log_softmax(0)


def _verdict(log_p: Tensor, log_prior: Tensor) -> int:
    return int(torch.logsumexp(log_prior[:, None] + log_p, 0).argmax())


def _vote(log_p: Tensor, log_prior: Tensor) -> int:
    votes = Counter(log_p.argmax(1).tolist())
    return max(range(log_p.shape[1]), key=lambda label: (votes[label], -label))


check_verdict = Exercise(
    number="14.1",
    name="verdict",
    title="A label by its marginal probability",
    stars=2,
    minutes=15,
    points=5,
    reference=_verdict,
    by_hand=(
        # p(supports) = 0.6 · 0.5 + 0.4 · 0.1 = 0.34, p(refutes) = 0.6 · 0.4 + 0.4 · 0.8 = 0.56
        ((torch.tensor([[0.5, 0.4, 0.1], [0.1, 0.8, 0.1]]).log(), torch.tensor([0.6, 0.4]).log()), 1),
        # p(supports) = 0.4 · 0.6 + 0.6 · 0.2 = 0.36, p(refutes) = 0.4 · 0.2 + 0.6 · 0.7 = 0.5
        ((torch.tensor([[0.6, 0.2, 0.2], [0.2, 0.7, 0.1], [0.2, 0.7, 0.1]]).log(), torch.tensor([0.4, 0.3, 0.3]).log()), 1),
        ((torch.tensor([[0.2, 0.7, 0.1]]).log(), torch.zeros(1)), 1),
        ((torch.tensor([[0.9, 0.05, 0.05], [0.1, 0.1, 0.8], [0.1, 0.1, 0.8]]).log(), torch.tensor([0.8, 0.1, 0.1]).log()), 0),
    ),
    draw=_claim,
    mistakes=(
        Mistake(
            "documents vote",
            "Each document chooses a label here, and labels are counted. Add up probabilities over documents first, and choose "
            "once, at the end.",
            _vote,
        ),
        Mistake(
            "the first document alone",
            "Only the document with the largest p(z|x) is asked. All K of them count, each by its p(z|x).",
            lambda log_p, log_prior: int(log_p[log_prior.argmax()].argmax()),
        ),
        Mistake(
            "no prior",
            "Every document counts the same here: p(z|x) is missing.",
            lambda log_p, log_prior: int(torch.logsumexp(log_p, 0).argmax()),
        ),
        Mistake(
            "logarithms averaged",
            "A mean of log-probabilities is not the logarithm of a mean: add up probabilities (logsumexp).",
            lambda log_p, log_prior: int((log_prior.exp()[:, None] * log_p).sum(0).argmax()),
        ),
        Mistake(
            "maximum over documents",
            "This takes the most convinced document for each label; the marginal probability is a sum over documents.",
            lambda log_p, log_prior: int((log_prior[:, None] + log_p).max(0).values.argmax()),
        ),
    ),
    hint="For each label: log Σ_k p(z_k|x) p(label|x, z_k), which is a logsumexp over dimension 0; then one argmax.",
)


def _labels(rng: np.random.Generator, size: int) -> Args:
    said = [LABELS[i] for i in rng.integers(3, size=size + 3)]
    right = [LABELS[i] for i in rng.integers(3, size=size)]
    return said, [LABELS[0], LABELS[1], NEI, *right]


def _accuracies(said: Sequence[str], right: Sequence[str]) -> tuple[float, float]:
    hits = [a == b for a, b in zip(said, right, strict=True)]
    known = [hit for hit, label in zip(hits, right, strict=True) if label != NEI]
    return sum(hits) / len(hits), sum(known) / len(known)


def _said_nei_dropped(said: Sequence[str], right: Sequence[str]) -> tuple[float, float]:
    both = [a == b for a, b in zip(said, right, strict=True) if NEI not in (a, b)]
    return _accuracies(said, right)[0], sum(both) / len(both)


def _all_in_denominator(said: Sequence[str], right: Sequence[str]) -> tuple[float, float]:
    known = [a == b for a, b in zip(said, right, strict=True) if b != NEI]
    return _accuracies(said, right)[0], sum(known) / len(right)


check_accuracies = Exercise(
    number="14.2",
    name="accuracies",
    title="Accuracy with three labels and with two",
    stars=1,
    minutes=10,
    points=3,
    reference=_accuracies,
    by_hand=(
        ((["SUPPORTS", "REFUTES", NEI, NEI], ["SUPPORTS", "SUPPORTS", NEI, "REFUTES"]), (0.5, 1 / 3)),
        ((["SUPPORTS", "REFUTES"], ["SUPPORTS", "REFUTES"]), (1.0, 1.0)),
    ),
    draw=_labels,
    mistakes=(
        Mistake(
            "undecided answers dropped",
            "You leave out the claims on which the system said NOT ENOUGH INFO. It was asked, and it was wrong: leave out only "
            "claims whose right label is NOT ENOUGH INFO.",
            _said_nei_dropped,
        ),
        Mistake(
            "all claims in the denominator",
            "With two labels, only the claims that have one of these two as their right label are counted, below the line too.",
            _all_in_denominator,
        ),
        Mistake(
            "percent",
            "Shares between 0 and 1 are asked for, not percent.",
            lambda said, right: tuple(100 * each for each in _accuracies(said, right)),
        ),
        Mistake(
            "the two exchanged",
            "The first of the two is accuracy with three labels.",
            lambda said, right: _accuracies(said, right)[::-1],
        ),
        Mistake(
            "number of hits",
            "These are numbers of hits; divide them by the number of claims.",
            lambda said, right: (
                float(sum(a == b for a, b in zip(said, right, strict=True))),
                float(sum(a == b != NEI for a, b in zip(said, right, strict=True))),
            ),
        ),
    ),
    hint="Three labels: hits over all claims. Two labels: the same over those claims whose right label is not NOT ENOUGH INFO.",
)


def _pages(rng: np.random.Generator, size: int) -> Args:
    names = [f"page {i}" for i in range(8)]
    found = [[names[i] for i in rng.permutation(8)[:4]] for _ in range(size + 1)]
    evidence: list[set[str]] = [{names[i] for i in rng.permutation(8)[: rng.integers(0, 3)]} for _ in range(size)]
    return found, [{found[0][0], "page elsewhere"}, *evidence], 1 + int(rng.integers(4))


def _page_recall(found: Sequence[Sequence[str]], evidence: Sequence[set[str]], k: int) -> float:
    hits = [bool(pages & set(own[:k])) for own, pages in zip(found, evidence, strict=True) if pages]
    return sum(hits) / len(hits)


def _mean_over(rule: Rule, found: Sequence[Sequence[str]], evidence: Sequence[set[str]]) -> float:
    own = [float(rule(a, b)) for a, b in zip(found, evidence, strict=True) if b]
    return sum(own) / len(own)


check_page_recall = Exercise(
    number="14.3",
    name="page_recall",
    title="Is a page of the evidence among the first k?",
    stars=1,
    minutes=10,
    points=3,
    reference=_page_recall,
    by_hand=(
        (([["Nile", "Po"], ["Po", "Elbe"], ["Oder", "Po"]], [{"Po"}, {"Nile", "Po"}, set()], 1), 0.5),
        (([["Nile", "Po"], ["Po", "Elbe"]], [{"Po"}, {"Rhine"}], 2), 0.5),
    ),
    draw=_pages,
    mistakes=(
        Mistake(
            "all pages needed",
            "You ask for all pages of the evidence; one of them is enough.",
            lambda found, evidence, k: _mean_over(lambda own, pages: pages <= set(own[:k]), found, evidence),
        ),
        Mistake(
            "claims without evidence counted",
            "A claim without any evidence cannot be found; leave it out, below the line too.",
            lambda found, evidence, k: sum(bool(b & set(a[:k])) for a, b in zip(found, evidence, strict=True)) / len(found),
        ),
        Mistake(
            "one page too many",
            "The first k are found[:k]; here one more, or all of them, are looked at.",
            lambda found, evidence, k: _mean_over(lambda own, pages: bool(pages & set(own[: k + 1])), found, evidence),
        ),
        Mistake(
            "all that was found",
            "Only the first k pages count; here all that was found is looked at.",
            lambda found, evidence, k: _mean_over(lambda own, pages: bool(pages & set(own)), found, evidence),
        ),
        Mistake(
            "share of pages",
            "This is the share of pages that are evidence (precision); asked for is the share of claims with at least one.",
            lambda found, evidence, k: _mean_over(lambda own, pages: len(pages & set(own[:k])) / k, found, evidence),
        ),
    ),
    hint="For each claim that has evidence: does set(found[:k]) meet its pages? Then the share of those that do.",
)
