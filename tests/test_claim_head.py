"""The claim head of appendix E: learnt, written to disk and read back, evaluated from there by the command, and damaged."""

import json
from pathlib import Path

import pytest
import torch
from rag_cases import small_rag
from safetensors.torch import load_file, save_file

from minirag.cli import main
from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.evaluation.predictions import read_run
from minirag.files import read_json, write_json
from minirag.models.weights import seal
from minirag.rag.checkpoints import from_pretrained, save_pretrained
from minirag.rag.claim_files import has_head, head_of, load_head, save_head
from minirag.rag.classify import ClaimHead
from minirag.rag.model import RagModel
from minirag.retrieval.exact import ExactIndex
from minirag.tasks.fever import LABELS
from minirag.training import claim_head as module
from minirag.training.claim_head import accuracy_of, make, train_head
from minirag.training.finetune import Recipe
from minirag.training.loop import read_log
from minirag.training.targets import QuestionAnswer

SEAS = {"Nile": "blue", "Rhine": "cold", "Volga": "deep", "Indus": "warm"}
PASSAGES = [Passage(river, river, f"The {river} flows to the {sea} sea.") for river, sea in SEAS.items()]
CLAIMS = [
    QuestionAnswer(f"The {river} flows to the {other} sea.", LABELS[0] if other == sea else LABELS[1])
    for river, sea in SEAS.items()
    for other in (sea, next(name for name in SEAS.values() if name != sea))
] + [QuestionAnswer(f"The {river} is long.", LABELS[2]) for river in SEAS]
SHORT = Recipe(batch=12, k=2, rate=5e-3, steps=90, clip=1.0, end=0.1)


@pytest.fixture
def model(tmp_path: Path) -> RagModel:
    return small_rag(tmp_path, PASSAGES, [one.question for one in CLAIMS])


@pytest.fixture
def head(model: RagModel) -> ClaimHead:
    torch.manual_seed(0)
    return ClaimHead(model, LABELS, 0.25).eval()


def test_it_learns_is_written_and_is_evaluated_from_disk(
    model: RagModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = accuracy_of(ClaimHead(model, LABELS), CLAIMS, k=2)
    head = train_head(model, CLAIMS, LABELS, SHORT, tmp_path / "run", CLAIMS, progress=False)
    told = [row["accuracy"] for row in read_log(tmp_path / "run") if "accuracy" in row]
    assert before < 0.6
    assert told[-1] == accuracy_of(head, CLAIMS, k=2) > 0.9
    save_head(head, tmp_path / "head")

    model.retriever.index.save(tmp_path / "index")
    rows = [{"id": i, "label": one.answer, "claim": one.question} for i, one in enumerate(CLAIMS)]
    (tmp_path / "claims.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    where = ["--index", tmp_path / "index", "--passages", tmp_path / "passages", "--questions", tmp_path / "claims.jsonl"]
    command = ["evaluate", "fever3", *map(str, where), "--model", str(tmp_path / "head"), "-k", "2", "--quiet", "--json"]
    assert main([*command, "--out", str(tmp_path / "fever")]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert (result["system"], result["metric"]) == ("RAG, claim head (appendix E)", "accuracy")
    assert result["value"] == told[-1]
    facts, made = read_run(tmp_path / "fever")
    assert facts["labels"] == "appendix E, claim head"
    for one, choice in zip(made, head.choose([one.question for one in CLAIMS], 2), strict=True):
        assert one.probabilities == pytest.approx(dict(zip(LABELS, choice.probabilities.tolist(), strict=True)), abs=1e-5)

    command[1] = "fever2"
    assert main([*command, "--out", str(tmp_path / "two")]) == 1
    assert "train a head on the task's labels" in capsys.readouterr().err
    assert not (tmp_path / "two").exists()


def test_what_was_written_is_read(head: ClaimHead, model: RagModel, tmp_path: Path) -> None:
    folder = tmp_path / "head"
    save_head(head, folder)
    assert has_head(folder)
    assert {path.name for path in folder.iterdir()} == {
        "generator", "encoder", "rag.json", "head.json", "head.safetensors", "checksums.json",
    }  # fmt: skip
    again = load_head(folder)
    assert (again.labels, again.dropout, again.training) == (head.labels, 0.25, False)
    for name, weight in head.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    again.model.attach(model.retriever.index, model.retriever.passages)
    asked = [one.question for one in CLAIMS]
    for one, other in zip(again.choose(asked, 2), head.choose(asked, 2), strict=True):
        torch.testing.assert_close(one.probabilities, other.probabilities)
    assert from_pretrained(folder).scheme == model.scheme  # the model alone, as ever
    save_head(head, folder)  # a newer one takes its place
    save_pretrained(model, folder)
    assert not has_head(folder)


def test_a_strangers_folder_is_left_alone_and_a_failed_write_leaves_what_was_there(
    head: ClaimHead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(MiniragError, match="mine"):
        save_head(head, tmp_path / "mine")
    save_head(head, tmp_path / "head")
    before = {path: path.read_bytes() for path in (tmp_path / "head").rglob("*") if path.is_file()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minirag.rag.claim_files.seal", full)
    with pytest.raises(MiniragError, match="No space left"):
        save_head(ClaimHead(head.model, LABELS), tmp_path / "head")
    assert {path: path.read_bytes() for path in (tmp_path / "head").rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head", "mine", "passages"]


def test_a_head_that_is_damaged_or_another_models_is_refused(head: ClaimHead, model: RagModel, tmp_path: Path) -> None:
    folder = tmp_path / "head"
    save_head(head, folder)
    raw = bytearray((folder / "head.safetensors").read_bytes())
    raw[-1] ^= 1
    (folder / "head.safetensors").write_bytes(raw)
    for read in (lambda: load_head(folder), lambda: head_of(folder, model)):
        with pytest.raises(MiniragError, match=r"head\.safetensors is missing or differs from its checksum"):
            read()

    def with_settings(**changes: object) -> Path:
        save_head(head, folder)
        write_json(folder / "head.json", read_json(folder / "head.json") | changes)
        seal(folder)
        return folder

    for changes, why in (
        ({"format": "minirag claim head 0"}, "save the head again with this version"),
        ({"labels": "SUPPORTS"}, "lacks the labels or the dropout"),
        ({"labels": [1, 2, 3]}, "lacks the labels or the dropout"),
        ({"dropout": None}, "lacks the labels or the dropout"),
        ({"labels": list(LABELS[:2])}, r"4\.weight has shape \[3, 16\] where the config asks for \[2, 16\]"),
    ):
        with pytest.raises(MiniragError, match=why):
            head_of(with_settings(**changes), model)
    for weights, why in (
        (b"no tensors", r"head\.safetensors is damaged"),
        ({"1.weight": torch.zeros(16, 16)}, r"lacks 1\.bias"),
    ):
        with_settings()
        if isinstance(weights, bytes):
            (folder / "head.safetensors").write_bytes(weights)
        else:
            save_file(weights, folder / "head.safetensors")
        seal(folder)
        with pytest.raises(MiniragError, match=why):
            load_head(folder)
    assert load_file(folder / "head.safetensors").keys() == {"1.weight"}


def test_the_command_trains_on_miniwikis_claims(lands: MiniWiki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps over a tiny reader in the shipped one's place: what is written chooses as what was trained."""
    claims = [one.text for split in lands.by_split("fever").values() for one in split]

    def tiny(passages: list[Passage], folder: Path) -> RagModel:
        return small_rag(folder, list(passages), claims)

    monkeypatch.setattr(module, "over", tiny)
    recipe = Recipe(batch=4, k=2, rate=1e-3, steps=4, clip=1.0)
    accuracy = make(lands, tmp_path / "head", recipe, held_out="test", progress=False)
    head = load_head(tmp_path / "head")
    index = ExactIndex(16)
    index.add(head.model.encoder.encode_passages(lands.passages))
    head.model.attach(index, PassageStore.write(tmp_path / "passages", lands.passages))
    held = [QuestionAnswer(one.text, one.answers[0]) for one in lands.by_split("fever")["test"]]
    assert accuracy_of(head, held, 2) == accuracy
    runs = sorted((tmp_path / "head.run").glob("[!.]*"))
    log = (runs[0] / "log.jsonl").read_bytes()
    again = make(lands, tmp_path / "head", recipe, held_out="test", progress=False)  # done already: nothing is learnt anew
    assert again == accuracy
    assert sorted((tmp_path / "head.run").glob("[!.]*")) == runs
    assert (runs[0] / "log.jsonl").read_bytes() == log
    make(lands, tmp_path / "head", recipe, seed=1, held_out="test", progress=False)
    assert len(sorted((tmp_path / "head.run").glob("[!.]*"))) == len(runs) + 1 == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(MiniragError, match="mine"):
        make(lands, tmp_path / "mine", recipe, held_out="test", progress=False)
