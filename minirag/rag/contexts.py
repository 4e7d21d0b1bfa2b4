"""What the generator reads: `title / text // question`, one context for each passage (RAG §2.3: input and passage, joined).

The separators are those of the paper's code, so that its checkpoints read what they were trained on. Unlike there, the passage
is what is cut when a context is too long, never the question behind it, and contexts are padded to the longest of them and
not to 300 tokens.
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Bool, Int64
from torch import Tensor

from minirag.corpus.passages import Passage
from minirag.corpus.words import pattern
from minirag.errors import MiniragError
from minirag.retrieval.biencoder import pad

KEPT = 16_384  # passages whose tokens are kept: some 30 MB


class Contexts:
    """Passages and questions to token ids, and answers to targets.

    `tokenizer`: the generator's, a fast one of transformers. `max_length` in tokens, special ones included: the paper's 300.
    `prefix` stands before every context. BART-large's is a blank, which makes the first word like the others, and stands before
    answers, too. The tokens of the last few thousand passages are kept: training reads the same ones again and again.
    """

    def __init__(
        self,
        tokenizer: Any,
        max_length: int = 300,
        title_sep: str = " / ",
        doc_sep: str = " // ",
        prefix: str = "",
    ) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length
        self.title_sep, self.doc_sep, self.prefix = title_sep, doc_sep, prefix
        framed = tokenizer("a", return_special_tokens_mask=True)
        first = framed["special_tokens_mask"].index(0)
        last = len(framed["input_ids"]) - framed["special_tokens_mask"][::-1].index(0)
        self._heads: dict[str, list[int]] = {}  # by text, the oldest first
        self._before, self._after = framed["input_ids"][:first], framed["input_ids"][last:]  # <s> and </s>

    def of(
        self, questions: Sequence[str], passages: Sequence[Sequence[Passage]]
    ) -> tuple[Int64[Tensor, "B K S"], Bool[Tensor, "B K S"]]:
        """The contexts of B questions, each with K passages, and a mask that is true at tokens.

        Where a question has fewer passages than another, the rest of its contexts are the question alone; their documents'
        score has to be −inf. Raises `MiniragError` for a question that leaves no room for a passage.
        """
        k = max(map(len, passages))
        heads = iter(self._head_tokens([self._head(passage) for own in passages for passage in own]))
        tails = self._tails(questions)
        rows = []
        for question, own, tail in zip(questions, passages, tails, strict=True):
            room = self._room(question, tail)
            own_heads = [next(heads)[:room] for _ in own] + [[]] * (k - len(own))
            rows += [[*self._before, *head, *tail, *self._after] for head in own_heads]
        ids, mask = pad(rows, self.tokenizer.pad_token_id)  # [B·K, S]
        return ids.unflatten(0, (-1, k)), mask.unflatten(0, (-1, k))

    def parts(self, passage: Passage, questions: Sequence[str]) -> tuple[list[int], list[list[int]]]:
        """What the contexts of one passage with several questions begin with, and how each of them ends: as in `of`, but that
        the passage is cut for the longest question, and so for all at the same place."""
        tails = self._tails(questions)
        room = min(map(self._room, questions, tails))
        head = self._head_tokens([self._head(passage)])[0][:room]
        return [*self._before, *head], [[*tail, *self._after] for tail in tails]

    def begins(self, passage: Passage, answers: Sequence[str]) -> list[int]:
        """At which token of the passage's `parts` each answer first stands in its text, −1 where it does not.

        Tokens never reach across a blank, so there are as many before the answer as the text before it has by itself.
        """
        head = self._head(passage)
        found = [pattern(answer).search(head, len(head) - len(" ".join(passage.text.split()))) for answer in answers]
        before = self._tokens([head[: match.start()].rstrip() if match else "" for match in found])
        return [len(self._before) + len(ids) if match else -1 for ids, match in zip(before, found, strict=True)]

    def targets(self, answers: Sequence[str], max_length: int = 128) -> Int64[Tensor, "B T"]:
        """Answers as the generator writes them, `<s> y </s>`, padded. The start token before them is the model's affair."""
        blank = self.prefix if self.prefix.isspace() else ""
        words = self._tokens([blank + answer for answer in answers])
        tokens = [ids[: max_length - len(self._before) - len(self._after)] for ids in words]
        return pad([[*self._before, *ids, *self._after] for ids in tokens], self.tokenizer.pad_token_id)[0]

    def text(self, tokens: Sequence[int]) -> str:
        """Generated tokens as text."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True)).strip()

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """Each generated token by itself, as text."""
        return [str(self.tokenizer.decode([token])) for token in tokens]

    def _tails(self, questions: Sequence[str]) -> list[list[int]]:
        return self._tokens([self.doc_sep + " ".join(question.split()) for question in questions])

    def _room(self, question: str, tail: Sequence[int]) -> int:
        """How many tokens of a passage may stand before the question."""
        room = self.max_length - len(self._before) - len(self._after) - len(tail)
        if room < 1:
            raise MiniragError(
                f"the question '{question[:40]}…' has {len(tail)} tokens and leaves no room for a passage within "
                f"{self.max_length}; shorten it"
            )
        return room

    def _head(self, passage: Passage) -> str:
        title = passage.title.removeprefix('"').removesuffix('"')
        head = f"{title}{self.title_sep}{passage.text}" if title else passage.text
        return self.prefix + " ".join(head.split())

    def _head_tokens(self, heads: list[str]) -> list[list[int]]:
        new = [head for head in dict.fromkeys(heads) if head not in self._heads]
        self._heads.update(zip(new, self._tokens(new), strict=True))
        tokens = [self._heads[head] for head in heads]
        for oldest in list(self._heads)[: max(len(self._heads) - KEPT, 0)]:
            del self._heads[oldest]
        return tokens

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        # A text that spells out `</s>` or `<pad>` says just that: it must not end or hide what stands around it.
        plain = {"add_special_tokens": False, "split_special_tokens": True}
        return self.tokenizer(texts, **plain, return_attention_mask=False, verbose=False)["input_ids"]
