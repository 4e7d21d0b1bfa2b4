"""The mini checkpoints that ship, made from nothing: a tokenizer, a bi-encoder, a BART that has read MiniWiki, and a reader.

    torchrun --standalone --nproc-per-node 2 -m minirag.training.minis data/checkpoints

Each is trained by the loop that trains anything here, in a folder of its own under `runs/checkpoints`, and a run that was
killed goes on where it was. What they may know: all of MiniWiki's text, and the *training* questions; of the dev and test sets
no question, and none of their facts as a question.
"""

from __future__ import annotations

import argparse
import copy
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.examples import Example
from minirag.corpus.miniwiki.prose import sentences
from minirag.corpus.miniwiki.worlds import Tellable
from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.files import write_json
from minirag.models.bart import Bart, BartConfig
from minirag.models.bart_checkpoints import save_bart
from minirag.models.bert import Bert, BertConfig
from minirag.models.transformer import EncoderLayer
from minirag.rag.contexts import Contexts
from minirag.rag.model import COSINES
from minirag.retrieval.biencoder import BiEncoder
from minirag.training.dpr import InBatch, Pair
from minirag.training.draws import chance_of
from minirag.training.loop import read_log, train
from minirag.training.pretrain import Denoising, Reading, Writing, inverse_cloze
from minirag.training.ranks import processes, rank
from minirag.training.settings import Settings
from minirag.training.together import ReadingTogether, Together
from minirag.training.tokenizer import make_tokenizer

QUESTIONS = ("nq", "triviaqa", "webquestions", "curatedtrec")  # the tasks whose answers are a few words
WORK = Path("runs/checkpoints")
FINDING = Settings(steps=3_000, rate=2.5e-3, warmup=100, end=0.03, save_every=250)
DENOISING = Settings(steps=1_500, rate=2.5e-3, warmup=100, end=0.1, save_every=250)
TOGETHER = Settings(steps=3_000, rate=2.5e-3, matrix_rate=5e-3, warmup=100, end=0.5, save_every=500)
READING = Settings(steps=4_000, rate=1.25e-3, matrix_rate=2.5e-3, warmup=20, end=0.03, save_every=500)


@dataclass(frozen=True)
class Sizes:
    """The networks' sizes and how long each learns; the defaults are what ships."""

    vocab_size: int = 4_096
    dim: int = 128
    layers: int = 2  # of the bi-encoder, and of BART's halves
    heads: int = 4
    positions: int = 320  # tokens of the longest text
    finding: Settings = FINDING
    denoising: Settings = DENOISING
    together: Settings = TOGETHER
    reading: Settings = READING
    pairs: int = 64  # questions in a batch of the bi-encoder
    texts: int = 32  # texts in a batch of a BART
    passages: int = 16  # passages in a batch that is read together, and questions about each
    questions: int = 8
    seed: int = 0


class Finding:
    """Draws what the bi-encoder learns from: training questions with a passage that answers them, and fragments of passages.

    A fragment is a sentence's words, some of them missing, often with the title before it: so also a title that no training
    question names is learnt to be found. Three batches of four are of short pieces of the passages, which is faster.
    """

    def __init__(self, wiki: MiniWiki, batch: int, seed: int = 0, fragments: float = 0.5) -> None:
        self.wiki, self.batch, self.seed, self.fragments = wiki, batch, seed, fragments
        self.asked = [one for one in asked(wiki, "train") if one.right]
        if not self.asked:
            raise MiniragError("no training question has a passage that tells its answer; give a MiniWiki with more facts")

    def __call__(self, step: int) -> list[Pair]:
        chance = chance_of(self.seed, "finding", step)
        pairs = [
            self._fragment(chance) if chance.random() < self.fragments else self._question(chance) for _ in range(self.batch)
        ]
        return pairs if step % 4 == 3 else [replace(pair, positive=_piece(pair.positive, chance)) for pair in pairs]

    def _question(self, chance: random.Random) -> Pair:
        one = chance.choice(self.asked)
        return Pair(one.question, self.wiki.passages[int(chance.choice(one.told)) - 1], (), one.right)

    def _fragment(self, chance: random.Random) -> Pair:
        pair = inverse_cloze(chance.choice(self.wiki.passages), chance)
        kept = chance.choice((1.0, 0.7, 0.4))
        words = [word for word in pair.question.split() if chance.random() < kept] or pair.question.split()
        title = [pair.positive.title] if chance.random() < 0.6 else []
        return replace(pair, question=" ".join(title + words))


@dataclass(frozen=True)
class Told:
    """A question with the ids of the passages that tell its answer (`right`); training takes the first four (`told`)."""

    question: str
    told: tuple[str, ...]
    right: frozenset[str]


def examples_of(wiki: MiniWiki, split: str) -> list[Example]:
    """The examples of a split over the four tasks, as far as the wiki has any."""
    return [example for task in QUESTIONS for example in wiki.by_split(task).get(split, [])]


def asked(wiki: MiniWiki, split: str) -> list[Told]:
    """The questions of a split, over all tasks."""
    made = []
    for example in examples_of(wiki, split):
        ids = tuple(dict.fromkeys(id for place in wiki.all_places_of(example) for id in place.passages))
        made.append(Told(example.text, ids[:4], frozenset(ids)))
    return made


def _piece(passage: Passage, chance: random.Random) -> Passage:
    """A few sentences in a row."""
    parts = sentences(passage.text)
    first = chance.randrange(len(parts))
    return replace(passage, text=" ".join(parts[max(first - 1, 0) : first + 3]))


def started(bart: Bart) -> Bart:
    """Weights to start from for a network this narrow; from BART's own, copying was not learnt within thousands of steps.

    A standard deviation of 0.02 suits 768 dimensions and is too small for 128: four times as much. And positions start as
    sines and cosines (Vaswani et al. 2017 §3.5), in which "one further on" is the same rotation everywhere, so that a head
    that looks at the neighbour need not be learnt for every position by itself.
    """
    with torch.no_grad():
        for weights in (part.weight for part in bart.modules() if isinstance(part, nn.Linear | nn.Embedding)):
            weights.mul_(4)
        for table in (bart.encoder.positions, bart.decoder.positions):
            rows, dim = table.weight.shape
            angles = torch.arange(rows)[:, None] * 1_000.0 ** (-torch.arange(0, dim, 2) / dim)  # [rows, dim / 2]
            table.weight.copy_(0.11 * torch.cat([angles.sin(), angles.cos()], 1))
    return bart


def counting_words(bert: Bert, tokenizer: Any, passages: Sequence[Passage]) -> Bert:
    """Weights with which a bi-encoder begins where BM25 ends: it counts common words, and rare ones count more.

    A token's vector is one that all share plus one of its own, the longer the fewer passages hold the token; and what the
    layers add to it is small at first. So the mean of a text's vectors tells its rare tokens, and training starts from there.
    """
    frames = tokenizer([f"{passage.title} {passage.text}" for passage in passages])["input_ids"]
    holding = Counter(token for ids in frames for token in set(ids))
    counts = torch.tensor([holding[token] for token in range(bert.config.vocab_size)])  # [V]
    rarity = 1 - torch.log(counts + 1.0) / math.log(len(passages) + 1)  # [V], from 0 in all passages to 1 in none
    with torch.no_grad():
        own, shared = torch.randn(bert.words.weight.shape), torch.randn(bert.config.dim)
        bert.words.weight.copy_(0.5 * (0.5 * shared + rarity[:, None] * own))
        for layer in (layer for layer in bert.layers if isinstance(layer, EncoderLayer)):
            attention = layer.attention
            for part in (attention.query, attention.key, attention.value, layer.feed_forward.expand):
                part.weight.mul_(4)
    return bert


class Minis:
    """The four, one after the other: `tokenizer`, `bi_encoder()`, `bart()`, `reader()`."""

    def __init__(
        self,
        wiki: MiniWiki,
        sizes: Sizes = Sizes(),
        work: Path = WORK,
        progress: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        self.wiki, self.sizes, self.work, self.progress, self.device = wiki, sizes, work, progress, device
        self.tokenizer = make_tokenizer(texts_of(wiki), sizes.vocab_size)

    def bi_encoder(self) -> BiEncoder:
        """Question and passage encoder, one network at first, trained with in-batch negatives."""
        sizes = self.sizes
        torch.manual_seed(sizes.seed)
        config = BertConfig(len(self.tokenizer), sizes.dim, sizes.layers, sizes.heads, 4 * sizes.dim, sizes.positions)
        bert = Bert(replace(config, dropout=0.0, pad_id=self.tokenizer.pad_token_id))
        counting_words(bert, self.tokenizer, self.wiki.passages)
        encoder = BiEncoder(bert, bert, self.tokenizer, "mean", normalize=True, template="pair", max_length=sizes.positions)
        self._train(InBatch(encoder, COSINES), Finding(self.wiki, sizes.pairs, sizes.seed), sizes.finding, "bi-encoder")
        bert.eval()
        return encoder

    def bart(self) -> Bart:
        """A BART that has restored MiniWiki's passages, and so holds some of what they say."""
        sizes, tokens = self.sizes, self.tokenizer
        torch.manual_seed(sizes.seed)
        halves = (sizes.layers, sizes.layers, sizes.heads, sizes.heads, 4 * sizes.dim, 4 * sizes.dim)
        config = BartConfig(len(tokens), sizes.dim, *halves, sizes.positions)
        bart = started(Bart(replace(config, dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)))
        rise = sizes.denoising.steps // 2
        draw = Denoising(self.wiki.passages, tokens, sizes.texts, sizes.seed, rise=rise)
        self._train(Writing(bart), draw, sizes.denoising, "bart")
        return bart.eval()

    def reader(self, bart: Bart) -> Bart:
        """The same BART once it has read about worlds that are not true."""
        sizes, contexts = self.sizes, Contexts(self.tokenizer, max_length=self.sizes.positions)
        tellable = Tellable.of(self.wiki)
        many = ReadingTogether(tellable, contexts, sizes.passages, sizes.questions, sizes.seed)
        self._train(Together(bart), many, sizes.together, "reader-together")
        one = Reading(tellable, contexts, sizes.texts, sizes.seed + 1, away=0.03)  # worlds of its own
        self._train(Writing(bart), one, sizes.reading, "reader")
        return bart.eval()

    def _train(self, objective: nn.Module, draw: Any, settings: Settings, name: str) -> None:
        torch.manual_seed(self.sizes.seed)
        objective.to(self.device)
        train(objective, draw, settings, self.work / name, title=f"training the {name}", progress=self.progress)


def texts_of(wiki: MiniWiki) -> list[str]:
    """What the tokenizer is made from: all passages and the training questions."""
    return [*(passage.text for passage in wiki.passages), *(example.text for example in examples_of(wiki, "train"))]


def make(out: Path, work: Path, device: torch.device) -> None:
    """Train all that is not yet trained, and write `biencoder/`, `bart/` and `reader/` to `out`, each with its log."""
    sizes = Sizes()
    minis = Minis(MiniWiki.load(), sizes, work, device=device)
    encoder = minis.bi_encoder()
    if rank() == 0:
        encoder.save_pretrained(out / "biencoder")
        _keep_log(out / "biencoder", work / "bi-encoder", sizes.finding)
    bart = minis.bart()
    if rank() == 0:
        save_bart(out / "bart", copy.deepcopy(bart).bfloat16(), minis.tokenizer)
        _keep_log(out / "bart", work / "bart", sizes.denoising)
    reader = minis.reader(bart)
    if rank() == 0:
        save_bart(out / "reader", copy.deepcopy(reader).bfloat16(), minis.tokenizer)
        _keep_log(out / "reader", work / "reader-together", sizes.together, "together.json")
        _keep_log(out / "reader", work / "reader", sizes.reading)


def _keep_log(folder: Path, run: Path, settings: Settings, name: str = "training.json") -> None:
    """The settings and the log beside the weights."""
    write_json(folder / name, {"settings": asdict(settings), "log": read_log(run)})


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the mini checkpoints that ship, from nothing.")
    parser.add_argument("out", type=Path, help="folder for the checkpoints")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the runs, which go on after a kill (%(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the weights are the same each time only with as many threads
    with processes() as device:
        make(arguments.out, arguments.work, device)


if __name__ == "__main__":
    main()
