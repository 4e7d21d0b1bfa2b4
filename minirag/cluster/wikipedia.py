"""All of Wikipedia, end to end: fetched, cut, encoded, indexed, verified, reported; however often the work is killed.

    folder/job.json          what is built, from what, and of each stage how long it took: the one manifest
    folder/downloads/        the published file, checked against its SHA-256
    folder/passages/  vectors/  index/
    folder/calibration.json  the rates that the report's predictions are made from
    folder/report.json  report.md

Each stage leaves something whole, or something it goes on with (`encode_corpus`, `build`); so a second call does what is
missing, and the finished index has the same bytes whether or not the first was killed. The same call over a few thousand
passages is the rehearsal.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from minirag import doctor
from minirag.cluster.calibration import Calibration
from minirag.cluster.measuring import calibrate
from minirag.cluster.plan import stages_of
from minirag.cluster.recall import exact_top, recall
from minirag.cluster.report import as_markdown
from minirag.cluster.work import Kind, Size
from minirag.corpus.download import download, sources
from minirag.corpus.passages import Passage
from minirag.corpus.readers import read_passages_tsv
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.files import atomic_path, only_process, read_json, sha256_of, write_json
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.build import build
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.ivf import IVFIndex
from minirag.retrieval.ivfpq import IVFPQIndex
from minirag.retrieval.manifest import MANIFEST, read_manifest
from minirag.retrieval.pq import usual_pieces
from minirag.retrieval.vectors import VectorStore

FORMAT = "minirag job 1"
ASKED, K, WORDS = 100, 20, 10  # questions that recall is measured with, of so many words each
INDEXES: dict[Kind, Any] = {"exact": ExactIndex, "ivf": IVFIndex, "ivfpq": IVFPQIndex}
Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class Recipe:
    """What is built at one of the three scales. `encoder` as `--encoder` names it."""

    corpus: Literal["miniwiki", "psgs_w100"]
    encoder: str
    limit: int | None = None  # the first so many passages
    kind: Kind = "ivfpq"
    n_probe: int = 16
    finalists: int = 200
    ram: int = 4_000_000_000  # bytes for building the index
    shard_rows: int = 65_536


DPR = "facebook/dpr-question_encoder-single-nq-base,facebook/dpr-ctx_encoder-single-nq-base"
RECIPES = {
    "pocket": Recipe("miniwiki", "mini", shard_rows=1_024),
    # Of 246 lists over 9,623 real passages 16 hold 81 to 86 % of exact search's top 20, and 64 hold 96 to 97 %.
    "campus": Recipe("psgs_w100", "minilm", limit=1_000_000, n_probe=64),
    "paper": Recipe("psgs_w100", DPR, n_probe=128),
}


def build_wikipedia(
    folder: str | Path,
    recipe: Recipe,
    encoder: BiEncoder,
    source: str | Path | None = None,
    engine: Engine = "local",
    calibration: Calibration | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Do what is missing of the job in `folder`, and return its report. `encoder` is what the recipe names, opened.

    `source` is a file in the layout of `psgs_w100.tsv` to take instead of the recipe's corpus. Raises MiniragError if `folder`
    holds something else or a job with other settings, if another process works there, and whatever a stage raises.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with only_process(folder / ".lock", f"another process is building in {folder}; wait for it, or choose another folder"):
        job = _Job(folder, recipe, encoder, Path(source) if source else None, engine, progress)
        job.begin()
        rates = job.calibrated(calibration)
        passages = job.passages()
        store = job.vectors(passages)
        job.index(store)
        found = job.verified(store, passages)
        report = _report(job, rates, passages, store, found)
        write_json(folder / "report.json", report)
        with atomic_path(folder / "report.md") as path:
            path.write_text(as_markdown(report), encoding="utf-8")
    return report


@dataclass
class _Job:
    folder: Path
    recipe: Recipe
    encoder: BiEncoder
    source: Path | None
    engine: Engine
    progress: bool
    stages: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    def begin(self) -> None:
        """Take up the job that lies here, or begin one; what a killed run left half written goes."""
        path = self.folder / "job.json"
        corpus = {"file": self.source.name, "sha256": _sum(self.source)} if self.source else self._published()
        self.settings = {**dataclasses.asdict(self.recipe), **corpus, "fingerprint": self.encoder.fingerprint}
        if path.exists():
            begun = read_json(path)
            if not isinstance(begun, dict) or begun.get("format") != FORMAT:
                raise MiniragError(f"{path} is no job of this version of minirag; choose another folder")
            if other := [name for name, value in self.settings.items() if begun["settings"].get(name) != value]:
                raise MiniragError(
                    f"{self.folder} was begun with other {' and '.join(other)}; give the same, or choose another folder"
                )
            self.stages = begun["stages"]
        elif strange := [each.name for each in self.folder.iterdir() if not each.name.startswith(".")]:
            raise MiniragError(f"{self.folder} holds {strange[0]}, which no job has made; choose another folder")
        for leftover in [*self.folder.glob(".*.tmp"), *self.folder.glob(".*.old")]:
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        self._write()

    def _published(self) -> dict[str, str | None]:
        known = sources().get(self.recipe.corpus)
        return {"file": known.file, "sha256": known.sha256} if known else {"file": self.recipe.corpus}

    def calibrated(self, calibration: Calibration | None) -> Calibration:
        """The rates given, or those measured here, once."""
        path = self.folder / "calibration.json"
        if calibration is None and path.exists():
            return Calibration.load(path)
        rates = calibration or calibrate(self.encoder.dim, usual_pieces(self.encoder.dim), self.encoder)
        rates.save(path)
        return rates

    def passages(self) -> PassageStore:
        """Fetched where they have to be, and stored."""
        folder = self.folder / "passages"
        if not (folder / MANIFEST).exists():
            if self.source is None and self.recipe.corpus == "psgs_w100":
                self._stage("download", lambda: download("psgs_w100", self.folder / "downloads", self.progress), "downloads")
            passages = islice(self._read(), self.recipe.limit)
            self._stage("passages", lambda: PassageStore.write(folder, passages, self.progress), "passages")
        return PassageStore.open(folder, verify=False)

    def _read(self) -> Iterable[Passage]:
        if self.source is None and self.recipe.corpus == "miniwiki":
            from minirag.corpus.miniwiki import MiniWiki

            return MiniWiki.load().passages
        return read_passages_tsv(self.source or self.folder / "downloads" / sources()["psgs_w100"].file)

    def vectors(self, passages: PassageStore) -> VectorStore:
        """Encoded, in float16."""
        folder = self.folder / "vectors"
        if not (folder / MANIFEST).exists():
            self._stage("encode", lambda: self._encode(passages, folder), "vectors")
        return VectorStore.open(folder, verify=False)

    def _encode(self, passages: PassageStore, folder: Path) -> object:
        if self.engine == "ray":
            from minirag.cluster.encode import encode_corpus as encode
        else:
            from minirag.retrieval.encode import encode_corpus as encode  # type: ignore[assignment]
        return encode(passages, self.encoder, folder, self.recipe.shard_rows, "float16", self.progress)

    def size(self, store: VectorStore) -> Size:
        """What is built, as the plan counts it."""
        recipe, (rows, dim) = self.recipe, store.shape
        how = replace(Size(rows, dim, recipe.kind), n_probe=recipe.n_probe, finalists=recipe.finalists, ram=recipe.ram)
        return replace(how, pieces=usual_pieces(dim))

    def index(self, store: VectorStore) -> None:
        """Trained, coded and filled: out of core, and resumed (`build`)."""
        folder = self.folder / "index"
        if not self._is_built(store):
            self._stage("index", lambda: self._build(store, folder), "index")

    def _is_built(self, store: VectorStore) -> bool:
        """Since every setting is the same, an index over these vectors is the one to be built."""
        folder = self.folder / "index"
        if not (folder / MANIFEST).exists() or read_manifest(folder)["kind"] != self.recipe.kind:
            return False
        return read_json(folder / "memory.json")["fingerprint"] == store.fingerprint

    def _build(self, store: VectorStore, folder: Path) -> object:
        if self.recipe.kind != "exact":
            return build(store, folder, self.size(store).settings, self.progress)
        index = ExactIndex(store.shape[1])
        index.add(store)
        return index.save(folder)

    def verified(self, store: VectorStore, passages: PassageStore) -> float:
        """Every byte compared with its checksum, and recall measured; not again if the index is the one that was verified."""
        name = sha256_of(self.folder / "index" / MANIFEST)
        entry = self.stages.get("verify", {})
        if entry.get("index") != name or "seconds" not in entry:
            self._stage("verify", lambda: self._verify(store, passages))
            self.stages["verify"]["index"] = name
            self._write()
        return float(self.stages["verify"]["result"])

    def _verify(self, store: VectorStore, passages: PassageStore) -> float:
        PassageStore.open(passages.path)
        index = INDEXES[self.recipe.kind].load(self.folder / "index")
        count = min(ASKED, len(passages))
        rows = torch.randperm(len(passages), generator=torch.Generator().manual_seed(0))[:count].sort().values.tolist()
        asked = [" ".join(passages[row].text.split()[:WORDS]) for row in rows]
        questions = self.encoder.encode_queries(asked)  # [B, D]
        return recall(index.search(questions, K)[1], exact_top(store, questions, K))

    def _stage(self, name: str, make: Callable[[], object], leaves: str = "") -> None:
        """Do it, and note how long it took. A stage that was killed has more runs than one, and its seconds are the last's."""
        entry = self.stages[name] = {"runs": self.stages.get(name, {}).get("runs", 0) + 1}
        self._write()
        start = time.perf_counter()
        result = make()
        entry["seconds"] = round(time.perf_counter() - start, 3)
        if leaves:
            entry["bytes"] = _bytes(self.folder / leaves)
            entry["manifest"] = sha256_of(path) if (path := self.folder / leaves / MANIFEST).exists() else None
        if isinstance(result, float):
            entry["result"] = result
        self._write()

    def _write(self) -> None:
        write_json(self.folder / "job.json", {"format": FORMAT, "settings": self.settings, "stages": self.stages})


def _sum(path: Path) -> str:
    if not path.is_file():
        raise MiniragError(f"{path} is no file; name one in the layout of psgs_w100.tsv")
    return sha256_of(path)


def _report(job: _Job, rates: Calibration, passages: PassageStore, store: VectorStore, found: float) -> dict[str, Any]:
    """What was built, how long it took beside what was predicted, how large it is, and how much it finds."""
    size = job.size(store)
    planned = {stage.name: stage for stage in stages_of(size, rates, psutil.virtual_memory().total)}
    parts = {"index": ("train", "code", "list")}
    rows = []
    for name, entry in job.stages.items():
        own = [planned[part] for part in parts.get(name, (name,))]
        seconds = sum(stage.seconds for stage in own)
        error = sum(stage.seconds * stage.error for stage in own) / seconds if seconds else 0.0
        rows.append({"stage": name, **entry, "predicted": seconds, "error": error, "how": own[0].how})
    return {
        "settings": job.settings,
        "passages": len(passages),
        "fingerprints": {"passages": passages.fingerprint, "vectors": store.fingerprint},
        "dim": size.dim,
        "lists": 0 if size.kind == "exact" else size.settings.n_lists,
        "stages": rows,
        "bytes": {name: _bytes(job.folder / name) for name in ("downloads", "passages", "vectors", "index")},
        f"recall@{K}": found,
        "questions": f"the first {WORDS} words of {min(ASKED, len(passages))} passages",
        "machine": doctor.machine(),
    }


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
