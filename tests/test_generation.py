"""MS MARCO's and KILT's scores: by hand, as published, and against other implementations over many odd texts."""

import itertools
import math
import random
import unicodedata
from collections import Counter
from functools import cache

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rouge import Rouge
from rouge_score.rouge_scorer import RougeScorer

from minirag.errors import MiniragError
from minirag.tasks.generation import (
    NO_ANSWER,
    bleu_1,
    bleu_1_counts,
    bleu_1_of,
    counts_of_words,
    distinct_ngrams,
    kilt_rouge_l,
    longest_common,
    rouge_l,
    tokens,
)

POOL = [
    *("the", "The", "cat", "cat's", "don't", "Été", "e\u0301te\u0301", "東京", "3.5", "15,000", "U.S.", "well-known"),
    *("—", "…", "...", ".", "?", "a.b", "“x”", "🙂", "$", "\u00a0", "\n"),
]


def odd_text(chance: random.Random, longest: int = 9) -> str:
    return " ".join(chance.choices(POOL, k=chance.randrange(longest + 1)))


def odd_corpora(seed: int, count: int = 300) -> list[tuple[list[str], list[list[str]]]]:
    """Predictions with one to three references each: odd, empty, or one of the references."""
    chance, made = random.Random(seed), []
    for _ in range(count):
        references = [[odd_text(chance) for _ in range(chance.randint(1, 3))] for _ in range(chance.randint(1, 4))]
        predictions = [chance.choice(some) if chance.random() < 0.1 else odd_text(chance) for some in references]
        made.append((predictions, references))
    return made


# As spaCy 3.8's blank English pipeline parts them, in lower case.
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Aplastic anemia", "aplastic anemia"),
        ("It's Bob's, isn't it? They'll say WE'RE late!", "it 's bob 's , is n't it ? they 'll say we 're late !"),
        ("Can’t you’ve", "ca n’t you ’ve"),
        ("The U.S. paid $15,000 (3.5%) in 1998.", "the u.s. paid $ 15,000 ( 3.5 % ) in 1998 ."),
        ("high-energy sp2 hybridization", "high - energy sp2 hybridization"),
        ("the dogs' owner said “no”", "the dogs ' owner said “ no ”"),
        ("Wait... what?", "wait ... what ?"),
        ("Élan 東京", "élan 東京"),
        (" \n\u200b ", ""),
    ],
)
def test_tokens_by_hand(text: str, parts: str) -> None:
    assert tokens(text) == parts.split()


# Without code points that stand for nothing yet: Python's tables and those of `regex` are of different years.
@given(st.text(st.characters(exclude_categories=["Cn", "Cs"])))
def test_tokens_leave_out_nothing_one_can_see(text: str) -> None:
    assert "".join(tokens(text)) == "".join(sign for sign in text.lower() if unicodedata.category(sign)[0] not in "ZC")
    assert all(tokens(token) == [token] for token in tokens(text))
    assert tokens(text) == tokens(f"  {text.lower()}\n")


# The evaluation's README and its unit test give 8.520511E-03 and 3.093306E-02 for these, from before a third example with an
# answer, and "No Answer Present." for its prediction, was added to the file.
SAMPLE = {
    14043: ("sp3", ["sp2", "sp2 hybridization"]),
    14509: (
        "Aplastic anemia",
        [
            "It is include anemia, bleeding disorders such as hemophilia, blood clots, and blood cancers such as leukemia, "
            "lymphoma, and myeloma.",
            "HIV, hepatitis B, hepatitis C, and viral hemorrhagic fevers.",
        ],
    ),
    14042: ("sp2 hybridization", ["No Answer Present."]),
    14041: ("sp2 hybridization", ["No Answer Present.", "No Answer Present."]),
}


def test_ms_marcos_published_sample() -> None:
    """Its script leaves the examples out whose references say that there is no answer."""
    predictions, references = zip(*(pair for pair in SAMPLE.values() if NO_ANSWER not in pair[1]), strict=True)
    assert predictions == ("sp3", "Aplastic anemia")
    assert bleu_1(predictions, references) == pytest.approx(8.520511e-03, rel=1e-6)
    scores = [rouge_l(*pair) for pair in zip(predictions, references, strict=True)]
    assert sum(scores) / 2 == pytest.approx(3.093306e-02, rel=1e-6)


def test_bleu_by_hand() -> None:
    assert bleu_1(["the the the the"], [["the cat the", "the"]]) == 2 / 4  # "the" twice at most; 3 words are nearest to 4
    assert bleu_1(["a b"], [["a b c", "a"]]) == 1.0  # both are as near: the shorter counts
    assert bleu_1(["a b"], [["a b c", "a b c d e"]]) == pytest.approx(math.exp(1 - 3 / 2))
    # Over the corpus lengths add up before they are compared, and so do hits: 3 of 4, c = 4, r = 2 + 4.
    assert bleu_1(["a", "b c x"], [["a d"], ["b c e f"]]) == pytest.approx(3 / 4 * math.exp(1 - 6 / 4))
    assert bleu_1(["A, B!", "m l k"], [["a , b !"], ["x y", "m l k"]]) == 1.0
    assert bleu_1(["", ""], [["a"], [""]]) == 0.0


@pytest.mark.parametrize(
    ("predictions", "references", "complaint"),
    [
        ([], [], "there is no example"),
        (["a"], [["b"], ["c"]], "1 predictions for 2 examples"),
        (["a", "b"], [["c"], []], "no reference"),
    ],
)
def test_bleu_of_nothing(predictions: list[str], references: list[list[str]], complaint: str) -> None:
    with pytest.raises(MiniragError, match=complaint):
        bleu_1(predictions, references)


def bleu_by_crossing_out(predictions: list[str], references: list[list[str]]) -> float:
    hits, said, wanted = 0, 0, 0
    for prediction, texts in zip(predictions, references, strict=True):
        words = tokens(prediction)
        for word in set(words):
            hits += min(words.count(word), max(tokens(text).count(word) for text in texts))
        said += len(words)
        lengths = sorted(len(tokens(text)) for text in texts)  # the first of equals is the shorter
        wanted += min(lengths, key=lambda length: abs(length - len(words)))
    if not said:
        return 0.0
    return hits / said * (1 if said >= wanted else math.exp(1 - wanted / said))


def test_bleu_against_a_second_implementation_and_sacrebleu() -> None:
    scorer = sacrebleu.BLEU(max_ngram_order=1, tokenize="none", smooth_method="none", force=True)
    scores = []
    for predictions, references in odd_corpora(0):
        scores.append(bleu_1(predictions, references))
        assert scores[-1] == pytest.approx(bleu_by_crossing_out(predictions, references))
        parted = [" ".join(tokens(text)) for text in predictions]
        columns = itertools.zip_longest(*([" ".join(tokens(text)) for text in texts] for texts in references))
        assert scores[-1] == pytest.approx(scorer.corpus_score(parted, [list(column) for column in columns]).score / 100)
    assert len({round(score, 6) for score in scores}) > 150


def test_bleu_of_a_corpus_is_that_of_sums() -> None:
    predictions, references = (list(itertools.chain(*column)) for column in zip(*odd_corpora(6), strict=True))
    sums = [0.0, 0.0, 0.0]
    for pair in zip(predictions, references, strict=True):
        sums = [total + count for total, count in zip(sums, bleu_1_counts(*pair), strict=True)]
    assert bleu_1_of(*sums) == pytest.approx(bleu_by_crossing_out(predictions, references))
    assert bleu_1_counts("", ["a b", "c"]) == (0, 0, 1)
    assert bleu_1_of(0, 0, 1) == bleu_1_of(0, 0, 0) == 0.0
    with pytest.raises(MiniragError, match="no reference"):
        bleu_1_counts("a", [])


def test_counts_take_words_as_they_are() -> None:
    assert counts_of_words(["New York", "?"], [["New York", "!"], ["x"]]) == (1, 2, 2)


@cache
def lcs_length(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    if not first or not second:
        return 0
    if first[0] == second[0]:
        return 1 + lcs_length(first[1:], second[1:])
    return max(lcs_length(first[1:], second), lcs_length(first, second[1:]))


def rouge_by_definition(prediction: str, references: list[str]) -> float:
    said = tuple(tokens(prediction))
    pairs = [(lcs_length(said, tuple(tokens(text))), len(tokens(text))) for text in references]
    precision = max((common / len(said) for common, _ in pairs if said), default=0)
    recall = max((common / length for common, length in pairs if length), default=0)
    return 2.44 * precision * recall / (recall + 1.44 * precision) if precision and recall else 0.0


class Tokens:
    """For rouge-score, which has a tokenizer of its own."""

    def tokenize(self, text: str) -> list[str]:
        return tokens(text)


def test_rouge_against_the_definition_and_rouge_score() -> None:
    scorer = RougeScorer(["rougeL"], tokenizer=Tokens())
    cases = [pair for corpus in odd_corpora(1) for pair in zip(*corpus, strict=True)]
    for prediction, references in cases:
        score = rouge_l(prediction, references)
        assert score == pytest.approx(rouge_by_definition(prediction, references))
        theirs = [scorer.score(text, prediction)["rougeL"] for text in references]
        best, most = max(one.precision for one in theirs), max(one.recall for one in theirs)
        assert score == pytest.approx(best * most * 2.44 / (most + 1.44 * best) if best else 0.0)
        assert score == rouge_l(prediction, references[::-1])
        assert rouge_l(prediction, [*references, prediction]) == pytest.approx(1.0 if tokens(prediction) else 0.0)


def test_rouge_by_hand() -> None:
    assert rouge_l("Red, lamp", ["red lamp , x"]) == pytest.approx(2.44 * (2 / 3) * (2 / 4) / (2 / 4 + 1.44 * 2 / 3))
    assert rouge_l("b a", ["a b"]) == pytest.approx(0.5)  # in this order one word only
    assert rouge_l("x", ["a"]) == rouge_l("", ["a"]) == rouge_l("a", [""]) == rouge_l("", [""]) == 0.0
    with pytest.raises(MiniragError, match="no reference"):
        rouge_l("a", [])


def test_kilts_published_sample() -> None:
    # KILT's tests/test_eval_downstream.py, gold1.out with guess1_1.out, and gold1.out with itself.
    gold = ["suicide", "suicide", "it was suicide"]
    mean = sum(kilt_rouge_l(said, [one]) for said, one in zip(["suicide", "a suicide", "suicide"], gold, strict=True)) / 3
    assert mean == pytest.approx(0.7222222178240741, abs=1e-15)
    assert kilt_rouge_l("it was suicide", ["it was suicide"]) == pytest.approx(0.999999995, abs=1e-15)


def test_kilt_rouge_by_hand() -> None:
    assert kilt_rouge_l("Paris", ["paris"]) == kilt_rouge_l("Paris!", ["Paris"]) == 0.0  # nothing is normalised
    assert kilt_rouge_l("Paris.", ["Paris"]) == pytest.approx(1.0)  # but a full stop ends a sentence
    assert kilt_rouge_l("b a", ["a b"]) == pytest.approx(1 / 2)
    assert kilt_rouge_l("b. a", ["a b"]) == pytest.approx(1.0)  # a sentence at a time, both are found
    assert kilt_rouge_l("a a a b", ["a b"]) == pytest.approx(1.0)  # words count once
    assert kilt_rouge_l("a b", ["c", "a", " "]) == pytest.approx(2 / 3)
    assert kilt_rouge_l("", ["a"]) == kilt_rouge_l(" ... ", ["a"]) == kilt_rouge_l("a", ["."]) == 0.0
    for references in ([], [" ", ""]):
        with pytest.raises(MiniragError, match="no reference"):
            kilt_rouge_l("a", references)


def test_kilt_rouge_against_the_package() -> None:
    package, compared = Rouge(metrics=["rouge-l"]), 0
    for prediction, references in (pair for corpus in odd_corpora(2) for pair in zip(*corpus, strict=True)):
        written = [text.strip() for text in references if text.strip(". \n\u00a0")]
        if prediction.strip(". \n\u00a0") and written:
            theirs = max(package.get_scores(prediction.strip(), text)[0]["rouge-l"]["f"] for text in written)
            assert kilt_rouge_l(prediction, references) == pytest.approx(theirs, abs=1e-15)
            compared += 1
    assert compared > 300


def test_kilt_rouge_is_plain_f_of_one_sentence_without_repeated_words() -> None:
    chance = random.Random(3)
    for _ in range(300):
        said, wanted = (chance.sample("abcdefgh", chance.randint(1, 8)) for _ in range(2))
        common = lcs_length(tuple(said), tuple(wanted))
        assert kilt_rouge_l(" ".join(said), [" ".join(wanted)]) == pytest.approx(2 * common / (len(said) + len(wanted)))


def test_longest_common_is_common_and_longest() -> None:
    chance = random.Random(4)
    for _ in range(300):
        first, second = (chance.choices("abc", k=chance.randrange(9)) for _ in range(2))
        found = longest_common(first, second)
        for side in (first, second):
            left = iter(side)
            assert all(word in left for word in found)  # in this order: `in` uses up what it passes over
        assert len(found) == lcs_length(tuple(first), tuple(second))


def test_distinct_ngrams_by_hand() -> None:
    assert distinct_ngrams(["a b c d", "a b c"]) == 2 / 3
    assert distinct_ngrams(["A b", "a B", "c"], n=1) == 3 / 5
    assert distinct_ngrams(["a b", "b a"], n=2) == 1.0  # no run goes over the end of a text
    for texts, n in ([], 3), (["a b", ""], 3), (["a"], 0):
        with pytest.raises(MiniragError, match=f"no text has {n} tokens"):
            distinct_ngrams(texts, n)


def test_distinct_ngrams_against_counting() -> None:
    for seed, (texts, _) in enumerate(odd_corpora(5)):
        n = seed % 4 + 1
        counts = Counter[tuple[str, ...]]()
        for text in texts:
            words = tokens(text)
            counts.update(tuple(words[start : start + n]) for start in range(len(words) - n + 1))
        if counts:
            assert distinct_ngrams(texts, n) == len(counts) / counts.total()
