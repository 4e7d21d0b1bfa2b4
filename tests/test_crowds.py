"""Crowds: every list that is probed once, with the questions that probe it, and few enough of them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minirag.retrieval import crowds
from minirag.retrieval.crowds import Crowd
from minirag.retrieval.visits import Visits


def crowds_of(probes: list[list[int]], lists: int) -> list[Crowd]:
    seen = Visits.of(torch.arange(lists + 1), torch.tensor(probes))
    return list(crowds.crowds(seen, torch.tensor(probes)))


@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 9), st.randoms(use_true_random=False))
def test_all_pairs_of_question_and_list_are_served_once(lists, probed, questions, chance) -> None:
    probes = [chance.sample(range(lists), min(probed, lists)) for _ in range(questions)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crowds, "CROWD", 4)
        found = crowds_of(probes, lists)
    served = [
        (crowd.asking[lane], cell)
        for crowd in found
        for cell, lanes in zip(crowd.cells, crowd.lanes, strict=True)
        for lane in lanes.tolist()
    ]
    assert sorted(served) == sorted((question, cell) for question, cells in enumerate(probes) for cell in cells)
    for crowd in found:
        assert len(set(crowd.asking)) == len(crowd.asking)
        assert len(crowd.asking) <= 4 or len(crowd.cells) == 1


def test_questions_of_one_subject_share_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowds, "CROWD", 2)
    rivers, kings = [0, 1, 2], [3, 4, 5]
    found = crowds_of([rivers, kings, rivers[::-1], kings], 6)  # the third has another best list than the first
    assert [(sorted(crowd.cells), sorted(crowd.asking)) for crowd in found] == [(rivers, [0, 2]), (kings, [1, 3])]
