"""Four small exercises, and notebooks that answer them: what the tests of checks and grader share."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from minirag.teaching.checks.draw import normal
from minirag.teaching.checks.exercise import Exercise, Mistake
from minirag.teaching.grader.sandbox import Sandbox

SECONDS = 2.0  # for one case
IMAGE = "minirag-grader"


@dataclass(frozen=True)
class Plus:
    """A function that a case hands over: it lives in the grader."""

    much: int

    def __call__(self, x: int) -> int:
        return x + self.much


doubled = Exercise(
    number="0.1",
    name="doubled",
    title="Twice as much",
    stars=1,
    minutes=1,
    points=2,
    reference=lambda xs: [2 * x for x in xs],
    by_hand=((([1, 2],), [2, 4]), (([],), [])),
    draw=lambda rng, size: ([int(x) for x in rng.integers(0, 99, size)],),
    mistakes=(Mistake("squared", "Squares are asked for in no place.", lambda xs: [x * x for x in xs]),),
    hint="Multiply each by 2.",
    seconds=SECONDS,
)
mapped = Exercise(
    number="0.2",
    name="mapped",
    title="A function of each",
    stars=1,
    minutes=1,
    points=3,
    reference=lambda f, xs: [f(x) for x in xs],
    by_hand=(((Plus(1), [1, 2]), [2, 3]),),
    draw=lambda rng, size: (Plus(int(rng.integers(9))), list(range(size))),
    mistakes=(),
    hint="Call f.",
    seconds=SECONDS,
)
halted = Exercise(
    number="0.3",
    name="halted",
    title="A product with a stopped gradient",
    stars=2,
    minutes=1,
    points=4,
    reference=lambda a, b: (a * b.detach()).sum(),
    by_hand=(((torch.ones(1), torch.ones(1)), (torch.tensor(1.0), torch.ones(1), torch.zeros(1))),),
    draw=lambda rng, size: (normal(rng, size), normal(rng, size)),
    mistakes=(),
    hint="Detach b.",
    wrt=(0, 1),
    seconds=SECONDS,
)
prior = Exercise(
    number="1.1",
    name="prior",
    title="A distribution over documents",
    stars=1,
    minutes=1,
    points=5,
    reference=lambda scores: scores.log_softmax(-1),
    by_hand=(((torch.zeros(1, 2),), torch.full((1, 2), 0.5).log()),),
    draw=lambda rng, size: (normal(rng, 1, size),),
    mistakes=(),
    hint="Normalise.",
    seconds=SECONDS,
)
TINY = (doubled, mapped, halted, prior)

IMPORTS = "import torch\nfrom minirag.teaching.checks import check_doubled, check_mapped\n%matplotlib inline"
RIGHT = {
    "doubled": "def doubled(xs):\n    return [x + x for x in xs]",
    "mapped": "def mapped(f, xs):\n    return list(map(f, xs))",
    "halted": "def halted(a, b):\n    return torch.dot(a, b.detach())",
    "prior": "def prior(scores):\n    return torch.log_softmax(scores, dim=-1)",
}
CHECK = "check_doubled(doubled)"


def answers(**changed: str) -> list[str]:
    """The cells of a notebook in which all is right but what is `changed`."""
    return [IMPORTS, *(changed.get(name, cell) for name, cell in RIGHT.items()), CHECK]


def notebook(cells: list[str]) -> dict[str, Any]:
    head = {"cell_type": "markdown", "id": "head", "metadata": {}, "source": ["# Exercises"]}
    made = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": text, "outputs": [], "execution_count": None}
        for n, text in enumerate(cells)
    ]
    return {"cells": [head, *made], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def save(path: Path, cells: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook(cells)), encoding="utf-8")
    return path


def bubblewrap(*hidden: Path) -> Sandbox:
    """The sandbox, or a skip that says why there is none."""
    if not shutil.which("bwrap"):
        pytest.skip("bubblewrap is not installed")
    sandbox = Sandbox("bubblewrap", hidden=hidden)
    if why := sandbox.tried():
        pytest.skip(f"bubblewrap makes no sandbox here: {why}")
    return sandbox


def docker() -> Sandbox:
    """The image of examples/grader.Dockerfile; skipped where it is not built."""
    asked = ["docker", "image", "inspect", IMAGE]
    if not shutil.which("docker") or subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip(f"no image {IMAGE} here: docker build -f examples/grader.Dockerfile -t {IMAGE} .")
    return Sandbox("docker", IMAGE)


def sandbox_of(kind: str, folder: Path) -> Sandbox:
    """`bubblewrap` or `docker`, where it is to be had."""
    return docker() if kind == "docker" else bubblewrap(folder)
