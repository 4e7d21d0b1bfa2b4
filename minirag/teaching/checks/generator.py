"""Exercises of notebook 07: what a decoder is given, and its loss over a padded batch. Search: `searching.py`, `repeats.py`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from minirag.rag.loss import marginal_loss
from minirag.teaching.checks.draw import normal, whole
from minirag.teaching.checks.exercise import Args, Exercise, Mistake

_PAD, _ANY = 1, -100  # the two ways in which padding is written


def padded_targets(rng: np.random.Generator, batch: int, length: int, vocabulary: int) -> Tensor:
    """Targets [B, T] of ids from 2 on; all but the first are cut at a random length and padded in one of both ways."""
    targets = whole(rng, 2, vocabulary, batch, length)
    for b in range(1, batch):
        targets[b, int(rng.integers(1, length + 1)) :] = _PAD if b % 2 else _ANY
    return targets


def _some_targets(rng: np.random.Generator, size: int) -> Args:
    batch, length = 1 + size // 4, 1 + int(rng.integers(2 + size // 3))
    return padded_targets(rng, batch, length, 9), int(rng.choice([0, 2])), _PAD


def _shifted(targets: Tensor, start_id: int, pad_id: int) -> Tensor:
    start = torch.full_like(targets[:, :1], start_id)  # [B, 1]
    return torch.cat([start, targets[:, :-1]], 1).masked_fill(torch.cat([start, targets[:, :-1]], 1) == _ANY, pad_id)


check_decoder_inputs = Exercise(
    number="7.1",
    name="decoder_inputs",
    title="What the decoder is given",
    stars=1,
    minutes=8,
    points=3,
    reference=_shifted,
    by_hand=(
        ((torch.tensor([[0, 5, 7, 2]]), 2, _PAD), torch.tensor([[2, 0, 5, 7]])),
        ((torch.tensor([[0, 5, 7, 2], [0, 6, 2, 1]]), 3, _PAD), torch.tensor([[3, 0, 5, 7], [3, 0, 6, 2]])),
        ((torch.tensor([[0, 5, 2], [4, -100, -100]]), 3, _PAD), torch.tensor([[3, 0, 5], [3, 4, 1]])),
    ),
    draw=_some_targets,
    mistakes=(
        Mistake(
            "shifted to the left",
            "The targets went to the left, so that the decoder sees what comes after the token it has to predict. They go one "
            "place to the right.",
            lambda targets, start_id, pad_id: torch.cat(
                [targets[:, 1:], torch.full_like(targets[:, :1], pad_id)], 1
            ).masked_fill(torch.cat([targets[:, 1:], targets[:, :1]], 1) == _ANY, pad_id),
        ),
        Mistake(
            "no shift",
            "The decoder is given the very tokens it has to predict. It would learn to copy its input; at position i it may "
            "only know the targets before i.",
            lambda targets, start_id, pad_id: targets.masked_fill(targets == _ANY, pad_id),
        ),
        Mistake(
            "one token too many",
            "The start token came in front, and nothing was taken away at the end: T predictions need T given tokens, and the "
            "last target is never given.",
            lambda targets, start_id, pad_id: torch.cat(
                [torch.full_like(targets[:, :1], start_id), targets.masked_fill(targets == _ANY, pad_id)], 1
            ),
        ),
        Mistake(
            "the last token put in front",
            "The last token of a padded row is padding, and another generator's start token is another one: put `start_id` in "
            "front, whatever stands at the end.",
            lambda targets, start_id, pad_id: targets.roll(1, 1).masked_fill(targets.roll(1, 1) == _ANY, pad_id),
        ),
        Mistake(
            "the first target overwritten",
            "The start token replaced the first target and nothing moved: all targets go one place to the right.",
            lambda targets, start_id, pad_id: torch.cat(
                [torch.full_like(targets[:, :1], start_id), targets[:, 1:].masked_fill(targets[:, 1:] == _ANY, pad_id)], 1
            ),
        ),
        Mistake(
            "−100 given to the decoder",
            "−100 marks padding among targets, but it is no token: the decoder's table of words has no such row. Write "
            "`pad_id` in its place.",
            lambda targets, start_id, pad_id: torch.cat([torch.full_like(targets[:, :1], start_id), targets[:, :-1]], 1),
        ),
    ),
    hint="The start token, then all targets but the last, and `pad_id` wherever −100 stands; the shape stays [B, T].",
)


def _smoothed_loss(logits: Tensor, targets: Tensor, pad_id: int, epsilon: float) -> Tensor:
    prior = torch.zeros(len(targets), 1)  # of the only document, K = 1
    return marginal_loss(logits[:, None], targets, prior, pad_id, "token", epsilon)


def _some_logits(rng: np.random.Generator, size: int) -> Args:
    """Logits [B, T, V], targets [B, T], the id of padding, and ε; two targets or more from size 3 on."""
    batch, length, vocabulary = 1 + size // 3, 1 + int(rng.integers(1 + size // 2)), 4 + int(rng.integers(4))
    targets = padded_targets(rng, batch, length, vocabulary)
    return 2 * normal(rng, batch, length, vocabulary), targets, _PAD, float(rng.choice([0.0, 0.1, 0.3]))


def _by_token(logits: Tensor, targets: Tensor, epsilon: float, axis: int = 2) -> Tensor:
    """The loss at each token, padding among them: where −100 stands, that of token 0."""
    log_p = logits.log_softmax(axis)
    chosen = log_p.gather(2, targets.clamp(min=0)[:, :, None])[:, :, 0]  # [B, T]
    return -(1 - epsilon) * chosen - epsilon * log_p.mean(2)


def _real(targets: Tensor, pad_id: int) -> Tensor:
    return (targets != pad_id) & (targets != _ANY)


def _pad_alone_masked(logits: Tensor, targets: Tensor, pad_id: int, epsilon: float) -> Tensor:
    log_p = logits.log_softmax(2)
    losses = -(1 - epsilon) * log_p.gather(2, targets[:, :, None])[:, :, 0] - epsilon * log_p.mean(2)
    return (losses * (targets != pad_id)).sum(1)


_EVEN = torch.tensor([[[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]]).log()  # [1, T, V]
_LN2 = float(torch.tensor(2.0).log())

check_smoothed_loss = Exercise(
    number="7.2",
    name="smoothed_loss",
    title="The loss of a padded batch, smoothed",
    stars=2,
    minutes=15,
    points=5,
    reference=_smoothed_loss,
    by_hand=(
        ((_EVEN, torch.tensor([[0, 0]]), _PAD, 0.0), torch.tensor([3 * _LN2])),  # ½ · ¼
        # In both rows the mean of −log p over the three words is 5/3 log 2.
        ((_EVEN, torch.tensor([[0, 0]]), _PAD, 0.3), torch.tensor([(0.7 * 3 + 0.3 * 10 / 3) * _LN2])),
        (
            (_EVEN.expand(2, -1, -1), torch.tensor([[0, 0], [2, 1]]), _PAD, 0.0),
            torch.tensor([3 * _LN2, 2 * _LN2]),
        ),
        ((_EVEN + 1, torch.tensor([[2, -100]]), _PAD, 0.3), torch.tensor([(0.7 * 2 + 0.3 * 5 / 3) * _LN2])),
    ),
    draw=_some_logits,
    mistakes=(
        Mistake(
            "padding counted",
            "Padding is nothing that has to be predicted: its places count 0 in both parts of the loss.",
            lambda logits, targets, pad_id, epsilon: _pad_alone_masked(logits, targets, -1, epsilon),
        ),
        Mistake(
            "padding smoothed",
            "At padding the log-probability of the target was left out, but not the mean over the vocabulary: mask both parts.",
            lambda logits, targets, pad_id, epsilon: (
                (_by_token(logits, targets, 0.0) * _real(targets, pad_id)).sum(1) * (1 - epsilon)
                + _by_token(logits, targets, 1.0).sum(1) * epsilon
            ),
        ),
        Mistake(
            "−100 not masked",
            "Padding is written in two ways, `pad_id` and −100, and −100 is no index: mask both, and put a valid id in its "
            "place before you gather.",
            _pad_alone_masked,
        ),
        Mistake(
            "mean over tokens",
            "A target's log-probability is the sum over its tokens; divided by their number, long targets count too little.",
            lambda logits, targets, pad_id, epsilon: (
                (_by_token(logits, targets, epsilon) * _real(targets, pad_id)).sum(1) / _real(targets, pad_id).sum(1)
            ),
        ),
        Mistake(
            "one number for the batch",
            "All questions were added up. One number for each question is asked for, [B]; what the batch makes of them is "
            "decided later.",
            lambda logits, targets, pad_id, epsilon: (_by_token(logits, targets, epsilon) * _real(targets, pad_id)).sum(),
        ),
        Mistake(
            "sum over the vocabulary",
            "The part ε was given to every word: it is shared by all V, so take the mean of their log-probabilities.",
            lambda logits, targets, pad_id, epsilon: (
                (_by_token(logits, targets, 0.0) * (1 - epsilon) + _by_token(logits, targets, 1.0) * epsilon * logits.shape[2])
                * _real(targets, pad_id)
            ).sum(1),
        ),
        Mistake(
            "ε not taken from the target",
            "The smoothing came on top. What is spread over the vocabulary is taken from the target: it keeps 1 − ε.",
            lambda logits, targets, pad_id, epsilon: (
                (_by_token(logits, targets, 0.0) + epsilon * _by_token(logits, targets, 1.0)) * _real(targets, pad_id)
            ).sum(1),
        ),
        Mistake(
            "softmax over tokens",
            "The softmax went over the wrong axis: at each token the probabilities of the V words add up to 1.",
            lambda logits, targets, pad_id, epsilon: (_by_token(logits, targets, epsilon, 1) * _real(targets, pad_id)).sum(1),
        ),
        Mistake(
            "logits for log-probabilities",
            "Logits are no log-probabilities yet: take log_softmax over the vocabulary first.",
            lambda logits, targets, pad_id, epsilon: (
                (-(1 - epsilon) * logits.gather(2, targets.clamp(min=0)[:, :, None])[:, :, 0] - epsilon * logits.mean(2))
                * _real(targets, pad_id)
            ).sum(1),
        ),
    ),
    hint="Log-softmax over the vocabulary [B, T, V]; of it the target's entry and the mean [B, T]; weigh them by 1 − ε and ε; "
    "0 at padding; add up over tokens.",
)
