"""Exercises of notebook 02: attention with padding, layer norm, a mean that leaves padding out."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from minirag.teaching.checks.draw import normal
from minirag.teaching.checks.exercise import Args, Exercise, Mistake


def _mask(rng: np.random.Generator, *shape: int) -> Tensor:
    """True where there is a token; the first one is always there, and some are padding."""
    mask = torch.from_numpy(rng.random(shape) < 0.6)
    mask[..., 0], mask[..., -1] = True, False
    return mask


def _heads(rng: np.random.Generator, size: int) -> Args:
    t, s, d = 1 + size % 4, 2 + size // 2, 2 + size % 5
    return normal(rng, t, d), normal(rng, s, d), normal(rng, s, d), _mask(rng, s)


def _overflowing(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    weights = (q @ k.T / q.shape[1] ** 0.5).exp() * mask  # [T, S]
    return weights / weights.sum(1, keepdim=True) @ v


def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    scale: float = 0.5,
    masked: float = -math.inf,
    dim: int = 1,
    after: bool = False,
) -> Tensor:
    scores = q @ k.T / q.shape[1] ** scale  # [T, S]
    if not after:
        return scores.masked_fill(~mask, masked).softmax(dim) @ v
    return (scores.softmax(dim) * mask) @ v


check_attention = Exercise(
    number="2.1",
    name="attention",
    title="Attention with padding",
    stars=2,
    minutes=20,
    points=5,
    reference=_attention,
    by_hand=(
        # one real token: all attention is on it
        (
            (torch.tensor([[1.0, 0.0]]), torch.ones(2, 2), torch.tensor([[3.0, 4.0], [9.0, 9.0]]), torch.tensor([True, False])),
            torch.tensor([[3.0, 4.0]]),
        ),
        # two equal scores: the mean of the values
        (
            (torch.zeros(1, 4), torch.ones(2, 4), torch.tensor([[0.0] * 4, [2.0] * 4]), torch.tensor([True, True])),
            torch.ones(1, 4),
        ),
        # scores of 3,200 / √2 and 0: no number has e to the first of them
        (
            (torch.full((1, 2), 40.0), torch.tensor([[40.0] * 2, [0.0] * 2]), torch.eye(2), torch.tensor([True, True])),
            torch.tensor([[1.0, 0.0]]),
        ),
    ),
    draw=_heads,
    mistakes=(
        Mistake(
            "padding not masked",
            "Padding takes part: its scores must be −inf before the softmax.",
            lambda q, k, v, mask: _attention(q, k, v, torch.ones_like(mask)),
        ),
        Mistake(
            "masked with 0",
            "A score of 0 is e⁰ = 1 in the softmax; padding needs −inf.",
            lambda q, k, v, mask: _attention(q, k, v, mask, masked=0.0),
        ),
        Mistake("mask inverted", "`mask` is True where there *is* a token.", lambda q, k, v, mask: _attention(q, k, v, ~mask)),
        Mistake("no 1/√d", "Divide the scores by √d.", lambda q, k, v, mask: _attention(q, k, v, mask, scale=0.0)),
        Mistake(
            "divided by d",
            "Divide by the square root of d, not by d.",
            lambda q, k, v, mask: _attention(q, k, v, mask, scale=1.0),
        ),
        Mistake(
            "softmax over the wrong axis",
            "Each of the T rows is a distribution over the S positions: the softmax goes over the last axis. Over the "
            "first one, padding has nothing but −inf, and 0/0 is nan.",
            lambda q, k, v, mask: _attention(q, k, v, mask, dim=0),
        ),
        Mistake(
            "softmax over the wrong axis, with a large negative number",
            "Each of the T rows is a distribution over the S positions: the softmax goes over the last axis.",
            lambda q, k, v, mask: _attention(q, k, v, mask, masked=-1e30, dim=0),
        ),
        Mistake(
            "masked after the softmax",
            "Set to 0 after the softmax, the weights of a row add up to less than 1: mask the scores before.",
            lambda q, k, v, mask: _attention(q, k, v, mask, after=True),
        ),
        Mistake(
            "overflow",
            "e to a large score is inf, and inf / inf is nan: `softmax` takes the largest score away first.",
            _overflowing,
        ),
    ),
    hint="scores = q kᵀ / √d [T, S]; −inf at padding; softmax over S; times v.",
)


def _states(rng: np.random.Generator, size: int) -> Args:
    d = 2 + size
    return 3 * normal(rng, 1 + size % 3, d) + 2, 1 + normal(rng, d), normal(rng, d), 0.1


def _layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, unbiased: bool = False, outside: bool = False, dim: int = -1
) -> Tensor:
    centred = x - x.mean(dim, keepdim=True)
    variance = x.var(dim, keepdim=True, unbiased=unbiased)
    return centred / (variance.sqrt() + eps if outside else (variance + eps).sqrt()) * weight + bias


check_layer_norm = Exercise(
    number="2.2",
    name="layer_norm",
    title="Layer norm",
    stars=1,
    minutes=10,
    points=3,
    reference=_layer_norm,
    by_hand=(
        ((torch.tensor([[1.0, 3.0]]), torch.ones(2), torch.zeros(2), 0.0), torch.tensor([[-1.0, 1.0]])),
        # variance 1 + 3 = 4: ±1/2, times 2, plus 5
        ((torch.tensor([[1.0, 3.0]]), torch.full((2,), 2.0), torch.full((2,), 5.0), 3.0), torch.tensor([[4.0, 6.0]])),
    ),
    draw=_states,
    mistakes=(
        Mistake(
            "n − 1 in the variance",
            "Layer norm divides by d, not by d − 1: `unbiased=False`.",
            lambda x, weight, bias, eps: _layer_norm(x, weight, bias, eps, unbiased=True),
        ),
        Mistake(
            "ε outside the root",
            "ε is added to the variance, under the root.",
            lambda x, weight, bias, eps: _layer_norm(x, weight, bias, eps, outside=True),
        ),
        Mistake(
            "over the wrong axis",
            "Each row is normalised by itself, over its d numbers, whatever the other rows are.",
            lambda x, weight, bias, eps: _layer_norm(x, weight, bias, eps, dim=0),
        ),
        Mistake(
            "mean not taken away",
            "The mean is taken away first.",
            lambda x, weight, bias, eps: x / (x.var(-1, keepdim=True, unbiased=False) + eps).sqrt() * weight + bias,
        ),
        Mistake(
            "divided by the variance",
            "Divide by the square root of the variance.",
            lambda x, weight, bias, eps: (
                (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + eps) * weight + bias
            ),
        ),
        Mistake(
            "no weight and bias",
            "Times `weight`, plus `bias`, at the end.",
            lambda x, weight, bias, eps: _layer_norm(x, torch.ones(()), torch.zeros(()), eps),
        ),
    ),
    hint="(x − mean) / √(variance + ε) · weight + bias; mean and variance over the last axis.",
)


def _batch(rng: np.random.Generator, size: int) -> Args:
    b, s = 1 + size % 3, 2 + size // 2
    return normal(rng, b, s, 3), _mask(rng, b, s)


def _mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    return (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)


check_mean_pool = Exercise(
    number="2.3",
    name="mean_pool",
    title="A mean without padding",
    stars=1,
    minutes=10,
    points=3,
    reference=_mean_pool,
    by_hand=(
        (
            (torch.tensor([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]]), torch.tensor([[True, True, False]])),
            torch.tensor([[2.0, 3.0]]),
        ),
        ((torch.tensor([[[5.0]], [[7.0]]]), torch.tensor([[True], [True]])), torch.tensor([[5.0], [7.0]])),
    ),
    draw=_batch,
    mistakes=(
        Mistake(
            "padding in the mean",
            "Padding is in the mean: leave it out above and below the line.",
            lambda states, mask: states.mean(1),
        ),
        Mistake(
            "padding in the sum",
            "Padding is counted out below the line, but still added above it: set its states to 0 first.",
            lambda states, mask: states.sum(1) / mask.sum(1, keepdim=True),
        ),
        Mistake(
            "divided by the length",
            "Divide by the number of real tokens of each text, not by the padded length.",
            lambda states, mask: (states * mask[:, :, None]).mean(1),
        ),
        Mistake(
            "the first token",
            "This is the first token's state (CLS pooling); a mean is asked for.",
            lambda states, mask: states[:, 0],
        ),
        Mistake(
            "a sum",
            "This is the sum; divide it by the number of tokens.",
            lambda states, mask: (states * mask[:, :, None]).sum(1),
        ),
        Mistake(
            "one mean for the batch",
            "Each text has its own number of tokens.",
            lambda states, mask: (states * mask[:, :, None]).sum(1) * len(mask) / mask.sum(),
        ),
    ),
    hint="Set padding to 0, add up over S, divide by how many tokens each row has.",
)
