"""RAG end to end (§2.4): the query encoder and the generator learn, the passages' vectors and the index stay as they are.

An example is a question with one answer. Which passage to read nobody says: the loss is −log Σ_z p(z|x) p(y|x, z), and its
gradient raises the score of those passages that make the answer likely. The baselines are the same model over another index
(BM25, or one of `standins.py`), and the same model with its query encoder held still.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from minirag.errors import MiniragError
from minirag.rag.classify import ClaimHead
from minirag.rag.collapse import spread
from minirag.rag.model import RagModel
from minirag.retrieval.retriever import Retrieved
from minirag.training.draws import epochs
from minirag.training.loop import Metrics, train
from minirag.training.settings import Precision, Settings
from minirag.training.state import Row
from minirag.training.targets import QuestionAnswer

WATCHED = 64  # questions by which collapse is seen


class EndToEnd(nn.Module):
    """The objective: −log p(y|x) over the `k` passages that the query encoder, as it is at that step, finds for x.

    Where nothing of the retriever learns, a question is searched once and what it found is kept.
    """

    def __init__(self, model: RagModel, k: int, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.model, self.k, self.label_smoothing = model, k, label_smoothing
        self._found: dict[str, Retrieved] = {}

    def forward(self, examples: Sequence[QuestionAnswer]) -> tuple[Tensor, int]:
        """The sum of the questions' losses in nats, and their number."""
        model = self.model
        found = self.retrieved([one.question for one in examples])
        scores = model.doc_scores(found)  # [B, K]
        targets = model.contexts.targets([one.answer for one in examples]).to(model.device)  # [B, T]
        losses = model.loss(*model.read(found), scores, targets, label_smoothing=self.label_smoothing)  # [B]
        return losses.sum(), len(examples)

    @property
    def retriever_learns(self) -> bool:
        encoder = self.model.query_encoder
        return encoder is not None and any(weight.requires_grad for weight in encoder.parameters())

    def retrieved(self, questions: Sequence[str]) -> list[Retrieved]:
        """What each question finds now."""
        if self.retriever_learns:
            return self.model.retrieve(questions, self.k)
        new = [question for question in dict.fromkeys(questions) if question not in self._found]
        if new:
            self._found |= {one.question: one for one in self.model.retrieve(new, self.k)}
        return [self._found[question] for question in questions]


class Deciding(EndToEnd):
    """The objective of classification as the paper's appendix E has it: −log Σ_z p(z|x) p(c|x, z) of each claim's class, which
    stands where an answer would."""

    def __init__(self, head: ClaimHead, k: int) -> None:
        super().__init__(head.model, k)
        self.head = head

    def forward(self, examples: Sequence[QuestionAnswer]) -> tuple[Tensor, int]:
        """The sum of the claims' losses in nats, and their number."""
        log_probs = self.head(self.retrieved([one.question for one in examples]))  # [B, C]
        classes = torch.tensor([self.head.labels.index(one.answer) for one in examples], device=log_probs.device)  # [B]
        return F.nll_loss(log_probs, classes, reduction="sum"), len(examples)


@dataclass(frozen=True)
class Recipe:
    """How RAG is fine-tuned: `batch` question–answer pairs a step over all processes, each with `k` passages, for so many
    `steps`, or `epochs` over the pairs (one of the two is given)."""

    batch: int
    k: int
    rate: float
    steps: int = 0
    epochs: int = 0
    warmup: int = 0
    matrix_rate: float | None = None
    weight_decay: float = 0.001
    clip: float = 0.1
    label_smoothing: float = 0.0
    end: float = 0.0
    accumulate: int = 1
    precision: Precision = "float32"

    def settings(self, pairs: int, seed: int = 0, evaluations: int = 4, best: str | None = None) -> Settings:
        """The settings of the loop for so many question–answer pairs.

        >>> PAPER.settings(79_168).steps
        123700
        """
        if (self.steps > 0) == (self.epochs > 0):
            raise MiniragError(f"steps = {self.steps} and epochs = {self.epochs}; say one of them, and leave the other at 0")
        steps = self.steps or self.epochs * (pairs // self.batch)
        part = max(steps // evaluations, 1)
        return Settings(
            steps,
            self.rate,
            self.warmup,
            matrix_rate=self.matrix_rate,
            end=self.end,
            weight_decay=self.weight_decay,
            clip=self.clip,
            accumulate=self.accumulate,
            precision=self.precision,
            seed=seed,
            log_every=min(20, steps),
            evaluate_every=part,
            save_every=min(part, 200),  # a short run, too, loses little by a kill
            best=best,
        )


# The paper trains with K of 5 or 10 (§3.1) and tells neither rate nor length; these are those of the script that its authors
# published for it: eight GPUs with eight pairs each.
PAPER = Recipe(
    batch=64, k=5, rate=3e-5, epochs=100, warmup=500, weight_decay=0.001, clip=0.1, label_smoothing=0.1, precision="float16"
)
CAMPUS = Recipe(batch=32, k=5, rate=3e-5, epochs=10, warmup=200, accumulate=4, precision="bfloat16")  # one GPU
POCKET = Recipe(batch=16, k=5, rate=1e-4, steps=120, warmup=10, clip=1.0, end=0.03)  # two cores, a minute or two
# Thirty times that rate: within a few steps all questions find the same documents (`collapse.py`). Kept to be looked at.
COLLAPSING = replace(POCKET, batch=8, rate=3e-3, steps=32, warmup=2)


def finetune(
    model: RagModel,
    pairs: Sequence[QuestionAnswer],
    recipe: Recipe,
    folder: str | Path,
    evaluate: Callable[[], Metrics] | None = None,
    seed: int = 0,
    title: str = "fine-tuning",
    progress: bool = True,
    head: ClaimHead | None = None,
) -> list[Row]:
    """Train `model`, whose index is attached, on `pairs`; its query encoder and its generator change. Returns the log.

    With a `head` over the model, answers are its labels, and it learns to choose them (`Deciding`).

    At each evaluation the log has, beside what `evaluate` says, how 64 of the questions share their documents (`collapse.py`),
    and an alarm where the retriever has collapsed. `folder` keeps all that is needed to go on.
    """
    if head is not None and (odd := next((pair for pair in pairs if pair.answer not in head.labels), None)):
        raise MiniragError(
            f"'{odd.answer}', the label of '{odd.question[:40]}', is none of the head's: {', '.join(head.labels)}; "
            "correct it, or make a head of all labels"
        )
    objective = EndToEnd(model, recipe.k, recipe.label_smoothing) if head is None else Deciding(head, recipe.k)
    watched = list(dict.fromkeys(pair.question for pair in pairs[:: max(len(pairs) // WATCHED, 1)]))[:WATCHED]

    def measure() -> Metrics:
        metrics = dict(evaluate()) if evaluate else {}
        return metrics | _shared(objective, watched, title)

    settings = recipe.settings(len(pairs), seed)
    rows = train(objective, epochs(pairs, recipe.batch, seed), settings, folder, measure, title, progress)
    objective.eval()
    return rows


@torch.no_grad()
def _shared(objective: EndToEnd, questions: Sequence[str], title: str) -> Metrics:
    """How questions share their documents, and a word on the screen where that is collapse; nothing of fewer than two
    questions, nor where each finds all that there is."""
    found = [one for one in objective.retrieved(questions) if len(one.rows)]  # others have the null document alone
    retriever = objective.model.retriever
    if len(found) < 2 or retriever is None or len(retriever.index) <= objective.k:
        return {}
    own = spread(found, objective.model.doc_scores(found))
    if own.collapsed:
        tqdm.write(
            f"{title}: the retriever has collapsed: a question tells {own.information:.2f} of {own.most:.2f} nats about its "
            "documents; lower the rate, or hold the query encoder still",
            file=sys.stderr,  # standard output is for results
        )
    return {
        "documents_entropy": own.entropy,
        "documents_information": own.information,
        "documents_most": own.most,
        "documents_unique": own.unique,
        "collapsed": int(own.collapsed),
    }
