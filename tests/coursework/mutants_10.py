"""Typical wrong answers to the exercises of notebook 10, written as a student would, each with the mistake it must be told."""

import math
from collections import defaultdict

import torch

# --- 10.1


def _posterior(log_p, doc_scores):
    joint = doc_scores.log_softmax(-1) + log_p
    return (joint - joint.logsumexp(-1, keepdim=True)).exp()


def grad_upwards(log_p, doc_scores):
    return _posterior(log_p, doc_scores) - doc_scores.softmax(-1)


def grad_of_likelihood(log_p, doc_scores):
    rows = []
    for own, scores in zip(log_p, doc_scores, strict=True):
        real = scores > -math.inf
        share = torch.zeros_like(own)
        share[real] = own[real].softmax(0)
        rows.append(scores.softmax(0) - share)
    return torch.stack(rows)


def grad_one_hot(log_p, doc_scores):
    gradient = doc_scores.softmax(1)
    best = (doc_scores + log_p).argmax(1)
    for b, k in enumerate(best.tolist()):
        gradient[b, k] -= 1
    return gradient


def grad_unnormalised(log_p, doc_scores):
    prior = doc_scores.softmax(1)
    return prior - prior * log_p.exp()


def grad_underflowing(log_p, doc_scores):
    prior = doc_scores.softmax(1)
    joint = prior * torch.exp(log_p)
    return prior - joint / joint.sum(dim=1, keepdim=True)


def grad_of_generator(log_p, doc_scores):
    return -_posterior(log_p, doc_scores)


def grad_averaged(log_p, doc_scores):
    scores = doc_scores.clone().requires_grad_()
    loss = -(scores.log_softmax(1) + log_p).logsumexp(1).mean()
    return torch.autograd.grad(loss, scores)[0]


# --- 10.2


def loss_moving_passages(question, passages, log_p):
    prior = torch.softmax(passages @ question, 0)
    return -torch.logsumexp(torch.log(prior) + log_p, 0)


def loss_still_question(question, passages, log_p):
    with torch.no_grad():
        prior = (passages @ question).log_softmax(0)
    return -torch.logsumexp(prior + log_p, 0)


def loss_other_way_round(question, passages, log_p):
    scores = torch.mv(passages, question.detach())
    return scores.logsumexp(0) - torch.logsumexp(scores + log_p, 0)


def loss_still_generator(question, passages, log_p):
    scores = torch.mv(passages.detach(), question)
    return scores.logsumexp(0) - torch.logsumexp(scores + log_p.detach(), 0)


def loss_of_numbers(question, passages, log_p):
    scores = (passages @ question).tolist()
    most = max(scores)
    top = max(s + one for s, one in zip(scores, log_p.tolist(), strict=True))
    joint = sum(math.exp(s + one - top) for s, one in zip(scores, log_p.tolist(), strict=True))
    return torch.tensor(math.log(sum(math.exp(s - most) for s in scores)) + most - math.log(joint) - top)


def loss_of_logs(question, passages, log_p):
    prior = torch.softmax(passages.detach() @ question, 0)
    return -torch.dot(prior, log_p)


def loss_underflowing(question, passages, log_p):
    prior = torch.softmax(passages.detach() @ question, 0)
    return -torch.log(torch.dot(prior, torch.exp(log_p)))


def loss_by_posterior(question, passages, log_p):
    joint = torch.log_softmax(passages.detach() @ question, 0) + log_p
    with torch.no_grad():
        weights = joint.softmax(0)
    return -torch.dot(weights, joint)


# --- 10.3


def _statistics(found, weights, key=lambda place, row: row, log=math.log, most=None, count=None, per=None):
    b = len(found)
    share, of_one = defaultdict(float), 0.0
    for rows, own in zip(found, weights, strict=True):
        for place, row in enumerate(rows):
            share[key(place, row)] += own[place] / (per or b)
            of_one -= own[place] * log(own[place]) / b
    entropy = -sum(p * log(p) for p in share.values())
    return {
        "unique": len(share) / (count or sum(len(rows) for rows in found)),
        "entropy": entropy,
        "entropy_of_one": of_one,
        "collapsed": entropy - of_one < 0.25 * (log(b) if most is None else most),
    }


def collapse_counted(found, doc_scores):
    return _statistics(found, [[1 / len(rows)] * len(rows) for rows in found])


def collapse_in_bits(found, doc_scores):
    return _statistics(found, doc_scores.softmax(1).tolist(), log=math.log2)


def collapse_summed(found, doc_scores):
    return _statistics(found, doc_scores.softmax(1).tolist(), per=1)


def collapse_by_rank(found, doc_scores):
    return _statistics(found, doc_scores.softmax(1).tolist(), key=lambda place, row: place)


def collapse_of_slots(found, doc_scores):
    return _statistics(found, doc_scores.softmax(1).tolist(), count=len(found) * doc_scores.shape[1])


def collapse_by_k(found, doc_scores):
    return _statistics(found, doc_scores.softmax(1).tolist(), most=math.log(doc_scores.shape[1]))


def collapse_by_entropy(found, doc_scores):
    right = _statistics(found, doc_scores.softmax(1).tolist())
    right["collapsed"] = right["entropy"] < 0.25 * math.log(len(found))
    return right


# --- 10.4


def moves_both_encoders(names, retriever):
    moving = []
    for name in names:
        part = name.split(".", 1)[0]
        if part == "generator" or (part in ("query_encoder", "passage_encoder") and retriever == "learned"):
            moving.append(name)
    return moving


def moves_index_too(names, retriever):
    still = ["passage_encoder"] if retriever == "learned" else ["passage_encoder", "query_encoder"]
    return [name for name in names if name.split(".")[0] not in still]


def moves_always(names, retriever):
    return [name for name in names if name.split(".")[0] in {"generator", "query_encoder"}]


def moves_retriever_only(names, retriever):
    return [name for name in names if retriever == "learned" and name.startswith("query_encoder")]


def moves_by_word(names, retriever):
    words = ["generator", "query"] if retriever == "learned" else ["generator"]
    return [name for name in names if any(word in name for word in words)]


def moves_sorted(names, retriever):
    parts = {"generator"} | ({"query_encoder"} if retriever == "learned" else set())
    return sorted({name for name in names if name.split(".")[0] in parts})


MUTANTS = {
    "10.1": (
        (grad_upwards, "the sign turned round"),
        (grad_of_likelihood, "posterior without the prior"),
        (grad_one_hot, "one-hot for the posterior"),
        (grad_unnormalised, "posterior not normalised"),
        (grad_underflowing, "probabilities multiplied"),
        (grad_of_generator, "the generator's gradient"),
        (grad_averaged, "divided by the batch"),
    ),
    "10.2": (
        (loss_moving_passages, "the passages move"),
        (loss_still_question, "the question does not move"),
        (loss_other_way_round, "the wrong one held still"),
        (loss_still_generator, "the generator does not move"),
        (loss_of_numbers, "nothing moves"),
        (loss_of_logs, "mean of logarithms"),
        (loss_underflowing, "probabilities multiplied"),
        (loss_by_posterior, "weighed by the posterior"),
    ),
    "10.3": (
        (collapse_counted, "counted, not weighed"),
        (collapse_in_bits, "logarithms to base 2"),
        (collapse_summed, "not averaged over questions"),
        (collapse_by_rank, "by place, not by passage"),
        (collapse_of_slots, "missing ones counted"),
        (collapse_by_k, "compared with log K"),
        (collapse_by_entropy, "judged by the entropy alone"),
    ),
    "10.4": (
        (moves_both_encoders, "the passage encoder too"),
        (moves_index_too, "the index too"),
        (moves_always, "the retriever always"),
        (moves_retriever_only, "the generator held still"),
        (moves_by_word, "a word anywhere in the name"),
        (moves_sorted, "another order"),
    ),
}
