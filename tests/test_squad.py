"""SQuAD's two layouts read into the same, and articles held out."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirag.errors import MiniragError
from minirag.tasks.squad import Squad, read_squad

ARTICLES = [
    ("Bern", [("The Aare flows round Bern.", [("1", "Which river flows round Bern?", ["Aare", "The Aare", "Aare"])])]),
    ("New_Ulm", [("Ulm is old.", []), ("New Ulm is not.", [("2", "What is not old?", ["New Ulm"]), ("3", "Is it?", ["not"])])]),
]


def published(path: Path, articles: Any = ARTICLES, **more: Any) -> Path:
    whole = [
        {
            "title": title,
            "paragraphs": [
                {
                    "context": text,
                    "qas": [
                        {"id": id, "question": asked, "answers": [{"text": one, "answer_start": 0} for one in answers]} | more
                        for id, asked, answers in questions
                    ],
                }
                for text, questions in paragraphs
            ],
        }
        for title, paragraphs in articles
    ]
    path.write_text(json.dumps({"version": "1.1", "data": whole}), encoding="utf-8")
    return path


def in_a_folder(folder: Path, articles: Any = ARTICLES, zipped: bool = True) -> Path:
    texts = [(title.replace("_", " "), text, asked) for title, paragraphs in articles for text, asked in paragraphs]
    paragraphs = [{"id": i, "title": title, "text": text} for i, (title, text, _) in enumerate(texts, 1)]
    questions = [
        {"id": id, "question": question, "answers": answers, "passage_id": i, "title": title}
        for i, (title, _, asked) in enumerate(texts, 1)
        for id, question, answers in asked
    ]
    folder.mkdir(exist_ok=True)
    for name, rows in (("paragraphs", paragraphs), ("questions", questions)):
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path = folder / f"{name}.jsonl{'.gz' if zipped else ''}"
        path.write_bytes(gzip.compress(lines) if zipped else lines)
    return folder


def test_both_layouts_by_hand(tmp_path: Path) -> None:
    found = read_squad(published(tmp_path / "dev.json"))
    assert [(z.id, z.title, z.text) for z in found.passages] == [
        ("1", "Bern", "The Aare flows round Bern."),
        ("2", "New Ulm", "Ulm is old."),
        ("3", "New Ulm", "New Ulm is not."),
    ]
    assert [(one.row, one.question.id) for one in found.asked] == [(0, "1"), (2, "2"), (2, "3")]
    assert found.asked[0].question.answers == ("Aare", "The Aare")
    assert read_squad(in_a_folder(tmp_path / "zipped")) == found
    assert read_squad(in_a_folder(tmp_path / "plain", zipped=False)) == found


def test_what_cannot_be_answered_is_left_out(tmp_path: Path) -> None:
    articles = [("A", [("A b.", [("1", "B?", ["b"])])]), ("C", [("C.", [("2", "D?", [])])])]
    found = read_squad(published(tmp_path / "dev.json", articles, is_impossible=True))
    assert [one.question.id for one in found.asked] == ["1"]


text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.strip)


@settings(max_examples=40)
@given(st.lists(st.tuples(text, st.lists(st.tuples(text, st.lists(text, min_size=1, max_size=3)), max_size=3)), min_size=1))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, paragraphs: Any) -> None:
    articles = [("T", [(z, [(f"{i} {j}", *asked) for j, asked in enumerate(some)]) for i, (z, some) in enumerate(paragraphs)])]
    folder = tmp_path_factory.mktemp("squad")
    if not any(some for _, some in paragraphs):
        with pytest.raises(MiniragError, match="holds no question"):
            read_squad(published(folder / "dev.json", articles))
        return
    found = read_squad(published(folder / "dev.json", articles))
    assert found == read_squad(in_a_folder(folder / "both", articles))
    assert [z.text for z in found.passages] == [z for z, _ in paragraphs]
    assert len(found.asked) == sum(len(some) for _, some in paragraphs)


def test_articles_are_held_out_whole(tmp_path: Path) -> None:
    found = read_squad(published(tmp_path / "dev.json"))
    for seed in range(5):
        kept, out = found.held_out(1, seed)
        assert sorted(one.question.id for one in kept + out) == ["1", "2", "3"]
        assert not {found.passages[one.row].title for one in kept} & {found.passages[one.row].title for one in out}
        assert (kept, out) == found.held_out(1, seed)
    assert len({len(found.held_out(1, seed)[0]) for seed in range(20)}) == 2
    for wrong in (0, 2):
        with pytest.raises(MiniragError, match="leave some for both"):
            found.held_out(wrong)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not laid out"),
        ("[]", "not laid out"),
        ('{"data": [{"title": "A"}]}', "not laid out"),
        ('{"data": [{"title": "A", "paragraphs": [{}]}]}', "paragraph 1: there is no 'context'"),
        ('{"data": [{"title": "A", "paragraphs": [7]}]}', "paragraph 1: "),
        ('{"data": [{"title": "A", "paragraphs": [{"context": "B", "qas": [{"id": "1", "question": "C?"}]}]}]}', "'answers'"),
        ('{"data": [{"title": "A", "paragraphs": [{"context": "B", "qas": [{"question": "", "answers": [{"text": "B"}]}]}]}]}',
         "paragraph 1: 'question' is empty"),
        ('{"data": [{"title": "A", "paragraphs": [{"context": "B"}]}]}', "holds no question"),
    ],
)  # fmt: skip
def test_a_bad_file_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "dev.json"
    path.write_text(content)
    with pytest.raises(MiniragError, match=complaint) as error:
        read_squad(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ({"question": "A?", "answers": ["b"], "passage_id": 9}, "row 1: no paragraph has the id '9'"),
        ({"question": "A?", "answers": ["b"]}, "row 1: no paragraph has the id 'None'"),
        ({"question": "A?", "answers": "b", "passage_id": 1}, "row 1: 'answers' should be a list"),
        ({"question": "A?", "answers": [" "], "passage_id": 1}, "row 1: 'answers' should be a list"),
        ({"answers": ["b"], "passage_id": 1}, "row 1: there is no 'question'"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, question: Any, complaint: str) -> None:
    folder = in_a_folder(tmp_path / "squad", zipped=False)
    (folder / "questions.jsonl").write_text(json.dumps(question) + "\n")
    with pytest.raises(MiniragError, match=complaint):
        read_squad(folder)
    (folder / "questions.jsonl").unlink()
    with pytest.raises(MiniragError, match=r"cannot read .*questions"):
        read_squad(folder)


@pytest.mark.shared
def test_the_real_file(shared: Path) -> None:
    found = read_squad(shared / "squad")
    assert (len(found.passages), len(found.asked), len(found.titles)) == (2_067, 8_022, 36)
    assert isinstance(found, Squad)
