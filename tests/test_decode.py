"""Decoding: equal to transformers token for token, and to brute force where everything can be enumerated."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from rag_cases import peer_generates, random_bart, random_contexts, settings
from torch import Tensor
from torch.testing import assert_close

from minirag.bench.rag_pair import peer_of
from minirag.errors import MiniragError
from minirag.models.bart import Bart
from minirag.rag.decode import Hypothesis, Search, Single, beam_search, decode, score
from minirag.rag.marginalize import sequence_log_likelihood, token_log_likelihood
from minirag.rag.sample import Sampling, nucleus, sample

Contexts = tuple[Tensor, Tensor, Tensor]


def logits_of(bart: Bart, contexts: Contexts, targets: Tensor) -> Tensor:
    """The logits of one target for every question, under all its documents: teacher forcing, no search, no cache."""
    ids, mask, scores = contexts
    given = torch.cat([torch.full_like(targets[:, :1], bart.config.start_id), targets[:, :-1]], 1)
    documents = bart.read(ids.flatten(0, 1), mask.flatten(0, 1))
    return bart.logits(documents, given.repeat_interleave(scores.shape[1], 0)).unflatten(0, scores.shape)


@torch.no_grad()
def likelihoods(bart: Bart, contexts: Contexts, sequences: list[list[int]], scheme: str) -> Tensor:
    """log p(y|x) of every sequence for every question, `[B, n]`."""
    likelihood = token_log_likelihood if scheme == "token" else sequence_log_likelihood
    out = []
    for y in sequences:
        targets = torch.tensor([y] * len(contexts[0]))
        out.append(likelihood(logits_of(bart, contexts, targets), targets, contexts[2], bart.config.pad_id))
    return torch.stack(out, 1)


def everything(bart: Bart, longest: int) -> list[list[int]]:
    """All sequences that end, or are cut off, within `longest` tokens; padding is never written."""
    eos = bart.config.eos_id
    words = [token for token in range(bart.config.vocab_size) if token not in (eos, bart.config.pad_id)]
    ended = [[*y, eos] for n in range(longest) for y in itertools.product(words, repeat=n)]
    return ended + [list(y) for y in itertools.product(words, repeat=longest)]


# ---- beside transformers ----


@pytest.mark.parametrize("seed", range(60))
def test_token_decoding_is_transformers_token_for_token(seed: int) -> None:
    ours, theirs = settings(seed)
    bart = random_bart(20 + seed % 3 * 10, seed, end=2.0)
    contexts = random_contexts(bart, b=1 + seed % 3, k=1 + seed % 5, s=7, seed=seed)
    found = decode(bart, *contexts, "token", Search(**ours, hypotheses=ours["beams"]))
    peers = iter(peer_generates(bart, "token", contexts, num_return_sequences=ours["beams"], **theirs))
    for hypotheses in found:
        assert [y.tokens for y in hypotheses] == [next(peers) for _ in hypotheses]


@pytest.mark.parametrize("seed", range(40))
def test_thorough_decoding_is_transformers(seed: int) -> None:
    """At any settings of the beams, transformers ranks by the sum of log-probabilities, and so does this test."""
    ours, theirs = settings(seed)
    ours["min_length"], theirs["min_length"] = 2, 3  # on shorter ones transformers forgets the prior: see below
    bart = random_bart(20 + seed % 3 * 10, seed, end=1.0)
    contexts = random_contexts(bart, b=1 + seed % 3, k=1 + seed % 5, s=7, seed=seed)
    found = decode(bart, *contexts, "thorough", Search(**ours, hypotheses=1_000))
    best = [max(hypotheses, key=lambda y: y.log_probability) for hypotheses in found]
    assert [y.tokens for y in best] == peer_generates(bart, "sequence", contexts, **theirs)


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_the_models_own_likelihoods(seed: int) -> None:
    """Scores that came from caches and prefix trees are those of teacher forcing, which are transformers' losses."""
    bart = random_bart(20, seed, end=1.0)
    contexts = random_contexts(bart, b=2, k=3, s=7, seed=seed)
    for decoder, scheme in (("token", "token"), ("thorough", "sequence")):
        for b, hypotheses in enumerate(decode(bart, *contexts, decoder, Search(max_length=6, hypotheses=4))):
            for y in hypotheses:
                assert_close(torch.tensor(y.log_probability), likelihoods(bart, contexts, [y.tokens], scheme)[b, 0])


def test_transformers_thorough_search_attends_to_padding() -> None:
    """Left to itself it searches without a mask, so padding changes what it finds; without padding it finds what we do."""
    bart, search = random_bart(30, 1), Search(max_length=6, min_length=2)
    plain = {"num_beams": 4, "max_length": 7, "min_length": 3, "length_penalty": 0.0}
    differs = []
    for seed in range(8):
        for padded in (False, True):
            contexts = random_contexts(bart, b=2, k=3, s=9, seed=seed, padded=padded)
            ours = [found[0].tokens for found in decode(bart, *contexts, "thorough", search)]
            same = ours == peer_generates(bart, "sequence", contexts, told=False, **plain)
            assert same or padded
            differs.append(not same)
    assert any(differs)


def test_transformers_forgets_the_prior_of_one_token_answers() -> None:
    """It adds the prior at the second token. A hypothesis of one has none, and Σ_k p(y|z_k) in place of its mean wins."""
    bart = random_bart(20, 4, end=3.0)
    plain = {"num_beams": 4, "max_length": 3, "length_penalty": 0.0}
    for seed in range(20):
        ids, mask, scores = random_contexts(bart, b=1, k=5, s=7, seed=seed)
        contexts = (ids, mask, 0.2 * scores)
        (ours,) = decode(bart, *contexts, "thorough", Search(max_length=2, hypotheses=50))
        forgotten = [math.log(sum(map(math.exp, y.by_document))) if len(y.tokens) == 1 else y.log_probability for y in ours]
        theirs = peer_generates(bart, "sequence", contexts, **plain)[0]
        assert theirs == max(zip(forgotten, ours, strict=True), key=lambda pair: pair[0])[1].tokens
        if theirs != ours[0].tokens:
            return
    pytest.fail("no case in which it matters")


def test_transformers_forces_an_end_where_its_config_says_so() -> None:
    """BART's configs force `</s>` as the last token for free; ours are cut off, and cost what they say."""
    bart = random_bart(20, 0, end=-20.0)
    contexts = random_contexts(bart, b=1, k=2, s=7)
    (found,) = decode(bart, *contexts, "token", Search(max_length=5))
    assert len(found[0].tokens) == 5
    assert found[0].tokens[-1] != bart.config.eos_id
    (theirs,) = peer_generates(bart, "token", contexts, num_beams=4, max_length=6, length_penalty=0.0, forced_eos_token_id=2)
    assert theirs[-1] == bart.config.eos_id


# ---- beside brute force ----


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("decoder", "scheme"), [("token", "token"), ("thorough", "sequence"), ("fast", "sequence")])
def test_exhaustive_beams_find_the_best_of_all(decoder: str, scheme: str, seed: int) -> None:
    bart = random_bart(5, seed)
    contexts = random_contexts(bart, b=2, k=3, s=6, seed=seed)
    sequences = everything(bart, 3)
    all_of_them = likelihoods(bart, contexts, sequences, scheme)  # [B, n]
    assert_close(all_of_them.exp().sum(1), torch.ones(2))  # they are a distribution
    found = decode(bart, *contexts, decoder, Search(beams=60, max_length=3, hypotheses=5))
    for hypotheses, values in zip(found, all_of_them, strict=True):
        best = values.topk(5)
        assert [y.tokens for y in hypotheses] == [sequences[i] for i in best.indices]
        assert_close(torch.tensor([y.log_probability for y in hypotheses]), best.values)


def test_greedy_by_hand() -> None:
    bart = random_bart(20, 5, end=1.0)
    contexts = random_contexts(bart, b=2, k=3, s=7, seed=5)
    greedy = [found[0].tokens for found in decode(bart, *contexts, "token", Search(beams=1, max_length=6))]
    words = [word for word in range(20) if word != bart.config.pad_id]
    for b, tokens in enumerate(greedy):
        one = (contexts[0][b : b + 1], contexts[1][b : b + 1], contexts[2][b : b + 1])
        for i, token in enumerate(tokens):
            prefix = tokens[:i]
            nexts = likelihoods(bart, one, [[*prefix, word] for word in words], "token")[0]
            assert words[int(nexts.argmax())] == token


# ---- properties ----


@pytest.mark.parametrize("seed", range(5))
def test_with_one_document_all_decoders_are_one(seed: int) -> None:
    bart = random_bart(30, seed, end=1.0)
    contexts = random_contexts(bart, b=2, k=1, s=7, seed=seed)
    found = [decode(bart, *contexts, decoder, Search(max_length=7, hypotheses=4)) for decoder in ("token", "thorough", "fast")]
    for one, two, three in zip(*found, strict=True):
        assert [y.tokens for y in one] == [y.tokens for y in two] == [y.tokens for y in three]


@pytest.mark.parametrize("decoder", ["token", "thorough", "fast"])
def test_the_order_of_documents_and_those_that_are_not_there_change_nothing(decoder: str) -> None:
    bart, search = random_bart(30, 2, end=1.0), Search(max_length=7, hypotheses=4)
    ids, mask, scores = random_contexts(bart, b=3, k=4, s=7, seed=2)
    (one, two, three) = decode(bart, ids, mask, scores, decoder, search)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = decode(bart, ids[:, order], mask[:, order], scores[:, order], decoder, search)
    nobody = torch.full((3, 1), -torch.inf)
    more = decode(bart, torch.cat([ids, ids[:, :1]], 1), torch.cat([mask, mask[:, :1]], 1), torch.cat([scores, nobody], 1),
                  decoder, search)  # fmt: skip
    for other in (shuffled, more):
        for mine, theirs in zip((one, two, three), other, strict=True):
            assert [y.tokens for y in mine] == [y.tokens for y in theirs]
            assert_close([y.log_probability for y in mine], [y.log_probability for y in theirs], atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(10))
def test_thorough_is_never_below_fast(seed: int) -> None:
    bart = random_bart(30, seed, end=1.0)
    contexts = random_contexts(bart, b=2, k=4, s=7, seed=seed)
    for alpha in (0.0, 1.0):
        search = Search(beams=2, max_length=7, length_penalty=alpha, hypotheses=10)
        thorough, fast = (decode(bart, *contexts, decoder, search) for decoder in ("thorough", "fast"))
        for mine, bound in zip(thorough, fast, strict=True):
            assert mine[0].score >= bound[0].score - 1e-5
            known = {tuple(y.tokens): y.log_probability for y in mine}
            assert all(y.log_probability <= known[tuple(y.tokens)] + 1e-5 for y in bound if tuple(y.tokens) in known)


def test_company_changes_nothing_however_early_it_ends() -> None:
    """Questions are decoded together, and those that have ended are left out: each gets what it gets alone."""
    bart = random_bart(30, 4, end=2.0)
    ids, mask, scores = random_contexts(bart, b=6, k=3, s=8, seed=4)
    search = Search(max_length=10, hypotheses=3)
    for decoder in ("token", "thorough", "fast"):
        together = decode(bart, ids, mask, scores, decoder, search)
        for b in range(6):
            (alone,) = decode(bart, ids[b : b + 1], mask[b : b + 1], scores[b : b + 1], decoder, search)
            assert [y.tokens for y in alone] == [y.tokens for y in together[b]]


def test_lengths_and_repetitions_are_kept() -> None:
    bart = random_bart(12, 0, end=3.0)
    contexts = random_contexts(bart, b=3, k=2, s=7)
    for decoder in ("token", "thorough", "fast"):
        for found in decode(bart, *contexts, decoder, Search(max_length=9, min_length=4, no_repeat=2, hypotheses=9)):
            for y in found:
                assert 4 < len(y.tokens) <= 9
                assert bart.config.eos_id not in y.tokens[:4]
                bigrams = list(itertools.pairwise(y.tokens))
                assert len(set(bigrams)) == len(bigrams)


def test_hypotheses_are_distinct_and_best_first() -> None:
    bart = random_bart(12, 1, end=1.0)
    contexts = random_contexts(bart, b=3, k=4, s=7)
    for decoder in ("token", "thorough", "fast"):
        for found in decode(bart, *contexts, decoder, Search(max_length=5, hypotheses=9)):
            assert len({tuple(y.tokens) for y in found}) == len(found) > 1
            assert [y.score for y in found] == sorted((y.score for y in found), reverse=True)


def test_each_document_is_encoded_once_and_shared_prefixes_are_decoded_once() -> None:
    bart = random_bart(12, 1)
    ids, mask, scores = random_contexts(bart, b=1, k=2, s=7)
    tree = bart.tree(bart.read(ids.flatten(0, 1), mask.flatten(0, 1)))
    # a b c, a b d and a e: four inner nodes (start, a, ab, ae is a leaf), each under two documents
    (found,) = score(tree, [[(5, 6, 7), (5, 6, 8), (5, 9)]], 2, bart.config, scores.device)
    assert tree.computed == 2 * 3  # start, a, b
    for y, values in found.items():
        each = [
            likelihoods(bart, (ids[:, k : k + 1], mask[:, k : k + 1], scores[:, k : k + 1]), [list(y)], "token") for k in (0, 1)
        ]
        assert_close(torch.tensor(values), torch.cat(each).flatten())
    for decoder in ("token", "thorough", "fast"):
        assert decode(bart, ids, mask, scores, decoder).encoder_passes == 2


def test_a_search_keeps_the_better_of_an_early_and_a_late_end() -> None:
    """Worked by hand: ends are `e`; after the start a 0.5, e 0.4; after a e 0.9. The sum prefers a e: 0.45 over 0.4."""

    class Table:
        def __init__(self) -> None:
            self.level = 0

        def log_probs(self, tokens: Tensor, parents: Tensor | None) -> Tensor:
            rows = (
                torch.tensor([[0.5, 0.0, 0.4, 0.1]])
                if parents is None
                else torch.tensor([[0.05, 0.0, 0.9, 0.05]] * tokens.shape[1])
            )
            return rows.log()[None].expand(len(tokens), -1, -1).clone()

        def keep(self, rows: Tensor) -> None:
            raise AssertionError("one search, which has not ended")

    config = random_bart(5).config
    for beams, best in ((1, [0, 2]), (2, [0, 2])):
        (found,) = beam_search(Table(), 1, config, Search(beams=beams, max_length=4), torch.device("cpu"))
        assert found[0].tokens == best
        assert math.isclose(found[0].log_probability, math.log(0.45), rel_tol=1e-6)
    (early,) = beam_search(Table(), 1, config, Search(beams=2, max_length=4, length_penalty=-1.0), torch.device("cpu"))
    assert early[0].tokens == [2]  # 1 · log 0.4 is above 2 · log 0.45


# ---- sampling ----


@pytest.mark.parametrize("scheme", ["sequence", "token"])
def test_samples_come_as_often_as_they_are_probable(scheme: str) -> None:
    bart = random_bart(5, 1)
    contexts = random_contexts(bart, b=1, k=3, s=6, seed=1)
    sequences = everything(bart, 3)
    exact = likelihoods(bart, contexts, sequences, scheme)[0].exp()
    (drawn,) = sample(bart, *contexts, scheme, Sampling(samples=4_000, max_length=3))
    for y, p in zip(sequences, exact.tolist(), strict=True):
        seen = sum(hypothesis.tokens == y for hypothesis in drawn) / 4_000
        assert abs(seen - p) < 5 * math.sqrt(p * (1 - p) / 4_000) + 1e-3
    first = drawn[0]
    assert_close(torch.tensor(first.log_probability), likelihoods(bart, contexts, [first.tokens], scheme)[0, 0])


def test_samples_are_the_same_for_the_same_seed_and_sharpen() -> None:
    bart = random_bart(20, 1)
    contexts = random_contexts(bart, b=2, k=3, s=6, seed=1)

    def draw(scheme: str, **how: float) -> list[list[list[int]]]:
        return [[y.tokens for y in own] for own in sample(bart, *contexts, scheme, Sampling(samples=8, max_length=5, **how))]

    for scheme in ("sequence", "token"):
        assert draw(scheme, seed=3) == draw(scheme, seed=3) != draw(scheme, seed=4)
    cold = draw("token", temperature=1e-4)
    greedy = [found[0].tokens for found in decode(bart, *contexts, "token", Search(beams=1, max_length=5))]
    assert cold == [[tokens] * 8 for tokens in greedy]
    assert draw("token", top_p=1e-6) == cold


def test_a_nucleus_holds_its_share_with_the_fewest_tokens() -> None:
    p = torch.rand(50, 20).softmax(-1)
    kept = nucleus(p, 0.7)
    assert bool((kept.sum(-1) >= 0.7 - 1e-6).all())
    smallest = kept.masked_fill(kept == 0, 2.0).min(-1).values
    assert bool((kept.sum(-1) - smallest < 0.7).all())
    assert nucleus(p, 1.0).equal(p)


# ---- what is refused ----


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"beams": 0}, "at least 1"),
        ({"hypotheses": 0}, "at least 1"),
        ({"min_length": 40}, "above max_length"),
        ({"max_length": 41}, "above the generator's 40 positions"),
    ],
)
def test_a_search_that_cannot_be_is_refused(change: dict[str, int], says: str) -> None:
    bart = random_bart(20)
    with pytest.raises(MiniragError, match=says):
        decode(bart, *random_contexts(bart, 1, 2, 5), "token", replace(Search(), **change))


def test_unknown_decoders_and_questions_without_documents_are_refused() -> None:
    bart = random_bart(20)
    ids, mask, scores = random_contexts(bart, 2, 2, 5)
    with pytest.raises(MiniragError, match="no decoder 'beam'"):
        decode.__wrapped__.__wrapped__(bart, ids, mask, scores, "beam")  # past the tests' own type check
    scores[1] = -torch.inf
    for decoder in ("token", "thorough", "fast"):
        with pytest.raises(MiniragError, match="has no document"):
            decode(bart, ids, mask, scores, decoder)
    with pytest.raises(MiniragError, match="temperature above 0"):
        Sampling(temperature=0.0)


def test_a_single_search_is_plain_bart() -> None:
    """A document of probability 1 among others is BART on that document alone."""
    bart = random_bart(20, 2, end=1.0)
    ids, mask, scores = random_contexts(bart, 1, 3, 7)
    scores = torch.tensor([[-torch.inf, 0.0, -torch.inf]])
    alone = bart.tree(bart.read(ids[:, 1], mask[:, 1]))
    search = Search(max_length=7, hypotheses=4)
    (plain,) = beam_search(Single(alone), 1, bart.config, search, scores.device)
    assert all(isinstance(y, Hypothesis) for y in plain)
    for decoder in ("token", "thorough", "fast"):
        (found,) = decode(bart, ids, mask, scores, decoder, search)
        assert [y.tokens for y in found] == [y.tokens for y in plain]


def test_a_search_that_forbids_everything_says_so() -> None:
    bart = random_bart(6)  # four words to write, each once, and no end before the tenth
    for decoder in ("token", "thorough", "fast"):
        with pytest.raises(MiniragError, match="no token is left that may come next"):
            decode(bart, *random_contexts(bart, 1, 2, 5), decoder, Search(max_length=12, min_length=10, no_repeat=1))


@pytest.mark.parametrize("seed", range(5))
def test_thorough_scores_are_minus_transformers_losses(seed: int) -> None:
    bart = random_bart(20, seed, end=1.0)
    ids, mask, scores = random_contexts(bart, b=1, k=3, s=7, seed=seed)
    (found,) = decode(bart, ids, mask, scores, "thorough", Search(max_length=6, min_length=2, hypotheses=20))
    peer = peer_of(bart, "sequence", 3)
    for y in found:
        labels = torch.tensor([[bart.config.start_id, *y.tokens]])
        with torch.no_grad():
            loss = peer(context_input_ids=ids[0], context_attention_mask=mask[0].long(), doc_scores=scores, labels=labels).loss
        assert_close(torch.tensor([y.log_probability]), -loss, atol=1e-4, rtol=0)
