"""Scanning in eight bits without losing a single neighbour.

An exact search need not multiply in float32. Every vector is stored as D signed bytes, v ≈ μ + s·c, where the rows of a block
share the step s; kept with each block is the length of what the rounding left behind. For a question q ≈ s_q·c_q the integer
product then bounds the true one,

    | q·(v − μ) − s_q s (c_q·c) |  ≤  ‖q‖·‖v − μ − s c‖ + ‖q − s_q c_q‖·‖s c‖            (Cauchy–Schwarz, twice)

A row whose upper bound stays below the k-th best *lower* bound cannot be among the top k; the few that remain are scored
from their float32 vectors in float64 (`finalists.py`). The answer is exact whatever the data; only the number of finalists,
hence the time, depends on it.

Where torch has no fast product of bytes (anything but x86), the same code scans the float32 vectors, and the bound is the
rounding error of the float32 product.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int8, Int32, Int64
from torch import Tensor

# What covers the float32 arithmetic of the bounds themselves: relative to ‖q‖‖v‖, and where squares underflow.
SLACK, TINY = 1e-6, 1e-17


def use_bytes(dim: int, wish: bool | None) -> bool:
    """Whether to scan bytes: as wished, or else where torch multiplies them by vector instructions (oneDNN on x86).

    VNNI is not needed: with AVX2 alone the product of bytes still takes half the time of the float32 product. Never for a
    single dimension, where torch's product of bytes is wrong (seen in 2.13).
    """
    fast = bool(torch.cpu._is_avx2_supported()) and torch.backends.mkldnn.is_available() and hasattr(torch, "_int_mm")
    return dim > 1 and (fast if wish is None else wish)


@dataclass(frozen=True)
class Codes:
    """Rows ready to be scanned, as bytes or as the float32 rows themselves, and for every block what the bound needs."""

    values: Int8[Tensor, "n D"] | Float32[Tensor, "n D"]
    step: Float32[Tensor, " blocks"]  # s
    error: Float32[Tensor, " blocks"]  # largest ‖v − μ − s c‖ of the block
    reach: Float32[Tensor, " blocks"]  # largest ‖s c‖ of the block


@dataclass(frozen=True)
class Probe:
    """Questions in the scan's own precision: score ≈ unit·step·product + offset, within norm·error + slip·reach."""

    values: Int8[Tensor, "B D"] | Float32[Tensor, "B D"]
    unit: Float32[Tensor, " B"]  # s_q
    offset: Float32[Tensor, " B"]  # q·μ
    norm: Float32[Tensor, " B"]  # ‖q‖
    slip: Float32[Tensor, " B"]  # ‖q − s_q c_q‖


@dataclass(frozen=True)
class Bytes:
    """Rows and questions as bytes. Rows are centred first: what all of them share ranks nothing, and would cost precision.

    >>> coder = Bytes(torch.tensor([1.0, 1.0]))
    >>> codes = coder.encode(torch.tensor([[3.0, 1.0], [1.0, 0.0]]), block=2)
    >>> codes.values.tolist(), round(float(codes.step) * 127, 4)
    ([[127, 0], [0, -64]], 2.0)
    """

    center: Float32[Tensor, " D"]
    cells: ClassVar[int] = 4_000_000  # scores that are best held at once (16 MB)

    def encode(self, rows: Float32[Tensor, "n D"], block: int) -> Codes:
        """Code rows; each `block` of them (the last one may be short) gets the step that its largest number needs."""
        shifted = F.pad(rows - self.center, (0, 0, 0, -len(rows) % block)).view(-1, block, rows.shape[1])  # [blocks, b, D]
        step = shifted.abs().amax(dim=(1, 2)).clamp(min=1e-30) / 127  # [blocks]
        rounded = (shifted / step[:, None, None]).round_()  # [blocks, b, D]
        values = rounded.to(torch.int8).view(-1, rows.shape[1])[: len(rows)]  # [n, D]
        rounded *= step[:, None, None]
        reach = rounded.norm(dim=2).amax(dim=1)  # [blocks]
        error = (shifted - rounded).norm(dim=2).amax(dim=1)  # [blocks]
        slack = SLACK * (reach + error + self.center.norm()) + TINY
        return Codes(values, step, error * (1 + 1e-5) + slack, reach * (1 + 1e-5) + TINY)

    def probe(self, queries: Float32[Tensor, "B D"]) -> Probe:
        """Code questions, each with a step of its own."""
        unit = queries.abs().amax(dim=1).clamp(min=1e-30) / 127  # [B]
        rounded = (queries / unit[:, None]).round_()  # [B, D]
        norm = queries.norm(dim=1) * (1 + 1e-5) + TINY  # [B]
        slip = (queries - rounded * unit[:, None]).norm(dim=1) * (1 + 1e-5) + SLACK * norm  # [B]
        return Probe(rounded.to(torch.int8), unit, queries @ self.center, norm, slip)


@dataclass(frozen=True)
class Floats:
    """The same two methods where bytes are not fast: nothing is coded, the slip is the rounding of a float32 product."""

    cells: ClassVar[int] = 1_000_000

    def encode(self, rows: Float32[Tensor, "n D"], block: int) -> Codes:
        """The rows themselves."""
        norms = F.pad(rows.norm(dim=1), (0, -len(rows) % block)).view(-1, block)  # [blocks, b]
        reach = norms.amax(dim=1) * (1 + 1e-5) + TINY  # [blocks]
        return Codes(rows, torch.ones_like(reach), torch.zeros_like(reach), reach)

    def probe(self, queries: Float32[Tensor, "B D"]) -> Probe:
        """The questions themselves; a sum of D rounded products is off by about D·2⁻²⁴ ‖q‖‖v‖ at most, doubled to be safe."""
        norm = queries.norm(dim=1) * (1 + 1e-5) + TINY  # [B]
        slip = norm * (queries.shape[1] + 2) * 2.0**-23  # [B]
        return Probe(queries, torch.ones_like(norm), torch.zeros_like(norm), norm, slip)


def product(
    queries: Int8[Tensor, "B D"] | Float32[Tensor, "B D"],
    rows: Int8[Tensor, "n D"] | Float32[Tensor, "n D"],
    out: Int32[Tensor, "B n"] | Float32[Tensor, "B n"] | None = None,
) -> Int32[Tensor, "B n"] | Float32[Tensor, "B n"]:
    """All products of questions and rows: exact in int32 for bytes, rounded for floats."""
    if out is None:
        out = torch.empty(len(queries), len(rows), dtype=torch.int32 if rows.dtype == torch.int8 else torch.float32)
    if rows.dtype == torch.int8:
        return torch._int_mm(queries, rows.T, out=out)
    if len(queries) == 1 and len(rows) % 2 == 0:  # as a batch of two: torch's plain product of one question is half as fast
        halves = rows.view(2, -1, rows.shape[1])  # [2, n/2, D]
        return torch.bmm(halves, queries.T.expand(2, -1, 1), out=out.view(2, -1, 1)).view(1, -1)
    if torch.backends.mkldnn.is_available():  # oneDNN's product; torch.mm takes MKL's, half as fast on AMD's processors
        return out.copy_(torch.ops.mkldnn._linear_pointwise(queries, rows, None, "none", [], ""))
    return torch.mm(queries, rows.T, out=out)


def at_least(
    products: Int32[Tensor, "P b"] | Float32[Tensor, "P b"], limit: Float32[Tensor, " P"]
) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " n"]]:
    """Where products reach the limit of their row, as row and column; compared as they are, without turning all into floats."""
    if products.dtype == torch.int32:
        limit = limit.floor().clamp(-(2.0**31), 2.0**31 - 128).to(torch.int32)
    row, column = (products >= limit[:, None]).nonzero(as_tuple=True)
    return row, column


def lowest(scores: Int32[Tensor, "*n"] | Float32[Tensor, "*n"]) -> int | float:
    """A product that no row has: what removed rows and padding are given."""
    return torch.iinfo(torch.int32).min if scores.dtype == torch.int32 else -torch.inf
