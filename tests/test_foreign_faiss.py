"""faiss's files become our indexes, which then find what faiss finds in the same file; damage never reaches faiss."""

import functools
import json
import pickle
import struct
from pathlib import Path

import faiss
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from minirag.cli import main
from minirag.cli.common import open_index
from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.faiss_files import read_faiss
from minirag.retrieval.faiss_import import import_faiss
from minirag.retrieval.faiss_index import FaissIndex
from minirag.retrieval.ivf import IVFIndex
from minirag.retrieval.vectors import VectorStore

N, D, C = 300, 16, 8
IP, L2 = faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2
RNG = np.random.default_rng(0)
X = (RNG.standard_normal((N, D)) * RNG.uniform(0.3, 3, (N, 1))).astype(np.float32)  # of very different lengths
UNIT = X / np.linalg.norm(X, axis=1, keepdims=True)
Q = RNG.standard_normal((20, D)).astype(np.float32)
MIXED = RNG.permutation(N)
KEPT: list = []


def write(folder: Path, index, name: str = "index.faiss") -> Path:
    faiss.write_index(index, str(folder / name))
    return folder / name


def flat(x=X, metric=IP):
    index = faiss.IndexFlat(x.shape[1], metric)
    index.add(x)
    return index


def with_ids(index, ids, x=X):
    whole = faiss.IndexIDMap2(index)
    whole.add_with_ids(x, ids)
    KEPT.append(index)  # else Python frees it
    return whole


def ivf(x=X, ids=None, rows: int = N, cells: str = "Flat", metric=IP):
    index = faiss.index_factory(D, f"IVF{C}_HNSW4,Flat" if cells == "HNSW4" else f"IVF{C},{cells}", metric)
    index.cp.min_points_per_centroid = 1
    if cells.startswith("PQ"):
        index.pq.cp.niter, index.pq.cp.min_points_per_centroid = 2, 1
    index.train(x)
    index.nprobe = 3
    index.add(x[:rows]) if ids is None else index.add_with_ids(x[:rows], ids)
    return index


def hnsw(x=X, metric=IP):
    index = faiss.IndexHNSWFlat(x.shape[1], 16, metric)
    index.hnsw.efSearch = 400
    index.add(x)
    return index


def dprs(x=X):
    """As DPR builds it: (v, √(φ − |v|²)), under Euclidean distance."""
    lengths = (x**2).sum(axis=1)
    return hnsw(np.hstack([x, np.sqrt(lengths.max() - lengths)[:, None]]), L2)


def passages(folder: Path, ids) -> PassageStore:
    return PassageStore.write(folder / "passages", [Passage(str(id), "", f"text of {id}") for id in ids])


EXACT = {
    "flat": lambda: flat(),
    "flat with ids": lambda: with_ids(faiss.IndexFlatIP(D), MIXED),
    "HNSW": lambda: hnsw(),
    "unit vectors under L2": lambda: flat(UNIT, L2),
    "IVF whose cells are found by a graph": lambda: ivf(cells="HNSW4"),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_search_finds_what_faiss_finds(tmp_path: Path, name: str) -> None:
    index = EXACT[name]()
    if "IVF" in name:
        index.nprobe = C
    found = import_faiss(write(tmp_path, index), tmp_path / "ours", progress=False)
    assert isinstance(found, ExactIndex)
    ids = index.search(Q, 10)[1]
    assert np.array_equal(found.search(torch.from_numpy(Q), 10)[1].numpy(), ids)
    again = open_index(tmp_path / "ours" / "index", verify=True)
    assert np.array_equal(again.search(torch.from_numpy(Q), 10)[1].numpy(), ids)
    store = VectorStore.open(tmp_path / "ours" / "vectors")
    expected = UNIT if "unit" in name else X
    rows = np.argsort(MIXED) if "with ids" in name else np.arange(N)
    assert np.array_equal(store[:].numpy(), expected[rows])


@pytest.mark.parametrize("ids", [None, MIXED])
@pytest.mark.parametrize("direct_map", [faiss.DirectMap.NoMap, faiss.DirectMap.Hashtable])
@pytest.mark.parametrize("n_probe", [1, 3, C])
def test_the_same_cells_lists_and_probes(tmp_path: Path, ids, direct_map, n_probe) -> None:
    index = ivf(ids=ids)
    index.nprobe = n_probe
    index.set_direct_map_type(direct_map)
    found = import_faiss(write(tmp_path, index), tmp_path / "ours", progress=False)
    assert isinstance(found, IVFIndex)
    assert (found.n_probe, found.n_lists) == (n_probe, C)
    scores, expected = index.search(Q, 10)
    for each in (found, open_index(tmp_path / "ours" / "index", verify=True)):
        ours, hits = each.search(torch.from_numpy(Q), 10)
        assert np.array_equal(hits.numpy(), expected)
        assert np.allclose(ours.numpy(), scores, rtol=1e-5, atol=1e-5)


def test_a_vector_stays_in_the_list_where_faiss_put_it(tmp_path: Path) -> None:
    index = ivf(rows=0)
    cells, ids = RNG.integers(0, C, N), np.arange(N)
    index.add_core(N, faiss.swig_ptr(X), faiss.swig_ptr(ids), faiss.swig_ptr(cells))
    found = import_faiss(write(tmp_path, index), tmp_path / "ours", progress=False)
    assert isinstance(found, IVFIndex)
    assert np.array_equal(found.list_of.numpy(), cells)
    assert np.array_equal(found.search(torch.from_numpy(Q), 10)[1].numpy(), index.search(Q, 10)[1])


def test_lists_mostly_empty_and_an_ivf_within_ids(tmp_path: Path) -> None:
    few = ivf(rows=3)  # faiss writes only those that are not empty
    found = import_faiss(write(tmp_path, few), tmp_path / "few", progress=False)
    assert np.array_equal(found.search(torch.from_numpy(Q), 5, n_probe=C)[1].numpy()[:, :3] >= 0, np.ones((20, 3), bool))
    assert np.array_equal(found.search(torch.from_numpy(Q), 5)[1].numpy(), few.search(Q, 5)[1])
    outer = with_ids(ivf(rows=0), MIXED)
    found = import_faiss(write(tmp_path, outer), tmp_path / "outer", progress=False)
    assert isinstance(found, IVFIndex)
    assert np.array_equal(found.search(torch.from_numpy(Q), 10)[1].numpy(), outer.search(Q, 10)[1])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_dprs_graph_loses_its_extra_column(tmp_path: Path, dtype: str) -> None:
    index = dprs()
    found = import_faiss(write(tmp_path, index), tmp_path / "ours", dtype=dtype, progress=False)
    assert isinstance(found, ExactIndex)
    store = VectorStore.open(tmp_path / "ours" / "vectors")
    assert np.array_equal(store[:].numpy(), X.astype(dtype).astype(np.float32))
    if dtype == "float32":
        theirs = index.search(np.pad(Q, ((0, 0), (0, 1))), 10)[1]
        assert np.array_equal(found.search(torch.from_numpy(Q), 10)[1].numpy(), theirs)


def test_a_graph_of_unit_vectors_keeps_all_columns(tmp_path: Path) -> None:
    import_faiss(write(tmp_path, hnsw(UNIT, L2)), tmp_path / "ours", progress=False)
    assert VectorStore.open(tmp_path / "ours" / "vectors").shape == (N, D)


def test_our_own_adapters_files(tmp_path: Path) -> None:
    for kind in ("flat", "ivf", "hnsw"):
        index = FaissIndex(kind, n_lists=C, n_probe=C, links=16, ef_search=400)
        index.add(torch.from_numpy(X))
        index.save(tmp_path / kind)
        found = import_faiss(tmp_path / kind / "index.faiss", tmp_path / f"our {kind}", progress=False)
        hits = found.search(torch.from_numpy(Q), 10, **({"n_probe": C} if kind == "ivf" else {}))[1]
        assert torch.equal(hits, index.search(torch.from_numpy(Q), 10)[1])


def test_euclidean_distance_is_refused_where_it_orders_otherwise(tmp_path: Path) -> None:
    broken = dprs()
    storage = faiss.downcast_index(broken.storage)
    faiss.copy_array_to_vector(
        (faiss.vector_to_array(storage.codes).view("f4") * np.repeat(RNG.uniform(1, 1.2, N), D + 1)).astype("f4").view("u1"),
        storage.codes,
    )
    for name, index in {"flat": flat(X, L2), "graph": hnsw(X, L2), "no φ": broken, "cells": ivf(metric=L2)}.items():
        with pytest.raises(
            MiniragError, match=r"index.faiss searches by Euclidean distance, and its vectors' squared lengths go"
        ):
            import_faiss(write(tmp_path, index), tmp_path / name, progress=False)
        assert not (tmp_path / name).exists()


def test_codes_are_left_to_faiss(tmp_path: Path) -> None:
    index = ivf(cells="PQ4x4")
    found = import_faiss(write(tmp_path, index), tmp_path / "ours", progress=False)
    assert isinstance(found, FaissIndex)
    expected = index.search(Q, 10)[1]
    for each in (found, open_index(tmp_path / "ours" / "index", verify=True)):
        assert len(each) == N
        assert np.array_equal(each.search(torch.from_numpy(Q), 10)[1].numpy(), expected)
    with pytest.raises(MiniragError, match="whose ids cannot be changed"):
        import_faiss(
            write(tmp_path, ivf(cells="PQ4x4", ids=MIXED + 1)), tmp_path / "other", passages(tmp_path, range(1, N + 1))
        )
    with pytest.raises(MiniragError, match="codes compared by Euclidean distance"):
        import_faiss(write(tmp_path, ivf(cells="PQ4x4", metric=L2)), tmp_path / "other")


class TestIds:
    def test_dprs_list_of_ids(self, tmp_path: Path) -> None:
        store = passages(tmp_path, range(1, N + 1))
        meta = tmp_path / "index_meta.dpr"
        meta.write_bytes(pickle.dumps([f"wiki:{row + 1}" for row in MIXED]))
        for name, index in {"flat": flat(), "ivf": ivf(), "graph": dprs()}.items():
            found = import_faiss(write(tmp_path, index), tmp_path / name, store, meta, "wiki:", progress=False)
            vectors = VectorStore.open(tmp_path / name / "vectors")
            assert vectors.passages == store.fingerprint == found.memory.passages
            assert np.array_equal(vectors[:].numpy(), X[np.argsort(MIXED)])
        expected = MIXED[flat().search(Q, 10)[1]]
        assert np.array_equal(found.search(torch.from_numpy(Q), 10)[1].numpy(), expected)

    def test_faiss_ids_that_are_the_passages(self, tmp_path: Path) -> None:
        index = with_ids(faiss.IndexFlatIP(D), MIXED + 1)
        path = write(tmp_path, index)
        store = passages(tmp_path, range(1, N + 1))
        found = import_faiss(path, tmp_path / "ours", store, progress=False)
        assert np.array_equal(found.search(torch.from_numpy(Q), 10)[1].numpy(), index.search(Q, 10)[1] - 1)
        with pytest.raises(MiniragError, match="are not rows 0 to 299; give the passages"):
            import_faiss(path, tmp_path / "x", progress=False)
        with pytest.raises(MiniragError, match=r"holds 300 vectors, .* 7 passages"):
            import_faiss(path, tmp_path / "x", passages(tmp_path, range(7)), progress=False)
        with pytest.raises(MiniragError, match=r"id '300' \(number \d+\) is that of no passage"):
            import_faiss(path, tmp_path / "x", passages(tmp_path, range(N)), progress=False)
        twice = MIXED + 1
        twice[5] = twice[6]
        with pytest.raises(MiniragError, match="twice"):
            import_faiss(
                write(tmp_path, with_ids(faiss.IndexFlatIP(D), twice)), tmp_path / "x", passages(tmp_path, range(1, N + 1))
            )

    @pytest.mark.parametrize("ids", [["a"] * 7, [("a", 1)] * N, [*range(1, N), "x"]])
    def test_lists_that_do_not_fit(self, tmp_path: Path, ids: list) -> None:
        (tmp_path / "meta").write_bytes(pickle.dumps(ids))
        with pytest.raises(MiniragError, match=r"meta holds|id 'x' \(number 299\) is that of no passage"):
            import_faiss(write(tmp_path, flat()), tmp_path / "x", passages(tmp_path, range(1, N + 1)), tmp_path / "meta")

    def test_a_hostile_list(self, tmp_path: Path) -> None:
        (tmp_path / "meta").write_bytes(b"cos\nsystem\n(X\x05\x00\x00\x00falsetR.")
        with pytest.raises(MiniragError, match=r"names os\.system"):
            import_faiss(write(tmp_path, flat()), tmp_path / "x", passages(tmp_path, range(N)), tmp_path / "meta")


KINDS = {
    "flat": flat,
    "with ids": lambda: with_ids(faiss.IndexFlatIP(D), MIXED),
    "ivf": ivf,
    "sparse": lambda: ivf(rows=3),
    "codes": lambda: ivf(cells="PQ4x4"),
    "graph": hnsw,
}


@functools.cache
def serial(kind: str) -> bytes:
    return faiss.serialize_index(KINDS[kind]()).tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_every_length_is_checked(tmp_path: Path, kind: str) -> None:
    raw = serial(kind)
    path = tmp_path / "x"
    path.write_bytes(raw)
    read_faiss(path)
    for length in [0, 3, 4, 20, 36, *range(37, len(raw), 997), len(raw) - 1]:
        path.write_bytes(raw[:length])
        with pytest.raises(MiniragError, match=r"x is damaged|x is empty"):
            read_faiss(path)
    path.write_bytes(raw + b"\x00")
    with pytest.raises(MiniragError, match="goes on behind the index"):
        read_faiss(path)


@given(
    kind=st.sampled_from([*KINDS]),
    edits=st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from(["<i", "<q", "<B"]), st.integers(-3, 1 << 62)), min_size=1, max_size=3
    ),
)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_is_an_error_or_another_index_and_nothing_else(tmp_path: Path, kind: str, edits: list) -> None:
    raw = bytearray(serial(kind))
    for at, form, value in edits:
        size = struct.calcsize(form)
        raw[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    (tmp_path / "x").write_bytes(raw)
    try:
        found = read_faiss(tmp_path / "x")
    except MiniragError:
        return
    assert found.starts is None or (len(found.starts) == found.rows and (found.starts + 4 * found.dim <= len(raw)).all())


def test_other_kinds_and_files_are_named(tmp_path: Path) -> None:
    others = {
        "SQ8": "eight bits or fewer",
        "PCA8,Flat": "behind a transformation",
        "HNSW8_SQ8": "an HNSW of vectors in eight bits",
        "PQ4x4": "codes of a product quantizer",
        "LSH": "of kind 'IxHe'",
    }
    for factory, what in others.items():
        index = faiss.index_factory(D, factory, IP if factory != "LSH" else L2)
        index.train(X)
        index.add(X)
        with pytest.raises(MiniragError, match=f"holds .*{what}.*; read are"):
            read_faiss(write(tmp_path, index))
    (tmp_path / "text").write_text("This is no index, and says so.")
    with pytest.raises(MiniragError, match="of kind 'This'"):
        read_faiss(tmp_path / "text")
    with pytest.raises(MiniragError, match="cannot read"):
        read_faiss(tmp_path / "none")
    untrained = faiss.IndexIVFFlat(faiss.IndexFlatIP(D), D, C, IP)
    with pytest.raises(MiniragError, match="trained 0"):
        read_faiss(write(tmp_path, untrained))
    (tmp_path / "nested").write_bytes(serial("with ids")[:37] * 10_000)
    with pytest.raises(MiniragError, match="within one of kind ids"):
        read_faiss(tmp_path / "nested")


def test_what_is_not_finite_is_told_with_its_row(tmp_path: Path) -> None:
    broken = X.copy()
    broken[7, 3] = np.nan
    with pytest.raises(MiniragError, match=r"index.faiss, row 7, holds NaN or infinity"):
        import_faiss(write(tmp_path, flat(broken)), tmp_path / "ours", progress=False)
    with pytest.raises(MiniragError, match=r"index.faiss, row 7, holds NaN"):
        import_faiss(write(tmp_path, flat(broken, L2)), tmp_path / "other", progress=False)


def test_the_command(tmp_path: Path, capsys) -> None:
    path = write(tmp_path, flat())
    (tmp_path / "meta").write_bytes(pickle.dumps([f"wiki:{row + 1}" for row in MIXED]))
    store = passages(tmp_path, range(1, N + 1))
    options = ["import", "faiss", str(path), "--out", str(tmp_path / "ours"), "--meta", str(tmp_path / "meta"), "--quiet"]
    with pytest.raises(SystemExit, match="2"):
        main(options)
    assert main([*options, "--passages", str(store.path), "--id-prefix", "wiki:", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == {
        "folder": str(tmp_path / "ours"),
        "index": str(tmp_path / "ours" / "index"),
        "kind": "ExactIndex",
        "rows": N,
    }
    assert main(["import", "faiss", str(write(tmp_path, ivf(cells="PQ4x4"))), "--out", str(tmp_path / "codes"), "--quiet"]) == 0
    assert "FaissIndex over 300 rows: it holds codes only, so faiss goes on searching it" in capsys.readouterr().out
