"""In the sandbox nothing is checked: a stand-in for `minirag.teaching.checks`, whose references are kept out of it."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

_CHECKS = "minirag.teaching.checks"
NEEDED = ("local", "compare")  # the modules of it that a worker needs itself


def install() -> None:
    """From here on importing the checks, or a module of them, gives something whose functions do nothing."""
    sys.meta_path.insert(0, _Finder())


class _Later(types.ModuleType):
    """Stands for the checks: their references are none of the sandbox's business, and checking comes later."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


class _Finder(MetaPathFinder, Loader):
    """Finds a stand-in for the checks and each of their modules, but for the two that a worker needs itself."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if not (name + ".").startswith(_CHECKS + "."):
            return None
        if name.removeprefix(_CHECKS + ".") in NEEDED:
            return PathFinder.find_spec(name, path)
        return ModuleSpec(name, self, is_package=name == _CHECKS)

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return _Later(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        if module.__name__ == _CHECKS:
            module.__path__ = [str(Path(__file__).resolve().parents[1] / "checks")]
