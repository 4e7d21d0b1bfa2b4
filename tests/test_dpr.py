"""DPR's training: the loss against its own formula and two peers, negatives that are none, and what is drawn for a step."""

import dataclasses
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from miniwiki_case import load
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.evaluation.run import answer_ranks
from minirag.models.bert import Bert, BertConfig
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.bm25 import BM25Index
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.retriever import Retriever
from minirag.tasks.metrics import answer_recall, has_answer
from minirag.tasks.openqa import Question
from minirag.training.dpr import (
    PAPER,
    PAPER_SMALL,
    RELEASED,
    InBatch,
    Pair,
    average_rank,
    mine,
    pairs,
    top_k,
)
from minirag.training.dpr_files import Asked, Candidate
from minirag.training.draws import chance_of, epochs


def tokenizer_of(texts: list[str]) -> Any:
    from minirag.training.tokenizer import make_tokenizer

    return make_tokenizer(texts, 300)


class Table(torch.nn.Module):
    """In place of an encoder: a vector for each text, to be looked up and to be learnt."""

    def __init__(self, vectors: dict[str, list[float]]) -> None:
        super().__init__()
        self.rows = {text: row for row, text in enumerate(vectors)}
        self.weight = torch.nn.Parameter(torch.tensor(list(vectors.values())))

    def __call__(self, texts: list[str]) -> Tensor:
        return self.weight[[self.rows[text] for text in texts]]


class Looking(BiEncoder):
    """A bi-encoder whose every vector can be read off: of questions by their text, of passages by theirs."""

    def __init__(self, queries: dict[str, list[float]], passages: dict[str, list[float]]) -> None:
        self.query_encoder, self.passage_encoder = Table(queries), Table(passages)

    def query_vectors(self, questions: Any) -> Tensor:
        return self.query_encoder(list(questions))

    def passage_vectors(self, passages: Any) -> Tensor:
        return self.passage_encoder([passage.text for passage in passages])

    def encode_queries(self, questions: Any) -> Tensor:
        return self.query_vectors(questions).detach()

    def encode_passages(self, passages: Any, on_batch: Any = None) -> Tensor:
        return self.passage_vectors(passages).detach()


def p(id: str, text: str | None = None) -> Passage:
    return Passage(id, "", id if text is None else text)


def tiny(texts: list[str], **settings: Any) -> BiEncoder:
    tokenizer = tokenizer_of(texts)
    torch.manual_seed(0)
    config = BertConfig(len(tokenizer), dim=16, layers=1, heads=2, inner=16, positions=96, dropout=0.0, pad_id=1)
    query, passage = Bert(config).eval(), Bert(config).eval()
    with torch.no_grad():
        for parameter in (*query.parameters(), *passage.parameters()):
            parameter.add_(0.3 * torch.randn_like(parameter))
    return BiEncoder(query, passage, tokenizer, max_length=96, dtype="float32", **settings)


# The loss


def test_the_loss_by_hand() -> None:
    encoder = Looking({"one": [1.0, 0.0], "two": [0.0, 2.0]}, {"a": [3.0, 0.0], "b": [1.0, 1.0], "c": [2.0, 0.5]})
    loss, count = InBatch(encoder)([Pair("one", p("a"), (p("c"),)), Pair("two", p("b"))])
    # Scores of "one": a 3, b 1, c 2; of "two": a 0, b 2, c 1.
    one = math.log(math.exp(3) + math.exp(1) + math.exp(2)) - 3
    two = math.log(math.exp(0) + math.exp(2) + math.exp(1)) - 2
    assert count == 2
    assert_close(loss, torch.tensor(one + two))
    halved, _ = InBatch(encoder, 0.5)([Pair("one", p("a"), (p("c"),))])
    assert_close(halved, torch.tensor(math.log(math.exp(1.5) + math.exp(1)) - 1.5))


def test_what_is_right_is_nobodys_negative() -> None:
    encoder = Looking({"one": [1.0, 0.0], "two": [0.0, 2.0]}, {"a": [3.0, 0.0], "b": [1.0, 1.0], "c": [2.0, 0.5]})
    objective = InBatch(encoder)
    # b would do for "one", too; for "two" nothing but its own.
    hidden, _ = objective([Pair("one", p("a"), right=frozenset("ab")), Pair("two", p("b"), (p("c"),))])
    one = math.log(math.exp(3) + math.exp(2)) - 3
    two = math.log(math.exp(0) + math.exp(2) + math.exp(1)) - 2
    assert_close(hidden, torch.tensor(one + two))
    # Two questions with one positive: each has it once, as its own, and has no other.
    twice, count = objective([Pair("one", p("a")), Pair("two", p("a"))])
    assert count == 2
    assert_close(twice, torch.tensor(0.0))
    # Nor is another's hard negative that is right here.
    hard, _ = objective([Pair("one", p("a")), Pair("two", p("b"), (p("a"),))])
    assert_close(hard, torch.tensor(math.log(math.exp(3) + math.exp(1)) - 3 + math.log(2 * math.exp(0) + math.exp(2)) - 2))


def test_passages_without_an_id_are_not_one_and_the_same() -> None:
    encoder = Looking({"one": [1.0, 0.0], "two": [0.0, 2.0]}, {"a": [3.0, 0.0], "b": [1.0, 1.0], "c": [2.0, 0.5]})
    with_ids, _ = InBatch(encoder)([Pair("one", p("a"), (p("c"),)), Pair("two", p("b"))])
    without, _ = InBatch(encoder)([Pair("one", p("", "a"), (p("", "c"),)), Pair("two", p("", "b"))])
    assert_close(without, with_ids)
    assert without > 0
    assert average_rank(encoder, [Pair("one", p("", "b"), (p("", "a"), p("", "c")))]) == 3.0


@pytest.mark.parametrize("hard", [0, 1, 2])
def test_the_loss_is_dprs(hard: int) -> None:
    """BiEncoderNllLoss: log_softmax of Q Cᵀ, nll at the positives. There each question's negatives follow its positive."""
    chance = torch.Generator().manual_seed(hard)
    size, dim = 6, 5
    queries = torch.randn(size, dim, generator=chance)
    contexts = torch.randn(size * (1 + hard), dim, generator=chance)
    encoder = Looking(
        {f"q{row}": vector for row, vector in enumerate(queries.tolist())},
        {f"z{row}": vector for row, vector in enumerate(contexts.tolist())},
    )
    starts = range(0, size * (1 + hard), 1 + hard)
    batch = [
        Pair(f"q{row}", p(f"z{start}"), tuple(p(f"z{start + 1 + i}") for i in range(hard))) for row, start in enumerate(starts)
    ]
    loss, count = InBatch(encoder)(batch)
    theirs = F.nll_loss(F.log_softmax(queries @ contexts.T, dim=1), torch.tensor(list(starts)), reduction="mean")
    assert_close(loss / count, theirs)


def test_the_loss_and_its_gradients_are_those_of_sentence_transformers() -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.util import dot_score

    texts = [f"{word} {n}" for word in ("river", "city", "mountain") for n in range(10)]
    encoder, scale = tiny(texts, normalize=True), 20.0
    batch = [Pair(f"which {texts[i]}", p(f"{i}", texts[i]), (p(f"n{i}", texts[-i - 1]),)) for i in range(8)]
    loss, count = InBatch(encoder, scale)(batch)
    (loss / count).backward()
    networks = (encoder.query_encoder, encoder.passage_encoder)
    ours = [parameter.grad.clone() for network in networks for parameter in network.parameters() if parameter.grad is not None]
    for network in networks:
        network.zero_grad()
    theirs = MultipleNegativesRankingLoss(SentenceTransformer(modules=[torch.nn.Identity()]), scale, dot_score)
    vectors = [encoder.query_vectors([pair.question for pair in batch])]
    vectors += [encoder.passage_vectors([pair.positive for pair in batch])]
    vectors += [encoder.passage_vectors([pair.negatives[0] for pair in batch])]
    peer = theirs.compute_loss_from_embeddings(vectors, None)
    peer.backward()
    assert_close(loss / count, peer)
    again = [parameter.grad for network in networks for parameter in network.parameters() if parameter.grad is not None]
    assert len(again) > 20
    assert_close(ours, again, atol=1e-5, rtol=1e-4)


def test_both_encoders_learn() -> None:
    texts = ["red river", "old city", "high mountain"]
    objective = InBatch(tiny(texts))
    names = {name.split(".")[0] for name, _ in objective.named_parameters()}
    assert names == {"query_encoder", "passage_encoder"}
    batch = [Pair(text.split()[1], p(text)) for text in texts]
    optimizer = torch.optim.Adam(objective.parameters(), 0.01)
    losses = []
    for _ in range(20):
        loss, _ = objective(batch)
        optimizer.zero_grad()
        loss.backward()
        for network in (objective.query_encoder, objective.passage_encoder):
            assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]


# Questions made ready

ASKED = Asked(
    "q",
    ("a",),
    tuple(Candidate(p(f"+{i}")) for i in range(3)),
    tuple(Candidate(p(f"-{i}")) for i in range(4)),
    tuple(Candidate(p(f"!{i}")) for i in range(2)),
)


def test_the_first_positive_is_taken_or_one_by_lot() -> None:
    chance = random.Random(0)
    assert {pairs([ASKED], 0, chance)[0].positive.id for _ in range(40)} == {"+0"}
    assert {pairs([ASKED], 0, chance, sampled=True)[0].positive.id for _ in range(40)} == {"+0", "+1", "+2"}
    (pair,) = pairs([ASKED], 0, chance)
    assert (pair.question, pair.negatives, pair.right) == ("q", (), frozenset({"+0", "+1", "+2"}))


@pytest.mark.parametrize(
    ("hard", "kinds"), [(0, ""), (1, "!"), (2, "!!"), (3, "!!-"), (5, "!!---"), (6, "!!----"), (9, "!!----")]
)
def test_hard_negatives_first_then_others(hard: int, kinds: str) -> None:
    seen = Counter[str]()
    for seed in range(40):
        (pair,) = pairs([ASKED], hard, random.Random(seed))
        ids = [z.id for z in pair.negatives]
        assert "".join(id[0] for id in ids) == kinds
        assert len(set(ids)) == len(ids)
        seen.update(ids)
    if hard == 1:
        assert set(seen) == {"!0", "!1"}  # by lot
    if hard == 3:
        assert set(seen) == {"!0", "!1", "-0", "-1", "-2", "-3"}


def test_questions_without_a_positive_are_left_out() -> None:
    bare = dataclasses.replace(ASKED, question="bare", positives=())
    assert [pair.question for pair in pairs([bare, ASKED, bare], 1, random.Random(0))] == ["q"]
    nameless = dataclasses.replace(ASKED, positives=(Candidate(p("", "text")), Candidate(p("7"))))
    assert pairs([nameless], 0, random.Random(0))[0].right == frozenset({"7"})


def test_the_same_chance_makes_the_same_pairs() -> None:
    many = [dataclasses.replace(ASKED, question=str(i)) for i in range(20)]
    one, two, other = (pairs(many, 2, random.Random(seed), sampled=True) for seed in (3, 3, 4))
    assert one == two != other


# Mining

Corpus = tuple[PassageStore, list[Asked]]


@pytest.fixture(scope="module")
def lands(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The passages of the small wiki and its questions; every other one brings the passage that tells its answer."""
    folder = tmp_path_factory.mktemp("lands")
    wiki = load(folder)
    store = PassageStore.write(folder / "passages", wiki.passages)
    examples = [example for task in ("nq", "webquestions", "curatedtrec", "triviaqa") for example in wiki.examples[task]]
    asked = []
    for number, example in enumerate(examples):
        told = wiki.passages[int(wiki.all_places_of(example)[0].passages[0]) - 1]
        asked.append(Asked(example.text, example.answers, (Candidate(told, 9.0),) if number % 2 else ()))
    assert len(asked) > 15
    return store, asked


@pytest.fixture(scope="module")
def retrievers(lands: Corpus) -> dict[str, Retriever]:
    store, _ = lands
    everything = store.take(range(len(store)))
    words, encoder = BM25Index(), tiny([z.text for z in everything])
    words.add(everything)
    vectors = ExactIndex(encoder.dim)
    vectors.add(encoder.encode_passages(everything))
    return {"words": Retriever(words, store), "vectors": Retriever(vectors, store, encoder)}


@pytest.mark.parametrize("kind", ["words", "vectors"])
@pytest.mark.parametrize("keep", [0, 2, 10])
def test_mined_negatives_hold_no_answer_and_come_best_first(
    lands: Corpus, retrievers: dict[str, Retriever], kind: str, keep: int
) -> None:
    _, asked = lands
    retriever = retrievers[kind]
    mined = list(mine(asked, retriever, k=8, keep=keep))
    assert [(one.question, one.answers) for one in mined] == [(one.question, one.answers) for one in asked]
    for one, before in zip(mined, asked, strict=True):
        (found,) = retriever.search([one.question], 8)
        right = [z.passage.id for z in before.positives]
        expected = [
            (z, score)
            for z, score in zip(found.passages, found.scores.tolist(), strict=True)
            if not has_answer(z.text, one.answers) and z.id not in right
        ][:keep]
        assert [z.passage for z in one.hard_negatives] == [z for z, _ in expected]
        assert_close([z.score for z in one.hard_negatives], [score for _, score in expected], atol=1e-4, rtol=1e-4)
        scores = [z.score for z in one.hard_negatives]
        assert scores == sorted(scores, reverse=True)
        assert before.positives == () or one.positives == before.positives
    assert keep == 0 or sum(len(one.hard_negatives) for one in mined) > 10


@pytest.mark.parametrize("kind", ["words", "vectors"])
def test_a_question_without_a_positive_gets_the_first_passage_with_an_answer(
    lands: Corpus, retrievers: dict[str, Retriever], kind: str
) -> None:
    _, asked = lands
    given = 0
    for one, before in zip(mine(asked, retrievers[kind], k=8), asked, strict=True):
        if not before.positives:
            (found,) = retrievers[kind].search([one.question], 8)
            holding = [z for z in found.passages if has_answer(z.text, one.answers)]
            assert [z.passage for z in one.positives] == holding[:1]
            given += len(one.positives)
    assert given > 3


def test_old_hard_negatives_are_replaced_and_nothing_else(lands: Corpus, retrievers: dict[str, Retriever]) -> None:
    _, asked = lands
    old = dataclasses.replace(
        asked[1], hard_negatives=(Candidate(p("old")),), negatives=(Candidate(p("other")),), dataset="lands"
    )
    (new,) = mine([old], retrievers["words"], k=5)
    assert all(z.passage.id != "old" for z in new.hard_negatives)
    assert new == dataclasses.replace(old, hard_negatives=new.hard_negatives)


def test_a_positive_whose_text_does_not_say_the_answer_is_no_negative(lands: Corpus, retrievers: dict[str, Retriever]) -> None:
    _, asked = lands
    strange = dataclasses.replace(asked[1], answers=("nowhere to be found",))
    (found,) = mine([strange], retrievers["words"], k=8)
    assert found.positives == strange.positives
    assert found.hard_negatives
    assert found.positives[0].passage.id not in {z.passage.id for z in found.hard_negatives}


def test_answers_may_be_patterns(lands: Corpus, retrievers: dict[str, Retriever]) -> None:
    question = Asked("What is the capital of Atlantis?", ("Pos[ei]+donia",), ())
    (as_text,) = mine([question], retrievers["words"], k=3)
    (as_pattern,) = mine([question], retrievers["words"], k=3, match="regex")
    assert as_text.positives == ()
    assert "Poseidonia" in as_pattern.positives[0].passage.text
    assert top_k(retrievers["words"], [question], (3,)) == {3: 0.0}
    assert top_k(retrievers["words"], [question], (3,), match="regex") == {3: 1.0}


# Measures

LINE = {letter: [float(place)] for letter, place in zip("abcde", (5, 4, 3, 3, 1), strict=True)}


def test_the_average_rank_by_hand() -> None:
    encoder = Looking({"up": [1.0], "down": [-1.0]}, LINE)
    pair = Pair("up", p("b"), (p("a"), p("e")))
    assert average_rank(encoder, [pair]) == 2.0  # behind a
    # The passages of all questions count: a, b, c, d, e for both. "up" finds b second, "down" finds b fourth.
    both = [pair, Pair("down", p("b"), (p("c"), p("d")))]
    assert average_rank(encoder, both) == (2.0 + 4.0) / 2
    assert average_rank(encoder, both[::-1]) == average_rank(encoder, both)


def test_equal_scores_count_half_in_the_average_rank() -> None:
    encoder = Looking({"up": [1.0], "nothing": [0.0]}, LINE)
    assert average_rank(encoder, [Pair("up", p("c"), (p("a"), p("b"), p("d"), p("e")))]) == 3.5
    assert average_rank(encoder, [Pair("nothing", p("c"), (p("a"), p("b"), p("d"), p("e")))]) == 3.0


def test_other_right_passages_are_left_out_of_the_average_rank() -> None:
    encoder = Looking({"up": [1.0]}, LINE | {"b, cut": [4.5]})
    negatives = (p("a"), p("b"), p("d"))
    assert average_rank(encoder, [Pair("up", p("c"), negatives)]) == 3.5
    assert average_rank(encoder, [Pair("up", p("c"), negatives, frozenset("cad"))]) == 2.0
    assert average_rank(encoder, [Pair("up", p("c"), negatives, frozenset({"c", "b", "x"}))]) == 2.5
    # The same passage whole and with a sentence missing: it is not compared with itself.
    assert average_rank(encoder, [Pair("up", p("b"), (p("b", "b, cut"), p("a")))]) == 2.0
    with pytest.raises(MiniragError, match="no held-out question"):
        average_rank(encoder, [])


def test_top_k_by_hand(tmp_path: Path) -> None:
    store = PassageStore.write(tmp_path / "passages", [p("1", "red fox"), p("2", "red red hen"), p("3", "blue sky")])
    index = BM25Index()
    index.add(store.take(range(3)))
    asked = [Asked("red", ("hen",), ()), Asked("red", ("Fox",), ()), Asked("blue", ("red",), ()), Asked("blue", ("sky",), ())]
    assert top_k(Retriever(index, store), asked, (1, 2, 3)) == {1: 0.5, 2: 0.75, 3: 0.75}
    with pytest.raises(MiniragError, match="no question"):
        top_k(Retriever(index, store), [])


@pytest.mark.parametrize("kind", ["words", "vectors"])
def test_top_k_is_what_evaluation_measures(lands: Corpus, retrievers: dict[str, Retriever], kind: str) -> None:
    _, asked = lands
    asked, ks = asked * 20, (1, 2, 5)  # several batches
    assert len(asked) > 256
    ranks = answer_ranks(retrievers[kind], [Question(str(i), one.question, one.answers) for i, one in enumerate(asked)], 5)
    shares = top_k(retrievers[kind], asked, ks)
    assert shares == answer_recall(ranks, ks)
    assert 0 < shares[1] <= shares[5]
    assert [one.question for one in mine(asked, retrievers[kind], k=2)] == [one.question for one in asked]


# Recipes


def test_the_paper_and_the_released_configuration_differ_in_rate_and_clipping() -> None:
    ours, theirs = dataclasses.asdict(PAPER), dataclasses.asdict(RELEASED)
    assert {name: (ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]} == {
        "rate": (1e-5, 2e-5),
        "clip": (1.0, 2.0),
    }
    assert (PAPER.batch, PAPER.hard, PAPER.epochs, PAPER.dropout) == (128, 1, 40, 0.1)
    assert dataclasses.replace(PAPER_SMALL, epochs=40) == PAPER
    assert PAPER_SMALL.epochs == 100


def test_settings_of_a_recipe() -> None:
    settings = RELEASED.settings(58_880)
    assert (settings.steps, settings.rate, settings.warmup, settings.clip) == (40 * 460, 2e-5, 1_237, 2.0)
    assert (settings.weight_decay, settings.epsilon, settings.decay, settings.end) == (0.0, 1e-8, "linear", 0.0)
    assert (settings.evaluate_every, settings.best, settings.lowest) == (460, "average_rank", True)
    small = dataclasses.replace(PAPER, batch=4, warmup=3, epochs=2)
    assert small.settings(11).steps == 4  # what is left of an epoch is left out


@pytest.mark.parametrize(("questions", "steps"), [(127, 0), (0, 0), (128 * 30, 1_200), (128 * 30 + 127, 1_200)])
def test_a_recipe_for_too_few_questions_is_refused(questions: int, steps: int) -> None:
    with pytest.raises(
        MiniragError, match=rf"^{questions} questions make {steps} steps of 128, fewer than 1237 of warm-up; use"
    ):
        PAPER.settings(questions)
    assert PAPER.settings(128 * 31).steps == 1_240


# Draws


@given(st.integers(), st.lists(st.integers(0, 99) | st.text("ab", max_size=3), max_size=3), st.integers(0, 5))
def test_chance_depends_on_its_place_alone(seed: int, where: list[int | str], before: int) -> None:
    expected = chance_of(seed, *where).random()
    other = chance_of(seed, *where, "other")
    for _ in range(before):
        other.random()
        random.random()
    assert chance_of(seed, *where).random() == expected
    assert chance_of(seed + 1, *where).random() != expected
    assert chance_of(seed, *where, 0).random() != expected


def test_chance_is_the_same_in_every_process() -> None:
    """No hash that Python salts: the first number stands here."""
    assert chance_of(0, "step", 7).random() == 0.5032823418423659


@given(st.integers(1, 30), st.data())
def test_every_epoch_goes_through_all_examples(size: int, data: st.DataObject) -> None:
    batch = data.draw(st.integers(1, size))
    examples = [f"e{i}" for i in range(size)]
    draw, steps = epochs(examples, batch, seed=3), size // batch
    for epoch in range(3):
        batches = [draw(epoch * steps + step) for step in range(steps)]
        assert all(len(each) == batch for each in batches)
        seen = [one for each in batches for one in each]
        assert len(set(seen)) == len(seen) == size - size % batch
        assert set(seen) <= set(examples)


@given(st.lists(st.integers(0, 40), max_size=20))
def test_batches_are_the_same_in_any_order(order: list[int]) -> None:
    draw = epochs(range(10), 3, seed=1)
    straight = [epochs(range(10), 3, seed=1)(step) for step in range(41)]
    assert [draw(step) for step in order] == [straight[step] for step in order]


def test_orders_differ_between_epochs_and_seeds() -> None:
    one, other = epochs(range(50), 50, seed=1), epochs(range(50), 50, seed=2)
    assert sorted(one(0)) == sorted(one(1)) == sorted(other(0)) == list(range(50))
    assert one(0) != one(1) != one(2)
    assert one(0) != other(0)
    dropped = {frozenset(range(5)) - set(epochs(range(5), 4)(epoch)) for epoch in range(30)}
    assert len(dropped) == 5  # what is left out is another one each time


@pytest.mark.parametrize(("size", "batch"), [(3, 4), (0, 1), (3, 0), (3, -1)])
def test_a_batch_that_cannot_be_drawn_is_refused(size: int, batch: int) -> None:
    with pytest.raises(MiniragError, match=f"a batch of {batch} cannot be drawn from {size} examples"):
        epochs(range(size), batch)
