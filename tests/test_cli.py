"""The command line: the whole way on a small knowledge base, exit codes, one sentence for every error, help with examples."""

import argparse
import importlib
import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from unittest.mock import create_autospec

import pytest
import torch
from miniwiki_case import load

from minirag import cli
from minirag.cli.common import KINDS, open_index
from minirag.cli.passages import guess_format
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError

ARTICLES = [
    {"id": "a", "title": "Red panda", "text": "The red panda lives in old mountains."},
    {"id": "b", "title": "Blue river", "text": "A blue river flows near the city."},
    {"id": "c", "title": "Città", "text": "The young city and the old city 🏙 of the blue river."},
]
WORDS = ["the", "a", "red", "blue", "panda", "river", "city", "lives", "in", "near", "old", "young", "and", "of", "citta"]
COMMANDS = ["quickstart", "download", "passages", "encode", "index build", "index info", "search", "ask", "finetune", "doctor"]
COMMANDS += ["bench search", "bench encode", "bench decode", "bench loss", "bench train", "miniwiki"]
PROGRAM = [sys.executable, "-c", "import sys; from minirag.cli import main; sys.exit(main())"]


@pytest.fixture
def run(capsys):
    """Run a command line that must succeed; return what it printed, decoded where it is JSON."""

    def call(*arguments: object):
        code = cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert code == 0, err
        return json.loads(out) if "--json" in arguments else out

    return call


@pytest.fixture
def fails(capsys):
    """Run a command line that must fail with code 1 and one sentence; return the sentence."""

    def call(*arguments: object) -> str:
        code = cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert (code, out) == (1, "")
        *progress, sentence = err.splitlines()
        assert not any(line.startswith("minirag:") for line in progress)
        assert sentence.startswith("minirag: ")
        assert "Traceback" not in err
        return sentence

    return call


@pytest.fixture
def misused(capsys):
    """Run a command line that is wrong in itself: code 2, usage on standard error."""

    def call(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stop:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert (stop.value.code, out) == (2, "")
        assert err.startswith("usage: minirag")
        return err.splitlines()[-1]

    return call


def save_encoder(folder: Path, seed: int) -> None:
    """A BERT of two small layers with random weights over a few words, as our own folder."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    from minirag.models.bert import Bert, BertConfig
    from minirag.retrieval.biencoder import BiEncoder

    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    raw = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    raw.normalizer, raw.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep")}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, **names)
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=len(vocabulary), dim=16, layers=2, heads=4, inner=24, positions=32)
    bert = Bert(config).eval()
    with torch.no_grad():
        for parameter in bert.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    BiEncoder(bert, bert, tokenizer, max_length=32, dtype="float32").save_pretrained(folder)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A knowledge base, two encoders, and what the commands make of them: passages, vectors, an index of every kind."""
    home = tmp_path_factory.mktemp("home")
    lines = [json.dumps(article, ensure_ascii=False) for article in ARTICLES]
    (home / "own.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    save_encoder(home / "encoder", seed=0)
    save_encoder(home / "other", seed=1)
    steps = [["passages", home / "own.jsonl", "--words", 6, "--tail", "keep", "--out", home / "passages"]]
    steps += [["encode", "--passages", home / "passages", "--encoder", home / "encoder", "--out", home / "vectors"]]
    for kind in KINDS:
        source = ["--passages", home / "passages"] if kind == "bm25" else ["--vectors", home / "vectors"]
        sizes = ["--lists", 2, "--probe", 2] if "ivf" in kind else []
        steps += [["index", "build", "--kind", kind, *source, *sizes, "--out", home / kind]]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "7 vectors cannot fill 256 codewords")
        for step in steps:
            assert cli.main([*map(str, step), "--quiet"]) == 0
    return home


@pytest.fixture
def ask(home):
    """The arguments of a search in `home` that every test shares."""

    def arguments(kind: str, *more: object) -> list[object]:
        encoder = [] if kind == "bm25" else ["--encoder", home / "encoder"]
        return ["search", "old city", "--index", home / kind, "--passages", home / "passages", *encoder, *more]

    return arguments


@pytest.fixture(scope="module")
def model(home) -> Path:
    """A small random BART as a folder: what it answers makes no sense, and is the same each time."""
    from rag_cases import small_bart

    from minirag.models.bart_checkpoints import save_bart

    save_bart(home / "bart", *small_bart([article["text"] for article in ARTICLES]))
    return home / "bart"


# --- the whole way -----------------------------------------------------------------------------------------------------------


def test_passages_are_cut_and_counted(home, run, tmp_path) -> None:
    made = run("passages", home / "own.jsonl", "--words", 6, "--tail", "keep", "--out", tmp_path / "p", "--json")
    source = str(home / "own.jsonl")
    assert made.pop("fingerprint")
    assert made == {
        "folder": str(tmp_path / "p"), "passages": 7, "formats": {source: "texts"},
        "passed_over": {}, "bad_rows": 0, "bad_examples": [],
    }  # fmt: skip
    assert "7 passages" in run("passages", home / "own.jsonl", "--words", 6, "--tail", "keep", "--out", tmp_path / "p")


def test_words_and_tail_reach_the_splitter(home, run, tmp_path) -> None:
    run("passages", home / "own.jsonl", "--words", 6, "--out", tmp_path / "wrap")
    assert PassageStore.open(tmp_path / "wrap")[1].text == "in old mountains. Red panda The"
    assert PassageStore.open(home / "passages")[1].text == "in old mountains."


def test_encoding_says_what_it_made_and_resumes(home, run, tmp_path) -> None:
    arguments = ["encode", "--passages", home / "passages", "--encoder", home / "encoder", "--out", tmp_path / "v"]
    made = run(*arguments, "--dtype", "float16", "--shard-rows", 2, "--json")
    assert (made["rows"], made["dim"], made["dtype"]) == (7, 16, "float16")
    assert len(list((tmp_path / "v").glob("*.npy"))) == 4
    assert "7 vectors of 16" in run(*arguments, "--dtype", "float16", "--shard-rows", 2)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_index_finds_what_its_own_class_finds(home, run, ask, kind) -> None:
    (result,) = run(*ask(kind, "-k", "3", "--json"))["results"]
    from minirag.retrieval.biencoder import BiEncoder

    queries = ["old city"] if kind == "bm25" else BiEncoder.from_pretrained(home / "encoder").encode_queries(["old city"])
    scores, rows = open_index(home / kind, verify=True).search(queries, 3)
    found = result["passages"]
    assert result["question"] == "old city"
    assert [passage["rank"] for passage in found] == [1, 2, 3]
    assert [passage["row"] for passage in found] == rows[0].tolist()
    torch.testing.assert_close(torch.tensor([passage["score"] for passage in found]), scores[0])
    torch.testing.assert_close(torch.tensor([passage["probability"] for passage in found]), scores[0].softmax(0))
    assert {passage["title"] for passage in found} <= {article["title"] for article in ARTICLES}


def test_bm25_finds_the_words_and_shows_them_in_their_letters(run, ask) -> None:
    shown = run(*ask("bm25", "-k", "1"))
    assert shown.startswith("old city\n  1  p(z|x) 1.0000  score ")
    assert "Città" in shown
    assert "city" in shown.splitlines()[2]


def test_nothing_found_is_said(home, run) -> None:
    assert "nothing found" in run("search", "zzz", "--index", home / "bm25", "--passages", home / "passages")


def test_questions_come_from_standard_input_line_by_line(home, run, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("river\n\n  panda \n"))
    found = run("search", "city", "-", "--index", home / "bm25", "--passages", home / "passages", "--json")
    assert [result["question"] for result in found["results"]] == ["city", "river", "panda"]


def test_questions_are_answered_with_probabilities_and_passages(home, model, run) -> None:
    line = ["ask", "old city", "blue river", "--model", model, "--passages", home / "passages", "-k", 2, "--max-length", 4]
    dense = [*line, "--encoder", home / "encoder", "--index", home / "exact"]
    for command in (dense, [*line, "--index", home / "bm25"]):
        for result in run(*command, "--hypotheses", 2, "--json")["results"]:
            first, second = result["answers"]
            assert first["log_probability"] >= second["log_probability"]
            assert first["probability"] == pytest.approx(math.exp(first["log_probability"]))
            assert sum(z["prior"] for z in result["passages"]) == pytest.approx(1)
            assert sum(z["posterior"] for z in result["passages"]) == pytest.approx(1)
            assert [z["rank"] for z in result["passages"]] == [1, 2]
    found = run("search", "old city", "--encoder", home / "encoder", "--index", home / "exact", "--passages", home / "passages",
                "-k", 2, "--json")  # fmt: skip
    answered = run(*dense, "--json")["results"][0]["passages"]
    assert [z["id"] for z in answered] == [z["id"] for z in found["results"][0]["passages"]]
    shown = run(*dense, "--decoder", "token")
    assert shown.count("p(y|x)") == 2
    assert shown.count("p(z|x, y)") == 4


def test_the_answer_is_marked_where_it_stands() -> None:
    from minirag.cli.ask import _text

    passage = {
        "rank": 1,
        "prior": 1.0,
        "posterior": 1.0,
        "title": "Bern",
        "text": "Bern is in Switzerland.",
        "holds_answer": True,
    }
    shown = _text({"question": "Where?", "answers": [{"text": "switzerland", "probability": 0.5}], "passages": [passage]})
    assert "[Switzerland]." in shown


def test_ask_names_what_is_missing(home, model, fails, monkeypatch, tmp_path) -> None:
    here = ["--passages", home / "passages", "--index", home / "exact"]
    assert "bm25" in fails("ask", "who", "--passages", home / "passages", "--index", home / "bm25", "--encoder", "minilm")
    assert "more than the" in fails("ask", "who", *here, "--encoder", home / "encoder", "--model", model, "-k", 99)
    assert "'bert'" in fails("ask", "who", *here, "--model", home / "encoder" / "passage_encoder")
    assert "is empty" in fails("ask", " ", *here, "--encoder", home / "encoder", "--model", model)
    monkeypatch.chdir(tmp_path)
    assert "run `minirag quickstart` once" in fails("ask", "who")


ASKED = "".join(f'{{"question": "where is the {word}", "answer": ["old city", "the blue river"]}}\n' for word in WORDS)


@pytest.fixture
def tune(home, model, tmp_path):
    """The arguments of a short training in `home`."""
    (tmp_path / "asked.jsonl").write_text(ASKED, encoding="utf-8")
    line = ["finetune", "--train", tmp_path / "asked.jsonl", "--model", model, "--passages", home / "passages", "--steps", 2]

    def arguments(kind: str, *more: object) -> list[object]:
        encoder = [] if kind == "bm25" else ["--encoder", home / "encoder"]
        return [*line, "--index", home / kind, *encoder, "--out", tmp_path / "out", "--quiet", *more]

    return arguments


def test_a_model_is_trained_end_to_end_saved_and_asked(home, tune, run, tmp_path) -> None:
    """And it is what its later trainings begin with, as the paper's WebQuestions and CuratedTREC begin with NQ's."""
    dev = ["--dev", tmp_path / "asked.jsonl"]
    told = run(*tune("exact", "--scheme", "token", *dev, "--json"))
    assert (told["questions"], told["examples"], told["step"]) == (len(WORDS), 2 * len(WORDS), 2)
    assert 0 <= told["exact_match"] <= 1
    assert run(*tune("exact", "--scheme", "token", *dev, "--json")) == told  # the run is over: nothing is done again
    line = ["ask", "where", "--passages", home / "passages", "--index", home / "exact", "--max-length", 3, "--json"]
    trained = run(*line, "--model", tmp_path / "out")
    assert trained != run(*line, "--model", home / "bart", "--encoder", home / "encoder")
    saved = json.loads((tmp_path / "out" / "rag.json").read_text(encoding="utf-8"))
    assert saved["scheme"] == "token"
    (tmp_path / "trec.tsv").write_text("".join(f"{i}\tx\twhere is {i}\t(old|blue) (city|river)\n" for i in range(16)))
    further = tune("exact", "--model", tmp_path / "out", "--answers", "matched", "--out", tmp_path / "trec", "--json")
    further[2], encoder = tmp_path / "trec.tsv", further.index("--encoder")
    del further[encoder : encoder + 2]
    assert run(*further)["examples"] == 16
    assert json.loads((tmp_path / "trec" / "rag.json").read_text(encoding="utf-8"))["scheme"] == "token"  # as its beginning


def test_another_training_in_the_same_place_is_not_the_old_one(home, tune, run, tmp_path) -> None:
    """Other questions, another index, another beginning: each is done, though all would fit into the old run's settings."""
    runs = tmp_path / "out.run"
    line = tune("exact", "--json")
    run(*line)
    kept = set(runs.iterdir())
    (tmp_path / "asked.jsonl").write_text(ASKED.replace("old city", "red panda"), encoding="utf-8")
    run(*line)
    run(*tune("ivf", "--json"))
    run(*tune("exact", "--json", "-k", 2))
    run(*tune("exact", "--model", tmp_path / "out", "--json"))
    assert len({path for path in runs.iterdir() if path.is_dir()} - kept) == 4
    run(*line)
    assert len({path for path in runs.iterdir() if path.is_dir()} - kept) == 4


def test_what_lies_in_the_way_is_seen_before_the_training(home, tune, fails, tmp_path, monkeypatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert "is left as it is" in fails(*tune("exact"))
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"
    assert not (tmp_path / "out.run").exists()
    monkeypatch.chdir(tmp_path / "out")
    assert "is left as it is" in fails(*tune("exact", "--out", "."))
    assert "more than the 7 passages" in fails(*tune("exact", "--out", tmp_path / "free", "-k", 8))


def test_what_is_held_still_stays(home, tune, run, tmp_path) -> None:
    from minirag.rag.checkpoints import from_pretrained

    before = from_pretrained(home / "encoder" / ".." / "bart")
    run(*tune("exact", "--frozen"))
    run(*tune("exact", "--out", tmp_path / "free"))
    frozen, free = from_pretrained(tmp_path / "out"), from_pretrained(tmp_path / "free")
    assert frozen.encoder.fingerprint == free.encoder.fingerprint  # the passages' side, which the index was made by
    questions = [model.encoder.encode_queries(["where is the city"]) for model in (frozen, free)]
    assert not torch.equal(*questions)
    assert not torch.equal(before.generator.words.weight, frozen.generator.words.weight)
    run(*tune("bm25", "--out", tmp_path / "words", "--answers", "found"))
    assert from_pretrained(tmp_path / "words").encoder is None


def test_what_cannot_be_learnt_from_is_refused(tune, fails, tmp_path) -> None:
    (tmp_path / "asked.jsonl").write_text('{"question": "where", "answer": ["nowhere at all"]}\n')
    assert "use --answers each" in fails(*tune("bm25", "--answers", "found"))
    trec = tune("exact")
    (tmp_path / "trec.tsv").write_text("1\tx\twhere\tnow+here\n")
    trec[2] = tmp_path / "trec.tsv"
    assert "use --answers matched" in fails(*trec)
    assert not (tmp_path / "out").exists()


def test_probe_overrides_how_the_index_was_built(home, run, ask, tmp_path) -> None:
    build = ["index", "build", "--vectors", home / "vectors", "--kind", "ivf", "--lists", 7, "--probe", 1]
    run(*build, "--out", tmp_path / "narrow", "--quiet")
    narrow = ask("ivf", "-k", 7, "--json", "--index", tmp_path / "narrow", "--no-verify")
    assert len(run(*narrow)["results"][0]["passages"]) < 7
    assert len(run(*narrow, "--probe", 7)["results"][0]["passages"]) == 7


@pytest.mark.parametrize("kind", KINDS)
def test_info_names_kind_sizes_and_files(home, run, kind) -> None:
    found = run("index", "info", home / kind, "--verify", "--json")
    assert (found["kind"], found["verified"]) == (kind, True)
    assert found["files"] == {path.name: path.stat().st_size for path in (home / kind).iterdir()}
    if not kind.startswith("faiss"):  # its manifest holds no sizes
        assert found["rows"] == 7
    if kind == "ivf":
        assert (found["dim"], found["settings"]["n_probe"]) == (16, 2)
        assert found["settings"]["vectors"] == str((home / "vectors").resolve())
    shown = run("index", "info", home / kind)
    assert f"  {kind}\n" in shown
    assert "manifest.json" in shown
    assert "not compared" in shown
    assert "agree" in run("index", "info", home / kind, "--verify")


def test_an_ivf_has_about_the_square_root_of_its_rows_as_lists(home, run, tmp_path) -> None:
    run("index", "build", "--vectors", home / "vectors", "--kind", "ivf", "--out", tmp_path / "i", "--quiet")
    assert open_index(tmp_path / "i", verify=True).n_lists == 3  # of 7 rows


@pytest.mark.parametrize("kind", ["ivf", "faiss-ivf"])
def test_more_lists_than_rows_is_a_warning(home, run, tmp_path, kind) -> None:
    with pytest.warns(UserWarning, match="lists|cells"):
        run("index", "build", "--vectors", home / "vectors", "--kind", kind, "--lists", 9, "--out", tmp_path / "i", "--quiet")
    assert run("index", "info", tmp_path / "i", "--verify")


def test_building_again_replaces_an_index(home, run, tmp_path) -> None:
    out = tmp_path / "i"
    for kind in ("ivf", "exact"):
        made = run("index", "build", "--vectors", home / "vectors", "--kind", kind, "--out", out, "--quiet", "--json")
        assert (made["kind"], made["rows"]) == (kind, 7)
    assert run("index", "info", out, "--json")["kind"] == "exact"


# --- sources -----------------------------------------------------------------------------------------------------------------

TABLE = 'id\ttext\ttitle\n7\t"red panda"\tPanda\n'
DUMP = (
    "<mediawiki><page><title>A</title><ns>0</ns><id>1</id><revision><text>Some prose.</text></revision></page>"
    '<page><title>B</title><ns>0</ns><id>2</id><redirect title="A"/><revision><text>x</text></revision></page></mediawiki>'
)
MARKED = json.dumps({"id": 1, "title": "A", "text": "'''A''' is [[B|b]]."})
KILT = json.dumps({"wikipedia_id": "1", "wikipedia_title": "A", "text": ["A\n", "Prose.\n"]})
SOURCES = {
    "psgs_w100": ("psgs.tsv", TABLE),
    "dump": ("dump.xml", DUMP),
    "wiki-jsonl": ("articles.jsonl", MARKED),
    "kilt": ("kilt.jsonl", KILT),
    "texts": ("own.csv", "title,text\nA,b\n"),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_formats_are_told_apart_and_read(run, tmp_path, name, ending) -> None:
    import gzip

    file, text = SOURCES[name]
    path = tmp_path / (file + ending)
    path.write_bytes(gzip.compress(text.encode()) if ending else text.encode())
    assert guess_format(path) == name
    made = run("passages", path, "--out", tmp_path / "p", "--quiet", "--json")
    assert (made["passages"], made["formats"]) == (1, {str(path): name})
    assert made["passed_over"] == ({"redirect": 1} if name == "dump" else {})


@pytest.mark.parametrize(
    ("file", "text", "format"),
    [
        ("own.jsonl", '\ufeff{"title": "A", "text": "plain"}', "texts"),
        ("own.tsv", "title\ttext\nA\tb\n", "texts"),
        ("own.tsv", "id\ttext\ttitle\tmore\n", "texts"),
        ("psgs.txt", TABLE, "psgs_w100"),
        ("pages", "<mediawiki>", "dump"),
        ("pages.xml", '<?xml version="1.0"?>', "dump"),
    ],
)
def test_what_names_and_first_bytes_tell(tmp_path, file, text, format) -> None:
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert guess_format(tmp_path / file) == format


@pytest.mark.parametrize(
    ("file", "text"),
    [("notes.txt", "hello"), ("own.json", "[]"), ("own.jsonl", "[1]"), ("empty", ""), ("code.jsonl", '{"text": "[[a]]"}')],
)
def test_an_unclear_format_has_to_be_said(tmp_path, fails, file, text) -> None:
    (tmp_path / file).write_text(text)
    assert "--format" in fails("passages", tmp_path / file, "--out", tmp_path / "p")


def test_a_damaged_archive_is_an_error_before_it_is_read(tmp_path, fails) -> None:
    (tmp_path / "own.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00not gzip at all")
    assert "damaged" in fails("passages", tmp_path / "own.jsonl.gz", "--out", tmp_path / "p")


def test_cut_passages_and_articles_do_not_mix(home, tmp_path, fails) -> None:
    (tmp_path / "psgs.tsv").write_text(TABLE)
    assert "separate stores" in fails("passages", tmp_path / "psgs.tsv", home / "own.jsonl", "--out", tmp_path / "p")


def test_bad_rows_stop_or_are_counted_and_listed(tmp_path, run, fails) -> None:
    source = tmp_path / "own.csv"
    source.write_text("title,text\nA,b\n,no title\n" + "C\n" * 25)
    assert "own.csv, row 3" in fails("passages", source, "--out", tmp_path / "p")
    assert not (tmp_path / "p").exists()
    made = run("passages", source, "--skip-bad", "--out", tmp_path / "p", "--json")
    assert (made["passages"], made["bad_rows"], len(made["bad_examples"])) == (1, 26, 20)
    shown = run("passages", source, "--skip-bad", "--out", tmp_path / "p")
    assert "bad rows: 26, the first 20:" in shown
    assert "own.csv, row 3: " in shown


def six_lands(monkeypatch, folder: Path) -> None:
    """Let `MiniWiki.load()` find the small wiki."""
    from minirag.corpus.miniwiki import MiniWiki

    small = load(folder)
    monkeypatch.setattr(MiniWiki, "load", lambda: small)


def test_miniwiki_shows_writes_and_counts(run, fails, misused, monkeypatch, tmp_path) -> None:
    six_lands(monkeypatch, tmp_path / "tables")
    shown = run("miniwiki", "--show", "isles of ys")
    assert shown.startswith("Isles of Ys\n")
    assert "Isles of Ys — capital — Kêr-Is" in shown
    assert run("miniwiki", "--show", "lands/lemuria", "--json")["title"] == "Lemuria"
    assert "did you mean Lemuria" in fails("miniwiki", "--show", "Lemura")
    made = run("miniwiki", "--out", tmp_path / "out", "--json")
    assert str(tmp_path / "out" / "marks.jsonl") in made["files"]
    stats = run("miniwiki", "--stats", "--json")
    assert stats["sizes"]["entities"] == 6
    assert stats["domains"]["lands"]["relations"] == 4
    assert "| entities | 6 |" in run("miniwiki", "--stats")
    misused("miniwiki")
    misused("miniwiki", "--stats", "--show", "Lemuria")


def test_miniwiki_needs_no_source(run, misused, monkeypatch, tmp_path) -> None:
    six_lands(monkeypatch, tmp_path / "tables")
    made = run("passages", "--format", "miniwiki", "--out", tmp_path / "p", "--json")
    assert (made["passages"], made["formats"]) == (7, {})
    assert "SOURCE" in misused("passages", "own.csv", "--format", "miniwiki", "--out", tmp_path / "p")
    assert "SOURCE" in misused("passages", "--out", tmp_path / "p")


# --- download ----------------------------------------------------------------------------------------------------------------


def test_what_can_be_downloaded_is_listed_by_group(run) -> None:
    listed = {source["name"]: source for source in run("download", "--json")["sources"]}
    assert listed["psgs_w100"]["size"] == 4694541059
    assert (listed["bart-large"]["files"], listed["bart-large"]["what"]) == (4, "BART-large (406 M parameters)")
    shown = run("download")
    assert "psgs_w100 (4,695 MB; CC BY-SA" in shown
    assert "bart-large (size unknown, 4 files; Apache-2.0)" in shown


def test_downloads_are_unpacked_where_they_are_archives(run, monkeypatch, tmp_path) -> None:
    import gzip

    from minirag.corpus import download

    def fetched(name: str, folder: Path, progress: bool) -> Path:
        assert not progress
        folder.mkdir(exist_ok=True)
        (folder / "a.csv.gz").write_bytes(gzip.compress(b"unpacked"))
        (folder / "b.csv").write_text("plain")
        return folder / name

    monkeypatch.setattr(download, "download", fetched)
    folder = tmp_path / "d"
    made = run("download", "a.csv.gz", "b.csv", "--folder", folder, "--unpack", "--quiet", "--json")
    assert made == {"paths": {"a.csv.gz": [f"{folder}/a.csv.gz", f"{folder}/a.csv"], "b.csv": [f"{folder}/b.csv"]}}
    assert (folder / "a.csv").read_text() == "unpacked"
    assert run("download", "b.csv", "--folder", folder, "--quiet") == f"{folder}/b.csv\n"


def test_an_unknown_name_is_one_sentence(fails, tmp_path) -> None:
    assert "no source is called 'psgs'" in fails("download", "psgs", "--folder", tmp_path)


# --- doctor, bench, quickstart -----------------------------------------------------------------------------------------------


def test_doctor_reports(run) -> None:
    assert "torch" in run("doctor", "--json")["versions"]
    assert "clashes" in run("doctor")


ROW = {"case": "batch 1", "ours": 0.5, "peer": 1.0, "peer_name": "faiss", "unit": "s", "ratio": 2.0, "equal": True}


def test_bench_prints_one_object_or_a_table(run, monkeypatch) -> None:
    from minirag.bench import search

    rows = create_autospec(search.rows, return_value=[ROW, {**ROW, "equal": False}])
    monkeypatch.setattr(search, "rows", rows)
    found = run(
        "bench", "search", "--rows", 300, "--dim", 8, "--batches", "1,4", "--repeats", 2, "--seed", 5, "--json", "--quiet"
    )
    rows.assert_called_once_with(n=300, dim=8, batches=(1, 4), repeats=2, seed=5, progress=False)
    assert set(found) == {"machine", "rows"}
    assert found["rows"][0] == ROW
    header, first, second = run("bench", "search").splitlines()[2:]
    assert header.split() == ["case", "ours", "peer", "unit", "ratio", "equal", "peer_name"]
    assert first.split()[2:] == ["0.5", "1", "s", "2", "yes", "faiss"]
    assert second.split()[6] == "no"
    rows.assert_called_with(n=200_000, dim=768, batches=(1, 8, 64, 512, 4096), repeats=5, seed=0, progress=True)


def test_bench_encode_takes_passages_from_a_store(home, run, monkeypatch) -> None:
    from minirag.bench import encode

    rows = create_autospec(encode.run, return_value=[ROW])
    monkeypatch.setattr(encode, "run", rows)
    run("bench", "encode", "--passages", home / "passages", "--count", 2, "--rounds", 1)
    first_two = PassageStore.open(home / "passages")[:2]
    rows.assert_called_once_with(passages=first_two, count=2, rounds=1)
    run("bench", "encode")
    rows.assert_called_with(passages=None, count=32, rounds=3)


def test_search_bench_runs_for_real_on_something_small(run) -> None:
    found = run("bench", "search", "--rows", 600, "--dim", 16, "--batches", "1,3", "--repeats", 1, "--quiet", "--json")
    assert found["machine"]["threads"] >= 1
    for row in found["rows"]:
        assert set(row) == set(ROW)


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("decode", ["--beams", 2, "--tokens", 3], {"questions": 1, "k": 2, "beams": 2, "new_tokens": 3}),
        ("loss", [], {"questions": 1, "k": 2}),
    ],
)
def test_benches_of_rag_take_passages_from_a_store(home, run, monkeypatch, name, more, said) -> None:
    module = importlib.import_module(f"minirag.bench.{name}")
    rows = create_autospec(module.run, return_value=[ROW])
    monkeypatch.setattr(module, "run", rows)
    run("bench", name, "--passages", home / "passages", "--questions", 1, "-k", 2, "--rounds", 1, *more)
    rows.assert_called_once_with(passages=PassageStore.open(home / "passages")[:2], rounds=1, **said)
    run("bench", name)
    assert rows.call_args.kwargs["passages"] is None


def test_bench_train_takes_the_passages_it_needs_from_a_store(home, run, monkeypatch) -> None:
    from minirag.bench import train

    rows = create_autospec(train.run, return_value=[ROW])
    monkeypatch.setattr(train, "run", rows)
    run("bench", "train", "--passages", home / "passages", "--questions", 1, "--count", 1, "--rounds", 1)
    first_two = PassageStore.open(home / "passages")[:2]
    rows.assert_called_once_with(passages=first_two, questions=1, count=1, rounds=1)
    run("bench", "train")
    rows.assert_called_with(passages=None, questions=8, count=8, rounds=3)


def test_there_is_no_bench_for_cooking() -> None:
    from minirag import bench

    with pytest.raises(MiniragError, match="search, pq, encode, decode, loss, train, serve or scale"):
        bench.run("cooking")


def test_quickstart_says_where_the_report_lies(run, monkeypatch, tmp_path) -> None:
    from minirag.evaluation import quickstart
    from minirag.training.finetune import POCKET

    main_job = create_autospec(quickstart.quickstart, return_value=tmp_path / "report.html")
    monkeypatch.setattr(quickstart, "quickstart", main_job)
    assert run("quickstart", "--folder", tmp_path, "--quiet") == f"the report lies at {tmp_path / 'report.html'}\n"
    told = f"minirag quickstart --folder {tmp_path} --steps {POCKET.steps}"
    main_job.assert_called_once_with(tmp_path, progress=False, command=told, steps=POCKET.steps)
    run("quickstart", "--folder", tmp_path, "--steps", 30, "--quiet")
    assert main_job.call_args.kwargs["steps"] == 30


# --- errors ------------------------------------------------------------------------------------------------------------------


def test_what_is_missing_is_named(home, fails, ask, tmp_path) -> None:
    nowhere = tmp_path / "nowhere"
    assert str(nowhere) in fails("passages", nowhere, "--out", tmp_path / "p")
    assert str(nowhere) in fails("encode", "--passages", nowhere, "--out", tmp_path / "v")
    assert str(nowhere) in fails("encode", "--passages", home / "passages", "--encoder", nowhere, "--out", tmp_path / "v")
    assert str(nowhere) in fails("index", "build", "--vectors", nowhere, "--out", tmp_path / "i")
    assert str(nowhere) in fails("index", "build", "--kind", "bm25", "--passages", nowhere, "--out", tmp_path / "i")
    assert str(nowhere) in fails("index", "info", nowhere)
    assert str(nowhere) in fails(*ask("exact", "--index", nowhere))
    assert str(nowhere) in fails(*ask("exact", "--passages", nowhere))
    assert str(nowhere) in fails("bench", "encode", "--passages", nowhere)


def test_what_does_not_belong_together_is_refused(home, run, fails, ask, tmp_path) -> None:
    run("passages", home / "own.jsonl", "--out", tmp_path / "p", "--quiet")
    assert "passages" in fails(*ask("exact", "--passages", tmp_path / "p"))
    assert "encoder" in fails(*ask("exact", "--encoder", home / "other"))
    assert "ivf" in fails(*ask("exact", "--probe", 2))
    assert "bm25" in fails(*ask("bm25", "--encoder", home / "encoder"))
    encode = ["encode", "--passages", home / "passages", "--encoder", home / "other", "--out", home / "vectors"]
    assert "encoder" in fails(*encode)


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_found_by_verify(home, fails, tmp_path, kind) -> None:
    folder = shutil.copytree(home, tmp_path / "copy") / kind
    victim = max((path for path in folder.iterdir() if path.name != "manifest.json"), key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(content)
    assert victim.name in fails("index", "info", folder, "--verify")
    victim.unlink()
    assert victim.name in fails("index", "info", folder)


def test_a_flipped_bit_in_the_vectors_stops_a_search(home, fails, ask, tmp_path) -> None:
    copy = shutil.copytree(home, tmp_path / "copy")
    (shard,) = (copy / "vectors").glob("*.npy")
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert shard.name in fails(*ask("exact", "--index", copy / "exact"))


@pytest.mark.parametrize("given", ["", "  ", "broken \udcff"])
def test_a_question_that_cannot_be_asked(fails, ask, given) -> None:
    assert "question" in fails(*[given if argument == "old city" else argument for argument in ask("exact")])


def test_standard_input_without_a_question(fails, ask, monkeypatch) -> None:
    arguments = ["-" if argument == "old city" else argument for argument in ask("bm25")]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n\n"))
    assert "no question" in fails(*arguments)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9\n"), encoding="utf-8"))
    assert "UTF-8" in fails(*arguments)


def test_an_index_never_replaces_anything_else(home, fails, tmp_path) -> None:
    copy = shutil.copytree(home, tmp_path / "copy")
    build = ["index", "build", "--vectors", copy / "vectors", "--quiet", "--out"]
    (copy / "exact" / "notes.txt").write_text("mine")
    for folder in ("", "vectors", "passages", "own.jsonl", "exact"):
        before = sorted(copy.rglob("*"))
        assert "left as it is" in fails(*build, copy / folder)
        assert sorted(copy.rglob("*")) == before


def test_an_index_is_not_built_over_the_vectors_it_is_built_from(home, fails, tmp_path) -> None:
    copy = shutil.copytree(home, tmp_path / "copy")
    shutil.copytree(copy / "vectors", copy / "exact" / "vectors")
    assert "left as it is" in fails("index", "build", "--vectors", copy / "exact" / "vectors", "--out", copy / "exact")


def test_an_index_of_the_future_is_refused(home, fails, ask, tmp_path) -> None:
    folder = shutil.copytree(home / "exact", tmp_path / "future")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "kind": "quantum"}))
    assert "quantum" in fails(*ask("exact", "--index", folder))


@pytest.mark.skipif(os.name != "posix", reason="folders under files fail differently elsewhere")
def test_an_error_of_the_system_is_a_sentence_too(home, fails, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    assert "file" in fails("passages", home / "own.jsonl", "--out", tmp_path / "file" / "p")
    assert "file" in fails("encode", "--passages", home / "passages", "--encoder", home / "encoder", "--out", tmp_path / "file")
    assert "file" in fails("index", "build", "--vectors", home / "vectors", "--out", tmp_path / "file" / "i")


@pytest.mark.parametrize(("stage", "promise"), [("encode", "goes on where it stopped"), ("bm25", "nothing is left half done")])
def test_ctrl_c_says_what_running_again_does(home, capsys, monkeypatch, tmp_path, stage, promise) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PassageStore, "open", interrupted)
    command = ["encode"] if stage == "encode" else ["index", "build", "--kind", "bm25"]
    assert cli.main([*command, "--passages", str(home / "passages"), "--out", str(tmp_path / "o")]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("minirag: interrupted; ")
    assert promise in err


def test_warnings_are_one_line(capsys) -> None:
    usual = warnings.formatwarning
    with cli._plain_warnings():
        assert warnings.formatwarning("few vectors", UserWarning, "x.py", 3) == "minirag: few vectors\n"
    assert warnings.formatwarning is usual


# --- usage -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "",
        "bake",
        "--vers",
        "index",
        "bench",
        "bench cooking",
        "passages own.csv",
        "passages own.csv --out p --words 0",
        "passages own.csv --out p --words ten",
        "passages own.csv --out p --format pdf",
        "encode --passages p",
        "encode --passages p --out v --dtype int8",
        "encode --pass p --out v",
        "index build --out i",
        "index build --kind bm25 --vectors v --out i",
        "index build --kind exact --passages p --out i",
        "index build --kind ivf --vectors v --passages p --out i",
        "index build --kind exact --vectors v --lists 4 --out i",
        "index build --kind faiss-hnsw --vectors v --probe 4 --out i",
        "index build --kind annoy --vectors v --out i",
        "search who --index i",
        "search --index i --passages p",
        "search who --index i --passages p -k -1",
        "bench search --batches 1,,2",
    ],
)
def test_a_wrong_command_line_is_code_2(misused, line) -> None:
    assert "error:" in misused(*line.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_a_purpose_and_examples_that_can_be_typed(name, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([*name.split(), "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "None" not in text
    usage, purpose, *_ = text.split("\n\n")
    assert usage.startswith(f"usage: minirag {name} ")
    assert purpose.endswith(".")
    examples = text.partition("\nexamples:\n")[2].replace("\\\n", " ").strip().splitlines()
    assert examples
    for line in examples:
        parse(line)


def test_the_examples_of_the_first_page_can_be_typed() -> None:
    lines = [line for line in cli.EXAMPLES.splitlines() if line.startswith("  minirag")]
    assert len(lines) == 5
    for line in lines:
        parse(line)


def parse(line: str) -> argparse.Namespace:
    """Parse an example as a shell would pass it on: from `minirag` to a pipe, a redirection or a comment."""
    import shlex

    words = shlex.split(line, comments=True)
    words = words[words.index("minirag") + 1 :]
    return cli._parser().parse_args(words[: words.index(">")] if ">" in words else words)


def test_the_first_page_names_every_command(capsys) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n    {name.split()[0]} " in text


def test_version(capsys) -> None:
    import minirag

    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"minirag {minirag.__version__}\n"


# --- as a program ------------------------------------------------------------------------------------------------------------


def test_the_installed_program_runs() -> None:
    """The entry point of pyproject.toml, as pip installed it."""
    program = Path(sys.executable).with_name("minirag")
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout[:8]) == (0, "minirag ")
    done = subprocess.run([program, "index", "info", "/nowhere"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("minirag: /nowhere")
    assert len(done.stderr.splitlines()) == 1


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, contextlib\nfrom minirag.cli import main\n"
        "with contextlib.suppress(SystemExit):\n    main(['--help'])\n"
        "print(sorted({'torch', 'numpy', 'faiss', 'transformers', 'pyarrow', 'tqdm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("arguments", "codes"), [(["download"], {141}), (["--help"], {0, 141})])
def test_a_closed_pipe_is_no_traceback(arguments, codes) -> None:
    """argparse itself ignores that nobody reads its help, where Python tells it so early."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*PROGRAM, *arguments], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode in codes


def test_letters_a_terminal_lacks_are_escaped(home) -> None:
    search = ["search", "young city", "--index", home / "bm25", "--passages", home / "passages"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*PROGRAM, *map(str, search)], capture_output=True, env=environment, check=True)
    assert b"Citt\\xe0" in done.stdout
    assert b"\\U0001f3d9" in done.stdout


def test_an_interrupt_from_outside_is_code_130(home, tmp_path) -> None:
    """A program that waits for its source, a pipe nobody writes to, gets the signal that Ctrl-C sends."""
    os.mkfifo(tmp_path / "own.jsonl")
    command = ["passages", str(tmp_path / "own.jsonl"), "--format", "texts", "--quiet", "--out", str(tmp_path / "p")]
    # What runs in the background of a script is started with the signal ignored; this process is to hear it all the same.
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen([*PROGRAM, *command], stderr=subprocess.PIPE, text=True, preexec_fn=hears)
    with open(tmp_path / "own.jsonl", "wb"):  # opens when the program has opened it for reading
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.startswith("minirag: interrupted; ")
    assert [path.name for path in tmp_path.iterdir()] == ["own.jsonl"]


def test_training_does_not_begin_over_milvus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = [
        "finetune",
        "--train",
        str(tmp_path / "nq.jsonl"),
        "--out",
        str(tmp_path / "out"),
        "--index",
        "milvus://host:19530/wiki",
    ]
    assert cli.main(train) == 1
    assert "gives out no vectors to train against; name an index folder" in capsys.readouterr().err
