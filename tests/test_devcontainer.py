"""The devcontainer: what it names must be there, and what it opens stays on this machine."""

import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_devcontainer_agrees_with_the_checkout() -> None:
    given = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    version = re.search(r"python:(3\.\d+)$", given["image"])[1]
    assert needs == f">={version}"
    target = re.match(r"make (\S+) && ", given["postCreateCommand"])[1]
    assert f"\n{target}:" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "--name python3 " in given["postCreateCommand"], "the kernel that the notebooks name"
    assert all(isinstance(port, int) for port in given["forwardPorts"])
    assert given["customizations"]["vscode"]["settings"]["remote.localPortHost"] == "localhost"
