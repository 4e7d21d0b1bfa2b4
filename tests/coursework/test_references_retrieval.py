"""What the exercises of notebooks 05 and 06 call right is what the package computes, on the cases that the checks draw."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from minirag.corpus.passages import Passage
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.code_lists import looked_up
from minirag.retrieval.ivf import IVFIndex
from minirag.retrieval.kmeans import kmeans
from minirag.retrieval.pq import ProductQuantizer
from minirag.retrieval.retriever import Retrieved, Retriever
from minirag.teaching.checks import (
    check_hard_negatives,
    check_in_batch_loss,
    check_inverse_cloze,
    check_ivf_search,
    check_kmeans_round,
    check_mine,
    check_pq_encode,
    check_pq_scores,
)
from minirag.teaching.checks.exercise import Exercise
from minirag.training.dpr import InBatch, Pair, mine
from minirag.training.dpr_files import Asked, Candidate
from minirag.training.pretrain import inverse_cloze


def drawn(exercise: Exercise, seed: int = 3) -> Iterator[tuple[Any, Any]]:
    """Arguments and what the check expects; those worked by hand, too."""
    yield from exercise.cases(seed)


@pytest.mark.parametrize("seed", range(20))
def test_a_round_of_kmeans(seed: int) -> None:
    """The package starts from points drawn at random; of repeated points that makes empty cells."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randint(-2, 3, (12, 2), generator=generator).float()
    start = kmeans(points, 6, iterations=0, spherical=False, seed=seed)
    cell, moved = check_kmeans_round.reference(points, start)
    assert sorted(set(cell.tolist())) == list(range(6))
    torch.testing.assert_close(moved, kmeans(points, 6, iterations=1, spherical=False, seed=seed))


def test_those_rounds_had_empty_cells() -> None:
    empty = 0
    for seed in range(20):
        points = torch.randint(-2, 3, (12, 2), generator=torch.Generator().manual_seed(seed)).float()
        start = kmeans(points, 6, iterations=0, spherical=False, seed=seed)
        empty += 6 - len(torch.cdist(points, start).argmin(dim=1).unique())
    assert empty > 5


def test_the_search_of_an_inverted_file() -> None:
    for (question, centroids, lists, vectors, k, n_probe), expected in drawn(check_ivf_search):
        index = IVFIndex(vectors.shape[1], len(centroids), n_probe)
        index.use_centroids(centroids)
        index.add(vectors)
        cells = [(index.list_of == c).nonzero()[:, 0].tolist() for c in range(len(centroids))]
        assert cells == lists
        assert index.search(question[None], k)[1][0].equal(expected)


def test_all_lists_probed_is_exact_search() -> None:
    for (question, centroids, lists, vectors, k, _), _ in drawn(check_ivf_search):
        scores = vectors @ question
        best = sorted(range(len(vectors)), key=lambda row: (-float(scores[row]), row))[:k]
        found = check_ivf_search.reference(question, centroids, lists, vectors, k, len(lists))
        assert found.tolist() == best + [-1] * (k - len(best))


def test_scores_by_table() -> None:
    for (question, words, codes), (table, scores) in drawn(check_pq_scores):
        quantizer = ProductQuantizer(torch.eye(len(question)), words)
        torch.testing.assert_close(table, quantizer.tables(question[None])[0])
        places = torch.arange(len(words), dtype=torch.int32) * words.shape[1]
        torch.testing.assert_close(scores, looked_up(codes.to(torch.uint8), table.reshape(-1, 1), places)[:, 0])
        torch.testing.assert_close(scores, quantizer.decode(codes.to(torch.uint8)) @ question, atol=1e-5, rtol=1e-4)


def test_codes() -> None:
    for (vectors, rotation, words), expected in drawn(check_pq_encode):
        assert ProductQuantizer(rotation, words).encode(vectors).equal(expected.to(torch.uint8))


class Table(BiEncoder):
    """Stands in for a bi-encoder: a question and a passage's text are places in tables."""

    def __init__(self, queries: Tensor, passages: Tensor) -> None:
        self.query_encoder = self.passage_encoder = torch.nn.Identity()  # type: ignore[assignment]
        self.queries, self.passages = queries, passages

    def query_vectors(self, questions: Sequence[str]) -> Tensor:
        return self.queries[[int(each) for each in questions]]

    def passage_vectors(self, passages: Sequence[Passage]) -> Tensor:
        return self.passages[[int(each.id) for each in passages]]


def test_the_loss_of_in_batch_negatives() -> None:
    for (queries, passages), expected in drawn(check_in_batch_loss):
        batch = [Pair(str(i), Passage(str(i), "", "")) for i in range(len(queries))]
        total, count = InBatch(Table(queries, passages))(batch)
        assert count == len(queries)
        torch.testing.assert_close(total, expected, atol=1e-4, rtol=1e-4)


def test_the_loss_with_hard_negatives() -> None:
    for (queries, positives, negatives, right), expected in drawn(check_hard_negatives):
        every = torch.cat([positives, negatives.flatten(0, 1)])
        batch, hard = negatives.shape[:2]
        pairs = []
        for i in range(batch):
            own = [Passage(str(batch + i * hard + h), "", "") for h in range(hard)]
            known = frozenset(str(j) for j in right[i].nonzero()[:, 0].tolist())
            pairs.append(Pair(str(i), Passage(str(i), "", ""), tuple(own), known))
        total, _ = InBatch(Table(queries, every))(pairs)
        torch.testing.assert_close(total, expected, atol=1e-4, rtol=1e-4)


class Found(Retriever):
    """Stands in for a retriever: it finds what it was told."""

    def __init__(self, passages: list[Passage]) -> None:
        self.passages = passages

    def search(self, questions: Sequence[str], k: int) -> list[Retrieved]:
        ids = torch.arange(len(self.passages))
        return [Retrieved(question, self.passages[:k], ids[:k], -ids[:k].float()) for question in questions]


def test_mining() -> None:
    for (found, answers, positives, keep, _), expected in drawn(check_mine):
        known = tuple(Candidate(z) for z in found if z.id in positives)
        asked = Asked("?", tuple(answers), known)
        (one,) = mine([asked], Found(found), k=len(found), keep=keep)
        assert [z.passage for z in one.hard_negatives] == expected


class Told(random.Random):
    """Draws what it was told: a place, and whether the sentence stays."""

    def __init__(self, place: int, keep: bool) -> None:
        super().__init__(0)
        self.place, self.keep = place, keep

    def randrange(self, *_: Any) -> int:
        return self.place

    def random(self) -> float:
        return 0.0 if self.keep else 0.99


def test_inverse_cloze() -> None:
    for (passage, place, keep, _), (question, rest) in drawn(check_inverse_cloze):
        made = inverse_cloze(passage, Told(place, keep))
        assert (made.question, made.positive) == (question, rest)
