"""Typical wrong answers to the exercises of notebook 15, written as a student would, each with the mistake it must be told."""

import statistics


def split(rows, right, keep):
    matched, mismatched = [], []
    for row in rows:
        if keep(row):
            (matched if row[3] == row[4] else mismatched).append(right(row))
    return matched, mismatched


def holder(row, year):
    return row[1] if year == 2016 else row[2]


def keeps_unchanged(rows):
    a, b = split(rows, lambda row: row[0] == holder(row, row[3]), lambda row: True)
    return sum(a) / len(a), sum(b) / len(b)


def trusts_the_index(rows):
    a, b = split(rows, lambda row: row[0] == holder(row, row[4]), lambda row: row[1] != row[2])
    return sum(a) / len(a), sum(b) / len(b)


def of_everything(rows):
    a, b = split(rows, lambda row: row[0] == holder(row, row[3]), lambda row: row[1] != row[2])
    total = len(a) + len(b)
    return sum(a) / total, sum(b) / total


def mismatched_first(rows):
    a, b = split(rows, lambda row: row[0] == holder(row, row[3]), lambda row: row[1] != row[2])
    return sum(b) / len(b), sum(a) / len(a)


def pooled(rows):
    a, b = split(rows, lambda row: row[0] == holder(row, row[3]), lambda row: row[1] != row[2])
    return (sum(a) + sum(b)) / (len(a) + len(b))


def independent(a, b):
    a, b = [float(x) for x in a], [float(x) for x in b]
    mean = statistics.mean(a) - statistics.mean(b)
    error = ((statistics.variance(a) + statistics.variance(b)) / len(a)) ** 0.5
    return mean, mean - 1.96 * error, mean + 1.96 * error


def no_root(a, b):
    d = [x - y for x, y in zip(a, b, strict=True)]
    mean, spread = sum(d) / len(d), statistics.stdev(d)
    return mean, mean - 1.96 * spread, mean + 1.96 * spread


def population(a, b):
    d = [x - y for x, y in zip(a, b, strict=True)]
    mean = sum(d) / len(d)
    error = (sum((x - mean) ** 2 for x in d) / len(d) / len(d)) ** 0.5
    return mean, mean - 1.96 * error, mean + 1.96 * error


def b_minus_a(a, b):
    d = [int(y) - int(x) for x, y in zip(a, b, strict=True)]
    mean, error = sum(d) / len(d), statistics.stdev(d) / len(d) ** 0.5
    return mean, mean - 1.96 * error, mean + 1.96 * error


def as_percent(a, b):
    d = [100 * (x - y) for x, y in zip(a, b, strict=True)]
    mean, error = sum(d) / len(d), statistics.stdev(d) / len(d) ** 0.5
    return mean, mean - 1.96 * error, mean + 1.96 * error


def prior_as_it_is(log_p, log_prior, k):
    return sum((log_p[i] + log_prior[i]).exp() for i in range(k)).log()


def ignores_k(log_p, log_prior, k):
    return (log_p.exp() * log_prior.exp()).sum().log()


def up_to_k(log_p, log_prior, k):
    p = log_prior[: k + 1].exp()
    return ((p / p.sum()) * log_p[: k + 1].exp()).sum().log()


def from_the_end(log_p, log_prior, k):
    p = log_prior[len(log_p) - k :].exp()
    return ((p / p.sum()) * log_p[len(log_p) - k :].exp()).sum().log()


def mean_of_k(log_p, log_prior, k):
    return log_p[:k].exp().mean().log()


MUTANTS = {
    "15.1": (
        (keeps_unchanged, "unchanged offices counted"),
        (trusts_the_index, "right by the index's year"),
        (of_everything, "one denominator"),
        (mismatched_first, "the two exchanged"),
        (pooled, "one number"),
    ),
    "15.2": (
        (independent, "not paired"),
        (no_root, "spread of one difference"),
        (population, "n below the variance"),
        (b_minus_a, "the wrong way round"),
        (as_percent, "percent"),
    ),
    "15.3": (
        (prior_as_it_is, "prior not shared out anew"),
        (ignores_k, "all of them read"),
        (up_to_k, "one too many"),
        (from_the_end, "the last k"),
        (mean_of_k, "a plain mean"),
    ),
}
