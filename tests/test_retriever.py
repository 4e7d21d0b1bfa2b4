"""Question to passages: the right text at the right rank, fewer hits than asked, nothing mixed that does not fit."""

import pytest
import torch

from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.retrieval.bm25 import BM25Index
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.retriever import Retriever
from minirag.retrieval.vectors import VectorStore

WORDS = ("red", "green", "blue")


class ColourEncoder:
    """Counts three words: an encoder whose every answer can be read off."""

    fingerprint = "colours"

    def encode_queries(self, questions) -> torch.Tensor:
        return torch.tensor([[float(question.split().count(word)) for word in WORDS] for question in questions])


@pytest.fixture
def passages(tmp_path) -> PassageStore:
    texts = ["green green", "red blue", "blue"]
    return PassageStore.write(tmp_path / "passages", [Passage(f"p{i}", f"title {i}", text) for i, text in enumerate(texts)])


def vectors(passages: PassageStore) -> torch.Tensor:
    return ColourEncoder().encode_queries([passage.text for passage in passages.take(range(len(passages)))])


def test_passages_come_best_first_with_their_probabilities(passages) -> None:
    index = ExactIndex(3)
    index.add(vectors(passages))
    blue, green = Retriever(index, passages, ColourEncoder()).search(["blue blue red", "green"], k=2)
    assert [passage.id for passage in blue.passages] == ["p1", "p2"]
    assert blue.rows.tolist() == [1, 2]
    assert blue.scores.tolist() == [3.0, 2.0]
    torch.testing.assert_close(blue.probabilities, torch.tensor([0.7311, 0.2689]), atol=1e-4, rtol=0)
    assert green.passages[0] == passages[0]


def test_fewer_passages_than_asked_for(passages) -> None:
    index = ExactIndex(3)
    index.add(vectors(passages))
    index.remove(torch.tensor([2]))
    found = Retriever(index, passages, ColourEncoder()).search(["blue"], k=10)[0]
    assert [passage.id for passage in found.passages] == ["p1", "p0"]
    assert found.probabilities.sum() == pytest.approx(1.0)


def test_bm25_takes_the_text_itself(passages) -> None:
    index = BM25Index()
    index.add(passages.take(range(3)))
    found = Retriever(index, passages).search(["green", "nothing of the kind"], k=3)
    assert [passage.id for passage in found[0].passages] == ["p0"]
    assert found[1].passages == []


def test_what_does_not_belong_together_is_refused(passages, tmp_path) -> None:
    index = ExactIndex(3)
    index.add(torch.eye(3)[:2])
    with pytest.raises(MiniragError, match="has 2 rows, there are 3 passages"):
        Retriever(index, passages, ColourEncoder())
    for names, sentence in (
        ({"encoder": "other", "passages": passages.fingerprint}, "another encoder's vectors"),
        ({"encoder": "colours", "passages": "other"}, "built on other passages"),
    ):
        store = VectorStore.from_array(tmp_path / "vectors", vectors(passages), **names)
        index = ExactIndex(3)
        index.add(store)
        index.save(tmp_path / "index")
        with pytest.raises(MiniragError, match=sentence):
            Retriever(ExactIndex.load(tmp_path / "index"), passages, ColourEncoder())


def test_an_empty_question_is_refused(passages) -> None:
    index = ExactIndex(3)
    index.add(vectors(passages))
    with pytest.raises(MiniragError, match="question 1 is empty"):
        Retriever(index, passages, ColourEncoder()).search(["red", " "], k=1)


def test_vectors_without_an_encoder_are_refused(passages) -> None:
    index = ExactIndex(len(WORDS))
    index.add(vectors(passages))
    with pytest.raises(MiniragError, match="give the encoder that made the vectors"):
        Retriever(index, passages)
