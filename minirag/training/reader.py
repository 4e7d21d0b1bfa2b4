"""The small reader that ships: a BART of 1.5 million parameters that finds an answer in a passage.

It is trained in two courses, both on MiniWiki's own text. *Denoising*, BART's objective (§2.2 of Lewis, M. et al. 2019): spans
of a text are each replaced by one `<mask>`, and the whole text is to be written; that is where copying is learnt. *Reading*:
training questions over the passages that answer them, in which the entity and the answer are exchanged anew each time for
others of their kind. Memory is of no use then; what remains is to read. No question of a dev or test split takes part.

    python -m minirag.training.reader data/checkpoints/reader
    python -m minirag.training.reader data/checkpoints/reader --score
"""

import argparse
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.examples import Example
from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.files import write_json
from minirag.models.bart import Bart, BartConfig
from minirag.models.bart_checkpoints import save_bart
from minirag.rag.checkpoints import from_pretrained
from minirag.rag.contexts import Contexts
from minirag.rag.model import RagModel
from minirag.retrieval.biencoder import pad
from minirag.tasks.metrics import exact_match

TASKS = ("nq", "triviaqa", "webquestions", "curatedtrec")  # whose answers are a few words
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # BART's, with BART's ids


@dataclass(frozen=True)
class Course:
    """Sizes of network and training; the defaults are what ships."""

    vocab_size: int = 4_096
    dim: int = 128
    layers: int = 2
    heads: int = 4
    positions: int = 320
    batch: int = 32
    denoising: int = 800  # steps
    reading: int = 4_500
    rate: float = 2.5e-3
    seed: int = 0


@dataclass(frozen=True)
class Asked:
    """A training question with a passage that answers it, and the words in both that may be exchanged."""

    question: str
    answer: str
    entity: str
    passage: Passage
    kind: str  # answers of one kind can stand for each other
    domain: str


def asked(wiki: MiniWiki) -> list[Asked]:
    """Every training question with each passage that tells its fact in the answer's own words."""
    examples = (example for task in TASKS for example in wiki.by_split(task)["train"])
    return [one for example in examples for one in telling(wiki, example)]


def telling(wiki: MiniWiki, example: Example) -> list[Asked]:
    """One question with the passages, four at most, in which one of its answers stands beside its fact."""
    found = []
    kind = f"{example.domain}/{'-'.join(example.relations)}/{example.inverse}"
    numbers = dict.fromkeys(id for place in wiki.all_places_of(example) for id in place.passages)
    for passage in (wiki.passages[int(number) - 1] for number in list(numbers)[:4]):
        answer = next((answer for answer in example.answers if _pattern(answer).search(passage.text)), None)
        if answer is not None:
            found.append(Asked(example.text, answer, example.entity, passage, kind, example.domain))
    return found


def exchanged(one: Asked, answers: dict[str, list[str]], entities: dict[str, list[str]], chance: random.Random) -> Asked:
    """The same question with another entity and another answer, in question and passage alike.

    >>> one = Asked("Where is Bern?", "Switzerland", "Bern", Passage("1", "Bern", "Bern lies in Switzerland."), "in", "city")
    >>> new = exchanged(one, {"in": ["Peru"]}, {"city": ["Lima"]}, random.Random(0))
    >>> new.question, new.answer, new.passage.title, new.passage.text
    ('Where is Lima?', 'Peru', 'Lima', 'Lima lies in Peru.')
    """
    answer, entity = chance.choice(answers[one.kind]), chance.choice(entities[one.domain])
    new = {one.answer.lower(): answer, one.entity.lower(): entity}
    both = re.compile("|".join(_pattern(words).pattern for words in (one.answer, one.entity)), re.IGNORECASE)

    def swap(text: str) -> str:
        return both.sub(lambda match: new[match[0].lower()], text)

    passage = Passage(one.passage.id, swap(one.passage.title), swap(one.passage.text))
    return Asked(swap(one.question), new.get(one.answer.lower(), answer), entity, passage, one.kind, one.domain)


def infilled(tokens: Sequence[int], mask: int, chance: random.Random, begins: float = 0.1) -> list[int]:
    """`tokens` with about a quarter of them gone, in spans of one to five, each span one `mask`.

    A span begins at a token that still stands with probability `begins`.

    >>> infilled(list(range(10, 22)), mask=4, chance=random.Random(1))
    [10, 11, 12, 13, 14, 15, 16, 17, 4, 19, 20, 21]
    """
    out, i = [], 0
    while i < len(tokens):
        if chance.random() < begins:
            i += chance.choice((1, 2, 3, 4, 5))
            out.append(mask)
        else:
            out.append(tokens[i])
            i += 1
    return out


def make_tokenizer(texts: Sequence[str], vocab_size: int) -> Any:
    """A byte-level BPE as BART's is, learnt from these texts, with `<s> … </s>` around what it reads."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> $B </s>", [("<s>", 0), ("</s>", 2)])
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def started(bart: Bart) -> Bart:
    """Weights to start from for a network this narrow; from BART's own, copying was not learnt within thousands of steps.

    BART's standard deviation of 0.02 suits 768 dimensions and is too small for 128: four times as much. And positions start
    as sines and cosines (Vaswani et al. 2017 §3.5), in which "one further on" is the same rotation everywhere, so that a head
    that looks at the neighbour need not be learnt for every position by itself.
    """
    with torch.no_grad():
        for weights in (part.weight for part in bart.modules() if isinstance(part, nn.Linear | nn.Embedding)):
            weights.mul_(4)
        for half in (bart.encoder, bart.decoder):
            rows, dim = half.positions.weight.shape
            angles = torch.arange(rows)[:, None] * 1_000.0 ** (-torch.arange(0, dim, 2) / dim)  # [rows, dim / 2]
            half.positions.weight.copy_(0.11 * torch.cat([angles.sin(), angles.cos()], 1))
    return bart


def train(
    passages: Sequence[Passage], questions: Sequence[Asked], course: Course = Course(), progress: bool = True
) -> tuple[Bart, Any, list[float]]:
    """The reader, its tokenizer, and the loss for each token, a mean over every hundred steps."""
    torch.manual_seed(course.seed)
    chance = random.Random(course.seed)
    tokenizer = make_tokenizer([*(z.text for z in passages), *(one.question for one in questions)], course.vocab_size)
    halves = (course.layers, course.layers, course.heads, course.heads, 4 * course.dim, 4 * course.dim)
    config = BartConfig(len(tokenizer), course.dim, *halves, course.positions)
    bart = started(Bart(replace(config, dropout=0.0, attention_dropout=0.0, activation_dropout=0.0))).train()
    texts = tokenizer([z.text for z in passages], add_special_tokens=False)["input_ids"]
    contexts = Contexts(tokenizer, max_length=course.positions)
    model = RagModel(bart, contexts).train()
    courses = [
        (course.denoising, _denoising(texts, tokenizer, course, chance)),
        (course.reading, _reading(questions, contexts, course, chance)),
    ]
    steps = sum(n for n, _ in courses)
    optimizer = torch.optim.AdamW(bart.parameters(), course.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 100, 1 - 0.97 * step / steps))
    log: list[float] = []
    losses: list[float] = []
    with tqdm(total=steps, desc="training the reader", unit="step", disable=not progress) as bar:
        for n, batches in courses:
            for _, (ids, mask, targets) in zip(range(n), batches, strict=False):
                losses.append(_step(model, optimizer, schedule, ids, mask, targets))
                bar.update()
                if len(losses) == 100:
                    log.append(sum(losses) / 100)
                    bar.set_postfix(loss=f"{log[-1]:.3f}")
                    losses.clear()
    return bart.eval(), tokenizer, log


def _step(model: RagModel, optimizer: Any, schedule: Any, ids: Tensor, mask: Tensor, targets: Tensor) -> float:
    losses = model.loss(ids[:, None], mask[:, None], torch.zeros(len(targets), 1), targets)  # [B], of one document each
    loss = losses.sum() / (targets != model.generator.config.pad_id).sum()
    if not torch.isfinite(loss):
        raise MiniragError("the reader's loss is no longer a number; choose a lower rate")
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    return loss.item()


Batches = Iterator[tuple[Tensor, Tensor, Tensor]]


def _denoising(texts: list[list[int]], tokenizer: Any, course: Course, chance: random.Random) -> Batches:
    """Short pieces first, longer ones later."""
    step = 0
    while True:
        length = 64 if step < course.denoising // 2 else 128
        step += 1
        pieces = []
        for text in chance.choices(texts, k=course.batch):
            first = chance.randrange(max(len(text) - length, 1))
            pieces.append(text[first : first + length])
        frame = [[0, *infilled(piece, tokenizer.mask_token_id, chance), 2] for piece in pieces]
        yield (*pad(frame, 1), pad([[0, *piece, 2] for piece in pieces], 1)[0])


def _reading(questions: Sequence[Asked], contexts: Contexts, course: Course, chance: random.Random) -> Batches:
    """Half of the steps with the sentences around the answer alone, the rest with whole passages."""
    answers = _pools(questions, lambda one: (one.kind, one.answer))
    entities = _pools(questions, lambda one: (one.domain, one.entity))
    everything = [answer for pool in answers.values() for answer in pool]
    step = 0
    while True:
        short = step < course.reading // 2
        step += 1
        batch = []
        for one in chance.choices(questions, k=course.batch):
            anything = {one.kind: everything} if chance.random() < 0.25 else answers
            one = exchanged(one, anything, entities, chance)
            batch.append(one if not short else _shortened(one, chance))
        ids, mask = contexts.of([one.question for one in batch], [[one.passage] for one in batch])
        yield ids[:, 0], mask[:, 0], contexts.targets([one.answer for one in batch])


def _shortened(one: Asked, chance: random.Random) -> Asked:
    sentences = re.split(r"(?<=\.) ", one.passage.text)
    holding = [i for i, sentence in enumerate(sentences) if one.answer in sentence] or [0]
    middle = chance.choice(holding)
    first = max(middle - chance.randrange(3), 0)
    text = " ".join(sentences[first : middle + 1 + chance.randrange(2)])
    return Asked(one.question, one.answer, one.entity, Passage(one.passage.id, one.passage.title, text), one.kind, one.domain)


def _pools(questions: Sequence[Asked], key: Callable[[Asked], tuple[str, str]]) -> dict[str, list[str]]:
    pools: dict[str, dict[str, None]] = {}
    for one in questions:
        group, name = key(one)
        pools.setdefault(group, {})[name] = None
    return {group: list(names) for group, names in pools.items()}


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(words)}(?!\w)", re.IGNORECASE)


def scores(model: RagModel, wiki: MiniWiki, count: int = 150, seed: int = 0) -> dict[str, dict[str, float]]:
    """How well it reads, retrieval aside: exact match on questions of test sets, given a passage that tells the answer.

    `copied` is the share of answers that stand in the passage, right or wrong. `count` questions are drawn from each set.
    """
    found = {}
    for task, split in [*((task, "test") for task in TASKS), ("nq", "prose")]:
        drawn = random.Random(seed).sample(wiki.by_split(task)[split], count)
        told = [one for example in drawn if (one := _first_telling(wiki, example)) is not None]
        right = copied = 0
        for start in range(0, len(told), 32):
            batch = told[start : start + 32]
            ids, mask = model.contexts.of([example.text for example, _ in batch], [[passage] for _, passage in batch])
            answers = [model.contexts.text(y[0].tokens) for y in model.generate(ids, mask, torch.zeros(len(batch), 1))]
            right += sum(exact_match(answer, one.answers) for answer, (one, _) in zip(answers, batch, strict=True))
            copied += sum(answer.lower() in z.text.lower() for answer, (_, z) in zip(answers, batch, strict=True))
        found[f"{task}/{split}"] = {"exact_match": right / len(told), "copied": copied / len(told), "n": len(told)}
    return found


def _first_telling(wiki: MiniWiki, example: Example) -> tuple[Example, Passage] | None:
    passages = (wiki.passages[int(id) - 1] for place in wiki.all_places_of(example) for id in place.passages)
    return next(((example, z) for z in passages if any(_pattern(answer).search(z.text) for answer in example.answers)), None)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the small reader that ships, from nothing.")
    parser.add_argument("out", type=Path, help="folder for the checkpoint")
    parser.add_argument("--threads", type=int, default=1, help="the weights are the same each time only with one")
    parser.add_argument("--score", action="store_true", help="train nothing; print how well the checkpoint reads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.score:
        print(json.dumps(scores(from_pretrained(arguments.out), MiniWiki.load()), indent=1))
        return
    course, wiki = Course(), MiniWiki.load()
    bart, tokenizer, log = train(wiki.passages, asked(wiki), course)
    save_bart(arguments.out, bart.bfloat16(), tokenizer)
    write_json(arguments.out / "training.json", {"course": asdict(course), "losses": [round(loss, 4) for loss in log]})


if __name__ == "__main__":
    main()
