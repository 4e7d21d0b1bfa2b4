"""A design task of notebook 05: the lists of an inverted file, for a budget of vectors scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.ivf import IVFIndex
from minirag.retrieval.kmeans import assign, kmeans
from minirag.teaching.checks.design import DesignTask, Measured, Setting
from minirag.teaching.checks.draw import normal, whole
from minirag.teaching.checks.exercise import Mistake

K, QUESTIONS, PER_GROUP = 10, 200, 40


def clustered(rng: np.random.Generator, rows: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors [N, D] of length 1 in loose groups of some 40, questions [B, D] near some of them, and their true ten [B, 10]."""
    middles = normal(rng, rows // PER_GROUP, dim)
    vectors = middles[whole(rng, 0, len(middles), rows)] + normal(rng, rows, dim)
    vectors = vectors / vectors.norm(dim=1, keepdim=True)
    asked = vectors[whole(rng, 0, rows, QUESTIONS)] + 0.5 * dim**-0.5 * normal(rng, QUESTIONS, dim)
    questions = asked / asked.norm(dim=1, keepdim=True)
    exact = ExactIndex(dim, in_bytes=False)
    exact.add(vectors)
    return vectors, questions, exact.search(questions, K)[1]


def recall(found: Tensor, truth: Tensor) -> float:
    """The share of the true ten among the rows found, both [B, 10]."""
    return float((found[:, :, None] == truth[:, None, :]).any(dim=1).float().mean())


def whole_numbers(design: Any, **least: int) -> bool:
    """Whether the design names just these settings, all of them whole numbers, none below its least or huge."""
    return (
        isinstance(design, dict)
        and design.keys() == least.keys()
        and all(type(design[name]) is int and low <= design[name] < 10**9 for name, low in least.items())
    )


def _latency(rng: np.random.Generator) -> Sequence[Setting]:
    """Three sizes; a sample of half of the vectors is given."""
    settings = []
    for size, share in ((1_200, 8), (2_400, 10), (5_000, 10)):
        n = size + 20 * int(rng.integers(11))
        budget = n // share
        rows, questions, truth = clustered(rng, n, 32)
        told = f"{n:,} vectors, {budget:,} scored for a question"
        args = (n, budget, rows[::2].contiguous())
        settings.append(Setting(args, told, ((0.7, 1), (0.8, 2), (0.88, 3)), rows, questions, truth))
    return settings


def _scored(setting: Setting, design: Any) -> Measured:
    """Build the inverted file; count centroids and rows scored for a question on average."""
    n, budget, _ = setting.args
    if not whole_numbers(design, n_lists=1, n_probe=1):
        return Measured("not two settings, each a whole number from 1 on", mistake="other settings")
    lists, probes = design["n_lists"], design["n_probe"]
    if probes > lists:
        return Measured("there are fewer lists than are to be probed", mistake="more probes than lists")
    if lists == 1:
        return Measured(f"{n + 1:,} scored", mistake="one list")
    if lists >= budget:
        return Measured(f"{lists:,} scored before any row is", mistake="centroids alone over the budget")
    index = IVFIndex(setting.rows.shape[1], lists, probes, in_bytes=False)
    index.train(setting.rows)
    index.add(setting.rows)
    sizes = torch.bincount(index.list_of, minlength=lists)  # [C]
    probed = (setting.questions @ index.centroids.T).topk(probes).indices  # [B, P]
    scored = lists + float(sizes[probed].sum(dim=1).float().mean())
    if scored > budget:
        even = probes * n / lists
        mistake = "all lists probed" if probes == lists else "over the budget"
        mistake = "centroids not counted" if even <= budget < lists + even else mistake
        mistake = "lists taken for even" if lists + even <= budget else mistake
        return Measured(f"{scored:,.0f} scored, over the budget", mistake=mistake)
    found = recall(index.search(setting.questions, K)[1], setting.truth)
    one_more = scored + (scored - lists) / probes <= budget
    mistake = "too many lists" if lists > budget / 2 else "budget left over" if one_more else "too few lists"
    return Measured(f"{scored:,.0f} scored, recall@10 {found:.2f}", found, mistake)


def _fitting_on_paper(n_rows: int, budget: int, sample: Tensor) -> dict[str, int]:
    """The number of lists for which C + P·N/C is nearest to the budget."""
    lists = min(range(budget // 4, budget // 2), key=lambda c: (budget - c) * c / n_rows % 1)
    return {"n_lists": lists, "n_probe": (budget - lists) * lists // n_rows}


def _measured_on_the_sample(n_rows: int, budget: int, sample: Tensor) -> dict[str, int]:
    """A quarter of the budget for centroids, and as many probes as the rest pays for among the sample."""
    lists = budget // 4
    centroids = kmeans(sample, lists)  # [C, D]
    sizes = torch.bincount(assign(sample, centroids), minlength=lists) * n_rows / len(sample)  # [C]
    nearest = (sample @ centroids.T).argsort(dim=1, descending=True)  # [n, C]
    scored = lists + sizes[nearest].mean(dim=0).cumsum(0)  # [C] with 1, 2, ... probes
    return {"n_lists": lists, "n_probe": max(int((scored <= 0.95 * budget).sum()), 1)}


check_latency_budget = DesignTask(
    number="5.5",
    name="choose_lists",
    title="The best recall for a budget",
    stars=3,
    minutes=30,
    points=9,
    reference=_measured_on_the_sample,
    draw=_latency,
    measure=_scored,
    allowed=("minirag.retrieval.",),
    success="within all three budgets, and recall@10 is at least 0.88 in each.",
    mistakes=(
        Mistake(
            "other settings",
            'Return {"n_lists": …, "n_probe": …}, two whole numbers from 1 on, and nothing else.',
            lambda n_rows, budget, sample: (budget // 4, 2),
        ),
        Mistake(
            "more probes than lists",
            "n_probe is larger than n_lists: no question can look into more lists than there are.",
            lambda n_rows, budget, sample: {"n_lists": 8, "n_probe": budget},
        ),
        Mistake(
            "one list",
            "With a single list every question scans all rows: that is exact search, and one centroid more to score.",
            lambda n_rows, budget, sample: {"n_lists": 1, "n_probe": 1},
        ),
        Mistake(
            "centroids alone over the budget",
            "Every question scores all n_lists centroids first; so many of them leave nothing to scan.",
            lambda n_rows, budget, sample: {"n_lists": budget, "n_probe": 1},
        ),
        Mistake(
            "centroids not counted",
            "The rows fit into the budget, but n_lists centroids are scored, too: C + rows scanned counts.",
            lambda n_rows, budget, sample: {"n_lists": budget // 2, "n_probe": budget * (budget // 2) // n_rows},
        ),
        Mistake(
            "lists taken for even",
            "C + P·N/C is within the budget, yet the real cost is not: lists are uneven, and long ones are probed more often. "
            "Measure on the sample what a question scans, or leave a reserve.",
            _fitting_on_paper,
        ),
        Mistake(
            "all lists probed",
            "n_probe = n_lists scans every row: that is exact search. Probe the best few lists alone.",
            lambda n_rows, budget, sample: {"n_lists": budget // 4, "n_probe": budget // 4},
        ),
        Mistake(
            "over the budget",
            "C + P·N/C alone is more than the budget; probe fewer lists, or cut the space into more of them.",
            lambda n_rows, budget, sample: {"n_lists": 4, "n_probe": 2},
        ),
        Mistake(
            "budget left over",
            "Recall is too low, and the budget would pay for more probes.",
            lambda n_rows, budget, sample: {"n_lists": budget // 4, "n_probe": 1},
        ),
        Mistake(
            "too many lists",
            "More than half of the budget goes on centroids, and too little is left for scanning: take fewer lists.",
            lambda n_rows, budget, sample: {"n_lists": budget * 3 // 4, "n_probe": 1},
        ),
        Mistake(
            "too few lists",
            "The budget is used, but on few large lists, which hold much that is far away: take more lists, and more probes.",
            lambda n_rows, budget, sample: {"n_lists": 16, "n_probe": 1},
        ),
    ),
)
