"""FEVER (Thorne et al. 2018): claims that Wikipedia supports, refutes, or does not decide (§3.4).

| layout | looks like | published as |
|---|---|---|
| FEVER | JSON lines `{"id", "label", "claim", "evidence": [[[annotation, evidence, "Page_Title", sentence]]]}` | FEVER |
| FoolMeTwice | JSON lines `{"id", "text", "label", "wikipedia_page", "gold_evidence": [{"section_header", "text"}]}` | FM2 |
| symmetric | JSON lines `{"id", "claim", "label", "evidence": "a sentence"}` | the symmetric test set |

Any of them may be gzipped. The paper's table 7 has 145,450 training claims with three labels and 96,966 with two; of its 10,000
for dev and test the public files have 9,999, as if ends of lines had been counted and one added.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minirag.corpus.passages import Article, Passage
from minirag.corpus.readers import id_of
from minirag.corpus.rows import BadRows, RowError, json_rows, made_of, text_of
from minirag.errors import MiniragError
from minirag.tasks.metrics import decomposed
from minirag.tasks.openqa import Question

LABELS = ("SUPPORTS", "REFUTES", "NOT ENOUGH INFO")
UNDECIDED = "claim that nothing decides"  # what the 2-way task passes over
_SPELLED = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-COLON-": ":"}


def read_fever(path: str | Path, ways: int = 3, bad: BadRows | None = None) -> list[Question]:
    """Claims as `question`, their label as the only one of `answers`, the titles of each set of evidence as `evidence`.

    With `ways=2` the claims that nothing decides are left out, as in the paper's 2-way task, and counted in `bad.passed_over`.
    Raises `MiniragError` with file and row for a row without claim, or with another label.
    """
    if ways not in (2, 3):
        raise MiniragError(f"FEVER has 3 labels, or 2 where what nothing decides is left out, and not {ways}")
    path, bad = Path(path), BadRows() if bad is None else bad
    claims = list(made_of(path, json_rows(path, bad), _claim, bad))
    if not claims:
        raise MiniragError(f"{path} holds no claim; check that it is the right file")
    if ways == 3:
        return claims
    bad.passed_over[UNDECIDED] += undecided(claims)
    return [claim for claim in claims if claim.answers[0] != LABELS[2]]


def undecided(claims: Iterable[Question]) -> int:
    """How many claims the 2-way task leaves out."""
    return sum(claim.answers[0] == LABELS[2] for claim in claims)


@dataclass(frozen=True)
class Evidenced:
    """A claim with the sentences that were shown with it, as passages under their page's title; the first `gold` decide it."""

    claim: Question
    sentences: tuple[Passage, ...]
    gold: int


def read_with_evidence(path: str | Path, bad: BadRows | None = None) -> list[Evidenced]:
    """FoolMeTwice's or the symmetric set's claims with their sentences; each sentence once, those that decide first.

    A sentence's id is "page|sentence", so that one shown with two claims is one passage.
    """
    path, bad = Path(path), BadRows() if bad is None else bad
    found = list(made_of(path, json_rows(path, bad), _evidenced, bad))
    if not found:
        raise MiniragError(f"{path} holds no claim; check that it is the right file")
    return found


def title_of(spelled: str) -> str:
    """A page's title from FEVER's spelling of it.

    >>> title_of("Mercury_-LRB-planet-RRB-")
    'Mercury (planet)'
    """
    for name, sign in _SPELLED.items():
        spelled = spelled.replace(name, sign)
    return spelled.replace("_", " ")


def read_wiki_pages(path: str | Path, bad: BadRows | None = None) -> Iterator[Article]:
    """FEVER's pages, JSON lines `{"id", "text", "lines"}`, as articles.

    Those without text, which FEVER has, are left out and counted in `bad.passed_over` as the file is read.
    """
    path, bad = Path(path), BadRows() if bad is None else bad

    def article(row: dict[str, object], number: int) -> Article | None:
        if row.get("text") == "":
            bad.passed_over["page without text"] += 1
            return None
        return Article(text_of(row, "id"), title_of(text_of(row, "id")), text_of(row, "text"))

    return (page for page in made_of(path, json_rows(path, bad), article, bad) if page is not None)


def label_accuracy(predictions: Sequence[str], claims: Sequence[Question]) -> float:
    """The share of claims that were given their label."""
    return sum(confusion(predictions, claims)[label, label] for label in LABELS) / len(claims)


def confusion(predictions: Sequence[str], claims: Sequence[Question]) -> Mapping[tuple[str, str], int]:
    """How many claims of each label were given each label, by (its own, the one given). Raises `MiniragError` for a label that
    is none, and where there is no claim.

    >>> claims = [Question("1", "?", ("SUPPORTS",)), Question("2", "?", ("REFUTES",))]
    >>> confusion(["SUPPORTS", "SUPPORTS"], claims)["REFUTES", "SUPPORTS"]
    1
    """
    if not claims or len(predictions) != len(claims):
        raise MiniragError(f"there are {len(predictions)} labels for {len(claims)} claims; give one for each, at least one")
    if odd := [label for label in predictions if label not in LABELS]:
        raise MiniragError(f"'{odd[0]}' is no label of FEVER; choose among {', '.join(LABELS)}")
    return Counter((claim.answers[0], given) for claim, given in zip(claims, predictions, strict=True))


@dataclass(frozen=True)
class GoldFound:
    """Of `n` claims that have evidence: how often the first passage, and one of the top k, is of a page with evidence."""

    first: float
    top: float
    n: int


def gold_found(titles: Sequence[Sequence[str]], claims: Sequence[Question], k: int = 10) -> GoldFound:
    """Whether retrieval reaches the right pages: the paper reports 71 % of first passages and 90 % of the top ten (§4.4).

    `titles`: those of each claim's passages, best first. Claims that nothing decides have no evidence, and are not counted.
    Titles are compared in Unicode's decomposed form: FEVER's are in it, of DPR's passages only some.

    >>> claims = [Question("1", "?", ("SUPPORTS",), evidence=(frozenset({"Rhine"}),))]
    >>> gold_found([["Nile", "Rhine"]], claims)
    GoldFound(first=0.0, top=1.0, n=1)
    """
    told = [
        [decomposed(title) in pages for title in own[:k]]
        for own, claim in zip(titles, claims, strict=True)
        if (pages := {decomposed(page) for pages in claim.evidence for page in pages})
    ]
    if not told:
        raise MiniragError("no claim has evidence; give claims that some page supports or refutes")
    return GoldFound(sum(any(own[:1]) for own in told) / len(told), sum(map(any, told)) / len(told), len(told))


def _claim(row: dict[str, object], number: int) -> Question:
    label = row.get("label")
    if label not in LABELS:
        raise RowError(f"has the label {label!r}, which is none of {', '.join(LABELS)}")
    claim = text_of(row, "claim" if "claim" in row else "text").strip()
    return Question(id_of(row, number), claim, (str(label),), evidence=tuple(_titles(row)))


def _titles(row: dict[str, object]) -> Iterator[frozenset[str]]:
    """The pages of each set of evidence, each set once."""
    if "wikipedia_page" in row:
        yield frozenset({text_of(row, "wikipedia_page")})
    sets = row.get("evidence", [])
    if isinstance(sets, str):  # the symmetric set's: a sentence, of which no page is told
        return
    if not isinstance(sets, list):
        raise RowError("has 'evidence' that is no list of sets")
    seen = set[frozenset[str]]()
    for one in sets:
        try:
            pages = frozenset(title_of(title) for _, _, title, _ in one if title is not None)
        except (TypeError, ValueError, AttributeError):
            raise RowError(
                f"has a set of evidence that is no list of [annotation, evidence, title, sentence]: {one!r:.60}"
            ) from None
        if pages and pages not in seen:
            seen.add(pages)
            yield pages


def _evidenced(row: dict[str, object], number: int) -> Evidenced:
    claim = _claim(row, number)
    if isinstance(row.get("evidence"), str):
        gold, others, title = [text_of(row, "evidence")], [], ""
    else:
        gold, others = (list(_sentences(row, key)) for key in ("gold_evidence", "retrieved_evidence"))
        title = text_of(row, "wikipedia_page")
    texts = dict.fromkeys(text.strip() for text in (*gold, *others))
    if not texts:
        raise RowError("has no sentence of evidence")
    passages = tuple(Passage(f"{title}|{text}", title, text) for text in texts)
    return Evidenced(claim, passages, len(dict.fromkeys(text.strip() for text in gold)))


def _sentences(row: dict[str, object], key: str) -> Iterator[str]:
    given = row.get(key, [])
    if not isinstance(given, list):
        raise RowError(f"{key!r} should be a list but is {type(given).__name__}")
    for one in given:
        if not isinstance(one, dict):
            raise RowError(f"{key!r} should hold objects with a 'text'")
        yield text_of(one, "text")
