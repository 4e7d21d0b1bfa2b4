"""Typical wrong answers to the exercises of notebook 13, written as a student would, each with the mistake it must be told."""

W = [0.6, 0.2, 0.1, 0.1]


def harmonic(p, r):
    return 0.0 if p + r == 0 else 2 * p * r / (p + r)


def averages(precision, recall, bleu):
    total = 0
    for w, p, r in zip(W, precision, recall, strict=True):
        total += w * (p + r) / 2
    return 0.7 * total + 0.3 * bleu


def unweighted(precision, recall, bleu):
    f = [harmonic(p, r) for p, r in zip(precision, recall, strict=True)]
    return 0.7 * sum(f) / 4 + 0.3 * bleu


def answerable(precision, recall):
    return sum(w * harmonic(p, r) for w, p, r in zip(W, precision, recall, strict=True))


def bleu_first(precision, recall, bleu):
    return 0.3 * answerable(precision, recall) + 0.7 * bleu


def no_bleu(precision, recall, bleu):
    return 0.7 * answerable(precision, recall)


def no_recall(precision, recall, bleu):
    return 0.7 * sum(w * p for w, p in zip(W, precision, strict=True)) + 0.3 * bleu


def ngrams(words, n):
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def per_text(texts, n):
    ratios = []
    for words in texts:
        grams = ngrams(words, n)
        if grams:
            ratios.append(len(set(grams)) / len(grams))
    return sum(ratios) / len(ratios)


def per_word(texts, n):
    seen = set()
    for words in texts:
        seen.update(ngrams(words, n))
    return len(seen) / sum(len(words) for words in texts)


def unigrams(texts, n):
    words = [word for text in texts for word in text]
    return len(set(words)) / len(words)


def glued(texts, n):
    grams = ngrams([word for text in texts for word in text], n)
    return len(set(grams)) / len(grams)


def how_many(texts, n):
    return float(len({gram for words in texts for gram in ngrams(words, n)}))


def shares(names):
    return {name: sum(each == name for each in names) / len(names) for name in ("RAG", "BART", "both", "neither")}


def a_is_rag(verdicts, key):
    return shares([{"A": "RAG", "B": "BART"}.get(v, v) for v in verdicts.values()])


def named(verdicts, key, first=0):
    return [key[i][first] if v == "A" else key[i][1 - first] if v == "B" else v for i, v in verdicts.items()]


def b_is_first(verdicts, key):
    return shares(named(verdicts, key, first=1))


def skips_neither(verdicts, key):
    return shares([name for name in named(verdicts, key) if name != "neither"])


def both_win(verdicts, key):
    result = shares(named(verdicts, key))
    result["RAG"] += result["both"]
    result["BART"] += result["both"]
    return result


def plain_counts(verdicts, key):
    names = named(verdicts, key)
    return {name: float(names.count(name)) for name in ("RAG", "BART", "both", "neither")}


MUTANTS = {
    "13.1": (
        (averages, "arithmetic mean"),
        (unweighted, "equal weights"),
        (bleu_first, "δ for BLEU"),
        (no_bleu, "BLEU forgotten"),
        (no_recall, "precision alone"),
    ),
    "13.2": (
        (per_text, "mean over texts"),
        (per_word, "divided by words"),
        (unigrams, "single words"),
        (glued, "across texts"),
        (how_many, "number of n-grams"),
    ),
    "13.3": (
        (a_is_rag, "key not used"),
        (b_is_first, "key the wrong way"),
        (skips_neither, "neither dropped"),
        (both_win, "both for each"),
        (plain_counts, "counts"),
    ),
}
