"""Sums over documents: equal to transformers' where those are right, to pencil and paper, and to what probability demands."""

import copy
import itertools
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from minirag.errors import MiniragError
from minirag.models.bart import Bart, BartConfig
from minirag.models.bart_checkpoints import CONFIG_NAMES, to_transformers
from minirag.rag.contexts import Contexts
from minirag.rag.loss import marginal_loss
from minirag.rag.marginalize import (
    document_posterior,
    marginal_log_probs,
    sequence_log_likelihood,
    token_log_likelihood,
)
from minirag.rag.model import RagModel

B, K, T, V = 3, 4, 5, 9
PAD, EOS = 1, 2  # BART's
P = 10  # positions

both = pytest.mark.parametrize("scheme", ["sequence", "token"])
SUMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {  # of logits, targets and doc_scores
    "sequence": lambda *case: sequence_log_likelihood(*case, PAD),
    "token": lambda *case: token_log_likelihood(*case, PAD),
    "sequence loss": lambda *case: marginal_loss(*case, PAD, "sequence", 0.1),
    "token loss": lambda *case: marginal_loss(*case, PAD, "token", 0.1),
    "sequence posterior": lambda *case: document_posterior(*case, PAD, "sequence"),
    "token posterior": lambda *case: document_posterior(*case, PAD, "token"),
    "next token": lambda logits, targets, scores: marginal_log_probs(logits, scores),
}


class Letters:
    """As much of a tokenizer as a model asks for."""

    pad_token_id, eos_token_id = PAD, EOS

    def __len__(self) -> int:
        return 3

    def __call__(self, text: str, **_: object) -> dict[str, list[int]]:
        return {"input_ids": [0, 3, 2], "special_tokens_mask": [1, 0, 1]}


def between(low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, ()))


def rag(vocab_size: int = V, heads: int = 2, layers: int = 1, inner: int = 12) -> RagModel:
    """A tiny network, biases and all drawn at random, so that nothing is right by being zero or one."""
    bart = Bart(BartConfig(vocab_size, 4 * heads, layers, layers, heads, heads, inner, inner, P))
    with torch.no_grad():
        for tensor in (*bart.parameters(), bart.logits_bias):
            tensor.add_(torch.randn_like(tensor) * 0.3)
    return RagModel(bart, Contexts(Letters(), P)).eval()


def words(vocab_size: int, *shape: int) -> Tensor:
    """Any token but padding, for which transformers' embeddings have no gradient."""
    tokens = torch.randint(0, vocab_size - 1, shape)
    return tokens + (tokens >= PAD)


def targets_of(lengths: Tensor, vocab_size: int, padding: int = PAD) -> Tensor:
    tokens = words(vocab_size, len(lengths), int(lengths.max()))
    return tokens.masked_fill(torch.arange(tokens.shape[1]) >= lengths[:, None], padding)


def case(padding: int = PAD) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, targets and doc_scores of three questions, with two, one and no padded targets."""
    return torch.randn(B, K, T, V) * 2, targets_of(torch.tensor([3, 4, 5]), V, padding), torch.randn(B, K) * 2


def batch(k: int, vocab_size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Contexts, their mask, scores and targets, of any lengths; what stands at padding of contexts must not matter."""
    b, s, t = between(1, 3), between(1, P), between(2, P - 1)
    mask = torch.arange(s) < torch.randint(1, s + 1, (b, k, 1))
    padding = (PAD, -100)[between(0, 1)]
    return (
        words(vocab_size, *mask.shape),
        mask,
        torch.randn(b, k) * 2,
        targets_of(torch.randint(2, t + 1, (b,)), vocab_size, padding),
    )


def peers(bart: Bart) -> dict[str, torch.nn.Module]:
    """transformers' two RAGs around one BART with our weights, and a question encoder that nothing asks."""
    import transformers as hf

    fields = {theirs: getattr(bart.config, ours) for ours, theirs in CONFIG_NAMES.items()}
    generator = hf.BartForConditionalGeneration(hf.BartConfig(**fields))
    generator.load_state_dict(to_transformers(bart), strict=False)  # ties are not among ours
    generator.tie_weights()
    tiny = hf.DPRConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    asker = hf.DPRQuestionEncoder(tiny)
    config = hf.RagConfig.from_question_encoder_generator_configs(tiny, generator.config)
    kinds = {"token": hf.RagTokenForGeneration, "sequence": hf.RagSequenceForGeneration}
    return {scheme: kind(config, asker, generator).eval() for scheme, kind in kinds.items()}


def gradients(bart: Bart) -> dict[str, Tensor]:
    """Our gradients under transformers' names."""
    named = copy.deepcopy(bart)
    for to, of in zip(named.parameters(), bart.parameters(), strict=True):
        to.data = of.grad
    return {name: tensor for name, tensor in to_transformers(named).items() if name != "final_logits_bias"}


@pytest.mark.parametrize("network", range(20))
def test_logits_losses_and_gradients_are_transformers(network: int) -> None:
    torch.manual_seed(network)
    vocab_size = between(5, 30)
    ours = rag(vocab_size, between(1, 4), between(1, 2), between(4, 20))
    theirs = peers(ours.generator)
    for _ in range(10):  # 200 configurations, and three losses each
        k = between(1, 5)
        ids, mask, scores, targets = batch(k, vocab_size)
        labels = F.pad(targets.masked_fill(targets == -100, PAD), (1, 0), value=ours.generator.config.start_id)
        inputs = {"context_input_ids": ids.flatten(0, 1), "context_attention_mask": mask.flatten(0, 1).long()}
        for scheme, smoothing in (("token", 0.0), ("token", 0.1), ("sequence", 0.0)):
            peer, mine, their = theirs[scheme], scores.clone().requires_grad_(), scores.clone().requires_grad_()
            peer.config.label_smoothing = smoothing
            output = peer(**inputs, doc_scores=their, labels=labels, n_docs=k)
            logits = output.logits.unflatten(0, (-1, k))[:, :, :-1]  # the last ones predict nothing
            assert_close(ours.logits(ids, mask, targets), logits, atol=1e-4, rtol=1e-4)
            loss = ours.loss(ids, mask, mine, targets, scheme, smoothing)
            assert_close(loss, output.loss, atol=1e-4, rtol=1e-4)
            ours.zero_grad()
            peer.zero_grad()
            loss.sum().backward()
            output.loss.sum().backward()
            assert_close(mine.grad, their.grad, atol=1e-4, rtol=1e-4)
            expected = {name: parameter.grad for name, parameter in peer.generator.named_parameters()}
            assert_close(gradients(ours.generator), expected, atol=1e-4, rtol=1e-4)


def their_sequence_loss(logits: Tensor, targets: Tensor, scores: Tensor, smoothing: float = 0.0) -> Tensor:
    import transformers as hf

    fields = SimpleNamespace(bos_token_id=None, generator=SimpleNamespace(bos_token_id=0, pad_token_id=PAD))
    labels = F.pad(targets, (1, 0), value=EOS)  # the start token, which they take off again
    flat = F.pad(logits, (0, 0, 0, 1)).flatten(0, 1)  # [B·K, T + 1, V]
    settings = {"epsilon": smoothing, "n_docs": logits.shape[1]}
    return hf.RagSequenceForGeneration.get_nll(SimpleNamespace(config=fields), flat, scores, labels, **settings)


def test_transformers_loses_the_prior_of_one_token_targets() -> None:
    logits, targets, scores = case()
    assert_close(their_sequence_loss(logits, targets, scores), -sequence_log_likelihood(logits, targets, scores, PAD))
    one = targets[:, :1]  # they put the prior on the second token
    by_document = logits[:, :, 0].log_softmax(-1)[torch.arange(B), :, one[:, 0]]  # [B, K]
    theirs = their_sequence_loss(logits[:, :, :1], one, scores)
    assert_close(theirs, -by_document.logsumexp(1))
    assert_close(their_sequence_loss(logits[:, :, :1], one, torch.randn(B, K)), theirs)
    expected = -(by_document.exp() * scores.softmax(1)).sum(1).log()
    assert_close(-sequence_log_likelihood(logits[:, :, :1], one, scores, PAD), expected)
    assert (theirs - expected).abs().min() > 0.1


def test_transformers_smooths_sequences_with_the_prior_of_every_token_of_the_vocabulary() -> None:
    logits, targets, scores = case()
    # With one document and ε = 1 our loss is −Σ_i mean_V log p of that document.
    alone = [marginal_loss(logits[:, [k]], targets, torch.zeros(B, 1), PAD, "sequence", 1.0) for k in range(K)]
    evenly, prior = -torch.stack(alone, 1), scores.log_softmax(1)  # [B, K]

    def smoothed(times: int) -> Tensor:
        """The prior and log p, both added `times` times within the sum over documents."""
        whole = -sequence_log_likelihood(logits, targets, scores, PAD)
        return 0.9 * whole - 0.1 / times * torch.logsumexp(times * prior + times * evenly, 1)

    ours = marginal_loss(logits, targets, scores, PAD, "sequence", 0.1)
    theirs = their_sequence_loss(logits, targets, scores, 0.1)
    assert_close(ours, smoothed(1))
    assert_close(theirs, smoothed(V))
    assert (ours - theirs).abs().min() > 1e-3


def test_by_hand() -> None:
    # Over a and b, target "a b". Document 1 says p(a) = 1/2 and p(b|a) = 1/5, document 2 says 1/4 and 4/5; prior 2/3 and 1/3.
    first, second = [[0.5, 0.5], [0.8, 0.2]], [[0.25, 0.75], [0.2, 0.8]]
    logits, targets, scores = torch.tensor([[first, second]]).log(), torch.tensor([[0, 1]]), torch.tensor([[2.0, 1.0]]).log()
    logits, scores = logits + 7, scores - 3  # which softmax takes off again
    # Sequence: 2/3 · 1/2 · 1/5 + 1/3 · 1/4 · 4/5 = 1/15 + 1/15.
    assert_close(sequence_log_likelihood(logits, targets, scores, 2).exp(), torch.tensor([2 / 15]))
    # Token: (2/3 · 1/2 + 1/3 · 1/4) (2/3 · 1/5 + 1/3 · 4/5) = 5/12 · 2/5.
    assert_close(token_log_likelihood(logits, targets, scores, 2).exp(), torch.tensor([1 / 6]))
    assert_close(marginal_log_probs(logits, scores).exp(), torch.tensor([[[5 / 12, 7 / 12], [0.6, 0.4]]]))
    # At "a" 1/3 to 1/12; at "b" alone 2/15 to 4/15, and after both 1/15 to 1/15.
    by_token, by_prefix = torch.tensor([[[0.8, 0.2], [1 / 3, 2 / 3]]]), torch.tensor([[[0.8, 0.2], [0.5, 0.5]]])
    assert_close(document_posterior(logits, targets, scores, 2, "token"), by_token)
    assert_close(document_posterior(logits, targets, scores, 2, "sequence"), by_prefix)
    # Smoothing ε = 0.1: the roots are geometric means over the vocabulary. Document 1: √(1/2 · 1/2) · √(4/5 · 1/5) = 1/5,
    # document 2: √(1/4 · 3/4) · √(1/5 · 4/5) = √3/10; the mixture: √(5/12 · 7/12) · √(3/5 · 2/5).
    evenly = torch.tensor(2 / 3 * 1 / 5 + 1 / 3 * 3**0.5 / 10).log()
    expected = -0.9 * torch.tensor([2 / 15]).log() - 0.1 * evenly
    assert_close(marginal_loss(logits, targets, scores, 2, "sequence", 0.1), expected)
    evenly = torch.tensor((5 / 12 * 7 / 12) ** 0.5 * (3 / 5 * 2 / 5) ** 0.5).log()
    expected = -0.9 * torch.tensor([1 / 6]).log() - 0.1 * evenly
    assert_close(marginal_loss(logits, targets, scores, 2, "token", 0.1), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_one_document_makes_both_schemes_one(smoothing: float) -> None:
    logits, targets, scores = case()
    alone = (logits[:, :1], targets, scores[:, :1], PAD)
    assert_close(marginal_loss(*alone, "sequence", smoothing), marginal_loss(*alone, "token", smoothing))
    whole = (logits, targets, scores, PAD)
    assert (marginal_loss(*whole, "sequence", smoothing) - marginal_loss(*whole, "token", smoothing)).abs().min() > 0.01


def test_one_token_makes_both_schemes_one() -> None:
    logits, targets, scores = case()
    likelihood = (logits[:, :, 0].softmax(-1).mul(scores.softmax(1)[:, :, None]).sum(1)).gather(1, targets[:, :1])[:, 0].log()
    for one in (targets[:, :1], targets.index_fill(1, torch.arange(1, T), PAD)):  # by itself, and padded
        t = one.shape[1]
        assert_close(sequence_log_likelihood(logits[:, :, :t], one, scores, PAD), likelihood)
        assert_close(token_log_likelihood(logits[:, :, :t], one, scores, PAD), likelihood)


@pytest.mark.parametrize("name", SUMS)
def test_padding_counts_for_nothing_however_it_is_written(name: str) -> None:
    logits, targets, scores = case()
    expected = SUMS[name](logits, targets, scores)
    assert torch.equal(SUMS[name](logits, targets.masked_fill(targets == PAD, -100), scores), expected)
    if name == "next token":
        return
    other = torch.where((targets == PAD)[:, None, :, None], torch.randn_like(logits), logits)
    assert torch.equal(SUMS[name](other, targets, scores), expected)
    for b, length in enumerate((targets != PAD).sum(1).tolist()):
        alone = SUMS[name](logits[[b], :, :length], targets[[b], :length], scores[[b]])
        assert_close(alone[0], expected[b][:length] if "posterior" in name else expected[b])


@pytest.mark.parametrize("name", SUMS)
def test_a_document_of_score_minus_infinity_is_as_if_absent(name: str) -> None:
    logits, targets, scores = case()
    gone = torch.tensor([[False, True, False, False], [True, False, False, True], [False, False, False, True]])
    logits, scores = logits.requires_grad_(), scores.masked_fill(gone, -torch.inf).requires_grad_()
    value = SUMS[name](logits, targets, scores)
    weight = torch.randn_like(value)
    found = torch.autograd.grad((value * weight).sum(), (logits, scores))
    for b in range(B):
        alone = SUMS[name](logits[[b]][:, ~gone[b]], targets[[b]], scores[[b]][:, ~gone[b]])
        real = value[b, :, ~gone[b]] if "posterior" in name else value[b]
        assert_close(real, alone[0])
        weight_of = weight[b, :, ~gone[b]] if "posterior" in name else weight[b]
        expected = torch.autograd.grad((alone[0] * weight_of).sum(), (logits, scores))
        for gradient, of in zip(found, expected, strict=True):
            assert gradient[b].isfinite().all()
            assert_close(gradient[b], of[b])  # and 0 for documents that are not there
    if "posterior" in name:
        assert (value.transpose(1, 2)[gone] == 0).all()


@pytest.mark.parametrize("name", SUMS)
def test_a_question_without_documents_is_an_error(name: str) -> None:
    logits, targets, scores = case()
    scores[1] = -torch.inf
    with pytest.raises(MiniragError, match=r"^a question has no document: all its scores are −inf; retrieve .* for each$"):
        SUMS[name](logits, targets, scores)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", SUMS)
def test_arithmetic_is_float32_whatever_comes_in(name: str, dtype: torch.dtype) -> None:
    logits, targets, scores = case()
    narrow, scores = logits.to(dtype), scores.to(dtype)
    result = SUMS[name](narrow, targets, scores)
    assert result.dtype == torch.float32
    assert torch.equal(result, SUMS[name](narrow.float(), targets, scores.float()))
    huge = narrow.sign() * 30_000  # log-probabilities of −60,000, whose sums are beyond a half
    assert SUMS[name](huge, targets, scores).isfinite().all()


@pytest.mark.parametrize("name", SUMS)
def test_the_order_of_documents_changes_nothing(name: str) -> None:
    logits, targets, scores = case()
    order = torch.rand(B, K).argsort(1)  # another one for each question
    value = SUMS[name](logits, targets, scores)
    if "posterior" in name:
        value = value.take_along_dim(order[:, None], 2)
    assert_close(SUMS[name](logits.take_along_dim(order[:, :, None, None], 1), targets, scores.gather(1, order)), value)


@both
def test_a_document_that_is_certain_leaves_plain_bart(scheme: str) -> None:
    model = rag()
    ids, mask, _, targets = batch(K, V)
    scores = torch.tensor([-1_000.0, 0.0, -torch.inf, -500.0]).expand(len(ids), K)
    padded = targets.masked_fill(targets == -100, PAD)
    given = F.pad(padded, (1, -1), value=model.generator.config.start_id)
    logits = model.generator.logits(model.generator.read(ids[:, 1], mask[:, 1]), given)
    plain = F.cross_entropy(logits.transpose(1, 2), padded, ignore_index=PAD, reduction="none").sum(1)
    assert_close(model.loss(ids, mask, scores, targets, scheme), plain)


def test_next_tokens_are_a_distribution_and_the_one_that_is_scored() -> None:
    logits, targets, scores = case()
    log_probs = marginal_log_probs(logits, scores)  # [B, T, V]
    assert_close(log_probs.exp().sum(-1), torch.ones(B, T))
    assert_close(marginal_log_probs(logits[:, :, 0], scores), log_probs[:, 0])  # of one step, without T
    chosen = log_probs.gather(2, targets[:, :, None])[:, :, 0].masked_fill(targets == PAD, 0.0)
    assert_close(token_log_likelihood(logits, targets, scores, PAD), chosen.sum(1))


def sequences(alphabet: list[int], longest: int) -> Iterator[list[int]]:
    """All that can be written with these tokens: ended by `</s>`, or cut off."""
    for length in range(longest):
        yield from ([*body, EOS] for body in itertools.product(alphabet, repeat=length))
    yield from (list(body) for body in itertools.product(alphabet, repeat=longest))


@both
def test_probabilities_of_all_sequences_sum_to_one(scheme: str) -> None:
    model, longest = rag(vocab_size=5), 4
    model.generator.logits_bias[PAD] = -1e9
    every = list(sequences([0, 3, 4], longest))
    assert len(every) == 1 + 3 + 9 + 27 + 81
    targets = torch.tensor([y + [PAD] * (longest - len(y)) for y in every])
    ids, scores = torch.randint(5, (1, K, 6)), torch.randn(1, K)
    with torch.no_grad():
        ids, scores = ids.expand(len(every), K, 6), scores.expand(len(every), K)
        probability = (-model.loss(ids, torch.ones_like(ids), scores, targets, scheme)).exp()
    assert probability.max() < 0.9
    assert_close(probability.sum(), torch.tensor(1.0), atol=1e-5, rtol=0)


@both
def test_the_posterior_is_bayes_rule(scheme: str) -> None:
    logits, targets, scores = case()
    posterior, prior = document_posterior(logits, targets, scores, PAD, scheme), scores.softmax(1)
    assert_close(posterior.sum(2), torch.ones(B, T))
    assert (posterior - prior[:, None]).abs().max() > 0.1

    def likelihood(first: int, last: int) -> Tensor:
        """p(y_first, …, y_last−1 | x, z), of one document at a time."""
        one = [sequence_log_likelihood(logits[:, [k], first:last], targets[:, first:last], torch.zeros(B, 1), PAD)
               for k in range(K)]  # fmt: skip
        return torch.stack(one, 1).exp()  # [B, K]

    for i in range(T):  # at padding the likelihood is that of nothing, 1
        joint = prior * likelihood(0 if scheme == "sequence" else i, i + 1)
        assert_close(posterior[:, i], joint / joint.sum(1, keepdim=True))
    if scheme == "token":
        assert_close(posterior[0, 3:], prior[0].expand(2, K))
    else:
        assert_close(posterior[0, 3:], posterior[0, 2].expand(2, K))


@both
def test_scores_learn_from_what_documents_turned_out_to_say(scheme: str) -> None:
    logits, targets, scores = case()
    scores.requires_grad_()
    marginal_loss(logits, targets, scores, PAD, scheme).sum().backward()
    posterior, prior = document_posterior(logits, targets, scores, PAD, scheme).detach(), scores.detach().softmax(1)
    # Descent raises p(z|x) towards the posterior: of the whole target, or of each of its tokens.
    change = prior - posterior[:, -1] if scheme == "sequence" else (prior[:, None] - posterior).sum(1)
    assert_close(scores.grad, change)
