"""Typical wrong answers to the exercises of notebook 11, written as a student would, each with the mistake it must be told."""

import re
import string
import unicodedata

import regex
import torch

TOKEN = regex.compile(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


# --- 11.1


def nfd_if(text, nfd):
    return unicodedata.normalize("NFD", text) if nfd else text


def keeps_case(text, nfd):
    text = nfd_if(text, nfd).translate(NO_PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text, flags=re.IGNORECASE).split())


def keeps_articles(text, nfd):
    words = nfd_if(text, nfd).lower().translate(NO_PUNCTUATION).split()
    return " ".join(words)


def cuts_into_words(text, nfd):
    text = nfd_if(text, nfd).lower().translate(NO_PUNCTUATION)
    text = re.sub("the|an|a", "", text)
    return " ".join(text.split())


def articles_too_early(text, nfd):
    text = re.sub(r"\b(a|an|the)\b", " ", nfd_if(text, nfd).lower())
    text = text.translate(NO_PUNCTUATION)
    return re.sub(r"\s+", " ", text).strip()


def punctuation_to_blanks(text, nfd):
    text = nfd_if(text, nfd).lower()
    for sign in string.punctuation:
        text = text.replace(sign, " ")
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def double_blanks(text, nfd):
    text = nfd_if(text, nfd).lower().translate(NO_PUNCTUATION)
    return re.sub(r"\b(a|an|the)\b", "", text)


def strips_accents(text, nfd):
    if nfd:
        text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    words = text.lower().translate(NO_PUNCTUATION).split()
    return " ".join(w for w in words if w not in {"a", "an", "the"})


def ignores_nfd(text, nfd):
    words = text.lower().translate(NO_PUNCTUATION).split()
    return " ".join(w for w in words if w not in {"a", "an", "the"})


def decomposes_all(text, nfd):
    return ignores_nfd(unicodedata.normalize("NFD", text), nfd)


# --- 11.2


def tokens_of(text):
    return [t.lower() for t in TOKEN.findall(unicodedata.normalize("NFD", text))]


def stands_in(wanted, given):
    return any(given[i : i + len(wanted)] == wanted for i in range(len(given) - len(wanted) + 1))


def substring(text, answers):
    text = unicodedata.normalize("NFD", text.lower())
    return any(unicodedata.normalize("NFD", a.lower()) in text for a in answers if a)


def strict_case(text, answers):
    given = TOKEN.findall(unicodedata.normalize("NFD", text))
    for a in answers:
        wanted = TOKEN.findall(unicodedata.normalize("NFD", a))
        if wanted and stands_in(wanted, given):
            return True
    return False


def no_nfd(text, answers):
    given = TOKEN.findall(text.lower())
    wanted = [TOKEN.findall(a.lower()) for a in answers]
    return any(stands_in(w, given) for w in wanted if w)


def bag(text, answers):
    given = tokens_of(text)
    for a in answers:
        wanted = tokens_of(a)
        if wanted and all(w in given for w in wanted):
            return True
    return False


def some_word(text, answers):
    given = tokens_of(text)
    return any(w in given for a in answers for w in tokens_of(a))


def by_split(text, answers):
    given = unicodedata.normalize("NFD", text).lower().split()
    return any(stands_in(w, given) for a in answers if (w := unicodedata.normalize("NFD", a).lower().split()))


def first_only(text, answers):
    wanted = tokens_of(answers[0])
    return bool(wanted) and stands_in(wanted, tokens_of(text))


def all_of_them(text, answers):
    return all(tokens_of(a) != [] and stands_in(tokens_of(a), tokens_of(text)) for a in answers)


def empty_anywhere(text, answers):
    return any(stands_in(tokens_of(a), tokens_of(text)) for a in answers)


# --- 11.3


def precision(hits, ks):
    return {k: sum(sum(row[:k]) for row in hits) / (k * len(hits)) for k in ks}


def of_relevant(hits, ks):
    total = sum(sum(row) for row in hits)
    return {k: sum(sum(row[:k]) for row in hits) / total for k in ks}


def below_k(hits, ks):
    shares = {}
    for k in ks:
        n = 0
        for row in hits:
            for rank, hit in enumerate(row, 1):
                if hit and rank < k:
                    n += 1
                    break
        shares[k] = n / len(hits)
    return shares


def up_to_and_with_k(hits, ks):
    shares = {}
    for k in ks:
        shares[k] = sum(any(hit for rank, hit in enumerate(row) if rank <= k) for row in hits) / len(hits)
    return shares


def only_rank_k(hits, ks):
    return {k: sum(len(row) >= k and row[k - 1] for row in hits) / len(hits) for k in ks}


def answered_only(hits, ks):
    own = [row for row in hits if True in row]
    return {k: sum(True in row[:k] for row in own) / len(own) for k in ks}


def found_only(hits, ks):
    own = [row for row in hits if len(row) > 0]
    return {k: sum(True in row[:k] for row in own) / len(own) for k in ks}


# --- 11.4


def interval(samples):
    samples = torch.stack(list(samples))
    return torch.quantile(samples, 0.025).item(), torch.quantile(samples, 0.975).item()


def two_intervals(ours, theirs, draws):
    a = interval([ours[rows].mean() for rows in draws])
    b = interval([theirs[rows].mean() for rows in draws])
    return float(ours.mean() - theirs.mean()), a[0] - b[0], a[1] - b[1]


def widest(ours, theirs, draws):
    a = interval([ours[rows].mean() for rows in draws])
    b = interval([theirs[rows].mean() for rows in draws])
    return float(ours.mean() - theirs.mean()), a[0] - b[1], a[1] - b[0]


def no_draws(ours, theirs, draws):
    return (ours.mean() - theirs.mean()).item(), *interval(ours - theirs)


def columns(ours, theirs, draws):
    means = ours[draws].mean(dim=0) - theirs[draws].mean(dim=0)
    return (ours.mean() - theirs.mean()).item(), *interval(means)


def mean_of_draws(ours, theirs, draws):
    means = torch.stack([ours[rows].mean() - theirs[rows].mean() for rows in draws])
    return means.mean().item(), *interval(means)


def theirs_first(ours, theirs, draws):
    means = [(theirs[rows] - ours[rows]).mean() for rows in draws]
    return (theirs - ours).mean().item(), *interval(means)


def ninety(ours, theirs, draws):
    means = torch.stack([(ours[rows] - theirs[rows]).mean() for rows in draws])
    return (ours - theirs).mean().item(), means.quantile(0.05).item(), means.quantile(0.95).item()


# --- 11.5


def literally(test, train, normal):
    questions, answers = {q for q, _ in train}, {a for _, own in train for a in own}
    return (
        [i for i, (q, _) in enumerate(test) if q in questions],
        [i for i, (_, own) in enumerate(test) if any(a in answers for a in own)],
    )


def questions_literally(test, train, normal):
    questions, answers = [q for q, _ in train], {normal(a) for _, own in train for a in own}
    first, second = [], []
    for i, (q, own) in enumerate(test):
        if q in questions:
            first.append(i)
        if answers & {normal(a) for a in own}:
            second.append(i)
    return first, second


def all_answers(test, train, normal):
    questions, answers = {normal(q) for q, _ in train}, {normal(a) for _, own in train for a in own}
    first = [i for i in range(len(test)) if normal(test[i][0]) in questions]
    return first, [i for i in range(len(test)) if all(normal(a) in answers for a in test[i][1])]


def first_answer(test, train, normal):
    questions, answers = {normal(q) for q, _ in train}, {normal(a) for _, own in train for a in own}
    first = [i for i in range(len(test)) if normal(test[i][0]) in questions]
    return first, [i for i in range(len(test)) if normal(test[i][1][0]) in answers]


def inside(test, train, normal):
    questions, answers = {normal(q) for q, _ in train}, " | ".join(normal(a) for _, own in train for a in own)
    first = [i for i in range(len(test)) if normal(test[i][0]) in questions]
    return first, [i for i in range(len(test)) if any(normal(a) in answers for a in test[i][1])]


def only_where_asked(test, train, normal):
    questions, answers = {normal(q) for q, _ in train}, {normal(a) for _, own in train for a in own}
    first = [i for i in range(len(test)) if normal(test[i][0]) in questions]
    return first, [i for i in first if any(normal(a) in answers for a in test[i][1])]


MUTANTS = {
    "11.1": (
        (keeps_case, "case kept"),
        (keeps_articles, "articles kept"),
        (cuts_into_words, "articles inside of words"),
        (articles_too_early, "articles before punctuation"),
        (punctuation_to_blanks, "a blank for punctuation"),
        (double_blanks, "blanks kept"),
        (strips_accents, "accents taken away"),
        (ignores_nfd, "never decomposed"),
        (decomposes_all, "always decomposed"),
    ),
    "11.2": (
        (substring, "a part of a word"),
        (strict_case, "case counts"),
        (no_nfd, "two spellings of one letter"),
        (bag, "not side by side"),
        (some_word, "any of its words"),
        (by_split, "split at blanks"),
        (first_only, "the first answer alone"),
        (all_of_them, "every answer wanted"),
        (empty_anywhere, "nothing is found everywhere"),
    ),
    "11.3": (
        (precision, "share of passages"),
        (of_relevant, "share of all hits"),
        (below_k, "one rank too few"),
        (up_to_and_with_k, "one rank too many"),
        (only_rank_k, "rank k alone"),
        (answered_only, "unanswered questions left out"),
        (found_only, "questions without passages left out"),
    ),
    "11.4": (
        (two_intervals, "two intervals subtracted"),
        (widest, "as if not paired"),
        (no_draws, "spread of the questions"),
        (columns, "mean over the draws"),
        (mean_of_draws, "the draws' mean for the difference"),
        (theirs_first, "the wrong way round"),
        (ninety, "90 percent"),
    ),
    "11.5": (
        (literally, "compared as written"),
        (questions_literally, "questions as written"),
        (all_answers, "every answer wanted"),
        (first_answer, "the first answer alone"),
        (inside, "a part of an answer"),
        (only_where_asked, "answers of leaked questions alone"),
    ),
}
