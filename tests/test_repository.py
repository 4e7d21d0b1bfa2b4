"""The repository itself: which room may import which, what is written down twice must agree, and what must not be said."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A room may import from itself and from those named; the order is that of the data.
MAY_IMPORT = {
    "corpus": set(),
    "models": set(),
    "retrieval": {"corpus", "models"},
    "rag": {"corpus", "models", "retrieval"},
    "tasks": {"corpus"},
    "training": {"corpus", "models", "retrieval", "rag", "tasks"},
    "evaluation": {"corpus", "models", "retrieval", "rag", "tasks", "training", "teaching", "doctor"},
    "teaching": {"corpus", "models", "retrieval", "rag", "tasks", "training"},
    "cluster": {"corpus", "models", "retrieval", "doctor"},
    "serve": {"corpus", "models", "retrieval", "rag"},
    "bench": {"corpus", "models", "retrieval", "rag", "tasks", "training", "cluster", "doctor"},
}
GROUND = {"errors", "files", "paths"}  # any room may stand on these
TOP = {"cli", "recipes"}  # these may import everything


def modules() -> list[Path]:
    return sorted((ROOT / "minirag").rglob("*.py"))


def imported_rooms(source: str) -> set[str]:
    """The rooms (first names after `minirag.`) that a module's text imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            if node.module == "minirag":
                names |= {f"minirag.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("minirag.")}


def wrong_way(room: str, source: str) -> set[str]:
    return set() if room in TOP else imported_rooms(source) - GROUND - {room} - MAY_IMPORT.get(room, set())


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_point_back(path: Path) -> None:
    room = path.relative_to(ROOT / "minirag").parts[0].removesuffix(".py")
    assert wrong_way(room, path.read_text(encoding="utf-8")) == set()


def test_a_wrong_import_is_seen() -> None:
    assert wrong_way("corpus", "def f():\n    from minirag.retrieval.exact import ExactIndex\n") == {"retrieval"}
    assert wrong_way("models", "import minirag.corpus.store") == {"corpus"}
    assert wrong_way("models", "from minirag import corpus") == {"corpus"}
    assert wrong_way("retrieval", "from minirag.models.bert import Bert\nfrom minirag.errors import MiniragError") == set()


def requirement(line: str) -> tuple[str, str]:
    """Name, normalised, and version range of a requirement."""
    name, versions = re.match(r"([A-Za-z0-9_.-]+?)(?:\[.*\])?((?:[<>=!~]=?.*)?)$", line.strip()).groups()
    return re.sub(r"[-_.]+", "-", name).lower(), versions


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def conda_requirements() -> dict[str, str]:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    lines = re.findall(r"^ +- ([^\s:]+)$", text.split("dependencies:")[1], re.M)
    renamed = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}
    return {renamed.get(name, name): versions for name, versions in map(requirement, lines)}


def test_environment_yml_is_in_step_with_pyproject() -> None:
    conda = conda_requirements()
    for name, versions in map(requirement, project()["dependencies"]):
        assert conda.get(name) == versions, f"{name} {versions} in pyproject.toml, {conda.get(name)} in environment.yml"
    assert conda["python"] == project()["requires-python"]


def test_environment_yml_uses_conda_forge_alone() -> None:
    channels = (ROOT / "environment.yml").read_text(encoding="utf-8").split("channels:")[1].split("dependencies:")[0]
    assert re.findall(r"- (\S+)", channels) == ["conda-forge", "nodefaults"]


def test_every_requirement_is_pinned_within_its_range() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split():
        name, _, version = line.partition("==")
        assert version, f"{line} is no exact pin"
        pins[canonicalize_name(name)] = version
    assert pins["torch"] == "2.13.0"
    extras = [line for lines in project()["optional-dependencies"].values() for line in lines]
    for line in project()["dependencies"] + extras:
        wanted = Requirement(line)
        if wanted.name != "minirag":
            assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), line


def tracked() -> list[Path]:
    found = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True)
    if found.returncode:
        pytest.skip("this is no git checkout")
    return [path for name in found.stdout.splitlines() if (path := ROOT / name).is_file()]


def test_nothing_tracked_is_large_or_pickled() -> None:
    for path in tracked():
        most = 40_000_000 if "checkpoints" in path.parts else 2_000_000
        assert path.stat().st_size < most, f"{path} is {path.stat().st_size} bytes"
        assert path.suffix not in {".pkl", ".pickle", ".pt", ".bin"}, path


def test_the_readme_names_every_room_and_module() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in modules():
        if path.name == "__init__.py":
            assert f"{path.parent.name}/" in readme, f"README.md's file tree lacks {path.parent.name}/"
        elif path.parent.name != "miniwiki":
            assert path.name in readme, f"README.md's file tree lacks {path.relative_to(ROOT)}"


def test_importing_the_package_does_nothing() -> None:
    """No network, no heavy library, no output: a bare import only reads our own files."""
    code = "import sys, minirag.files, minirag.paths; print(sorted({'torch', 'faiss', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
