"""BM25: the formula by hand, the library behind it, and what holds for any texts."""

import csv
import gzip
import io
import json
import math
import zipfile
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.retrieval.bm25 import BM25Index, words
from minirag.retrieval.faiss_index import FaissIndex
from minirag.tasks.metrics import ndcg_at_k

TEXTS = ["red apple", "red red cherry cherry cherry", "green pear"]


def oracle(texts: list[str], query: str, k1: float, b: float) -> list[float]:
    """The formula of the module's docstring, word by word in double precision."""
    passages = [Counter(words(text)) for text in texts]
    lengths = [sum(passage.values()) for passage in passages]
    mean = sum(lengths) / len(lengths)
    scores = []
    for passage, length in zip(passages, lengths, strict=True):
        score = 0.0
        for word in words(query):
            n = sum(word in other for other in passages)
            idf = math.log(1 + (len(texts) - n + 0.5) / (n + 0.5))
            if passage[word]:
                score += idf * passage[word] / (passage[word] + k1 * (1 - b + b * length / mean))
        scores.append(score)
    return scores


def indexed(texts: list[str], **settings: float) -> BM25Index:
    index = BM25Index(**settings)
    index.add(texts)
    return index


def test_three_passages_by_hand():
    scores, ids = indexed(TEXTS, k1=1.0, b=0.5).search(["red"], k=3)
    # 2 of 3 passages hold "red": idf = log(1 + 1.5/2.5) = log 1.6. Lengths 2, 5, 2, mean 3.
    first = math.log(1.6) * 2 / (2 + 0.5 + 0.5 * 5 / 3)
    second = math.log(1.6) * 1 / (1 + 0.5 + 0.5 * 2 / 3)
    assert ids.tolist() == [[1, 0, -1]]
    assert scores.tolist()[0] == pytest.approx([first, second, -math.inf], rel=1e-6)
    assert scores.dtype == torch.float32
    assert ids.dtype == torch.int64


def test_words_are_unicode_lower_case_without_stop_words():
    assert words("The Café, IS it _in_ São-Paulo? 4.5") == ["café", "_in_", "são", "paulo", "4", "5"]
    assert words("the of and") == words("?!") == words("") == []


def test_a_passage_is_its_title_and_its_text():
    index = BM25Index()
    index.add([Passage("7", "Bern", "A city."), Passage("9", "Paris", "Larger than Bern.")])
    assert index.search(["bern", "paris", "city"], k=2)[1].tolist() == [[0, 1], [1, -1], [0, -1]]


def test_ties_go_to_the_lower_row_even_where_k_cuts_through_them():
    index = indexed(["pear", "red", "red", "pear", "red", "red", "red"])
    assert index.search(["red"], k=3)[1].tolist() == [[1, 2, 4]]
    assert index.search(["red red"], k=9)[1].tolist() == [[1, 2, 4, 5, 6, -1, -1, -1, -1]]
    many = indexed(["red" if row % 3 else "pear" for row in range(300)])
    assert many.search(["red"], k=150)[1].tolist() == [[row for row in range(300) if row % 3][:150]]


def test_no_hit_is_minus_one():
    index = indexed(TEXTS)
    scores, ids = index.search(["banana", "", "the"], k=2)
    assert (ids == -1).all()
    assert (scores == -torch.inf).all()
    assert index.search([], k=2)[1].shape == (0, 2)
    assert BM25Index().search(["red"], k=1)[1].tolist() == [[-1]]
    assert indexed(["", "the"]).search(["the"], k=1)[1].tolist() == [[-1]]


def test_adding_in_pieces_is_adding_at_once():
    index = indexed(TEXTS[:1])
    index.search(["red"], k=1)  # the matrix of one passage must not survive
    index.add(TEXTS[1:])
    expected = indexed(TEXTS).search(["red pear"], k=3)
    assert len(index) == 3
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(index.search(["red pear"], k=3), expected, strict=True))


VOCABULARY = ["red", "green", "blue", "apple", "pear", "naïve", "42", "the"]
some_texts = st.lists(st.lists(st.sampled_from(VOCABULARY), max_size=8).map(" ".join), min_size=1, max_size=8)


@settings(max_examples=60)
@given(
    some_texts,
    st.lists(st.sampled_from(VOCABULARY), max_size=4).map(" ".join),
    st.floats(0, 3),
    st.floats(0, 1),
    st.integers(1, 10),
)
def test_equals_the_formula_on_any_texts(texts, query, k1, b, k):
    scores, ids = indexed(texts, k1=k1, b=b).search([query], k)
    expected = oracle(texts, query, k1, b)
    hits = [row for row, score in enumerate(expected) if score > 0]
    found = [row for row in ids[0].tolist() if row >= 0]
    assert len(found) == min(k, len(hits))
    assert len(set(found)) == len(found)
    assert scores[0, : len(found)].tolist() == pytest.approx([expected[row] for row in found], rel=1e-4)
    assert scores[0, : len(found)].tolist() == pytest.approx(sorted(expected, reverse=True)[: len(found)], rel=1e-4)
    for better, worse in zip(range(len(found)), range(1, len(found)), strict=False):
        assert scores[0, better] > scores[0, worse] or (scores[0, better] == scores[0, worse] and found[better] < found[worse])


def test_equals_the_library_used_as_its_authors_show():
    import bm25s

    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(VOCABULARY, size=12)) for _ in range(50)]
    library = bm25s.BM25(k1=0.9, b=0.4, method="lucene")
    library.index(bm25s.tokenize(texts, token_pattern=r"\w+", stopwords="en", show_progress=False), show_progress=False)
    query = bm25s.tokenize(["red naïve 42"], token_pattern=r"\w+", stopwords="en", show_progress=False)
    expected = library.retrieve(query, k=20, show_progress=False).scores[0]
    assert indexed(texts).search(["red naïve 42"], k=20)[0][0].numpy() == pytest.approx(expected, rel=1e-6)


def test_scifact_comes_near_the_published_figure(shared):
    """Anserini's BM25, with Porter's stemmer: nDCG@10 0.679."""
    folder = shared / "scifact"
    with zipfile.ZipFile(folder / "scifact.zip") as archive, archive.open("corpus_train.csv") as file:
        rows = list(csv.DictReader(io.TextIOWrapper(file, "utf-8")))
    relevant: dict[str, dict[str, float]] = {}
    for line in (folder / "qrels.beir-v1.0.0-scifact.test.txt").read_text().splitlines():
        topic, _, document, grade = line.split()
        relevant.setdefault(topic, {})[document] = float(grade)
    with gzip.open(folder / "topics.beir-v1.0.0-scifact.test.tsv.gz", "rt") as file:
        topics = dict(line.rstrip("\n").split("\t") for line in file)

    ids = indexed([f"{row['title']} {row['abstract']}" for row in rows]).search(list(topics.values()), k=10)[1]
    ranked = {topic: [rows[i]["doc_id"] for i in row if i >= 0] for topic, row in zip(topics, ids.tolist(), strict=True)}
    ndcg = np.mean([ndcg_at_k(ranked[topic], relevant[topic], k=10) for topic in topics])
    assert ndcg == pytest.approx(0.663, abs=0.002)


class TestDisk:
    def test_a_loaded_index_answers_alike(self, tmp_path):
        index = indexed(TEXTS, k1=1.2, b=0.7)
        index.save(tmp_path / "bm25")
        loaded = BM25Index.load(tmp_path / "bm25")
        assert (loaded.k1, loaded.b, len(loaded)) == (1.2, 0.7, 3)
        queries = ["red cherry", "banana", "pear"]
        for ours, theirs in zip(loaded.search(queries, 3), index.search(queries, 3), strict=True):
            assert torch.equal(ours, theirs)
        with pytest.raises(MiniragError, match="cannot grow"):
            loaded.add(["more"])

    @pytest.mark.parametrize("texts", [[], ["", "the"]])
    def test_an_index_without_a_word(self, tmp_path, texts):
        indexed(texts).save(tmp_path / "bm25")
        loaded = BM25Index.load(tmp_path / "bm25")
        assert len(loaded) == len(texts)
        assert loaded.search(["red"], k=1)[1].tolist() == [[-1]]
        loaded.add(["red"])
        assert loaded.search(["red"], k=1)[1].tolist() == [[len(texts)]]

    @pytest.mark.parametrize("damage", ["flip", "cut", "delete"])
    def test_damage_to_any_file_is_refused(self, tmp_path, damage):
        names = {"data.csc.index.npy", "indices.csc.index.npy", "indptr.csc.index.npy", "params.index.json", "vocab.index.json"}
        for name in names:
            indexed(TEXTS).save(tmp_path / "bm25")
            assert {path.name for path in (tmp_path / "bm25").iterdir()} == names | {"manifest.json"}
            path = tmp_path / "bm25" / name
            raw = bytearray(path.read_bytes())
            raw[-1] ^= 1
            path.write_bytes(raw if damage == "flip" else raw[:-1])
            if damage == "delete":
                path.unlink()
            with pytest.raises(MiniragError, match=f"{name} is missing or not as it was written"):
                BM25Index.load(tmp_path / "bm25")

    def test_a_foreign_or_missing_folder_is_refused(self, tmp_path):
        with pytest.raises(MiniragError, match="does not exist"):
            BM25Index.load(tmp_path)
        for foreign in ({"kind": "bm25"}, [1]):
            (tmp_path / "manifest.json").write_text(json.dumps(foreign))
            with pytest.raises(MiniragError, match="is not an index of this version of minirag"):
                BM25Index.load(tmp_path)
        index = FaissIndex()
        index.add(torch.eye(2))
        index.save(tmp_path / "faiss")
        with pytest.raises(MiniragError, match="holds 'faiss', not 'bm25'"):
            BM25Index.load(tmp_path / "faiss")


def test_settings_and_k_are_checked():
    for wrong in ({"k1": -1.0}, {"b": 1.5}, {"k1": math.nan}):
        with pytest.raises(MiniragError, match="BM25 cannot use"):
            BM25Index(**wrong)
    with pytest.raises(MiniragError, match="at least one passage"):
        indexed(TEXTS).search(["red"], k=0)
