"""BM25, the baseline that counts words (Robertson and Zaragoza 2009; the ablation of the paper's §4.5), over the bm25s library.

A passage d answers a question q with the score

    Σ_{w in q} idf(w) · f(w,d) / (f(w,d) + k1·(1 − b + b·|d|/avg|d|)),     idf(w) = log(1 + (N − n(w) + ½) / (n(w) + ½)),

f(w,d) being how often w stands in d, n(w) in how many of the N passages it does: Lucene's form. bm25s computes every (w, d)
term once, when the index is built, so that a search only adds columns of a sparse matrix. k1 = 0.9, b = 0.4 are Anserini's
values for passages.

Words are runs of Unicode letters, digits and "_", in lower case, without Lucene's 33 English stop words and without stemming.
On SciFact this reaches nDCG@10 0.663; of the variants tried, none with words alone was better (stop words kept: 0.662;
one-letter words dropped: 0.657), and a plural stemmer added 0.001 to it. Anserini's 0.679 comes with Porter's stemmer, which
rests on a compiled package.
"""

import re
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.files import atomic_folder
from minirag.retrieval.manifest import is_index, open_sealed, seal

WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words BM25 counts.

    >>> words("The Café of José-Luis, in 1998")
    ['café', 'josé', 'luis', '1998']
    """
    from bm25s.stopwords import STOPWORDS_EN

    return [word for word in WORD.findall(text.lower()) if word not in STOPWORDS_EN]


class BM25Index:
    """An index over text with the methods of every other index: `add`, `search`, `save`, `load`.

    >>> index = BM25Index()
    >>> index.add(["Paris is the capital of France", "Bern is the capital of Switzerland"])
    >>> scores, ids = index.search(["Which city is France's capital?"], k=2)
    >>> ids.tolist()
    [[0, 1]]
    """

    def __init__(self, k1: float = 0.9, b: float = 0.4) -> None:
        if not (k1 >= 0 and 0 <= b <= 1):
            raise MiniragError(f"BM25 cannot use k1 = {k1}, b = {b}; choose k1 >= 0 and b between 0 and 1")
        self.k1, self.b = k1, b
        self._vocabulary: dict[str, int] = {}
        self._passages: list[array[int]] | None = []  # each one's word numbers; None once loaded, when only scores are known
        self._scores: Any = None  # bm25s.BM25, built when first needed

    def __len__(self) -> int:
        return self._scores.scores["num_docs"] if self._passages is None else len(self._passages)

    def add(self, texts: Sequence[str] | Sequence[Passage]) -> None:
        """Append texts, or passages as title + " " + text; row numbers go on counting. Every passage weighs on all scores (N,
        n(w), avg|d|), so the matrix is built anew at the next search: add in large batches."""
        if self._passages is None:
            raise MiniragError("a loaded BM25 index keeps scores, not texts, and cannot grow; build it again from all texts")
        for text in texts:
            found = words(text if isinstance(text, str) else f"{text.title} {text.text}")
            self._passages.append(array("i", [self._vocabulary.setdefault(word, len(self._vocabulary)) for word in found]))
        self._scores = None

    def search(self, queries: Sequence[str], k: int) -> tuple[Float[Tensor, "B K"], Int[Tensor, "B K"]]:
        """The k best passages of each question, best first, ties by lower row: scores float32 and rows int64.

        A passage that shares no word with the question is no hit: where there are fewer than k hits, id −1 and score −inf
        follow.
        """
        if k < 1:
            raise MiniragError(f"k is {k}; ask for at least one passage")
        scores = torch.full((len(queries), k), -torch.inf)  # [B, K]
        ids = torch.full((len(queries), k), -1)  # [B, K]
        for row, query in enumerate(queries):
            known = [self._vocabulary[word] for word in words(query) if word in self._vocabulary]
            if known:
                of_all = self._matrix().get_scores_from_ids(known)  # [N]
                best = _best(of_all, k)
                scores[row, : len(best)] = torch.from_numpy(of_all[best])
                ids[row, : len(best)] = torch.from_numpy(best)
        return scores, ids

    def save(self, folder: str | Path) -> None:
        """Write the index as plain arrays and JSON, whole or not at all."""
        with atomic_folder(folder, is_index) as temporary:
            if self._vocabulary:
                self._matrix().save(temporary, show_progress=False)
            seal(temporary, "bm25", {"k1": self.k1, "b": self.b, "passages": len(self)})

    @classmethod
    def load(cls, folder: str | Path) -> "BM25Index":
        """Read a saved index; a missing, changed or foreign file is a `MiniragError`."""
        import bm25s

        settings = open_sealed(folder, "bm25")["settings"]
        index = cls(settings["k1"], settings["b"])
        if (Path(folder) / "vocab.index.json").exists():
            index._scores = bm25s.BM25.load(folder, show_progress=False)
            index._vocabulary = index._scores.vocab_dict
            index._passages = None
        else:  # not one word in it
            index._passages = [array("i") for _ in range(settings["passages"])]
        return index

    def _matrix(self) -> Any:
        if self._scores is None:
            import bm25s

            self._scores = bm25s.BM25(k1=self.k1, b=self.b, method="lucene")
            self._scores.index((self._passages, dict(self._vocabulary)), create_empty_token=False, show_progress=False)
        return self._scores


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """Rows of the k highest scores above 0, best first, ties by lower row."""
    rows = np.flatnonzero(scores > 0)
    if len(rows) > k:
        rows = rows[scores[rows] >= np.partition(scores[rows], -k)[-k]]  # all that tie with the k-th stay
    return rows[np.argsort(-scores[rows], kind="stable")[:k]]
