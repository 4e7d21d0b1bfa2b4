"""k-means, the quantizer of an inverted file: C centroids, each the mean of the vectors nearest to it (Lloyd 1982).

For inner-product search the clustering is spherical by default: centroids are scaled to length 1, and a vector belongs to
the centroid with which its inner product is largest, just as a question will later choose the cells to probe.
"""

import warnings

import torch
from jaxtyping import Float32, Int64
from torch import Tensor
from tqdm.auto import tqdm

from minirag.errors import MiniragError

ROWS = 16_384  # points compared with all centroids at once, and fewer where there are many centroids:
SCORES = 64_000_000  # products held at once (256 MB)
PER_CELL = 256  # training points per cell; more do not move the centroids


def assign(points: Float32[Tensor, "n D"], centroids: Float32[Tensor, "C D"], spherical: bool = True) -> Int64[Tensor, " n"]:
    """The cell of each point: by inner product if spherical, else by Euclidean distance; ties to the lower cell.

    >>> assign(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.eye(2)).tolist()
    [0, 1]
    """
    # argmin ‖x − c‖² = argmax x·c − ‖c‖²/2
    half = torch.zeros(len(centroids)) if spherical else centroids.square().sum(dim=1) / 2  # [C]
    rows = min(ROWS, SCORES // len(centroids) + 1)
    return torch.cat([torch.addmm(-half, part, centroids.T).argmax(dim=1) for part in points.split(rows)] or [_no_cells()])


def kmeans(
    points: Float32[Tensor, "n D"],
    cells: int,
    iterations: int = 10,
    spherical: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> Float32[Tensor, "C D"]:
    """Centroids of `cells` clusters after `iterations` of Lloyd's algorithm, started from random points.

    At most 256 points a cell, drawn at random, take part. Fewer points than cells: a warning, and as many cells as points.
    An empty cell is given the point that fits its own cell worst.

    >>> corners = torch.tensor([[9.0, 0.1], [9.0, -0.1], [0.1, 5.0], [-0.1, 5.0]])
    >>> sorted(kmeans(corners, cells=2).round().tolist())
    [[0.0, 1.0], [1.0, 0.0]]
    """
    if not len(points):
        raise MiniragError("k-means got no points; train the index on some vectors first")
    if cells < 1:
        raise MiniragError(f"k-means was asked for {cells} cells; ask for at least one")
    if len(points) < cells:
        warnings.warn(f"{len(points)} points cannot fill {cells} cells; using {len(points)} cells", stacklevel=2)
        cells = len(points)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(points), generator=generator)[: cells * PER_CELL]
    points = points[chosen.sort().values]  # [n, D] in file order, as a disk likes it
    start = torch.randperm(len(points), generator=generator)[:cells]
    centroids = _on_sphere(points[start]) if spherical else points[start].clone()  # [C, D]
    for _ in tqdm(range(iterations), desc=f"k-means, {cells} cells", disable=not progress):
        cell = assign(points, centroids, spherical)  # [n]
        _repair(points, centroids, cell)
        counts = torch.bincount(cell, minlength=cells)  # [C], none of them zero
        sums = torch.zeros_like(centroids).index_add_(0, cell, points)  # [C, D]
        centroids = _on_sphere(sums) if spherical else sums / counts[:, None]
    return centroids


def _repair(points: Float32[Tensor, "n D"], centroids: Float32[Tensor, "C D"], cell: Int64[Tensor, " n"]) -> None:
    """Give every empty cell one point, in place: the worst fitting one of a cell that can spare it."""
    counts = torch.bincount(cell, minlength=len(centroids))  # [C]
    empty = (counts == 0).nonzero()[:, 0].tolist()
    if not empty:
        return
    distance = torch.cat(
        [(part - centroids[c]).norm(dim=1) for part, c in zip(points.split(ROWS), cell.split(ROWS), strict=True)]
    )
    for point in distance.argsort(descending=True, stable=True).tolist():
        if not empty:
            return
        if counts[cell[point]] > 1:
            counts[cell[point]] -= 1
            cell[point] = empty.pop(0)
            counts[cell[point]] += 1


def _on_sphere(rows: Float32[Tensor, "C D"]) -> Float32[Tensor, "C D"]:
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-30)


def _no_cells() -> Int64[Tensor, " 0"]:
    return torch.empty(0, dtype=torch.int64)
