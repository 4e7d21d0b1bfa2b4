"""Typical wrong answers to the exercises of notebook 16, written as a student would, each with the mistake it must be told."""

import math

import torch


def no_ids(rows, dim, kind, pieces, lists):
    if kind == "float32":
        return 4 * rows * dim
    if kind == "float16":
        return 2 * rows * dim
    return rows * pieces + 1024 * dim + 4 * lists * dim


def no_codewords(rows, dim, kind, pieces, lists):
    widths = {"float32": 4 * dim, "float16": 2 * dim, "pq": pieces + 8}
    return rows * widths[kind] + (4 * lists * dim if kind == "pq" else 0)


def no_centroids(rows, dim, kind, pieces, lists):
    widths = {"float32": 4 * dim, "float16": 2 * dim, "pq": pieces + 8}
    return rows * widths[kind] + (4 * 256 * dim if kind == "pq" else 0)


def counts_bits(rows, dim, kind, pieces, lists):
    if kind == "pq":
        return 8 * (rows * (pieces + 8) + 1024 * dim + 4 * lists * dim)
    return rows * dim * int(kind[-2:])


def always_four(rows, dim, kind, pieces, lists):
    if kind != "pq":
        return rows * dim * 4
    return rows * (pieces + 8) + 4 * (256 + lists) * dim


def slope(xs, ys):
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    top = sum((x - mx) * (y - my) for x, y in zip(xs, ys, strict=True))
    return top / sum((x - mx) ** 2 for x in xs)


def plain_slope(sizes, seconds):
    return slope(sizes, seconds)


def half_log(sizes, seconds):
    return slope(sizes, [math.log(s) for s in seconds])


def two_points(sizes, seconds):
    return (math.log(seconds[-1]) - math.log(seconds[0])) / (math.log(sizes[-1]) - math.log(sizes[0]))


def no_intercept(sizes, seconds):
    xs, ys = [math.log(n) for n in sizes], [math.log(s) for s in seconds]
    return sum(x * y for x, y in zip(xs, ys, strict=True)) / sum(x * x for x in xs)


def swapped(sizes, seconds):
    return slope([math.log10(s) for s in seconds], [math.log10(n) for n in sizes])


def merged(pairs, k):
    pairs = sorted(pairs, key=lambda pair: (-pair[0], pair[1]))[:k]
    return torch.tensor([p[0] for p in pairs]), torch.tensor([p[1] for p in pairs])


def local_rows(shards, sizes, k):
    return merged([(s.item(), r.item()) for scores, rows in shards for s, r in zip(scores, rows, strict=True)], k)


def counted_too_early(shards, sizes, k):
    pairs, offset = [], 0
    for (scores, rows), size in zip(shards, sizes, strict=True):
        offset += size
        pairs += [(s.item(), r.item() + offset) for s, r in zip(scores, rows, strict=True)]
    return merged(pairs, k)


def same_size(shards, sizes, k):
    pairs = []
    for number, (scores, rows) in enumerate(shards):
        pairs += [(s.item(), r.item() + number * sizes[0]) for s, r in zip(scores, rows, strict=True)]
    return merged(pairs, k)


def higher_first(shards, sizes, k):
    pairs, offset = [], 0
    for (scores, rows), size in zip(shards, sizes, strict=True):
        pairs += [(s.item(), r.item() + offset) for s, r in zip(scores, rows, strict=True)]
        offset += size
    pairs = sorted(pairs, reverse=True)[:k]
    return torch.tensor([p[0] for p in pairs]), torch.tensor([p[1] for p in pairs])


def concatenated(shards, sizes, k):
    scores, rows, offset = [], [], 0
    for (own, where), size in zip(shards, sizes, strict=True):
        scores += own.tolist()
        rows += [r + offset for r in where.tolist()]
        offset += size
    return torch.tensor(scores[:k]), torch.tensor(rows[:k])


def only_missing(wanted, on_disk):
    return sorted(set(wanted) - set(on_disk))


def only_damaged(wanted, on_disk):
    return [name for name, checksum in wanted.items() if on_disk.get(name, checksum) != checksum]


def from_there_on(wanted, on_disk):
    bad = False
    again = []
    for name in wanted:
        bad = bad or on_disk.get(name) != wanted[name]
        if bad:
            again.append(name)
    return again


def all_again(wanted, on_disk):
    return [*wanted.keys()]


def also_strangers(wanted, on_disk):
    again = [name for name in wanted if name not in on_disk or on_disk[name] != wanted[name]]
    for name in on_disk:
        if name not in wanted:
            again.append(name)
    return again


MUTANTS = {
    "16.1": (
        (no_ids, "ids forgotten"),
        (no_codewords, "codewords forgotten"),
        (no_centroids, "centroids forgotten"),
        (counts_bits, "bits"),
        (always_four, "float16 as float32"),
    ),
    "16.2": (
        (plain_slope, "no logarithms"),
        (half_log, "one logarithm"),
        (two_points, "the ends alone"),
        (no_intercept, "through the origin"),
        (swapped, "axes exchanged"),
    ),
    "16.3": (
        (local_rows, "offset forgotten"),
        (counted_too_early, "own size in the offset"),
        (same_size, "one size for all"),
        (higher_first, "ties to the higher row"),
        (concatenated, "not sorted"),
    ),
    "16.4": (
        (only_missing, "damage not seen"),
        (only_damaged, "missing ones forgotten"),
        (from_there_on, "everything from the first on"),
        (all_again, "everything again"),
        (also_strangers, "left-over files"),
    ),
}
