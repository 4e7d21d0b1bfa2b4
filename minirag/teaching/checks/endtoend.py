"""Exercises of notebook 10: the gradient that teaches the retriever, and the loss that sends it to the right places.

More: `collapsing.py`, `moving.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.draw import normal, positive
from minirag.teaching.checks.exercise import Args, Exercise, Mistake
from minirag.teaching.checks.marginalisation import some_scores


def _gradient(log_p: Tensor, doc_scores: Tensor) -> Tensor:
    return doc_scores.softmax(1) - (doc_scores.log_softmax(1) + log_p).softmax(1)


def _some_answers(rng: np.random.Generator, size: int) -> Args:
    """log p(y|x, z_k) [B, K] and doc_scores [B, K]; from size 17 on all answers are so long that their p underflows."""
    batch, documents = 1 + size // 4, 1 + int(rng.integers(1 + size // 4))
    return -3 * positive(rng, batch, documents) - (0 if size < 17 else 200), some_scores(rng, batch, documents)


def _multiplied(log_p: Tensor, doc_scores: Tensor) -> Tensor:
    joint = doc_scores.softmax(1) * log_p.exp()
    return doc_scores.softmax(1) - joint / joint.sum(1, keepdim=True)


_TWICE = torch.tensor([[0.8, 0.2], [0.8, 0.2]]).log()

check_gradient_of_scores = Exercise(
    number="10.1",
    name="gradient_of_scores",
    title="What a passage's score learns",
    stars=2,
    minutes=15,
    points=5,
    reference=_gradient,
    by_hand=(
        ((_TWICE[:1], torch.zeros(1, 2)), torch.tensor([[-0.3, 0.3]])),  # 0.5 − 0.8 and 0.5 − 0.2
        ((torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[3.0, 1.0]]).log()), torch.tensor([[0.0, 0.0]])),
        ((_TWICE, torch.zeros(2, 2)), torch.tensor([[-0.3, 0.3], [-0.3, 0.3]])),
        ((torch.tensor([[-200.0, -200.0 - math.log(3)]]), torch.zeros(1, 2)), torch.tensor([[-0.25, 0.25]])),
        ((torch.tensor([[0.8, 0.2, 0.9]]).log(), torch.tensor([[0.0, 0.0, -math.inf]])), torch.tensor([[-0.3, 0.3, 0.0]])),
    ),
    draw=_some_answers,
    mistakes=(
        Mistake(
            "the sign turned round",
            "A step goes against the gradient of the loss: a document that explains the answer must get a negative one, so "
            "that its score rises. It is prior − posterior.",
            lambda log_p, doc_scores: -_gradient(log_p, doc_scores),
        ),
        Mistake(
            "posterior without the prior",
            "The posterior weighs what the generator says by p(z|x): it is proportional to p(z|x) · p(y|x, z). If all "
            "documents explain the answer alike, nothing is learnt.",
            lambda log_p, doc_scores: doc_scores.softmax(1) - log_p.masked_fill(doc_scores == -math.inf, -math.inf).softmax(1),
        ),
        Mistake(
            "one-hot for the posterior",
            "The best document was taken for the right one, as if somebody had told. Nobody did: the posterior shares the "
            "credit.",
            lambda log_p, doc_scores: (
                doc_scores.softmax(1)
                - torch.nn.functional.one_hot((doc_scores.log_softmax(1) + log_p).argmax(1), log_p.shape[1]).float()
            ),
        ),
        Mistake(
            "posterior not normalised",
            "p(z|x) · p(y|x, z) has to be divided by its sum over documents, which is p(y|x): then a row of the gradient adds "
            "up to 0.",
            lambda log_p, doc_scores: doc_scores.softmax(1) * (1 - log_p.exp()),
        ),
        Mistake(
            "the generator's gradient",
            "This is how the loss changes with log p(y|x, z). The scores are also in p(z|x)'s denominator, which adds the "
            "prior.",
            lambda log_p, doc_scores: _gradient(log_p, doc_scores) - doc_scores.softmax(1),
        ),
        Mistake(
            "divided by the batch",
            "Each question has a loss of its own, and its gradient does not depend on how many others there are.",
            lambda log_p, doc_scores: _gradient(log_p, doc_scores) / len(log_p),
        ),
        Mistake(
            "over the batch",
            "The documents of one question compete, not the questions with one another: both softmaxes go along K.",
            lambda log_p, doc_scores: doc_scores.softmax(0) - (doc_scores.log_softmax(0) + log_p).softmax(0),
        ),
        Mistake(
            "probabilities multiplied",
            "Long answers underflow, and 0 / 0 is not a number: add logarithms, and let a softmax normalise.",
            _multiplied,
        ),
    ),
    hint="Prior: softmax of the scores. Posterior: softmax of log-prior + log_p. The gradient is the first minus the second.",
)


def _rag_loss(question: Tensor, passages: Tensor, log_p: Tensor) -> Tensor:
    scores = passages.detach() @ question  # [K]
    return -torch.logsumexp(scores.log_softmax(0) + log_p, 0)


def _some_vectors(rng: np.random.Generator, size: int) -> Args:
    """A question's vector [D], those of its passages [K, D], log p(y|x, z_k) [K]; from size 17 on p underflows."""
    dim, documents = 2 + size // 6, 1 + int(rng.integers(2 + size // 6))
    return normal(rng, dim), normal(rng, documents, dim), -2 * positive(rng, documents) - (0 if size < 17 else 200)


def _but(
    question: Callable[[Tensor], Tensor] = lambda q: q,
    passages: Callable[[Tensor], Tensor] = lambda d: d.detach(),
    log_p: Callable[[Tensor], Tensor] = lambda log_p: log_p,
    total: Callable[[Tensor, Tensor], Tensor] = lambda scores, log_p: -torch.logsumexp(scores.log_softmax(0) + log_p, 0),
) -> Callable[..., Tensor]:
    return lambda q, d, own: total(passages(d) @ question(q), log_p(own))


def _bound(scores: Tensor, log_p: Tensor) -> Tensor:
    joint = scores.log_softmax(0) + log_p
    return -(joint.detach().softmax(0) * joint).sum()


def _still(x: Tensor) -> Tensor:
    return x.detach()


_AXES = torch.eye(2)
_SHARES = torch.tensor([0.3, 0.09]) / 0.39  # 0.75 · 0.4 and 0.25 · 0.36

check_rag_loss = Exercise(
    number="10.2",
    name="rag_loss",
    title="Stop-gradient: a loss that moves the right parts",
    stars=2,
    minutes=20,
    points=6,
    reference=_rag_loss,
    wrt=(0, 1, 2),
    by_hand=(
        (
            (torch.zeros(2), _AXES, torch.tensor([0.8, 0.2]).log()),
            (torch.tensor(2.0).log(), torch.tensor([-0.3, 0.3]), torch.zeros(2, 2), torch.tensor([-0.8, -0.2])),
        ),
        (
            (torch.tensor([math.log(3), 0.0]), _AXES, torch.tensor([0.4, 0.36]).log()),
            (-torch.tensor(0.39).log(), torch.tensor([0.75, 0.25]) - _SHARES, torch.zeros(2, 2), -_SHARES),
        ),
    ),
    draw=_some_vectors,
    mistakes=(
        Mistake(
            "the passages move",
            "A gradient reaches the passage vectors. Index and passage encoder stay as they are: cut it off there (detach).",
            _but(passages=lambda d: d),
        ),
        Mistake(
            "the question does not move",
            "No gradient reaches the question's vector, so that the query encoder learns nothing: scores must be computed "
            "from it with gradients, and only the passages are cut off.",
            _but(question=_still),
        ),
        Mistake(
            "the wrong one held still",
            "The question was cut off and the passages move. It is the other way round: the query encoder learns.",
            _but(question=_still, passages=lambda d: d),
        ),
        Mistake(
            "the generator does not move",
            "No gradient reaches log p(y|x, z): the generator would learn nothing.",
            _but(log_p=_still),
        ),
        Mistake(
            "nothing moves",
            "The loss has no gradient at all: it was detached, or made of plain numbers (`.item()`, `torch.no_grad`).",
            lambda question, passages, log_p: _rag_loss(question, passages, log_p).detach(),
        ),
        Mistake(
            "the sign turned round",
            "This is log p(y|x). A loss gets smaller as things get better: −log p(y|x).",
            lambda question, passages, log_p: -_rag_loss(question, passages, log_p),
        ),
        Mistake(
            "mean of logarithms",
            "The mean of log-probabilities is not the logarithm of a mean: add up probabilities over documents (logsumexp).",
            _but(total=lambda scores, log_p: -(scores.softmax(0) * log_p).sum()),
        ),
        Mistake(
            "weighed by the posterior",
            "Weighing the logarithms by the posterior gives the right gradients, but another number: the loss is −log p(y|x), "
            "and autograd finds the posterior by itself.",
            _but(total=_bound),
        ),
        Mistake(
            "scores for the prior",
            "Inner products are logits of p(z|x): their log-softmax over the documents is log p(z|x).",
            _but(total=lambda scores, log_p: -torch.logsumexp(scores + log_p, 0)),
        ),
        Mistake(
            "probabilities multiplied",
            "Long answers underflow, and log 0 is infinite: stay with logarithms (log_softmax, logsumexp).",
            _but(total=lambda scores, log_p: -(scores.softmax(0) * log_p.exp()).sum().log()),
        ),
    ),
    hint="Scores are the passages (without gradient) times the question [K]; then −logsumexp of log-prior + log_p.",
)
