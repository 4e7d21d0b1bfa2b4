"""RAG trained end to end on a world of a few sentences: what learns, what stays, what is watched."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from rag_cases import small_bart

from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.files import only_process
from minirag.models.bert import Bert, BertConfig
from minirag.rag.classify import ClaimHead
from minirag.rag.collapse import Spread, spread
from minirag.rag.contexts import Contexts
from minirag.rag.model import RagModel
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.bm25 import BM25Index
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.retriever import Retrieved
from minirag.retrieval.standins import GivenIndex
from minirag.training.finetune import PAPER, POCKET, EndToEnd, Recipe, finetune
from minirag.training.loop import read_log
from minirag.training.targets import QuestionAnswer

RIVERS = ("Nile", "Rhine", "Volga", "Indus", "Seine", "Tagus", "Congo", "Niger")
SEAS = ("blue", "cold", "deep", "warm", "grey", "wild", "calm", "salt")
PASSAGES = [
    Passage(str(i), river, f"It flows to the {sea} sea.") for i, (river, sea) in enumerate(zip(RIVERS, SEAS, strict=True))
]
PAIRS = [QuestionAnswer(f"Where does the {river} flow?", f"{sea} sea") for river, sea in zip(RIVERS, SEAS, strict=True)]
SHORT = Recipe(batch=4, k=3, rate=5e-3, steps=6, clip=1.0)
Make = Callable[..., RagModel]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A RAG of small random networks over an exact index, each time the same."""
    store = PassageStore.write(tmp_path_factory.mktemp("store") / "passages", PASSAGES)
    texts = [f"{z.title} {z.text}" for z in PASSAGES] + [f"{one.question} {one.answer}" for one in PAIRS]

    def made(scheme: Any = "sequence", index: Any = None) -> RagModel:
        bart, tokenizer = small_bart(texts, positions=60)
        torch.manual_seed(1)
        bert = Bert(BertConfig(len(tokenizer), 16, 1, 2, 32, 60, dropout=0.0, pad_id=tokenizer.pad_token_id))
        with torch.no_grad():
            bert.words.weight.mul_(20)
        encoder = BiEncoder(bert, bert, tokenizer, "mean", normalize=True, max_length=60, dtype="float32")
        model = RagModel(bart, Contexts(tokenizer, max_length=60), encoder if index is None else None, scheme)
        if index is None:
            index = ExactIndex(16)
            index.add(encoder.encode_passages(PASSAGES))
        return model.attach(index, store)

    return made


def weights(module: torch.nn.Module) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in module.parameters()]


def same(before: list[torch.Tensor], after: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("scheme", ["sequence", "token"])
def test_the_objective_is_the_models_own_loss(make: Make, scheme: str) -> None:
    model = make(scheme)
    total, count = EndToEnd(model, k=3, label_smoothing=0.1)(PAIRS[:4])
    questions, answers = [one.question for one in PAIRS[:4]], [one.answer for one in PAIRS[:4]]
    torch.testing.assert_close(total, model(questions, answers, 3, label_smoothing=0.1).sum())
    assert count == 4


def test_query_encoder_and_generator_learn_and_the_memory_stays(make: Make, tmp_path: Path) -> None:
    model = make()
    assert model.encoder is not None
    assert model.encoder.passage_encoder is not None
    rows = torch.arange(len(PASSAGES))
    memory = model.retriever.index.memory.take(rows).clone()
    parts = (model.query_encoder, model.generator, model.encoder.passage_encoder)
    before = [weights(part) for part in parts]
    finetune(model, PAIRS, SHORT, tmp_path / "run", progress=False)
    assert [same(old, weights(part)) for old, part in zip(before, parts, strict=True)] == [False, False, True]
    assert torch.equal(model.retriever.index.memory.take(rows), memory)


def test_a_query_encoder_held_still_stays_and_searches_once(make: Make, tmp_path: Path) -> None:
    model = make()
    model.query_encoder.requires_grad_(False)
    before = weights(model.query_encoder)
    asked: list[str] = []
    search = model.retriever.search
    model.retriever.search = lambda questions, k: asked.extend(questions) or search(questions, k)
    finetune(model, PAIRS, SHORT, tmp_path / "run", progress=False)
    assert same(before, weights(model.query_encoder))
    assert sorted(asked) == sorted(one.question for one in PAIRS)


def test_a_label_that_the_head_has_not_is_refused_before_anything_is_learnt(make: Make, tmp_path: Path) -> None:
    model = make()
    claims = [QuestionAnswer("The Nile is blue.", "true"), QuestionAnswer("The Rhine is blue.", "perhaps")]
    with pytest.raises(
        MiniragError, match=r"'perhaps', the label of 'The Rhine is blue\.', is none of the head's: true, false"
    ):
        finetune(model, claims, SHORT, tmp_path / "run", progress=False, head=ClaimHead(model, ("true", "false")))
    assert not (tmp_path / "run").exists()


class Reciting(torch.nn.Module):
    """A generator that cannot learn by heart: each token is as likely as it is frequent in the document."""

    def __init__(self, bart: Any) -> None:
        super().__init__()
        self.config, self.sureness = bart.config, torch.nn.Parameter(torch.tensor(4.0))

    def read(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        counts = torch.zeros(len(input_ids), self.config.vocab_size)
        return counts.scatter_add_(1, input_ids, attention_mask.float())  # [N, V]

    def logits(self, documents: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return self.sureness * documents.clamp(max=1)[:, None].expand(-1, tokens.shape[1], -1)  # [N, T, V]

    def tree(self, documents: torch.Tensor) -> None:
        raise NotImplementedError


def test_it_learns_to_find_what_makes_the_answer_likely(make: Make, tmp_path: Path) -> None:
    """Nobody says which passage holds the answer: the generator's likelihood teaches the query encoder."""
    before = make()
    model = RagModel(Reciting(before.generator), before.contexts, before.encoder)
    model.attach(before.retriever.index, before.retriever.passages)
    questions = [one.question for one in PAIRS]

    def right() -> float:
        found = model.retrieve(questions, len(PASSAGES))
        scores = model.doc_scores(found).detach().softmax(1)  # [B, K]
        return fmean(float(scores[row, one.rows.tolist().index(row)]) for row, one in enumerate(found))

    start = right()
    finetune(model, PAIRS, Recipe(8, 8, 1e-2, steps=60, clip=1.0), tmp_path / "run", progress=False)
    assert start < 0.8
    assert right() > 0.95


def test_the_same_seed_gives_the_same_weights_and_a_finished_run_is_taken_up(make: Make, tmp_path: Path) -> None:
    first, second, again = make(), make(), make()
    log = finetune(first, PAIRS, SHORT, tmp_path / "a", progress=False)
    finetune(second, PAIRS, SHORT, tmp_path / "b", progress=False)
    assert same(weights(first), weights(second))
    assert finetune(again, PAIRS, SHORT, tmp_path / "a", progress=False) == log
    assert same(weights(first), weights(again))
    other = make()
    finetune(other, PAIRS, SHORT, tmp_path / "c", seed=1, progress=False)
    assert not same(weights(first), weights(other))


def test_a_short_training_goes_on_where_it_was_stopped(make: Make, tmp_path: Path) -> None:
    whole, stopped = make(), make()
    finetune(whole, PAIRS, SHORT, tmp_path / "whole", lambda: {}, progress=False)
    looks: list[int] = []

    def look() -> dict[str, float]:
        looks.append(len(looks))
        if len(looks) == 4:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        finetune(stopped, PAIRS, SHORT, tmp_path / "run", look, progress=False)
    again = make()
    rows = finetune(again, PAIRS, SHORT, tmp_path / "run", look, progress=False)
    assert same(weights(again), weights(whole))
    assert len(looks) == 4 + 3  # the fourth of six steps is done a second time, those before it are not
    assert rows[-1]["step"] == SHORT.steps
    assert POCKET.settings(1_000).save_every == 30


def test_baselines_are_the_same_model_over_another_index(make: Make, tmp_path: Path) -> None:
    words = BM25Index()
    words.add(PASSAGES)
    given = GivenIndex({one.question: [row] for row, one in enumerate(PAIRS)}, len(PASSAGES))
    for number, index in enumerate((words, given)):
        rows = finetune(make(index=index), PAIRS, SHORT, tmp_path / str(number), progress=False)
        assert rows[-1]["step"] == SHORT.steps


def test_what_is_evaluated_and_how_documents_are_shared_stand_in_the_log(make: Make, tmp_path: Path) -> None:
    finetune(make(), PAIRS, SHORT, tmp_path / "run", evaluate=lambda: {"exact_match": 0.5}, progress=False)
    (last,) = [row for row in read_log(tmp_path / "run") if row["step"] == 6 and "exact_match" in row]
    assert last["exact_match"] == 0.5
    assert 0 <= last["documents_information"] <= last["documents_entropy"]
    assert last["documents_most"] == pytest.approx(torch.tensor(8.0).log().item())
    assert 0.125 <= last["documents_unique"] <= 1


def test_collapse_raises_the_alarm(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make()
    with torch.no_grad():
        model.query_encoder.words.weight.fill_(0.1)  # all questions are much the same
    model.query_encoder.requires_grad_(False)
    finetune(model, PAIRS, SHORT, tmp_path / "run", title="RAG", progress=False)
    assert read_log(tmp_path / "run")[-1]["collapsed"] == 1
    assert "RAG: the retriever has collapsed: a question tells 0.01 of 2.08 nats about its documents" in capsys.readouterr().err


def found(*rows: int) -> Retrieved:
    return Retrieved("?", [PASSAGES[row] for row in rows], torch.tensor(rows, dtype=torch.int64), torch.zeros(len(rows)))


def test_the_spread_of_documents_by_hand() -> None:
    apart = spread([found(0, 1), found(2, 3)], torch.zeros(2, 2))
    assert apart.entropy == pytest.approx(torch.tensor(4.0).log().item())
    assert (apart.information, apart.unique) == (pytest.approx(apart.most), 1.0)
    alike = spread([found(0, 1), found(1, 0)], torch.zeros(2, 2))
    assert (alike.information, alike.unique, alike.collapsed) == (pytest.approx(0.0, abs=1e-9), 0.5, True)
    # p(z|x) counts: found with next to no weight is next to not found.
    sure = spread([found(0, 1), found(1, 0)], torch.tensor([[30.0, 0.0], [30.0, 0.0]]))
    assert sure.information == pytest.approx(sure.most, abs=1e-6)
    fewer = spread([found(0), found(1, 2)], torch.tensor([[0.0, -torch.inf], [0.0, 0.0]]))
    assert fewer.information == pytest.approx(fewer.most)


def test_one_question_has_no_spread() -> None:
    with pytest.raises(MiniragError, match="1 questions cannot be told apart"):
        spread([found(0)], torch.zeros(1, 1))
    assert Spread(1, 0.0, 0.0, 1.0).most == 0


def test_a_recipe_has_steps_or_epochs() -> None:
    assert POCKET.settings(pairs=10_000).steps == POCKET.steps
    assert PAPER.settings(pairs=640).steps == 1_000
    for wrong in (Recipe(8, 5, 1e-3), Recipe(8, 5, 1e-3, steps=3, epochs=1)):
        with pytest.raises(MiniragError, match="say one of them"):
            wrong.settings(pairs=100)


def test_a_question_without_documents_is_refused_by_the_spread_and_left_out_in_training(make: Make, tmp_path: Path) -> None:
    with pytest.raises(MiniragError, match="a question found no document"):
        spread([found(0), found()], torch.zeros(2, 1))
    words = BM25Index()
    words.add(PASSAGES)
    plain = make(index=words)
    model = RagModel(plain.generator, plain.contexts, None, null_document="bias")
    model.attach(words, plain.retriever.passages)
    pairs = [*PAIRS[:3], QuestionAnswer("xyzzy?", "blue sea")]
    rows = finetune(model, pairs, SHORT, tmp_path / "run", progress=False)
    assert rows[-1]["documents_most"] == pytest.approx(torch.tensor(3.0).log().item())


@pytest.mark.parametrize(
    ("pairs", "recipe", "said"),
    [
        ([], SHORT, "a batch of 4 cannot be drawn from 0 examples"),
        (PAIRS[:3], SHORT, "a batch of 4 cannot be drawn from 3 examples"),
        (PAIRS, Recipe(4, 99, 1e-3, steps=2), "k = 99 is more than the 8 passages"),
        ([QuestionAnswer(" ", "x")] * 4, SHORT, "question 0 is empty"),
    ],
)
def test_what_cannot_be_trained_is_said(make: Make, tmp_path: Path, pairs: list, recipe: Recipe, said: str) -> None:
    with pytest.raises(MiniragError, match=said):
        finetune(make(), pairs, recipe, tmp_path / "run", progress=False)


class Killed(BaseException):
    """No error that anything would catch."""


@pytest.mark.parametrize("at", [1, 3, 5])
def test_killed_it_goes_on_to_the_same_weights_and_log(make: Make, tmp_path: Path, at: int) -> None:
    """Searching is part of a step: what the query encoder finds after a kill is what it would have found."""
    whole, cut = make(), make()
    calls = 0
    search = cut.retriever.search

    def killing(questions: list[str], k: int) -> list[Retrieved]:
        nonlocal calls
        calls += 1
        if calls > at:
            raise Killed
        return search(questions, k)

    recipe = replace(SHORT, steps=6)
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patched:
        settings = Recipe.settings
        patched.setattr(Recipe, "settings", lambda *given, **named: replace(settings(*given, **named), save_every=2))
        log = finetune(whole, PAIRS, recipe, tmp_path / "whole", progress=False)
        cut.retriever.search = killing
        with pytest.raises(Killed):
            finetune(cut, PAIRS, recipe, tmp_path / "cut", progress=False)
        again = make()
        went_on = finetune(again, PAIRS, recipe, tmp_path / "cut", progress=False)
    assert same(weights(whole), weights(again))
    timeless = [[{name: value for name, value in row.items() if name != "seconds"} for row in rows] for rows in (log, went_on)]
    assert timeless[0] == timeless[1]


def test_two_processes_do_not_train_in_one_folder(make: Make, tmp_path: Path) -> None:
    with (
        only_process(tmp_path / ".run.lock", "busy"),
        pytest.raises(MiniragError, match="another training is at work"),
    ):
        finetune(make(), PAIRS, SHORT, tmp_path / "run", progress=False)
