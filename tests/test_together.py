"""Many questions about one passage at once: each is answered as if it were alone, and what is drawn is what may be read."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rag_cases import random_bart
from torch.nn import functional as F
from torch.testing import assert_close

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.worlds import Tellable, World
from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.models.bart import Bart
from minirag.rag.contexts import Contexts
from minirag.tasks.metrics import has_answer
from minirag.training.pretrain import Writing, Written
from minirag.training.together import Quiz, ReadingTogether, Together
from minirag.training.tokenizer import make_tokenizer


@pytest.fixture(scope="module")
def contexts(lands: MiniWiki) -> Contexts:
    return Contexts(make_tokenizer([passage.text for passage in lands.passages], 400), 300)


@pytest.fixture(scope="module")
def bart() -> Bart:
    return random_bart(40).double()


def some_tokens(chance: random.Random, least: int, most: int) -> tuple[int, ...]:
    return (0, *(chance.randrange(4, 40) for _ in range(chance.randint(least, most))), 2)


def quiz(chance: random.Random, questions: int) -> Quiz:
    asked = tuple(some_tokens(chance, 1, 6)[1:] for _ in range(questions))
    return Quiz(some_tokens(chance, 1, 12)[:-1], asked, tuple(some_tokens(chance, 1, 5) for _ in range(questions)))


def alone(bart: Bart, passage: Sequence[int], question: Sequence[int], answer: Sequence[int]) -> torch.Tensor:
    """The loss of one question, with a mask written down cell by cell and nothing beside it."""
    ids, begun = [*passage, *question], len(passage)
    sees = torch.tensor([[[key < begun or asker >= begun for key in range(len(ids))] for asker in range(len(ids))]])
    documents = bart.documents(bart.encode(torch.tensor([ids]), sees), None)
    logits = bart.logits(documents, torch.tensor([[bart.config.start_id, *answer[:-1]]]))[0]
    return F.cross_entropy(logits, torch.tensor(answer), reduction="sum")


@settings(deadline=None, max_examples=30)  # the first call makes oneDNN ready, and takes seconds
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 3))
def test_each_question_is_answered_as_if_it_were_alone(bart: Bart, seed: int, questions: int, examples: int) -> None:
    chance = random.Random(seed)
    drawn = [quiz(chance, questions) for _ in range(examples)]
    total, count = Together(bart)(drawn)
    parts = [(one.passage, q, a) for one in drawn for q, a in zip(one.questions, one.answers, strict=True)]
    assert_close(total, torch.stack([alone(bart, *part) for part in parts]).sum(), rtol=1e-9, atol=1e-9)
    assert count == sum(len(answer) for *_, answer in parts)


def test_without_a_passage_it_is_barts_own_loss(bart: Bart) -> None:
    """With nothing that could see the question there is no difference."""
    chance = random.Random(1)
    questions, answers = [some_tokens(chance, 3, 9) for _ in range(3)], [some_tokens(chance, 1, 5) for _ in range(3)]
    together, count = Together(bart)([Quiz((), tuple(questions), tuple(answers))])
    apart, same = Writing(bart)([Written(q, a) for q, a in zip(questions, answers, strict=True)])
    assert_close(together, apart, rtol=1e-9, atol=1e-9)
    assert count == same


def test_with_a_passage_it_is_not_barts_own_loss(bart: Bart) -> None:
    one = quiz(random.Random(2), 1)
    apart, _ = Writing(bart)([Written((*one.passage, *one.questions[0]), one.answers[0])])
    assert abs(float(Together(bart)([one])[0].detach()) - float(apart.detach())) > 1e-3


def test_passages_come_with_questions_that_they_answer_and_that_may_be_asked(
    lands: MiniWiki, tellable: Tellable, contexts: Contexts
) -> None:
    draw = ReadingTogether(tellable, contexts, batch=6, questions=4, seed=2, renewed=2)
    held = {example.text for made in lands.examples.values() for example in made if example.split != "train"}
    plain: Any = contexts.tokenizer.decode
    assert held
    for step in range(6):
        world = World(tellable, f"2 world {step // 2}")
        texts = {contexts._head(z): z for z in world.wiki.passages}
        for one in draw(step):
            passage = texts[plain(one.passage[1:])]
            assert len(one.questions) == len(one.answers) == 4
            for question, answer in zip(one.questions, one.answers, strict=True):
                asked = plain(question[:-1]).removeprefix(" // ")
                assert asked in {example.text for example in world.told_in[passage.id]}
                assert asked not in held
                assert has_answer(passage.text, [plain(answer[1:-1])])
                assert (question[-1], answer[0], answer[-1]) == (2, 0, 2)


def test_what_a_passage_answers_is_what_it_tells(tellable: Tellable) -> None:
    world = World(tellable, "0")
    for example in world.examples:
        ids = {id for place in world.places(example) for id in place.passages}
        assert ids == {id for id, some in world.told_in.items() if example in some}
    assert all(len(set(map(id, some))) == len(some) for some in world.told_in.values())


def test_a_step_is_the_same_in_any_order(tellable: Tellable, contexts: Contexts) -> None:
    def draw() -> ReadingTogether:
        return ReadingTogether(tellable, contexts, batch=2, questions=3, renewed=2)

    straight = [draw()(step) for step in range(5)]
    again = draw()
    assert [again(step) for step in (4, 0, 3, 1, 2)] == [straight[step] for step in (4, 0, 3, 1, 2)]
    assert len(set(map(str, straight))) == 5


def test_the_parts_of_contexts_are_those_of_contexts(contexts: Contexts) -> None:
    passage, questions = Passage("1", "Ys", "Ys is a city. " * 5), ["Where is Ys?", "Is  it old?"]
    ids, mask = contexts.of(questions, [[passage]] * 2)
    head, tails = contexts.parts(passage, questions)
    for row, real, tail in zip(ids[:, 0], mask[:, 0], tails, strict=True):
        assert [*head, *tail] == row[real].tolist()


def test_a_long_passage_is_cut_for_the_longest_question(contexts: Contexts) -> None:
    short = Contexts(contexts.tokenizer, 40)
    questions = ["Why?", "Where in the old land is the city of Ys?"]
    head, tails = short.parts(Passage("1", "Ys", "Ys is a city. " * 50), questions)
    assert len(head) + max(map(len, tails)) == 40
    with pytest.raises(MiniragError, match="leaves no room"):
        short.parts(Passage("1", "Ys", "Ys."), ["Where? " * 60])


def test_worlds_whose_passages_answer_too_little_are_told(tellable: Tellable, contexts: Contexts) -> None:
    draw = ReadingTogether(tellable, contexts, batch=2, questions=3)
    draw.world(0).told_in.clear()
    with pytest.raises(MiniragError, match="no passage of these worlds answers 3 questions"):
        draw(0)
