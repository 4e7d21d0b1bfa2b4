"""Work that is kept: each stage of a job is a folder, made once, and made again only when what it is made from has changed.

`stages.json` records, for each folder, the fingerprint of its ingredients. It is written before the work begins, so that a
stage which can go on after a crash (encoding) finds its half-done folder still recorded as its own.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from minirag.errors import MiniragError
from minirag.files import fingerprint_of, read_json, write_json

T = TypeVar("T")


class Stages:
    """The stages under one folder. `log` says of each, in order: its name, the seconds it took, whether it was found done."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.log: list[tuple[str, float, bool]] = []
        self._path = self.folder / "stages.json"
        self._made_from: dict[str, str] = read_json(self._path) if self._path.exists() else {}
        if not isinstance(self._made_from, dict):
            raise MiniragError(f"{self._path} is no record of stages; remove it and the folders beside it")

    def get(self, name: str, ingredients: tuple[str, ...], make: Callable[[Path], T], load: Callable[[Path], T]) -> T:
        """What lies in the folder `name`, loaded if it was made from these ingredients and is undamaged, else made.

        `make` is given the folder's path: absent, or unfinished from the same ingredients. Raises `MiniragError`, touching
        nothing, if a folder of that name is there that no stage has made.
        """
        start, path, key = time.perf_counter(), self.folder / name, fingerprint_of(*ingredients)
        if path.exists() and name not in self._made_from:
            raise MiniragError(f"{path} was not made here and is left as it is; move it away, or choose another folder")
        if path.exists() and self._made_from[name] == key:
            try:
                return self._logged(name, start, True, load(path))
            except MiniragError:  # damaged, or unfinished: an encoding leaves `partial.json` and goes on from there
                if not (path / "partial.json").exists():
                    shutil.rmtree(path)
        elif path.exists():
            shutil.rmtree(path)
        self._made_from[name] = key
        write_json(self._path, self._made_from)
        return self._logged(name, start, False, make(path))

    def timed(self, name: str, work: Callable[[], T]) -> T:
        """A stage that leaves nothing on disk: it is done every time, and its seconds are noted."""
        start = time.perf_counter()
        return self._logged(name, start, False, work())

    def _logged(self, name: str, start: float, found: bool, value: T) -> T:
        self.log.append((name, time.perf_counter() - start, found))
        return value
