"""One generator for all of the paper's tasks, over MiniWiki: what a question looks like says which task it is.

    python -m minirag.training.multitask data/checkpoints

| reads | writes |
|---|---|
| a question, "Who wrote Frankenstein?" | a few words |
| a query as people type it, "who wrote frankenstein" | a sentence (MS MARCO) |
| a name, "Frankenstein" | a clue that asks for it (Jeopardy) |
| a claim, "Frankenstein was written by Jane Austen." | its label's word (FEVER) |

RAG-Sequence and RAG-Token begin with the reader that ships, and their passages are found by the bi-encoder that ships, which
is held still: so three generators ship and no encoder more. Closed book, the BART that has read MiniWiki's articles learns the
same. As many examples of each task are drawn, whatever their number.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from minirag.corpus.miniwiki import MiniWiki, publish
from minirag.corpus.store import PassageStore
from minirag.errors import told_in_one_sentence
from minirag.files import fingerprint_of, write_json
from minirag.paths import data_dir
from minirag.rag.checkpoints import from_pretrained, reader
from minirag.rag.model import RagModel
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.bm25 import BM25Index
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.pretrained import mini_biencoder
from minirag.retrieval.retriever import Retriever
from minirag.retrieval.standins import no_passages
from minirag.tasks.openqa import Question
from minirag.tasks.task import TASKS, Task
from minirag.training.finetune import Recipe, finetune
from minirag.training.loop import read_log
from minirag.training.targets import QuestionAnswer, answers_found, answers_matched, each_answer

WORK = Path("runs/multitask")
FILES = {  # of each task in MiniWiki's folder
    "nq": "nq/{}.jsonl",
    "triviaqa": "triviaqa/{}.json",
    "webquestions": "webquestions/{}.jsonl",
    "curatedtrec": "curatedtrec/{}.tsv",
    "msmarco": "msmarco/{}.json",
    "jeopardy": "jeopardy/{}.json",
    "fever3": "fever/{}.jsonl",
    "fever2": "fever/{}.jsonl",
}
LEARNT = tuple(name for name in FILES if name != "fever2")  # its claims are among FEVER's
EACH = 4_000  # examples of each task
TOP = 20  # passages in which answers are looked for: of four thousand the top 20, where the paper takes 1,000 of 21 million
RAG = Recipe(batch=8, k=5, rate=1e-3, matrix_rate=2e-3, steps=3_000, warmup=60, clip=1.0, end=0.03)
BY_HEART = replace(RAG, batch=32, k=1, steps=3_000)
SYSTEMS = {"RAG-Sequence": "rag-sequence", "RAG-Token": "rag-token", "closed book": "closed-book"}  # and their folders


def questions_of(folder: Path, name: str, split: str) -> list[Question]:
    """The examples of a task and a split in a folder that `minirag.corpus.miniwiki.publish` has written."""
    return list(TASKS[name].read(folder / FILES[name].format(split)))


def pairs_of(task: Task, questions: Sequence[Question], retriever: Retriever) -> list[QuestionAnswer]:
    """What is learnt from a task's questions. MiniWiki's answers have many spellings; those count that are found."""
    if task.words:
        return [QuestionAnswer(one.question, task.words[one.answers[0]]) for one in questions]
    if task.answers == "matched":
        return answers_matched(questions, retriever, TOP)
    if task.name in ("msmarco", "jeopardy"):
        return each_answer(questions)
    return answers_found(questions, retriever, TOP)


def balanced(sets: Mapping[str, Sequence[QuestionAnswer]], each: int, seed: int = 0) -> list[QuestionAnswer]:
    """`each` examples of every set: some of a large one, all of a small one and some of them again."""
    drawn = list[QuestionAnswer]()
    for name, some in sets.items():
        again, rest = divmod(each, len(some))
        drawn += [*some] * again + random.Random(f"{seed} {name}").sample(list(some), rest)
    return drawn


def learnt(folder: Path, retriever: Retriever, seed: int = 0) -> list[QuestionAnswer]:
    """The training examples of all tasks, in equal parts; a small wiki may have none of one."""
    names = [name for name in LEARNT if (folder / FILES[name].format("train")).exists()]
    sets = {name: pairs_of(TASKS[name], questions_of(folder, name, "train"), retriever) for name in names}
    return balanced({name: pairs for name, pairs in sets.items() if pairs}, EACH, seed)


def start(system: str, encoder: BiEncoder, index: ExactIndex, passages: PassageStore, folder: Path) -> RagModel:
    """A system before it learns."""
    if system == "closed book":
        plain = from_pretrained(data_dir() / "checkpoints" / "bart")
        model = RagModel(plain.generator, plain.contexts)
        model.retriever = no_passages(folder / "no passages")
        return model
    plain = reader()
    model = RagModel(plain.generator, plain.contexts, encoder, "token" if system == "RAG-Token" else "sequence")
    assert model.query_encoder is not None
    model.query_encoder.requires_grad_(False)
    return model.attach(index, passages)


def make(
    wiki: MiniWiki,
    out: Path,
    work: Path,
    systems: Sequence[str] = tuple(SYSTEMS),
    seed: int = 0,
    recipe: Recipe = RAG,
    by_heart: Recipe = BY_HEART,
    progress: bool = True,
) -> None:
    """Train the systems that are not yet trained, and write their generators to `out`, each with its log."""
    encoder = mini_biencoder()
    index = ExactIndex(encoder.dim)
    index.add(encoder.encode_passages(wiki.passages))
    words = BM25Index()
    words.add(wiki.passages)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        publish(folder / "miniwiki", wiki)
        passages = PassageStore.write(folder / "passages", wiki.passages)
        pairs = learnt(folder / "miniwiki", Retriever(words, passages), seed)
        for system in systems:
            torch.manual_seed(seed)
            model, own = start(system, encoder, index, passages, folder), by_heart if system == "closed book" else recipe
            asked = (f"{pair.question}\t{pair.answer}" for pair in pairs)
            run = work / f"{SYSTEMS[system]}, {fingerprint_of(encoder.fingerprint, repr(own), str(seed), *asked)[:12]}"
            finetune(model, pairs, own, run, seed=seed, title=system, progress=progress)
            _save(model, out / SYSTEMS[system], run, own)


def _save(model: RagModel, folder: Path, run: Path, recipe: Recipe) -> None:
    """The generator alone, rounded to bfloat16: who loads it gives the encoder."""
    alone = RagModel(model.generator, model.contexts, None, model.scheme).bfloat16()
    alone.save_pretrained(folder)
    write_json(folder.parent / f"{folder.name}.json", {"recipe": asdict(recipe), "log": read_log(run)})


def main() -> None:
    parser = argparse.ArgumentParser(description="Train one generator for all tasks, for each system.")
    parser.add_argument("out", type=Path, help="folder for the checkpoints")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the runs, which go on after a kill (%(default)s)")
    parser.add_argument("--system", choices=SYSTEMS, nargs="+", default=list(SYSTEMS), help="which of them (default: all)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the weights are the same each time only with as many threads
    make(MiniWiki.load(), arguments.out, arguments.work, arguments.system)


if __name__ == "__main__":
    with told_in_one_sentence():
        main()
