"""Answers as the passages write them: a tokenizer that reads all as lower case and without accents cannot write them back.

BERT's says "24 – 10" where the passage has "24–10", and "beyonce" for "Beyoncé", and neither counts as an exact match. Which
letters a token was made from the tokenizer knows; so an answer whose tokens stand in a passage is that piece of the passage.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


class Spelling:
    """Looks tokens up in texts.

    `tokenizer`: a fast one of transformers, which says where in a text each token begins and ends.
    """

    def __init__(self, tokenizer: Any, texts: Iterable[str]) -> None:
        self._texts = list(dict.fromkeys(texts)) or [""]  # transformers does not read nothing
        plain = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
        frames = tokenizer(self._texts, **plain, return_offsets_mapping=True, return_attention_mask=False)
        self._spans = frames["offset_mapping"]
        sizes = [len(ids) for ids in frames["input_ids"]]
        self._ids = np.array([id for ids in frames["input_ids"] for id in [*ids, -1]], dtype=np.int64)  # −1 behind each text
        self._begins = np.concatenate([[0], np.cumsum(np.array(sizes, dtype=np.int64) + 1)])  # of each text in `_ids`

    def __call__(self, tokens: Sequence[int]) -> str | None:
        """The piece of a text that is these tokens, of several the first; None where they stand in none.

        >>> from minirag.retrieval.pretrained import minilm  # doctest: +SKIP
        >>> tokenizer = minilm().tokenizer  # doctest: +SKIP
        >>> tokens = tokenizer("beyonce won 24 - 10", add_special_tokens=False)["input_ids"]  # doctest: +SKIP
        >>> Spelling(tokenizer, ["That night Beyoncé won 24-10."])(tokens)  # doctest: +SKIP
        'Beyoncé won 24-10'
        """
        if not tokens:
            return None
        places = np.flatnonzero(self._ids[: len(self._ids) - len(tokens) + 1] == tokens[0])
        for step, token in enumerate(tokens[1:], 1):
            places = places[self._ids[places + step] == token]
        if not len(places):
            return None
        row = int(np.searchsorted(self._begins, places[0], side="right")) - 1
        spans, first = self._spans[row], int(places[0] - self._begins[row])
        return self._texts[row][spans[first][0] : spans[first + len(tokens) - 1][1]]
