"""The parts of a Transformer (Vaswani et al. 2017) that BERT and BART are made of: attention, feed-forward, and their layers.

Both networks are *post-norm*: LayerNorm comes after the residual sum, x ← norm(x + f(x)), as in the original paper and unlike
most Transformers since. Letters: B sequences, T positions that ask, S positions that are asked, H heads, D dimensions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from minirag.models.linear import Linear

KeysValues = tuple[Tensor, Tensor]  # [B, H, S, d] each: what positions answer when they are asked
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
}  # this GELU is x·Φ(x) with the exact Φ, not the tanh formula


@dataclass(frozen=True)
class Dropout:
    """Probabilities of dropping, while training: a sublayer's output, an attention weight, an inner unit."""

    residual: float = 0.0
    attention: float = 0.0
    activation: float = 0.0


NO_DROPOUT = Dropout()


class Attention(nn.Module):
    """Multi-head attention: every position of `x` asks, every position of `context` answers.

    Self-attention is `attention(x, x)`, cross-attention `attention(x, encoded)`. Who answers the same context more than once,
    as a decoder does at each step, computes `keys_values` once and calls `attend`.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value = Linear(dim, dim), Linear(dim, dim), Linear(dim, dim)
        self.output = Linear(dim, dim)

    def forward(
        self, x: Float[Tensor, "B T D"], context: Float[Tensor, "B S D"], mask: Bool[Tensor, "#B 1 #T S"] | None = None
    ) -> Float[Tensor, "B T D"]:
        return self.attend(x, *self.keys_values(context), mask)

    def keys_values(self, context: Float[Tensor, "B S D"]) -> KeysValues:
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
    """Two linear maps with an activation between, at each position alone."""

    def __init__(self, dim: int, inner: int, activation: str = "gelu", dropout: float = 0.0) -> None:
        super().__init__()
        self.expand, self.contract = Linear(dim, inner), Linear(inner, dim)
        self.activation, self.dropout = ACTIVATIONS[activation], nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        return self.contract(self.dropout(self.activation(self.expand(x))))


class EncoderLayer(nn.Module):
    """Attention, then feed-forward, each added to its input and normalised."""

    def __init__(
        self, dim: int, heads: int, inner: int, dropout: Dropout = NO_DROPOUT, activation: str = "gelu", norm_eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.attention, self.attention_norm = Attention(dim, heads, dropout.attention), nn.LayerNorm(dim, norm_eps)
        self.feed_forward, self.feed_forward_norm = (
            FeedForward(dim, inner, activation, dropout.activation),
            nn.LayerNorm(dim, norm_eps),
        )
        self.dropout = nn.Dropout(dropout.residual)

    def forward(
        self, x: Float[Tensor, "B T D"], context: Float[Tensor, "B S D"], mask: Bool[Tensor, "#B 1 #T S"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """Usually `context` is `x`. Give fewer positions as `x`, and only those are computed (see `Bert.cls`)."""
        x = self.attention_norm(x + self.dropout(self.attention(x, context, mask)))  # [B, T, D]
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))  # [B, T, D]


class DecoderLayer(nn.Module):
    """Attention over the tokens so far, attention over a document, feed-forward; each added to its input and normalised."""

    def __init__(
        self, dim: int, heads: int, inner: int, dropout: Dropout = NO_DROPOUT, activation: str = "gelu", norm_eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.attention, self.attention_norm = Attention(dim, heads, dropout.attention), nn.LayerNorm(dim, norm_eps)
        self.cross, self.cross_norm = Attention(dim, heads, dropout.attention), nn.LayerNorm(dim, norm_eps)
        self.feed_forward, self.feed_forward_norm = (
            FeedForward(dim, inner, activation, dropout.activation),
            nn.LayerNorm(dim, norm_eps),
        )
        self.dropout = nn.Dropout(dropout.residual)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        past: KeysValues | None,
        mask: Bool[Tensor, "#B 1 T P"],
        document: KeysValues,
        document_mask: Bool[Tensor, "#B 1 #T S"] | None,
    ) -> tuple[Float[Tensor, "B T D"], KeysValues]:
        """T more tokens after those whose keys and values are `past`; `mask` says which of all P each of them sees.

        `document` are the keys and values (`cross.keys_values`) of what the encoder made of the document, computed once.
        Returns the new states, and `past` with the new tokens' keys and values after it.
        """
        keys, values = self.attention.keys_values(x)  # [B, H, T, d]
        if past is not None:
            keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)  # [B, H, P, d]
        x = self.attention_norm(x + self.dropout(self.attention.attend(x, keys, values, mask)))  # [B, T, D]
        x = self.cross_norm(x + self.dropout(self.cross.attend(x, *document, document_mask)))  # [B, T, D]
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x))), (keys, values)


def padding_mask(attention_mask: Int[Tensor, "B S"] | Bool[Tensor, "B S"]) -> Bool[Tensor, "B 1 1 S"] | None:
    """The same for all heads and askers; None when there is no padding, which attention does faster."""
    mask = attention_mask.bool()
    return None if mask.all() else mask[:, None, None, :]


def initialise(module: nn.Module) -> None:
    """As BERT and BART were initialised: normal with standard deviation 0.02, biases zero. For `Module.apply`."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
