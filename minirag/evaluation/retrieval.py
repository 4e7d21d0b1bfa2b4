"""How often the answer is among the passages found: any passages, any question sets, MiniLM beside BM25 and chance.

And what 64 bytes a vector cost: of the passages that exact search finds, how many IVF-PQ finds too.

python -m minirag.evaluation.retrieval psgs_w100.tsv results/retrieval.json --questions nq-test.qa.csv triviaqa.jsonl
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from minirag.corpus.readers import read_passages_tsv
from minirag.corpus.store import PassageStore
from minirag.doctor import machine
from minirag.errors import told_in_one_sentence
from minirag.evaluation.run import QuestionSet, Remembering, Result, line_of, recall_results, search_all
from minirag.evaluation.statistics import bootstrap
from minirag.files import write_json
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.bm25 import BM25Index
from minirag.retrieval.encode import encode_corpus
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.ivfpq import IVFPQIndex
from minirag.retrieval.pq import usual_pieces
from minirag.retrieval.retriever import Retriever
from minirag.retrieval.standins import RandomIndex
from minirag.retrieval.vectors import VectorStore
from minirag.tasks.openqa import read_questions

KS = (1, 5, 20)


def measure(
    passages: PassageStore, sets: Sequence[QuestionSet], encoder: BiEncoder, name: str, work: Path, progress: bool = True
) -> list[Result]:
    """Answer recall among the first 1, 5 and 20 passages of each system, on each set, with Wilson's intervals."""
    words, index, remembering = BM25Index(), ExactIndex(encoder.dim), Remembering(encoder)
    words.add(list(passages))
    vectors = encode_corpus(passages, encoder, work / "vectors", progress=progress)
    index.add(vectors)
    small = in_codes(vectors, progress)
    systems = {
        "random": Retriever(RandomIndex(len(passages)), passages),
        "BM25": Retriever(words, passages),
        f"{name}, exact": Retriever(index, passages, remembering),
        f"{name}, IVF-PQ": Retriever(small, passages, remembering),
    }
    ranks = search_all(systems, sets, max(KS), progress)
    found = [result for one in sets for own in systems for result in recall_results(one.name, own, ranks[one.name, own], KS)]
    for one in sets:
        queries = remembering.encode_queries([question.question for question in one.questions])  # [B, D]
        found.append(
            _overlap(one.name, f"{name}, IVF-PQ", index.search(queries, max(KS))[1], small.search(queries, max(KS))[1])
        )
    return found


def in_codes(vectors: VectorStore, progress: bool = True) -> IVFPQIndex:
    """√N lists, a third of them probed, 64 bytes a vector, 200 finalists."""
    dim, lists = vectors.shape[1], max(round(math.sqrt(len(vectors))), 1)
    index = IVFPQIndex(dim, lists, max(lists // 3, 1), usual_pieces(dim))
    index.train(vectors, progress=progress)
    index.add(vectors)
    return index


def _overlap(task: str, system: str, exact: Tensor, found: Tensor) -> Result:
    """Which share of exact search's passages are found, as a mean over questions."""
    shares = (exact[:, :, None] == found[:, None]).any(2).double().mean(1)  # [B]
    return Result(task, system, f"of the top {exact.shape[1]} of exact search", *bootstrap(shares.tolist()), len(shares))


def main() -> None:
    from minirag.retrieval.pretrained import minilm

    parser = argparse.ArgumentParser(description="Answer recall of MiniLM and BM25 over a file of passages.")
    parser.add_argument("passages", type=Path, help="passages in the layout of psgs_w100.tsv")
    parser.add_argument("out", type=Path, help="where the results are written, as JSON")
    parser.add_argument("--questions", type=Path, nargs="+", required=True, metavar="FILE", help="question sets")
    arguments = parser.parse_args()
    start, sets = time.perf_counter(), [QuestionSet(path.name, tuple(read_questions(path))) for path in arguments.questions]
    with tempfile.TemporaryDirectory() as folder:
        passages = PassageStore.write(Path(folder) / "passages", read_passages_tsv(arguments.passages))
        found = measure(passages, sets, minilm(), "MiniLM", Path(folder))
    told = {"machine": machine(), "passages": len(passages), "seconds": round(time.perf_counter() - start)}
    write_json(arguments.out, told | {"results": [asdict(one) for one in found]})
    print("\n".join(f"{one.task:28} {one.system:28} {line_of(one)}" for one in found))


if __name__ == "__main__":
    with told_in_one_sentence():
        main()
