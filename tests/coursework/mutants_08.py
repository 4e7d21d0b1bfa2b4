"""Typical wrong answers to the exercises of notebook 08, written as a student would, each with the mistake it must be told."""

import torch


def seq_per_token(log_p, log_prior):
    total = 0.0
    for t in range(log_p.shape[1]):
        total = total + (log_prior.exp() * log_p[:, t].exp()).sum().log()
    return total


def seq_prior_everywhere(log_p, log_prior):
    scores = []
    for k in range(len(log_prior)):
        scores.append(sum(log_prior[k] + log_p[k, t] for t in range(log_p.shape[1])))
    return torch.stack(scores).logsumexp(0)


def seq_multiplied(log_p, log_prior):
    p = torch.exp(log_p)
    return torch.log(torch.sum(torch.exp(log_prior) * torch.prod(p, dim=1)))


def seq_uniform(log_p, log_prior):
    return log_p.sum(-1).logsumexp(-1)


def seq_mean(log_p, log_prior):
    return (log_p.mean(-1) + log_prior).logsumexp(-1)


MUTANTS = {
    "8.2": (
        (seq_per_token, "sum before product"),
        (seq_prior_everywhere, "prior added per token"),
        (seq_multiplied, "probabilities multiplied"),
        (seq_uniform, "no prior"),
        (seq_mean, "mean over tokens"),
    ),
}
