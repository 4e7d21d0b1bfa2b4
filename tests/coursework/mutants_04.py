"""Typical wrong answers to the exercises of notebook 04, written as a student would, each with the mistake it must be told."""

import torch


def filled(pairs, k):
    pairs = pairs[:k] + [(float("-inf"), -1)] * (k - len(pairs[:k]))
    return torch.tensor([s for s, _ in pairs]), torch.tensor([r for _, r in pairs])


def pairs_of(q, vectors):
    return [(float((v * q).sum()), row) for row, v in enumerate(vectors)]


def ascending(q, vectors, k):
    return filled(sorted(pairs_of(q, vectors), key=lambda pair: pair[0]), k)


def reversed_pairs(q, vectors, k):
    return filled(sorted(pairs_of(q, vectors), reverse=True), k)


def fewer(q, vectors, k):
    scores, rows = torch.sort(vectors @ q, descending=True, stable=True)
    return scores[:k], rows[:k]


def zero_filled(q, vectors, k):
    scores, rows = torch.full((k,), float("-inf")), torch.zeros(k, dtype=torch.long)
    best = torch.sort(vectors @ q, descending=True, stable=True)
    n = min(k, len(vectors))
    scores[:n], rows[:n] = best.values[:n], best.indices[:n]
    return scores, rows


def nearest(q, vectors, k):
    pairs = [(-float(((v - q) ** 2).sum()), row) for row, v in enumerate(vectors)]
    return filled(sorted(pairs, key=lambda pair: (-pair[0], pair[1])), k)


def past_the_end(q, vectors, k):
    best = torch.topk(vectors @ q, k)
    return best.values, best.indices


def in_place(found, exact):
    hits = total = 0
    for a, b in zip(found.flatten().tolist(), exact.flatten().tolist(), strict=True):
        if b >= 0:
            total += 1
            hits += a == b
    return hits / total


def counts_gaps(found, exact):
    hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist(), strict=True))
    return hits / (exact != -1).sum().item()


def over_k(found, exact):
    shares = []
    for a, b in zip(found.tolist(), exact.tolist(), strict=True):
        shares.append(len([row for row in b if row in a and row != -1]) / len(b))
    return sum(shares) / len(shares)


def first_found(found, exact):
    return sum(b[0] in a for a, b in zip(found.tolist(), exact.tolist(), strict=True)) / len(exact)


def pooled(found, exact):
    have = set(found.flatten().tolist())
    wanted = [row for row in exact.flatten().tolist() if row >= 0]
    return sum(row in have for row in wanted) / len(wanted)


def only_k(approximate, bound, k):
    return sorted(approximate.argsort(descending=True)[:k].tolist())


def once(approximate, bound, k):
    kth = sorted(approximate.tolist())[-k]
    return [row for row, score in enumerate(approximate.tolist()) if score >= kth - bound]


def more_than(approximate, bound, k):
    kth = sorted(approximate.tolist(), reverse=True)[k - 1]
    return [row for row, score in enumerate(approximate.tolist()) if score + bound > kth - bound]


def from_the_top(approximate, bound, k):
    best = max(approximate.tolist())
    return [row for row, score in enumerate(approximate.tolist()) if score + bound >= best - bound]


def everything(approximate, bound, k):
    return torch.arange(len(approximate)).tolist()


def k_plus_one(approximate, bound, k):
    kth = sorted(approximate.tolist(), reverse=True)[k]
    return [row for row, score in enumerate(approximate.tolist()) if score + bound >= kth - bound]


def by_score(approximate, bound, k):
    scores, rows = approximate.sort(descending=True)
    return [row for row, score in zip(rows.tolist(), scores.tolist(), strict=True) if score >= float(scores[k - 1]) - 2 * bound]


MUTANTS = {
    "4.1": (
        (ascending, "smallest first"),
        (reversed_pairs, "ties to the higher row"),
        (fewer, "gaps not filled"),
        (zero_filled, "row 0 in the gaps"),
        (nearest, "distance"),
        (past_the_end, "topk past the last passage"),
    ),
    "4.2": (
        (in_place, "place by place"),
        (counts_gaps, "−1 is a hit"),
        (over_k, "gaps below the line"),
        (first_found, "the best alone"),
        (pooled, "all questions in one"),
    ),
    "4.3": (
        (only_k, "the best k alone"),
        (once, "error on one side"),
        (more_than, "just reaching left out"),
        (from_the_top, "measured from the best"),
        (everything, "all of them"),
        (k_plus_one, "one place too far"),
        (by_score, "best first"),
    ),
}
