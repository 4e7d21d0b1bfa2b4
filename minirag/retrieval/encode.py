"""Encoding a corpus: passages on disk become vectors on disk, shard by shard, however often the work is interrupted.

For the paper's corpus this is days of one machine's time, so a run that is killed goes on after its last finished shard, and
the result has the same bits as if it had never stopped: a shard's batches depend on that shard's passages alone.
"""

from pathlib import Path

from minirag.corpus.store import PassageStore
from minirag.files import only_process
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.vector_writer import VectorSettings, VectorWriter
from minirag.retrieval.vectors import VectorStore


def encode_corpus(
    passages: PassageStore,
    encoder: BiEncoder,
    folder: str | Path,
    shard_rows: int = 65_536,
    dtype: str = "float32",
    progress: bool = True,
) -> VectorStore:
    """Row i of the store is the vector of passage i. Call it again with the same arguments after a crash, and it goes on.

    Memory: one shard of passages and vectors. A larger shard wastes less on padding; a smaller one loses less to a crash.
    Raises `MiniragError` if `folder` holds vectors of another encoder, corpus, dtype or shard size, or while another process
    encodes into it.
    """
    from tqdm.auto import tqdm

    settings = VectorSettings(len(passages), encoder.dim, dtype, shard_rows, encoder.fingerprint, passages.fingerprint)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with only_process(folder / ".lock", f"another process is encoding into {folder}; wait for it, or choose another folder"):
        writer = VectorWriter(folder, settings)
        done = min(writer.next_shard * shard_rows, len(passages))
        with tqdm(total=len(passages), initial=done, desc="encoding", unit="passage", disable=not progress) as bar:
            for shard in range(writer.next_shard, settings.shards):
                first, last = settings.bounds(shard)
                writer.append(encoder.encode_passages(passages[first:last], on_batch=bar.update))
        writer.finish()
    return VectorStore.open(folder, verify=False)
