"""BART (Lewis, M. et al. 2019): an encoder that reads a document, and a decoder that writes, token by token, about it.

In RAG it is the generator p(y_i|x, z, y_<i): a document is a passage with the question after it. The paper's is BART-large,
12 + 12 layers of 1,024 dimensions; the defaults of `BartConfig` are BART-base. Weights come from `bart_checkpoints.py`.

The decoder is written once, for *trees*. A chain of T tokens is a tree, and that is training; the beams of a search are a tree
whose leaves grow by one token a step, and what they share stands in it once. A mask says which tokens are a token's ancestors,
so no cache is ever copied from beam to beam, and all hypotheses of a document ask its keys and values together.

Letters: N documents, S tokens of a document, J tokens given to the decoder at once, P of them and all before, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from minirag.errors import MiniragError
from minirag.models.linear import linear
from minirag.models.transformer import ACTIVATIONS, DecoderLayer, Dropout, EncoderLayer, KeysValues, initialise, padding_mask

OFFSET = 2  # a position's row in the table is two further down: fairseq counted from behind the padding token's id


@dataclass(frozen=True)
class BartConfig:
    """The sizes of a BART; the defaults are BART-base's: 139 million parameters."""

    vocab_size: int = 50_265
    dim: int = 768
    encoder_layers: int = 6
    decoder_layers: int = 6
    encoder_heads: int = 12
    decoder_heads: int = 12
    encoder_inner: int = 3_072
    decoder_inner: int = 3_072
    positions: int = 1_024  # the longest document, and the longest target, in tokens
    activation: str = "gelu"
    scale_embedding: bool = False  # whether words are multiplied by √dim
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.1
    bos_id: int = 0
    pad_id: int = 1
    eos_id: int = 2
    start_id: int = 2  # what the decoder is given first, before the target

    def __post_init__(self) -> None:
        if self.dim % self.encoder_heads or self.dim % self.decoder_heads:
            heads = f"{self.encoder_heads} and {self.decoder_heads}"
            raise MiniragError(f"{self.dim} dimensions cannot be shared among {heads} heads; make dim a multiple of both")
        if self.activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise MiniragError(f"the activation '{self.activation}' is not built here; choose a checkpoint with one of {known}")


@dataclass(frozen=True)
class Documents:
    """What the encoder made of N documents: in every decoder layer the keys and values `[N, H, S, d]`, and the padding mask."""

    layers: list[KeysValues]
    mask: Bool[Tensor, "N 1 #J S"] | None  # what of a document is read, by all tokens alike or by each of J

    def take(self, rows: Int[Tensor, " n"]) -> Documents:
        layers = [(keys[rows], values[rows]) for keys, values in self.layers]
        return Documents(layers, None if self.mask is None else self.mask[rows])


class Bart(nn.Module):
    """Encoder and decoder over one table of word embeddings, which is also the output projection.

    >>> bart = Bart(BartConfig(20, 8, 1, 1, 2, 2, 16, 16, positions=6)).eval()
    >>> documents = bart.read(torch.tensor([[0, 5, 7, 2], [0, 6, 2, 1]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]))
    >>> bart.logits(documents, torch.tensor([[2, 0, 9], [2, 0, 4]])).shape
    torch.Size([2, 3, 20])
    """

    def __init__(self, config: BartConfig) -> None:
        super().__init__()
        self.config = config
        dropout = Dropout(config.dropout, config.attention_dropout, config.activation_dropout)
        self.words = nn.Embedding(config.vocab_size, config.dim)
        self.encoder = _Stack(
            config,
            (
                EncoderLayer(config.dim, config.encoder_heads, config.encoder_inner, dropout, config.activation)
                for _ in range(config.encoder_layers)
            ),
        )
        self.decoder = _Stack(
            config,
            (
                DecoderLayer(config.dim, config.decoder_heads, config.decoder_inner, dropout, config.activation)
                for _ in range(config.decoder_layers)
            ),
        )
        self.logits_bias: Tensor
        self.register_buffer("logits_bias", torch.zeros(config.vocab_size))
        self.apply(initialise)

    def encode(
        self,
        input_ids: Int[Tensor, "N S"],
        attention_mask: Int[Tensor, "N S"] | Bool[Tensor, "N S"] | Bool[Tensor, "N S S"],
        where: Int[Tensor, "N S"] | None = None,
    ) -> Float[Tensor, "N S D"]:
        """A vector for every token of N documents. `attention_mask` is 1 at tokens and 0 at padding, or says for each token
        which others it sees; `where` are the tokens' positions, if they do not stand one after the other."""
        places = torch.arange(input_ids.shape[1], device=input_ids.device) if where is None else where
        x = self.encoder.embed(self._words(input_ids), places)  # [N, S, D]
        mask = padding_mask(attention_mask) if attention_mask.dim() == 2 else attention_mask[:, None]
        for layer in self.encoder.layers:
            x = layer(x, x, mask)  # [N, S, D]
        return x

    def read(self, input_ids: Int[Tensor, "N S"], attention_mask: Int[Tensor, "N S"] | Bool[Tensor, "N S"]) -> Documents:
        """Encode N documents once, for every token that the decoder will ever write about them."""
        return self.documents(self.encode(input_ids, attention_mask), padding_mask(attention_mask))

    def documents(self, encoded: Float[Tensor, "N S D"], mask: Bool[Tensor, "N 1 #J S"] | None) -> Documents:
        """What the decoder asks: keys and values of encoded documents, and which of them it may see."""
        crosses = [layer.cross for layer in self.decoder.layers if isinstance(layer, DecoderLayer)]
        return Documents([cross.keys_values(encoded) for cross in crosses], mask)

    def logits(self, documents: Documents, tokens: Int[Tensor, "N T"]) -> Float[Tensor, "N T V"]:
        """What follows each of T given tokens (the start token first), for each document: teacher forcing."""
        return self.predict(self.states(documents, tokens))

    def states(self, documents: Documents, tokens: Int[Tensor, "N T"], targets: int = 1) -> Float[Tensor, "N T D"]:
        """The decoder's vectors at the given tokens, of which `predict` makes logits, the dearest product of a step.

        Who needs only some of the logits, as there is padding among the tokens, predicts from some of the states. The tokens
        may be those of several `targets` of equal length, side by side, none of which sees another.
        """
        row = torch.arange(tokens.shape[1], device=tokens.device)
        length = tokens.shape[1] // targets
        same = row // length == row[:, None] // length
        before = (same & (row <= row[:, None]))[None, None]  # [1, 1, T, T]
        return self._decode(documents, tokens, row % length, before, [None] * len(documents.layers))[0]

    def predict(self, states: Float[Tensor, "*J D"]) -> Float[Tensor, "*J V"]:
        """The logits of what follows, for decoder states of any shape."""
        return linear(states, self.words.weight, self.logits_bias)

    def tree(self, documents: Documents) -> Tree:
        """Hypotheses about the documents, to be grown token by token."""
        return Tree(self, documents)

    def _decode(
        self,
        documents: Documents,
        tokens: Int[Tensor, "N J"],
        where: Int[Tensor, " J"],
        mask: Bool[Tensor, "#N 1 J P"],
        past: Sequence[KeysValues | None],
    ) -> tuple[Float[Tensor, "N J D"], list[KeysValues]]:
        x, now = self.decoder.embed(self._words(tokens), where), []  # [N, J, D]
        for layer, before, document in zip(self.decoder.layers, past, documents.layers, strict=True):
            x, keys_values = layer(x, before, mask, document, documents.mask)
            now.append(keys_values)
        return x, now

    def _words(self, ids: Tensor) -> Tensor:
        words = self.words(ids)
        return words * math.sqrt(self.config.dim) if self.config.scale_embedding else words


class Tree:
    """The hypotheses of N documents as they grow: each token is computed once, whatever number of hypotheses begin with it.

    `computed` counts the tokens that went through the decoder.
    """

    def __init__(self, bart: Bart, documents: Documents) -> None:
        self.bart, self.documents = bart, documents
        self.depth = self.computed = 0
        self._past: list[Any] = [None] * len(documents.layers)  # KeysValues, once something has grown
        self._ancestors: Tensor | None = None  # [N, J, P]: which of the P tokens so far each of the J leaves stands on

    def grow(self, tokens: Int[Tensor, "N J"], parents: Int[Tensor, "N J"] | None = None) -> Float[Tensor, "N J V"]:
        """Put token j of each document on leaf `parents[j]` of the last call, and return the logits of what may follow it.

        The first call gives the start tokens, which have no parents. Each call's tokens are the next call's leaves.
        """
        itself = torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device).expand(len(tokens), -1, -1)  # [N, J, J]
        if self._ancestors is not None and parents is not None:
            before = self._ancestors.take_along_dim(parents[:, :, None], 1)  # [N, J, P − J]
            itself = torch.cat([before, itself], 2)  # [N, J, P]
        self._ancestors = itself
        where = torch.full(tokens.shape[1:], self.depth, device=tokens.device)  # [J]
        states, self._past = self.bart._decode(self.documents, tokens, where, itself[:, None], self._past)
        self.depth += 1
        self.computed += tokens.numel()
        return self.bart.predict(states)

    def keep(self, rows: Int[Tensor, " n"]) -> None:
        """Go on with these documents only."""
        self.documents = self.documents.take(rows)
        if self._ancestors is not None:
            self._past = [(keys[rows], values[rows]) for keys, values in self._past]
            self._ancestors = self._ancestors[rows]


class _Stack(nn.Module):
    """One half of BART: its positions, the LayerNorm on the embeddings, and its layers."""

    def __init__(self, config: BartConfig, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.positions = nn.Embedding(config.positions + OFFSET, config.dim)
        self.norm, self.dropout = nn.LayerNorm(config.dim), nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(layers)

    def embed(self, words: Float[Tensor, "N J D"], where: Int[Tensor, "*N J"]) -> Float[Tensor, "N J D"]:
        longest = self.positions.num_embeddings - OFFSET
        if where.numel() and int(where.max()) >= longest:
            length = int(where.max()) + 1
            raise MiniragError(f"a text of {length} tokens is longer than this BART's {longest} positions; truncate it")
        return self.dropout(self.norm(words + self.positions(where + OFFSET)))
