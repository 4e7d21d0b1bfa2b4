"""A job that is killed at one of its writes, and the same job left alone.

Each runs in a process of its own, forked from one that has imported what the job needs: importing takes seconds, and a job is
killed dozens of times.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

FORKING = """
import json, os, signal, sys, traceback
import numpy as np
import torch
torch.set_num_threads(1)
calls = 0

def deadly(function, fatal):
    def call(*args, **kwargs):
        global calls
        for after in (False, True):
            result = function(*args, **kwargs) if after else None
            calls += 1
            if calls == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

exec(sys.argv[1])
for line in sys.stdin:
    fatal, arguments = json.loads(line)
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            np.save, os.replace, os.fsync = (deadly(function, fatal) for function in (np.save, os.replace, os.fsync))
            job(*arguments)
            os.write(sending, b"%d" % calls)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(sending)
    counted = os.read(receiving, 20)
    os.close(receiving)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), int(counted or 0)]), flush=True)
"""


class Run(Protocol):
    """Run the job with these arguments; kill it before or after a write, the `fatal`-th such place (0: nowhere).

    Returns the exit code, and how many places the job has come to if it came to its end.
    """

    def __call__(self, *arguments: str, fatal: int) -> tuple[int, int]: ...


@contextmanager
def killable(source: str) -> Iterator[Run]:
    """Processes that run `job(*arguments)` of this source. Writes are `np.save`, `os.replace` and `os.fsync`."""
    command = [sys.executable, "-c", FORKING, source]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forking:
        assert forking.stdin is not None
        assert forking.stdout is not None

        def run(*arguments: str, fatal: int) -> tuple[int, int]:
            forking.stdin.write(json.dumps([fatal, arguments]) + "\n")
            forking.stdin.flush()
            code, calls = json.loads(forking.stdout.readline())
            return code, calls

        yield run
        forking.stdin.close()
    assert forking.returncode == 0
