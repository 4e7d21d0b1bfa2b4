"""How much an index finds of what exact search finds, by brute force chunk by chunk: memory does not grow with N."""

from __future__ import annotations

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from minirag.retrieval.vectors import VectorStore

ROWS = 65_536  # vectors held at once


def exact_top(store: VectorStore, queries: Float32[Tensor, "B D"], k: int, rows: int = ROWS) -> Int64[Tensor, "B k"]:
    """The k rows of largest inner product with each question, best first; −1 where there are fewer."""
    scores = torch.full((len(queries), k), -torch.inf)  # [B, k]
    ids = torch.full((len(queries), k), -1)
    for low in range(0, len(store), rows):
        products = queries @ store[low : low + rows].T  # [B, rows]
        best = products.topk(min(k, products.shape[1]))
        scores, ids = torch.cat([scores, best.values], 1), torch.cat([ids, best.indices + low], 1)
        scores, order = scores.topk(k)
        ids = ids.gather(1, order)
        store.release()
    return ids


def recall(found: Int64[Tensor, "B k"], exact: Int64[Tensor, "B k"]) -> float:
    """The share of the exact rows that were found.

    >>> recall(torch.tensor([[3, 1], [2, -1]]), torch.tensor([[1, 3], [2, 4]]))
    0.75
    """
    hits = (found[:, :, None] == exact[:, None, :]) & (exact >= 0)[:, None, :]  # [B, k, k]
    return float(hits.any(1).sum() / (exact >= 0).sum().clamp(min=1))
