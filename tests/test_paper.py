"""The paper's numbers: against themselves, and against what its text says about them."""

from dataclasses import FrozenInstanceError
from fractions import Fraction

import pytest

from minirag.errors import MiniragError
from minirag.tasks.paper import NUMBERS, SLIPS, Published, Slip, published
from minirag.tasks.task import TASKS

PAIRS = 452  # that people judged


def value(*which: str) -> float:
    (one,) = published(*which)
    return one.value


def as_printed(hits: int, n: int) -> float:
    """A share in percent with one decimal, halves up, without a binary fraction on the way."""
    return int(Fraction(1000 * hits, n) + Fraction(1, 2)) / 10


def hits_of(share: float, n: int) -> list[int]:
    return [hits for hits in range(n + 1) if as_printed(hits, n) == share]


def test_no_number_stands_twice_and_all_are_shares_or_counts() -> None:
    keys = [(one.table, one.task, one.system, one.metric, one.split) for one in NUMBERS]
    assert len(set(keys)) == len(keys) == 23 + 22 + 10 + 8 + 60 + 24 + 4 + 17
    percent = [one for one in NUMBERS if one.task and one.metric not in ("examples", "pairs judged")]
    assert all(0 < one.value <= 100 for one in percent)
    with pytest.raises(FrozenInstanceError):
        NUMBERS[0].value = 50.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (("1", "nq", "RAG-Sequence", "EM"), 44.5),
        (("1", "nq", "T5-11B+SSM", "EM"), 36.6),
        (("1", "triviaqa", "DPR", "EM"), 57.9),
        (("1", "triviaqa-wiki", "RAG-Token", "EM"), 66.1),
        (("1", "curatedtrec", "REALM", "EM"), 46.8),
        (("2", "jeopardy", "RAG-Token", "Q-BLEU-1"), 22.2),
        (("2", "msmarco", "BART", "ROUGE-L"), 38.2),
        (("2", "fever2", "SotA", "accuracy"), 92.2),
        (("5", "msmarco", "Gold", "distinct-trigrams"), 89.6),
        (("5", "jeopardy", "BART", "distinct-trigrams"), 32.4),
        (("6", "webquestions", "RAG-Token", "EM"), 46.5),
        (("6", "curatedtrec", "RAG-Sequence-Frozen", "EM"), 52.6),
        (("6", "msmarco", "RAG-Sequence-BM25", "ROUGE-L"), 56.5),
        (("6", "fever3", "RAG-Token-BM25", "accuracy"), 75.1),
        (("7", "msmarco", "", "examples", "dev"), 12468),
        (("§4.1", "nq"), 11.8),
        (("§4.4", "fever3", "RAG", "gold article in the top 10"), 90),
        (("§4.5", "hot-swap", "RAG", "index 2018, leaders 2016"), 12),
        (("App. G", "nq", "T5-large", "EM"), 28.9),
    ],
)
def test_numbers_are_those_that_are_printed(which: tuple[str, ...], expected: float) -> None:
    assert value(*which) == expected


@pytest.mark.parametrize(
    ("table", "total"), [("1", 1110.4), ("2", 1094.6), ("4", 193.0), ("5", 544.6), ("6", 2873.9), ("7", 878_683)]
)
def test_tables_add_up_to_what_the_printed_ones_do(table: str, total: float) -> None:
    """Sums over all cells of a second transcript: one digit that is wrong changes them."""
    assert sum(one.value for one in published(table)) == pytest.approx(total, abs=1e-6)


def test_every_row_has_its_length() -> None:
    """Which cells of tables 1 and 2 are empty: a number in the wrong column would fill another."""
    qa = {"nq", "triviaqa", "triviaqa-wiki", "webquestions", "curatedtrec"}
    assert {one.task for one in published("1", system="T5-11B")} == qa - {"triviaqa", "curatedtrec"}
    assert {one.task for one in published("1", system="REALM")} == qa - {"triviaqa", "triviaqa-wiki"}
    assert {one.task for one in published("1", system="DPR")} == qa - {"triviaqa-wiki"}
    assert {one.task for one in published("2", system="SotA")} == {"msmarco", "fever3", "fever2"}
    assert len(published("6", system="RAG-Token-Frozen", split="dev")) == 10


def test_what_the_text_says_of_the_tables_is_so() -> None:
    # §4.4: 3-way within 4.3 points of the state of the art, 2-way within 2.7.
    for task in ("fever3", "fever2"):
        gap = value("2", task, "SotA", "accuracy") - value("2", task, "RAG-Token", "accuracy")
        assert gap == pytest.approx(value("§4.4", task, "RAG", "points below SotA"))
    # §4.2: 2.6 BLEU and 2.6 ROUGE-L points above BART.
    for metric in ("BLEU-1", "ROUGE-L"):
        gap = value("2", "msmarco", "RAG-Sequence", metric) - value("2", "msmarco", "BART", metric)
        assert gap == pytest.approx(2.6)
    # §2.1: for a target of one token the two RAG models are the same.
    for table, task in (("2", "fever2"), ("2", "fever3"), ("6", "fever2"), ("6", "fever3")):
        assert value(table, task, "RAG-Token", "accuracy") == value(table, task, "RAG-Sequence", "accuracy")
    # Appendix G: the parts make the whole.
    parts = [
        value("App. G", "", part, "parameters, millions") for part in ("question encoder", "document encoder", "generator")
    ]
    assert sum(parts) == value("App. G", "", "RAG", "parameters, millions")


def test_the_columns_of_table_4_add_up_as_is_said() -> None:
    for metric, total in (("factuality", 100.0), ("specificity", 93.0)):
        assert sum(one.value for one in published("4", metric=metric)) == pytest.approx(total)
    assert all("93.0" in one.note for one in published("4", metric="specificity"))
    assert not any("93.0" in one.note for one in published("4", metric="factuality"))


def test_table_4_is_of_452_pairs_but_for_one_number() -> None:
    assert value("§4.3", "jeopardy", "", "pairs judged") == PAIRS
    factuality, specificity = (
        [hits_of(one.value, PAIRS) for one in published("4", metric=metric)] for metric in ("factuality", "specificity")
    )
    assert factuality == [[32], [193], [53], [80], [94]]
    assert sum(hits for [hits] in factuality) == PAIRS
    assert specificity == [[76], [169], [], [31], [91]]  # 11.8 % is of no number of pairs
    missing = PAIRS - 76 - 169 - 31 - 91
    assert as_printed(missing, PAIRS) == 18.8  # as the slip says
    (one,) = published("4", system="Both-good", metric="specificity")
    assert "18.8" in one.note


@pytest.mark.parametrize(("task", "said", "public", "table"), [("webquestions", 362, 361, "6"), ("curatedtrec", 134, 133, "6")])
def test_dev_shares_are_of_one_example_less_than_table_7_says(task: str, said: int, public: int, table: str) -> None:
    assert value("7", task, "", "examples", "dev") == said
    for one in published(table, task):
        assert not hits_of(one.value, said)
        assert hits_of(one.value, public)
        assert f"one of {public}" in one.note


def test_curatedtrec_was_tested_on_more_than_table_7_says() -> None:
    assert value("7", "curatedtrec", "", "examples", "test") == 635
    for system in ("RAG-Token", "RAG-Sequence"):
        (one,) = published("1", "curatedtrec", system)
        assert not hits_of(one.value, 635)
        assert hits_of(one.value, 694)
        assert "694" in one.note
    assert not published("1", "curatedtrec", "DPR")[0].note


def test_the_index_has_as_many_values_as_its_slip_makes() -> None:
    million, dimensions = (value("App. G", "", "index", metric) for metric in ("vectors, millions", "dimensions"))
    assert round(million * dimensions / 1000, 1) == value("App. G", "", "index", "values, billions") == 15.3
    assert round(million * 768 / 1000, 1) == 16.1


def test_a_note_stands_at_the_numbers_it_concerns_and_at_no_others() -> None:
    for slip in SLIPS:
        concerned = [one for one in NUMBERS if slip.concerns(one)]
        assert concerned, slip
        assert all(slip.what in one.note for one in concerned)
    given = [(one.task, one.metric) for one in NUMBERS if "gold passages given" in one.note]
    assert given == [("msmarco", "ROUGE-L"), ("msmarco", "BLEU-1"), ("fever2", "accuracy")]  # the stars of table 2
    assert {one.table for one in NUMBERS if "table 4 has 11.7" in one.note} == {"§4.3"}
    assert not Slip("", "1", "nq", split="dev").concerns(Published("1", "nq", "DPR", "EM", 41.5))


def test_two_thirds_of_fever_are_decided() -> None:
    sizes = {(one.task, one.split): one.value for one in published("7")}
    assert sizes["fever2", "dev"] == sizes["fever2", "test"] == 2 * 3333
    assert {task for task, _ in sizes} == set(TASKS)


def test_what_the_paper_does_not_have_is_said() -> None:
    with pytest.raises(MiniragError, match="no number of table 1, task fever3; leave one of these out"):
        published("1", "fever3")
    with pytest.raises(MiniragError, match="split train"):
        published("1", split="train")
    assert published() == list(NUMBERS)
