"""Sampling: sequences drawn from p(y|x) itself, where beam search looks for the largest.

RAG-Token draws each token from the documents' mixture. RAG-Sequence is a mixture of whole sequences: it draws a document from
p(z|x), and then every token under that document. Temperature and nucleus (top-p, Holtzman et al. 2020) sharpen each draw of a
token; the log-probabilities returned are the model's own.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from minirag.errors import MiniragError
from minirag.rag.decode import Generated, Hypothesis, Mixture, Search, Single, Step, ranked, read, score
from minirag.rag.generator import Generator, GeneratorConfig
from minirag.rag.marginalize import Scheme, log_prior

TOGETHER = 32  # chains in one tree, whose leaves all look at each other's ancestors, masked


@dataclass(frozen=True)
class Sampling:
    """How many sequences to draw for each question, and how. Lengths as in `Search`."""

    samples: int = 1
    max_length: int = 32
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.max_length < 1 or self.temperature <= 0 or not 0 < self.top_p <= 1:
            raise MiniragError(
                "sampling needs samples and max_length of at least 1, a temperature above 0, and top_p in (0, 1]"
            )


@torch.inference_mode()
def sample(
    generator: Generator,
    context_ids: Int[Tensor, "B K S"],
    context_mask: Int[Tensor, "B K S"] | Bool[Tensor, "B K S"],
    doc_scores: Float[Tensor, "B K"],
    scheme: Scheme = "sequence",
    how: Sampling = Sampling(),
) -> Generated:
    """For each of B questions `samples` sequences in the order drawn, the same for the same seed."""
    config, device = generator.config, doc_scores.device
    documents = read(generator, context_ids, context_mask, how.max_length)
    chance, tree = torch.Generator(device).manual_seed(how.seed), generator.tree(documents)
    (n, k), passes = doc_scores.shape, doc_scores.numel()
    if scheme == "token":
        mixture, together = Mixture(tree, doc_scores), min(how.samples, TOGETHER)
        groups = -(-how.samples // together)
        mixture.keep(torch.arange(n, device=device).repeat_interleave(groups))
        drawn = _draw(mixture, n * groups, together, config, how, chance, device)
        each = [[y for group in drawn[b * groups : (b + 1) * groups] for y in group] for b in range(n)]
        return Generated([own[: how.samples] for own in each], passes, tree.computed)
    prior = log_prior(doc_scores)
    chosen = torch.multinomial(prior.exp(), how.samples, replacement=True, generator=chance)  # [B, samples]
    tree.keep((chosen + torch.arange(n, device=device)[:, None] * k).flatten())
    alone = _draw(Single(tree), n * how.samples, 1, config, how, chance, device)  # one chain under each chosen document
    union = [[tuple(y.tokens) for (y,) in alone[b * how.samples : (b + 1) * how.samples]] for b in range(n)]
    again = generator.tree(documents)
    scored = score(again, [list(dict.fromkeys(own)) for own in union], k, config, device)
    known = [{tuple(y.tokens): y for y in own} for own in ranked(scored, prior, Search(hypotheses=how.samples))]
    found = [[y[tokens] for tokens in own] for y, own in zip(known, union, strict=True)]
    return Generated(found, passes, tree.computed + again.computed)


def _draw(
    step: Step,
    n: int,
    j: int,
    config: GeneratorConfig,
    how: Sampling,
    chance: torch.Generator,
    device: torch.device,
) -> list[list[Hypothesis]]:
    """j chains for each of n distributions, side by side until all have ended."""
    tokens = torch.full((n, j), config.start_id, device=device)
    parents, totals = None, torch.zeros(n, j, device=device)
    open_, drawn = torch.ones(n, j, dtype=torch.bool, device=device), []
    for _ in range(how.max_length):
        log_probs = step.log_probs(tokens, parents)  # [n, j, V]
        log_probs[:, :, config.pad_id] = -torch.inf
        sharpened = nucleus((log_probs / how.temperature).softmax(-1), how.top_p)
        tokens = torch.multinomial(sharpened.flatten(0, 1), 1, generator=chance).view(n, j)
        totals += log_probs.gather(2, tokens[:, :, None])[:, :, 0].masked_fill(~open_, 0.0)
        tokens = tokens.masked_fill(~open_, config.pad_id)
        drawn.append(tokens)
        open_ = open_ & (tokens != config.eos_id)
        parents = torch.arange(j, device=device).expand(n, j)
        if not open_.any():
            break
    sequences = torch.stack(drawn, 2).tolist()  # [n, j, T]
    cut = [[[token for token in chain if token != config.pad_id] for chain in own] for own in sequences]
    return [
        [Hypothesis(tokens, total, total) for tokens, total in zip(own, totals_of, strict=True)]
        for own, totals_of in zip(cut, totals.tolist(), strict=True)
    ]


def nucleus(probabilities: Float[Tensor, "*n V"], top_p: float) -> Float[Tensor, "*n V"]:
    """The fewest most probable tokens that together have at least `top_p`; the others get 0. Not normalised.

    >>> nucleus(torch.tensor([0.5, 0.2, 0.3]), top_p=0.6)
    tensor([0.5000, 0.0000, 0.3000])
    """
    ordered, order = probabilities.sort(dim=-1, descending=True)
    needed = ordered.cumsum(-1) - ordered < top_p  # what comes before does not reach top_p yet
    return torch.zeros_like(probabilities).scatter(-1, order, ordered * needed)
