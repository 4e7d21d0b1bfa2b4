"""Tables laid out as `wiki_dpr`, Arrow or Parquet, become passages and vectors; bad rows are told with file and row."""

import json
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings

from minirag.cli import main
from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.retrieval.vector_writer import VectorWriter
from minirag.retrieval.vectors import VectorStore
from minirag.retrieval.wiki_dpr import import_wiki_dpr

N, D = 23, 6
VECTORS = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
PASSAGES = [Passage(str(i + 1), "" if i == 3 else f"Titel “{i}”", f"text\t{i}") for i in range(N)]
LISTS = {
    "list": pa.list_(pa.float32()),
    "large": pa.large_list(pa.float32()),
    "fixed": pa.list_(pa.float32(), D),
    "double": pa.list_(pa.float64()),
    "half": pa.list_(pa.float16()),
}


def table(kind: str = "list", strings=None, **columns) -> pa.Table:
    vectors = VECTORS.astype(np.float16) if kind == "half" else VECTORS
    made = {
        "id": pa.array([p.id for p in PASSAGES], strings or pa.string()),
        "text": pa.array([p.text for p in PASSAGES], strings or pa.string()),
        "title": pa.array([p.title for p in PASSAGES], strings or pa.string()),
        "embeddings": pa.array(list(vectors), LISTS[kind]),
    }
    return pa.table({**made, **columns})


def write(path: Path, rows: pa.Table, batch: int = 4) -> Path:
    """As a stream for .arrow, as `datasets` does; in Arrow's file format for .feather; Parquet else."""
    if path.suffix == ".parquet":
        pq.write_table(rows, path, row_group_size=batch)
        return path
    new = pa.ipc.new_stream if path.suffix == ".arrow" else pa.ipc.new_file
    with pa.OSFile(str(path), "wb") as sink, new(sink, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=batch)
    return path


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("suffix", ["arrow", "feather", "parquet"])
def test_passages_and_vectors_row_by_row(tmp_path: Path, kind: str, suffix: str) -> None:
    rows = table(kind, pa.large_string() if kind == "large" else pa.string())
    files = [write(tmp_path / f"{i}.{suffix}", part) for i, part in enumerate([rows[:10], rows[10:11], rows[11:11], rows[11:]])]
    passages, store = import_wiki_dpr(files, tmp_path / "wiki", shard_rows=5, progress=False)
    assert list(passages) == PASSAGES
    expected = VECTORS.astype(np.float16) if kind == "half" else VECTORS
    assert np.array_equal(store[:].numpy(), expected.astype(np.float32))
    assert (store.passages, store.encoder, store.settings.shards) == (passages.fingerprint, "", 5)
    assert VectorStore.open(tmp_path / "wiki" / "vectors").fingerprint == store.fingerprint
    assert PassageStore.open(tmp_path / "wiki" / "passages").fingerprint == passages.fingerprint


def test_a_data_sets_folder_other_columns_and_numbers_as_ids(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    rows = table(id=pa.array(range(1, N + 1)), score=pa.array([0.5] * N))
    for name, part in {"data-00001-of-00002": rows[12:], "data-00000-of-00002": rows[:12], "cache-1": rows}.items():
        write(tmp_path / "saved" / f"{name}.arrow", part)
    (tmp_path / "saved" / "state.json").write_text("{}")
    passages, store = import_wiki_dpr([tmp_path / "saved"], tmp_path / "wiki", "float16", progress=False)
    assert list(passages) == PASSAGES
    assert np.array_equal(store[:].numpy(), VECTORS.astype(np.float16).astype(np.float32))
    (tmp_path / "none").mkdir()
    with pytest.raises(MiniragError, match=r"holds neither \.arrow nor \.parquet files"):
        import_wiki_dpr([tmp_path / "none"], tmp_path / "x", progress=False)


def with_row(number: int, value, name: str) -> pa.Table:
    column = table().column(name).to_pylist()
    column[number] = value
    return table(**{name: pa.array(column, table().column(name).type)})


BAD = {
    "no id": (lambda: with_row(17, None, "id"), "1.arrow, row 7, has no id"),
    "no text": (lambda: with_row(17, None, "text"), "1.arrow, row 7, has no text"),
    "no title": (lambda: with_row(17, None, "title"), "1.arrow, row 7, has no title"),
    "no vector": (lambda: with_row(17, None, "embeddings"), "1.arrow, row 7, has a vector of 0 numbers where the first has 6"),
    "a short vector": (lambda: with_row(17, [1.0] * 4, "embeddings"), "1.arrow, row 7, has a vector of 4 numbers where"),
    "a number missing": (
        lambda: with_row(17, [1.0] * 5 + [None], "embeddings"),
        "1.arrow, row 7, holds NaN or infinity as float32",
    ),
    "NaN": (lambda: with_row(17, [np.nan] * 6, "embeddings"), "1.arrow, row 7, holds NaN"),
    "infinity": (lambda: with_row(17, [np.inf] * 6, "embeddings"), "1.arrow, row 7, holds NaN or infinity as float32"),
    "an id twice": (lambda: with_row(17, "4", "id"), "rows 3 and 17 have the same id '4'"),
    "no vectors at all": (lambda: table().drop(["embeddings"]), "has the columns id, text, title, not one 'embeddings'"),
    "no titles at all": (lambda: table().drop(["title"]), "not one 'title'"),
    "titles twice": (lambda: table().append_column("title", pa.array([""] * N)), "not one 'title'"),
    "ids of another type": (lambda: table(id=pa.array([1.5] * N)), "a column 'id' of type double, which is no text"),
    "texts of bytes": (lambda: table(text=pa.array([b"x"] * N)), "a column 'text' of type binary"),
    "vectors of text": (
        lambda: table(embeddings=pa.array([["a"]] * N)),
        "embeddings of type list<.*string>, which are no vectors",
    ),
    "numbers": (lambda: table(embeddings=pa.array([1.0] * N)), "embeddings of type double"),
    "whole numbers": (lambda: table(embeddings=pa.array([[1]] * N)), "embeddings of type list<.*int64>"),
    "empty vectors": (lambda: table(embeddings=pa.array([[]] * N, LISTS["list"])), "row 0, has a vector of 0 numbers"),
    "no rows": (lambda: table()[:0], "no passages came in"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit(tmp_path: Path, name: str) -> None:
    make, message = BAD[name]
    rows = make()
    files = [write(tmp_path / "0.arrow", rows[:10]), write(tmp_path / "1.arrow", rows[10:])]
    with pytest.raises(MiniragError, match=message):
        import_wiki_dpr(files, tmp_path / "wiki", progress=False)
    assert not (tmp_path / "wiki" / "vectors" / "manifest.json").exists()


def test_infinity_only_in_half_precision(tmp_path: Path) -> None:
    file = write(tmp_path / "x.parquet", with_row(9, [1e6] * D, "embeddings"))
    with pytest.raises(MiniragError, match=r"x\.parquet, row 9, holds NaN or infinity as float16; .*, or store float32"):
        import_wiki_dpr([file], tmp_path / "wiki", "float16", progress=False)
    assert len(import_wiki_dpr([file], tmp_path / "other", progress=False)[1]) == N


def test_a_killed_run_goes_on_and_never_with_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, other = write(tmp_path / "x.arrow", table()), write(tmp_path / "y.arrow", with_row(0, [9.0] * D, "embeddings"))
    whole = import_wiki_dpr([file], tmp_path / "whole", shard_rows=4, progress=False)[1]
    append, written = VectorWriter.append, []

    def killed(self, array) -> None:
        if written == [0, 1]:
            raise KeyboardInterrupt
        written.append(self.next_shard)
        append(self, array)

    monkeypatch.setattr(VectorWriter, "append", killed)
    with pytest.raises(KeyboardInterrupt):
        import_wiki_dpr([file], tmp_path / "wiki", shard_rows=4, progress=False)
    monkeypatch.setattr(VectorWriter, "append", lambda self, array: (written.append(self.next_shard), append(self, array))[1])
    with pytest.raises(MiniragError, match="was begun from other files"):
        import_wiki_dpr([other], tmp_path / "wiki", shard_rows=4, progress=False)
    store = import_wiki_dpr([file], tmp_path / "wiki", shard_rows=4, progress=False)[1]
    assert written == [0, 1, 2, 3, 4, 5]
    assert store.fingerprint == whole.fingerprint


@pytest.mark.parametrize("suffix", ["arrow", "feather", "parquet"])
def test_files_cut_short(tmp_path: Path, suffix: str) -> None:
    file = write(tmp_path / f"x.{suffix}", table()[:8])
    raw = file.read_bytes()
    for length in [0, 3, *range(8, len(raw) - 8, 8)]:  # between the batches of a stream, too
        file.write_bytes(raw[:length])
        with pytest.raises(MiniragError, match=r"cannot be read as Arrow or Parquet"):
            import_wiki_dpr([file], tmp_path / "wiki", progress=False)
    with pytest.raises(MiniragError, match="cannot be read as Arrow or Parquet after row 0"):
        import_wiki_dpr([tmp_path / "none"], tmp_path / "wiki", progress=False)
    (tmp_path / "text").write_text("This is no table, and says so.")
    with pytest.raises(MiniragError, match="cannot be read as Arrow or Parquet after row 0"):
        import_wiki_dpr([tmp_path / "text"], tmp_path / "wiki", progress=False)


@example(suffix="arrow", edits=[(0.0234375, b"\x80")])  # a column's name that is no UTF-8
@given(
    suffix=st.sampled_from(["arrow", "feather", "parquet"]),
    edits=st.lists(st.tuples(st.floats(0, 0.9999), st.binary(min_size=1, max_size=8)), min_size=1, max_size=3),
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_is_an_error_or_other_rows_and_nothing_else(tmp_path: Path, suffix: str, edits: list) -> None:
    file = write(tmp_path / f"x.{suffix}", table())
    raw = bytearray(file.read_bytes())
    for place, new in edits:
        at = int(place * len(raw))
        raw[at : at + len(new)] = new[: len(raw) - at]
    file.write_bytes(raw)
    (tmp_path / "wiki" / "vectors" / ".source.json").unlink(missing_ok=True)  # of the example before
    for name in ("manifest.json", "partial.json"):
        (tmp_path / "wiki" / "vectors" / name).unlink(missing_ok=True)
    for shard in (tmp_path / "wiki" / "vectors").glob("*.npy"):
        shard.unlink()
    try:
        passages, store = import_wiki_dpr([file], tmp_path / "wiki", progress=False)
    except MiniragError:
        return
    assert len(passages) == len(store)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder = write(tmp_path / "x.parquet", table()), tmp_path / "wiki"
    options = ["import", "wiki-dpr", str(file), "--out", str(folder), "--dtype", "float16", "--quiet"]
    assert main([*options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "passages": str(folder / "passages"),
        "vectors": str(folder / "vectors"),
        "rows": N,
        "dim": D,
        "dtype": "float16",
    }
    assert main(options) == 0
    assert f"{folder}/passages: 23 passages\n{folder}/vectors: their vectors of 6 × float16" in capsys.readouterr().out
