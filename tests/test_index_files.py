"""Indexes on disk: the same answers after loading, and every altered, truncated, missing or foreign file refused."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from minirag.errors import MiniragError
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.ivf import IVFIndex
from minirag.retrieval.vectors import VectorStore

ROWS, DIM, BATCH, K = 500, 12, 5, 6


def build(kind: str, vectors: torch.Tensor | VectorStore, in_bytes: bool = True) -> ExactIndex | IVFIndex:
    if kind == "exact":
        index: ExactIndex | IVFIndex = ExactIndex(DIM, in_bytes)
    else:
        index = IVFIndex(DIM, 8, n_probe=3, in_bytes=in_bytes)
        index.train(vectors)
    index.add(vectors)
    return index


def load(index: ExactIndex | IVFIndex, folder: Path, complaint: str) -> None:
    type(index).load(folder)
    pytest.fail(complaint)


kinds = pytest.mark.parametrize("kind", ["exact", "ivf"])


@kinds
@pytest.mark.parametrize("in_bytes", [True, False], ids=["bytes", "floats"])
@pytest.mark.parametrize("verify", [True, False])
def test_the_same_answers_after_loading(tmp_path: Path, kind: str, in_bytes: bool, verify: bool) -> None:
    vectors, queries = torch.randn(ROWS, DIM), torch.randn(BATCH, DIM)
    index = build(kind, vectors, in_bytes)
    index.remove(torch.tensor([3, 4]))
    index.replace(torch.tensor([9]), queries[:1])
    index.save(tmp_path / "index")
    again = type(index).load(tmp_path / "index", verify)
    for k in (K, ROWS):
        expected, found = index.search(queries, k), again.search(queries, k)
        assert torch.equal(expected[0], found[0])
        assert torch.equal(expected[1], found[1])
    # and it goes on living: what is revised after loading is found, and saved once more
    again.replace(torch.tensor([3]), queries[1:2] * 9)
    again.add(queries[2:3] * 9)
    again.save(tmp_path / "index")
    last = type(index).load(tmp_path / "index")
    assert last.search(queries[1:3], 1, **({"n_probe": 8} if kind == "ivf" else {}))[1].flatten().tolist() == [3, ROWS]


def test_an_empty_index_is_saved_and_grows_after_loading(tmp_path: Path) -> None:
    empty = IVFIndex(DIM, 3, n_probe=3)
    empty.use_centroids(torch.randn(3, DIM))
    for index in (ExactIndex(DIM), empty):
        index.save(tmp_path / type(index).__name__)
        again = type(index).load(tmp_path / type(index).__name__)
        assert again.search(torch.ones(2, DIM), 2)[1].tolist() == [[-1, -1], [-1, -1]]
        again.add(torch.ones(1, DIM))
        assert again.search(torch.ones(1, DIM), 2)[1].tolist() == [[0, -1]]


@kinds
def test_vectors_of_a_store_are_referred_to_not_copied(tmp_path: Path, kind: str) -> None:
    store = VectorStore.from_array(tmp_path / "data" / "vectors", torch.randn(ROWS, DIM))
    build(kind, store).save(tmp_path / "index")
    assert not (tmp_path / "index" / "vectors").exists()
    (tmp_path / "index").rename(tmp_path / "data" / "index")  # the reference is relative: moved apart, it is not found
    with pytest.raises(MiniragError, match="does not exist"):
        type(build(kind, store)).load(tmp_path / "data" / "index")
    (tmp_path / "data" / "index").rename(tmp_path / "index")
    VectorStore.from_array(tmp_path / "data" / "vectors", torch.randn(ROWS, DIM))
    with pytest.raises(MiniragError, match="no longer what the index"):
        type(build(kind, store)).load(tmp_path / "index")


@kinds
def test_every_file_is_vouched_for(tmp_path: Path, kind: str) -> None:
    index = build(kind, torch.randn(ROWS, DIM))
    folder = tmp_path / "index"
    index.save(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(files) > 6
    for path in files:
        whole = path.read_bytes()
        broken = {
            "flipped": whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 4]) + whole[len(whole) // 2 + 1 :],
            "truncated": whole[:-2],  # the last byte of a manifest is but a line end
            "empty": b"",
        }
        for how, content in broken.items():
            if path.name == "manifest.json" and how == "flipped":
                continue  # a manifest is text: see below
            path.write_bytes(content)
            with pytest.raises(MiniragError, match=re.escape(str(folder))):
                load(index, folder, f"{path.name}, {how}, was accepted")
        path.unlink()
        with pytest.raises(MiniragError):
            type(index).load(folder)
        path.write_bytes(whole)
    assert len(type(index).load(folder)) == ROWS


@kinds
def test_without_checksums_a_truncated_array_is_still_refused(tmp_path: Path, kind: str) -> None:
    index = build(kind, torch.randn(ROWS, DIM))
    index.save(tmp_path / "index")
    path = next((tmp_path / "index").glob("reach.npy"))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(MiniragError, match=r"incomplete or damaged|missing or not"):
        type(index).load(tmp_path / "index", verify=False)


def test_another_kind_or_another_program_is_refused(tmp_path: Path) -> None:
    build("exact", torch.randn(ROWS, DIM)).save(tmp_path / "index")
    with pytest.raises(MiniragError, match="holds 'exact', not 'ivf'"):
        IVFIndex.load(tmp_path / "index")
    manifest = json.loads((tmp_path / "index" / "manifest.json").read_text())
    for edit in ({"format": "other 1"}, {"rows": 7}, {"settings": {}}, {"files": {}}, {"files": {"../../etc/x": "0"}}):
        (tmp_path / "index" / "manifest.json").write_text(json.dumps(manifest | edit))
        with pytest.raises(MiniragError):
            ExactIndex.load(tmp_path / "index")
    with pytest.raises(MiniragError, match="does not exist"):
        ExactIndex.load(tmp_path / "nowhere")


def test_pickled_arrays_are_never_opened(tmp_path: Path) -> None:
    build("exact", torch.randn(ROWS, DIM)).save(tmp_path / "index")
    np.save(tmp_path / "index" / "reach.npy", np.array([{"code": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(MiniragError, match=r"incomplete or damaged|missing or not"):
        ExactIndex.load(tmp_path / "index", verify=False)


def test_a_failed_save_leaves_the_old_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = build("exact", torch.randn(ROWS, DIM))
    index.save(tmp_path / "index")
    index.add(torch.randn(3, DIM))

    def full(*args: object, **settings: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(MiniragError, match="No space left on device; free space"):
        index.save(tmp_path / "index")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    assert len(ExactIndex.load(tmp_path / "index")) == ROWS


def test_a_full_disk_while_adding_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    index = build("exact", torch.randn(ROWS, DIM))

    class Full:
        def __getattr__(self, name: str) -> object:
            def refuse(*args: object) -> None:
                raise OSError(28, "No space left on device")

            return refuse

    queries = torch.randn(BATCH, DIM)
    before = index.search(queries, K)
    with monkeypatch.context() as patch:
        patch.setattr(index.memory._tail, "_file", Full())
        with pytest.raises(MiniragError, match="set TMPDIR to more space"):
            index.add(torch.randn(2, DIM))
    assert len(index) == ROWS
    assert torch.equal(index.search(queries, K)[1], before[1])
