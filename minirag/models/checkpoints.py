"""Weights from elsewhere, and our own: any BERT that transformers or DPR's original code wrote, checked tensor by tensor.

Everybody's BERT has the same tensors under slightly different names. `_theirs` is the whole dictionary:

| written by | file | before each name |
|---|---|---|
| transformers, `BertModel`, MiniLM, Contriever | `config.json`, `model.safetensors` or `pytorch_model.bin` | nothing |
| transformers, `BertForMaskedLM` and other heads | the same | `bert.` |
| transformers, DPR | the same | `question_encoder.bert_model.` or `ctx_encoder.bert_model.` |
| facebookresearch/DPR | one `.cp` | `question_model.` and `ctx_model.`, both in the file |

A pickle can run any program when it is loaded, so those of `torch.save` are read with `weights_only`: tensors and plain
containers, or an error. We write safetensors under transformers' names, so that its `BertModel` reads our folders too.
"""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from minirag.errors import MiniragError
from minirag.files import atomic_folder, read_json, sha256_of, write_json
from minirag.models.bert import Bert, BertConfig

Side = Literal["question", "passage"]
PREFIXES: dict[Side | None, tuple[str, ...]] = {
    "question": ("question_encoder.bert_model.", "question_model."),
    "passage": ("ctx_encoder.bert_model.", "ctx_model."),
    None: ("", "bert."),
}
CHECKSUMS = "checksums.json"
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
        config = config or _config_of(path / "config.json")
        state = _folder_state(path)
    else:
        state = _original_dpr_state(path)
    prefix = _prefix_of(state, side, path)
    ours = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    bert = Bert(config or _config_from_shapes(ours))
    _fill(bert, ours, path)
    return bert.eval()


def save_bert(folder: str | Path, model: Bert, tokenizer: Any = None) -> None:
    """Write weights, config and tokenizer as a folder that `load_bert` verifies and transformers' `BertModel` reads too."""
    from safetensors.torch import save_file

    fields, tensors = to_transformers(model)
    with atomic_folder(folder, is_sealed) as temporary:
        write_json(temporary / "config.json", {"architectures": ["BertModel"], "model_type": "bert", **fields})
        save_file(tensors, temporary / "model.safetensors", metadata={"format": "pt"})
        if tokenizer is not None:
            tokenizer.save_pretrained(temporary)
        seal(temporary)


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
    folder = Path(folder)
    check_seal(folder)
    tokenizer = read_tokenizer(folder) if (folder / "tokenizer_config.json").exists() else None
    return read_bert(folder), tokenizer


def read_tokenizer(folder: str | Path) -> Any:
    """The fast tokenizer that lies in a folder, as transformers reads it."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise MiniragError(
            f"{folder} holds no tokenizer that transformers can read ({error}); add its tokenizer.json"
        ) from None


def seal(folder: Path) -> None:
    """Write `checksums.json`: the SHA-256 of every file in the folder, itself apart. Done last, inside an `atomic_folder`."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    write_json(folder / CHECKSUMS, {name: sha256_of(folder / name) for name in files if name != CHECKSUMS})


def is_sealed(folder: Path) -> bool:
    """Whether a folder holds a model that we saved, so that a newer one may replace it."""
    return (folder / CHECKSUMS).is_file()


def check_seal(folder: Path) -> None:
    """Compare a sealed folder with its checksums; a file that is missing or different is a `MiniragError` that names it."""
    for name, checksum in read_json(folder / CHECKSUMS).items():
        if not (folder / name).is_file() or sha256_of(folder / name) != checksum:
            raise MiniragError(f"{folder / name} is missing or differs from its checksum; save or download the model again")


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


def _fill(bert: Bert, state: dict[str, Tensor], path: Path) -> None:
    """Copy `state` (their names, no prefix) into `bert`, and account for every tensor on both sides."""
    state = {re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name): tensor for name, tensor in state.items()}  # names of 2018
    state = {re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name): tensor for name, tensor in state.items()}
    wanted = {_theirs(name): tensor for name, tensor in bert.state_dict().items()}
    known = ("pooler.", "embeddings.position_ids", "cls.")  # pre-training's heads, and a constant that old versions stored
    left = [name for name in state if name not in wanted and not name.startswith(known)]
    missing = [name for name in wanted if name not in state]
    if missing or left:
        what = (
            f"lacks {missing[0]} ({len(missing)} missing)" if missing else f"holds an unknown {left[0]} ({len(left)} unknown)"
        )
        raise MiniragError(
            f"{path} {what}; it is not a BERT of {len(bert.layers)} layers, or its config.json is another model's"
        )
    for name, tensor in wanted.items():
        if state[name].shape != tensor.shape:
            raise MiniragError(
                f"{path}: {name} has shape {list(state[name].shape)} where the config asks for {list(tensor.shape)}; "
                "use the config.json that came with these weights"
            )
    bert.load_state_dict({name: state[_theirs(name)].float() for name in bert.state_dict()})


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


def _config_of(path: Path) -> BertConfig:
    fields = read_json(path)
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


def _folder_state(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if (folder / "model.safetensors").exists():
        try:
            return load_file(folder / "model.safetensors")
        except (SafetensorError, OSError, json.JSONDecodeError) as error:
            raise MiniragError(f"{folder}/model.safetensors is damaged ({error}); download or save it again") from None
    if (folder / "pytorch_model.bin").exists():
        return _only_tensors(_torch_load(folder / "pytorch_model.bin"), folder / "pytorch_model.bin")
    raise MiniragError(f"{folder} holds neither model.safetensors nor pytorch_model.bin; check the path or download the model")


def _original_dpr_state(path: Path) -> dict[str, Tensor]:
    saved = _torch_load(path)
    if not isinstance(saved, dict) or "model_dict" not in saved:
        raise MiniragError(f"{path} is not a checkpoint of DPR's own code (it has no model_dict); give a .cp file or a folder")
    return _only_tensors(saved["model_dict"], path)


def _torch_load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError:
        raise MiniragError(f"{path} does not exist; check the path") from None
    except pickle.UnpicklingError:
        raise MiniragError(
            f"{path} is damaged, or holds more than tensors and could run code; use a safetensors version"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise MiniragError(f"{path} cannot be read as a PyTorch checkpoint ({error}); download it again") from None


def _only_tensors(state: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise MiniragError(f"{path} is not a dictionary of named tensors; give the weights of a BERT or DPR model")
    return state
