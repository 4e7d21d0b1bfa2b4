"""Reading what people write, CSV and TOML: a file that is missing, cut off or in another encoding is named in one sentence."""

import csv
import tomllib
from pathlib import Path
from typing import Any

from minirag.errors import MiniragError


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a table; a `MiniragError` names the file if it is none."""
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise MiniragError(f"{path.name} is not valid TOML ({error}); mend the line it names") from None


def read_csv(path: Path) -> list[list[str]]:
    """The rows of a CSV file, the header first; a `MiniragError` names the row that is none."""
    rows: list[list[str]] = []
    try:
        rows.extend(csv.reader(_text(path).splitlines(keepends=True), strict=True))
    except csv.Error as error:
        raise MiniragError(f"{path.name}, row {len(rows) + 1}: is not CSV ({error}); mend its quotation marks") from None
    return rows


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise MiniragError(f"{path} is missing; write it, see CONTRIBUTING.md for the layout") from None
    except UnicodeDecodeError as error:
        raise MiniragError(f"{path.name} is not in UTF-8 ({error}); save it in that encoding") from None
