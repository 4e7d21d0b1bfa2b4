"""The faiss adapter: equal to a product computed in full, whatever the kind; and its files are checked."""

import math

import numpy as np
import pytest
import torch

from minirag.errors import MiniragError
from minirag.retrieval.bm25 import BM25Index
from minirag.retrieval.faiss_index import FaissIndex

SMALL_GRAPH = {"links": 16, "ef_construction": 40, "ef_search": 400}
EXHAUSTIVE = [("flat", {}), ("ivf", {"n_lists": 8, "n_probe": 8}), ("hnsw", SMALL_GRAPH)]


@pytest.fixture
def vectors():
    return torch.randn(300, 16) * torch.linspace(0.2, 3, 300)[:, None]  # of very different lengths: L2 and product disagree


@pytest.fixture
def queries():
    return torch.randn(20, 16)


def filled(kind: str, vectors, **settings) -> FaissIndex:
    index = FaissIndex(kind, **settings)
    index.add(vectors)
    return index


@pytest.mark.parametrize(("kind", "settings"), EXHAUSTIVE)
def test_by_hand(kind, settings):
    vectors = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    settings = {**settings, "n_lists": 1} if kind == "ivf" else settings
    scores, ids = filled(kind, vectors, **settings).search(torch.tensor([[1.0, 1.0], [-1.0, 1.0]]), k=5)
    assert ids.tolist() == [[2, 1, 0, -1, -1], [1, 0, 2, -1, -1]]
    assert scores.tolist() == [[4, 2, 1, -math.inf, -math.inf], [2, -1, -2, -math.inf, -math.inf]]
    assert (scores.dtype, ids.dtype) == (torch.float32, torch.int64)


@pytest.mark.parametrize(("kind", "settings"), EXHAUSTIVE)
def test_equals_the_full_product(kind, settings, vectors, queries):
    scores, ids = filled(kind, vectors, **settings).search(queries, k=10)
    expected = (queries.double() @ vectors.double().T).topk(10)
    assert torch.equal(ids, expected.indices)
    torch.testing.assert_close(scores.double(), expected.values, rtol=1e-5, atol=1e-5)


def test_numpy_half_precision_and_strided_input_are_taken(vectors, queries):
    expected = filled("flat", vectors).search(queries, k=3)
    for same in (vectors.numpy(), vectors.double(), vectors.T.contiguous().T, vectors.clone().requires_grad_()):
        assert torch.equal(filled("flat", same).search(queries.numpy(), k=3)[1], expected[1])
    half = vectors.bfloat16()
    assert torch.equal(filled("flat", half).search(queries, k=3)[1], filled("flat", half.float()).search(queries, k=3)[1])


def test_given_centroids_are_the_cells(vectors, queries):
    centroids = torch.nn.functional.normalize(torch.randn(6, 16), dim=1)
    scores, ids = filled("ivf", vectors, centroids=centroids, n_probe=2).search(queries, k=300)
    cells = (vectors @ centroids.T).argmax(1)  # [N]
    probed = (queries @ centroids.T).topk(2).indices  # [B, 2]
    for row in range(len(queries)):
        reachable = torch.isin(cells, probed[row]).nonzero().flatten()
        assert set(ids[row].tolist()) - {-1} == set(reachable.tolist())
        assert scores[row][ids[row] < 0].eq(-torch.inf).all()


def test_ivf_learns_unit_centroids_of_its_own(vectors):
    index = filled("ivf", vectors, n_lists=8)
    centroids = index._index.quantizer.reconstruct_n(0, 8)
    assert np.linalg.norm(centroids, axis=1) == pytest.approx(np.ones(8), rel=1e-5)


def test_ivf_with_fewer_vectors_than_lists_says_so(vectors):
    with pytest.warns(UserWarning, match="5 vectors cannot fill 512 lists; using 5"):
        index = filled("ivf", vectors[:5])
    assert index.search(vectors[:1], k=5)[1].sort().values.tolist() == [[0, 1, 2, 3, 4]]


def test_the_papers_own_hnsw(vectors, queries):
    index = filled("hnsw", vectors)
    graph = index._index
    assert (graph.d, graph.hnsw.efConstruction, graph.hnsw.efSearch) == (17, 200, 128)
    assert graph.hnsw.nb_neighbors(1) == 512
    stored = graph.storage.reconstruct_n(0, 300)
    assert np.linalg.norm(stored, axis=1) == pytest.approx(np.full(300, vectors.norm(dim=1).max()), rel=1e-5)
    assert torch.equal(index.search(queries, k=5)[1], (queries @ vectors.T).topk(5).indices)


def test_hnsw_scores_keep_their_digits():
    """Long queries against long vectors: |q|² + φ − d² would lose the small product entirely."""
    vectors = torch.tensor([[3e4, 1.0], [-3e4, 1.0]])
    scores, _ = filled("hnsw", vectors, **SMALL_GRAPH).search(torch.tensor([[0.0, 1.0]]), k=2)
    assert scores.tolist() == [[1.0, 1.0]]


def test_hnsw_in_pieces_needs_the_longest_first(vectors, queries):
    index = FaissIndex("hnsw", **SMALL_GRAPH)
    index.train(vectors)
    index.add(vectors[:100])
    index.add(vectors[100:])
    assert torch.equal(index.search(queries, k=5)[1], (queries @ vectors.T).topk(5).indices)
    with pytest.raises(MiniragError, match="vector 1 is longer than any the HNSW was trained on"):
        index.add(torch.stack([vectors[0], vectors[299] * 50]))
    assert len(index) == 300


def test_duplicates_are_all_found(vectors):
    twice = torch.cat([vectors[:50], vectors[:50]])
    for kind, settings in EXHAUSTIVE:
        ids = filled(kind, twice, **settings).search(twice[49:50], k=100)[1]
        assert sorted(ids[0].tolist()) == list(range(100))


def test_one_vector_and_none(queries):
    assert filled("flat", torch.ones(1, 16)).search(queries, k=2)[1].tolist() == [[0, -1]] * 20
    scores, ids = FaissIndex("hnsw").search(queries, k=2)
    assert (ids == -1).all()
    assert (scores == -torch.inf).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused(vectors, bad):
    broken = vectors.clone()
    broken[7, 3] = bad
    for kind, _ in EXHAUSTIVE:
        with pytest.raises(MiniragError, match="vector 7 holds NaN or infinity"):
            filled(kind, broken)
        with pytest.raises(MiniragError, match="vector 7"):
            filled("flat", vectors).search(broken[:8], k=1)


def test_shapes_kind_and_k_are_checked(vectors):
    index = filled("flat", vectors)
    with pytest.raises(MiniragError, match="do not fit an index of width 16"):
        index.add(torch.ones(2, 15))
    with pytest.raises(MiniragError, match="do not fit an index of width 16"):
        index.search(torch.ones(2, 17), k=1)
    with pytest.raises(MiniragError, match="at least one vector"):
        index.search(vectors, k=0)
    with pytest.raises(MiniragError, match="choose flat, ivf or hnsw"):
        FaissIndex("lsh")


class TestDisk:
    @pytest.mark.parametrize(("kind", "settings"), EXHAUSTIVE)
    def test_a_loaded_index_answers_alike_and_grows(self, kind, settings, vectors, queries, tmp_path):
        index = filled(kind, vectors[100:], **settings)
        index.save(tmp_path / "index")
        loaded = FaissIndex.load(tmp_path / "index")
        for ours, theirs in zip(loaded.search(queries, 9), index.search(queries, 9), strict=True):
            assert torch.equal(ours, theirs)
        loaded.add(vectors[:100])  # the shorter ones
        assert len(loaded) == 300

    def test_n_probe_survives(self, vectors, queries, tmp_path):
        index = filled("ivf", vectors, n_lists=8, n_probe=1)
        index.save(tmp_path / "index")
        assert torch.equal(FaissIndex.load(tmp_path / "index").search(queries, 99)[1], index.search(queries, 99)[1])

    @pytest.mark.parametrize("damage", ["flip", "cut", "delete"])
    def test_damage_is_refused(self, vectors, tmp_path, damage):
        filled("flat", vectors).save(tmp_path / "index")
        path = tmp_path / "index" / "index.faiss"
        raw = bytearray(path.read_bytes())
        raw[1000] ^= 1
        path.write_bytes(raw if damage == "flip" else raw[:1000])
        if damage == "delete":
            path.unlink()
        with pytest.raises(MiniragError, match=r"index\.faiss is missing or not as it was written"):
            FaissIndex.load(tmp_path / "index")

    def test_foreign_and_empty(self, tmp_path):
        with pytest.raises(MiniragError, match="does not exist"):
            FaissIndex.load(tmp_path)
        BM25Index().save(tmp_path / "bm25")
        with pytest.raises(MiniragError, match="holds 'bm25', not 'faiss'"):
            FaissIndex.load(tmp_path / "bm25")
        with pytest.raises(MiniragError, match="nothing to save"):
            FaissIndex().save(tmp_path / "index")


class TestRevision:
    @pytest.mark.parametrize("kind", ["flat", "ivf"])
    def test_replaced_rows_are_found_and_removed_ones_are_not(self, kind, tmp_path):
        vectors = torch.randn(300, 8)
        index = FaissIndex(kind, n_lists=4, n_probe=4)
        index.add(vectors)
        index.remove(torch.tensor([0, 7]))
        index.replace(torch.tensor([7, 20]), torch.stack([vectors[0] * 9, vectors[1] * 9]))
        index.save(tmp_path / "index")
        for each in (index, FaissIndex.load(tmp_path / "index")):
            assert len(each) == 300
            assert each.search(vectors[:2], 1)[1].flatten().tolist() == [7, 20]
            assert 0 not in each.search(vectors[:1], 300)[1].tolist()[0]
            each.add(vectors[2:3] * 99)
            assert each.search(vectors[2:3], 1)[1].item() == 300

    def test_what_cannot_be_revised_is_refused(self):
        index = FaissIndex("flat")
        index.add(torch.eye(3))
        with pytest.raises(MiniragError, match="there is no row 3"):
            index.remove(torch.tensor([3]))
        with pytest.raises(MiniragError, match="same id twice"):
            index.replace(torch.tensor([1, 1]), torch.eye(3)[:2])
        with pytest.raises(MiniragError, match="1 ids but 2 vectors"):
            index.replace(torch.tensor([1]), torch.eye(3)[:2])
        index.remove(torch.tensor([1]))
        with pytest.raises(MiniragError, match="removed before"):
            index.remove(torch.tensor([1]))
        graph = FaissIndex("hnsw", links=4)
        graph.add(torch.eye(3))
        with pytest.raises(MiniragError, match="cannot take rows out of an HNSW graph"):
            graph.remove(torch.tensor([0]))
