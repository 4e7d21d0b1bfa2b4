"""An answer with all that it rests on: its probability, the passages, and how much each of them had to say in it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from minirag.corpus.passages import Passage
from minirag.corpus.words import escape, marked, pieces
from minirag.rag.decode import Hypothesis
from minirag.rag.marginalize import Scheme


@dataclass(frozen=True)
class Answer:
    """What `RagModel.answer` returns for one question; a notebook shows it as a page.

    `texts` and `hypotheses` are side by side, best first; `prior` is p(z|x) of the passages, `pieces` the best hypothesis'
    tokens as text, and `posterior` says at each of them who spoke (see `document_posterior`).
    """

    question: str
    texts: list[str]
    hypotheses: list[Hypothesis]
    passages: list[Passage]
    prior: Float[Tensor, " K"]
    pieces: list[str]
    posterior: Float[Tensor, "T K"]
    scheme: Scheme

    @property
    def text(self) -> str:
        return self.texts[0]

    @property
    def log_probability(self) -> float:
        """log p(y|x), summed over the passages."""
        return self.hypotheses[0].log_probability

    @property
    def probability(self) -> float:
        return math.exp(self.log_probability)

    @property
    def probabilities(self) -> Float[Tensor, " K"]:
        """p(z|x) of each passage."""
        return self.prior

    @property
    def support(self) -> Float[Tensor, " K"]:
        """How much of the answer each passage accounts for: p(z|x, y) of RAG-Sequence, the mean over tokens for RAG-Token."""
        return self.posterior[-1] if self.scheme == "sequence" else self.posterior.mean(0)

    def holding(self) -> list[int]:
        """The passages (from 0) in which the answer stands in so many words."""
        return [k for k, z in enumerate(self.passages) if any(found for _, found in pieces(z.text, [self.text]))]

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{k}</td><td>{_bar(prior)}</td><td>{_bar(support)}</td>"
            f"<td style='text-align:left'><b>{escape(z.title or 'no passage')}</b><br>{marked(z.text, [self.text])}</td></tr>"
            for k, (z, prior, support) in enumerate(
                zip(self.passages, self.prior.tolist(), self.support.tolist(), strict=True), start=1
            )
        )
        others = ", ".join(
            f"{escape(text)} ({math.exp(hypothesis.log_probability):.2g})"
            for text, hypothesis in zip(self.texts[1:], self.hypotheses[1:], strict=True)
        )
        return (
            f"<div><p>{escape(self.question)}</p><p style='font-size:1.3em'><b>{escape(self.text)}</b> "
            f"<span style='color:#6b6b6b'>p(y|x) = {self.probability:.2g}</span></p>"
            + (f"<p style='color:#6b6b6b'>or: {others}</p>" if others else "")
            + "<table><thead><tr><th></th><th>p(z|x)</th><th>p(z|x, y)</th><th>passage</th></tr></thead>"
            f"<tbody>{rows}</tbody></table></div>"
        )


def _bar(share: float) -> str:
    """A number with a bar of its length under it."""
    bar = f"<div style='height:6px;width:{60 * share:.0f}px;background:#0072B2'></div>"
    return f"{share:.2f}{bar}"
