"""Prose: articles written freely, sentence by sentence, with questions, claims and a clue on each. One TOML file an article.

The rest of MiniWiki is rendered from tables; this is the test of natural language. Nothing on it is for training. What could
make an example unfair is refused with the file and the key: an answer that does not stand in the text, a question that
holds its answer or repeats the text's own words, a claim whose evidence is no sentence of the text.
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minirag.corpus.miniwiki.facts import contains, tokens
from minirag.corpus.miniwiki.tables import read_toml
from minirag.errors import MiniragError
from minirag.paths import data_dir

LABELS = ("SUPPORTS", "REFUTES", "NOT ENOUGH INFO")
_WORDS = (150, 350)  # of an article's text
_QUESTIONS = 5
_CLAIMS_A_LABEL = 2
_REPEATED = 5  # words in a row that a question may not share with the text
_KEYS = {"title", "about", "text", "questions", "claims", "full_answer", "clue"}
# Words that may stand in an answer and in its question alike.
_FUNCTION_WORDS = frozenset(
    tokens(
        "a an and are as at be by did do does for from had has have he her his how in is it its many much of on one or that "
        "the their them they this to was were what when where which who whom whose why with"
    )
)


@dataclass(frozen=True)
class ProseQuestion:
    """A question and what counts as its answer, the text's own words first."""

    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class ProseClaim:
    """A claim, its label, and the sentence that decides it (empty where none does)."""

    claim: str
    label: str
    evidence: str


@dataclass(frozen=True)
class Clue:
    """A Jeopardy clue: a category, a description, and the name it describes."""

    category: str
    clue: str
    answer: str


@dataclass(frozen=True)
class ProseArticle:
    """An article, the MiniWiki entities it is about, and the examples on it; `id` is the file's name."""

    id: str
    title: str
    about: tuple[str, ...]
    text: str
    questions: tuple[ProseQuestion, ...]
    claims: tuple[ProseClaim, ...]
    full_answer: ProseQuestion
    clue: Clue


def load_prose(folder: Path | str | None = None) -> list[ProseArticle]:
    """Every article under `folder` (by default the shipped `data/miniwiki/prose`), in the order of the files' names."""
    folder = Path(folder) if folder is not None else data_dir() / "miniwiki" / "prose"
    articles = [read_prose(path) for path in sorted(folder.glob("*.toml"))]
    for title, times in Counter(article.title for article in articles).items():
        if times > 1:
            raise MiniragError(f"{folder} has {times} articles with the title {title!r}; keep one of them")
    return articles


def sentences(text: str) -> list[str]:
    """The sentences of prose: a full stop, question or exclamation mark ends one where a capital follows.

    >>> sentences('He asked "Why?" and left. It was 3.5 m. "Yes," she said.')
    ['He asked "Why?" and left.', 'It was 3.5 m.', '"Yes," she said.']
    """
    return re.split(r"(?:(?<=[.!?])|(?<=[.!?][\"'])) (?=[\"']?[A-Z0-9À-Þ])", " ".join(text.split()))


def read_prose(path: Path) -> ProseArticle:
    """Read and check one article; a `MiniragError` names the file and the key that is wrong."""
    raw = read_toml(path)
    if raw.keys() != _KEYS:
        raise _fault(path, ", ".join(sorted(raw.keys() ^ _KEYS)), "is missing or unknown", f"use {', '.join(sorted(_KEYS))}")
    try:
        article = _article(path.stem, raw)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _fault(
            path, str(error), "is missing, unknown, empty or of the wrong type", "see CONTRIBUTING.md for the layout"
        ) from None
    _check_text(path, article)
    for number, question in enumerate(article.questions, 1):
        _check_question(path, f"questions[{number}]", question, article)
    _check_claims(path, article)
    return article


def _article(id: str, raw: dict[str, Any]) -> ProseArticle:
    (full,), (clue,) = _tables([raw["full_answer"]], "question answer"), _tables([raw["clue"]], "category clue answer")
    claims = [
        (_string(c["claim"]), _string(c["label"]), c.get("evidence")) for c in _tables(raw["claims"], "claim label evidence")
    ]
    return ProseArticle(
        id,
        _string(raw["title"]),
        _strings(raw["about"]),
        raw["text"].strip(),
        tuple(
            ProseQuestion(_string(each["question"]), _strings(each["answers"], least=1))
            for each in _tables(raw["questions"], "question answers")
        ),
        tuple(ProseClaim(claim, label, "" if said is None else _string(said)) for claim, label, said in claims),
        ProseQuestion(_string(full["question"]), (_string(full["answer"]),)),
        Clue(_string(clue["category"]), _string(clue["clue"]), _string(clue["answer"])),
    )


def _tables(value: Any, keys: str) -> list[dict[str, Any]]:
    """A list of tables with no keys but these (which are missing is seen when they are read)."""
    for table in value:
        if unknown := set(table) - set(keys.split()):
            raise ValueError(f"the key {min(unknown)!r}")
    return list(value)


def _strings(value: Any, least: int = 0) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) < least:
        raise ValueError(f"the list {value!r}")
    return tuple(map(_string, value))


def _string(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or value != " ".join(value.split()):
        raise ValueError(f"the value {value!r}")
    return value


def _check_text(path: Path, article: ProseArticle) -> None:
    words = len(article.text.split())
    if not _WORDS[0] <= words <= _WORDS[1]:
        raise _fault(path, "text", f"has {words} words", f"write {_WORDS[0]} to {_WORDS[1]}")
    if len(article.questions) != _QUESTIONS:
        raise _fault(path, "questions", f"are {len(article.questions)}", f"ask {_QUESTIONS}")
    if not article.full_answer.answers[0].endswith(".") or len(article.full_answer.answers[0].split()) < 5:
        raise _fault(path, "full_answer.answer", "is no whole sentence", "write one that ends with a full stop")
    clue = article.clue
    if contains(clue.clue, clue.answer):
        raise _fault(path, "clue", f"names its answer {clue.answer!r}", "describe it without the name")
    if not contains(f"{article.title} {article.text}", clue.answer):
        raise _fault(path, "clue.answer", f"{clue.answer!r} does not stand in the text", "use the text's own name for it")


def _check_question(path: Path, where: str, question: ProseQuestion, article: ProseArticle) -> None:
    answer, text = question.answers[0], question.question
    if not contains(article.text, answer):
        raise _fault(path, where, f"has the answer {answer!r}, which does not stand in the text", "use the text's own words")
    leaked = (set(tokens(answer)) - _FUNCTION_WORDS) & set(tokens(text))
    if any(word.isalnum() for word in leaked):
        raise _fault(path, where, f"gives away {sorted(leaked)} of its answer", "ask in other words")
    words = [token for token in tokens(text) if token.isalnum()]
    said = f" {' '.join(token for token in tokens(article.text) if token.isalnum())} "
    for start in range(len(words) - _REPEATED + 1):
        run = " ".join(words[start : start + _REPEATED])
        if f" {run} " in said:
            raise _fault(path, where, f"repeats the text's words {run!r}", "ask in other words")
    if not text.endswith("?"):
        raise _fault(path, where, "does not end with a question mark", "end it so")


def _check_claims(path: Path, article: ProseArticle) -> None:
    known = set(sentences(article.text))
    counts = Counter(claim.label for claim in article.claims)
    if counts != dict.fromkeys(LABELS, _CLAIMS_A_LABEL):
        raise _fault(path, "claims", f"are {dict(counts)}", f"write {_CLAIMS_A_LABEL} with each label")
    for number, claim in enumerate(article.claims, 1):
        decided = claim.label != "NOT ENOUGH INFO"
        if decided and claim.evidence not in known:
            raise _fault(path, f"claims[{number}].evidence", f"{claim.evidence!r} is no sentence of the text", "copy one whole")
        if not decided and claim.evidence:
            raise _fault(path, f"claims[{number}].evidence", "is given for a claim that nothing decides", "leave it out")
        if claim.claim in known:
            raise _fault(path, f"claims[{number}]", "is a sentence of the text", "put it in other words")


def _fault(path: Path, key: str, wrong: str, remedy: str) -> MiniragError:
    return MiniragError(f"{path.name}: {key} {wrong}; {remedy}")
