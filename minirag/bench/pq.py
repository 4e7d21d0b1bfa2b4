"""IVF-PQ beside faiss' `IndexIVFPQ`: as many lists, probes and bytes a vector, over the same clustered vectors, in one run.

Each learns its own cells and codewords. What is compared is time, and recall@20 against exact search: of the codes alone, and
with the best candidates scored again, which faiss does by `IndexRefineFlat` from float32 vectors in memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from minirag.bench.scale_stages import BATCH, QUESTIONS, SHARD
from minirag.bench.scale_stages import vectors as clustered
from minirag.bench.turns import seconds_row, take_turns
from minirag.cluster.recall import recall
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.ivfpq import IVFPQIndex
from minirag.retrieval.pq import usual_pieces

Row = dict[str, Any]
K, AGAIN = 20, 10  # neighbours, and how many times as many are scored again


def run(
    rows: int = 1_000_000,
    dim: int = 768,
    lists: int = 1_024,
    probe: int = 32,
    batches: tuple[int, ...] = (1, 64, 512),
    repeats: int = 5,
    progress: bool = True,
) -> list[Row]:
    """Rows for each batch, of codes alone and scored again: seconds, and in the name of the peer both recalls."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    steps = tqdm(total=4, desc="bench pq", disable=not progress)
    vectors = torch.cat([clustered(min(SHARD, rows - low), dim, i) for i, low in enumerate(range(0, rows, SHARD))])  # [N, D]
    queries = clustered(max(*batches, BATCH), dim, QUESTIONS)  # [B, D]
    exact = ExactIndex(dim)
    exact.add(vectors)
    truth = exact.search(queries, K)[1]
    del exact
    steps.update()
    ours = IVFPQIndex(dim, lists, probe, usual_pieces(dim), AGAIN * K)
    sample = vectors[torch.randperm(rows, generator=torch.Generator().manual_seed(0))[: 64 * lists].sort().values]
    ours.train(sample)
    ours.add(vectors)
    ours.prepare()
    steps.update()
    peer = _faiss(faiss, sample, lists, probe, usual_pieces(dim))
    peer.add(vectors.numpy())
    steps.update()
    refined = faiss.IndexRefineFlat(peer, faiss.swig_ptr(vectors.numpy()))
    refined.k_factor = AGAIN
    found = []
    for batch in batches:
        found.append(_row(f"codes alone, batch {batch}", ours, peer, queries[:batch], truth[:batch], 0, repeats))
        found.append(_row(f"scored again, batch {batch}", ours, refined, queries[:batch], truth[:batch], AGAIN * K, repeats))
    steps.update()
    steps.close()
    case = f"{rows:,} × {dim}, {lists} lists, {probe} probed"
    return [row | {"case": f"{case}: {row['case']}"} for row in found]


def _faiss(faiss: Any, sample: Tensor, lists: int, probe: int, pieces: int) -> Any:
    dim = sample.shape[1]
    index = faiss.IndexIVFPQ(faiss.IndexFlatIP(dim), dim, lists, pieces, 8, faiss.METRIC_INNER_PRODUCT)
    index.own_fields = False
    index.cp.spherical, index.cp.min_points_per_centroid = True, 1
    index.train(sample.numpy())
    index.nprobe = probe
    return index


def _row(case: str, ours: IVFPQIndex, peer: Any, queries: Tensor, truth: Tensor, finalists: int, repeats: int) -> Row:
    numbers = queries.numpy()
    times, results = take_turns(
        {
            "ours": lambda: ours.search(queries, K, finalists=finalists)[1],
            "peer": lambda: torch.from_numpy(peer.search(numbers, K)[1]),
        },
        repeats * (10 if len(queries) <= 8 else 1),
    )
    mine, theirs = recall(results["ours"], truth), recall(results["peer"], truth)
    name = f"faiss {type(peer).__name__}, whose recall@{K} is {theirs:.1%} where ours is {mine:.1%}"
    return seconds_row(case, times["ours"], times["peer"], name, mine >= theirs)
