"""The whole job: what it makes, that nothing is done twice, and that a kill anywhere changes no byte of the index."""

import gzip
import json
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from killing import killable
from plan_cases import made_up

from minirag.cli import main
from minirag.cluster import wikipedia
from minirag.cluster.wikipedia import RECIPES, Recipe, build_wikipedia
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.files import only_process
from minirag.retrieval.biencoder import BiEncoder
from minirag.retrieval.ivfpq import IVFPQIndex
from minirag.retrieval.pretrained import mini_biencoder
from minirag.retrieval.vectors import VectorStore

ROWS = 300
RECIPE = replace(RECIPES["paper"], encoder="mini", shard_rows=100)
WORDS = tuple("abcdefghijklmnopqrstuvwxyz")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tsv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Passages laid out as the published file."""
    path, chance = tmp_path_factory.mktemp("tsv") / "psgs.tsv.gz", random.Random(0)
    rows = [f'{row + 1}\t"{" ".join(chance.choices(WORDS, k=20))}"\tTitle {row}' for row in range(ROWS)]
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(["id\ttext\ttitle", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def encoder() -> BiEncoder:
    return mini_biencoder()


def make(folder: Path, encoder: BiEncoder, tsv: Path, recipe: Recipe = RECIPE) -> dict:
    return build_wikipedia(folder, recipe, encoder, tsv, calibration=made_up(dim=encoder.dim), progress=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_whole_job(encoder: BiEncoder, tsv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = make(tmp_path / "job", encoder, tsv)
    assert len(PassageStore.open(tmp_path / "job" / "passages")) == ROWS
    store = VectorStore.open(tmp_path / "job" / "vectors")
    assert (store.shape, store.dtype) == ((ROWS, encoder.dim), "float16")
    assert len(IVFPQIndex.load(tmp_path / "job" / "index")) == ROWS
    assert report["recall@20"] > 0.9  # seven lists, sixteen probed, two hundred of three hundred rows scored exactly
    assert [stage["stage"] for stage in report["stages"]] == ["passages", "encode", "index", "verify"]
    assert all(stage["seconds"] > 0 and stage["runs"] == 1 for stage in report["stages"])
    assert report["bytes"]["vectors"] > ROWS * encoder.dim * 2
    assert json.loads((tmp_path / "job" / "report.json").read_text()) == report
    assert "300 passages of psgs.tsv.gz" in (tmp_path / "job" / "report.md").read_text()
    made = json.loads((tmp_path / "job" / "job.json").read_text())
    assert made["settings"]["sha256"] == wikipedia.sha256_of(tsv)
    assert made["stages"]["index"]["manifest"] == wikipedia.sha256_of(tmp_path / "job" / "index" / "manifest.json")

    monkeypatch.setattr(wikipedia._Job, "_stage", lambda *_: pytest.fail("done before"))
    assert make(tmp_path / "job", encoder, tsv) == report


@pytest.mark.parametrize("kind", ["exact", "ivf"])
def test_other_indexes_and_a_limit(kind: str, encoder: BiEncoder, tsv: Path, tmp_path: Path) -> None:
    report = make(tmp_path / "job", encoder, tsv, replace(RECIPE, kind=kind, limit=200))
    assert report["passages"] == 200
    assert report["recall@20"] == 1.0


def test_a_stage_whose_folder_is_gone_is_done_again(encoder: BiEncoder, tsv: Path, tmp_path: Path) -> None:
    make(tmp_path / "job", encoder, tsv)
    before = contents(tmp_path / "job" / "index")
    shutil.rmtree(tmp_path / "job" / "vectors")
    shutil.rmtree(tmp_path / "job" / "index")
    report = make(tmp_path / "job", encoder, tsv)
    assert {stage["stage"]: stage["runs"] for stage in report["stages"]} == {
        "passages": 1,
        "encode": 2,
        "index": 2,
        "verify": 1,
    }
    assert contents(tmp_path / "job" / "index") == before


def test_verifying_finds_a_flipped_bit(encoder: BiEncoder, tsv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(wikipedia._Job, "_verify", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "job", encoder, tsv)
    for path in (tmp_path / "job" / "index" / "codes.npy", tmp_path / "job" / "vectors" / "vectors-00001.npy"):
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(MiniragError, match=path.name):
            make(tmp_path / "job", encoder, tsv)
        path.write_bytes(good)
    assert make(tmp_path / "job", encoder, tsv)["stages"][-1]["runs"] == 4


def other_limit(folder: Path, encoder: BiEncoder, tsv: Path) -> None:
    make(folder / "job", encoder, tsv, replace(RECIPE, limit=100))


def other_source(folder: Path, encoder: BiEncoder, tsv: Path) -> None:
    changed = folder / tsv.name
    changed.write_bytes(gzip.compress(gzip.decompress(tsv.read_bytes()).replace(b"Title 7", b"Title seven")))
    make(folder / "job", encoder, changed)


def other_encoder(folder: Path, encoder: BiEncoder, tsv: Path) -> None:
    make(folder / "job", mini_biencoder(max_length=20), tsv)


def a_strangers_folder(folder: Path, encoder: BiEncoder, tsv: Path) -> None:
    (folder / "own").mkdir()
    (folder / "own" / "letter.txt").write_text("dear")
    make(folder / "own", encoder, tsv)


def another_process(folder: Path, encoder: BiEncoder, tsv: Path) -> None:
    with only_process(folder / "job" / ".lock"):
        make(folder / "job", encoder, tsv)


def no_source(folder: Path, encoder: BiEncoder, tsv: Path) -> None:
    make(folder / "new", encoder, folder / "nowhere.tsv")


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (other_limit, "job was begun with other limit; give the same"),
        (other_source, "job was begun with other sha256"),
        (other_encoder, "job was begun with other fingerprint"),
        (a_strangers_folder, r"own holds letter\.txt, which no job has made"),
        (another_process, "another process is building in"),
        (no_source, r"nowhere\.tsv is no file"),
    ],
)
def test_what_is_refused_leaves_the_job_as_it_is(
    action: Callable[[Path, BiEncoder, Path], None], sentence: str, encoder: BiEncoder, tsv: Path, tmp_path: Path
) -> None:
    (tmp_path / "job").mkdir()
    job = wikipedia._Job(tmp_path / "job", RECIPE, encoder, tsv, "local", False)
    job.begin()
    before = (tmp_path / "job" / "job.json").read_bytes()
    with pytest.raises(MiniragError, match=sentence):
        action(tmp_path, encoder, tsv)
    assert (tmp_path / "job" / "job.json").read_bytes() == before


JOB = """
from dataclasses import replace
from minirag.cluster.calibration import Calibration
from minirag.cluster.wikipedia import RECIPES, build_wikipedia
from minirag.retrieval.pretrained import mini_biencoder
recipe, encoder = replace(RECIPES["paper"], encoder="mini", shard_rows=100), mini_biencoder()

def job(folder, tsv, rates):
    build_wikipedia(folder, recipe, encoder, tsv, calibration=Calibration.load(rates), progress=False)
"""


@pytest.mark.parametrize("most", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_anywhere_it_goes_on_to_the_same_bytes(most: int, tsv: Path, encoder: BiEncoder, tmp_path: Path) -> None:
    rates = tmp_path / "rates.json"
    made_up(dim=encoder.dim).save(rates)
    chance, kills = random.Random(8), 0
    with killable(JOB) as run:
        code, calls = run(str(tmp_path / "whole"), str(tsv), str(rates), fatal=0)
        assert code == 0
        while kills < most:
            code, _ = run(str(tmp_path / "killed"), str(tsv), str(rates), fatal=chance.randint(1, calls))
            kills += code == -signal.SIGKILL
            if code == 0:
                assert contents(tmp_path / "killed" / "index") == contents(tmp_path / "whole" / "index")
                shutil.rmtree(tmp_path / "killed")
            else:
                assert code == -signal.SIGKILL
    make(tmp_path / "killed", encoder, tsv)
    assert contents(tmp_path / "killed" / "index") == contents(tmp_path / "whole" / "index")
    assert contents(tmp_path / "killed" / "vectors") == contents(tmp_path / "whole" / "vectors")
    assert {path.name for path in (tmp_path / "killed").iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}


def test_the_command_makes_the_job(tsv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_up(dim=384).save(tmp_path / "rates.json")
    wanted = [
        "build-wikipedia",
        "--recipe",
        "paper",
        "--source",
        str(tsv),
        "--limit",
        "120",
        "--encoder",
        "mini",
        "--index",
        "ivf",
    ]
    wanted += ["--out", str(tmp_path / "job"), "--calibration", str(tmp_path / "rates.json"), "--quiet"]
    assert main([*wanted, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["passages"], told["settings"]["kind"], told["recall@20"]) == (120, "ivf", 1.0)
    assert main(wanted) == 0
    assert "| index |" in capsys.readouterr().out
    assert main(["build-wikipedia", "--out", str(tmp_path / "new"), "--calibration", "nowhere.json", "--quiet"]) == 1
    assert "nowhere.json does not exist" in capsys.readouterr().err


def test_without_a_source_the_published_file_is_fetched_and_checked(
    tsv: Path, encoder: BiEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    def download(name: str, folder: Path, progress: bool) -> Path:
        fetched.append(name)
        folder.mkdir(parents=True)
        return Path(shutil.copy(tsv, folder / wikipedia.sources()[name].file))

    monkeypatch.setattr(wikipedia, "download", download)
    rates = made_up(dim=encoder.dim)
    report = build_wikipedia(tmp_path / "job", RECIPE, encoder, calibration=rates, progress=False)
    assert fetched == ["psgs_w100"]
    assert report["stages"][0]["stage"] == "download"
    assert report["settings"]["sha256"] == wikipedia.sources()["psgs_w100"].sha256
