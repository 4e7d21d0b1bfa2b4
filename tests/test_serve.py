"""The query service: right answers to many at once, a clear refusal of everything hostile, and it ends when it is told to."""

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from urllib.parse import quote

import pytest
import torch
import uvicorn
from rag_cases import small_rag

from minirag.bench.serve import measure
from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.retrieval.bm25 import BM25Index
from minirag.retrieval.retriever import Retrieved, Retriever
from minirag.serve.batching import Batcher, Busy
from minirag.serve.guard import LOOPBACK
from minirag.serve.requests import Limits
from minirag.serve.run import configured, serve
from minirag.serve.service import Asked, Service

WORDS = ("river", "mountain", "painter", "city", "king", "novel", "island", "bridge")
TEXTS = [f"The {a} of the {b} is number {i}." for i, (a, b) in enumerate((a, b) for a in WORDS for b in WORDS)]

USUAL = Limits()


@pytest.fixture(scope="module")
def retriever(tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    passages = [Passage(f"p{i}", f"<b>{i}</b>", text) for i, text in enumerate(TEXTS)]
    index = BM25Index()
    index.add(passages)
    return Retriever(index, PassageStore.write(tmp_path_factory.mktemp("serve") / "passages", passages))


@contextlib.contextmanager
def running(service: Service, limits: Limits = USUAL, idle: float | None = None) -> Iterator[int]:
    """The service on a free port of loopback."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(100)
    config = configured(service, limits, LOOPBACK)
    config.timeout_keep_alive = idle or config.timeout_keep_alive
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture(scope="module")
def port(retriever: Retriever) -> Iterator[int]:
    with running(Service(retriever)) as port:
        yield port


def call(
    port: int, path: str, body: bytes | Iterator[bytes] | None = None, method: str | None = None, **headers: str
) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method or ("GET" if body is None else "POST"), path, body, named)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, json.loads(content) if "json" in response.headers["content-type"] else {"text": content.decode()}


def post(port: int, value: object) -> tuple[int, dict]:
    return call(port, "/api/search", json.dumps(value).encode(), content_type="application/json")


def test_passages_are_those_of_the_retriever(port: int, retriever: Retriever) -> None:
    (found,) = retriever.search(["the river of the city"], 3)
    expected = {
        "question": "the river of the city",
        "passages": [
            {"id": z.id, "title": z.title, "text": z.text, "row": row, "score": score, "probability": p}
            for z, row, score, p in zip(
                found.passages, found.rows.tolist(), found.scores.tolist(), found.probabilities.tolist(), strict=True
            )
        ],
    }
    assert call(port, "/api/search?q=the+river+of+the+city&k=3") == (200, expected)
    assert post(port, {"q": " the river of the city ", "k": 3}) == (200, expected)


def test_sixty_four_clients_each_get_their_own_answer(port: int, retriever: Retriever) -> None:
    def client(number: int) -> list[bool]:
        right = []
        for turn in range(5):
            question, k = TEXTS[(number * 7 + turn) % len(TEXTS)], 1 + (number + turn) % 6
            status, found = call(port, f"/api/search?q={quote(question)}&k={k}")
            (wanted,) = retriever.search([question], k)
            right.append(status == 200 and [z["row"] for z in found["passages"]] == wanted.rows.tolist())
        return right

    with ThreadPoolExecutor(64) as pool:
        assert all(all(right) for right in pool.map(client, range(64)))


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/api/search", 400, "there is no question"),
        ("/api/search?q=+", 400, "there is no question"),
        ("/api/search?q=a&k=0", 400, "whole number from 1 to 100"),
        ("/api/search?q=a&k=101", 400, "whole number from 1 to 100"),
        ("/api/search?q=a&k=-1", 400, "whole number"),
        ("/api/search?q=a&k=1e3", 400, "whole number"),
        ("/api/search?q=a&k=99999999999999999999", 400, "whole number"),
        ("/api/search?q=a&k=%D9%A3", 400, "whole number"),  # an Arabic three
        ("/api/search?q=a&q=b", 400, "stands there twice"),
        ("/api/search?q=a&probe=1", 400, "'probe' is not known"),
        ("/api/search?q=" + "a" * 1_001, 400, "1,001 characters; at most 1,000"),
        ("/api/search?q=%ff", 400, "give it in UTF-8"),
        ("/api/search?q=a%00b", 400, "characters that are no text"),
        ("/api/search?q=a%0ab", 400, "on one line"),
        ("/api/search?q=%ed%a0%80", 400, "give it in UTF-8"),  # half a surrogate
        ("/api/answer?q=a", 404, "with a model"),
        ("/../../etc/passwd", 404, "there is nothing here"),
        ("/page.css/../app.py", 404, "there is nothing here"),
        ("/%2e%2e/app.py", 404, "there is nothing here"),
        ("/docs", 404, "there is nothing here"),
    ],
)
def test_what_is_wrong_with_an_address_is_told(port: int, path: str, status: int, said: str) -> None:
    found = call(port, path)
    assert found[0] == status
    assert said in found[1]["error"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "is no JSON"),
        (b"{", 400, "is no JSON"),
        (b"[1]", 400, "no JSON object"),
        (b'"q"', 400, "no JSON object"),
        (b"\xff", 400, "not UTF-8"),
        (b'{"q": "a", "k": NaN}', 400, "NaN is no JSON"),
        (b'{"q": "a", "k": 1e999}', 400, "whole number"),
        (b'{"q": "a", "k": true}', 400, "whole number"),
        (b'{"q": "a", "k": 2.5}', 400, "whole number"),
        (b'{"q": "a", "k": "5"}', 400, "whole number"),
        (b'{"q": "a", "k": null}', 400, "whole number"),
        (b'{"q": ["a"]}', 400, "there is no question"),
        (b'{"q": "\\ud800"}', 400, "no text"),
        (b'{"q": "a", "__class__": 1}', 400, "'__class__' is not known"),
        (b"[" * 10_000, 400, "is no JSON"),
        (b'{"q": "' + b"a" * 20_000 + b'"}', 413, "longer than 16,384 bytes"),
    ],
)
def test_what_is_wrong_with_a_body_is_told(port: int, body: bytes, status: int, said: str) -> None:
    found = call(port, "/api/search", body, content_type="application/json")
    assert found[0] == status
    assert said in found[1]["error"]


def test_a_body_in_pieces_without_a_length_is_stopped(port: int) -> None:
    pieces = (b"a" * 1_000 for _ in range(40))
    found = call(port, "/api/search", pieces, content_type="application/json")
    assert (found[0], "longer than" in found[1]["error"]) == (413, True)


def test_other_kinds_methods_and_names_are_refused(port: int) -> None:
    assert call(port, "/api/search", b"q=a", content_type="application/x-www-form-urlencoded")[0] == 415
    assert call(port, "/api/search?q=a", method="DELETE") == (
        405,
        {"error": "DELETE is not answered here; use GET or HEAD or POST"},
    )
    assert call(port, "/api/info", b"{}", content_type="application/json")[0] == 405
    status, found = call(port, "/api/search?q=a", host="evil.example")
    assert (status, "not called by that name" in found["error"]) == (403, True)
    assert call(port, "/healthz", host=f"localhost:{port}") == (200, {"status": "ok"})


@pytest.mark.parametrize("raw", [b"\x16\x03\x01\x02", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 2_000_000])
def test_what_is_no_http_is_no_end_of_the_service(port: int, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as peer, contextlib.suppress(ConnectionError):
        peer.sendall(raw + b"\r\n\r\n")
        assert peer.recv(100).startswith(b"HTTP/1.1 400")
    assert call(port, "/healthz")[0] == 200


def test_the_page_is_whole_and_guarded(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/")
    response = connection.getresponse()
    page = response.read().decode()
    connection.close()
    assert response.headers["content-security-policy"].startswith("default-src 'self'")
    assert response.headers["x-content-type-options"] == "nosniff"
    for name in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert call(port, f"/{name}")[0] == 200
    assert "http" not in page.replace("http-equiv", "")  # nothing from elsewhere
    script = call(port, "/page.js")[1]["text"]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)


@pytest.mark.parametrize(
    "text", ["the\u00a0river", "می\u200cخواهم river", "河\u3000river", "a family 👨\u200d👩 river", "ri\u00adver river"]
)
def test_text_of_every_script_is_a_question(port: int, text: str) -> None:
    assert call(port, f"/api/search?q={quote(text)}&k=1")[0] == post(port, {"q": text, "k": 1})[0] == 200


@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: loc", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /"]
)
def test_a_connection_on_which_nothing_comes_in_is_closed(retriever: Retriever, sent: bytes) -> None:
    with running(Service(retriever), idle=0.05) as port, socket.create_connection(("127.0.0.1", port), timeout=60) as peer:
        peer.sendall(sent)
        received = b"".join(iter(lambda: peer.recv(4096), b""))  # ends when the service closes
    assert received.startswith(b"HTTP/1.1 200") if sent.count(b"GET") == 2 else received == b""


HEAD = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"


def test_a_body_that_does_not_come_in_is_given_up(retriever: Retriever) -> None:
    limits = Limits(seconds=0.05)
    with running(Service(retriever), limits, 0.05) as port, socket.create_connection(("127.0.0.1", port), timeout=60) as peer:
        peer.sendall(HEAD)
        assert b"did not come in within 0.05 seconds" in b"".join(iter(lambda: peer.recv(4096), b""))


def test_a_body_that_breaks_off_is_no_fault_of_the_service(retriever: Retriever, caplog: pytest.LogCaptureFixture) -> None:
    with running(Service(retriever)) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as peer:
            peer.sendall(HEAD)
        assert call(port, "/healthz")[0] == 200
    assert "failed" not in caplog.text


def test_a_fault_is_guarded_like_everything_else(retriever: Retriever, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate(retriever)
    gate.open.set()
    with running(gate) as port, contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", "/api/search?q=break")
        response = connection.getresponse()
        response.read()
    assert (response.status, response.headers["x-content-type-options"]) == (500, "nosniff")


def test_each_k_is_searched_for_itself() -> None:
    """What an approximate index finds depends on k: a batch of several is no reason to find something else."""

    seen = []

    class Remembering(Retriever):
        def __init__(self) -> None:
            pass

        def search(self, questions: Sequence[str], k: int) -> list[Retrieved]:
            seen.append((questions, k))
            return [Retrieved(q, [Passage(str(k), "", q)], torch.tensor([k]), torch.tensor([1.0])) for q in questions]

    service = Service(Remembering())
    found = service.search([Asked("a", 2), Asked("b", 3), Asked("c", 2)])
    assert [(one["question"], one["passages"][0]["row"]) for one in found] == [("a", 2), ("b", 3), ("c", 2)]
    assert sorted(seen) == [(["a", "c"], 2), (["b"], 3)]


def test_what_is_served_is_told(port: int, retriever: Retriever) -> None:
    status, info = call(port, "/api/info")
    assert status == 200
    assert (info["index"], info["passages"], info["answers"]) == ("BM25Index", len(TEXTS), False)
    assert info["passages_fingerprint"] == retriever.passages.fingerprint


def test_answers_are_those_of_the_model(tmp_path: Path) -> None:
    model = small_rag(tmp_path, [Passage(str(i), "t", text) for i, text in enumerate(TEXTS[:9])], TEXTS)
    assert model.retriever is not None
    questions = ["who?", "where is it?", "when?"]
    with running(Service(model.retriever, model)) as port, ThreadPoolExecutor(3) as pool:
        found = list(
            pool.map(lambda pair: call(port, f"/api/answer?q={quote(pair[1])}&k={2 + pair[0] % 2}"), enumerate(questions))
        )
        assert call(port, "/api/info")[1]["most_k"] == {"search": 100, "answer": 20}
        assert call(port, "/api/answer?q=a&k=21")[0] == 400
    for (status, told), (i, question) in zip(found, enumerate(questions), strict=True):
        (answer,) = model.answer([question], 2 + i % 2)
        assert status == 200
        assert told["answer"] == answer.text
        assert told["probability"] == pytest.approx(answer.probability, rel=1e-3)
        assert ["".join(piece for piece, _ in z["pieces"]) for z in told["passages"]] == [z["text"] for z in told["passages"]]
        assert [z["posterior"] for z in told["passages"]] == pytest.approx(answer.support.tolist(), abs=1e-3)


class Gate(Service):
    """A service that waits until it is let go."""

    def __init__(self, retriever: Retriever) -> None:
        super().__init__(retriever)
        self.begun, self.open = threading.Event(), threading.Event()

    def search(self, asked: Sequence[Asked]) -> list[dict]:
        self.begun.set()
        assert self.open.wait(60)
        if any(one.question == "break" for one in asked):
            raise RuntimeError("secret")
        return super().search(asked)


def test_too_many_are_sent_away_and_the_others_served(retriever: Retriever) -> None:
    gate = Gate(retriever)
    with running(gate, Limits(most=1, waiting=1)) as port, ThreadPoolExecutor(3) as pool:
        first = pool.submit(call, port, "/api/search?q=river")
        assert gate.begun.wait(60)
        others = [pool.submit(call, port, "/api/search?q=city") for _ in range(2)]  # of whom one may wait
        (away,), (waiting,) = wait(others, return_when=FIRST_COMPLETED)
        assert away.result() == (503, {"error": "1 requests are waiting already; ask again in a moment"})
        gate.open.set()
        assert first.result()[0] == waiting.result()[0] == 200


def test_a_request_is_given_up_in_time_and_the_next_is_served(retriever: Retriever) -> None:
    gate = Gate(retriever)
    with running(gate, Limits(seconds=0.01)) as port:
        status, found = call(port, "/api/search?q=river")
        assert (status, "no answer within 0.01 seconds" in found["error"]) == (504, True)
        gate.open.set()


def test_a_fault_of_ours_is_told_without_its_insides(retriever: Retriever, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate(retriever)
    gate.open.set()
    with running(gate) as port:
        status, found = call(port, "/api/search?q=break")
        assert (status, found) == (500, {"error": "the service failed at this request; its log says why"})
        assert call(port, "/api/search?q=river")[0] == 200
    assert "secret" in caplog.text


def test_a_batch_is_what_has_gathered_and_whoever_fails_fails_alone() -> None:
    sizes, begun, go = [], threading.Event(), threading.Event()

    def work(numbers: Sequence[int]) -> list[int]:
        begun.set()
        assert go.wait(60)
        sizes.append(len(numbers))
        if 3 in numbers:
            raise MiniragError("three is no number")
        return [2 * number for number in numbers]

    async def all_at_once() -> list[object]:
        batcher = Batcher(work, most=4, waiting=8)
        first = asyncio.ensure_future(batcher.ask(0, 60))
        await asyncio.get_running_loop().run_in_executor(None, begun.wait, 60)
        others = [asyncio.ensure_future(batcher.ask(number, 60)) for number in range(1, 9)]
        await asyncio.wait(others, timeout=0)
        with pytest.raises(Busy):
            await batcher.ask(9, 60)
        go.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
        await asyncio.get_running_loop().run_in_executor(None, batcher.close)
        return found

    found = asyncio.run(all_at_once())
    assert [one for one in found if isinstance(one, int)] == [0, 2, 4, 8, 10, 12, 14, 16]
    assert isinstance(found[3], MiniragError)
    assert sizes == [1, 4, 1, 1, 1, 1, 4]  # the batch with a three is worked on one by one


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_and_stops(sign: signal.Signals, retriever: Retriever, tmp_path: Path) -> None:
    folder = saved(retriever, tmp_path)
    arguments = ["serve", "--index", folder / "index", "--passages", folder / "passages", "--port", "0"]
    command = [sys.executable, "-c", "import sys; from minirag.cli import main; sys.exit(main())", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        match = re.fullmatch(r"minirag serves 64 passages at http://127\.0\.0\.1:(\d+) \(Ctrl-C stops\)\n", said)
        assert match, said + process.stderr.read()
        assert call(int(match[1]), "/api/search?q=river&k=1")[0] == 200
        process.send_signal(sign)
        process.wait(60)
        assert (process.returncode, process.stderr.read()) == (0, "")


def test_an_address_that_is_taken_is_told(retriever: Retriever) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MiniragError, match=f"cannot listen at 127.0.0.1:{port} .*choose another --port"):
            serve(Service(retriever), "127.0.0.1", port)


def saved(retriever: Retriever, folder: Path) -> Path:
    retriever.index.save(folder / "index")
    PassageStore.write(folder / "passages", list(retriever.passages))
    return folder


def test_the_bench_asks_and_counts(retriever: Retriever, tmp_path: Path) -> None:
    rows = {row["case"]: row for row in measure(saved(retriever, tmp_path), TEXTS, 3, 0.2, 5)}
    assert all(row["equal"] for row in rows.values())
    assert rows["3 clients, 0.2 s, requests"]["ours"] > 0
    latencies = [rows[f"3 clients, 0.2 s, latency p{share}"]["ours"] for share in (50, 95, 99)]
    assert latencies == sorted(latencies)
    assert rows["3 clients, 0.2 s, requests that failed"]["ours"] == 0


def test_the_bench_does_not_hide_what_fails(retriever: Retriever, tmp_path: Path) -> None:
    with pytest.raises(MiniragError, match=r"of the requests failed, the first with: .*whole number from 1 to 100"):
        measure(saved(retriever, tmp_path), TEXTS, 2, 0.2, 101)
