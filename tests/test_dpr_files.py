"""DPR's training files: read question by question, written whole, and what is wrong in them is named."""

import gzip
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.training import dpr_files
from minirag.training.dpr_files import Asked, Candidate, read_asked, write_asked

# As DPR's own files are: the newer ones say passage_id, others psg_id, and hand-made ones leave the scores out.
BY_HAND = """[
    {
        "dataset": "nq_train_psgs_w100",
        "question": "what’s the river of Cairo ",
        "answers": ["Nile", "the Nile"],
        "positive_ctxs": [
            {"title": "Nile", "text": "The Nile passes Cairo.", "score": 1000, "title_score": 1, "passage_id": "12"}
        ],
        "negative_ctxs": [
            {"title": "Po", "text": "The Po is in Italy.", "score": 0, "title_score": 0, "passage_id": "3"},
            {"title": "Don", "text": "The Don is in Russia.", "score": 0, "title_score": 0, "passage_id": "4"},
            {"title": "Ob", "text": "The Ob is in Siberia.", "score": 0, "title_score": 0, "passage_id": "5"}
        ],
        "hard_negative_ctxs": [
            {"title": "Cairo", "text": "Cairo is a city.", "score": "14.5", "title_score": 0, "psg_id": 7}
        ]
    },
    {"question": "who", "answers": [], "positive_ctxs": [{"title": "", "text": "I.", "score": null}],
     "negative_ctxs": null, "dataset": null}
]
"""
NILE, CAIRO = Passage("12", "Nile", "The Nile passes Cairo."), Passage("7", "Cairo", "Cairo is a city.")
PO, DON = Passage("3", "Po", "The Po is in Italy."), Passage("4", "Don", "The Don is in Russia.")
OB = Passage("5", "Ob", "The Ob is in Siberia.")


def written(folder: Path, text: str | bytes, name: str = "asked.json") -> Path:
    raw = text.encode() if isinstance(text, str) else text
    path = folder / name
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


def first_and_error(path: Path) -> tuple[list[Asked], str]:
    """What is read before the error, and what the error says ("" if there is none)."""
    found: list[Asked] = []
    try:
        for one in read_asked(path):
            found.append(one)
    except MiniragError as error:
        return found, str(error)
    return found, ""


@pytest.mark.parametrize("name", ["asked.json", "asked.json.gz"])
def test_a_file_by_hand(tmp_path: Path, name: str) -> None:
    first, second = read_asked(written(tmp_path, BY_HAND, name))
    assert first == Asked(
        "what's the river of Cairo",
        ("Nile", "the Nile"),
        (Candidate(NILE, 1000.0),),
        (Candidate(PO), Candidate(DON), Candidate(OB)),
        (Candidate(CAIRO, 14.5),),
        "nq_train_psgs_w100",
    )
    assert second == Asked("who", (), (Candidate(Passage("", "", "I.")),))


@pytest.mark.parametrize("keep", [0, 1, 2, 30])
def test_of_the_negatives_as_many_are_kept_as_are_asked_for(tmp_path: Path, keep: int) -> None:
    first = next(read_asked(written(tmp_path, BY_HAND), keep))
    assert [z.passage for z in first.negatives] == [PO, DON, OB][:keep]
    assert [z.passage for z in first.hard_negatives] == [CAIRO][:keep]
    assert [z.passage for z in first.positives] == [NILE]


def test_negatives_that_are_not_kept_are_not_even_looked_at(tmp_path: Path) -> None:
    record = {"question": "q", "positive_ctxs": [], "negative_ctxs": [{"title": "", "text": ""}, "damaged"]}
    path = written(tmp_path, json.dumps([record]))
    assert len(next(read_asked(path, 1)).negatives) == 1
    with pytest.raises(MiniragError):
        next(read_asked(path, 2))


def test_questions_come_while_the_file_is_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question is there before what follows it has been looked at, which here would be an error."""
    monkeypatch.setattr(dpr_files, "_PIECE", 64)
    path = written(tmp_path, BY_HAND.rstrip().removesuffix("]") + "," + "x" * 1_000_000)
    with open(path, "rb") as raw, io.TextIOWrapper(raw, encoding="utf-8") as file:
        objects = dpr_files._objects(file, path)
        assert [next(objects)["question"] for _ in range(2)] == ["what’s the river of Cairo ", "who"]
        assert raw.tell() < 20_000  # of a million


# Whatever is written can be read.

texts = st.text(st.characters(codec="utf-8"), max_size=12)
questions = texts.filter(str.strip).map(lambda text: text.strip().replace("’", "'"))
scores = st.floats(allow_nan=False, allow_infinity=False)
lists = st.lists(st.tuples(texts, texts, texts, scores), max_size=2)
rows = st.tuples(questions, st.lists(texts, max_size=2), lists, lists, lists, texts)


@given(st.lists(rows, max_size=3))
@settings(max_examples=50)
def test_what_is_written_is_read_again_and_is_json(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    def made(some: list[tuple[str, str, str, float]]) -> tuple[Candidate, ...]:
        return tuple(Candidate(Passage(*fields), score) for *fields, score in some)

    asked = [Asked(question, tuple(answers), *map(made, some), name) for question, answers, *some, name in rows]
    path = tmp_path_factory.mktemp("dpr") / "asked.json"
    write_asked(path, asked)
    assert list(read_asked(path)) == asked
    records = json.loads(path.read_text(encoding="utf-8"))
    assert [record["question"] for record in records] == [one.question for one in asked]
    fields = {"dataset", "question", "answers", "positive_ctxs", "negative_ctxs", "hard_negative_ctxs"}
    for record in records:
        assert record.keys() == fields
        for context in record["positive_ctxs"]:
            assert context.keys() == {"title", "text", "score", "title_score", "passage_id"}


def test_questions_are_written_as_they_come_and_the_old_file_stays_until_all_are_there(tmp_path: Path) -> None:
    path = tmp_path / "asked.json"
    write_asked(path, [Asked("old", ("a",), ())])
    before = path.read_bytes()

    def breaking() -> Iterator[Asked]:
        yield Asked("new", ("a",), ())
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_asked(path, breaking())
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["asked.json"]
    write_asked(path, iter([Asked("new", ("a",), ())]))
    assert [one.question for one in read_asked(path)] == ["new"]


# Element by element, in pieces of any size.

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(values, max_size=6), st.integers(1, 40), st.sampled_from([None, 0, 1, "\t"]), st.booleans())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_elements_are_those_of_json_at_every_size_of_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elements: list[Any], piece: int, indent: Any, ascii: bool
) -> None:
    text = " \n" + json.dumps(elements, indent=indent, ensure_ascii=ascii) + "\n\n"
    path = written(tmp_path, text.encode("utf-8", "surrogatepass"))
    monkeypatch.setattr(dpr_files, "_PIECE", piece)
    with open(path, encoding="utf-8", errors="surrogatepass") as file:
        assert list(dpr_files._objects(file, path)) == json.loads(text)


@pytest.mark.parametrize("piece", [1, 2, 7, 64, 999])
def test_a_file_is_the_same_at_every_size_of_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    path = written(tmp_path, BY_HAND)
    whole = list(read_asked(path))
    monkeypatch.setattr(dpr_files, "_PIECE", piece)
    assert list(read_asked(path)) == whole
    assert list(read_asked(written(tmp_path, "\ufeff" + BY_HAND))) == whole  # with a byte order mark
    assert list(read_asked(written(tmp_path, "\n [ \n ] "))) == []


def test_what_is_no_json_is_not_read_to_the_end_of_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, BY_HAND.replace('"who"', "who") + " " * 1_000_000)
    monkeypatch.setattr(dpr_files, "_PIECE", 100)
    monkeypatch.setattr(dpr_files, "LARGEST_FIELD", 2_000)
    sizes: list[int] = []
    skipped = dpr_files._skipped
    monkeypatch.setattr(dpr_files, "_skipped", lambda buffer, at: sizes.append(len(buffer)) or skipped(buffer, at))
    found, error = first_and_error(path)
    assert len(found) == 1
    assert "question 2 is cut short or no JSON" in error
    assert max(sizes) < 10_000


# What is wrong is named, in one sentence, with file and question.


@pytest.mark.parametrize(("name", "piece"), [("asked.json", 1 << 20), ("asked.json", 7), ("asked.json.gz", 1 << 20)])
def test_a_file_cut_short_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, piece: int) -> None:
    passage = {"title": "Nîl 😀", "text": 'a "b" \\', "score": -1.5e1, "passage_id": "1"}  # to be cut inside a character, too
    record = {"question": "q", "answers": ["a"], "positive_ctxs": [passage]}
    raw = json.dumps([record, record, record], ensure_ascii=False).encode()
    ends = [end for end in range(len(raw)) if raw[end:].startswith(b', {"question"')]  # where a question is complete
    assert len(ends) == 2
    packed = written(tmp_path, raw, name).read_bytes()
    whole = list(read_asked(tmp_path / name))
    monkeypatch.setattr(dpr_files, "_PIECE", piece)
    path = tmp_path / f"cut-{name}"
    for end in range(len(packed)):
        path.write_bytes(packed[:end])
        found, error = first_and_error(path)
        assert error.startswith(str(path)), end
        assert "\n" not in error
        assert "download" in error or "list" in error
        assert found == whole[: len(found)]
        if not name.endswith(".gz"):
            assert len(found) == sum(end > each for each in ends), end
            assert end == 0 or f"question {len(found) + 1} " in error


def test_a_damaged_archive(tmp_path: Path) -> None:
    # Not compressible, so that a wrong byte lies within the data.
    noise = [{"question": str(i), "answers": [str(hash((i, j))) for j in range(40)]} for i in range(200)]
    packed = bytearray(written(tmp_path, json.dumps(noise), "asked.json.gz").read_bytes())
    for place in range(40, len(packed), len(packed) // 50):
        damaged = bytearray(packed)
        damaged[place] ^= 0xFF
        path = tmp_path / "damaged.json.gz"
        path.write_bytes(damaged)
        _, error = first_and_error(path)
        assert error.startswith(str(path)), place


GOOD = '{"question": "q", "answers": ["a"], "positive_ctxs": [{"title": "t", "text": "x", "score": 1.0, "passage_id": "1"}]}'


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (GOOD, "7", "has no question"),
        (GOOD, "7.25", "has no question"),
        (GOOD, "null", "has no question"),
        (GOOD, '"q"', "has no question"),
        (GOOD, "[]", "has no question"),
        ('"q"', '" "', "has no question"),
        ('"q"', "5", "has no question"),
        ('"question"', '"query"', "has no question"),
        ('"q"', r'"half \ud83d"', "has no question"),
        ('["a"]', '"a"', "has answers that are no list of strings"),
        ('["a"]', '["a", 1998]', "has answers that are no list of strings"),
        ('["a"]', "null", "has answers that are no list of strings"),
        ('["a"]', r'["half \ud83d"]', "has answers that are no list of strings"),
        ('[{"title"', '7, "x": [{"title"', "has positive_ctxs that are no list"),
        (', "text": "x"', "", "has a passage without title or text"),
        ('"text": "x"', '"text": null', "has a passage without title or text"),
        ('"text": "x"', r'"text": "half \ud83d"', "has a passage without title or text"),
        ('"title": "t", ', "", "has a passage without title or text"),
        ('{"title": "t", ', '7, {"title": "t", ', "has a passage without title or text"),
        ("1.0", '"high"', "has a passage whose score is no number"),
        ("1.0", "[1.0]", "has a passage whose score is no number"),
        ("1.0", "1" + "0" * 400, "has a passage whose score is no number"),
        ('"q"', '"q', "is cut short or no JSON"),
        ('"q",', '"q"', "is cut short or no JSON"),
        ('"q"', '"q\n"', "is cut short or no JSON"),
        ('"q"', "[" * 100_000, "is cut short or no JSON"),
        ('"q"', "9" * 10_000, "is cut short or no JSON"),
        (GOOD, "", "is cut short or no JSON"),
    ],
)
def test_a_bad_question_is_named_by_its_number(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert GOOD.count(old) == 1
    path = written(tmp_path, f"[{GOOD},\n{GOOD},\n{GOOD.replace(old, new)},\n{GOOD}]")
    found, error = first_and_error(path)
    assert len(found) == 2
    assert error.startswith(f"{path}, question 3 {complaint}"), error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ("{}", "is no JSON list"),
        ("", "is no JSON list"),
        ("  ", "is no JSON list"),
        ("5", "is no JSON list"),
        (GOOD, "is no JSON list"),
        (bytes(range(256)) * 9, "is no JSON list"),
        (b"[" + bytes(range(128, 256)) * 9, "question 1 is cut short or no JSON"),
        (f"[{GOOD} {GOOD}]", "question 1 is cut short or no JSON"),
        (f"[{GOOD},]", "question 2 is cut short or no JSON"),
        (f"[,{GOOD}]", "question 1 is cut short or no JSON"),
        ("[", "question 1 is cut short or no JSON"),
        (f"[{GOOD}] [{GOOD}]", "goes on behind its list"),
        ("[]]", "goes on behind its list"),
        (f'[{GOOD.replace("q", "Caf�")}]'.replace("�", "\xe9").encode("latin-1"), "question 1 has no question"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("piece", [3, 1 << 20])
def test_a_file_that_is_no_list_of_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: str | bytes, complaint: str, piece: int
) -> None:
    monkeypatch.setattr(dpr_files, "_PIECE", piece)
    path = written(tmp_path, raw)
    found, error = first_and_error(path)
    assert error.startswith(str(path))
    assert complaint in error
    assert len(found) == (complaint.startswith("question 2") or (GOOD in str(raw) and "goes on" in complaint))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MiniragError, match=r"none\.json: No such file"):
        next(read_asked(tmp_path / "none.json"))
    with pytest.raises(MiniragError, match="check the path"):
        next(read_asked(tmp_path))


def test_a_question_is_yielded_before_the_next_one_is_known_to_be_wrong(tmp_path: Path) -> None:
    asked = read_asked(written(tmp_path, f"[{GOOD}, {GOOD}, 5]"))
    assert [one.question for one in itertools.islice(asked, 2)] == ["q", "q"]
    with pytest.raises(MiniragError, match="question 3"):
        next(asked)
