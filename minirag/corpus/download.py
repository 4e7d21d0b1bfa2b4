"""The published files of the paper, by name: fetched once, resumed after a cut, checked before they appear under their name.

`data/sources.json` lists what can be had (url, size, sha256 where one is published, licence). A checksum is never made up:
where none is published, the first download records the one it saw in `downloads.lock.json` beside the files, and every later
download must match.

    download("psgs_w100", "corpora")       # 4.7 GB; run it again after an interruption and it goes on where it stopped
    download("bart-large", "checkpoints")  # a group: every file of that model, in a folder of that name
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minirag.corpus.fetch import Request, fetch, forget
from minirag.errors import MiniragError
from minirag.files import only_process, read_json, sha256_of, write_json
from minirag.paths import data_dir

LOCK_NAME = "downloads.lock.json"


@dataclass(frozen=True)
class Source:
    """One published file: `file` is its path below the download folder, `hosts` are those its url may redirect to, `what` says
    what it is, `published` where its checksum stands."""

    name: str
    url: str
    file: str
    size: int | None = None
    sha256: str | None = None
    licence: str = ""
    what: str = ""
    published: str = ""
    hosts: tuple[str, ...] = ()


def sources() -> dict[str, Source]:
    """Every known source by name, as `data/sources.json` lists them."""
    listed = read_json(data_dir() / "sources.json")
    return {name: Source(name=name, **{**entry, "hosts": tuple(entry.get("hosts", ()))}) for name, entry in listed.items()}


def download(name_or_source: str | Source, folder: str | Path, progress: bool = True) -> Path:
    """Bring a source, or every file of a group such as "bart-large", into `folder`; return the path of either.

    A file that is already there is checked, not fetched again. Raises `MiniragError` for an unknown name, a wrong size or
    checksum, a refused redirect, a full disk, an HTTP error, or a connection that keeps breaking (running it again then
    resumes).
    """
    folder = Path(folder)
    try:
        if isinstance(name_or_source, Source):
            return _download_file(name_or_source, folder, progress)
        chosen = _sources_called(name_or_source)
        paths = [_download_file(source, folder, progress) for source in chosen]
    except OSError as error:
        raise MiniragError(f"cannot write below {folder}: {error.strerror or error}; choose another folder") from error
    return paths[0] if chosen[0].name == name_or_source else folder / name_or_source


def _sources_called(name: str) -> list[Source]:
    known = sources()
    chosen = [known[name]] if name in known else [source for source in known.values() if source.name.startswith(name + "/")]
    if not chosen:
        names = ", ".join(sorted({known_name.split("/")[0] for known_name in known}))
        raise MiniragError(f"no source is called '{name}'; choose one of: {names}")
    return chosen


def _download_file(source: Source, folder: Path, progress: bool) -> Path:
    target = folder / source.file
    if not target.resolve().is_relative_to(folder.resolve()):
        raise MiniragError(f"source '{source.name}' would be written to {target}, outside {folder}; correct its 'file'")
    target.parent.mkdir(parents=True, exist_ok=True)
    with only_process(
        target.with_name(f".{target.name}.lock"), f"another process is downloading {target}; wait until it has finished"
    ):
        expected = source.sha256 or _read_lock(folder).get(source.file, {}).get("sha256")
        if target.exists():
            sha256 = _check(source, target, expected, f"move {target} away and run this again")
        else:
            part = target.with_name(target.name + ".part")
            fetch(Request(source.url, source.size, source.hosts, trusted=expected is not None), part, progress)
            try:
                sha256 = _check(source, part, expected, _advice(source, folder))
            except MiniragError:
                forget(part)  # nothing that is added to wrong bytes makes them right
                raise
            _publish(part, target)
        if expected is None:
            _record(source, folder, sha256)
    return target


def _check(source: Source, path: Path, expected: str | None, advice: str) -> str:
    """The file's sha256, after a look at its size and a comparison with what is known."""
    size = path.stat().st_size
    if source.size is not None and size != source.size:
        raise MiniragError(f"{path.name} from {source.url} has {size} bytes instead of {source.size}; {advice}")
    sha256 = sha256_of(path)
    if expected is not None and sha256 != expected:
        raise MiniragError(f"{path.name} from {source.url} has sha256 {sha256} instead of {expected}; {advice}")
    return sha256


def _advice(source: Source, folder: Path) -> str:
    if source.sha256:
        return "it was removed; run this again, and if that does not help, its publisher changed it or something on the way did"
    return f"it was removed; if its publisher has changed it, delete its entry in {folder / LOCK_NAME} and run this again"


def _publish(part: Path, target: Path) -> None:
    with open(part, "rb") as file:
        os.fsync(file.fileno())
    os.replace(part, target)
    forget(part)  # its note


# --- what lies beside the files -----------------------------------------------------------------------------------------------


def _read_lock(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / LOCK_NAME
    return read_json(path) if path.exists() else {}


def _record(source: Source, folder: Path, sha256: str) -> None:
    """Remember the first checksum seen; one process at a time, so that two downloads into one folder both end up in the
    file."""
    with only_process(folder / f".{LOCK_NAME}.lock"):
        write_json(folder / LOCK_NAME, {**_read_lock(folder), source.file: {"url": source.url, "sha256": sha256}})
