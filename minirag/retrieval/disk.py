"""How our own indexes lie on disk: a folder of arrays, the memory behind them, and the seal, written last.

folder/manifest.json    kind, settings, SHA-256 of every file here (`manifest.py`)
folder/NAME.npy         the index's own arrays
folder/memory.json      where the float32 vectors are: in folder/vectors, or in the store they came from
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minirag.errors import MiniragError
from minirag.files import atomic_folder
from minirag.retrieval.manifest import is_index, open_sealed, seal
from minirag.retrieval.memory import Memory


def write_index(
    folder: str | Path,
    kind: str,
    settings: Mapping[str, Any],
    arrays_for: Callable[[Path], Mapping[str, Tensor]],
    memory: Memory,
) -> None:
    """Write an index whole or not at all; an older one under the same name is replaced.

    `arrays_for` is given the folder that is being written: what is too large to be held it writes there, the rest it returns.
    """
    final = Path(folder)
    with atomic_folder(final, is_index) as temporary:
        memory.save(temporary, final)
        for name, array in arrays_for(temporary).items():
            np.save(temporary / f"{name}.npy", array.numpy())
        seal(temporary, kind, {"rows": len(memory), "dim": memory.dim, **settings})


def mapped(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    """A new array in a file, to be filled in."""
    return np.lib.format.open_memmap(path, "w+", dtype, shape)


def read_index(
    folder: str | Path, kind: str, required: set[str], verify: bool = True
) -> tuple[dict[str, Any], dict[str, Tensor], Memory]:
    """Settings, memory-mapped arrays and memory of an index of this kind; `required` names what cannot be missing.

    Raises MiniragError for a foreign folder, another kind, a missing, truncated or altered file. `verify=False` leaves out
    the checksums, never the shapes.
    """
    folder = Path(folder)
    manifest = open_sealed(folder, kind, verify)
    try:
        settings = manifest["settings"]
        names = [Path(name).stem for name in manifest["files"] if name.endswith(".npy")]
        # Copy-on-write maps: nothing is read until it is needed, and revising the index never touches the files.
        arrays = {name: torch.from_numpy(np.load(folder / f"{name}.npy", mmap_mode="c")) for name in names}
        if missing := required - settings.keys() - arrays.keys():
            raise ValueError(f"it lists no {', '.join(sorted(missing))}")
        memory = Memory.load(folder, settings["dim"], verify)
        if len(memory) != settings["rows"]:
            raise ValueError(f"{settings['rows']} rows are listed, there are {len(memory)}")
    except (KeyError, TypeError, ValueError, OSError, EOFError) as error:
        raise MiniragError(f"{folder} is incomplete or damaged ({error}); build the index again") from error
    return settings, arrays, memory
