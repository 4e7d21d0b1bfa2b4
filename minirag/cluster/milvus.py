"""The index in Milvus: a server or a cluster of them holds the vectors, and this process only asks.

For a laptop and for tests Milvus Lite does the same within this process, from a local file; in a user's code only the address
differs (see `collection.py`). It serves the file to this process through a port of the loopback interface.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int, Int64
from torch import Tensor

from minirag.cluster.collection import MilvusSettings, connect, create_collection, parse, read_record, record_of, told
from minirag.errors import MiniragError
from minirag.files import atomic_folder
from minirag.retrieval.finalists import check_k
from minirag.retrieval.manifest import is_index, open_sealed, seal
from minirag.retrieval.memory import Rows, as_rows
from minirag.retrieval.vectors import VectorStore

MESSAGE = 16_000_000  # bytes of vectors in one insertion; Milvus takes messages of up to 64 MB
QUESTIONS, MOST = 512, 16_384  # questions in one message; the most hits that Milvus gives for each
IDS = 4_096  # rows named in one query


@dataclass(frozen=True)
class Origin:
    """Where vectors come from, as `Retriever` asks it of an index: fingerprints of encoder and passages, "" if unknown."""

    encoder: str = ""
    passages: str = ""


class MilvusIndex:
    """Inner-product search in a Milvus collection, made by `create`, `build` or `open`.

    Rows are 0 … N−1, as everywhere. A removed row stays in the collection, marked, so that the others keep their numbers and
    `len` counts it; what another process removes is seen once the collection is opened again.

    >>> index = MilvusIndex.create(f"milvus://{getfixture('tmp_path')}/m.db/wiki", dim=3)
    >>> index.add(torch.eye(3))
    >>> index.search(torch.tensor([[0.1, 0.9, 0.5]]), k=2)[1].tolist()
    [[1, 2]]
    >>> index.close()
    """

    def __init__(self, address: str, client: Any, record: dict[str, Any]) -> None:
        self.address, self.settings = address, MilvusSettings(**record["settings"])
        self.dim: int = record["dim"]
        self.memory = Origin(record["encoder"], record["passages"])
        self._client, self._name = client, parse(address)[1]
        with told(address):
            client.load_collection(self._name)
            self._rows = int(self._query("", ["count(*)"])[0]["count(*)"])
            holes = self._query(f"row >= {self._rows}", ["row"], limit=1)
            self._gaps = bool(self._query("alive == false", ["row"], limit=1))  # searches need a filter once there are any
        if holes:
            raise MiniragError(f"{address} lacks rows, as its building was interrupted; build the index again")

    @classmethod
    def create(
        cls, address: str, dim: int, settings: MilvusSettings | None = None, encoder: str = "", passages: str = ""
    ) -> "MilvusIndex":
        """An empty collection. One that minirag made before is dropped; another program's is a `MiniragError`, and stays."""
        record = record_of(dim, settings or MilvusSettings(), encoder, passages)
        client = connect(address, new=True)
        with told(address):
            create_collection(client, address, record)
        return cls(address, client, record)

    @classmethod
    def build(
        cls, address: str, store: VectorStore, settings: MilvusSettings | None = None, progress: bool = False
    ) -> "MilvusIndex":
        """A collection of all vectors of `store`. One whose building was interrupted is finished, another is replaced."""
        from tqdm.auto import tqdm

        record = record_of(store.shape[1], settings or MilvusSettings(), store.encoder, store.passages, store.fingerprint)
        client, index = connect(address, new=True), None
        with told(address):
            if read_record(client, address) == record:
                with contextlib.suppress(MiniragError):  # it lacks rows in the middle
                    index = cls(address, client, record)
            if index is None or len(index) >= len(store):
                create_collection(client, address, record)
                index = cls(address, client, record)
        batch = max(MESSAGE // (4 * index.dim), 1)
        for low in tqdm(range(len(index), len(store), batch), desc="index", unit="batch", disable=not progress):
            index.add(store[low : low + batch])
        index.flush()
        return index

    @classmethod
    def open(cls, address: str) -> "MilvusIndex":
        """A collection as it stands; MiniragError if there is none, or if minirag did not make it."""
        client = connect(address)
        with told(address):
            record = read_record(client, address)
        if record is None:
            raise MiniragError(f"there is no index of minirag at {address}; build one, or check the address")
        return cls(address, client, record)

    def __len__(self) -> int:
        return self._rows

    def add(self, vectors: Rows | VectorStore) -> None:
        """Append vectors in batches; row numbers go on counting. Raises MiniragError for another width, NaN and infinity."""
        batch = max(MESSAGE // (4 * self.dim), 1)
        for low in range(0, len(vectors), batch):
            rows = as_rows(vectors[low : low + batch], self.dim)  # [n, D]
            with told(self.address):
                self._client.insert(self._name, _entities(range(self._rows, self._rows + len(rows)), rows))
            self._rows += len(rows)

    def flush(self) -> None:
        """Have Milvus write out what was added and index it by its kind; until then such rows are compared one by one."""
        with told(self.address):
            self._client.flush(self._name)

    def replace(self, ids: Int[Tensor, " n"], vectors: Rows) -> None:
        """Give rows new vectors; a removed row comes back."""
        self._check_ids(ids)
        rows = as_rows(vectors, self.dim)
        if len(rows) != len(ids):
            raise MiniragError(f"replace got {len(ids)} ids but {len(rows)} vectors; give one vector for each id")
        self._put(ids, rows, alive=True)

    def remove(self, ids: Int[Tensor, " n"]) -> None:
        """Take rows out of every later search; the ids of the others stay."""
        self._check_ids(ids)
        for low in range(0, len(ids), IDS):
            with told(self.address):
                gone = self._query(f"row in {ids[low : low + IDS].tolist()} and alive == false", ["row"])
            if gone:
                raise MiniragError(f"row {gone[0]['row']} was removed before; each row can be removed once")
        self._put(ids, torch.zeros(len(ids), self.dim), alive=False)
        self._gaps = self._gaps or bool(len(ids))

    def search(self, queries: Rows, k: int) -> tuple[Float32[Tensor, "B k"], Int64[Tensor, "B k"]]:
        """The k largest inner products found for each query, best first; id −1 and score −inf where fewer were found.

        Raises MiniragError for k beyond the 16,384 of Milvus, another width, NaN and infinity.
        """
        check_k(k)
        limit = min(k, max(len(self), 1))
        if limit > MOST:
            raise MiniragError(f"k is {k}, and Milvus finds at most {MOST} rows for a question; ask for fewer")
        rows = as_rows(queries, self.dim, "queries").numpy()  # [B, D]
        scores, ids = torch.full((len(rows), k), -torch.inf), torch.full((len(rows), k), -1)  # [B, k]
        for low in range(0, len(rows), QUESTIONS):
            for i, hits in enumerate(self._hits(rows[low : low + QUESTIONS], limit), start=low):
                ids[i, : len(hits)] = torch.tensor([hit["row"] for hit in hits], dtype=torch.int64)
                scores[i, : len(hits)] = torch.tensor([hit["distance"] for hit in hits])
        return scores, ids

    def save(self, folder: str | Path) -> None:
        """Write a folder that stands for this index wherever one is expected: it holds the address, Milvus the vectors."""
        self.flush()
        with atomic_folder(folder, is_index) as temporary:
            seal(temporary, "milvus", {"address": self.address, "rows": len(self), "dim": self.dim, **asdict(self.memory)})

    @classmethod
    def load(cls, folder: str | Path) -> "MilvusIndex":
        """Open the collection that a saved folder names; MiniragError if it is not what it was any more."""
        settings = open_sealed(folder, "milvus")["settings"]
        index = cls.open(settings["address"])
        found = {"address": index.address, "rows": len(index), "dim": index.dim, **asdict(index.memory)}
        if found != settings:
            raise MiniragError(f"{index.address} is no longer what {folder} was saved from; save the index again")
        return index

    def close(self) -> None:
        """Let go of the connection. The file of Milvus Lite stays with this process to its end."""
        self._client.close()

    def _hits(self, rows: np.ndarray, limit: int) -> Sequence[Sequence[dict[str, Any]]]:
        with told(self.address):
            return self._client.search(
                self._name,
                data=list(rows),
                limit=limit,
                filter="alive == true" if self._gaps else "",
                output_fields=["row"],
                search_params={"metric_type": "IP", "params": self.settings.searching(limit)},
                consistency_level="Strong",
            )

    def _query(self, condition: str, fields: list[str], **limit: int) -> Sequence[dict[str, Any]]:
        return self._client.query(self._name, filter=condition, output_fields=fields, consistency_level="Strong", **limit)

    def _put(self, ids: Tensor, rows: Tensor, alive: bool) -> None:
        batch = max(MESSAGE // (4 * self.dim), 1)
        for low in range(0, len(ids), batch):
            part = slice(low, low + batch)
            with told(self.address):
                self._client.upsert(self._name, _entities(ids[part].tolist(), rows[part], alive))

    def _check_ids(self, ids: Tensor) -> None:
        outside = ids[(ids < 0) | (ids >= len(self))]
        if len(outside):
            raise MiniragError(f"there is no row {int(outside[0])}; the index has rows 0 to {len(self) - 1}")
        if len(ids.unique()) != len(ids):
            raise MiniragError("the same id twice in one call; name each row once")


def _entities(ids: Sequence[int], rows: Float32[Tensor, "n D"], alive: bool = True) -> list[dict[str, Any]]:
    return [{"row": row, "vector": vector, "alive": alive} for row, vector in zip(ids, rows.numpy(), strict=True)]
