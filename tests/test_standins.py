"""Indexes that do not search: chance, given passages, none."""

import pytest
import torch

from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.retrieval.retriever import Retriever
from minirag.retrieval.standins import GivenIndex, RandomIndex, no_passages


def test_random_rows_differ_within_and_repeat_across_calls() -> None:
    index = RandomIndex(8, seed=3)
    scores, ids = index.search(["a", "b"], 10)
    assert [sorted(row)[2:] for row in ids.tolist()] == [list(range(8))] * 2  # every row once, then −1
    assert scores[:, 8:].tolist() == [[-torch.inf] * 2] * 2
    assert index.search(["b"], 10)[1].tolist() == ids[1:].tolist() != ids[:1].tolist()


def test_given_rows_are_found_in_their_order_and_count_alike(tmp_path) -> None:
    passages = PassageStore.write(tmp_path / "passages", [Passage(str(i), f"T{i}", "x") for i in range(4)])
    retriever = Retriever(GivenIndex({"a": [3, 1, 0], "b": [2]}, len(passages)), passages)
    one, other = retriever.search(["a", "b"], 2)
    assert [z.title for z in one.passages] == ["T3", "T1"]
    assert one.probabilities.tolist() == [0.5, 0.5]
    assert [z.title for z in other.passages] == ["T2"]


@pytest.mark.parametrize("rows_of", [{}, {"who?": []}])
def test_a_question_without_passages_is_named(rows_of) -> None:
    with pytest.raises(MiniragError, match="no passage was given for 'who\\?'; give every question its passages"):
        GivenIndex(rows_of, 3).search(["who?"], 1)


def test_the_closed_book_finds_the_empty_passage_whatever_is_asked(tmp_path) -> None:
    found = no_passages(tmp_path / "nothing").search(["a", "b"], 1)
    assert [(z.title, z.text) for one in found for z in one.passages] == [("", "")] * 2
