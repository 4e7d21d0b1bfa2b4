"""Exact search: by hand, against faiss and float64 brute force, and what must hold whatever the data."""

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from search_cases import KINDS, assert_equal, awkward_vectors, brute_force

from minirag.errors import MiniragError
from minirag.retrieval import exact, finalists, scan
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.vectors import VectorStore

ROWS, DIM, BATCH, K = 1_500, 24, 9, 7

both = pytest.mark.parametrize("in_bytes", [True, False], ids=["bytes", "floats"])


def index_of(vectors: torch.Tensor, in_bytes: bool | None = True) -> ExactIndex:
    index = ExactIndex(vectors.shape[1], in_bytes)
    index.add(vectors)
    return index


@both
def test_by_hand(in_bytes: bool) -> None:
    index = index_of(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, -1.0]]), in_bytes)
    scores, ids = index.search(torch.tensor([[2.0, 1.0], [0.0, -3.0]]), k=3)
    assert ids.tolist() == [[2, 0, 1], [3, 0, 1]]
    assert scores.tolist() == [[3.0, 2.0, 1.0], [3.0, 0.0, -3.0]]


@both
@pytest.mark.parametrize("kind", KINDS)
def test_equals_float64_brute_force_on_awkward_data(kind: str, in_bytes: bool) -> None:
    vectors, queries = awkward_vectors(kind, ROWS, DIM), torch.randn(BATCH, DIM)
    queries[0] = 0.0
    assert_equal(index_of(vectors, in_bytes).search(queries, K), brute_force(vectors, queries, K), vectors, queries)


@pytest.mark.parametrize("kind", ["gaussian", "far from the origin"])
def test_equals_faiss(kind: str) -> None:
    vectors, queries = awkward_vectors(kind, ROWS, DIM), torch.randn(BATCH, DIM)
    peer = faiss.IndexFlatIP(DIM)
    peer.add(vectors.numpy())
    scores, ids = peer.search(queries.numpy(), K)
    assert_equal(index_of(vectors).search(queries, K), (torch.tensor(scores).double(), torch.tensor(ids)), vectors, queries)


@both
@settings(max_examples=60)
@given(data=st.data())
def test_is_exact_on_any_small_numbers(in_bytes: bool, data: st.DataObject) -> None:
    numbers = st.floats(-1e6, 1e6, width=32)
    rows, dim, batch = data.draw(st.integers(1, 80)), data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    vectors = torch.from_numpy(data.draw(arrays(np.float32, (rows, dim), elements=numbers)))
    queries = torch.from_numpy(data.draw(arrays(np.float32, (batch, dim), elements=numbers)))
    k = data.draw(st.integers(1, 12))
    assert_equal(index_of(vectors, in_bytes).search(queries, k), brute_force(vectors, queries, k), vectors, queries)


def test_small_chunks_and_thinned_candidates_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("gaussian", "all the same", "few distinct rows"):
        vectors, queries = awkward_vectors(kind, ROWS, DIM), torch.randn(BATCH, DIM)
        whole = index_of(vectors).search(queries, K)
        with monkeypatch.context() as patch:
            patch.setattr(exact, "ROWS", 64)
            patch.setattr(scan.Bytes, "cells", 1)
            patch.setattr(exact, "QUERIES", 4)
            patch.setattr(finalists, "TABLE", 50)
            patch.setattr(finalists, "PAIRS", 3)
            parts = index_of(vectors).search(queries, K)
        assert torch.equal(whole[0], parts[0])
        assert torch.equal(whole[1], parts[1])


@both
def test_ties_go_to_the_lower_id(in_bytes: bool) -> None:
    vectors = torch.randn(1, DIM).repeat(300, 1)
    ids = index_of(vectors, in_bytes).search(vectors[:1], k=5)[1]
    assert ids.tolist() == [[0, 1, 2, 3, 4]]


@both
def test_more_asked_than_there_is(in_bytes: bool) -> None:
    scores, ids = index_of(torch.eye(2), in_bytes).search(torch.tensor([[1.0, 2.0]]), k=4)
    assert ids.tolist() == [[1, 0, -1, -1]]
    assert scores.tolist() == [[2.0, 1.0, -torch.inf, -torch.inf]]


@both
def test_one_vector_no_vector_no_question(in_bytes: bool) -> None:
    one = index_of(torch.tensor([[3.0, 4.0]]), in_bytes)
    assert one.search(torch.tensor([[1.0, 1.0]]), 1)[0].item() == 7.0
    assert one.search(torch.empty(0, 2), 3)[1].shape == (0, 3)
    empty = ExactIndex(2, in_bytes)
    assert empty.search(torch.ones(2, 2), 2)[1].tolist() == [[-1, -1], [-1, -1]]


def test_the_order_of_adding_and_its_portions_change_nothing() -> None:
    vectors, queries = torch.randn(ROWS, DIM), torch.randn(BATCH, DIM)
    index = ExactIndex(DIM, in_bytes=True)
    for part in vectors.split(7):
        index.add(part)
        if len(index) % 5 == 0:
            index.search(queries[:1], 1)  # codes what is there, so that later rows join a half-filled block
    scores, ids = index.search(queries, K)
    whole = index_of(vectors).search(queries, K)
    assert torch.equal(ids, whole[1])
    assert torch.equal(scores, whole[0])


def test_numpy_and_half_precision_are_welcome() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, DIM)).astype(np.float16)
    index = ExactIndex(DIM)
    index.add(vectors)
    assert index.search(vectors[3:4].astype(np.float64) * 10, 50)[1].sort().values.tolist() == [list(range(50))]


def test_arrays_that_may_not_be_written_to_are_welcome_too() -> None:
    vectors = np.eye(3, dtype=np.float32)
    vectors.flags.writeable = False
    index = ExactIndex(3)
    index.add(vectors)
    assert index.search(vectors, 1)[1].flatten().tolist() == [0, 1, 2]


@both
def test_replaced_rows_are_found_and_removed_rows_are_not(in_bytes: bool) -> None:
    vectors, queries = torch.randn(ROWS, DIM), torch.randn(BATCH, DIM)
    index = index_of(vectors, in_bytes)
    index.search(queries, K)
    changed = torch.tensor([5, 700, ROWS - 1])
    new = queries[:3] * 10
    index.replace(changed, new)
    vectors[changed] = new
    assert_equal(index.search(queries, K), brute_force(vectors, queries, K), vectors, queries)
    gone = brute_force(vectors, queries, K)[1][:, 0].unique()
    index.remove(gone)
    ids = index.search(queries, ROWS)[1]
    assert not torch.isin(ids, gone).any()
    assert (ids == -1).sum(1).tolist() == [len(gone)] * BATCH
    alive = torch.ones(ROWS, dtype=torch.bool).index_fill(0, gone, False)
    left = alive.nonzero()[:, 0]
    expected = brute_force(vectors[alive], queries, K)
    assert torch.equal(ids[:, :K], left[expected[1]])
    index.replace(gone, vectors[gone])
    assert_equal(index.search(queries, K), brute_force(vectors, queries, K), vectors, queries)


@both
def test_what_inference_mode_filled_searched_or_loaded_can_be_revised_outside_of_it(in_bytes: bool, tmp_path) -> None:
    vectors, queries = torch.randn(200, DIM), torch.randn(2, DIM)
    with torch.inference_mode():
        index = index_of(vectors, in_bytes)
        index.search(queries, 3)
        index.save(tmp_path / "index")
        loaded = ExactIndex.load(tmp_path / "index")
    vectors[150], vectors[7] = queries[0] * 10, -1e3 * queries.sum(0)
    for each in (index, loaded):
        each.replace(torch.tensor([150]), queries[:1] * 10)
        each.remove(torch.tensor([7]))
        assert each.search(queries, 1)[1].tolist() == brute_force(vectors, queries, 1)[1].tolist()


@both
def test_all_but_one_row_removed(in_bytes: bool) -> None:
    index = index_of(torch.randn(200, DIM), in_bytes)
    index.remove(torch.cat([torch.arange(0, 130), torch.arange(131, 200)]))
    assert index.search(torch.randn(2, DIM), 2)[1].tolist() == [[130, -1], [130, -1]]


def test_a_store_is_searched_where_it_lies_and_can_be_revised(tmp_path) -> None:
    vectors, queries = torch.randn(ROWS, DIM), torch.randn(BATCH, DIM)
    store = VectorStore.from_array(tmp_path / "vectors", vectors, shard_rows=400)
    index = ExactIndex(DIM)
    index.add(store)
    assert_equal(index.search(queries, K), brute_force(vectors, queries, K), vectors, queries)
    extra = torch.randn(100, DIM)
    index.add(extra)
    changed = torch.tensor([3, 399, 1_550])
    index.replace(changed, queries[:3] * 5)
    index.replace(torch.tensor([3]), queries[3:4] * 5)
    vectors = torch.cat([vectors, extra])
    vectors[changed] = queries[:3] * 5
    vectors[3] = queries[3] * 5
    assert_equal(index.search(queries, K), brute_force(vectors, queries, K), vectors, queries)
    assert torch.equal(VectorStore.open(tmp_path / "vectors")[3], store[3])  # the file itself was not touched


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (lambda index: index.add(torch.tensor([[1.0, 2.0], [torch.nan, 0.0]])), "row 1 of the vectors holds NaN"),
        (lambda index: index.add(torch.tensor([[torch.inf, 0.0]])), "row 0 of the vectors holds NaN or infinity"),
        (lambda index: index.add(torch.ones(1, 3)), "have 3 dimensions, the index 2"),
        (lambda index: index.search(torch.tensor([[torch.nan, 0.0]]), 1), "row 0 of the questions holds NaN"),
        (lambda index: index.search(torch.ones(1, 5), 1), "the questions have 5 dimensions"),
        (lambda index: index.search(torch.ones(1, 2), 0), "k is 0"),
        (lambda index: index.replace(torch.tensor([9]), torch.ones(1, 2)), "there is no row 9"),
        (lambda index: index.replace(torch.tensor([0, 0]), torch.ones(2, 2)), "same id twice"),
        (lambda index: index.replace(torch.tensor([0]), torch.ones(2, 2)), "1 ids but 2 vectors"),
        (lambda index: index.remove(torch.tensor([-1])), "there is no row -1"),
        (lambda index: index.remove(torch.tensor([1, 1])), "same id twice"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(action, sentence: str) -> None:
    index = index_of(torch.eye(2))
    with pytest.raises(MiniragError, match=sentence):
        action(index)
    assert index.search(torch.eye(2), 1)[1].tolist() == [[0], [1]]  # and nothing is lost


def test_a_row_cannot_be_removed_twice() -> None:
    index = index_of(torch.eye(2))
    index.remove(torch.tensor([1]))
    with pytest.raises(MiniragError, match="row 1 was removed before"):
        index.remove(torch.tensor([1]))


def test_the_margin_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted mistake: without the error bound the scan loses neighbours, and these tests would see it."""
    vectors, queries = torch.randn(ROWS, DIM), torch.randn(200, DIM)
    whole = scan.Bytes.encode

    def careless(coder: scan.Bytes, rows: torch.Tensor, block: int) -> scan.Codes:
        codes = whole(coder, rows, block)
        return scan.Codes(codes.values, codes.step, codes.error * 0, codes.reach * 0)

    monkeypatch.setattr(scan.Bytes, "encode", careless)
    found = index_of(vectors).search(queries, K)[1]
    assert not torch.equal(found, brute_force(vectors, queries, K)[1])
