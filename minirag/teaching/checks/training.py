"""Exercises of notebook 06: the loss of in-batch negatives, alone and with hard ones that are appended."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from minirag.teaching.checks.draw import normal
from minirag.teaching.checks.exercise import Args, Exercise, Mistake


def _some_batch(rng: np.random.Generator, size: int) -> Args:
    """Vectors of B questions and of their passages [B, D]; from size 17 on with scores whose exponentials overflow."""
    batch, dim = 1 + size % 7, 2 + int(rng.integers(3))
    scale = 1 if size < 17 else 30
    return scale * normal(rng, batch, dim), normal(rng, batch, dim)


def _in_batch(
    scores: Callable[[Tensor, Tensor], Tensor] = lambda queries, passages: queries @ passages.T,
    log_p: Callable[[Tensor], Tensor] = lambda scores: scores.log_softmax(dim=1),
    joined: Callable[[Tensor], Tensor] = lambda own: -own.sum(),
) -> Callable[..., Tensor]:
    """The loss, or with one of its parts exchanged the loss with a mistake."""
    return lambda queries, passages: joined(log_p(scores(queries, passages)).diagonal())


def _others_alone(scores: Tensor) -> Tensor:
    """log of e^own over the sum of the *other* passages'."""
    others = scores.masked_fill(torch.eye(len(scores), dtype=torch.bool), -torch.inf)
    return scores - others.logsumexp(dim=1, keepdim=True)


def _with_overflow(scores: Tensor) -> Tensor:
    powers = scores.exp()
    return (powers / powers.sum(dim=1, keepdim=True)).log()


_E = torch.tensor([[1.0, 0.0], [0.0, 1.0]])

check_in_batch_loss = Exercise(
    number="6.1",
    name="in_batch_loss",
    title="The loss of in-batch negatives",
    stars=1,
    minutes=10,
    points=4,
    reference=_in_batch(),
    by_hand=(
        # e^score: 3 and 1 for the first question, 1 and 8 for the second; p = 3/4 and 8/9
        ((_E, torch.tensor([[3.0, 1.0], [1.0, 8.0]]).log()), torch.tensor(12 / 8).log()),
        # 2 and 6, then 1 and 1: p = 1/4 and 1/2
        ((_E, torch.tensor([[2.0, 1.0], [6.0, 1.0]]).log()), torch.tensor(8.0).log()),
    ),
    draw=_some_batch,
    mistakes=(
        Mistake(
            "softmax over questions",
            "The softmax is taken down the columns, where questions compete for a passage. Passages are to compete for a "
            "question, along each row.",
            _in_batch(log_p=lambda scores: scores.log_softmax(dim=0)),
        ),
        Mistake(
            "own passage not counted",
            "A question's own passage stands in the denominator, too: the sum runs over all passages of the batch.",
            _in_batch(log_p=_others_alone),
        ),
        Mistake(
            "mean over questions",
            "The sum of the questions' losses is asked for, as in `InBatch`; whoever trains divides by their number.",
            _in_batch(joined=lambda own: -own.mean()),
        ),
        Mistake(
            "cosine",
            "DPR's similarity is the plain inner product; you scale the vectors to length 1 first.",
            _in_batch(scores=lambda queries, passages: F.normalize(queries, dim=1) @ F.normalize(passages, dim=1).T),
        ),
        Mistake(
            "distance",
            "Similarity is the inner product, and not how near the vectors are.",
            _in_batch(scores=lambda queries, passages: -torch.cdist(queries, passages)),
        ),
        Mistake(
            "no softmax",
            "You add up the scores of the right passages; without a softmax nothing keeps all scores from growing.",
            _in_batch(log_p=lambda scores: scores),
        ),
        Mistake(
            "sign turned",
            "That is the log-likelihood, at most 0. A loss falls as it gets better: take it negative.",
            _in_batch(joined=lambda own: own.sum()),
        ),
        Mistake(
            "exponentials overflow",
            "e^score is infinite for large scores, or all of them are 0: take the logarithm of the softmax in one step "
            "(log_softmax, logsumexp or cross_entropy).",
            _in_batch(log_p=_with_overflow),
        ),
    ),
    hint="Scores [B, B] by inner products; log-softmax along each row; minus the sum of the diagonal.",
)


def _some_negatives(rng: np.random.Generator, size: int) -> Args:
    """B questions with their passages [B, D], H hard negatives each [B, H, D], and which of all
    N = B(1 + H) passages are right [B, N]: one's own, and some others by lot."""
    batch, hard, dim = 1 + size % 5, 1 + int(rng.integers(3)), 2 + int(rng.integers(3))
    right = torch.from_numpy(rng.random((batch, batch * (1 + hard))) < 0.2)
    right[torch.arange(batch), torch.arange(batch)] = True
    return normal(rng, batch, dim), normal(rng, batch, dim), normal(rng, batch, hard, dim), right


def _with_hard(
    own: Callable[[int, int], Tensor] = lambda batch, hard: torch.arange(batch),
    hide: float | None = -torch.inf,
    own_stays: bool = True,
    negatives_of: Callable[[Tensor], Tensor] = lambda negatives: negatives.flatten(0, 1),
    joined: str = "sum",
) -> Callable[..., Tensor]:
    """The loss, or with one of its parts exchanged the loss with a mistake. `hide`: what hidden scores become."""

    def function(queries: Tensor, positives: Tensor, negatives: Tensor, right: Tensor) -> Tensor:
        scores = queries @ torch.cat([positives, negatives_of(negatives)]).T  # [B, N]
        targets = own(*negatives.shape[:2])
        hidden = right.clone()
        if own_stays:
            hidden[torch.arange(len(targets)), targets] = False
        if hide is not None:
            scores = scores.masked_fill(hidden, hide)
        return F.cross_entropy(scores, targets, reduction=joined)

    return function


def _own_negatives_alone(queries: Tensor, positives: Tensor, negatives: Tensor, right: Tensor) -> Tensor:
    """Each question meets all positives, and no hard negatives but its own."""
    batch, hard = negatives.shape[:2]
    others = ~torch.eye(batch, dtype=torch.bool).repeat_interleave(hard, dim=1)  # [B, B·H]
    return _with_hard()(
        queries, positives, negatives, right | torch.cat([torch.zeros(batch, batch, dtype=torch.bool), others], 1)
    )


def _no_negatives(queries: Tensor, positives: Tensor, negatives: Tensor, right: Tensor) -> Tensor:
    """The hard negatives are left out."""
    return _with_hard()(queries, positives, negatives[:, :0], right[:, : len(queries)])


_ONE = torch.ones(1, 1)
_ALONE = torch.tensor([[True, False, False, False], [False, True, False, False]])
_TOLD = torch.tensor([[True, False, False, True], [False, True, False, False]])

check_hard_negatives = Exercise(
    number="6.2",
    name="loss_with_hard_negatives",
    title="Hard negatives appended",
    stars=2,
    minutes=15,
    points=5,
    reference=_with_hard(),
    by_hand=(
        # e^score: 3 for its own passage, 1 and 2 for two hard negatives: p = 1/2
        (
            (_ONE, (3 * _ONE).log(), torch.tensor([[[1.0], [2.0]]]).log(), torch.tensor([[True, False, False]])),
            torch.tensor(2.0).log(),
        ),
        # e^score is 4, 1 (positives), 2, 1 (negatives) for either question: p = 4/8 and 1/8
        (
            (torch.ones(2, 1), torch.tensor([[4.0], [1.0]]).log(), torch.tensor([[[2.0]], [[1.0]]]).log(), _ALONE),
            torch.tensor(16.0).log(),
        ),
        # and with the last one hidden from the first question: 4/7 and 1/8
        (
            (torch.ones(2, 1), torch.tensor([[4.0], [1.0]]).log(), torch.tensor([[[2.0]], [[1.0]]]).log(), _TOLD),
            torch.tensor(14.0).log(),
        ),
    ),
    draw=_some_negatives,
    mistakes=(
        Mistake(
            "targets as if interleaved",
            "You look for question i's own passage at i·(1 + H), as if each were followed by its negatives. Here all positives "
            "come first: it is at i.",
            _with_hard(own=lambda batch, hard: torch.arange(batch) * (1 + hard)),
        ),
        Mistake(
            "targets among the negatives",
            "The last B passages are taken for the right ones; but the positives are the first B, and negatives are appended.",
            _with_hard(own=lambda batch, hard: torch.arange(batch) + batch * hard),
        ),
        Mistake(
            "own hard negatives alone",
            "A hard negative was encoded anyway, and serves all questions of the batch: all N = B(1 + H) passages count.",
            _own_negatives_alone,
        ),
        Mistake(
            "hard negatives left out",
            "The loss does not depend on the hard negatives: append them to the passages.",
            _no_negatives,
        ),
        Mistake(
            "right passages not hidden",
            "Some passages of the batch are right for a question, too (`right`), and you push them away: hide them.",
            _with_hard(hide=None),
        ),
        Mistake(
            "own passage hidden",
            "`right` names the question's own passage as well, which must not be hidden: it is the target.",
            _with_hard(own_stays=False),
        ),
        Mistake(
            "hidden with score 0",
            "A score of 0 still has e^0 = 1 in the sum. Who is not to take part gets -inf.",
            _with_hard(hide=0.0),
        ),
        Mistake(
            "negatives in another order",
            "After the first B, columns of `right` are question 0's negatives, then question 1's: flatten [B, H, D] thus.",
            _with_hard(negatives_of=lambda negatives: negatives.transpose(0, 1).flatten(0, 1)),
        ),
        Mistake(
            "mean over questions",
            "The sum of the questions' losses is asked for, as in `InBatch`; whoever trains divides by their number.",
            _with_hard(joined="mean"),
        ),
    ),
    hint="Passages [N, D]: the positives, then all negatives; scores [B, N]; -inf where right, but for the own one at i; "
    "minus the log-softmax at i, added up.",
)
