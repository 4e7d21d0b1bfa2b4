"""What a worker takes away from itself, for good, before a student's code runs: memory, files, and the making of processes.

Limits of size are the system's (`setrlimit`). Processes are forbidden by a filter of system calls (seccomp), for a limit on
their number does not bind where the grader runs as root. What remains is one process with threads, which share one memory.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from pathlib import Path

_FILE, _FILES, _PROCESSES = 32 << 20, 128, 4096

# Numbers of system calls by machine: seccomp itself, clone, clone3, and those that are refused: other processes (fork, vfork),
# their memory (ptrace, process_vm_readv, process_vm_writev), memory that no limit counts (memfd_create, shmget,
# io_uring_setup), and new rooms with rights of their own (unshare, setns).
_CALLS = {
    "x86_64": (0xC000003E, 317, 56, 435, (57, 58, 101, 310, 311, 319, 29, 425, 272, 308)),
    "aarch64": (0xC00000B7, 277, 220, 435, (117, 270, 271, 279, 194, 425, 97, 268)),
}
_CLONE_THREAD, _X32 = 0x10000, 0x40000000
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NO_NEW_PRIVILEGES, _SET_FILTER, _ALL_THREADS = 38, 1, 1


def taken() -> int:
    """Bytes of addresses that this process has; 0 where the system does not say (it is no Linux)."""
    said = Path("/proc/self/statm")
    return int(said.read_text().split()[0]) * resource.getpagesize() if said.exists() else 0


def restrict(addresses: int, seconds: int) -> None:
    """From here on at most so many bytes of addresses and `seconds` of processor time, small files, and no forks."""
    most = {
        resource.RLIMIT_AS: addresses,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: _FILE,
        resource.RLIMIT_NOFILE: _FILES,
        resource.RLIMIT_CORE: 0,
    }
    if not _forbid_processes():
        most[resource.RLIMIT_NPROC] = _PROCESSES
    for kind, value in most.items():
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _forbid_processes() -> bool:
    """Install the filter in all threads; False where this machine's numbers are not known or the system has no such filters."""
    if platform.machine() not in _CALLS:
        return False
    number = _CALLS[platform.machine()][1]
    program = _program(platform.machine())
    buffer = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return False
    whole = Program(len(program) // 8, ctypes.addressof(buffer))
    return libc.syscall(ctypes.c_long(number), _SET_FILTER, _ALL_THREADS, ctypes.byref(whole)) == 0


def _program(machine: str) -> bytes:
    """The filter: instructions of 8 bytes, (code, steps to skip if true, if false, operand); the last two are the ways out."""
    architecture, _, clone, clone3, refused = _CALLS[machine]
    body: list[tuple[int, str, str, int]] = [
        (_LOAD, "", "", 4),
        (_EQUAL, "", "refuse", architecture),
        (_LOAD, "", "", 0),
        (_AT_LEAST, "refuse", "", _X32),
        *((_EQUAL, "refuse", "", number) for number in refused),
        (_EQUAL, "unknown", "", clone3),  # the C library then falls back to clone, whose flags can be seen
        (_EQUAL, "", "allow", clone),
        (_LOAD, "", "", 16),  # clone's flags, and the lower half of them alone
        (_ANY_BIT, "allow", "refuse", _CLONE_THREAD),
        (_RETURN, "", "", _REFUSE | errno.ENOSYS),
        (_RETURN, "", "", _REFUSE | errno.EPERM),
        (_RETURN, "", "", _ALLOW),
    ]
    ways = {"unknown": len(body) - 3, "refuse": len(body) - 2, "allow": len(body) - 1}

    def steps(way: str, here: int) -> int:
        return ways[way] - here - 1 if way else 0

    return b"".join(
        struct.pack("=HBBI", code, steps(yes, here), steps(no, here), operand)
        for here, (code, yes, no, operand) in enumerate(body)
    )


def free_of_terminal() -> tuple[int, int]:
    """Take standard input and output for the protocol; what the student's code reads and writes there leads nowhere."""
    own = os.dup(0), os.dup(1)  # not inherited by programs that are started
    nowhere = os.open(os.devnull, os.O_RDWR)
    for each in (0, 1, 2):
        os.dup2(nowhere, each)
    os.close(nowhere)
    return own
