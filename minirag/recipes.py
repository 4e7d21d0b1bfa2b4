"""The three scales of the course as plain values: what is built, who reads it, how it is trained, what it costs.

    MINIRAG_SCALE=campus MINIRAG_OUT=runs/wikipedia-campus MINIRAG_MODEL=runs/nq jupyter lab notebooks

A notebook asks for the `chosen` scale, `opened` gives it passages, bi-encoder, index and generator, `asked` a task's questions,
and its cells are the same at all three. What pocket needs is made the first time and kept for the next notebook, in `../runs`
as seen from `notebooks/`; for campus and paper `minirag build-wikipedia` has been here before.

| variable | what it names | without it |
|---|---|---|
| `MINIRAG_SCALE` | pocket, campus or paper | pocket |
| `MINIRAG_OUT` | the folder of a finished job of `minirag build-wikipedia` | `../runs/wikipedia-NAME`; pocket: MiniWiki's |
| `MINIRAG_MODEL` | a RAG model or a BART: what `minirag finetune` wrote, or a hub's name | the first below, else the scale's |
| `MINIRAG_SYSTEMS` | a folder of `rag-sequence`, `rag-token`, `closed-book`: trained alike, compared | pocket: what ships |
| `MINIRAG_DATA` | the tasks' files, laid out as `minirag miniwiki --out` does: `nq/train.jsonl`, … | pocket: MiniWiki's |
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from minirag.cli.common import open_encoder, open_index
from minirag.cluster import work
from minirag.cluster.measuring import operations
from minirag.cluster.plan import ALL, PACKED, TEXT
from minirag.cluster.wikipedia import RECIPES
from minirag.cluster.wikipedia import Recipe as Memory
from minirag.cluster.work import Size
from minirag.corpus.miniwiki import MiniWiki, publish
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.evaluation.pocket import systems
from minirag.files import fingerprint_of, read_json
from minirag.models.bart import Bart, BartConfig
from minirag.models.bert import Bert, BertConfig
from minirag.paths import data_dir
from minirag.rag.checkpoints import from_pretrained
from minirag.rag.model import RagModel
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.encode import encode_corpus
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.manifest import MANIFEST
from minirag.retrieval.pq import usual_pieces
from minirag.tasks.openqa import Question
from minirag.training import finetune
from minirag.training.finetune import Recipe as Training
from minirag.training.multitask import FILES, SYSTEMS, questions_of

RUNS = Path("../runs")  # seen from notebooks/
LARGE = BartConfig(50_265, 1_024, 12, 12, 16, 16, 4_096, 4_096)  # BART-large
MINI = BartConfig(4_096, 128, 2, 2, 4, 4, 512, 512, positions=320)


@dataclass(frozen=True)
class Scale:
    """One of the three. `memory` and `training` are the recipes of `minirag build-wikipedia` and `minirag finetune`."""

    name: str
    passages: int
    memory: Memory
    training: Training
    generator: str  # a checkpoint that ships, or a name on the hub
    bert: BertConfig  # the encoders' sizes,
    encoders: int  # and whether question and passage share one network or have two
    bart: BartConfig


SCALES = {
    scale.name: scale
    for scale in (
        Scale(
            *("pocket", 3_921, RECIPES["pocket"], finetune.POCKET, "rag-sequence"),
            *(BertConfig(4_096, 384, 1, 6, 768, 320), 1, MINI),
        ),
        Scale(
            *("campus", 1_000_000, RECIPES["campus"], finetune.CAMPUS, "facebook/bart-base"),
            *(BertConfig(dim=384, layers=6, inner=1_536), 1, BartConfig()),
        ),
        Scale(
            *("paper", ALL, RECIPES["paper"], finetune.PAPER, "facebook/bart-large"),
            *(BertConfig(), 2, LARGE),
        ),
    )
}


@dataclass(frozen=True)
class Opened:
    """What a notebook works with. `model` searches `index` over `passages` with `encoder`, and answers."""

    scale: Scale
    passages: PassageStore
    encoder: BiEncoder
    index: Any
    model: RagModel


def chosen() -> Scale:
    """The scale that MINIRAG_SCALE names, or pocket. MiniragError for a name that is none."""
    name = os.environ.get("MINIRAG_SCALE") or "pocket"
    if name not in SCALES:
        raise MiniragError(f"MINIRAG_SCALE is {name!r}; set it to one of {', '.join(SCALES)}, or unset it")
    return SCALES[name]


def opened(scale: Scale) -> Opened:
    """Passages, encoder, index and generator of a scale, ready to be asked.

    At pocket scale MiniWiki is encoded and indexed exactly, half a minute the first time, and verified each time. At the others
    the job's folder is opened; its checksums were compared when it was built. Raises MiniragError where a job or a model is
    missing, with the command that makes it, and whatever opening them raises.
    """
    named = os.environ.get("MINIRAG_OUT")
    kept = scale.name == "pocket" and not named
    if kept:
        encoder = open_encoder(scale.memory.encoder)
        folder = _kept("job", lambda path: _miniwiki_job(path, encoder))
    else:
        folder = Path(named or RUNS / f"wikipedia-{scale.name}")
        encoder = open_encoder(_finished(scale, folder)["encoder"])
    passages, index = PassageStore.open(folder / "passages", verify=kept), open_index(folder / "index", verify=kept)
    model = _generator(scale)
    if model.encoder is None:  # a BART, or a model whose encoder was left as it is
        model = model.with_encoder(encoder)
    return Opened(scale, passages, model.encoder or encoder, index, model.attach(index, passages).eval())


def asked(scale: Scale, task: str, split: str) -> list[Question]:
    """A task's examples: at pocket scale MiniWiki's, at the others those of the folder in MINIRAG_DATA.

    Tasks are those of `minirag.training.multitask.FILES`, splits train, dev and test. Raises MiniragError where the folder or
    the file is missing, and for a file that cannot be read, with its line.
    """
    file_of(scale, task, split)
    return questions_of(_tasks(scale), task, split)


def file_of(scale: Scale, task: str, split: str) -> Path:
    """Where the examples of a task lie, for what `asked` does not tell of them. Raises MiniragError as `asked` does."""
    path = _tasks(scale) / FILES[task].format(split)
    if not path.exists():
        raise MiniragError(f"{path} does not exist; lay the {split} examples of {task} there, or name another MINIRAG_DATA")
    return path


def _tasks(scale: Scale) -> Path:
    """The folder of the tasks' files."""
    named = os.environ.get("MINIRAG_DATA")
    if not named and scale.name != "pocket":
        raise MiniragError(
            f"no questions are known at scale {scale.name}; name the folder of the tasks' files in MINIRAG_DATA"
            " (`minirag download` lists what can be fetched)"
        )
    return Path(named) if named else _kept("tasks", lambda path: publish(path, MiniWiki.load()))


def rivals(opened: Opened, scratch: str | Path) -> dict[str, RagModel]:
    """RAG-Sequence, RAG-Token and the closed book: the same generator, taught the same questions, each in its own way.

    At pocket scale they ship, at the others MINIRAG_SYSTEMS names their folder. The first two search what is opened.
    """
    scale, named = opened.scale, _three()
    if named is None and scale.name != "pocket":
        raise MiniragError(
            f"no three systems are known at scale {scale.name}; train each with `minirag finetune --recipe {scale.name}` and"
            f" name the folder of {', '.join(SYSTEMS.values())} in MINIRAG_SYSTEMS"
        )
    folder = named or data_dir() / "checkpoints"
    return systems(opened.encoder, opened.index, opened.passages, Path(scratch), folder)


def _three() -> Path | None:
    """The folder that MINIRAG_SYSTEMS names, which holds all three."""
    named = os.environ.get("MINIRAG_SYSTEMS")
    missing = [name for name in SYSTEMS.values() if named and not (Path(named) / name).is_dir()]
    if missing:
        raise MiniragError(f"{named} holds no {missing[0]}; MINIRAG_SYSTEMS names a folder of {', '.join(SYSTEMS.values())}")
    return Path(named) if named else None


def _kept(what: str, make: Callable[[Path], object]) -> Path:
    """A folder that is made once of what ships, and anew once that has changed. Two notebooks may want it at the same time."""
    shipped = (data_dir() / part / "checksums.json" for part in ("miniwiki", "checkpoints/biencoder"))
    folder = RUNS / f"pocket-{what}-{fingerprint_of(*(path.read_text(encoding='utf-8') for path in shipped))[:8]}"
    if folder.exists():
        return folder
    try:
        RUNS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=RUNS) as scratch:
            made = Path(scratch) / what
            make(made)
            made.rename(folder)
    except OSError as error:
        if not folder.exists():  # or else another notebook was quicker, and made the same
            reason = error.strerror or error
            raise MiniragError(f"cannot write {folder}: {reason}; start from a folder like notebooks/") from error
    return folder


def _miniwiki_job(folder: Path, encoder: BiEncoder) -> None:
    """MiniWiki in the layout of a job. Over so few passages exact search is as quick as any other."""
    passages = PassageStore.write(folder / "passages", MiniWiki.load().passages)
    index = ExactIndex(encoder.dim)
    index.add(encode_corpus(passages, encoder, folder / "vectors", progress=False))
    index.save(folder / "index")


def _finished(scale: Scale, folder: Path) -> dict[str, Any]:
    """The settings of the job in the folder."""
    command = f"minirag build-wikipedia --recipe {scale.name} --out {folder}"
    if not (folder / "job.json").exists():
        raise MiniragError(f"{folder} holds no finished memory; build it with `{command}`, or name a job in MINIRAG_OUT")
    if not (folder / "index" / MANIFEST).exists():
        raise MiniragError(f"the job in {folder} is not finished; `{command}` goes on with it")
    settings: dict[str, Any] = read_json(folder / "job.json")["settings"]
    return settings


def _generator(scale: Scale) -> RagModel:
    """The model that MINIRAG_MODEL names, or one of the systems to be compared, or the scale's generator as it comes."""
    named = os.environ.get("MINIRAG_MODEL")
    if named and not Path(named).is_dir() and Path(named).parent.is_dir():  # a path, then, and no name on the hub
        command = f"minirag finetune --recipe {scale.name} --out {named}"
        raise MiniragError(f"MINIRAG_MODEL is {named}, which does not exist; train it with `{command}`, or unset the variable")
    if named:
        return from_pretrained(named)
    three, ships = _three(), data_dir() / "checkpoints" / scale.generator
    if three is not None:
        return from_pretrained(three / SYSTEMS["RAG-Sequence"])
    return from_pretrained(ships if ships.is_dir() else scale.generator)


@dataclass(frozen=True)
class Cost:
    """What a scale asks for, in arithmetic: bytes, and multiplications and additions. Programs come on top of `ram`."""

    passages: int
    download: int  # of text
    weights: int  # bytes of the networks in float32
    disk: int  # text, vectors, index and weights
    ram: int  # to answer fast: all that a search reads of the index, and the networks
    encoding: float  # operations that make the passages' vectors

    def seconds(self, speed: float) -> float:
        """How long encoding, the longest stage, takes at so many operations a second."""
        return self.encoding / speed


def cost(scale: Scale) -> Cost:
    """Counted as `minirag plan` counts.

    >>> paper = cost(SCALES["paper"])
    >>> f"{paper.disk / 1e9:.0f} GB of disk, {paper.ram / 1e9:.1f} GB of memory"
    '54 GB of disk, 4.1 GB of memory'
    """
    n, pocket = scale.passages, scale.name == "pocket"
    size = Size(n, scale.bert.dim, "exact", 4) if pocket else Size(n, scale.bert.dim, pieces=usual_pieces(scale.bert.dim))
    download = 0 if pocket else PACKED  # campus takes the first million of the same file
    weights = 4 * (scale.encoders * parameters(Bert, scale.bert) + parameters(Bart, scale.bart))
    disk = download + n * TEXT + size.vectors + work.on_disk(size) + weights
    return Cost(n, download, weights, disk, work.in_memory(size) + weights, float(n * operations(scale.bert)))


def parameters(network: type[Bert] | type[Bart], config: Any) -> int:
    """How many a network of these sizes has; none is made.

    >>> parameters(Bert, BertConfig()), parameters(Bart, LARGE)
    (108891648, 406291456)
    """
    with torch.device("meta"):
        return sum(weight.numel() for weight in network(config).parameters())
