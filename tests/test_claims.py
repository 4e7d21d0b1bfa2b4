"""FoolMeTwice, end to end, on a handful of claims and a small encoder: no page is on both sides, and all parts run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_copying import word_pieces

from minirag.errors import MiniragError
from minirag.evaluation.claims import ALWAYS, CLOSED_BOOK, RAG, RIGHT, Job, Sizes, measure, report, results, split
from minirag.models.bert import Bert, BertConfig
from minirag.retrieval.biencoder import BiEncoder
from minirag.tasks.fever import read_with_evidence

RIVERS = {"Nile": "blue sea", "Rhine": "cold sea", "Volga": "deep sea", "Indus": "warm sea", "Ob": "white sea"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    seas, rows = list(RIVERS.values()), []
    for i, (river, sea) in enumerate(RIVERS.items()):
        shown, rest = ({"section_header": "", "text": f"The {river} {text}."} for text in (f"flows to the {sea}", "is long"))
        evidence = {"wikipedia_page": river, "gold_evidence": [shown], "retrieved_evidence": [rest, shown]}
        for label, told in (("SUPPORTS", sea), ("REFUTES", seas[i - 1])):
            rows.append({"id": f"{river} {label}", "text": f"The {river} flows to the {told}.", "label": label, **evidence})
    (tmp_path / "claims.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "claims.jsonl"


@pytest.fixture
def encoder() -> BiEncoder:
    tokenizer = word_pieces(" ".join([*RIVERS, *RIVERS.values(), "the flows to is long"]))
    torch.manual_seed(0)
    bert = Bert(BertConfig(len(tokenizer), 16, 2, 2, 24, positions=64, dropout=0.0))
    return BiEncoder(bert, bert, tokenizer, "mean", normalize=True, template="joined", max_length=64, dtype="float32")


def test_no_page_is_on_both_sides(file: Path) -> None:
    claims = read_with_evidence(file)
    trained, held = split(claims, 0.4, seed=0)
    pages = [{one.sentences[0].title for one in side} for side in (trained, held)]
    assert (len(pages[0]), len(pages[1])) == (3, 2)
    assert pages[0].isdisjoint(pages[1])
    assert len(trained) + len(held) == len(claims)
    assert split(claims, 0.4, seed=0) == (trained, held) != split(claims, 0.4, seed=1)
    with pytest.raises(MiniragError, match="cannot be held out"):
        split(claims, 0.01, seed=0)


def test_every_system_is_trained_and_labels_the_claims_of_other_pages(file: Path, encoder: BiEncoder, tmp_path: Path) -> None:
    recipe = replace(Sizes().recipe, batch=2, steps=2, warmup=0)
    sizes = Sizes(held_out=0.4, decoder_layers=1, dropout=0.0, max_length=64, recipe=recipe)
    job = Job(read_with_evidence(file), encoder, tmp_path / "runs", sizes, progress=False)
    assert len(job.passages) == 10  # each sentence once
    found, said = measure(job, tmp_path)
    assert set(said) == {RAG, RIGHT, CLOSED_BOOK, ALWAYS}
    assert all(len(own) == len(job.held) == 4 for own in said.values())
    values = {(one.system, one.metric): one.value for one in found}
    assert values[ALWAYS, "accuracy"] == 0.5
    assert 0 <= values[RAG, "the page among 3"] <= 1
    told = report(job, found, said, 1.0)
    assert told["claims"] == {"training": 6, "test": 4}
    assert json.dumps(told)
    again, repeated = measure(job, tmp_path / "again")
    assert (again, repeated) == (found, said)  # the trainings are taken up


def test_differences_are_those_of_the_same_claims(file: Path) -> None:
    held = read_with_evidence(file)[:4]
    right = [one.claim.answers[0] for one in held]
    values = {one.system: one.value for one in results(held, {RAG: right, CLOSED_BOOK: ["SUPPORTS"] * 4})}
    assert values == {RAG: 1.0, CLOSED_BOOK: 0.5, f"{RAG} − {CLOSED_BOOK}": 0.5}
