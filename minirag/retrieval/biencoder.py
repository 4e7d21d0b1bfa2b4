"""The bi-encoder: two BERTs that put questions and passages into one space (DPR, Karpukhin et al. 2020 §3; RAG §2.2).

A passage's vector is computed without knowing the question, so all of Wikipedia is encoded once, and answering means one
question vector and a search for the largest inner products: score(x, z) = d(z)ᵀ q(x).

Encoding is fast here for three reasons, none of which changes a vector by more than rounding: texts of like length go
together, so that next to nothing is spent on padding; what nobody reads is not computed (`Bert.cls`); and where the machine
multiplies bfloat16 faster, weights and activations are bfloat16.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional as F

from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.files import fingerprint_of
from minirag.models.bert import Bert

Pooling = Literal["cls", "mean"]
Template = Literal["pair", "joined"]
Precision = Literal["auto", "float32", "bfloat16"]


class BiEncoder:
    """Turns questions and passages into vectors whose plain inner product is their relevance.

    `pooling`: the vector at `[CLS]` (DPR), or the mean over all tokens (MiniLM, Contriever); `normalize` scales it to length 1.
    `template`: how a passage becomes tokens. "pair" is DPR's `[CLS] title [SEP] text [SEP]`; "joined" is `[CLS] title text
    [SEP]`, for encoders that were trained on single texts. Without a title both are `[CLS] text [SEP]`.
    `max_length` in tokens: DPR's 256; the longer of title and text is cut first. `tokenizer` is a fast one of transformers.
    `dtype` is that of the arithmetic, "auto" taking bfloat16 where the machine is faster at it; results are float32 always.
    The two encoders may be one and the same network; the passage encoder may be None where only questions are encoded.
    """

    def __init__(
        self,
        query_encoder: Bert,
        passage_encoder: Bert | None,
        tokenizer: Any,
        pooling: Pooling = "cls",
        normalize: bool = False,
        template: Template = "pair",
        max_length: int = 256,
        dtype: Precision = "auto",
    ) -> None:
        for name, value, kind in (("pooling", pooling, Pooling), ("template", template, Template), ("dtype", dtype, Precision)):
            check_choice(name, value, kind)
        if passage_encoder is not None and query_encoder.config.dim != passage_encoder.config.dim:
            dims = f"{query_encoder.config.dim} and {passage_encoder.config.dim}"
            raise MiniragError(
                f"questions and passages have vectors of {dims} dimensions; give two encoders that belong together"
            )
        for encoder in filter(None, (query_encoder, passage_encoder)):
            if len(tokenizer) > encoder.config.vocab_size:
                raise MiniragError(
                    f"the tokenizer has {len(tokenizer)} tokens, the encoder {encoder.config.vocab_size}; give its own"
                )
            if not 3 <= max_length <= encoder.config.positions:
                raise MiniragError(
                    f"max_length = {max_length} is not within 3 and the encoder's {encoder.config.positions} positions"
                )
        self.query_encoder, self.passage_encoder, self.tokenizer = query_encoder, passage_encoder, tokenizer
        self.pooling, self.normalize, self.template = pooling, normalize, template
        self.max_length, self.dtype = max_length, dtype
        self._copies: dict[int, tuple[tuple, Bert]] = {}  # bfloat16 copies of the encoders, by id

    @property
    def dim(self) -> int:
        return self.query_encoder.config.dim

    @property
    def fingerprint(self) -> str:
        """A name for all that decides passage vectors: weights, tokenizer, and every setting above.

        The query encoder is left out on purpose: RAG trains it further while the passages' vectors stay as they are.
        "" where there is no passage encoder to be named.
        """
        if self.passage_encoder is None:
            return ""
        config, state = self.passage_encoder.config, self.passage_encoder.state_dict()
        tokens = json.loads(self.tokenizer.backend_tokenizer.to_str())
        tokens = {name: part for name, part in tokens.items() if name not in ("truncation", "padding")}  # set anew at each call
        settings = (self.pooling, self.normalize, self.template, self.max_length, str(self.precision(self.passage_encoder)))
        weights = (tensor.detach().cpu().float().contiguous().numpy().tobytes() for tensor in state.values())
        return fingerprint_of(repr(config), json.dumps(tokens, sort_keys=True), repr(settings), *weights)

    def encode_queries(self, questions: Sequence[str]) -> Float32[Tensor, "B D"]:
        """A vector for each question, `[CLS] question [SEP]`, on the CPU."""
        return self._encode(self.query_encoder, self._tokens(list(questions)))

    def encode_passages(
        self, passages: Sequence[Passage], on_batch: Callable[[int], object] | None = None
    ) -> Float32[Tensor, "N D"]:
        """A vector for each passage, on the CPU; `on_batch` is told how many more are done, for progress bars.

        Batches depend on these passages alone, so the same passages on the same machine give the same bits.
        """
        return self._encode(self._passage_encoder(), self.tokenize_passages(passages), on_batch)

    def query_vectors(self, questions: Sequence[str]) -> Float[Tensor, "B D"]:
        """As `encode_queries`, for training: with gradients, in the weights' own type, in one batch, where the encoder is."""
        return self._vectors_of(self.query_encoder, self._tokens(list(questions)))

    def passage_vectors(self, passages: Sequence[Passage]) -> Float[Tensor, "N D"]:
        """As `encode_passages`, for training."""
        return self._vectors_of(self._passage_encoder(), self.tokenize_passages(passages))

    def with_own_query_encoder(self) -> BiEncoder:
        """The same, but with a query encoder that can learn while the passage encoder stays as it is."""
        if self.query_encoder is not self.passage_encoder:
            return self
        own = copy.copy(self)
        own.query_encoder, own._copies = copy.deepcopy(self.query_encoder), {}
        return own

    def tokenize_passages(self, passages: Sequence[Passage]) -> list[list[int]]:
        """The token ids that stand for each passage, special tokens included, truncated, not padded."""
        if self.template == "joined":
            return self._tokens([f"{passage.title} {passage.text}".strip() for passage in passages])
        titled = [passage for passage in passages if passage.title]
        pairs = iter(self._tokens([passage.title for passage in titled], [passage.text for passage in titled]))
        texts = iter(self._tokens([passage.text for passage in passages if not passage.title]))
        return [next(pairs if passage.title else texts) for passage in passages]

    @classmethod
    def from_pretrained(cls, path_or_name: str | Path, passages: str | Path | None = None, **settings: Any) -> BiEncoder:
        """Our own folder, a sentence-transformers folder, a DPR pair or a plain BERT; see `pretrained.from_pretrained`."""
        from minirag.retrieval.pretrained import from_pretrained

        return from_pretrained(path_or_name, passages, **settings)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write both encoders, tokenizer and settings as one folder, whole or not at all."""
        from minirag.retrieval.pretrained import save_pretrained

        save_pretrained(self, folder)

    def _tokens(self, texts: list[str], pairs: list[str] | None = None) -> list[list[int]]:
        if not texts:
            return []
        # Token types are not asked for: DPR's are all zero, also for the text after the title (see `Bert`).
        return self.tokenizer(
            texts, pairs, truncation=True, max_length=self.max_length, return_token_type_ids=False, return_attention_mask=False
        )["input_ids"]

    @torch.inference_mode()
    def _encode(
        self, encoder: Bert, tokens: list[list[int]], on_batch: Callable[[int], object] | None = None
    ) -> Float32[Tensor, "N D"]:
        device = encoder.words.weight.device
        ready, training = self._ready(encoder), encoder.training
        out = torch.empty(len(tokens), self.dim)
        # At the cost of a batch's padding a new batch can be started: on a CPU soon, on a GPU only after thousands of tokens.
        budget, waste = (2_048, 64) if device.type == "cpu" else (65_536, 4_096)
        try:
            ready.eval()
            for rows in length_batches([len(ids) for ids in tokens], budget, waste):
                ids, mask = pad([tokens[row] for row in rows], encoder.config.pad_id)
                out[rows] = self._vectors(ready, ids.to(device), mask.to(device)).cpu()
                if on_batch is not None:
                    on_batch(len(rows))
        finally:
            encoder.train(training)
        return out

    def _vectors_of(self, encoder: Bert, tokens: list[list[int]]) -> Tensor:
        self._copies.pop(id(encoder), None)  # it is about to learn, and a fused optimiser does not count its changes
        ids, mask = pad(tokens, encoder.config.pad_id, 16, encoder.config.positions)
        device = encoder.words.weight.device
        return self._vectors(encoder, ids.to(device), mask.to(device))

    def _passage_encoder(self) -> Bert:
        if self.passage_encoder is None:
            raise MiniragError("there is no passage encoder here, only that of questions; load the checkpoint that holds it")
        return self.passage_encoder

    def _vectors(self, encoder: Bert, ids: Tensor, mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            vectors = wide(encoder.cls(ids, mask))  # [b, D]
        else:
            hidden = wide(encoder(ids, mask))  # [b, S, D]
            weight = mask.unsqueeze(-1).to(hidden.dtype)  # [b, S, 1]
            vectors = (hidden * weight).sum(1) / weight.sum(1)  # [b, D]
        return F.normalize(vectors, dim=-1) if self.normalize else vectors

    def precision(self, encoder: Bert) -> torch.dtype:
        """The type an encoder's arithmetic is done in, once "auto" has looked at the machine."""
        if self.dtype == "auto":
            return torch.bfloat16 if _is_faster_in_bfloat16(encoder.words.weight.device) else torch.float32
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[self.dtype]

    def _ready(self, encoder: Bert) -> Bert:
        """The encoder itself in float32; in bfloat16 a copy, made again whenever training or loading has changed a weight."""
        precision = self.precision(encoder)
        if precision == torch.float32:
            return encoder
        state = tuple((parameter.data_ptr(), parameter._version) for parameter in encoder.parameters())
        if self._copies.get(id(encoder), (None,))[0] != state:
            self._copies[id(encoder)] = (state, copy.deepcopy(encoder).to(precision))
        return self._copies[id(encoder)][1]


def wide(x: Tensor) -> Tensor:
    """In float32 at least."""
    return x if x.dtype == torch.float64 else x.float()


def check_choice(name: str, value: object, kind: Any) -> None:
    if value not in get_args(kind):
        raise MiniragError(f"{name} = {value!r} is not known; choose one of {', '.join(get_args(kind))}")


def length_batches(lengths: Sequence[int], budget: int, waste: int) -> list[list[int]]:
    """Group texts of like length: at most `budget` tokens in a batch with padding, at most `waste` of them padding.

    Longest first, so that what does not fit into memory fails at once; equal lengths in the order given. A single text of more
    than `budget` tokens is a batch of its own.

    >>> length_batches([3, 9, 2, 9], budget=18, waste=2)
    [[1, 3], [0, 2]]
    """
    batches: list[list[int]] = []
    padding = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batches:
            longest = lengths[batches[-1][0]]
            padding += longest - lengths[row]
            if (len(batches[-1]) + 1) * longest <= budget and padding <= waste:
                batches[-1].append(row)
                continue
        batches.append([row])
        padding = 0
    return batches


def pad(tokens: list[list[int]], pad_id: int, multiple: int = 1, most: int | None = None) -> tuple[Tensor, Tensor]:
    """Token lists side by side as ids `[b, S]` and a mask `[b, S]` that is true where there is a token.

    S is the longest list's length, made up to a multiple, but not beyond `most`. Training does that: of many lengths that come
    once each, oneDNN would keep a prepared product in memory.

    >>> pad([[7, 8, 9], [5]], pad_id=0)[0].tolist()
    [[7, 8, 9], [5, 0, 0]]
    >>> pad([[7, 8, 9], [5]], pad_id=0, multiple=4)[0].shape
    torch.Size([2, 4])
    """
    lengths = torch.tensor([len(ids) for ids in tokens])
    longest = int(lengths.max())
    rounded = longest + -longest % multiple
    mask = torch.arange(rounded if most is None else max(longest, min(rounded, most))) < lengths[:, None]  # [b, S]
    padded = torch.full(mask.shape, pad_id)
    padded[mask] = torch.tensor([token for ids in tokens for token in ids])
    return padded, mask


def _is_faster_in_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):  # PyTorch tells since 2.10 or so
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
