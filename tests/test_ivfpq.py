"""IVF-PQ: equal to a reference written from the definition, to faiss on the same codes, to exact search where it must be."""

import warnings
from pathlib import Path

import faiss
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from search_cases import assert_equal, brute_force
from torch import Tensor

from minirag.errors import MiniragError
from minirag.retrieval import code_lists, code_scan, visits
from minirag.retrieval.ivfpq import IVFPQIndex
from minirag.retrieval.kmeans import assign
from minirag.retrieval.pq import ProductQuantizer
from minirag.retrieval.vectors import VectorStore

ROWS, DIM, LISTS, PIECES, K, BATCH = 3_000, 16, 12, 4, 10, 40


def clustered(rows: int = ROWS, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centers = 2 * torch.randn(30, DIM, generator=generator)
    return centers[torch.randint(0, 30, (rows,), generator=generator)] + 0.6 * torch.randn(rows, DIM, generator=generator)


@pytest.fixture(scope="module")
def trained() -> tuple[Tensor, Tensor, ProductQuantizer]:
    index = IVFPQIndex(DIM, LISTS, pieces=PIECES)
    index.train(clustered())
    return index.centroids, index.anchors, index.quantizer


def index_of(trained: tuple[Tensor, Tensor, ProductQuantizer], vectors: Tensor | VectorStore, **options: int) -> IVFPQIndex:
    index = IVFPQIndex(DIM, LISTS, pieces=PIECES, **options)
    index.use(*trained)
    index.add(vectors)
    return index


def by_definition(index: IVFPQIndex, vectors: Tensor, queries: Tensor, k: int, n_probe: int) -> tuple[Tensor, Tensor]:
    """q·(a + decoded residual) of the rows in the lists probed, the best k of them."""
    cells = assign(vectors, index.centroids)
    coded = index.anchors[cells] + index.quantizer.decode(index.quantizer.encode(vectors - index.anchors[cells]))
    scores = queries.double() @ coded.double().T  # [B, N]
    probes = (queries @ index.centroids.T).topk(n_probe).indices  # [B, P]
    scores[~(cells[None, None] == probes[:, :, None]).any(1)] = -torch.inf
    best = scores.sort(dim=1, descending=True, stable=True)
    ids = best.indices[:, :k]
    return best.values[:, :k], ids.masked_fill(best.values[:, :k] == -torch.inf, -1)


@pytest.mark.parametrize("batch", [1, 3, BATCH])
@pytest.mark.parametrize("n_probe", [1, 4, LISTS])
def test_scores_of_codes_are_those_of_the_definition(trained, batch: int, n_probe: int) -> None:
    vectors, queries = clustered(), clustered(batch, seed=1)
    index = index_of(trained, vectors, finalists=0)
    scores, ids = index.search(queries, K, n_probe)
    expected, rows = by_definition(index, vectors, queries, K, n_probe)
    assert torch.allclose(scores.double(), expected, atol=1e-4)
    assert (ids == rows).float().mean() > 0.95  # rows of one code tie, and float32 may part them


def test_one_by_one_and_list_by_list_find_the_same(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = clustered(BATCH, seed=1)
    index, found = index_of(trained, clustered(), finalists=0), []
    for way in ((0, 1), (1, 0)):
        monkeypatch.setattr(code_scan, "lookups", lambda lists, probes, way=way: way)
        found.append(index.search(queries, K))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-4)
    assert (found[0][1] == found[1][1]).float().mean() > 0.95


def test_equals_faiss_on_the_same_centroids_and_codewords() -> None:
    vectors, queries = clustered(), clustered(BATCH, seed=1)
    quantizer = faiss.IndexFlatIP(DIM)
    peer = faiss.IndexIVFPQ(quantizer, DIM, LISTS, PIECES, 8, faiss.METRIC_INNER_PRODUCT)
    peer.train(vectors.numpy())
    peer.add(vectors.numpy())
    peer.nprobe = 4
    centroids = torch.from_numpy(quantizer.reconstruct_n(0, LISTS))
    books = torch.from_numpy(faiss.vector_to_array(peer.pq.centroids)).view(PIECES, 256, -1)
    index = IVFPQIndex(DIM, LISTS, 4, PIECES, finalists=0)
    index.use(centroids, centroids, ProductQuantizer(torch.eye(DIM), books))
    index.add(vectors)
    scores, ids = index.search(queries, K)
    theirs, rows = peer.search(queries.numpy(), K)
    assert torch.allclose(scores, torch.from_numpy(theirs), atol=1e-4)
    assert (ids == torch.from_numpy(rows)).float().mean() > 0.95


def test_with_every_row_a_finalist_the_search_is_exact(trained) -> None:
    vectors, queries = clustered(), clustered(BATCH, seed=1)
    index = index_of(trained, vectors, n_probe=LISTS, finalists=ROWS)
    assert_equal(index.search(queries, K), brute_force(vectors, queries, K), vectors, queries)
    few = index.search(queries[:1], ROWS + 5)
    assert few[1][0, ROWS:].tolist() == [-1] * 5
    assert few[0][0, ROWS:].isinf().all()


def test_finalists_buy_recall_back(trained) -> None:
    vectors, queries = clustered(), clustered(200, seed=1)
    truth = brute_force(vectors, queries, K)[1]
    index = index_of(trained, vectors, n_probe=LISTS)

    def recall(finalists: int) -> float:
        return float((index.search(queries, K, finalists=finalists)[1][:, :, None] == truth[:, None]).any(2).float().mean())

    assert recall(0) < recall(20) < recall(200)
    assert recall(200) > 0.99


def test_small_tiles_and_chunks_change_nothing(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    queries, index = clustered(BATCH, seed=1), index_of(trained, clustered())
    whole = index.search(queries, K)
    monkeypatch.setattr(visits, "CELLS", 700)
    monkeypatch.setattr(code_lists, "CHUNK", 50)
    assert all(torch.equal(one, other) for one, other in zip(whole, index.search(queries, K), strict=True))


def test_added_in_parts_or_at_once_is_the_same(trained) -> None:
    vectors, queries = clustered(), clustered(BATCH, seed=1)
    whole, parts = index_of(trained, vectors), index_of(trained, vectors[:2_000])
    parts.search(queries, K)
    for low in range(2_000, ROWS, 100):  # so little at a time that it is kept beside the rest first
        parts.add(vectors[low : low + 100])
        assert len(parts.prepare()) <= 2
    assert all(torch.equal(*pair) for pair in zip(whole.search(queries, K), parts.search(queries, K), strict=True))


def test_revised_rows_are_found_where_they_are_now(trained) -> None:
    vectors, queries = clustered(), clustered(BATCH, seed=1)
    index = index_of(trained, vectors, n_probe=LISTS, finalists=ROWS)
    index.search(queries, K)
    changed, gone = torch.arange(0, 500, 7), torch.arange(1, 2_000, 3)
    vectors[changed] = clustered(len(changed), seed=2)
    index.replace(changed, vectors[changed])
    index.remove(gone)
    left = vectors.clone()
    left[gone] = -1e4 * queries.mean(0)  # far below all others
    alive = torch.ones(ROWS, dtype=torch.bool)
    alive[gone] = False
    scores = (queries.double() @ vectors.double().T).masked_fill(~alive, -torch.inf)
    assert torch.equal(index.search(queries, 1)[1][:, 0], scores.argmax(1))
    index.replace(gone[:5], vectors[gone[:5]])  # a removed row comes back
    assert bool(torch.isin(gone[:5], index.search(vectors[gone[:5]], ROWS)[1]).all())


def test_removed_rows_do_not_take_the_finalists_places(trained) -> None:
    vectors, queries = clustered(), clustered(1, seed=1)
    index = index_of(trained, vectors, n_probe=LISTS, finalists=20)
    best = brute_force(vectors, queries, 400)[1][0]
    index.remove(best)
    assert (index.search(queries, 20)[1] >= 0).all()


def test_a_list_without_rows_and_rows_fewer_than_k(trained) -> None:
    index = index_of(trained, clustered()[:3], n_probe=LISTS)
    scores, ids = index.search(clustered(2, seed=1), 5)
    assert ids[:, 3:].tolist() == [[-1, -1]] * 2
    assert scores[:, 3:].isinf().all()
    assert ids[:, :3].sort(1).values.tolist() == [[0, 1, 2]] * 2
    empty = IVFPQIndex(DIM, LISTS, pieces=PIECES)
    empty.use(*trained)
    empty.add(torch.empty(0, DIM))
    assert empty.search(clustered(2, seed=1), 3)[1].tolist() == [[-1] * 3] * 2
    assert index.search(torch.empty(0, DIM), 3)[1].shape == (0, 3)


def test_saved_loaded_revised_and_saved_again(trained, tmp_path: Path) -> None:
    vectors, queries = clustered(), clustered(BATCH, seed=1)
    store = VectorStore.from_array(tmp_path / "vectors", vectors, "float16", shard_rows=1_000)
    index = index_of(trained, store)
    index.save(tmp_path / "index")
    loaded = IVFPQIndex.load(tmp_path / "index")
    assert all(torch.equal(*pair) for pair in zip(index.search(queries, K), loaded.search(queries, K), strict=True))
    loaded.replace(torch.tensor([5, 6]), vectors[[6, 5]])
    loaded.remove(torch.tensor([7]))
    loaded.save(tmp_path / "revised")
    again = IVFPQIndex.load(tmp_path / "revised")
    assert all(torch.equal(*pair) for pair in zip(again.search(queries, K), loaded.search(queries, K), strict=True))
    assert 7 not in again.search(vectors[7:8], ROWS)[1]
    assert 7 in IVFPQIndex.load(tmp_path / "index").search(vectors[7:8], ROWS)[1]  # whose files nobody touched


def test_what_inference_mode_filled_can_be_revised_outside_of_it(trained, tmp_path: Path) -> None:
    with torch.inference_mode():
        index = index_of(trained, clustered())
        index.search(clustered(BATCH, seed=1), K)
        index.save(tmp_path / "index")
        loaded = IVFPQIndex.load(tmp_path / "index")
    for one in (index, loaded):
        one.replace(torch.tensor([3]), torch.ones(1, DIM))
        one.remove(torch.tensor([4]))
        assert one.search(clustered(BATCH, seed=1), K)[1].shape == (BATCH, K)
        found = one.search(torch.ones(1, DIM), ROWS, n_probe=LISTS)[1]
        assert 3 in found
        assert 4 not in found


@settings(max_examples=20)
@given(st.integers(1, 400), st.integers(1, LISTS), st.integers(1, 30), st.integers(1, 60), st.integers(0, 99))
def test_exact_among_the_lists_probed(trained, rows: int, n_probe: int, batch: int, k: int, seed: int) -> None:
    vectors, queries = clustered(rows, seed), clustered(batch, seed + 1)
    index = index_of(trained, vectors, finalists=rows)
    cells = assign(vectors, index.centroids)
    probes = (queries @ index.centroids.T).topk(n_probe).indices
    scores = queries.double() @ vectors.double().T
    scores[~(cells[None, None] == probes[:, :, None]).any(1)] = -torch.inf
    best = scores.sort(dim=1, descending=True, stable=True)
    expected = torch.nn.functional.pad(best.values, (0, k), value=-torch.inf)[:, :k]
    ids = torch.nn.functional.pad(best.indices, (0, k), value=-1)[:, :k].masked_fill(expected == -torch.inf, -1)
    assert_equal(index.search(queries, k, n_probe), (expected, ids), vectors, queries)


def test_one_vector_and_equal_vectors_and_zeros_are_coded() -> None:
    for vectors in (torch.ones(1, DIM), torch.ones(400, DIM), torch.zeros(400, DIM)):
        index = IVFPQIndex(DIM, 1, pieces=PIECES)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "1 vectors cannot fill 256 codewords")
            index.train(vectors)
        index.add(vectors)
        scores, ids = index.search(torch.ones(1, DIM), 3)
        assert scores[0, 0] == vectors[0].sum()
        assert (ids[0] >= 0).sum() == min(len(vectors), 3)


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (lambda _: IVFPQIndex(DIM, 2, pieces=5), "16 numbers cannot be cut into 5 equal pieces"),
        (lambda _: IVFPQIndex(DIM, 2, pieces=4).add(torch.ones(1, DIM)), "no centroids yet; call train"),
        (lambda index: index.search(torch.ones(1, DIM), 0), "k is 0"),
        (lambda index: index.search(torch.ones(1, DIM), 1, n_probe=0), "probe one list or more"),
        (lambda index: index.search(torch.ones(1, DIM), 1, finalists=-1), "finalists -1"),
        (lambda index: index.search(torch.ones(1, 3), 1), "3 dimensions, the index 16"),
        (lambda index: index.add(torch.full((1, DIM), torch.nan)), "NaN"),
        (lambda index: index.train(torch.ones(40, DIM)), "already holds vectors"),
        (lambda _: IVFPQIndex(DIM, 2, pieces=4).train(1e18 * torch.randn(40, DIM)), "their squares are infinite; scale them"),
        (lambda index: index.remove(torch.tensor([ROWS])), "there is no row 3000"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*cannot fill")
def test_bad_input_is_refused_in_one_sentence(trained, action, sentence: str) -> None:
    with pytest.raises(MiniragError, match=sentence):
        action(index_of(trained, clustered()))
