"""Reading natural language with few questions: the answer is a piece of the passage, and the network is shown how to copy it.

Thousands of questions are not enough to find out by oneself that an answer is copied. So three things are learnt at once: to
write the answer; for each of its tokens, to look at where it stands (the last layer's attention over the document, as in
`reading.py` for the first token); and to mark in the encoder where it begins and ends, as those do who only mark answers
(Devlin et al. 2019 §4.2). The marks are gone with this objective.

Passages are cut to some sentences around the answer: there is less to read, and where in the passage it stands says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minirag.corpus.miniwiki.prose import sentences
from minirag.corpus.passages import Passage
from minirag.corpus.words import pattern
from minirag.errors import MiniragError
from minirag.models.bart import Bart
from minirag.rag.contexts import Contexts
from minirag.retrieval.biencoder import pad, wide
from minirag.training.draws import epochs
from minirag.training.pretrain import kept_tokens
from minirag.training.reading import attention_weights, hearing


@dataclass(frozen=True)
class Extract:
    """What is read and what is written, as tokens with special ones; `begins`: at which token of the source the answer stands,
    token for token, −1 where it does not."""

    source: tuple[int, ...]
    target: tuple[int, ...]
    begins: int
    text: str = ""


class Copying(nn.Module):
    """The objective: −log p(answer | passage, question), for each token; `pointing` times −log of the weight that attention
    gives to the place it is copied from; `marking` times −log p of the answer's first and last place.

    >>> from minirag.models.bart import BartConfig
    >>> copying = Copying(Bart(BartConfig(20, 8, 1, 1, 2, 2, 16, 16, positions=16)))
    >>> loss, tokens = copying([Extract((0, 5, 7, 8, 2), (0, 7, 8, 2), begins=2)])
    >>> bool(loss > 0), tokens
    (True, 4)
    """

    def __init__(self, bart: Bart, pointing: float = 1.0, marking: float = 1.0) -> None:
        super().__init__()
        self.bart, self.pointing, self.marking = bart, pointing, marking
        self.marks = nn.Linear(bart.config.dim, 2)  # where it begins, where it ends

    def forward(self, examples: Sequence[Extract]) -> tuple[Tensor, int]:
        """The sum of the losses in nats, and the number of the answers' tokens."""
        bart, device = self.bart, self.bart.words.weight.device
        config = bart.config
        ids, mask = pad([list(one.source) for one in examples], config.pad_id, 16, config.positions)  # [N, S]
        targets, real = pad([list(one.target) for one in examples], config.pad_id, 8, config.positions)  # [N, T]
        given = F.pad(targets[:, :-1], (1, 0), value=config.start_id)  # [N, T]
        ids, mask = ids.to(device), mask.to(device)
        encoded = bart.encode(ids, mask)  # [N, S, D]
        documents = bart.documents(encoded, mask[:, None, None])
        with hearing(bart) as queries:
            states = bart.states(documents, given.to(device))  # [N, T, D]
        kept, wanted = (x.to(device) for x in kept_tokens(targets, real))  # [J], [J]
        loss = F.cross_entropy(wide(bart.predict(states.flatten(0, 1)[kept])), wanted, reduction="sum")
        looked = attention_weights(bart, queries[-1], documents)  # [N, T, S]
        loss = loss - self.pointing * (_there(looked, examples) + 1e-6).log().sum()
        return loss + self.marking * self._marked(encoded, mask, examples), int(real.sum())

    def _marked(self, encoded: Tensor, mask: Tensor, examples: Sequence[Extract]) -> Tensor:
        """−log p of first and last places, of those answers that stand in their passage."""
        scores = wide(self.marks(encoded)).masked_fill(~mask[:, :, None], -torch.inf)  # [N, S, 2]
        ends = [(one.begins, one.begins + len(one.target) - 3) if one.begins >= 0 else (-100, -100) for one in examples]
        return F.cross_entropy(scores, torch.tensor(ends, device=encoded.device), reduction="sum")


def _there(looked: Tensor, examples: Sequence[Extract]) -> Tensor:
    """Of the weights `[N, T, S]` those at the places that answers' tokens are copied from, one after the other."""
    at = [
        (row, 1 + step, one.begins + step)  # the target's first token is no word
        for row, one in enumerate(examples)
        if one.begins >= 0
        for step in range(len(one.target) - 2)
    ]
    rows, steps, places = torch.tensor(at, dtype=torch.long, device=looked.device).view(-1, 3).unbind(1)
    return looked[rows, steps, places]


@dataclass(frozen=True)
class Told:
    """A question with one answer, and the passage that tells it; or, with none, what is to be known by heart."""

    question: str
    answer: str
    passage: Passage | None = None


class Extracts:
    """Draws `batch` questions a step, in epochs; of each passage some sentences, `words` or more, the answer among them."""

    def __init__(self, told: Sequence[Told], contexts: Contexts, batch: int, words: int = 80, seed: int = 0) -> None:
        self._draw, self.contexts, self.words, self.seed = epochs(told, batch, seed), contexts, words, seed

    def __call__(self, step: int) -> list[Extract]:
        return [self._extract(one, Random(f"{self.seed} {step} {i}")) for i, one in enumerate(self._draw(step))]

    def _extract(self, one: Told, chance: Random) -> Extract:
        passage = one.passage or Passage("", "", "")
        text = around(passage.text, one.answer, self.words, chance) if one.passage else ""
        passage = Passage(passage.id, passage.title, text)
        head, tails = self.contexts.parts(passage, [one.question])
        pad_id = self.contexts.tokenizer.pad_token_id
        target = [token for token in self.contexts.targets([one.answer])[0].tolist() if token != pad_id]
        begins = self.contexts.begins(passage, [one.answer])[0] if text else -1
        stands = begins >= 0 and head[begins : begins + len(target) - 2] == target[1:-1]
        return Extract((*head, *tails[0]), tuple(target), begins if stands else -1, f"{one.question} {one.answer}")


def place_of(answer: str, text: str) -> re.Match[str] | None:
    """Where an answer first stands in a text, both with single blanks; None where it does not."""
    return pattern(" ".join(answer.split())).search(" ".join(text.split()))


def around(text: str, answer: str, words: int, chance: Random) -> str:
    """Whole sentences of a text in which an answer first stands, and neighbours on either side by lot, until there are `words`.

    >>> around("One. Two two. It is here. Four. Five five.", "here", 5, Random(1))
    'Two two. It is here.'
    """
    place = place_of(answer, text)
    if place is None:
        raise MiniragError(f"the answer '{answer}' does not stand in its passage '{text[:40]}…'; leave the question out")
    text = " ".join(text.split())
    spans, read = list[tuple[int, int]](), 0
    for sentence in sentences(text):
        begin = text.index(sentence, read)
        read = begin + len(sentence)
        spans.append((begin, read))
    first = max(row for row, (begin, _) in enumerate(spans) if begin <= place.start())
    last = next((row for row, (_, end) in enumerate(spans) if end >= place.end()), len(spans) - 1)
    while len(text[spans[first][0] : spans[last][1]].split()) < words and (first > 0 or last < len(spans) - 1):
        if first > 0 and (last == len(spans) - 1 or chance.random() < 0.5):
            first -= 1
        else:
            last += 1
    return text[spans[first][0] : spans[last][1]]
