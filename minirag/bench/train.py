"""A whole training step, forward, backward, clipping and AdamW, beside the same step written with transformers' models.

Two of them: DPR's bi-encoder with in-batch negatives and a hard one for each question, both encoders of BERT-base's sizes; and
BART's denoising, BART-base's sizes. Both sides begin with the same random weights and get the same texts, without dropout, in
float32. Ours is the step of the training loop, tokenizing included. The peer is taken at its best: attention by
`scaled_dot_product_attention`, the fused AdamW, and its inputs made ready beforehand. DPR's own code pads questions and
passages to 256 tokens; there is a row for that, and one in which the peer is padded to the longest, too.

Tokens are those that are no padding, of sources and of targets, of questions and of passages. `equal` says that the first step
had the same loss to a relative 1e-4 and the same norm of the gradient to 1e-3, and left the same weights: to a hundredth of the
learning rate, which is how far AdamW's first step moves each of them.
"""

import copy
import itertools
import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minirag.bench.encode import MAX_LENGTH, bert_tokenizer, miniwiki, random_bert
from minirag.bench.memory import peak_alone
from minirag.bench.rag_pair import random_bart
from minirag.bench.turns import seconds_row, take_turns
from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.models import bart_checkpoints, bert_checkpoints
from minirag.models.bart import BartConfig
from minirag.models.bert import BertConfig
from minirag.retrieval.biencoder import BiEncoder, pad
from minirag.training.dpr import InBatch, Pair
from minirag.training.loop import Run
from minirag.training.pretrain import Denoising, Writing
from minirag.training.settings import Settings

SETTINGS = Settings(steps=1_000, rate=1e-5, decay="none")
Step = Callable[[], tuple[float, float]]  # goes down the gradient; the loss, and the norm of its gradient before clipping


@dataclass(frozen=True)
class Work:
    """What both sides train on: our objective, its examples and their number of tokens, and how the peer is made.

    `state` gives our weights as they are under the peer's names. `peer` makes the peer's model with these weights, and a
    function that returns its loss; neither of them keeps hold of ours, so that memory can be measured for one side alone.
    """

    objective: nn.Module
    examples: Sequence[Any]
    tokens: int
    state: Callable[[], dict[str, Tensor]]
    peer: Callable[[], tuple[nn.Module, Callable[[], Tensor]]]
    peer_name: str


def run(
    passages: Sequence[Passage] | None = None,
    questions: int = 8,
    count: int = 8,
    rounds: int = 3,
    bert: BertConfig | None = None,
    bart: BartConfig | None = None,
) -> list[dict[str, Any]]:
    """The rows of `minirag bench train`: tokens per second of each step, and gigabytes. Five minutes on two cores.

    A step of DPR has `questions`, with two passages each; one of BART writes `count` passages. `bert` and `bart` are for trying
    it out on something smaller.
    """
    needed = max(2 * questions, count)
    corpus = list(passages) if passages is not None else miniwiki(needed)
    if len(corpus) < needed:
        raise MiniragError(f"there are {len(corpus)} passages where {needed} are needed; give more, or ask for fewer")
    twice, bert, bart = corpus[: 2 * questions], bert or BertConfig(), bart or BartConfig()
    step = f"DPR: {questions} questions, {len(twice)} passages"
    rows = [speed_row(f"{step}, peer padded to {MAX_LENGTH}", dpr(twice, MAX_LENGTH, bert), rounds)]
    makes: dict[str, Callable[[], Work]] = {
        step: partial(dpr, twice, None, bert),
        f"BART: {count} passages denoised": partial(denoising, corpus[:count], bart),
    }
    for case, make in makes.items():
        rows.append(speed_row(f"{case}, equal padding", make(), rounds))
        rows.append(memory_row(f"{case}, peak memory, equal padding", make, rows[-1]))
    return rows


def speed_row(case: str, work: Work, rounds: int) -> dict[str, Any]:
    """Tokens per second of both sides, who take turns after a first step that is compared and not timed."""
    model, loss = work.peer()
    steps = {"ours": our_step(work.objective, work.examples), "peer": peer_step(model, loss)}
    first = {name: step() for name, step in steps.items()}
    theirs = model.state_dict()
    equal = same(first["ours"], first["peer"]) and same_weights((mine, theirs[name]) for name, mine in work.state().items())
    seconds, _ = take_turns(steps, rounds, warm_up=False)
    rate = {name: work.tokens / each for name, each in seconds.items()}
    row = seconds_row(case, rate["ours"], rate["peer"], work.peer_name, equal)
    return row | {"unit": "tokens/s", "ratio": rate["ours"] / rate["peer"]}


def memory_row(case: str, make: Callable[[], Work], speed: dict[str, Any]) -> dict[str, Any]:
    """Gigabytes that each side's step takes in a process of its own; the results are those of the row in tokens per second."""
    ours, peer = (peak_alone(_prepared, whose, make) for whose in ("ours", "peer"))
    return seconds_row(case, ours, peer, speed["peer_name"], speed["equal"]) | {"unit": "GB"}


def _prepared(whose: str, make: Callable[[], Work]) -> Step:
    work = make()
    return our_step(work.objective, work.examples) if whose == "ours" else peer_step(*work.peer())


def same(ours: tuple[float, float], theirs: tuple[float, float]) -> bool:
    """Whether losses and norms of gradients agree."""
    return all(math.isclose(a, b, rel_tol=to) for a, b, to in zip(ours, theirs, (1e-4, 1e-3), strict=True))


def same_weights(pairs: Iterable[tuple[Tensor, Tensor]]) -> bool:
    """Whether weights are apart by less than a hundredth of the learning rate, in the mean over all of them.

    In the mean, since where a gradient is nothing but rounding, as a key's bias has it, AdamW steps to either side.
    """
    apart, number = 0.0, 0
    for ours, theirs in pairs:
        apart, number = apart + float((ours - theirs).abs().sum(dtype=torch.float64)), number + ours.numel()
    return apart / number < SETTINGS.rate / 100


def our_step(objective: nn.Module, examples: Sequence[Any]) -> Step:
    """The training loop's own step, on the same examples each time."""
    run = Run(objective, lambda step: examples, SETTINGS, Path(tempfile.gettempdir()), None)
    numbers = itertools.count()
    return lambda: run.step(next(numbers))


def peer_step(model: nn.Module, loss: Callable[[], Tensor]) -> Step:
    """The same step as it is usually written."""
    model.train()
    weights = list(model.parameters())
    groups = [
        {"params": [weight for weight in weights if weight.dim() > 1], "weight_decay": SETTINGS.weight_decay},
        {"params": [weight for weight in weights if weight.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=SETTINGS.rate, betas=SETTINGS.betas, eps=SETTINGS.epsilon, fused=True)

    def step() -> tuple[float, float]:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        norm = nn.utils.clip_grad_norm_(weights, SETTINGS.clip)
        optimizer.step()
        return value.item(), norm.item()

    return step


def dpr(passages: Sequence[Passage], length: int | None, config: BertConfig) -> Work:
    """A question about every other passage, the next one its hard negative; the peer padded to `length`, or to the longest."""
    words, encoder = bert_tokenizer(), random_bert(replace(config, dropout=0.0))
    both = BiEncoder(encoder, copy.deepcopy(encoder), words, max_length=MAX_LENGTH)
    positives, negatives = list(passages[::2]), list(passages[1::2])
    questions = [f"what is known about {passage.title.lower()} and where does it come from?" for passage in positives]
    pairs = [Pair(each, z, (other,)) for each, z, other in zip(questions, positives, negatives, strict=True)]
    asked = words(questions, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    texts = both.tokenize_passages(positives + negatives)
    inputs = [_padded(tokens, config.pad_id, length) for tokens in (asked, texts)]
    state = partial(_dpr_state, both)
    tokens = sum(map(len, asked)) + sum(map(len, texts))
    peer = partial(_dpr_peer, state, encoder.config, *inputs)
    return Work(InBatch(both), pairs, tokens, state, peer, "transformers DPRQuestionEncoder, DPRContextEncoder")


def _dpr_state(encoder: BiEncoder) -> dict[str, Tensor]:
    sides = {"questions.question_encoder": encoder.query_encoder, "passages.ctx_encoder": encoder.passage_encoder}
    return {
        f"{side}.bert_model.{name}": tensor
        for side, bert in sides.items()
        if bert is not None
        for name, tensor in bert_checkpoints.to_transformers(bert)[1].items()
    }


def _dpr_peer(
    state: Callable[[], dict[str, Tensor]], config: BertConfig, asked: dict[str, Tensor], texts: dict[str, Tensor]
) -> tuple[nn.Module, Callable[[], Tensor]]:
    from transformers import DPRConfig, DPRContextEncoder, DPRQuestionEncoder

    fields: dict[str, Any] = {theirs: getattr(config, ours) for ours, theirs in bert_checkpoints.CONFIG_NAMES.items()}
    theirs = DPRConfig(**fields | {"attention_probs_dropout_prob": config.dropout, "attn_implementation": "sdpa"})
    model = nn.ModuleDict({"questions": DPRQuestionEncoder(theirs), "passages": DPRContextEncoder(theirs)})
    model.load_state_dict(state())

    def loss() -> Tensor:
        queries, vectors = model["questions"](**asked).pooler_output, model["passages"](**texts).pooler_output
        return F.cross_entropy(queries @ vectors.T, torch.arange(len(queries)))

    return model, loss


def denoising(passages: Sequence[Passage], config: BartConfig) -> Work:
    """As many passages as there are, drawn with spans and the order of sentences missing, to be written as they were."""
    words = copy.deepcopy(bert_tokenizer())
    words.bos_token, words.eos_token = words.cls_token, words.sep_token  # BERT's names for them
    bart = random_bart(config, words)
    examples = Denoising(passages, words, len(passages))(0)
    sources, targets = ([list(side) for side in sides] for sides in zip(*((e.source, e.target) for e in examples), strict=True))
    pad_id = bart.config.pad_id
    inputs, written = _padded(sources, pad_id), _padded(targets, pad_id)
    labels = written["input_ids"].masked_fill(written["attention_mask"] == 0, -100)  # transformers' sign for "not counted"
    inputs["decoder_input_ids"] = F.pad(written["input_ids"][:, :-1], (1, 0), value=bart.config.start_id)
    state = partial(bart_checkpoints.to_transformers, bart)
    tokens = sum(map(len, sources)) + sum(map(len, targets))
    peer = partial(_bart_peer, state, bart.config, inputs | {"labels": labels})
    return Work(Writing(bart), examples, tokens, state, peer, "transformers BartForConditionalGeneration")


def _bart_peer(
    state: Callable[[], dict[str, Tensor]], config: BartConfig, inputs: dict[str, Tensor]
) -> tuple[nn.Module, Callable[[], Tensor]]:
    from transformers import BartConfig as TheirBartConfig
    from transformers import BartForConditionalGeneration

    fields: dict[str, Any] = {theirs: getattr(config, ours) for ours, theirs in bart_checkpoints.CONFIG_NAMES.items()}
    model: Any = BartForConditionalGeneration(TheirBartConfig(**fields | {"attn_implementation": "sdpa"}))
    model.load_state_dict(state(), strict=False)  # the ties are not in the file
    model.tie_weights()
    return model, lambda: model(**inputs).loss


def _padded(tokens: list[list[int]], pad_id: int, length: int | None = None) -> dict[str, Tensor]:
    """What transformers' models read, padded to `length` or to the longest: ids and mask, both `[N, S]`."""
    ids, mask = pad(tokens, pad_id)
    short = 0 if length is None else length - ids.shape[1]
    return {"input_ids": F.pad(ids, (0, short), value=pad_id), "attention_mask": F.pad(mask, (0, short)).long()}
