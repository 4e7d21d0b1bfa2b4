"""The examples on an article of prose, in the form of all others: a test set of its own."""

from minirag.corpus.miniwiki.english import number_of
from minirag.corpus.miniwiki.examples import Example
from minirag.corpus.miniwiki.facts import contains, tokens
from minirag.corpus.miniwiki.pages import prose_id
from minirag.corpus.miniwiki.prose import ProseArticle, sentences

PROSE = "prose"  # the name of the split


def on_prose(article: ProseArticle) -> dict[str, list[Example]]:
    """Five questions, six claims, a question to be answered in a sentence, and a clue, by task."""
    said = sentences(article.text)
    asked = [_example(article, q.question, q.answers, _best(said, q.question, q.answers[0])) for q in article.questions]
    claimed = [
        _example(article, claim.claim, (claim.label,), [said.index(claim.evidence)] if claim.evidence else [], numeric=True)
        for claim in article.claims
    ]
    full, clue = article.full_answer, article.clue
    answered = _example(
        article, full.question, full.answers, _best(said, full.question, full.answers[0]), sentence=full.answers[0]
    )
    riddle = _example(article, clue.clue, (clue.answer,), _best(said, clue.clue, clue.answer), category=clue.category)
    return {"nq": asked, "fever": claimed, "msmarco": [answered], "jeopardy": [riddle]}


def _best(said: list[str], question: str, answer: str) -> list[int]:
    """The sentence that shares most words with question and answer, among those with the answer if there are any."""
    holding = [i for i, sentence in enumerate(said) if contains(sentence, answer)] or list(range(len(said)))
    words = set(tokens(f"{question} {answer}"))
    return [max(holding, key=lambda i: (len(words & set(tokens(said[i]))), -i))]


def _example(
    article: ProseArticle,
    text: str,
    answers: tuple[str, ...],
    evidence: list[int],
    *,
    sentence: str = "",
    category: str = "",
    numeric: bool = False,
) -> Example:
    number = number_of("prose", article.id, text)
    return Example(
        id=str(number % 10**12) if numeric else f"{number:016x}",
        split=PROSE,
        text=text,
        answers=answers,
        entity=article.about[0] if article.about else article.title,
        domain=PROSE,
        relations=(),
        facts=(),
        told=(),
        new_phrasing=True,
        sentence=sentence,
        category=category,
        evidence=tuple((prose_id(article), i) for i in evidence),
    )
