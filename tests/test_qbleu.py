"""Q-BLEU-1: by hand, as published, and against a second implementation over many odd questions."""

import math
import random

import pytest

from minirag.errors import MiniragError
from minirag.tasks.qbleu import FUNCTION_WORDS, WEIGHTS, answerability, kinds, q_bleu_1

POOL = [
    *("What", "which", "WHO", "Is", "is", "how", "the", "The", "of", "king", "king's", "Spain", "Spain,", "Été", "東京"),
    *("1700", "well-known", "don't", "?", "mad?", "“Lear”", "—", "...", "(yes)", "and/or", "$5"),
]


def odd_question(chance: random.Random) -> str:
    return " ".join(chance.choices(POOL, k=chance.randrange(10)))


def test_the_published_example() -> None:
    # The authors' tests have 0.485, with a BLEU-1 of 0.800.
    score = q_bleu_1("Is this a great question?", ["Is this a good question?"])
    assert score == pytest.approx(0.485)
    part = answerability("Is this a great question?", "Is this a good question?")
    assert part == pytest.approx(0.6 * 0 + 0.2 * 1 + 0.1 / 2 + 0.1 * 1)
    assert (score - 0.7 * part) / 0.3 == pytest.approx(0.8)


def test_the_weights() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    assert len(FUNCTION_WORDS) == 119


@pytest.mark.parametrize(
    ("question", "entities", "asking", "content", "function"),
    [
        ("Who was the King of Spain?", "king spain", "who", "", "was the of"),
        ("In what well-known play did Lear rage?", "in lear", "what well-known", "play rage", "in did"),
        ("The author of “Emma”", "the", "", "author emma", "the of"),  # a quotation mark is no capital
        ("What is it that isn't A&B's?", "a&b 's", "what is is", "is n't", "is it that"),
        ("WHO knows?", "", "", "knows", ""),  # begins like a question, and is left out of the entities
        ("what what now", "", "what what what now", "", "now"),
        ("", "", "", "", ""),
    ],
)
def test_kinds_by_hand(question: str, entities: str, asking: str, content: str, function: str) -> None:
    expected = {"entities": entities, "asking": asking, "content": content, "function": function}
    assert kinds(question) == {kind: words.split() for kind, words in expected.items()}


def test_by_hand() -> None:
    # Entities 1 of 1; asking 1 of 1; content "mad" and "ill" differ; function "was" and "was", "the".
    # F of "was" with "was the": exp(1 - 2/1) one way, 1/2 the other.
    function = 2 * math.exp(-1) * 0.5 / (math.exp(-1) + 0.5)
    score = 0.7 * (0.6 + 0.2 + 0.1 * function) + 0.3 * 3 / 4 * math.exp(1 - 5 / 4)
    assert q_bleu_1("Who was mad, Lear?", ["Who was the ill Lear?"]) == pytest.approx(score)
    assert q_bleu_1("Who was Lear, mad?", ["Who was Lear, mad?"]) == pytest.approx(1.0)
    assert q_bleu_1("who was mad", ["who was mad"]) == pytest.approx(0.7 * 0.4 + 0.3)  # neither has an entity
    assert q_bleu_1("", ["Who was Lear?"]) == q_bleu_1("Who was Lear?", [""]) == 0.0
    with pytest.raises(MiniragError, match="no reference"):
        q_bleu_1("Who was Lear?", [])


# Of the pool's words, those that are parted or lose signs.
PARTED = {"king's": "king 's", "don't": "do n't", "Spain,": "spain", "mad?": "mad", "“Lear”": "lear"}
PARTED |= {"(yes)": "( yes )", "$5": "$ 5", "?": "", "—": "", "...": ""}


def words_of(question: str, kind: str) -> list[str]:
    """The definition, one kind at a time, word by word."""
    asks = {"What", "which", "Is", "is", "how"}
    words = question.split()
    chosen = []
    asked = [word for i, word in enumerate(words) if word in asks or (i and words[i - 1] in ("What", "which"))]
    for i, word in enumerate(words):
        capital = word[0].isupper()
        if kind == "asking":
            chosen += [word] * ((word in asks) + (i > 0 and words[i - 1] in ("What", "which")))
        elif kind == "entities":
            chosen += [word] * (capital and not (i == 0 and word in asks | {"WHO"}))
        elif kind == "content":
            chosen += [word] * (word not in asked and not capital and word not in ("the", "of", "is"))
        elif kind == "function":
            chosen += [word] * (word.lower() in ("the", "of", "is"))
        else:
            chosen.append(word)
    return " ".join(PARTED.get(word, word.lower()) for word in chosen).split()


def bleu(said: list[str], wanted: list[str]) -> float:
    left = list(wanted)
    for word in said:
        if word in left:
            left.remove(word)
    hits = len(wanted) - len(left)
    return hits / len(said) * math.exp(min(0, 1 - len(wanted) / len(said))) if said else 0.0


def by_definition(prediction: str, reference: str) -> float:
    total = 0.3 * bleu(words_of(prediction, "all"), words_of(reference, "all"))
    for kind, weight in {"entities": 0.6, "asking": 0.2, "content": 0.1, "function": 0.1}.items():
        said, wanted = words_of(prediction, kind), words_of(reference, kind)
        one, other = bleu(said, wanted), bleu(wanted, said)
        total += 0.7 * weight * (2 / (1 / one + 1 / other) if one and other else 0.0)
    return total


def test_against_a_second_implementation() -> None:
    chance, scores = random.Random(0), []
    for _ in range(400):
        prediction, references = odd_question(chance), [odd_question(chance) for _ in range(chance.randint(1, 3))]
        scores.append(q_bleu_1(prediction, references))
        assert scores[-1] == pytest.approx(max(by_definition(prediction, one) for one in references))
        assert 0 <= scores[-1] <= 1 + 1e-12
    assert len({round(score, 6) for score in scores}) > 200
