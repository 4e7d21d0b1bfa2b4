"""BART's weights from transformers' folders (base, large, and whatever was fine-tuned from them), and our own.

| written by | before each name |
|---|---|
| transformers, `BartForConditionalGeneration` | `model.`; besides `final_logits_bias`, and in old files `lm_head.weight` |
| transformers, `BartModel`, as facebook/bart-large is stored | nothing |
| transformers, RAG | `rag.generator.` before those |

All copies of the word embeddings (`shared`, two `embed_tokens`, `lm_head`) are one tensor in a BART; a file may hold any of
them, and one in which they differ is refused. We write what transformers' `BartForConditionalGeneration` reads.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minirag.errors import MiniragError
from minirag.files import read_json
from minirag.models.bart import Bart, BartConfig
from minirag.models.weights import check_seal, fill, folder_state, save_model, tokenizer_in

CONFIG_NAMES = {  # ours → transformers'
    "vocab_size": "vocab_size",
    "dim": "d_model",
    "encoder_layers": "encoder_layers",
    "decoder_layers": "decoder_layers",
    "encoder_heads": "encoder_attention_heads",
    "decoder_heads": "decoder_attention_heads",
    "encoder_inner": "encoder_ffn_dim",
    "decoder_inner": "decoder_ffn_dim",
    "positions": "max_position_embeddings",
    "activation": "activation_function",
    "scale_embedding": "scale_embedding",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "bos_id": "bos_token_id",
    "pad_id": "pad_token_id",
    "eos_id": "eos_token_id",
    "start_id": "decoder_start_token_id",
}
DEFAULTS = BartConfig()
SIZES = ("vocab_size", "dim", "encoder_heads", "decoder_heads", "encoder_inner", "decoder_inner", "positions")
UNSAID = {  # transformers' defaults for what a config.json leaves out: BART-large's sizes
    "dim": 1_024,
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_heads": 16,
    "decoder_heads": 16,
    "encoder_inner": 4_096,
    "decoder_inner": 4_096,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
}
TENSOR_NAMES = (  # ours → transformers', as pieces to be replaced
    ("positions.", "embed_positions."),
    ("attention.query.", "self_attn.q_proj."),
    ("attention.key.", "self_attn.k_proj."),
    ("attention.value.", "self_attn.v_proj."),
    ("attention.output.", "self_attn.out_proj."),
    ("attention_norm.", "self_attn_layer_norm."),
    ("cross.query.", "encoder_attn.q_proj."),
    ("cross.key.", "encoder_attn.k_proj."),
    ("cross.value.", "encoder_attn.v_proj."),
    ("cross.output.", "encoder_attn.out_proj."),
    ("cross_norm.", "encoder_attn_layer_norm."),
    ("feed_forward.expand.", "fc1."),
    ("feed_forward.contract.", "fc2."),
    ("feed_forward_norm.", "final_layer_norm."),
)
WORDS = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")


def read_bart(folder: str | Path) -> Bart:
    """A BART from a transformers folder, in float32, ready to generate (`eval`).

    Raises `MiniragError` for another kind of model, and for tensors that are missing, left over or of the wrong shape.
    """
    folder = Path(folder)
    fields = read_json(folder / "config.json")
    return bart_of(folder_state(folder), bart_config(fields, folder / "config.json"), folder)


def bart_of(state: dict[str, Tensor], config: BartConfig, path: Path) -> Bart:
    """The BART within tensors that were read from `path`, under transformers' names without RAG's prefix."""
    bare = {name.removeprefix("model."): tensor for name, tensor in state.items()}
    if len(bare) < len(state):
        twice = next(name for name in bare if name in state and f"model.{name}" in state)
        raise MiniragError(f"{path} holds {twice} twice, with and without `model.` before it; it is not a BART")
    state = bare
    copies = [state.pop(name) for name in WORDS if name in state]
    if any(not torch.equal(copy, copies[0]) for copy in copies):
        raise MiniragError(f"{path} holds word embeddings that differ where a BART has one table; it is not a BART")
    if copies:
        state["shared.weight"] = copies[0]
    bias = state.get("final_logits_bias", torch.zeros(1, config.vocab_size))  # [1, V]; a `BartModel` has none
    bart = Bart(config)
    kind = f"BART of {config.encoder_layers} + {config.decoder_layers} layers"
    fill(bart, state | {"final_logits_bias": bias.flatten()}, _theirs, path, kind)
    return bart.eval()


def bart_config(fields: Any, path: Path) -> BartConfig:
    """The sizes that transformers' `config.json` gives; `MiniragError` for another kind of model and for what is not built."""
    kind = fields.get("model_type") if isinstance(fields, dict) else None
    if kind != "bart":
        raise MiniragError(f"{path} describes a model of type {kind!r}; only 'bart' can be read as a BART")
    if not fields.get("tie_word_embeddings", True):
        raise MiniragError(f"{path} has an output projection of its own, and a BART's is its word embeddings; choose a BART")
    found = {ours: fields[theirs] for ours, theirs in CONFIG_NAMES.items() if fields.get(theirs) is not None}
    for ours, value in found.items():
        kind = type(getattr(DEFAULTS, ours))
        if not isinstance(value, (int, float) if kind is float else kind) or (ours in SIZES and value < 1):
            raise MiniragError(f"{path} has {CONFIG_NAMES[ours]} = {value!r}, which cannot be; download it again")
    return BartConfig(**UNSAID | found)


def save_bart(folder: str | Path, model: Bart, tokenizer: Any = None) -> None:
    """Write a folder that `load_bart` verifies and transformers' `BartForConditionalGeneration` reads too."""
    fields = {theirs: getattr(model.config, ours) for ours, theirs in CONFIG_NAMES.items()}
    fields = {"architectures": ["BartForConditionalGeneration"], "model_type": "bart", "is_encoder_decoder": True, **fields}
    save_model(folder, fields, to_transformers(model), tokenizer)


def to_transformers(model: Bart) -> dict[str, Tensor]:
    """A model's tensors under the names of transformers' `BartForConditionalGeneration`."""
    tensors = {_theirs(name): tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    bias = tensors.pop("final_logits_bias")
    return {f"model.{name}": tensor for name, tensor in tensors.items()} | {"final_logits_bias": bias[None]}


def load_bart(folder: str | Path) -> tuple[Bart, Any]:
    """What `save_bart` wrote, after checking every file's checksum: the model, and its tokenizer or None."""
    check_seal(Path(folder))
    return read_bart(folder), tokenizer_in(folder)


def _theirs(name: str) -> str:
    """
    >>> _theirs("decoder.layers.3.cross.output.weight"), _theirs("encoder.norm.bias")
    ('decoder.layers.3.encoder_attn.out_proj.weight', 'encoder.layernorm_embedding.bias')
    """
    name = {"words.weight": "shared.weight", "logits_bias": "final_logits_bias"}.get(name, name)
    name = re.sub(r"^(encoder|decoder)\.norm\.", r"\1.layernorm_embedding.", name)
    for ours, theirs in TENSOR_NAMES:
        if ours in name:
            return name.replace(ours, theirs)
    return name
