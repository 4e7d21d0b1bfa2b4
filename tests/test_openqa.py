"""Question sets in each publisher's layout, and what is said about the rows that are not."""

import csv
import gzip
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirag.errors import MiniragError
from minirag.tasks.metrics import has_answer
from minirag.tasks.openqa import Question, read_questions


def written(folder, name, text):
    path = folder / name
    raw = text.encode()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


NQ = '{"question": "who?", "answer": ["A", "B"]}\n\n{"id": 7, "question": " when? ", "answers": "1998"}\n'
DPR = 'who "he"?\t[\'A\', "O\'Neil"]\n"quoted ""q"""\t"[\'say ""hi""\']"\n'
TREC = '1756\tfactoid\tWhen is "it"?\tSept?(ember)?|Feb(ruary)?\n'
TRIVIA = """{"Version": 1.0, "Data": [{"QuestionId": "tc_1", "Question": "Which one?",
  "Answer": {"Value": "A", "Aliases": ["B", "A"], "HumanAnswers": ["C"], "NormalizedValue": "a"}, "EntityPages": []}]}"""
WEBQ = '[{"qId": "wqr1", "qText": "what?", "answers": ["X"]}]'


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_each_layout_by_hand(tmp_path, ending):
    def read(name, text):
        return read_questions(written(tmp_path, name + ending, text))

    assert read("nq.jsonl", NQ) == [Question("1", "who?", ("A", "B")), Question("7", "when?", ("1998",))]
    assert read("x.qa.csv", DPR) == [Question("1", 'who "he"?', ("A", "O'Neil")), Question("2", 'quoted "q"', ('say "hi"',))]
    assert read("t.tsv", TREC) == [Question("1756", 'When is "it"?', ("Sept?(ember)?|Feb(ruary)?",), "regex")]
    assert read("bom.jsonl", "\ufeff" + NQ) == read("nq.jsonl", NQ)
    assert read("w.json", WEBQ) == [Question("wqr1", "what?", ("X",))]
    assert read("unfiltered.json", TRIVIA) == [Question("tc_1", "Which one?", ("A", "B", "C"))]


def test_how_answers_match(tmp_path):
    trec = written(tmp_path, "curatedtrec-test.qa.csv", "when?\t['Sept?']\n")
    assert read_questions(trec)[0].match == "regex", "known by its name alone"
    assert read_questions(trec, match="string")[0].match == "string"
    assert read_questions(written(tmp_path, "x.csv", "when?\t['Sept?']\n"))[0].match == "string"
    assert read_questions(written(tmp_path, "x.jsonl", NQ), match="regex")[0].match == "regex"


texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), min_size=1).filter(str.strip).map(str.strip)


@given(st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=3)), min_size=1, max_size=4))
def test_any_text_survives_dprs_layout_and_json_lines(tmp_path_factory, rows):
    expected = [(question, tuple(answers)) for question, answers in rows]
    table = io.StringIO()
    csv.writer(table, delimiter="\t", lineterminator="\n").writerows([question, repr(answers)] for question, answers in rows)
    lines = "".join(json.dumps({"question": question, "answer": answers}) + "\n" for question, answers in rows)
    folder = tmp_path_factory.mktemp("qa")
    for path in (written(folder, "x.csv", table.getvalue()), written(folder, "x.jsonl", lines)):
        assert [(question.question, question.answers) for question in read_questions(path)] == expected


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("x.jsonl", NQ + "{broken\n", "x.jsonl, row 4: is not a JSON object"),
        ("x.jsonl", '["list"]\n', "row 1: is not a JSON object .list instead"),
        ("x.jsonl", '{"answer": ["A"]}\n', "row 1: has no question"),
        ("x.jsonl", '{"question": " ", "answer": ["A"]}\n', "row 1: has no question"),
        ("x.jsonl", '{"question": "q", "answer": []}\n', "row 1: has no list of answers"),
        ("x.jsonl", '{"question": "q", "answer": ["A", ""]}\n', "row 1: has no list of answers"),
        ("x.jsonl", '{"question": "q", "answer": [1998]}\n', "row 1: has no list of answers"),
        ("x.jsonl", '{"question": "q"}\n', "row 1: has no list of answers"),
        ("x.csv", "q\t['A']\nq\n", "x.csv, row 2: has 1 tab-separated columns"),
        ("x.csv", "q\t['A']\tmore\n", "row 1: has 3 tab-separated columns"),
        ("x.csv", "q\t['A'\n", "row 1: has answers that are not a list of strings"),
        ("x.csv", "q\t__import__('os').getcwd()\n", "row 1: has answers that are not a list of strings"),
        ("x.csv", "q\t('A',)\n", "row 1: has no list of answers"),
        ("x.csv", "q\t{}\n", "row 1: has no list of answers"),
        ("x.json", "{}", "holds no question"),
        ("x.json", '[{"qText": "q", "answers": ["A"]}, 5]', "is not a JSON list of questions"),
        ("x.json", '[{"qText": "q", "answers": ["A"]}, {"qText": "q"}]', "row 2: has no list of answers"),
        ("x.json", "[", "is not a JSON list of questions"),
        ("x.json", "5", "is not a JSON list of questions"),
        ("x.jsonl", "", "holds no question"),
        ("x.txt", NQ, "ends in '.txt'; question files end in .jsonl, .json, .csv, .tsv"),
    ],
)
def test_bad_rows_are_named(tmp_path, name, text, complaint):
    with pytest.raises(MiniragError) as caught:
        read_questions(written(tmp_path, name, text))
    assert complaint.replace(" .list", " (list") in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(MiniragError, match="does not exist"):
        read_questions(tmp_path / "none.jsonl")
    packed = written(tmp_path, "x.jsonl.gz", NQ * 500).read_bytes()
    for name, raw in {
        "cut.jsonl.gz": packed[:-20],
        "foreign.jsonl.gz": NQ.encode(),
        "latin.jsonl": b'{"question": "\xe9"}',
    }.items():
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(MiniragError, match="cannot be read"):
            read_questions(tmp_path / name)


def test_the_real_sets(shared):
    counts = {
        "webquestions/webq-train.jsonl.gz": 3478,
        "webquestions/webq-dev.jsonl.gz": 300,
        "wikipedia/triviaqa_questions.jsonl.gz": 1000,
        "wikipedia/popqa_questions.jsonl.gz": 1000,
        "squad/questions.jsonl.gz": 8022,
        "curatedtrec/curated-train.tsv": 430,
    }
    for name, count in counts.items():
        questions = read_questions(shared / name)
        assert len(questions) == count
        assert len({question.id for question in questions}) == count
        assert {question.match for question in questions} == {"regex" if "trec" in name else "string"}


def test_has_answer_agrees_with_the_labels_of_the_passages(shared):
    """Each TriviaQA question of the slice names passages, and says of each whether it holds an answer: by a rule of its
    publisher's own, which sees the title and parts company with DPR's on punctuation inside words."""
    with gzip.open(shared / "wikipedia" / "psgs_w100_slice.tsv.gz", "rt", encoding="utf-8", newline="") as file:
        passages = {row["id"]: f"{row['title']} {row['text']}" for row in csv.DictReader(file, delimiter="\t")}
    path = shared / "wikipedia" / "triviaqa_questions.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        labels = [json.loads(line) for line in file]
    agree = total = 0
    for question, label in zip(read_questions(path), labels, strict=True):
        for passage_id, holds in zip(label["passage_ids"], label["has_answer"], strict=True):
            total += 1
            agree += has_answer(passages[str(passage_id)], question.answers) is holds
    assert total > 1000
    assert agree / total > 0.98, f"{agree} of {total}"
