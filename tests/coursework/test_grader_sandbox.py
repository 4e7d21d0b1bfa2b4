"""The sandbox: what is inside it, what it refuses, and what is said where there is none."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from grader_cases import sandbox_of

from minirag.errors import MiniragError
from minirag.teaching.grader import sandbox as module
from minirag.teaching.grader.pipe import Closed
from minirag.teaching.grader.sandbox import Sandbox, Started, choose

MEMORY, SECONDS, PATIENCE = 1 << 30, 300, 120.0

LOOK = """
import ctypes, glob, mmap, os, resource, socket, subprocess, sys, tempfile
SECRET = 'in-the-environment-' + 'of-the-grader'
def tries(act):
    try:
        act()
        return 'done'
    except BaseException as error:
        return type(error).__name__
def fill():
    for n in range(100):
        open(f'/tmp/{n}', 'wb').write(bytes(1 << 22))
def look():
    files = glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline')
    package = sys.modules['minirag'].__path__[0]
    root = os.path.dirname(package)
    seen = glob.glob(package + '/teaching/checks/**', recursive=True, include_hidden=True)
    return {
        'fork': tries(os.fork),
        'program': tries(lambda: subprocess.run(['true'])),
        'namespace': tries(lambda: os.listdir('/nothing') if ctypes.CDLL(None).unshare(0x10000000) else 1),
        'network': tries(lambda: socket.create_connection(('1.1.1.1', 53), 1)),
        'memory': tries(lambda: bytearray(1 << 31)),
        'mapped': tries(lambda: mmap.mmap(-1, 1 << 31)),
        'hidden file': tries(lambda: os.memfd_create('x')),
        'large file': tries(lambda: open('/tmp/x', 'wb').write(bytes(1 << 26))),
        'disk': tries(fill),
        'package': tries(lambda: open(package + '/x.py', 'w')),
        'root': tries(lambda: open('/x', 'w')),
        'devices': tries(lambda: open('/dev/x', 'w')),
        'more memory': tries(lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1))),
        'ids': os.getuid() not in (0,) and len(glob.glob('/proc/[0-9]*')) <= 3,
        'secret': [path for path in files if SECRET in open(path).read()],
        'environment': sorted({*os.environ} - {'PWD', 'LC_CTYPE'}),
        'checkout': sorted({*os.listdir(root)} & {'notebooks', 'tests', 'README.md', '.git'}),
        'checks': sorted({os.path.basename(path).split('.')[0] for path in seen if os.path.isfile(path)}),
        'others': [path for path in PLACES if os.path.exists(path) and os.listdir(path)],
    }
found = look()
print('LOOK', __import__('json').dumps(found))
"""


class Speaking:
    """A worker, and what one says to it."""

    def __init__(self, started: Started) -> None:
        self.started = started
        self.pipe = started.pipe(1 << 20, threading.Event())
        assert self.receive() == {"ready": True}

    def receive(self) -> dict[str, Any]:
        return self.pipe.receive(time.monotonic() + PATIENCE)

    def say(self, **message: Any) -> dict[str, Any]:
        self.pipe.send(message, time.monotonic() + PATIENCE)
        return self.receive()


@pytest.mark.parametrize("kind", ["bubblewrap", "docker"])
def test_what_a_hostile_cell_finds_inside(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = sandbox_of(kind, tmp_path)
    monkeypatch.setenv("A_SECRET", "in-the-environment-of-the-grader")
    (tmp_path / "other.ipynb").write_text("{}")
    started = sandbox.start(MEMORY, SECONDS)
    try:
        worker = Speaking(started)
        worker.say(do="begin", names=["look"])
        source = f"PLACES = {[str(tmp_path), str(Path(__file__).parent)]!r}\n{LOOK}"
        reply = worker.say(do="cell", source=source, number=1, seconds=60)
        assert reply["printed"].startswith("LOOK "), reply
        found = json.loads(reply["printed"].removeprefix("LOOK "))
        assert reply["versions"] == {"look": 1}
        worker.pipe.send({"do": "cell", "source": "import os\nos._exit(3)", "number": 2, "seconds": 5})
        with pytest.raises(Closed):
            worker.receive()
    finally:
        started.end()
    environment = set(found.pop("environment"))
    if kind == "docker":  # it has the image's own variables too
        assert environment >= module._ENVIRONMENT.keys()
        assert not any(name.startswith(("A_", "MINIRAG")) for name in environment)
    else:
        assert environment == {*module._ENVIRONMENT, "PATH", "PYTHONPATH"}
    assert found == {
        "fork": "PermissionError",
        "program": "PermissionError",
        "namespace": "FileNotFoundError",
        "network": "OSError",
        "memory": "MemoryError",
        "mapped": "OSError",
        "hidden file": "PermissionError",
        "large file": "OSError",
        "disk": "OSError",
        "package": "OSError",
        "root": "OSError",
        "devices": "PermissionError" if kind == "docker" else "OSError",
        "more memory": "ValueError",
        "ids": True,
        "secret": [],
        "checkout": [],
        "checks": ["compare", "local"],
        "others": [],
    }


def test_what_lies_in_a_folder_that_is_shown_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "data_dir", lambda: tmp_path)
    (tmp_path / "submissions").mkdir()
    (tmp_path / "secret.txt").write_text("7")
    elsewhere = Path("/nowhere/secret.txt")
    arguments = Sandbox("bubblewrap", hidden=(tmp_path / "submissions", tmp_path / "secret.txt", elsewhere)).arguments()
    text = " ".join(arguments)
    assert f"--ro-bind-try {tmp_path} {tmp_path}" in text
    assert f"--size 4096 --tmpfs {tmp_path}/submissions" in text
    assert f"--ro-bind /dev/null {tmp_path}/secret.txt" in text
    assert "nowhere" not in text, "what is not shown need not be hidden, and even its name is nobody's business"


def test_without_a_sandbox_it_refuses_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nothing")
    with pytest.raises(MiniragError, match="needs a sandbox and bubblewrap is not there; install it"):
        choose(unsafe=False, image=None, hidden=[])
    with pytest.raises(MiniragError, match="`docker` is not there"):
        choose(unsafe=False, image="minirag-grader", hidden=[])
    assert choose(unsafe=True, image=None, hidden=[]).kind == "none"


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_a_bubblewrap_that_may_not_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "bwrap", "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(os, "defpath", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(MiniragError, match=r"makes no sandbox here \(bwrap: setting up uid map: Permission denied\)"):
        choose(unsafe=False, image=None, hidden=[])


def test_docker_is_asked_for_no_network_and_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the command: it notes its arguments, and runs the worker where a container would."""
    program(
        tmp_path, "docker", f'echo "$@" >> {tmp_path}/asked\n[ "$1" = run ] && echo \'{{"ready": true}}\' && cat > /dev/null'
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    started = choose(unsafe=False, image="minirag-grader", hidden=[]).start(MEMORY, SECONDS)
    Speaking(started)
    started.end()
    run, kill = (tmp_path / "asked").read_text().splitlines()
    for option in ("--network none", "--read-only", "--memory 2147483648", "--pids-limit 64", "--cap-drop ALL", "--user 65534"):
        assert f" {option} " in run
    assert run.endswith(f" minirag-grader python -P -m minirag.teaching.grader.worker {MEMORY} {SECONDS}")
    assert kill == f"kill {started.container}"
    assert f" --name {started.container} " in run


def test_no_sandbox_still_limits_and_leaves_nothing_behind() -> None:
    started = Sandbox("none").start(MEMORY, SECONDS)
    try:
        worker = Speaking(started)
        worker.say(do="begin", names=[])
        assert worker.say(do="cell", source="x = bytearray(1 << 31)", number=1, seconds=5)["raised"] == "MemoryError"
        assert (
            worker.say(do="cell", source="print(__import__('os').getcwd())", number=2, seconds=5)["printed"]
            == f"{started.scratch}\n"
        )
    finally:
        started.end()
    assert not Path(started.scratch).exists()
    assert started.process.poll() is not None
