"""Typical wrong answers to the exercises of notebook 08, written as a student would, each with the mistake it must be told."""

import torch

# --- 8.1


def prior_of_batch(doc_scores):
    e = torch.exp(doc_scores - doc_scores.amax(0))
    return e / e.sum(0)


def prior_of_table(doc_scores):
    e = torch.exp(doc_scores - doc_scores.max())
    return e / e.sum()


def prior_overflowing(doc_scores):
    p = torch.exp(doc_scores)
    return p / p.sum(dim=1)[:, None]


def prior_with_missing(doc_scores):
    scores = doc_scores.clone()
    scores[torch.isinf(scores)] = 0
    return torch.softmax(scores, -1)


def prior_by_sum(doc_scores):
    rows = []
    for row in doc_scores:
        rows.append(row / sum(row))
    return torch.stack(rows)


def prior_sigmoid(doc_scores):
    return 1 / (1 + torch.exp(-doc_scores))


# --- 8.2


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


# --- 8.3


def tok_by_document(log_p, log_prior):
    whole = []
    for k in range(log_p.shape[0]):
        whole.append(log_prior[k] + log_p[k].sum())
    return torch.logsumexp(torch.stack(whole), dim=0)


def tok_prior_once(log_p, log_prior):
    total = (log_prior + log_p[:, 0]).logsumexp(0)
    for t in range(1, log_p.shape[1]):
        total = total + log_p[:, t].logsumexp(0)
    return total


def tok_multiplied(log_p, log_prior):
    p = 1.0
    for t in range(log_p.shape[1]):
        p = p * (log_prior.exp() * log_p[:, t].exp()).sum()
    return torch.log(torch.as_tensor(p))


def tok_uniform(log_p, log_prior):
    return sum(log_p[:, t].logsumexp(0) for t in range(log_p.shape[1]))


def tok_logs_averaged(log_p, log_prior):
    return (log_prior.exp()[:, None] * log_p).sum(0).sum()


def tok_best(log_p, log_prior):
    return sum((log_prior + column).max() for column in log_p.T)


# --- 8.4


def speaks_swapped(log_p, log_prior, scheme):
    scores = log_prior.unsqueeze(1) + (log_p if scheme == "sequence" else torch.cumsum(log_p, 1))
    return scores.softmax(0).t()


def speaks_forgetful(log_p, log_prior, scheme):
    rows = []
    for t in range(log_p.shape[1]):
        rows.append(torch.softmax(log_prior + log_p[:, t], 0))
    return torch.stack(rows)


def speaks_finally(log_p, log_prior, scheme):
    rows = []
    for t in range(log_p.shape[1]):
        said = log_p.sum(1) if scheme == "sequence" else log_p[:, t]
        rows.append(torch.softmax(log_prior + said, 0))
    return torch.stack(rows)


def speaks_late(log_p, log_prior, scheme):
    rows, so_far = [], log_prior
    for t in range(log_p.shape[1]):
        if scheme == "sequence":
            rows.append(torch.softmax(so_far, 0))
            so_far = so_far + log_p[:, t]
        else:
            rows.append(torch.softmax(log_prior + log_p[:, t], 0))
    return torch.stack(rows)


def speaks_prior_again(log_p, log_prior, scheme):
    rows, so_far = [], torch.zeros_like(log_prior)
    for t in range(log_p.shape[1]):
        now = log_prior + log_p[:, t]
        so_far = so_far + now
        rows.append((so_far if scheme == "sequence" else now).softmax(0))
    return torch.stack(rows)


def speaks_without_prior(log_p, log_prior, scheme):
    said = log_p.cumsum(1) if scheme == "sequence" else log_p
    return said.T.softmax(1)


def speaks_unnormalised(log_p, log_prior, scheme):
    said = log_p.cumsum(1) if scheme == "sequence" else log_p
    return torch.exp(said.T + log_prior)


def speaks_multiplied(log_p, log_prior, scheme):
    p, rows = log_prior.exp(), []
    for t in range(log_p.shape[1]):
        joint = p * log_p[:, t].exp()
        if scheme == "sequence":
            p = joint
        rows.append(joint / joint.sum())
    return torch.stack(rows)


# --- 8.5


def _chosen(logits, targets, padding):
    log_p = logits - logits.logsumexp(-1, keepdim=True)
    safe = torch.where(padding, 0, targets)
    b, k, t, _ = logits.shape
    return log_p[torch.arange(b)[:, None, None], torch.arange(k)[:, None], torch.arange(t), safe[:, None]]


def _padding(targets, pad_id):
    return (targets == pad_id) | (targets == -100)


def batch_with_padding(logits, targets, doc_scores, pad_id):
    log_p = logits.log_softmax(-1).gather(3, targets[:, None, :, None].repeat(1, logits.shape[1], 1, 1)).squeeze(3)
    return (log_p + doc_scores.log_softmax(1).unsqueeze(2)).logsumexp(1).sum(1)


def batch_pad_only(logits, targets, doc_scores, pad_id):
    log_p = logits.log_softmax(-1).gather(3, targets[:, None, :, None].repeat(1, logits.shape[1], 1, 1)).squeeze(3)
    by_token = (log_p + doc_scores.log_softmax(1).unsqueeze(2)).logsumexp(1)
    return by_token.masked_fill(targets == pad_id, 0).sum(1)


def batch_shifted(logits, targets, doc_scores, pad_id):
    labels, shifted = targets[:, 1:], logits[:, :, :-1]
    padding = _padding(labels, pad_id)
    by_token = (_chosen(shifted, labels, padding) + doc_scores.log_softmax(1)[..., None]).logsumexp(1)
    return by_token.masked_fill(padding, 0).sum(1)


def batch_by_document(logits, targets, doc_scores, pad_id):
    padding = _padding(targets, pad_id)
    by_document = _chosen(logits, targets, padding).masked_fill(padding[:, None], 0).sum(2)
    return (by_document + doc_scores.log_softmax(1)).logsumexp(1)


def batch_of_mixed_logits(logits, targets, doc_scores, pad_id):
    padding = _padding(targets, pad_id)
    mixed = (logits * doc_scores.softmax(1)[:, :, None, None]).sum(1, keepdim=True)
    return _chosen(mixed, targets, padding)[:, 0].masked_fill(padding, 0).sum(1)


def batch_with_missing(logits, targets, doc_scores, pad_id):
    padding = _padding(targets, pad_id)
    prior = doc_scores.nan_to_num(neginf=0.0).softmax(1)
    p = (prior[:, :, None] * _chosen(logits, targets, padding).exp()).sum(1)
    return p.log().masked_fill(padding, 0).sum(1)


def batch_prior_of_batch(logits, targets, doc_scores, pad_id):
    padding = _padding(targets, pad_id)
    by_token = (_chosen(logits, targets, padding) + doc_scores.log_softmax(0)[..., None]).logsumexp(1)
    return by_token.masked_fill(padding, 0).sum(1)


def batch_averaged(logits, targets, doc_scores, pad_id):
    padding = _padding(targets, pad_id)
    by_token = (_chosen(logits, targets, padding) + doc_scores.log_softmax(1)[..., None]).logsumexp(1)
    return torch.stack([own[~gone].mean() for own, gone in zip(by_token, padding, strict=True)])


MUTANTS = {
    "8.1": (
        (prior_of_batch, "over the batch"),
        (prior_of_table, "over everything at once"),
        (prior_overflowing, "the exponential overflows"),
        (prior_with_missing, "missing ones take part"),
        (prior_by_sum, "scores divided by their sum"),
        (prior_sigmoid, "each by itself"),
    ),
    "8.2": (
        (seq_per_token, "sum before product"),
        (seq_prior_everywhere, "prior added per token"),
        (seq_multiplied, "probabilities multiplied"),
        (seq_uniform, "no prior"),
        (seq_mean, "mean over tokens"),
    ),
    "8.3": (
        (tok_by_document, "product before sum"),
        (tok_prior_once, "prior at the first token alone"),
        (tok_multiplied, "probabilities multiplied"),
        (tok_uniform, "no prior"),
        (tok_logs_averaged, "mean of logarithms"),
        (tok_best, "the best document at each token"),
    ),
    "8.4": (
        (speaks_swapped, "the schemes exchanged"),
        (speaks_forgetful, "no running verdict"),
        (speaks_finally, "the final verdict everywhere"),
        (speaks_late, "the verdict one token late"),
        (speaks_prior_again, "prior added per token"),
        (speaks_without_prior, "no prior"),
        (speaks_unnormalised, "not normalised"),
        (speaks_multiplied, "probabilities multiplied"),
    ),
    "8.5": (
        (batch_with_padding, "padding counted"),
        (batch_pad_only, "−100 not masked"),
        (batch_shifted, "targets shifted"),
        (batch_by_document, "product before sum"),
        (batch_of_mixed_logits, "logits mixed"),
        (batch_with_missing, "missing documents take part"),
        (batch_prior_of_batch, "prior over the batch"),
        (batch_averaged, "mean over tokens"),
    ),
}
