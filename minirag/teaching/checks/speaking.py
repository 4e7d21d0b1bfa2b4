"""Exercise of notebook 08: which document speaks at each token."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.exercise import Args, Exercise, Mistake
from minirag.teaching.checks.marginalisation import some_log_p

_THIRD = torch.tensor([0.75, 0.25]).log()  # priors [K]
_TWO = torch.tensor([[0.8, 0.5], [0.4, 0.9]]).log()  # the notebook's two documents and two tokens [K, T]
_SURE = torch.tensor([[0.4, 0.9], [0.4, 0.1]]).log()


def _who_speaks(log_p: Tensor, log_prior: Tensor, scheme: str) -> Tensor:
    evidence = log_p.cumsum(1) if scheme == "sequence" else log_p  # [K, T]
    return torch.softmax(log_prior[:, None] + evidence, 0).T


def _some_speech(rng: np.random.Generator, size: int) -> Args:
    return *some_log_p(rng, size), ("token", "sequence")[size % 2]


def _multiplied(log_p: Tensor, log_prior: Tensor, scheme: str) -> Tensor:
    p = log_p.exp().cumprod(1) if scheme == "sequence" else log_p.exp()
    joint = log_prior.exp()[:, None] * p
    return (joint / joint.sum(0)).T


def _prior_each_time(log_p: Tensor, log_prior: Tensor, scheme: str) -> Tensor:
    joint = log_prior[:, None] + log_p
    return torch.softmax(joint.cumsum(1) if scheme == "sequence" else joint, 0).T


def _summed(log_p: Tensor, log_prior: Tensor, scheme: str) -> Tensor:
    joint = (log_prior[:, None] + log_p).exp()
    joint = joint.cumsum(1) if scheme == "sequence" else joint
    return (joint / joint.sum(0)).T


def _final(log_p: Tensor, log_prior: Tensor, scheme: str) -> Tensor:
    verdict = _who_speaks(log_p, log_prior, scheme)
    return verdict[-1:].expand_as(verdict) if scheme == "sequence" else verdict


def _before(log_p: Tensor, log_prior: Tensor, scheme: str) -> Tensor:
    verdict = _who_speaks(log_p, log_prior, scheme)
    return torch.cat([log_prior.exp()[None], verdict[:-1]]) if scheme == "sequence" else verdict


check_who_speaks = Exercise(
    number="8.4",
    name="who_speaks",
    title="Which document speaks",
    stars=2,
    minutes=15,
    points=5,
    reference=_who_speaks,
    by_hand=(
        ((_TWO, _THIRD, "token"), torch.tensor([[6 / 7, 1 / 7], [0.625, 0.375]])),  # 0.6 : 0.1 and 0.375 : 0.225
        ((_TWO, _THIRD, "sequence"), torch.tensor([[6 / 7, 1 / 7], [10 / 13, 3 / 13]])),  # 0.6 : 0.1 and 0.30 : 0.09
        ((_SURE, _THIRD, "sequence"), torch.tensor([[0.75, 0.25], [27 / 28, 1 / 28]])),  # the first token tells nothing
    ),
    draw=_some_speech,
    mistakes=(
        Mistake(
            "the schemes exchanged",
            "The running verdict over all tokens so far belongs to RAG-Sequence, that of each token alone to RAG-Token.",
            lambda log_p, log_prior, scheme: _who_speaks(log_p, log_prior, "token" if scheme == "sequence" else "sequence"),
        ),
        Mistake(
            "no running verdict",
            "In RAG-Sequence one document writes everything: what it said before counts too, the product of p over all tokens "
            "so far.",
            lambda log_p, log_prior, scheme: _who_speaks(log_p, log_prior, "token"),
        ),
        Mistake(
            "the final verdict everywhere",
            "After token i only the tokens up to i are known; this uses all of them from the start. Take a running sum "
            "(cumsum).",
            _final,
        ),
        Mistake(
            "the verdict one token late",
            "The verdict at token i includes token i itself: this is what was known before it.",
            _before,
        ),
        Mistake(
            "no prior",
            "This is what the tokens say alone; the retriever's p(z|x) was there first.",
            lambda log_p, log_prior, scheme: _who_speaks(log_p, torch.zeros_like(log_prior), scheme),
        ),
        Mistake(
            "prior added per token",
            "In the running product the prior counts once, not once for every token.",
            _prior_each_time,
        ),
        Mistake(
            "sum over tokens",
            "Probabilities of tokens that come one after another are multiplied: add up their logarithms, not themselves.",
            _summed,
        ),
        Mistake(
            "softmax over tokens",
            "At each token the documents' shares add up to 1; here each document's shares add up to 1 over the tokens.",
            lambda log_p, log_prior, scheme: (
                torch.softmax(log_prior[:, None] + (log_p.cumsum(1) if scheme == "sequence" else log_p), 1).T
            ),
        ),
        Mistake(
            "not normalised",
            "These are p(z, y|x). Divide by their sum over documents: after that each row adds up to 1.",
            lambda log_p, log_prior, scheme: (
                (log_prior[:, None] + (log_p.cumsum(1) if scheme == "sequence" else log_p)).exp().T
            ),
        ),
        Mistake(
            "probabilities multiplied",
            "Long answers underflow, and 0 / 0 is not a number: stay with logarithms, and let softmax do the division.",
            _multiplied,
        ),
        Mistake(
            "rows and columns exchanged",
            "A row for each token and a column for each document is asked for, [T, K].",
            lambda log_p, log_prior, scheme: _who_speaks(log_p, log_prior, scheme).T,
        ),
    ),
    hint="log-prior [K, 1] plus log_p [K, T], in RAG-Sequence its running sum over tokens; softmax over documents; transpose.",
)
