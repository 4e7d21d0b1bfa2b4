"""Building out of core: the same as in memory, the same after any kill, and never the wrong thing."""

import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from killing import killable
from torch import Tensor

from minirag.errors import MiniragError
from minirag.files import only_process
from minirag.retrieval import build as building
from minirag.retrieval.build import BuildSettings, build
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.ivf import IVFIndex
from minirag.retrieval.ivfpq import IVFPQIndex
from minirag.retrieval.vectors import VectorStore

ROWS, DIM, K = 2_500, 16, 10
SETTINGS = {kind: BuildSettings(kind, n_lists=9, n_probe=3, pieces=4, ram=40_000_000) for kind in ("ivf", "ivfpq")}


@pytest.fixture(scope="module")
def vectors() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    centers = 2 * torch.randn(20, DIM, generator=generator)
    return centers[torch.randint(0, 20, (ROWS,), generator=generator)] + 0.5 * torch.randn(ROWS, DIM, generator=generator)


@pytest.fixture(scope="module")
def store(vectors: Tensor, tmp_path_factory: pytest.TempPathFactory) -> VectorStore:
    return VectorStore.from_array(tmp_path_factory.mktemp("store") / "vectors", vectors, "float16", shard_rows=300)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "memory.json"}


@pytest.mark.parametrize("kind", SETTINGS)
def test_built_out_of_core_is_built_in_memory(kind, store: VectorStore, tmp_path: Path) -> None:
    settings = SETTINGS[kind]
    built = build(store, tmp_path / "built", settings, progress=False)
    whole = settings.empty(DIM)
    whole.train(store)
    whole.add(store)
    whole.save(tmp_path / "whole")
    assert contents(tmp_path / "built").keys() == contents(tmp_path / "whole").keys()
    for path in (tmp_path / "whole").glob("*.npy"):
        assert np.array_equal(np.load(path), np.load(tmp_path / "built" / path.name)), path.name
    queries = store[:40]
    assert all(torch.equal(*pair) for pair in zip(built.search(queries, K), whole.search(queries, K), strict=True))
    assert not list(tmp_path.glob(".*"))  # nothing is left lying about


def test_few_lists_at_a_time_make_the_same_lists(store: VectorStore, tmp_path: Path) -> None:
    build(store, tmp_path / "one", SETTINGS["ivf"], progress=False)
    list_of = torch.from_numpy(np.load(tmp_path / "one" / "list_of.npy"))
    index = IVFIndex.load(tmp_path / "one")
    for ram in (1, 100_000):
        folder = tmp_path / f"ram {ram}"
        folder.mkdir()
        arrays = building.fill_lists(folder, index, store, list_of, ram, progress=False)
        assert np.array_equal(np.load(folder / "values.npy"), np.load(tmp_path / "one" / "values.npy"))
        assert all(np.array_equal(array, np.load(tmp_path / "one" / f"{name}.npy")) for name, array in arrays.items())


def test_an_exact_index_is_coded_into_its_file(store: VectorStore, tmp_path: Path) -> None:
    fresh, used = ExactIndex(DIM), ExactIndex(DIM)
    for index in (fresh, used):
        index.add(store)
    expected = used.search(store[:40], K)
    used.save(tmp_path / "used")
    fresh.save(tmp_path / "fresh")
    assert contents(tmp_path / "fresh") == contents(tmp_path / "used")
    saved = contents(tmp_path / "fresh")
    fresh.replace(torch.tensor([3]), torch.ones(1, DIM))  # must not reach the file
    assert fresh.search(torch.ones(1, DIM), 1)[0].shape == (1, 1)
    assert contents(tmp_path / "fresh") == saved
    assert all(
        torch.equal(*pair) for pair in zip(ExactIndex.load(tmp_path / "fresh").search(store[:40], K), expected, strict=True)
    )


JOB = """
from pathlib import Path
from minirag.retrieval.build import BuildSettings, build
from minirag.retrieval.vectors import VectorStore

def job(store, folder, kind):
    settings = BuildSettings(kind, n_lists=9, n_probe=3, pieces=4, ram=40_000_000)
    build(VectorStore.open(store), Path(folder), settings, progress=False)
"""


@pytest.mark.parametrize("most", [2, pytest.param(30, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", SETTINGS)
def test_killed_anywhere_it_goes_on_to_the_same_bytes(kind: str, most: int, store: VectorStore, tmp_path: Path) -> None:
    chance, kills = random.Random(kind), 0
    with killable(JOB) as run:
        code, calls = run(str(store.folder), str(tmp_path / "whole"), kind, fatal=0)
        assert code == 0
        while kills < most:
            code, _ = run(str(store.folder), str(tmp_path / "killed"), kind, fatal=chance.randint(1, calls))
            kills += code == -signal.SIGKILL
            if code == 0:  # it came to its end: and then begins anew
                assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
                shutil.rmtree(tmp_path / "killed")
            else:
                assert code == -signal.SIGKILL
        assert run(str(store.folder), str(tmp_path / "killed"), kind, fatal=0)[0] == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"killed", "whole"}  # nothing is left lying about


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_flipped_bit_is_found(kind: str, store: VectorStore, tmp_path: Path) -> None:
    index = build(store, tmp_path / "index", SETTINGS[kind], progress=False)
    chance = random.Random(0)
    for path in sorted((tmp_path / "index").iterdir()):
        good = path.read_bytes()
        for _ in range(3):
            place = chance.randrange(len(good))
            path.write_bytes(good[:place] + bytes([good[place] ^ 1 << chance.randrange(8)]) + good[place + 1 :])
            with pytest.raises(MiniragError, match=str(tmp_path / "index")):
                type(index).load(tmp_path / "index")
        path.write_bytes(good)
    type(index).load(tmp_path / "index")


def begin(store: VectorStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop after the coding."""
    with monkeypatch.context() as patch:
        patch.setattr(building, "_listed", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build(store, folder, SETTINGS["ivfpq"], progress=False)


def test_what_is_done_is_not_done_again(store: VectorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(store, tmp_path / "index", monkeypatch)
    for name in ("train", "code"):
        monkeypatch.setattr(IVFPQIndex, name, lambda *_: pytest.fail("done before"))
    build(store, tmp_path / "index", SETTINGS["ivfpq"], progress=False)


@pytest.mark.parametrize("damaged", ["trained/centroids.npy", "coded/vectors-00003.npy"])
def test_damage_between_stages_is_found(
    damaged: str, store: VectorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(store, tmp_path / "whole", SETTINGS["ivfpq"], progress=False)
    begin(store, tmp_path / "index", monkeypatch)
    path = tmp_path / ".index.building" / damaged
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    if damaged.startswith("coded"):  # that shard and those after it are coded again
        build(store, tmp_path / "index", SETTINGS["ivfpq"], progress=False)
        assert contents(tmp_path / "index") == contents(tmp_path / "whole")
    else:
        with pytest.raises(MiniragError, match=r"centroids\.npy is missing or not as it was written"):
            build(store, tmp_path / "index", SETTINGS["ivfpq"], progress=False)


def test_the_sample_leaves_room_for_what_learning_needs() -> None:
    wiki = BuildSettings("ivfpq", n_lists=16_384, ram=4_000_000_000)
    codes, products = 5 * 65_536 * 768 * 4, 8 * 64_000_000
    assert wiki.sample(768) == int((4_000_000_000 - codes - products) / (2.5 * 768 * 4))
    assert BuildSettings("ivf", n_lists=16_384, ram=4_000_000_000).sample(768) > wiki.sample(768)
    assert BuildSettings("ivfpq", n_lists=100).sample(768) == 25_600  # 256 a list are enough


def other_settings(store: VectorStore, folder: Path) -> None:
    build(store, folder / "index", BuildSettings("ivfpq", 9, 3, 8, ram=40_000_000), progress=False)


def other_vectors(store: VectorStore, folder: Path) -> None:
    build(VectorStore.from_array(folder / "more", torch.ones(300, DIM)), folder / "index", SETTINGS["ivfpq"], progress=False)


def a_strangers_folder(store: VectorStore, folder: Path) -> None:
    (folder / "own").mkdir()
    (folder / "own" / "letter.txt").write_text("dear")
    build(store, folder / "own", SETTINGS["ivfpq"], progress=False)


def another_process(store: VectorStore, folder: Path) -> None:
    with only_process(folder / ".index.building" / ".lock"):
        build(store, folder / "index", SETTINGS["ivfpq"], progress=False)


def too_little_memory(store: VectorStore, folder: Path) -> None:
    build(store, folder / "small", BuildSettings("ivf", n_lists=900, ram=1_000), progress=False)


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (other_settings, r"index was begun with other pieces; give the same, or delete .*\.index\.building"),
        (other_vectors, "begun with other vectors"),
        (a_strangers_folder, "holds something other than what is to be written"),
        (another_process, "another process is building"),
        (too_little_memory, "a sample for 900 lists does not fit into 1,000 bytes; allow more memory"),
    ],
)
def test_what_cannot_be_built_is_refused_and_loses_nothing(
    action: Callable[[VectorStore, Path], None],
    sentence: str,
    store: VectorStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin(store, tmp_path / "index", monkeypatch)
    with pytest.raises(MiniragError, match=sentence):
        action(store, tmp_path)
    build(store, tmp_path / "index", SETTINGS["ivfpq"], progress=False)
