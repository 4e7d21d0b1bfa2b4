"""The seal on a saved index: `manifest.json` names the kind, its settings, and the sha256 of every other file of the folder."""

from pathlib import Path
from typing import Any

from minirag.errors import MiniragError
from minirag.files import read_json, sha256_of, write_json

NAME = "manifest.json"


def seal(folder: Path, kind: str, settings: dict[str, Any]) -> None:
    """Write the manifest, last of all, over the files that `folder` holds."""
    files = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    write_json(folder / NAME, {"kind": kind, "settings": settings, "files": files})


def open_sealed(folder: str | Path, kind: str) -> dict[str, Any]:
    """The settings of a saved index, after checking that it is of this kind and that every file is as it was written."""
    folder = Path(folder)
    manifest = read_json(folder / NAME)
    found = manifest.get("kind") if isinstance(manifest, dict) else None
    if found != kind:
        raise MiniragError(f"{folder} holds '{found}', not '{kind}'; load it with the class that saved it")
    for name, sha256 in manifest["files"].items():
        path = folder / name
        if not path.is_file() or sha256_of(path) != sha256:
            raise MiniragError(f"{path} is missing or not as it was written; build the index again")
    return manifest["settings"]
