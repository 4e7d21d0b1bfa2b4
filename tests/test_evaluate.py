"""Predictions on disk, runs that are stopped and go on, and scores with their intervals."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rag_cases import small_bart
from scipy.stats import binomtest, permutation_test

from minirag.cli import main
from minirag.corpus.passages import Passage
from minirag.corpus.store import PassageStore
from minirag.errors import MiniragError
from minirag.evaluation import evaluate as module
from minirag.evaluation.evaluate import counts_of, decoding_of, difference, evaluate, scored, significance
from minirag.evaluation.predictions import (
    FACTS,
    PREDICTIONS,
    RUN,
    Prediction,
    Read,
    Run,
    in_order_of,
    read_predictions,
    read_run,
)
from minirag.rag.classify import ClaimHead
from minirag.rag.contexts import Contexts
from minirag.rag.model import RagModel
from minirag.retrieval.bm25 import BM25Index
from minirag.tasks.metrics import exact_match, paired_difference
from minirag.tasks.openqa import Question
from minirag.tasks.task import BLEU_1, EXACT_MATCH, NQ, TASKS, score, task_called

RIVERS = {"Nile": "blue sea", "Rhine": "cold sea", "Volga": "deep sea", "Indus": "warm sea"}
ASKED = [Question(river, f"Where does the {river} flow?", (sea,)) for river, sea in RIVERS.items()]
CLAIMS = [Question(river, f"The {river} flows to the {sea}.", ("SUPPORTS",)) for river, sea in RIVERS.items()]


@pytest.fixture
def model(tmp_path: Path) -> RagModel:
    passages = [Passage(river, river, f"It flows to the {sea}.") for river, sea in RIVERS.items()]
    words = [*(z.text for z in passages), *(one.question for one in ASKED), "true false maybe"]
    bart, tokenizer = small_bart(words, positions=60)
    index = BM25Index()
    index.add(passages)
    store = PassageStore.write(tmp_path / "passages", passages)
    return RagModel(bart, Contexts(tokenizer, max_length=60)).attach(index, store)


def said(outputs: dict[str, str]) -> list[Prediction]:
    return [Prediction(id, "?", output) for id, output in outputs.items()]


def test_a_run_answers_every_question_and_can_be_read_back(model: RagModel, tmp_path: Path) -> None:
    made = evaluate(model, NQ, ASKED, tmp_path / "run", "RAG", "rivers", k=2, progress=False)
    facts, found = read_run(tmp_path / "run")
    assert found == made
    assert [one.id for one in made] == list(RIVERS)
    assert (facts["task"], facts["system"], facts["data"], facts["examples"]) == ("nq", "RAG", "rivers", 4)
    assert facts["decoding"] == {"decoder": "thorough", "k": 2, "beams": 1, "max_length": 50}
    for one, question, answer in zip(
        made, ASKED, model.answer([q.question for q in ASKED], 2, beams=1, max_length=50), strict=True
    ):
        assert one.output == answer.text
        assert [z.id for z in one.passages] == [z.id for z in answer.passages]
        assert sum(z.probability for z in one.passages) == pytest.approx(1, abs=1e-5)
        assert [z.holds_answer for z in one.passages] == [question.answers[0] in z.text for z in answer.passages]


def test_a_run_that_was_stopped_goes_on_to_the_same_file(
    model: RagModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "batches", lambda questions, k: [questions[i : i + 1] for i in range(len(questions))])
    whole = evaluate(model, NQ, ASKED, tmp_path / "whole", k=2, progress=False)
    answered, once = [], module._said

    def dies_at_the_third(*arguments: object) -> list[Prediction]:
        if len(answered) == 2:
            raise KeyboardInterrupt
        answered.append(1)
        return once(*arguments)

    monkeypatch.setattr(module, "_said", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, NQ, ASKED, tmp_path / "run", k=2, progress=False)
    with open(tmp_path / "run" / PREDICTIONS, "a", encoding="utf-8") as file:
        file.write('{"id": "Volga", "outp')  # what a kill in the middle of a line leaves
    with pytest.raises(MiniragError, match="row 3"):
        read_run(tmp_path / "run")
    asked: list[str] = []
    monkeypatch.setattr(module, "_said", lambda m, t, batch, d: [asked.append(q.id) for q in batch] and once(m, t, batch, d))
    assert evaluate(model, NQ, ASKED, tmp_path / "run", k=2, progress=False) == whole
    assert asked == ["Volga", "Indus"]
    assert (tmp_path / "run" / PREDICTIONS).read_bytes() == (tmp_path / "whole" / PREDICTIONS).read_bytes()
    evaluate(model, NQ, ASKED, tmp_path / "run", k=2, progress=False)
    assert asked == ["Volga", "Indus"]  # a finished run is left as it is


def test_a_folder_of_another_run_is_left_alone(model: RagModel, tmp_path: Path) -> None:
    evaluate(model, NQ, ASKED, tmp_path / "run", k=2, progress=False)
    before = (tmp_path / "run" / PREDICTIONS).read_bytes()
    for other in (lambda: evaluate(model, NQ, ASKED, tmp_path / "run", k=3, progress=False),
                  lambda: evaluate(model, NQ, ASKED[:2], tmp_path / "run", k=2, progress=False)):  # fmt: skip
        with pytest.raises(MiniragError, match="another run's predictions"):
            other()
    model.generator.words.weight.data[5] += 1
    with pytest.raises(MiniragError, match="another run's predictions"):
        evaluate(model, NQ, ASKED, tmp_path / "run", k=2, progress=False)
    assert (tmp_path / "run" / PREDICTIONS).read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(MiniragError, match="holds no predictions"):
        evaluate(model, NQ, ASKED, tmp_path / "mine", k=2, progress=False)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_run_of_another_task_or_of_other_answers_is_another_run(model: RagModel, tmp_path: Path) -> None:
    """The same inputs, decoded alike: but what was kept would be scored wrongly."""
    evaluate(model, TASKS["fever3"], CLAIMS, tmp_path / "fever", k=2, progress=False)
    with pytest.raises(MiniragError, match="another run's predictions"):
        evaluate(model, TASKS["fever2"], CLAIMS, tmp_path / "fever", k=2, progress=False)
    evaluate(model, NQ, ASKED, tmp_path / "nq", k=2, progress=False)
    with pytest.raises(MiniragError, match="another run's predictions"):
        evaluate(model, NQ, [replace(one, answers=("a lake",)) for one in ASKED], tmp_path / "nq", k=2, progress=False)


def test_one_process_at_a_time_gathers_in_a_folder(model: RagModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = module._said

    def meanwhile(*arguments: object) -> list[Prediction]:
        with pytest.raises(MiniragError, match="another process gathers predictions"):
            evaluate(model, NQ, ASKED, tmp_path / "run", k=2, progress=False)
        return once(*arguments)

    monkeypatch.setattr(module, "_said", meanwhile)
    assert len(evaluate(model, NQ, ASKED, tmp_path / "run", k=2, progress=False)) == 4
    assert evaluate(model, NQ, ASKED, tmp_path / "run", k=2, progress=False)  # the lock is dropped


def test_examples_that_share_an_id_are_refused_before_anything_is_answered(model: RagModel, tmp_path: Path) -> None:
    with pytest.raises(MiniragError, match="1 ids are those of several examples, 'Nile' for one"):
        evaluate(model, NQ, [*ASKED, ASKED[0]], tmp_path / "run", progress=False)
    with pytest.raises(MiniragError, match="no example to evaluate on"):
        evaluate(model, NQ, [], tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_no_more_passages_are_read_than_there_are_and_one_is_enough(model: RagModel, tmp_path: Path) -> None:
    assert decoding_of(model, NQ, k=5).k == 4
    (first, *_) = evaluate(model, NQ, ASKED, tmp_path / "one", k=1, progress=False)
    assert [passage.probability for passage in first.passages] == [1.0]


def test_of_a_long_text_it_is_kept_who_spoke_at_each_token(model: RagModel, tmp_path: Path) -> None:
    made = evaluate(model, TASKS["jeopardy"], ASKED, tmp_path / "run", k=2, progress=False)
    assert read_predictions(tmp_path / "run" / PREDICTIONS) == made
    for one in made:
        assert len(one.pieces) == len(one.speaks) > 0
        assert all(sum(row) == pytest.approx(1, abs=2e-3) for row in one.speaks)
    assert all(one.speaks == () for one in evaluate(model, NQ, ASKED, tmp_path / "short", k=2, progress=False))


def test_labels_are_chosen_among_those_of_the_task(model: RagModel, tmp_path: Path) -> None:
    three = evaluate(model, TASKS["fever3"], CLAIMS, tmp_path / "three", k=2, progress=False)
    two = evaluate(model, TASKS["fever2"], CLAIMS, tmp_path / "two", k=2, progress=False)
    for made, labels in ((three, TASKS["fever3"].labels), (two, TASKS["fever2"].labels)):
        assert read_predictions(tmp_path / ("three" if made is three else "two") / PREDICTIONS) == made
        for one in made:
            assert one.probabilities is not None
            assert tuple(one.probabilities) == labels
            assert sum(one.probabilities.values()) == pytest.approx(1, abs=1e-5)
            assert one.output == max(one.probabilities, key=lambda label: one.probabilities[label])
    assert TASKS["fever2"].labels == ("SUPPORTS", "REFUTES")


def test_a_claim_head_chooses_in_its_own_way_and_the_run_says_so(model: RagModel, tmp_path: Path) -> None:
    head, task = ClaimHead(model, TASKS["fever3"].labels).eval(), TASKS["fever3"]
    made = evaluate(head, task, CLAIMS, tmp_path / "head", k=2, progress=False)
    assert read_run(tmp_path / "head")[1] == made
    for one, choice in zip(made, head.choose([claim.question for claim in CLAIMS], 2), strict=True):
        assert one.output == choice.label
        assert one.probabilities == pytest.approx(dict(zip(head.labels, choice.probabilities.tolist(), strict=True)))
    evaluate(model, task, CLAIMS, tmp_path / "words", k=2, progress=False)
    ways = [json.loads((tmp_path / name / RUN).read_text())["labels"] for name in ("head", "words")]
    assert ways == ["appendix E, claim head", "section 3.4, a label's words"]
    turned = ClaimHead(model, task.labels[::-1]).eval()  # the same weights, for other labels
    turned.load_state_dict(head.state_dict())
    for other in (ClaimHead(model, task.labels).eval(), turned):
        with pytest.raises(MiniragError, match="another run's predictions"):
            evaluate(other, task, CLAIMS, tmp_path / "head", k=2, progress=False)
    with pytest.raises(
        MiniragError, match="chooses among SUPPORTS, REFUTES, NOT ENOUGH INFO, and task fever2 among SUPPORTS, R"
    ):
        evaluate(head, TASKS["fever2"], CLAIMS, tmp_path / "two", k=2, progress=False)
    with pytest.raises(MiniragError, match="and task nq among no labels"):
        evaluate(head, NQ, ASKED, tmp_path / "nq", k=2, progress=False)
    assert not (tmp_path / "two").exists()


class Alike(str):
    """Texts that a set has in the order in which they came."""

    def __hash__(self) -> int:
        return 1


def test_a_run_goes_on_in_a_process_that_has_sets_in_another_order(model: RagModel, tmp_path: Path) -> None:
    pages = [Alike("Bern"), Alike("Aare")]
    one, other = (frozenset(order) for order in (pages, pages[::-1]))
    assert one == other
    assert repr(one) != repr(other)
    asked = [[replace(claim, evidence=(each,)) for claim in CLAIMS] for each in (one, other)]
    made = evaluate(model, TASKS["fever3"], asked[0], tmp_path / "run", k=2, progress=False)
    again = evaluate(model, TASKS["fever3"], asked[1], tmp_path / "run", k=2, progress=False)
    assert [one.output for one in again] == [one.output for one in made]
    with pytest.raises(MiniragError, match="another run's predictions"):
        evaluate(model, TASKS["fever3"], CLAIMS, tmp_path / "run", k=2, progress=False)


def test_only_short_answers_are_looked_for_in_passages(model: RagModel, tmp_path: Path) -> None:
    for name, task in TASKS.items():
        asked = CLAIMS if name.startswith("fever") else ASKED
        made = evaluate(model, task, asked[:1], tmp_path / name, k=2, progress=False)
        held = {passage.holds_answer is None for passage in made[0].passages}
        assert held == {name in ("msmarco", "jeopardy", "fever2", "fever3")}
        assert {one.metric for one in scored(task, asked[:1], made, "x")} >= {metric.name for metric in task.metrics}


def test_the_paper_decodes_each_task_in_its_way(model: RagModel) -> None:
    asked = {name: (task.decoding["sequence"], task.decoding["token"]) for name, task in TASKS.items()}
    for name in ("nq", "triviaqa", "webquestions", "curatedtrec"):
        sequence, token = asked[name]
        assert (sequence.decoder, sequence.k, sequence.beams) == ("thorough", 50, 1)
        assert (token.decoder, token.k, token.beams) == ("token", 15, 1)
    for name in ("msmarco", "jeopardy"):
        sequence, token = asked[name]
        assert (sequence.decoder, sequence.k, sequence.beams) == ("fast", 10, 4)
        assert (token.decoder, token.k, token.beams) == ("token", 10, 4)
    assert [TASKS[name].answers for name in ("nq", "webquestions", "triviaqa", "curatedtrec")] == [
        "each",
        "each",
        "found",
        "matched",
    ]
    assert decoding_of(model, NQ).k == 4  # no more than there are
    model.retriever = None
    with pytest.raises(MiniragError, match="no passages to search"):
        decoding_of(model, NQ)


def test_scores_are_those_of_the_metrics_and_intervals_hold_them() -> None:
    right = ["blue sea", "a lake", "The deep sea", "warm"]
    made = said(dict(zip(RIVERS, right, strict=True)))
    results = {one.metric: one for one in scored(NQ, ASKED, made, "RAG")}
    assert results["exact match"].value == sum(exact_match(x, q.answers) for x, q in zip(right, ASKED, strict=True)) / 4 == 0.5
    assert results["F1"].value == pytest.approx((1 + 0 + 1 + 2 / 3) / 4)
    assert {one.n for one in results.values()} == {4}
    assert all(one.low <= one.value <= one.high for one in results.values())
    assert "recall" not in results  # nothing is known of passages
    assert score(NQ, right, ASKED) == {name: one.value for name, one in results.items()}


def test_recall_is_told_where_passages_are() -> None:
    made = [Prediction("Nile", "?", "x", passages=(Read("1", "", 0.5, False), Read("2", "", 0.5, True)))]
    made += [Prediction(id, "?", "x", passages=(Read("1", "", 1.0, False),)) for id in list(RIVERS)[1:]]
    assert {one.metric: one.value for one in scored(NQ, ASKED, made, "RAG")}["recall"] == 0.25


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=60, max_size=60))
@settings(max_examples=10)
def test_the_difference_of_means_has_about_the_normal_interval(hits: list[tuple[bool, bool]]) -> None:
    asked = [Question(str(i), "?", ("yes",)) for i in range(len(hits))]
    ours, theirs = (said({str(i): "yes" if pair[side] else "no" for i, pair in enumerate(hits)}) for side in (0, 1))
    found = next(one for one in difference(NQ, asked, ours, theirs, ("a", "b")) if one.metric == "exact match")
    value, low, high = paired_difference([a for a, _ in hits], [b for _, b in hits])
    assert found.value == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.06)
    same = difference(NQ, asked, ours, ours, ("a", "a"))
    assert all((one.value, one.low, one.high) == (0, 0, 0) for one in same)


def test_significance_is_that_of_scipy_and_of_the_signs() -> None:
    """Of right and wrong only those examples count on which the runs differ: 12 against 3, a matter of coins."""
    asked = [Question(str(i), "?", ("yes",)) for i in range(40)]
    ours = said({str(i): "yes" if i < 12 or i >= 20 else "no" for i in range(40)})
    theirs = said({str(i): "yes" if 12 <= i < 15 or i >= 20 else "no" for i in range(40)})
    p = significance(NQ, asked, ours, theirs)["exact match"]
    assert p == pytest.approx(binomtest(3, 15).pvalue, abs=0.012)
    assert p == significance(NQ, asked, theirs, ours)["exact match"]
    assert significance(NQ, asked, ours, ours)["exact match"] == 1.0
    chance = np.random.default_rng(1)
    words = [" ".join(chance.choice(["a", "red", "lamp", "shines"], 4)) for _ in range(60)]
    asked = [Question(str(i), "?", ("red lamp shines red",)) for i in range(30)]
    ours, theirs = (said({str(i): word for i, word in enumerate(half)}) for half in (words[:30], words[30:]))
    f1 = [counts_of(NQ.metrics[2], asked, each)[:, 0] for each in (ours, theirs)]
    exact = permutation_test(f1, lambda a, b: a.mean() - b.mean(), permutation_type="samples", n_resamples=4_000, rng=0)
    assert significance(NQ, asked, ours, theirs)["F1"] == pytest.approx(exact.pvalue, abs=0.04)


def test_a_corpus_metric_is_that_of_the_sums() -> None:
    asked = [Question("1", "?", ("the cat sat",)), Question("2", "?", ("a lamp that shines", "light"))]
    made = said({"1": "the cat the cat", "2": "a lamp"})
    counts = counts_of(BLEU_1, asked, made)
    assert counts.tolist() == [[2, 4, 3], [2, 2, 1]]  # found, said, wanted: of "light" and "a lamp that shines" the nearer
    assert BLEU_1.of(*counts.sum(0)) == pytest.approx(4 / 6)
    assert counts_of(EXACT_MATCH, asked, made).tolist() == [[0, 1], [0, 1]]
    assert np.isfinite([one.value for one in scored(TASKS["msmarco"], asked, made, "x")]).all()


@pytest.mark.parametrize(
    ("line", "output"),
    [
        ('{"id": "7", "output": "sea"}', "sea"),
        ('{"id": 7, "prediction": "sea"}', "sea"),
        ('{"id": "7", "input": "?", "output": [{"answer": "sea", "provenance": [{"wikipedia_id": "1"}]}]}', "sea"),
        ('{"id": "7", "output": [{"provenance": []}, {"answer": "sea"}]}', "sea"),
        ('{"id": "7", "output": ""}', ""),
    ],
)
def test_predictions_of_others_are_read(tmp_path: Path, line: str, output: str) -> None:
    (tmp_path / "x.jsonl").write_text(line + "\n")
    (one,) = read_predictions(tmp_path / "x.jsonl")
    assert (one.id, one.output) == ("7", output)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ('{"id": "7"}', "row 1.*no 'output'"),
        ('{"id": "7", "output": 3}', "row 1.*no 'output'"),
        ('{"id": "7", "output": "x"}\n{"id": "7", "output": "y"}', "two predictions with one id"),
        ('{"id": "7", "output": "x"}\nnonsense', "row 2"),
        ('{"id": "7", "output": "x", "passages": 3}', "row 1.*no list"),
        ('{"id": "7", "output": "x", "passages": [{"title": "t"}]}', "row 1.*without an 'id'"),
        ('{"id": "7", "output": "x", "log_probability": "high"}', "row 1.*no number"),
        ('{"id": "7", "output": "x", "answers": "y"}', "row 1.*no list of texts"),
        ('{"id": "7", "output": "x", "probabilities": 3}', "row 1.*no object"),
        ('{"id": "7", "output": "x", "pieces": "x"}', "row 1.*'pieces' that are no list of texts"),
        ('{"id": "7", "output": "x", "pieces": ["x"]}', "row 1.*a list of probabilities for each of its 'pieces'"),
        ('{"id": "7", "output": "x", "pieces": ["x"], "speaks": [[1]]}', "row 1.*more or fewer probabilities than 'passages'"),
        ('{"id": "7", "output": "x", "pieces": ["x"], "speaks": [[1.5]]}', "row 1.*a list of probabilities for each"),
        ('{"id": "7", "output": "x", "probabilities": {"REFUTES": "high"}}', "row 1.*'REFUTES' that is no number"),
        (
            '{"id": "7", "output": "x", "passages": [{"id": "1", "probability": "a"}]}',
            "row 1.*'probability' that is no number",
        ),
        ("", "no prediction"),
    ],
)
def test_what_is_no_prediction_is_named(tmp_path: Path, lines: str, why: str) -> None:
    (tmp_path / "x.jsonl").write_text(lines)
    with pytest.raises(MiniragError, match=why):
        read_predictions(tmp_path / "x.jsonl")


def test_predictions_are_put_in_the_questions_order() -> None:
    made = said({"Indus": "d", "Nile": "a", "Volga": "c", "Rhine": "b"})
    assert [one.output for one in in_order_of(ASKED, made, "x.jsonl")] == ["a", "b", "c", "d"]
    with pytest.raises(MiniragError, match="no prediction for 'Rhine'"):
        in_order_of(ASKED, made[:2], "x.jsonl")
    with pytest.raises(MiniragError, match="answers 'Ob'"):
        in_order_of(ASKED, [*made, Prediction("Ob", "?", "x")], "x.jsonl")


# Plain values: beartype looks at random elements of what it checks, which hypothesis does not allow while it draws.
READS = st.lists(st.tuples(st.text(min_size=1), st.text(), st.floats(0, 1), st.booleans()), max_size=3)
SAID = st.tuples(st.text(), st.text(), st.lists(st.text(), max_size=2), st.floats(-50, 0), READS)


@given(st.lists(SAID, min_size=1, max_size=4))
@settings(max_examples=50)
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple]) -> None:
    folder = tmp_path_factory.mktemp("run")
    made = [
        Prediction(str(i), question, output, tuple(answers), "regex", p, tuple(Read(*each) for each in reads))
        for i, (question, output, answers, p, reads) in enumerate(drawn)
    ]
    facts = dict.fromkeys(FACTS, "x") | {"examples": len(made)}
    with Run(folder, facts) as run:
        run.add(made)
    assert read_run(folder)[1] == made


def test_an_unfinished_or_damaged_run_is_no_run(model: RagModel, tmp_path: Path) -> None:
    with pytest.raises(MiniragError, match="holds no run"):
        read_run(tmp_path)
    evaluate(model, NQ, ASKED, tmp_path / "run", k=2, progress=False)
    lines = (tmp_path / "run" / PREDICTIONS).read_text().splitlines(keepends=True)
    (tmp_path / "run" / PREDICTIONS).write_text("".join(lines[:3]))
    with pytest.raises(MiniragError, match="3 of 4 predictions"):
        read_run(tmp_path / "run")
    for damaged in ("{", "[]", "{}", '{"examples": 4}'):
        (tmp_path / "run" / RUN).write_text(damaged)
        with pytest.raises(MiniragError, match=RUN):
            read_run(tmp_path / "run")
    assert json.loads(lines[0])["id"] == "Nile"


def test_a_task_is_called_by_its_name() -> None:
    assert task_called("jeopardy") is TASKS["jeopardy"]
    with pytest.raises(MiniragError, match="no task 'squad'; choose one of nq, "):
        task_called("squad")
    with pytest.raises(MiniragError, match="3 outputs for 4 examples"):
        score(NQ, ["a"] * 3, ASKED)


def test_what_of_a_file_is_no_example_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": i, "label": label, "claim": f"{i}"} for i, label in enumerate(["SUPPORTS", *["NOT ENOUGH INFO"] * 3])]
    (tmp_path / "claims.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    marco = [{"query_id": i, "query": "a", "wellFormedAnswers": own} for i, own in enumerate([["b"], [], "[]"])]
    (tmp_path / "marco.jsonl").write_text("".join(json.dumps(row) + "\n" for row in marco))
    (tmp_path / "said.jsonl").write_text('{"id": "0", "output": "SUPPORTS"}\n')
    for task, name, told in (
        ("fever2", "claims.jsonl", "passed over, claim that nothing decides: 3"),
        ("msmarco", "marco.jsonl", "passed over, query without a well-formed answer: 2"),
    ):
        command = ["score", task, "--questions", str(tmp_path / name), "--predictions", str(tmp_path / "said.jsonl")]
        assert main(command) == 0
        assert told in capsys.readouterr().out.splitlines()
        assert main([*command, "--json"]) == 0
        assert sum(json.loads(capsys.readouterr().out)["passed_over"].values()) == int(told[-1])


def test_the_command_evaluates_goes_on_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    passages = [Passage(river, river, f"The {river} flows to the {sea}.") for river, sea in RIVERS.items()]
    index = BM25Index()
    index.add(passages)
    index.save(tmp_path / "index")
    PassageStore.write(tmp_path / "passages", passages)
    rows = (json.dumps({"id": one.id, "question": one.question, "answer": list(one.answers)}) + "\n" for one in ASKED)
    (tmp_path / "asked.jsonl").write_text("".join(rows))
    where = ["--questions", tmp_path / "asked.jsonl", "--index", tmp_path / "index", "--passages", tmp_path / "passages"]
    command = ["evaluate", "nq", *map(str, where), "--quiet"]
    for _ in range(2):
        assert main([*command, "--out", str(tmp_path / "run"), "-k", "2", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)["results"]
        assert {(one["system"], one["n"]) for one in told} == {("RAG-Sequence", 4)}
        assert {one["metric"] for one in told} == {"exact match", "exact match (NFD)", "F1", "recall"}
    assert read_run(tmp_path / "run")[0]["data"] == "asked.jsonl"
    for more, why in ((["-k", "5"], "more than the 4 passages"), (["-k", "3"], "another run's predictions")):
        assert main([*command, "--out", str(tmp_path / "run"), *more]) == 1
        assert why in capsys.readouterr().err
    (tmp_path / "asked.jsonl").write_text('{"id": "1", "question": "Wh')  # cut short
    assert main([*command, "--out", str(tmp_path / "other")]) == 1
    assert "asked.jsonl, row 1" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
