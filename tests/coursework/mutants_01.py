"""Typical wrong answers to the exercises of notebook 01, written as a student would, each with the mistake it must be told."""

import re


def drops_rest(words, n):
    return [words[i * n : (i + 1) * n] for i in range(len(words) // n)]


def slides(words, n):
    passages = []
    for i in range(len(words)):
        passages.append(words[i : i + n])
    return passages


def plus_one(words, n):
    passages, i = [], 0
    while i < len(words):
        passages.append(words[i : i + n + 1])
        i += n
    return passages


def always_a_last(words, n):
    return [words[i * n : (i + 1) * n] for i in range(len(words) // n + 1)]


def borrows(words, n):
    passages = [words[i : i + n] for i in range(0, len(words), n)]
    if passages and len(passages[-1]) < n and len(words) >= n:
        passages[-1] = words[-n:]
    return passages


FILE = r"\[\[File:[^\]]*\]\]"


def shows_target(text):
    text = re.sub(FILE, "", text)
    return re.sub(r"\[\[([^\]|]*)(\|[^\]]*)?\]\]", r"\1", text)


def deletes(text):
    return re.sub(r"\[\[[^\]]*\]\]", "", text)


def no_files(text):
    def last(match):
        inside = match.group(1)
        return inside.split("|", 1)[1] if "|" in inside else inside

    return re.sub(r"\[\[([^\]]*)\]\]", last, text)


def greedy(text):
    text = re.sub(FILE, "", text)
    return re.sub(r"\[\[(.*\|)?(.*)\]\]", r"\2", text)


def no_brackets(text):
    text = re.sub(FILE, "", text)
    text = re.sub(r"\[\[[^\]|]*\|([^\]]*)\]\]", r"\1", text)
    return re.sub(r"[\[\]]", "", text)


MUTANTS = {
    "1.1": (
        (drops_rest, "the rest is lost"),
        (slides, "passages overlap"),
        (plus_one, "one word too many"),
        (always_a_last, "an empty passage at the end"),
        (borrows, "the rest filled up"),
    ),
    "1.2": (
        (shows_target, "the target instead of the text"),
        (deletes, "links taken out"),
        (no_files, "files kept"),
        (greedy, "one long link"),
        (no_brackets, "all brackets gone"),
    ),
}
