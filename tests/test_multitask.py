"""One generator for all tasks: what it learns from, and that it is trained, saved, loaded and evaluated."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minirag.corpus.miniwiki import MiniWiki, publish
from minirag.corpus.store import PassageStore
from minirag.evaluation import pocket
from minirag.evaluation.evaluate import evaluate
from minirag.evaluation.pocket import CHECKPOINTS, all_tasks
from minirag.files import read_json
from minirag.rag.checkpoints import from_pretrained
from minirag.retrieval.bm25 import BM25Index
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.pretrained import mini_biencoder
from minirag.retrieval.retriever import Retriever
from minirag.tasks.openqa import Question
from minirag.tasks.task import TASKS, score
from minirag.training.multitask import BY_HEART, FILES, LEARNT, RAG, SYSTEMS, balanced, make, pairs_of, questions_of
from minirag.training.targets import QuestionAnswer

HAS = [name for name in FILES if name != "webquestions"]  # the lands have no such questions for training


@pytest.fixture(scope="module")
def published(lands: MiniWiki, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("miniwiki")
    publish(folder, lands)
    return folder


@pytest.fixture(scope="module")
def retriever(lands: MiniWiki, tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    words = BM25Index()
    words.add(lands.passages)
    return Retriever(words, PassageStore.write(tmp_path_factory.mktemp("p") / "passages", lands.passages))


def test_every_task_has_its_file_in_its_published_layout(lands: MiniWiki, published: Path) -> None:
    assert FILES.keys() == TASKS.keys()
    for name in HAS:
        own = lands.by_split(name.rstrip("23"))["train"]
        read = questions_of(published, name, "train")
        assert len(read) == len([one for one in own if name != "fever2" or one.answers[0] != "NOT ENOUGH INFO"])


def test_what_is_learnt_is_what_each_task_wants(lands: MiniWiki, published: Path, retriever: Retriever) -> None:
    everything = " ".join(z.text for z in lands.passages).lower()
    for name in (name for name in HAS if name in LEARNT):
        pairs = pairs_of(TASKS[name], questions_of(published, name, "train"), retriever)
        assert pairs
        examples = lands.by_split(name.rstrip("23"))["train"]
        if name == "fever3":
            assert {pair.answer for pair in pairs} <= {"true", "false", "maybe"}
            label = {"SUPPORTS": "true", "REFUTES": "false", "NOT ENOUGH INFO": "maybe"}
            assert [(pair.question, pair.answer) for pair in pairs] == [(e.text, label[e.answers[0]]) for e in examples]
        elif name == "jeopardy":
            assert [(pair.question, pair.answer) for pair in pairs] == [(e.answers[0], e.text) for e in examples]
        elif name == "msmarco":
            assert [pair.answer for pair in pairs] == [e.sentence for e in examples]
        else:
            assert all(pair.answer.lower() in everything for pair in pairs)


def test_tasks_are_drawn_in_equal_parts() -> None:
    sets = {
        "large": [QuestionAnswer(str(i), "a") for i in range(50)],
        "small": [QuestionAnswer(f"s{i}", "b") for i in range(3)],
    }
    drawn = balanced(sets, 10)
    assert [pair.answer for pair in drawn].count("a") == [pair.answer for pair in drawn].count("b") == 10
    assert len({pair.question for pair in drawn if pair.answer == "a"}) == 10
    assert {pair.question for pair in drawn if pair.answer == "b"} == {"s0", "s1", "s2"}
    assert drawn == balanced(sets, 10) != balanced(sets, 10, seed=1)


def test_systems_are_trained_saved_loaded_and_evaluated(lands: MiniWiki, published: Path, tmp_path: Path) -> None:
    short, heart = replace(RAG, batch=4, k=2, steps=2, warmup=0), replace(BY_HEART, batch=4, steps=2, warmup=0)
    out = tmp_path / "checkpoints"
    make(lands, out, tmp_path / "runs", recipe=short, by_heart=heart, progress=False)
    before = {path.name: path.read_bytes() for path in (out / "rag-token" / "generator").iterdir()}
    make(lands, out, tmp_path / "runs", ["RAG-Token"], recipe=short, by_heart=heart, progress=False)
    assert before == {path.name: path.read_bytes() for path in (out / "rag-token" / "generator").iterdir()}
    assert [from_pretrained(out / name).scheme for name in SYSTEMS.values()] == ["sequence", "token", "sequence"]
    weights = [from_pretrained(out / name).generator.words.weight for name in SYSTEMS.values()]
    assert not torch.equal(weights[0], weights[1])

    encoder = mini_biencoder()
    index = ExactIndex(encoder.dim)
    index.add(encoder.encode_passages(lands.passages))
    store = PassageStore.write(tmp_path / "passages", lands.passages)
    models = pocket.systems(encoder, index, store, tmp_path, out)
    runs = all_tasks(models, published, tmp_path / "tasks", count=3, progress=False, names=("nq", "fever2", "jeopardy"))
    assert [(run.task.name, run.system) for run in runs] == [(t, s) for t in ("nq", "fever2", "jeopardy") for s in SYSTEMS]
    assert all(len(run.predictions) == 3 for run in runs)
    assert all(len(one.passages) == (1 if run.system == "closed book" else 5) for run in runs for one in run.predictions)
    assert {one.output for run in runs if run.task.name == "fever2" for one in run.predictions} <= {"SUPPORTS", "REFUTES"}
    titles = [table.title for table in pocket.tables(runs, published)]
    assert "MiniWiki, test, in the format of Jeopardy question generation" in titles
    assert not any("published" in title for title in titles)
    found = {(one.task, one.system, one.metric): one.n for one in pocket.results(runs)}
    assert found["tasks/fever2", "RAG-Token − closed book", "accuracy"] == 3
    assert found["tasks/nq", "closed book", "exact match"] == 3
    assert all_tasks(models, published, tmp_path / "tasks", count=3, progress=False, names=("nq",)) == runs[:3]


def test_what_ships_answers_every_task(wiki: MiniWiki, tmp_path: Path) -> None:
    """Five examples of each task: outputs of each task's kind, and RAG's questions answered more often than by heart."""
    encoder = mini_biencoder()
    index = ExactIndex(encoder.dim)
    index.add(encoder.encode_passages(wiki.passages))
    store = PassageStore.write(tmp_path / "passages", wiki.passages)
    models = pocket.systems(encoder, index, store, tmp_path)
    asked = [Question(one.id, one.text, one.answers) for one in wiki.by_split("nq")["test"][:400:10]]
    right = {}
    for system, model in models.items():
        made = evaluate(model, TASKS["nq"], asked, tmp_path / system, system, k=5, progress=False)
        right[system] = score(TASKS["nq"], [one.output for one in made], asked)["exact match"]
    assert right["RAG-Sequence"] > right["closed book"] + 0.15
    assert right["RAG-Token"] > right["closed book"] + 0.15
    clue = wiki.by_split("jeopardy")["test"][0]
    query = wiki.by_split("msmarco")["test"][0]
    for name in ("RAG-Sequence", "RAG-Token"):
        written, told = models[name].answer([clue.answers[0], query.text.rstrip("?").lower()], 5, beams=1)
        assert len(written.text.split()) > 4
        assert len(told.text.split()) > 4
    for folder in SYSTEMS.values():
        log = read_json(CHECKPOINTS / f"{folder}.json")["log"]
        assert log[-1]["step"] == (BY_HEART if folder == "closed-book" else RAG).steps
