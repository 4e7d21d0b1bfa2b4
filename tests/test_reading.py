"""Many questions about one passage at once: each is answered as if it were alone, and what is drawn is what may be read."""

import copy
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rag_cases import random_bart
from torch.nn import functional as F
from torch.testing import assert_close

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.examples import Example
from minirag.corpus.miniwiki.facts import facts_of
from minirag.corpus.miniwiki.splits import fact_key
from minirag.corpus.miniwiki.worlds import Tellable, World
from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.models.bart import Bart
from minirag.rag.contexts import Contexts
from minirag.tasks.metrics import has_answer
from minirag.training.pretrain import Writing, Written
from minirag.training.reading import Answering, Quiz, Reading, earliest, kind_of, kinds_of
from minirag.training.tokenizer import make_tokenizer

KINDS = 7


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
    passage = some_tokens(chance, 1, 12)[:-1]
    begins = tuple(chance.randrange(-1, len(passage)) for _ in range(questions))
    kinds = tuple(chance.randrange(KINDS) for _ in range(questions))
    return Quiz(passage, asked, tuple(some_tokens(chance, 1, 5) for _ in range(questions)), begins, kinds)


def alone(objective: Answering, quiz: Quiz, number: int) -> torch.Tensor:
    """The loss of one question, with a mask written down cell by cell and nothing beside it; pointing counts thrice, naming
    twice."""
    bart, passage, question, begin = objective.bart, quiz.passage, quiz.questions[number], quiz.begins[number]
    ids, begun = [*passage, *question], len(passage)
    sees = torch.tensor([[[key < begun or asker >= begun for key in range(len(ids))] for asker in range(len(ids))]])
    encoded = bart.encode(torch.tensor([ids]), sees)[0]
    loss = read_by_hand(bart, encoded, quiz.answers[number], begin)
    for named in [encoded[begun:].mean(0), *([encoded[begin]] if begin >= 0 else [])]:
        loss = loss - 2 * objective.names(named).log_softmax(0)[quiz.asked_for[number]]
    return loss


def read_by_hand(bart: Bart, encoded: torch.Tensor, answer: Sequence[int], begin: int) -> torch.Tensor:
    """The decoder once more, head by head and token by token, and what its last layer looks at before the answer's first."""
    given, x = [bart.config.start_id, *answer[:-1]], []
    for place, token in enumerate(given):
        x.append(bart.decoder.norm(bart.words.weight[token] + bart.decoder.positions.weight[place + 2]))
    looked = torch.empty(0)
    for layer in bart.decoder.layers:
        for part, norm, others in (
            (layer.attention, layer.attention_norm, None),
            (layer.cross, layer.cross_norm, encoded),
        ):
            now = torch.stack(x)
            for place in range(len(given)):
                seen = now[: place + 1] if others is None else others
                heads, weights = [], []
                for rows in torch.arange(bart.config.dim).chunk(part.heads):
                    keys, values = part.key(seen)[:, rows], part.value(seen)[:, rows]
                    weights.append((keys @ part.query(now[place])[rows] / len(rows) ** 0.5).softmax(0))
                    heads.append(weights[-1] @ values)
                x[place] = norm(now[place] + part.output(torch.cat(heads)))
                if place == 1 and others is not None:
                    looked = torch.stack(weights).mean(0)
        x = [layer.feed_forward_norm(one + layer.feed_forward(one[None, None])[0, 0]) for one in x]
    loss = F.cross_entropy(bart.predict(torch.stack(x)), torch.tensor(answer), reduction="sum")
    return loss - 3 * (looked[begin] + 1e-6).log() if begin >= 0 else loss


@settings(max_examples=30)  # the first call makes oneDNN ready, and takes seconds
@given(st.integers(0, 10_000), st.integers(2, 4), st.integers(1, 3))
def test_each_question_is_answered_as_if_it_were_alone(bart: Bart, seed: int, questions: int, examples: int) -> None:
    chance = random.Random(seed)
    drawn = [quiz(chance, questions) for _ in range(examples)]
    objective = Answering(bart, KINDS, pointing=3.0, naming=2.0).double()
    total, count = objective(drawn)
    parts = [alone(objective, one, number) for one in drawn for number in range(questions)]
    assert_close(total, torch.stack(parts).sum(), rtol=1e-9, atol=1e-9)
    assert count == sum(len(answer) for one in drawn for answer in one.answers)


def test_a_question_by_itself_is_read_as_bart_reads(bart: Bart) -> None:
    chance = random.Random(2)
    drawn = [quiz(chance, 1) for _ in range(3)]
    apart, same = Writing(bart)([Written((*one.passage, *one.questions[0]), one.answers[0]) for one in drawn])
    together, count = Answering(bart, KINDS, pointing=0.0, naming=0.0).double()(drawn)
    assert_close(together, apart, rtol=1e-9, atol=1e-9)
    assert count == same
    pointed, _ = Answering(bart, KINDS, pointing=3.0, naming=0.0).double()(drawn)
    assert bool(pointed > together) == any(one.begins[0] >= 0 for one in drawn)


def test_among_others_a_question_is_not_seen_by_the_passage(bart: Bart) -> None:
    one = quiz(random.Random(2), 1)
    names = ("questions", "answers", "begins", "asked_for")
    twice = replace(one, **{name: getattr(one, name) * 2 for name in names})
    objective = Answering(bart, KINDS).double()
    assert abs(float((2 * objective([one])[0] - objective([twice])[0]).detach())) > 1e-3


def assert_is_learnt(objective: Answering, learner: torch.nn.Module, drawn: Sequence[Quiz], steps: int) -> None:
    """The loss falls to less than a third while `learner`'s weights go down its gradient."""
    optimizer = torch.optim.Adam(learner.parameters(), 3e-3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        total, _ = objective(drawn)
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_to_point_is_learnt(bart: Bart) -> None:
    """Only the attention is taught; nothing else tells where the answer is."""
    chance = random.Random(3)
    drawn = [replace(quiz(chance, 2), begins=(0, 0)) for _ in range(4)]
    own = copy.deepcopy(bart)
    objective = Answering(own, KINDS, pointing=1e3).double()
    assert_is_learnt(objective, own, drawn, steps=30)


def test_what_is_asked_for_is_learnt_by_its_name(bart: Bart) -> None:
    """A question's tokens and the answer's in the passage come to say the same: which of the kinds is asked for."""
    chance = random.Random(4)
    drawn = [quiz(chance, 2) for _ in range(4)]
    own = copy.deepcopy(bart)
    objective = Answering(own, KINDS, pointing=0.0, naming=1e3).double()
    assert_is_learnt(objective, objective, drawn, steps=60)


def test_every_question_has_a_kind_and_phrasings_of_one_kind_share_it(lands: MiniWiki, tellable: Tellable) -> None:
    kinds = kinds_of(tellable)
    assert sorted(kinds.values()) == list(range(len(kinds)))
    asked: dict[int, set[str]] = {}
    for seed in range(4):
        for example in World(tellable, str(seed)).examples:
            asked.setdefault(kinds[kind_of(example)], set()).add(example.text)
    (domain,) = {name for name, _, _ in kinds}
    capitals = asked[kinds[domain, "capital", False]]
    assert len({text.split()[0] for text in capitals}) > 1
    assert all(texts.isdisjoint(capitals) for kind, texts in asked.items() if kind != kinds[domain, "capital", False])
    assert kinds[domain, "", True] in asked  # a quiz question


def test_passages_come_with_questions_that_they_answer_and_that_may_be_asked(
    lands: MiniWiki, tellable: Tellable, contexts: Contexts
) -> None:
    draw = Reading(tellable, contexts, batch=6, questions=4, seed=2, renewed=2)
    held = {example.text for made in lands.examples.values() for example in made if example.split != "train"}
    plain: Any = contexts.tokenizer.decode
    assert held
    for step in range(6):
        world = World(tellable, f"2 world {step // 2}")
        texts = {contexts._head(z): z for z in world.wiki.passages}
        for one in draw(step):
            passage = texts[plain(one.passage[1:]).strip()]
            assert len(one.questions) == len(one.answers) == 4
            for question, answer, begin in zip(one.questions, one.answers, one.begins, strict=True):
                assert plain(one.passage[begin:]).strip().startswith(plain(answer[1:-1]).strip())
                assert plain(one.passage[:begin]).startswith(f"<s> {passage.title} /")
                asked = plain(question[:-1]).removeprefix(" // ")
                assert asked in {example.text for example in world.told_in[passage.id]}
                assert asked not in held
                assert has_answer(passage.text, [plain(answer[1:-1]).strip()])
                assert (question[-1], answer[0], answer[-1]) == (2, 0, 2)


def test_where_no_answer_is_nothing_is_pointed_at(lands: MiniWiki, tellable: Tellable, contexts: Contexts) -> None:
    passage = Passage("1", "Ys", "Ys, (Old Ys) is  older than Ysland: Ys was the city of Dahut.")
    head, _ = contexts.parts(passage, ["Where?"])
    begins = contexts.begins(passage, ["Dahut", "Old Ys", "Ysland", "land", "Paris"])
    assert begins[3:] == [-1, -1]
    for begin, answer in zip(begins[:3], ("Dahut", "Old Ys", "Ysland"), strict=True):
        assert contexts.tokenizer.decode(head[begin:]).lstrip(" (").startswith(answer)
    away = Reading(tellable, contexts, batch=40, questions=1, away=1.0)
    near = Reading(tellable, contexts, batch=40, questions=1)
    assert sum(one.begins == (-1,) for one in away(0)) > 20
    assert not any(one.begins == (-1,) for one in near(0))


def test_what_a_passage_answers_is_what_it_tells(tellable: Tellable) -> None:
    world = World(tellable, "0")
    for example in world.examples:
        ids = {id for place in world.places(example) for id in place.passages}
        assert ids == {id for id, some in world.told_in.items() if example in some}
    assert all(len(set(map(id, some))) == len(some) for some in world.told_in.values())


def test_a_step_is_the_same_in_any_order(tellable: Tellable, contexts: Contexts) -> None:
    def draw() -> Reading:
        return Reading(tellable, contexts, batch=2, questions=3, renewed=2)

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
    draw = Reading(tellable, contexts, batch=2, questions=3)
    draw.world(0).told_in.clear()
    with pytest.raises(MiniragError, match="no passage of these worlds answers 3 questions"):
        draw(0)


def test_worlds_in_which_nothing_is_told_are_told(tellable: Tellable, contexts: Contexts) -> None:
    with pytest.raises(MiniragError, match="no question can be asked in a world"):
        Reading(Tellable([], tellable.facts, tellable.texts), contexts, 4)(0)


def asked_in(draw: Reading, worlds: int) -> list[Example]:
    """The examples that a draw which is renewed at each step asks of its first worlds."""
    plain: Any = draw.contexts.tokenizer.decode
    examples = []
    for step in range(worlds):
        texts = {example.text: example for example in World(draw.tellable, f"0 world {step}").examples}
        examples += [texts[plain(q[:-1]).removeprefix(" // ")] for one in draw(step) for q in one.questions]
    return examples


def test_no_held_out_question_or_fact_is_read(lands: MiniWiki, tellable: Tellable, contexts: Contexts) -> None:
    examples = asked_in(Reading(tellable, contexts, batch=64, questions=2, renewed=1), 8)
    held = [example for made in lands.examples.values() for example in made if example.split != "train"]
    assert len(held) > 20
    assert {example.text for example in examples}.isdisjoint(example.text for example in held)
    asked = {fact_key(fact, lands.links) for example in examples for fact in example.told}
    assert len(asked) > 100
    assert asked.isdisjoint(key for example in held for key in example.facts)
    assert not {name for key in asked for name in key} & lands.splits.kept_apart.keys()


def test_answers_are_mostly_not_the_true_ones(lands: MiniWiki, tellable: Tellable, contexts: Contexts) -> None:
    examples = asked_in(Reading(tellable, contexts, batch=64, renewed=1), 8)
    true = {fact_key(fact, lands.links) for fact in facts_of(lands.domains)}
    assert sum(all(fact_key(fact, lands.links) in true for fact in example.told) for example in examples) < 0.2 * len(examples)


@pytest.mark.parametrize(("away", "low", "high"), [(0.0, 1.0, 1.0), (0.5, 0.35, 0.75), (1.0, 0.0, 0.3)])
def test_the_share_of_questions_over_other_passages(
    tellable: Tellable, contexts: Contexts, away: float, low: float, high: float
) -> None:
    draw = Reading(tellable, contexts, batch=64, away=away)
    known = {contexts._head(z) for z in World(tellable, "0 world 0").wiki.passages}
    plain, holding = contexts.tokenizer.decode, []
    for step in range(4):
        for one in draw(step):
            passage = plain(one.passage[1:]).strip()
            assert passage in known
            holding.append(has_answer(passage.partition(" / ")[2], [plain(one.answers[0][1:-1])]))
    assert low <= sum(holding) / len(holding) <= high  # another passage may hold it by chance


@pytest.mark.parametrize(
    ("answers", "text", "expected"),
    [
        (["Haydn", "Orff"], "First Orff, then Haydn.", "Orff"),
        (["Orff", "Carl Orff"], "By Carl Orff.", "Carl Orff"),
        (["Carl", "Carl Orff"], "By Carl Orff.", "Carl Orff"),  # of two that begin together the longer
        (["carl orff"], "By Carl ORFF.", "Carl ORFF"),  # as the text writes it
        (["Or", "Orff's"], "By Orff alone.", None),  # whole words only
        (["C++"], "Written in C++, not C.", "C++"),
        (["3.5"], "It is 345 m or 3.5 km.", "3.5"),  # no pattern
        ([], "Nothing.", None),
        (["x"], "", None),
    ],
)
def test_the_earliest_answer_by_hand(answers: list[str], text: str, expected: str | None) -> None:
    assert earliest(answers, text) == expected
    assert earliest(answers[::-1], text) == expected
