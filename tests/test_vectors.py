"""Vectors on disk: the same numbers come back, in any order, and whatever is wrong with the files is said plainly."""

import json
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from minirag.errors import MiniragError
from minirag.files import sha256_of
from minirag.retrieval.vector_writer import VectorSettings, VectorWriter
from minirag.retrieval.vectors import VectorStore

N, D, R = 11, 3, 4  # three shards: rows 0–3, 4–7, 8–10


@pytest.fixture
def vectors() -> torch.Tensor:
    return torch.randn(N, D)


@pytest.fixture
def folder(tmp_path: Path, vectors: torch.Tensor) -> Path:
    VectorStore.from_array(tmp_path / "v", vectors, shard_rows=R, encoder="enc", passages="psg")
    return tmp_path / "v"


def test_what_is_written_is_read(folder: Path, vectors: torch.Tensor) -> None:
    store = VectorStore.open(folder)
    assert (len(store), store.shape, store.dtype, store.encoder, store.passages) == (N, (N, D), "float32", "enc", "psg")
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", *(f"vectors-0000{i}.npy" for i in range(3))]
    assert torch.equal(store[:], vectors)
    assert torch.equal(store[5], vectors[5])
    assert torch.equal(store[-1], vectors[-1])
    assert torch.equal(store.take([10, 0, 10, 4]), vectors[[10, 0, 10, 4]])
    for rows in (1, 3, 4, 20):
        batches = list(store.batches(rows))
        assert [len(batch) for batch in batches[:-1]] == [rows] * (len(batches) - 1)
        assert torch.equal(torch.cat(batches), vectors)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.integers(-13, 13),
    stop=st.integers(-13, 13),
    step=st.sampled_from([1, 2, 3, -1, -4]),
    ids=st.lists(st.integers(0, N - 1)),
)
def test_slices_and_ids_are_numpys(
    folder: Path, vectors: torch.Tensor, start: int, stop: int, step: int, ids: list[int]
) -> None:
    store, array = VectorStore.open(folder, verify=False), vectors.numpy()
    np.testing.assert_array_equal(store[start:stop:step].numpy(), array[start:stop:step])
    np.testing.assert_array_equal(store.take(ids).numpy(), array[np.array(ids, dtype=int)])


def test_half_precision_is_read_as_float32(tmp_path: Path, vectors: torch.Tensor) -> None:
    store = VectorStore.from_array(tmp_path / "v", vectors, dtype="float16", shard_rows=R)
    for read in (store[:], store.take(range(N)), next(store.batches(N))):
        assert read.dtype == torch.float32
        assert torch.equal(read, vectors.half().float())


def test_no_vectors_are_a_store_too(tmp_path: Path) -> None:
    store = VectorStore.from_array(tmp_path / "v", torch.empty(0, D))
    assert store.shape == store[:].shape == store.take([]).shape == (0, D)
    assert list(store.batches(4)) == []


def test_blocks_of_any_length_make_the_same_store(tmp_path: Path, folder: Path, vectors: torch.Tensor) -> None:
    kind = VectorSettings(N, D, shard_rows=R, encoder="enc", passages="psg")
    whole = VectorStore.open(folder)
    for sizes in ([1] * N, [5, 6], [0, 7, 0, 4]):
        store = VectorStore.write(tmp_path / "w", vectors.split(sizes), kind)
        assert store.fingerprint == whole.fingerprint
    other = VectorStore.from_array(tmp_path / "w", vectors + 1, shard_rows=R, encoder="enc", passages="psg")
    assert other.fingerprint != whole.fingerprint


def test_writing_to_a_slice_never_reaches_the_file(folder: Path) -> None:
    before = sha256_of(folder / "vectors-00000.npy")
    VectorStore.open(folder)[:2].zero_()
    assert sha256_of(folder / "vectors-00000.npy") == before


@pytest.mark.parametrize("ids", [[N], [-1], [0, 99]])
def test_rows_that_are_not_there(folder: Path, ids: list[int]) -> None:
    assert len(list(VectorStore.open(folder))) == N  # iteration ends
    with pytest.raises(MiniragError, match=f"row {ids[-1]} is not among the store's {N} vectors"):
        VectorStore.open(folder).take(ids)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e6])  # 1e6 is infinite in float16
def test_what_is_not_finite_is_refused_with_its_row(tmp_path: Path, vectors: torch.Tensor, bad: float) -> None:
    vectors[6, 1] = bad
    with pytest.raises(MiniragError, match="vector 6 holds NaN or infinity"):
        VectorStore.from_array(tmp_path / "v", vectors, dtype="float16", shard_rows=R)
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize("rows", [N - 1, N + 1])
def test_another_number_of_rows_than_announced(tmp_path: Path, rows: int) -> None:
    with pytest.raises(MiniragError, match=r"shard|shape"):
        VectorStore.write(tmp_path / "v", [torch.zeros(rows, D)], VectorSettings(N, D, shard_rows=R))
    with pytest.raises(MiniragError, match="choose one of float32, float16"):
        VectorSettings(N, D, dtype="int8")


def flip_bit(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 4
    path.write_bytes(raw)


def edit_manifest(folder: Path, **changes: object) -> None:
    fields = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(fields | changes))


DAMAGE = {
    "truncated": (
        lambda f: (f / "vectors-00001.npy").write_bytes((f / "vectors-00001.npy").read_bytes()[:-1]),
        "00001.npy is truncated",
    ),
    "half a header": (lambda f: (f / "vectors-00001.npy").write_bytes(b"\x93NUMPY\x01"), "00001.npy is truncated"),
    "empty": (lambda f: (f / "vectors-00001.npy").write_bytes(b""), "00001.npy is truncated"),
    "bytes added": (
        lambda f: (f / "vectors-00001.npy").write_bytes((f / "vectors-00001.npy").read_bytes() + b"x"),
        "00001.npy is not the 4 × 3 float32 shard",
    ),
    "missing": (lambda f: (f / "vectors-00002.npy").unlink(), "00002.npy is missing"),
    "foreign shape": (lambda f: np.save(f / "vectors-00000.npy", np.zeros((4, 9), "float32")), "00000.npy is not the 4 × 3"),
    "foreign type": (lambda f: np.save(f / "vectors-00000.npy", np.zeros((4, 3))), "00000.npy is not the 4 × 3 float32"),
    "objects": (
        lambda f: np.save(f / "vectors-00000.npy", np.array([{}]), allow_pickle=True),
        "00000.npy is truncated or no array",
    ),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "manifest.json does not exist"),
    "half a manifest": (lambda f: (f / "manifest.json").write_text('{"for'), "manifest.json cannot be read"),
    "a list": (lambda f: (f / "manifest.json").write_text("[]"), "manifest.json is not a record"),
    "another version": (lambda f: edit_manifest(f, format="minirag vectors 9"), "of another version"),
    "a field of another type": (lambda f: edit_manifest(f, rows="11"), "manifest.json is not a record"),
    "an unknown field": (lambda f: edit_manifest(f, scale=2), "manifest.json is not a record"),
    "a shard forgotten": (lambda f: edit_manifest(f, sha256=["0"]), "lists 1 of 3 shards"),
    "other settings": (lambda f: edit_manifest(f, rows=10), "00002.npy is not the 2 × 3"),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("verify", [True, False])
def test_damage_is_found_and_named(folder: Path, name: str, verify: bool) -> None:
    damage, message = DAMAGE[name]
    damage(folder)
    with pytest.raises(MiniragError, match=message):
        VectorStore.open(folder, verify=verify)


def test_a_flipped_bit_is_found_by_the_checksum(folder: Path) -> None:
    flip_bit(folder / "vectors-00001.npy")
    with pytest.raises(MiniragError, match=r"00001.npy differs from its checksum"):
        VectorStore.open(folder)


KIND = VectorSettings(N, D, shard_rows=R, encoder="enc", passages="psg")


def test_writing_goes_on_where_it_stopped(tmp_path: Path, folder: Path, vectors: torch.Tensor) -> None:
    VectorWriter(tmp_path / "w", KIND).append(vectors[:4])
    with pytest.raises(MiniragError, match="is unfinished"):
        VectorStore.open(tmp_path / "w")
    (tmp_path / "w" / ".vectors-00001.npy.x.tmp").write_bytes(b"half")  # as a kill leaves it
    (tmp_path / "w" / "vectors-00001.npy").write_bytes(b"renamed, but not yet in the journal")
    writer = VectorWriter(tmp_path / "w", KIND)
    assert writer.next_shard == 1
    with pytest.raises(MiniragError, match="has 1 of 3 shards"):
        writer.finish()
    writer.append(vectors[4:8])
    writer.append(vectors[8:])
    writer.finish()
    assert VectorStore.open(tmp_path / "w").fingerprint == VectorStore.open(folder).fingerprint
    assert sorted(p.name for p in (tmp_path / "w").iterdir()) == sorted(p.name for p in folder.iterdir())


def test_a_finished_store_is_taken_up_as_it_is_and_mended_if_damaged(folder: Path, vectors: torch.Tensor) -> None:
    before = VectorStore.open(folder).fingerprint
    writer = VectorWriter(folder, KIND)
    assert writer.next_shard == 3
    writer.finish()
    assert VectorStore.open(folder).fingerprint == before
    flip_bit(folder / "vectors-00001.npy")
    writer = VectorWriter(folder, KIND)
    assert writer.next_shard == 1
    writer.append(vectors[4:8])
    writer.append(vectors[8:])
    writer.finish()
    assert VectorStore.open(folder).fingerprint == before


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("field", "value"),
    [("rows", 12), ("dim", 2), ("dtype", "float16"), ("shard_rows", 5), ("encoder", "other"), ("passages", "other")],
)
def test_two_kinds_of_vectors_never_mix(tmp_path: Path, folder: Path, finished: bool, field: str, value: object) -> None:
    if not finished:
        folder = tmp_path / "w"
        VectorWriter(folder, KIND)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(MiniragError, match=f"was begun with {field} = .*, not {value!r}"):
        VectorWriter(folder, replace(KIND, **{field: value}))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(MiniragError, match=r"holds thesis.tex but no vectors"):
        VectorWriter(tmp_path, KIND)
    with pytest.raises(MiniragError, match="holds something other than what is to be written"):
        VectorStore.from_array(tmp_path, torch.eye(2))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_the_system_is_told_changes_no_number(tmp_path: Path, dtype: str) -> None:
    rows = torch.randn(3_000, 40)
    store = VectorStore.from_array(tmp_path / "v", rows, dtype, shard_rows=700)
    ids = torch.randint(0, 3_000, (500,))
    before = store.take(ids)
    store.here_and_there()
    store.prefetch(ids)
    store.prefetch(torch.tensor([0, 699, 700, 2_999]))
    assert torch.equal(store.take(ids), before)
    store.release()
    assert torch.equal(store.take(ids), before)
    VectorStore.from_array(tmp_path / "none", rows[:0]).release()
