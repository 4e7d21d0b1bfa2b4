"""The parts of a Transformer (Vaswani et al. 2017) that BERT and BART share: attention, feed-forward, and one layer of both.

Both networks are *post-norm*: LayerNorm comes after the residual sum, x ← norm(x + f(x)), as in the original paper and unlike
most Transformers since. Letters: B sequences, T positions that ask, S positions that are asked, H heads, D dimensions.
"""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention: every position of `x` asks, every position of `context` answers.

    Self-attention is `attention(x, x)`, cross-attention `attention(x, encoded)`. Who answers the same context more than once,
    as a decoder does at each step, computes `keys_values` once and calls `attend`.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim)

    def forward(
        self, x: Float[Tensor, "B T D"], context: Float[Tensor, "B S D"], mask: Bool[Tensor, "#B 1 #T S"] | None = None
    ) -> Float[Tensor, "B T D"]:
        return self.attend(x, *self.keys_values(context), mask)

    def keys_values(self, context: Float[Tensor, "B S D"]) -> tuple[Float[Tensor, "B H S d"], Float[Tensor, "B H S d"]]:
        return self._split(self.key(context)), self._split(self.value(context))

    def attend(
        self,
        x: Float[Tensor, "B T D"],
        keys: Float[Tensor, "B H S d"],
        values: Float[Tensor, "B H S d"],
        mask: Bool[Tensor, "#B 1 #T S"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """softmax(q kᵀ / √d) v in each head, where `mask` is true; then the heads side by side through one more matrix."""
        queries = self._split(self.query(x))  # [B, H, T, d]
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=dropout)  # [B, H, T, d]
        return self.output(mixed.transpose(1, 2).flatten(2))  # [B, T, D]

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, S, D] → [B, H, S, d]


class FeedForward(nn.Module):
    """Two linear maps with GELU between, at each position alone. GELU is x·Φ(x) with the exact Φ, not the tanh formula."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.expand, self.contract = nn.Linear(dim, inner), nn.Linear(inner, dim)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        return self.contract(F.gelu(self.expand(x)))


class EncoderLayer(nn.Module):
    """Attention, then feed-forward, each added to its input and normalised."""

    def __init__(self, dim: int, heads: int, inner: int, dropout: float = 0.0, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.attention, self.attention_norm = Attention(dim, heads, dropout), nn.LayerNorm(dim, norm_eps)
        self.feed_forward, self.feed_forward_norm = FeedForward(dim, inner), nn.LayerNorm(dim, norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "B T D"], context: Float[Tensor, "B S D"], mask: Bool[Tensor, "#B 1 #T S"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """Usually `context` is `x`. Give fewer positions as `x`, and only those are computed (see `Bert.cls`)."""
        x = self.attention_norm(x + self.dropout(self.attention(x, context, mask)))  # [B, T, D]
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))  # [B, T, D]
