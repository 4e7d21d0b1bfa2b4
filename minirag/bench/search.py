"""Searching: ours beside faiss, each at its best, on the same vectors, centroids and threads.

Vectors and questions are Gaussian, which is hard on a scan with bounds: no structure helps it. faiss is given its best
setting for every batch, found by trying: by default it hands a batch to BLAS only above a threshold, and its block sizes
matter; for IVF it also has `contrib.big_batch_search`. What is compared:

* exact search, with float64 brute force as the judge of both;
* the same with the scan in float32, as on a processor without fast bytes;
* IVF on the same centroids, where ours must find what faiss finds;
* exact search beside the paper's own index, an HNSW graph with DPR's settings, which is approximate (on fewer rows, since
  building its graph takes a minute for every 10,000);
* the memory that each index takes of the process for itself.
"""

import contextlib
import io
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor
from tqdm.auto import tqdm

from minirag.bench.turns import seconds_row, take_turns
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.faiss_index import FaissIndex
from minirag.retrieval.ivf import IVFIndex

Row = dict[str, Any]
Search = Callable[[], tuple[Any, Any]]
Setting = tuple[int, int, int]

# (threshold above which faiss uses BLAS, its block of queries, its block of vectors); the first is faiss' default
FAISS_SETTINGS = ((128_000, 4096, 1024), (1, 4096, 1024), (1, 4096, 4096), (1, 1024, 2048), (1, 512, 8192))
LISTS, PROBES, K = 512, 16, 10


def rows(
    n: int = 200_000,
    dim: int = 768,
    batches: tuple[int, ...] = (1, 8, 64, 512, 4096),
    repeats: int = 5,
    seed: int = 0,
    hnsw_rows: int = 10_000,
    progress: bool = True,
) -> list[Row]:
    """The rows of `minirag bench search`: about six minutes on two cores as it stands."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    torch.manual_seed(seed)
    vectors = torch.randn(n, dim)
    queries = torch.randn(max(batches), dim)
    steps = tqdm(total=4 + 3 * len(batches), desc="bench search", disable=not progress)

    def step(name: str) -> None:
        steps.set_postfix_str(name)
        steps.update()

    step("float64 brute force")
    truth = _brute_force(vectors, queries)
    exact, flat, memory = _exact_indexes(vectors)
    found = [memory]
    settings = {}
    for batch in batches:
        step(f"exact, batch {batch}")
        settings[batch] = _best_setting(flat, queries[:batch].numpy())
        found.append(_exact_row(exact, flat, settings[batch], queries[:batch], truth, vectors, repeats))
    floats = ExactIndex(dim, in_bytes=False)
    floats.add(vectors)
    for batch in batches:
        step(f"exact in float32, batch {batch}")
        found.append(_exact_row(floats, flat, settings[batch], queries[:batch], truth, vectors, repeats))
    step("k-means")
    ivf, peer = _ivf_indexes(vectors, max(1, min(LISTS, n // 64)), seed)
    for batch in batches:
        step(f"IVF, batch {batch}")
        found.append(_ivf_row(ivf, peer, queries[:batch], vectors, repeats))
    step("HNSW")
    found.append(_hnsw_row(vectors[:hnsw_rows], queries[: min(512, max(batches))], repeats))
    steps.close()
    return found


def _exact_row(
    index: ExactIndex,
    flat: Any,
    setting: Setting,
    queries: Tensor,
    truth: tuple[Tensor, Tensor],
    vectors: Tensor,
    repeats: int,
) -> Row:
    numbers, batch = queries.numpy(), len(queries)
    with _faiss_set(setting):
        times, results = _turns(
            {"ours": lambda: index.search(queries, K), "peer": lambda: flat.search(numbers, K)}, batch, repeats
        )
    reference = (truth[0][:batch], truth[1][:batch])
    equal = _equal(results["ours"], reference, queries, vectors)
    scan = "exact" if index.in_bytes else "exact, float32 scan"
    name = f"faiss IndexFlatIP, threshold {setting[0]}, blocks {setting[1]} × {setting[2]}"
    return seconds_row(f"{scan}, batch {batch}", times["ours"], times["peer"], name, equal)


def _ivf_row(index: IVFIndex, peer: Any, queries: Tensor, vectors: Tensor, repeats: int) -> Row:
    numbers, batch = queries.numpy(), len(queries)
    searches: dict[str, Search] = {"faiss IndexIVFFlat.search": lambda: peer.search(numbers, K)}
    if batch > 8:
        for method, threads in itertools.product(("knn_function", "index"), (0, torch.get_num_threads())):
            searches[f"faiss big_batch_search, {method}, {threads} threads"] = _big_batch(peer, numbers, method, threads)
    tried = take_turns(searches, rounds=1)[0]
    name = min(tried, key=lambda search: tried[search])
    times, results = _turns({"ours": lambda: index.search(queries, K), "peer": searches[name]}, batch, repeats)
    scores, ids = results["peer"]
    equal = _equal(results["ours"], (torch.from_numpy(scores).double(), torch.from_numpy(ids)), queries, vectors)
    return seconds_row(f"IVF {index.n_lists} lists, {PROBES} probed, batch {batch}", times["ours"], times["peer"], name, equal)


def _hnsw_row(vectors: Tensor, queries: Tensor, repeats: int) -> Row:
    graph = FaissIndex("hnsw")
    graph.add(vectors)
    exact = ExactIndex(vectors.shape[1])
    exact.add(vectors)
    times, results = take_turns({"ours": lambda: exact.search(queries, K), "peer": lambda: graph.search(queries, K)}, repeats)
    agree = (results["ours"][1][:, :, None] == results["peer"][1][:, None, :]).any(2).float().mean().item()
    name = f"faiss IndexHNSWFlat(512), efSearch 128, which finds {agree:.1%} of the true top {K}"
    row = seconds_row(f"exact over {len(vectors)} rows, batch {len(queries)}", times["ours"], times["peer"], name, False)
    return row | {"equal": agree == 1.0}


def _exact_indexes(vectors: Tensor) -> tuple[ExactIndex, Any, Row]:
    """Ours, faiss', and the row that says how much memory each of them took."""
    import faiss

    before = _private_bytes()
    ours = ExactIndex(vectors.shape[1])
    ours.add(vectors)
    ours.search(vectors[:1], K)
    middle = _private_bytes()
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors.numpy())
    flat.search(vectors[:1].numpy(), K)
    mine, theirs = (middle - before) / 1e6, (_private_bytes() - middle) / 1e6
    case = "memory of the exact index, without pages of files"
    ratio = theirs / max(mine, 1e-9)
    row = {
        "case": case,
        "ours": mine,
        "peer": theirs,
        "peer_name": "faiss IndexFlatIP",
        "unit": "MB",
        "ratio": ratio,
        "equal": True,
    }
    return ours, flat, row


def _ivf_indexes(vectors: Tensor, lists: int, seed: int) -> tuple[IVFIndex, Any]:
    import faiss

    index = IVFIndex(vectors.shape[1], lists, PROBES)
    index.train(vectors, seed=seed)
    index.add(vectors)
    quantizer = faiss.IndexFlatIP(vectors.shape[1])
    quantizer.add(index.centroids.numpy())
    peer = faiss.IndexIVFFlat(quantizer, vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    peer.is_trained, peer.nprobe = True, PROBES
    peer.add(vectors.numpy())
    return index, peer


def _turns(contenders: dict[str, Search], batch: int, repeats: int) -> tuple[dict[str, float], dict[str, Any]]:
    return take_turns(contenders, repeats * 10 if batch <= 8 else repeats)


def _best_setting(flat: Any, queries: np.ndarray) -> Setting:
    def under(setting: Setting) -> float:
        with _faiss_set(setting):
            return take_turns({"peer": lambda: flat.search(queries, K)}, rounds=1)[0]["peer"]

    return min(FAISS_SETTINGS, key=under)


@contextlib.contextmanager
def _faiss_set(setting: Setting) -> Iterator[None]:
    import faiss

    names = ("distance_compute_blas_threshold", "distance_compute_blas_query_bs", "distance_compute_blas_database_bs")
    old = [getattr(faiss.cvar, name) for name in names]
    try:
        for name, value in zip(names, setting, strict=True):
            setattr(faiss.cvar, name, value)
        yield
    finally:
        for name, value in zip(names, old, strict=True):
            setattr(faiss.cvar, name, value)


def _big_batch(index: Any, queries: np.ndarray, method: str, threads: int) -> Search:
    from faiss.contrib.big_batch_search import big_batch_search

    def search() -> tuple[Any, Any]:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress whatever it is told
            return big_batch_search(index, queries, K, method=method, threaded=threads, verbose=0)

    return search


def _brute_force(vectors: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """The top K + 1 in float64, by chunks of rows; the one beyond K tells whether the last place is a tie."""
    best, ids = torch.empty(len(queries), 0, dtype=torch.float64), torch.empty(len(queries), 0, dtype=torch.int64)
    wide = queries.double()
    for low in range(0, len(vectors), 16_384):
        scores = wide @ vectors[low : low + 16_384].double().T  # [B, n]
        part, place = scores.topk(min(K + 1, scores.shape[1]))
        best, ids = torch.cat([best, part], 1), torch.cat([ids, place + low], 1)
        best, order = best.topk(min(K + 1, best.shape[1]))
        ids = ids.gather(1, order)
    return best, ids


def _equal(found: tuple[Tensor, Tensor], truth: tuple[Tensor, Tensor], queries: Tensor, vectors: Tensor) -> bool:
    """Whether ids agree wherever neighbouring scores of the truth differ by more than 1e-6 ‖q‖‖v‖, and scores to as much."""
    tolerance = 1e-6 * queries.double().norm(dim=1, keepdim=True) * vectors.norm(dim=1).max().double()  # [B, 1]
    scores, ids = found
    gaps = truth[0].diff(dim=1).abs()  # [B, K] or [B, K − 1]
    edge = torch.full((len(queries), 1), torch.inf, dtype=torch.float64)
    after = torch.cat([gaps, edge], 1)[:, : ids.shape[1]]
    before = torch.cat([edge, gaps], 1)[:, : ids.shape[1]]
    clear = (after > tolerance) & (before > tolerance)  # [B, K]
    close = (scores.double() - truth[0][:, : ids.shape[1]]).abs() <= tolerance
    return bool((ids == truth[1][:, : ids.shape[1]])[clear].all() and close.all())


def _private_bytes() -> int:
    """Memory of this process that is not a page of a file."""
    usage = psutil.Process().memory_info()
    return usage.rss - getattr(usage, "shared", 0)
