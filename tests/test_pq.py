"""Product quantisation: codes, tables and rotation against hand-worked cases, faiss, and what must hold of any data."""

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.errors import MiniragError
from minirag.retrieval.pq import ProductQuantizer, dealt_components

DIM, PIECES = 16, 4


def points(n: int = 600, seed: int = 0) -> torch.Tensor:
    """Vectors whose dimensions differ in spread and hang together."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.linspace(2.0, 0.1, DIM)
    turn = torch.linalg.qr(torch.randn(DIM, DIM, generator=generator)).Q
    return torch.randn(n, DIM, generator=generator) * spread @ turn + 1.0


def lost(pq: ProductQuantizer, vectors: torch.Tensor) -> float:
    return float((pq.decode(pq.encode(vectors)) - vectors).square().sum())


def test_a_code_by_hand() -> None:
    books = torch.tensor([[[0.0, 0.0], [4.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]]])
    pq = ProductQuantizer(torch.eye(4), books)
    codes = pq.encode(torch.tensor([[3.0, 2.0, 0.2, 0.1], [1.0, 1.0, 0.0, 0.9]]))
    assert codes.tolist() == [[1, 0], [0, 1]]
    assert pq.decode(codes).tolist() == [[4.0, 4.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]


def test_a_tie_goes_to_the_lower_codeword() -> None:
    pq = ProductQuantizer(torch.eye(1), torch.tensor([[[1.0], [-1.0], [1.0]]]))
    assert pq.encode(torch.tensor([[0.0], [1.0]])).tolist() == [[0], [0]]


def test_tables_add_up_to_the_inner_product_with_the_decoded_vector() -> None:
    vectors, queries = points(), torch.randn(5, DIM)
    pq = ProductQuantizer.train(vectors, PIECES, turns=2)
    codes, tables = pq.encode(vectors), pq.tables(queries)  # [B, M, 256]
    sums = sum(tables[:, m, codes[:, m].long()] for m in range(PIECES))
    assert torch.allclose(torch.as_tensor(sums), queries @ pq.decode(codes).T, atol=1e-4)


def test_codes_equal_faiss_codes_for_the_same_codewords() -> None:
    vectors = points()
    pq = ProductQuantizer.train(vectors, PIECES, turns=1)
    peer = faiss.ProductQuantizer(DIM, PIECES, 8)
    faiss.copy_array_to_vector(pq.codebooks.numpy().ravel(), peer.centroids)
    assert np.array_equal(peer.compute_codes((vectors @ pq.rotation).numpy()), pq.encode(vectors).numpy())


def test_less_is_lost_than_by_faiss_without_a_rotation() -> None:
    vectors = points(4_000)
    peer = faiss.ProductQuantizer(DIM, PIECES, 8)
    peer.train(vectors.numpy())
    theirs = float(np.square(peer.decode(peer.compute_codes(vectors.numpy())) - vectors.numpy()).sum())
    assert lost(ProductQuantizer.train(vectors, PIECES), vectors) < theirs


def test_each_turn_of_the_rotation_loses_less() -> None:
    vectors = points(3_000)
    losses = [lost(ProductQuantizer.train(vectors, PIECES, turns=turns), vectors) for turns in (0, 1, 3, 6)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.99 * losses[0]


def test_the_rotation_is_one() -> None:
    for turns in (0, 2):
        rotation = ProductQuantizer.train(points(), PIECES, turns=turns).rotation
        assert torch.allclose(rotation @ rotation.T, torch.eye(DIM), atol=1e-5)


def test_components_are_dealt_so_that_pieces_vary_alike() -> None:
    vectors = points(4_000)
    turned = vectors @ dealt_components(vectors, PIECES)
    assert torch.cov(turned.T).fill_diagonal_(0).abs().max() < 1e-3  # nothing is left that one dimension says of another
    logs = turned.var(0).log()
    dealt, in_order = logs.view(PIECES, -1).sum(1), logs.sort().values.view(PIECES, -1).sum(1)
    assert dealt.std() < 0.3 * in_order.std()


def test_the_same_seed_gives_the_same_quantizer() -> None:
    one, other = (ProductQuantizer.train(points(), PIECES, seed=3) for _ in range(2))
    assert torch.equal(one.codebooks, other.codebooks)
    assert torch.equal(one.rotation, other.rotation)


def test_few_vectors_warn_and_are_coded_without_loss() -> None:
    vectors = points(9)
    with pytest.warns(UserWarning, match="9 vectors cannot fill 256 codewords"):
        pq = ProductQuantizer.train(vectors, PIECES, turns=0)
    assert torch.allclose(pq.decode(pq.encode(vectors)), vectors, atol=1e-4)


@pytest.mark.parametrize("pieces", [0, 3, 32])
def test_pieces_that_do_not_fit_are_refused_with_some_that_do(pieces: int) -> None:
    with pytest.raises(MiniragError, match=rf"16 numbers cannot be cut into {pieces} equal pieces; choose one of \[.*\d\]"):
        ProductQuantizer.train(points(), pieces)


@settings(max_examples=25)
@given(st.integers(1, 6), st.sampled_from([1, 2, 4]), st.integers(1, 700), st.integers(0, 99))
def test_every_code_is_the_nearest_word(width: int, pieces: int, n: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    pq = ProductQuantizer(torch.eye(width * pieces), torch.randn(pieces, 256, width, generator=generator))
    vectors = torch.randn(n, width * pieces, generator=generator)
    parts = vectors.view(n, pieces, width).transpose(0, 1).double()  # [M, n, d]
    distances = (parts[:, :, None] - pq.codebooks.double()[:, None]).square().sum(3)  # [M, n, 256]
    chosen = distances.gather(2, pq.encode(vectors).long().T[:, :, None])[:, :, 0]
    assert torch.allclose(chosen, distances.amin(2), atol=1e-5)
