"""HTML without its looks, for tests of what it says."""

import re


def plain(html: str) -> str:
    """The tags without their attributes."""
    return re.sub(r"<(\w+)[^>]*>", r"<\1>", html)
