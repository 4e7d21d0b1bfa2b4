"""Building an inverted file out of core: over more vectors than memory holds, in stages that a killed run goes on with.

    trained/     the cells, and for codes the quantizer: from a sample that fits into the memory allowed
    coded/       shard by shard, for each row its list and its code: a journal says which shards are done (`vector_writer.py`)
    the index    the lists, filled into mapped files from what was coded; it appears whole, and then the folders go

All stages depend on vectors and settings alone, so the finished index has the same bytes however often the work was killed.
`ExactIndex` has one stage only, and its `save` is it.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from minirag.errors import MiniragError
from minirag.files import fingerprint_of, only_process, read_json, refuse_strangers, write_json
from minirag.retrieval.code_lists import CodeLists, Part, first_blocks
from minirag.retrieval.disk import mapped, read_index, write_index
from minirag.retrieval.ivf import IVFIndex
from minirag.retrieval.ivfpq import IVFPQIndex
from minirag.retrieval.kmeans import PER_CELL, ROWS, SCORES, assign
from minirag.retrieval.list_files import fill_lists
from minirag.retrieval.manifest import is_index
from minirag.retrieval.memory import Memory
from minirag.retrieval.pq import SAMPLE, ProductQuantizer
from minirag.retrieval.vector_writer import VectorSettings, VectorWriter, shard_path
from minirag.retrieval.vectors import VectorStore, advise
from minirag.retrieval.visits import BLOCK

CELL = 4  # bytes of a list's number
COPIES = 2.5  # of the sample that training the cells holds at once, and
CODED_COPIES = 5  # of its part from which codes are learnt
GB = 1_000_000_000

Index = IVFIndex | IVFPQIndex


@dataclasses.dataclass(frozen=True)
class BuildSettings:
    """What decides an index's bytes, beside the vectors."""

    kind: Literal["ivf", "ivfpq"]
    n_lists: int
    n_probe: int = 16
    pieces: int = 64  # bytes of a code
    finalists: int = 200
    iterations: int = 10
    seed: int = 0
    ram: int = 4 * GB  # bytes: bounds the sample, and the vectors held at once

    def sample(self, dim: int) -> int:
        """Vectors to train on: 256 a list, or what fits beside the rest."""
        return min(self.n_lists * PER_CELL, max(int((self.ram - self.beside(dim)) / (COPIES * 4 * dim)), 0))

    def beside(self, dim: int) -> int:
        """Bytes that training needs beside the sample: for the codes' own training, and for a table of products."""
        learning = CODED_COPIES * min(SAMPLE, self.n_lists * PER_CELL) * 4 * dim if self.kind == "ivfpq" else 0
        return learning + 8 * min(ROWS * self.n_lists, SCORES)

    def training(self, dim: int) -> int:
        """Bytes that training needs in all."""
        return self.beside(dim) + int(COPIES * 4 * dim * self.sample(dim))

    def empty(self, dim: int) -> Index:
        """The index before it has learnt anything."""
        if self.kind == "ivf":
            return IVFIndex(dim, self.n_lists, self.n_probe)
        return IVFPQIndex(dim, self.n_lists, self.n_probe, self.pieces, self.finalists)


def build(store: VectorStore, folder: str | Path, settings: BuildSettings, progress: bool = True) -> Index:
    """Build the index over a store, and open it. Call it again with the same arguments after a kill, and it goes on.

    Raises MiniragError if `folder` holds something else, was begun over other vectors or with other settings, or if another
    process builds there.
    """
    final = Path(folder)
    work = final.with_name(f".{final.name}.building")
    refuse_strangers(final, is_index)
    if settings.sample(store.shape[1]) < settings.n_lists:
        raise MiniragError(f"a sample for {settings.n_lists} lists does not fit into {settings.ram:,} bytes; allow more memory")
    work.mkdir(parents=True, exist_ok=True)
    with only_process(work / ".lock", f"another process is building {final}; wait for it, or choose another folder"):
        _begun(work, store, settings, final)
        index = _trained(work / "trained", store, settings, progress)
        coded = _coded(work / "coded", store, index, progress)
        for leftover in final.parent.glob(f".{final.name}.*.tmp"):  # of a run that was killed while it filled in the lists
            shutil.rmtree(leftover)
        _listed(final, store, index, coded, settings, progress)
        shutil.rmtree(work)
    return type(index).load(final, verify=False)


def _begun(work: Path, store: VectorStore, settings: BuildSettings, final: Path) -> None:
    """Refuse to go on with what was begun otherwise."""
    record, path = {"vectors": store.fingerprint, **dataclasses.asdict(settings)}, work / "settings.json"
    if not path.exists():
        write_json(path, record)
    elif (begun := read_json(path)) != record:
        other = [name for name in record if not isinstance(begun, dict) or begun.get(name) != record[name]]
        raise MiniragError(f"{final} was begun with other {' and '.join(other)}; give the same, or delete {work} to begin anew")


def _trained(folder: Path, store: VectorStore, settings: BuildSettings, progress: bool) -> Index:
    """The index without rows: learnt, or as it was learnt before."""
    index, dim = settings.empty(store.shape[1]), store.shape[1]
    if not folder.exists():
        index.train(store, settings.iterations, settings.seed, progress, settings.sample(dim))
        store.release()
        write_index(folder, "trained", {}, lambda _: index.trained(), Memory(dim))
    _, arrays, _ = read_index(folder, "trained", {"centroids"})
    if isinstance(index, IVFIndex):
        index.use_centroids(arrays["centroids"], arrays.get("center"))
    else:
        index.use(arrays["centroids"], arrays["anchors"], ProductQuantizer(arrays["rotation"], arrays["codebooks"]))
    return index


def _coded(folder: Path, store: VectorStore, index: Index, progress: bool) -> VectorWriter:
    """For each row its list's number, and its code if it has one."""
    rows, size = len(store), store.settings.shard_rows
    pieces = index.pieces if isinstance(index, IVFPQIndex) else 0
    learnt = fingerprint_of(*(array.numpy().tobytes() for array in index.trained().values()))
    writer = VectorWriter(folder, VectorSettings(rows, CELL + pieces, "uint8", size, learnt, store.fingerprint))
    with tqdm(total=rows, initial=min(writer.next_shard * size, rows), desc="coding", unit="row", disable=not progress) as bar:
        for shard in range(writer.next_shard, writer.settings.shards):
            first, last = writer.settings.bounds(shard)
            cells, codes = _code(index, store[first:last])
            writer.append(np.hstack([cells.numpy().astype("<i4").view(np.uint8).reshape(-1, CELL), codes.numpy()]))
            store.release()
            bar.update(last - first)
    return writer


def _code(index: Index, vectors: Tensor) -> tuple[Tensor, Tensor]:
    if isinstance(index, IVFPQIndex):
        return index.code(vectors)
    return assign(vectors, index.centroids, index.spherical), torch.empty(len(vectors), 0, dtype=torch.uint8)


def _parts(coded: VectorWriter) -> Iterator[Part]:
    """What `_coded` wrote, shard by shard: rows, lists, codes."""
    for shard in range(coded.settings.shards):
        first, last = coded.settings.bounds(shard)
        packed = np.load(shard_path(coded.folder, shard), allow_pickle=False)  # [n, 4 + M]
        cells = np.ascontiguousarray(packed[:, :CELL]).view("<i4")[:, 0].astype(np.int64)
        yield torch.arange(first, last), torch.from_numpy(cells), torch.from_numpy(np.ascontiguousarray(packed[:, CELL:]))


def _listed(
    final: Path, store: VectorStore, index: Index, coded: VectorWriter, settings: BuildSettings, progress: bool
) -> None:
    """The saved index, its lists filled in where they will lie."""
    memory = Memory(store.shape[1])
    memory.append(store)

    def arrays_for(folder: Path) -> dict[str, Tensor]:
        if isinstance(index, IVFPQIndex):
            return index.trained() | _code_lists(folder, index, coded)
        list_of = torch.cat([cells for _, cells, _ in _parts(coded)] or [torch.empty(0, dtype=torch.int64)])
        arrays = index.trained() | {"list_of": list_of}
        return arrays | (fill_lists(folder, index, store, list_of, settings.ram, progress) if index.in_bytes else {})

    write_index(final, settings.kind, index.settings(), arrays_for, memory)


def _code_lists(folder: Path, index: IVFPQIndex, coded: VectorWriter) -> dict[str, Tensor]:
    sizes = torch.zeros(index.n_lists, dtype=torch.int64)  # [C]
    for _, cells, _ in _parts(coded):
        sizes += torch.bincount(cells, minlength=index.n_lists)
    first = first_blocks(sizes)
    slots = int(first[-1]) * BLOCK
    codes = mapped(folder / "codes.npy", np.uint8, (slots, index.pieces))

    def parts() -> Iterator[Part]:
        for part in _parts(coded):
            yield part
            advise(codes, "MADV_DONTNEED")  # what was filled in is the system's to write down

    lists = CodeLists(torch.from_numpy(codes), torch.full((slots,), -1, dtype=torch.int32), first)
    lists.fill(parts())
    return {"rows": lists.rows, "first": first}
