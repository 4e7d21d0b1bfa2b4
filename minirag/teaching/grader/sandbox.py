"""Where a worker runs: in a sandbox of bubblewrap or Docker that sees the package and nothing else, or, if told so, in none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import minirag
from minirag.errors import MiniragError
from minirag.paths import data_dir
from minirag.teaching.grader.pipe import Pipe
from minirag.teaching.grader.stand_ins import NEEDED

_PACKAGE = Path(minirag.__file__).parent
_CHECKS = _PACKAGE / "teaching" / "checks"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts")
_NOBODY = "65534"
_ROOM = 64 << 20  # bytes of files under /tmp
_MODULE = ("-P", "-m", "minirag.teaching.grader.worker")
_ENVIRONMENT = {
    "HOME": "/tmp",
    "USER": "student",
    "LANG": "C.UTF-8",
    "MPLBACKEND": "agg",
    "OMP_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True)
class Started:
    """A worker's process; `container`: its name where Docker holds it. `scratch`: a folder to remove with it."""

    process: subprocess.Popen[bytes]
    container: str = ""
    scratch: str = ""

    def pipe(self, longest: int, stop: threading.Event) -> Pipe:
        """The way to speak to it."""
        reading, writing = self.process.stdout, self.process.stdin
        assert reading is not None
        assert writing is not None
        return Pipe(reading.fileno(), writing.fileno(), longest, stop)

    def complaint(self) -> str:
        """What a worker that would not start has said on standard error; it is killed first."""
        self.process.kill()
        said = self.process.stderr.read(2000) if self.process.stderr else b""
        return " ".join(said.decode(errors="replace").split())

    def end(self) -> None:
        """Kill it, and all that it started, and wait until it is gone."""
        if self.container:
            subprocess.run(["docker", "kill", self.container], capture_output=True, check=False)
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                stream.close()
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)


@dataclass(frozen=True)
class Sandbox:
    """How workers are started. `hidden`: what must not be seen, even where a folder that is shown contains it."""

    kind: Literal["bubblewrap", "docker", "none"]
    image: str = ""
    hidden: tuple[Path, ...] = ()

    def start(self, memory: int, seconds: int) -> Started:
        """Start a worker that may take `memory` bytes and `seconds` of processor time."""
        arguments = [*_MODULE, str(memory), str(seconds)]
        if self.kind == "docker":
            name = f"minirag-{uuid.uuid4().hex[:12]}"
            return Started(_popen(_docker(self.image, name, memory) + arguments, dict(os.environ)), container=name)
        if self.kind == "none":
            scratch = tempfile.mkdtemp(prefix="minirag-")
            own = {**_ENVIRONMENT, "HOME": scratch, "PYTHONPATH": _python_path(), "PATH": os.environ.get("PATH", "")}
            return Started(_popen([sys.executable, *arguments], own, scratch), scratch=scratch)
        return Started(self._bubblewrap([sys.executable, *arguments]))

    def tried(self) -> str:
        """Why bubblewrap does not work on this machine; empty if it does."""
        try:
            process = self._bubblewrap([sys.executable, "-S", "-c", ""])
            _, errors = process.communicate(timeout=60)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return errors.decode(errors="replace").strip() or "it failed" if process.returncode else ""

    def _bubblewrap(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        # Arguments go by a file and the environment is empty: /proc/1 shows both to whoever is inside.
        with tempfile.TemporaryFile() as file:
            file.write(b"".join(os.fsencode(each) + b"\0" for each in self.arguments()))
            file.seek(0)
            whole = ["bwrap", "--args", str(file.fileno()), "--", *command]
            return _popen(whole, {"PATH": os.defpath}, pass_fds=[file.fileno()])

    def arguments(self) -> list[str]:
        """bubblewrap's: new rooms for all there is, no rights, no network; system, Python and package to read; a small /tmp."""
        shown = [*map(Path, (*_SYSTEM, *_python_folders())), _PACKAGE, data_dir()]
        checks = [_CHECKS / f"{name}.py" for name in NEEDED]
        return [
            *("--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
            *("--uid", _NOBODY, "--gid", _NOBODY, "--hostname", "sandbox", "--clearenv"),
            *(part for name, value in self._environment().items() for part in ("--setenv", name, value)),
            *("--size", str(_ROOM), "--tmpfs", "/tmp"),  # before what is shown, which may itself lie there
            *_shown(shown),
            *("--size", str(1 << 20), "--tmpfs", str(_CHECKS)),
            *(part for file in checks for part in ("--ro-bind", str(file), str(file))),
            *("--remount-ro", str(_CHECKS)),
            *_hidden(self._secrets(), shown),
            *("--proc", "/proc", "--dev", "/dev", "--size", str(1 << 20), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),
            *("--remount-ro", "/", "--chdir", "/tmp"),
        ]

    def _environment(self) -> dict[str, str]:
        return {**_ENVIRONMENT, "PYTHONPATH": _python_path(), "PATH": os.defpath}

    def _secrets(self) -> Iterable[Path]:
        """Solutions and tests, where the package lies in a checkout, and what the caller wants hidden."""
        return (_PACKAGE.parent / "notebooks", _PACKAGE.parent / "tests", *self.hidden)


def choose(unsafe: bool, image: str | None, hidden: Iterable[Path]) -> Sandbox:
    """The sandbox to use here: Docker where an image is named, else bubblewrap. MiniragError: there is none."""
    kept = tuple(path.resolve() for path in hidden)
    if image:
        if not shutil.which("docker"):
            raise MiniragError("the command `docker` is not there; install Docker, or bubblewrap and leave --docker out")
        return Sandbox("docker", image)
    if unsafe:
        return Sandbox("none")
    ways = "install it (apt-get install bubblewrap), name a --docker image, or, for code that you trust, say --unsafe"
    if not shutil.which("bwrap"):
        raise MiniragError(f"a student's code needs a sandbox and bubblewrap is not there; {ways}")
    sandbox = Sandbox("bubblewrap", hidden=kept)
    if why := sandbox.tried():
        raise MiniragError(f"bubblewrap makes no sandbox here ({why}); let it make namespaces, or {ways.partition(', ')[2]}")
    return sandbox


def _popen(
    command: Sequence[str], environment: dict[str, str], folder: str | None = None, pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, cwd=folder, pass_fds=pass_fds
    )


def _docker(image: str, name: str, memory: int) -> list[str]:
    limit = str(memory + (1 << 30))  # and what Python and its libraries take before
    setting = (f"--env={key}={value}" for key, value in _ENVIRONMENT.items())
    return [
        *("docker", "run", "--rm", "--interactive", "--name", name, "--network", "none", "--read-only", "--user", _NOBODY),
        *("--memory", limit, "--memory-swap", limit, "--pids-limit", "64", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges", "--tmpfs", f"/tmp:size={_ROOM}", "--workdir", "/tmp"),
        *(*setting, image, "python"),
    ]


def _python_folders() -> list[str]:
    """Where the interpreter, its libraries and the installed packages lie."""
    packages = [each for each in sys.path if Path(each).name in ("site-packages", "dist-packages")]
    return list(dict.fromkeys([sys.base_prefix, sys.prefix, *packages]))


def _python_path() -> str:
    packages = [each for each in sys.path if Path(each).name in ("site-packages", "dist-packages")]
    return os.pathsep.join([str(_PACKAGE.parent), *packages])


def _shown(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        if path.is_symlink() and path.parent == Path("/"):  # /bin -> usr/bin
            yield from ("--symlink", os.readlink(path), str(path))
        else:
            yield from ("--ro-bind-try", str(path), str(path))


def _hidden(paths: Iterable[Path], shown: Sequence[Path]) -> Iterator[str]:
    for path in paths:
        if path.exists() and any(path.is_relative_to(each.resolve()) for each in shown):
            yield from ("--size", "4096", "--tmpfs", str(path)) if path.is_dir() else ("--ro-bind", os.devnull, str(path))
