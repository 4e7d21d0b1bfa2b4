"""The seal on a saved index: `manifest.json` names the kind, its settings, and the SHA-256 of every other file in it."""

from pathlib import Path
from typing import Any

from minirag.errors import MiniragError
from minirag.files import read_json, sha256_of, write_json

MANIFEST = "manifest.json"
FORMAT = "minirag index 1"


def seal(folder: Path, kind: str, settings: dict[str, Any]) -> None:
    """Write the manifest, last of all, over the files that `folder` holds."""
    files = {path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.is_file()}
    write_json(folder / MANIFEST, {"format": FORMAT, "kind": kind, "settings": settings, "files": files})


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a saved index of any kind; MiniragError if there is none, or it is another program's."""
    manifest = read_json(Path(folder) / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise MiniragError(f"{folder} is not an index of this version of minirag; build it again")
    if {key: type(value) for key, value in manifest.items()} != {"format": str, "kind": str, "settings": dict, "files": dict}:
        raise MiniragError(f"{Path(folder) / MANIFEST} is damaged; build the index again")
    return manifest


def is_index(folder: Path) -> bool:
    """Whether a folder holds a saved index and nothing else, so that a newer index may replace it."""
    try:
        own = {MANIFEST, "vectors", *read_manifest(folder)["files"]}
    except MiniragError:
        return False
    return {path.name for path in folder.iterdir()} <= own


def open_sealed(folder: str | Path, kind: str, verify: bool = True) -> dict[str, Any]:
    """The manifest of a saved index, after checking that it is of this kind and that every file is as it was written.

    `verify=False` leaves out the checksums, which take minutes for a large index.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest["kind"] != kind:
        raise MiniragError(f"{folder} holds '{manifest['kind']}', not '{kind}'; load it with the class that saved it")
    for name, sha256 in manifest["files"].items():
        path = folder / Path(name).name  # never outside the folder, whatever the manifest says
        if not path.is_file() or (verify and sha256_of(path) != sha256):
            raise MiniragError(f"{path} is missing or not as it was written; build the index again")
    return manifest
