"""Typical wrong answers to the exercises of notebook 09, written as a student would, each with the mistake it must be told."""

import math

import torch

# --- 9.1


def next_by_posterior(logits, prefix, doc_scores):
    weights = doc_scores.softmax(0)
    for t, token in enumerate(prefix.tolist()):
        weights = weights * logits[:, t].softmax(1)[:, token]
    weights = weights / weights.sum()
    return (weights @ logits[:, -1].softmax(1)).log()


def next_of_mixed_logits(logits, prefix, doc_scores):
    real = doc_scores > -torch.inf
    mixed = sum(w * own for w, own in zip(doc_scores[real].softmax(0), logits[real, -1], strict=True))
    return mixed.log_softmax(0)


def next_of_mixed_logs(logits, prefix, doc_scores):
    return doc_scores.softmax(0) @ torch.log_softmax(logits[:, -1, :], dim=-1)


def next_unnormalised(logits, prefix, doc_scores):
    return (doc_scores.softmax(0)[:, None] * logits[:, -1].exp()).sum(0).log()


def next_uniform(logits, prefix, doc_scores):
    return logits[:, -1].softmax(1).mean(0).log()


def next_most_favourable(logits, prefix, doc_scores):
    joint = doc_scores.softmax(0)[:, None] * logits[:, -1].softmax(1)
    return joint.amax(0).log()


# --- 9.2


def _cut(y, pad_id):
    return tuple(y[: y.index(pad_id)]) if pad_id in y else tuple(y)


def thorough_where_found(found, log_p, doc_scores, pad_id):
    prior, totals = doc_scores.softmax(0).tolist(), {}
    for k, beam in enumerate(found):
        for y in beam:
            y = _cut(y, pad_id)
            totals[y] = totals.get(y, 0.0) + prior[k] * math.exp(log_p(k, y))
    scored = [(y, math.log(p) if p else -math.inf) for y, p in totals.items()]
    return sorted(scored, key=lambda each: each[1], reverse=True)


def _all(ys, log_p, doc_scores, total):
    scored = [(y, total([log_p(k, y) for k in range(len(doc_scores))], doc_scores)) for y in ys]
    return sorted(scored, key=lambda each: -each[1])


def _marginal(logs, doc_scores):
    p = sum(w * math.exp(one) for w, one in zip(doc_scores.softmax(0).tolist(), logs, strict=True))
    return math.log(p) if p else -math.inf


def thorough_padded(found, log_p, doc_scores, pad_id):
    union = set()
    for beam in found:
        union |= {tuple(y) for y in beam}
    return _all(union, log_p, doc_scores, _marginal)


def thorough_twice(found, log_p, doc_scores, pad_id):
    return _all([_cut(y, pad_id) for beam in found for y in beam], log_p, doc_scores, _marginal)


def thorough_uniform(found, log_p, doc_scores, pad_id):
    union = {_cut(y, pad_id) for beam in found for y in beam}
    return _all(union, log_p, doc_scores, lambda logs, _: torch.tensor(logs).logsumexp(0).item())


def thorough_of_logs(found, log_p, doc_scores, pad_id):
    def mean(logs, doc_scores):
        weights = doc_scores.softmax(0).tolist()
        return sum(w * one for w, one in zip(weights, logs, strict=True) if w)

    return _all({_cut(y, pad_id) for beam in found for y in beam}, log_p, doc_scores, mean)


def thorough_by_best_document(found, log_p, doc_scores, pad_id):
    def best(logs, doc_scores):
        return max(w + one for w, one in zip(doc_scores.log_softmax(0).tolist(), logs, strict=True))

    return _all({_cut(y, pad_id) for beam in found for y in beam}, log_p, doc_scores, best)


# --- 9.3


def fast_certain(found, doc_scores):
    prior, result = doc_scores.softmax(0).tolist(), {}
    for y in {y for beam in found for y in beam}:
        result[y] = math.log(sum(w * math.exp(beam.get(y, 0)) for w, beam in zip(prior, found, strict=True)))
    return result


def fast_shared_out(found, doc_scores):
    result = {}
    for y in {y for beam in found for y in beam}:
        own = [k for k, beam in enumerate(found) if y in beam]
        log_prior = doc_scores[own].log_softmax(0)
        result[y] = torch.logsumexp(log_prior + torch.tensor([found[k][y] for k in own]), 0).item()
    return result


def fast_uniform(found, doc_scores):
    result = {}
    for y in {y for beam in found for y in beam}:
        result[y] = math.log(sum(math.exp(beam[y]) for beam in found if y in beam))
    return result


def fast_of_all(found, doc_scores):
    common = set(found[0]).intersection(*found[1:])
    log_prior = doc_scores.log_softmax(0)
    return {y: torch.logsumexp(log_prior + torch.tensor([beam[y] for beam in found]), 0).item() for y in common}


def fast_overwritten(found, doc_scores):
    log_prior, result = doc_scores.log_softmax(0), {}
    for k, beam in enumerate(found):
        for y, log_p in beam.items():
            result[y] = (log_prior[k] + log_p).item()
    return result


def fast_multiplied(found, doc_scores):
    log_prior, result = doc_scores.log_softmax(0).tolist(), {}
    for k, beam in enumerate(found):
        for y, log_p in beam.items():
            result[y] = result.get(y, 0) + log_prior[k] + log_p
    return result


# --- 9.4


def _prefixes(union):
    seen = set()
    for y in union:
        for end in range(len(y)):
            seen.add(y[:end])
    return len(seen)


def steps_of_one_search(decoder, documents, beams, length, union):
    if decoder == "token":
        return 1 + (length - 1) * beams
    steps = documents + documents * beams * (length - 1)
    return steps + _prefixes(union) * documents if decoder == "thorough" else steps


def steps_full_beams(decoder, documents, beams, length, union):
    steps = documents * beams * length
    return steps + _prefixes(union) * documents if decoder == "thorough" else steps


def steps_one_by_one(decoder, documents, beams, length, union):
    steps = documents * (1 + beams * (length - 1))
    if decoder == "thorough":
        steps += documents * sum(len(y) for y in union)
    return steps


def steps_alike(decoder, documents, beams, length, union):
    return documents + beams * documents * (length - 1)


def steps_scored_once(decoder, documents, beams, length, union):
    steps = documents * (1 + beams * (length - 1))
    return steps + _prefixes(union) if decoder == "thorough" else steps


def steps_without_start(decoder, documents, beams, length, union):
    steps = documents * beams * (length - 1)
    return steps + documents * _prefixes(union) if decoder == "thorough" else steps


MUTANTS = {
    "9.1": (
        (next_by_posterior, "prior changed by the prefix"),
        (next_of_mixed_logits, "logits mixed"),
        (next_of_mixed_logs, "log-probabilities mixed"),
        (next_unnormalised, "each document not normalised"),
        (next_uniform, "no prior"),
        (next_most_favourable, "the best document alone"),
    ),
    "9.2": (
        (thorough_where_found, "only where it was found"),
        (thorough_padded, "padding kept"),
        (thorough_twice, "no union"),
        (thorough_uniform, "no prior"),
        (thorough_of_logs, "mean of log-probabilities"),
        (thorough_by_best_document, "the best document alone"),
    ),
    "9.3": (
        (fast_certain, "missing ones count as certain"),
        (fast_shared_out, "prior shared out again"),
        (fast_uniform, "no prior"),
        (fast_of_all, "only what all have found"),
        (fast_overwritten, "the last document alone"),
        (fast_multiplied, "log-probabilities added up"),
    ),
    "9.4": (
        (steps_of_one_search, "one search for RAG-Token"),
        (steps_full_beams, "the start token as J beams"),
        (steps_one_by_one, "scored one by one"),
        (steps_alike, "Thorough for the price of Fast"),
        (steps_scored_once, "scored under one document"),
        (steps_without_start, "the start token forgotten"),
    ),
}
