"""The stages of `bench scale`, each in a process of its own that tells its time and the most memory it took.

Vectors: a thousand Gaussian clusters whose coordinates have ever smaller variances, as those of learnt vectors have along their
principal components; with as much variance between clusters as twice that within. Each shard depends on its number alone.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import torch
from jaxtyping import Float32
from torch import Tensor

from minirag.cluster.recall import exact_top, recall
from minirag.errors import MiniragError
from minirag.retrieval import build as building
from minirag.retrieval.build import BuildSettings, build
from minirag.retrieval.ivf import IVFIndex
from minirag.retrieval.ivfpq import IVFPQIndex
from minirag.retrieval.pq import usual_pieces
from minirag.retrieval.vectors import VectorSettings, VectorStore

CLUSTERS, WITHIN = 1_000, 0.7
SHARD = 65_536
K, ASKED, BATCH, COLD = 20, 200, 512, 32
QUESTIONS = 1_000_000  # the number of the shard that questions are drawn as
STAGES = ("write", "exact", "train", "code", "list", "search")


@dataclass(frozen=True)
class Setting:
    """Where, how many, and how they are indexed."""

    folder: Path
    rows: int
    dim: int
    lists: int
    kind: str
    ram: int

    @property
    def build(self) -> BuildSettings:
        kind: Literal["ivf", "ivfpq"] = "ivf" if self.kind == "ivf" else "ivfpq"
        return BuildSettings(kind, self.lists, pieces=usual_pieces(self.dim), ram=self.ram)

    @property
    def index(self) -> Path:
        return self.folder / f"index-{self.lists}"

    @property
    def work(self) -> Path:
        """Where `build` keeps what is not finished."""
        return self.index.with_name(f".{self.index.name}.building")

    def store(self) -> VectorStore:
        return VectorStore.open(self.folder / "vectors", verify=False)


def alone(stage: str, setting: Setting) -> dict[str, Any]:
    """A stage in a process of its own: `seconds`, `peak` and `anon` and `base` in bytes, and what the stage itself tells.

    `peak` is of everything, mapped files too; `anon` of what is the process's own; `base` is what was its own before.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_run, stage, setting).result()
        except BrokenProcessPool:
            raise MiniragError(
                f"the process of stage '{stage}' over {setting.rows:,} vectors was killed, perhaps for want of memory; "
                "take fewer vectors or less --ram"
            ) from None


def _run(stage: str, setting: Setting) -> dict[str, Any]:
    base = _memory("RssAnon")
    with _Watch() as watch:
        start = time.perf_counter()
        told = {"write": _write, "exact": _exact, "train": _train, "code": _code, "list": _list, "search": _search}[stage](
            setting
        )
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": _memory("VmHWM"), "anon": max(watch.highest, base), "base": base, **(told or {})}


def vectors(rows: int, dim: int, shard: int) -> Float32[Tensor, "n D"]:
    """The vectors of a shard."""
    centers = torch.randn(CLUSTERS, dim, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1 + shard)
    cluster = torch.randint(0, CLUSTERS, (rows,), generator=generator)
    spread = (1 + torch.arange(dim)) ** -0.5
    return (centers[cluster] + WITHIN * torch.randn(rows, dim, generator=generator)) * spread


def questions(dim: int) -> Float32[Tensor, "B D"]:
    """Drawn as the vectors are, but none of them."""
    return vectors(BATCH, dim, QUESTIONS)


def _write(setting: Setting) -> None:
    def blocks() -> Iterator[Tensor]:
        for shard, low in enumerate(range(0, setting.rows, SHARD)):
            yield vectors(min(SHARD, setting.rows - low), setting.dim, shard)

    VectorStore.write(setting.folder / "vectors", blocks(), VectorSettings(setting.rows, setting.dim, "float16", SHARD))


def _exact(setting: Setting) -> None:
    np.save(setting.folder / "exact.npy", exact_top(setting.store(), questions(setting.dim)[:ASKED], K).numpy())


def _train(setting: Setting) -> None:  # `build` does all stages at one call; here each is to have its own process
    setting.work.mkdir()
    building._trained(setting.work / "trained", setting.store(), setting.build, False)


def _code(setting: Setting) -> None:
    index = building._trained(setting.work / "trained", setting.store(), setting.build, False)
    building._coded(setting.work / "coded", setting.store(), index, False)


def _list(setting: Setting) -> None:
    build(setting.store(), setting.index, setting.build, progress=False)  # it finds the other stages done


def _search(setting: Setting) -> dict[str, Any]:
    kind: Any = IVFIndex if setting.kind == "ivf" else IVFPQIndex
    index, asked = kind.load(setting.index, verify=False), questions(setting.dim)
    for warm_up in (asked, asked[:1]):
        index.search(warm_up, K)
    batch = statistics.median(_timed(lambda: index.search(asked, K)) for _ in range(3))
    singles = sorted(_timed(lambda i=i: index.search(asked[i : i + 1], K)) for i in range(ASKED))  # type: ignore[misc]
    exact = torch.from_numpy(np.load(setting.folder / "exact.npy"))
    found = index.search(asked[:ASKED], K)[1]
    return {
        "median": statistics.median(singles),
        "p95": singles[int(0.95 * len(singles))],
        "batch of 512": batch,
        "recall@20": recall(found, exact),
        **_from_disk(setting, index, asked[:COLD]),
    }


def _from_disk(setting: Setting, index: Any, asked: Tensor) -> dict[str, float | None]:
    """The same questions once more, when the page cache has forgotten the vectors: seconds a question, and bytes a candidate.

    `asked`: a row in float16; `read`: what the system fetched for it, whole pages. None where it does not tell.
    """
    told: dict[str, float | None] = {"cold": None, "asked for a candidate": 2.0 * setting.dim, "read for a candidate": None}
    if setting.kind == "ivf" or not hasattr(os, "posix_fadvise") or not Path("/proc/self/io").exists():
        return told
    index.memory.release()
    for path in (setting.folder / "vectors").glob("*.npy"):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before = _bytes_read()
    seconds = [_timed(lambda i=i: index.search(asked[i : i + 1], K)) for i in range(len(asked))]  # type: ignore[misc]
    candidates = len(asked) * min(index.finalists, setting.rows)
    return told | {"cold": statistics.median(seconds), "read for a candidate": (_bytes_read() - before) / candidates}


def _bytes_read() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("read_bytes:")))


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _memory(field: str) -> int:
    """Bytes by the system's own account: VmHWM, the most that ever was, or RssAnon, what is now without the pages of files.
    Where Linux does not tell, all that there is now."""
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith(f"{field}:"))) * 1_024
    return psutil.Process().memory_info().rss


class _Watch:
    """Looks at its own memory every ten milliseconds and keeps the highest; the system keeps only that of everything."""

    def __init__(self) -> None:
        self.highest, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.wait(0.01):
            self.highest = max(self.highest, _memory("RssAnon"))

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
