"""The small reader: its examples say what they should, training repeats itself and learns, and what ships is whole."""

import random

import pytest
import torch
from torch.testing import assert_close

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.passages import Passage
from minirag.models.bart_checkpoints import load_bart
from minirag.paths import data_dir
from minirag.rag.checkpoints import reader
from minirag.retrieval.bm25 import BM25Index
from minirag.training import reader as training
from minirag.training.reader import TASKS, Asked, Course, asked, exchanged, infilled, scores, telling, train

SMALL = Course(vocab_size=600, dim=16, layers=1, heads=2, positions=320, batch=8, denoising=60, reading=40)


@pytest.fixture(scope="module")
def questions(wiki: MiniWiki) -> list[Asked]:
    examples = [example for task in TASKS for example in wiki.by_split(task)["train"]]
    return [one for example in random.Random(0).sample(examples, 300) for one in telling(wiki, example)]


def test_questions_stand_beside_passages_that_answer_them(questions: list[Asked]) -> None:
    assert len(questions) > 300
    for one in questions:
        assert one.answer.lower() in one.passage.text.lower()


def test_only_training_questions_are_asked(wiki: MiniWiki, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(training, "telling", lambda _, example: seen.append(example) or [])
    asked(wiki)
    assert {example.split for example in seen} == {"train"}
    assert len(seen) == 22_729


def test_names_are_exchanged_in_question_and_passage_alike() -> None:
    one = Asked(
        "Is Bern in Europe?", "Europe", "Bern", Passage("1", "Bern", "BERN is in Europe. Bernese and European."), "k", "d"
    )
    new = exchanged(one, {"k": ["Asia"]}, {"d": ["Lima"]}, random.Random(0))
    assert (new.question, new.answer, new.passage.title) == ("Is Lima in Asia?", "Asia", "Lima")
    assert new.passage.text == "Lima is in Asia. Bernese and European."  # words that only begin alike stay


def test_infilling_keeps_the_order_and_takes_about_a_quarter() -> None:
    chance, kept = random.Random(0), 0
    for _ in range(200):
        left = [token for token in infilled(range(100), -1, chance) if token != -1]
        assert left == sorted(set(left))
        kept += len(left)
    assert 0.70 < kept / 20_000 < 0.80


def test_training_repeats_itself_and_learns(wiki: MiniWiki, questions: list[Asked]) -> None:
    torch.set_num_threads(1)
    one, tokenizer, losses = train(wiki.passages[:300], questions, SMALL, progress=False)
    two, _, again = train(wiki.passages[:300], questions, SMALL, progress=False)
    assert losses == again
    assert_close(one.state_dict(), two.state_dict(), rtol=0, atol=0)
    assert len(losses) == 1
    assert losses[0] < 6.2  # of log 600 = 6.4 when nothing is known
    assert len(tokenizer) == one.config.vocab_size == 600


def test_what_ships_is_whole_and_reads(wiki: MiniWiki) -> None:
    bart, tokenizer = load_bart(data_dir() / "checkpoints" / "reader")
    assert len(tokenizer) == bart.config.vocab_size
    assert sum(parameter.numel() for parameter in bart.parameters()) == 1_532_928
    found = scores(reader(), wiki, count=24)
    assert found["triviaqa/test"]["exact_match"] > 0.3  # as its card says, 0.59 of 150
    assert found["triviaqa/test"]["copied"] > 0.6


def test_the_reader_answers_from_what_was_found(wiki: MiniWiki, tmp_path) -> None:
    from minirag.corpus.store import PassageStore

    passages = PassageStore.write(tmp_path / "passages", wiki.passages)
    index = BM25Index()
    index.add(list(passages))
    (answer,) = reader().attach(index, passages).answer(["who wrote Hamlet"], k=3)
    assert answer.holding()  # what it says, right or wrong, stands in what was found
