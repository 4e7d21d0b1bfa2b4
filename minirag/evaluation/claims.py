"""Real claims: RAG against closed book on FoolMeTwice, from passages to a label, end to end.

    python -m minirag.evaluation.claims fm2-dev.jsonl results/claims.json

People wrote these claims so that others take the false ones for true (Eisenschlos et al. 2021). The sentences that come with
all claims are the passages, 8,003 of them in the published dev file. Claims about some pages are for training, those about the
others for testing. all-MiniLM-L6-v2 finds the passages and the generator starts from its weights; the label is read from the
decoder's last state (the paper's appendix E), and generator, head and query encoder learn. Closed book, the same network sees
the claim alone; and with the right sentences it shows what retrieval costs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from minirag.corpus.store import PassageStore
from minirag.doctor import machine
from minirag.errors import MiniragError, told_in_one_sentence
from minirag.evaluation.answering import batches
from minirag.evaluation.endtoend import index_of
from minirag.evaluation.run import Result, line_of
from minirag.files import fingerprint_of, write_json
from minirag.rag.classify import ClaimHead
from minirag.rag.contexts import Contexts
from minirag.rag.model import RagModel
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.standins import GivenIndex, no_passages
from minirag.tasks.fever import LABELS, Evidenced, gold_found, read_with_evidence
from minirag.tasks.metrics import paired_difference, wilson_interval
from minirag.training.draws import chance_of
from minirag.training.finetune import Recipe, finetune
from minirag.training.starts import from_bert
from minirag.training.state import Row
from minirag.training.targets import QuestionAnswer

TASK = "FoolMeTwice, pages held out"
WAYS = LABELS[:2]
RECIPE = Recipe(batch=16, k=3, rate=1e-4, steps=100, warmup=10, clip=1.0)
RAG, RIGHT, CLOSED_BOOK, ALWAYS = "RAG", "right sentences", "closed book", "always one label"


@dataclass(frozen=True)
class Sizes:
    """How large the network is and how long it learns; the defaults are what was measured."""

    held_out: float = 0.3  # of the pages
    decoder_layers: int = 3
    dropout: float = 0.1
    max_length: int = 128  # tokens of a sentence with its claim
    recipe: Recipe = RECIPE
    seed: int = 0


def split(claims: Sequence[Evidenced], held_out: float, seed: int) -> tuple[list[Evidenced], list[Evidenced]]:
    """Claims for training and for testing; all claims about one page are on one side."""
    pages = list(dict.fromkeys(one.sentences[0].title for one in claims))
    drawn = set(chance_of(seed, "held out").sample(pages, round(held_out * len(pages))))
    sides = [[one for one in claims if (one.sentences[0].title in drawn) is out] for out in (False, True)]
    if not all(sides):
        raise MiniragError(f"of {len(pages)} pages {held_out:.0%} cannot be held out; give claims about more pages")
    return sides[0], sides[1]


@dataclass
class Job:
    """What all systems share: the claims, the passages, where trainings are kept; and, as they are done, their logs."""

    claims: Sequence[Evidenced]
    encoder: BiEncoder
    kept: Path
    sizes: Sizes = Sizes()
    progress: bool = True

    def __post_init__(self) -> None:
        self.trained, self.held = split(self.claims, self.sizes.held_out, self.sizes.seed)
        self.passages = list({z.id: z for one in self.claims for z in one.sentences}.values())
        self.rows = {z.id: row for row, z in enumerate(self.passages)}
        self.pairs = [QuestionAnswer(one.claim.question, one.claim.answers[0]) for one in self.trained]
        told = (repr(one) for one in self.claims)
        self.made_from = fingerprint_of(self.encoder.fingerprint, repr(self.sizes), *told)[:12]
        self.logs: dict[str, list[Row]] = {}

    def model(self, encoder: BiEncoder | None) -> RagModel:
        """A generator from the encoder's weights, that has learnt nothing here."""
        torch.manual_seed(self.sizes.seed)
        bart = from_bert(self.encoder.query_encoder, self.encoder.tokenizer, self.sizes.decoder_layers, self.sizes.dropout)
        return RagModel(bart, Contexts(self.encoder.tokenizer, self.sizes.max_length), encoder)

    def given(self) -> GivenIndex:
        """The right sentences of every claim."""
        rows = {one.claim.question: [self.rows[z.id] for z in one.sentences[: one.gold]] for one in self.claims}
        return GivenIndex(rows, len(self.passages))

    def learnt(self, model: RagModel, recipe: Recipe, name: str) -> ClaimHead:
        head = ClaimHead(model, WAYS, self.sizes.dropout)
        folder = self.kept / f"{name}, {self.made_from}"
        self.logs[name] = finetune(
            model, self.pairs, recipe, folder, seed=self.sizes.seed, title=name, progress=self.progress, head=head
        )
        return head.eval()

    def labels(self, head: ClaimHead, k: int, name: str) -> tuple[list[str], list[list[str]]]:
        """The label of every test claim, and the titles of its passages."""
        said, titles = list[str](), list[list[str]]()
        with tqdm(total=len(self.held), desc=name, unit="claim", disable=not self.progress) as bar:
            for batch in batches([one.claim.question for one in self.held], k):
                for choice in head.choose(batch, k):
                    said.append(choice.label)
                    titles.append([z.title for z in choice.found.passages])
                bar.update(len(batch))
        return said, titles


def measure(job: Job, work: Path) -> tuple[list[Result], dict[str, list[str]]]:
    """Train every system on the same claims, and label the claims about other pages."""
    store, recipe = PassageStore.write(work / "passages", job.passages), job.sizes.recipe
    alone, said = replace(recipe, k=1), dict[str, list[str]]()
    rag = job.learnt(job.model(job.encoder).attach(index_of(job.encoder, job.passages), store), recipe, RAG)
    said[RAG], titles = job.labels(rag, recipe.k, RAG)
    right = job.learnt(job.model(None).attach(job.given(), store), alone, RIGHT)
    said[RIGHT], _ = job.labels(right, 1, RIGHT)
    heart = job.model(None)
    heart.retriever = no_passages(work / "no passages")
    said[CLOSED_BOOK], _ = job.labels(job.learnt(heart, alone, CLOSED_BOOK), 1, CLOSED_BOOK)
    most = max(WAYS, key=[pair.answer for pair in job.pairs].count)
    said[ALWAYS] = [most] * len(job.held)
    pages = gold_found(titles, [one.claim for one in job.held], recipe.k)
    n = len(job.held)
    found = [Result(TASK, RAG, name, share, *wilson_interval(round(share * n), n), n) for name, share in
             (("first passage of the page", pages.first), (f"the page among {recipe.k}", pages.top))]  # fmt: skip
    return results(job.held, said) + found, said


def results(held: Sequence[Evidenced], said: dict[str, list[str]]) -> list[Result]:
    """Accuracy of each system, and by how much RAG is better than the others."""
    right = {name: [one.claim.answers[0] == label for one, label in zip(held, own, strict=True)] for name, own in said.items()}
    n = len(held)
    found = [Result(TASK, name, "accuracy", sum(own) / n, *wilson_interval(sum(own), n), n) for name, own in right.items()]
    found += [
        Result(TASK, f"{RAG} − {name}", "accuracy", *paired_difference(right[RAG], own), n)
        for name, own in right.items()
        if name != RAG
    ]
    return found


def report(job: Job, found: Sequence[Result], said: dict[str, list[str]], seconds: float) -> dict[str, Any]:
    """Everything that was measured, as plain values."""
    return {
        "machine": machine(),
        "sizes": asdict(job.sizes),
        "claims": {"training": len(job.trained), "test": len(job.held)},
        "passages": len(job.passages),
        "seconds": round(seconds),
        "results": [asdict(one) for one in found],
        "logs": job.logs,
        "labels": [
            {"id": one.claim.id, "label": one.claim.answers[0]} | {name: own[row] for name, own in said.items()}
            for row, one in enumerate(job.held)
        ],
    }


def main() -> None:
    from minirag.retrieval.pretrained import minilm

    parser = argparse.ArgumentParser(description="RAG against closed book on FoolMeTwice, pages held out.")
    parser.add_argument("claims", type=Path, help="FoolMeTwice's file, with the sentences of each claim")
    parser.add_argument("out", type=Path, help="where the results are written, as JSON")
    parser.add_argument("--work", type=Path, default=Path("runs/claims"), help="folder of the trainings (default: %(default)s)")
    arguments = parser.parse_args()
    start, job = time.perf_counter(), Job(read_with_evidence(arguments.claims), minilm(), arguments.work)
    with tempfile.TemporaryDirectory() as folder:
        found, said = measure(job, Path(folder))
    write_json(arguments.out, report(job, found, said, time.perf_counter() - start))
    print("\n".join(f"{one.task:28} {one.system:28} {line_of(one)}" for one in found))


if __name__ == "__main__":
    with told_in_one_sentence():
        main()
