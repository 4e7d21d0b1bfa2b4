"""DPR (Karpukhin et al. 2020): a bi-encoder learns from questions with a passage each; the batch's other passages are wrong.

The loss of a question is −log of the softmax over all passages of the batch at its own (§3.2, equation 2), after all
processes' passages are gathered. Beside its positive each question may bring *hard* negatives: passages that a search found for
it, with BM25 or with the model as it is, and that hold no answer.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.retriever import Retriever
from minirag.tasks.metrics import Match, answer_recall, first_answer_rank, has_answer
from minirag.training.dpr_files import Asked, Candidate
from minirag.training.ranks import gathered, rank, ranks
from minirag.training.settings import Settings


@dataclass(frozen=True)
class Pair:
    """A question with the passage it is to find and others that it is not to; `right`: ids of all passages that would do."""

    question: str
    positive: Passage
    negatives: tuple[Passage, ...] = ()
    right: frozenset[str] = frozenset()


class InBatch(nn.Module):
    """The objective: in-batch negatives over a bi-encoder, both of whose encoders learn.

    A passage of the batch that is the question's own, or one of its `right` ones, is not counted among its negatives. (In DPR's
    code it is; over 21 million passages that hardly happens, over thousands it does.)

    `scale` multiplies the inner products: 1 for DPR; 20 where vectors have length 1 (see `RagModel`).
    """

    def __init__(self, encoder: BiEncoder, scale: float = 1.0) -> None:
        super().__init__()
        self.encoder, self.scale = encoder, scale
        self.query_encoder, self.passage_encoder = encoder.query_encoder, encoder.passage_encoder

    def forward(self, examples: Sequence[Pair]) -> tuple[Tensor, int]:
        """The sum of the questions' losses, and their number."""
        queries = self.encoder.query_vectors([pair.question for pair in examples])  # [B, D]
        passages = [pair.positive for pair in examples] + [z for pair in examples for z in pair.negatives]
        hidden = _right(examples, passages).to(queries.device)  # [B, N]
        vectors = gathered(self.encoder.passage_vectors(passages))  # [N, D], of all processes
        scores = self.scale * queries @ vectors.T  # [B, N]
        own = rank() * len(passages) + torch.arange(len(examples), device=scores.device)  # [B]
        hidden[torch.arange(len(examples)), own] = False
        return F.cross_entropy(scores.masked_fill(hidden, -torch.inf), own, reduction="sum"), len(examples)


def _right(examples: Sequence[Pair], passages: Sequence[Passage]) -> Tensor:
    """Which passages of all processes' `[N]` are right for each question here `[B, N]`."""
    ids = [passage.id for passage in passages]
    if ranks() > 1:
        everyone: list[list[str]] = [[] for _ in range(ranks())]
        torch.distributed.all_gather_object(everyone, ids)
        if len(set(map(len, everyone))) > 1:
            counts = ", ".join(str(len(each)) for each in everyone)
            raise MiniragError(f"the processes have {counts} passages in their batches; give each question as many negatives")
        ids = [id for each in everyone for id in each]
    return torch.tensor([[id in known for id in ids] for known in map(_known, examples)])


def _known(pair: Pair) -> frozenset[str]:
    """The ids of all that is right; passages without an id are not one and the same."""
    return (pair.right | {pair.positive.id}) - {""}


def pairs(asked: Iterable[Asked], hard: int, chance: random.Random, sampled: bool = False) -> list[Pair]:
    """Questions made ready for training as DPR does it: those without a positive are left out; the first positive is taken, or,
    `sampled`, one by lot; `hard` of the hard negatives by lot, and where there are too few, of the other negatives.

    >>> z = Candidate(Passage("1", "Nile", "The Nile is a river."))
    >>> pairs([Asked("Which river?", ("Nile",), (z,)), Asked("Who?", ("I",), ())], 1, random.Random(0))[0].positive.title
    'Nile'
    """
    made = []
    for one in asked:
        if one.positives:
            negatives = [*_drawn(one.hard_negatives, hard, chance)]
            negatives += _drawn(one.negatives, hard - len(negatives), chance)
            positive = chance.choice(one.positives) if sampled else one.positives[0]
            right = frozenset(candidate.passage.id for candidate in one.positives if candidate.passage.id)
            made.append(Pair(one.question, positive.passage, tuple(z.passage for z in negatives), right))
    return made


def _drawn(candidates: Sequence[Candidate], count: int, chance: random.Random) -> list[Candidate]:
    return chance.sample(list(candidates), min(count, len(candidates)))


def mine(asked: Sequence[Asked], retriever: Retriever, k: int = 50, keep: int = 10, match: Match = "string") -> Iterator[Asked]:
    """The same questions with new hard negatives: of the top `k` that `retriever` finds the first `keep` that hold no answer.

    With a BM25 index these are the paper's; with the model's own vectors they are what it still takes for right.
    A question without a positive gets one on the way: the first passage found that holds an answer (the paper's §4.1).
    """
    for start in range(0, len(asked), 256):
        some = asked[start : start + 256]
        for one, found in zip(some, retriever.search([each.question for each in some], k), strict=True):
            candidates = [Candidate(z, float(score)) for z, score in zip(found.passages, found.scores, strict=True)]
            right = {candidate.passage.id for candidate in one.positives}
            holds = [has_answer(candidate.passage.text, one.answers, match) for candidate in candidates]
            wrong = [c for c, does in zip(candidates, holds, strict=True) if not does and c.passage.id not in right]
            first = [c for c, does in zip(candidates, holds, strict=True) if does][:1]
            yield dataclasses.replace(one, positives=one.positives or tuple(first), hard_negatives=tuple(wrong[:keep]))


@torch.inference_mode()
def average_rank(encoder: BiEncoder, held_out: Sequence[Pair]) -> float:
    """At which place, from 1, a question's positive stands on average among all passages of `held_out`, best first.

    DPR chooses its checkpoint by this. Passages that are also right are left out of the count; equal scores count half.
    """
    if not held_out:
        raise MiniragError("there is no held-out question to rank passages for; give at least one with a positive")
    passages = list(dict.fromkeys(z for pair in held_out for z in (pair.positive, *pair.negatives)))
    rows = {passage: row for row, passage in enumerate(passages)}
    rows_of: dict[str, list[int]] = {}  # by id; of inverse cloze a passage may be there whole and with a sentence missing
    for passage, row in rows.items():
        rows_of.setdefault(passage.id, []).append(row)
    vectors = encoder.encode_passages(passages)  # [N, D]
    queries = encoder.encode_queries([pair.question for pair in held_out])  # [B, D]
    total = 0.0
    for pair, query in zip(held_out, queries, strict=True):
        scores = vectors @ query  # [N]
        own = scores[rows[pair.positive]]
        others = torch.ones(len(passages), dtype=torch.bool)
        others[[rows[pair.positive], *(row for id in _known(pair) for row in rows_of.get(id, ()))]] = False
        total += 1 + float((scores[others] > own).sum() + 0.5 * (scores[others] == own).sum())
    return total / len(held_out)


def top_k(
    retriever: Retriever, asked: Sequence[Asked], ks: Sequence[int] = (1, 5, 20, 100), match: Match = "string"
) -> dict[int, float]:
    """For each k the share of questions with an answer among the first k passages: DPR's top-k accuracy."""
    places = []
    for start in range(0, len(asked), 256):
        some = asked[start : start + 256]
        for one, found in zip(some, retriever.search([each.question for each in some], max(ks)), strict=True):
            places.append(first_answer_rank([passage.text for passage in found.passages], one.answers, match))
    return answer_recall(places, ks)


@dataclass(frozen=True)
class Recipe:
    """How DPR is trained: `batch` questions a step over all processes, `hard` negatives each, `epochs` over the questions."""

    batch: int
    hard: int
    epochs: int
    rate: float
    warmup: int
    clip: float
    dropout: float = 0.1
    seed: int = 12_345

    def settings(self, questions: int) -> Settings:
        """The settings of the loop for so many training questions.

        >>> RELEASED.settings(58_880).steps
        18400
        """
        steps = self.epochs * (questions // self.batch)
        if steps <= self.warmup:
            raise MiniragError(
                f"{questions} questions make {steps} steps of {self.batch}, fewer than {self.warmup} of warm-up; "
                "use a smaller batch, or more epochs"
            )
        return Settings(
            steps,
            self.rate,
            self.warmup,
            clip=self.clip,
            weight_decay=0.0,
            seed=self.seed,
            evaluate_every=questions // self.batch,
            best="average_rank",
            lowest=True,
        )


# The paper (§4.2, 5.1, appendix) and the configuration that its authors released (conf/train/biencoder_nq.yaml) differ. The
# paper says a rate of 1e-5, linear with warm-up, and not how long that is or where gradients are clipped: here as released.
PAPER = Recipe(batch=128, hard=1, epochs=40, rate=1e-5, warmup=1_237, clip=1.0)
PAPER_SMALL = dataclasses.replace(PAPER, epochs=100)  # for TREC and WebQuestions
RELEASED = Recipe(batch=128, hard=1, epochs=40, rate=2e-5, warmup=1_237, clip=2.0)
