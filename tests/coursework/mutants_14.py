"""Typical wrong answers to the exercises of notebook 14, written as a student would, each with the mistake it must be told."""

NEI = "NOT ENOUGH INFO"


def voting(log_p, log_prior):
    counts = [0, 0, 0]
    for row in log_p:
        counts[int(row.argmax())] += 1
    return counts.index(max(counts))


def best_document(log_p, log_prior):
    k = log_prior.tolist().index(max(log_prior.tolist()))
    row = log_p[k].tolist()
    return row.index(max(row))


def unweighted(log_p, log_prior):
    return log_p.exp().sum(dim=0).argmax().item()


def logs_averaged(log_p, log_prior):
    total = 0
    for p, row in zip(log_prior.exp(), log_p, strict=True):
        total = total + p * row
    return int(total.argmax())


def most_convinced(log_p, log_prior):
    joint = log_p + log_prior.unsqueeze(1)
    return int(joint.flatten().argmax()) % joint.shape[1]


def drops_said_nei(said, right):
    three = sum(a == b for a, b in zip(said, right, strict=True)) / len(said)
    pairs = [(a, b) for a, b in zip(said, right, strict=True) if a != NEI and b != NEI]
    return three, sum(a == b for a, b in pairs) / len(pairs)


def divides_by_all(said, right):
    three = two = 0
    for a, b in zip(said, right, strict=True):
        three += a == b
        two += a == b and b != NEI
    return three / len(right), two / len(right)


def in_percent(said, right):
    three = 100 * sum(a == b for a, b in zip(said, right, strict=True)) / len(said)
    kept = [i for i, b in enumerate(right) if b != NEI]
    return three, 100 * sum(said[i] == right[i] for i in kept) / len(kept)


def two_first(said, right):
    kept = [i for i, b in enumerate(right) if b != NEI]
    two = sum(said[i] == right[i] for i in kept) / len(kept)
    return two, sum(a == b for a, b in zip(said, right, strict=True)) / len(said)


def every_page(found, evidence, k):
    asked = [(f, e) for f, e in zip(found, evidence, strict=True) if len(e) > 0]
    return sum(all(page in f[:k] for page in e) for f, e in asked) / len(asked)


def all_claims(found, evidence, k):
    hits = 0
    for f, e in zip(found, evidence, strict=True):
        hits += any(page in e for page in f[:k])
    return hits / len(evidence)


def off_by_one(found, evidence, k):
    hits = [any(f[i] in e for i in range(min(k + 1, len(f)))) for f, e in zip(found, evidence, strict=True) if e]
    return sum(hits) / len(hits)


def forgets_k(found, evidence, k):
    hits = [any(page in e for page in f) for f, e in zip(found, evidence, strict=True) if e]
    return sum(hits) / len(hits)


def precision(found, evidence, k):
    shares = [sum(page in e for page in f[:k]) / k for f, e in zip(found, evidence, strict=True) if e]
    return sum(shares) / len(shares)


MUTANTS = {
    "14.1": (
        (voting, "documents vote"),
        (best_document, "the first document alone"),
        (unweighted, "no prior"),
        (logs_averaged, "logarithms averaged"),
        (most_convinced, "maximum over documents"),
    ),
    "14.2": (
        (drops_said_nei, "undecided answers dropped"),
        (divides_by_all, "all claims in the denominator"),
        (in_percent, "percent"),
        (two_first, "the two exchanged"),
    ),
    "14.3": (
        (every_page, "all pages needed"),
        (all_claims, "claims without evidence counted"),
        (off_by_one, "one page too many"),
        (forgets_k, "all that was found"),
        (precision, "share of pages"),
    ),
}
