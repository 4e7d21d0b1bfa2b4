"""RAG beside its baselines on a MiniWiki of a few lands: where passages come from, what is compared, and the hot-swap."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.snapshots import load_offices
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.evaluation.endtoend import (
    ABLATIONS,
    CLOSED_BOOK,
    RAG,
    Comparison,
    Library,
    Marks,
    Variant,
    compare,
    difference,
    hot_swap,
    marks,
    question_of,
    question_sets,
    results_of,
    trained,
)
from minirag.evaluation.endtoend_page import render
from minirag.evaluation.run import Result
from minirag.retrieval.pretrained import mini_biencoder
from minirag.training.finding import QUESTIONS, examples_of
from minirag.training.finetune import POCKET

SHORT = replace(POCKET, batch=4, k=2, steps=2, warmup=0)


@pytest.fixture(scope="module")
def library(lands: MiniWiki, tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(lands, mini_biencoder(dtype="float32"), tmp_path_factory.mktemp("library"))


def test_each_variant_finds_where_it_should(lands: MiniWiki, library: Library) -> None:
    asked = examples_of(lands, "train")[:4]
    texts = [example.text for example in asked]
    found = {variant.name: library.model(variant).retrieve(texts, 1) for variant in (*RAG, CLOSED_BOOK, *ABLATIONS)}
    assert all(one.passages[0].text == "" for one in found["closed book"])
    for one, example in zip(found["right passages"], asked, strict=True):
        told = {id for place in lands.all_places_of(example) for id in place.passages}
        assert one.passages[0].id in told
    assert [one.rows.tolist() for one in found["RAG-Token"]] == [one.rows.tolist() for one in found["RAG-Sequence, frozen"]]
    assert found["RAG-Token, BM25"][0].scores[0] > 1.1  # no cosine
    assert found["random passages"][0].scores.tolist() == [0.0]


def test_what_learns_and_by_which_sum(library: Library) -> None:
    for variant in (*RAG, CLOSED_BOOK, *ABLATIONS):
        model = library.model(variant)
        learns = model.query_encoder is not None and all(weight.requires_grad for weight in model.query_encoder.parameters())
        assert learns == variant.learns
        assert model.scheme == variant.scheme
        assert all(weight.requires_grad for weight in model.generator.parameters())
    assert not torch.equal(library.model(CLOSED_BOOK).generator.words.weight, library.model(RAG[0]).generator.words.weight)


def test_training_pairs_are_training_questions_with_answers_that_are_written_somewhere(
    lands: MiniWiki, library: Library
) -> None:
    pairs = library.pairs()
    allowed = {(example.text, answer) for example in examples_of(lands, "train") for answer in example.answers}
    assert pairs
    assert {(pair.question, pair.answer) for pair in pairs} <= allowed
    everything = " ".join(z.text for z in lands.passages).lower()
    assert all(pair.answer.lower() in everything for pair in pairs)


def test_the_sets_that_are_compared_do_not_touch(wiki: MiniWiki) -> None:
    asked, new, prose = question_sets(wiki, 40)
    assert (asked.name, new.name, prose.name) == ("asked", "new", "prose")
    facts = {
        example.text: set(example.facts) for task in QUESTIONS for some in wiki.by_split(task).values() for example in some
    }
    trained_on = {fact for example in examples_of(wiki, "train") for fact in example.facts}
    assert all(facts[question.question] <= trained_on for question in asked.questions)
    assert all(facts[question.question].isdisjoint(trained_on) for question in new.questions)
    assert question_sets(wiki, 40) == [asked, new, prose] != question_sets(wiki, 40, seed=1)


def test_a_variant_is_trained_marked_and_taken_up_again(lands: MiniWiki, library: Library) -> None:
    pairs, questions = library.pairs(), list(map(question_of, examples_of(lands, "train")[:3]))
    model, log = trained(library, Variant("some"), SHORT, pairs, progress=False)
    own = marks(model, questions, k=2, beams=1, max_length=4)
    assert len(own.right) == len(own.found) == 3
    again, same = trained(library, Variant("some"), SHORT, pairs, progress=False)
    assert same == log
    assert marks(again, questions, k=2, beams=1, max_length=4) == own
    closed, _ = trained(library, CLOSED_BOOK, SHORT, pairs, progress=False)
    assert marks(closed, questions, k=1, beams=1, max_length=4).found == (False,) * 3


def test_shares_and_paired_differences() -> None:
    ours, theirs = Marks((True, True, False, False), (True,) * 4), Marks((True, False, False, False), (False,) * 4)
    match, recall = results_of("RAG", "new", ours)
    assert (match.metric, match.value, match.n, recall.value) == ("exact_match", 0.5, 4, 1.0)
    apart = difference("RAG", "closed book", "new", ours, theirs)
    assert (apart.system, apart.value) == ("RAG − closed book", 0.25)
    assert apart.low < 0.25 < apart.high


def test_the_hot_swap_asks_both_indexes_for_both_years_and_puts_the_memory_back(wiki: MiniWiki, tmp_path) -> None:
    few = MiniWiki(wiki.domains[:1], [], wiki.offices[:3])
    library = Library(few, mini_biencoder(dtype="float32"), tmp_path / "library")
    model = library.model(Variant("words", finds="BM25", learns=False)).eval()
    before = model.retriever
    hits = hot_swap(model, library, k=1)
    assert set(hits) == {(index, holders) for index in (2016, 2018) for holders in (2016, 2018)}
    assert all(len(own) == 3 for own in hits.values())
    assert sum(hits[2016, 2016]) + sum(hits[2018, 2018]) > sum(hits[2016, 2018]) + sum(hits[2018, 2016])
    assert model.retriever is before


def test_one_date_changed_in_one_passage_and_its_vector_replaced_changes_the_answer(wiki: MiniWiki, tmp_path) -> None:
    """The hot-swap's smallest case; without the passage's new text, or closed book, the answer stays."""
    battles = MiniWiki([domain for domain in wiki.domains if domain.name == "battles"], [], [])
    library = Library(battles, mini_biencoder(dtype="float32"), tmp_path / "library")
    question = "In which year did the Battle of Waterloo take place?"
    model, by_heart = library.model(RAG[0]).eval(), library.model(CLOSED_BOOK).eval()
    by_itself = by_heart.answer([question], k=1)[0].text
    (row,) = model.retrieve([question], k=1)[0].rows.tolist()
    told = library.passages[row]
    assert model.answer([question], k=1)[0].text == "1815"
    assert told.text.count("1815") == 1

    changed = replace(told, text=told.text.replace("1815", "1778"))
    library.vectors.replace(torch.tensor([row]), library.encoder.encode_passages([changed]))
    assert model.answer([question], k=1)[0].text == "1815"
    texts = [changed if passage.id == told.id else passage for passage in library.passages]
    model.attach(library.vectors, PassageStore.write(tmp_path / "changed", texts))
    assert model.answer([question], k=1)[0].text == "1778"
    assert by_heart.answer([question], k=1)[0].text == by_itself


def test_a_comparison_has_all_that_its_page_shows(wiki: MiniWiki, tmp_path) -> None:
    few = MiniWiki(wiki.domains[:1], wiki.prose[:1], wiki.offices[:2])
    library = Library(few, mini_biencoder(dtype="float32"), tmp_path)
    variants = (Variant("words & more", finds="BM25", learns=False), CLOSED_BOOK)
    found = compare(library, variants, SHORT, count=4, progress=False)
    assert [name for name, _ in found.sets] == ["asked", "new", "prose"]
    for name, n in found.sets:
        ours, theirs = found.of(name, "words & more"), found.of(name, "closed book")
        assert ours.n == theirs.n == n
        assert found.of(name, "words & more − closed book").value == pytest.approx(ours.value - theirs.value)
    assert list(found.swaps) == ["words & more"]
    page = render(found)
    assert "words &amp; more" in page
    assert "<b" not in page.replace("<br>", "")
    assert "closed book" in page


def share(task: str, system: str, value: float, metric: str = "exact_match") -> Result:
    return Result(task, system, metric, value, value - 0.05, value + 0.05, 40)


def test_the_page_says_what_was_found() -> None:
    results = [share("new", "RAG", 0.5), share("new", "RAG", 0.875, "recall"), share("new", "RAG − closed book", 0.42)]
    results += [share("new", "closed book", 0.08), share("new", "closed book", 0.0, "recall")]
    rows = [{"step": 20, "loss": 3.0}, {"step": 40, "loss": 2.0}]
    watched = {"step": 40, "documents_information": 0.25, "documents_most": 4.1589, "documents_unique": 0.3, "collapsed": 1}
    swaps = {"RAG": {(2016, 2016): share("", "", 0.6), (2016, 2018): share("", "", 0.01),
                     (2018, 2016): share("", "", 0.02), (2018, 2018): share("", "", 0.55)}}  # fmt: skip
    logs = {"RAG": [*rows, watched], "closed book": rows}
    page = render(Comparison([("new", 40)], results, logs, swaps, SHORT, 123, None))
    for told in (
        "50.0 (88)",
        "45.0–55.0",
        "8.0 (0)",
        "+42.0",
        "+37.0 to +47.0",
        "60.0",
        "0.25 nats",
        "30 %",
        "collapsed",
        "123",
    ):
        assert told in page, told
    assert "collapsed</strong>" not in render(Comparison([("new", 40)], results, logs, {}, SHORT, 123, None))


def test_a_training_is_taken_up_only_where_it_would_come_out_the_same(lands: MiniWiki, library: Library) -> None:
    pairs = library.pairs()
    folders = library.folder / "runs"
    before = set(folders.glob("RAG-Token*"))
    for recipe, own in ((SHORT, pairs), (SHORT, pairs), (replace(SHORT, rate=1e-3), pairs), (SHORT, pairs[:-1])):
        trained(library, RAG[1], recipe, own, progress=False)
    assert len({folder for folder in folders.glob("RAG-Token*") if folder.is_dir()} - before) == 3


def test_a_swap_that_fails_puts_the_memory_back(lands: MiniWiki, library: Library, tmp_path: Path) -> None:
    two = Library(MiniWiki(lands.domains, [], load_offices()[:2]), library.encoder, tmp_path)
    model = two.model(RAG[0])
    before = model.retriever
    with pytest.raises(MiniragError, match="is more than the"):
        hot_swap(model, two, k=10_000)
    assert model.retriever is before


def test_nothing_to_measure_is_said(library: Library) -> None:
    with pytest.raises(MiniragError, match=r"nothing to measure RAG on \(new\); give at least one question"):
        results_of("RAG", "new", Marks((), ()))
