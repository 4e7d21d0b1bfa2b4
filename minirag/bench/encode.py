"""Passages encoded per second: ours, beside transformers' DPR, and beside what the machine's own matrix product allows.

BERT-base with random weights, the same in both, since speed does not depend on what a network has learnt. Every contender does
the whole work, from text to vectors; they take turns, and the median of the rounds counts. Three questions:

* against the usual way: `DPRContextEncoder` in float32, batches of 16 padded to DPR's 256 tokens;
* against the peer at its best: sorted by length, padded to the longest of each batch, in the type the machine is fastest in;
* against the machine: the floating-point operations that the vectors need, per second, beside those of one large product.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from minirag.bench.turns import take_turns
from minirag.corpus.passages import Passage
from minirag.models.bert import Bert, BertConfig
from minirag.models.bert_checkpoints import to_transformers
from minirag.retrieval.biencoder import BiEncoder

MAX_LENGTH, PEER_BATCH = 256, 16
PRODUCT = 4096  # rows and columns of the large product
PEER = "transformers DPRContextEncoder"
Encode = Callable[[Sequence[Passage]], Tensor]


def run(
    passages: Sequence[Passage] | None = None, count: int = 32, rounds: int = 3, config: BertConfig | None = None
) -> list[dict[str, Any]]:
    """The rows of `minirag bench encode` over the first `count` of `passages`, or of MiniWiki's: a minute on two cores.

    `equal` says that every vector has a cosine above 0.999 with the peer's vector of its own passage and lies nearer to it than
    to any other's; our float32 vectors must also be the peer's to 1e-4. `config` is for trying it out on something smaller.
    """
    corpus = list(passages[:count]) if passages is not None else miniwiki(count)
    encoder, tokenizer = random_bert(config or BertConfig()), bert_tokenizer()
    ours, exact = (BiEncoder(encoder, encoder, tokenizer, max_length=MAX_LENGTH, dtype=dtype) for dtype in ("auto", "float32"))
    precision = ours.precision(encoder)
    peer, fast_peer = _peer(encoder), _peer(encoder).to(precision)
    square = torch.randn(PRODUCT, PRODUCT).to(precision)
    contenders: dict[str, Encode] = {
        "ours": ours.encode_passages,
        "padded": lambda batch: _encode_as_peers_do(peer, tokenizer, batch, by_length=False),
        "sorted": lambda batch: _encode_as_peers_do(fast_peer, tokenizer, batch, by_length=True),
        "product": lambda batch: square @ square,
    }
    for encode in contenders.values():
        encode(corpus[:2])  # a short warm-up: the peer's whole round takes its time
    turns = {name: partial(encode, corpus) for name, encode in contenders.items()}
    seconds, vectors = take_turns(turns, rounds, warm_up=False)
    few = min(PEER_BATCH, len(corpus))
    exactly = torch.allclose(exact.encode_passages(corpus[:few]), vectors["padded"][:few], atol=1e-4)
    equal = _same(vectors["ours"], vectors["padded"]) and exactly
    operations = sum(needed_operations(encoder.config, len(ids)) for ids in ours.tokenize_passages(corpus))
    rate = {contender: len(corpus) / each for contender, each in seconds.items()}
    gflops = operations / seconds["ours"] / 1e9, 2 * PRODUCT**3 / seconds["product"] / 1e9
    name = str(precision).removeprefix("torch.")
    compared = [
        (f"{name}; peer float32, padded to {MAX_LENGTH}", PEER, "passages/s", rate["ours"], rate["padded"], equal),
        (
            f"{name}; peer too, sorted",
            PEER,
            "passages/s",
            rate["ours"],
            rate["sorted"],
            _same(vectors["ours"], vectors["sorted"]),
        ),
        (f"{name}; share of the machine's peak", f"torch.mm of {PRODUCT}³", "GFLOP/s", *gflops, equal),
    ]
    return [
        {"case": case, "ours": mine, "peer": theirs, "peer_name": whose, "unit": unit, "ratio": mine / theirs, "equal": same}
        for case, whose, unit, mine, theirs, same in compared
    ]


def needed_operations(config: BertConfig, tokens: int) -> int:
    """Multiplications and additions in the matrix products of one text's `[CLS]` vector, without any padding.

    A layer's linear maps hold 4 D² + 2 D·inner weights, each used once a token; queries times keys and weights times values are
    2 S·D a token. The last layer needs keys and values of all tokens (2 D²), and everything else for one.
    """
    linear = 4 * config.dim**2 + 2 * config.dim * config.inner
    a_token = linear + 2 * tokens * config.dim
    last = 2 * config.dim**2 * tokens + linear - 2 * config.dim**2 + 2 * tokens * config.dim
    return 2 * ((config.layers - 1) * tokens * a_token + last)


@torch.inference_mode()
def _encode_as_peers_do(peer: Any, tokenizer: Any, passages: Sequence[Passage], by_length: bool) -> Tensor:
    order = list(range(len(passages)))
    if by_length:
        ids = tokenizer([p.title for p in passages], [p.text for p in passages], truncation=True, max_length=MAX_LENGTH)
        order.sort(key=lambda row: -len(ids["input_ids"][row]))
    out = torch.empty(len(passages), peer.config.hidden_size)
    for start in range(0, len(order), PEER_BATCH):
        rows = order[start : start + PEER_BATCH]
        inputs = tokenizer(
            [passages[row].title for row in rows], [passages[row].text for row in rows],
            truncation=True, max_length=MAX_LENGTH, padding="longest" if by_length else "max_length",
            return_token_type_ids=False, return_tensors="pt",
        )  # fmt: skip
        out[rows] = peer(**inputs).pooler_output.float()
    return out


def random_bert(config: BertConfig) -> Bert:
    """Weights twice as large as BERT's at its start, as training leaves them: smaller ones give all texts nearly one vector."""
    torch.manual_seed(0)
    bert = Bert(config).eval()
    with torch.no_grad():
        for module in bert.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                module.weight.mul_(2)
    return bert


def _peer(encoder: Bert) -> Any:
    from transformers import DPRConfig, DPRContextEncoder

    fields, tensors = to_transformers(encoder)
    peer = DPRContextEncoder(DPRConfig(**fields))
    peer.ctx_encoder.bert_model.load_state_dict(tensors)
    return peer.eval()


def bert_tokenizer() -> Any:
    from minirag.retrieval.pretrained import minilm

    return minilm().tokenizer  # BERT's own 30,522 word pieces, which lie in MiniLM's package


def _same(ours: Tensor, theirs: Tensor) -> bool:
    cosines = torch.nn.functional.normalize(ours) @ torch.nn.functional.normalize(theirs).T  # [N, N]
    own = torch.arange(len(ours))
    nearest = torch.cdist(ours, theirs, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
    return bool((cosines.diagonal() > 0.999).all() and (nearest == own).all())


def miniwiki(count: int) -> list[Passage]:
    from minirag.corpus.miniwiki import MiniWiki

    return MiniWiki.load().passages[:count]
