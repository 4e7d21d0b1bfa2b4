"""What the shipped checkpoints can do, measured: the bi-encoder beside BM25, chance and MiniLM; the reader with the right
passage in its hands, alone and among distractors.

    python -m minirag.evaluation.minis results/minis.json
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.examples import Example
from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.corpus.words import pattern
from minirag.errors import told_in_one_sentence
from minirag.evaluation.run import QuestionSet, Result, recall_results, search_all, write_results
from minirag.paths import data_dir
from minirag.rag.checkpoints import from_pretrained, reader
from minirag.rag.model import RagModel
from minirag.retrieval.biencoder import BiEncoder, pad
from minirag.retrieval.bm25 import BM25Index
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.ivf import IVFIndex
from minirag.retrieval.pretrained import has_minilm, mini_biencoder, minilm
from minirag.retrieval.retriever import Retriever
from minirag.retrieval.standins import RandomIndex
from minirag.tasks.metrics import exact_match, wilson_interval
from minirag.tasks.openqa import Question
from minirag.training.finding import QUESTIONS
from minirag.training.reading import earliest

KS = (1, 5, 20)
DISTRACTORS = 4
PROBED = 32  # lists of the IVF index
BATCH = 32  # questions read together
Gold = tuple[Example, Passage]


def retrieval(wiki: MiniWiki, encoders: Mapping[str, BiEncoder], progress: bool = True) -> list[Result]:
    """Answer recall of every system on every question set and split, and on the test questions about unseen entities."""
    with tempfile.TemporaryDirectory() as folder:
        return _retrieval(wiki, PassageStore.write(Path(folder) / "passages", wiki.passages), encoders, progress)


def _retrieval(wiki: MiniWiki, passages: PassageStore, encoders: Mapping[str, BiEncoder], progress: bool) -> list[Result]:
    words = BM25Index()
    words.add(wiki.passages)
    systems = {"random": Retriever(RandomIndex(len(passages)), passages), "BM25": Retriever(words, passages)}
    lists = min(round(4 * len(passages) ** 0.5), len(passages))  # faiss' rule of thumb
    for name, encoder in encoders.items():
        vectors = encoder.encode_passages(wiki.passages)  # [N, D]
        exact, inverted = ExactIndex(encoder.dim), IVFIndex(encoder.dim, lists, n_probe=min(PROBED, lists))
        exact.add(vectors)
        inverted.train(vectors)
        inverted.add(vectors)
        systems[f"{name}, exact"] = Retriever(exact, passages, encoder)
        systems[f"{name}, IVF"] = Retriever(inverted, passages, encoder)
    sets = question_sets(wiki)
    ranks = search_all(systems, sets, max(KS), progress)
    return [
        result
        for each in sets
        for system in systems
        for result in recall_results(each.name, system, ranks[each.name, system], KS)
    ]


def question_sets(wiki: MiniWiki) -> list[QuestionSet]:
    """`nq/train` and so on; `facts/test` are all four together, `unseen/test` those whose entity no training question knows."""
    sets = {f"{task}/{split}": some for task in QUESTIONS for split, some in wiki.by_split(task).items()}
    sets["facts/test"] = [example for task in QUESTIONS for example in sets.get(f"{task}/test", [])]
    sets["unseen/test"] = [example for example in sets["facts/test"] if example.new_entity]
    return [QuestionSet(name, tuple(map(_question, some))) for name, some in sets.items()]


def _question(example: Example) -> Question:
    return Question(example.id, example.text, example.answers)


def reading(model: RagModel, wiki: MiniWiki, count: int = 150, seed: int = 0, progress: bool = True) -> list[Result]:
    """Exact match on test questions, given a passage that tells the answer ("gold"), and with four others beside it, all five
    with the same score: those that BM25 finds first among passages that hold no answer. `count` questions of each set.

    `copied` is the share of answers that stand in the gold passage, right or wrong.
    """
    words = BM25Index()
    words.add(wiki.passages)
    results = []
    for task, split in [*((task, "test") for task in QUESTIONS), ("nq", "prose")]:
        drawn = random.Random(seed).sample(wiki.by_split(task)[split], count)
        told = [one for example in drawn if (one := telling(wiki, example)) is not None]
        others = distractors(wiki, words, [example for example, _ in told])
        gold = answers(model, told, [[]] * len(told), f"{task}/{split}, gold", progress)
        among = answers(model, told, others, f"{task}/{split}, among five", progress)
        for system, given in (("gold", gold), (f"gold and {DISTRACTORS} others", among)):
            right = [exact_match(answer, example.answers) for answer, (example, _) in zip(given, told, strict=True)]
            results.append(_share(f"{task}/{split}", system, "exact_match", right))
        copied = [answer.lower() in passage.text.lower() for answer, (_, passage) in zip(gold, told, strict=True)]
        results.append(_share(f"{task}/{split}", "gold", "copied", copied))
    return results


def remembering(model: RagModel, wiki: MiniWiki, count: int = 150, seed: int = 0) -> list[Result]:
    """How often a BART that has restored MiniWiki's passages fills in a fact: a sentence with its value masked, nothing else.

    `count` facts that training questions ask for, and as many of test questions; the articles tell both.
    """
    results, tokenizer = [], model.contexts.tokenizer
    for split in ("train", "test"):
        drawn = random.Random(seed).sample(wiki.by_split("nq")[split], 4 * count)
        gaps = [gap for example in drawn if (gap := _gap(wiki, example)) is not None][:count]
        hits = []
        for start in range(0, len(gaps), BATCH):
            batch = gaps[start : start + BATCH]
            sources = [_with_a_mask(tokenizer, before, after) for before, after, _ in batch]
            ids, mask = pad(sources, tokenizer.pad_token_id)  # [B, S]
            found = model.generate(ids[:, None], mask[:, None], torch.zeros(len(batch), 1), beams=1, max_length=80)
            texts = [model.contexts.text(hypotheses[0].tokens) for hypotheses in found]
            hits += [pattern(value).search(text) is not None for text, (*_, value) in zip(texts, batch, strict=True)]
        results.append(_share(f"nq/{split}", "closed book", "value filled in", hits))
    return results


def _gap(wiki: MiniWiki, example: Example) -> tuple[str, str, str] | None:
    """A sentence that tells the example's fact by itself: its page's title and what stands before the value, what after, the
    value."""
    for place in wiki.evidence_of(example):
        sentence = place.page.sentences[place.sentence].text
        value = earliest(example.answers, sentence)
        if value is not None:
            before, _, after = sentence.partition(value)
            return f"{place.page.title} / {before.rstrip()}", after, value
    return None


def _with_a_mask(tokenizer: Any, before: str, after: str) -> list[int]:
    first, last = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, after))
    return [tokenizer.bos_token_id, *first, tokenizer.mask_token_id, *last, tokenizer.eos_token_id]


def telling(wiki: MiniWiki, example: Example) -> Gold | None:
    """The example with the first passage that tells its fact in one of its answers' words, if there is one."""
    passages = (wiki.passages[int(id) - 1] for place in wiki.all_places_of(example) for id in place.passages)
    return next(((example, z) for z in passages if any(pattern(answer).search(z.text) for answer in example.answers)), None)


def distractors(wiki: MiniWiki, words: BM25Index, examples: Sequence[Example]) -> list[list[Passage]]:
    """For each example the passages that BM25 finds first among those without an answer."""
    _, ids = words.search([example.text for example in examples], 50)  # [B, 50]
    found = []
    for example, rows in zip(examples, ids.tolist(), strict=True):
        passages = (wiki.passages[row] for row in rows if row >= 0)
        wrong = [z for z in passages if not any(pattern(answer).search(z.text) for answer in example.answers)]
        found.append(wrong[:DISTRACTORS])
    return found


def answers(
    model: RagModel, told: Sequence[Gold], others: Sequence[Sequence[Passage]], title: str, progress: bool
) -> list[str]:
    """The model's answers from the passage that tells it and `others`, where all of them count alike."""
    given: list[str] = []
    for start in tqdm(range(0, len(told), BATCH), desc=title, unit="batch", disable=not progress):
        batch = slice(start, start + BATCH)
        passages = [[passage, *more] for (_, passage), more in zip(told[batch], others[batch], strict=True)]
        ids, mask = model.contexts.of([example.text for example, _ in told[batch]], passages)  # [B, K, S]
        scores = torch.zeros(ids.shape[:2])
        for row, own in enumerate(passages):
            scores[row, len(own) :] = -torch.inf
        given += [model.contexts.text(hypotheses[0].tokens) for hypotheses in model.generate(ids, mask, scores)]
    return given


def _share(task: str, system: str, metric: str, hits: Sequence[bool]) -> Result:
    return Result(task, system, metric, sum(hits) / len(hits), *wilson_interval(sum(hits), len(hits)), len(hits))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the checkpoints that ship.")
    parser.add_argument("out", type=Path, help="file for the results, as JSON")
    arguments = parser.parse_args()
    wiki, encoders = MiniWiki.load(), {"mini": mini_biencoder()}
    if has_minilm():
        encoders["MiniLM"] = minilm()
    denoised = from_pretrained(data_dir() / "checkpoints" / "bart")
    results = retrieval(wiki, encoders) + reading(reader(), wiki) + remembering(denoised, wiki)
    write_results(arguments.out, results)
    for result in results:
        print(f"{result.task:20} {result.system:20} {result.metric:12} {100 * result.value:5.1f} (n = {result.n})")


if __name__ == "__main__":
    with told_in_one_sentence():
        main()
