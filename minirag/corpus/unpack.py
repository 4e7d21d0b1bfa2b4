"""Unpacking what was downloaded: .gz in a stream, .zip and .tar only where every member stays inside the folder."""

import contextlib
import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from minirag.errors import MiniragError
from minirag.files import atomic_folder, atomic_path

CHUNK = 1 << 20


def unpack(path: str | Path, folder: str | Path) -> Path:
    """Unpack `x.tsv.gz` to `folder/x.tsv`, or an archive `x.zip` to the folder `folder/x`; return that path.

    Raises `MiniragError` for a damaged file, an unknown kind, and an archive with a member that is a link or leads out of the
    folder.
    """
    path, folder = Path(path), Path(folder)
    for suffix, take_out in ((".zip", _unpack_zip), (".tar", _unpack_tar), (".tar.gz", _unpack_tar), (".tgz", _unpack_tar)):
        if path.name.endswith(suffix):
            with atomic_folder(folder / path.name.removesuffix(suffix), lambda _: True) as temporary, _reading(path):
                take_out(path, temporary)
            return folder / path.name.removesuffix(suffix)
    if path.suffix != ".gz":
        raise MiniragError(f"{path} is none of .gz, .zip, .tar, .tar.gz and .tgz; unpack it by hand")
    with (
        atomic_path(folder / path.stem) as temporary,
        _reading(path),
        gzip.open(path) as packed,
        open(temporary, "wb") as plain,
    ):
        shutil.copyfileobj(packed, plain, CHUNK)
    return folder / path.stem


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say that the archive is damaged, before the atomic writers around take `gzip.BadGzipFile`, an OSError, for a full
    disk."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, tarfile.TarError, RuntimeError) as error:
        raise MiniragError(f"{path} is damaged or locked ({error}); delete it and download it again") from error


def _unpack_zip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            target = _inside(path, folder, member.filename, link=stat.S_ISLNK(member.external_attr >> 16))
            if not member.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as packed, open(target, "wb") as plain:
                    shutil.copyfileobj(packed, plain, CHUNK)


def _unpack_tar(path: Path, folder: Path) -> None:
    with tarfile.open(path) as archive:
        for member in archive:
            target = _inside(path, folder, member.name, link=not (member.isfile() or member.isdir()))
            if packed := archive.extractfile(member):
                target.parent.mkdir(parents=True, exist_ok=True)
                with packed, open(target, "wb") as plain:
                    shutil.copyfileobj(packed, plain, CHUNK)


def _inside(path: Path, folder: Path, name: str, link: bool) -> Path:
    """Where a member goes; an error unless it is a plain file or folder below `folder`, whatever the system's path rules
    are."""
    parts = PurePosixPath(name)
    if link or parts.is_absolute() or ".." in parts.parts or "\\" in name or PureWindowsPath(name).drive:
        raise MiniragError(
            f"{path} holds '{name}', which is a link or leads out of the folder; do not unpack it, get it from its publisher"
        )
    return folder / parts
