"""Typical wrong answers to the exercises of notebook 02, written as a student would, each with the mistake it must be told."""

import math

import torch


def unmasked(q, k, v, mask):
    weights = torch.softmax(torch.matmul(q, k.transpose(0, 1)) / math.sqrt(q.size(-1)), dim=-1)
    return weights @ v


def zero_masked(q, k, v, mask):
    scores = q @ k.T / math.sqrt(q.size(-1)) * mask
    return scores.softmax(-1) @ v


def inverted(q, k, v, mask):
    scores = (q @ k.T) / math.sqrt(k.size(1))
    scores[:, mask] = float("-inf")
    return torch.softmax(scores, -1) @ v


def unscaled(q, k, v, mask):
    scores = q @ k.T
    scores[:, ~mask] = float("-inf")
    return torch.softmax(scores, -1) @ v


def by_d(q, k, v, mask):
    scores = q @ k.T / k.shape[-1]
    scores[:, ~mask] = float("-inf")
    return torch.softmax(scores, -1) @ v


def down_the_columns(q, k, v, mask):
    scores = q @ k.T / math.sqrt(q.shape[-1])
    scores = torch.where(mask, scores, torch.tensor(-math.inf))
    return torch.softmax(scores, dim=0) @ v


def down_the_columns_with_a_billion(q, k, v, mask):
    scores = q @ k.T / math.sqrt(q.shape[-1]) - 1e9 * (~mask).float()
    weights = torch.softmax(scores, dim=0)
    return weights @ v


def late_mask(q, k, v, mask):
    weights = torch.softmax(q @ k.T / math.sqrt(k.shape[-1]), -1)
    weights[:, ~mask] = 0
    return weights @ v


def bessel(x, weight, bias, eps):
    return (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True) + eps) * weight + bias


def eps_outside(x, weight, bias, eps):
    mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True, unbiased=False)
    return weight * (x - mean) / (std + eps) + bias


def columns(x, weight, bias, eps):
    mean = x.mean(0)
    return weight * (x - mean) / torch.sqrt(((x - mean) ** 2).mean(0) + eps) + bias


def not_centred(x, weight, bias, eps):
    return weight * x / torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + eps) + bias


def no_root(x, weight, bias, eps):
    d = x - x.mean(-1, keepdim=True)
    return weight * d / ((d * d).mean(-1, keepdim=True) + eps) + bias


def plain(x, weight, bias, eps):
    d = x - x.mean(-1, keepdim=True)
    return d / ((d * d).mean(-1, keepdim=True) + eps).sqrt()


def all_positions(states, mask):
    return states.sum(1) / states.shape[1]


def padded_length(states, mask):
    total = torch.zeros(states.shape[0], states.shape[2])
    for b in range(states.shape[0]):
        total[b] = states[b][mask[b]].sum(0) / states.shape[1]
    return total


def cls(states, mask):
    return torch.stack([text[0] for text in states])


def added(states, mask):
    return torch.stack([text[own].sum(0) for text, own in zip(states, mask, strict=True)])


def same_count(states, mask):
    return torch.stack([text[own].sum(0) for text, own in zip(states, mask, strict=True)]) / mask.sum(1).float().mean()


def exponentials(q, k, v, mask):
    e = torch.exp(torch.einsum("td,sd->ts", q, k) / math.sqrt(q.shape[-1]))
    e[:, ~mask] = 0
    return torch.einsum("ts,sd->td", e / e.sum(-1, keepdim=True), v)


def unmasked_sum(states, mask):
    counts = mask.float().sum(dim=1)
    return torch.einsum("bsd->bd", states) / counts[:, None]


MUTANTS = {
    "2.1": (
        (unmasked, "padding not masked"),
        (zero_masked, "masked with 0"),
        (inverted, "mask inverted"),
        (unscaled, "no 1/√d"),
        (by_d, "divided by d"),
        (down_the_columns, "softmax over the wrong axis"),
        (down_the_columns_with_a_billion, "softmax over the wrong axis, with a large negative number"),
        (late_mask, "masked after the softmax"),
        (exponentials, "overflow"),
    ),
    "2.2": (
        (bessel, "n − 1 in the variance"),
        (eps_outside, "ε outside the root"),
        (columns, "over the wrong axis"),
        (not_centred, "mean not taken away"),
        (no_root, "divided by the variance"),
        (plain, "no weight and bias"),
    ),
    "2.3": (
        (all_positions, "padding in the mean"),
        (unmasked_sum, "padding in the sum"),
        (padded_length, "divided by the length"),
        (cls, "the first token"),
        (added, "a sum"),
        (same_count, "one mean for the batch"),
    ),
}
