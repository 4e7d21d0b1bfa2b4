"""`minirag bench train` in miniature: the rows' form, that both sides do the same work, and that `equal` can fail."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from minirag.bench import memory, train
from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.models.bart import BartConfig
from minirag.models.bert import BertConfig

# BERT's 30,522 pieces of words, in which the texts are written.
BERT = BertConfig(dim=16, layers=2, heads=2, inner=32)
BART = BartConfig(30_522, 16, 1, 1, 2, 2, 32, 32, positions=64)
PASSAGES = [Passage(str(i), f"Title {i}", f"Some text about the number {i}. It goes on. " * (i % 3 + 1)) for i in range(4)]
MAKES: dict[str, Callable[[], train.Work]] = {
    "dpr": partial(train.dpr, PASSAGES, None, BERT),
    "dpr padded": partial(train.dpr, PASSAGES, 256, BERT),
    "bart": partial(train.denoising, PASSAGES, BART),
}


def test_rows_have_the_form_that_outsiders_read(monkeypatch) -> None:
    monkeypatch.setattr(train, "peak_alone", memory.peak)  # without a process of its own for each
    rows = train.run(PASSAGES, questions=2, count=4, rounds=1, bert=BERT, bart=BART)
    assert [row["unit"] for row in rows] == ["tokens/s", "tokens/s", "GB", "tokens/s", "GB"]
    for row in rows:
        assert row.keys() == {"case", "ours", "peer", "peer_name", "unit", "ratio", "equal"}
        assert row["equal"]
        times = row["ours"] / row["peer"] if row["unit"] == "tokens/s" else row["peer"] / row["ours"]
        assert row["ratio"] == pytest.approx(times)
    assert rows[0]["case"] == "DPR: 2 questions, 4 passages, peer padded to 256"
    with pytest.raises(MiniragError, match="4 passages where 6 are needed"):
        train.run(PASSAGES, questions=3, count=4)


@pytest.mark.parametrize("name", MAKES)
def test_steps_stay_together_and_move_every_weight_that_has_a_gradient(name) -> None:
    work = MAKES[name]()
    before = {name: tensor.clone() for name, tensor in work.state().items()}
    model, loss = work.peer()
    ours, theirs = train.our_step(work.objective, work.examples), train.peer_step(model, loss)
    pairs = [(ours(), theirs()) for _ in range(3)]
    assert all(train.same(mine, its) for mine, its in pairs)
    after, state = work.state(), model.state_dict()
    assert train.same_weights((tensor, state[name]) for name, tensor in after.items())
    assert not train.same_weights((tensor, before[name]) for name, tensor in after.items() if "layer" in name)


def test_tokens_are_those_that_are_no_padding() -> None:
    seen = {name: make().tokens for name, make in MAKES.items()}
    assert seen["dpr"] == seen["dpr padded"]  # the peer's padding is not counted
    examples = MAKES["bart"]().examples
    assert seen["bart"] == sum(len(example.source) + len(example.target) for example in examples)


@pytest.mark.parametrize("name", ["dpr", "bart"])
def test_another_loss_is_seen(name) -> None:
    work = MAKES[name]()

    def other() -> tuple[nn.Module, Callable[[], torch.Tensor]]:
        model, loss = work.peer()
        return model, lambda: 1.01 * loss()

    assert not train.speed_row("case", replace(work, peer=other), rounds=1)["equal"]


def test_other_norms_and_other_weights_are_seen() -> None:
    assert train.same((2.0, 5.0), (2.0001, 5.001))
    assert not train.same((2.0, 5.0), (2.0, 5.01))
    assert not train.same((2.0, 5.0), (2.001, 5.0))
    assert not train.same((math.nan, 5.0), (math.nan, 5.0))
    weights = torch.randn(50)
    assert train.same_weights([(weights, weights)])
    assert not train.same_weights([(weights, weights + train.SETTINGS.rate)])


def test_a_process_of_its_own_holds_nothing_of_this_one() -> None:
    held = torch.ones(50_000_000)  # 0.2 GB
    alone, here = memory.peak_alone(_made, 100_000_000), memory.peak(_made, 100_000_000)
    assert 0.4 < alone < here - held.nbytes / 2e9


def _made(numbers: int) -> Callable[[], object]:
    return lambda: torch.ones(numbers).sum()
