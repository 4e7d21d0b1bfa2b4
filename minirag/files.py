"""What lies on disk is whole or absent: atomic writes, checksums, and JSON that says where it is broken."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from minirag.errors import MiniragError


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hex, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint_of(*parts: str | bytes) -> str:
    """A short name for content: the first 16 hex digits of the SHA-256 of the parts, each preceded by its length.

    >>> fingerprint_of("ab", "c") == fingerprint_of("a", "bc")
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name in the same folder; when the block ends well, sync it and rename it to `path`.

    A reader sees the old file or the new one, never a part; after an error the temporary file is gone.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise MiniragError(f"cannot write {path}: {error.strerror or error}; free space or choose another folder") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        temporary.chmod(0o644)  # mkstemp makes it private; what we write is meant to be shared
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise MiniragError(f"cannot write {path}: {error.strerror or error}; free space or choose another folder") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path, is_ours: Callable[[Path], bool]) -> Iterator[Path]:
    """Like `atomic_path` for a whole folder: it appears under its name only when it is complete.

    An older folder is replaced if it is empty or `is_ours` says that nothing else is in it; otherwise it is left as it is,
    with a MiniragError.
    """
    path = Path(path)
    refuse_strangers(path, is_ours)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    try:
        yield temporary
        for file in temporary.rglob("*"):
            _sync(file)
        temporary.chmod(0o755)
        if path.exists():
            old = temporary.with_suffix(".old")
            os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise MiniragError(f"cannot write {path}: {error.strerror or error}; free space or choose another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_strangers(path: Path, is_ours: Callable[[Path], bool]) -> None:
    """A MiniragError where `atomic_folder` would not replace what lies there: to be asked before long work, too."""
    if path.exists() and not (path.is_dir() and (not any(path.iterdir()) or is_ours(path))):
        raise MiniragError(
            f"{path} holds something other than what is to be written, and is left as it is; choose another name"
        )


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read JSON; a missing or broken file is a `MiniragError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MiniragError(f"{path} does not exist; check the path or make it first") from None
    except (ValueError, OSError) as error:
        raise MiniragError(f"{path} cannot be read as JSON ({error}); it was not written by minirag or is damaged") from error


@contextlib.contextmanager
def only_process(path: str | Path, busy: str | None = None) -> Iterator[None]:
    """Hold the lock file `path`; the system drops the lock even when the process is killed.

    Where another process holds it: wait, or raise MiniragError(busy) if that is given.
    """
    import fcntl  # not on Windows, where minirag runs under WSL

    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB if busy else fcntl.LOCK_EX)
        except BlockingIOError:
            raise MiniragError(busy) from None
        yield


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
