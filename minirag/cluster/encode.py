"""Encoding on many machines with Ray Data: a pool of actors, each with an encoder of its own, takes the corpus shard by shard.

One shard of passages is one unit of work, and its batches depend on its passages alone; so the vectors have the same bits as
those of `minirag.retrieval.encode`, as long as the machines are of one kind and each actor has as many threads. Passages and
vectors lie in folders that all machines see under the same path:

    folder/.parts/00007/      shard 7 as a small store of its own, written by a worker whole or not at all
    folder/vectors-…          taken over from there, in order, by the one process that started it all

A worker that is lost is started again, and its shard with it. If that one process is lost, so is nothing that is on disk:
started again, it takes over the parts that agree with their checksums and has the others computed.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from minirag.cluster.machines import connected, one_line_errors, room
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.files import only_process
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.vector_writer import VectorSettings, VectorWriter
from minirag.retrieval.vectors import VectorStore

PARTS = ".parts"
TRIES = 4  # a shard that costs so many workers their lives, say for want of memory, is given up (Ray itself never gives up)


def encode_corpus(
    passages: PassageStore,
    encoder: BiEncoder,
    folder: str | Path,
    shard_rows: int = 65_536,
    dtype: str = "float32",
    progress: bool = True,
    workers: int | None = None,
    threads: int | None = None,
    gpus: int = 0,
) -> VectorStore:
    """`minirag.retrieval.encode.encode_corpus` on a Ray cluster: the one this process is connected to, or the one that the
    environment's RAY_ADDRESS names ("auto" on a machine of the cluster), or else one made of this machine alone.

    `workers` actors (as many as there is room for) of `threads` CPUs (as torch has here) and `gpus` GPUs each. Raises what the
    local one raises, and `MiniragError` for a cluster without room, for a worker that would compute other vectors, and for a
    shard that no worker survives.
    """
    from tqdm.auto import tqdm

    threads = threads or torch.get_num_threads()
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    busy = f"another process is encoding into {folder}; wait for it, or choose another folder"
    with only_process(folder / ".lock", busy), connected() as ray, one_line_errors(ray):
        size = min(workers or len(passages), room(ray, threads, gpus))
        shipped = ray.put(_passages_only(encoder))
        name = encoder.fingerprint
        if gpus:  # another kind of processor may compute in another precision, which is part of the name
            name = ray.get(ray.remote(_name_of).options(num_cpus=threads, num_gpus=gpus).remote(shipped, gpus))
        settings = VectorSettings(len(passages), encoder.dim, dtype, shard_rows, name, passages.fingerprint)
        writer = VectorWriter(folder, settings)
        todo = {shard for shard in range(writer.next_shard, settings.shards) if not _is_finished(folder, settings, shard)}
        (folder / PARTS).mkdir(exist_ok=True)
        for tried in (folder / PARTS).glob("*.tries"):
            tried.unlink()
        made = _computed(sorted(todo), (str(passages.path.resolve()), [shipped], str(folder), settings, threads, gpus), size)
        done = min(writer.next_shard * shard_rows, len(passages))
        with tqdm(total=len(passages), initial=done, desc="encoding", unit="passage", disable=not progress) as bar:
            for shard in range(writer.next_shard, settings.shards):
                while shard in todo:  # they come in whatever order they are finished
                    todo.discard(next(made))
                part = VectorStore.open(_part(folder, shard))  # what other machines wrote is verified here
                writer.append(part[:])
                shutil.rmtree(part.folder)
                bar.update(len(part))
        writer.finish()
        shutil.rmtree(folder / PARTS, ignore_errors=True)
    return VectorStore.open(folder, verify=False)


class ShardEncoder:
    """What an actor is: the passages, the encoder, and as many threads as the single machine has.

    Called with `{"shard": i}`, it writes shard i as a part and answers the same, with an error of ours as text: exceptions come
    out of Ray in another shape.
    """

    def __init__(
        self, passages: str, shipped: list[Any], folder: str, settings: VectorSettings, threads: int, gpus: int
    ) -> None:
        torch.set_num_threads(threads)
        self._path, self._shipped, self._gpus = passages, shipped, gpus
        self.folder, self.settings = Path(folder), settings

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            self._write(int(row["shard"]))
        except MiniragError as error:
            return {**row, "error": str(error)}
        return {**row, "error": ""}

    @functools.cached_property
    def passages(self) -> PassageStore:
        """Opened once for each actor."""
        passages = PassageStore.open(self._path, verify=False)
        _same("passages", passages.fingerprint, self.settings.passages)
        return passages

    @functools.cached_property
    def encoder(self) -> BiEncoder:
        """Unpacked once for each actor."""
        import ray

        encoder = _on_its_device(ray.get(self._shipped[0]), self._gpus)
        _same("encoder", encoder.fingerprint, self.settings.encoder)
        return encoder

    def _write(self, shard: int) -> None:
        first, last = self.settings.bounds(shard)
        where = f"shard {shard}, rows {first} to {last - 1}"
        tried = _part(self.folder, shard).with_suffix(".tries")
        _count_a_try(tried, where)
        vectors = self.encoder.encode_passages(self.passages[first:last])
        try:
            VectorStore.write(_part(self.folder, shard), [vectors], _settings_of_part(self.settings, shard))
        except MiniragError as error:
            raise MiniragError(f"{where}: {error}") from error
        tried.unlink(missing_ok=True)


def _same(what: str, here: str, there: str) -> None:
    if here != there:
        raise MiniragError(
            f"a worker on {os.uname().nodename} has another {what} than the rest (its arithmetic counts); use machines of one "
            "kind that see the same folders"
        )


def _count_a_try(file: Path, where: str) -> None:
    """Remember on disk, as memory is lost with a worker, that this shard was begun once more."""
    if not file.parent.is_dir():
        raise MiniragError(f"{os.uname().nodename} does not see {file.parent}; write to a folder that all machines share")
    with open(file, "a", encoding="utf-8") as tries:
        tries.write(".")
        if tries.tell() > TRIES:
            raise MiniragError(
                f"{where}: {TRIES} workers died of it; give each more memory (fewer workers a machine), or make shards smaller"
            )


def _computed(shards: list[int], constructor: tuple[Any, ...], size: int) -> Iterator[int]:
    """Have the shards computed by `size` actors; yield each when it is on disk."""
    from ray import data

    if not shards:
        return
    *_, threads, gpus = constructor
    context = data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    with data.DataContext.current(context):
        rows = data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
        made = rows.map(
            ShardEncoder,
            fn_constructor_args=constructor,
            compute=data.ActorPoolStrategy(size=min(size, len(shards)), max_tasks_in_flight_per_actor=1),
            num_cpus=threads,
            num_gpus=gpus,
        )
        for row in made.iter_rows():
            if row["error"]:
                raise MiniragError(row["error"])
            yield int(row["shard"])


def _is_finished(folder: Path, settings: VectorSettings, shard: int) -> bool:
    """Whether an earlier run has left this shard, and it is whole."""
    try:
        return VectorStore.open(_part(folder, shard)).settings == _settings_of_part(settings, shard)
    except MiniragError:
        return False


def _part(folder: Path, shard: int) -> Path:
    return folder / PARTS / f"{shard:05d}"


def _settings_of_part(settings: VectorSettings, shard: int) -> VectorSettings:
    first, last = settings.bounds(shard)
    return dataclasses.replace(settings, rows=last - first)


def _passages_only(encoder: BiEncoder) -> BiEncoder:
    """The encoder without what workers have no use for: the query encoder, and copies in another precision."""
    shipped = copy.copy(encoder)
    shipped.query_encoder, shipped._copies = encoder.passage_encoder or encoder.query_encoder, {}
    return shipped


def _on_its_device(encoder: BiEncoder, gpus: int) -> BiEncoder:
    if gpus and encoder.passage_encoder is not None:
        encoder.passage_encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    return encoder


def _name_of(encoder: BiEncoder, gpus: int) -> str:
    """The encoder's fingerprint where the work will be done: it has the precision of the arithmetic in it."""
    return _on_its_device(encoder, gpus).fingerprint
