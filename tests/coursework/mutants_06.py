"""Typical wrong answers to the exercises of notebook 06, written as a student would, each with the mistake it must be told."""

import torch
from torch.nn import functional as F

from minirag.corpus.passages import Passage


def loss_of_columns(queries, passages):
    return F.cross_entropy(passages @ queries.T, torch.arange(len(queries)), reduction="sum")


def loss_without_own(queries, passages):
    total = torch.zeros(())
    for i in range(len(queries)):
        scores = [queries[i] @ passages[j] for j in range(len(passages))]
        others = torch.tensor([score for j, score in enumerate(scores) if j != i])
        total = total - scores[i] + others.logsumexp(0)
    return total


def loss_averaged(queries, passages):
    return F.cross_entropy(queries @ passages.T, torch.arange(len(queries)))


def loss_of_cosines(queries, passages):
    queries = queries / queries.norm(dim=1, keepdim=True)
    passages = passages / passages.norm(dim=1, keepdim=True)
    return F.nll_loss((queries @ passages.T).log_softmax(1), torch.arange(len(queries)), reduction="sum")


def loss_by_hand(queries, passages):
    p = torch.exp(queries @ passages.T)
    p = p / p.sum(1, keepdim=True)
    return -torch.log(torch.diagonal(p)).sum()


def log_likelihood(queries, passages):
    scores = queries @ passages.T
    return (scores.diagonal() - scores.logsumexp(1)).sum()


def right_scores(queries, passages):
    return -(queries * passages).sum()


def scores_of(queries, positives, negatives):
    return torch.cat([queries @ positives.T, queries @ negatives.reshape(-1, queries.shape[1]).T], dim=1)


def hidden_from(scores, right):
    scores = scores.clone()
    for i in range(len(scores)):
        for j in range(scores.shape[1]):
            if right[i, j] and i != j:
                scores[i, j] = -torch.inf
    return scores


def hard_interleaved(queries, positives, negatives, right):
    scores = scores_of(queries, positives, negatives)
    places = torch.tensor([i * (1 + negatives.shape[1]) for i in range(len(queries))])
    mask = right.clone()
    mask[range(len(queries)), places] = False
    return F.cross_entropy(scores.masked_fill(mask, -torch.inf), places, reduction="sum")


def hard_own_alone(queries, positives, negatives, right):
    total, h, b = 0.0, negatives.shape[1], len(queries)
    for i, q in enumerate(queries):
        seen = right[i, :b].tolist() + right[i, b + i * h : b + i * h + h].tolist()
        z = torch.cat([positives @ q, negatives[i] @ q])
        z = torch.stack([s for j, s in enumerate(z) if j == i or not seen[j]])
        total = total - positives[i] @ q + z.logsumexp(0)
    return total


def hard_left_out(queries, positives, negatives, right):
    scores = hidden_from(queries @ positives.T, right[:, : len(queries)])
    return -scores.log_softmax(1).diagonal().sum()


def hard_not_hidden(queries, positives, negatives, right):
    return -scores_of(queries, positives, negatives).log_softmax(1).diagonal().sum()


def hard_own_hidden(queries, positives, negatives, right):
    scores = scores_of(queries, positives, negatives)
    scores[right] = -torch.inf
    return F.cross_entropy(scores, torch.arange(len(queries)), reduction="sum")


def hard_zero(queries, positives, negatives, right):
    own = torch.eye(len(queries), right.shape[1], dtype=torch.bool)
    scores = torch.where(right & ~own, torch.tensor(0.0), scores_of(queries, positives, negatives))
    return F.cross_entropy(scores, torch.arange(len(queries)), reduction="sum")


def hard_averaged(queries, positives, negatives, right):
    scores = hidden_from(scores_of(queries, positives, negatives), right)
    return sum(scores[i].logsumexp(0) - scores[i, i] for i in range(len(queries))) / len(queries)


def mine_all(found, answers, positives, keep, has_answer):
    return [z for z in found if z.id not in positives][:keep]


def mine_positives(found, answers, positives, keep, has_answer):
    kept = []
    for z in found:
        if len(kept) < keep and not has_answer(z.text, answers):
            kept.append(z)
    return kept


def mine_early(found, answers, positives, keep, has_answer):
    kept = []
    for z in found[:keep]:
        if z.id in positives or has_answer(z.text, answers):
            continue
        kept.append(z)
    return kept


def mine_endless(found, answers, positives, keep, has_answer):
    return list(filter(lambda z: not (z.id in set(positives) or has_answer(z.text, answers)), found))


def mine_titles(found, answers, positives, keep, has_answer):
    kept = [z for z in found if z.id not in positives and not has_answer(z.text, answers) and not has_answer(z.title, answers)]
    return kept[:keep]


def mine_substrings(found, answers, positives, keep, has_answer):
    kept = []
    for z in found:
        good = z.id not in positives
        for answer in answers:
            if answer in z.text:
                good = False
        if good and len(kept) < keep:
            kept.append(z)
    return kept


def mine_stopping(found, answers, positives, keep, has_answer):
    kept = []
    for z in found:
        if z.id in positives or has_answer(z.text, answers):
            break
        kept.append(z)
        if len(kept) >= keep:
            break
    return kept[:keep]


def cloze_left_in(passage, place, keep, sentences):
    return sentences(passage.text)[place], passage


def cloze_never(passage, place, keep, sentences):
    parts = list(sentences(passage.text))
    if len(parts) == 1:
        return parts[0], passage
    question = parts.pop(place)
    return question, Passage(passage.id, passage.title, " ".join(parts))


def cloze_turned(passage, place, keep, sentences):
    parts = sentences(passage.text)
    rest = [s for i, s in enumerate(parts) if i != place] if keep and len(parts) > 1 else parts
    return parts[place], Passage(passage.id, passage.title, " ".join(rest))


def cloze_all_copies(passage, place, keep, sentences):
    parts = sentences(passage.text)
    if keep or len(parts) == 1:
        return parts[place], passage
    return parts[place], Passage(passage.id, passage.title, " ".join(filter(lambda s: s != parts[place], parts)))


def cloze_first_copy(passage, place, keep, sentences):
    parts = sentences(passage.text)
    question = parts[place]
    if not keep and len(parts) > 1:
        parts.remove(question)
    return question, Passage(passage.id, passage.title, " ".join(parts))


def cloze_emptied(passage, place, keep, sentences):
    parts = sentences(passage.text)
    question = parts[place]
    if not keep:
        del parts[place]
    return question, Passage(passage.id, passage.title, " ".join(parts))


def cloze_untitled(passage, place, keep, sentences):
    parts = sentences(passage.text)
    rest = parts if keep or len(parts) == 1 else parts[:place] + parts[place + 1 :]
    return parts[place], Passage(passage.id, "", " ".join(rest))


MUTANTS = {
    "6.1": (
        (loss_of_columns, "softmax over questions"),
        (loss_without_own, "own passage not counted"),
        (loss_averaged, "mean over questions"),
        (loss_of_cosines, "cosine"),
        (loss_by_hand, "exponentials overflow"),
        (log_likelihood, "sign turned"),
        (right_scores, "no softmax"),
    ),
    "6.2": (
        (hard_interleaved, "targets as if interleaved"),
        (hard_own_alone, "own hard negatives alone"),
        (hard_left_out, "hard negatives left out"),
        (hard_not_hidden, "right passages not hidden"),
        (hard_own_hidden, "own passage hidden"),
        (hard_zero, "hidden with score 0"),
        (hard_averaged, "mean over questions"),
    ),
    "6.3": (
        (mine_all, "passages with an answer kept"),
        (mine_positives, "positives kept"),
        (mine_early, "cut too early"),
        (mine_endless, "more than asked for"),
        (mine_titles, "titles searched too"),
        (mine_substrings, "answers as parts of words"),
        (mine_stopping, "stopped at the first one skipped"),
    ),
    "6.4": (
        (cloze_left_in, "sentence always left in"),
        (cloze_never, "sentence never left in"),
        (cloze_turned, "keep the wrong way round"),
        (cloze_all_copies, "every copy taken out"),
        (cloze_first_copy, "the first copy taken out"),
        (cloze_emptied, "an empty passage"),
        (cloze_untitled, "title lost"),
    ),
}
