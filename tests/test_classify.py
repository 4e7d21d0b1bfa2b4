"""Labels chosen by a generator, in both of the paper's ways: by hand, against the definition, and learnt for real."""

import math
from pathlib import Path

import pytest
import torch
from rag_cases import small_rag
from torch.nn import functional as F
from torch.testing import assert_close

from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.rag import classify as module
from minirag.rag.classify import ClaimHead, choose
from minirag.rag.marginalize import sequence_log_likelihood, token_log_likelihood
from minirag.rag.model import RagModel

RIVERS = {"Nile": "blue sea", "Rhine": "cold sea", "Volga": "deep sea", "Indus": "warm sea"}
LABELS = ("true", "false", "maybe so")
CLAIMS = [f"The {river} flows to the {sea}." for river in RIVERS for sea in RIVERS.values()]


@pytest.fixture
def model(tmp_path: Path) -> RagModel:
    passages = [Passage(river, river, f"The {river} flows to the {sea}.") for river, sea in RIVERS.items()]
    return small_rag(tmp_path, passages, list(LABELS))


@pytest.mark.parametrize("scheme", ["sequence", "token"])
def test_a_label_is_as_likely_as_the_loss_of_writing_it_says(model: RagModel, scheme: str) -> None:
    model.scheme = scheme
    chosen = choose(model, CLAIMS[:3], LABELS, k=2)
    for claim, one in zip(CLAIMS[:3], chosen, strict=True):
        with torch.no_grad():
            found = model.retrieve([claim], 2)
            losses = [model.loss(*model.read(found), model.doc_scores(found), model.contexts.targets([x]))[0] for x in LABELS]
        likely = torch.stack([-loss for loss in losses]).exp()
        assert_close(one.probabilities, likely / likely.sum(), rtol=1e-4, atol=1e-6)
        assert one.label == LABELS[int(likely.argmax())]
        assert math.isclose(float(one.prior.sum()), 1.0, abs_tol=1e-6)
        assert [z.id for z in one.found.passages] == [z.id for z in found[0].passages]


def test_documents_are_encoded_once_for_all_labels_and_a_batch_at_a_time(
    model: RagModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the batch, the same is chosen; and no more than so many contexts are ever read together."""
    head = ClaimHead(model, LABELS).eval()
    whole, headed = choose(model, CLAIMS, LABELS, k=2), head.choose(CLAIMS, k=2)
    read, sizes = model.generator.read, list[int]()
    monkeypatch.setattr(model.generator, "read", lambda ids, mask: sizes.append(len(ids)) or read(ids, mask))
    monkeypatch.setattr(module, "CONTEXTS", 7)
    for again, expected in ((lambda: choose(model, CLAIMS, LABELS, k=2), whole), (lambda: head.choose(CLAIMS, k=2), headed)):
        sizes.clear()
        chosen = again()
        assert sizes == [6] * 5 + [2]  # three questions with two passages each
        for one, other in zip(chosen, expected, strict=True):
            assert (one.question, one.label) == (other.question, other.label)
            assert_close(one.probabilities, other.probabilities, rtol=1e-4, atol=1e-6)
            assert_close(one.prior, other.prior, rtol=1e-4, atol=1e-6)


def test_with_one_token_both_schemes_say_the_same(model: RagModel) -> None:
    """Where only one token is left to be summed over documents, summing tokens or sequences is one."""

    def told(scheme: str, ids: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            found = model.retrieve(CLAIMS[:4], 3)
            logits = model.logits(*model.read(found), ids.expand(4, -1))  # [B, K, 1, V]
            of = sequence_log_likelihood if scheme == "sequence" else token_log_likelihood
            return of(logits, ids.expand(4, -1), model.doc_scores(found), model.generator.config.pad_id)

    ids = torch.tensor([[7]])
    assert_close(told("sequence", ids), told("token", ids))


def test_appendix_e_is_the_sum_over_documents_of_the_head_on_the_last_state(model: RagModel) -> None:
    torch.manual_seed(0)
    head = ClaimHead(model, LABELS).eval()
    found = model.retrieve(CLAIMS[:3], 2)
    with torch.no_grad():
        ours = head(found)  # [B, C]
    bart = model.generator
    for row, one in enumerate(found):
        prior = model.doc_scores([one])[0].detach().softmax(0)
        total = torch.zeros(3)
        for weight, passage in zip(prior, one.passages, strict=True):
            ids, mask = model.contexts.of([one.question], [[passage]])
            claim = model.contexts.targets([one.question])
            states = bart.states(bart.read(ids[0], mask[0]), claim)  # [1, T, D]
            total = total + weight * head.head(states[0, -1]).softmax(-1).detach()
        assert_close(ours[row].exp(), total, rtol=1e-4, atol=1e-5)
        assert math.isclose(float(ours[row].exp().sum()), 1.0, abs_tol=1e-5)


def test_the_head_learns_what_the_passages_say_and_moves_all_that_it_should(model: RagModel) -> None:
    torch.manual_seed(0)
    head = ClaimHead(model, LABELS[:2])
    seas = list(RIVERS.values())
    claims = [f"The {river} flows to the {sea}." for i, river in enumerate(RIVERS) for sea in (seas[i], seas[i - 1])]
    right = torch.tensor([0, 1] * len(RIVERS))
    found = model.retrieve(claims, 2)
    F.nll_loss(head(found), right).backward()
    moved = {name.split(".")[0] for name, weight in head.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert moved == {"head", "model"}
    assert any(weight.grad is not None and weight.grad.any() for weight in model.query_encoder.parameters())
    optimizer = torch.optim.Adam(head.parameters(), 5e-3)
    losses = []
    for _ in range(120):
        optimizer.zero_grad()
        loss = F.nll_loss(head(model.retrieve(claims, 2)), right)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    chosen = head.eval().choose(claims, 2)
    assert [one.label for one in chosen] == [LABELS[label] for label in right]


def test_no_claim_has_no_label(model: RagModel) -> None:
    assert choose(model, [], LABELS, k=2) == ClaimHead(model, LABELS).choose([], k=2) == []


def test_one_label_is_no_choice(model: RagModel) -> None:
    with pytest.raises(MiniragError, match="nothing to choose from"):
        choose(model, CLAIMS[:1], ["true", "true"], k=2)


def test_a_head_needs_a_generator_that_shows_its_states(model: RagModel) -> None:
    model.generator = torch.nn.Identity()
    with pytest.raises(MiniragError, match="give a BART"):
        ClaimHead(model, LABELS)
