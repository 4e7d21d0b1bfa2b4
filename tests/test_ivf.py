"""The inverted file: by hand, against faiss on the same centroids, every list probed is exact search; and k-means alone."""

import faiss
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from search_cases import KINDS, assert_equal, awkward_vectors, brute_force

from minirag.errors import MiniragError
from minirag.retrieval import finalists, visits
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.ivf import IVFIndex
from minirag.retrieval.kmeans import assign, kmeans
from minirag.retrieval.vectors import VectorStore

ROWS, DIM, BATCH, K, LISTS = 1_500, 24, 9, 7, 20

both = pytest.mark.parametrize("in_bytes", [True, False], ids=["bytes", "floats"])


def index_of(vectors: torch.Tensor, in_bytes: bool | None = True, n_probe: int = 4, lists: int = LISTS) -> IVFIndex:
    index = IVFIndex(vectors.shape[1], lists, n_probe, in_bytes=in_bytes)
    index.train(vectors, iterations=3)
    index.add(vectors)
    return index


@both
def test_by_hand(in_bytes: bool) -> None:
    index = IVFIndex(2, n_lists=2, n_probe=1, in_bytes=in_bytes)
    index.use_centroids(torch.eye(2))
    index.add(torch.tensor([[4.0, 1.0], [1.0, 9.0], [5.0, 0.0], [0.0, 1.0]]))
    assert index.list_of.tolist() == [0, 1, 0, 1]
    question = torch.tensor([[2.0, 1.0]])  # nearest to list 0, but the best passage, row 1, is in list 1
    assert index.search(question, 2)[1].tolist() == [[2, 0]]
    assert index.search(question, 3, n_probe=2)[1].tolist() == [[1, 2, 0]]
    assert index.search(question, 3, n_probe=2)[0].tolist() == [[11.0, 10.0, 9.0]]


@both
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:.*cannot fill")
def test_every_list_probed_is_exact_search(kind: str, in_bytes: bool) -> None:
    vectors, queries = awkward_vectors(kind, ROWS, DIM), torch.randn(BATCH, DIM)
    index = index_of(vectors, in_bytes, n_probe=LISTS)
    assert_equal(index.search(queries, K), brute_force(vectors, queries, K), vectors, queries)
    exact = ExactIndex(DIM, in_bytes)
    exact.add(vectors)
    assert torch.equal(index.search(queries, K)[1], exact.search(queries, K)[1])


@pytest.mark.parametrize("n_probe", [1, 3, LISTS])
def test_equals_faiss_on_the_same_centroids(n_probe: int) -> None:
    vectors, queries = torch.randn(ROWS, DIM) + 0.5, torch.randn(BATCH, DIM)
    index = index_of(vectors, n_probe=n_probe)
    quantizer = faiss.IndexFlatIP(DIM)
    quantizer.add(index.centroids.numpy())
    peer = faiss.IndexIVFFlat(quantizer, DIM, LISTS, faiss.METRIC_INNER_PRODUCT)
    peer.is_trained, peer.nprobe = True, n_probe
    peer.add(vectors.numpy())
    scores, ids = peer.search(queries.numpy(), K)
    reference = (torch.from_numpy(scores).double(), torch.from_numpy(ids))
    assert_equal(index.search(queries, K), reference, vectors, queries)


@both
def test_one_question_alone_gets_what_it_gets_in_a_batch(in_bytes: bool) -> None:
    vectors, queries = torch.randn(ROWS, DIM), torch.randn(BATCH, DIM)
    index = index_of(vectors, in_bytes)
    for k in (1, K, 400):
        scores, ids = index.search(queries, k)
        for i in range(BATCH):
            alone = index.search(queries[i : i + 1], k)
            assert torch.equal(alone[0][0], scores[i])
            assert torch.equal(alone[1][0], ids[i])


def test_small_tiles_and_thinned_candidates_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("gaussian", "few distinct rows"):
        vectors, queries = awkward_vectors(kind, ROWS, DIM), torch.randn(BATCH, DIM)
        index = index_of(vectors)
        whole = index.search(queries, K)
        with monkeypatch.context() as patch:
            patch.setattr(visits, "CELLS", 700)
            patch.setattr(finalists, "TABLE", 20)
            parts = index.search(queries, K)
        assert torch.equal(whole[0], parts[0])
        assert torch.equal(whole[1], parts[1])


@settings(max_examples=40)
@given(
    rows=st.integers(1, 90), lists=st.integers(1, 6), n_probe=st.integers(1, 8), k=st.integers(1, 9), seed=st.integers(0, 99)
)
@pytest.mark.filterwarnings("ignore:.*cannot fill")
def test_is_the_best_of_the_probed_lists(rows: int, lists: int, n_probe: int, k: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    vectors, queries = torch.randn(rows, 3, generator=generator), torch.randn(2, 3, generator=generator)
    index = index_of(vectors, n_probe=n_probe, lists=lists)
    probed = (queries @ index.centroids.T).topk(min(n_probe, index.n_lists)).indices
    for i, cells in enumerate(probed):
        members = torch.isin(index.list_of, cells).nonzero()[:, 0]
        scores, order = brute_force(vectors[members], queries[i : i + 1], k)
        expected = torch.where(order >= 0, members[order.clamp(min=0)], -1)
        assert_equal(index.search(queries[i : i + 1], k), (scores, expected), vectors, queries[i : i + 1])


@both
def test_replace_moves_rows_between_lists_and_remove_takes_them_out(in_bytes: bool) -> None:
    vectors, queries = torch.randn(ROWS, DIM), torch.randn(BATCH, DIM)
    index = index_of(vectors, in_bytes, n_probe=LISTS)
    index.search(queries, K)
    changed = torch.tensor([0, 77, 1_499])
    vectors[changed] = queries[:3] * 8
    index.replace(changed, vectors[changed])
    assert_equal(index.search(queries, K), brute_force(vectors, queries, K), vectors, queries)
    assert torch.equal(index.list_of[changed], assign(vectors[changed], index.centroids))
    gone = brute_force(vectors, queries, 2)[1].unique()
    index.remove(gone)
    ids = index.search(queries, ROWS)[1]
    assert not torch.isin(ids, gone).any()
    assert (ids == -1).sum(1).tolist() == [len(gone)] * BATCH
    index.replace(gone, vectors[gone])
    assert_equal(index.search(queries, K), brute_force(vectors, queries, K), vectors, queries)


@both
def test_what_inference_mode_filled_searched_or_loaded_can_be_revised_outside_of_it(in_bytes: bool, tmp_path) -> None:
    vectors, queries = torch.randn(ROWS, DIM), torch.randn(2, DIM)
    with torch.inference_mode():
        index = index_of(vectors, in_bytes, n_probe=LISTS)
        index.search(queries, K)
        index.save(tmp_path / "index")
        loaded = IVFIndex.load(tmp_path / "index")
    vectors[77], vectors[7] = queries[0] * 10, -1e3 * queries.sum(0)
    for each in (index, loaded):
        each.replace(torch.tensor([77]), queries[:1] * 10)
        each.remove(torch.tensor([7]))
        assert each.search(queries, 1)[1].tolist() == brute_force(vectors, queries, 1)[1].tolist()


def test_a_store_can_be_trained_on_and_added(tmp_path) -> None:
    vectors, queries = torch.randn(ROWS, DIM), torch.randn(BATCH, DIM)
    store = VectorStore.from_array(tmp_path / "v", vectors, shard_rows=600)
    index = IVFIndex(DIM, LISTS, n_probe=LISTS)
    index.train(store)
    index.add(store)
    assert_equal(index.search(queries, K), brute_force(vectors, queries, K), vectors, queries)


def test_fewer_points_than_lists_warns_and_works() -> None:
    index = IVFIndex(DIM, n_lists=10, n_probe=10)
    with pytest.warns(UserWarning, match="3 points cannot fill 10 cells; using 3 cells"):
        index.train(torch.randn(3, DIM))
    vectors = torch.randn(5, DIM)
    index.add(vectors)
    assert index.n_lists == 3
    assert index.search(vectors, 9)[1].sort().values[:, -5:].tolist() == [[0, 1, 2, 3, 4]] * 5


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (lambda index: IVFIndex(2, 3).add(torch.eye(2)), "no centroids yet; call train"),
        (lambda index: IVFIndex(2, 3).search(torch.eye(2), 1), "no centroids yet"),
        (lambda index: IVFIndex(2, 3).train(torch.empty(0, 2)), "k-means got no points"),
        (lambda index: IVFIndex(2, 0).train(torch.eye(2)), "asked for 0 cells"),
        (lambda index: index.train(torch.eye(2)), "already holds vectors"),
        (lambda index: index.add(torch.tensor([[torch.nan, 1.0]])), "row 0 of the vectors holds NaN"),
        (lambda index: index.search(torch.eye(2), 1, n_probe=0), "n_probe is 0"),
        (lambda index: index.search(torch.eye(2), -1), "k is -1"),
        (lambda index: index.remove(torch.tensor([2])), "there is no row 2"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(action, sentence: str) -> None:
    index = index_of(torch.eye(2), lists=2, n_probe=2)
    with pytest.raises(MiniragError, match=sentence):
        action(index)
    assert index.search(torch.eye(2), 1)[1].tolist() == [[0], [1]]


# k-means


def test_kmeans_by_hand() -> None:
    points = torch.tensor([[0.0], [2.0], [10.0], [12.0]])
    assert sorted(kmeans(points, 2, spherical=False).flatten().tolist()) == [1.0, 11.0]


def test_kmeans_is_as_good_as_faiss() -> None:
    points = torch.nn.functional.normalize(torch.randn(3_000, 16) + 3 * torch.randn(12, 16).repeat(250, 1), dim=1)
    peer = faiss.Kmeans(16, 12, niter=10, spherical=True, seed=1)
    peer.train(points.numpy())
    ours = kmeans(points, 12, iterations=10)

    def fit(centroids: torch.Tensor) -> float:
        return float((points @ centroids.T).amax(1).mean())

    assert fit(ours) > fit(torch.from_numpy(peer.centroids)) - 0.05


def test_spherical_centroids_have_length_one_and_are_the_means_direction() -> None:
    points = torch.randn(400, 5) + 2
    centroids = kmeans(points, 6, iterations=40)
    torch.testing.assert_close(centroids.norm(dim=1), torch.ones(6))
    cell = assign(points, centroids)
    for c in range(6):  # converged: each centroid is the direction of its members' sum
        torch.testing.assert_close(torch.nn.functional.normalize(points[cell == c].sum(0), dim=0), centroids[c])


def test_more_iterations_never_fit_worse() -> None:
    points = torch.randn(500, 8)
    errors = []
    for iterations in (1, 3, 10):
        centroids = kmeans(points, 16, iterations, spherical=False)
        errors.append(torch.cdist(points, centroids).amin(1).square().sum().item())
    assert errors[0] >= errors[1] >= errors[2]


def test_empty_cells_are_repaired() -> None:
    points = torch.cat([torch.zeros(50, 2), torch.tensor([[5.0, 5.0], [-5.0, 5.0], [7.0, -7.0]])])
    centroids = kmeans(points, 4, iterations=8, spherical=False)
    assert torch.bincount(assign(points, centroids, spherical=False), minlength=4).min() > 0
    assert {tuple(row) for row in centroids.tolist()} == {(0.0, 0.0), (5.0, 5.0), (-5.0, 5.0), (7.0, -7.0)}


def test_kmeans_depends_on_nothing_but_its_seed() -> None:
    points = torch.randn(300, 4)
    first = kmeans(points, 5, seed=3)
    torch.rand(10)
    assert torch.equal(kmeans(points, 5, seed=3), first)
    assert not torch.equal(kmeans(points, 5, seed=4), first)
