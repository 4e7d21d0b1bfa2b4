"""The main job on a corpus small enough to work out by hand: numbers, cache, results and page, with faults planted in each."""

import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from minirag.corpus.passages import Article, Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.evaluation import quickstart as job
from minirag.evaluation.report import escape, highlighted
from minirag.evaluation.run import (
    BATCHED,
    SINGLE,
    Grader,
    QuestionSet,
    Remembering,
    answer_ranks,
    recall_results,
    search_all,
    time_results,
)
from minirag.evaluation.stages import Stages
from minirag.files import read_json
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.retriever import Retriever
from minirag.retrieval.standins import RandomIndex
from minirag.retrieval.vectors import VectorStore
from minirag.tasks.metrics import has_answer
from minirag.tasks.openqa import Question

WORDS = ("red", "green", "blue", "black")
HOSTILE = '<script>alert("x")</script> & <img src=x onerror=y>'


class Counting(BiEncoder):
    """Counts four words, and how often it was asked."""

    fingerprint = "counting"
    dim = len(WORDS)

    def __init__(self) -> None:
        self.passages_encoded = self.questions_encoded = 0

    def _count(self, texts):
        return torch.tensor([[float(text.split().count(word)) for word in WORDS] for text in texts])

    def encode_queries(self, questions):
        self.questions_encoded += len(questions)
        return self._count(questions)

    def encode_passages(self, passages, on_batch=None):
        self.passages_encoded += len(passages)
        return self._count([passage.text for passage in passages])


ARTICLES = [
    Article("a", "Rubies", "red red red stones come from Burma"),
    Article("b", "Emeralds", "green green stones come from Colombia"),
    Article("c", "Sapphires", "blue blue stones come from Ceylon or from Burma"),
    Article("d", HOSTILE, f"black coal comes from Wales {HOSTILE}"),
    Article("e", "Flags", "red green blue black all at once in no place"),
]
ASKED = (
    Question("1", "where do red stones come from", ("Burma",)),  # red 3, flags 1: rank 1
    Question("2", "where does green come from", ("Ceylon",)),  # emeralds, flags, then ties of 0: rubies, sapphires: rank 4
    Question("3", "whence red red blue", ("Burma", "Ceylon")),  # rubies 6, flags 3, sapphires 2: rank 1
    Question("4", "black " + HOSTILE, ("Atlantis",)),  # in no passage
)


def material(encoder: Counting) -> job.Material:
    sets = [QuestionSet("half", ASKED[:2]), QuestionSet("quiz", ASKED)]
    return job.Material("Gems", ARTICLES, sets, encoder, "a counter")


@pytest.fixture
def passages(tmp_path) -> PassageStore:
    return PassageStore.write(tmp_path / "store", [Passage(each.id, each.title, each.text) for each in ARTICLES])


@pytest.fixture
def retriever(passages) -> Retriever:
    index = ExactIndex(len(WORDS))
    index.add(Counting().encode_passages(list(passages)))
    return Retriever(index, passages, Counting())


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("quickstart")
    job.quickstart(folder, progress=False, material=material(Counting()))
    return folder


def numbers(folder: Path) -> list[dict]:
    """The results that have to be the same each time."""
    return [each for each in read_json(folder / "results.json") if "millisecond" not in each["metric"]]


# ---- ranks and recall ----


def test_ranks_worked_by_hand(retriever) -> None:
    assert answer_ranks(retriever, ASKED, k=5) == [1, 4, 1, None]
    assert answer_ranks(retriever, ASKED, k=3) == [1, None, 1, None]


def test_ranks_are_those_of_the_texts_retrieved(retriever) -> None:
    for question, rank in zip(ASKED, answer_ranks(retriever, ASKED, k=5), strict=True):
        texts = [passage.text for passage in retriever.search([question.question], 5)[0].passages]
        holds = [has_answer(text, question.answers) for text in texts]
        assert rank == (holds.index(True) + 1 if any(holds) else None)


def test_no_hit_is_nobodys_text(passages) -> None:
    assert Grader(passages).rank(Question("1", "?", ("once",)), [-1, -1]) is None  # row −1 must not be the last passage
    assert Grader(passages).rank(Question("1", "?", ("once",)), [0, 4]) == 2


def test_a_grader_reads_each_pair_once(passages, monkeypatch) -> None:
    from minirag.evaluation import run

    asked = []
    monkeypatch.setattr(run, "has_answer", lambda text, answers, match: asked.append(text) or has_answer(text, answers, match))
    grader = Grader(passages)
    assert [grader.rank(ASKED[1], [1, 2]), grader.rank(ASKED[1], [2, 1]), grader.rank(ASKED[0], [2])] == [2, 1, 1]
    assert len(asked) == 3


def test_recall_and_its_interval() -> None:
    (result,) = recall_results("quiz", "s", [1] * 9 + [None], ks=[1])
    assert (result.value, result.n, result.metric) == (0.9, 10, "recall@1")
    assert (round(result.low, 3), round(result.high, 3)) == (0.596, 0.982)  # Wilson's, as published


@given(st.lists(st.one_of(st.none(), st.integers(1, 30)), min_size=1))
def test_recall_grows_with_k_and_lies_in_its_interval(ranks) -> None:
    results = recall_results("t", "s", ranks, ks=[1, 5, 20])
    assert [each.value for each in results] == sorted(each.value for each in results)
    assert all(0 <= each.low <= each.value <= each.high <= 1 for each in results)


def test_a_remembering_encoder_encodes_once() -> None:
    counting = Counting()
    encoder = Remembering(counting)
    vectors = encoder.encode_queries(["red", "blue", "red"])
    assert vectors.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]]
    assert torch.equal(encoder.encode_queries(["blue", "red"]), vectors[[1, 0]])
    assert counting.questions_encoded == 2


def test_what_cannot_be_compared_is_refused(retriever, tmp_path) -> None:
    quiz = QuestionSet("quiz", ASKED)
    with pytest.raises(MiniragError, match="two question sets are named 'quiz'"):
        search_all({"s": retriever}, [quiz, quiz], progress=False)
    other = PassageStore.write(tmp_path / "other", [Passage("1", "t", "x")])
    with pytest.raises(MiniragError, match="search different passages"):
        search_all({"s": retriever, "o": Retriever(RandomIndex(1), other)}, [quiz], progress=False)


def test_times_are_medians_between_quartiles() -> None:
    sizes = []
    results = time_results("t", "s", lambda asked: sizes.append(len(asked)), list(range(300)), singles=5, rounds=3)
    assert [each.metric for each in results] == [SINGLE, BATCHED]
    assert [each.n for each in results] == [5, 300]
    assert sizes == [1, 256] + [1] * 5 + [256, 44] * 3  # warm, single, batches
    assert all(0 <= each.low <= each.value <= each.high for each in results)


# ---- stages ----


def write(text: str):
    def make(path: Path) -> str:
        path.mkdir()
        (path / "text").write_text(text)
        return text

    return make


def load(path: Path) -> str:
    if not (path / "text").exists():
        raise MiniragError("damaged")
    return (path / "text").read_text()


def test_a_stage_is_made_again_when_its_ingredients_change_or_it_is_damaged(tmp_path) -> None:
    assert Stages(tmp_path).get("s", ("1",), write("one"), load) == "one"
    assert Stages(tmp_path).get("s", ("1",), write("never"), load) == "one"
    assert Stages(tmp_path).get("s", ("2",), write("two"), load) == "two"
    (tmp_path / "s" / "text").unlink()
    assert Stages(tmp_path).get("s", ("2",), write("mended"), load) == "mended"


def test_a_foreign_folder_is_left_alone(tmp_path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "thesis").write_text("years of work")
    with pytest.raises(MiniragError, match="was not made here"):
        Stages(tmp_path).get("s", ("1",), write("one"), load)
    assert (tmp_path / "s" / "thesis").read_text() == "years of work"


def test_a_stage_killed_halfway_goes_on(tmp_path) -> None:
    def killed(path: Path) -> str:
        path.mkdir()
        (path / "partial.json").write_text("{}")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stages(tmp_path).get("s", ("1",), killed, load)
    went_on = Stages(tmp_path).get("s", ("1",), lambda path: str((path / "partial.json").exists()), load)
    assert went_on == "True"


# ---- the whole job ----


def test_the_numbers_of_the_job(finished) -> None:
    found = {(each["task"], each["system"], each["metric"]): each for each in read_json(finished / "results.json")}
    recall = [found["quiz", "bi-encoder, exact", f"recall@{k}"]["value"] for k in (1, 5, 20)]
    assert recall == [0.5, 0.75, 0.75]  # ranks 1, 4, 1, none
    assert found["half", "bi-encoder, exact", "recall@1"] == {
        "task": "half", "system": "bi-encoder, exact", "metric": "recall@1", "value": 0.5,
        "low": pytest.approx(0.0945, abs=1e-3), "high": pytest.approx(0.9055, abs=1e-3), "n": 2,
    }  # fmt: skip
    assert found["quiz", "BM25", "recall@5"]["value"] == 0.75
    assert found["quiz", "random passages", "recall@5"]["value"] == 0.75  # five of five passages: chance finds all there is
    for k in (1, 5, 20):  # every list probed is exact search
        assert found["quiz", "bi-encoder, IVF, all 5 lists", f"recall@{k}"]["value"] == recall[(1, 5, 20).index(k)]


def test_results_are_flat_and_complete(finished) -> None:
    results = json.loads((finished / "results.json").read_text())
    types = {"task": str, "system": str, "metric": str, "value": float, "low": float, "high": float, "n": int}
    assert all({key: type(value) for key, value in each.items()} == types for each in results)
    assert len({(each["task"], each["system"], each["metric"]) for each in results}) == len(results)
    systems = {each["system"] for each in results}
    assert {"random passages", "BM25", "bi-encoder, exact", "bi-encoder, encoding the question"} < systems


def test_a_second_run_encodes_nothing_and_finds_the_same(finished, tmp_path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    encoder = Counting()
    path = job.quickstart(folder, progress=False, material=material(encoder))
    assert encoder.passages_encoded == 0
    assert numbers(folder) == numbers(finished)
    assert path.read_text().count("found from an earlier run") == 5  # passages, vectors, bm25, exact, ivf
    changed = replace(material(encoder), articles=[*ARTICLES, Article("f", "Snow", "white snow")])
    job.quickstart(folder, progress=False, material=changed)
    assert encoder.passages_encoded == len(ARTICLES) + 1
    assert len(VectorStore.open(folder / "vectors")) == len(ARTICLES) + 1


@pytest.mark.parametrize("name", ["passages/passages.arrow", "vectors/vectors-00000.npy", "exact/step.npy", "ivf/list_of.npy"])
def test_a_damaged_stage_is_made_again(finished, tmp_path, name) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    raw = bytearray((folder / name).read_bytes())
    raw[-1] ^= 1
    (folder / name).write_bytes(raw)
    job.quickstart(folder, progress=False, material=material(Counting()))
    assert numbers(folder) == numbers(finished)
    assert (folder / name).read_bytes() == (finished / name).read_bytes()


def test_no_question_set_is_an_error(tmp_path) -> None:
    with pytest.raises(MiniragError, match="no question set"):
        job.quickstart(tmp_path, progress=False, material=replace(material(Counting()), sets=[]))


# ---- the page ----

VOID = {"meta", "br", "img", "hr", "link", "input"}


class Page(HTMLParser):
    """Tags that are opened and closed in order, every id once, and what was met on the way."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"
        ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        assert len(ids) == len(set(ids)), "an id stands twice"

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text += data


def test_the_page_is_well_formed_and_needs_nothing_else(finished) -> None:
    text = (finished / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "img", "link", "iframe", "object"}
    loaded = [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href", "xlink:href")]
    assert all(value.startswith("#") for value in loaded)
    assert "@import" not in text
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(pictures) == 4
    assert all(each["role"] == "img" and each["aria-label"] for each in pictures)


def test_the_page_says_what_a_reader_needs(finished) -> None:
    page = Page((finished / "report.html").read_text(encoding="utf-8"))
    for told in (
        "minirag quickstart",
        "a counter (counting)",
        "2 questions",
        "4 questions",
        "threads",
        "s in all",
    ):
        assert told in page.text
    assert HOSTILE in page.text  # shown as it is, and not as tags (see above)


@pytest.mark.parametrize("broken", ["<p><b>x</p></b>", "<div>", "</p>", '<i id="a"></i><i id="a"></i>'])
def test_the_page_check_sees_a_broken_page(broken) -> None:
    with pytest.raises(AssertionError):
        Page(broken)


@pytest.mark.parametrize(
    ("text", "answers", "marked"),
    [
        ("In New York.", ("new york",), "In <mark>New York</mark>."),
        ("Comparison", ("Paris",), "Comparison"),  # no part of a longer word
        ("U.S. and US", ("U.S.",), "<mark>U.S.</mark> and US"),
        ("Zu\u0308rich", ("Zürich",), "<mark>Zürich</mark>"),
        ("a < b > a", ("b",), "a &lt; <mark>b</mark> &gt; a"),
        ("red green", ("red", "red green"), "<mark>red green</mark>"),  # the longer one
        ("x*y", ("*",), "x<mark>*</mark>y"),
        ("nothing", ("?!",), "nothing"),
    ],
)
def test_answers_are_marked(text, answers, marked) -> None:
    assert highlighted(text, Question("1", "?", answers)) == marked


@example("aa", "a a")
@given(st.text("ab .é<", max_size=12), st.text("ab .é<", min_size=1, max_size=3))
def test_something_is_marked_exactly_where_an_answer_is(text, answer) -> None:
    shown = highlighted(text, Question("1", "?", (answer,)))
    assert ("<mark>" in shown) == has_answer(text, [answer])
    assert shown.replace("<mark>", "").replace("</mark>", "") == escape(text)


def test_patterns_are_not_marked() -> None:
    assert highlighted("1998", Question("1", "?", (r"\d+",), "regex")) == "1998"


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 30])
def test_any_number_of_steps_can_be_trained(steps: int) -> None:
    """The pocket recipe warms up for ten steps, and a training shorter than that was refused when all else was done."""
    for times in (1, 10):  # the closed book takes ten times as many
        recipe = replace(job.recipe_of(steps), steps=times * steps)
        assert recipe.settings(pairs=100).warmup < recipe.steps
