"""What the checks of notebooks 07 to 10 hold to be right is what the package computes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rag_cases import random_bart, random_contexts, small_rag
from torch.testing import assert_close

from minirag.corpus.passages import Passage
from minirag.rag.decode import Hypothesis, Search, Single, _Beam, _forbid, beam_search, decode
from minirag.rag.generator import Sizes
from minirag.rag.loss import marginal_loss
from minirag.rag.marginalize import document_posterior, log_prior, sequence_log_likelihood, token_log_likelihood
from minirag.rag.model import RagModel
from minirag.teaching import checks
from minirag.teaching.checks.exercise import Exercise

PAD = 1


def drawn(exercise: Exercise, count: int = 12) -> list[Any]:
    """The arguments that the exercise draws, of all sizes."""
    return [exercise.draw(np.random.default_rng([5, size]), size) for size in range(1, 33, 32 // count)]


def test_the_decoder_is_given_what_the_model_gives_it() -> None:
    for targets, start_id, pad_id in drawn(checks.check_decoder_inputs):
        given = []
        generator = SimpleNamespace(
            config=SimpleNamespace(start_id=start_id, pad_id=pad_id),
            read=lambda ids, mask: None,
            logits=lambda documents, tokens, given=given: given.append(tokens) or torch.zeros(*tokens.shape, 3),
        )
        ids = torch.zeros(len(targets), 1, 2, dtype=torch.int64)
        RagModel.logits(SimpleNamespace(generator=generator), ids, torch.ones_like(ids), targets)
        assert given[0].tolist() == checks.check_decoder_inputs.reference(targets, start_id, pad_id).tolist()


class Tree:
    """A language as a generator's tree: its leaves are prefixes."""

    computed = 0

    def __init__(self, language: Any) -> None:
        self.language, self.leaves = language, [()]

    def grow(self, tokens: Any, parents: Any = None) -> torch.Tensor:
        if parents is not None:
            pairs = zip(parents[0].tolist(), tokens[0].tolist(), strict=True)
            self.leaves = [(*self.leaves[parent], token) for parent, token in pairs]
        never = torch.tensor([-torch.inf])  # one token more, for padding
        return torch.stack([torch.cat([self.language(leaf), never]) for leaf in self.leaves])[None]  # [1, J, V + 1]

    def keep(self, rows: Any) -> None:
        """There is one search."""


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 0.5, 1.0, 2.0])
def test_beam_search_is_the_packages_where_it_stops_only_when_nothing_can_improve(alpha: float) -> None:
    ours = checks.check_beam_search
    cases = [args for args, _ in ours.by_hand if args[2] > 1] + drawn(ours)
    for language, beams, max_length, eos, _ in cases:
        V = language.vocabulary
        sizes = Sizes(vocab_size=V + 1, positions=40, start_id=eos, eos_id=eos, pad_id=V)
        search = Search(beams, max_length, length_penalty=alpha, early_stopping="never", hypotheses=beams)
        (package,) = beam_search(Single(Tree(language)), 1, sizes, search, torch.device("cpu"))
        found = ours.reference(language, beams, max_length, eos, alpha)
        assert [each.tokens for each in package] == [tokens for tokens, _ in found]
        assert_close([each.score for each in package], [score for _, score in found], rtol=1e-4, atol=1e-4)


def test_repeats_are_forbidden_as_the_package_forbids_them() -> None:
    for log_probs, prefix, n in drawn(checks.check_without_repeats, 30):
        V = len(log_probs)
        package = torch.cat([log_probs, torch.zeros(1)])[None, None].clone()  # [1, 1, V + 1], the last is padding
        sizes = Sizes(vocab_size=V + 1, positions=99, start_id=0, eos_id=0, pad_id=V)
        _forbid(package, [_Beam([(0.0, prefix)], [])], sizes, len(prefix), Search(max_length=99, no_repeat=n))
        assert_close(package[0, 0, :V], checks.check_without_repeats.reference(log_probs, prefix, n), rtol=0, atol=0)


def as_logits(log_p: Any) -> tuple[Any, Any]:
    """Logits [1, K, T, 2] and targets [1, T] of log p(y_i|…) [K, T]: a word, or another one."""
    logits = torch.stack([log_p, torch.log(-torch.expm1(log_p.double())).float()], 2)[None]
    return logits, torch.zeros(1, log_p.shape[1], dtype=torch.int64)


def test_both_sums_and_both_posteriors() -> None:
    for log_p, prior, scheme in drawn(checks.check_who_speaks):
        given = *as_logits(log_p), prior[None], -100
        assert_close(checks.check_rag_sequence.reference(log_p, prior), sequence_log_likelihood(*given)[0])
        assert_close(checks.check_rag_token.reference(log_p, prior), token_log_likelihood(*given)[0])
        package = document_posterior(*given, scheme)[0]
        assert_close(checks.check_who_speaks.reference(log_p, prior, scheme), package, rtol=1e-4, atol=1e-4)
    for (scores,) in drawn(checks.check_document_prior):
        assert_close(checks.check_document_prior.reference(scores), log_prior(scores).exp())


def own_beams(bart: Any, ids: Any, mask: Any, search: Search) -> list[list[Hypothesis]]:
    """What a search under each of the documents of one question finds."""
    return [decode(bart, ids[:, [k]], mask[:, [k]], torch.zeros(1, 1), "token", search)[0] for k in range(ids.shape[1])]


@pytest.mark.parametrize("seed", range(4))
def test_thorough_and_fast(seed: int) -> None:
    bart = random_bart(12, end=1.0)
    ids, mask, scores = random_contexts(bart, 1, 3, 6, seed)
    search = Search(beams=3, max_length=5, hypotheses=9)
    beams = own_beams(bart, ids, mask, search)
    slow, quick = (decode(bart, ids, mask, scores, name, search)[0] for name in ("thorough", "fast"))

    found = [{tuple(y.tokens): y.log_probability for y in beam} for beam in beams]
    fast = checks.check_fast.reference(found, scores[0])
    assert fast.keys() == {tuple(y.tokens) for y in quick}
    assert_close([fast[tuple(y.tokens)] for y in quick], [y.log_probability for y in quick], rtol=1e-4, atol=1e-4)

    by_document = {tuple(y.tokens): y.by_document for y in slow}
    padded = [[[*y.tokens, *[PAD] * (5 - len(y.tokens))] for y in beam] for beam in beams]
    ranked = checks.check_thorough.reference(padded, lambda k, y: by_document[y][k], scores[0], PAD)
    assert {y for y, _ in ranked} == by_document.keys()
    assert_close([log_p for _, log_p in ranked], [y.log_probability for y in slow], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("k", "beams", "length"), [(1, 1, 1), (2, 3, 4), (3, 2, 5)])
def test_the_price_of_decoding(k: int, beams: int, length: int) -> None:
    bart = random_bart(12)
    ids, mask, scores = random_contexts(bart, 1, k, 6)
    search = Search(beams, length, min_length=length, hypotheses=k * beams)
    union = [tuple(y.tokens) for y in decode(bart, ids, mask, scores, "thorough", search)[0]]
    for name in ("token", "fast", "thorough"):
        counted = decode(bart, ids, mask, scores, name, search).decoder_steps
        assert counted == checks.check_decoder_steps.reference(name, k, beams, length, union)


def test_the_gradients() -> None:
    for log_p, doc_scores in drawn(checks.check_gradient_of_scores):
        scores = doc_scores.clone().requires_grad_()
        logits = torch.stack([log_p, torch.log(-torch.expm1(log_p.double())).float()], 2)[:, :, None]  # [B, K, 1, 2]
        loss = marginal_loss(logits, torch.zeros(len(log_p), 1, dtype=torch.int64), scores, -100).sum()
        (gradient,) = torch.autograd.grad(loss, scores)
        assert_close(checks.check_gradient_of_scores.reference(log_p, doc_scores), gradient, rtol=1e-4, atol=1e-5)
    for q, d, log_p in drawn(checks.check_rag_loss):
        loss, by_q, by_d, by_log_p = checks.check_rag_loss.expected(checks.check_rag_loss.reference, (q, d, log_p))
        prior, posterior = (d @ q).softmax(0), (d @ q + log_p).softmax(0)
        logits, targets = as_logits(log_p[:, None])
        assert_close(loss, marginal_loss(logits, targets, (d @ q)[None], -100)[0], rtol=1e-4, atol=1e-4)
        assert_close(by_q, (prior - posterior) @ d, rtol=1e-4, atol=1e-5)
        assert_close(by_log_p, -posterior, rtol=1e-4, atol=1e-5)
        assert not by_d.any()


def test_what_moves_is_what_the_model_calls_its_parameters(tmp_path: Path) -> None:
    model = small_rag(tmp_path, [Passage("1", "Nile", "A river in Africa.")], ["Where is the Nile?"])
    own = [name for name, _ in model.named_parameters()]
    assert {name.split(".")[0] for name in own} == {"generator", "query_encoder"}
    still = [f"passage_encoder.{name}" for name, _ in model.encoder.passage_encoder.named_parameters()]
    trained = checks.check_trained_parameters.reference
    assert trained([*still, *own, "index.vectors"], "learned") == own
    bm25 = [name for name, _ in model.with_encoder(None).named_parameters()]
    assert trained([*still, *own], "bm25") == trained([*still, *own], "frozen") == bm25
