"""The plan: arithmetic that can be followed by hand, sizes that are those of real indexes, and advice that fits the machine."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_cases import made_up

from minirag.cli import main
from minirag.cluster import measuring, work
from minirag.cluster.calibration import UNITS, Calibration, Rate
from minirag.cluster.gpus import passages_per_second
from minirag.cluster.measuring import calibrate, line
from minirag.cluster.plan import ALL, fastest_lists, plan, stages_of
from minirag.cluster.work import KINDS, Size
from minirag.errors import MiniragError
from minirag.models.bert import BertConfig
from minirag.retrieval.build import build
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.pretrained import mini_biencoder
from minirag.retrieval.vectors import VectorStore

GB = 1_000_000_000
HAND = {"passages": 1_000, "dim": 8, "lists": 10, "n_probe": 2, "pieces": 4, "finalists": 50, "ram": 4_000_000, "cached": True}
WIKIPEDIA = {"passages": ALL, "dim": 768}


def test_amounts_of_work_by_hand() -> None:
    size = Size(**HAND)
    assert work.train(size) == {
        "kmeans": 1_000 * 10 * 10,
        "read": 0,
        "words_fixed": 1,
        "words": 1_000,
        "turn_fixed": 8,
        "turn": 8_000,
        "assign": 10_000,
    }
    assert work.code(size) == {"read": 0, "assign": 10_000, "write": 8_000, "sha": 8_000, "code": 1_000}
    assert work.fill(size) == {"fill": 1_000, "write": 8_000, "sha": 16_000}
    assert work.search(size) == {"centroids": 10, "tables": 1, "lookup": 200, "take": 50, "random": 0}
    assert work.search(size, cold=True)["random"] == 50


def test_work_of_the_other_kinds_by_hand() -> None:
    ram = 8 * 16_384 * 10 + 40_000
    ivf, exact = (Size(**{**HAND, "kind": kind, "cached": False, "ram": ram}) for kind in ("ivf", "exact"))
    # beside the products 40,000 bytes hold a sample of 40,000/(2.5·4·8) = 500; a row has 16 bytes, and a page for each is more
    # than all of them
    assert work.train(ivf) == {"kmeans": 500 * 10 * 10, "read": 16_000}
    # 1,000 vectors of 4·32 bytes are two groups of 64,000: so the store is read twice
    assert work.fill(dataclasses.replace(ivf, ram=64_000)) == {
        "read": 32_000,
        "take": 1_000,
        "bytes": 1_000,
        "write": 8_000,
        "sha": 8_000,
    }
    assert work.train(exact) == work.fill(exact) == {}
    assert work.code(exact) == {"read": 16_000, "bytes": 1_000, "write": 8_000, "sha": 8_000}
    assert work.search(exact) == {"scan": 1_000, "take": 64, "read": 0}
    assert work.search(exact, cold=True)["read"] == 8_000


def test_errors_weigh_as_much_as_their_part_of_the_time() -> None:
    rates = made_up()
    rates = dataclasses.replace(rates, rates={**rates.rates, "code": Rate(3.0, 0.5), "read": Rate(1.0, 0.1)})
    seconds, error = work.seconds({"code": 2, "read": 4}, rates)
    assert seconds == 10
    assert error == pytest.approx(0.6 * 0.5 + 0.4 * 0.1)
    assert work.seconds({}, rates) == (0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_those_of_real_indexes(kind: str, tmp_path: Path) -> None:
    rows, dim = 4_000, 32
    store = VectorStore.from_array(tmp_path / "vectors", torch.randn(rows, dim), "float16", shard_rows=1_000)
    size = Size(rows, dim, kind, lists=20, pieces=8)
    if kind == "exact":
        index = ExactIndex(dim)
        if not index.in_bytes:
            pytest.skip("no fast product of bytes here")
        index.add(store)
        index.save(tmp_path / "index")
    else:
        build(store, tmp_path / "index", size.settings, progress=False)
    real = sum(path.stat().st_size for path in (tmp_path / "index").glob("*.npy"))
    assert work.on_disk(size) == pytest.approx(real, rel=0.04)
    assert size.vectors == pytest.approx(sum(path.stat().st_size for path in store.folder.glob("*.npy")), rel=0.01)


def test_all_of_wikipedia_in_codes_takes_less_than_4_gb_beside_the_page_cache() -> None:
    size = Size(**WIKIPEDIA)
    assert work.in_memory(size) == pytest.approx(ALL * (64 + 4) + 2 * 18_337 * 768 * 4, rel=0.05)
    assert work.in_memory(size) < 2 * GB
    assert work.in_memory(dataclasses.replace(size, kind="exact")) == pytest.approx(ALL * 769.2, rel=0.001)


@settings(max_examples=40)
@given(
    n=st.integers(50, 30_000_000),
    more=st.integers(1, 5_000_000),
    kind=st.sampled_from(KINDS),
    each=st.sampled_from((2, 4)),
    ram=st.sampled_from((4 * GB, 64 * GB)),
)
def test_more_passages_never_take_less(n: int, more: int, kind: str, each: int, ram: int) -> None:
    rates = made_up()
    small, large = (
        stages_of(Size(count, 768, kind, each, lists=1 if n < 2_000 else 40), rates, ram) for count in (n, n + more)
    )
    for one, other in zip(small, large, strict=True):
        assert one.name == other.name
        assert one.seconds <= other.seconds
        assert one.ram <= other.ram
        assert one.disk <= other.disk
        assert one.download <= other.download


@pytest.mark.parametrize(
    ("ram", "disk", "advised", "sentences"),
    [
        (4 * GB, 500 * GB, ("ivfpq", "float16"), ["exact does not fit into memory", "ivf does not fit into memory"]),
        (64 * GB, 500 * GB, ("exact", "float16"), ["take exact over float16"]),
        (4 * GB, 60 * GB, ("ivfpq", "float16"), ["store float16: float32 needs 85.6 GB of disk, there are 60.0 GB"]),
        (1 * GB, 500 * GB, ("ivfpq", "float16"), ["nothing fits"]),
        (64 * GB, 10 * GB, ("ivfpq", "float16"), ["nothing fits; ivfpq over float16 needs least: needs 53"]),
    ],
)
def test_advice_fits_the_machine(ram: int, disk: int, advised: tuple[str, str], sentences: list[str]) -> None:
    found = plan(Size(**WIKIPEDIA), made_up(), ram, disk)
    assert found.advised == advised
    for sentence in sentences:
        assert any(each.startswith(sentence) for each in found.advice), found.advice
    assert any(choice.fits for choice in found.choices) == (not found.advice[0].startswith("nothing fits"))


def test_advice_says_what_to_raise_and_when_the_sample_is_small() -> None:
    told = plan(Size(**WIKIPEDIA, ram=2 * GB), made_up(), 4 * GB, 500 * GB).advice
    # (2 GB − 5·65,536·3,072 bytes for the codes − 8·64 million for products) / (2.5·3,072)
    assert any(each.startswith("18,337 lists are learnt from 62,678 vectors, which is few; allow 7.0 GB") for each in told)
    assert any("raise n_probe first: 16 of 18,337 lists" in each and "32 take" in each for each in told)
    assert any(each.startswith("then finalists: each of 200") for each in told)
    told = plan(Size(**WIKIPEDIA, ram=10 * GB), made_up(), 4 * GB, 500 * GB).advice
    assert not any("which is few" in each for each in told)


def test_the_fastest_number_of_lists_is_the_fastest() -> None:
    rates = made_up({"centroids": 4e-8, "lookup": 1e-8})
    size = Size(1_000_000, 768, n_probe=16)
    best = fastest_lists(size, rates)
    assert best == 2_000  # √(16·10⁶·1/4)
    times = [work.seconds(work.search(dataclasses.replace(size, lists=lists)), rates)[0] for lists in (1_600, best, 2_500)]
    assert min(times) == times[1]


def test_gpus_are_estimated_and_share_the_encoding_alone() -> None:
    found = plan(Size(**WIKIPEDIA), made_up({"encode": 0.1}), 16 * GB, 500 * GB, "A100", (1, 8))
    here, one, eight = found.fleets
    assert (here.how, one.how, eight.how) == ("measured rates", "estimated, not measured", "estimated, not measured")
    assert here.encode_seconds == pytest.approx(ALL * 0.1, rel=0.01)
    assert one.encode_seconds == pytest.approx(ALL * 24e9 / (0.35 * 312e12))
    assert eight.encode_seconds == pytest.approx(one.encode_seconds / 8)
    assert here.total_seconds - here.encode_seconds == pytest.approx(one.total_seconds - one.encode_seconds, abs=1)
    with pytest.raises(MiniragError, match="the peak of a GPU 'abacus' is not known; choose one of A10"):
        passages_per_second("abacus", 1.0)


def test_operations_of_bert_base() -> None:
    layer = 4 * 768 * 768 + 2 * 768 * 3_072  # weights
    assert measuring.operations(BertConfig(), tokens=100) == 2 * 12 * 100 * (layer + 2 * 100 * 768)


def test_a_line_through_two_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "timed", lambda run: run())
    once, unit = line(lambda size: lambda: 2.0 + 0.5 * size, (4, 8))
    assert (once, unit) == (Rate(2.0, 0.0), Rate(0.5, 0.0))
    runs = iter(
        [9.0, 9.0, 1.0, 2.0, 3.0, 5.0, 4.0, 6.0]
    )  # two that do not count; medians 2 and 5, each a second above the best
    assert line(lambda size: lambda: next(runs), (1, 4))[1] == Rate(1.0, 2 / 3)
    assert line(lambda size: lambda: 1.0 / size, (1, 4))[1] == Rate(0.0625, 1.0)  # the larger was quicker: nothing is known


def test_a_machine_is_measured_and_its_rates_kept(tmp_path: Path) -> None:
    found = calibrate(32, 8, mini_biencoder(), rows=(512, 1_024))
    assert set(found.rates) == set(UNITS)
    assert all(rate.seconds >= 0 and rate.error >= 0 for rate in found.rates.values())
    assert all(found.rates[name].seconds > 0 for name in set(UNITS) - {"words_fixed", "turn_fixed"})
    found.save(tmp_path / "machine.json")
    assert Calibration.load(tmp_path / "machine.json") == found


def not_json(path: Path) -> None:
    path.write_text("rates")


def another_format(path: Path) -> None:
    path.write_text('{"format": "something else"}')


def a_rate_is_missing(path: Path) -> None:
    record = json.loads(path.read_text())
    del record["rates"]["fill"]
    path.write_text(json.dumps(record))


def a_rate_is_no_number(path: Path) -> None:
    path.write_text(path.read_text().replace("1e-09", '"fast"', 1))


@pytest.mark.parametrize("damage", [not_json, another_format, a_rate_is_missing, a_rate_is_no_number])
def test_a_damaged_calibration_is_told(damage: Callable[[Path], None], tmp_path: Path) -> None:
    made_up().save(tmp_path / "machine.json")
    Calibration.load(tmp_path / "machine.json")
    damage(tmp_path / "machine.json")
    with pytest.raises(MiniragError, match=r"machine\.json"):
        Calibration.load(tmp_path / "machine.json")


def test_the_command_prints_tables_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "machine.json"
    made_up().save(path)
    wanted = ["plan", "--ram", "16GB", "--disk", "500GB", "--gpu", "H100", "--gpus", "32", "--calibration", str(path)]
    assert main(wanted) == 0
    text = capsys.readouterr().out
    for part in (
        "21,015,324 passages",
        "32 × H100, 4 machines",
        "assumed, not measured",
        "estimated, not measured",
        "take ivfpq",
    ):
        assert part in text
    assert main([*wanted, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [stage["name"] for stage in told["stages"]] == ["download", "passages", "encode", "train", "code", "list", "verify"]
    assert len(told["choices"]) == 6
    assert told["calibration"]["rates"]["encode"] == {"seconds": 1e-9, "error": 0.1}
    assert main(["plan", "--dim", "384", "--calibration", str(path)]) == 1
    assert "was measured at 768 dimensions, not 384" in capsys.readouterr().err
    assert main(["plan", "--gpu", "abacus"]) == 1
