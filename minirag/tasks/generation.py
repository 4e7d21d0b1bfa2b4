"""How near a generated text comes to what people wrote: the scores of MS MARCO and KILT, and how often a model repeats itself.

`bleu_1` and `rouge_l` are those of MS MARCO's evaluation (Nguyen et al. 2016), which took them from the COCO captions;
`kilt_rouge_l` is KILT's (Petroni et al. 2021); `distinct_ngrams` is the diversity of table 5 of the paper. Scores lie in 0..1.
"""

import math
from collections import Counter
from collections.abc import Sequence

import regex

from minirag.errors import MiniragError

Words = Sequence[str]

NO_ANSWER = "No Answer Present."  # what MS MARCO writes where the passages do not tell
BETA = 1.2  # MS MARCO's ROUGE-L: recall counts more than precision

TOKEN = regex.compile(
    r"(?:\p{L}\.){2,}"  # u.s.
    r"|\p{N}+(?:[.,]\p{N}+)+"  # 15,000 and 3.5
    r"|[\p{L}\p{N}\p{M}]+(?=n['’]t\b)|n['’]t\b"  # do|n't
    r"|['’](?:s|m|d|re|ve|ll)\b"  # it|'s
    r"|[\p{L}\p{N}\p{M}]+|\.{2,}|[^\p{Z}\p{C}]"
)


def tokens(text: str) -> list[str]:
    """Words, numbers and single signs in lower case, much as the Penn Treebank and spaCy part English.

    MS MARCO's evaluation takes spaCy's English tokenizer, lower-cased. What that has by list or by rarer rule is not kept here:
    it leaves abbreviations ("St."), names such as "Qur'an", "1/2" and web addresses whole, parts "cannot" and "5km", and makes
    a token of white space in a row.

    >>> tokens("The U.S. didn't pay $15,000: it's well-known.")
    ['the', 'u.s.', 'did', "n't", 'pay', '$', '15,000', ':', 'it', "'s", 'well', '-', 'known', '.']
    """
    return TOKEN.findall(text.lower())


def bleu_1(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU-1 of a corpus (Papineni et al. 2002): the share of predicted words that are in a reference, times exp(1 − r/c) where
    the predictions' c words are fewer than r, the sum over examples of the length, next to the prediction's, of a reference.

    A word counts as often as one reference has it. Of two references as near in length the shorter one counts. Raises
    `MiniragError` where there is no example, or one without a reference.

    >>> round(bleu_1(["the cat the cat"], [["the cat sat", "on the mat there"]]), 3)  # "the" and "cat", once each
    0.5
    >>> round(bleu_1(["a lamp"], [["a lamp that shines"]]), 3)  # exp(1 - 4/2)
    0.368
    """
    _check_as_many(predictions, references)
    if not predictions:
        raise MiniragError("there is no example to score; look at the file of predictions")
    counts = map(bleu_1_counts, predictions, references)
    return bleu_1_of(*map(sum, zip(*counts, strict=True)))


def bleu_1_counts(prediction: str, references: Sequence[str]) -> tuple[int, int, int]:
    """What one example adds to a corpus's BLEU-1: words found in a reference, words said, words wanted (r).

    Raises `MiniragError` where there is no reference.

    >>> bleu_1_counts("the cat the cat", ["the cat sat", "on the mat there"])
    (2, 4, 4)
    """
    _check_referenced(references)
    return counts_of_words(tokens(prediction), [tokens(text) for text in references])


def counts_of_words(words: Words, references: Sequence[Words]) -> tuple[int, int, int]:
    """`bleu_1_counts` of texts that are tokens already.

    >>> counts_of_words(["New York", "?"], [["New York", "!"]])
    (1, 2, 2)
    """
    most = Counter[str]()
    for other in references:
        most |= Counter(other)
    nearest = min((len(other) for other in references), key=lambda length: (abs(length - len(words)), length))
    return (Counter(words) & most).total(), len(words), nearest


def bleu_1_of(found: float | int, said: float | int, wanted: float | int) -> float:
    """BLEU-1 from the sums of `bleu_1_counts` over a corpus; 0 where no word was said.

    >>> round(bleu_1_of(3, 4, 6), 3)  # 3/4 exp(1 - 6/4)
    0.455
    """
    return found / said * min(1.0, math.exp(1 - wanted / said)) if said else 0.0


def rouge_l(prediction: str, references: Sequence[str]) -> float:
    """ROUGE-L as MS MARCO has it: (1 + β²) P R / (R + β² P), β = 1.2, of the longest common subsequence of words.

    P, its share of the prediction, and R, its share of a reference, are each the best over all references, not necessarily the
    same one. MS MARCO's score is the mean over examples. Raises `MiniragError` where there is no reference.

    >>> round(rouge_l("a red lamp", ["a lamp", "a red lamp that shines"]), 3)  # P = 1 and R = 1, of different references
    1.0
    >>> round(rouge_l("a red lamp", ["a lamp that shines"]), 3)  # P = 2/3 and R = 2/4
    0.557
    """
    _check_referenced(references)
    said = tokens(prediction)
    shares = [(len(longest_common(other, said)), len(other)) for other in map(tokens, references)]
    precision = max(common for common, _ in shares) / max(len(said), 1)
    recall = max(common / max(length, 1) for common, length in shares)
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision) if precision else 0.0


def kilt_rouge_l(prediction: str, references: Sequence[str]) -> float:
    """ROUGE-L as KILT has it, from the package `rouge`: 2 P R / (P + R + 1e-8), for the reference where it is highest.

    Text is split at every full stop, and then at white space; case and punctuation stay. P and R are shares of each side's
    *distinct* words: of those in the longest common subsequence of any of its sentences with any of the other's. Blank
    references are passed over, as KILT does; raises `MiniragError` where none is left. A prediction without a word scores 0;
    the package raises an error.

    >>> round(kilt_rouge_l("a suicide", ["suicide"]), 4), kilt_rouge_l("suicide", ["Suicide"])
    (0.6667, 0.0)
    """
    written = [reference.strip() for reference in references if reference.strip()]
    _check_referenced(written)
    return max(_f_of_sentences(_sentences(prediction.strip()), _sentences(reference)) for reference in written)


def _sentences(text: str) -> list[list[str]]:
    return [part.split() or [""] for part in text.split(".") if part]  # to the package, white space is one empty word


def _f_of_sentences(said: Sequence[Words], wanted: Sequence[Words]) -> float:
    if not said or not wanted:
        return 0.0
    common = {word for one in wanted for other in said for word in longest_common(one, other)}
    precision, recall = (len(common) / len({word for one in side for word in one}) for side in (said, wanted))
    return 2 * precision * recall / (precision + recall + 1e-8)


def longest_common(first: Words, second: Words) -> list[str]:
    """The longest sequence of words that both have in this order, with gaps or without.

    Of several as long it is the one found going backwards from both ends and passing over words of `second` first; KILT's score
    depends on which.

    >>> longest_common("the cat sat on the mat".split(), "on the mat the cat sat".split())
    ['on', 'the', 'mat']
    """
    length = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            length[i + 1][j + 1] = length[i][j] + 1 if one == other else max(length[i][j + 1], length[i + 1][j])
    found, i, j = list[str](), len(first), len(second)
    while i and j:
        if first[i - 1] == second[j - 1]:
            found.append(first[i - 1])
            i, j = i - 1, j - 1
        elif length[i - 1][j] > length[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return found[::-1]


def distinct_ngrams(texts: Sequence[str], n: int = 3) -> float:
    """Of all runs of n tokens in the texts, the share that differ: table 5 of the paper, n = 3.

    Raises `MiniragError` where no text has n tokens.

    >>> distinct_ngrams(["who was this king", "who was this man"])  # "who was this" is there twice
    0.75
    """
    ngrams = [run for words in map(tokens, texts) for run in zip(*(words[i:] for i in range(n)), strict=False)]
    if not ngrams:
        raise MiniragError(f"no text has {n} tokens side by side; look at the predictions, or count shorter runs")
    return len(set(ngrams)) / len(ngrams)


def _check_as_many(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if len(predictions) != len(references):
        raise MiniragError(f"there are {len(predictions)} predictions for {len(references)} examples; give one for each")


def _check_referenced(references: Sequence[str]) -> None:
    if not references:
        raise MiniragError("an example has no reference to compare with; leave it out, or look at the file it came from")
