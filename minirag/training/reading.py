"""Reading, learnt from questions over passages of worlds where every fact is another one (`worlds.py`): memory is of no use.

Many questions are asked about one passage in one reading of it: several times the questions in the same time. Behind the
passage stand its questions, each where it would stand were it the only one. The passage sees itself, a question sees the
passage and itself, and an answer what its question sees. That is not quite BART, whose passage also sees the question, so who
learnt this way reads on for a while in the usual way, with one question each; what was learnt carries over.

And the decoder is shown where to look: the answer stands in the passage, and for its first token the last layer's attention
over the document is to be there (as alignments are taught to translators: Liu et al. 2016, "Neural Machine Translation with
Supervised Attention"). To find the place is the hard part; without this it was learnt in twice the time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minirag.corpus.miniwiki.examples import Example
from minirag.corpus.miniwiki.worlds import Tellable, Worlds
from minirag.corpus.passages import Passage
from minirag.corpus.words import pattern
from minirag.errors import MiniragError
from minirag.models.bart import Bart, Documents
from minirag.models.transformer import Attention, DecoderLayer
from minirag.rag.contexts import Contexts
from minirag.retrieval.biencoder import pad, wide
from minirag.training.draws import chance_of
from minirag.training.pretrain import kept_tokens

FEWEST = 3  # different questions a passage must have


@dataclass(frozen=True)
class Quiz:
    """A passage's tokens, its questions' and their answers', special ones included; `text` is for people, in a bad batch.

    `begins`: at which of the passage's tokens each answer begins, −1 where it does not stand there. `asked_for`: the number of
    what a question asks for, see `kinds_of`.
    """

    passage: tuple[int, ...]
    questions: tuple[tuple[int, ...], ...]
    answers: tuple[tuple[int, ...], ...]
    begins: tuple[int, ...]
    asked_for: tuple[int, ...]
    text: str = ""


class Answering(nn.Module):
    """The objective: −log p(answer | passage, question), for each token of all answers, and `pointing` times −log of the weight
    that the last layer's attention gives, in the mean of its heads, to where an answer begins, for its first token.

    And `naming` times −log p of what is asked for, one of `kinds`, told from the question's tokens (the mean of what the
    encoder makes of them), and from the passage's token where the answer begins. The same vectors name both; they are no part
    of the BART and gone with this objective.
    """

    def __init__(self, bart: Bart, kinds: int, pointing: float = 2.0, naming: float = 1.0) -> None:
        super().__init__()
        self.bart, self.pointing, self.naming = bart, pointing, naming
        self.names = nn.Linear(bart.config.dim, kinds)

    def forward(self, examples: Sequence[Quiz]) -> tuple[Tensor, int]:
        """The sum of the losses in nats, and the number of tokens. All examples have as many questions, M; with one each, the
        passage sees it as ever."""
        bart, device, asked = self.bart, self.bart.words.weight.device, len(examples[0].questions)
        ids, part, where = (x.to(device) for x in _laid_out(examples, bart.config.pad_id))  # [N, S] each
        apart = (part[:, None] == 0) | (part[:, None] == part[:, :, None])  # [N, S, S]
        sees = apart if asked > 1 else part >= 0
        encoded = bart.encode(ids, sees, where)  # [N, S, D]
        answers = [list(answer) for example in examples for answer in example.answers]
        targets, real = pad(answers, bart.config.pad_id, 8, bart.config.positions)  # [N·M, T]
        given = F.pad(targets[:, :-1], (1, 0), value=bart.config.start_id).view(len(examples), -1)  # [N, M·T]
        whose = 1 + torch.arange(asked, device=device).repeat_interleave(targets.shape[1])  # [M·T]
        reads = (part[:, None] == 0) | (part[:, None] == whose[:, None])  # [N, M·T, S]
        documents = bart.documents(encoded, reads[:, None])
        with hearing(bart) as queries:
            states = bart.states(documents, given.to(device), asked)  # [N, M·T, D]
        kept, wanted = (x.to(device) for x in kept_tokens(targets, real))  # [J], [J]
        logits = bart.predict(states.flatten(0, 1)[kept])  # [J, V]
        loss = F.cross_entropy(logits, wanted, reduction="sum")
        begins = torch.tensor([example.begins for example in examples], device=device)  # [N, M]
        first = 1 + targets.shape[1] * torch.arange(asked, device=device)  # [M]: what <s> and the start token are before
        asking = Documents(documents.layers, reads[:, None, first])
        looked = attention_weights(bart, queries[-1][:, first], asking)  # [N, M, S]
        there = looked.gather(2, begins.clamp(min=0)[:, :, None])[:, :, 0]  # [N, M]
        loss -= self.pointing * (there[begins >= 0] + 1e-6).log().sum()
        return loss + self.naming * self._named(examples, encoded, part, begins), int(real.sum())

    def _named(self, examples: Sequence[Quiz], encoded: Tensor, part: Tensor, begins: Tensor) -> Tensor:
        """−log p of what is asked for, by the questions and by the answers in the passages, summed."""
        kinds = torch.tensor([example.asked_for for example in examples], device=encoded.device)  # [N, M]
        own = part[:, None] == torch.arange(1, 1 + kinds.shape[1], device=part.device)[:, None]  # [N, M, S]
        questions = own.to(encoded) @ encoded / own.sum(2, keepdim=True)  # [N, M, D]
        told = encoded.take_along_dim(begins.clamp(min=0)[:, :, None], 1)  # [N, M, D]
        by_question = F.cross_entropy(self.names(questions).flatten(0, 1), kinds.flatten(), reduction="sum")
        seen = begins >= 0
        return by_question + F.cross_entropy(self.names(told[seen]), kinds[seen], reduction="sum")


@contextlib.contextmanager
def hearing(bart: Bart) -> Iterator[list[Tensor]]:
    """What the last layer asks documents, `[N, J, D]`, is put into the list."""
    asked: list[Tensor] = []
    hook = _last(bart).query.register_forward_hook(lambda _, __, queries: asked.append(queries))
    try:
        yield asked
    finally:
        hook.remove()


def _last(bart: Bart) -> Attention:
    layer = bart.decoder.layers[-1]
    assert isinstance(layer, DecoderLayer)
    return layer.cross


def attention_weights(bart: Bart, queries: Tensor, documents: Documents) -> Tensor:
    """softmax(q kᵀ / √d) over the documents in the mean of the last layer's heads, `[N, J, S]`, for what J tokens ask."""
    keys, mask = documents.layers[-1][0], documents.mask
    assert mask is not None
    scores = queries.unflatten(-1, (keys.shape[1], -1)).transpose(1, 2) @ keys.mT / keys.shape[-1] ** 0.5  # [N, H, J, S]
    return wide(scores).masked_fill(~mask, -torch.inf).softmax(-1).mean(1)


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


class Reading(Worlds):
    """Draws passages of worlds that are not true, a new world every `renewed` steps, with `questions` each that it answers.

    Where a passage answers fewer, some are asked twice; those that answer fewer than three are left out, if more are asked for.
    For the share `away` another passage of the same world is put in its place: then the answer cannot be known, and the reader
    learns to spread its guess.
    """

    def __init__(
        self,
        tellable: Tellable,
        contexts: Contexts,
        batch: int,
        questions: int = 1,
        seed: int = 0,
        renewed: int = 400,
        away: float = 0.0,
    ) -> None:
        super().__init__(tellable, seed, renewed)
        self.contexts, self.batch, self.questions, self.away = contexts, batch, questions, away
        self.kinds = kinds_of(tellable)

    def __call__(self, step: int) -> list[Quiz]:
        chance, world = chance_of(self.seed, "reading", step), self.world(step)
        fewest = min(FEWEST, self.questions)
        able = [id for id, some in world.told_in.items() if len(some) >= fewest]
        if not able:
            raise MiniragError(f"no passage of these worlds answers {fewest} questions; give a MiniWiki with more facts")
        drawn: list[Quiz] = []
        while len(drawn) < self.batch:
            id = chance.choice(able)
            passage, some = world.wiki.passages[int(id) - 1], world.told_in[id]
            few = chance.sample(some, min(self.questions, len(some)))
            told = [(one, answer) for one in few if (answer := earliest(one.answers, passage.text)) is not None]
            if told:
                shown = chance.choice(world.wiki.passages) if chance.random() < self.away else passage
                drawn.append(self._tokens(shown, told + chance.choices(told, k=self.questions - len(told))))
        return drawn

    def _tokens(self, passage: Passage, told: Sequence[tuple[Example, str]]) -> Quiz:
        questions, answers = [one.text for one, _ in told], [answer for _, answer in told]
        head, tails = self.contexts.parts(passage, questions)
        pad_id = self.contexts.tokenizer.pad_token_id
        targets = [tuple(row[row != pad_id].tolist()) for row in self.contexts.targets(answers)]
        begins = self.contexts.begins(passage, answers)
        seen = tuple(begin if begin < len(head) else -1 for begin in begins)
        kinds = tuple(self.kinds[kind_of(one)] for one, _ in told)
        return Quiz(
            tuple(head), tuple(map(tuple, tails)), tuple(targets), seen, kinds, f"{passage.title}: {' '.join(questions)}"
        )


Kind = tuple[str, str, bool]


def kind_of(example: Example) -> Kind:
    """What a question asks for: the value of a domain's relation, the entity that has a value, or one described otherwise."""
    return example.domain, example.relations[0] if len(example.relations) == 1 else "", example.inverse


def kinds_of(tellable: Tellable) -> dict[Kind, int]:
    """All that can be asked for, numbered."""
    relations = [(domain.name, name) for domain in tellable.domains for name in domain.phrasings.relations]
    described = [(domain.name, "", True) for domain in tellable.domains]
    both = [(domain, name, inverse) for domain, name in relations for inverse in (False, True)]
    return {kind: number for number, kind in enumerate([*both, *described])}


def earliest(answers: Sequence[str], text: str) -> str | None:
    """Of the answers that stand in a text the one that stands first, the longest of them; as the text writes it.

    >>> earliest(["Orff", "Carl Orff", "Haydn"], "Born in Munich: Carl Orff.")
    'Carl Orff'
    """
    found = [match for answer in answers if (match := pattern(answer).search(text))]
    return min(found, key=lambda match: (match.start(), -len(match[0])))[0] if found else None
