"""RAG (Lewis et al. 2020 §2): p(y|x) = Σ_z p_η(z|x) p_θ(y|x, z), a query encoder, a frozen index and a generator in one model.

A question's vector finds K passages; each is read with the question; what the generator says of them is weighed by p(z|x).
The documents' vectors and the index stay as they are: training moves the generator, and through doc_scores the query encoder.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.rag.answer import Answer
from minirag.rag.contexts import Contexts
from minirag.rag.decode import Decoder, Generated, Search, decode
from minirag.rag.generator import Generator
from minirag.rag.loss import marginal_loss
from minirag.rag.marginalize import Scheme, document_posterior
from minirag.rag.sample import Sampling, sample
from minirag.retrieval.biencoder import BiEncoder, check_choice
from minirag.retrieval.retriever import Retrieved, Retriever

NullDocument = Literal["embedding", "bias"]
Settings = TypeVar("Settings", Search, Sampling)
COSINES = 20.0  # sentence-transformers' scale of cosines in training, all-MiniLM's among others
NOTHING = Passage("null", "", "")  # the document that holds nothing, so that the generator has to rely on itself


class RagModel(nn.Module):
    """Retriever and generator, and the sums over documents between them.

    Args:
        generator: `Bart`, or a `Seq2Seq` around another encoder–decoder.
        contexts: passages and questions as the generator's tokens.
        encoder: the bi-encoder whose query encoder is trained; None for BM25, or where contexts and scores are given.
        scheme: "sequence" or "token", where nothing else is said: what a checkpoint was trained for.
        null_document: a document more for each question, that of no passage (the paper's appendix D): its score is the inner
            product of the question with a learnt "embedding", or a learnt "bias".
        score_scale: what inner products are multiplied by before they become p(z|x): 1 in the paper. Where vectors have
            length 1 and inner products are cosines, p(z|x) would be nearly flat; such encoders are trained with cosines
            times 20. None: 20 for an encoder that normalises, else 1.
        train_passages: let `doc_scores` encode the passages again, so that the passage encoder learns as well.

    Its parameters are those that training moves. Raises `MiniragError` where the tokenizer is another generator's.
    """

    def __init__(
        self,
        generator: Generator,
        contexts: Contexts,
        encoder: BiEncoder | None = None,
        scheme: Scheme = "sequence",
        null_document: NullDocument | None = None,
        train_passages: bool = False,
        score_scale: float | None = None,
    ) -> None:
        super().__init__()
        _check_tokenizer(generator, contexts)
        for name, value, kind in (("scheme", scheme, Scheme), ("null_document", null_document or "bias", NullDocument)):
            check_choice(name, value, kind)
        if encoder is not None and not train_passages:
            encoder = encoder.with_own_query_encoder()
        self.generator, self.contexts, self.encoder = generator, contexts, encoder
        self.scheme: Scheme = scheme
        self.null_document, self.train_passages = null_document, train_passages
        self.score_scale = score_scale or (COSINES if encoder is not None and encoder.normalize else 1.0)
        self.query_encoder = None if encoder is None else encoder.query_encoder
        self.passage_encoder = encoder.passage_encoder if encoder is not None and train_passages else None
        self.null: nn.Parameter | None = None
        if null_document is not None:
            if null_document == "embedding" and encoder is None:
                raise MiniragError("the null document's embedding is compared with a question's vector; give an encoder")
            self.null = nn.Parameter(torch.zeros(encoder.dim if encoder and null_document == "embedding" else 1))
        self.retriever: Retriever | None = None

    @classmethod
    def from_pretrained(
        cls, path_or_name: str | Path, encoder: BiEncoder | None = None, passage_encoder: str | Path | None = None
    ) -> RagModel:
        """Our own folder, or transformers' RAG checkpoint (facebook/rag-token-nq, …); see `checkpoints.from_pretrained`."""
        from minirag.rag.checkpoints import from_pretrained

        return from_pretrained(path_or_name, encoder, passage_encoder)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write generator, encoder, tokenizers and settings as one folder, whole or not at all; not the index."""
        from minirag.rag.checkpoints import save_pretrained

        save_pretrained(self, folder)

    def with_encoder(self, encoder: BiEncoder | None) -> RagModel:
        """The same generator behind another encoder, or none, for BM25; without a null document that belongs to the old one."""
        return RagModel(self.generator, self.contexts, encoder, self.scheme)

    def attach(self, index: Any, passages: PassageStore) -> RagModel:
        """Search this index over these passages from now on: the memory can be exchanged at any time. Returns itself."""
        self.retriever = Retriever(index, passages, self.encoder)
        return self

    def retrieve(self, questions: Sequence[str], k: int) -> list[Retrieved]:
        """The top k passages of each question."""
        if isinstance(questions, str):
            raise MiniragError("questions are a list of texts, and this is one text; put it into a list")
        if self.retriever is None:
            raise MiniragError("the model has no passages to search; give it an index and its passages with attach()")
        if k > len(self.retriever.index):
            raise MiniragError(f"k = {k} is more than the {len(self.retriever.index)} passages of the index; ask for fewer")
        found = self.retriever.search(questions, k)
        if self.null is None and (lost := next((one for one in found if not one.passages), None)):
            raise MiniragError(f"a question has no document: nothing holds a word of '{lost.question}'; retrieve at least one")
        return found

    def read(self, found: Sequence[Retrieved]) -> tuple[Int64[Tensor, "B K S"], Bool[Tensor, "B K S"]]:
        """What the generator reads: the contexts of retrieved passages and, last, that of the null document if there is one."""
        null = [] if self.null_document is None else [NOTHING]
        width = max(len(one.passages) for one in found)
        filled = [[*one.passages, *[NOTHING] * (width - len(one.passages)), *null] for one in found]
        ids, mask = self.contexts.of([one.question for one in found], filled)
        return ids.to(self.device), mask.to(self.device)

    def doc_scores(self, found: Sequence[Retrieved]) -> Float[Tensor, "B K"]:
        """d(z)ᵀ q(x) of what was retrieved, times `score_scale`.

        With gradients to the query encoder, and to the passage encoder if it is trained; BM25's scores are constants. −inf
        where a question has found fewer passages than another.
        """
        if self.encoder is None:
            return self._with_null(_side_by_side([one.scores for one in found], -torch.inf).to(self.device), None)
        queries = self.encoder.query_vectors([one.question for one in found])  # [B, D]
        rows = _side_by_side([one.rows for one in found], -1)  # [B, K]
        if self.train_passages:
            filled = [[*one.passages, *[NOTHING] * (rows.shape[1] - len(one.passages))] for one in found]
            vectors = self.encoder.passage_vectors([passage for own in filled for passage in own])  # [B·K, D]
        else:
            vectors = self._memory().take(rows.clamp(min=0).flatten()).to(queries)  # [B·K, D]
        scores = torch.einsum("bd,bkd->bk", queries, vectors.unflatten(0, rows.shape))  # [B, K]
        return self._with_null(scores.masked_fill(rows.to(scores.device) < 0, -torch.inf), queries)

    def loss(
        self,
        context_ids: Int[Tensor, "B K S"],
        context_mask: Int[Tensor, "B K S"] | Bool[Tensor, "B K S"],
        doc_scores: Float[Tensor, "B K"],
        targets: Int[Tensor, "B T"],
        scheme: Scheme | None = None,
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, " B"]:
        """−log p(y|x) of each target, in nats, by RAG-Sequence or RAG-Token; see `loss.py` for the smoothing.

        Targets are `<s> y </s>`, padded with the generator's padding or −100; the start token is put before them here.
        """
        logits = self.logits(context_ids, context_mask, targets)  # [B, K, T, V]
        return marginal_loss(logits, targets, doc_scores, self.generator.config.pad_id, scheme or self.scheme, label_smoothing)

    def forward(
        self,
        questions: Sequence[str],
        answers: Sequence[str],
        k: int = 5,
        scheme: Scheme | None = None,
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, " B"]:
        """A training step's losses: retrieve with the query encoder as it is now, and read. One answer for each question."""
        if not questions or len(questions) != len(answers):
            raise MiniragError(f"there are {len(questions)} questions and {len(answers)} answers; give one answer for each")
        found = self.retrieve(questions, k)
        targets = self.contexts.targets(answers).to(self.device)
        return self.loss(*self.read(found), self.doc_scores(found), targets, scheme, label_smoothing)

    def logits(
        self,
        context_ids: Int[Tensor, "B K S"],
        context_mask: Int[Tensor, "B K S"] | Bool[Tensor, "B K S"],
        targets: Int[Tensor, "B T"],
    ) -> Float[Tensor, "B K T V"]:
        """The generator's logits for every target token under every document."""
        config, k = self.generator.config, context_ids.shape[1]
        given = targets.masked_fill(targets == -100, config.pad_id)
        given = torch.cat([torch.full_like(given[:, :1], config.start_id), given[:, :-1]], 1)  # [B, T]
        documents = self.generator.read(context_ids.flatten(0, 1), context_mask.flatten(0, 1))
        return self.generator.logits(documents, given.repeat_interleave(k, 0)).unflatten(0, (-1, k))

    def generate(
        self,
        context_ids: Int[Tensor, "B K S"],
        context_mask: Int[Tensor, "B K S"] | Bool[Tensor, "B K S"],
        doc_scores: Float[Tensor, "B K"],
        decoder: Decoder | None = None,
        **search: Any,
    ) -> Generated:
        """For each question the most probable sequences, best first; keywords are the fields of `Search`.

        Without a `decoder`, "token" for a RAG-Token model and "thorough" for RAG-Sequence.
        """
        with _resting(self):
            return decode(
                self.generator, context_ids, context_mask, doc_scores, self._decoder(decoder), _settings(Search, search)
            )

    def sample(
        self,
        context_ids: Int[Tensor, "B K S"],
        context_mask: Int[Tensor, "B K S"] | Bool[Tensor, "B K S"],
        doc_scores: Float[Tensor, "B K"],
        scheme: Scheme | None = None,
        **sampling: Any,
    ) -> Generated:
        """For each question sequences drawn from p(y|x); keywords are the fields of `Sampling`."""
        with _resting(self):
            return sample(
                self.generator, context_ids, context_mask, doc_scores, scheme or self.scheme, _settings(Sampling, sampling)
            )

    @torch.inference_mode()
    def answer(self, questions: Sequence[str], k: int = 5, decoder: Decoder | None = None, **search: Any) -> list[Answer]:
        """Retrieve, read, decode: for each question its answer with its probability, and the passages with theirs."""
        if not questions:
            return []
        found = self.retrieve(questions, k)
        scores = self._with_null(_side_by_side([one.scores for one in found], -torch.inf).to(self.device), self._queries(found))
        ids, mask = self.read(found)
        generated = self.generate(ids, mask, scores, decoder, **search)
        targets = _side_by_side([torch.tensor(each[0].tokens) for each in generated], -100).to(self.device)  # [B, T]
        with _resting(self):
            logits = self.logits(ids, mask, targets)
        scheme: Scheme = "token" if self._decoder(decoder) == "token" else "sequence"
        heat = document_posterior(logits, targets, scores, self.generator.config.pad_id, scheme)  # [B, T, K]
        real = scores > -torch.inf  # [B, K]
        return [
            Answer(
                question=one.question,
                texts=[self.contexts.text(hypothesis.tokens) for hypothesis in hypotheses],
                hypotheses=hypotheses,
                passages=[*one.passages, *([] if self.null_document is None else [NOTHING])],
                prior=scores[b, real[b]].float().softmax(0).cpu(),
                pieces=self.contexts.pieces(hypotheses[0].tokens),
                posterior=heat[b, : len(hypotheses[0].tokens)][:, real[b]].cpu(),
                scheme=scheme,
            )
            for b, (one, hypotheses) in enumerate(zip(found, generated, strict=True))
        ]

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def _decoder(self, decoder: Decoder | None) -> Decoder:
        return decoder or ("token" if self.scheme == "token" else "thorough")

    def _memory(self) -> Any:
        memory = getattr(self.retriever and self.retriever.index, "memory", None)
        if not hasattr(memory, "take"):  # faiss' has no memory at all, Milvus' tells only where its vectors come from
            raise MiniragError("the index keeps no vectors to train against; attach an ExactIndex or an IVFIndex")
        return memory

    def _queries(self, found: Sequence[Retrieved]) -> Tensor | None:
        if self.null_document != "embedding" or self.encoder is None:
            return None
        return self.encoder.encode_queries([one.question for one in found]).to(self.device)

    def _with_null(self, scores: Float[Tensor, "B K"], queries: Float[Tensor, "B D"] | None) -> Float[Tensor, "B L"]:
        """The scores, scaled, and behind them that of the null document where there is one."""
        scores = self.score_scale * scores
        if self.null is None:
            return scores
        null = self.null.expand(len(scores)) if queries is None or self.null_document == "bias" else queries @ self.null
        return torch.cat([scores, null[:, None]], 1)


def _settings(kind: type[Settings], given: dict[str, Any]) -> Settings:
    names = [field.name for field in dataclasses.fields(kind)]
    if unknown := set(given) - set(names):
        raise MiniragError(f"{unknown.pop()!r} is no setting of {kind.__name__}; choose among {', '.join(names)}")
    return kind(**given)


def _side_by_side(rows: Sequence[Tensor], fill: int | float) -> Tensor:
    """Rows of unequal length as one tensor."""
    width = max(map(len, rows))
    return torch.stack([nn.functional.pad(row, (0, width - len(row)), value=fill) for row in rows])


@contextlib.contextmanager
def _resting(model: nn.Module) -> Iterator[None]:
    """Without dropout, whatever mode each part of the model is in."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _check_tokenizer(generator: Generator, contexts: Contexts) -> None:
    config, tokenizer = generator.config, contexts.tokenizer
    if len(tokenizer) > config.vocab_size:
        raise MiniragError(f"the tokenizer has {len(tokenizer)} tokens, the generator {config.vocab_size}; give its own")
    for name, ours, theirs in (
        ("padding", config.pad_id, tokenizer.pad_token_id),
        ("end", config.eos_id, tokenizer.eos_token_id),
    ):
        if theirs is not None and ours != theirs:  # BERT's, for one, has no token called its end
            raise MiniragError(
                f"the generator's {name} token is number {ours}, the tokenizer's {theirs}; give the generator's own tokenizer"
            )
    if contexts.max_length > config.positions:
        raise MiniragError(
            f"contexts of {contexts.max_length} tokens do not fit the generator's {config.positions} positions; lower it"
        )
