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

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.prose import sentences
from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.rag.contexts import Contexts
from minirag.rag.model import RagModel
from minirag.training import pretrain
from minirag.training.pretrain import Denoising, Writing, Written, infilled, inverse_cloze, permuted

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
    return tokenizer.decode(tokens[1:-1]).removeprefix(" ")  # before which a text begins


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


def test_no_passage_to_restore_is_said(tokenizer: Any) -> None:
    with pytest.raises(MiniragError, match="no passage to restore"):
        Denoising([], tokenizer, 4)
