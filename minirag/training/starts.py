"""Weights to start from where a network is small and its time short: what is known beforehand need not be learnt.

`counting_words` for a bi-encoder, which begins as a search by words; `grown` for layers that are added to a network which has
learnt without them, and at first change nothing; `started` for a BART, whose positions begin as circles, and its words where a
bi-encoder has put them; `from_bert` for a BART that has a pretrained BERT's size, and takes over all that BERT knows, and
`writing_what_it_sees` for its decoder, which so begins with half of copying.
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
from minirag.models.bart import OFFSET, Bart, BartConfig
from minirag.models.bert import Bert
from minirag.models.transformer import DecoderLayer, EncoderLayer
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


def from_bert(bert: Bert, tokenizer: Any, decoder_layers: int = 3, dropout: float = 0.1) -> Bart:
    """A BART whose encoder computes what `bert` does, and whose decoder starts from BERT's layers (Rothe et al. 2020).

    Both are post-norm with an exact GELU; the type that BERT adds to every token moves into the positions. The decoder takes
    layers at equal distances, the last among them. What it asks documents with, BERT has not: that starts as the same layer's
    self-attention. `[CLS]` and `[SEP]` are begin and end.
    """
    own = bert.config
    bart = Bart(
        BartConfig(
            vocab_size=own.vocab_size,
            dim=own.dim,
            encoder_layers=own.layers,
            decoder_layers=decoder_layers,
            encoder_heads=own.heads,
            decoder_heads=own.heads,
            encoder_inner=own.inner,
            decoder_inner=own.inner,
            positions=own.positions,
            dropout=dropout,
            attention_dropout=dropout,
            activation_dropout=0.0,
            bos_id=tokenizer.cls_token_id,
            pad_id=own.pad_id,
            eos_id=tokenizer.sep_token_id,
            start_id=tokenizer.sep_token_id,
        )
    )
    with torch.no_grad():
        bart.words.weight.copy_(bert.words.weight)
        for half in (bart.encoder, bart.decoder):
            half.positions.weight[OFFSET:].copy_(bert.positions.weight + bert.types.weight[0])
            half.norm.load_state_dict(bert.norm.state_dict())
        for layer, known in zip(bart.encoder.layers, bert.layers, strict=True):
            layer.load_state_dict(known.state_dict())
        for number, layer in enumerate(bart.decoder.layers, 1):
            known = bert.layers[number * own.layers // decoder_layers - 1]
            layer.load_state_dict(known.state_dict(), strict=False)
            assert isinstance(layer, DecoderLayer)
            assert isinstance(known, EncoderLayer)
            layer.cross.load_state_dict(known.attention.state_dict())
            layer.cross_norm.load_state_dict(known.attention_norm.state_dict())
    return bart


def writing_what_it_sees(bart: Bart, tokenizer: Any, passages: Sequence[Passage], strength: float = 1.5) -> Bart:
    """The same network, but that its last layer adds the word that its attention lies on, `strength` times as long as a state.

    What the encoder makes of a token is more than the word; the word is what is linear in it, fitted to the passages by ridge
    regression: w ≈ Wᵀ(x − x̄) + w̄. W becomes the values of the last layer's attention over the document. What else that layer
    would add is set to nothing. To look at the right place is then all that is left to learn about copying.
    """
    layer = bart.decoder.layers[-1]
    assert isinstance(layer, DecoderLayer)
    longest = bart.config.positions
    frames = tokenizer([f"{z.title} / {z.text}" for z in passages], truncation=True, max_length=longest)["input_ids"]
    training = bart.training
    with torch.no_grad():
        ids = [torch.tensor([frame]) for frame in frames]
        x = torch.cat([bart.eval().encode(one, torch.ones_like(one))[0] for one in ids])  # [tokens, D]
        words = bart.words.weight[torch.cat(ids, 1)[0]]  # [tokens, D]
        bart.train(training)
        seen, wanted = x - x.mean(0), words - words.mean(0)
        ridge = 0.01 * len(x) * seen.var() * torch.eye(bart.config.dim)
        fitted = torch.linalg.solve(seen.T @ seen + ridge, seen.T @ wanted)  # [D, D]
        layer.cross.value.weight.copy_(fitted.T)
        layer.cross.value.bias.copy_(words.mean(0) - x.mean(0) @ fitted)
        longer = strength * x.norm(dim=1).mean() / words.norm(dim=1).mean()
        layer.cross.output.weight.copy_(longer * torch.eye(bart.config.dim))
        for weight in (layer.cross.output.bias, layer.feed_forward.contract.weight, layer.feed_forward.contract.bias):
            weight.zero_()
        for norm in (layer.cross_norm, layer.feed_forward_norm):
            norm.weight.fill_(1)
            norm.bias.zero_()
    return bart
