"""Exercises of notebook 05: product quantisation, scores from a table and codes from vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.draw import normal, whole
from minirag.teaching.checks.exercise import Args, Exercise, Mistake

Scored = tuple[Tensor, Tensor]  # table [M, W], scores [N]


def _some_codes(rng: np.random.Generator, size: int) -> Args:
    """A question [D], codewords [M, W, d] and codes [N, M]; with M = W = d in some cases, so that axes can be mixed up."""
    pieces, width = 1 + int(rng.integers(4)), 1 + int(rng.integers(3))
    count = pieces if size % 3 else 2 + int(rng.integers(5))
    words = normal(rng, pieces, count, pieces if size % 2 else width)
    return normal(rng, words.shape[0] * words.shape[2]), words, whole(rng, 0, count, 1 + size, pieces)


def _cut(rows: Tensor, pieces: int) -> Tensor:
    """[..., D] → [..., M, d], neighbours together."""
    return rows.view(*rows.shape[:-1], pieces, -1)


def _dealt(rows: Tensor, pieces: int) -> Tensor:
    """[..., D] → [..., M, d], every M-th number together: wrong."""
    return rows.view(*rows.shape[:-1], -1, pieces).transpose(-1, -2)


def _inner(question: Tensor, words: Tensor) -> Tensor:
    """The table [M, W] of a question [M, d]."""
    return torch.einsum("md,mwd->mw", question, words)


def _looked_up(table: Tensor, codes: Tensor) -> Tensor:
    """What each row's code says at each place `[N, M]`."""
    return table[torch.arange(len(table)), codes]


def _table(
    cut: Callable[[Tensor, int], Tensor] = _cut,
    entry: Callable[[Tensor, Tensor], Tensor] = _inner,
    added: Callable[[Tensor, Tensor], Tensor] = lambda table, codes: _looked_up(table, codes).sum(dim=1),
) -> Callable[..., Scored]:
    """The exercise, or with one of its parts exchanged the exercise with a mistake."""

    def function(question: Tensor, words: Tensor, codes: Tensor) -> Scored:
        table = entry(cut(question, len(words)), words)
        return table, added(table, codes)

    return function


_WORDS = torch.tensor([[[0.0, 0.0], [4.0, 2.0]], [[1.0, 0.0], [0.0, 3.0]]])  # the notebook's, [M, W, d]
_ASKED = torch.tensor([1.0, 0.5, -1.0, 1.0])  # table: 0, 5 and -1, 3

check_pq_scores = Exercise(
    number="5.3",
    name="pq_scores",
    title="Scores from codes, by a table",
    stars=2,
    minutes=15,
    points=5,
    reference=_table(),
    by_hand=(
        (
            (_ASKED, _WORDS, torch.tensor([[1, 1], [0, 0]])),
            (torch.tensor([[0.0, 5.0], [-1.0, 3.0]]), torch.tensor([8.0, -1.0])),
        ),
        (
            (torch.tensor([2.0, 3.0]), torch.tensor([[[1.0], [2.0]], [[5.0], [0.0]]]), torch.tensor([[0, 1], [1, 0], [1, 1]])),
            (torch.tensor([[2.0, 4.0], [15.0, 0.0]]), torch.tensor([2.0, 19.0, 4.0])),
        ),
    ),
    draw=_some_codes,
    mistakes=(
        Mistake(
            "distances in the table",
            "The table holds squared distances. Passages are ranked by inner product here: T[m, j] = q_m · w_mj.",
            _table(entry=lambda question, words: (question[:, None] - words).square().sum(dim=2)),
        ),
        Mistake(
            "numbers dealt to the pieces",
            "A piece is d numbers side by side: q[0:d], q[d:2d], …; you have taken every M-th number.",
            _table(cut=_dealt),
        ),
        Mistake(
            "one set of codewords",
            "Each place has codewords of its own: words[m] for piece m, and not words[0] for all of them.",
            _table(entry=lambda question, words: question @ words[0].T),
        ),
        Mistake(
            "mean over the pieces",
            "An inner product is the sum of what the pieces add to it, not their mean.",
            _table(added=lambda table, codes: _looked_up(table, codes).mean(dim=1)),
        ),
        Mistake(
            "product over the pieces",
            "An inner product is the sum of what the pieces add to it; nothing is multiplied across pieces.",
            _table(added=lambda table, codes: _looked_up(table, codes).prod(dim=1)),
        ),
        Mistake(
            "table read the wrong way round",
            "In T[m, j] the piece comes first and its codeword second; you look up T[c_m, m].",
            _table(added=lambda table, codes: table[codes, torch.arange(len(table))].sum(dim=1)),
        ),
        Mistake(
            "the best codeword for every row",
            "Each row is scored by its own code, not by the best codeword of each piece.",
            _table(added=lambda table, codes: table.max(dim=1).values.sum().expand(len(codes))),
        ),
    ),
    hint="Cut the question into M pieces of d; multiply each with the codewords of its place; add up one lookup a piece.",
)


def _some_vectors(rng: np.random.Generator, size: int) -> Args:
    """Vectors [N, D], a rotation [D, D] and codewords [M, W, d], all in whole numbers: distances are exact, and many are equal.

    The rotation exchanges axes and turns some round; the codewords have different lengths.
    """
    pieces, width, count = 1 + int(rng.integers(1, 4)), 1 + int(rng.integers(2)), 2 + int(rng.integers(4))
    dim = pieces * width
    signs = 2 * whole(rng, 0, 2, dim).float() - 1
    turn = torch.eye(dim)[torch.from_numpy(rng.permutation(dim))] * signs
    return whole(rng, -4, 5, size, dim).float(), turn, whole(rng, -4, 5, pieces, count, width).float()


def _apart(parts: Tensor, words: Tensor) -> Tensor:
    """Squared distances [N, M, W] of pieces [N, M, d] to codewords."""
    return (parts[:, :, None] - words).square().sum(dim=3)


def _encoded(
    turned: Callable[[Tensor, Tensor], Tensor] = torch.matmul,
    cut: Callable[[Tensor, int], Tensor] = _cut,
    apart: Callable[[Tensor, Tensor], Tensor] = _apart,
    chosen: Callable[[Tensor], Tensor] = lambda apart: apart.argmin(dim=2),
) -> Callable[..., Tensor]:
    """The exercise, or with one of its parts exchanged the exercise with a mistake."""

    def function(vectors: Tensor, rotation: Tensor, words: Tensor) -> Tensor:
        return chosen(apart(cut(turned(vectors, rotation), len(words)), words))

    return function


def _product(parts: Tensor, words: Tensor) -> Tensor:
    return torch.einsum("nmd,mwd->nmw", parts, words)


_ROWS = torch.tensor([[4.0, 1.0, 0.5, 3.0], [0.5, 0.0, 1.5, 0.5]])
_TURN = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])  # (a, b, c) R = (c, a, b)

check_pq_encode = Exercise(
    number="5.4",
    name="pq_encode",
    title="Codes of vectors",
    stars=2,
    minutes=15,
    points=5,
    reference=_encoded(),
    by_hand=(
        ((_ROWS, torch.eye(4), _WORDS), torch.tensor([[1, 1], [0, 0]])),
        # turned it is (3, 1, 2); the nearest of 2 and 9 is 2, though 9·3 is more than 2·3
        (
            (torch.tensor([[1.0, 2.0, 3.0]]), _TURN, torch.tensor([[[9.0], [2.0]], [[0.0], [2.0]], [[7.0], [2.0]]])),
            torch.tensor([[1, 0, 1]]),  # the second number is as near to 0 as to 2
        ),
    ),
    draw=_some_vectors,
    mistakes=(
        Mistake(
            "turned the wrong way",
            "A row x becomes x·R; you multiply by the transpose of R, which turns back.",
            _encoded(turned=lambda vectors, rotation: vectors @ rotation.T),
        ),
        Mistake(
            "not turned",
            "The codewords were learnt from turned vectors: turn by x·R before you cut.",
            _encoded(turned=lambda vectors, rotation: vectors),
        ),
        Mistake(
            "numbers dealt to the pieces",
            "A piece is d numbers side by side: x[0:d], x[d:2d], …; you have taken every M-th number.",
            _encoded(cut=_dealt),
        ),
        Mistake(
            "largest inner product",
            "The codeword is to be nearest to the piece. A long codeword has a large inner product with much that is far away.",
            _encoded(apart=lambda parts, words: -_product(parts, words)),
        ),
        Mistake(
            "a half forgotten",
            "‖x − w‖² = ‖x‖² − 2·x·w + ‖w‖²: the nearest maximises x·w − ‖w‖²/2, with the half.",
            _encoded(apart=lambda parts, words: words.square().sum(dim=2) - _product(parts, words)),
        ),
        Mistake(
            "one codeword number for all pieces",
            "Each piece chooses its own codeword: the smallest distance for each piece, not the smallest sum over pieces.",
            _encoded(chosen=lambda apart: apart.sum(dim=1, keepdim=True).argmin(dim=2).expand(apart.shape[:2])),
        ),
        Mistake(
            "one set of codewords",
            "Each place has codewords of its own: words[m] for piece m, and not words[0] for all of them.",
            _encoded(apart=lambda parts, words: _apart(parts, words[:1].expand(words.shape))),
        ),
        Mistake(
            "ties to the higher number",
            "Of codewords that are equally near, the one with the lowest number is taken.",
            _encoded(chosen=lambda apart: apart.shape[2] - 1 - apart.flip(2).argmin(dim=2)),
        ),
        Mistake(
            "the farthest codeword",
            "The largest distance is taken, and the smallest is wanted.",
            _encoded(chosen=lambda apart: apart.argmax(dim=2)),
        ),
    ),
    hint="x·R, cut into M pieces of d; for each piece the number of the nearest codeword of its place, by Euclidean distance.",
)
