"""Where the shipped data lies, in a checkout and in an installed wheel."""

from pathlib import Path


def data_dir() -> Path:
    """The folder `data/`: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent
    beside = package.parent / "data"
    return beside if (beside / "miniwiki").is_dir() else package / "_data"
