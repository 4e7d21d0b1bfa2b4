"""What this machine can do: seconds a unit of every kind of work that building and searching a memory takes, measured.

Half a minute on vectors of the right dimension, made up, since speed does not depend on what they mean. Each kind of work is
timed at two sizes, several times each; the straight line through both gives what one unit more costs, and the scatter of the
repeats tells how far that may be off. What the line cannot tell is whether the work goes on along it: that is what a rehearsal
at a larger size is for (`minirag bench scale`).

`plan.py` multiplies these rates with the amounts of work of any size.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from torch import Tensor

from minirag import doctor
from minirag.cluster.calibration import Calibration, Rate
from minirag.corpus.passages import Passage
from minirag.corpus.readers import read_passages_tsv
from minirag.corpus.store import PassageStore
from minirag.models.bert import Bert, BertConfig
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.code_lists import CodeLists, looked_up
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.kmeans import assign, kmeans
from minirag.retrieval.pq import WORDS, ProductQuantizer
from minirag.retrieval.vectors import VectorSettings, VectorStore

REPEATS = 3
LISTS = 1_024
ROWS = (4_096, 16_384)  # vectors that most rates are taken at
TOKENS = 137  # of a passage of psgs_w100 with BERT's word pieces, on average over 9,623
FILE = 64_000_000  # bytes that the disk is tried with
PAGE = 4_096
MANY = 6  # times as many vectors for what memory, not the processor, may hold up
Work = Callable[[int], Callable[[], object]]  # for a size, what is to be timed


def rate(work: Work, sizes: tuple[int, int], repeats: int = REPEATS) -> Rate:
    """Seconds that one unit more of `work` takes; see `line`."""
    return line(work, sizes, repeats)[1]


def line(work: Work, sizes: tuple[int, int], repeats: int = REPEATS) -> tuple[Rate, Rate]:
    """What work costs once, and a unit of it: the straight line through the median times at two sizes.

    The error is what the line's slope could be off if each median lay as far beside the truth as the best run lies below it.
    """
    runs = [work(size) for size in sizes]
    if repeats > 1:  # a run that does not count
        for run in runs:
            run()
    times = [sorted(timed(run) for _ in range(repeats)) for run in runs]
    (low, high), noise = (each[len(each) // 2] for each in times), sum(each[len(each) // 2] - each[0] for each in times)
    if high <= low:  # a machine so busy that the smaller size took longer
        return Rate(0.0, 1.0), Rate(high / sizes[1], 1.0)
    unit = (high - low) / (sizes[1] - sizes[0])
    return Rate(max(low - unit * sizes[0], 0.0), noise / high), Rate(unit, noise / (high - low))


def calibrate(dim: int = 768, pieces: int = 64, encoder: BiEncoder | None = None, rows: tuple[int, int] = ROWS) -> Calibration:
    """Measure this machine, in half a minute. `encoder` None: BERT's shape at this dimension, with random weights.

    `rows` are the two sizes that most is measured at; fewer take less time and say less.
    """
    base = psutil.Process().memory_info().rss
    torch.manual_seed(0)
    encoder, name = (encoder, "the one given") if encoder else (_random_encoder(dim), f"BERT of 12 layers of {dim}")
    network = encoder.passage_encoder or encoder.query_encoder
    with tempfile.TemporaryDirectory(prefix="minirag-") as folder:
        points = torch.randn(rows[1], dim)
        settings = VectorSettings(MANY * rows[1], dim, "float16")
        store = VectorStore.write(Path(folder) / "vectors", [points] * MANY, settings)
        rates = {
            "passages": _passages(Path(folder), rows),
            "encode": _encoding(encoder),
            **_training(points, pieces, rows),
            **_building(store, points, pieces, rows),
            **_searching(store, pieces, rows),
            **_disk(Path(folder) / "file", min(FILE, 4_000 * rows[1])),
        }
    device = str(network.words.weight.device)
    if device.startswith("cuda"):
        device = torch.cuda.get_device_name(network.words.weight.device)
    weights = sum(parameter.numel() * 4 for parameter in network.parameters())
    needed = float(operations(network.config, min(TOKENS, encoder.max_length)))
    return Calibration(doctor.machine(), dim, pieces, name, device, needed, weights, base, rates)


def operations(config: BertConfig, tokens: int = TOKENS) -> int:
    """Multiplications and additions of the matrix products that make a text's vector: weights used once a token, and attention.

    >>> round(operations(BertConfig()) / 1e9, 1)  # BERT-base
    24.0
    """
    linear = 4 * config.dim**2 + 2 * config.dim * config.inner
    return 2 * config.layers * tokens * (linear + 2 * tokens * config.dim)


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _random_encoder(dim: int) -> BiEncoder:
    from minirag.retrieval.pretrained import mini_biencoder

    heads = next(heads for heads in range(max(dim // 64, 1), 0, -1) if dim % heads == 0)
    bert = Bert(BertConfig(dim=dim, heads=heads, inner=4 * dim)).eval()
    bert = bert.to("cuda") if torch.cuda.is_available() else bert
    return BiEncoder(bert, bert, mini_biencoder().tokenizer)


def _passages(folder: Path, rows: tuple[int, int]) -> Rate:
    text = " ".join(f"word{number % 37}" for number in range(100))

    def work(size: int) -> Callable[[], object]:
        path = folder / f"{size}.tsv.gz"
        with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
            file.write("id\ttext\ttitle\n" + "".join(f'{row}\t"{text}"\tTitle {row // 5}\n' for row in range(size)))
        return lambda: PassageStore.write(folder / "passages", read_passages_tsv(path))

    return rate(work, (rows[0] // 2, rows[1] // 2))


def _encoding(encoder: BiEncoder) -> Rate:
    """Passages of as many tokens as Wikipedia's have, a second's worth at the larger size."""
    (hundred,) = encoder.tokenize_passages([Passage("", "", "the " * 100)])
    words = round(TOKENS * 100 / len(hundred))
    corpus = [Passage(str(row), "", "the " * (words + row % 9 - 4)) for row in range(2_048)]
    encoder.encode_passages(corpus[:8])
    seconds = timed(lambda: encoder.encode_passages(corpus[:8]))
    size = 14 * min(max(round(0.5 * 8 / seconds / 14), 1), 70)  # 14 are a batch on a CPU
    return rate(lambda size: lambda: encoder.encode_passages(corpus[:size]), (size, 2 * size), repeats=2)


def _training(points: Tensor, pieces: int, rows: tuple[int, int]) -> dict[str, Rate]:
    lists = min(LISTS // 2, rows[0] // 4)

    def cells(size: int) -> Callable[[], object]:
        return lambda: kmeans(points[: size // lists], lists, iterations=1)

    def words(size: int) -> Callable[[], object]:
        return lambda: ProductQuantizer.train(points[:size], pieces, turns=0)

    half = (rows[0] // 2, rows[1] // 2)
    begun = ProductQuantizer.train(points[: half[0]], pieces, turns=0)

    def turn(size: int) -> Callable[[], object]:
        return lambda: begun._fitted(points[:size])

    (words_fixed, word), (turn_fixed, each) = line(words, half, 1), line(turn, half)
    kmeans_rate = rate(cells, (rows[0] * lists, rows[1] * lists))
    return {"kmeans": kmeans_rate, "words": word, "words_fixed": words_fixed, "turn": each, "turn_fixed": turn_fixed}


def _building(store: VectorStore, points: Tensor, pieces: int, rows: tuple[int, int]) -> dict[str, Rate]:
    dim = store.shape[1]
    centroids = torch.randn(LISTS, dim)
    quantizer = ProductQuantizer(torch.linalg.qr(torch.randn(dim, dim)).Q, torch.randn(pieces, WORDS, dim // pieces))

    def exact(size: int) -> Callable[[], object]:
        part = VectorStore.from_array(store.folder.parent / f"part-{size}", points[:size], "float16")

        def run() -> None:
            index = ExactIndex(dim)
            index.add(part)
            index.prepare()

        return run

    def fill(size: int) -> Callable[[], object]:
        cells, codes = torch.randint(0, LISTS, (size,)), torch.zeros(size, pieces, dtype=torch.uint8)
        sizes, part = torch.bincount(cells, minlength=LISTS), (torch.arange(size), cells, codes)
        return lambda: CodeLists.of([part], sizes, pieces)

    return {
        "assign": rate(lambda size: lambda: assign(points[: size // LISTS], centroids), (rows[0] * LISTS, rows[1] * LISTS)),
        "code": rate(lambda size: lambda: quantizer.encode(store[:size]), rows),
        "fill": rate(fill, (16 * rows[0], 16 * rows[1])),
        "bytes": rate(exact, rows),
    }


def _searching(store: VectorStore, pieces: int, rows: tuple[int, int]) -> dict[str, Rate]:
    dim = store.shape[1]
    question, offsets = torch.randn(1, dim), torch.arange(0, pieces * WORDS, WORDS, dtype=torch.int32)
    quantizer = ProductQuantizer(torch.eye(dim), torch.randn(pieces, WORDS, dim // pieces))
    table = quantizer.tables(question).reshape(-1, 1)
    many = (2 * rows[1], MANY * rows[1])  # more than the processor's caches hold
    index = {size: ExactIndex(dim) for size in many}
    for size, each in index.items():
        each.add(store[:size])
        each.prepare()

    def lookup(size: int) -> Callable[[], object]:
        codes = torch.randint(0, WORDS, (size, pieces), dtype=torch.uint8)
        return lambda: looked_up(codes, table, offsets)[:, 0].topk(min(200, size))

    def centroids(size: int) -> Callable[[], object]:
        some = torch.randn(size, dim)
        return lambda: (question @ some.T).topk(min(16, size))

    def take(size: int) -> Callable[[], object]:
        ids = torch.randint(0, len(store), (size,))
        return lambda: store.take(ids).double() @ question[0].double()

    return {
        "scan": rate(lambda size: lambda: index[size].search(question, 20), many, 9),
        "centroids": rate(centroids, (rows[0], rows[1]), 9),
        "tables": rate(lambda size: lambda: [quantizer.tables(question) for _ in range(size)], (4, 16)),
        "lookup": rate(lookup, (2 * rows[0], 2 * rows[1]), 9),
        "take": rate(take, (100, 400), 9),
    }


def _disk(path: Path, size: int) -> dict[str, Rate]:
    """A file written, synced, forgotten by the page cache (where the system can be told to), and read again."""
    data = os.urandom(size)

    def write(count: int) -> Callable[[], object]:
        def run() -> None:
            with open(path, "wb") as file:
                file.write(data[:count])
                os.fsync(file.fileno())

        return run

    def read(count: int) -> Callable[[], object]:
        def run() -> None:
            with open(path, "rb", buffering=0) as file:
                _forget(file.fileno())
                for _ in range(count // 1_000_000):
                    file.read(1_000_000)

        return run

    def random(count: int) -> Callable[[], object]:
        places = torch.randint(0, size // PAGE, (count,)).tolist()

        def run() -> None:
            with open(path, "rb", buffering=0) as file:
                _forget(file.fileno())
                if hasattr(os, "posix_fadvise"):
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
                for place in places:
                    os.pread(file.fileno(), PAGE, place * PAGE)

        return run

    written = rate(write, (size // 4, size))
    few = max(size // PAGE // 64, 1)
    return {
        "write": written,
        "read": rate(read, (size // 2, size)),
        "random": rate(random, (few, 2 * few)),
        "sha": rate(lambda count: lambda: hashlib.sha256(data[:count]).digest(), (size // 4, size)),
    }


def _forget(handle: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
