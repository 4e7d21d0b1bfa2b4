"""A badge that opens a notebook in Colab, and a cell that installs the package there.

    make colab REPOSITORY=owner/name        # where your copy of the course can be cloned from GitHub
    make colab REPOSITORY=                  # takes both out again

Who publishes a copy, a fork or a course's own, names it once: a badge leads to one repository, and must not install another's.
Elsewhere than in Colab the cell does nothing; it has no output, and nothing compares it.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minirag.errors import MiniragError, told_in_one_sentence
from minirag.files import atomic_path

BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
CELL = "on-colab"  # the cell's id
INSTALL = """import sys

if "google.colab" in sys.modules:  # elsewhere this does nothing
    !git clone --quiet --depth 1 https://github.com/{} /content/minirag
    %pip install --quiet /content/minirag
    %cd -q /content/minirag/notebooks"""

Notebook = dict[str, Any]


def with_colab(notebook: Notebook, name: str, repository: str | None, branch: str = "main") -> Notebook:
    """The notebook of that file name with badge and cell for a repository `owner/name`; for None without either.

    >>> page = {"cells": [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": ["# 00 · A tour"]}]}
    >>> led = with_colab(page, "00_tour.ipynb", "somebody/minirag")
    >>> [cell["cell_type"] for cell in led["cells"]], with_colab(led, "00_tour.ipynb", None) == page
    (['markdown', 'code'], True)
    """
    first, *rest = [cell for cell in notebook["cells"] if cell["id"] != CELL]
    text = re.sub(r"\n\n\[!\[Open in Colab\][^\n]*", "", "".join(first["source"]))
    cells = [{**first, "source": text.splitlines(keepends=True)}, *rest]
    if repository is not None:
        title, *below = text.split("\n", 1)
        there = f"https://colab.research.google.com/github/{repository}/blob/{branch}/notebooks/{name}"
        led = "\n".join([f"{title}\n\n{BADGE}({there})", *below])
        cells = [{**first, "source": led.splitlines(keepends=True)}, _cell(repository), *rest]
    return {**notebook, "cells": cells}


def _cell(repository: str) -> dict[str, Any]:
    tags = {"tags": ["nbval-skip", "skip-execution"]}
    source = INSTALL.format(repository).splitlines(keepends=True)
    return {"cell_type": "code", "execution_count": None, "id": CELL, "metadata": tags, "outputs": [], "source": source}


def write(folder: Path, repository: str | None, branch: str = "main") -> list[Path]:
    """Put badge and cell into all notebooks of a folder, or take them out; which were changed. MiniragError for a bad name."""
    if repository is not None and not re.fullmatch(r"[\w-]+/[\w.-]+", repository):
        raise MiniragError(f"{repository!r} is no repository on GitHub; give owner/name, as in its address")
    if not re.fullmatch(r"[\w./-]+", branch):
        raise MiniragError(f"{branch!r} is no branch's name; give letters, digits and . / - _")
    changed = []
    for path in sorted(folder.glob("*.ipynb")):
        before = path.read_text(encoding="utf-8")
        after = json.dumps(with_colab(json.loads(before), path.name, repository, branch), ensure_ascii=False, indent=1) + "\n"
        if after != before:
            with atomic_path(path) as temporary:
                temporary.write_text(after, encoding="utf-8")
            changed.append(path)
    return changed


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Badges that open the notebooks in Colab, for one repository; '' for none.")
    parser.add_argument("repository", help="owner/name on GitHub")
    parser.add_argument("--branch", default="main", help="default: %(default)s")
    parser.add_argument("--notebooks", type=Path, default=Path("notebooks"), help="their folder (default: %(default)s)")
    given = parser.parse_args(arguments)
    changed = write(given.notebooks, given.repository or None, given.branch)
    print(f"{len(changed)} notebooks changed")


if __name__ == "__main__":
    with told_in_one_sentence():
        main()
