"""DPR's shards become vectors in the order of the passages, whatever their own; what does not fit is told with file and row."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from minirag.cli import main
from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.retrieval import gathering, passage_rows
from minirag.retrieval.dpr_shards import import_dpr
from minirag.retrieval.vector_writer import VectorWriter
from minirag.retrieval.vectors import VectorStore

N, D = 23, 6


@pytest.fixture
def passages(tmp_path: Path) -> PassageStore:
    return PassageStore.write(tmp_path / "passages", [Passage(str(i + 1), f"title {i}", f"text {i}") for i in range(N)])


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)


def shards(folder: Path, vectors: np.ndarray, prefix: str = "", protocol: int = 4) -> list[Path]:
    """Three shards of mixed rows: out_0, out_1, out_2."""
    order = np.random.default_rng(1).permutation(len(vectors))
    paths = []
    for number, rows in enumerate(np.array_split(order, 3)):
        paths.append(folder / f"out_{number}")
        paths[-1].write_bytes(pickle.dumps([(f"{prefix}{row + 1}", vectors[row]) for row in rows], protocol))
    return paths


def changed(path: Path, change) -> None:
    rows = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps(change(rows)))


@pytest.mark.parametrize("protocol", range(6))
def test_each_vector_in_its_passages_row(tmp_path, passages, vectors, protocol) -> None:
    files = shards(tmp_path, vectors, protocol=protocol)
    store = import_dpr(files[::-1], passages, tmp_path / "v", shard_rows=5, progress=False)
    assert np.array_equal(store[:].numpy(), vectors)
    assert (store.dtype, store.passages, store.encoder, store.settings.shards) == ("float32", passages.fingerprint, "", 5)
    assert VectorStore.open(tmp_path / "v").fingerprint == store.fingerprint
    assert (
        store.fingerprint
        == VectorStore.from_array(tmp_path / "w", vectors, shard_rows=5, passages=passages.fingerprint).fingerprint
    )


def test_ids_as_numbers_prefixes_and_half_precision(tmp_path, passages, vectors) -> None:
    numbered = tmp_path / "numbers"
    numbered.write_bytes(pickle.dumps([(i + 1, vectors[i].astype(np.float16)) for i in range(N)]))
    store = import_dpr([numbered], passages, tmp_path / "v", "float16", progress=False)
    assert store.dtype == "float16"
    assert torch.equal(store[:], torch.from_numpy(vectors).half().float())
    prefixed = shards(tmp_path, vectors, "wiki:")
    assert np.array_equal(import_dpr(prefixed, passages, tmp_path / "w", id_prefix="wiki:", progress=False)[:].numpy(), vectors)
    with pytest.raises(
        MiniragError, match=r"out_0, row 0, has the id 'wiki:\d+' for passage '\d+'; give 'wiki:' as the prefix"
    ):
        import_dpr(prefixed, passages, tmp_path / "x", progress=False)


WRONG = {
    "an unknown id": (lambda rows: [*rows, ("99", rows[0][1])], r"out_1, row 8, has the id '99' of no passage"),
    "one id twice": (lambda rows: [*rows, rows[2]], r"out_1, row 8, and .*out_1, row 2, are of one id"),
    "none": (lambda rows: rows[:-1], r"1 of 23 passages have no vector in 3 files, first that of row \d+ \(id '\d+'\)"),
    "another dimension": (
        lambda rows: [*rows[:3], (rows[3][0], rows[3][1][:4]), *rows[4:]],
        "row 3, holds a vector of 4 × <f4",
    ),
    "another type": (
        lambda rows: [*rows[:3], (rows[3][0], rows[3][1].astype("f2")), *rows[4:]],
        "row 3, holds a vector of 6 × <f2 where those before it are of 6 × <f4",
    ),
    "NaN": (lambda rows: [*rows[:4], (rows[4][0], rows[4][1] * np.nan), *rows[5:]], "out_1, row 4, holds NaN or infinity as"),
    "ids only": (lambda rows: [id for id, _ in rows], "out_1, row 0, is no pair of an id and a vector"),
    "triples": (lambda rows: [(*row, 0) for row in rows], "out_1, row 0, is no pair"),
    "the other way round": (lambda rows: [row[::-1] for row in rows], "out_1, row 0, is no pair"),
    "a dictionary": (lambda rows: dict(rows), "out_1, byte"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit(tmp_path, passages, vectors, name) -> None:
    files = shards(tmp_path, vectors)
    change, message = WRONG[name]
    changed(files[1], change)
    with pytest.raises(MiniragError, match=message):
        import_dpr(files, passages, tmp_path / "v", progress=False)
    assert not (tmp_path / "v" / "manifest.json").exists()


def test_infinity_only_in_half_precision(tmp_path, passages, vectors) -> None:
    files = shards(tmp_path, vectors)
    changed(files[0], lambda rows: [(rows[0][0], rows[0][1] * np.float32(1e6)), *rows[1:]])
    with pytest.raises(MiniragError, match=r"out_0, row 0, holds NaN or infinity as float16; .*, or store float32"):
        import_dpr(files, passages, tmp_path / "v", "float16", progress=False)
    assert len(import_dpr(files, passages, tmp_path / "w", progress=False)) == N


def test_the_same_file_twice(tmp_path, passages, vectors) -> None:
    files = shards(tmp_path, vectors)
    with pytest.raises(MiniragError, match="are of one id"):
        import_dpr([*files, files[0]], passages, tmp_path / "v", progress=False)


def test_a_killed_run_goes_on_and_never_with_other_files(tmp_path, passages, vectors, monkeypatch) -> None:
    files = shards(tmp_path, vectors)
    whole = import_dpr(files, passages, tmp_path / "whole", shard_rows=4, progress=False)
    append, written = VectorWriter.append, []

    def killed(self, array) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(self.next_shard)
        append(self, array)

    monkeypatch.setattr(VectorWriter, "append", killed)
    with pytest.raises(KeyboardInterrupt):
        import_dpr(files, passages, tmp_path / "v", shard_rows=4, progress=False)
    with pytest.raises(MiniragError, match="is unfinished"):
        VectorStore.open(tmp_path / "v")
    monkeypatch.setattr(VectorWriter, "append", lambda self, array: (written.append(self.next_shard), append(self, array))[1])
    other = shards(tmp_path / "passages", vectors + 1)
    with pytest.raises(MiniragError, match="was begun from other files"):
        import_dpr(other, passages, tmp_path / "v", shard_rows=4, progress=False)
    store = import_dpr(files, passages, tmp_path / "v", shard_rows=4, progress=False)
    assert written == [0, 1, 2, 3, 4, 5]
    assert store.fingerprint == whole.fingerprint
    import_dpr(files, passages, tmp_path / "v", shard_rows=4, progress=False)  # all is there
    assert len(written) == 6
    with pytest.raises(MiniragError, match="was begun from other files"):
        import_dpr(other, passages, tmp_path / "v", shard_rows=4, progress=False)


def test_folders_of_something_else(tmp_path, passages, vectors) -> None:
    files = shards(tmp_path, vectors)
    VectorStore.from_array(tmp_path / "v", vectors, passages=passages.fingerprint)
    with pytest.raises(MiniragError, match="holds vectors that were not imported"):
        import_dpr(files, passages, tmp_path / "v", progress=False)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.tex").write_text("precious")
    with pytest.raises(MiniragError, match=r"holds thesis.tex but no vectors"):
        import_dpr(files, passages, tmp_path / "notes", progress=False)
    assert (tmp_path / "notes" / "thesis.tex").read_text() == "precious"


def test_ids_of_one_hash_are_told_apart(tmp_path, passages, monkeypatch) -> None:
    monkeypatch.setattr(passage_rows, "hash", len, raising=False)
    rows = passage_rows.PassageRows(passages)
    assert rows.find([str(i + 1) for i in range(N)] + ["0", "99", "", "long"]).tolist() == [*range(N), -1, -1, -1, -1]


def test_text_that_turns_out_too_short_is_told(tmp_path, passages, vectors) -> None:
    """In protocol 2 the bytes are text, of which two bytes may be one: only decoding tells how many there are."""
    one = PassageStore.write(tmp_path / "one", [passages[0]])
    raw = pickle.dumps([("1", np.zeros(2, np.float32))], 2)
    (tmp_path / "x").write_bytes(raw.replace(b"\x08\x00\x00\x00" + bytes(8), b"\x08\x00\x00\x00" + "é".encode() * 4))
    with pytest.raises(MiniragError, match=r"x, row 0, is damaged \(4 bytes for 2 numbers"):
        import_dpr([tmp_path / "x"], one, tmp_path / "v", progress=False)


def test_in_batches(tmp_path, passages, vectors, monkeypatch) -> None:
    monkeypatch.setattr("minirag.retrieval.dpr_shards.BATCH", 3)
    files = shards(tmp_path, vectors)
    assert np.array_equal(import_dpr(files, passages, tmp_path / "v", progress=False)[:].numpy(), vectors)
    changed(files[1], lambda rows: [*rows[:7], ("77", rows[7][1])])
    with pytest.raises(MiniragError, match="out_1, row 7, has the id '77'"):
        import_dpr(files, passages, tmp_path / "w", progress=False)
    assert gathering.SOURCE.startswith(".")  # or the writer takes it for a foreign file


def test_the_command(tmp_path, passages, vectors, capsys) -> None:
    files = [str(path) for path in shards(tmp_path, vectors, "wiki:")]
    folder = str(tmp_path / "v")
    options = ["--passages", str(passages.path), "--out", folder, "--quiet"]
    assert main(["import", "dpr", *files, *options]) == 1
    assert "give 'wiki:' as the prefix of its ids" in capsys.readouterr().err
    assert main(["import", "dpr", *files, *options, "--id-prefix", "wiki:", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": folder, "rows": N, "dim": D, "dtype": "float32"}
    assert main(["import", "dpr", *files, *options, "--id-prefix", "wiki:"]) == 0
    assert capsys.readouterr().out == f"{folder}: 23 vectors of 6 × float32\n"
