"""The mini checkpoints that ship, made from nothing: a tokenizer, a bi-encoder, a BART that has read MiniWiki, and a reader.

    torchrun --standalone --nproc-per-node 2 -m minirag.training.minis data/checkpoints

Each is trained by the loop that trains anything here, in a folder of its own under `runs/checkpoints`, and a run that was
killed goes on where it was. What they may know: all of MiniWiki's text, and the *training* questions; of the dev and test sets
no question, and none of their facts as a question.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.worlds import Tellable
from minirag.errors import told_in_one_sentence
from minirag.files import write_json
from minirag.models.bart import Bart, BartConfig
from minirag.models.bart_checkpoints import save_bart
from minirag.models.bert import Bert, BertConfig
from minirag.rag.contexts import Contexts
from minirag.rag.model import COSINES
from minirag.retrieval.biencoder import BiEncoder
from minirag.training.dpr import InBatch
from minirag.training.finding import Finding, examples_of
from minirag.training.loop import read_log, train
from minirag.training.pretrain import Denoising, Writing
from minirag.training.ranks import processes, rank
from minirag.training.reading import Answering, Reading
from minirag.training.settings import Settings
from minirag.training.starts import counting_words, grown, started
from minirag.training.tokenizer import make_tokenizer

WORK = Path("runs/checkpoints")
WORDS = Settings(steps=2_000, rate=5e-3, warmup=100, weight_decay=0.0, end=0.03, save_every=500)
FINDING = Settings(steps=200, rate=5e-4, warmup=50, end=0.03, save_every=100)
DENOISING = Settings(steps=850, rate=2.5e-3, matrix_rate=5e-3, warmup=100, end=0.1, save_every=250)
TOGETHER = Settings(steps=6_000, rate=2.5e-3, matrix_rate=5e-3, warmup=100, end=0.5, save_every=500)
READING = Settings(steps=2_800, rate=1.25e-3, matrix_rate=2.5e-3, warmup=20, end=0.03, save_every=500)


@dataclass(frozen=True)
class Sizes:
    """The networks' sizes and how long each learns; the defaults are what ships."""

    vocab_size: int = 4_096
    positions: int = 320  # tokens of the longest text
    encoder_dim: int = 384
    encoder_layers: int = 1
    encoder_heads: int = 6
    dim: int = 128  # of the BART
    layers: int = 2  # of each of its halves
    heads: int = 4
    words: Settings = WORDS
    finding: Settings = FINDING
    denoising: Settings = DENOISING
    together: Settings = TOGETHER
    reading: Settings = READING
    word_pairs: int = 256  # questions in a batch of the bi-encoder while it has no layers
    pairs: int = 128  # and then
    texts: int = 32  # texts in a batch of a BART
    passages: int = 16  # passages in a batch that is read together, and questions about each
    questions: int = 8
    seed: int = 0


class Minis:
    """The four, one after the other: `tokenizer`, `bi_encoder()`, `bart(encoder)`, `reader(bart)`."""

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
        """Question and passage encoder, one network, trained with in-batch negatives.

        First its words alone, many questions a step, as there are no layers to be computed; then with layers.
        """
        sizes = self.sizes
        torch.manual_seed(sizes.seed)
        dim, longest = sizes.encoder_dim, sizes.positions
        config = BertConfig(len(self.tokenizer), dim, 0, sizes.encoder_heads, 2 * dim, longest)
        words = Bert(replace(config, dropout=0.0, pad_id=self.tokenizer.pad_token_id))
        counting_words(words, self.tokenizer, self.wiki.passages)
        self._finds(words, sizes.word_pairs, sizes.words, "bi-encoder-words", sizes.seed)
        torch.manual_seed(sizes.seed)
        return self._finds(grown(words, sizes.encoder_layers), sizes.pairs, sizes.finding, "bi-encoder", sizes.seed + 1)

    def _finds(self, bert: Bert, batch: int, settings: Settings, name: str, seed: int) -> BiEncoder:
        tokens, longest = self.tokenizer, self.sizes.positions
        encoder = BiEncoder(bert, bert, tokens, "mean", True, "pair", longest, "float32")  # the same digits on every machine
        self._train(InBatch(encoder, COSINES), Finding(self.wiki, batch, seed), settings, name)
        bert.eval()
        return encoder

    def bart(self, encoder: BiEncoder) -> Bart:
        """A BART with the words of the encoder that has restored MiniWiki's passages, and so holds some of what they say."""
        sizes, tokens = self.sizes, self.tokenizer
        torch.manual_seed(sizes.seed)
        halves = (sizes.layers, sizes.layers, sizes.heads, sizes.heads, 4 * sizes.dim, 4 * sizes.dim)
        config = BartConfig(len(tokens), sizes.dim, *halves, sizes.positions)
        bart = Bart(replace(config, dropout=0.0, attention_dropout=0.0, activation_dropout=0.0))
        started(bart, encoder.query_encoder.words.weight)
        rise = sizes.denoising.steps // 2
        draw = Denoising(self.wiki.passages, tokens, sizes.texts, sizes.seed, rise=rise)
        self._train(Writing(bart), draw, sizes.denoising, "bart")
        return bart.eval()

    def reader(self, bart: Bart) -> Bart:
        """The same BART once it has read about worlds that are not true."""
        sizes, contexts = self.sizes, Contexts(self.tokenizer, max_length=self.sizes.positions)
        tellable = Tellable.of(self.wiki)
        many = Reading(tellable, contexts, sizes.passages, sizes.questions, sizes.seed, renewed=150)  # asked about once
        answering = Answering(bart, len(many.kinds))
        self._train(answering, many, sizes.together, "reader-together")
        one = Reading(tellable, contexts, sizes.texts, seed=sizes.seed + 1, away=0.03)  # worlds of its own
        self._train(answering, one, sizes.reading, "reader")
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
        halved = copy.deepcopy(encoder)
        halved.query_encoder.bfloat16()  # the passage encoder is the same network
        halved.save_pretrained(out / "biencoder")
        _keep_log(out / "biencoder", work / "bi-encoder-words", sizes.words, "words.json")
        _keep_log(out / "biencoder", work / "bi-encoder", sizes.finding)
    bart = minis.bart(encoder)
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
    with told_in_one_sentence():
        main()
