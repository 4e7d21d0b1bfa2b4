"""The examples for Slurm: shell that parses, options that exist, and torchrun started as they start it."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from minirag import __version__, cli

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.slurm"))
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


def test_there_are_two() -> None:
    assert [path.name for path in EXAMPLES] == ["encode.slurm", "train.slurm"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_they_are_shell(path: Path, tmp_path: Path) -> None:
    assert subprocess.run(["bash", "-n", path]).returncode == 0
    broken = tmp_path / "broken.slurm"
    broken.write_text(path.read_text(encoding="utf-8") + "\nif then\n", encoding="utf-8")
    assert subprocess.run(["bash", "-n", broken], capture_output=True).returncode != 0


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_their_own_examples_can_be_typed(path: Path) -> None:
    comments = re.findall(r"^#   (.+?)(?<!\\)$", path.read_text(encoding="utf-8").replace("\\\n#  ", ""), re.M)
    (line,) = [line for line in comments if line.startswith("sbatch")]
    words = line.split(f"{path.name} ")[1].split()
    parsed = cli._parser().parse_args([*(["encode", "--engine", "ray"] if path.name == "encode.slurm" else []), *words])
    assert parsed.out


def test_torchrun_starts_the_command_on_one_machine(tmp_path: Path) -> None:
    """Slurm's two programs are stood in for by what they do on a single machine."""
    for name, text in {"srun": 'exec "$@"', "scontrol": "echo 127.0.0.1"}.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    job = {"SLURM_JOB_NODELIST": "one", "SLURM_NNODES": "1", "SLURM_JOB_ID": "7", "PORT": str(port), "SLURM_GPUS_ON_NODE": "2"}
    done = subprocess.run(
        ["bash", EXAMPLES[1], "--version"], env=os.environ | job | {"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"minirag {__version__}") == 2
