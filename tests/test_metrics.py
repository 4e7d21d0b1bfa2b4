"""What counts as an answer: by hand, against a second implementation, and for any text."""

import math
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.errors import MiniragError
from minirag.tasks import metrics
from minirag.tasks.metrics import (
    answer_recall,
    exact_match,
    f1_score,
    first_answer_rank,
    has_answer,
    ndcg_at_k,
    normalize_answer,
    paired_difference,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Beatles", "beatles"),
        ("  a  cat, an owl; the (dog)! ", "cat owl dog"),
        ("theatre another", "theatre another"),
        ("U.S.A.", "usa"),
        ("The-Who", "thewho"),  # punctuation goes before articles do
        ("L'Été – 2", "lété – 2"),  # only ASCII punctuation goes, accents stay
        ("the", ""),
        ("", ""),
    ],
)
def test_normal_form_by_hand(text, normal):
    assert normalize_answer(text) == normal


@given(st.text())
def test_normal_form_is_final_but_for_articles_that_appear(text):
    normal = normalize_answer(text)
    assert normal == " ".join(normal.split())
    assert not set(normal) & set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
    assert normalize_answer(f"The {text}!") == normal


def test_exact_match_by_hand():
    assert exact_match("the Eiffel tower.", ["Eiffel Tower", "La Tour Eiffel"])
    assert exact_match("La Tour Eiffel", ["Eiffel Tower", "La Tour Eiffel"])
    assert not exact_match("Eiffel", ["Eiffel Tower"])
    assert not exact_match("Eiffel Tower", [])


@pytest.mark.parametrize(
    ("prediction", "answers", "score"),
    [
        ("the Eiffel tower.", ["Eiffel Tower"], 1.0),
        ("in the autumn of 1998", ["1998"], 2 * (1 / 4) * 1 / (1 / 4 + 1)),
        ("in the autumn of 1998", ["1998", "autumn of 1998"], 2 * (3 / 4) * 1 / (3 / 4 + 1)),
        ("tora tora tora", ["Tora! Tora!"], 2 * (2 / 3) * 1 / (2 / 3 + 1)),  # a word counts as often as both have it
        ("Paris", ["London"], 0.0),
        ("", ["London"], 0.0),
        ("London", ["the"], 0.0),
        ("the", ["A.", "London"], 1.0),
    ],
)
def test_f1_by_hand(prediction, answers, score):
    assert f1_score(prediction, answers) == pytest.approx(score)


words = st.lists(st.sampled_from(["the", "a", "Red", "red.", "blue", "2-1", "–"]), max_size=5).map(" ".join)


def f1_by_crossing_out(prediction, answer):
    """Precision and recall, of words crossed out one by one."""
    said, left = normalize_answer(prediction).split(), normalize_answer(answer).split()
    if not said and not left:
        return 1.0
    wanted, hits = len(left), 0
    for word in said:
        if word in left:
            left.remove(word)
            hits += 1
    if hits == 0:
        return 0.0
    precision, recall = hits / len(said), hits / wanted
    return 2 * precision * recall / (precision + recall)


@given(words, st.lists(words, min_size=1, max_size=3))
def test_f1_against_a_second_implementation(prediction, answers):
    assert f1_score(prediction, answers) == pytest.approx(max(f1_by_crossing_out(prediction, answer) for answer in answers))
    if exact_match(prediction, answers):
        assert f1_score(prediction, answers) == 1.0


def test_the_difference_of_means_is_that_of_shares():
    assert paired_difference([1.0, 0.5, 0.0], [0.5, 0.5, 0.5])[0] == pytest.approx(0.0)
    hits, others = [True, True, False, True], [False, True, False, False]
    assert paired_difference([float(hit) for hit in hits], [float(hit) for hit in others]) == paired_difference(hits, others)


def test_exact_match_of_patterns_is_anchored_at_the_start():
    assert exact_match("September 9", ["Sept?(ember)?|Feb(ruary)?"], "regex")
    assert exact_match("NEW  york", [r"Long Island|New\s*York"], "regex")
    assert not exact_match("in September", ["Sept?(ember)?"], "regex")
    assert not exact_match("New York", ["new york"[::-1]], "regex")


HAND = [
    ("Paris is the capital of France.", "paris", True),
    ("Paris is the capital of France.", "the capital", True),
    ("Paris is the capital of France.", "capital France", False),  # not side by side
    ("Parisian cafés", "Paris", False),  # a whole token only
    ("cafe\u0301 au lait", "CAF\u00c9", True),  # é as one character and as two
    ("caf\u00e9", "cafe", False),
    ("a well-known man", "well-known", True),
    ("a well-known man", "well known", False),  # the hyphen is a token
    ("a well - known man", "well-known", True),
    ("AT&T Inc.", "AT&T", True),
    ("AT & T", "AT&T", True),
    ("It cost $5.50 (1998)", "$5.50", True),
    ("It cost $5.50", "5", True),
    ("U.S. Army", "US Army", False),
    ("Straße", "STRASSE", False),
    ("ΣΊΣΥΦΟΣ", "σίσυφος", True),
    ("ΛΌΓΟΣ.Α", "λόγος", True),  # each token is lowered by itself: the final sigma is final
    ("東京 is Tokyo", "東京", True),
    ("one\u00a0two\u200bthree\nfour", "two three four", True),  # separators and control characters lie between tokens
    ("anything", "", False),
    ("anything", "  ", False),
    ("", "x", False),
    ("", "", False),
    ("to be or not to be", "or not to be", True),
    ("end", "end of", False),
]


@pytest.mark.parametrize(("text", "answer", "expected"), HAND)
def test_has_answer_by_hand(text, answer, expected):
    assert has_answer(text, [answer]) is expected
    assert has_answer(text, ["zebra", answer]) is expected


def test_has_answer_of_no_answers():
    assert not has_answer("anything", [])


def oracle(text: str, answers: list[str]) -> bool:
    """The same by lists and character classes, without a pattern or a joined string."""

    def tokens(text: str) -> list[str]:
        found, open_run = [], False
        for char in unicodedata.normalize("NFD", text):
            kind = unicodedata.category(char)[0]
            if kind in "LNM":
                found.append(found.pop() + char if open_run else char)
            elif kind not in "ZC":
                found.append(char)
            open_run = kind in "LNM"
        return [token.lower() for token in found]

    inside = tokens(text)
    return any(
        wanted and any(inside[i : i + len(wanted)] == wanted for i in range(len(inside))) for wanted in map(tokens, answers)
    )


# Few letters, so that answers are often found, among marks, hyphens, separators of all kinds, and letters of odd lower case.
tricky = st.text(alphabet="abAé\u0301ñ1-.& \u00a0\t\x1f\u200bßΣσ", max_size=12)


@settings(max_examples=500)
@given(tricky, st.lists(tricky.map(lambda text: text[:4]), max_size=3))
def test_has_answer_equals_a_second_implementation(text, answers):
    assert has_answer(text, answers) is oracle(text, answers)


@settings(max_examples=200)
@given(st.text(max_size=30), st.data())
def test_what_is_cut_out_at_token_borders_is_found(text, data):
    words = text.split()
    if words:
        start = data.draw(st.integers(0, len(words) - 1))
        piece = " ".join(words[start : data.draw(st.integers(start + 1, len(words)))])
        assert has_answer(text, [piece]) is has_answer(piece, [piece])  # that is: unless it holds no token at all


def test_patterns_occur_anywhere_whatever_their_case():
    assert has_answer("held in\nSEPT. and later", ["Sept?(ember)?|Feb(ruary)?"], "regex")
    assert has_answer("first line\nsecond", [r"^second$"], "regex")  # lines count, as in DPR
    assert has_answer("Ca\u0301diz", ["C\u00e1diz"], "regex")
    assert not has_answer("held in May", ["Sept?(ember)?|Feb(ruary)?"], "regex")
    assert not has_answer("well.known", [r"well\.known$"], "string")


def test_a_malformed_pattern_is_a_sentence():
    for check in (has_answer, exact_match):
        with pytest.raises(MiniragError, match="is not a regular expression"):
            check("text", ["(unclosed"], "regex")


def test_a_pattern_that_never_ends_is_stopped(monkeypatch):
    monkeypatch.setattr(metrics, "PATTERN_SECONDS", 0.05)
    with pytest.raises(MiniragError, match=r"takes over 0\.05 s"):
        has_answer("a" * 40 + "!", [r"(a|aa)+$"], "regex")


def test_every_published_pattern_compiles(shared):
    lines = (shared / "curatedtrec" / "curated-train.tsv").read_text(encoding="utf-8").splitlines()
    assert len([has_answer("some text", [line.split("\t")[3]], "regex") for line in lines]) == 430


def test_ranks_and_recall_by_hand():
    ranks = [first_answer_rank(texts, ["Paris"]) for texts in (["Paris"], ["Bern", "x", "paris!"], ["Parisian"], [])]
    assert ranks == [1, 3, None, None]
    assert answer_recall(ranks, ks=(1, 2, 3, 100)) == {1: 0.25, 2: 0.25, 3: 0.5, 100: 0.5}
    assert first_answer_rank(["x", "in Sept"], ["Sept?"], "regex") == 2
    with pytest.raises(MiniragError, match="no question"):
        answer_recall([], ks=[1])


def test_ndcg_by_hand():
    relevance = {"a": 2.0, "b": 1.0, "c": 0.0}
    ideal = 2 + 1 / math.log2(3)
    assert ndcg_at_k(["a", "b"], relevance, 10) == pytest.approx(1)
    assert ndcg_at_k(["b", "x", "a"], relevance, 10) == pytest.approx((1 + 2 / 2) / ideal)
    assert ndcg_at_k(["b", "x", "a"], relevance, 2) == pytest.approx(1 / ideal)
    assert ndcg_at_k(["b", "a"], relevance, 1) == pytest.approx(1 / 2)
    assert ndcg_at_k(["x"], relevance, 10) == ndcg_at_k([], relevance, 10) == ndcg_at_k(["a"], {}, 10) == 0


@given(st.permutations(list("abcdef")), st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 3)), st.integers(1, 8))
def test_ndcg_never_falls_when_a_better_one_moves_up(ranked, relevance, k):
    value = ndcg_at_k(ranked, relevance, k)
    assert 0 <= value <= 1 + 1e-12
    for i in range(len(ranked) - 1):
        if relevance.get(ranked[i], 0) < relevance.get(ranked[i + 1], 0):
            swapped = [*ranked[:i], ranked[i + 1], ranked[i], *ranked[i + 2 :]]
            assert ndcg_at_k(swapped, relevance, k) >= value - 1e-12


def test_ndcg_equals_sentence_transformers():
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    draw = np.random.default_rng(0)
    documents = [f"d{i}" for i in range(30)]
    evaluator = InformationRetrievalEvaluator(
        {f"q{i}": "" for i in range(5)},
        dict.fromkeys(documents, ""),
        {f"q{i}": set(draw.choice(documents, 4, replace=False).tolist()) for i in range(5)},
        ndcg_at_k=[10],
    )
    ranked = [draw.permutation(documents).tolist() for _ in range(5)]
    results = [[{"corpus_id": name, "score": -rank} for rank, name in enumerate(order)] for order in ranked]
    expected = evaluator.compute_metrics(results)["ndcg@k"][10]
    ours = [ndcg_at_k(order, dict.fromkeys(evaluator.relevant_docs[f"q{i}"], 1.0), 10) for i, order in enumerate(ranked)]
    assert np.mean(ours) == pytest.approx(expected)


def test_wilson_by_hand_and_at_the_ends():
    # Newcombe 1998, Table I, method 3: 81/263, 15/148, 0/20, 1/29.
    for hits, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        assert wilson_interval(hits, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(20, 20)[1] == 1.0
    with pytest.raises(MiniragError, match="no question"):
        wilson_interval(0, 0)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_proportion_and_mirrors(pair):
    hits, n = pair
    low, high = wilson_interval(hits, n)
    assert 0 <= low <= hits / n <= high <= 1
    assert low < high
    mirrored = wilson_interval(n - hits, n)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-12)
    assert wilson_interval(hits, n, 0.99)[0] <= low
