"""RAG models from disk or hub, and to disk.

| what lies there | how it is known |
|---|---|
| our own folder: `generator/`, `encoder/`, `rag.json` | `rag.json`; every file is checked against its SHA-256 |
| transformers' RagTokenForGeneration or RagSequenceForGeneration | `"model_type": "rag"`, both configs and tokenizers inside |
| a BART alone | `"model_type": "bart"`; the encoder has to be given |

The index and its passages are not part of a model: `attach` them.
"""

from pathlib import Path
from typing import Any

from minirag.errors import MiniragError
from minirag.files import atomic_folder, read_json, write_json
from minirag.models.bart import Bart
from minirag.models.bart_checkpoints import bart_config, bart_of, read_bart, save_bart
from minirag.models.bert_checkpoints import bert_config, bert_of, read_bert
from minirag.models.weights import check_seal, folder_state, is_sealed, read_tokenizer, seal
from minirag.paths import data_dir
from minirag.rag.contexts import Contexts
from minirag.rag.marginalize import Scheme
from minirag.rag.model import RagModel
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.pretrained import local_folder

FORMAT = "minirag RAG 1"
SETTINGS = ("scheme", "null_document", "score_scale", "train_passages")
CONTEXTS = ("max_length", "title_sep", "doc_sep", "prefix")


def from_pretrained(
    path_or_name: str | Path, encoder: BiEncoder | None = None, passage_encoder: str | Path | None = None
) -> RagModel:
    """A model ready to answer, once an index is attached.

    `encoder` is for a BART alone, or replaces the saved one. transformers' checkpoints hold no passage encoder:
    `passage_encoder` names DPR's, where new passages are to be encoded. Raises `MiniragError` for any other kind of folder,
    and for tensors that are missing, unknown or of the wrong shape.
    """
    folder = local_folder(path_or_name)
    if (folder / "rag.json").exists():
        return _own(folder, encoder)
    fields = read_json(folder / "config.json")
    kind = fields.get("model_type") if isinstance(fields, dict) else None
    if kind == "rag":
        return _transformers(folder, fields, encoder, passage_encoder)
    if kind != "bart":
        raise MiniragError(f"{folder}/config.json describes a model of type {kind!r}; give a RAG model or a BART")
    bart = read_bart(folder)
    return RagModel(bart, _contexts(folder, bart, fields, {}), encoder).eval()


def save_pretrained(model: RagModel, folder: str | Path) -> None:
    """Write all parts, `rag.json`, and checksums of it all, whole or not at all."""
    from safetensors.torch import save_file

    if not isinstance(model.generator, Bart):
        raise MiniragError("only a BART generator can be saved here; save the other model with its own save_pretrained")
    settings = {name: getattr(model, name) for name in SETTINGS}
    contexts = {name: getattr(model.contexts, name) for name in CONTEXTS}
    with atomic_folder(folder, is_sealed) as temporary:
        save_bart(temporary / "generator", model.generator, model.contexts.tokenizer)
        if model.encoder is not None:
            model.encoder.save_pretrained(temporary / "encoder")
        if model.null is not None:
            save_file({"null": model.null.detach().cpu()}, temporary / "null.safetensors")
        write_json(temporary / "rag.json", {"format": FORMAT, **settings, "contexts": contexts})
        seal(temporary)


def _own(folder: Path, encoder: BiEncoder | None) -> RagModel:
    from safetensors.torch import load_file

    check_seal(folder)
    saved = read_json(folder / "rag.json")
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise MiniragError(f"{folder}/rag.json is not of {FORMAT!r}; save the model again with this version of minirag")
    if encoder is None and (folder / "encoder").exists():
        encoder = BiEncoder.from_pretrained(folder / "encoder")
    if not {*SETTINGS, "contexts"} <= saved.keys() or saved["contexts"].keys() != set(CONTEXTS):
        raise MiniragError(f"{folder}/rag.json lacks a setting; save the model again")
    contexts = Contexts(read_tokenizer(folder / "generator"), **saved["contexts"])
    bart = read_bart(folder / "generator")
    model = RagModel(bart, contexts, encoder, **{name: saved[name] for name in SETTINGS})
    if model.null is not None:
        model.null.data = load_file(folder / "null.safetensors")["null"]
    return model.eval()


def _transformers(
    folder: Path, fields: dict[str, Any], encoder: BiEncoder | None, passage_encoder: str | Path | None
) -> RagModel:
    state, path = folder_state(folder), folder / "config.json"
    parts = {"generator": "rag.generator.", "question": "rag.question_encoder.", "passage": "rag.ctx_encoder."}
    if unknown := [name for name in state if not name.startswith(tuple(parts.values()))]:
        raise MiniragError(f"{folder} holds an unknown {unknown[0]} ({len(unknown)} unknown); it is not a RAG model")
    if not isinstance(fields.get("generator"), dict) or not isinstance(fields.get("question_encoder"), dict):
        raise MiniragError(f"{path} lacks the config of its generator or question encoder; download the checkpoint again")
    tensors = {
        part: {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        for part, prefix in parts.items()
    }
    bart = bart_of(tensors["generator"], bart_config(fields["generator"], path), folder)
    if encoder is None:
        questions = bert_of(tensors["question"], bert_config(fields["question_encoder"], path), "question", folder)
        passages = read_bert(local_folder(passage_encoder), "passage") if passage_encoder is not None else None
        encoder = BiEncoder(questions, passages, read_tokenizer(folder / "question_encoder_tokenizer"))
    scheme: Scheme = "token" if fields.get("architectures") == ["RagTokenForGeneration"] else "sequence"
    return RagModel(bart, _contexts(folder / "generator_tokenizer", bart, fields["generator"], fields), encoder, scheme).eval()


def _contexts(tokenizer: Path, bart: Bart, generator: dict[str, Any], rag: dict[str, Any]) -> Contexts:
    longest = min(rag.get("max_combined_length") or 300, bart.config.positions)
    seps = {name: rag[name] for name in ("title_sep", "doc_sep") if isinstance(rag.get(name), str)}
    return Contexts(read_tokenizer(tokenizer), longest, prefix=generator.get("prefix") or "", **seps)


def reader(encoder: BiEncoder | None = None) -> RagModel:
    """The small reader that ships with minirag (see its model card in data/checkpoints/reader), beside an encoder of yours."""
    return from_pretrained(data_dir() / "checkpoints" / "reader", encoder)
