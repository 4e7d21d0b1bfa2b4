"""The passage store: what goes in comes out, in any order; what is damaged, foreign or doubtful is refused."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.corpus import store as store_module
from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.files import fingerprint_of, sha256_of

N = 10


def some(n: int = N) -> list[Passage]:
    return [Passage(f"id{row}", f"Title {row}", f'text "of" row\t{row}\né – 東京 {"x" * row}') for row in range(n)]


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    """Record batches of 4 rows, so that ten passages fill two and a half."""
    monkeypatch.setattr(store_module, "BATCH_ROWS", 4)


@pytest.fixture
def store(tmp_path) -> PassageStore:
    return PassageStore.write(tmp_path / "store", some())


def test_rows_come_back(store):
    assert len(store) == N
    assert [store[row] for row in range(N)] == some()
    assert list(store) == some()
    assert store[-1] == some()[-1]
    assert store[-N] == some()[0]
    assert store[np.int64(3)] == some()[3]
    assert store[torch.tensor(5)] == some()[5]


@pytest.mark.parametrize("row", [N, -N - 1, 10**12])
def test_rows_beyond_the_end(store, row):
    with pytest.raises(IndexError, match=f"row {row} of a store of 10"):
        store[row]


@given(st.slices(N))
@settings(max_examples=60)
def test_slices_are_those_of_a_list(tmp_path_factory, rows):
    folder = tmp_path_factory.getbasetemp() / "slices"
    store = PassageStore.open(folder) if folder.exists() else PassageStore.write(folder, some())
    assert store[rows] == some()[rows]


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_take(store, kind):
    assert store.take(kind([7, 0, 7, 9])) == [some()[row] for row in (7, 0, 7, 9)]


def test_take_refuses_no_hit_and_foreign_rows(store):
    with pytest.raises(MiniragError, match=r"holds passages 0 to 9 and -1 means that the index found fewer than k hits"):
        store.take(torch.tensor([3, -1]))
    with pytest.raises(MiniragError, match="10 is no row of it"):
        store.take([10])
    with pytest.raises(MiniragError, match="-2 is no row of it"):
        store.take([-2])
    with pytest.raises(TypeError):
        store.take(torch.tensor([0.0]))
    assert store.take([]) == []


@pytest.mark.parametrize("size", [1, 3, 4, 10, 11])
def test_batches(store, size):
    batches = list(store.batches(size))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert [passage for batch in batches for passage in batch] == some()


def test_batches_of_nothing(store):
    with pytest.raises(ValueError, match="at least one"):
        next(store.batches(0))


@pytest.mark.parametrize("n", [1, 3, 4, 5, 8])
def test_sizes_around_a_batch(tmp_path, n):
    assert list(PassageStore.write(tmp_path / "store", some(n))) == some(n)


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=12))
@settings(max_examples=40)
def test_any_text_survives(tmp_path_factory, texts):
    passages = [Passage(str(row), title, text) for row, (title, text) in enumerate(texts)]
    assert list(PassageStore.write(tmp_path_factory.getbasetemp() / "any", passages)) == passages


def test_pyarrow_reads_the_same(store):
    with pa.ipc.open_file(store.path / "passages.arrow") as reader:
        rows = reader.read_all().to_pylist()
    assert rows == [{"id": p.id, "title": p.title, "text": p.text} for p in some()]


def test_fingerprint_is_the_contents(tmp_path, store, monkeypatch):
    assert store.fingerprint == fingerprint_of(*(field for p in some() for field in (p.id, p.title, p.text)))
    monkeypatch.setattr(store_module, "BATCH_ROWS", 3)
    other = PassageStore.write(tmp_path / "other", iter(some()))
    assert other.fingerprint == store.fingerprint
    assert list(other) == some()
    moved = [Passage(p.id, p.title + p.text[0], p.text[1:]) for p in some()]
    assert PassageStore.write(tmp_path / "moved", moved).fingerprint != store.fingerprint
    assert PassageStore.write(tmp_path / "turned", some()[::-1]).fingerprint != store.fingerprint


def test_opening_reads_no_passages(store):
    before = pa.total_allocated_bytes()
    opened = PassageStore.open(store.path, verify=False)
    assert pa.total_allocated_bytes() - before < 10_000
    assert opened[9] == some()[9]
    assert opened.fingerprint == store.fingerprint


def test_duplicate_ids_are_refused_with_their_rows(tmp_path):
    passages = some()
    passages[8] = Passage("id2", "other", "text")
    with pytest.raises(MiniragError, match="rows 2 and 8 have the same id 'id2'"):
        PassageStore.write(tmp_path / "store", passages)
    assert os.listdir(tmp_path) == []


def test_equal_hashes_of_different_ids_are_no_duplicates(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "hash", lambda _: 7, raising=False)
    assert list(PassageStore.write(tmp_path / "store", some())) == some()
    with pytest.raises(MiniragError, match="rows 0 and 10 have the same id"):
        PassageStore.write(tmp_path / "twice", [*some(), some()[0]])


def test_nothing_and_half_characters_are_refused(tmp_path):
    with pytest.raises(MiniragError, match="no passages came in"):
        PassageStore.write(tmp_path / "store", [])
    with pytest.raises(MiniragError, match=r"the passage in row 5 \(id 'x'\) is not valid text"):
        PassageStore.write(tmp_path / "store", [*some(5), Passage("x", "t", "\ud800")])
    assert os.listdir(tmp_path) == []


def test_a_broken_source_leaves_the_old_store(store):
    def breaking():
        yield from some(6)
        raise MiniragError("own.tsv, row 7: bad")

    with pytest.raises(MiniragError, match="row 7"):
        PassageStore.write(store.path, breaking())
    assert list(PassageStore.open(store.path)) == some()
    assert os.listdir(store.path.parent) == ["store"]


KILLED = """
import os, signal, sys
from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore

def passages():
    for row in range(10_000):
        yield Passage(str(row), "title", "text")
    os.kill(os.getpid(), signal.SIGKILL)

PassageStore.write(sys.argv[1], passages())
"""


def test_a_killed_write_leaves_no_half_store(tmp_path, store):
    for path in (tmp_path / "new", store.path):
        killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=Path(store_module.__file__).parents[2])
        assert killed.returncode == -signal.SIGKILL
    with pytest.raises(MiniragError, match="does not exist"):
        PassageStore.open(tmp_path / "new")
    assert list(PassageStore.open(store.path)) == some()
    assert list(PassageStore.write(tmp_path / "new", some(3))) == some(3)


def test_rewriting_replaces_a_store_but_nothing_else(tmp_path, store):
    again = PassageStore.write(store.path, some(3))
    assert list(again) == some(3)
    assert list(store) == some()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for path in (tmp_path / "mine", tmp_path / "file"):
        with pytest.raises(MiniragError, match="something other than what is to be written, and is left"):
            PassageStore.write(path, some())
    assert (tmp_path / "mine" / "thesis.txt").read_text() == (tmp_path / "file").read_text() == "precious"


def test_progress_shows(tmp_path, capsys):
    PassageStore.write(tmp_path / "store", some(), progress=True)
    assert "10/10" in capsys.readouterr().err


# Damage. Every kind must be refused, by `verify=True` always, by `verify=False` at opening or at the first touch.


def flip(path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0x40
    path.write_bytes(raw)


def test_every_flipped_bit_is_found(store):
    data = store.path / "passages.arrow"
    for at in range(0, data.stat().st_size, 97):
        flip(data, at)
        with pytest.raises(MiniragError, match=r"passages.arrow is not the file its manifest describes"):
            PassageStore.open(store.path)
        flip(data, at)
    assert list(PassageStore.open(store.path)) == some()


def test_a_flipped_bit_unverified_is_never_worse_than_another_letter(store):
    """Without the checksum damage may go unseen in the letters, but it must not crash or read beyond the file."""
    data, refused = store.path / "passages.arrow", 0
    for at in range(0, data.stat().st_size, 13):
        flip(data, at)
        try:
            assert len(list(PassageStore.open(store.path, verify=False))) == N
        except MiniragError:
            refused += 1
        flip(data, at)
    assert refused > 10


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
@pytest.mark.parametrize("verify", [True, False])
def test_truncated(store, keep, verify):
    data = store.path / "passages.arrow"
    data.write_bytes(data.read_bytes()[:keep])
    with pytest.raises(MiniragError, match="truncated, altered or foreign"):
        PassageStore.open(store.path, verify=verify)


def test_missing_parts(store, tmp_path):
    with pytest.raises(MiniragError, match="does not exist; check the path"):
        PassageStore.open(tmp_path / "nowhere")
    (store.path / "passages.arrow").unlink()
    with pytest.raises(MiniragError, match="does not exist though its manifest does"):
        PassageStore.open(store.path)


@pytest.mark.parametrize("change", [{"format": "other"}, {"passages": 13}, {"batch_rows": 0}, {"batch_rows": 3}, {"bytes": 1}])
def test_a_manifest_that_does_not_fit(store, change):
    path = store.path / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, **change}))
    with pytest.raises(MiniragError):
        PassageStore.open(store.path)
    path.write_text(json.dumps({key: value for key, value in manifest.items() if key not in change}))
    with pytest.raises(MiniragError):
        PassageStore.open(store.path)


def test_a_count_that_is_off_by_less_than_a_batch_is_found_at_first_touch(store):
    path = store.path / "manifest.json"
    path.write_text(path.read_text().replace('"passages": 10', '"passages": 11'))
    with pytest.raises(MiniragError, match="altered"):
        PassageStore.open(store.path)[9]


@pytest.mark.parametrize("manifest", ["", "[]", "null", "{", '"minirag passages 1"'])
def test_a_foreign_manifest(store, manifest):
    (store.path / "manifest.json").write_text(manifest)
    with pytest.raises(MiniragError, match=r"manifest\.json"):
        PassageStore.open(store.path)


def test_a_foreign_arrow_file_of_the_right_size_and_checksum(store):
    data = store.path / "passages.arrow"
    table = pa.table({"id": range(N), "vector": [0.5] * N})
    with pa.OSFile(str(data), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    manifest = json.loads((store.path / "manifest.json").read_text())
    manifest |= {"bytes": data.stat().st_size, "sha256": sha256_of(data)}
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(MiniragError, match="foreign"):
        PassageStore.open(store.path)
