"""KILT (Petroni et al. 2021): tasks over one Wikipedia, with the pages that tell each answer; scores for answers and pages.

    {"id", "input", "output": [{"answer", "provenance": [{"wikipedia_id", "title", …}]}]}        JSON lines, or gzipped

An output has an answer, or provenance, or both; its provenance is a set of evidence: enough, if all its pages are read. The
knowledge source is read by `minirag.corpus.wikipedia.read_kilt`.

Scores are those of KILT's own script, at the level of pages. It differs in one point: to it, an output whose list of provenance
is empty, and not absent, is a set of evidence that nothing finds, which lowers recall. Here it is no evidence.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from minirag.corpus.readers import id_of
from minirag.corpus.rows import BadRows, RowError, json_rows, made_of, text_of
from minirag.errors import MiniragError
from minirag.tasks.generation import kilt_rouge_l
from minirag.tasks.metrics import decomposed, exact_match, f1_score, normalize_answer
from minirag.tasks.openqa import Question

Evidence = Sequence[frozenset[str]]


def read_kilt(path: str | Path, bad: BadRows | None = None) -> list[Question]:
    """The input as `question`, the answers of all outputs, and as `evidence` the Wikipedia ids of each output's provenance.

    Blank answers are none, as in KILT. Raises `MiniragError` with file and row for a row without input or without any answer
    (KILT's test sets are published so), and for provenance that names no page.
    """
    path, bad = Path(path), BadRows() if bad is None else bad
    questions = list(made_of(path, json_rows(path, bad), question_of, bad))
    if not questions:
        raise MiniragError(f"{path} holds no question; check that it is the right file")
    return questions


def question_of(row: dict[str, object], number: int) -> Question:
    """One row of a KILT file; raises `RowError` for what is none."""
    outputs = _outputs(row)
    answers = dict.fromkeys(answer for one in outputs if (answer := _answer(one)))
    if "input" not in row:
        raise RowError("there is no 'input'; KILT's TriviaQA is published so, and TriviaQA's own files have the questions")
    if not answers:
        raise RowError("no output has an answer, which KILT's test sets are published without")
    evidence = tuple(pages for one in outputs if (pages := _pages(one)))
    return Question(id_of(row, number), text_of(row, "input").strip(), tuple(answers), evidence=evidence)


def page_ids(path: str | Path, bad: BadRows | None = None) -> dict[str, str]:
    """Of each title that a file's provenance names, in Unicode's decomposed form, its page's Wikipedia id.

    So passages, of which the title is known, are told from each other by page as far as scores ask: a title that is not here is
    evidence of nothing. A title that stands for several pages is left out, and counted in `bad.passed_over`.
    """
    path, bad = Path(path), BadRows() if bad is None else bad
    pages: dict[str, set[str]] = {}
    for named in made_of(path, json_rows(path, bad), lambda row, _: list(_named(row)), bad):
        for title, page in named:
            pages.setdefault(title, set()).add(page)
    if several := sum(len(own) > 1 for own in pages.values()):
        bad.passed_over["title that stands for several pages"] += several
    return {title: page for title, own in pages.items() if len(own) == 1 for page in own}


def r_precision(found: Sequence[str], evidence: Evidence) -> float:
    """max_e |first R_e pages ∩ e| / R_e over the sets of evidence e of R_e pages each; 0 where there is none.

    `found`, here and below: the pages of the passages found, best first; a page counts once, where it first stands.

    >>> r_precision(["Bern", "Bern", "Ulm", "Aare"], [frozenset({"Bern", "Aare"}), frozenset({"Ulm"})])
    0.5
    """
    pages = list(dict.fromkeys(found))
    return max((len(one.intersection(pages[: len(one)])) / len(one) for one in evidence if one), default=0.0)


def ranking(found: Sequence[str], evidence: Evidence) -> list[bool]:
    """The ranking in which KILT counts: each place is a set of evidence, or a page that is in none; True for a set of which all
    pages were found.

    A set's place is that of the last of its pages found; those before take no place of their own.

    >>> ranking(["Bern", "Ulm", "Rome", "Aare"], [frozenset({"Bern", "Aare"}), frozenset({"Ulm"})])
    [True, False, True]
    """
    pages, places = list(dict.fromkeys(found)), list[bool]()
    for count, page in enumerate(pages, 1):
        holding = [one for one in dict.fromkeys(evidence) if page in one]
        ending = [one for one in holding if one.isdisjoint(pages[count:])]
        places += [one.issubset(pages) for one in ending] if holding else [False]
    return places


def precision_at(k: int, found: Sequence[str], evidence: Evidence) -> float:
    """The share of hits among the first k places of the `ranking`, k places always, however few were found."""
    return sum(_first(k, found, evidence)) / k


def recall_at(k: int, found: Sequence[str], evidence: Evidence) -> float:
    """The share of the distinct sets of evidence that are hits among the first k places of the `ranking`; 0 if none is."""
    return sum(_first(k, found, evidence)) / max(len(set(evidence) - {frozenset()}), 1)


def success_at(k: int, found: Sequence[str], evidence: Evidence) -> float:
    """1 if some set of evidence is a hit among the first k places of the `ranking`, else 0."""
    return float(any(_first(k, found, evidence)))


def retrieval_scores(found: Sequence[Sequence[str]], questions: Sequence[Question], k: int = 5) -> dict[str, float]:
    """Means over all questions; one without evidence counts 0, as in KILT, whose leaderboard shows R-precision and recall@5.

    >>> asked = [Question("1", "What flows round Bern?", ("Aare",), evidence=(frozenset({"Bern"}), frozenset({"Aare"})))]
    >>> retrieval_scores([["Ulm", "Aare"]], asked)
    {'R-precision': 0.0, 'precision@5': 0.2, 'recall@5': 0.5, 'success rate@5': 1.0}
    """
    _check_one_each(questions, found)
    pairs = [(own, one.evidence) for own, one in zip(found, questions, strict=True)]
    return {
        "R-precision": _mean([r_precision(*pair) for pair in pairs]),
        f"precision@{k}": _mean([precision_at(k, *pair) for pair in pairs]),
        f"recall@{k}": _mean([recall_at(k, *pair) for pair in pairs]),
        f"success rate@{k}": _mean([success_at(k, *pair) for pair in pairs]),
    }


def answer_scores(outputs: Sequence[str], found: Sequence[Sequence[str]], questions: Sequence[Question]) -> dict[str, float]:
    """Accuracy (the very text), exact match, F1 and ROUGE-L; and each as "KILT-…", where an answer counts only if R-precision
    is 1, so that it is right and can be shown to be.

    >>> asked = [Question(str(i), "What flows round Bern?", ("Aare",), evidence=(frozenset({"Bern"}),)) for i in range(2)]
    >>> scores = answer_scores(["the Aare", "Aare"], [["Bern"], ["Ulm"]], asked)
    >>> scores["accuracy"], scores["exact match"], scores["KILT-accuracy"], scores["KILT-exact match"]
    (0.5, 1.0, 0.0, 0.5)
    """
    _check_one_each(questions, found, outputs)
    told = [r_precision(own, one.evidence) == 1 for own, one in zip(found, questions, strict=True)]
    pairs = [(said.strip(), one.answers) for said, one in zip(outputs, questions, strict=True)]
    plain = {name: [of(*pair) for pair in pairs] for name, of in ANSWER_SCORES.items()}
    shown = {f"KILT-{name}": [score * right for score, right in zip(plain[name], told, strict=True)] for name in plain}
    return {name: _mean(scores) for name, scores in (plain | shown).items()}


# KILT's four scores of one answer, without white space at its ends: nothing said scores 0, and so does F1 without a word in
# common, were it none at all.
ANSWER_SCORES: Mapping[str, Callable[[str, Sequence[str]], float]] = {
    "accuracy": lambda said, answers: float(bool(said) and said in map(str.strip, answers)),
    "exact match": lambda said, answers: float(bool(said) and exact_match(said, answers)),
    "F1": lambda said, answers: f1_score(said, answers) if normalize_answer(said) else 0.0,
    "ROUGE-L": kilt_rouge_l,
}


def _first(k: int, found: Sequence[str], evidence: Evidence) -> list[bool]:
    if k < 1:
        raise MiniragError(f"k is {k}; count at least the first place")
    return ranking(found, evidence)[:k]


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)


def _check_one_each(questions: Sequence[Question], *others: Sequence[object]) -> None:
    if not questions or any(len(one) != len(questions) for one in others):
        counts = " and ".join(str(len(one)) for one in others)
        raise MiniragError(f"there are {counts} predictions for {len(questions)} questions; give one for each, at least one")


def _outputs(row: dict[str, object]) -> list[dict[str, object]]:
    outputs = row.get("output")
    if not isinstance(outputs, list) or not all(isinstance(one, dict) for one in outputs):
        raise RowError("'output' should be a list of objects, which KILT's test sets are published without")
    return outputs


def _answer(output: dict[str, object]) -> str:
    given = output.get("answer")
    return "" if given is None or (isinstance(given, str) and not given.strip()) else text_of(output, "answer").strip()


def _pages(output: dict[str, object]) -> frozenset[str]:
    return frozenset(map(_page, _places(output)))


def _named(row: dict[str, object]) -> Iterator[tuple[str, str]]:
    for output in _outputs(row):
        for place in _places(output):
            if isinstance(title := place.get("title"), str) and title.strip():
                yield decomposed(title.strip()), _page(place)


def _places(output: dict[str, object]) -> list[dict[str, object]]:
    given = output.get("provenance")
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise RowError("'provenance' should be a list of objects")
    return given


def _page(place: dict[str, object]) -> str:
    page = place.get("wikipedia_id")
    if isinstance(page, int) and not isinstance(page, bool):  # KILT's own samples have both
        return str(page)
    return text_of(place, "wikipedia_id").strip()
