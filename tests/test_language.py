"""Real language in small: RAG and closed book over a few sentences, every stage of it; and its figures by hand."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_copying import word_pieces

from minirag.corpus.passages import Passage
from minirag.evaluation import language
from minirag.evaluation.language import CLOSED_BOOK, FROZEN, RAG, RIGHT, TASK, Run, Scores, Sizes, evaluate, report, results
from minirag.models.bert import Bert, BertConfig
from minirag.retrieval.biencoder import BiEncoder
from minirag.tasks.openqa import Question
from minirag.tasks.squad import Asked, Squad
from minirag.training.copying import Told
from minirag.training.finetune import Recipe
from minirag.training.settings import Settings
from minirag.training.state import Row

TOWNS = ["Bern", "Ulm", "Graz", "Brno", "Lodz", "Linz"]
RIVERS = ["Aare", "Donau", "Mur", "Svitava", "Lodka", "Traun"]
SHORT = Settings(steps=2, rate=1e-3)
STEP = Recipe(batch=2, k=2, rate=1e-3, steps=1)
SMALL = Sizes(2, 5, 1, 0.1, 64, 2, SHORT, STEP, 2, SHORT, replace(STEP, k=1))


@pytest.fixture
def squad() -> Squad:
    passages = tuple(
        Passage(str(i), town, f"The town {town} has 1{i} old mills. Its river is called {river} by all who live there.")
        for i, (town, river) in enumerate(zip(TOWNS, RIVERS, strict=True))
    )
    long = Passage("9", "Graz", "Here " + "there and elsewhere " * 40 + "are mills.")  # too long to be read whole
    asked = tuple(
        Asked(Question(f"{town}", f"What is the river of {town} called?", (river, f"river {river}")), row)
        for row, (town, river) in enumerate(zip(TOWNS, RIVERS, strict=True))
    )
    return Squad((*passages, long), asked)


@pytest.fixture
def encoder() -> BiEncoder:
    tokenizer = word_pieces(" ".join([*TOWNS, *RIVERS, "the town has mills its river is called by all who live there what of"]))
    torch.manual_seed(0)
    bert = Bert(BertConfig(len(tokenizer), 16, 2, 2, 24, positions=64, dropout=0.0))
    return BiEncoder(bert, bert, tokenizer, "mean", normalize=True, template="joined", max_length=64, dtype="float32")


def test_every_stage_and_a_second_time_nothing(
    squad: Squad, encoder: BiEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(squad, encoder, tmp_path / "runs", SMALL, progress=False)
    assert {squad.passages[one.row].title for one in run.held}.isdisjoint(pair.question for pair in run.pairs)
    found, own = evaluate(run, tmp_path / "work")
    told = json.loads(json.dumps(report(run, found, own)))
    assert set(own) == {FROZEN, RAG, RIGHT, CLOSED_BOOK}
    assert all(len(each.right) == 2 for each in own.values())
    assert own[RIGHT].found == (True, True)
    assert own[CLOSED_BOOK].found == (False, False)
    assert told["questions"] == {"training": 4, "pairs": 8, "asked": 2}
    assert set(told["logs"]) == {"reading", "end to end", "gaps", CLOSED_BOOK}
    assert set(told["seconds"]) == set(told["logs"]) | {f"asking, {name}" for name in own}
    assert len(told["answers"]) == 2
    assert set(told["answers"][0]) == {"question", "answers", *own}

    again = Run(squad, encoder, tmp_path / "runs", SMALL, progress=False)
    monkeypatch.setattr("minirag.training.loop.Run.step", None)
    taken_up, same = evaluate(again, tmp_path / "again")
    assert taken_up == found
    assert {name: replace(each, seconds=0.0) for name, each in same.items()} == {
        name: replace(each, seconds=0.0) for name, each in own.items()
    }
    assert again.logs == run.logs


def test_other_questions_take_up_no_training(squad: Squad, encoder: BiEncoder, tmp_path: Path) -> None:
    """Or a reader would be asked about articles it has learnt from."""
    own = Run(squad, encoder, tmp_path, SMALL)
    fewer = Run(Squad(squad.passages, squad.asked[:-1]), encoder, tmp_path, SMALL)
    other = Run(squad, encoder, tmp_path, replace(SMALL, seed=1))
    assert len({one.kept for one in (own, fewer, other)}) == 3
    assert Run(squad, encoder, tmp_path, SMALL).kept == own.kept


def test_questions_are_drawn_from_the_articles_held_out(squad: Squad, encoder: BiEncoder, tmp_path: Path) -> None:
    whole, one = (Run(squad, encoder, tmp_path, replace(SMALL, held_out=3, asked=asked)) for asked in (9, 1))
    assert len(whole.held) == 3
    assert len(one.held) == 1
    assert one.held[0] in whole.held
    assert sorted(each.row for each in whole.held + whole.asked) == list(range(6))


def test_sentences_too_long_to_be_read_leave_no_gaps(
    squad: Squad, encoder: BiEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Told] = []
    monkeypatch.setattr(language, "Extracts", lambda some, *_, **__: told.extend(some))
    monkeypatch.setattr(Run, "_copies", lambda own, bart, *_: bart)
    run = Run(squad, encoder, tmp_path, SMALL)
    run.by_heart()
    assert {one.answer for one in told} & set(RIVERS)
    assert not any("elsewhere" in one.question for one in told)
    for one in told:
        assert len(run.contexts.parts(Passage("", "", ""), [one.question])[1][0]) < 64


def test_seconds_are_those_of_all_sittings() -> None:
    log: list[Row] = [{"step": 5, "seconds": 1.5}, {"step": 5, "em": 1.0}, {"step": 10, "seconds": 2.0}]
    assert language._seconds_of(log) == 3.5


def test_figures_by_hand() -> None:
    rag = Scores(("a", "b", "c", "d"), (True, True, False, True), (1.0, 1.0, 0.5, 1.0), (True, True, True, False), 1.0)
    other = Scores(("a", "", "", ""), (True, False, False, False), (1.0, 0.0, 0.0, 0.5), (False,) * 4, 1.0)
    found = {(one.system, one.metric): one for one in results({RAG: rag, CLOSED_BOOK: other})}
    assert all(one.task == TASK and one.n == 4 and one.low <= one.value <= one.high for one in found.values())
    values = {names: one.value for names, one in found.items()}
    assert values == {
        (RAG, "exact_match"): 0.75,
        (RAG, "recall"): 0.75,
        (RAG, "f1"): 0.875,
        (CLOSED_BOOK, "exact_match"): 0.25,
        (CLOSED_BOOK, "recall"): 0.0,
        (CLOSED_BOOK, "f1"): 0.375,
        (f"{RAG} − {CLOSED_BOOK}", "exact_match"): 0.5,
        (f"{RAG} − {CLOSED_BOOK}", "f1"): 0.5,
    }


def test_the_command(squad: Squad, encoder: BiEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "squad"
    folder.mkdir()
    paragraphs = [{"id": z.id, "title": z.title, "text": z.text} for z in squad.passages]
    questions: list[dict[str, Any]] = [
        {"id": one.question.id, "question": one.question.question, "answers": one.question.answers, "passage_id": one.row}
        for one in squad.asked
    ]
    for name, rows in (("paragraphs", paragraphs), ("questions", questions)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr("minirag.retrieval.pretrained.minilm", lambda: encoder)
    monkeypatch.setattr(language, "Run", lambda squad, encoder, work: Run(squad, encoder, work, SMALL, progress=False))
    out = tmp_path / "language.json"
    monkeypatch.setattr("sys.argv", ["language", str(folder), str(out), "--work", str(tmp_path / "runs")])
    language.main()
    assert {row["system"] for row in json.loads(out.read_text())["results"]} >= {RAG, FROZEN, RIGHT, CLOSED_BOOK}


def test_a_wrong_path_is_told_in_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "minirag.evaluation.language", str(tmp_path / "dev.json"), str(tmp_path / "out.json")]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    sentence = f"minirag: cannot read {tmp_path}/dev.json: No such file or directory; check the path"
    assert (ended.returncode, ended.stderr.splitlines()) == (1, [sentence])
    assert list(tmp_path.iterdir()) == []
