"""The claim head of the paper's appendix E, learnt from MiniWiki's claims, beginning with the reader that ships.

    python -m minirag.training.claim_head runs/claim-head
    minirag evaluate fever3 --model runs/claim-head --out runs/fever-head

The claim is given to both halves of BART, and the class is read from the decoder's last state. Generator and head learn; the
passages are found by the bi-encoder that ships, which is held still.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import told_in_one_sentence
from minirag.files import fingerprint_of, refuse_strangers
from minirag.models.weights import is_sealed
from minirag.rag.checkpoints import reader
from minirag.rag.claim_files import save_head
from minirag.rag.classify import ClaimHead
from minirag.rag.model import RagModel
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.pretrained import mini_biencoder
from minirag.tasks.fever import LABELS
from minirag.training.finetune import Recipe, finetune
from minirag.training.state import checksum, weights_of
from minirag.training.targets import QuestionAnswer

DROPOUT = 0.1
RECIPE = Recipe(batch=8, k=5, rate=1e-3, matrix_rate=2e-3, steps=600, warmup=30, clip=1.0, end=0.03)


def train_head(
    model: RagModel,
    claims: Sequence[QuestionAnswer],
    labels: Sequence[str],
    recipe: Recipe,
    run: str | Path,
    held: Sequence[QuestionAnswer] = (),
    seed: int = 0,
    progress: bool = True,
) -> ClaimHead:
    """A head over `model`, whose index is attached, that has learnt the claims' labels; the generator learns with it, and so
    does a query encoder that is not held still. `held`: claims whose accuracy the log tells at each evaluation."""
    torch.manual_seed(seed)
    head = ClaimHead(model, labels, DROPOUT)

    def accuracy() -> dict[str, float]:
        return {"accuracy": accuracy_of(head, held, recipe.k)}

    finetune(model, claims, recipe, run, accuracy if held else None, seed, "claim head", progress, head)
    return head.eval()


def accuracy_of(head: ClaimHead, claims: Sequence[QuestionAnswer], k: int) -> float:
    """The share of claims that are given their label."""
    chosen = head.eval().choose([one.question for one in claims], k)
    return sum(one.label == claim.answer for one, claim in zip(chosen, claims, strict=True)) / len(claims)


def over(passages: Sequence[Passage], folder: Path) -> RagModel:
    """The reader that ships over passages, found by the bi-encoder that ships, which is held still."""
    encoder = mini_biencoder()
    index = ExactIndex(encoder.dim)
    index.add(encoder.encode_passages(passages))
    model = reader(encoder).attach(index, PassageStore.write(folder / "passages", passages))
    assert model.query_encoder is not None
    model.query_encoder.requires_grad_(False)
    return model


def make(
    wiki: MiniWiki, out: Path, recipe: Recipe = RECIPE, seed: int = 0, held_out: str = "dev", progress: bool = True
) -> float:
    """Train on the training claims of `wiki`, write the folder `out`, and return the accuracy on the claims of another split.

    What training needs to go on after a kill is kept in OUT.run.
    """
    refuse_strangers(out, is_sealed)
    splits = wiki.by_split("fever")
    claims, held = ([QuestionAnswer(one.text, one.answers[0]) for one in splits[name]] for name in ("train", held_out))
    with tempfile.TemporaryDirectory() as name:
        model = over(wiki.passages, Path(name))
        told = (f"{one.question}\t{one.answer}" for one in claims)
        weights = {name: tensor.contiguous() for name, tensor in weights_of(model).items()}
        made_from = fingerprint_of(checksum(repr((recipe, seed)), weights), *told, *(z.text for z in wiki.passages))[:12]
        run = out.with_name(f"{out.name}.run") / made_from
        head = train_head(model, claims, LABELS, recipe, run, held, seed, progress)
        save_head(head, out)
        return accuracy_of(head, held, recipe.k)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the claim head of appendix E on MiniWiki's claims.")
    parser.add_argument("out", type=Path, help="folder for model and head; what training needs to go on is kept in OUT.run")
    parser.add_argument("--steps", type=int, default=RECIPE.steps, help="batches of 8 claims (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="order of the claims, and the head's first weights (default: 0)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the weights are the same each time only with as many threads
    recipe = Recipe(**{**vars(RECIPE), "steps": arguments.steps, "warmup": min(RECIPE.warmup, arguments.steps // 10)})
    accuracy = make(MiniWiki.load(), arguments.out, recipe, arguments.seed)
    print(f"{arguments.out}: {accuracy:.1%} of the claims for development are given their label")


if __name__ == "__main__":
    with told_in_one_sentence():
        main()
