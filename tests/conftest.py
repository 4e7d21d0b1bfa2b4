"""What every test shares: seeds, the real data where it lies beside the checkout, and enforced tensor shapes."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import hypothesis
import pytest
import torch
from jaxtyping import install_import_hook

# No test is timed, whatever else the machine does.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
ROOT = Path(__file__).resolve().parents[1]
# Modules that say the shapes of tensors have them checked at each call made by a test. The others are mypy's: rendering
# MiniWiki, five million calls without a tensor, took six times as long with each of them checked.
MODULES = ((path, path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "minirag").rglob("*.py"))
SHAPED = [".".join(parts) for path, parts in MODULES if "jaxtyping" in path.read_text(encoding="utf-8")]
install_import_hook(SHAPED, "beartype.beartype")
if TYPE_CHECKING:
    from minirag.corpus.miniwiki import MiniWiki
    from minirag.corpus.miniwiki.worlds import Tellable

SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data sets; tests that need it are skipped, with the reason, where it is not."""
    if not SHARED.is_dir():
        pytest.skip(f"the real data sets are not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def wiki() -> "MiniWiki":
    """The shipped MiniWiki, made once in each worker."""
    from minirag.corpus.miniwiki import MiniWiki

    return MiniWiki.load()


@pytest.fixture(scope="session")
def lands(tmp_path_factory: pytest.TempPathFactory) -> "MiniWiki":
    """Twenty-four lands: enough facts to make worlds of, few enough to look at."""
    from miniwiki_case import many_lands

    return many_lands(tmp_path_factory.mktemp("lands"))


@pytest.fixture(scope="session")
def tellable(lands: "MiniWiki") -> "Tellable":
    """What training may know of these lands."""
    from minirag.corpus.miniwiki.worlds import Tellable

    return Tellable.of(lands)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums are the same to the last bit only with as many threads; this many have the processes that a test starts."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
