"""Is it the answer, and was it found: exact match, F1, answer recall and nDCG, as the literature the paper compares with
computes them.

`exact_match` and `f1_score` are SQuAD's (Rajpurkar et al. 2016), `has_answer` is DPR's (Karpukhin et al. 2020, §4.2), and
`ndcg_at_k` is trec_eval's. Answers are strings, or, in CuratedTREC, regular expressions (`match="regex"`).
"""

import math
import string
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import regex

from minirag.corpus.words import TOKEN
from minirag.errors import MiniragError

Match = Literal["string", "regex"]

ARTICLES = regex.compile(r"\b(a|an|the)\b")
BETWEEN = "\x1f"  # a control character, hence in no token
PATTERN_SECONDS = 2.0  # an honest pattern takes microseconds


def normalize_answer(text: str) -> str:
    """SQuAD's normal form: lower case, no ASCII punctuation, no articles, single spaces.

    >>> normalize_answer("The  Rolling Stones' (band)")
    'rolling stones band'
    """
    bare = "".join(char for char in text.lower() if char not in string.punctuation)
    return " ".join(ARTICLES.sub(" ", bare).split())


def exact_match(prediction: str, answers: Sequence[str], match: Match = "string") -> bool:
    """Whether the prediction's normal form is that of some answer; for "regex", whether some pattern matches from its
    beginning.

    >>> exact_match("the Beatles", ["Beatles", "The Fab Four"])
    True
    """
    if match == "regex":
        return any(_matches(pattern, decomposed(prediction), anchored=True) for pattern in answers)
    normal = normalize_answer(prediction)
    return any(normal == normalize_answer(answer) for answer in answers)


def f1_score(prediction: str, answers: Sequence[str]) -> float:
    """The harmonic mean of precision and recall over the words of the normal forms, for the answer where it is highest.

    Of two normal forms without a word, as "The" has, the score is 1; of one, 0: so SQuAD's script has it since version 2.

    >>> round(f1_score("in the autumn of 1998", ["1998", "autumn 1998"]), 3)
    0.667
    """
    return max(_f1(normalize_answer(prediction).split(), normalize_answer(answer).split()) for answer in answers)


def _f1(said: Sequence[str], wanted: Sequence[str]) -> float:
    if not said or not wanted:
        return float(said == wanted)
    return 2 * (Counter(said) & Counter(wanted)).total() / (len(said) + len(wanted))


def has_answer(text: str, answers: Sequence[str], match: Match = "string") -> bool:
    """Whether the tokens of some answer stand in the text side by side, whatever their case; for "regex", whether some pattern
    occurs.

    Both sides are brought to Unicode's decomposed form first, so "é" is "é" however it was typed. An answer without a token (an
    empty one) is in no text; DPR's own code finds it in all of them.

    >>> has_answer("He moved to New-York in 1998.", ["new york"]), has_answer("He moved to New York.", ["new york"])
    (False, True)
    """
    if match == "regex":
        return any(_matches(pattern, decomposed(text), anchored=False) for pattern in answers)
    tokens = _tokens(text)
    # Exactly one BETWEEN on either side of each token: a substring is a run of whole tokens.
    return any(wanted in tokens for wanted in map(_tokens, answers) if wanted != BETWEEN)


@lru_cache(maxsize=16_384)  # the same passages are found for many questions
def _tokens(text: str) -> str:
    return "".join(BETWEEN + token.lower() for token in TOKEN.findall(decomposed(text))) + BETWEEN


def decomposed(text: str) -> str:
    """Unicode's decomposed form, NFD: letters, and their accents behind them."""
    return unicodedata.normalize("NFD", text)


def _matches(pattern: str, text: str, anchored: bool) -> bool:
    """Patterns come from data files: one that is malformed, or that backtracks for ever, is an error and not a hang."""
    try:
        compiled = regex.compile(decomposed(pattern), regex.IGNORECASE | regex.MULTILINE)
        return (compiled.match if anchored else compiled.search)(text, timeout=PATTERN_SECONDS) is not None
    except regex.error as error:
        raise MiniragError(
            f"the answer pattern '{pattern}' is not a regular expression ({error}); correct it in the question file"
        ) from error
    except TimeoutError:
        raise MiniragError(
            f"the answer pattern '{pattern}' takes over {PATTERN_SECONDS:g} s on one text; simplify it in the question file"
        ) from None


def first_answer_rank(texts: Sequence[str], answers: Sequence[str], match: Match = "string") -> int | None:
    """The rank, from 1, of the first retrieved text that holds an answer; None if none does.

    >>> first_answer_rank(["Bern", "Paris, France", "paris"], ["Paris"])
    2
    """
    return next((rank for rank, text in enumerate(texts, 1) if has_answer(text, answers, match)), None)


def answer_recall(ranks: Sequence[int | None], ks: Sequence[int]) -> dict[int, float]:
    """Top-k answer recall, DPR's retrieval accuracy: the share of questions whose first answer stands at rank k or better.

    >>> answer_recall([1, 7, None, 2], ks=[1, 5, 20])
    {1: 0.25, 5: 0.5, 20: 0.75}
    """
    _check_some(len(ranks))
    return {k: sum(rank is not None and rank <= k for rank in ranks) / len(ranks) for k in ks}


def ndcg_at_k(ranked: Sequence[str], relevance: Mapping[str, float | int], k: int) -> float:
    """Σ rel_i / log2(i+1) over the first k ids, divided by the same for the best possible order; 0 if nothing is relevant.

    >>> round(ndcg_at_k(["b", "a"], {"a": 1}, k=10), 4)  # the only relevant one, at rank 2: 1 / log2(3)
    0.6309
    """
    found = _gain([max(relevance.get(id, 0.0), 0.0) for id in ranked[:k]])
    best = _gain(sorted((max(grade, 0.0) for grade in relevance.values()), reverse=True)[:k])
    return found / best if best else 0.0


def _gain(grades: Sequence[float | int]) -> float:
    return sum((grade / math.log2(rank + 1) for rank, grade in enumerate(grades, 1)), start=0.0)


def wilson_interval(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for a proportion of `hits` in `n` questions: honest for small n and near 0 and 1, unlike p ± 1.96 s.

    >>> low, high = wilson_interval(9, 10)
    >>> round(low, 3), round(high, 3)
    (0.596, 0.982)
    """
    _check_some(n)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return (middle - half if hits else 0.0), (middle + half if hits < n else 1.0)


def paired_difference(
    ours: Sequence[bool] | Sequence[float], theirs: Sequence[bool] | Sequence[float], confidence: float = 0.95
) -> tuple[float, float, float]:
    """By how much the share of hits, or the mean F1, differs between two systems on the same questions, and the interval of
    that difference (normal, of the paired differences: questions that are easy for both, or hard, make it no wider).

    >>> difference, low, high = paired_difference([True] * 30 + [False] * 10, [True] * 20 + [False] * 20)
    >>> round(difference, 3), round(low, 3), round(high, 3)
    (0.25, 0.114, 0.386)
    """
    _check_some(len(ours))
    differences = [float(a) - float(b) for a, b in zip(ours, theirs, strict=True)]
    mean = sum(differences) / len(differences)
    variance = sum((each - mean) ** 2 for each in differences) / max(len(differences) - 1, 1)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(variance / len(differences))
    return mean, mean - half, mean + half


def _check_some(n: int) -> None:
    if n == 0:
        raise MiniragError("there is no question to average over; look at the question file")
