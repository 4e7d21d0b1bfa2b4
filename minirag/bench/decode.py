"""Decoding beside transformers: RAG-Token's beam search and RAG-Sequence's thorough decoding, on the same weights and contexts.

`equal`: for every question the same best hypothesis, token for token.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from minirag.bench.rag_pair import PEERS, contexts, peer_of, random_bart
from minirag.bench.turns import seconds_row, take_turns
from minirag.corpus.passages import Passage
from minirag.models.bart import BartConfig
from minirag.rag.decode import Decoder, Search, decode
from minirag.rag.marginalize import Scheme

DECODERS: tuple[Decoder, ...] = ("token", "thorough")


def run(
    passages: Sequence[Passage] | None = None,
    questions: int = 4,
    k: int = 5,
    beams: int = 4,
    new_tokens: int = 16,
    rounds: int = 3,
    config: BartConfig | None = None,
) -> list[dict[str, Any]]:
    """The rows of `minirag bench decode`: every hypothesis has exactly `new_tokens` tokens. Four minutes on two cores."""
    from minirag.bench.encode import bert_tokenizer, miniwiki

    words, corpus = bert_tokenizer(), passages or miniwiki(questions * k)
    bart = random_bart(config or BartConfig(), words)
    ids, mask, scores = contexts(words, corpus, questions, k)
    search = Search(beams, new_tokens, new_tokens)
    rows = []
    for decoder in DECODERS:
        scheme: Scheme = "token" if decoder == "token" else "sequence"
        peer = peer_of(bart, scheme, k)
        peer = partial(_as_peers_do, peer_of(bart, scheme, k), ids, mask, scores, search)
        ours = partial(decode, bart, ids, mask, scores, decoder, search)
        turns: dict[str, Callable[[], Any]] = {"ours": ours, "peer": peer}
        seconds, results = take_turns(turns, rounds)
        case = f"{decoder}: {questions} questions, K = {k}, {beams} beams, {new_tokens} new tokens, S = {ids.shape[2]}"
        equal = same(results["ours"], results["peer"])
        rows.append(seconds_row(case, seconds["ours"], seconds["peer"], PEERS[scheme], equal))
    return rows


def same(ours: Any, theirs: Any) -> bool:
    """Whether the best hypotheses are theirs, which begin with the start token."""
    return [hypotheses[0].tokens for hypotheses in ours] == theirs[:, 1:].tolist()


def _as_peers_do(peer: Any, ids: Tensor, mask: Tensor, scores: Tensor, search: Search) -> Tensor:
    with torch.inference_mode():
        found: Tensor = peer.generate(
            context_input_ids=ids.flatten(0, 1),
            context_attention_mask=mask.flatten(0, 1).long(),
            doc_scores=scores,
            n_docs=scores.shape[1],
            num_beams=search.beams,
            max_length=search.max_length + 1,  # the start token counts there
            min_length=search.min_length + 1,
            length_penalty=search.length_penalty,
            early_stopping=search.early_stopping,
            num_return_sequences=1,
        )
    return found
