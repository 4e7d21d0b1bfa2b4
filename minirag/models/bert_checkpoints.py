"""Weights from elsewhere, and our own: any BERT that transformers or DPR's original code wrote, checked tensor by tensor.

Everybody's BERT has the same tensors under slightly different names. `_theirs` is the whole dictionary:

| written by | file | before each name |
|---|---|---|
| transformers, `BertModel`, MiniLM, Contriever | `config.json`, `model.safetensors` or `pytorch_model.bin` | nothing |
| transformers, `BertForMaskedLM` and other heads | the same | `bert.` |
| transformers, DPR | the same | `question_encoder.bert_model.` or `ctx_encoder.bert_model.` |
| facebookresearch/DPR | one `.cp` | `question_model.` and `ctx_model.`, both in the file |

We write safetensors under transformers' names, so that its `BertModel` reads our folders too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from minirag.errors import MiniragError
from minirag.files import read_json
from minirag.models.bert import Bert, BertConfig
from minirag.models.weights import check_seal, fill, folder_state, only_tensors, save_model, tokenizer_in, torch_load

Side = Literal["question", "passage"]
PREFIXES: dict[Side | None, tuple[str, ...]] = {
    "question": ("question_encoder.bert_model.", "question_model."),
    "passage": ("ctx_encoder.bert_model.", "ctx_model."),
    None: ("", "bert."),
}
CONFIG_NAMES = {  # ours → transformers'
    "vocab_size": "vocab_size",
    "dim": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "inner": "intermediate_size",
    "positions": "max_position_embeddings",
    "token_types": "type_vocab_size",
    "dropout": "hidden_dropout_prob",
    "norm_eps": "layer_norm_eps",
    "pad_id": "pad_token_id",
}
IGNORED = ("pooler.", "embeddings.position_ids", "cls.")  # pre-training's heads, and a constant that old versions stored
TENSOR_NAMES = (  # ours → transformers', as pieces to be replaced in this order
    ("words.", "embeddings.word_embeddings."),
    ("positions.", "embeddings.position_embeddings."),
    ("types.", "embeddings.token_type_embeddings."),
    ("attention_norm.", "attention.output.LayerNorm."),
    ("feed_forward_norm.", "output.LayerNorm."),
    ("attention.query.", "attention.self.query."),
    ("attention.key.", "attention.self.key."),
    ("attention.value.", "attention.self.value."),
    ("attention.output.weight", "attention.output.dense.weight"),
    ("attention.output.bias", "attention.output.dense.bias"),
    ("feed_forward.expand.", "intermediate.dense."),
    ("feed_forward.contract.", "output.dense."),
)


def read_bert(path: str | Path, side: Side | None = None, config: BertConfig | None = None) -> Bert:
    """A BERT from a transformers folder or an original DPR `.cp`, in float32, ready to encode (`eval`).

    `side` chooses the encoder of a DPR checkpoint, and refuses the other one. A `.cp` says nothing of its sizes: they are read
    off its tensors, with heads of 64 dimensions as in BERT-base, unless `config` gives them.
    Raises `MiniragError` for another kind of model, and for tensors that are missing, left over or of the wrong shape.
    """
    path = Path(path)
    if path.is_dir():
        config = config or bert_config(read_json(path / "config.json"), path / "config.json")
        state = folder_state(path)
    else:
        state = _original_dpr_state(path)
    return bert_of(state, config, side, path)


def bert_of(state: dict[str, Tensor], config: BertConfig | None, side: Side | None, path: Path) -> Bert:
    """The BERT within tensors that were read from `path`; see `read_bert`."""
    prefix = _prefix_of(state, side, path)
    ours = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    bert = Bert(config or _config_from_shapes(ours))
    ours = {re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name): tensor for name, tensor in ours.items()}  # names of 2018
    ours = {re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name): tensor for name, tensor in ours.items()}
    fill(bert, ours, _theirs, path, f"BERT of {len(bert.layers)} layers", IGNORED)
    return bert.eval()


def save_bert(folder: str | Path, model: Bert, tokenizer: Any = None) -> None:
    """Write weights, config and tokenizer as a folder that `load_bert` verifies and transformers' `BertModel` reads too."""
    fields, tensors = to_transformers(model)
    save_model(folder, {"architectures": ["BertModel"], "model_type": "bert", **fields}, tensors, tokenizer)


def to_transformers(model: Bert) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A model's config fields and tensors under transformers' names."""
    fields: dict[str, Any] = {theirs: getattr(model.config, ours) for ours, theirs in CONFIG_NAMES.items()}
    fields |= {
        "attention_probs_dropout_prob": model.config.dropout,
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
    }
    return fields, {_theirs(name): tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}


def load_bert(folder: str | Path) -> tuple[Bert, Any]:
    """What `save_bert` wrote, after checking every file's checksum: the model, and its tokenizer or None."""
    check_seal(Path(folder))
    return read_bert(folder), tokenizer_in(folder)


def _theirs(name: str) -> str:
    """
    >>> _theirs("layers.3.attention.output.weight")
    'encoder.layer.3.attention.output.dense.weight'
    """
    name = re.sub(r"^norm\.", "embeddings.LayerNorm.", name)
    for ours, theirs in TENSOR_NAMES:
        if ours in name:
            name = name.replace(ours, theirs)
            break
    return re.sub(r"^layers\.", "encoder.layer.", name)


def _prefix_of(state: dict[str, Tensor], side: Side | None, path: Path) -> str:
    landmark = "embeddings.word_embeddings.weight"
    found = {prefix: whose for whose, prefixes in PREFIXES.items() for prefix in prefixes if prefix + landmark in state}
    fitting = [prefix for prefix, whose in found.items() if side is None or whose in (side, None)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise MiniragError(
            f"{path} holds a question and a passage encoder; say which one with side='question' or side='passage'"
        )
    if found:
        raise MiniragError(
            f"{path} holds a {next(iter(found.values()))} encoder, not the {side} encoder; give the other checkpoint"
        )
    raise MiniragError(f"{path} holds no BERT: there is no {landmark} in it; give a BERT or DPR checkpoint")


def bert_config(fields: Any, path: Path) -> BertConfig:
    """The sizes that transformers' `config.json` gives; `MiniragError` for another kind of model and for what is not built."""
    kind = fields.get("model_type") if isinstance(fields, dict) else None
    if kind not in ("bert", "dpr"):
        raise MiniragError(f"{path} describes a model of type {kind!r}; only 'bert' and 'dpr' can be read as a BERT")
    for name, ours in (("hidden_act", "gelu"), ("position_embedding_type", "absolute"), ("projection_dim", 0)):
        if fields.get(name, ours) != ours:
            raise MiniragError(
                f"{path} has {name} = {fields[name]!r}, and only {ours!r} is built here; choose another checkpoint"
            )
    # What a config.json leaves out has transformers' default, which is BERT-base's, as ours is.
    return BertConfig(**{ours: fields[theirs] for ours, theirs in CONFIG_NAMES.items() if fields.get(theirs) is not None})


def _config_from_shapes(state: dict[str, Tensor]) -> BertConfig:
    vocab_size, dim = state["embeddings.word_embeddings.weight"].shape
    layers = [int(match[1]) for name in state if (match := re.match(r"encoder\.layer\.(\d+)\.", name))]

    def rows(name: str) -> int:
        return len(state[name]) if name in state else 1  # a tensor that is not there is reported by `_fill`

    return BertConfig(
        vocab_size=vocab_size,
        dim=dim,
        layers=max(layers, default=-1) + 1,
        heads=max(dim // 64, 1),
        inner=rows("encoder.layer.0.intermediate.dense.weight"),
        positions=rows("embeddings.position_embeddings.weight"),
        token_types=rows("embeddings.token_type_embeddings.weight"),
    )


def _original_dpr_state(path: Path) -> dict[str, Tensor]:
    saved = torch_load(path)
    if not isinstance(saved, dict) or "model_dict" not in saved:
        raise MiniragError(f"{path} is not a checkpoint of DPR's own code (it has no model_dict); give a .cp file or a folder")
    return only_tensors(saved["model_dict"], path)
