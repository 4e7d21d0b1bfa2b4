"""The main job, end to end: text becomes passages, passages become vectors, vectors an index, and questions find their answers.

It renders MiniWiki, encodes it with the small bi-encoder that ships, searches every question set with BM25, exact search and
IVF at several n_probe, answers some of the questions with the small reader that ships, trains both end to end, puts the
generators that ship to all of the paper's tasks, and writes a report. What it makes stays beside the report and is used again:

    runs/quickstart/miniwiki/nq/{train,dev,test,prose}.jsonl  triviaqa/  webquestions/  …
    runs/quickstart/passages/  vectors/  bm25/  exact/  ivf/      (what each was made from: stages.json)
    runs/quickstart/endtoend/runs/RAG-Sequence, …/                (the trainings, which go on after a kill)
    runs/quickstart/tasks/nq, RAG-Token/, …/                      (predictions on the paper's tasks, which go on)
    runs/quickstart/results.json  report.html
"""

import dataclasses
import random
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.passages import Article, Passage, split_articles
from minirag.corpus.store import PassageStore
from minirag.doctor import machine
from minirag.errors import MiniragError
from minirag.evaluation import pocket
from minirag.evaluation.answering import Answered, answer_sets, match_result
from minirag.evaluation.endtoend import CLOSED_BOOK, RAG, Comparison, Library, compare
from minirag.evaluation.findings import ANSWERING, BM25, ENCODING, EXACT, RANDOM, Example, Findings, System, ivf
from minirag.evaluation.report import write_report
from minirag.evaluation.run import (
    QuestionSet,
    Rank,
    Remembering,
    Result,
    recall_results,
    search_all,
    time_results,
    write_results,
)
from minirag.evaluation.stages import Stages
from minirag.evaluation.task_report import Measured
from minirag.files import fingerprint_of
from minirag.rag.model import RagModel
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.bm25 import BM25Index
from minirag.retrieval.encode import encode_corpus
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.ivf import IVFIndex
from minirag.retrieval.memory import Memory, Rows
from minirag.retrieval.retriever import Retriever
from minirag.retrieval.standins import RandomIndex
from minirag.retrieval.vectors import VectorStore
from minirag.tasks.openqa import read_questions
from minirag.training.finetune import POCKET, Recipe

KS = (1, 5, 20)
PROBES = (1, 2, 4, 8, 16, 32)
SETS = {
    "TriviaQA-style, test": "triviaqa/test.json",
    "WebQuestions-style, test": "webquestions/test.jsonl",
    "CuratedTREC-style, test": "curatedtrec/test.tsv",
    "on prose": "nq/prose.jsonl",
    "NQ-style, test": "nq/test.jsonl",
}
TIMED = 512  # questions whose search is timed
ANSWERED, READ = 60, 5  # questions of each set that are answered, from so many passages
COMPARED = 200  # questions of each kind that what was trained is measured on
NOTE = (
    "The questions on facts use the names that the articles use, which favours counting words; those on prose are asked in "
    "other words than the text's, which favours the bi-encoder."
)
SHARD = 1_024  # passages encoded between two savings


@dataclasses.dataclass(frozen=True)
class Material:
    """What the job runs on. The last question set is the one the report leads with."""

    name: str
    articles: Sequence[Article]
    sets: Sequence[QuestionSet]
    encoder: BiEncoder
    encoder_name: str
    note: str = ""
    reader: RagModel | None = None  # answers from the passages; without one, they are only searched
    others: Mapping[str, BiEncoder] = dataclasses.field(default_factory=dict)  # bi-encoders to compare with, by name
    wiki: MiniWiki | None = None  # to train end to end on


@dataclasses.dataclass(frozen=True)
class Probing:
    """An IVF index searched with a fixed n_probe, so that one index stands for several systems."""

    index: IVFIndex
    n_probe: int

    def __len__(self) -> int:
        return len(self.index)

    @property
    def memory(self) -> Memory:
        return self.index.memory

    def search(self, queries: Rows, k: int) -> tuple[Float32[Tensor, "B k"], Int64[Tensor, "B k"]]:
        return self.index.search(queries, k, self.n_probe)


def quickstart(
    folder: str | Path = Path("runs/quickstart"),
    progress: bool = True,
    material: Material | None = None,
    seed: int = 0,
    command: str = "minirag quickstart",
    steps: int = POCKET.steps,
) -> Path:
    """Do all of it in `folder` and return the report's path; the numbers are the same each time, the times are not.

    `material` None is MiniWiki with the checkpoints that ship, and all-MiniLM-L6-v2 beside them where it is installed. Training
    end to end takes `steps`, and the closed book ten times as many. Raises `MiniragError` if `folder` holds, under one of our
    names, something that is not ours.
    """
    start, folder = time.perf_counter(), Path(folder)
    stages = Stages(folder)
    if material is None:
        material = stages.timed("rendering MiniWiki", lambda: miniwiki(folder / "miniwiki"))
    if not material.sets:
        raise MiniragError("there is no question set to search; give at least one")
    encoder = Remembering(material.encoder)
    passages, systems, sizes = build(stages, material, encoder, seed, progress)
    stages.timed("encoding questions", lambda: _encode_questions(encoder, material.sets, progress))
    named = {system.name: retriever for system, retriever in systems.items()}
    ranks = stages.timed("searching", lambda: search_all(named, material.sets, max(KS), progress))
    results = [
        result
        for each in material.sets
        for name in named
        for result in recall_results(each.name, name, ranks[each.name, name], KS)
    ]
    answered = stages.timed("answering", lambda: _answers(material, systems, seed, progress))
    results += [match_result(task, system, own) for (task, system), own in answered.items()]
    results += stages.timed("timing", lambda: _times(material, systems, encoder))
    trained = stages.timed("training end to end", lambda: _trained(material, folder / "endtoend", steps, seed, progress))
    results += trained.results if trained else []
    tasks = stages.timed("the paper's tasks", lambda: _tasks(material, systems, folder, progress))
    results += pocket.results(tasks)
    findings = Findings(
        corpus=material.name,
        note=material.note,
        encoder=f"{material.encoder_name} ({encoder.fingerprint})",
        sets=[(each.name, len(each.questions)) for each in material.sets],
        systems=list(systems),
        results=results,
        examples=_examples(material.sets[-1], systems, ranks, seed),
        answered=answered.get((material.sets[-1].name, next(iter(ANSWERING))), []),
        sizes={"articles": len(material.articles), "passages": len(passages), "dimensions": material.encoder.dim} | sizes,
        list_sizes=torch.bincount(_ivf(systems).list_of, minlength=_ivf(systems).n_lists),
        stages=stages.log,
        machine=machine(),
        command=command,
        seed=seed,
        seconds=time.perf_counter() - start,
        trained=trained,
        tasks=pocket.tables(tasks, folder / "miniwiki") if tasks else [],
    )
    write_results(folder / "results.json", results)
    write_report(folder / "report.html", findings)
    return folder / "report.html"


def miniwiki(folder: Path) -> Material:
    """MiniWiki as it ships, the files of its tasks written to a folder, and its open questions read back."""
    from minirag.corpus.miniwiki import publish
    from minirag.rag.checkpoints import reader
    from minirag.retrieval.pretrained import has_minilm, mini_biencoder, minilm

    encoder, wiki = mini_biencoder(), MiniWiki.load()
    publish(folder, wiki)
    sets = [QuestionSet(name, tuple(read_questions(folder / file))) for name, file in SETS.items()]
    others = {"MiniLM": minilm()} if has_minilm() else {}
    return Material("MiniWiki", wiki.articles, sets, encoder, "minirag's mini bi-encoder", NOTE, reader(encoder), others, wiki)


def build(
    stages: Stages, material: Material, encoder: Remembering, seed: int, progress: bool
) -> tuple[PassageStore, dict[System, Retriever], dict[str, int]]:
    """Passages, the retrievers over them by name, and sizes worth telling; every stage is taken from disk where it is there."""
    passages = _passages(stages, list(split_articles(material.articles)), progress)
    vectors = stages.get(
        "vectors",
        (encoder.fingerprint, passages.fingerprint),
        lambda path: encode_corpus(passages, material.encoder, path, SHARD, progress=progress),
        VectorStore.open,
    )
    bm25 = stages.get("bm25", (passages.fingerprint,), lambda path: _bm25(passages, path), BM25Index.load)
    exact = stages.get("exact", (vectors.fingerprint,), lambda path: _exact(vectors, path), ExactIndex.load)
    n_lists = min(round(4 * len(vectors) ** 0.5), len(vectors))  # faiss' rule of thumb
    ingredients = (vectors.fingerprint, str(n_lists), str(seed))
    inverted = stages.get("ivf", ingredients, lambda path: _ivf_of(vectors, n_lists, seed, path), IVFIndex.load)
    systems = {
        RANDOM: Retriever(RandomIndex(len(passages), seed), passages),
        BM25: Retriever(bm25, passages),
        EXACT: Retriever(exact, passages, encoder),
    }
    for name, other in material.others.items():
        systems[System(f"{name}, exact", name)] = _other(stages, name, other, passages, progress)
    for n_probe in [*(probe for probe in PROBES if probe < n_lists), n_lists]:
        systems[ivf(n_probe, n_lists)] = Retriever(Probing(inverted, n_probe), passages, encoder)
    return passages, systems, {"IVF lists": n_lists}


def _other(stages: Stages, name: str, encoder: BiEncoder, passages: PassageStore, progress: bool) -> Retriever:
    """Exact search with a bi-encoder that is there to be compared with."""
    vectors = stages.get(
        f"vectors-{name.lower()}",
        (encoder.fingerprint, passages.fingerprint),
        lambda path: encode_corpus(passages, encoder, path, SHARD, progress=progress),
        VectorStore.open,
    )
    index = ExactIndex(encoder.dim)
    index.add(vectors)
    return Retriever(index, passages, Remembering(encoder))


def _passages(stages: Stages, passages: list[Passage], progress: bool) -> PassageStore:
    content = fingerprint_of(*(field for passage in passages for field in (passage.id, passage.title, passage.text)))
    return stages.get(
        "passages", (content,), lambda path: PassageStore.write(path, passages, progress=progress), PassageStore.open
    )


def _bm25(passages: PassageStore, path: Path) -> BM25Index:
    index = BM25Index()
    index.add(list(passages))
    index.save(path)
    return index


def _exact(vectors: VectorStore, path: Path) -> ExactIndex:
    index = ExactIndex(vectors.shape[1])
    index.add(vectors)
    index.save(path)
    return index


def _ivf_of(vectors: VectorStore, n_lists: int, seed: int, path: Path) -> IVFIndex:
    index = IVFIndex(vectors.shape[1], n_lists)
    index.train(vectors, seed=seed)
    index.add(vectors)
    index.save(path)
    return index


def _ivf(systems: Mapping[System, Retriever]) -> IVFIndex:
    return next(system.index.index for system in systems.values() if isinstance(system.index, Probing))


def _encode_questions(encoder: Remembering, sets: Sequence[QuestionSet], progress: bool) -> None:
    from tqdm.auto import tqdm

    texts = [question.question for each in sets for question in each.questions]
    with tqdm(total=len(texts), desc="encoding questions", unit="question", disable=not progress) as bar:
        for start in range(0, len(texts), 1_024):
            encoder.encode_queries(texts[start : start + 1_024])
            bar.update(len(texts[start : start + 1_024]))


def _answers(
    material: Material, systems: Mapping[System, Retriever], seed: int, progress: bool
) -> dict[tuple[str, str], list[Answered]]:
    """The reader behind exact search, with both schemes, and behind BM25."""
    if material.reader is None:
        return {}
    passages = systems[EXACT].passages
    dense = material.reader.attach(systems[EXACT].index, passages)
    words = material.reader.with_encoder(None).attach(systems[BM25].index, passages)
    models = {name: (words if name.endswith("BM25") else dense, decoder) for name, decoder in ANSWERING.items()}
    return answer_sets(models, material.sets, ANSWERED, READ, seed, progress)


def recipe_of(steps: int) -> Recipe:
    """Training at the pocket scale in so many steps, of which half may be warm-up.

    >>> recipe_of(4).warmup, recipe_of(30).warmup, recipe_of(120) == POCKET
    (2, 10, True)
    """
    return dataclasses.replace(POCKET, steps=steps, warmup=min(POCKET.warmup, steps // 2))


def _trained(material: Material, folder: Path, steps: int, seed: int, progress: bool) -> Comparison | None:
    """RAG-Sequence and RAG-Token beside the closed book, from the checkpoints that ship; old trainings are taken up."""
    if material.wiki is None:
        return None
    library = Library(material.wiki, material.encoder, folder)
    return compare(library, (*RAG, CLOSED_BOOK), recipe_of(steps), COMPARED, seed, progress)


def _tasks(material: Material, systems: Mapping[System, Retriever], folder: Path, progress: bool) -> list[Measured]:
    """The generators that ship, on test examples of every task."""
    if material.wiki is None:
        return []
    own = pocket.systems(material.encoder, systems[EXACT].index, systems[EXACT].passages, folder)
    return pocket.all_tasks(own, folder / "miniwiki", folder / "tasks", progress=progress)


def _times(material: Material, systems: Mapping[System, Retriever], encoder: Remembering) -> list[Result]:
    """Search alone, from the question's vector (BM25: from its words) to ids; the encoding of questions is a row of its own."""
    texts = [question.question for question in material.sets[-1].questions[:TIMED]]
    vectors = encoder.encode_queries(texts)  # [B, D]
    results = time_results(material.name, ENCODING, material.encoder.encode_queries, texts, singles=50, rounds=3)
    for system, retriever in systems.items():
        if system != RANDOM and system.family not in material.others:
            queries = texts if retriever.encoder is None else vectors
            ask = partial(retriever.index.search, k=max(KS))
            results += time_results(material.name, system.name, ask, queries)
    return results


def _examples(
    asked: QuestionSet, systems: Mapping[System, Retriever], ranks: Mapping[tuple[str, str], list[Rank]], seed: int
) -> list[Example]:
    """A question drawn from each way in which the two kinds of retrieval can differ, where there is one."""
    pairs = list(zip(asked.questions, ranks[asked.name, EXACT.name], ranks[asked.name, BM25.name], strict=True))
    kinds = {
        "Both find it at once": [pair for pair in pairs if pair[1] == pair[2] == 1],
        "The bi-encoder finds it, BM25 does not": [pair for pair in pairs if pair[1] == 1 and pair[2] is None],
        "BM25 finds it, the bi-encoder does not": [pair for pair in pairs if pair[1] is None and pair[2] == 1],
        f"Neither finds it among the first {max(KS)}": [pair for pair in pairs if pair[1] is None and pair[2] is None],
    }
    examples = []
    for kind, found in kinds.items():
        if found:
            question, dense, words = random.Random(seed).choice(found)
            system = BM25 if dense is None and words else EXACT
            retrieved = systems[system].search([question.question], 5)[0]
            examples.append(Example(kind, question, system.name, retrieved, {EXACT.name: dense, BM25.name: words}))
    return examples
