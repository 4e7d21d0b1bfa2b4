"""`bench scale`: every stage measured at sizes that take seconds, and the predictions by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_cases import made_up

from minirag import bench
from minirag.bench import scale, scale_stages
from minirag.bench.scale_stages import Setting, alone, questions, vectors
from minirag.cli import main
from minirag.cluster.recall import exact_top, recall
from minirag.errors import MiniragError
from minirag.retrieval.vectors import VectorStore


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    """Stages in this process, which saves the starting of a dozen."""
    monkeypatch.setattr(scale_stages, "alone", scale_stages._run)
    monkeypatch.setattr(scale, "calibrate", lambda *_: made_up(dim=32))


def measure(**options: Any) -> dict[str, Any]:
    return bench.run("scale", progress=False, sizes=(2_000, 4_000), dim=32, lists=32, **options)


@pytest.mark.usefixtures("here")
def test_every_stage_is_measured_and_told(tmp_path: Path) -> None:
    found = measure(ram=50_000_000, growing=True, folder=tmp_path)
    assert not list(tmp_path.iterdir())  # the vectors are gone
    assert found["machine"]["cores"]
    assert [(size["vectors"], size["lists"]) for size in found["sizes"]] == [
        (2_000, 32),
        (4_000, 32),
        (2_000, 51),
        (4_000, 102),
    ]
    rows = {row["case"]: row for row in found["rows"]}
    assert len(rows) == len(found["rows"])
    for size in ("2,000", "4,000"):
        for stage in ("write", "train", "code", "list", "search, one question"):
            assert rows[f"{size}, 32 lists: {stage}"]["ours"] > 0
        assert 0.9 <= rows[f"{size}, 32 lists: search, recall@20"]["ours"] <= 1
        assert rows[f"{size}, 32 lists: train, own memory"]["peer"] == 0.05
        assert rows[f"{size}, 32 lists: search, asked for a candidate"]["ours"] == 64
    assert rows["2,000, 32 lists: code"]["peer"] is None  # nothing smaller predicts it
    assert rows["4,000, 32 lists: code"]["peer"] == pytest.approx(2 * rows["2,000, 32 lists: code"]["ours"])
    assert rows["4,000, 32 lists: code"]["peer_name"] == "predicted from 2,000"
    assert "2,000 to 4,000, 4√N lists: building" in rows
    json.dumps(found)


@pytest.mark.usefixtures("here")
def test_the_command_runs_for_an_inverted_file(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["bench", "scale", "--sizes", "2000", "--dim", "32", "--lists", "16", "--kind", "ivf", "--quiet"]
    assert main([*wanted, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert not any("read for a candidate" in row["case"] for row in told["rows"])  # it looks at the bytes of its lists
    assert main(wanted) == 0
    assert "2,000, 16 lists: search, recall@20" in capsys.readouterr().out


def test_a_stage_alone_tells_its_own_memory(tmp_path: Path) -> None:
    setting = Setting(tmp_path, 100_000, 128, 32, "ivfpq", 50_000_000)
    told = alone("write", setting)
    whole = 65_536 * 128 * 4  # a shard of vectors is drawn at once
    assert told["base"] + whole < told["anon"] <= told["peak"]
    assert told["anon"] < told["base"] + 8 * whole
    assert told["seconds"] > 0
    assert len(VectorStore.open(tmp_path / "vectors")) == 100_000


def test_a_stage_that_is_killed_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: Any) -> Any:
        raise scale_stages.BrokenProcessPool

    monkeypatch.setattr(scale_stages.ProcessPoolExecutor, "submit", broken)
    with pytest.raises(MiniragError, match="stage 'train' over 100 vectors was killed, perhaps for want of memory"):
        alone("train", Setting(tmp_path, 100, 8, 2, "ivfpq", 1_000))


def test_predictions_by_hand() -> None:
    folder, rates = Path(), made_up(dim=32)
    small, large, more = (
        Setting(folder, rows, 32, lists, "ivfpq", 10**9) for rows, lists in ((2_000, 32), (8_000, 32), (8_000, 64))
    )
    assert scale.predicted("write", small, 1.0, large, rates) == 4
    assert scale.predicted("code", small, 1.0, large, rates) == pytest.approx(4)
    # A vector costs a unit for each list, 4 + 32 bytes to write and to sum, and a unit for its code: 32 + 73, and 64 + 73
    assert scale.predicted("code", small, 1.0, more, rates) == pytest.approx(4 * 137 / 105)
    # k-means looks at 256 vectors a list at most: 10 times 32 lists and 2,000 or 8,000; the quantizer at all there are, 9 times
    train = [10 * 32 * n + 1 + n + 8 + 8 * n + 32 * n for n in (2_000, 8_000)]
    assert scale.predicted("train", small, 1.0, large, rates) == pytest.approx(train[1] / train[0])
    # 32 centroids, a table, the rows of 16 lists of 32, and 200 finalists
    search = [32 + 1 + n / 2 + 200 for n in (2_000, 8_000)]
    assert scale.predicted("search", small, 0.5, large, rates) == pytest.approx(0.5 * search[1] / search[0])


def test_sizes_that_do_not_grow_are_refused() -> None:
    for sizes in ((4_000, 2_000), (2_000, 2_000), (10, 2_000)):
        with pytest.raises(MiniragError, match="sizes have to grow, and the first hold 32 vectors or more"):
            scale.run(sizes, 32, 32)


def test_vectors_depend_on_their_shard_alone_and_questions_are_none_of_them() -> None:
    assert torch.equal(vectors(50, 16, 3), vectors(50, 16, 3))
    assert not torch.equal(vectors(50, 16, 3), vectors(50, 16, 4))
    asked = questions(16)
    assert torch.cdist(asked, vectors(2_000, 16, 0)).min() > 0
    rows = vectors(20_000, 16, 0)
    assert rows[:, 0].var() > 8 * rows[:, 15].var()  # the spectrum decays


@settings(max_examples=25)
@given(rows=st.integers(1, 60), k=st.integers(1, 12), chunk=st.integers(1, 30), seed=st.integers(0, 99))
def test_brute_force_by_chunks_is_brute_force(
    rows: int, k: int, chunk: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    generator = torch.Generator().manual_seed(seed)
    array, queries = torch.randn(rows, 6, generator=generator), torch.randn(3, 6, generator=generator)
    store = VectorStore.from_array(tmp_path_factory.mktemp("store") / "v", array, shard_rows=17)
    found = exact_top(store, queries, k, chunk)
    expected = (queries @ array.T).argsort(1, descending=True)[:, :k]
    assert torch.equal(found[:, : expected.shape[1]], expected)
    assert bool((found[:, expected.shape[1] :] == -1).all())
    assert recall(found, found) == 1
    assert recall(torch.full_like(found, -1), found) == 0
