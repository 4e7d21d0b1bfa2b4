"""An exercise of notebook 05: a round of k-means, with empty cells."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.draw import whole
from minirag.teaching.checks.exercise import Args, Exercise, Mistake

Round = tuple[Tensor, Tensor]  # cells [n], centroids [C, D]
Repair = Callable[[Tensor, Tensor, Tensor], Tensor]  # points, centroids, cells as assigned → cells with no empty one


def _some_cells(rng: np.random.Generator, size: int) -> Args:
    """Points and centroids of whole numbers, so that distances are exact and some are equal.

    Up to two cells are empty: because their centroid is far away, or because it repeats another one. In most cases the point
    that fits worst is alone in its cell.
    """
    cells, empty = 2 + int(rng.integers(3)), size % 3
    points = whole(rng, -5, 6, cells + empty + size, 2).float()
    centroids = whole(rng, -5, 6, cells, 2).float()
    if size % 4:  # one that fits badly, and is its cell's only one
        points = torch.cat([points, torch.tensor([[40.0, 30.0]])])
        centroids = torch.cat([centroids, torch.tensor([[60.0, 60.0]])])
    far = whole(rng, -90, -80, empty, 2).float() if size % 2 else centroids[:1].repeat(empty, 1)
    return points[torch.from_numpy(rng.permutation(len(points)))], torch.cat([centroids, far])


def _nearest(points: Tensor, centroids: Tensor) -> Tensor:
    return torch.cdist(points, centroids, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)


def _repair(farthest: bool = True, spare: bool = True, anew: bool = True) -> Repair:
    """Each empty cell gets the point farthest from its centroid, of a cell that can spare one. `anew`: another each time."""

    def repair(points: Tensor, centroids: Tensor, cell: Tensor) -> Tensor:
        cell, far = cell.clone(), (points - centroids[cell]).norm(dim=1) * (1 if farthest else -1)
        for empty in sorted(set(range(len(centroids))) - set(cell.tolist())):
            sizes = torch.bincount(cell, minlength=len(centroids))  # [C]
            moved = far.masked_fill(sizes[cell] < 2, -torch.inf).argmax() if spare else far.argmax()
            cell[moved] = empty
            far[moved] = -torch.inf if anew else far[moved]
        return cell

    return repair


def _as_they_are(points: Tensor, centroids: Tensor, cell: Tensor) -> Tensor:
    return cell


def _round(
    repair: Repair, empty: float | None = torch.nan, nearest: Callable[[Tensor, Tensor], Tensor] = _nearest
) -> Callable[..., Round]:
    """A round of k-means; `empty`: what an empty cell's centroid becomes, None for what it was."""

    def function(points: Tensor, centroids: Tensor) -> Round:
        cell = repair(points, centroids, nearest(points, centroids))
        rest = centroids if empty is None else torch.full_like(centroids, empty)
        means = [points[cell == c].mean(dim=0) if bool((cell == c).any()) else rest[c] for c in range(len(centroids))]
        return cell, torch.stack(means)

    return function


def _counted_twice(points: Tensor, centroids: Tensor) -> Round:
    """The moved points still count in the means of their old cells."""
    cell, after = _round(_repair())(points, centroids)
    before = _round(_as_they_are)(points, centroids)[1]
    return cell, torch.where(before.isnan(), after, before)


def _on_line(*places: int | float) -> Tensor:
    return torch.tensor([[place, 0.0] for place in places])


_LINE = _on_line(0, 1, 2, 9)

check_kmeans_round = Exercise(
    number="5.1",
    name="kmeans_round",
    title="A round of k-means, with empty cells",
    stars=2,
    minutes=20,
    points=5,
    reference=_round(_repair()),
    by_hand=(
        ((_LINE, _on_line(0, 8)), (torch.tensor([0, 0, 0, 1]), _on_line(1, 9))),
        ((_LINE[:3], _on_line(0, -9)), (torch.tensor([0, 0, 1]), _on_line(0.5, 2))),
        ((_LINE, _on_line(1, 1)), (torch.tensor([0, 0, 0, 1]), _on_line(1, 9))),
        ((_LINE, _on_line(0, -9, -8)), (torch.tensor([0, 0, 2, 1]), _on_line(0.5, 9, 2))),
        ((_LINE, _on_line(0, 14, -9)), (torch.tensor([0, 0, 2, 1]), _on_line(0.5, 9, 2))),  # 9 is alone in its cell
    ),
    draw=_some_cells,
    mistakes=(
        Mistake(
            "mean of nothing",
            "A cell without points has no mean: torch gives nan, and nan spreads. Give the empty cell a point first.",
            _round(_as_they_are),
        ),
        Mistake(
            "empty cell left where it was",
            "The empty cell keeps its centroid, and may stay empty for ever. It is to get the point that fits worst.",
            _round(_as_they_are, None),
        ),
        Mistake(
            "empty cell at zero",
            "A sum of no points divided by at least one is zero, and nobody put a centroid there: give the empty cell a point.",
            _round(_as_they_are, 0.0),
        ),
        Mistake(
            "moved point counted twice",
            "The point that was given to the empty cell still counts in its old cell's mean: move it before you take means.",
            _counted_twice,
        ),
        Mistake(
            "best-fitting point moved",
            "You move the point that is nearest to its centroid, which was well off there; the farthest is to be moved.",
            _round(_repair(farthest=False)),
        ),
        Mistake(
            "one point for all empty cells",
            "Two empty cells got the same point, so one is empty again: a moved point is not to be moved once more.",
            _round(_repair(spare=False, anew=False)),
        ),
        Mistake(
            "a cell emptied to fill another",
            "The point that you move was the only one of its cell, which is now empty: take it from a cell of two or more.",
            _round(_repair(spare=False)),
        ),
        Mistake(
            "cells by inner product",
            "A point belongs to the nearest centroid here, by Euclidean distance; inner products are for the spherical kind.",
            _round(_repair(), nearest=lambda points, centroids: (points @ centroids.T).argmax(dim=1)),
        ),
    ),
    hint="In this order: each point's nearest centroid; for each empty cell, lowest first, the point of a cell of two or more "
    "that is farthest from its old centroid; then means.",
)
