"""What is drawn before any task: texts to restore, questions over untrue worlds, sentences as questions; and the loss."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rag_cases import random_bart
from torch.nn import functional as F
from torch.testing import assert_close

from minirag.corpus.miniwiki import MiniWiki, facts_of
from minirag.corpus.miniwiki.examples import Example
from minirag.corpus.miniwiki.prose import sentences
from minirag.corpus.miniwiki.splits import fact_key
from minirag.corpus.miniwiki.worlds import Tellable, World
from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.rag.contexts import Contexts
from minirag.rag.model import RagModel
from minirag.tasks.metrics import has_answer
from minirag.training import pretrain
from minirag.training.pretrain import (
    Denoising,
    Reading,
    Writing,
    Written,
    earliest,
    infilled,
    inverse_cloze,
    permuted,
    told,
)

MASK = -1


def tokenizer_of(texts: Sequence[str], size: int = 400) -> Any:
    from minirag.training.tokenizer import make_tokenizer

    return make_tokenizer(list(texts), size)


@pytest.fixture(scope="module")
def tokenizer(lands: MiniWiki) -> Any:
    return tokenizer_of([passage.text for passage in lands.passages])


# Infilling


def is_subsequence(some: Sequence[int], whole: Sequence[int]) -> bool:
    rest = iter(whole)
    return all(one in rest for one in some)


@given(st.integers(0, 120), st.floats(0, 1), st.floats(0.5, 6), st.integers(0, 10_000))
def test_infilling_takes_its_share_and_keeps_the_order(n: int, share: float, mean: float, seed: int) -> None:
    noised = infilled(range(n), MASK, random.Random(seed), share, mean)
    left = [token for token in noised if token != MASK]
    assert left == sorted(set(left))
    assert len(left) == n - round(share * n)
    # Where tokens are missing stands a mask, and one only.
    for before, after in zip([-2, *noised], [*noised, n], strict=True):
        if MASK not in (before, after):
            assert after == max(before, -1) + 1


@given(st.integers(1, 60), st.floats(0, 1), st.integers(0, 10_000))
def test_spans_side_by_side_are_one_mask(n: int, share: float, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain, "_poisson", lambda mean, chance: chance.randint(1, 5))  # no empty ones
        noised = infilled(range(n), MASK, random.Random(seed), share)
    assert not any(one == other == MASK for one, other in pairwise(noised))


class Scripted(random.Random):
    """Chance whose spans begin where the script says."""

    def __init__(self, begins: list[int]) -> None:
        super().__init__(0)
        self.begins = begins

    def choices(self, population: Any, weights: Any = None, *, cum_weights: Any = None, k: int = 1) -> list[int]:
        assert k == len(self.begins)
        assert set(self.begins) <= set(population)
        return self.begins


@pytest.mark.parametrize(
    ("lengths", "begins", "expected"),
    [
        ([3], [0], [MASK, 13, 14, 15, 16, 17, 18, 19]),
        ([3], [7], [10, 11, 12, 13, 14, 15, 16, MASK]),
        ([1, 2], [4, 1], [10, MASK, 12, 13, 14, MASK, 17, 18, 19]),
        ([2, 9], [1, 2], [10, MASK, 13, MASK, 15, 16, 17, 18, 19]),  # the last one is cut to what is left
        ([1, 2], [3, 3], [10, 11, 12, MASK, 16, 17, 18, 19]),  # side by side: one mask
        ([0, 3], [2, 5], [10, 11, MASK, 12, 13, 14, MASK, 18, 19]),  # a mask that stands for nothing
        ([0, 0, 3], [0, 0, 7], [MASK, MASK, 10, 11, 12, 13, 14, 15, 16, MASK]),
    ],
)
def test_infilling_by_hand(monkeypatch: pytest.MonkeyPatch, lengths: list[int], begins: list[int], expected: list[int]) -> None:
    """Of ten tokens three are to go. Spans begin before a token that stays, counted from 0, or at the end: 7."""
    script = iter(lengths)
    monkeypatch.setattr(pretrain, "_poisson", lambda mean, chance: next(script))
    assert infilled(range(10, 20), MASK, Scripted(begins)) == expected
    assert next(script, None) is None


def test_spans_are_about_three_tokens_long_and_can_stand_anywhere() -> None:
    chance, masks, gone, begun = random.Random(0), 0, 0, Counter[int]()
    for _ in range(2_000):
        noised = infilled(range(100), MASK, chance)
        masks += noised.count(MASK)
        missing = set(range(100)) - set(noised)
        gone += len(missing)
        begun.update(missing)
    assert gone == 2_000 * 30
    assert 2.8 < gone / masks < 3.3
    assert len(begun) == 100
    assert max(begun[place] for place in range(5, 95)) < 1.3 * min(begun[place] for place in range(5, 95))
    assert min(begun[0], begun[99]) > 0.3 * begun[50]  # a span that begins earlier may reach the fifth token, not the first


def test_lengths_are_a_poisson_distribution() -> None:
    chance = random.Random(0)
    drawn = Counter(pretrain._poisson(3.0, chance) for _ in range(20_000))
    for count in range(8):
        expected = math.exp(-3) * 3**count / math.factorial(count)
        assert abs(drawn[count] / 20_000 - expected) < 0.01


# Sentences in another order


@given(
    st.lists(st.sampled_from(["The Nile rises.", "Is it long?", '"Yes," he said.', "It was 3.5 m."]), min_size=1), st.integers()
)
def test_sentences_come_in_another_order_and_none_is_lost(parts: list[str], seed: int) -> None:
    moved = permuted(" ".join(parts), random.Random(seed))
    assert sorted(sentences(moved)) == sorted(parts)


def test_every_order_comes() -> None:
    chance = random.Random(0)
    seen = Counter(permuted("A one. B two. C three.", chance) for _ in range(600))
    assert len(seen) == 6
    assert min(seen.values()) > 60
    assert permuted("One only", chance) == "One only"


# Denoising


def plain(tokens: Sequence[int], tokenizer: Any) -> str:
    return tokenizer.decode(tokens[1:-1])


def test_what_is_to_be_written_is_the_passage_to_the_letter(lands: MiniWiki, tokenizer: Any) -> None:
    passages = [*lands.passages, Passage("x", "", "No  title,\n</s> two   spaces, Kêr-Is 😀 <mask>.")]
    known = {f"{z.title} / {z.text}" if z.title else z.text for z in passages}
    seen = set()
    for step in range(10):
        for example in Denoising(passages, tokenizer, batch=16, longest=1_000)(step):
            assert (example.target[0], example.target[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
            assert (example.source[0], example.source[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
            assert plain(example.target, tokenizer) == example.text
            assert not set(example.target[1:-1]) & {0, 1, 2, 3, 4}  # a text that spells out a special token says just that
            assert tokenizer.mask_token_id in example.source
            seen.add(example.text)
    assert seen == known


@pytest.mark.parametrize("longest", [5, 40, 1_000])
def test_pieces_are_no_longer_than_asked_for(lands: MiniWiki, tokenizer: Any, longest: int) -> None:
    starts = set()
    for step in range(5):
        for example in Denoising(lands.passages, tokenizer, batch=16, longest=longest, shuffled=0.0)(step):
            whole = tokenizer(example.text, add_special_tokens=False)["input_ids"]
            target = list(example.target[1:-1])
            assert len(target) == min(len(whole), longest)
            begin = next(i for i in range(len(whole)) if whole[i : i + len(target)] == target)
            starts.add(begin)
            source = [token for token in example.source[1:-1] if token != tokenizer.mask_token_id]
            assert is_subsequence(source, target)
            assert len(source) == len(target) - round(0.3 * len(target))
    assert len(starts) > 5 if longest < 100 else starts == {0}


def test_a_piece_is_restored_from_the_same_piece_even_where_sentences_are_permuted(lands: MiniWiki, tokenizer: Any) -> None:
    cut = 0
    for example in Denoising(lands.passages, tokenizer, batch=40, longest=40, shuffled=1.0, share=0.0)(0):
        if len(example.target) == 42:
            cut += example.source == example.target
        else:
            assert sorted(sentences(plain(example.source, tokenizer))) == sorted(sentences(example.text))
    assert cut > 5


@pytest.mark.parametrize(("shuffled", "low", "high"), [(0.0, 0.0, 0.0), (0.5, 0.35, 0.6), (1.0, 0.9, 1.0)])
def test_the_share_of_passages_with_their_sentences_permuted(
    lands: MiniWiki, tokenizer: Any, shuffled: float, low: float, high: float
) -> None:
    draw = Denoising(lands.passages, tokenizer, batch=100, longest=1_000, shuffled=shuffled, share=0.0)
    examples = [example for step in range(3) for example in draw(step)]
    moved = [example for example in examples if example.source != example.target]
    assert low <= len(moved) / len(examples) <= high
    for example in moved:
        assert sorted(sentences(plain(example.source, tokenizer))) == sorted(sentences(example.text))


def test_texts_grow_in_the_first_steps(lands: MiniWiki, tokenizer: Any) -> None:
    draw = Denoising(lands.passages, tokenizer, batch=64, rise=10, shortest=8, longest=48)
    most = [max(len(example.target) - 2 for example in draw(step)) for step in (0, 1, 5, 9, 10, 1_000)]
    assert most == [8, 12, 28, 44, 48, 48]


def test_a_denoising_step_is_the_same_whatever_was_drawn_before(lands: MiniWiki, tokenizer: Any) -> None:
    straight = [Denoising(lands.passages, tokenizer, batch=4)(step) for step in range(4)]
    draw = Denoising(lands.passages, tokenizer, batch=4)
    assert [draw(step) for step in (2, 0, 3, 1, 2)] == [straight[step] for step in (2, 0, 3, 1, 2)]
    assert straight[0] != straight[1]
    assert Denoising(lands.passages, tokenizer, batch=4, seed=1)(0) != straight[0]


# Reading


class Watched:
    """The examples of which passages are told, as they are drawn, with what was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.examples: list[Example] = []
        self.worlds: list[World] = []
        self.passages: list[Passage] = []
        monkeypatch.setattr(pretrain, "told", self.told)

    def told(self, world: World, example: Example, most: int | None, chance: random.Random) -> Passage:
        self.examples.append(example)
        self.worlds.append(world)
        self.passages.append(told(world, example, most, chance))
        return self.passages[-1]


def parts(example: Written, tokenizer: Any) -> tuple[str, str, str]:
    """Passage, question and answer in words."""
    passage, question = plain(example.source, tokenizer).split(" // ")
    return passage, question, plain(example.target, tokenizer)


@pytest.mark.parametrize("rise", [0, 20])
def test_the_answer_stands_in_the_passage_as_it_is_written_there(tellable: Tellable, tokenizer: Any, rise: int) -> None:
    draw = Reading(tellable, Contexts(tokenizer, 1_000), batch=16, renewed=3, rise=rise)
    for step in range(9):
        examples = draw(step)
        assert len(examples) == 16
        for example in examples:
            passage, question, answer = parts(example, tokenizer)
            assert earliest([answer], passage.partition(" / ")[2]) == answer
            assert example.text == f"{question} {answer}"
            assert question.endswith("?")
            assert tokenizer.pad_token_id not in example.source + example.target


def test_questions_are_those_of_the_world_over_its_own_passages(
    tellable: Tellable, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    draw = Reading(tellable, Contexts(tokenizer, 1_000), batch=16, seed=3, renewed=4)
    drawn = [example for step in range(8) for example in draw(step)]
    first, second = dict.fromkeys(watched.worlds)
    assert first.wiki.passages == World(tellable, "3 world 0").wiki.passages
    assert second.wiki.passages == World(tellable, "3 world 1").wiki.passages
    known = [(example.text, z) for example, z in zip(watched.examples, watched.passages, strict=True)]
    assert len(known) < 1.1 * len(drawn)  # next to none has to be drawn again
    for example in drawn:
        passage, question, _ = parts(example, tokenizer)
        assert any(text == question and passage == f"{z.title} / {z.text}" for text, z in known)
    for world, z, example in zip(watched.worlds, watched.passages, watched.examples, strict=True):
        assert z in world.wiki.passages
        assert example in world.examples
        assert z.id in {id for place in world.places(example) for id in place.passages}


def test_no_held_out_question_or_fact_is_read(
    lands: MiniWiki, tellable: Tellable, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    draw = Reading(tellable, Contexts(tokenizer, 1_000), batch=64, renewed=1)
    questions = {parts(example, tokenizer)[1] for step in range(8) for example in draw(step)}
    held = [example for made in lands.examples.values() for example in made if example.split != "train"]
    assert len(held) > 20
    assert questions.isdisjoint(example.text for example in held)
    asked = {fact_key(fact, lands.links) for example in watched.examples for fact in example.told}
    assert len(asked) > 100
    assert asked.isdisjoint(key for example in held for key in example.facts)
    assert not {name for key in asked for name in key} & lands.splits.kept_apart.keys()


def test_answers_are_mostly_not_the_true_ones(
    lands: MiniWiki, tellable: Tellable, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    draw = Reading(tellable, Contexts(tokenizer, 1_000), batch=64, renewed=1)
    for step in range(8):
        draw(step)
    true = {fact_key(fact, lands.links) for fact in facts_of(lands.domains)}
    same = [all(fact_key(fact, lands.links) in true for fact in example.told) for example in watched.examples]
    assert sum(same) < 0.2 * len(same)


def test_a_reading_step_is_the_same_in_any_order_and_across_worlds(tellable: Tellable, tokenizer: Any) -> None:
    contexts, settings = Contexts(tokenizer, 1_000), {"batch": 3, "renewed": 2, "rise": 4, "away": 0.3}
    straight = [Reading(tellable, contexts, **settings)(step) for step in range(6)]
    draw = Reading(tellable, contexts, **settings)
    order = (5, 0, 2, 1, 4, 3, 5, 0)
    assert [draw(step) for step in order] == [straight[step] for step in order]
    assert len({str(each) for each in straight}) == 6
    assert Reading(tellable, contexts, **settings, seed=1)(0) != straight[0]


@pytest.mark.parametrize(("away", "low", "high"), [(0.0, 1.0, 1.0), (0.5, 0.35, 0.75), (1.0, 0.0, 0.3)])
def test_the_share_of_questions_over_other_passages(
    tellable: Tellable, tokenizer: Any, away: float, low: float, high: float
) -> None:
    draw = Reading(tellable, Contexts(tokenizer, 1_000), batch=64, away=away)
    known = {f"{z.title} / {z.text}" for z in World(tellable, "0 world 0").wiki.passages}
    holding = []
    for step in range(4):
        for example in draw(step):
            passage, _, answer = parts(example, tokenizer)
            assert passage in known
            holding.append(has_answer(passage.partition(" / ")[2], [answer]))
    assert low <= sum(holding) / len(holding) <= high  # another passage may hold it by chance


def test_passages_grow_in_the_first_steps(tellable: Tellable, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    draw = Reading(tellable, Contexts(tokenizer, 1_000), batch=64, rise=12)

    def longest(step: int) -> int:
        watched.passages.clear()
        draw(step)
        return max(len(sentences(z.text)) for z in watched.passages)

    assert longest(0) == 3  # the one that tells it, and one on either side
    assert 3 < longest(4) <= 7
    assert longest(11) > 7
    watched.passages.clear()
    draw(12)
    assert set(watched.passages) <= set(watched.worlds[-1].wiki.passages)


def test_what_is_told_is_a_run_of_sentences_around_the_one_that_tells_it(tellable: Tellable) -> None:
    world, chance = World(tellable, "0"), random.Random(0)
    sizes = Counter[int]()
    for example in world.examples:
        lines = {sentence.text for place in world.places(example) for sentence in [place.page.sentences[place.sentence]]}
        assert told(world, example, 0, chance).text in lines
        some = told(world, example, 2, chance)
        (page,) = [page for page in world.wiki.pages if page.id == some.id]
        assert page.title == some.title
        texts = [sentence.text for sentence in page.sentences]
        runs = {
            " ".join(texts[i:j]): j - i
            for i in range(len(texts))
            for j in range(i + 1, len(texts) + 1)
            if lines & set(texts[i:j])
        }
        sizes[runs[some.text]] += 1
    assert set(sizes) == {1, 2, 3, 4, 5}


# The earliest answer


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


# Inverse cloze


def test_a_sentence_asks_for_the_passage_it_was_taken_from() -> None:
    passage, chance = Passage("7", "T", "A one. B two. C three."), random.Random(0)
    seen, stayed = Counter[str](), 0
    for _ in range(3_000):
        pair = inverse_cloze(passage, chance)
        assert (pair.positive.id, pair.positive.title, pair.negatives) == ("7", "T", ())
        rest = sentences(pair.positive.text)
        stays = pair.question in rest
        stayed += stays
        assert rest == [part for part in sentences(passage.text) if stays or part != pair.question]
        seen[pair.question] += 1
    assert seen.keys() == {"A one.", "B two.", "C three."}
    assert min(seen.values()) > 850
    assert 0.08 < stayed / 3_000 < 0.12


@pytest.mark.parametrize(("kept", "text"), [(0.0, "B two."), (1.0, "A one. B two.")])
def test_how_often_a_sentence_stays_is_a_setting(kept: float, text: str) -> None:
    found = {inverse_cloze(Passage("7", "", "A one. B two."), random.Random(seed), kept).positive.text for seed in range(30)}
    assert text in found
    assert found == ({"A one.", "B two."} if kept == 0 else {text})


def test_an_only_sentence_stays() -> None:
    passage = Passage("7", "T", "One and only.")
    for seed in range(30):
        pair = inverse_cloze(passage, random.Random(seed), kept=0.0)
        assert (pair.question, pair.positive) == ("One and only.", passage)


# The loss


def random_written(vocab: int, lengths: Sequence[tuple[int, int]]) -> list[Written]:
    chance = random.Random(0)

    def ids(n: int) -> tuple[int, ...]:
        return (0, *(chance.randrange(5, vocab) for _ in range(n - 2)), 2)

    return [Written(ids(source), ids(target)) for source, target in lengths]


def test_the_loss_is_cross_entropy_token_by_token() -> None:
    bart = random_bart(50)
    examples = random_written(50, [(9, 4), (3, 7), (12, 2)])
    loss, count = Writing(bart)(examples)
    assert count == 4 + 7 + 2
    by_hand = torch.tensor(0.0)
    for example in examples:
        source = torch.tensor([example.source])
        documents = bart.read(source, torch.ones_like(source))
        for place, token in enumerate(example.target):
            given = torch.tensor([[bart.config.start_id, *example.target[:place]]])
            by_hand = by_hand - F.log_softmax(bart.logits(documents, given)[0, -1], 0)[token]
    assert_close(loss, by_hand, atol=1e-4, rtol=1e-5)


def test_the_loss_is_that_of_rag_with_one_document(tokenizer: Any) -> None:
    bart = random_bart(len(tokenizer))
    examples = random_written(len(tokenizer), [(9, 4), (9, 9), (20, 2), (3, 30)])
    model = RagModel(bart, Contexts(tokenizer, 40))
    for one in examples:
        ids, targets = torch.tensor([[one.source]]), torch.tensor([one.target])
        for scheme in ("sequence", "token"):
            theirs = model.loss(ids, torch.ones_like(ids), torch.zeros(1, 1), targets, scheme)
            ours, count = Writing(bart)([one])
            assert count == len(one.target)
            assert_close(ours, theirs[0], atol=1e-5, rtol=1e-5)
    alone = sum(Writing(bart)([one])[0] for one in examples)
    assert_close(Writing(bart)(examples)[0], alone, atol=1e-4, rtol=1e-5)


def test_the_loss_learns_every_weight(tokenizer: Any, lands: MiniWiki) -> None:
    bart = random_bart(len(tokenizer), spread=0.05).train()
    objective = Writing(bart)
    assert {id(parameter) for parameter in objective.parameters()} == {id(parameter) for parameter in bart.parameters()}
    draw = Denoising([replace(z, title="") for z in lands.passages], tokenizer, batch=4, longest=20)
    loss, _ = objective(draw(0))
    loss.backward()
    silent = [name for name, parameter in bart.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert silent == []


def test_nothing_to_learn_from_is_said(tokenizer: Any, tellable: Tellable) -> None:
    with pytest.raises(MiniragError, match="no passage to restore"):
        Denoising([], tokenizer, 4)
    empty = Tellable([], tellable.facts, tellable.texts)
    with pytest.raises(MiniragError, match="no question can be asked in a world"):
        Reading(empty, Contexts(tokenizer), 4)(0)
