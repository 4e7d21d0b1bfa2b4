"""BERT (Devlin et al. 2019): a Transformer encoder, which turns S tokens into S vectors that have read each other.

In RAG it is both encoders of DPR: BERT-base, 12 layers of 768 dimensions, and a text's vector is the one at its first token,
`[CLS]` (Karpukhin et al. 2020 §3.1). The published sizes are `BertConfig`'s defaults; weights come from `bert_checkpoints.py`.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from minirag.errors import MiniragError
from minirag.models.transformer import Dropout, EncoderLayer, initialise, padding_mask


@dataclass(frozen=True)
class BertConfig:
    """The sizes of a BERT; the defaults are BERT-base, uncased: 109 million parameters."""

    vocab_size: int = 30_522
    dim: int = 768
    layers: int = 12
    heads: int = 12
    inner: int = 3_072  # width of the feed-forward layers
    positions: int = 512  # the longest text it can read, in tokens
    token_types: int = 2
    dropout: float = 0.1
    norm_eps: float = 1e-12
    pad_id: int = 0

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise MiniragError(f"{self.dim} dimensions cannot be shared among {self.heads} heads; make dim a multiple of heads")


class Bert(nn.Module):
    """The encoder, without the pooler and the heads of BERT's own pre-training, which retrieval does not use.

    >>> import torch
    >>> bert = Bert(BertConfig(vocab_size=10, dim=8, layers=2, heads=2, inner=16, positions=6)).eval()
    >>> ids = torch.tensor([[2, 5, 7, 3], [2, 6, 3, 0]])
    >>> bert(ids, ids != 0).shape
    torch.Size([2, 4, 8])
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Embedding(config.vocab_size, config.dim)
        self.positions = nn.Embedding(config.positions, config.dim)
        self.types = nn.Embedding(config.token_types, config.dim)
        self.norm = nn.LayerNorm(config.dim, config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        dropout = Dropout(residual=config.dropout, attention=config.dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(config.dim, config.heads, config.inner, dropout, norm_eps=config.norm_eps)
            for _ in range(config.layers)
        )
        self.apply(initialise)

    def forward(
        self, input_ids: Int[Tensor, "B S"], attention_mask: Int[Tensor, "B S"] | Bool[Tensor, "B S"]
    ) -> Float[Tensor, "B S D"]:
        """A vector for every token. `attention_mask` is 1 at tokens and 0 at padding, where the output has no meaning."""
        x, mask = self._embed(input_ids), padding_mask(attention_mask)
        for layer in self.layers:
            x = layer(x, x, mask)  # [B, S, D]
        return x

    def cls(
        self, input_ids: Int[Tensor, "B S"], attention_mask: Int[Tensor, "B S"] | Bool[Tensor, "B S"]
    ) -> Float[Tensor, "B D"]:
        """`forward(...)[:, 0]` for less: nobody reads the last layer's other positions, so there only the first one asks.

        That spares nearly all of one layer in twelve, and changes nothing.
        """
        x, mask = self._embed(input_ids), padding_mask(attention_mask)
        for layer in self.layers[:-1]:
            x = layer(x, x, mask)  # [B, S, D]
        return self.layers[-1](x[:, :1], x, mask)[:, 0]  # [B, D]

    def _embed(self, input_ids: Tensor) -> Tensor:
        """What + where + which sentence. The sentence is always the first, number 0, for titles and texts alike.

        A tokenizer offers 0 for the title and 1 for the text of a pair, but DPR was trained, and Wikipedia encoded, with zeros
        throughout; passing the tokenizer's numbers to it is a silent mistake that moves every vector.
        """
        length = input_ids.shape[1]
        if length > self.config.positions:
            raise MiniragError(
                f"a text of {length} tokens is longer than this BERT's {self.config.positions} positions; truncate it"
            )
        x = self.words(input_ids) + self.positions.weight[:length] + self.types.weight[0]  # [B, S, D]
        return self.dropout(self.norm(x))
