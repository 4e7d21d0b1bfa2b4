"""Product quantisation: a vector in M bytes (Jégou et al. 2011, "Product Quantization for Nearest Neighbor Search").

A vector is cut into M pieces, and each piece is replaced by the nearest of 256 that k-means has learnt for its place: one byte
a piece, 64 bytes for what were 3,072. A question's inner product with such a vector is a sum of M numbers out of a table of
256·M that is made once,

    q·v ≈ Σ_m T[m, c_m],    T[m, j] = q_m·w_mj                                                      (their equation 13)

Before it is cut the vector is rotated, so that every piece has its share of what distinguishes vectors, and neighbours in the
code stand for what belongs together: optimised product quantisation (Ge et al. 2013). The rotation starts from principal
components dealt out to the pieces, and then rotation and pieces are fitted to one another in turn.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from tqdm.auto import tqdm

from minirag.errors import MiniragError
from minirag.retrieval.kmeans import kmeans

WORDS = 256  # codewords for each piece: what a byte can tell apart
ROWS = 512  # vectors coded at once: their 256·M products each fit into a cache
SAMPLE = 65_536  # vectors from which a quantizer is learnt: 256 for each codeword


@dataclass(frozen=True)
class ProductQuantizer:
    """D numbers ↔ M bytes.

    >>> pq = ProductQuantizer(torch.eye(2), torch.tensor([[[0.0], [5.0]], [[1.0], [3.0]]]))
    >>> codes = pq.encode(torch.tensor([[4.0, 1.2]]))
    >>> codes.tolist(), pq.decode(codes).tolist()
    ([[1, 0]], [[5.0, 1.0]])
    >>> pq.tables(torch.tensor([[1.0, 2.0]])).tolist()  # 5·1 + 1·2 = 7, what the decoded vector gives
    [[[0.0, 5.0], [2.0, 6.0]]]
    """

    rotation: Float32[Tensor, "D D"]  # x → x·R, and back x = y·Rᵀ
    codebooks: Float32[Tensor, "M W d"]  # d = D/M

    @property
    def pieces(self) -> int:
        """M, the bytes of a code."""
        return len(self.codebooks)

    @classmethod
    def train(
        cls, vectors: Float32[Tensor, "n D"], pieces: int, turns: int = 8, seed: int = 0, progress: bool = False
    ) -> ProductQuantizer:
        """Learn rotation and codewords from a sample; `turns`: how often the rotation is fitted again (0: components only).

        With fewer than 256 vectors there is a warning, and codewords are repeated. Raises MiniragError if M does not divide D,
        and for vectors whose squares, summed up, float32 cannot hold.
        """
        n, dim = vectors.shape
        check_pieces(dim, pieces)
        if not bool(torch.isfinite(vectors.square().sum())):
            raise MiniragError("vectors as long as these cannot be coded, as their squares are infinite; scale them all down")
        if n < WORDS:
            warnings.warn(f"{n} vectors cannot fill {WORDS} codewords; some are repeated", stacklevel=2)
        chosen = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:SAMPLE].sort().values
        points = vectors[chosen]  # [n, D]
        rotation = dealt_components(points, pieces)
        parts = _pieces(points @ rotation, pieces)  # [M, n, d]
        bar = tqdm(parts, desc=f"codewords, {pieces} pieces", disable=not progress)
        pq = cls(rotation, torch.stack([_words(part, seed) for part in bar]))
        for _ in tqdm(range(turns), desc="rotation", disable=not progress):
            pq = pq._fitted(points)
        return pq

    def _fitted(self, points: Float32[Tensor, "n D"]) -> ProductQuantizer:
        """The rotation that brings the points nearest to what their codes say, min ‖X R − Y‖ (Procrustes: R = U Vᵀ of
        Xᵀ Y = U S Vᵀ), and then each codeword the mean of its pieces."""
        coded = self._words_of(self.encode(points))  # [n, D]
        left, _, right = torch.linalg.svd(points.T @ coded)
        rotation = left @ right  # [D, D]
        parts = _pieces(points @ rotation, self.pieces)  # [M, n, d]
        books = self.codebooks.clone()
        codes = ProductQuantizer(rotation, self.codebooks).encode(points).long().T  # [M, n]
        for book, part, code in zip(books, parts, codes, strict=True):
            counts = torch.bincount(code, minlength=len(book))  # [W]
            means = torch.zeros_like(book).index_add_(0, code, part) / counts.clamp(min=1)[:, None]
            book[counts > 0] = means[counts > 0]
        return ProductQuantizer(rotation, books)

    def encode(self, vectors: Float32[Tensor, "n D"]) -> UInt8[Tensor, "n M"]:
        """For each piece of each rotated vector the number of the nearest codeword, ties to the lower one."""
        half = self.codebooks.square().sum(2)[:, None] / 2  # [M, 1, W]; argmin ‖x − w‖² = argmax x·w − ‖w‖²/2
        codes = torch.empty(len(vectors), self.pieces, dtype=torch.uint8)
        for low in range(0, len(vectors), ROWS):
            parts = _pieces(vectors[low : low + ROWS] @ self.rotation, self.pieces)  # [M, n, d]
            near = torch.baddbmm(half, parts, self.codebooks.mT, beta=-1)  # [M, n, W]
            codes[low : low + ROWS] = near.argmax(2).T
        return codes

    def decode(self, codes: UInt8[Tensor, "n M"]) -> Float32[Tensor, "n D"]:
        """The vectors that codes stand for."""
        return self._words_of(codes) @ self.rotation.T

    def _words_of(self, codes: UInt8[Tensor, "n M"]) -> Float32[Tensor, "n D"]:
        return torch.cat([book[code.long()] for book, code in zip(self.codebooks, codes.T, strict=True)], dim=1)

    def tables(self, queries: Float32[Tensor, "B D"]) -> Float32[Tensor, "B M W"]:
        """T[b, m, j]: what codeword j at place m adds to the inner product with question b."""
        return torch.einsum("mbd,mwd->bmw", _pieces(queries @ self.rotation, self.pieces), self.codebooks)


def usual_pieces(dim: int) -> int:
    """The most pieces up to 64 that vectors of D numbers can be cut into.

    >>> usual_pieces(768), usual_pieces(100)
    (64, 50)
    """
    return next(pieces for pieces in range(64, 0, -1) if dim % pieces == 0)


def check_pieces(dim: int, pieces: int) -> None:
    """Raise MiniragError unless vectors of D numbers can be cut into M equal pieces."""
    if pieces < 1 or dim % pieces:
        near = [m for m in range(1, dim + 1) if dim % m == 0 and m <= 2 * max(pieces, 1)]
        raise MiniragError(f"{dim} numbers cannot be cut into {pieces} equal pieces; choose one of {near[-4:]}")


def dealt_components(points: Float32[Tensor, "n D"], pieces: int) -> Float32[Tensor, "D D"]:
    """Principal components, dealt to M pieces so that the products of their variances come out alike (Ge et al. 2013 §4.2).

    The largest component goes to the piece whose product is smallest and that still has room, and so on.
    """
    dim = points.shape[1]
    variances, components = torch.linalg.eigh(torch.cov(points.T, correction=int(len(points) > 1)).view(dim, dim).double())
    logs = variances.clamp(min=1e-12).log() - variances.clamp(min=1e-12).log().min()
    hands: list[list[int]] = [[] for _ in range(pieces)]
    weights = [0.0] * pieces
    for component in range(dim - 1, -1, -1):  # eigh gives the smallest first
        piece = min((m for m in range(pieces) if len(hands[m]) < dim // pieces), key=lambda m: (weights[m], m))
        hands[piece].append(component)
        weights[piece] += float(logs[component])
    return components[:, [component for hand in hands for component in hand]].float().contiguous()


def _words(points: Float32[Tensor, "n d"], seed: int) -> Float32[Tensor, "W d"]:
    words = kmeans(points, min(WORDS, len(points)), spherical=False, seed=seed)
    return torch.cat([words, words[-1:].expand(WORDS - len(words), -1)])


def _pieces(rows: Float32[Tensor, "n D"], pieces: int) -> Float32[Tensor, "M n d"]:
    return rows.view(len(rows), pieces, -1).transpose(0, 1)
