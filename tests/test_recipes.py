"""The three scales: a notebook gets the same things at each, from a job's folder as from MiniWiki; what is missing is told."""

import gzip
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from plan_cases import made_up

from minirag import recipes
from minirag.cluster.wikipedia import RECIPES, build_wikipedia
from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.models.bart import Bart
from minirag.models.bert import Bert
from minirag.paths import data_dir
from minirag.rag.checkpoints import from_pretrained
from minirag.recipes import SCALES, chosen, cost, opened, parameters
from minirag.retrieval.exact import ExactIndex
from minirag.retrieval.ivfpq import IVFPQIndex
from minirag.retrieval.pretrained import mini_biencoder

ROWS = 300
CHECKPOINTS = data_dir() / "checkpoints"
ASKED = ["What is the capital of Peru?", "Which continent is Kenya on?"]

pytestmark = pytest.mark.usefixtures("one_thread", "unset")


@pytest.fixture
def unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the shell that runs the tests has set; and what is kept is kept apart."""
    monkeypatch.setattr(recipes, "RUNS", tmp_path / "runs")
    for name in [name for name in os.environ if name.startswith("MINIRAG_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def few(wiki: MiniWiki) -> list[Passage]:
    """Passages enough for a few lists, and those that are asked about among them."""
    told = [passage for passage in wiki.passages if passage.title in ("Peru", "Kenya")]
    return [*wiki.passages[: ROWS - len(told)], *told]


@pytest.fixture(scope="module")
def job(few: list[Passage], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished job of the recipe `campus`, over few passages and with the encoder that ships."""
    folder = tmp_path_factory.mktemp("campus")
    rows = [f'{row}\t"{passage.text}"\t{passage.title}' for row, passage in enumerate(few, 1)]
    with gzip.open(folder / "slice.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(["id\ttext\ttitle", *rows]) + "\n")
    encoder = mini_biencoder()
    recipe = replace(RECIPES["campus"], encoder="mini")
    calibration = made_up(dim=encoder.dim)
    build_wikipedia(folder / "job", recipe, encoder, folder / "slice.tsv.gz", calibration=calibration, progress=False)
    return folder / "job"


# --- which scale ---


def test_pocket_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen().name == "pocket"
    monkeypatch.setenv("MINIRAG_SCALE", "")
    assert chosen().name == "pocket"
    monkeypatch.setenv("MINIRAG_SCALE", "paper")
    assert chosen() is SCALES["paper"]


def test_a_scale_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIRAG_SCALE", "Paper")
    with pytest.raises(MiniragError, match="MINIRAG_SCALE is 'Paper'; set it to one of pocket, campus, paper"):
        chosen()


def test_the_scales_are_those_of_the_commands() -> None:
    from minirag.training import finetune

    assert {name: scale.memory for name, scale in SCALES.items()} == RECIPES
    assert [scale.training for scale in SCALES.values()] == [finetune.POCKET, finetune.CAMPUS, finetune.PAPER]


# --- opened ---


def test_pocket_is_made_once_and_answers(few: list[Passage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes.MiniWiki, "load", lambda: SimpleNamespace(passages=few))
    first = opened(chosen())
    assert isinstance(first.index, ExactIndex)
    assert len(first.passages) == len(first.index) == ROWS
    monkeypatch.setattr(recipes, "encode_corpus", lambda *_, **__: pytest.fail("encoded a second time"))
    again = opened(chosen())
    assert again.passages.fingerprint == first.passages.fingerprint
    answers = [[answer.text for answer in each.model.answer(ASKED, k=3)] for each in (first, again)]
    assert answers[0] == answers[1]
    assert answers[0][0] == "Lima"


def test_two_notebooks_make_it_at_once(tmp_path: Path) -> None:
    """The slower finds the other's, and leaves nothing of its own."""

    def slower(folder: Path) -> None:
        recipes._kept("thing", lambda quicker: (quicker.mkdir(), (quicker / "a").write_text("whole")))
        folder.mkdir()
        (folder / "a").write_text("late")

    found = recipes._kept("thing", slower)
    assert (found / "a").read_text() == "whole"
    assert list((tmp_path / "runs").iterdir()) == [found]


def test_what_is_killed_while_it_is_made_is_made_again(tmp_path: Path) -> None:
    def killed(folder: Path) -> None:
        folder.mkdir()
        (folder / "a").write_text("ha")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recipes._kept("thing", killed)
    assert list((tmp_path / "runs").iterdir()) == []
    assert recipes._kept("thing", lambda folder: folder.mkdir()).is_dir()


def test_nowhere_to_keep_it(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(MiniragError, match=r"cannot write .*; start from a folder like notebooks/"):
        recipes._kept("thing", Path.mkdir)


@pytest.mark.parametrize("part", ["passages", "index"])
def test_what_was_altered_since_is_not_opened(part: str, few: list[Passage], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes.MiniWiki, "load", lambda: SimpleNamespace(passages=few))
    opened(chosen())
    (folder,) = recipes.RUNS.glob("pocket-job-*")
    largest = max((folder / part).iterdir(), key=lambda path: path.stat().st_size)
    with largest.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(MiniragError, match=part):
        opened(chosen())


def test_variables_that_are_empty_are_not_set(few: list[Passage], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes.MiniWiki, "load", lambda: SimpleNamespace(passages=few))
    for name in ("OUT", "MODEL", "DATA", "SYSTEMS"):
        monkeypatch.setenv(f"MINIRAG_{name}", "")
    assert len(opened(chosen()).passages) == ROWS
    with pytest.raises(MiniragError, match="no questions are known"):
        recipes.asked(SCALES["campus"], "nq", "test")


def test_campus_opens_what_the_job_has_built(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIRAG_OUT", str(job))
    monkeypatch.setenv("MINIRAG_MODEL", str(CHECKPOINTS / "rag-sequence"))
    found = opened(SCALES["campus"])
    assert isinstance(found.index, IVFPQIndex)
    assert found.encoder.fingerprint == mini_biencoder().fingerprint

    vectors = found.encoder.encode_passages(list(found.passages))  # [N, D]
    best = (found.encoder.encode_queries(ASKED) @ vectors.T).argmax(dim=1)
    assert [hit.rows[0].item() for hit in found.model.retrieve(ASKED, k=3)] == best.tolist()

    by_hand = from_pretrained(CHECKPOINTS / "rag-sequence").with_encoder(mini_biencoder()).attach(found.index, found.passages)
    ours, theirs = found.model.answer(ASKED, k=3), by_hand.answer(ASKED, k=3)
    assert [(one.text, one.log_probability) for one in ours] == [(one.text, one.log_probability) for one in theirs]
    assert ours[0].text == "Lima"
    assert not (tmp_path / "runs").exists()


def test_without_a_name_the_job_beside_the_notebooks(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(job, tmp_path / "runs" / "wikipedia-paper")
    monkeypatch.setenv("MINIRAG_MODEL", str(CHECKPOINTS / "reader"))
    assert len(opened(SCALES["paper"]).passages) == ROWS


@pytest.mark.parametrize(("name", "generator"), [("campus", "facebook/bart-base"), ("paper", "facebook/bart-large")])
def test_without_a_model_the_scale_s_own(
    name: str, generator: str, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def pretend(path: str) -> object:
        asked.append(path)
        return from_pretrained(CHECKPOINTS / "reader")

    monkeypatch.setenv("MINIRAG_OUT", str(job))
    monkeypatch.setattr(recipes, "from_pretrained", pretend)
    opened(SCALES[name])
    assert asked == [generator]


def test_a_query_encoder_that_was_trained_is_kept(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = from_pretrained(CHECKPOINTS / "rag-sequence").with_encoder(mini_biencoder())
    with torch.no_grad():
        model.query_encoder.norm.bias.add_(0.5)
    model.save_pretrained(tmp_path / "trained")
    monkeypatch.setenv("MINIRAG_OUT", str(job))
    monkeypatch.setenv("MINIRAG_MODEL", str(tmp_path / "trained"))
    found = opened(SCALES["campus"])
    trained = model.encoder.encode_queries(ASKED)
    torch.testing.assert_close(found.encoder.encode_queries(ASKED), trained)
    assert (trained - mini_biencoder().encode_queries(ASKED)).abs().max() > 0.01


# --- what is asked, and who answers ---


def test_pocket_s_questions_are_miniwiki_s(lands: MiniWiki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes.MiniWiki, "load", lambda: lands)
    asked = recipes.asked(chosen(), "nq", "dev")
    assert [one.question for one in asked] == [one.text for one in lands.by_split("nq")["dev"]]
    monkeypatch.setattr(recipes, "publish", lambda *_: pytest.fail("written a second time"))
    assert recipes.asked(chosen(), "nq", "dev") == asked


def test_other_scales_ask_what_lies_in_the_folder(lands: MiniWiki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes.publish(tmp_path / "mine", lands)
    monkeypatch.setenv("MINIRAG_DATA", str(tmp_path / "mine"))
    asked = recipes.asked(SCALES["paper"], "triviaqa", "test")
    assert [one.question for one in asked] == [one.text for one in lands.by_split("triviaqa")["test"]]


def test_no_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MiniragError, match=r"no questions are known at scale campus; name the folder .* in MINIRAG_DATA"):
        recipes.asked(SCALES["campus"], "nq", "test")
    monkeypatch.setenv("MINIRAG_DATA", str(tmp_path))
    with pytest.raises(MiniragError, match=r"nq/test.jsonl does not exist; lay the test examples of nq there"):
        recipes.asked(SCALES["campus"], "nq", "test")


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A folder of the three systems."""
    for name in ("rag-sequence", "rag-token", "closed-book"):
        shutil.copytree(CHECKPOINTS / name, tmp_path / "three" / name)
    return tmp_path / "three"


def test_the_rivals_search_the_job_s_index(job: Path, three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIRAG_OUT", str(job))
    monkeypatch.setenv("MINIRAG_MODEL", str(CHECKPOINTS / "reader"))
    monkeypatch.setenv("MINIRAG_SYSTEMS", str(three))
    rag = opened(SCALES["campus"])
    found = recipes.rivals(rag, tmp_path)
    assert list(found) == ["RAG-Sequence", "RAG-Token", "closed book"]
    assert [found[name].scheme for name in ("RAG-Sequence", "RAG-Token")] == ["sequence", "token"]
    assert found["RAG-Token"].retriever.index is rag.index
    assert found["RAG-Sequence"].answer(ASKED, k=3)[0].text == "Lima"
    assert len(found["closed book"].retriever.index) == 1  # the empty passage
    assert found["closed book"].answer(ASKED, k=1)[0].text


def test_where_three_systems_are_named_nothing_is_fetched(job: Path, three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIRAG_OUT", str(job))
    monkeypatch.setenv("MINIRAG_SYSTEMS", str(three))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert opened(SCALES["campus"]).model.answer(ASKED, k=3)[0].text == "Lima"  # as the rag-sequence among them answers


def test_no_rivals(job: Path, three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIRAG_OUT", str(job))
    monkeypatch.setenv("MINIRAG_MODEL", str(CHECKPOINTS / "reader"))
    rag = opened(SCALES["campus"])
    with pytest.raises(MiniragError, match=r"no three systems .* `minirag finetune --recipe campus`.* in MINIRAG_SYSTEMS"):
        recipes.rivals(rag, tmp_path)
    shutil.rmtree(three / "rag-token")
    monkeypatch.setenv("MINIRAG_SYSTEMS", str(three))
    with pytest.raises(MiniragError, match="holds no rag-token; MINIRAG_SYSTEMS names a folder of rag-sequence, rag-token"):
        recipes.rivals(rag, tmp_path)
    monkeypatch.delenv("MINIRAG_MODEL")
    with pytest.raises(MiniragError, match="holds no rag-token"):  # and no other generator is taken in its stead
        opened(SCALES["campus"])


# --- what is missing is told ---


@pytest.mark.parametrize("name", ["campus", "paper"])
def test_no_job(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIRAG_OUT", str(tmp_path / "nothing"))
    command = f"minirag build-wikipedia --recipe {name} --out {tmp_path / 'nothing'}"
    with pytest.raises(MiniragError, match="holds no finished memory") as told:
        opened(SCALES[name])
    assert command in str(told.value)


def test_a_job_that_was_killed(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(job, tmp_path / "job")
    (tmp_path / "job" / "index" / "manifest.json").unlink()
    monkeypatch.setenv("MINIRAG_OUT", str(tmp_path / "job"))
    with pytest.raises(MiniragError, match=r"is not finished; `minirag build-wikipedia --recipe campus .* goes on with it"):
        opened(SCALES["campus"])


def test_a_model_that_nobody_has_trained(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIRAG_OUT", str(job))
    monkeypatch.setenv("MINIRAG_MODEL", str(tmp_path / "nq"))
    with pytest.raises(MiniragError, match=r"does not exist; train it with `minirag finetune --recipe campus --out .*nq`"):
        opened(SCALES["campus"])


def test_another_encoder_than_the_job_s_is_refused(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(job, tmp_path / "job")
    other = mini_biencoder(pooling="cls")
    other.save_pretrained(tmp_path / "other")
    begun = json.loads((tmp_path / "job" / "job.json").read_text())
    begun["settings"]["encoder"] = str(tmp_path / "other")
    (tmp_path / "job" / "job.json").write_text(json.dumps(begun))
    monkeypatch.setenv("MINIRAG_OUT", str(tmp_path / "job"))
    monkeypatch.setenv("MINIRAG_MODEL", str(CHECKPOINTS / "reader"))
    with pytest.raises(MiniragError, match="another encoder's vectors"):
        opened(SCALES["campus"])


# --- what it costs ---


def test_pocket_s_sizes_are_those_of_what_ships(wiki: MiniWiki) -> None:
    pocket = SCALES["pocket"]
    bert, bart = mini_biencoder().query_encoder, from_pretrained(CHECKPOINTS / pocket.generator).generator
    assert pocket.passages == len(wiki.passages)
    assert parameters(Bert, pocket.bert) == sum(weight.numel() for weight in bert.parameters())
    assert parameters(Bart, pocket.bart) == sum(weight.numel() for weight in bart.parameters())
    for name in ("vocab_size", "dim", "layers", "heads", "inner", "positions"):
        assert getattr(pocket.bert, name) == getattr(bert.config, name)
    for name in ("vocab_size", "dim", "encoder_layers", "decoder_layers", "encoder_heads", "encoder_inner", "positions"):
        assert getattr(pocket.bart, name) == getattr(bart.config, name)


def test_the_paper_s_bytes_by_hand() -> None:
    paper = cost(SCALES["paper"])
    assert paper.passages == 21_015_324
    assert paper.weights == 4 * (2 * 108_891_648 + 406_291_456)
    vectors, codes = paper.passages * 768 * 2, paper.passages * (64 + 4)
    assert paper.ram - paper.weights == pytest.approx(codes, rel=0.2)  # and the lists' unfilled blocks and centroids
    text = paper.passages * 637 + 4_694_541_059
    assert paper.disk == pytest.approx(text + vectors + codes + paper.weights, rel=0.01)
    assert paper.seconds(2 * paper.encoding) == 0.5


def test_each_scale_costs_more_than_the_one_before() -> None:
    pocket, campus, paper = (cost(scale) for scale in SCALES.values())
    for name in ("passages", "weights", "disk", "ram", "encoding"):
        assert getattr(pocket, name) < getattr(campus, name) < getattr(paper, name)
    assert pocket.download == 0
    assert campus.download == paper.download > 4e9
