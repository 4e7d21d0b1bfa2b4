"""An exercise of notebook 05: the search of an inverted file, by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.draw import normal, positive, whole
from minirag.teaching.checks.exercise import Args, Exercise, Mistake


def _some_lists(rng: np.random.Generator, size: int) -> Args:
    """Whole numbers in rows and question, so that scores tie across lists; centroids of any length; k may be too large."""
    cells, rows, dim = 1 + int(rng.integers(1, 5)), 4 + size, 2 + int(rng.integers(2))
    vectors = whole(rng, -2, 3, rows, dim).float()
    centroids = normal(rng, cells, dim) * (1 + 3 * positive(rng, cells, 1))
    cell = (vectors @ centroids.T).argmax(dim=1)
    lists = [(cell == c).nonzero()[:, 0].tolist() for c in range(cells)]
    question = whole(rng, 1, 4, dim).float()
    return question, centroids, lists, vectors, 1 + int(rng.integers(rows)), 1 + int(rng.integers(cells + 1))


def _search(
    probe: Callable[[Tensor, Tensor], Tensor] = torch.mv,
    score: Callable[[Tensor, Tensor], Tensor] = torch.mv,
    probed: Callable[[int, int], int] = min,
    by_id: bool = True,
    numbers: bool = True,
    fill: bool = True,
) -> Callable[..., Tensor]:
    """The search, or with one of its parts exchanged the search with a mistake."""

    def function(question: Tensor, centroids: Tensor, lists: list[list[int]], vectors: Tensor, k: int, n_probe: int) -> Tensor:
        best = probe(centroids, question).topk(probed(n_probe, len(lists))).indices.tolist()
        scanned = [row for cell in best for row in lists[cell]]
        rows = torch.tensor(sorted(scanned) if by_id else scanned, dtype=torch.int64)  # [n]
        order = score(vectors[rows], question).sort(descending=True, stable=True).indices[:k]
        found = rows[order] if numbers else order
        return torch.nn.functional.pad(found, (0, k - len(found)), value=-1) if fill else found

    return function


def _nearness(rows: Tensor, question: Tensor) -> Tensor:
    return -(rows - question).square().sum(dim=1)


def _each_lists_best(
    question: Tensor, centroids: Tensor, lists: list[list[int]], vectors: Tensor, k: int, n_probe: int
) -> Tensor:
    """List after list, each sorted by itself."""
    best = (centroids @ question).topk(min(n_probe, len(lists))).indices.tolist()
    rows = [row for cell in best for row in sorted(lists[cell], key=lambda row: -float(vectors[row] @ question))]
    return torch.tensor((rows + [-1] * k)[:k])


_ROWS = torch.tensor([[3.0, 1.0], [0.0, 2.0], [4.0, 0.0], [0.0, 3.0]])
_CELLS = torch.tensor([[9.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
_LISTS: list[list[int]] = [[0, 2], [1, 3], []]
_ASKED = torch.tensor([2.0, 1.0])  # scores: rows 7, 2, 8, 3; centroids 18, 1, -2

check_ivf_search = Exercise(
    number="5.2",
    name="ivf_search",
    title="IVF search by hand",
    stars=2,
    minutes=15,
    points=5,
    reference=_search(),
    by_hand=(
        ((_ASKED, _CELLS, _LISTS, _ROWS, 1, 1), torch.tensor([2])),
        ((_ASKED, _CELLS, _LISTS, _ROWS, 3, 1), torch.tensor([2, 0, -1])),
        ((_ASKED, _CELLS, _LISTS, _ROWS, 3, 2), torch.tensor([2, 0, 3])),
        ((torch.tensor([1.0, 1.0]), _CELLS, _LISTS, _ROWS, 4, 3), torch.tensor([0, 2, 3, 1])),  # two rows score 4
        # The list probed first holds the higher row; both score 3. And there are fewer lists than are to be probed.
        (
            (torch.tensor([1.0, 2.0]), _CELLS[:2], [[1], [0]], torch.tensor([[0.0, 1.5], [3.0, 0.0]]), 2, 5),
            torch.tensor([0, 1]),
        ),
    ),
    draw=_some_lists,
    mistakes=(
        Mistake(
            "cells by distance",
            "Cells are chosen by the inner product of question and centroid, not by distance: centroids differ in length.",
            _search(probe=_nearness),
        ),
        Mistake(
            "rows by distance",
            "The best row is the one with the largest inner product, not the nearest.",
            _search(score=_nearness),
        ),
        Mistake(
            "one list alone",
            "Only the best list is scanned: n_probe of them are to be.",
            _search(probed=lambda n_probe, cells: 1),
        ),
        Mistake(
            "all lists scanned",
            "Every list is scanned, which is exact search: only the best n_probe of them may be.",
            _search(probed=lambda n_probe, cells: cells),
        ),
        Mistake(
            "ties by the order of lists",
            "Rows with the same score come by the lower number, in whichever list they stand: sort the rows' numbers first.",
            _search(by_id=False),
        ),
        Mistake(
            "places for row numbers",
            "You return places among the rows scanned; the caller needs the rows' own numbers.",
            _search(numbers=False),
        ),
        Mistake(
            "not filled up",
            "Fewer than k rows were found: k numbers are asked for, with -1 where there is no row.",
            _search(fill=False),
        ),
        Mistake(
            "each list by itself",
            "The rows of the second list follow those of the first, whatever their scores: sort all rows together.",
            _each_lists_best,
        ),
    ),
    hint="The best n_probe cells by inner product; the rows of their lists; the best k of those rows; -1 where none is left.",
)
