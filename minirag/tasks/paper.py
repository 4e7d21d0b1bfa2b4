"""Every number that the paper publishes (Lewis et al. 2020, arXiv 2005.11401v4), to be set beside what is measured.

These are its authors' numbers. minirag has measured none of them, and shows none as its own. Percent throughout, as printed.
What does not fit together in the paper itself is said in `SLIPS`, and in the `note` of the number that it concerns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from minirag.errors import MiniragError


@dataclass(frozen=True)
class Published:
    """A number of the paper: where it stands, of which task and system, and what it is."""

    table: str
    task: str
    system: str
    metric: str
    value: float
    split: str = "test"
    note: str = ""


# A block is a table as it is printed: heads are task:metric, "-" is no number, "*" a number with the right passages given.
_TABLES = {
    ("1", "test"): """
                 nq:EM triviaqa:EM triviaqa-wiki:EM webquestions:EM curatedtrec:EM
    T5-11B       34.5  -           50.1             37.4            -
    T5-11B+SSM   36.6  -           60.5             44.7            -
    REALM        40.4  -           -                40.7            46.8
    DPR          41.5  57.9        -                41.1            50.6
    RAG-Token    44.1  55.2        66.1             45.5            50.0
    RAG-Sequence 44.5  56.8        68.0             45.2            52.2
    """,
    ("2", "test"): """
                 jeopardy:BLEU-1 jeopardy:Q-BLEU-1 msmarco:ROUGE-L msmarco:BLEU-1 fever3:accuracy fever2:accuracy
    SotA         -               -                 49.8*           49.9*          76.8            92.2*
    BART         15.1            19.7              38.2            41.6           64.0            81.1
    RAG-Token    17.3            22.2              40.1            41.5           72.5            89.5
    RAG-Sequence 14.7            21.4              40.8            44.2           72.5            89.5
    """,
    ("4", "test"): """
                jeopardy:factuality jeopardy:specificity
    BART-better 7.1                 16.8
    RAG-better  42.7                37.4
    Both-good   11.7                11.8
    Both-poor   17.7                6.9
    No-majority 20.8                20.1
    """,
    ("5", "test"): """
                 msmarco:distinct-trigrams jeopardy:distinct-trigrams
    Gold         89.6                      90.0
    BART         70.7                      32.4
    RAG-Token    77.8                      46.8
    RAG-Sequence 83.5                      53.8
    """,
    ("6", "dev"): """
                        nq:EM triviaqa:EM webquestions:EM curatedtrec:EM
    RAG-Token-BM25      29.7  41.5        32.1            33.1
    RAG-Sequence-BM25   31.8  44.1        36.6            33.8
    RAG-Token-Frozen    37.8  50.1        37.1            51.1
    RAG-Sequence-Frozen 41.2  52.1        41.8            52.6
    RAG-Token           43.5  54.8        46.5            51.9
    RAG-Sequence        44.0  55.8        44.9            53.4
    """,
    ("6", "dev "): """
                        jeopardy:BLEU-1 jeopardy:Q-BLEU-1 msmarco:ROUGE-L msmarco:BLEU-1 fever3:accuracy fever2:accuracy
    RAG-Token-BM25      17.5            22.3              55.5            48.4           75.1            91.6
    RAG-Sequence-BM25   11.1            19.5              56.5            46.9           75.1            91.6
    RAG-Token-Frozen    16.7            21.7              55.9            49.4           72.9            89.4
    RAG-Sequence-Frozen 11.8            19.6              56.7            47.3           72.9            89.4
    RAG-Token           17.9            22.6              56.2            49.4           74.5            90.6
    RAG-Sequence        15.3            21.5              57.2            47.5           74.5            90.6
    """,
}
_SIZES = """
             train  dev   test
nq           79169  8758  3611
triviaqa     78786  8838  11314
webquestions 3418   362   2033
curatedtrec  635    134   635
jeopardy     97392  13714 26849
msmarco      153726 12468 101093
fever3       145450 10000 10000
fever2       96966  6666  6666
"""
SLIPS = (
    "Table 4 and section 4.3: the text says that in a further 17 % both were factual; the table has 11.7.",
    "Table 4: the column of specificity adds up to 93.0, not to 100.",
    "Table 6: RAG-Token and RAG-Sequence share a number for FEVER, since for a label of one token they are the same.",
    "Table 7: the public files have one example less for NQ dev and test, TriviaQA dev and test, WebQuestions test and FEVER "
    "dev and test, as if ends of lines had been counted and one added. CuratedTREC's public test list has 694.",
    "Appendix: the index is said to hold vectors of 728 dimensions; BERT-base's have 768.",
    "Section 3.4 and appendix E describe FEVER differently: a label as a token, and BART's head on a claim written once more.",
)
_NOTES = {
    ("4", "Both-good"): "the text of section 4.3 says 17",
    ("2", "SotA"): "a number with * has the right passages given",
    ("7", "msmarco"): "of the test set a hidden part was used",
    ("7", "curatedtrec"): "the public test list has 694",
}
_LEADERS = {("2016", "2016"): 70, ("2018", "2018"): 68, ("2018", "2016"): 12, ("2016", "2018"): 4}


def _printed() -> Iterator[Published]:
    for (table, split), block in _TABLES.items():
        head, *rows = block.strip().splitlines()
        for system, *cells in map(str.split, rows):
            for column, cell in zip(head.split(), cells, strict=True):
                if cell != "-":
                    task, metric = column.split(":")
                    note = _NOTES.get((table, system), "")
                    yield Published(table, task, system, metric, float(cell.rstrip("*")), split.strip(), note)
    for task, *counts in map(str.split, _SIZES.strip().splitlines()[1:]):
        for split, count in zip(("train", "dev", "test"), counts, strict=True):
            yield Published("7", task, "", "examples", float(count), split, _NOTES.get(("7", task), ""))
    for (index, leaders), share in _LEADERS.items():
        yield Published("§4.5", "hot-swap", "RAG", f"index {index}, leaders {leaders}", float(share), note="82 world leaders")
    yield Published("§4.1", "nq", "RAG", "EM where no passage has the answer", 11.8)
    yield Published("§4.4", "fever3", "RAG", "first passage from a gold article", 71.0)
    yield Published("§4.4", "fever3", "RAG", "gold article in the top 10", 90.0)


NUMBERS = tuple(_printed())


def published(
    table: str | None = None, task: str | None = None, system: str | None = None, metric: str | None = None
) -> list[Published]:
    """The paper's numbers of that table, task, system and metric, as far as these are given, in the paper's order.

    Raises `MiniragError` where there is none.

    >>> [(one.metric, one.value) for one in published("2", "msmarco", "RAG-Sequence")]
    [('ROUGE-L', 40.8), ('BLEU-1', 44.2)]
    """
    wanted = {"table": table, "task": task, "system": system, "metric": metric}
    given = {name: value for name, value in wanted.items() if value is not None}
    found = [one for one in NUMBERS if all(getattr(one, name) == value for name, value in given.items())]
    if not found:
        raise MiniragError(f"the paper has no number of {', '.join(f'{name} {value}' for name, value in given.items())}")
    return found
