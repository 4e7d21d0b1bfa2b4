"""How an index lies on disk: a folder of arrays, the memory behind them, and a manifest with checksums, written last.

folder/manifest.json    kind, settings, SHA-256 of every file here
folder/NAME.npy         the index's own arrays
folder/memory.json      where the float32 vectors are: in folder/vectors, or in the store they came from
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minirag.errors import MiniragError
from minirag.files import atomic_folder, read_json, sha256_of, write_json
from minirag.retrieval.memory import Memory

FORMAT = "minirag index 1"


def write_index(
    folder: str | Path, kind: str, settings: Mapping[str, Any], arrays: Mapping[str, Tensor], memory: Memory
) -> None:
    """Write an index whole or not at all; an older one under the same name is replaced."""
    final = Path(folder)
    with atomic_folder(final) as temporary:
        memory.save(temporary, final)
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array.numpy())
        sums = {path.name: sha256_of(path) for path in sorted(temporary.iterdir()) if path.is_file()}
        manifest = {"format": FORMAT, "kind": kind, "rows": len(memory), "dim": memory.dim}
        write_json(temporary / "manifest.json", manifest | {"settings": dict(settings), "files": sums})


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a saved index; MiniragError if there is none or it is another program's."""
    manifest = read_json(Path(folder) / "manifest.json")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise MiniragError(f"{folder} is not an index of this version of minirag; build it again")
    return manifest


def read_index(folder: str | Path, kind: str, verify: bool = True) -> tuple[dict[str, Any], dict[str, Tensor], Memory]:
    """Settings, memory-mapped arrays and memory of an index of this kind.

    Raises MiniragError for a foreign folder, another kind, a missing, truncated or altered file. `verify=False` skips the
    checksums (minutes for a large index), never the shapes.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest.get("kind") != kind:
        raise MiniragError(f"{folder} holds an index of kind {manifest.get('kind')!r}, not {kind!r}; load it as that")
    try:
        settings, files, dim = manifest["settings"], manifest["files"], manifest["dim"]
        for name, checksum in files.items():
            if verify and sha256_of(folder / name) != checksum:
                raise MiniragError(f"{folder / name} was altered or damaged (its checksum differs); build the index again")
        # Copy-on-write maps: nothing is read until it is needed, and revising the index never touches the files.
        names = [Path(name).stem for name in files if name.endswith(".npy")]
        arrays = {name: torch.from_numpy(np.load(folder / f"{name}.npy", mmap_mode="c")) for name in names}
        memory = Memory.load(folder, dim, verify)
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise MiniragError(f"{folder} is incomplete or damaged ({error}); build the index again") from error
    if len(memory) != manifest["rows"]:
        raise MiniragError(f"{folder} lists {manifest['rows']} rows but has {len(memory)} vectors; build the index again")
    return settings, arrays, memory
