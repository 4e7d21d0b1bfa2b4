"""What the networks learn before any question of a task is asked.

*Denoising*, BART's objective (Lewis, M. et al. 2019 §2.2): a text with spans missing and its sentences in another order is to
be written as it was. That is where copying is learnt, and, over an encyclopedia, what it says. *Inverse cloze* (Lee et al.
2019): a sentence is the question, and the passage it was taken from is to be found. (*Reading* has a file of its own.)
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from minirag.corpus.miniwiki.prose import sentences
from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.models.bart import Bart
from minirag.retrieval.biencoder import pad
from minirag.training.dpr import Pair
from minirag.training.draws import chance_of


@dataclass(frozen=True)
class Written:
    """What a BART reads and what it is to write, as tokens, special ones included; `text` is for people, in a bad batch."""

    source: tuple[int, ...]
    target: tuple[int, ...]
    text: str = ""


class Writing(nn.Module):
    """The objective of denoising: −log p(target | source), for each token."""

    def __init__(self, bart: Bart) -> None:
        super().__init__()
        self.bart = bart

    def forward(self, examples: Sequence[Written]) -> tuple[Tensor, int]:
        """The sum of the tokens' losses in nats, and their number."""
        config, device = self.bart.config, self.bart.words.weight.device
        ids, mask = pad([list(example.source) for example in examples], config.pad_id, 16, config.positions)  # [N, S]
        targets, real = pad([list(example.target) for example in examples], config.pad_id, 8, config.positions)  # [N, T]
        given = F.pad(targets[:, :-1], (1, 0), value=config.start_id)  # [N, T]: what stands before each target
        states = self.bart.states(self.bart.read(ids.to(device), mask.to(device)), given.to(device))  # [N, T, D]
        kept, wanted = (x.to(device) for x in kept_tokens(targets, real))  # [J], [J]
        logits = self.bart.predict(states.flatten(0, 1)[kept])  # [J, V]
        return F.cross_entropy(logits, wanted, reduction="sum"), int(real.sum())


def kept_tokens(targets: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Where in `[N, T]` there are tokens to be predicted, and which, made up to a multiple of 64 with some that do not count
    (see `pad`): logits at padding would be computed for nothing."""
    kept = real.flatten().nonzero()[:, 0]  # [J]
    wanted = targets.flatten()[kept]
    more = -len(kept) % 64
    return F.pad(kept, (0, more)), F.pad(wanted, (0, more), value=-100)


def infilled(tokens: Sequence[int], mask: int, chance: random.Random, share: float = 0.3, mean: float = 3.0) -> list[int]:
    """BART's text infilling: spans with lengths from a Poisson distribution, together `share` of the tokens, each become one
    `mask`; a span of length 0 is a `mask` that stands for nothing.

    >>> infilled(list(range(10, 22)), mask=4, chance=random.Random(1))
    [4, 13, 14, 15, 16, 17, 18, 19, 4, 21]
    """
    left, spans = round(share * len(tokens)), list[int]()
    while left > 0:
        spans.append(min(_poisson(mean, chance), left))
        left -= spans[-1]
    gaps = len(tokens) - sum(spans)  # tokens that stay; a span may begin before each of them, or at the end
    begins = sorted(chance.choices(range(gaps + 1), k=len(spans)))
    out, read, kept = list[int](), 0, 0
    for begin, span in zip(begins, spans, strict=True):
        out += tokens[read : read + begin - kept]
        read, kept = read + begin - kept + span, begin
        if not out or out[-1] != mask or span == 0:  # neighbouring spans are one
            out.append(mask)
    return out + list(tokens[read:])


def _poisson(mean: float, chance: random.Random) -> int:
    """A number with this distribution (Knuth's way)."""
    count, product, limit = 0, chance.random(), math.exp(-mean)
    while product > limit:
        count, product = count + 1, product * chance.random()
    return count


def permuted(text: str, chance: random.Random) -> str:
    """The sentences of a text in an order by lot: BART's sentence permutation."""
    parts = sentences(text)
    return " ".join(chance.sample(parts, len(parts)))


@dataclass(frozen=True)
class Denoising:
    """Draws whole passages to be restored: `share` of the tokens infilled, and the sentences of every other passage permuted.

    In the first `rise` steps passages are cut, from `shortest` tokens on: copying is learnt sooner on short texts.
    """

    passages: Sequence[Passage]
    tokenizer: Any
    batch: int
    seed: int = 0
    share: float = 0.3
    shuffled: float = 0.5
    rise: int = 0
    shortest: int = 32
    longest: int = 256

    def __post_init__(self) -> None:
        if not self.passages:
            raise MiniragError("there is no passage to restore; give at least one")

    def __call__(self, step: int) -> list[Written]:
        chance = chance_of(self.seed, "denoising", step)
        passages = chance.choices(self.passages, k=self.batch)
        texts = [f"{z.title} / {z.text}" if z.title else z.text for z in passages]
        moved = [permuted(text, chance) if chance.random() < self.shuffled else text for text in texts]
        plain = {"add_special_tokens": False, "return_attention_mask": False, "split_special_tokens": True}
        whole, mixed = (self.tokenizer(some, **plain)["input_ids"] for some in (texts, moved))
        grown = self.longest if step >= self.rise else self.shortest + (self.longest - self.shortest) * step // self.rise
        return [
            self._example(target, source, text, grown, chance) for target, source, text in zip(whole, mixed, texts, strict=True)
        ]

    def _example(self, target: list[int], source: list[int], text: str, longest: int, chance: random.Random) -> Written:
        if len(target) > longest:  # a piece of it, and then the same piece in both
            first = chance.randrange(len(target) - longest + 1)
            target = source = target[first : first + longest]
        noised = infilled(source, self.tokenizer.mask_token_id, chance, self.share)
        frame = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
        return Written((frame[0], *noised, frame[1]), (frame[0], *target, frame[1]), text)


def inverse_cloze(passage: Passage, chance: random.Random, kept: float = 0.1) -> Pair:
    """A sentence of the passage as the question; it stays in the passage with probability `kept` (Lee et al.: 0.1)."""
    parts = sentences(passage.text)
    place = chance.randrange(len(parts))
    rest = parts if len(parts) == 1 or chance.random() < kept else parts[:place] + parts[place + 1 :]
    return Pair(parts[place], Passage(passage.id, passage.title, " ".join(rest)))
