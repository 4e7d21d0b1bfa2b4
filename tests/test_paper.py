"""The paper's numbers: against themselves, and against what its text says about them."""

import pytest

from minirag.errors import MiniragError
from minirag.tasks.paper import NUMBERS, SLIPS, published
from minirag.tasks.task import TASKS


def value(*which: str) -> float:
    (one,) = published(*which)
    return one.value


def test_no_number_stands_twice_and_all_are_shares_or_counts() -> None:
    keys = [(one.table, one.task, one.system, one.metric, one.split) for one in NUMBERS]
    assert len(set(keys)) == len(keys) == 23 + 22 + 10 + 8 + 60 + 24 + 4 + 3
    assert all(0 < one.value <= 100 for one in NUMBERS if one.table != "7")


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (("1", "nq", "RAG-Sequence", "EM"), 44.5),
        (("1", "triviaqa-wiki", "RAG-Token", "EM"), 66.1),
        (("1", "curatedtrec", "REALM", "EM"), 46.8),
        (("2", "jeopardy", "RAG-Token", "Q-BLEU-1"), 22.2),
        (("2", "fever2", "SotA", "accuracy"), 92.2),
        (("5", "jeopardy", "BART", "distinct-trigrams"), 32.4),
        (("6", "webquestions", "RAG-Token", "EM"), 46.5),
        (("6", "msmarco", "RAG-Sequence-BM25", "ROUGE-L"), 56.5),
        (("§4.5", "hot-swap", "RAG", "index 2018, leaders 2016"), 12),
    ],
)
def test_numbers_are_those_that_are_printed(which: tuple[str, ...], expected: float) -> None:
    assert value(*which) == expected


def test_what_the_text_says_of_the_tables_is_so() -> None:
    # §4.4: 3-way within 4.3 points of the state of the art, 2-way within 2.7.
    assert value("2", "fever3", "SotA", "accuracy") - value("2", "fever3", "RAG-Token", "accuracy") == pytest.approx(4.3)
    assert value("2", "fever2", "SotA", "accuracy") - value("2", "fever2", "RAG-Token", "accuracy") == pytest.approx(2.7)
    # §4.2: 2.6 BLEU and 2.6 ROUGE-L points above BART.
    for metric in ("BLEU-1", "ROUGE-L"):
        gap = value("2", "msmarco", "RAG-Sequence", metric) - value("2", "msmarco", "BART", metric)
        assert gap == pytest.approx(2.6)
    # Appendix H: the two RAG models are the same for FEVER.
    for one in ("fever2", "fever3"):
        assert value("6", one, "RAG-Token", "accuracy") == value("6", one, "RAG-Sequence", "accuracy")


def test_the_columns_of_table_4_add_up_as_is_said() -> None:
    for metric, total in (("factuality", 100.0), ("specificity", 93.0)):
        assert sum(one.value for one in published("4", metric=metric)) == pytest.approx(total)
    assert any("93.0" in slip for slip in SLIPS)


def test_two_thirds_of_fever_are_decided() -> None:
    sizes = {(one.task, one.split): one.value for one in published("7")}
    assert sizes["fever2", "dev"] == sizes["fever2", "test"] == 2 * 3333
    assert {task for task, _ in sizes} == set(TASKS)


def test_what_the_paper_does_not_have_is_said() -> None:
    with pytest.raises(MiniragError, match="no number of table 1, task fever3"):
        published("1", "fever3")
