"""The process in the sandbox: `python -m minirag.teaching.grader.worker BYTES SECONDS`, its memory and processor time.

It speaks over its standard input and output, which no code of a student sees: see `serving`.
"""

from __future__ import annotations

import sys

from minirag.teaching.grader import limits, stand_ins


def main() -> None:
    reading, writing = limits.free_of_terminal()
    stand_ins.install()
    from minirag.teaching.grader.serving import serve  # the stand-ins must be there first

    memory, seconds = map(int, sys.argv[1:])
    most = limits.taken() + memory
    limits.restrict(most, seconds)
    serve(reading, writing, full=lambda: limits.taken() > most - memory // 2)


if __name__ == "__main__":
    main()
