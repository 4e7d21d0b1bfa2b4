"""The command line: one thin command for each stage, `minirag passages | encode | index | search` and what surrounds them.

Every command calls the same public functions that the notebooks call, and imports them only when it runs, so that `--help` is
there at once. Exit codes: 0 done, 1 something the user can mend, 2 a wrong command line, 130 stopped with Ctrl-C, 141 nobody
reads the output any more, as for every program that ends a pipe early.
"""

import argparse
import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence

import minirag
from minirag.cli import (
    ask,
    bench,
    build_wikipedia,
    doctor,
    download,
    encode,
    evaluate,
    exercises,
    finetune,
    import_,
    index,
    miniwiki,
    passages,
    plan,
    quickstart,
    report,
    score,
    search,
    serve,
)
from minirag.errors import MiniragError

STAGES = (
    quickstart,
    miniwiki,
    download,
    passages,
    encode,
    index,
    import_,
    build_wikipedia,
    search,
    ask,
    serve,
    finetune,
    evaluate,
    score,
    report,
    bench,
    plan,
    exercises,
    doctor,
)
EXAMPLES = """the whole way, from shipped texts to an answer:
  minirag passages --format miniwiki --out runs/passages
  minirag encode --passages runs/passages --out runs/vectors
  minirag index build --vectors runs/vectors --kind exact --out runs/index
  minirag search "What is the capital of Switzerland?" --index runs/index --passages runs/passages
  minirag ask "What is the capital of Switzerland?" --index runs/index --passages runs/passages

each command explains itself: minirag COMMAND --help"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's own) and return its exit code; a wrong one raises `SystemExit(2)`."""
    _never_fail_on_a_character()
    command = argparse.Namespace(resumes=False)
    try:
        with _plain_warnings(), _flushed():
            _parser().parse_args(argv, command)
            command.run(command)
        return 0
    except MiniragError as error:
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        again = "run the same command again and it goes on where it stopped" if command.resumes else "nothing is left half done"
        return _complain(f"interrupted; {again}", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more when it shuts down
        return 141
    except OSError as error:  # a folder that may not be written, a file where a folder should be
        return _complain(f"{error.filename or 'the system'}: {error.strerror or error}; check the path and its rights", 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minirag",
        description=minirag.__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="version", version=f"minirag {minirag.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for stage in STAGES:
        stage.declare(commands)
    return parser


def _complain(sentence: str, code: int) -> int:
    print(f"minirag: {sentence}", file=sys.stderr)
    return code


def _never_fail_on_a_character() -> None:
    """What a terminal's encoding lacks is shown as an escape instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings as one line, without the source line that raised them."""
    usual = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"minirag: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = usual


@contextlib.contextmanager
def _flushed() -> Iterator[None]:
    """Write out what was printed, also by `--help`, while a closed pipe can still be told from an error."""
    try:
        yield
    finally:
        sys.stdout.flush()
