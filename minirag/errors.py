"""The one exception a user can cause."""


class MiniragError(Exception):
    """Something a user can mend. Its message is one sentence: what is wrong, where (file, row), and what to do."""
