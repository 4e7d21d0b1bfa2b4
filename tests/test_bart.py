"""Our BART, and the RAG models it is a part of, compute what transformers' do, and grow trees that are its chains."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_biencoder import WORDS
from test_biencoder import tokenizer as question_tokenizer
from torch.nn import functional as F
from torch.testing import assert_close

from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.models.bart import OFFSET, Bart, BartConfig
from minirag.models.bart_checkpoints import bart_config, bart_of, load_bart, read_bart, save_bart
from minirag.models.bert import Bert, BertConfig
from minirag.models.linear import LARGE, Linear, linear
from minirag.models.weights import seal
from minirag.rag.checkpoints import from_pretrained
from minirag.rag.contexts import Contexts
from minirag.rag.generator import Seq2Seq
from minirag.rag.model import RagModel
from minirag.retrieval.biencoder import BiEncoder
from minirag.training.tokenizer import make_tokenizer

V, P, PAD = 40, 10, 1
TINY = BartConfig(
    vocab_size=V, dim=16, encoder_layers=2, decoder_layers=3, encoder_heads=4, decoder_heads=2, encoder_inner=20,
    decoder_inner=24, positions=P, activation="relu", scale_embedding=True, dropout=0.2, attention_dropout=0.3,
    activation_dropout=0.4, bos_id=6, pad_id=5, eos_id=4, start_id=3,
)  # fmt: skip
READER = {"vocab_size": 320, "bos_id": 0, "pad_id": PAD, "eos_id": 2, "start_id": 2}  # what goes with `answer_tokenizer`
SIZES = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 2, "encoder_ffn_dim": 20}


def shaken(model: torch.nn.Module) -> Any:
    """Larger random weights everywhere, biases and norms too, so that nothing is right by being zero or one."""
    with torch.no_grad():
        for tensor in [*model.parameters(), *(buffer for buffer in model.buffers() if buffer.is_floating_point())]:
            tensor.add_(torch.randn_like(tensor) * 0.3)
    return model.eval()


def batch(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return torch.where(mask.bool(), torch.randint(2, V, mask.shape), PAD), mask


def peer(seed: int, **fixed: Any) -> Any:
    """transformers' BART of a random shape, with halves that differ in depth, heads and width."""
    import transformers as hf

    torch.manual_seed(seed)
    pick = random.Random(seed).choice
    sizes = {"vocab_size": V, "max_position_embeddings": P, "d_model": pick([8, 16, 24])}
    sizes |= {"activation_function": pick(["gelu", "relu"]), "scale_embedding": pick([True, False])}
    for half in ("encoder", "decoder"):
        sizes |= {f"{half}_layers": pick([1, 2, 3]), f"{half}_attention_heads": pick([1, 2, 4])}
        sizes |= {f"{half}_ffn_dim": pick([12, 20, 32])}
    return shaken(hf.BartForConditionalGeneration(hf.BartConfig(**sizes | fixed)))


def ours_of(theirs: Any) -> Bart:
    return bart_of(theirs.state_dict(), bart_config(theirs.config.to_dict(), Path("config.json")), Path("weights"))


def assert_equal_to(theirs: Any, ours: Bart, bias: bool = True) -> None:
    for lengths in ([P, 5, 1], [4]):
        (ids, mask), tokens = batch(lengths), torch.randint(V, (len(lengths), P))
        expected = theirs(input_ids=ids, attention_mask=mask, decoder_input_ids=tokens)
        encoded, logits = expected.encoder_last_hidden_state, expected.logits - (0 if bias else theirs.final_logits_bias)
        assert_close(ours.encode(ids, mask)[mask.bool()], encoded[mask.bool()], atol=1e-5, rtol=1e-5)
        assert_close(ours.logits(ours.read(ids, mask), tokens), logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_ours_is_transformers_bart(seed: int) -> None:
    assert_equal_to(peer(seed), ours_of(peer(seed)))


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list:
    """Grows by one with every product that oneDNN computes."""
    from minirag.models import linear as module

    asked, product = [], module._product
    monkeypatch.setattr(module, "_product", lambda *given: asked.append(given) or product(*given))
    return asked


@pytest.mark.parametrize("large", [LARGE, 0])  # 0: every product, however small, goes the way of the large ones
@pytest.mark.parametrize("seed", range(4))
def test_gradients_are_transformers(seed: int, large: int, products: list, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minirag.models.linear.LARGE", large)
    theirs, (ids, mask) = peer(seed), batch([7, 4, 2])
    ours, tokens, labels = ours_of(theirs), torch.randint(2, V, (3, 6)), torch.randint(V, (3, 6))
    logits = theirs(input_ids=ids, attention_mask=mask, decoder_input_ids=tokens).logits
    F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum").backward()
    F.cross_entropy(ours.logits(ours.read(ids, mask), tokens).flatten(0, 1), labels.flatten(), reduction="sum").backward()
    grads = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    expected = bart_of(grads, ours.config, Path("gradients"))  # read as if they were weights
    for (name, parameter), grad in zip(ours.named_parameters(), expected.parameters(), strict=True):
        assert_close(parameter.grad, grad.data, atol=5e-5, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
    assert bool(products) == (large == 0 and torch.backends.mkldnn.is_available())


@pytest.mark.parametrize("kind", ["dropout", "attention_dropout", "activation_dropout"])
def test_dropout_falls_where_transformers_drops_and_in_training_alone(kind: str) -> None:
    none = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
    theirs, (ids, mask), tokens = peer(1, **none | {kind: 0.5}), batch([7, 4]), torch.randint(V, (2, 5))
    ours = ours_of(theirs)
    calm = ours.logits(ours.read(ids, mask), tokens)
    torch.manual_seed(5)
    drawn = ours.train().logits(ours.read(ids, mask), tokens)
    torch.manual_seed(5)  # the same coins, thrown in the same order
    expected = theirs.train()(input_ids=ids, attention_mask=mask, decoder_input_ids=tokens).logits
    assert_close(drawn, expected, atol=1e-5, rtol=1e-5)
    assert (drawn - calm).abs().max() > 0.1
    assert torch.equal(ours.eval().logits(ours.read(ids, mask), tokens), calm)


def test_what_a_config_leaves_out_is_transformers_default() -> None:
    import transformers as hf

    assert bart_config({"model_type": "bart"}, Path("c")) == bart_config(hf.BartConfig().to_dict(), Path("c"))


def test_position_i_is_row_i_plus_two() -> None:
    bart, (ids, mask) = shaken(Bart(TINY)), batch([P, P])
    encoded, tokens = bart.encode(ids, mask), torch.randint(V, (2, P))
    logits = bart.logits(bart.read(ids, mask), tokens)
    with torch.no_grad():
        bart.encoder.positions.weight[:OFFSET] = bart.decoder.positions.weight[:OFFSET] = torch.nan  # nobody reads them
    assert torch.equal(bart.logits(bart.read(ids, mask), tokens), logits)
    order = torch.randperm(P)  # words that move with their positions, and only they, take their vectors along
    with torch.no_grad():
        bart.encoder.positions.weight[2:] = bart.encoder.positions.weight[2:][order]
    assert_close(bart.encode(ids[:, order], mask), encoded[:, order], atol=1e-5, rtol=1e-5)
    assert (bart.encode(ids, mask) - encoded).abs().max() > 0.1
    with torch.no_grad():
        bart.decoder.positions.weight[4 + 2] *= -1  # the logits of the token at 4 and of all after it change, no others
    changed = (bart.logits(bart.read(ids[:, order], mask), tokens) - logits).abs().amax((0, 2)) > 1e-3
    assert changed.tolist() == [False] * 4 + [True] * (P - 4)


def test_limits_are_said() -> None:
    bart, (ids, mask) = Bart(TINY).eval(), batch([P + 1])
    too_long = f"text of {P + 1} tokens is longer than this BART's {P} positions"
    with pytest.raises(MiniragError, match=too_long):
        bart.read(ids, mask)
    documents = bart.read(*batch([P]))
    with pytest.raises(MiniragError, match=too_long):
        bart.logits(documents, ids)
    tree = bart.tree(documents)
    for step in range(P):
        tree.grow(ids[:, step : step + 1], torch.zeros(1, 1, dtype=torch.long))
    with pytest.raises(MiniragError, match=too_long):
        tree.grow(ids[:, -1:], torch.zeros(1, 1, dtype=torch.long))
    with pytest.raises(MiniragError, match="16 dimensions cannot be shared among 4 and 3 heads"):
        BartConfig(dim=16, encoder_heads=4, decoder_heads=3)


@pytest.mark.parametrize("seed", range(12))
def test_a_growing_tree_is_teacher_forcing_along_each_path(seed: int) -> None:
    torch.manual_seed(seed)
    bart, (ids, mask), widths = shaken(Bart(TINY)), batch([6, 3, 5]), random.Random(seed).choices((1, 2, 3, 4), k=6)
    tree, paths, grown = bart.tree(bart.read(ids, mask)), torch.empty(3, 1, 0, dtype=torch.long), 0
    for step, width in enumerate(widths):
        if torch.rand(()) < 0.6:  # at any time, even before the first, documents are dropped, repeated, put in another order
            rows = torch.randint(len(ids), (int(torch.randint(1, 5, ())),))
            tree.keep(rows)
            ids, mask, paths = ids[rows], mask[rows], paths[rows]
        tokens = torch.randint(V, (len(ids), width))
        parents = torch.randint(paths.shape[1], tokens.shape)  # leaves may go childless, or have many children
        paths = torch.cat([paths.take_along_dim(parents[:, :, None], 1), tokens[:, :, None]], 2)
        logits, grown = tree.grow(tokens, parents if step else None), grown + tokens.numel()
        expected = [bart.logits(bart.read(ids, mask), paths[:, leaf])[:, -1] for leaf in range(width)]
        assert_close(logits, torch.stack(expected, 1), atol=1e-5, rtol=1e-5)
    assert (tree.computed, tree.depth) == (grown, len(widths))


@settings(max_examples=25)
@given(length=st.integers(1, 6), padding=st.integers(0, 4), company=st.integers(0, 3), later=st.integers(0, 4))
def test_padding_company_and_what_comes_later_change_nothing(length: int, padding: int, company: int, later: int) -> None:
    torch.manual_seed(0)
    bart, ids, tokens = shaken(Bart(TINY)), torch.randint(V, (1, length)), torch.randint(V, (1, 5))
    padded = torch.randint(V, (1 + company, length + padding))  # what stands at padding must not matter, so it is random
    mask, more = torch.ones_like(padded), torch.randint(V, (1 + company, 5 + later))
    padded[0, :length], mask[0, length:], more[0, :5] = ids, 0, tokens
    alone = bart.read(ids, torch.ones_like(ids))
    assert_close(bart.encode(padded, mask)[0, :length], bart.encode(ids, torch.ones_like(ids))[0], atol=1e-5, rtol=1e-5)
    assert_close(bart.logits(bart.read(padded, mask), more)[0, :5], bart.logits(alone, tokens)[0], atol=1e-5, rtol=1e-5)


def write(layout: str, folder: Path) -> Any:
    """transformers' BART in one of the layouts of the wild; a safetensors file where `layout` does not say "bin"."""
    model = peer(2, **SIZES)
    inner = model.model if "headless" in layout else model
    inner.save_pretrained(folder)
    if "bin" in layout:
        (folder / "model.safetensors").unlink()
        words = {"bin with all copies": "", "bin with lm_head alone": "shared embed_tokens"}.get(layout, "embed_tokens lm_head")
        state = {name: tensor for name, tensor in inner.state_dict().items() if not {*words.split()} & {*name.split(".")}}
        torch.save(state, folder / "pytorch_model.bin")
    return model


LAYOUTS = ["whole", "headless", "bin", "headless bin", "bin with all copies", "bin with lm_head alone"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_transformers_logits(tmp_path: Path, layout: str) -> None:
    theirs = write(layout, tmp_path)
    assert_equal_to(theirs, read_bart(tmp_path), bias="headless" not in layout)


def test_what_we_save_loads_here_and_in_transformers(tmp_path: Path) -> None:
    import transformers as hf

    bart, tokenizer = shaken(Bart(TINY)), make_tokenizer(["a red panda"], 300)
    save_bart(tmp_path / "b", bart, tokenizer)
    again, its_tokenizer = load_bart(tmp_path / "b")
    assert again.config == TINY
    assert not again.training
    assert_close(again.state_dict(), bart.state_dict(), atol=0, rtol=0)
    assert its_tokenizer("red panda")["input_ids"] == tokenizer("red panda")["input_ids"]
    theirs, report = hf.BartForConditionalGeneration.from_pretrained(tmp_path / "b", output_loading_info=True)
    assert not any(report.values())
    assert theirs.config.decoder_start_token_id == TINY.start_id
    assert_equal_to(theirs.eval(), bart)
    save_bart(tmp_path / "b", bart.bfloat16())  # half the disk, read in float32
    half, nothing = load_bart(tmp_path / "b")
    assert nothing is None
    assert half.words.weight.dtype == torch.float32
    assert torch.equal(half.words.weight, bart.words.weight.float())


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_flipped_bit_in_our_own_folder_is_found(tmp_path: Path, name: str) -> None:
    save_bart(tmp_path / "b", Bart(TINY))
    flip(tmp_path / "b" / name)
    with pytest.raises(MiniragError, match=f"{name} is missing or differs from its checksum"):
        load_bart(tmp_path / "b")


class Evil:
    def __reduce__(self) -> tuple:
        return (print, ("this ran",))


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-5] ^= 1
    path.write_bytes(raw)


def edit_config(folder: Path, **changes: object) -> None:
    """None takes a field away."""
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


def edit_state(folder: Path, edit: Callable[[dict], object]) -> None:
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    edit(state)
    torch.save(state, folder / "pytorch_model.bin")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


FC1, WORDS_COPY = "model.encoder.layers.1.fc1.bias", "model.decoder.embed_tokens.weight"
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a tensor gone": (lambda f: edit_state(f, lambda s: s.pop(FC1)), "lacks encoder.layers.1.fc1.bias"),
    "no words": (lambda f: edit_state(f, lambda s: s.pop("model.shared.weight")), "lacks shared.weight"),
    "a tensor more": (lambda f: edit_state(f, lambda s: s.update(adapter=torch.ones(1))), "unknown adapter"),
    "a tensor twice": (lambda f: edit_state(f, lambda s: s.update({FC1[6:]: torch.ones(20)})), "encoder.layers.1.fc1.bias"),
    "a tensor of another shape": (lambda f: edit_state(f, lambda s: s.update({FC1: torch.ones(21)})), r"fc1.bias .*\[21\]"),
    "a bias of another shape": (
        lambda f: edit_state(f, lambda s: s.update(final_logits_bias=torch.ones(1, V + 1))), r"final_logits_bias .*\[41\]",
    ),
    "words that differ": (
        lambda f: edit_state(f, lambda s: s.update({WORDS_COPY: s["model.shared.weight"] * 1.000001})), "that differ",
    ),
    "fewer layers": (lambda f: edit_config(f, encoder_layers=1), "unknown encoder.layers.1"),
    "fewer positions": (lambda f: edit_config(f, max_position_embeddings=8), r"\[12, 16\] where .* asks for \[10, 16\]"),
    "another model": (lambda f: edit_config(f, model_type="mbart"), "type 'mbart'"),
    "untied": (lambda f: edit_config(f, tie_word_embeddings=False), "output projection of its own"),
    "another activation": (lambda f: edit_config(f, activation_function="swish"), "'swish' is not built here"),
    "heads": (lambda f: edit_config(f, decoder_attention_heads=3), "cannot be shared among 4 and 3 heads"),
    "a size that is text": (lambda f: edit_config(f, d_model="16"), "d_model = '16', which cannot be"),
    "a size below nothing": (lambda f: edit_config(f, encoder_ffn_dim=-1), "encoder_ffn_dim = -1, which cannot be"),
    "two ends": (lambda f: edit_config(f, eos_token_id=[2, 3]), r"eos_token_id = \[2, 3\], which cannot be"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json does not exist"),
    "a config that is a list": (lambda f: (f / "config.json").write_text("[]"), "type None"),
    "no weights": (lambda f: (f / "pytorch_model.bin").unlink(), "neither model.safetensors nor pytorch_model.bin"),
    "cut": (lambda f: cut(f / "pytorch_model.bin"), "pytorch_model.bin"),
    "a program": (lambda f: torch.save({"x": Evil()}, f / "pytorch_model.bin"), "could run code"),
    "safetensors cut": (lambda f: (f / "model.safetensors").write_bytes(b"\x10\0\0"), "model.safetensors is damaged"),
}  # fmt: skip


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("healthy")
    write("bin", folder)
    edit_config(folder)
    read_bart(folder)  # what is found below is what was done there
    return folder


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found_and_named(healthy: Path, tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(healthy, tmp_path / "f")
    damage, message = FAULTS[fault]
    damage(tmp_path / "f")
    with pytest.raises(MiniragError, match=message) as error:
        read_bart(tmp_path / "f")
    assert "\n" not in str(error.value)
    assert "this ran" not in capsys.readouterr().out


D = 512  # so that a weight of D rows is just LARGE


@pytest.mark.parametrize("shape", [(3, D), (2, 3, D), (D,), (0, D)])
@pytest.mark.parametrize("rows", [D - 1, D])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_torchs_in_value_and_gradient(shape: tuple[int, ...], rows: int, bias: bool, products: list) -> None:
    given = [torch.randn(shape), torch.randn(rows, D) / D**0.5, *([torch.randn(rows)] if bias else [])]
    x, weight, b = [tensor.requires_grad_() for tensor in given] + [None] * (not bias)
    value, exact = linear(x, weight, b), F.linear(x.double(), weight.double(), b if b is None else b.double())
    assert_close(value, exact.float(), atol=1e-5, rtol=1e-5)
    towards = torch.randn_like(value)
    expected = torch.autograd.grad(exact, given, towards.double())
    assert_close(torch.autograd.grad(value, given, towards), expected, atol=2e-5, rtol=1e-5)
    large = rows == D and len(shape) > 1 and shape[0] > 0  # neither a single vector nor nothing at all
    assert bool(products) == (large and torch.backends.mkldnn.is_available())
    with torch.no_grad():
        assert_close(linear(x, weight, b), value.detach(), atol=1e-5, rtol=1e-5)


def test_linear_takes_any_strides_and_derives_only_what_learns(products: list) -> None:
    x, layer = torch.randn(D, 3).T.requires_grad_(), Linear(D, D)
    layer.weight = torch.nn.Parameter(torch.randn(D, D).T / D**0.5, requires_grad=False)
    layer(x).sum().backward()  # the gradient that comes in has strides of zero
    assert_close(x.grad, layer.weight.sum(0).expand(3, -1), atol=2e-5, rtol=1e-5)
    assert_close(layer.bias.grad, torch.full((D,), 3.0))
    assert layer.weight.grad is None
    assert len(products) == 2 * torch.backends.mkldnn.is_available()  # forward, and towards x


@pytest.mark.parametrize("why", [torch.float64, torch.bfloat16, "no oneDNN"])
def test_linear_falls_back(why: Any, products: list, monkeypatch: pytest.MonkeyPatch) -> None:
    if why == "no oneDNN":
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    dtype = why if isinstance(why, torch.dtype) else torch.float32
    x, weight, bias = (torch.randn(shape, dtype=dtype, requires_grad=True) for shape in ((3, D), (D, D), D))
    assert torch.equal(linear(x, weight, bias), F.linear(x, weight, bias))
    assert not products


def test_a_second_derivative_of_linear_is_refused_and_not_wrong() -> None:
    x, weight = torch.randn(3, D, requires_grad=True), torch.randn(D, D, requires_grad=True)
    first = torch.autograd.grad(linear(x, weight, None).pow(2).sum(), x, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="twice"):
        first.sum().backward()


QUESTIONS = ["Where does the red panda live?", "What flows near the old city?"]
PASSAGES = [
    [Passage("1", "red panda", "It lives near the mountain."), Passage("2", "", "A river."), Passage("3", "city", "Old.")],
    [Passage("4", "Blue", "The blue river flows in and in and in."), Passage("5", "a", "b"), Passage("6", "young", "Panda")],
]
ANSWERS = ["near the mountain", "a river"]
TEXTS = [*QUESTIONS, *ANSWERS, *(passage.text for own in PASSAGES for passage in own)]


def answer_tokenizer(size: int = 320) -> Any:
    return make_tokenizer(TEXTS, size)


def write_rag(folder: Path, scheme: str = "Token") -> Any:
    """transformers' RAG with all that its folders hold; separators and lengths are not the defaults."""
    import transformers as hf

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    dpr = hf.DPRConfig(**sizes, vocab_size=len(WORDS) + 4, max_position_embeddings=256, projection_dim=0)
    bart = peer(5, vocab_size=len(answer_tokenizer()), max_position_embeddings=48)
    bart.config.prefix = " "
    config = hf.RagConfig.from_question_encoder_generator_configs(
        dpr, bart.config, title_sep=" | ", doc_sep=" ? ", max_combined_length=44, n_docs=3
    )
    model = getattr(hf, f"Rag{scheme}ForGeneration")(config, shaken(hf.DPRQuestionEncoder(dpr)), bart).eval()
    model.save_pretrained(folder)
    question_tokenizer().save_pretrained(folder / "question_encoder_tokenizer")
    answer_tokenizer().save_pretrained(folder / "generator_tokenizer")
    return model


@pytest.mark.parametrize("scheme", ["Token", "Sequence"])
def test_a_transformers_rag_checkpoint_has_transformers_loss(tmp_path: Path, scheme: str) -> None:
    theirs = write_rag(tmp_path, scheme)
    ours = RagModel.from_pretrained(tmp_path)
    assert (ours.scheme, ours.training, ours.null_document) == (scheme.lower(), False, None)
    (ids, mask), targets = ours.contexts.of(QUESTIONS, PASSAGES), ours.contexts.targets(ANSWERS)
    assert ours.contexts.text(ids[0, 0][mask[0, 0]].tolist()) == f"red panda | It lives near the mountain. ? {QUESTIONS[0]}"
    assert (targets == PAD).any()
    assert not mask.all()
    scores = torch.randn(2, 3)
    contexts = {"context_input_ids": ids.flatten(0, 1), "context_attention_mask": mask.flatten(0, 1).long()}
    labels = torch.cat([torch.full((2, 1), ours.generator.config.start_id), targets], 1)
    theirs_loss = theirs(**contexts, doc_scores=scores, labels=labels).loss
    assert_close(ours.loss(ids, mask, scores, targets), theirs_loss, atol=1e-4, rtol=1e-5)
    other = ours.loss(ids, mask, scores, targets, "sequence" if scheme == "Token" else "token")
    assert (other - theirs_loss).abs().max() > 0.05  # the schemes differ, so the right one was taken
    inputs = question_tokenizer()(QUESTIONS, padding=True, return_tensors="pt", return_token_type_ids=False)
    assert_close(ours.encoder.query_vectors(QUESTIONS), theirs.question_encoder(**inputs)[0], atol=1e-5, rtol=1e-5)


def test_settings_come_from_the_rag_config(tmp_path: Path) -> None:
    write_rag(tmp_path)

    def contexts(**changes: object) -> tuple:
        edit_config(tmp_path, **changes)
        found = from_pretrained(tmp_path).contexts
        return found.max_length, found.title_sep, found.doc_sep, found.prefix

    assert contexts() == (44, " | ", " ? ", " ")
    assert contexts(max_combined_length=440, title_sep=None) == (48, " / ", " ? ", " ")  # no more than there are positions


def test_the_parts_that_a_checkpoint_does_not_hold_can_be_given(tmp_path: Path) -> None:
    import transformers as hf

    theirs = write_rag(tmp_path / "rag")
    passage_encoder = shaken(hf.DPRContextEncoder(theirs.config.question_encoder))
    passage_encoder.save_pretrained(tmp_path / "passages")
    encoder = from_pretrained(tmp_path / "rag", passage_encoder=tmp_path / "passages").encoder
    ids = torch.tensor([encoder.tokenize_passages(PASSAGES[0][:1])[0]])
    expected = passage_encoder(ids).pooler_output
    assert_close(encoder.passage_vectors(PASSAGES[0][:1]), expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(MiniragError, match="no passage encoder here"):
        from_pretrained(tmp_path / "rag").encoder.passage_vectors(PASSAGES[0])
    assert from_pretrained(tmp_path / "rag", encoder).encoder is encoder


def test_a_bart_alone_is_a_model_too(tmp_path: Path) -> None:
    save_bart(tmp_path / "b", Bart(replace(TINY, **READER)), answer_tokenizer())
    model = from_pretrained(tmp_path / "b")
    assert (model.scheme, model.encoder, model.contexts.max_length, model.contexts.prefix) == ("sequence", None, P, "")
    edit_config(tmp_path / "b", prefix=" ")
    assert from_pretrained(tmp_path / "b").contexts.prefix == " "
    edit_config(tmp_path / "b", model_type="t5")
    with pytest.raises(MiniragError, match="type 't5'; give a RAG model or a BART"):
        from_pretrained(tmp_path / "b")


def own(null: str | None = None, encoder: bool = True, train_passages: bool = False) -> RagModel:
    """One of ours, none of whose settings is a default."""
    bert = BertConfig(vocab_size=len(WORDS) + 4, dim=8, layers=1, heads=2, inner=8, positions=20)
    parts = [shaken(Bert(bert)), shaken(Bert(bert)), question_tokenizer(), "mean", True, "joined", 19, "float32"]
    contexts = Contexts(answer_tokenizer(), 40, " | ", " ? ", " ")
    bart = Bart(replace(TINY, **READER, positions=44))
    return shaken(RagModel(bart, contexts, BiEncoder(*parts) if encoder else None, "token", null, train_passages))


@pytest.mark.parametrize(
    ("null", "encoder", "train_passages"),
    [(None, True, True), ("embedding", True, False), ("bias", True, True), ("bias", False, False), (None, False, False)],
)
def test_a_saved_rag_model_is_read_again_equal(tmp_path: Path, null: str | None, encoder: bool, train_passages: bool) -> None:
    model = own(null, encoder, train_passages)
    for _ in range(2):  # the second replaces the first
        model.save_pretrained(tmp_path / "rag")
    again = RagModel.from_pretrained(tmp_path / "rag")
    assert (again.scheme, again.null_document, again.train_passages) == ("token", null, train_passages)
    assert again.generator.config == model.generator.config
    assert_close(again.state_dict(), model.state_dict(), atol=0, rtol=0)
    assert not again.training
    ids, mask = model.contexts.of(QUESTIONS, PASSAGES)
    assert all(map(torch.equal, again.contexts.of(QUESTIONS, PASSAGES), (ids, mask)))
    with_null, targets = torch.randn(2, 3), again.contexts.targets(ANSWERS)
    assert torch.equal(again.loss(ids, mask, with_null, targets), model.loss(ids, mask, with_null, targets))
    if encoder:
        assert torch.equal(again.encoder.encode_queries(QUESTIONS), model.encoder.encode_queries(QUESTIONS))
        assert torch.equal(again.encoder.encode_passages(PASSAGES[0]), model.encoder.encode_passages(PASSAGES[0]))
    other = own().encoder
    assert null == "embedding" or from_pretrained(tmp_path / "rag", other).encoder is other


def wrong_tokenizer(folder: Path, **names: str) -> None:
    tokenizer = answer_tokenizer(320 if names else 321)
    for name, token in names.items():
        setattr(tokenizer, name, token)
    tokenizer.save_pretrained(folder / "generator_tokenizer")


def edit_tensors(folder: Path, edit: Callable[[dict], object]) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    edit(state)
    save_file(state, folder / "model.safetensors")


RAG_WORDS, TOKENIZERS = "rag.generator.model.shared.weight", ("question_encoder_tokenizer", "generator_tokenizer")
RAG_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no generator config": (lambda f: edit_config(f, generator=None), "lacks the config of its generator"),
    "no question config": (lambda f: edit_config(f, question_encoder=None), "lacks the config of its .* question encoder"),
    "another generator": (lambda f: edit_config(f, generator={"model_type": "t5"}), "type 't5'"),
    "another model": (lambda f: edit_config(f, model_type="fid"), "type 'fid'"),
    "an unknown part": (lambda f: edit_tensors(f, lambda s: s.update(adapter=torch.ones(1))), "an unknown adapter"),
    "an unknown tensor": (
        lambda f: edit_tensors(f, lambda s: s.update({"rag.generator.adapter": torch.ones(1)})), "an unknown adapter",
    ),
    "no generator": (lambda f: edit_tensors(f, lambda s: s.pop(RAG_WORDS)), "lacks shared.weight"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "neither model.safetensors nor pytorch_model.bin"),
    **{f"no {name}": (lambda f, name=name: shutil.rmtree(f / name), f"{name} holds no tokenizer") for name in TOKENIZERS},
    "an empty tokenizer": (
        lambda f: [path.unlink() for path in (f / "generator_tokenizer").iterdir()], "generator_tokenizer holds no tokenizer",
    ),
    "a broken tokenizer": (lambda f: cut(f / "generator_tokenizer/tokenizer.json"), "generator_tokenizer holds no tokenizer"),
    "a larger tokenizer": (wrong_tokenizer, "tokenizer has 321 tokens, the generator 320"),
    "another padding": (lambda f: wrong_tokenizer(f, pad_token="<unk>"), "padding token is number 1, the tokenizer's 3"),
    "another end": (lambda f: wrong_tokenizer(f, eos_token="<s>"), "end token is number 2, the tokenizer's 0"),
}  # fmt: skip


@pytest.fixture(scope="module")
def healthy_rag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rag")
    write_rag(folder)
    edit_config(folder)
    edit_tensors(folder, lambda state: None)
    from_pretrained(folder)  # what is found below is what was done there
    return folder


@pytest.mark.parametrize("fault", RAG_FAULTS)
def test_faults_of_a_rag_checkpoint_are_found_and_named(healthy_rag: Path, tmp_path: Path, fault: str) -> None:
    shutil.copytree(healthy_rag, tmp_path / "f")
    damage, message = RAG_FAULTS[fault]
    damage(tmp_path / "f")
    with pytest.raises(MiniragError, match=message) as error:
        from_pretrained(tmp_path / "f")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    ["rag.json", "null.safetensors", "generator/model.safetensors", "generator/tokenizer.json", "encoder/biencoder.json"]
    + [f"encoder/{side}_encoder/model.safetensors" for side in ("query", "passage")],
)
def test_a_change_in_a_sealed_rag_folder_is_found(tmp_path: Path, name: str) -> None:
    own("bias").save_pretrained(tmp_path / "rag")
    flip(tmp_path / "rag" / name)
    with pytest.raises(MiniragError, match=f"{name} is missing or differs from its checksum"):
        from_pretrained(tmp_path / "rag")
    (tmp_path / "rag" / name).unlink()
    with pytest.raises(MiniragError, match=f"{name}|config.json does not exist"):  # without rag.json it is no longer ours
        from_pretrained(tmp_path / "rag")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("checksums.json", "[1]", "is no list of files and checksums"),
        ("rag.json", "[]", "is not of 'minirag RAG 1'"),
        ("rag.json", '{"format": "minirag RAG 1"}', "lacks a setting"),
    ],
)
def test_a_rewritten_rag_folder_is_no_traceback(tmp_path: Path, name: str, content: str, says: str) -> None:
    own().save_pretrained(tmp_path / "rag")
    if name != "checksums.json":
        (tmp_path / "rag" / "checksums.json").write_text("{}")  # as somebody would who edits by hand
    (tmp_path / "rag" / name).write_text(content)
    with pytest.raises(MiniragError, match=says):
        from_pretrained(tmp_path / "rag")


def test_what_cannot_be_read_or_written_is_said(tmp_path: Path) -> None:
    model = own()
    model.save_pretrained(tmp_path / "rag")
    settings = json.loads((tmp_path / "rag" / "rag.json").read_text())
    (tmp_path / "rag" / "rag.json").write_text(json.dumps(settings | {"format": "minirag RAG 0"}))
    seal(tmp_path / "rag")
    with pytest.raises(MiniragError, match="not of 'minirag RAG 1'"):
        from_pretrained(tmp_path / "rag")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("precious")
    with pytest.raises(MiniragError, match="something other than what is to be written"):
        model.save_pretrained(tmp_path / "thesis")
    with pytest.raises(MiniragError, match="something other than what is to be written"):
        save_bart(tmp_path / "thesis", model.generator)
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["thesis.tex"]
    other = RagModel(Seq2Seq(peer(0, vocab_size=320, max_position_embeddings=64)), model.contexts)
    with pytest.raises(MiniragError, match="only a BART generator can be saved here"):
        other.save_pretrained(tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rag", "thesis"]
