"""FEVER's claims in three layouts, its pages, and how often the right page is found."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix

from minirag.corpus.miniwiki import MiniWiki
from minirag.corpus.miniwiki.publish import files
from minirag.corpus.rows import BadRows
from minirag.errors import MiniragError
from minirag.tasks.fever import (
    LABELS,
    confusion,
    gold_found,
    label_accuracy,
    read_fever,
    read_wiki_pages,
    read_with_evidence,
    title_of,
    undecided,
)
from minirag.tasks.openqa import Question

ROW = {
    "id": 7,
    "verifiable": "VERIFIABLE",
    "label": "REFUTES",
    "claim": " Ys lies in Spain. ",
    "evidence": [
        [[1, 2, "Ys_-LRB-city-RRB-", 0]],
        [[1, 3, "Ys_-LRB-city-RRB-", 4], [1, 4, "Brittany", 2]],
        [[1, 5, "Ys_-LRB-city-RRB-", 9]],
    ],
}
NOTHING = {
    "id": 8,
    "verifiable": "NOT VERIFIABLE",
    "label": "NOT ENOUGH INFO",
    "claim": "Ys sank.",
    "evidence": [[[1, None, None, None]]],
}
FM2 = {
    "id": "a",
    "text": "Ys lies in Spain.",
    "label": "REFUTES",
    "wikipedia_page": "Ys",
    "gold_evidence": [{"section_header": "x", "text": "Ys lies in Brittany."}],
    "retrieved_evidence": [
        {"section_header": "x", "text": "Ys sank. "},
        {"section_header": "x", "text": "Ys lies in Brittany."},
    ],
}
SYMMETRIC = {
    "id": "b",
    "claim": "Ys sank .",
    "label": "SUPPORTS",
    "evidence": "The city sank .",
    "evid": [["The city sank .", 1.0]],
}


def written(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_claims_have_their_label_and_the_pages_of_each_set_of_evidence(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", ROW, NOTHING)
    first, second = read_fever(path)
    sets = (frozenset({"Ys (city)"}), frozenset({"Ys (city)", "Brittany"}))
    assert first == Question("7", "Ys lies in Spain.", ("REFUTES",), evidence=sets)
    assert second == Question("8", "Ys sank.", ("NOT ENOUGH INFO",))
    assert read_fever(path, ways=2) == [first]
    assert undecided([first, second]) == 1
    two, three = BadRows(), BadRows()
    assert read_fever(path, 2, two) == [first]
    assert len(read_fever(path, 3, three)) == 2
    assert (two.passed_over, +three.passed_over) == ({"claim that nothing decides": 1}, {})
    with pytest.raises(MiniragError, match="not 4"):
        read_fever(path, ways=4)


def test_the_other_layouts_bring_their_sentences(tmp_path: Path) -> None:
    (one,) = read_with_evidence(written(tmp_path / "fm2.jsonl", FM2))
    assert one.claim == Question("a", "Ys lies in Spain.", ("REFUTES",), evidence=(frozenset({"Ys"}),))
    assert [(z.title, z.text) for z in one.sentences] == [("Ys", "Ys lies in Brittany."), ("Ys", "Ys sank.")]
    assert one.gold == 1
    assert len({z.id for z in one.sentences}) == 2
    (other,) = read_with_evidence(written(tmp_path / "symmetric.jsonl", SYMMETRIC))
    assert (other.claim.question, other.claim.answers, other.gold) == ("Ys sank .", ("SUPPORTS",), 1)
    assert [z.text for z in other.sentences] == ["The city sank ."]
    assert read_fever(tmp_path / "fm2.jsonl") == [one.claim]
    assert read_fever(tmp_path / "symmetric.jsonl") == [other.claim]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (ROW | {"label": "TRUE"}, "row 1.*label 'TRUE'"),
        (ROW | {"label": None}, "row 1.*label None"),
        (ROW | {"claim": "  "}, "row 1"),
        ({"id": 1, "label": "REFUTES"}, "row 1.*'text'"),
        (ROW | {"evidence": 3}, "row 1.*no list of sets"),
        (ROW | {"evidence": [[["x"]]]}, "row 1.*set of evidence"),
        (ROW | {"evidence": [7]}, "row 1.*set of evidence"),
        (ROW | {"evidence": [[[1, 2, 3, 4]]]}, "row 1.*set of evidence"),
        (["no", "object"], "row 1"),
    ],
)
def test_what_is_no_claim_is_named(tmp_path: Path, row: object, why: str) -> None:
    with pytest.raises(MiniragError, match=why):
        read_fever(written(tmp_path / "x.jsonl", row))


@pytest.mark.parametrize(
    "row",
    [
        FM2 | {"gold_evidence": [], "retrieved_evidence": []},
        FM2 | {"gold_evidence": "x"},
        FM2 | {"gold_evidence": ["x"]},
        {"id": 1, "claim": "x", "label": "REFUTES"},
    ],
)
def test_claims_without_sentences_are_named(tmp_path: Path, row: object) -> None:
    with pytest.raises(MiniragError, match="row 1"):
        read_with_evidence(written(tmp_path / "x.jsonl", row))


def test_an_empty_file_is_no_set_of_claims(tmp_path: Path) -> None:
    for read in (read_fever, read_with_evidence):
        with pytest.raises(MiniragError, match="holds no claim"):
            read(written(tmp_path / "x.jsonl"))


@given(st.text("ab ():[]", min_size=1).map(str.strip).filter(bool))
def test_titles_come_back(title: str) -> None:
    spelled = title
    for sign, name in ((" ", "_"), ("(", "-LRB-"), (")", "-RRB-"), (":", "-COLON-"), ("[", "-LSB-"), ("]", "-RSB-")):
        spelled = spelled.replace(sign, name)
    assert title_of(spelled) == title


def test_accuracy_and_confusion_are_those_of_scikit_learn() -> None:
    chance = random.Random(0)
    claims = [Question(str(i), "?", (chance.choice(LABELS),)) for i in range(300)]
    given = [chance.choice(LABELS) for _ in claims]
    right = [claim.answers[0] for claim in claims]
    assert label_accuracy(given, claims) == pytest.approx(accuracy_score(right, given))
    theirs = confusion_matrix(right, given, labels=list(LABELS))
    assert [[confusion(given, claims)[own, said] for said in LABELS] for own in LABELS] == theirs.tolist()
    with pytest.raises(MiniragError, match="'MAYBE' is no label"):
        confusion(["MAYBE"], claims[:1])
    with pytest.raises(MiniragError, match="'' is no label"):  # nothing said
        confusion(["REFUTES", ""], claims[:2])
    with pytest.raises(MiniragError, match="1 labels for 2 claims"):
        label_accuracy(["REFUTES"], claims[:2])


def test_gold_pages_are_looked_for_among_the_first_and_the_top() -> None:
    told = [Question(str(i), "?", ("SUPPORTS",), evidence=(frozenset({"A"}), frozenset({"B", "C"}))) for i in range(4)]
    found = [["A", "x"], ["x", "C"], ["x", "y", "B"], ["x", "y"]]
    nothing = Question("n", "?", ("NOT ENOUGH INFO",))
    assert vars_of(gold_found([*found, ["A"]], [*told, nothing], k=2)) == (0.25, 0.5, 4)
    assert vars_of(gold_found(found, told)) == (0.25, 0.75, 4)
    accented = Question("é", "?", ("SUPPORTS",), evidence=(frozenset({"Simo\u0301n Bol\u00edvar"}),))
    for title in ("Sim\u00f3n Bol\u00edvar", "Simo\u0301n Boli\u0301var"):
        assert gold_found([[title]], [accented]).first == 1
    assert gold_found([["Simon Bolivar"]], [accented]).top == 0
    with pytest.raises(MiniragError, match="no claim has evidence"):
        gold_found([["A"]], [nothing])


def vars_of(one: object) -> tuple[float, ...]:
    return tuple(getattr(one, name) for name in ("first", "top", "n"))


def test_what_miniwiki_publishes_is_read(lands: MiniWiki, wiki: MiniWiki, tmp_path: Path) -> None:
    examples = wiki.by_split("fever")["dev"]
    (content,) = (content for name, content in files(wiki) if name == "fever/dev.jsonl")
    (tmp_path / "dev.jsonl").write_bytes(content)
    claims = read_fever(tmp_path / "dev.jsonl")
    assert [(claim.id, claim.question, claim.answers[0]) for claim in claims] == [
        (e.id, e.text, e.answers[0]) for e in examples
    ]
    for claim, example in zip(claims, examples, strict=True):
        pages = {place.page.title for place in wiki.evidence_of(example)}
        assert frozenset().union(*claim.evidence) == pages
        assert bool(pages) == (claim.answers[0] != LABELS[2])
    (pages,) = (content for name, content in files(lands) if name == "fever/wiki-pages.jsonl")
    (tmp_path / "pages.jsonl").write_bytes(pages + b'{"id": "Empty", "text": "", "lines": ""}\n')
    bad = BadRows()
    read = list(read_wiki_pages(tmp_path / "pages.jsonl", bad))
    assert [article.title for article in read] == [page.title for page in lands.pages]
    assert bad.passed_over == {"page without text": 1}


@pytest.mark.shared
def test_the_real_files_have_the_published_sizes(shared: Path) -> None:
    claims = read_fever(shared / "fever" / "paper_dev.jsonl.gz")
    assert (len(claims), undecided(claims)) == (9_999, 3_333)  # the paper's table 7 counts one more
    assert len(read_fever(shared / "fever" / "paper_dev.jsonl.gz", ways=2)) == 6_666
    assert all(bool(claim.evidence) == (claim.answers[0] != LABELS[2]) for claim in claims)
    foolmetwice = read_with_evidence(shared / "fever" / "fm2-dev.jsonl.gz")
    assert len(foolmetwice) == 1_169
    assert all(one.gold and one.claim.evidence for one in foolmetwice)
    assert len(read_with_evidence(shared / "fever" / "fever_symmetric_dev.jsonl.gz")) == 708
