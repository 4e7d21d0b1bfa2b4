"""Who can be served together: lists that mostly the same questions probe.

Product codes are looked up in tables, one for each question, and the tables of up to `CROWD` questions lie side by side. Then
one set of tables does for all lists that nobody else probes. Questions of one subject probe the same lists, so there are far
fewer sets than lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from minirag.retrieval.visits import Visits

CROWD = 64  # questions; for more, tables outgrow the processor's caches (measured, M = 64)


@dataclass(frozen=True)
class Crowd:
    """Lists, the questions that probe any of them, and for each list which of these probe it, in the order of its pairs."""

    cells: list[int]
    asking: list[int]
    lanes: list[Int64[Tensor, " _"]]


def crowds(visits: Visits, probes: Int64[Tensor, "B P"]) -> Iterator[Crowd]:
    """Every list that is probed, in crowds of at most `CROWD` questions, but that a list's own are always together.

    >>> probes = torch.tensor([[0, 1], [2, 3], [1, 0]])
    >>> visits = Visits.of(torch.tensor([0, 1, 2, 3, 4]), probes)
    >>> [(crowd.cells, crowd.asking) for crowd in crowds(visits, probes)]
    [([0, 1, 2, 3], [0, 2, 1])]
    """
    counts = torch.tensor(visits.counts)  # [C]
    rank = probes[:, 0].argsort(stable=True).argsort()  # [B] questions with the same best list stand side by side
    of_pair = torch.arange(len(counts)).repeat_interleave(counts)  # [pairs] its list
    middle = (
        torch.zeros_like(counts).index_add_(0, of_pair, rank[visits.asking]) / counts
    ).tolist()  # [C] of a list's questions
    asking = visits.asking.split(visits.counts)
    cells, lanes, lane = list[int](), list[Int64[Tensor, " _"]](), dict[int, int]()  # a question's place
    for cell in sorted((cell for cell, count in enumerate(visits.counts) if count), key=middle.__getitem__):
        some = asking[cell].tolist()
        new = [question for question in some if question not in lane]
        if cells and len(lane) + len(new) > CROWD:
            yield Crowd(cells, list(lane), lanes)
            cells, lanes, lane, new = [], [], {}, some
        lane |= {question: len(lane) + number for number, question in enumerate(new)}
        cells.append(cell)
        lanes.append(torch.tensor([lane[question] for question in some]))
    if cells:
        yield Crowd(cells, list(lane), lanes)
