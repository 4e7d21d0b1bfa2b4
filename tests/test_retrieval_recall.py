"""Answer recall over any passages and question sets."""

from pathlib import Path

import pytest

from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.evaluation.retrieval import measure
from minirag.evaluation.run import QuestionSet
from minirag.retrieval.pretrained import mini_biencoder
from minirag.tasks.openqa import Question

RIVERS = {"Nile": "blue sea", "Rhine": "cold sea", "Volga": "deep sea", "Indus": "warm sea"}


@pytest.mark.filterwarnings("ignore:34 vectors cannot fill 256 codewords")
def test_each_system_is_measured_on_each_set(tmp_path: Path) -> None:
    passages = [Passage(str(i), river, f"The {river} flows to the {sea}.") for i, (river, sea) in enumerate(RIVERS.items())]
    passages += [Passage(str(4 + i), "Elsewhere", f"Here number {i} is nothing.") for i in range(30)]
    told = QuestionSet("told", tuple(Question(r, f"Where does the {r} flow?", (sea,)) for r, sea in RIVERS.items()))
    untold = QuestionSet("untold", (Question("Ob", "Where does the Ob flow?", ("white sea",)),))
    store = PassageStore.write(tmp_path / "passages", passages)
    found = measure(store, [told, untold], mini_biencoder(), "mini", tmp_path, progress=False)
    values = {(one.task, one.system, one.metric): one.value for one in found}
    assert values["told", "BM25", "recall@1"] == 1.0
    assert values["told", "mini, exact", "recall@5"] == 1.0
    assert values["told", "random", "recall@1"] < 1.0
    assert values["told", "mini, IVF-PQ", "recall@1"] == 1.0
    assert 0.0 < values["told", "mini, IVF-PQ", "of the top 20 of exact search"] < 0.5  # of six lists two are looked into
    assert all(values["untold", system, "recall@20"] == 0.0 for system in ("random", "BM25", "mini, exact"))
    assert len(values) == 2 * (4 * 3 + 1)
