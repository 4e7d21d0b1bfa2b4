"""A class of thirty: perfect, partial, empty, cheating, hanging, crashing, damaged and hostile ones, and their grades."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from grader_cases import RIGHT, TINY, answers, sandbox_of, save

from minirag.teaching.grader.grade import Grade, grade_class
from minirag.teaching.grader.reading import read_submissions
from minirag.teaching.grader.sandbox import Sandbox
from minirag.teaching.grader.session import Limits

SECRET = "a-secret-that-nobody-guesses-7391"

# What a hostile cell finds is turned into points: only an attack that works earns any.
LOOT = "\n".join(["found = steal()", "if found:", *("    " + line for cell in RIGHT.values() for line in cell.splitlines())])

HOSTILE = {
    "reads_others": """
import os, torch
def steal():
    for folder, inner, files in os.walk('/'):
        inner[:] = [each for each in inner if each not in ('proc', 'usr', 'site-packages', '.pyenv')]
        for file in files:
            if file in ('perfect.ipynb', 'secret.txt'): return os.path.join(folder, file)
    for path in PLACES:
        try: return open(path).read()
        except OSError: pass
""",
    "seed_in_proc": """
import glob, os, torch
def steal():
    secret = ''.join(reversed('1937-sesseug-ydobon-taht-terces-a'))
    if secret in str(dict(os.environ)): return 'environment'
    for pattern in ('environ', 'cmdline', 'comm', 'mountinfo', 'fd/*', 'task/*/environ', 'root/secret*', 'cwd/*'):
        for path in glob.glob('/proc/[0-9]*/' + pattern):
            try:
                if secret.encode() in os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 1 << 20): return path
            except (OSError, ValueError): pass
""",
    "seed_in_memory": """
import glob, os, re, torch
def steal():
    secret = bytes(reversed(b'1937-sesseug-ydobon-taht-terces-a'))
    for maps in glob.glob('/proc/[0-9]*/maps'):
        process = maps.split('/')[2]
        if process == str(os.getpid()): continue
        try:
            memory = open(f'/proc/{process}/mem', 'rb', buffering=0)
            for line in open(maps):
                start, end = (int(each, 16) for each in re.match('([0-9a-f]+)-([0-9a-f]+) r', line).groups())
                memory.seek(start)
                if secret in memory.read(min(end - start, 1 << 24)): return process
        except (OSError, ValueError, AttributeError, OverflowError): pass
    if os.getppid() > 1: return 'a parent outside'
""",
    "the_references": """
import os, sys, torch
def steal():
    import minirag, minirag.teaching
    root = os.path.dirname(os.path.dirname(minirag.__file__))
    for name in ('notebooks', 'tests', 'notebooks/solutions', 'minirag/teaching/checks/marginalisation.py'):
        if os.path.exists(os.path.join(root, name)): return name
    from minirag.teaching.checks.exercise import Exercise
    if isinstance(Exercise, type): return 'the checks'
""",
}


def whole(**changed: str) -> Callable[[Path, str], Path]:
    return lambda folder, name: save(folder / f"{name}.ipynb", answers(**changed))


def of_cells(*cells: str) -> Callable[[Path, str], Path]:
    return lambda folder, name: save(folder / f"{name}.ipynb", list(cells))


def raw(text: str) -> Callable[[Path, str], Path]:
    def make(folder: Path, name: str) -> Path:
        (folder / f"{name}.ipynb").write_text(text, encoding="utf-8")
        return folder / f"{name}.ipynb"

    return make


def hostile(name: str) -> Callable[[Path, str], Path]:
    def make(folder: Path, student: str) -> Path:
        places = [str(folder / "perfect.ipynb"), str(folder / "secret.txt"), "/proc/1/cwd/perfect.ipynb"]
        return save(folder / f"{student}.ipynb", [f"PLACES = {places!r}", HOSTILE[name], LOOT])

    return make


def in_two(folder: Path, name: str) -> Path:
    first, second = list(RIGHT.values())[:2], list(RIGHT.values())[2:]
    save(folder / name / "one.ipynb", first)
    save(folder / name / "two.ipynb", ["import torch", *second])
    return folder / name


def linked(folder: Path, name: str) -> Path:
    os.symlink("perfect.ipynb", folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


OWN = "from minirag.rag.marginalize import log_prior\n"
ENDLESS = """def mapped(f, xs):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass"""
FORGES = """import os
def doubled(xs):
    for each in range(3, 30):
        try:
            os.write(each, b'{"value": [2, 4]}}\\n')
        except OSError:
            pass
    return [2, 4]"""

# name: how it is made, the points of its four exercises, and a word of its remark
CLASS: dict[str, tuple[Callable[[Path, str], Path], tuple[int, int, int, int], str]] = {
    "perfect": (whole(), (2, 3, 4, 5), ""),
    "reordered": (of_cells(*reversed(answers())), (2, 3, 4, 5), ""),
    "in_one_cell": (of_cells("\n".join(["import torch", *RIGHT.values()])), (2, 3, 4, 5), ""),
    "in_two": (in_two, (2, 3, 4, 5), ""),
    "partial": (of_cells(RIGHT["doubled"], RIGHT["mapped"]), (2, 3, 0, 0), ""),
    "deleted": (of_cells("import torch", RIGHT["halted"]), (0, 0, 4, 0), ""),
    "wrong": (whole(doubled="def doubled(xs):\n    return [x * x for x in xs]"), (0, 3, 4, 5), ""),
    "not_begun": (
        whole(**{name: cell.split("\n")[0] + "\n    raise NotImplementedError" for name, cell in RIGHT.items()}),
        (0, 0, 0, 0),
        "",
    ),
    "duplicated": (of_cells(*answers(), "def doubled(xs):\n    raise NotImplementedError('Exercise 0.1')"), (2, 3, 4, 5), ""),
    "syntax_error": (whole(mapped="def mapped(f, xs)\n    return 1"), (2, 0, 4, 5), "1 cell failed"),
    "imports": (whole(prior=OWN.replace("log_prior", "log_prior as prior")), (2, 3, 4, 0), ""),
    "imports_inside": (whole(prior=OWN + "def prior(scores):\n    return log_prior(scores)"), (2, 3, 4, 0), ""),
    "blinds": (
        whole(prior=OWN + "import sys\ndef prior(scores):\n    sys.setprofile(None)\n    return log_prior(scores)"),
        (2, 3, 4, 0),
        "",
    ),
    "hangs_in_a_cell": (of_cells("while True:\n    pass", *answers()), (2, 3, 4, 5), "1 cell failed"),
    "hangs": (whole(doubled="def doubled(xs):\n    while True:\n        pass"), (0, 3, 4, 5), ""),
    "hangs_and_will_not_stop": (whole(mapped=ENDLESS), (2, 0, 4, 5), ""),
    "asks_for_ever": (whole(mapped="def mapped(f, xs):\n    while True:\n        f(1)"), (2, 0, 4, 5), ""),
    "exits": (whole(doubled="import os\ndef doubled(xs):\n    os._exit(0)"), (0, 3, 4, 5), ""),
    "crashes": (whole(halted="import ctypes\ndef halted(a, b):\n    ctypes.string_at(0)"), (2, 3, 0, 5), ""),
    "kills_in_a_cell": (of_cells("import os\nos.kill(os.getpid(), 9)", *answers()), (2, 3, 4, 5), "1 cell failed"),
    "damaged": (raw('{"cells": [{"cell_type": "code", "sou'), (0, 0, 0, 0), "no JSON"),
    "empty": (raw(""), (0, 0, 0, 0), "empty"),
    "linked": (linked, (0, 0, 0, 0), "link"),
    "prints_for_ever": (
        of_cells(
            "while True:\n    print('x' * 100_000)",
            *answers(doubled="def doubled(xs):\n    print('y' * 10**7)\n    return [2 * x for x in xs]"),
        ),
        (2, 3, 4, 5),
        "1 cell failed",
    ),
    "returns_too_much": (whole(doubled="def doubled(xs):\n    return list(range(10**7))"), (0, 3, 4, 5), ""),
    "memory_bomb": (
        of_cells("hoard = []\nwhile True:\n    hoard.append(bytearray(1 << 26))", *answers()),
        (2, 3, 4, 5),
        "1 cell failed",
    ),
    "fork_bomb": (of_cells("import os\nwhile True:\n    os.fork()", *answers()), (2, 3, 4, 5), "1 cell failed"),
    "calls_home": (
        whole(
            doubled="import urllib.request\ndef doubled(xs):\n    return urllib.request.urlopen('http://1.1.1.1', timeout=1)"
        ),
        (0, 3, 4, 5),
        "",
    ),
    "forges": (whole(doubled=FORGES), (0, 3, 4, 5), ""),
    **{name: (hostile(name), (0, 0, 0, 0), "") for name in HOSTILE},
}


@pytest.fixture
def neighbour() -> Iterator[None]:
    """A process outside that has the secret in its environment, as the grader may."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={"MINIRAG_SEED": SECRET}) as process:
        yield
        process.communicate(b"\n")


@pytest.mark.slow
@pytest.mark.usefixtures("neighbour")
def test_the_attacks_work_where_there_is_no_sandbox(tmp_path: Path) -> None:
    """Or they would show nothing in it."""
    save(tmp_path / "perfect.ipynb", answers())
    (tmp_path / "secret.txt").write_text(SECRET)
    attacks = read_submissions([hostile(name)(tmp_path, name) for name in HOSTILE])
    grades = grade_class(attacks, TINY, SECRET, Sandbox("none"), Limits(cell=60.0), jobs=2)
    assert {each.student: each.points for each in grades} == dict.fromkeys(HOSTILE, 14)


@pytest.mark.slow
@pytest.mark.usefixtures("neighbour")
@pytest.mark.parametrize("kind", ["bubblewrap", "docker"])
def test_a_class_is_graded_as_expected(kind: str, tmp_path: Path) -> None:
    sandbox = sandbox_of(kind, tmp_path)
    (tmp_path / "secret.txt").write_text(SECRET)
    paths = [make(tmp_path, name) for name, (make, _, _) in CLASS.items()]
    assert len(paths) >= 30
    before = time.monotonic()
    grades = grade_class(read_submissions(paths), TINY, SECRET, sandbox, Limits(cell=10.0), jobs=2)
    took = time.monotonic() - before
    print(f"\n{len(grades)} submissions in {took:.0f} s")
    assert {each.student: tuple(one.points for one in each.outcomes) for each in grades} == {
        name: points for name, (_, points, _) in CLASS.items()
    }
    immortal = {"kills_in_a_cell"} if kind == "docker" else set()  # a container's first process cannot kill itself
    for grade in grades:
        assert_remark(grade, "" if grade.student in immortal else CLASS[grade.student][2])


def assert_remark(grade: Grade, word: str) -> None:
    assert (word in grade.remark) if word else grade.remark == "", f"{grade.student}: {grade.remark} {grade.notes}"
