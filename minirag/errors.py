"""The one exception a user can cause."""

import contextlib
from collections.abc import Iterator


class MiniragError(Exception):
    """Something a user can mend. Its message is one sentence: what is wrong, where (file, row), and what to do."""


@contextlib.contextmanager
def told_in_one_sentence() -> Iterator[None]:
    """For a module run as a program: its sentence on standard error and exit code 1, and no traceback.

    >>> with told_in_one_sentence():
    ...     raise MiniragError("x.json is damaged; remove it")
    Traceback (most recent call last):
    SystemExit: minirag: x.json is damaged; remove it
    """
    try:
        yield
    except MiniragError as error:
        raise SystemExit(f"minirag: {error}") from None
