"""RAG trained end to end on MiniWiki, beside what it is compared with: the paper's claims on two cores.

Every variant is the same model, fine-tuned by the same recipe on the same question–answer pairs; what differs is where its
passages come from (`FINDS`), whether the query encoder learns, and the sum over passages. It is measured on questions whose
facts were asked in training ("asked": the same questions again), on those whose facts never were ("new"), and on natural
language ("prose"), where each question is one pair of a comparison between two systems.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.examples import Example
from minirag.corpus.miniwiki.snapshots import YEARS, snapshot
from minirag.corpus.passages import Passage, split_articles
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.evaluation.answering import batches
from minirag.evaluation.run import QuestionSet, Result
from minirag.files import fingerprint_of
from minirag.paths import data_dir
from minirag.rag.answer import Answer
from minirag.rag.checkpoints import from_pretrained, reader
from minirag.rag.marginalize import Scheme
from minirag.rag.model import RagModel
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.bm25 import BM25Index
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.retriever import Retriever
from minirag.retrieval.standins import GivenIndex, RandomIndex, no_passages
from minirag.tasks.metrics import exact_match, has_answer, paired_difference, wilson_interval
from minirag.tasks.openqa import Question
from minirag.training.finding import QUESTIONS, examples_of
from minirag.training.finetune import Recipe, finetune
from minirag.training.state import Row
from minirag.training.targets import QuestionAnswer, answers_found

Finds = Literal["bi-encoder", "BM25", "random", "given", "nothing"]


@dataclass(frozen=True)
class Variant:
    """A way to answer: the sum over passages, where they come from, whether the query encoder learns, and how many times
    the recipe's steps and its rate it learns with."""

    name: str
    scheme: Scheme = "sequence"
    finds: Finds = "bi-encoder"
    learns: bool = True
    times: int = 1

    def passages(self, k: int) -> int:
        """How many are read where the others read k."""
        return 1 if self.finds == "nothing" else k


RAG = (Variant("RAG-Sequence"), Variant("RAG-Token", "token"))
# It begins with a BART that has never seen a question, and learns nothing at the rate that suits the reader. Its contexts are
# so short that ten times as many steps still take less time than the others'.
CLOSED_BOOK = Variant("closed book", finds="nothing", learns=False, times=10)
ABLATIONS = (
    Variant("RAG-Sequence, frozen", learns=False),
    Variant("RAG-Token, frozen", "token", learns=False),
    Variant("RAG-Sequence, BM25", finds="BM25", learns=False),
    Variant("RAG-Token, BM25", "token", finds="BM25", learns=False),
    Variant("random passages", finds="random", learns=False),
    Variant("right passages", finds="given", learns=False),
)


class Library:
    """What all variants read from: MiniWiki's passages under the bi-encoder's vectors and under BM25, in a folder; and the
    folder of their trainings, by default `runs` in it."""

    def __init__(self, wiki: MiniWiki, encoder: BiEncoder, folder: str | Path, runs: Path | None = None) -> None:
        self.wiki, self.encoder, self.folder = wiki, encoder, Path(folder)
        self.runs = runs or self.folder / "runs"
        self._memories: dict[tuple[int, bool], tuple[ExactIndex | BM25Index, PassageStore]] = {}
        self.passages = PassageStore.write(self.folder / "passages", wiki.passages)

    @cached_property
    def fingerprint(self) -> str:
        """A name for what trainings begin with: passages, bi-encoder, generators."""
        folders = (data_dir() / "checkpoints" / name for name in ("reader", "bart"))
        generators = ((folder / "checksums.json").read_text(encoding="utf-8") for folder in folders)
        return fingerprint_of(self.passages.fingerprint, self.encoder.fingerprint, *generators)

    @cached_property
    def vectors(self) -> ExactIndex | BM25Index:
        return index_of(self.encoder, self.wiki.passages)

    @cached_property
    def words(self) -> ExactIndex | BM25Index:
        return index_of(None, self.wiki.passages)

    @cached_property
    def given(self) -> GivenIndex:
        """For each question of every set the passages that tell its fact."""
        rows_of = {}
        for task in QUESTIONS:
            for example in (one for some in self.wiki.by_split(task).values() for one in some):
                ids = dict.fromkeys(id for place in self.wiki.all_places_of(example) for id in place.passages)
                rows_of[example.text] = [int(id) - 1 for id in ids]
        return GivenIndex(rows_of, len(self.passages))

    def memory_of(self, year: int, words: bool) -> tuple[ExactIndex | BM25Index, PassageStore]:
        """MiniWiki and that year's pages on offices and holders, under vectors or under BM25. Passage encoder and index are
        fixed, so one memory serves every variant."""
        if (year, words) not in self._memories:
            pages = [page.article for page in snapshot(self.wiki.offices, year, self.wiki.links)]
            folder = self.folder / "snapshots" / str(year)
            passages = PassageStore.write(folder, split_articles([*self.wiki.articles, *pages]))
            self._memories[year, words] = index_of(None if words else self.encoder, list(passages)), passages
        return self._memories[year, words]

    def model(self, variant: Variant, seed: int = 0) -> RagModel:
        """The variant before it is fine-tuned: the reader that ships, or, closed book, the BART that has read the articles."""
        dense = variant.finds == "bi-encoder"
        start = from_pretrained(data_dir() / "checkpoints" / "bart") if variant.finds == "nothing" else reader()
        model = RagModel(start.generator, start.contexts, self.encoder if dense else None, variant.scheme)
        if model.query_encoder is not None:
            model.query_encoder.requires_grad_(variant.learns)
        if variant.finds == "nothing":
            model.retriever = no_passages(self.folder / "no passages")
            return model
        indexes = {"bi-encoder": "vectors", "BM25": "words", "given": "given"}
        chance = RandomIndex(len(self.passages), seed)
        return model.attach(getattr(self, indexes[variant.finds]) if variant.finds in indexes else chance, self.passages)

    def pairs(self) -> list[QuestionAnswer]:
        """The training questions of all four tasks. MiniWiki's answers have many spellings, and so are treated as the paper
        treats TriviaQA's: those count that stand in the passages found (of four thousand the top 20, not 1,000)."""
        asked = [question_of(example) for example in examples_of(self.wiki, "train")]
        return answers_found(asked, Retriever(self.words, self.passages), k=20)


def index_of(encoder: BiEncoder | None, passages: Sequence[Passage]) -> ExactIndex | BM25Index:
    """An exact index of the encoder's vectors; without an encoder BM25."""
    if encoder is None:
        words = BM25Index()
        words.add(passages)
        return words
    index = ExactIndex(encoder.dim)
    index.add(encoder.encode_passages(passages))
    return index


def question_of(example: Example) -> Question:
    return Question(example.id, example.text, example.answers)


def question_sets(wiki: MiniWiki, count: int, seed: int = 0) -> list[QuestionSet]:
    """`count` questions each, drawn from all four tasks: "asked" in training, "new" (the test sets: their facts were never
    asked), and on "prose"."""
    sets = {"asked": examples_of(wiki, "train"), "new": examples_of(wiki, "test"), "prose": wiki.by_split("nq")["prose"]}
    drawn = {name: random.Random(f"{seed} {name}").sample(some, min(count, len(some))) for name, some in sets.items()}
    return [QuestionSet(name, tuple(map(question_of, some))) for name, some in drawn.items()]


@dataclass(frozen=True)
class Marks:
    """For each question of a set whether it was answered rightly, and whether an answer stood in one of its passages."""

    right: tuple[bool, ...]
    found: tuple[bool, ...]


def marks(model: RagModel, questions: Sequence[Question], k: int, **search: Any) -> Marks:
    """Retrieve `k` passages, answer as the model's scheme is decoded, and compare."""
    right, found = [], []
    for batch in batches(questions, k):
        for question, answer in zip(batch, model.answer([one.question for one in batch], k, **search), strict=True):
            right.append(exact_match(answer.text, question.answers, question.match))
            found.append(any(has_answer(z.text, question.answers, question.match) for z in answer.passages))
    return Marks(tuple(right), tuple(found))


def trained(
    library: Library, variant: Variant, recipe: Recipe, pairs: Sequence[QuestionAnswer], seed: int = 0, progress: bool = True
) -> tuple[RagModel, list[Row]]:
    """The variant, fine-tuned; and the log. Its folder in the library's `runs` bears the variant's name and a fingerprint of
    all that the training is made from, so that a run is taken up only where it would come out the same."""
    model, times = library.model(variant, seed), variant.times
    own = replace(recipe, k=variant.passages(recipe.k), rate=times * recipe.rate, steps=times * recipe.steps)
    asked = (f"{pair.question}\t{pair.answer}" for pair in pairs)
    made_from = fingerprint_of(library.fingerprint, repr(variant), repr(own), *asked)[:12]
    folder = library.runs / f"{variant.name}, seed {seed}, {made_from}"
    return model, finetune(model, pairs, own, folder, seed=seed, title=variant.name, progress=progress)


def results_of(system: str, task: str, own: Marks) -> list[Result]:
    """Exact match and answer recall as shares with their intervals."""
    return [_share(task, system, own.right), replace(_share(task, system, own.found), metric="recall")]


def difference(system: str, other: str, task: str, ours: Marks, theirs: Marks) -> Result:
    """By how much `system` answers more questions rightly than `other`."""
    return Result(task, f"{system} − {other}", "exact_match", *paired_difference(ours.right, theirs.right), len(ours.right))


Year = int


def hot_swap(model: RagModel, library: Library, k: int) -> dict[tuple[Year, Year], tuple[bool, ...]]:
    """The index is exchanged, nothing else (§4.5): for each year's snapshot of the offices, and each year's holders, whether
    "Who is {position}?" is answered with that year's holder. By (year of the index, year of the holders)."""
    hits: dict[tuple[Year, Year], tuple[bool, ...]] = {}
    before, wiki = model.retriever, library.wiki
    try:
        for year in YEARS:
            model.attach(*library.memory_of(year, words=model.encoder is None))
            said = [
                answer.text for batch in batches(wiki.offices, k) for answer in model.answer([o.question() for o in batch], k)
            ]
            for other in YEARS:
                names = [(office.holders[other].name, *office.holders[other].aliases) for office in wiki.offices]
                hits[year, other] = tuple(exact_match(text, own) for text, own in zip(said, names, strict=True))
    finally:
        model.retriever = before
    return hits


@dataclass(frozen=True)
class Comparison:
    """What variants, trained alike, came to: results on each set, the training logs, and the hot-swap's shares by
    (year of the index, year of the holders), by the variants' names."""

    sets: Sequence[tuple[str, int]]
    results: Sequence[Result]
    logs: Mapping[str, Sequence[Row]]
    swaps: Mapping[str, Mapping[tuple[Year, Year], Result]]
    recipe: Recipe
    pairs: int
    answer: Answer | None  # of the first variant, to a new question that it answers rightly, if there is one

    def of(self, task: str, system: str, metric: str = "exact_match") -> Result | None:
        """The result of that name, or None where nothing of the kind was measured."""
        wanted = (task, system, metric)
        return next((each for each in self.results if (each.task, each.system, each.metric) == wanted), None)


@dataclass(frozen=True)
class Measured:
    """What one variant, trained, came to: its log, its marks on each set, and the hot-swap by (year of the index, of the
    holders); and its answer to a new question that it answers rightly, if there is one."""

    name: str
    log: Sequence[Row]
    marks: Mapping[str, Marks]
    swaps: Mapping[tuple[Year, Year], tuple[bool, ...]]
    answer: Answer | None


def measured(
    library: Library, variant: Variant, recipe: Recipe, pairs: Sequence[QuestionAnswer], count: int, seed: int, progress: bool
) -> tuple[Measured, RagModel]:
    """Train the variant and measure it on `count` questions of each set; where it searches, also by the hot-swap."""
    model, log = trained(library, variant, recipe, pairs, seed, progress)
    k, sets = variant.passages(recipe.k), question_sets(library.wiki, count)
    own = {each.name: marks(model, each.questions, k, beams=1) for each in sets}
    searches = variant.finds in ("bi-encoder", "BM25")
    swaps = hot_swap(model, library, k) if searches else {}
    return Measured(variant.name, log, own, swaps, _right_answer(model, sets[1].questions, own[sets[1].name], k)), model


def compare(
    library: Library, variants: Sequence[Variant], recipe: Recipe, count: int, seed: int = 0, progress: bool = True
) -> Comparison:
    """Train every variant by the recipe, measure it on `count` questions of each set, and compare it with the last one."""
    pairs = library.pairs()
    each = [measured(library, variant, recipe, pairs, count, seed, progress)[0] for variant in variants]
    return compared(each, recipe, len(pairs))


def compared(those: Sequence[Measured], recipe: Recipe, pairs: int) -> Comparison:
    """All of them side by side, and by how much each is better than the last one."""
    results = [result for one in those for name, own in one.marks.items() for result in results_of(one.name, name, own)]
    last = those[-1]
    results += [
        difference(one.name, last.name, name, own, last.marks[name]) for one in those[:-1] for name, own in one.marks.items()
    ]
    swaps = {
        one.name: {years: _share("hot-swap", one.name, hits) for years, hits in one.swaps.items()} for one in those if one.swaps
    }
    sets = [(name, len(own.right)) for name, own in last.marks.items()]
    logs = {one.name: one.log for one in those}
    answer = next((one.answer for one in those if one.answer), None)
    return Comparison(sets, results, logs, swaps, recipe, pairs, answer)


def _right_answer(model: RagModel, questions: Sequence[Question], own: Marks, k: int) -> Answer | None:
    right = [question.question for question, does in zip(questions, own.right, strict=True) if does]
    return model.answer(right[:1], k, beams=1)[0] if right else None


def _share(task: str, system: str, hits: Sequence[bool]) -> Result:
    if not hits:
        raise MiniragError(f"there is nothing to measure {system} on ({task}); give at least one question")
    return Result(task, system, "exact_match", sum(hits) / len(hits), *wilson_interval(sum(hits), len(hits)), len(hits))
