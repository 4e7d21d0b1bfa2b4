"""What a generator has to do for RAG. `Bart` does it; `Seq2Seq` makes any encoder–decoder of transformers do it, such as T5.

A document is encoded once (`read`); training asks for the logits along a given target (`logits`); decoding grows hypotheses
token by token (`tree`, see `models.bart.Tree`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from minirag.errors import MiniragError


@runtime_checkable
class GeneratorConfig(Protocol):
    """What decoding has to know of a generator: sizes, and the ids of special tokens."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def positions(self) -> int: ...
    @property
    def start_id(self) -> int: ...
    @property
    def eos_id(self) -> int: ...
    @property
    def pad_id(self) -> int: ...


@runtime_checkable
class Leaves(Protocol):
    """Hypotheses that grow under N documents."""

    computed: int

    def grow(self, tokens: Int[Tensor, "N J"], parents: Int[Tensor, "N J"] | None = None) -> Float[Tensor, "N J V"]: ...
    def keep(self, rows: Int[Tensor, " n"]) -> None: ...


@runtime_checkable
class Generator(Protocol):
    """p(y_i|x, z, y_<i): the interface of `Bart` and `Seq2Seq`."""

    @property
    def config(self) -> GeneratorConfig: ...
    def read(self, input_ids: Int[Tensor, "N S"], attention_mask: Int[Tensor, "N S"] | Bool[Tensor, "N S"]) -> Any: ...
    def logits(self, documents: Any, tokens: Int[Tensor, "N T"]) -> Float[Tensor, "N T V"]: ...
    def tree(self, documents: Any) -> Leaves: ...


@dataclass(frozen=True)
class Sizes:
    """A `GeneratorConfig` of plain numbers."""

    vocab_size: int
    positions: int
    start_id: int
    eos_id: int
    pad_id: int


class Seq2Seq(nn.Module):
    """An encoder–decoder of transformers as a generator. Slower than `Bart`: each step decodes the whole prefixes anew."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        fields = model.config
        ends = fields.eos_token_id
        if not fields.is_encoder_decoder or fields.decoder_start_token_id is None or not isinstance(ends, int):
            raise MiniragError(
                "the generator has to be an encoder–decoder with one start and one end token; choose a T5 or BART"
            )
        longest = getattr(fields, "max_position_embeddings", None) or 1_000_000  # T5's positions are relative and have no end
        self.model = model
        self.config = Sizes(fields.vocab_size, longest, fields.decoder_start_token_id, ends, fields.pad_token_id)

    def read(
        self, input_ids: Int[Tensor, "N S"], attention_mask: Int[Tensor, "N S"] | Bool[Tensor, "N S"]
    ) -> tuple[Float[Tensor, "N S D"], Int[Tensor, "N S"]]:
        mask = attention_mask.long()
        return self.model.get_encoder()(input_ids=input_ids, attention_mask=mask).last_hidden_state, mask

    def logits(self, documents: tuple[Tensor, Tensor], tokens: Int[Tensor, "N T"]) -> Float[Tensor, "N T V"]:
        encoded, mask = documents
        return self.model(encoder_outputs=(encoded,), attention_mask=mask, decoder_input_ids=tokens, use_cache=False).logits

    def tree(self, documents: tuple[Tensor, Tensor]) -> Prefixes:
        return Prefixes(self, documents)


class Prefixes:
    """`models.bart.Tree` for a network that knows only chains: it keeps every leaf's whole prefix."""

    def __init__(self, generator: Seq2Seq, documents: tuple[Tensor, Tensor]) -> None:
        self.generator, self.documents, self.computed = generator, documents, 0
        self._prefixes: Tensor | None = None  # [N, J, T]

    def grow(self, tokens: Int[Tensor, "N J"], parents: Int[Tensor, "N J"] | None = None) -> Float[Tensor, "N J V"]:
        new = tokens[:, :, None]  # [N, J, 1]
        if self._prefixes is not None and parents is not None:
            new = torch.cat([self._prefixes.take_along_dim(parents[:, :, None], 1), new], 2)  # [N, J, T]
        self._prefixes = new
        self.computed += new.numel()
        per_leaf = [part.repeat_interleave(tokens.shape[1], 0) for part in self.documents]
        logits = self.generator.logits((per_leaf[0], per_leaf[1]), new.flatten(0, 1))  # [N·J, T, V]
        return logits[:, -1].unflatten(0, tokens.shape)

    def keep(self, rows: Int[Tensor, " n"]) -> None:
        self.documents = (self.documents[0][rows], self.documents[1][rows])
        if self._prefixes is not None:
            self._prefixes = self._prefixes[rows]
