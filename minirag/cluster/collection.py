"""A collection in Milvus: its address, how it is made, and the record by which minirag knows its own.

One address names a place and the collection in it:

    milvus://host:19530/wiki          a server or a cluster; also http://… and https://…
    milvus://runs/milvus.db/wiki      a local file, known by its ending, with Milvus Lite
    milvus:///data/milvus.db/wiki     the same, from the root of the file system

A server that asks for a token gets the one in the environment's MILVUS_TOKEN.
"""

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minirag.errors import MiniragError

FORMAT, RECORD = "minirag milvus 1", "minirag"
TYPES = {"flat": "FLAT", "ivf": "IVF_FLAT", "ivfpq": "IVF_PQ", "hnsw": "HNSW"}
SCHEMES = ("milvus://", "http://", "https://")


@dataclass(frozen=True)
class MilvusSettings:
    """How a collection is searched, under the names of `FaissIndex`; its defaults for "hnsw" are the paper's (§3).

    "flat" compares every vector; "ivf" the `n_probe` best of `n_lists` lists; "ivfpq" too, with vectors of `sub_vectors` bytes
    (0: D/4), whose scores are approximate; "hnsw" walks a graph.
    """

    kind: str = "flat"
    n_lists: int = 1_024
    n_probe: int = 16
    sub_vectors: int = 0
    links: int = 512
    ef_construction: int = 200
    ef_search: int = 128

    def __post_init__(self) -> None:
        if self.kind not in TYPES:
            raise MiniragError(f"a Milvus index of kind '{self.kind}' is not known; choose {', '.join(TYPES)}")

    def building(self, dim: int) -> dict[str, int]:
        """What Milvus calls the parameters of this kind's construction."""
        lists = {"nlist": self.n_lists}
        return {
            "flat": {},
            "ivf": lists,
            "ivfpq": lists | {"m": self.sub_vectors or dim // 4, "nbits": 8},
            "hnsw": {"M": self.links, "efConstruction": self.ef_construction},
        }[self.kind]

    def searching(self, k: int) -> dict[str, int]:
        """What Milvus calls the parameters of this kind's search."""
        probe = {"nprobe": min(self.n_probe, self.n_lists)}
        return {"flat": {}, "ivf": probe, "ivfpq": probe, "hnsw": {"ef": max(self.ef_search, k)}}[self.kind]


def is_address(text: str) -> bool:
    """Whether a text is meant as an address of Milvus rather than a folder.

    >>> is_address("milvus://localhost:19530/wiki"), is_address("runs/index")
    (True, False)
    """
    return text.startswith(SCHEMES)


def parse(address: str) -> tuple[str, str]:
    """What Milvus calls the URI, and the collection's name.

    >>> parse("milvus://localhost:19530/wiki"), parse("milvus://runs/milvus.db/wiki")
    (('http://localhost:19530', 'wiki'), ('runs/milvus.db', 'wiki'))
    """
    scheme, _, rest = address.partition("://")
    where, _, name = rest.rpartition("/")
    local = scheme == "milvus" and where.endswith(".db")
    host = re.fullmatch(r"[^/\s@]+", where) and f"{'http' if scheme == 'milvus' else scheme}://{where}"
    if not is_address(address) or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) or not (local or host):
        raise MiniragError(
            f"{address} is no address of Milvus; write milvus://host:19530/collection or milvus://file.db/collection"
        )
    return where if local else str(host), name


def connect(address: str, new: bool = False) -> Any:
    """A client of the Milvus at an address. `new`: a local file that does not exist is made."""
    uri, _ = parse(address)
    local = not uri.startswith(SCHEMES)
    if local and not new and not Path(uri).exists():
        raise MiniragError(f"{uri} does not exist; check the address, or build the index first")
    try:
        from pymilvus import MilvusClient
    except ImportError:
        raise MiniragError("an index in Milvus needs pymilvus; run `pip install minirag[cluster]`") from None
    for name in ("pymilvus", "grpc._server"):  # they log whole tracebacks of what becomes one sentence here
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if local:
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
    with told(address):
        return MilvusClient(uri, token=os.environ.get("MILVUS_TOKEN", ""), timeout=30)


@contextlib.contextmanager
def told(address: str) -> Iterator[None]:
    """Whatever Milvus has to say becomes one sentence with the address."""
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except MilvusException as error:
        reason = " ".join(str(error.message or error).split())
        raise MiniragError(
            f"Milvus at {address} could not do this ({reason}); check that it runs, and that no other process holds its file"
        ) from error


def record_of(dim: int, settings: MilvusSettings, encoder: str, passages: str, vectors: str = "") -> dict[str, Any]:
    """What minirag keeps with a collection, among its properties: how it is searched, and fingerprints of what is in it."""
    about = {"encoder": encoder, "passages": passages, "vectors": vectors}
    return {"format": FORMAT, "dim": dim, "settings": asdict(settings), **about}


def read_record(client: Any, address: str) -> dict[str, Any] | None:
    """The record of a collection; None where there is none, or it is not minirag's."""
    name = parse(address)[1]
    if not client.has_collection(name):
        return None
    try:
        record = json.loads(client.describe_collection(name)["properties"][RECORD])
        settings = MilvusSettings(**record["settings"])
        about = {name: str(record[name]) for name in ("encoder", "passages", "vectors")}
        return record if record == record_of(int(record["dim"]), settings, **about) else None
    except (KeyError, TypeError, ValueError, MiniragError):
        return None


def create_collection(client: Any, address: str, record: dict[str, Any]) -> None:
    """Make an empty collection in the place of an older one, if that is minirag's."""
    from pymilvus import DataType

    name, settings = parse(address)[1], MilvusSettings(**record["settings"])
    if settings.kind == "ivfpq" and "lite" in client.get_server_version():  # it would take it, and compare every vector
        raise MiniragError("Milvus Lite has no IVF_PQ; choose flat, ivf or hnsw, or the address of a Milvus server")
    if client.has_collection(name):
        if read_record(client, address) is None:
            raise MiniragError(f"{address} holds another program's collection, which is left as it is; choose another name")
        client.drop_collection(name)
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("row", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=record["dim"])
    schema.add_field("alive", DataType.BOOL)
    index = client.prepare_index_params()
    # pymilvus takes one "params" away; Milvus takes parameters with or without the other, Milvus Lite 3.2 only with it.
    params = {"params": settings.building(record["dim"])}
    index.add_index("vector", index_type=TYPES[settings.kind], metric_type="IP", params=params)
    properties = {RECORD: json.dumps(record)}
    client.create_collection(name, schema=schema, index_params=index, properties=properties, consistency_level="Strong")
