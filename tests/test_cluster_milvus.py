"""The index in Milvus, here Milvus Lite: the rows of an exact search, revised like any other, in collections of its own."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cluster_cases import prose
from search_cases import assert_equal, brute_force

from minirag import cli
from minirag.cluster import milvus
from minirag.cluster.collection import MilvusSettings, connect, parse
from minirag.cluster.milvus import MilvusIndex
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.retriever import Retriever
from minirag.retrieval.vectors import VectorStore

pytest.importorskip("pymilvus", reason="pymilvus is not installed: pip install minirag[cluster]")
pytest.importorskip("milvus_lite", reason="milvus-lite is not installed: pip install minirag[cluster]")
N, D = 500, 12
NEAR = MilvusSettings(n_lists=4, n_probe=4, links=16, ef_search=N)  # looks everywhere, so that every kind is exact


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for local files of Milvus; their servers end with the tests."""
    yield tmp_path_factory.mktemp("milvus")
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_all()


@pytest.fixture
def address(home: Path, request: pytest.FixtureRequest) -> str:
    name = re.sub(r"\W", "_", request.node.name)
    return f"milvus://{home}/m.db/{name}"


@pytest.fixture
def vectors() -> torch.Tensor:
    return torch.randn(N, D)


def settings(kind: str) -> MilvusSettings:
    return replace(NEAR, kind=kind)


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_the_rows_of_an_exact_search(address: str, vectors: torch.Tensor, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus, "MESSAGE", 4 * D * 70)  # eight insertions
    monkeypatch.setattr(milvus, "QUESTIONS", 3)
    index = MilvusIndex.create(address, D, settings(kind))
    index.add(vectors[:321])
    index.add(vectors[321:].double().numpy())
    queries = torch.randn(7, D)
    before = index.search(queries, 10)
    index.flush()
    assert len(index) == N
    for found in (before, index.search(queries, 10), MilvusIndex.open(address).search(queries, 10)):
        assert_equal(found, brute_force(vectors, queries, 10), vectors, queries)
    index.close()


def test_by_hand(address: str) -> None:
    index = MilvusIndex.create(address, dim=2)
    assert index.search(torch.ones(1, 2), 2)[1].tolist() == [[-1, -1]]
    index.add(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    scores, ids = index.search(torch.tensor([[1.0, 1.0], [3.0, 0.0]]), 3)
    assert (scores.dtype, ids.dtype) == (torch.float32, torch.int64)
    assert ids.tolist() == [[1, 0, -1], [0, 1, -1]]
    assert scores.tolist() == [[2.0, 1.0, -torch.inf], [3.0, 0.0, -torch.inf]]
    assert index.search(torch.empty(0, 2), 3)[0].shape == (0, 3)


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_rows_are_replaced_removed_and_come_back(address: str, vectors: torch.Tensor, kind: str) -> None:
    index, queries = MilvusIndex.create(address, D, settings(kind)), torch.randn(5, D)
    index.add(vectors)
    index.flush()
    gone, changed = torch.tensor([3, N - 1, 77]), torch.tensor([4, 400])
    index.remove(gone)
    index.replace(changed, 5 * queries[:2])
    now = vectors.clone()
    now[changed] = 5 * queries[:2]
    alive = torch.ones(N, dtype=torch.bool)
    alive[gone] = False
    kept = alive.nonzero()[:, 0]
    scores, rows = brute_force(now[kept], queries, 10)
    index.flush()
    for again in (index, MilvusIndex.open(address)):  # what was removed stays so
        assert len(again) == N
        assert_equal(again.search(queries, 10), (scores, kept[rows]), now, queries)
    index.replace(gone, vectors[gone])
    now[gone] = vectors[gone]
    assert_equal(index.search(queries, 10), brute_force(now, queries, 10), now, queries)


def test_what_cannot_be_revised_is_said(address: str, vectors: torch.Tensor) -> None:
    index = MilvusIndex.create(address, D)
    index.add(vectors[:9])
    index.remove(torch.tensor([2]))
    for ids, said in (([2], "row 2 was removed before"), ([9], "no row 9"), ([-1], "no row -1"), ([1, 1], "same id twice")):
        with pytest.raises(MiniragError, match=said):
            index.remove(torch.tensor(ids))
    with pytest.raises(MiniragError, match="2 ids but 1 vectors"):
        index.replace(torch.tensor([0, 1]), vectors[:1])
    for bad, said in ((torch.full((1, D), torch.nan), "NaN"), (torch.zeros(1, D + 1), "13 dimensions")):
        for call in (index.add, lambda rows: index.search(rows, 1), lambda rows: index.replace(torch.tensor([0]), rows)):
            with pytest.raises(MiniragError, match=said):
                call(bad)
    with pytest.raises(MiniragError, match="k is 0"):
        index.search(vectors[:1], 0)
    assert len(index) == 9


def test_more_hits_than_milvus_gives_are_refused(address: str, vectors: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus, "MOST", 8)
    index = MilvusIndex.create(address, D)
    index.add(vectors[:8])
    assert index.search(vectors[:1], 20)[1][0, 8:].eq(-1).all()
    index.add(vectors[:1])
    with pytest.raises(MiniragError, match="at most 8 rows"):
        index.search(vectors[:1], 20)


def test_milvus_lite_has_no_product_quantisation(address: str) -> None:
    with pytest.raises(MiniragError, match=r"Milvus Lite has no IVF_PQ; choose flat, ivf or hnsw"):
        MilvusIndex.create(address, D, MilvusSettings("ivfpq"))
    with pytest.raises(MiniragError, match="kind 'pq' is not known"):
        MilvusSettings("pq")
    assert MilvusSettings("ivfpq", n_lists=9, sub_vectors=3).building(D) == {"nlist": 9, "m": 3, "nbits": 8}


def test_an_interrupted_building_is_finished(address: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = torch.randn(100, D), torch.randn(4, D)
    store = VectorStore.from_array(home / "interrupted", vectors, encoder="e", passages="p")
    monkeypatch.setattr(milvus, "MESSAGE", 4 * D * 30)
    add, inserted = MilvusIndex.add, []

    def interrupted(self: MilvusIndex, rows: torch.Tensor) -> None:
        if len(inserted) == 2:
            raise KeyboardInterrupt
        inserted.append(len(self))
        add(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(MilvusIndex, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            MilvusIndex.build(address, store)
    assert len(MilvusIndex.open(address)) == 60
    monkeypatch.setattr(MilvusIndex, "add", lambda self, rows: (inserted.append(len(self)), add(self, rows))[0])
    index = MilvusIndex.build(address, store)
    assert inserted == [0, 30, 60, 90]
    assert_equal(index.search(queries, 9), brute_force(vectors, queries, 9), vectors, queries)
    assert MilvusIndex.build(address, store).memory == milvus.Origin("e", "p")  # a whole one is built anew
    assert inserted[4:] == [0, 30, 60, 90]
    other = VectorStore.from_array(home / "others", vectors[:50], encoder="other", passages="p")
    assert len(MilvusIndex.build(address, other)) == 50


def test_missing_rows_are_seen(address: str, home: Path) -> None:
    store = VectorStore.from_array(home / "holes", torch.randn(20, D))
    index = MilvusIndex.build(address, store)
    index._client.delete(parse(address)[1], ids=[7])
    with pytest.raises(MiniragError, match="lacks rows"):
        MilvusIndex.open(address)
    assert len(MilvusIndex.build(address, store)) == 20


def test_collections_of_others_are_left_alone(address: str) -> None:
    name, client = parse(address)[1], connect(address, new=True)
    client.create_collection(name, dimension=4)
    for call in (lambda: MilvusIndex.create(address, 4), lambda: MilvusIndex.open(address)):
        with pytest.raises(MiniragError, match=r"another program's collection|no index of minirag"):
            call()
    assert client.has_collection(name)
    with pytest.raises(MiniragError, match="there is no index of minirag at"):
        MilvusIndex.open(address + "x")


@pytest.mark.parametrize(
    "wrong",
    ["milvus://", "milvus://wiki", "milvus://host:1/", "milvus://host/a b", "milvus://u@host/c", "http://h/x/c", "runs"],
)
def test_what_is_no_address(wrong: str) -> None:
    with pytest.raises(MiniragError, match="is no address of Milvus"):
        parse(wrong)


def test_addresses() -> None:
    assert parse("https://host:443/wiki") == ("https://host:443", "wiki")
    assert parse("http://host/wiki_2") == ("http://host", "wiki_2")
    assert parse("milvus:///data/m.db/wiki") == ("/data/m.db", "wiki")


def test_a_file_that_is_missing_or_held_by_another_process(home: Path) -> None:
    with pytest.raises(MiniragError, match=r"none\.db does not exist"):
        MilvusIndex.open(f"milvus://{home}/none.db/wiki")
    assert not (home / "none.db").exists()
    MilvusIndex.create(f"milvus://{home}/held.db/wiki", dim=2)
    code = "import sys; from minirag import cli; sys.exit(cli.main(sys.argv[1:]))"
    line = ["index", "info", f"milvus://{home}/held.db/wiki"]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, *line], capture_output=True, text=True)
    assert done.returncode == 1, done
    assert "no other process holds its file" in done.stderr.splitlines()[-1]


def test_the_file_is_opened_by_the_next_process(home: Path) -> None:
    from milvus_lite.server_manager import server_manager_instance

    index = MilvusIndex.create(f"milvus://{home}/next.db/wiki", dim=2)
    index.add(torch.eye(2))
    index.remove(torch.tensor([0]))
    index.close()
    server_manager_instance.release_server(f"{home}/next.db")  # what happens at the end of a process
    assert MilvusIndex.open(index.address).search(torch.ones(1, 2), 2)[1].tolist() == [[1, -1]]


def test_a_folder_stands_for_the_collection(address: str, home: Path, vectors: torch.Tensor) -> None:
    index = MilvusIndex.create(address, D, settings("hnsw"), encoder="e", passages="p")
    index.add(vectors)
    index.save(home / "saved")
    again = MilvusIndex.load(home / "saved")
    assert (again.settings, again.memory, len(again)) == (index.settings, index.memory, N)
    index.add(vectors[:1])
    with pytest.raises(MiniragError, match="no longer what"):
        MilvusIndex.load(home / "saved")


@pytest.fixture(scope="module")
def miniwiki(home: Path) -> dict[str, Any]:
    """Real text: passages of MiniWiki's prose and questions about them, as the shipped encoder sees them."""
    from minirag.retrieval.encode import encode_corpus
    from minirag.retrieval.pretrained import mini_biencoder

    passages, questions = prose(home / "passages")
    encoder = mini_biencoder(dtype="float32")
    encoder.save_pretrained(home / "encoder")
    store = encode_corpus(passages, encoder, home / "vectors", progress=False)
    return {"passages": passages, "encoder": encoder, "store": store, "questions": questions}


def test_real_passages_are_found_as_by_the_exact_index(address: str, miniwiki: dict[str, Any]) -> None:
    store, queries = miniwiki["store"], miniwiki["encoder"].encode_queries(miniwiki["questions"])
    index, exact = MilvusIndex.build(address, store), ExactIndex(store.shape[1])
    exact.add(store)
    scores, ids = exact.search(queries, 10)
    assert_equal(index.search(queries, 10), (scores.double(), ids), store[:], queries)
    retriever = Retriever(index, miniwiki["passages"], miniwiki["encoder"])
    (found,) = retriever.search(miniwiki["questions"][:1], 3)
    assert found.passages == miniwiki["passages"].take(found.rows)


def test_what_does_not_belong_together_is_refused(address: str, miniwiki: dict[str, Any], home: Path) -> None:
    from minirag.retrieval.pretrained import mini_biencoder

    index = MilvusIndex.build(address, miniwiki["store"])
    other = PassageStore.write(home / "others_passages", reversed(list(miniwiki["passages"])))
    with pytest.raises(MiniragError, match="other passages"):
        Retriever(index, other, miniwiki["encoder"])
    with pytest.raises(MiniragError, match="another encoder's"):
        Retriever(index, miniwiki["passages"], mini_biencoder(dtype="float32", max_length=20))
    with pytest.raises(MiniragError, match="give the encoder"):
        Retriever(index, miniwiki["passages"])


def test_the_commands_take_an_address(address: str, miniwiki: dict[str, Any], home: Path, capsys: Any) -> None:
    def run(*line: str) -> Any:
        assert cli.main([*line, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    build = ["index", "build", "--vectors", str(home / "vectors"), "--quiet"]
    run(*build, "--kind", "exact", "--out", str(home / "exact"))
    assert run(*build, "--kind", "milvus-hnsw", "--out", address)["rows"] == len(miniwiki["store"])
    info = run("index", "info", address)
    assert (info["kind"], info["rows"], info["settings"]["encoder"]) == (
        "milvus-hnsw",
        len(miniwiki["store"]),
        miniwiki["store"].encoder,
    )
    search = ["search", *miniwiki["questions"][:3], "--passages", str(home / "passages"), "--encoder", str(home / "encoder")]
    assert rows(run(*search, "--index", address)) == rows(run(*search, "--index", str(home / "exact")))
    MilvusIndex.open(address).save(home / "pointer")
    assert rows(run(*search, "--index", str(home / "pointer"))) == rows(run(*search, "--index", address))
    with pytest.raises(SystemExit):
        cli.main([*build, "--kind", "exact", "--out", address])
    assert "goes to a folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main([*build, "--kind", "milvus-flat", "--out", str(home / "folder")])
    assert "goes to a milvus://… address" in capsys.readouterr().err


def rows(results: dict[str, Any]) -> list[list[int]]:
    return [[passage["row"] for passage in result["passages"]] for result in results["results"]]


@pytest.mark.slow
def test_a_hundred_thousand_vectors(address: str) -> None:
    vectors, queries = torch.randn(100_000, 128), torch.randn(64, 128)
    index = MilvusIndex.create(address, 128)
    index.add(vectors)
    index.flush()
    assert_equal(index.search(queries, 20), brute_force(vectors, queries, 20), vectors, queries)


def test_without_pymilvus_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(MiniragError, match=r"pip install minirag\[cluster\]"):
        connect("milvus://localhost:19530/wiki")
