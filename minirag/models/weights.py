"""Weight files: read without running anything, accounted for tensor by tensor, and sealed with checksums.

A pickle can run any program when it is loaded, so those of `torch.save` are read with `weights_only`: tensors and plain
containers, or an error. We write safetensors.
"""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minirag.errors import MiniragError
from minirag.files import atomic_folder, read_json, sha256_of, write_json

CHECKSUMS = "checksums.json"


def fill(
    module: nn.Module,
    state: dict[str, Tensor],
    theirs: Callable[[str], str],
    path: Path,
    kind: str,
    ignored: tuple[str, ...] = (),
) -> None:
    """Copy `state`, whose names are `theirs` of ours, into `module` in float32, and account for every tensor on both sides.

    `kind` says what the module is ("BERT of 12 layers"), `ignored` how the names begin that may be left over. Raises
    `MiniragError`, changing nothing, for a tensor that is missing, unknown, or of another shape.
    """
    wanted = {theirs(name): tensor for name, tensor in module.state_dict().items()}
    left = [name for name in state if name not in wanted and not name.startswith(ignored)]
    missing = [name for name in wanted if name not in state]
    if missing or left:
        what = (
            f"lacks {missing[0]} ({len(missing)} missing)" if missing else f"holds an unknown {left[0]} ({len(left)} unknown)"
        )
        raise MiniragError(f"{path} {what}; it is not a {kind}, or its config.json is another model's")
    for name, tensor in wanted.items():
        if state[name].shape != tensor.shape:
            raise MiniragError(
                f"{path}: {name} has shape {list(state[name].shape)} where the config asks for {list(tensor.shape)}; "
                "use the config.json that came with these weights"
            )
    module.load_state_dict({name: state[theirs(name)].float() for name in module.state_dict()})


def folder_state(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if (folder / "model.safetensors").exists():
        try:
            return load_file(folder / "model.safetensors")
        except (SafetensorError, OSError, json.JSONDecodeError) as error:
            raise MiniragError(f"{folder}/model.safetensors is damaged ({error}); download or save it again") from None
    if (folder / "pytorch_model.bin").exists():
        return only_tensors(torch_load(folder / "pytorch_model.bin"), folder / "pytorch_model.bin")
    raise MiniragError(f"{folder} holds neither model.safetensors nor pytorch_model.bin; check the path or download the model")


def torch_load(path: Path) -> Any:
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


def only_tensors(state: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise MiniragError(f"{path} is not a dictionary of named tensors; give the weights of a model")
    return state


def save_model(folder: str | Path, fields: dict[str, Any], tensors: dict[str, Tensor], tokenizer: Any = None) -> None:
    """Write `config.json`, `model.safetensors` and the tokenizer as one sealed folder, whole or not at all."""
    from safetensors.torch import save_file

    with atomic_folder(folder, is_sealed) as temporary:
        write_json(temporary / "config.json", fields)
        save_file(tensors, temporary / "model.safetensors", metadata={"format": "pt"})
        if tokenizer is not None:
            tokenizer.save_pretrained(temporary)
        seal(temporary)


def tokenizer_in(folder: str | Path) -> Any:
    """The tokenizer saved with a model, or None if there is none."""
    return read_tokenizer(folder) if (Path(folder) / "tokenizer_config.json").exists() else None


def read_tokenizer(folder: str | Path) -> Any:
    """The fast tokenizer that lies in a folder, as transformers reads it."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise MiniragError(
            f"{folder} holds no tokenizer that transformers can read ({reason}); add its tokenizer.json"
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
    checksums = read_json(folder / CHECKSUMS)
    if not isinstance(checksums, dict):
        raise MiniragError(f"{folder / CHECKSUMS} is no list of files and checksums; save or download the model again")
    for name, checksum in checksums.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != checksum:
            raise MiniragError(f"{folder / name} is missing or differs from its checksum; save or download the model again")
