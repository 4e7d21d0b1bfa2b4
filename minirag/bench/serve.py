"""The query service under a class: many clients that ask without a pause, over loopback, for a while.

The server is a process of its own, over MiniWiki with the bi-encoder that ships, started by `minirag serve`. Beside it, in
turn, the same server that works on one request at a time: what batching is worth, and whether it finds the same.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.retrieval.encode import encode_corpus
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.pretrained import mini_biencoder

Row = dict[str, Any]
ROUNDING = 0.02  # of a score: where an encoder counts in bfloat16, vectors depend that much on what is encoded together


@dataclass
class Seen:
    """What the clients saw."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    found: dict[str, dict[int, float]] = field(default_factory=dict)  # question → passage → score
    lasted: float = 0.0
    memory: tuple[int, int] = (0, 0)  # of the server, half way and at the end: at first, code is made for every shape of batch

    def percentile(self, share: float) -> float:
        return sorted(self.seconds)[min(int(share * len(self.seconds)), len(self.seconds) - 1)]

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.lasted


def run(clients: int = 64, seconds: float = 60.0, k: int = 5) -> list[Row]:
    """Requests per second, latency, memory and errors: with batches, and one by one."""
    with tempfile.TemporaryDirectory() as name:
        return measure(Path(name), _made(Path(name)), clients, seconds, k)


def measure(folder: Path, questions: Sequence[str], clients: int, seconds: float, k: int) -> list[Row]:
    """`run` over an index and passages that the folder holds. Raises `MiniragError` if any request fails."""
    seen = {}
    for most in (64, 1):
        with _server(folder, most) as (port, process):
            seen[most] = _asked(port, process, questions, clients, seconds, k)
    ours, one_by_one = seen[64], seen[1]
    for own in seen.values():
        if own.errors:
            raise MiniragError(f"{len(own.errors)} of the requests failed, the first with: {own.errors[0]}")
    equal = all(same(ours.found[one], one_by_one.found[one]) for one in ours.found.keys() & one_by_one.found.keys())
    case = f"{clients} clients, {seconds:g} s"
    rows = [_row(f"{case}, requests", ours.rate, one_by_one.rate, "1/s", ours.rate / one_by_one.rate, equal)]
    for share in (0.5, 0.95, 0.99):
        mine, theirs = (1000 * own.percentile(share) for own in (ours, one_by_one))
        rows.append(_row(f"{case}, latency p{100 * share:g}", mine, theirs, "ms", theirs / mine, equal))
    begun, ended = (memory / 1e6 for memory in ours.memory)
    rows.append(
        _row(f"{case}, memory at the end, and half way", ended, begun, "MB", begun / ended, equal) | {"peer_name": "earlier"}
    )
    return [*rows, _row(f"{case}, requests that failed", 0.0, 0.0, "", 1.0, equal)]


def same(one: dict[int, float], other: dict[int, float]) -> bool:
    """Whether two searches found the same passages with the same scores, but for rounding.

    >>> same({3: 0.9, 7: 0.500}, {3: 0.9, 8: 0.501}), same({3: 0.9, 7: 0.5}, {3: 0.9, 8: 0.8})
    (True, False)
    """
    slack = ROUNDING * max(map(abs, [*one.values(), *other.values()]))
    alike = all(abs(one[row] - other[row]) <= slack for row in one.keys() & other.keys())
    return alike and all(
        mine[row] <= min(theirs.values()) + slack
        for mine, theirs in ((one, other), (other, one))
        for row in mine.keys() - theirs.keys()
    )


def _row(case: str, ours: float, peer: float, unit: str, ratio: float, equal: bool) -> Row:
    return {"case": case, "ours": ours, "peer": peer, "peer_name": "one by one", "unit": unit, "ratio": ratio, "equal": equal}


def _made(folder: Path) -> list[str]:
    """Passages and an index in the folder; questions to ask."""
    wiki, encoder = MiniWiki.load(), mini_biencoder()
    passages = PassageStore.write(folder / "passages", wiki.passages)
    index = ExactIndex(encoder.dim)
    index.add(encode_corpus(passages, encoder, folder / "vectors", progress=False))
    index.save(folder / "index")
    return [example.text for example in wiki.by_split("nq")["dev"]]


@contextlib.contextmanager
def _server(folder: Path, most: int) -> Iterator[tuple[int, psutil.Process]]:
    options = ["--index", folder / "index", "--passages", folder / "passages", "--port", "0", "--batch", str(most)]
    command = [sys.executable, "-c", "import sys; from minirag.cli import main; sys.exit(main())", "serve", *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        said = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
        if said is None:
            raise MiniragError("the server did not start; run `minirag serve` to see why")
        try:
            yield int(said[1]), psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)


def _asked(port: int, process: psutil.Process, questions: Sequence[str], clients: int, seconds: float, k: int) -> Seen:
    seen, begun = Seen(), time.perf_counter()
    end = begun + seconds
    threads = [
        threading.Thread(target=_client, args=(port, questions[number % len(questions) :: clients], end, k, seen))
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    threads[0].join(seconds / 2)
    half_way = process.memory_info().rss
    for thread in threads:
        thread.join()
    seen.lasted, seen.memory = time.perf_counter() - begun, (half_way, process.memory_info().rss)
    return seen


def _client(port: int, questions: Sequence[str], end: float, k: int, seen: Seen) -> None:
    """Ask one question of its own after the other over one connection until the time is over."""
    turns = itertools.cycle(questions)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        while (start := time.perf_counter()) < end:
            try:
                connection.request("GET", f"/api/search?q={quote(question := next(turns))}&k={k}")
                response = connection.getresponse()
                found = json.loads(response.read())
                if response.status != 200 or len(found["passages"]) != k:
                    seen.errors.append(str(found))
                else:
                    seen.found[question] = {z["row"]: z["score"] for z in found["passages"]}
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                seen.errors.append(repr(error))
                connection.close()
            seen.seconds.append(time.perf_counter() - start)
