"""The ablations, on a MiniWiki of one domain and a step of training."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from minirag.corpus.miniwiki import MiniWiki
from minirag.evaluation.endtoend import ABLATIONS, CLOSED_BOOK, RAG
from minirag.evaluation.study import LADDER, LEARNT_FROM, Workshop, parts, report
from minirag.retrieval.pretrained import mini_biencoder
from minirag.training.finetune import POCKET

SHORT = replace(POCKET, batch=2, k=2, steps=1, warmup=0)
NAMES = {variant.name for variant in (*RAG, *ABLATIONS, CLOSED_BOOK)}


def test_every_variant_is_measured_for_every_seed(wiki: MiniWiki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = MiniWiki(wiki.domains[:1], wiki.prose[:1], wiki.offices[:2])
    workshop = Workshop(few, mini_biencoder(dtype="float32"), tmp_path / "own", tmp_path / "runs", count=2, progress=False)
    todo = parts((4,), SHORT, read=(1, 3))
    told = report([workshop(part) for part in todo])
    own = {(row["task"], row["system"], row["metric"]): row for row in told["results"] if row["seed"] == 4}
    assert len(own) == len(told["results"])
    assert {(task, name, "exact_match") for task in ("asked", "new", "prose") for name in NAMES} <= own.keys()
    for variant in RAG:
        for what in ("1 read, 2", "3 read, 2", *(f"2 read, {k}" for k in LEARNT_FROM)):
            assert own["new", variant.name, f"exact_match, {what} in training"]["n"] == 2
        assert ("hot-swap", variant.name, "exact_match, index 2016, holders 2018") in own
        assert ("new", f"{variant.name} − closed book", "exact_match") in own
    for one, other in LADDER:
        apart = own["new", f"{one} − {other}", "exact_match"]
        assert apart["value"] == own["new", one, "exact_match"]["value"] - own["new", other, "exact_match"]["value"]
        assert apart["low"] <= apart["value"] <= apart["high"]
    assert own["new", "right passages", "recall"]["value"] == 1.0
    assert own["new", "closed book", "recall"]["value"] == 0.0
    assert {(log["system"], log["seed"]) for log in told["logs"]} == {(name, 4) for name in NAMES}
    assert all(log["log"] for log in told["logs"])
    assert told["seconds"] > 0
    assert told["began with"] == workshop.library.fingerprint
    assert json.loads(json.dumps(told)) == told
    monkeypatch.setattr("minirag.evaluation.study.trained", None)  # nothing is done a second time
    monkeypatch.setattr("minirag.evaluation.study.measured", None)
    assert report([workshop(part) for part in todo]) == told


def test_what_there_is_to_do() -> None:
    """Each training once: two parts of one training would stand in each other's way."""
    todo = parts((0, 1), SHORT)
    assert len({(part.seed, part.variant, part.recipe) for part in todo}) == len(todo)
    assert {part.variant.name for part in todo if part.compared and part.seed == 1} == NAMES
    assert [part.variant.finds for part in todo if part.read] == ["bi-encoder"] * 12
