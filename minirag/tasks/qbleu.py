"""Q-BLEU-1 (Nema & Khapra 2018): whether a generated question can be answered as the one people wrote, and reads alike.

To BLEU-1 it adds *answerability*: whether the question has what an answer depends on. That is told from four kinds of words:

| kind | weight | which words |
|---|---|---|
| entities | 0.6 | those with a capital, but for a question word that comes first |
| asking | 0.2 | question words, and the word after "what" or "which": "what king" |
| content | 0.1 | those of no other kind |
| function | 0.1 | "the", "of", "was" and other stop words |

The kinds, the weights, which are those for SQuAD, and δ are the published scorer's.
"""

from collections.abc import Sequence
from itertools import zip_longest

import regex

from minirag.errors import MiniragError
from minirag.tasks.generation import TOKEN, bleu_1_of, counts_of_words

WEIGHTS = {"entities": 0.6, "asking": 0.2, "content": 0.1, "function": 0.1}
DELTA = 0.7  # answerability's part; the rest is BLEU-1's

# "is" is in the version of the scorer whose tests have 0.485 for the example below; without it that is 0.765.
ASKING = ("what", "which", "why", "who", "whom", "whose", "where", "when", "how", "is")
QUESTION_WORDS = {form for word in ASKING for form in (word, word.capitalize())}
FUNCTION_WORDS = set(
    """
    a about above after again against all am an and any are as at be because been before being below between both but by can
    did do does doing don down during each few for from further had has have having he her here hers herself him himself his i
    if in into is it its itself just me more most my myself no nor not now of off on once only or other our ours ourselves out
    over own s same she should so some such t than that the their theirs them themselves then there these they this those
    through to too under until up very was we were while will with you your yours yourself yourselves
    """.split()  # noqa: SIM905
)
PUNCTUATION = set("'’‘`\"“”.?!,:;-–—") | {"..."}
WORD = regex.compile(r"[\p{L}\p{N}\p{M}]+(?:[-/&][\p{L}\p{N}\p{M}]+)+|" + TOKEN.pattern)  # "well-known", "1/2" stay whole


def q_bleu_1(prediction: str, references: Sequence[str]) -> float:
    """δ answerability + (1 − δ) BLEU-1, δ = 0.7, for the reference where it is highest; 0..1, of one question.

    Answerability is Σ weight · F over the kinds of words, F the harmonic mean of the two questions' BLEU-1 with each other. A
    kind that neither question has counts 0, as in the published scorer: so a question without a capital scores at most 0.58.
    The paper's figure is the mean over questions. Raises `MiniragError` where there is no reference.

    >>> q_bleu_1("Is this a great question?", ["Is this a good question?"])  # 0.7 (0.2 · 1 + 0.1 · 1/2 + 0.1 · 1) + 0.3 · 4/5
    0.485
    """
    if not references:
        raise MiniragError("a question has no reference to compare with; leave it out, or look at the file it came from")
    said = _words(prediction)
    return max(DELTA * answerability(prediction, one) + (1 - DELTA) * _bleu(said, _words(one)) for one in references)


def answerability(prediction: str, reference: str) -> float:
    """How much of what an answer depends on the two questions share: see `q_bleu_1`.

    >>> round(answerability("Who was king of Spain?", "Who was the king of Spain?"), 3)  # function words: 2 of 3
    0.964
    """
    said, wanted = kinds(prediction), kinds(reference)
    return sum(weight * _harmonic(said[kind], wanted[kind]) for kind, weight in WEIGHTS.items())


def kinds(question: str) -> dict[str, list[str]]:
    """The words of a question, sorted by kind, in lower case and without punctuation; some are of two kinds.

    >>> kinds("Which king of Spain, after 1700, was mad?")
    {'entities': ['spain'], 'asking': ['which', 'king'], 'content': ['1700', 'mad'], 'function': ['of', 'after', 'was']}
    """
    words = question.split()
    asking = list[str]()
    for word, after in zip_longest(words, words[1:], fillvalue=""):
        if word in QUESTION_WORDS:
            asking += [word, after] if word.lower() in ("what", "which") else [word]
    begins = bool(words) and words[0].lower() in QUESTION_WORDS
    sorted_words = {
        "entities": [word for word in words[begins:] if word[0].isupper()],
        "asking": asking,
        "content": [word for word in words if not (word in asking or word[0].isupper() or word in FUNCTION_WORDS)],
        "function": [word for word in words if word.lower() in FUNCTION_WORDS],
    }
    return {kind: _words(" ".join(some)) for kind, some in sorted_words.items()}


def _words(text: str) -> list[str]:
    """Near to what the published scorer makes of text: the Penn Treebank's tokens in lower case, but for punctuation."""
    return [word for word in WORD.findall(text.lower()) if word not in PUNCTUATION]


def _harmonic(first: Sequence[str], second: Sequence[str]) -> float:
    one, other = _bleu(first, second), _bleu(second, first)
    return 2 * one * other / (one + other) if one and other else 0.0


def _bleu(said: Sequence[str], wanted: Sequence[str]) -> float:
    return bleu_1_of(*counts_of_words(said, [wanted]))
