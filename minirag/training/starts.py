"""Weights to start from where a network is small and its time short: what is known beforehand need not be learnt.

`counting_words` for a bi-encoder, which begins as a search by words; `grown` for layers that are added to a network which has
learnt without them, and at first change nothing; `started` for a BART, whose positions begin as circles, and its words where a
bi-encoder has put them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.models.bart import Bart
from minirag.models.bert import Bert
from minirag.models.transformer import EncoderLayer
from minirag.retrieval.biencoder import BiEncoder


def started(bart: Bart, words: Tensor | None = None) -> Bart:
    """Weights to start from for a network this narrow; from BART's own, copying was not learnt within thousands of steps.

    A standard deviation of 0.02 suits 768 dimensions and is too small for 128: four times as much. And positions start as
    sines and cosines (Vaswani et al. 2017 §3.5), in which "one further on" is the same rotation everywhere, so that a head
    that looks at the neighbour need not be learnt for every position by itself.

    `words`: vectors `[V, D']` of the same tokens from a network that has learnt which mean much the same, such as a bi-encoder;
    they come in their first D principal components, turned at random so that no dimension has more to say than another.
    """
    with torch.no_grad():
        for weights in (part.weight for part in bart.modules() if isinstance(part, nn.Linear | nn.Embedding)):
            weights.mul_(4)
        for table in (bart.encoder.positions, bart.decoder.positions):
            rows, dim = table.weight.shape
            angles = torch.arange(rows)[:, None] * 1_000.0 ** (-torch.arange(0, dim, 2) / dim)  # [rows, dim / 2]
            table.weight.copy_(0.11 * torch.cat([angles.sin(), angles.cos()], 1))
        if words is not None:
            bart.words.weight.copy_(_fewer_dimensions(words, bart.config.dim) * bart.words.weight.std())
    return bart


def _fewer_dimensions(words: Tensor, dim: int) -> Tensor:
    """Vectors `[V, D]` of variance 1 that keep most of how `words` differ."""
    centred = words.float() - words.float().mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    turn, _ = torch.linalg.qr(torch.randn(dim, dim))
    fewer = centred @ directions[:dim].T @ turn  # [V, D]
    return fewer / fewer.std()


def counting_words(bert: Bert, tokenizer: Any, passages: Sequence[Passage], centred: float = 0.8) -> Bert:
    """Weights with which a BERT without layers, and the mean of its vectors, search by words, of which rare ones count more.

    A token's vector is one that all share plus one of its own, the longer the fewer passages hold the token. What all share
    makes all texts alike, so `centred` of the passages' mean is taken off again behind the LayerNorm that needs it.
    Raises `MiniragError` for a network with layers: grow them afterwards.
    """
    if len(bert.layers):
        raise MiniragError(f"words are counted by a BERT without layers, and this one has {len(bert.layers)}; add them later")
    frames = tokenizer([f"{passage.title} {passage.text}" for passage in passages])["input_ids"]
    holding = Counter(token for ids in frames for token in set(ids))
    counts = torch.tensor([holding[token] for token in range(bert.config.vocab_size)])  # [V]
    rarity = 1 - torch.log(counts + 1.0) / math.log(len(passages) + 1)  # [V], from 0 in all passages to 1 in none
    longest = bert.config.positions
    encoder = BiEncoder(bert, bert, tokenizer, "mean", template="pair", max_length=longest, dtype="float32")
    with torch.no_grad():
        own, shared = torch.randn(bert.words.weight.shape), torch.randn(bert.config.dim)
        bert.words.weight.copy_(0.5 * (0.5 * shared + rarity[:, None] * own))
        bert.norm.bias.sub_(centred * encoder.encode_passages(passages).mean(0))
    return bert


def grown(bert: Bert, layers: int) -> Bert:
    """A BERT that computes what `bert` does, which has no layers, with `layers` more that at first add nothing.

    Their last matrices are zero, so that each is a LayerNorm of what is normalised already; the scale and the shift that were
    learnt for the first norm move to the last.
    """
    if len(bert.layers):
        raise MiniragError(f"only a BERT without layers is grown exactly, and this one has {len(bert.layers)}")
    taller = Bert(replace(bert.config, layers=layers)).to(bert.words.weight)
    taller.load_state_dict(bert.state_dict(), strict=False)
    with torch.no_grad():
        for layer in (layer for layer in taller.layers if isinstance(layer, EncoderLayer)):
            for part in (layer.attention.query, layer.attention.key, layer.attention.value, layer.feed_forward.expand):
                part.weight.mul_(4)  # as `started`
            layer.attention.output.weight.zero_()
            layer.feed_forward.contract.weight.zero_()
            last = layer.feed_forward_norm
        if layers:
            last.weight.copy_(bert.norm.weight)
            last.bias.copy_(bert.norm.bias)
            taller.norm.weight.fill_(1)
            taller.norm.bias.zero_()
    return taller
