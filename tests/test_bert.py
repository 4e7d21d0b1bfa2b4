"""Our BERT computes what transformers' does, from every layout its weights come in."""

import collections
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from minirag.errors import MiniragError
from minirag.models.bert import Bert, BertConfig
from minirag.models.bert_checkpoints import load_bert, read_bert, save_bert
from minirag.models.transformer import Attention, EncoderLayer

V, D, L, H, INNER, P = 50, 16, 3, 4, 40, 24
TINY = BertConfig(vocab_size=V, dim=D, layers=L, heads=H, inner=INNER, positions=P)
SIZES = {
    "vocab_size": V,
    "hidden_size": D,
    "num_hidden_layers": L,
    "num_attention_heads": H,
    "intermediate_size": INNER,
    "max_position_embeddings": P,
}


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """Larger random weights everywhere, biases and norms too, so that nothing is right by being zero or one."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def batch(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return torch.randint(1, V, mask.shape) * mask, mask


def write(kind: str, folder: Path) -> torch.nn.Module:
    """A random model in one of the layouts of the wild; returns transformers' own module with the hidden states."""
    import transformers as hf

    dpr = hf.DPRConfig(**SIZES, projection_dim=0)
    bert = hf.BertConfig(**SIZES)
    if kind == "question":
        model = shaken(hf.DPRQuestionEncoder(dpr))
        inner = model.question_encoder.bert_model
    elif kind == "passage":
        model = shaken(hf.DPRContextEncoder(dpr))
        inner = model.ctx_encoder.bert_model
    elif kind == "masked lm":
        model = shaken(hf.BertForMaskedLM(bert))
        inner = model.bert
    else:
        model = inner = shaken(hf.BertModel(bert))
    model.save_pretrained(folder)
    if kind in ("bin", "contriever"):  # Contriever is a plain BERT in pytorch_model.bin, with position_ids stored
        (folder / "model.safetensors").unlink()
        state = dict(model.state_dict())
        if kind == "contriever":
            state["embeddings.position_ids"] = torch.arange(P)[None]
        torch.save(state, folder / "pytorch_model.bin")
    return inner


@pytest.mark.parametrize("kind", ["question", "passage", "plain", "masked lm", "bin", "contriever"])
def test_every_layout_gives_transformers_hidden_states(tmp_path: Path, kind: str) -> None:
    theirs = write(kind, tmp_path)
    ours = read_bert(tmp_path, side=kind if kind in ("question", "passage") else None)
    for lengths in ([5, 3, 1], [P, 2], [4]):
        ids, mask = batch(lengths)
        expected = theirs(ids, mask).last_hidden_state
        assert_close(ours(ids, mask)[mask.bool()], expected[mask.bool()], atol=1e-5, rtol=1e-5)
        assert_close(ours.cls(ids, mask), expected[:, 0], atol=1e-5, rtol=1e-5)


def test_token_types_are_zero_as_dpr_was_trained(tmp_path: Path) -> None:
    theirs = write("passage", tmp_path)
    ids, mask = batch([6])
    pair = torch.tensor([[0, 0, 0, 1, 1, 1]])  # what a tokenizer offers for title and text
    ours = read_bert(tmp_path)(ids, mask)
    assert_close(ours, theirs(ids, mask, torch.zeros_like(pair)).last_hidden_state, atol=1e-5, rtol=1e-5)
    assert (ours - theirs(ids, mask, pair).last_hidden_state).abs().max() > 0.1  # the trap, and that the test would see it


def test_attention_by_hand() -> None:
    attention = Attention(2, 1)
    for linear in (attention.query, attention.key, attention.value, attention.output):
        torch.nn.init.eye_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    x, context = torch.tensor([[[2.0**0.5, 0.0]]]), torch.tensor([[[0.0, 1.0], [3.0, 0.0]]])
    weight = 1 / (1 + torch.e**-3)  # q·k/√2 is 0 and 3
    assert_close(attention(x, context), torch.tensor([[[3 * weight, 1 - weight]]]))
    hide = torch.tensor([[[[True, False]]]])
    assert_close(attention(x, context, hide), context[:, :1])


def test_a_layer_is_torchs_own_encoder_layer() -> None:
    reference = shaken(torch.nn.TransformerEncoderLayer(D, H, INNER, activation="gelu", batch_first=True))
    ours = EncoderLayer(D, H, INNER).eval()
    q, k, v = (
        {"weight": w, "bias": b}
        for w, b in zip(reference.self_attn.in_proj_weight.chunk(3), reference.self_attn.in_proj_bias.chunk(3), strict=True)
    )
    for mine, theirs in [
        (ours.attention.query, q), (ours.attention.key, k), (ours.attention.value, v),
        (ours.attention.output, reference.self_attn.out_proj.state_dict()),
        (ours.feed_forward.expand, reference.linear1.state_dict()),
        (ours.feed_forward.contract, reference.linear2.state_dict()),
        (ours.attention_norm, reference.norm1.state_dict()), (ours.feed_forward_norm, reference.norm2.state_dict()),
    ]:  # fmt: skip
        mine.load_state_dict(theirs)
    x = torch.randn(2, 5, D)
    assert_close(ours(x, x), reference(x), atol=1e-5, rtol=1e-5)
    assert_close(ours(x[:, 1:3], x), reference(x)[:, 1:3], atol=1e-5, rtol=1e-5)


@settings(max_examples=25)
@given(length=st.integers(1, 8), padding=st.integers(0, 8), company=st.integers(0, 3))
def test_padding_and_company_change_nothing(length: int, padding: int, company: int) -> None:
    torch.manual_seed(0)
    bert = shaken(Bert(TINY))
    ids = torch.randint(1, V, (1, length))
    padded = torch.randint(1, V, (1 + company, length + padding))  # what stands at padding must not matter, so it is random
    mask = torch.ones_like(padded)
    padded[0, :length], mask[0, length:] = ids, 0
    assert_close(bert(padded, mask)[0, :length], bert(ids, torch.ones_like(ids))[0], atol=1e-5, rtol=1e-5)
    assert_close(bert.cls(padded, mask)[0], bert(ids, torch.ones_like(ids))[0, 0], atol=1e-5, rtol=1e-5)


def test_dropout_acts_in_training_alone() -> None:
    bert, (ids, mask) = Bert(TINY), batch([6, 4])
    assert not torch.equal(bert.train()(ids, mask), bert(ids, mask))
    assert torch.equal(bert.eval()(ids, mask), bert(ids, mask))


def test_limits_are_said() -> None:
    with pytest.raises(MiniragError, match=f"25 tokens is longer than this BERT's {P} positions"):
        Bert(TINY)(*batch([P + 1]))
    with pytest.raises(MiniragError, match="16 dimensions cannot be shared among 3 heads"):
        BertConfig(dim=16, heads=3)


CP_SIZES = SIZES | {"hidden_size": 128, "num_attention_heads": 2}  # a .cp does not say its heads: 64 dimensions each


def original_dpr(path: Path, legacy: bool = False) -> tuple[torch.nn.Module, torch.nn.Module]:
    """As facebookresearch/DPR saves: the dict of a namedtuple, with optimiser and all."""
    import transformers as hf

    question, passage = (shaken(hf.BertModel(hf.BertConfig(**CP_SIZES))) for _ in range(2))
    state = {f"question_model.{name}": tensor for name, tensor in question.state_dict().items()}
    state |= {f"ctx_model.{name}": tensor for name, tensor in passage.state_dict().items()}
    state["ctx_model.embeddings.position_ids"] = torch.arange(P)[None]
    fields = "model_dict optimizer_dict scheduler_dict offset epoch encoder_params"
    optimiser = {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 2e-5}]}
    saved = collections.namedtuple("CheckpointState", fields)(
        collections.OrderedDict(state),
        optimiser,
        {"last_epoch": 9},
        0,
        39,
        {"encoder_model_type": "hf_bert", "projection_dim": 0},
    )
    torch.save(saved._asdict(), path, _use_new_zipfile_serialization=not legacy)
    return question, passage


@pytest.mark.parametrize("legacy", [False, True])
def test_original_dpr_checkpoint(tmp_path: Path, legacy: bool) -> None:
    question, passage = original_dpr(tmp_path / "dpr.cp", legacy)
    ids, mask = batch([7, 4])
    for side, theirs in (("question", question), ("passage", passage)):
        ours = read_bert(tmp_path / "dpr.cp", side=side)
        assert ours.config == BertConfig(vocab_size=V, dim=128, layers=L, heads=2, inner=INNER, positions=P)
        expected = theirs(ids, mask).last_hidden_state
        assert_close(ours(ids, mask)[mask.bool()], expected[mask.bool()], atol=1e-5, rtol=1e-5)
    with pytest.raises(MiniragError, match="a question and a passage encoder; say which"):
        read_bert(tmp_path / "dpr.cp")


def test_what_we_save_loads_here_and_in_transformers(tmp_path: Path) -> None:
    import transformers as hf

    bert, (ids, mask) = shaken(Bert(TINY)), batch([6, 3])
    save_bert(tmp_path / "b", bert)
    again, tokenizer = load_bert(tmp_path / "b")
    assert tokenizer is None
    assert again.config == TINY
    assert torch.equal(again(ids, mask), bert(ids, mask))
    theirs, report = hf.BertModel.from_pretrained(tmp_path / "b", add_pooling_layer=False, output_loading_info=True)
    assert not any(report.values())
    assert_close(theirs.eval()(ids, mask).last_hidden_state[mask.bool()], bert(ids, mask)[mask.bool()], atol=1e-5, rtol=1e-5)


class Evil:
    def __reduce__(self) -> tuple:
        return (print, ("this ran",))


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def edit_state(folder: Path, remove: str = "", add: str = "") -> None:
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    state.pop(remove, None)
    torch.save(state | ({add: torch.ones(1)} if add else {}), folder / "pytorch_model.bin")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


FAULTS = {
    "a tensor gone": (lambda f: edit_state(f, remove="encoder.layer.1.output.dense.bias"), "lacks encoder.layer.1.output"),
    "a tensor more": (lambda f: edit_state(f, add="encoder.layer.1.adapter"), "unknown encoder.layer.1.adapter"),
    "no words": (lambda f: edit_state(f, remove="embeddings.word_embeddings.weight"), "holds no BERT"),
    "one layer fewer": (lambda f: edit_config(f, num_hidden_layers=2), "unknown encoder.layer.2"),
    "another width": (lambda f: edit_config(f, intermediate_size=44), r"has shape \[40, 16\] where .* asks for \[44, 16\]"),
    "another model": (lambda f: edit_config(f, model_type="roberta"), "type 'roberta'"),
    "another activation": (lambda f: edit_config(f, hidden_act="relu"), "hidden_act = 'relu'"),
    "a projection": (lambda f: edit_config(f, projection_dim=8), "projection_dim = 8"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json does not exist"),
    "no weights": (lambda f: (f / "pytorch_model.bin").unlink(), "neither model.safetensors nor pytorch_model.bin"),
    "truncated": (lambda f: cut(f / "pytorch_model.bin"), "pytorch_model.bin"),
    "empty": (lambda f: (f / "pytorch_model.bin").write_bytes(b""), "pytorch_model.bin"),
    "a list": (lambda f: torch.save([1], f / "pytorch_model.bin"), "not a dictionary of named tensors"),
    "a program": (lambda f: torch.save({"x": Evil()}, f / "pytorch_model.bin"), "could run code"),
    "a bare pickle": (lambda f: (f / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(), protocol=2)), "pytorch_model.bin"),
    "safetensors cut": (lambda f: (f / "model.safetensors").write_bytes(b"\x10\0\0"), "model.safetensors is damaged"),
}  # fmt: skip


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("healthy")
    write("bin", folder)
    return folder


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found_and_named(healthy: Path, tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(healthy, tmp_path / "f")
    damage, message = FAULTS[fault]
    damage(tmp_path / "f")
    with pytest.raises(MiniragError, match=message):
        read_bert(tmp_path / "f")
    assert "this ran" not in capsys.readouterr().out


def test_the_wrong_side_and_the_wrong_file_are_refused(tmp_path: Path) -> None:
    write("question", tmp_path / "q")
    with pytest.raises(MiniragError, match="holds a question encoder, not the passage encoder"):
        read_bert(tmp_path / "q", side="passage")
    torch.save({"weights": torch.ones(1)}, tmp_path / "x.cp")
    with pytest.raises(MiniragError, match="has no model_dict"):
        read_bert(tmp_path / "x.cp")
    with pytest.raises(MiniragError, match=r"nowhere.cp does not exist"):
        read_bert(tmp_path / "nowhere.cp")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_flipped_bit_in_our_own_folder_is_found(tmp_path: Path, name: str) -> None:
    save_bert(tmp_path / "b", Bert(TINY))
    raw = bytearray((tmp_path / "b" / name).read_bytes())
    raw[-5] ^= 1
    (tmp_path / "b" / name).write_bytes(raw)
    with pytest.raises(MiniragError, match=f"{name} is missing or differs from its checksum"):
        load_bert(tmp_path / "b")


def test_saving_never_replaces_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(MiniragError, match="something other than what is to be written"):
        save_bert(tmp_path, Bert(TINY))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
