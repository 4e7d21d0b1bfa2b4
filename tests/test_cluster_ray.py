"""Encoding on a Ray cluster, here two nodes on one machine: the bytes of the local run, whoever is killed on the way."""

import copy
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cluster_cases import prose

from minirag import cli
from minirag.cluster.encode import ShardEncoder, encode_corpus
from minirag.cluster.machines import LOOPBACK
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.encode import encode_corpus as encode_locally
from minirag.retrieval.pretrained import mini_biencoder
from minirag.retrieval.vector_writer import VectorSettings

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", LOOPBACK: "0"}
pytest.importorskip("ray.data", reason="Ray Data is not installed: pip install minirag[cluster]")
pytestmark = [
    pytest.mark.usefixtures("one_thread"),  # as many as a worker has
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*"),  # Ray warns itself of what it still does
]
ROWS = 40  # in a shard


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Passages, the shipped encoder, and what the local run makes of them."""
    home = tmp_path_factory.mktemp("ray")
    store, _ = prose(home / "all")
    passages = PassageStore.write(home / "passages", store[:310])  # eight shards, the last one shorter
    encoder = mini_biencoder(dtype="float32")
    encoder.save_pretrained(home / "encoder")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    encode_locally(passages, encoder, home / "local", ROWS, "float16", progress=False)
    torch.set_num_threads(threads)
    return SimpleNamespace(home=home, passages=passages, encoder=encoder)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of two nodes that only this machine can reach, with this process connected to them."""
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args={**node, "num_gpus": 1})  # the GPU is there in name only
    nodes.add_node(**node)
    ray.init(nodes.address, log_to_driver=False, logging_level="error")
    yield nodes.address
    ray.shutdown()
    nodes.shutdown()


def watched(here: SimpleNamespace, folder: Path, **planted: Any) -> BiEncoder:
    """The encoder, but it notes each shard that it begins in `folder`, and does what is planted.

    `dies={shard: n}`: the first n workers that begin it kill themselves; `kills=shard`: it kills the process whose id is in the
    file `driver`; `broken=shard`: one of its vectors is NaN.
    """

    class Watched(BiEncoder):  # defined here, so that it travels to the workers, who cannot import this file
        def encode_passages(self, passages: Any, on_batch: Any = None) -> Any:
            shard = first.index(passages[0].id)
            times = len(list(folder.glob(f"{shard}-*"))) + 1
            (folder / f"{shard}-{times}").touch()
            if times <= planted.get("dies", {}).get(shard, 0):
                os.kill(os.getpid(), signal.SIGKILL)
            if shard == planted.get("kills"):
                os.kill(int((folder / "driver").read_text()), signal.SIGKILL)
            vectors = super().encode_passages(passages, on_batch).clone()
            if shard == planted.get("broken"):
                vectors[3] = torch.nan
            return vectors

    folder.mkdir()
    first = [here.passages[row].id for row in range(0, len(here.passages), ROWS)]
    encoder = copy.copy(here.encoder)
    encoder.__class__ = Watched
    return encoder


def begun(folder: Path) -> list[int]:
    """The shards that were begun, as often as they were."""
    return sorted(int(path.name.split("-")[0]) for path in folder.glob("*-*"))


def assert_same_bytes(folder: Path, other: Path) -> None:
    assert sorted(os.listdir(folder)) == sorted(os.listdir(other))
    for path in folder.iterdir():
        assert path.read_bytes() == (other / path.name).read_bytes(), path.name


def settings_of(here: SimpleNamespace, **other: Any) -> VectorSettings:
    names = {"encoder": here.encoder.fingerprint, "passages": here.passages.fingerprint} | other
    return VectorSettings(len(here.passages), here.encoder.dim, "float16", ROWS, **names)


def actor(here: SimpleNamespace, with_encoder: BiEncoder, out: Path, **other: Any) -> ShardEncoder:
    """What Ray would start elsewhere, in this process."""
    import ray

    (out / ".parts").mkdir(parents=True, exist_ok=True)
    return ShardEncoder(
        str(here.passages.path), [ray.put(with_encoder)], str(out), settings_of(here, **other), threads=1, gpus=0
    )


def test_a_worker_is_killed_and_whole_parts_are_taken_over(
    here: SimpleNamespace, cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    earlier = actor(here, here.encoder, out)  # of a run that stopped after three shards, one of them damaged since
    assert [earlier({"shard": shard})["error"] for shard in (0, 2, 3)] == ["", "", ""]
    with open(out / ".parts" / "00003" / "vectors-00000.npy", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x99")
    encode_corpus(here.passages, watched(here, tmp_path / "log", dies={5: 1}), out, ROWS, "float16", progress=False)
    assert_same_bytes(out, here.home / "local")
    assert begun(tmp_path / "log") == [1, 3, 4, 5, 5, 6, 7]  # shard 5 twice: its first worker died of it

    capsys.readouterr()
    line = ["encode", "--engine", "ray", "--passages", here.home / "passages", "--encoder", here.home / "encoder", "--out", out]
    assert cli.main([*map(str, line), "--dtype", "float16", "--shard-rows", str(ROWS), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 310
    assert_same_bytes(out, here.home / "local")


def test_what_a_worker_refuses_is_told_in_one_sentence(here: SimpleNamespace, cluster: str, tmp_path: Path) -> None:
    broken = actor(here, watched(here, tmp_path / "log", broken=5), tmp_path / "out")
    assert broken({"shard": 4}) == {"shard": 4, "error": ""}
    assert broken({"shard": 5})["error"].startswith("shard 5, rows 200 to 239: vector 3 holds NaN")
    other = actor(here, here.encoder, tmp_path / "out", encoder="another")
    assert "has another encoder than the rest" in other({"shard": 0})["error"]
    other = actor(here, here.encoder, tmp_path / "out", passages="others")
    assert "has another passages than the rest" in other({"shard": 0})["error"]
    (tmp_path / "elsewhere").mkdir()
    lost = actor(here, here.encoder, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / ".parts").rmdir()
    assert "write to a folder that all machines share" in lost({"shard": 0})["error"]
    (tmp_path / "out" / ".parts" / "00001.tries").write_text("....")
    assert "4 workers died of it" in actor(here, here.encoder, tmp_path / "out")({"shard": 1})["error"]
    assert sorted(path.name for path in (tmp_path / "out" / ".parts").glob("*[0-9]")) == ["00004"]


def test_a_cluster_without_room_says_so(here: SimpleNamespace, cluster: str, tmp_path: Path) -> None:
    for asked in ({"threads": 2}, {"gpus": 2}):
        with pytest.raises(MiniragError, match="no machine of the Ray cluster has"):
            encode_corpus(here.passages, here.encoder, tmp_path / "out", progress=False, **asked)


def test_without_ray_the_extra_is_named(here: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MiniragError, match=r"pip install minirag\[cluster\]"):
        encode_corpus(here.passages, here.encoder, tmp_path / "out")


def test_options_of_ray_without_ray(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        cli.main(["encode", "--passages", "p", "--out", "o", "--workers", "2"])
    assert "belong to --engine ray" in capsys.readouterr().err


@pytest.mark.slow
def test_a_broken_shard_ends_the_run_and_a_deadly_one_too(here: SimpleNamespace, cluster: str, tmp_path: Path) -> None:
    out, same = tmp_path / "out", {"shard_rows": ROWS, "dtype": "float16", "progress": False}
    with pytest.raises(MiniragError, match=r"^shard 5, rows 200 to 239: vector 3 holds NaN"):
        encode_corpus(here.passages, watched(here, tmp_path / "a", broken=5), out, **same)
    with pytest.raises(MiniragError, match=r"^shard 5, rows 200 to 239: 4 workers died of it"):
        encode_corpus(here.passages, watched(here, tmp_path / "b", dies={5: 99}), out, **same)
    assert begun(tmp_path / "b").count(5) == 4
    encode_corpus(here.passages, here.encoder, out, **same, gpus=1)
    assert_same_bytes(out, here.home / "local")


@pytest.mark.slow
def test_the_driver_is_killed(here: SimpleNamespace, cluster: str, tmp_path: Path) -> None:
    """The process that started it all dies in the middle; begun again, what is on disk is not computed again."""
    out, log = tmp_path / "out", tmp_path / "a"
    planted = watched(here, log, kills=6)
    import ray

    (tmp_path / "encoder").write_bytes(ray.cloudpickle.dumps(planted))
    driver = subprocess.run([sys.executable, "-W", "ignore", "-c", DRIVER, tmp_path, here.home, cluster])
    assert driver.returncode == -signal.SIGKILL
    assert 6 in begun(log)
    parts = {int(path.name) for path in (out / ".parts").glob("*[0-9]") if (path / "manifest.json").exists()}
    whole = parts | {int(path.stem[-5:]) for path in out.glob("vectors-*.npy")}
    assert whole
    encode_corpus(here.passages, watched(here, tmp_path / "b"), out, ROWS, "float16", progress=False)
    assert set(begun(tmp_path / "b")) <= set(range(8)) - whole
    assert_same_bytes(out, here.home / "local")


DRIVER = """
import os, pickle, sys
from pathlib import Path
import ray, torch
from minirag.cluster.encode import encode_corpus
from minirag.corpus.store import PassageStore
here, home, address = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
(here / "a" / "driver").write_text(str(os.getpid()))
ray.init(address, log_to_driver=False, logging_level="error")
encoder = pickle.loads((here / "encoder").read_bytes())
encode_corpus(PassageStore.open(home / "passages"), encoder, here / "out", 40, "float16", progress=False)
"""


def alone(home: Path) -> dict[str, str]:
    """The environment of a process that has not heard of a cluster; Ray keeps its password under `home`."""
    known = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", LOOPBACK)}
    return known | {"OMP_NUM_THREADS": "1", "HOME": str(home)}


@pytest.mark.slow
def test_a_cluster_of_this_machine_alone(here: SimpleNamespace, tmp_path: Path) -> None:
    """As from the command line, where no cluster is named."""
    line = ["encode", "--engine", "ray", "--passages", here.home / "passages", "--encoder", here.home / "encoder"]
    line += ["--out", tmp_path / "out", "--dtype", "float16", "--shard-rows", ROWS, "--json", "--workers", 2]
    program = [sys.executable, "-c", "import sys; from minirag import cli; sys.exit(cli.main(sys.argv[1:]))"]
    done = subprocess.run([*program, *map(str, line)], capture_output=True, text=True, env=alone(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 310
    assert_same_bytes(tmp_path / "out", here.home / "local")


@pytest.mark.slow
def test_no_other_machine_can_reach_it(tmp_path: Path) -> None:
    code = """
import psutil
from minirag.cluster.machines import connected
with connected() as ray:
    assert ray.get(ray.remote(lambda: 1).remote()) == 1
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        for socket in process.net_connections(kind="inet"):
            if socket.status == psutil.CONN_LISTEN:
                print(socket.laddr.ip.removeprefix("::ffff:"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=alone(tmp_path))
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"127.0.0.1"}
