"""Every number that the paper publishes (Lewis et al. 2020, arXiv 2005.11401v4), to be set beside what is measured.

These are its authors' numbers. minirag has measured none of them, and shows none as its own. Percent, unless the metric's name
says otherwise, as printed. What does not fit together in the paper is in `SLIPS`, and in the `note` of the numbers concerned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Slip:
    """What does not fit together, and the numbers it concerns: those of the table that have the fields that are given here."""

    what: str
    table: str
    task: str = ""
    system: str = ""
    metric: str = ""
    split: str = ""

    def concerns(self, one: Published) -> bool:
        names = ("table", "task", "system", "metric", "split")
        return all(getattr(self, name) in ("", getattr(one, name)) for name in names)


# Tables as they are printed, the sixth in two halves. A head is table,split and then each task:metric; "-" is no number, "*"
# marks one with the gold passages given.
_TABLES = """
1,test       nq:EM triviaqa:EM triviaqa-wiki:EM webquestions:EM curatedtrec:EM
T5-11B       34.5  -           50.1             37.4            -
T5-11B+SSM   36.6  -           60.5             44.7            -
REALM        40.4  -           -                40.7            46.8
DPR          41.5  57.9        -                41.1            50.6
RAG-Token    44.1  55.2        66.1             45.5            50.0
RAG-Sequence 44.5  56.8        68.0             45.2            52.2

2,test       jeopardy:BLEU-1 jeopardy:Q-BLEU-1 msmarco:ROUGE-L msmarco:BLEU-1 fever3:accuracy fever2:accuracy
SotA         -               -                 49.8*           49.9*          76.8            92.2*
BART         15.1            19.7              38.2            41.6           64.0            81.1
RAG-Token    17.3            22.2              40.1            41.5           72.5            89.5
RAG-Sequence 14.7            21.4              40.8            44.2           72.5            89.5

4,test      jeopardy:factuality jeopardy:specificity
BART-better 7.1                 16.8
RAG-better  42.7                37.4
Both-good   11.7                11.8
Both-poor   17.7                6.9
No-majority 20.8                20.1

5,test       msmarco:distinct-trigrams jeopardy:distinct-trigrams
Gold         89.6                      90.0
BART         70.7                      32.4
RAG-Token    77.8                      46.8
RAG-Sequence 83.5                      53.8

6,dev               nq:EM triviaqa:EM webquestions:EM curatedtrec:EM
RAG-Token-BM25      29.7  41.5        32.1            33.1
RAG-Sequence-BM25   31.8  44.1        36.6            33.8
RAG-Token-Frozen    37.8  50.1        37.1            51.1
RAG-Sequence-Frozen 41.2  52.1        41.8            52.6
RAG-Token           43.5  54.8        46.5            51.9
RAG-Sequence        44.0  55.8        44.9            53.4

6,dev               jeopardy:BLEU-1 jeopardy:Q-BLEU-1 msmarco:ROUGE-L msmarco:BLEU-1 fever3:accuracy fever2:accuracy
RAG-Token-BM25      17.5            22.3              55.5            48.4           75.1            91.6
RAG-Sequence-BM25   11.1            19.5              56.5            46.9           75.1            91.6
RAG-Token-Frozen    16.7            21.7              55.9            49.4           72.9            89.4
RAG-Sequence-Frozen 11.8            19.6              56.7            47.3           72.9            89.4
RAG-Token           17.9            22.6              56.2            49.4           74.5            90.6
RAG-Sequence        15.3            21.5              57.2            47.5           74.5            90.6
"""
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
_LEADERS = {("2016", "2016"): 70, ("2018", "2018"): 68, ("2018", "2016"): 12, ("2016", "2018"): 4}
_TEXT = (
    Published("§4.1", "nq", "RAG", "EM where no passage has the answer", 11.8, note="an extractive reader has 0"),
    Published("§4.3", "jeopardy", "", "pairs judged", 452.0),
    Published("§4.3", "jeopardy", "Both-good", "factuality", 17.0),
    Published("§4.4", "fever3", "RAG", "points below SotA", 4.3),
    Published("§4.4", "fever2", "RAG", "points below SotA", 2.7),
    Published("§4.4", "fever3", "RAG", "first passage from a gold article", 71.0),
    Published("§4.4", "fever3", "RAG", "gold article in the top 10", 90.0),
    Published("App. C", "", "index", "memory, GB", 100.0, ""),
    Published("App. C", "", "index, compressed", "memory, GB", 36.0, ""),
    Published("App. G", "nq", "T5-large", "EM", 28.9, note="closed book, 770 million parameters"),
    Published("App. G", "", "question encoder", "parameters, millions", 110.0, ""),
    Published("App. G", "", "document encoder", "parameters, millions", 110.0, ""),
    Published("App. G", "", "generator", "parameters, millions", 406.0, ""),
    Published("App. G", "", "RAG", "parameters, millions", 626.0, ""),
    Published("App. G", "", "index", "vectors, millions", 21.0, ""),
    Published("App. G", "", "index", "dimensions", 728.0, ""),
    Published("App. G", "", "index", "values, billions", 15.3, ""),
)
_GOLD = "with the gold passages given"
_ONE_LESS = "the public list has one less"
_NOT_OF_635 = "no share of table 7's 635 examples, but one of the public list's 694"
_FEVER_TWICE = "§3.4 makes the label a token to generate; appendix E writes the claim again and reads the last state"
# What goes by "share" was found by arithmetic: no number of right answers out of that many examples is printed like this.
SLIPS = (
    Slip(_NOT_OF_635, "1", "curatedtrec", "RAG-Token"),
    Slip(_NOT_OF_635, "1", "curatedtrec", "RAG-Sequence"),
    Slip(_FEVER_TWICE, "2", metric="accuracy", system="RAG-Token"),
    Slip(_FEVER_TWICE, "2", metric="accuracy", system="RAG-Sequence"),
    Slip("the text of §4.3 says 17", "4", system="Both-good", metric="factuality"),
    Slip("table 4 has 11.7", "§4.3", system="Both-good", metric="factuality"),
    Slip("the column adds up to 93.0", "4", metric="specificity"),
    Slip("no share of 452 pairs; 18.8 is one, and the column then adds up", "4", system="Both-good", metric="specificity"),
    Slip("no share of table 7's 362 examples, but one of 361", "6", "webquestions"),
    Slip("no share of table 7's 134 examples, but one of 133", "6", "curatedtrec"),
    Slip(_ONE_LESS, "7", "nq"),
    Slip(_ONE_LESS, "7", "triviaqa"),
    Slip(_ONE_LESS, "7", "webquestions"),
    Slip(_ONE_LESS, "7", "curatedtrec", split="dev"),
    Slip("the same number as for training; the public list has 694", "7", "curatedtrec", split="test"),
    Slip(_ONE_LESS, "7", "fever3", split="dev"),
    Slip(_ONE_LESS, "7", "fever3", split="test"),
    Slip("called trainable, but the document encoder's 110 are fixed", "App. G", system="RAG"),
    Slip("BERT-base has 768", "App. G", metric="dimensions"),
    Slip("that is 21 million times 728; times 768 it is 16.1", "App. G", metric="values, billions"),
)


def _printed() -> Iterator[Published]:
    for block in _TABLES.strip().split("\n\n"):
        (where, *columns), *rows = map(str.split, block.splitlines())
        table, split = where.split(",")
        for system, *cells in rows:
            for column, cell in zip(columns, cells, strict=True):
                if cell != "-":
                    task, metric = column.split(":")
                    note = _GOLD if cell.endswith("*") else ""
                    yield Published(table, task, system, metric, float(cell.rstrip("*")), split, note)
    for task, *counts in map(str.split, _SIZES.strip().splitlines()[1:]):
        for split, count in zip(("train", "dev", "test"), counts, strict=True):
            hidden = "a hidden part of it was used" if (task, split) == ("msmarco", "test") else ""
            yield Published("7", task, "", "examples", float(count), split, hidden)
    for (index, leaders), share in _LEADERS.items():
        yield Published("§4.5", "hot-swap", "RAG", f"index {index}, leaders {leaders}", float(share), note="82 world leaders")
    yield from _TEXT


def _noted(one: Published) -> Published:
    """The number with what is to be said of it: of the table, and of the slips that concern it."""
    return replace(one, note="; ".join(filter(None, [one.note, *(slip.what for slip in SLIPS if slip.concerns(one))])))


NUMBERS = tuple(map(_noted, _printed()))


def published(
    table: str | None = None,
    task: str | None = None,
    system: str | None = None,
    metric: str | None = None,
    split: str | None = None,
) -> list[Published]:
    """The paper's numbers of that table, task, system, metric and split, as far as these are given, in the paper's order.

    Raises `MiniragError` where there is none.

    >>> [(one.metric, one.value) for one in published("2", "msmarco", "RAG-Sequence")]
    [('ROUGE-L', 40.8), ('BLEU-1', 44.2)]
    >>> published("4", system="Both-good", metric="factuality")[0].note
    'the text of §4.3 says 17'
    """
    wanted = {"table": table, "task": task, "system": system, "metric": metric, "split": split}
    given = {name: value for name, value in wanted.items() if value is not None}
    found = [one for one in NUMBERS if all(getattr(one, name) == value for name, value in given.items())]
    if not found:
        asked = ", ".join(f"{name} {value}" for name, value in given.items())
        raise MiniragError(f"the paper has no number of {asked}; leave one of these out to see what it has")
    return found
