"""Exercises of notebook 03: what the passage encoder reads, the score, and hubs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.draw import normal, whole
from minirag.teaching.checks.exercise import Args, Exercise, Mistake

CLS, SEP = 101, 102


def _ids(rng: np.random.Generator, size: int) -> Args:
    title, text = (whole(rng, 1000, 2000, n).tolist() for n in (1 + size % 4, 2 + size))
    return title, text, 3 + len(title) + int(rng.integers(1, len(text) + 3))


def _input(title: Sequence[int], text: Sequence[int], length: int) -> list[int]:
    whole_input = [CLS, *title, SEP, *text, SEP]
    return whole_input if len(whole_input) <= length else [*whole_input[: length - 1], SEP]


check_passage_input = Exercise(
    number="3.1",
    name="passage_input",
    title="What the passage encoder reads",
    stars=1,
    minutes=10,
    points=3,
    reference=_input,
    by_hand=(
        (([7], [8, 9], 10), [101, 7, 102, 8, 9, 102]),
        (([7], [8, 9, 10], 6), [101, 7, 102, 8, 9, 102]),
        (([7], [8, 9], 6), [101, 7, 102, 8, 9, 102]),
    ),
    draw=_ids,
    mistakes=(
        Mistake(
            "no last [SEP]",
            "The input ends in [SEP] (102), also where it was cut.",
            lambda title, text, length: [CLS, *title, SEP, *text][:length],
        ),
        Mistake(
            "[SEP] cut off",
            "Where the input is too long the text gives way, and the last [SEP] stays.",
            lambda title, text, length: [CLS, *title, SEP, *text, SEP][:length],
        ),
        Mistake(
            "the last word overwritten",
            "Only where the input is too long does the text give way to the last [SEP]; here it has lost a word without need.",
            lambda title, text, length: [*[CLS, *title, SEP, *text][:length][:-1], SEP],
        ),
        Mistake(
            "title and text in one",
            "A [SEP] stands between title and text.",
            lambda title, text, length: [*[CLS, *title, *text][: length - 1], SEP],
        ),
        Mistake(
            "no [CLS]",
            "The input begins with [CLS] (101), whose last state is the passage's vector.",
            lambda title, text, length: _input(title, text, length + 1)[1:],
        ),
        Mistake("no title", "The title comes before the text.", lambda title, text, length: [*[CLS, *text][: length - 1], SEP]),
        Mistake(
            "not cut", "The input must not be longer than `length`.", lambda title, text, length: [CLS, *title, SEP, *text, SEP]
        ),
    ),
    hint="[CLS] title [SEP] text [SEP]; if that is too long, its first length − 1 ids and then [SEP].",
)


def _two(rng: np.random.Generator, size: int) -> Args:
    d = 1 + size % 8
    return normal(rng, 1 + size % 3, d), (1 + size) * normal(rng, 2 + size // 3, d)


def _unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=1, keepdim=True)


check_scores = Exercise(
    number="3.2",
    name="scores",
    title="The score of a passage",
    stars=1,
    minutes=5,
    points=2,
    reference=lambda questions, passages: questions @ passages.T,
    by_hand=(
        ((torch.tensor([[1.0, 0.5]]), torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])), torch.tensor([[2.0, 1.0, 1.5]])),
        ((torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0]])), torch.tensor([[3.0], [6.0]])),
    ),
    draw=_two,
    mistakes=(
        Mistake("cosine", "Vectors keep their lengths: a plain inner product, no cosine.", lambda q, p: _unit(q) @ _unit(p).T),
        Mistake("distance", "This is minus a distance (L2); the score is the inner product.", lambda q, p: -torch.cdist(q, p)),
        Mistake(
            "squared distance",
            "This is minus a squared distance; the score is the inner product.",
            lambda q, p: -(q[:, None] - p[None]).square().sum(2),
        ),
        Mistake("transposed", "One row a question, one column a passage: [B, N].", lambda q, p: p @ q.T),
        Mistake("divided by √d", "That is attention; DPR's score is not scaled.", lambda q, p: q @ p.T / q.shape[1] ** 0.5),
        Mistake("softmax taken", "Scores, not probabilities.", lambda q, p: (q @ p.T).softmax(1)),
    ),
    hint="Σ_d q_d p_d for each pair, which is one matrix product.",
)


def _found(rng: np.random.Generator, size: int) -> Args:
    """The first k rows of each question; some slots are empty (−1), and some passages are found by nobody."""
    n, k = 4 + size, 2 + size % 3
    ids = torch.stack([torch.from_numpy(rng.permutation(n)[:k].astype(np.int64)) for _ in range(2 + size // 2)])
    ids[0, -1] = -1
    return ids, n + 1


def _hubs(ids: Tensor, passages: int) -> Tensor:
    return torch.bincount(ids[ids >= 0], minlength=passages)


check_times_found = Exercise(
    number="3.3",
    name="times_found",
    title="Hubs: how often is each passage found?",
    stars=2,
    minutes=15,
    points=4,
    reference=_hubs,
    by_hand=(
        ((torch.tensor([[0, 2], [2, 1], [2, -1]]), 4), torch.tensor([1, 1, 3, 0])),
        ((torch.tensor([[1, 0]]), 2), torch.tensor([1, 1])),
    ),
    draw=_found,
    mistakes=(
        Mistake(
            "empty slots counted",
            "−1 is no passage: it stands where fewer than k were found. Counted from the end it is the last one.",
            lambda ids, n: torch.bincount(ids.flatten() % n, minlength=n),
        ),
        Mistake(
            "empty slots counted as row 0",
            "−1 is no passage: it stands where fewer than k were found. Here it counts as the first one.",
            lambda ids, n: _hubs(ids.clamp(min=0), n),
        ),
        Mistake(
            "the first place alone",
            "All k places of a question count, not the first alone.",
            lambda ids, n: _hubs(ids[:, 0], n),
        ),
        Mistake(
            "passages nobody finds left out",
            "One count for each passage, also 0 for those that nobody finds.",
            lambda ids, n: torch.bincount(ids[ids >= 0]),
        ),
        Mistake(
            "found or not", "How often each was found is asked for, not whether.", lambda ids, n: (_hubs(ids, n) > 0).long()
        ),
        Mistake("shares", "Counts (whole numbers) are asked for, not shares.", lambda ids, n: _hubs(ids, n) / len(ids)),
    ),
    hint="Throw −1 away, then count the rows: torch.bincount with minlength.",
)
