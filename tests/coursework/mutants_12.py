"""Typical wrong answers to the exercises of notebook 12, written as a student would, each with the mistake it must be told."""

import math


def clipped(a, b):
    left = list(b)
    hits = 0
    for word in a:
        if word in left:
            left.remove(word)
            hits += 1
    return hits


def lengths(said, right):
    return sum(len(a) for a in said), sum(len(b) for b in right)


def counts_all(said, right):
    c, r = lengths(said, right)
    hits = sum(word in b for a, b in zip(said, right, strict=True) for word in a)
    return hits / c * (1 if c > r else math.exp(1 - r / c))


def never_brief(said, right):
    return sum(clipped(a, b) for a, b in zip(said, right, strict=True)) / lengths(said, right)[0]


def averaged(said, right):
    scores = []
    for a, b in zip(said, right, strict=True):
        bp = 1 if len(a) > len(b) else math.exp(1 - len(b) / len(a))
        scores.append(bp * clipped(a, b) / len(a))
    return sum(scores) / len(scores)


def long_is_bad(said, right):
    c, r = lengths(said, right)
    hits = sum(clipped(a, b) for a, b in zip(said, right, strict=True))
    return hits / c * (1 if c < r else math.exp(1 - c / r))


def over_reference(said, right):
    c, r = lengths(said, right)
    hits = sum(clipped(a, b) for a, b in zip(said, right, strict=True))
    return hits / r * (1 if c > r else math.exp(1 - r / c))


def lcs(a, b):
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a)):
        for j in range(len(b)):
            table[i + 1][j + 1] = table[i][j] + 1 if a[i] == b[j] else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def fbeta(p, r, beta=1.2):
    return 0.0 if p == 0 else (1 + beta * beta) * p * r / (r + beta * beta * p)


def substring(said, right):
    best = 0
    for i in range(len(said)):
        for j in range(len(right)):
            n = 0
            while i + n < len(said) and j + n < len(right) and said[i + n] == right[j + n]:
                n += 1
            best = max(best, n)
    return fbeta(best / len(said), best / len(right))


def bag_of_words(said, right):
    return fbeta(clipped(said, right) / len(said), clipped(said, right) / len(right))


def f1(said, right):
    return fbeta(lcs(said, right) / len(said), lcs(said, right) / len(right), 1)


def exchanged(said, right):
    return fbeta(lcs(said, right) / len(right), lcs(said, right) / len(said))


def only_recall(said, right):
    return lcs(said, right) / len(right)


MUTANTS = {
    "12.1": (
        (counts_all, "no clipping"),
        (never_brief, "no brevity penalty"),
        (averaged, "mean over texts"),
        (long_is_bad, "penalty the wrong way"),
        (over_reference, "divided by the reference"),
    ),
    "12.2": (
        (substring, "longest common run"),
        (bag_of_words, "words in any order"),
        (f1, "β of 1"),
        (exchanged, "precision and recall exchanged"),
        (only_recall, "recall alone"),
    ),
}
