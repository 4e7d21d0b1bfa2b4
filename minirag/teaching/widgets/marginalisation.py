"""The marginalisation explorer: slide scores and token probabilities, and watch both sums and posteriors (RAG §2.1).

marginalisation_widget()          the worked example of `minirag.rag.marginalize`, to be moved; needs a live Jupyter
marginalisation_view()            the same at rest, for a saved notebook
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from minirag.corpus.words import escape
from minirag.errors import MiniragError
from minirag.rag.marginalize import (
    document_posterior,
    log_prior,
    sequence_log_likelihood,
    token_log_likelihood,
)
from minirag.teaching.plots import BLUE, VERMILLION
from minirag.teaching.widgets.heatmap import heatmap_html
from minirag.teaching.widgets.view import View, bar, live, number, slider, table

SCORES = (1.1, 0.0)  # a prior of 3/4 and 1/4
SAID = ((0.8, 0.5), (0.4, 0.9))
TOKENS = ("a", "b")
PAD = -100


@dataclass(frozen=True)
class Marginals:
    """What K documents say together of T tokens: p(z|x), both probabilities, and the posterior under both schemes."""

    prior: Float[Tensor, " K"]
    sequence: float
    token: float
    by_token: Float[Tensor, "T K"]  # the posterior of RAG-Token
    by_sequence: Float[Tensor, "T K"]  # of RAG-Sequence


def marginals(scores: Sequence[float], said: Sequence[Sequence[float]]) -> Marginals:
    """`scores` of K documents, and for each document p(y_i|x, z, y_<i) of T tokens; all sums by `minirag.rag.marginalize`.

    Raises `MiniragError` where the numbers are no table of K × T probabilities above 0.

    >>> both = marginals([math.log(3), 0.0], [[0.8, 0.5], [0.4, 0.9]])
    >>> f"{both.sequence:.2f} {both.token:.2f}"
    '0.39 0.42'
    """
    lengths = {len(row) for row in said}
    if not scores or len(said) != len(scores) or len(lengths) != 1 or lengths == {0}:
        raise MiniragError("each document needs a score, and a probability of each token; give as many rows as scores")
    if not all(0 < p <= 1 for row in said for p in row):
        raise MiniragError("a token's probability is above 0 and at most 1; move it")
    p = torch.tensor([list(row) for row in said], dtype=torch.float64)  # [K, T]
    logits = torch.stack([p, 1 - p], dim=-1)[None].log()  # [1, K, T, 2]: the token, or any other
    targets, doc_scores = torch.zeros(1, p.shape[1], dtype=torch.int64), torch.tensor([list(scores)])  # [1, T], [1, K]
    example = logits, targets, doc_scores, PAD
    return Marginals(
        prior=log_prior(doc_scores)[0].exp(),
        sequence=float(sequence_log_likelihood(*example).exp()),
        token=float(token_log_likelihood(*example).exp()),
        by_token=document_posterior(*example, scheme="token")[0],
        by_sequence=document_posterior(*example, scheme="sequence")[0],
    )


def told(result: Marginals) -> str:
    """Both probabilities, and which is larger, in one line."""
    gap = result.sequence - result.token
    why = "they agree" if abs(gap) < 0.005 else "on the whole the documents complement each other"
    if gap >= 0.005:
        why = "on the whole a document that likes one token likes the others, too"
    return f"RAG-Sequence {result.sequence:.2f}, RAG-Token {result.token:.2f}: {why}"


def marginals_html(scores: Sequence[float], said: Sequence[Sequence[float]], tokens: Sequence[str] = TOKENS) -> str:
    """The table of what is given, the two sums written out with their results as bars, and the two posteriors."""
    result = marginals(scores, said)
    names = [f"document {k}" for k in range(1, len(scores) + 1)]
    heats = {
        "RAG-Token: p(z | x, this token)": result.by_token,
        "RAG-Sequence: p(z | x, all tokens so far)": result.by_sequence,
    }
    maps = [heatmap_html(heat, tokens, names, name) for name, heat in heats.items()]
    beside = "display:inline-block;vertical-align:top;margin:8px 32px 0 0"
    return (
        f'<div style="line-height:1.45">{_given(result, names, scores, said, tokens)}<p>{told(result)}.</p>'
        + _sums(result, said)
        + "".join(f'<div style="{beside}">{each}</div>' for each in maps)
        + "</div>"
    )


def _given(
    result: Marginals, names: Sequence[str], scores: Sequence[float], said: Sequence[Sequence[float]], tokens: Sequence[str]
) -> str:
    prior = result.prior.tolist()
    rows = [
        [name, number(score), f"{p:.2f}", *(f"{each:.2f}" for each in row), f"{math.prod(row):.2f}"]
        for name, score, p, row in zip(names, scores, prior, said, strict=True)
    ]
    mixed = [f"{each:.2f}" for each in _mixed(prior, said)]
    rows.append(["weighted by p(z | x)", "", "1.00", *mixed, f"{result.sequence:.2f}"])
    heads = [f"p({escape(token)} | z{', …' if t else ''})" for t, token in enumerate(tokens)]
    return table(("", "score", "p(z | x)", *heads, "all tokens"), rows)


def _sums(result: Marginals, said: Sequence[Sequence[float]]) -> str:
    prior = result.prior.tolist()
    products = " + ".join(f"{p:.2f} · {math.prod(row):.2f}" for p, row in zip(prior, said, strict=True))
    factors = " · ".join(f"{each:.2f}" for each in _mixed(prior, said))
    rows = [
        ["RAG-Sequence", products, bar(result.sequence, BLUE, 240)],
        ["RAG-Token", factors, bar(result.token, VERMILLION, 240)],
    ]
    return table(("", "the sum", "probability of the answer"), rows)


def _mixed(prior: Sequence[float], said: Sequence[Sequence[float]]) -> list[float]:
    """What the documents say of each token together: Σ_k p(z_k|x) p(y_i|x, z_k, y_<i)."""
    return [sum(p * each for p, each in zip(prior, column, strict=True)) for column in zip(*said, strict=True)]


def marginalisation_view(
    scores: Sequence[float] = SCORES, said: Sequence[Sequence[float]] = SAID, tokens: Sequence[str] = TOKENS
) -> View:
    """The two sums at these numbers, as they stay in a saved notebook."""
    return View(told(marginals(scores, said)), marginals_html(scores, said, tokens))


def marginalisation_widget(
    scores: Sequence[float] = SCORES, said: Sequence[Sequence[float]] = SAID, tokens: Sequence[str] = TOKENS
) -> Any:
    """A row of sliders for each document, its score first, above the two sums and posteriors."""
    import ipywidgets

    marginals(scores, said)  # refuses what is no table, before there are sliders for it
    rows = [
        [slider(f"score {k}", score, -3.0, 3.0, 0.1, wide=False)]
        + [slider(f"p({token} | z{k})", p, 0.01, 0.99, 0.01, wide=False) for token, p in zip(tokens, own, strict=True)]
        for k, (score, own) in enumerate(zip(scores, said, strict=True), start=1)
    ]
    controls = {f"{k} {t}": each for k, row in enumerate(rows) for t, each in enumerate(row)}

    def draw(**values: float) -> str:
        given = [[values[f"{k} {t}"] for t in range(len(row))] for k, row in enumerate(rows)]
        return marginals_html([row[0] for row in given], [row[1:] for row in given], tokens)

    return live(draw, controls, [ipywidgets.HBox(row) for row in rows])
