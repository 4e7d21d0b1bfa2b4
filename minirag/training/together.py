"""Many questions about one passage in one reading of it: several times the questions in the same time.

Behind the passage stand its questions, each where it would stand were it the only one. The passage sees itself, a question sees
the passage and itself, and an answer what its question sees. That is not quite BART, whose passage also sees the question, so
who learnt this way reads on for a while in the usual way (`Reading`); what was learnt carries over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minirag.corpus.miniwiki.worlds import Tellable
from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.models.bart import Bart
from minirag.rag.contexts import Contexts
from minirag.retrieval.biencoder import pad
from minirag.training.draws import chance_of
from minirag.training.pretrain import Worlds, earliest, kept_tokens

FEWEST = 3  # different questions a passage must have


@dataclass(frozen=True)
class Quiz:
    """A passage's tokens, its questions' and their answers', special ones included; `text` is for people, in a bad batch."""

    passage: tuple[int, ...]
    questions: tuple[tuple[int, ...], ...]
    answers: tuple[tuple[int, ...], ...]
    text: str = ""


class Together(nn.Module):
    """The objective: −log p(answer | passage, question), for each token of all answers."""

    def __init__(self, bart: Bart) -> None:
        super().__init__()
        self.bart = bart

    def forward(self, examples: Sequence[Quiz]) -> tuple[Tensor, int]:
        """The sum of the tokens' losses in nats, and their number. All examples have as many questions, M."""
        bart, device, asked = self.bart, self.bart.words.weight.device, len(examples[0].questions)
        ids, part, where = (x.to(device) for x in _laid_out(examples, bart.config.pad_id))  # [N, S] each
        sees = (part[:, None] == 0) | (part[:, None] == part[:, :, None])  # [N, S, S]
        encoded = bart.encode(ids, sees, where)  # [N, S, D]
        answers = [list(answer) for example in examples for answer in example.answers]
        targets, real = pad(answers, bart.config.pad_id, 8, bart.config.positions)  # [N·M, T]
        given = F.pad(targets[:, :-1], (1, 0), value=bart.config.start_id).view(len(examples), -1)  # [N, M·T]
        whose = 1 + torch.arange(asked, device=device).repeat_interleave(targets.shape[1])  # [M·T]
        reads = (part[:, None] == 0) | (part[:, None] == whose[:, None])  # [N, M·T, S]
        states = bart.states(bart.documents(encoded, reads[:, None]), given.to(device), asked)  # [N, M·T, D]
        kept, wanted = (x.to(device) for x in kept_tokens(targets, real))  # [J], [J]
        logits = bart.predict(states.flatten(0, 1)[kept])  # [J, V]
        return F.cross_entropy(logits, wanted, reduction="sum"), int(real.sum())


def _laid_out(examples: Sequence[Quiz], pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens `[N, S]`; whose they are: 0 the passage's, m its m-th question's, −1 nobody's; and their places."""
    ids, parts, where = [], [], []
    for example in examples:
        begun = len(example.passage)
        ids.append([*example.passage, *(token for question in example.questions for token in question)])
        parts.append([0] * begun + [m for m, question in enumerate(example.questions, 1) for _ in question])
        where.append([*range(begun), *(begun + i for question in example.questions for i in range(len(question)))])
    longest = max(map(len, ids))
    (tokens, real), (part, _), (place, _) = (
        pad(rows, fill, 16, longest + 16) for rows, fill in ((ids, pad_id), (parts, 0), (where, 0))
    )
    return tokens, part.masked_fill(~real, -1), place


class ReadingTogether(Worlds):
    """Draws passages of worlds that are not true, a new world every `renewed` steps, with `questions` each that it answers.

    Where a passage answers fewer, some are asked twice; those that answer fewer than three are left out.
    """

    def __init__(
        self, tellable: Tellable, contexts: Contexts, batch: int, questions: int, seed: int = 0, renewed: int = 400
    ) -> None:
        super().__init__(tellable, seed, renewed)
        self.contexts, self.batch, self.questions = contexts, batch, questions

    def __call__(self, step: int) -> list[Quiz]:
        chance, world = chance_of(self.seed, "reading together", step), self.world(step)
        able = [id for id, some in world.told_in.items() if len(some) >= FEWEST]
        if not able:
            raise MiniragError(f"no passage of these worlds answers {FEWEST} questions; give a MiniWiki with more facts")
        drawn: list[tuple[Passage, list[tuple[str, str]]]] = []
        while len(drawn) < self.batch:
            id = chance.choice(able)
            passage, some = world.wiki.passages[int(id) - 1], world.told_in[id]
            few = chance.sample(some, min(self.questions, len(some)))
            told = [(one.text, answer) for one in few if (answer := earliest(one.answers, passage.text)) is not None]
            if told:
                drawn.append((passage, told + chance.choices(told, k=self.questions - len(told))))
        return [self._tokens(passage, told) for passage, told in drawn]

    def _tokens(self, passage: Passage, told: Sequence[tuple[str, str]]) -> Quiz:
        questions, answers = zip(*told, strict=True)
        head, tails = self.contexts.parts(passage, questions)
        pad_id = self.contexts.tokenizer.pad_token_id
        targets = [tuple(row[row != pad_id].tolist()) for row in self.contexts.targets(answers)]
        return Quiz(tuple(head), tuple(map(tuple, tails)), tuple(targets), f"{passage.title}: {' '.join(questions)}")
