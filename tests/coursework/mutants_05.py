"""Typical wrong answers to the exercises of notebook 05, written as a student would, each with the mistake it must be told."""

import math

import torch


def km_mean_of_nothing(points, centroids):
    cell = torch.stack([(point - centroids).norm(dim=1).argmin() for point in points])
    moved = torch.zeros_like(centroids)
    for c in range(len(centroids)):
        moved[c] = points[cell == c].mean(0)
    return cell, moved


def km_left(points, centroids):
    cell = ((points[:, None] - centroids[None]) ** 2).sum(-1).argmin(1)
    moved = centroids.clone()
    for c in cell.unique().tolist():
        moved[c] = points[cell == c].mean(0)
    return cell, moved


def km_zero(points, centroids):
    cell = ((points[:, None] - centroids[None]) ** 2).sum(-1).argmin(1)
    one_hot = torch.nn.functional.one_hot(cell, len(centroids)).float()
    return cell, (one_hot.T @ points) / one_hot.sum(0).clamp(min=1)[:, None]


def km_twice(points, centroids):
    gap = ((points[:, None] - centroids[None]) ** 2).sum(-1)
    cell = gap.argmin(1)
    far, members = (
        gap.min(1).values.tolist(),
        [[i for i, c in enumerate(cell.tolist()) if c == k] for k in range(len(centroids))],
    )
    left = [len(some) for some in members]
    for k, some in enumerate(members):
        if not some:
            able = [i for i in range(len(points)) if left[int(cell[i])] > 1]
            worst = max(able, key=lambda i: far[i])
            left[int(cell[worst])] -= 1
            some.append(worst)  # and stays in its old list
            cell[worst], left[k] = k, 1
    return cell, torch.stack([points[some].mean(0) for some in members])


def km_nearest_point(points, centroids):
    distance = torch.cdist(points, centroids)
    cell = distance.argmin(1)
    near = distance.min(1).values
    for c in range(len(centroids)):
        if (cell == c).sum() == 0:
            able = [i for i in range(len(points)) if (cell == cell[i]).sum() > 1]
            cell[min(able, key=lambda i: float(near[i]))] = c
    return cell, torch.stack([points[cell == c].mean(0) for c in range(len(centroids))])


def km_robbing(points, centroids):
    cell = torch.cdist(points, centroids).argmin(1)
    order = (points - centroids[cell]).norm(dim=1).argsort(descending=True, stable=True).tolist()
    for c in [c for c in range(len(centroids)) if c not in cell.tolist()]:
        cell[order.pop(0)] = c
    return cell, torch.stack([points[cell == c].mean(0) for c in range(len(centroids))])


def km_inner(points, centroids):
    cell = (points @ centroids.T).max(1).indices
    far = (points - centroids[cell]).norm(dim=1)
    for c in range(len(centroids)):
        if c not in cell.tolist():
            able = [i for i in range(len(points)) if cell.tolist().count(int(cell[i])) > 1]
            cell[max(able, key=lambda i: float(far[i]))] = c
    return cell, torch.stack([points[cell == c].mean(0) for c in range(len(centroids))])


def scan(rows, vectors, question, k):
    """Best first, ties by the lower row, filled up with -1."""
    rows = sorted(rows, key=lambda row: (-float(vectors[row] @ question), row))[:k]
    return torch.tensor(rows + [-1] * (k - len(rows)))


def ivf_nearest_cells(question, centroids, lists, vectors, k, n_probe):
    order = sorted(range(len(lists)), key=lambda c: float((centroids[c] - question).norm()))
    return scan([row for c in order[:n_probe] for row in lists[c]], vectors, question, k)


def ivf_nearest_rows(question, centroids, lists, vectors, k, n_probe):
    order = (centroids @ question).argsort(descending=True)[:n_probe].tolist()
    rows = sorted(row for c in order for row in lists[c])
    best = sorted(rows, key=lambda row: float(((vectors[row] - question) ** 2).sum()))[:k]
    return torch.tensor(best + [-1] * (k - len(best)))


def ivf_one_list(question, centroids, lists, vectors, k, n_probe):
    return scan(lists[int((centroids @ question).argmax())], vectors, question, k)


def ivf_everything(question, centroids, lists, vectors, k, n_probe):
    return scan(range(len(vectors)), vectors, question, k)


def ivf_ties(question, centroids, lists, vectors, k, n_probe):
    order = (centroids @ question).argsort(descending=True)[:n_probe].tolist()
    best = sorted([row for c in order for row in lists[c]], key=lambda row: -float(vectors[row] @ question))[:k]
    return torch.tensor(best + [-1] * (k - len(best)))


def ivf_places(question, centroids, lists, vectors, k, n_probe):
    order = (centroids @ question).argsort(descending=True)[:n_probe].tolist()
    rows = sorted(row for c in order for row in lists[c])
    best = sorted(range(len(rows)), key=lambda place: -float(vectors[rows[place]] @ question))[:k]
    return torch.tensor(best + [-1] * (k - len(best)))


def ivf_short(question, centroids, lists, vectors, k, n_probe):
    order = (centroids @ question).argsort(descending=True)[:n_probe].tolist()
    found = scan([row for c in order for row in lists[c]], vectors, question, k)
    return found[found >= 0]


def pq_distances(question, words, codes):
    m, w, d = words.shape
    table = torch.zeros(m, w)
    for i in range(m):
        for j in range(w):
            table[i, j] = ((question[i * d : i * d + d] - words[i, j]) ** 2).sum()
    return table, torch.stack([sum(table[i, c] for i, c in enumerate(code)) for code in codes])


def pq_dealt(question, words, codes):
    m, w, _ = words.shape
    table = torch.tensor([[float(question[i::m] @ words[i, j]) for j in range(w)] for i in range(m)])
    return table, torch.stack([sum(table[i, c] for i, c in enumerate(code)) for code in codes])


def pq_first_book(question, words, codes):
    parts = question.reshape(words.shape[0], -1)
    table = torch.stack([words[0] @ part for part in parts])
    return table, table.gather(1, codes.T).sum(0)


def pq_mean(question, words, codes):
    parts = question.reshape(words.shape[0], -1, 1)
    table = (words @ parts).squeeze(-1)
    return table, table.gather(1, codes.T).mean(0)


def pq_axes(question, words, codes):
    parts = question.reshape(words.shape[0], -1, 1)
    table = (words @ parts).squeeze(-1)
    return table, torch.stack([sum(table[int(c), i] for i, c in enumerate(code)) for code in codes])


def pq_multiplied(question, words, codes):
    table = (words * question.reshape(len(words), 1, -1)).sum(-1)
    scores = []
    for code in codes.tolist():
        scores.append(math.prod(float(table[i, c]) for i, c in enumerate(code)))
    return table, torch.tensor(scores)


def code_of(piece, book):
    return min(range(len(book)), key=lambda j: float(((piece - book[j]) ** 2).sum()))


def enc_backwards(vectors, rotation, words):
    d = words.shape[2]
    turned = (rotation @ vectors.T).T
    return torch.tensor([[code_of(row[i * d : i * d + d], book) for i, book in enumerate(words)] for row in turned])


def enc_unturned(vectors, rotation, words):
    d = words.shape[2]
    return torch.tensor([[code_of(row[i * d : i * d + d], book) for i, book in enumerate(words)] for row in vectors])


def enc_dealt(vectors, rotation, words):
    m = words.shape[0]
    return torch.tensor([[code_of(row[i::m], book) for i, book in enumerate(words)] for row in vectors @ rotation])


def enc_inner(vectors, rotation, words):
    parts = (vectors @ rotation).reshape(len(vectors), len(words), -1)
    return torch.stack([(parts[:, i] @ words[i].T).argmax(1) for i in range(len(words))], 1)


def enc_no_half(vectors, rotation, words):
    parts = (vectors @ rotation).reshape(len(vectors), len(words), -1)
    near = [(parts[:, i] @ words[i].T - (words[i] ** 2).sum(1)).argmax(1) for i in range(len(words))]
    return torch.stack(near, 1)


def enc_one_book(vectors, rotation, words):
    d = words.shape[2]
    turned = vectors @ rotation
    return torch.tensor([[code_of(row[i * d : i * d + d], words[0]) for i in range(len(words))] for row in turned])


def enc_last(vectors, rotation, words):
    parts = (vectors @ rotation).reshape(len(vectors), len(words), -1)
    codes = torch.zeros(parts.shape[:2], dtype=torch.int64)
    for n in range(len(parts)):
        for m in range(len(words)):
            best = math.inf
            for j, word in enumerate(words[m]):
                if (gap := float((parts[n, m] - word).norm())) <= best:
                    best, codes[n, m] = gap, j
    return codes


def even_lists(n_rows, budget, sample):
    best = (1, 1)
    for c in range(budget // 4, budget // 2):
        p = int((budget - c) / (n_rows / c))
        if budget - (c + p * n_rows / c) < budget - (best[0] + best[1] * n_rows / best[0]) or best == (1, 1):
            best = (c, p)
    return {"n_lists": best[0], "n_probe": best[1]}


def rows_alone(n_rows, budget, sample):
    lists = round(4 * math.sqrt(n_rows))
    return {"n_lists": lists, "n_probe": int(budget / (n_rows / lists))}


def exact(n_rows, budget, sample):
    return {"n_lists": 1, "n_probe": 1}


def eager(n_rows, budget, sample):
    return {"n_lists": 16, "n_probe": 32}


def timid(n_rows, budget, sample):
    return {"n_lists": budget // 4, "n_probe": 1}


def fine_lists(n_rows, budget, sample):
    return {"n_lists": int(0.7 * budget), "n_probe": 1}


def coarse_lists(n_rows, budget, sample):
    return {"n_lists": 16, "n_probe": 1}


def more_settings(n_rows, budget, sample):
    return {"n_lists": budget // 4, "n_probe": 3, "spherical": True}


def half(n_rows, dim, allowed, reads):
    return {"kind": "float16"}


def eight_bits(n_rows, dim, allowed, reads):
    return {"kind": "ivf", "n_lists": 20, "n_probe": 20}


def codes_by_themselves(n_rows, dim, allowed, reads):
    if allowed >= 2 * dim * n_rows:
        return {"kind": "float16"}
    return {"kind": "ivfpq", "n_lists": 10, "n_probe": 10, "pieces": 8, "finalists": 0}


def bytes_a_row(n_rows, dim, allowed, reads):
    if allowed >= 2 * dim * n_rows:
        return {"kind": "float16"}
    pieces = max(m for m in range(1, dim + 1) if dim % m == 0 and m + 4 <= allowed / n_rows)
    return {"kind": "ivfpq", "n_lists": 10, "n_probe": 10, "pieces": pieces, "finalists": reads}


def hasty(n_rows, dim, allowed, reads):
    if allowed >= 2 * dim * n_rows:
        return {"kind": "float16"}
    return {"kind": "ivfpq", "n_lists": 12, "n_probe": 3, "pieces": 8, "finalists": reads}


def four_bytes(n_rows, dim, allowed, reads):
    if allowed >= 2 * dim * n_rows:
        return {"kind": "float16"}
    return {"kind": "ivfpq", "n_lists": 6, "n_probe": 6, "pieces": 4, "finalists": reads}


def ten_pieces(n_rows, dim, allowed, reads):
    return {"kind": "ivfpq", "n_lists": 6, "n_probe": 6, "pieces": 10, "finalists": reads}


def all_finalists(n_rows, dim, allowed, reads):
    return {"kind": "ivfpq", "n_lists": 6, "n_probe": 6, "pieces": 8, "finalists": 1000}


MUTANTS = {
    "5.1": (
        (km_mean_of_nothing, "mean of nothing"),
        (km_left, "empty cell left where it was"),
        (km_zero, "empty cell at zero"),
        (km_twice, "moved point counted twice"),
        (km_nearest_point, "best-fitting point moved"),
        (km_robbing, "a cell emptied to fill another"),
        (km_inner, "cells by inner product"),
    ),
    "5.2": (
        (ivf_nearest_cells, "cells by distance"),
        (ivf_nearest_rows, "rows by distance"),
        (ivf_one_list, "one list alone"),
        (ivf_everything, "all lists scanned"),
        (ivf_ties, "ties by the order of lists"),
        (ivf_places, "places for row numbers"),
        (ivf_short, "not filled up"),
    ),
    "5.3": (
        (pq_distances, "distances in the table"),
        (pq_dealt, "numbers dealt to the pieces"),
        (pq_first_book, "one set of codewords"),
        (pq_mean, "mean over the pieces"),
        (pq_axes, "table read the wrong way round"),
        (pq_multiplied, "product over the pieces"),
    ),
    "5.4": (
        (enc_backwards, "turned the wrong way"),
        (enc_unturned, "not turned"),
        (enc_dealt, "numbers dealt to the pieces"),
        (enc_inner, "largest inner product"),
        (enc_no_half, "a half forgotten"),
        (enc_one_book, "one set of codewords"),
        (enc_last, "ties to the higher number"),
    ),
    "5.5": (
        (even_lists, "lists taken for even"),
        (rows_alone, "centroids not counted"),
        (exact, "one list"),
        (eager, "more probes than lists"),
        (timid, "budget left over"),
        (fine_lists, "too many lists"),
        (coarse_lists, "too few lists"),
        (more_settings, "other settings"),
    ),
    "5.6": (
        (half, "floats kept"),
        (eight_bits, "a byte for each number"),
        (codes_by_themselves, "no finalists"),
        (bytes_a_row, "what is learnt forgotten"),
        (hasty, "too few lists probed"),
        (four_bytes, "codes too short"),
        (ten_pieces, "unequal pieces"),
        (all_finalists, "too many rows read"),
    ),
}
