"""Typical wrong answers to the exercises of notebook 07, written as a student would, each with the mistake it must be told."""

import math

import torch
import torch.nn.functional as F

# --- 7.1


def inputs_left(targets, start_id, pad_id):
    given = torch.full_like(targets, pad_id)
    given[:, :-1] = targets[:, 1:]
    given[given == -100] = pad_id
    return given


def inputs_as_they_are(targets, start_id, pad_id):
    return torch.where(targets == -100, pad_id, targets)


def inputs_prepended(targets, start_id, pad_id):
    rows = [[start_id, *(pad_id if t == -100 else t for t in row)] for row in targets.tolist()]
    return torch.tensor(rows)


def inputs_rolled(targets, start_id, pad_id):
    given = torch.roll(targets, shifts=1, dims=1)
    return torch.where(given == -100, torch.tensor(pad_id), given)


def inputs_overwritten(targets, start_id, pad_id):
    given = targets.clone()
    given[:, 0] = start_id
    given[given == -100] = pad_id
    return given


def inputs_with_holes(targets, start_id, pad_id):
    given = targets.new_full(targets.shape, start_id)
    given[:, 1:] = targets[:, :-1]
    return given


# --- 7.2


def _losses(logits, targets, epsilon):
    log_p = F.log_softmax(logits, dim=-1)
    losses = torch.zeros(targets.shape)
    for b in range(targets.shape[0]):
        for t in range(targets.shape[1]):
            target = max(int(targets[b, t]), 0)
            losses[b, t] = -(1 - epsilon) * log_p[b, t, target] - epsilon * log_p[b, t].mean()
    return losses


def loss_of_padding_too(logits, targets, pad_id, epsilon):
    log_p = logits - logits.logsumexp(-1, keepdim=True)
    nll = -torch.gather(log_p, 2, targets.unsqueeze(2)).squeeze(2)
    return ((1 - epsilon) * nll - epsilon * log_p.mean(-1)).sum(-1)


def loss_pad_only(logits, targets, pad_id, epsilon):
    log_p = F.log_softmax(logits, -1)
    nll = -log_p.gather(-1, targets[..., None])[..., 0]
    each = (1 - epsilon) * nll + epsilon * -log_p.mean(-1)
    return each.masked_fill(targets == pad_id, 0.0).sum(1)


def loss_smooth_everywhere(logits, targets, pad_id, epsilon):
    log_p = F.log_softmax(logits, -1)
    padding = (targets == pad_id) | (targets == -100)
    nll = -log_p.gather(-1, targets.masked_fill(padding, 0)[..., None])[..., 0]
    nll[padding] = 0
    return (1 - epsilon) * nll.sum(1) - epsilon * log_p.mean(-1).sum(1)


def loss_averaged(logits, targets, pad_id, epsilon):
    real = ((targets != pad_id) & (targets != -100)).float()
    return (_losses(logits, targets, epsilon) * real).sum(1) / real.sum(1)


def loss_of_all(logits, targets, pad_id, epsilon):
    total = 0.0
    losses = _losses(logits, targets, epsilon)
    for b, row in enumerate(targets.tolist()):
        for t, target in enumerate(row):
            if target not in (pad_id, -100):
                total = total + losses[b, t]
    return total


def loss_summed_over_words(logits, targets, pad_id, epsilon):
    log_p = torch.log_softmax(logits, 2)
    real = (targets != pad_id) & (targets != -100)
    nll = -log_p.gather(2, targets.where(real, torch.tensor(0))[:, :, None]).squeeze(2)
    return (((1 - epsilon) * nll - epsilon * log_p.sum(2)) * real).sum(1)


def loss_on_top(logits, targets, pad_id, epsilon):
    log_p = torch.log_softmax(logits, 2)
    real = (targets != pad_id) & (targets != -100)
    nll = -log_p.gather(2, targets.where(real, torch.tensor(0))[:, :, None]).squeeze(2)
    return ((nll - epsilon * log_p.mean(2)) * real).sum(1)


def loss_of_logits(logits, targets, pad_id, epsilon):
    real = (targets != pad_id) & (targets != -100)
    chosen = logits.gather(2, targets.where(real, torch.tensor(0))[:, :, None]).squeeze(2)
    return -(((1 - epsilon) * chosen + epsilon * logits.mean(2)) * real).sum(1)


# --- 7.3


def beam_of_one(next_log_probs, beams, max_length, eos, alpha):
    y, total = [], 0.0
    for _ in range(max_length):
        log_p = next_log_probs(y)
        token = int(torch.argmax(log_p))
        total += log_p[token].item()
        y.append(token)
        if token == eos:
            break
    return [(y, total / len(y) ** alpha)]


def _beam(next_log_probs, beams, max_length, eos, alpha, score=None, patient=True, wide=2, cut=True, ends=True):
    """As the notebook has it, over tuples that sort by themselves."""
    score = score or (lambda total, y: total / len(y) ** alpha)
    running, ended = [(0.0, ())], []
    while running and len(running[0][1]) < max_length:
        grown = []
        for minus, y in running:
            for token, log_p in enumerate(next_log_probs(list(y))):
                if log_p.item() != -math.inf:
                    grown.append((minus - log_p.item(), (*y, token)))
        top = sorted(grown)[: wide * beams]
        running = []
        for rank, (minus, y) in enumerate(top):
            if (ends and y[-1] == eos) or (cut and len(y) == max_length):
                if rank < beams:
                    ended.append((-score(-minus, y), y))
            elif len(running) < beams:
                running.append((minus, y))
        ended = sorted(ended)[:beams]
        if not patient and len(ended) == beams and running and score(-running[0][0], running[0][1]) <= -ended[-1][0]:
            break
    return [(list(y), -minus) for minus, y in ended]


def beam_multiplied(next_log_probs, beams, max_length, eos, alpha):
    return _beam(next_log_probs, beams, max_length, eos, alpha, score=lambda total, y: total * len(y) ** alpha)


def beam_by_probability(next_log_probs, beams, max_length, eos, alpha):
    return _beam(next_log_probs, beams, max_length, eos, 0.0)


def beam_of_the_notebook(next_log_probs, beams, max_length, eos, alpha):
    return _beam(next_log_probs, beams, max_length, eos, alpha, patient=False)


def beam_that_shrinks(next_log_probs, beams, max_length, eos, alpha):
    return _beam(next_log_probs, beams, max_length, eos, alpha, wide=1)


def beam_never_cut(next_log_probs, beams, max_length, eos, alpha):
    return _beam(next_log_probs, beams, max_length, eos, alpha, cut=False)


def beam_past_the_end(next_log_probs, beams, max_length, eos, alpha):
    return _beam(next_log_probs, beams, max_length, eos, alpha, ends=False)


def beam_sorted_backwards(next_log_probs, beams, max_length, eos, alpha):
    alive, done = [(0.0, [])], []
    for n in range(1, max_length + 1):
        options = [(s + p, [*y, t]) for s, y in alive for t, p in enumerate(next_log_probs(y).tolist()) if p > -math.inf]
        options = sorted(options, reverse=True)[: 2 * beams]
        finished = [o for o in options[:beams] if o[1][-1] == eos or n == max_length]
        done = sorted(done + [(s / n**alpha, y) for s, y in finished], reverse=True)[:beams]
        alive = [o for o in options if o[1][-1] != eos][:beams]
    return [(y, s) for s, y in done]


# --- 7.4


def repeats_by_token(log_probs, prefix, n):
    log_probs = log_probs.clone()
    for token in set(prefix):
        log_probs[token] = float("-inf")
    return log_probs


def repeats_too_long(log_probs, prefix, n):
    log_probs = log_probs.clone()
    for i in range(len(prefix) - n):
        if prefix[i : i + n] == prefix[-n:]:
            log_probs[prefix[i + n]] = -torch.inf
    return log_probs


def repeats_but_the_last(log_probs, prefix, n):
    log_probs = log_probs.clone()
    seen = {tuple(prefix[i : i + n]) for i in range(len(prefix) - n)}
    end = tuple(prefix[len(prefix) - n + 1 :]) if len(prefix) >= n else None
    for token in range(len(log_probs)):
        if end is not None and (*end, token) in seen:
            log_probs[token] = -torch.inf
    return log_probs


def repeats_first_match(log_probs, prefix, n):
    log_probs = log_probs.clone()
    if len(prefix) < n:
        return log_probs
    end = prefix[len(prefix) - (n - 1) :]
    for i in range(len(prefix) - n + 1):
        if prefix[i : i + n - 1] == end:
            log_probs[prefix[i + n - 1]] = -torch.inf
            break
    return log_probs


def repeats_made_certain(log_probs, prefix, n):
    keep = torch.ones_like(log_probs)
    grams = [prefix[i : i + n] for i in range(len(prefix) - n + 1)]
    for token in range(len(log_probs)):
        if [*prefix, token][-n:] in grams:
            keep[token] = 0
    return log_probs * keep


def repeats_shared_out(log_probs, prefix, n):
    p = log_probs.exp()
    grams = [prefix[i : i + n] for i in range(len(prefix) - n + 1)]
    for token in range(len(p)):
        if [*prefix, token][-n:] in grams:
            p[token] = 0
    return (p / p.sum()).log()


def repeats_minus_zero(log_probs, prefix, n):
    log_probs = log_probs.clone()
    for i in range(len(prefix) - n + 1):
        if prefix[i : i + n - 1] == prefix[-(n - 1) :]:
            log_probs[prefix[i + n - 1]] = -torch.inf
    return log_probs


MUTANTS = {
    "7.1": (
        (inputs_left, "shifted to the left"),
        (inputs_as_they_are, "no shift"),
        (inputs_prepended, "one token too many"),
        (inputs_rolled, "the last token put in front"),
        (inputs_overwritten, "the first target overwritten"),
        (inputs_with_holes, "−100 given to the decoder"),
    ),
    "7.2": (
        (loss_of_padding_too, "padding counted"),
        (loss_pad_only, "−100 not masked"),
        (loss_smooth_everywhere, "padding smoothed"),
        (loss_averaged, "mean over tokens"),
        (loss_of_all, "one number for the batch"),
        (loss_summed_over_words, "sum over the vocabulary"),
        (loss_on_top, "ε not taken from the target"),
        (loss_of_logits, "logits for log-probabilities"),
    ),
    "7.3": (
        (beam_of_one, "greedy"),
        (beam_multiplied, "length penalty the wrong way"),
        (beam_by_probability, "no length penalty"),
        (beam_of_the_notebook, "stopped too early"),
        (beam_that_shrinks, "the beam shrinks"),
        (beam_never_cut, "cut-off ones forgotten"),
        (beam_past_the_end, "the end goes on"),
        (beam_sorted_backwards, "equal ones in the wrong order"),
    ),
    "7.4": (
        (repeats_by_token, "no token twice"),
        (repeats_too_long, "n tokens compared, not n − 1"),
        (repeats_but_the_last, "the last n-gram overlooked"),
        (repeats_first_match, "the first match alone"),
        (repeats_made_certain, "0 for −inf"),
        (repeats_shared_out, "probabilities shared out again"),
        (repeats_minus_zero, "prefix[-0:] is the whole prefix"),
    ),
}
