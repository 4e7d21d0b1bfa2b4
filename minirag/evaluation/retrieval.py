"""How often the answer is among the passages found: any passages, any question sets, MiniLM beside BM25 and chance.

python -m minirag.evaluation.retrieval psgs_w100.tsv results/retrieval.json --questions nq-test.qa.csv triviaqa.jsonl
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from minirag.corpus.readers import read_passages_tsv
from minirag.corpus.store import PassageStore
from minirag.doctor import machine
from minirag.errors import told_in_one_sentence
from minirag.evaluation.run import QuestionSet, Remembering, Result, line_of, recall_results, search_all
from minirag.files import write_json
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.bm25 import BM25Index
from minirag.retrieval.encode import encode_corpus
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.retriever import Retriever
from minirag.retrieval.standins import RandomIndex
from minirag.tasks.openqa import read_questions

KS = (1, 5, 20)


def measure(
    passages: PassageStore, sets: Sequence[QuestionSet], encoder: BiEncoder, name: str, work: Path, progress: bool = True
) -> list[Result]:
    """Answer recall among the first 1, 5 and 20 passages of each system, on each set, with Wilson's intervals."""
    words, index = BM25Index(), ExactIndex(encoder.dim)
    words.add(list(passages))
    index.add(encode_corpus(passages, encoder, work / "vectors", progress=progress))
    systems = {
        "random": Retriever(RandomIndex(len(passages)), passages),
        "BM25": Retriever(words, passages),
        f"{name}, exact": Retriever(index, passages, Remembering(encoder)),
    }
    ranks = search_all(systems, sets, max(KS), progress)
    return [result for one in sets for own in systems for result in recall_results(one.name, own, ranks[one.name, own], KS)]


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
