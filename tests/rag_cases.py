"""Small random RAGs, ours and transformers' with the same weights, and contexts for both."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minirag.bench.rag_pair import peer_of
from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.models.bart import Bart, BartConfig
from minirag.models.bert import Bert, BertConfig
from minirag.rag.contexts import Contexts
from minirag.rag.model import RagModel
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.exact import ExactIndex

SMALL = {"dim": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_heads": 2, "decoder_heads": 4}
SMALL |= {"encoder_inner": 20, "decoder_inner": 24, "positions": 40}


def random_bart(vocab_size: int, seed: int = 0, spread: float = 0.3, end: float = 0.0) -> Bart:
    """A BART whose documents matter. It never writes padding; `end` makes it end sooner."""
    torch.manual_seed(seed)
    bart = Bart(BartConfig(vocab_size, **SMALL, dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)).eval()
    with torch.no_grad():
        for parameter in bart.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
        bart.logits_bias.normal_()
        bart.logits_bias[bart.config.eos_id] += end
        bart.logits_bias[bart.config.pad_id] = -1e9
    return bart


def random_contexts(bart: Bart, b: int, k: int, s: int, seed: int = 0, padded: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Ids and mask `[B, K, S]` of random lengths, and scores `[B, K]`."""
    chance = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, bart.config.vocab_size, (b, k, s), generator=chance)
    lengths = torch.randint(2, s + 1, (b, k, 1), generator=chance) if padded else torch.full((b, k, 1), s)
    mask = torch.arange(s) < lengths  # [B, K, S]
    return ids.masked_fill(~mask, bart.config.pad_id), mask, 2 * torch.randn(b, k, generator=chance)


def peer_generates(
    bart: Bart, scheme: Any, contexts: tuple[Tensor, Tensor, Tensor], told: bool = True, **settings: Any
) -> list:
    """What transformers' RAG generates, without start token, padding and what follows an end.

    `told`: whether RAG-Sequence's searches are told which tokens are padding, which transformers leaves out.
    """
    ids, mask, scores = contexts
    peer = peer_of(bart, scheme, scores.shape[1])
    if not told:
        del peer.rag.generator.generate  # the class's own again
    with torch.no_grad():
        found = peer.generate(
            context_input_ids=ids.flatten(0, 1),
            context_attention_mask=mask.flatten(0, 1).long(),
            doc_scores=scores,
            n_docs=scores.shape[1],
            **settings,
        )
    return [cut(row, bart) for row in found.tolist()]


def cut(row: list[int], bart: Bart) -> list[int]:
    tokens = row[1:]
    if bart.config.eos_id in tokens:
        return tokens[: tokens.index(bart.config.eos_id) + 1]
    return [token for token in tokens if token != bart.config.pad_id]


def settings(seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same random way to search, in our words and in transformers'."""
    chance = random.Random(seed)
    beams, length = chance.choice((1, 2, 4, 5)), chance.choice((5, 8))
    shared = {"length_penalty": chance.choice((0.0, 1.0, 2.0, -1.0)), "early_stopping": chance.choice((True, False, "never"))}
    repeat, least = chance.choice((0, 0, 2, 3)), chance.choice((0, 0, 3))
    ours = {"beams": beams, "max_length": length, "min_length": least, "no_repeat": repeat, **shared}
    theirs = {"num_beams": beams, "max_length": length + 1, "min_length": least + 1, "no_repeat_ngram_size": repeat, **shared}
    if beams == 1:  # transformers' greedy search knows nothing of these
        theirs |= {"length_penalty": 1.0, "early_stopping": False}
    return ours, theirs


def small_bart(texts: list[str], positions: int = 120) -> tuple[Bart, Any]:
    """A random BART and a tokenizer learnt from these texts, of byte pairs."""
    from minirag.training.tokenizer import make_tokenizer

    tokenizer = make_tokenizer(texts, 300)
    torch.manual_seed(0)
    bart = Bart(BartConfig(len(tokenizer), **SMALL | {"positions": positions}, dropout=0.0)).eval()
    with torch.no_grad():
        for parameter in bart.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        bart.logits_bias[bart.config.pad_id] = -1e9
    return bart, tokenizer


def small_rag(folder: Path, passages: list[Passage], texts: list[str]) -> RagModel:
    """A tiny RAG over an exact index of the passages, without dropout; its tokenizer is learnt from the texts as well."""
    bart, tokenizer = small_bart([*(z.text for z in passages), *texts], positions=60)
    weights = bart.state_dict()
    bart = Bart(replace(bart.config, attention_dropout=0.0, activation_dropout=0.0))
    bart.load_state_dict(weights)
    torch.manual_seed(1)
    bert = Bert(BertConfig(len(tokenizer), 16, 1, 2, 32, 60, dropout=0.0, pad_id=tokenizer.pad_token_id))
    with torch.no_grad():
        bert.words.weight.mul_(20)
    encoder = BiEncoder(bert, bert, tokenizer, "mean", max_length=60, dtype="float32")
    index = ExactIndex(16)
    index.add(encoder.encode_passages(passages))
    store = PassageStore.write(folder / "passages", passages)
    return RagModel(bart, Contexts(tokenizer, max_length=60), encoder).attach(index, store)
