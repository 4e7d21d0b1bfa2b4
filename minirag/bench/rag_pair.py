"""A RAG and transformers' RAG with the same random weights, and contexts of real passages for both.

Sizes are BART-base's, since speed does not depend on what a network has learnt. Weights are twice as large as at BART's start,
as training leaves them: smaller ones make the documents all but indistinguishable. The pieces of words are BERT's, which come
with a package, so the special ids are BERT's, too.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.models.bart import Bart, BartConfig
from minirag.models.bart_checkpoints import CONFIG_NAMES, to_transformers
from minirag.rag.contexts import Contexts
from minirag.rag.marginalize import Scheme

PEERS: dict[Scheme, str] = {"token": "transformers RagTokenForGeneration", "sequence": "transformers RagSequenceForGeneration"}


def random_bart(config: BartConfig, tokenizer: Any) -> Bart:
    """A BART of these sizes for this tokenizer, without dropout, so that what two of them compute can be compared."""
    torch.manual_seed(0)
    ids = {"bos_id": tokenizer.cls_token_id, "eos_id": tokenizer.sep_token_id, "start_id": tokenizer.sep_token_id}
    quiet = replace(config, dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)
    bart = Bart(replace(quiet, pad_id=tokenizer.pad_token_id, **ids)).eval()
    with torch.no_grad():
        for module in bart.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                module.weight.mul_(2)
        bart.logits_bias[bart.config.pad_id] = -1e9  # transformers would generate padding as a word like any other
    return bart


def peer_of(bart: Bart, scheme: Scheme, k: int) -> Any:
    """transformers' RAG around the same BART, with k documents a question, and a tiny question encoder that nothing asks.

    Its RAG-Sequence searches under each document without telling the generator which tokens are padding. Here it is told:
    otherwise it would find other hypotheses, no faster.
    """
    from transformers import BartConfig as TheirBartConfig
    from transformers import DPRConfig, RagConfig, RagSequenceForGeneration, RagTokenForGeneration

    fields = {theirs: getattr(bart.config, ours) for ours, theirs in CONFIG_NAMES.items()}
    tiny = DPRConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    generator = TheirBartConfig(**fields, forced_eos_token_id=None)
    config = RagConfig.from_question_encoder_generator_configs(tiny, generator, n_docs=k)
    peer: Any = (RagTokenForGeneration if scheme == "token" else RagSequenceForGeneration)(config)
    peer.rag.generator.load_state_dict(to_transformers(bart), strict=False)  # the ties are not in the file
    peer.rag.generator.tie_weights()
    search, pad_id = peer.rag.generator.generate, bart.config.pad_id

    def told(ids: Tensor, **settings: Any) -> Tensor:
        return search(ids, **settings | {"attention_mask": ids.ne(pad_id).long()})

    peer.rag.generator.generate = told
    return peer.eval()


def contexts(
    tokenizer: Any, passages: Sequence[Passage], questions: int, k: int, length: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Ids and mask `[B, K, S]` of the first B·K passages with a question each, padded to the longest or to `length`; scores."""
    if len(passages) < questions * k:
        raise MiniragError(f"there are {len(passages)} passages where {questions * k} are needed; give more, or ask for fewer")
    asked = [f"what is known about {passages[b * k].title.lower()} and where does it come from?" for b in range(questions)]
    made = Contexts(tokenizer, length or 300)
    ids, mask = made.of(asked, [passages[b * k : (b + 1) * k] for b in range(questions)])
    short = 0 if length is None else length - ids.shape[2]
    ids = nn.functional.pad(ids, (0, short), value=tokenizer.pad_token_id)
    mask = nn.functional.pad(mask, (0, short), value=False)
    scores = torch.randn(questions, k, generator=torch.Generator().manual_seed(0)) + 70  # DPR's are near 70
    return ids, mask, scores
