"""Real language: RAG and closed book on SQuAD's questions, with articles held out from training, in less than two hours.

    python -m minirag.evaluation.language SQUAD results/language.json

`SQUAD` is a file as published, or a folder; see `tasks/squad.py`. All that was pretrained elsewhere is all-MiniLM-L6-v2, a BERT
bi-encoder of 22 million parameters: it finds paragraphs, and the generator starts from its weights. The generator learns to
read from the training questions with their paragraphs, then with the query encoder end to end, where nobody says which
paragraph is right. Closed book, the same generator fills gaps in all articles, those held out as well, before it learns from
the same questions. Trainings are kept in `runs/language`, under a name for all that they are made from, and go on after a kill.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from minirag.corpus.store import PassageStore
from minirag.doctor import machine
from minirag.errors import told_in_one_sentence
from minirag.evaluation.answering import batches
from minirag.evaluation.endtoend import index_of
from minirag.evaluation.run import Result
from minirag.files import fingerprint_of, write_json
from minirag.models.bart import Bart
from minirag.rag.answer import Answer
from minirag.rag.contexts import Contexts
from minirag.rag.model import RagModel
from minirag.rag.spelling import Spelling
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.standins import GivenIndex, no_passages
from minirag.tasks.metrics import exact_match, f1_score, has_answer, paired_difference, wilson_interval
from minirag.tasks.squad import Asked, Squad, read_squad
from minirag.training.copying import Copying, Extracts, Told, place_of
from minirag.training.draws import chance_of
from minirag.training.finetune import Recipe, finetune
from minirag.training.gaps import gaps
from minirag.training.loop import train
from minirag.training.settings import Settings
from minirag.training.starts import from_bert, writing_what_it_sees
from minirag.training.state import Row
from minirag.training.targets import each_answer

TASK = "SQuAD, articles held out"
SEEN = 200  # passages from which it is known what the encoder makes of a word
SHOWN = 40  # questions whose answers are kept to be looked at
RAG, FROZEN, RIGHT, CLOSED_BOOK = "RAG-Sequence", "RAG-Sequence, reader alone trained", "right paragraph", "closed book"


READING = Settings(steps=1_600, rate=3e-4, warmup=50, end=0.03, precision="bfloat16", save_every=200)
END_TO_END = Recipe(batch=16, k=5, rate=5e-5, steps=30, warmup=3, clip=1.0, precision="bfloat16")
GAPS = Settings(steps=300, rate=3e-4, warmup=50, end=0.3, precision="bfloat16", save_every=200)
BY_HEART = Recipe(batch=16, k=1, rate=1e-4, steps=500, warmup=20, clip=1.0, precision="bfloat16")


@dataclass(frozen=True)
class Sizes:
    """How large the generator is and how long it learns; the defaults are what was measured."""

    held_out: int = 6  # articles
    asked: int = 400  # of the questions about them, by lot
    decoder_layers: int = 3
    dropout: float = 0.1
    max_length: int = 256  # tokens of a paragraph with its question
    batch: int = 16  # questions with a paragraph each
    reading: Settings = READING
    endtoend: Recipe = END_TO_END
    gaps_batch: int = 32
    gaps: Settings = GAPS
    closed_book: Recipe = BY_HEART
    seed: int = 0


@dataclass
class Run:
    """One run: its data, where trainings are kept, and, filled as they are done, their logs by name.

    A run's trainings have a folder of their own there, `kept`: another file holds out other articles, and must never take up a
    reader that has learnt from them.
    """

    squad: Squad
    encoder: BiEncoder
    folder: Path
    sizes: Sizes = Sizes()
    progress: bool = True
    logs: dict[str, list[Row]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        told = (repr(each) for each in (*self.squad.passages, *self.squad.asked))
        self.kept = self.folder / fingerprint_of(self.encoder.fingerprint, repr(self.sizes), *told)[:12]
        self.asked, held = self.squad.held_out(self.sizes.held_out, self.sizes.seed)
        chance = chance_of(self.sizes.seed, "asked")
        self.held = chance.sample(held, min(self.sizes.asked, len(held)))
        self.contexts = Contexts(self.encoder.tokenizer, self.sizes.max_length)
        self.pairs = each_answer(one.question for one in self.asked)

    def start(self) -> Bart:
        """The generator before it has learnt anything here."""
        torch.manual_seed(self.sizes.seed)
        tokenizer = self.encoder.tokenizer
        bart = from_bert(self.encoder.query_encoder, tokenizer, self.sizes.decoder_layers, self.sizes.dropout)
        return writing_what_it_sees(bart, tokenizer, self.squad.passages[:SEEN])

    def reader(self) -> Bart:
        """Reads the paragraph that a question was asked about."""
        sizes, passages = self.sizes, self.squad.passages
        told = [
            Told(one.question.question, answer, passages[one.row])
            for one in self.asked
            for answer in one.question.answers
            if place_of(answer, passages[one.row].text)
        ]
        return self._copies(self.start(), Extracts(told, self.contexts, sizes.batch, seed=sizes.seed), sizes.reading, "reading")

    def by_heart(self) -> Bart:
        """Has filled gaps in every article, without seeing it; but for sentences that are too long to be read whole.

        The mask stands in a sentence as text, which `Contexts` spells out like any other: three tokens, not BERT's one.
        """
        sizes, tokenizer = self.sizes, self.encoder.tokenizer
        every = list(gaps(self.squad.passages, tokenizer.mask_token, seed=sizes.seed))
        frames = tokenizer([one.question for one in every], verbose=False)["input_ids"]
        told = [one for one, frame in zip(every, frames, strict=True) if len(frame) < sizes.max_length - 8]  # for separators
        return self._copies(self.start(), Extracts(told, self.contexts, sizes.gaps_batch, seed=sizes.seed), sizes.gaps, "gaps")

    def _copies(self, bart: Bart, draw: Extracts, settings: Settings, name: str) -> Bart:
        torch.manual_seed(self.sizes.seed)
        objective = Copying(bart)
        self.logs[name] = train(objective, draw, settings, self.kept / name, title=name, progress=self.progress)
        return bart.eval()

    def finetuned(self, model: RagModel, recipe: Recipe, name: str) -> RagModel:
        """The model, trained on question–answer pairs: which passage to read nobody says."""
        self.logs[name] = finetune(
            model, self.pairs, recipe, self.kept / name, seed=self.sizes.seed, title=name, progress=self.progress
        )
        return model


@dataclass(frozen=True)
class Scores:
    """For each question what was answered, whether that is exactly an answer, how much of one it is, and whether one of the
    passages has one; and the seconds that all took."""

    said: tuple[str, ...]
    right: tuple[bool, ...]
    f1: tuple[float, ...]
    found: tuple[bool, ...]
    seconds: float


def scores(model: RagModel, asked: Sequence[Asked], k: int, spelling: Spelling, title: str, progress: bool = True) -> Scores:
    """Answer each question from k passages, greedily under each, and compare."""
    said, right, f1, found = [], [], [], []
    start = time.perf_counter()
    with tqdm(total=len(asked), desc=title, unit="question", disable=not progress) as bar:
        for batch in batches([one.question for one in asked], k):
            for question, answer in zip(batch, model.answer([one.question for one in batch], k, beams=1), strict=True):
                said.append(spelled(answer, model.contexts, spelling))
                right.append(exact_match(said[-1], question.answers))
                f1.append(f1_score(said[-1], question.answers))
                found.append(any(has_answer(z.text, question.answers) for z in answer.passages))
            bar.update(len(batch))
    return Scores(tuple(said), tuple(right), tuple(f1), tuple(found), time.perf_counter() - start)


def spelled(answer: Answer, contexts: Contexts, spelling: Spelling) -> str:
    """An answer as an article writes it; where none has these words, as the tokenizer does. For all systems alike."""
    special = set(contexts.tokenizer.all_special_ids)
    return spelling([token for token in answer.hypotheses[0].tokens if token not in special]) or answer.text


def evaluate(run: Run, work: Path) -> tuple[list[Result], dict[str, Scores]]:
    """Train what has to be trained, and ask every system the questions about the articles held out."""
    sizes, squad, contexts, encoder = run.sizes, run.squad, run.contexts, run.encoder
    passages = PassageStore.write(work / "passages", squad.passages)
    spelling = Spelling(encoder.tokenizer, (passage.text for passage in squad.passages))
    index, k, own = index_of(encoder, squad.passages), sizes.endtoend.k, dict[str, Scores]()

    def ask(name: str, model: RagModel, k: int) -> None:
        own[name] = scores(model, run.held, k, spelling, name, run.progress)

    model = RagModel(run.reader(), contexts, encoder).attach(index, passages)
    ask(FROZEN, model, k)
    ask(RAG, run.finetuned(model, sizes.endtoend, "end to end"), k)
    right = RagModel(model.generator, contexts)
    ask(RIGHT, right.attach(_right(squad), passages), 1)
    heart = RagModel(run.by_heart(), contexts)
    heart.retriever = no_passages(work / "no passages")
    ask(CLOSED_BOOK, run.finetuned(heart, sizes.closed_book, CLOSED_BOOK), 1)
    return results(own), own


def _right(squad: Squad) -> GivenIndex:
    rows: dict[str, list[int]] = {}
    for one in squad.asked:
        rows.setdefault(one.question.question, []).append(one.row)
    return GivenIndex(rows, len(squad.passages))


def results(own: Mapping[str, Scores]) -> list[Result]:
    """Each system's exact match and F1, whether its passages had an answer, and by how much RAG is better than the others."""
    found = []
    for name, one in own.items():
        n = len(one.right)
        for metric, hits in (("exact_match", sum(one.right)), ("recall", sum(one.found))):
            found.append(Result(TASK, name, metric, hits / n, *wilson_interval(hits, n), n))
        # Against one that always scores 0: the mean, with the interval of a mean.
        found.append(Result(TASK, name, "f1", *paired_difference(one.f1, [0.0] * n), n))
    for name, one in own.items():
        if name != RAG:
            pairs = {"exact_match": (own[RAG].right, one.right), "f1": (own[RAG].f1, one.f1)}
            for metric, (ours, theirs) in pairs.items():
                found.append(Result(TASK, f"{RAG} − {name}", metric, *paired_difference(ours, theirs), len(ours)))
    return found


def report(run: Run, found: Sequence[Result], own: Mapping[str, Scores]) -> dict[str, Any]:
    """Everything that was measured, as plain values."""
    samples = [
        {"question": run.held[i].question.question, "answers": run.held[i].question.answers}
        | {name: each.said[i] for name, each in own.items()}
        for i in range(0, len(run.held), max(len(run.held) // SHOWN, 1))
    ]
    return {
        "machine": machine(),
        "sizes": asdict(run.sizes),
        "questions": {"training": len(run.asked), "pairs": len(run.pairs), "asked": len(run.held)},
        "articles held out": sorted({run.squad.passages[one.row].title for one in run.held}),
        "seconds": {name: round(_seconds_of(log)) for name, log in run.logs.items()}
        | {f"asking, {name}": round(each.seconds) for name, each in own.items()},
        "results": [asdict(each) for each in found],
        "logs": run.logs,
        "answers": samples,
    }


def _seconds_of(log: Sequence[Row]) -> float:
    """How long a training took, the parts before a kill as well."""
    return sum(row.get("seconds", 0.0) for row in log)


def main() -> None:
    from minirag.retrieval.pretrained import minilm

    parser = argparse.ArgumentParser(description="RAG against closed book on SQuAD, articles held out.")
    parser.add_argument("squad", type=Path, help="SQuAD 1.1's file, or a folder of paragraphs and questions")
    parser.add_argument("out", type=Path, help="where the results are written, as JSON")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/language"), help="folder of the trainings (default: %(default)s)"
    )
    arguments = parser.parse_args()
    run = Run(read_squad(arguments.squad), minilm(), arguments.work)
    with tempfile.TemporaryDirectory() as folder:
        found, own = evaluate(run, Path(folder))
    write_json(arguments.out, report(run, found, own))


if __name__ == "__main__":
    with told_in_one_sentence():
        main()
