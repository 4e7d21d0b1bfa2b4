"""RagModel: what the generator reads, where gradients go, and an answer with all that it rests on."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from minirag.corpus.miniwiki.prose import read_prose
from minirag.corpus.passages import Article, Passage, split_articles
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.models.bart import Bart, BartConfig
from minirag.models.bert import Bert, BertConfig
from minirag.paths import data_dir
from minirag.rag.answer import Answer
from minirag.rag.contexts import Contexts
from minirag.rag.decode import Hypothesis
from minirag.rag.generator import Seq2Seq
from minirag.rag.marginalize import document_posterior
from minirag.rag.model import NOTHING, RagModel
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.bm25 import BM25Index
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.faiss_index import FaissIndex
from minirag.retrieval.retriever import Retrieved
from minirag.training.tokenizer import make_tokenizer

V, D, K, P = 400, 16, 3, 96  # tokens, dimensions, documents, positions
PAD, EOS = 1, 2
PASSAGES = [
    Passage("a", "Red panda", "The red panda climbs trees in the forests of Nepal."),
    Passage("b", '"Rhine"', "The Rhine flows from the Alps to the North Sea."),
    Passage("c", "Bern", "Bern <script>alert(1)</script> is the capital of Switzerland & lies on the Aare."),
    Passage("d", "", "Rivers run downhill."),
    Passage("e", "Basel", "Basel lies on the Rhine, at a corner of three countries."),
    Passage("f", "Nepal", "Nepal lies between China and India, in the Himalayas."),
]
QUESTIONS = ["Where does the red panda live?", "Which river flows to the sea?", "What is the capital of Switzerland?"]
ANSWERS = ["in Nepal", "the Rhine", "Bern"]

both = pytest.mark.parametrize("scheme", ["sequence", "token"])


@pytest.fixture(scope="module")
def prose() -> list[Passage]:
    """MiniWiki's passages of some articles."""
    files = sorted((data_dir() / "miniwiki" / "prose").glob("*.toml"))[:20]
    return list(split_articles(Article(each.id, each.title, each.text) for each in map(read_prose, files)))


@pytest.fixture(scope="module")
def tokenizer(prose: list[Passage]) -> Any:
    return make_tokenizer([z.text for z in prose], V)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PassageStore:
    return PassageStore.write(tmp_path_factory.mktemp("store") / "p", PASSAGES)


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


@pytest.fixture
def encoder(tokenizer: Any) -> BiEncoder:
    berts = [shaken(Bert(BertConfig(V, D, 2, 4, 24, P, pad_id=PAD))) for _ in range(2)]
    return BiEncoder(*berts, tokenizer, max_length=P, dtype="float32")


def bart() -> Bart:
    """Random, but to it a document matters, as after training."""
    model = shaken(Bart(BartConfig(V, D, 2, 2, 4, 4, 24, 24, P)))
    with torch.no_grad():
        for cross in (layer.cross for layer in model.decoder.layers):
            for linear in (cross.query, cross.value, cross.output):
                linear.weight.mul_(3)
    return model


Make = Callable[..., RagModel]


@pytest.fixture
def make(tokenizer: Any, encoder: BiEncoder, store: PassageStore) -> Make:
    """A tiny model over six passages, and the settings that a test is about."""

    def model(**settings: Any) -> RagModel:
        generator = settings.pop("generator", None) or bart()
        encoder_of = settings.pop("encoder", encoder)
        rag = RagModel(generator, Contexts(tokenizer, P), encoder_of, **settings).eval()
        if encoder_of is None:
            index: Any = BM25Index()
            index.add(PASSAGES)
        else:
            index = ExactIndex(D)
            index.add(encoder_of.encode_passages(PASSAGES))
        return rag.attach(index, store)

    return model


def vectors(model: RagModel) -> torch.Tensor:
    return model.retriever.index.memory.rows(0, len(PASSAGES)).clone()


def test_contexts_are_those_of_transformers(tokenizer: Any, prose: list[Passage]) -> None:
    from transformers import RagRetriever

    passages = [[Passage("", '"Heroes"', "A  song."), *prose[:2]], prose[10:13]]
    questions = ["Who sang  Heroes?", "Où coule le Rhône ?"]
    fields = SimpleNamespace(title_sep=" / ", doc_sep=" // ", max_combined_length=1_000)
    documents = [{"title": [z.title for z in own], "text": [z.text for z in own]} for own in passages]
    for prefix in ("", " ", "question: "):
        retriever = SimpleNamespace(config=fields, generator_tokenizer=tokenizer)
        theirs, mask = RagRetriever.postprocess_docs(retriever, documents, questions, prefix, 3, "pt")
        ids, ours = Contexts(tokenizer, max_length=1_000, prefix=prefix).of(questions, passages)
        longest = int(mask.sum(1).max())
        assert ids.shape == ours.shape == (2, 3, longest)  # not 1,000
        assert torch.equal(ids.flatten(0, 1), theirs[:, :longest])
        assert torch.equal(ours.flatten(0, 1), mask[:, :longest].bool())
    assert not ours.all()  # there was something to pad


def texts(contexts: Contexts, questions: list[str], passages: list[list[Passage]]) -> list[str]:
    ids, mask = contexts.of(questions, passages)
    return [contexts.tokenizer.decode(row[real]) for row, real in zip(ids.flatten(0, 1), mask.flatten(0, 1), strict=True)]


def test_contexts_as_they_read(tokenizer: Any) -> None:
    contexts = Contexts(tokenizer)
    assert texts(contexts, QUESTIONS[:2], [[PASSAGES[1], PASSAGES[3]], [PASSAGES[1], NOTHING]]) == [
        "<s> Rhine / The Rhine flows from the Alps to the North Sea. // Where does the red panda live?</s>",
        "<s> Rivers run downhill. // Where does the red panda live?</s>",
        "<s> Rhine / The Rhine flows from the Alps to the North Sea. // Which river flows to the sea?</s>",
        "<s> // Which river flows to the sea?</s>",
    ]
    other = Contexts(tokenizer, title_sep=": ", doc_sep=" | ", prefix=" ")
    assert texts(other, ["Why?"], [PASSAGES[3:5]]) == [
        "<s> Rivers run downhill. | Why?</s>",
        "<s> Basel: Basel lies on the Rhine, at a corner of three countries. | Why?</s>",
    ]
    assert texts(contexts, ["Why?", "How?"], [PASSAGES[3:4], PASSAGES[4:6]])[1] == "<s> // Why?</s>"  # one found fewer


def test_the_passage_is_cut_and_never_the_question(tokenizer: Any) -> None:
    [[whole]], _ = Contexts(tokenizer).of(QUESTIONS[:1], [PASSAGES[:1]])
    tail = tokenizer(" // " + QUESTIONS[0], add_special_tokens=False)["input_ids"]
    for length in range(len(tail) + 3, len(whole) + 1):
        ids, mask = Contexts(tokenizer, length).of(QUESTIONS[:1], [[PASSAGES[0], NOTHING]])
        assert ids[0, 0].tolist() == [*whole[: length - len(tail) - 1].tolist(), *tail, EOS]
        assert ids[0, 1].tolist() == [0, *tail, EOS] + [PAD] * (length - len(tail) - 2)
        assert mask.sum(2).tolist() == [[length, len(tail) + 2]]
    with pytest.raises(MiniragError, match=rf"'Where .* {len(tail)} tokens .* within {len(tail) + 2}; shorten it$"):
        Contexts(tokenizer, len(tail) + 2).of(QUESTIONS[:1], [PASSAGES[:1]])


def test_targets_are_answers_between_their_special_tokens(tokenizer: Any) -> None:
    contexts = Contexts(tokenizer)
    answers = ["in Nepal", "", "Zürich"]
    targets = contexts.targets(answers)
    words = [tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in answers]
    longest = max(map(len, words)) + 2
    assert targets.tolist() == [[0, *ids, EOS] + [PAD] * (longest - len(ids) - 2) for ids in words]
    assert [contexts.text(row.tolist()) for row in targets] == answers
    assert contexts.pieces(targets[0].tolist())[:2] == ["<s>", tokenizer.decode(words[0][0])]
    assert contexts.targets(answers, max_length=4)[0].tolist() == [0, *words[0][:2], EOS]


@pytest.mark.parametrize(("prefix", "blank"), [(" ", " "), ("question: ", "")])
def test_a_blank_before_contexts_stands_before_answers_too(tokenizer: Any, prefix: str, blank: str) -> None:
    """As in the script with which the paper's authors fine-tune: a word is the same token in a passage and as an answer."""
    targets = Contexts(tokenizer, prefix=prefix).targets(["Nepal"])
    assert targets.tolist() == [[0, *tokenizer(blank + "Nepal", add_special_tokens=False)["input_ids"], EOS]]


def test_passages_are_made_tokens_once_and_the_oldest_are_forgotten(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minirag.rag.contexts.KEPT", 2)
    contexts, made = Contexts(tokenizer), []
    tokens = contexts._tokens
    monkeypatch.setattr(contexts, "_tokens", lambda texts: made.extend(texts) or tokens(texts))
    first = contexts.of(["Why?"], [PASSAGES[:3]])
    assert len(made) == 3 + 1  # and the question
    assert contexts.of(["Why?"], [PASSAGES[1:3]])[0].equal(first[0][:, 1:, : int(first[1][:, 1:].sum(2).max())])
    assert len(made) == 5
    contexts.of(["Why?"], [PASSAGES[:1]])
    assert len(made) == 7  # it had been forgotten


@both
@pytest.mark.parametrize("bm25", [False, True])
def test_the_loss_is_that_of_its_parts(make: Make, scheme: str, bm25: bool) -> None:
    model = make(**{"encoder": None} if bm25 else {})
    questions = ["red panda trees", "capital on the Aare", "Rhine"] if bm25 else QUESTIONS
    losses = model(questions, ANSWERS, k=2, scheme=scheme)
    for question, answer, loss in zip(questions, ANSWERS, losses, strict=True):
        _, rows = model.retriever.index.search([question] if bm25 else model.encoder.encode_queries([question]), 2)
        scores, by_document = [], []
        for row in rows[0][rows[0] >= 0]:
            if bm25:
                scores.append(model.retriever.index.search([question], 6)[0][0, len(scores)])
            else:
                scores.append(model.encoder.encode_queries([question])[0] @ vectors(model)[row])
            ids, mask = model.contexts.of([question], [[PASSAGES[row]]])
            target = model.contexts.targets([answer])
            given = torch.cat([torch.tensor([[EOS]]), target[:, :-1]], 1)
            logits = model.generator.logits(model.generator.read(ids[0], mask[0]), given)
            by_document.append(logits.log_softmax(2)[0].gather(1, target[0, :, None])[:, 0])  # [T]
        prior, tokens = torch.stack(scores).softmax(0), torch.stack(by_document).exp()  # [K], [K, T]
        likelihood = (prior @ tokens.prod(1)).log() if scheme == "sequence" else (prior @ tokens).log().sum()
        assert_close(loss, -likelihood, atol=1e-4, rtol=1e-4)


def test_the_models_scheme_and_smoothing_are_passed_on(make: Make) -> None:
    model = make(scheme="token")
    by_token, by_sequence = (model(QUESTIONS, ANSWERS, K, scheme) for scheme in ("token", "sequence"))
    assert torch.equal(model(QUESTIONS, ANSWERS, K), by_token)
    assert (by_token - by_sequence).abs().max() > 1e-3
    assert (model(QUESTIONS, ANSWERS, K, label_smoothing=0.1) - by_token).abs().max() > 1e-3


def reached(module: torch.nn.Module) -> bool:
    """Whether a gradient has come so far."""
    return any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in module.parameters())


@pytest.mark.parametrize("shared", [False, True])
def test_training_moves_generator_and_query_encoder_alone(make: Make, encoder: BiEncoder, shared: bool) -> None:
    if shared:
        encoder.query_encoder = encoder.passage_encoder
    model = make().train()
    before, passages, questions = vectors(model), encoder.encode_passages(PASSAGES), model.encoder.encode_queries(QUESTIONS)
    parts = (model.generator, model.query_encoder)
    assert {*model.parameters()} == {parameter for part in parts for parameter in part.parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(QUESTIONS, ANSWERS, K).mean().backward()
    assert reached(model.generator)
    assert reached(model.query_encoder)
    assert all(parameter.grad is None for parameter in encoder.passage_encoder.parameters())
    optimizer.step()
    assert torch.equal(vectors(model), before)
    assert torch.equal(encoder.encode_passages(PASSAGES), passages)
    assert torch.equal(model.encoder.encode_passages(PASSAGES), passages)
    assert (model.encoder.encode_queries(QUESTIONS) - questions).abs().min() > 0  # the next search is by the new encoder


@pytest.mark.parametrize("shared", [False, True])
def test_the_passage_encoder_learns_where_that_is_asked_for(make: Make, encoder: BiEncoder, shared: bool) -> None:
    if shared:
        encoder.query_encoder = encoder.passage_encoder
    model = make(train_passages=True)
    before, found = vectors(model), model.retrieve(QUESTIONS, K)
    weight = torch.randn(len(QUESTIONS), K)
    (model.doc_scores(found) * weight).sum().backward()
    assert reached(encoder.passage_encoder)
    assert reached(encoder.query_encoder)
    if not shared:  # the gradient is the scores' own, d(z) being what is learnt
        ours = [parameter.grad for parameter in encoder.passage_encoder.parameters()]
        queries = encoder.query_vectors(QUESTIONS)
        passages = encoder.passage_vectors([z for one in found for z in one.passages]).unflatten(0, (-1, K))
        scores = torch.einsum("bd,bkd->bk", queries, passages)
        theirs = torch.autograd.grad((scores * weight).sum(), list(encoder.passage_encoder.parameters()))
        assert_close(ours, list(theirs))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(QUESTIONS, ANSWERS, K).mean().backward()
    optimizer.step()
    assert torch.equal(vectors(model), before)  # until somebody encodes the passages again
    assert (encoder.encode_passages(PASSAGES) - before).abs().max() > 0


@pytest.mark.parametrize("train_passages", [False, True])
def test_scores_are_the_indexs_own_and_minus_infinity_beyond_what_was_found(make: Make, train_passages: bool) -> None:
    model = make(train_passages=train_passages)
    found = model.retrieve(QUESTIONS, K)
    assert_close(model.doc_scores(found), torch.stack([one.scores for one in found]), atol=1e-5, rtol=1e-5)
    short = found[1]
    found[1] = Retrieved(short.question, short.passages[:1], short.rows[:1], short.scores[:1])
    scores = model.doc_scores(found)
    assert scores[1].tolist() == [pytest.approx(float(short.scores[0]), abs=1e-5), -torch.inf, -torch.inf]
    targets = model.contexts.targets(ANSWERS)
    loss = model.loss(*model.read(found), scores, targets)
    alone = model.loss(*model.read(found[1:2]), model.doc_scores(found[1:2]), targets[1:2])
    assert_close(loss[1:2], alone, atol=1e-4, rtol=1e-4)
    loss.sum().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("train_passages", [False, True])
def test_cosines_are_scaled_before_they_become_probabilities(make: Make, encoder: BiEncoder, train_passages: bool) -> None:
    assert make(train_passages=train_passages).score_scale == 1.0
    encoder.normalize = True
    for model, scale in (
        (make(train_passages=train_passages), 20.0),
        (make(train_passages=train_passages, score_scale=5.0), 5.0),
    ):
        found = model.retrieve(QUESTIONS, K)
        scores = model.doc_scores(found)
        assert_close(scores, scale * torch.stack([one.scores for one in found]), atol=1e-4, rtol=1e-4)
        priors = [answer.prior for answer in model.answer(QUESTIONS, K, max_length=3)]
        assert_close(torch.stack(priors), scores.softmax(1), atol=1e-4, rtol=1e-4)


def test_bm25_gives_constant_scores(make: Make) -> None:
    model = make(encoder=None)
    found = model.retrieve(["red panda", "the Rhine in the Himalayas"], K)
    assert [[z.id for z in one.passages] for one in found] == [["a"], ["f", "b", "e"]]
    scores = model.doc_scores(found)
    assert scores[0].tolist() == [found[0].scores[0], -torch.inf, -torch.inf]
    assert torch.equal(scores[1], found[1].scores)
    assert not scores.requires_grad
    model(["red panda", "the Rhine in the Himalayas"], ANSWERS[:2], K).sum().backward()
    assert reached(model.generator)
    assert [parameter for parameter, _ in model.named_parameters() if not parameter.startswith("generator.")] == []


NO_DOCUMENT = "a question has no document: .*; retrieve at least one"
SENTENCES: dict[str, tuple[Callable[[Make], object], str]] = {
    "more than there is": (lambda make: make().answer(QUESTIONS, k=7), "k = 7 is more than the 6 passages of the index; ask"),
    "more to learn from": (lambda make: make()(QUESTIONS, ANSWERS, k=7), "k = 7 is more than the 6 passages of the index; ask"),
    "an empty question": (lambda make: make().answer(["Why?", "  "]), "question 1 is empty; ask something"),
    "no questions": (lambda make: make()([], [], K), "0 questions and 0 answers; give one answer for each"),
    "no setting": (lambda make: make().answer(QUESTIONS, beam=2), "'beam' is no setting of Search; choose among beams, "),
    "no share": (lambda make: make()(QUESTIONS, ANSWERS, K, label_smoothing=1.5), "label_smoothing = 1.5 is no share"),
    "a text that is no list": (lambda make: make().answer("Why?"), "put it into a list"),
    "no index": (lambda make: make().with_encoder(None).answer(QUESTIONS), r"no passages to search; .* with attach\(\)"),
    "no room": (lambda make: make().answer(["Why? " * P], k=K), "the question 'Why.* leaves no room for a passage within 96"),
    "an answer too few": (lambda make: make()(QUESTIONS, ANSWERS[:2], K), "answer"),
    "no end": (lambda make: make().answer(QUESTIONS, max_length=P + 1), "max_length 97 is above the generator's 96 positions"),
    "one without hits": (lambda make: make(encoder=None).answer(["red panda", "xylophone"]), NO_DOCUMENT),
    "none with hits": (lambda make: make(encoder=None).answer(["xylophone"]), NO_DOCUMENT),
    "nothing to learn from": (lambda make: make(encoder=None)(["xylophone"], ["?"], K), NO_DOCUMENT),
}


@pytest.mark.parametrize("what", SENTENCES)
def test_what_cannot_be_asked_is_said_in_one_sentence(make: Make, what: str) -> None:
    ask, sentence = SENTENCES[what]
    with pytest.raises(MiniragError, match=sentence) as error:
        ask(make)
    assert "\n" not in str(error.value)


def test_an_index_without_vectors_answers_but_does_not_train(make: Make, store: PassageStore) -> None:
    model, index = make(), FaissIndex()
    expected, passages = model.answer(QUESTIONS, K, max_length=4), vectors(model)
    index.add(passages)
    answers = model.attach(index, store).answer(QUESTIONS, K, max_length=4)
    assert [each.passages for each in answers] == [each.passages for each in expected]
    assert [each.text for each in answers] == [each.text for each in expected]
    with pytest.raises(MiniragError, match="the index keeps no vectors to train against; attach an ExactIndex or an IVFIndex"):
        model(QUESTIONS, ANSWERS, K)
    index.memory = SimpleNamespace(encoder="", passages="")  # as Milvus has it: where the vectors come from, and none of them
    with pytest.raises(MiniragError, match="the index keeps no vectors to train against"):
        model(QUESTIONS, ANSWERS, K)


def test_parts_that_do_not_belong_together_are_refused(tokenizer: Any) -> None:
    def model(config: BartConfig, length: int = P, **settings: Any) -> RagModel:
        return RagModel(Bart(config), Contexts(tokenizer, length), **settings)

    sizes = {"dim": 4, "encoder_layers": 1, "decoder_layers": 1, "encoder_heads": 1, "decoder_heads": 1, "positions": P}
    sizes |= {"encoder_inner": 4, "decoder_inner": 4}
    model(BartConfig(V, **sizes))
    with pytest.raises(MiniragError, match=r"^the tokenizer has 400 tokens, the generator 399; give its own$"):
        model(BartConfig(V - 1, **sizes))
    with pytest.raises(MiniragError, match=r"^the generator's padding token is number 3, the tokenizer's 1; give the .* own t"):
        model(BartConfig(V, **sizes, pad_id=3))
    with pytest.raises(MiniragError, match=r"^the generator's end token is number 3, the tokenizer's 2; give the .* own t"):
        model(BartConfig(V, **sizes, eos_id=3))
    with pytest.raises(MiniragError, match=r"^contexts of 97 tokens do not fit the generator's 96 positions; lower it$"):
        model(BartConfig(V, **sizes), P + 1)
    with pytest.raises(MiniragError, match=r"^the null document's embedding .*; give an encoder$"):
        model(BartConfig(V, **sizes), null_document="embedding")


@pytest.mark.parametrize("kind", ["embedding", "bias"])
def test_the_null_document_is_one_more(make: Make, kind: str) -> None:
    model = make(null_document=kind)
    found, plain = model.retrieve(QUESTIONS, K), make(generator=model.generator)
    ids, mask = model.read(found)
    assert ids.shape[:2] == model.doc_scores(found).shape == (len(QUESTIONS), K + 1)
    assert torch.equal(ids[:, :K], plain.read(found)[0])
    assert model.contexts.tokenizer.decode(ids[0, K][mask[0, K]]) == f"<s> // {QUESTIONS[0]}</s>"
    model(QUESTIONS, ANSWERS, K).sum().backward()
    assert model.null.grad.any()
    torch.nn.init.normal_(model.null)
    queries = model.encoder.query_vectors(QUESTIONS)
    expected = queries @ model.null if kind == "embedding" else model.null.expand(len(QUESTIONS))
    assert_close(model.doc_scores(found)[:, K], expected)
    for scores, answer in zip(model.doc_scores(found), model.answer(QUESTIONS, K, max_length=4), strict=True):
        assert answer.passages[K] == NOTHING
        assert_close(answer.prior, scores.softmax(0))
        assert answer.posterior.shape[1] == K + 1
        assert "<b>no passage</b>" in answer._repr_html_()


def test_the_null_document_answers_where_nothing_was_found(make: Make) -> None:
    model = make(encoder=None, null_document="bias")
    for questions in (["xylophone"], ["the Rhine in the Himalayas", "xylophone"]):
        answer = model.answer(questions, K, max_length=4)[-1]
        assert answer.passages == [NOTHING]
        assert answer.prior.tolist() == [1.0]
        assert answer.posterior.tolist() == [[1.0]] * len(answer.pieces)


def test_the_memory_can_be_exchanged(make: Make, encoder: BiEncoder, tmp_path: Path) -> None:
    model = make()
    old = model.retrieve(QUESTIONS, K)
    new = [Passage(f"new {i}", "News", f"{it} is in the news.") for i, it in enumerate(("Bern", "Nepal", "The sea", "Oslo"))]
    index = ExactIndex(D)
    index.add(encoder.encode_passages(new))
    assert model.attach(index, PassageStore.write(tmp_path / "new", new)) is model
    found = model.retrieve(QUESTIONS, K)
    assert all(z in new for one in found for z in one.passages)
    assert not any(z in new for one in old for z in one.passages)
    best = (encoder.encode_queries(QUESTIONS) @ encoder.encode_passages(new).T).topk(K).indices
    assert [[z.id for z in one.passages] for one in found] == [[f"new {i}" for i in row] for row in best.tolist()]
    losses, answers = model(QUESTIONS, ANSWERS, K), model.answer(QUESTIONS, K, max_length=4)
    assert_close(losses, model.loss(*model.read(found), model.doc_scores(found), model.contexts.targets(ANSWERS)))
    assert [answer.passages for answer in answers] == [one.passages for one in found]


def test_as_many_hypotheses_as_asked_for(make: Make) -> None:
    model = make()
    assert model.answer([]) == []
    for decoder in ("token", "thorough", "fast"):
        for count in (1, 2):
            answers = model.answer(QUESTIONS, K, decoder, beams=3, max_length=4, hypotheses=count)
            assert {len(answer.hypotheses) for answer in answers} == {len(answer.texts) for answer in answers} == {count}


@both
@pytest.mark.parametrize("decoder", [None, "token", "thorough"])
@torch.no_grad()
def test_an_answer_says_what_it_rests_on(make: Make, scheme: str, decoder: str | None) -> None:
    model = make(scheme=scheme)
    found = model.retrieve(QUESTIONS, K)
    scores, (ids, mask) = model.doc_scores(found), model.read(found)
    summed_by = {None: scheme, "token": "token", "thorough": "sequence"}[decoder]
    answers = model.answer(QUESTIONS, K, decoder, beams=2, max_length=5, hypotheses=2)
    for b, (answer, one) in enumerate(zip(answers, found, strict=True)):
        best, second = answer.hypotheses
        assert (answer.question, answer.passages, answer.scheme) == (QUESTIONS[b], one.passages, summed_by)
        assert answer.text == answer.texts[0] == model.contexts.text(best.tokens)
        assert answer.texts[1] == model.contexts.text(second.tokens)
        for hypothesis in answer.hypotheses:
            targets = torch.tensor([hypothesis.tokens])
            loss = model.loss(ids[[b]], mask[[b]], scores[[b]], targets, summed_by)
            assert hypothesis.log_probability == pytest.approx(-loss.item(), abs=1e-4)
        assert answer.probability == pytest.approx(torch.tensor(best.log_probability).exp().item())
        assert answer.log_probability == best.log_probability >= second.log_probability
        assert answer.prior.sum() == pytest.approx(1.0)
        assert_close(answer.prior, one.probabilities)
        assert torch.equal(answer.probabilities, answer.prior)
        assert "".join(answer.pieces) == model.contexts.tokenizer.decode(best.tokens)
        assert answer.posterior.shape == (len(best.tokens), K) == (len(answer.pieces), K)
        assert_close(answer.posterior.sum(1), torch.ones(len(best.tokens)))
        logits = model.logits(ids[[b]], mask[[b]], torch.tensor([best.tokens]))
        heat = document_posterior(logits, torch.tensor([best.tokens]), scores[[b]], PAD, summed_by)
        assert_close(answer.posterior, heat[0], atol=1e-4, rtol=1e-4)
        support = answer.posterior[-1] if summed_by == "sequence" else answer.posterior.mean(0)
        assert torch.equal(answer.support, support)


@pytest.mark.parametrize("bm25", [False, True])
@pytest.mark.parametrize("decoder", ["token", "thorough", "fast"])
def test_answers_do_not_depend_on_company(make: Make, decoder: str, bm25: bool) -> None:
    torch.manual_seed(0)
    model = make(**{"encoder": None} if bm25 else {})
    questions = ["red panda", "the Rhine in the Himalayas", "What is the capital?"] if bm25 else QUESTIONS
    together = []
    for end in range(16, 32):  # so sure of the end that some end before others
        model.generator.logits_bias[EOS] = end / 20
        together = model.answer(questions, K, decoder, max_length=6)
        if len({len(answer.pieces) for answer in together}) > 1:
            break
    assert len({len(answer.pieces) for answer in together}) > 1
    for question, answer in zip(questions, together, strict=True):
        (alone,) = model.answer([question], K, decoder, max_length=6)
        assert alone.hypotheses[0].tokens == answer.hypotheses[0].tokens
        assert alone.passages == answer.passages
        assert len(answer.posterior) == len(answer.pieces)
        assert alone.log_probability == pytest.approx(answer.log_probability, abs=1e-4)
        assert_close(alone.prior, answer.prior, atol=1e-4, rtol=1e-4)
        assert_close(alone.posterior, answer.posterior, atol=1e-4, rtol=1e-4)
    assert not bm25 or len({len(answer.passages) for answer in together}) > 1


@both
def test_a_model_decodes_as_it_was_trained(make: Make, scheme: str) -> None:
    model = make(scheme=scheme)
    found = model.retrieve(QUESTIONS, K)
    inputs = (*model.read(found), model.doc_scores(found))
    by_default, of_token, of_sequence = (
        model.generate(*inputs, *decoder, max_length=5).hypotheses for decoder in ((), ("token",), ("thorough",))
    )
    assert by_default == (of_token if scheme == "token" else of_sequence)
    assert of_token != of_sequence


@both
def test_what_is_sampled_has_the_models_own_probability(make: Make, scheme: str) -> None:
    model = make(scheme=scheme).train()
    found = model.eval().retrieve(QUESTIONS, K)
    (ids, mask), scores = model.read(found), model.doc_scores(found)
    drawn = model.train().sample(ids, mask, scores, samples=3, max_length=5, seed=1)
    assert model.training
    assert drawn.hypotheses == model.sample(ids, mask, scores, samples=3, max_length=5, seed=1).hypotheses
    for b, sequences in enumerate(drawn):
        assert len(sequences) == 3
        for y in sequences:
            loss = model.eval().loss(ids[[b]], mask[[b]], scores[[b]], torch.tensor([y.tokens]))
            assert y.log_probability == pytest.approx(-loss.item(), abs=1e-4)


def test_answering_rests_from_training_and_goes_back_to_it(make: Make) -> None:
    model = make()
    expected = model.answer(QUESTIONS, K, max_length=5)
    for training in (True, False):
        model.train(training)
        again = model.answer(QUESTIONS, K, max_length=5)
        assert [each.hypotheses for each in again] == [each.hypotheses for each in expected]  # no dropout
        assert all(torch.equal(a.posterior, b.posterior) for a, b in zip(again, expected, strict=True))
        assert {module.training for module in model.modules()} == {training}
        with pytest.raises(MiniragError):
            model.answer(QUESTIONS, K, max_length=P + 1)
        assert {module.training for module in model.modules()} == {training}
    model.train()
    assert not torch.equal(model(QUESTIONS, ANSWERS, K), model(QUESTIONS, ANSWERS, K))  # there was dropout to be left out


def test_answering_wakes_no_part_that_rests(make: Make) -> None:
    model = make().train()
    model.generator.eval()  # as one does to train the query encoder alone
    model.answer(QUESTIONS, K, max_length=4)
    assert model.query_encoder.training
    assert not any(module.training for module in model.generator.modules())


PAGE = Answer(
    question="Capital of <Switzerland>?",
    texts=["bern", "<i>Basel</i>"],
    hypotheses=[Hypothesis([0, 7, EOS], -0.5, -0.2), Hypothesis([0, 8, EOS], -2.0, -0.7)],  # scores are for ranking alone
    passages=[PASSAGES[2], Passage("x", "<b>", "Berner & <i>Basel</i>"), NOTHING],
    prior=torch.tensor([0.5, 0.3, 0.2]),
    pieces=["<s>", "bern", "</s>"],
    posterior=torch.tensor([[0.5, 0.3, 0.2], [0.7, 0.2, 0.1], [0.9, 0.1, 0.0]]),
    scheme="sequence",
)  # fmt: skip


def test_an_answer_as_a_page() -> None:
    page = PAGE._repr_html_()
    assert "<script" not in page
    assert "<mark>Bern</mark> &lt;script&gt;alert(1)&lt;/script&gt; is the capital of Switzerland &amp; lies" in page
    assert page.count("<mark>") == 1  # a Berner is not Bern
    assert "Capital of &lt;Switzerland&gt;?" in page
    assert "<b>bern</b>" in page
    assert "or: &lt;i&gt;Basel&lt;/i&gt; (0.14)" in page  # e⁻²
    assert "<b>&lt;b&gt;</b><br>Berner &amp; &lt;i&gt;Basel&lt;/i&gt;" in page  # not marked, being the second answer
    assert "p(y|x) = 0.61" in page
    assert [page.count(f">{share}<div") for share in ("0.50", "0.90", "0.70")] == [1, 1, 0]  # a prior, a posterior
    page = dataclasses.replace(PAGE, texts=["<script>", ""])._repr_html_()
    assert "<script" not in page
    assert "<b>&lt;script&gt;</b>" in page
    assert "<mark>&lt;script&gt;</mark>" in page


def test_passages_that_hold_the_answer_and_those_that_support_it() -> None:
    assert PAGE.holding() == [0]
    assert PAGE.support.tolist() == pytest.approx([0.9, 0.1, 0.0])
    assert dataclasses.replace(PAGE, scheme="token").support.tolist() == pytest.approx([0.7, 0.2, 0.1])
    assert dataclasses.replace(PAGE, texts=["& <I>Basel"]).holding() == [1]
    assert dataclasses.replace(PAGE, texts=[""]).holding() == []


def test_markup_in_the_memory_stays_text(make: Make) -> None:
    pages = [answer._repr_html_() for answer in make().answer(QUESTIONS, k=6, max_length=5)]
    assert all("<script" not in page and "&lt;script" in page for page in pages)


@pytest.fixture
def t5() -> Any:
    import transformers as hf

    config = hf.T5Config(
        vocab_size=V, d_model=D, d_kv=4, d_ff=24, num_layers=2, num_heads=4, pad_token_id=PAD, eos_token_id=EOS,
        decoder_start_token_id=PAD,
    )  # fmt: skip
    torch.manual_seed(3)
    model = shaken(hf.T5ForConditionalGeneration(config))
    with torch.no_grad():
        model.lm_head.weight[EOS] *= 12  # so that it ends now and then
    return model


def test_t5_is_a_generator_as_well(make: Make, t5: Any) -> None:
    import transformers as hf

    model = make(generator=Seq2Seq(t5))
    asker = hf.DPRQuestionEncoder(hf.DPRConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1))
    config = hf.RagConfig.from_question_encoder_generator_configs(asker.config, t5.config, n_docs=K)
    peer = hf.RagTokenForGeneration(config, asker, t5).eval()
    found = model.retrieve(QUESTIONS, K)
    (ids, mask), scores, targets = model.read(found), model.doc_scores(found), model.contexts.targets(ANSWERS)
    inputs = {"context_input_ids": ids.flatten(0, 1), "context_attention_mask": mask.flatten(0, 1).long(), "n_docs": K}
    for smoothing in (0.0, 0.1):
        peer.config.label_smoothing = smoothing
        theirs = peer(**inputs, doc_scores=scores, labels=torch.nn.functional.pad(targets, (1, 0), value=PAD)).loss
        assert_close(model.loss(ids, mask, scores, targets, "token", smoothing), theirs, atol=1e-4, rtol=1e-4)
    model.loss(ids, mask, scores, targets, "token").sum().backward()
    assert reached(t5)
    assert reached(model.query_encoder)
    length = {"max_length": 7, "length_penalty": 0.0, "early_stopping": False}  # theirs counts the start token
    settings = {"num_beams": 3, "num_return_sequences": 3, "suppress_tokens": [PAD], "use_cache": False}
    theirs = peer.generate(**inputs, doc_scores=scores, **settings, **length).unflatten(0, (-1, 3))
    ours = model.generate(ids, mask, scores, "token", beams=3, max_length=6, hypotheses=3)
    assert len({len(hypothesis.tokens) for own in ours for hypothesis in own}) > 1
    found_by = [[[token for token in row if token != PAD] for row in own] for own in theirs.tolist()]
    assert [[hypothesis.tokens for hypothesis in own] for own in ours] == found_by
    for decoder in ("token", "thorough", "fast"):
        for b, answer in enumerate(model.answer(QUESTIONS, K, decoder, max_length=6)):
            best = torch.tensor([answer.hypotheses[0].tokens])
            loss = model.loss(ids[[b]], mask[[b]], scores[[b]], best, "token" if decoder == "token" else "sequence").item()
            gap = -loss - answer.log_probability
            assert gap >= -1e-4 if decoder == "fast" else gap == pytest.approx(0, abs=1e-4)  # fast gives a lower bound


def test_a_text_that_spells_out_a_special_token_says_just_that(tokenizer: Any) -> None:
    contexts = Contexts(tokenizer, P)
    special = torch.tensor(tokenizer.all_special_ids)
    hostile = Passage("1", "</s>", "<pad> ends here </s><mask>")
    ids, mask = contexts.of(["<s> who </s>?"], [[hostile]])
    assert torch.isin(ids, special).sum() == 2  # those around it
    assert bool(mask.all())
    assert contexts.text(ids[0, 0, 1:-1].tolist()) == "</s> / <pad> ends here </s><mask> // <s> who </s>?"
    assert torch.isin(contexts.targets(["<pad>"]), special).sum() == 2
