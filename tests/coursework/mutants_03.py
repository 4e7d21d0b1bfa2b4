"""Typical wrong answers to the exercises of notebook 03, written as a student would, each with the mistake it must be told."""

import math

import torch
import torch.nn.functional as F


def open_end(title, text, length):
    ids = [101, *title, 102, *text]
    return ids[:length]


def cut_anywhere(title, text, length):
    ids = [101, *title, 102, *text, 102]
    while len(ids) > length:
        ids.pop()
    return ids


def one_text(title, text, length):
    both = title + text
    return [101, *both[: length - 2], 102]


def headless(title, text, length):
    ids = [*title, 102, *text]
    return [*ids[: length - 1], 102]


def untitled(title, text, length):
    return [101, *text[: length - 2], 102]


def endless(title, text, length):
    return [101, *title, 102, *text, 102]


def cosine(questions, passages):
    return F.normalize(questions, dim=1) @ F.normalize(passages, dim=1).T


def euclidean(questions, passages):
    return -((questions[:, None, :] - passages[None, :, :]) ** 2).sum(-1).sqrt()


def euclidean_squared(questions, passages):
    return torch.stack([-((passages - q) ** 2).sum(1) for q in questions])


def other_way(questions, passages):
    return torch.stack([(questions * p).sum(1) for p in passages])


def as_attention(questions, passages):
    return questions @ passages.T / math.sqrt(questions.shape[-1])


def probabilities(questions, passages):
    return torch.softmax(questions @ passages.T, dim=-1)


def with_empty(ids, n):
    counts = torch.zeros(n, dtype=torch.long)
    for row in ids.flatten().tolist():
        counts[row] += 1
    return counts


def best_only(ids, n):
    counts = [0] * n
    for row in ids.tolist():
        if row[0] >= 0:
            counts[row[0]] += 1
    return torch.tensor(counts)


def too_short(ids, n):
    rows = [i for i in ids.flatten().tolist() if i >= 0]
    return torch.tensor([rows.count(i) for i in range(max(rows) + 1)])


def whether(ids, n):
    return torch.tensor([int((ids == i).any()) for i in range(n)])


def as_share(ids, n):
    return torch.tensor([float((ids == i).sum()) / len(ids) for i in range(n)])


def always_overwritten(title, text, length):
    ids = [101, *title, 102, *text][:length]
    ids[-1] = 102
    return ids


def empty_is_first(ids, n):
    counts = torch.zeros(n, dtype=torch.long)
    for i in ids.flatten().tolist():
        counts[max(i, 0)] += 1
    return counts


MUTANTS = {
    "3.1": (
        (open_end, "no last [SEP]"),
        (cut_anywhere, "[SEP] cut off"),
        (always_overwritten, "the last word overwritten"),
        (one_text, "title and text in one"),
        (headless, "no [CLS]"),
        (untitled, "no title"),
        (endless, "not cut"),
    ),
    "3.2": (
        (cosine, "cosine"),
        (euclidean, "distance"),
        (euclidean_squared, "squared distance"),
        (other_way, "transposed"),
        (as_attention, "divided by √d"),
        (probabilities, "softmax taken"),
    ),
    "3.3": (
        (with_empty, "empty slots counted"),
        (empty_is_first, "empty slots counted as row 0"),
        (best_only, "the first place alone"),
        (too_short, "passages nobody finds left out"),
        (whether, "found or not"),
        (as_share, "shares"),
    ),
}
