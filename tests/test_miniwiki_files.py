"""MiniWiki's files: the published layouts, graph, snapshots, the same bytes everywhere; wrong prose and offices."""

import bz2
import csv
import gzip
import json
import os
import re
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniwiki_case import FACTS, load, write

from minirag.corpus.miniwiki import MiniWiki, checksums, publish
from minirag.corpus.miniwiki.dossier import dossier
from minirag.corpus.miniwiki.prose import load_prose, read_prose, sentences
from minirag.corpus.miniwiki.snapshots import YEARS, load_offices, snapshot
from minirag.corpus.readers import read_texts
from minirag.corpus.wikipedia import read_kilt
from minirag.errors import MiniragError
from minirag.files import read_json
from minirag.paths import data_dir
from minirag.tasks.metrics import has_answer
from minirag.tasks.openqa import read_questions


@pytest.fixture(scope="module")
def folder(wiki, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("miniwiki")
    publish(folder, wiki)
    return folder


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_same_bytes_as_the_committed_ones(wiki):
    """Rendered in a fresh interpreter with another hash seed. After a change that was meant: `miniwiki.renew_checksums()`."""
    code = "import json; from minirag.corpus import miniwiki as m; print(json.dumps(m.checksums(m.MiniWiki.load())))"
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed) == read_json(data_dir() / "miniwiki" / "checksums.json")


def test_the_small_wiki_is_published_too(tmp_path):
    wiki = load(tmp_path)
    written = publish(tmp_path / "out", wiki)
    assert all(path.is_file() for path in written)
    assert set(checksums(wiki)) == {"passages"} | {str(path.relative_to(tmp_path / "out")) for path in written}
    assert not (tmp_path / "out" / "snapshots").exists()


def test_a_file_in_the_way_is_named_and_kept(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(MiniragError, match=r"cannot write .*out/nq/train\.jsonl: Not a directory"):
        publish(tmp_path / "out", load(tmp_path / "tables"))
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("rows", [0, 1])
def test_a_wiki_of_one_passage_or_none(tmp_path, rows):
    """K larger than the corpus: fewer than ten passages with a query, and figures of what there is."""
    from minirag.evaluation.card import figures, markdown

    wiki = load(tmp_path, facts="\n".join(FACTS.splitlines()[: 1 + rows]) + "\n")
    written = publish(tmp_path / "out", wiki)
    assert all(path.is_file() for path in written)
    assert len(wiki.passages) == rows
    assert f"| passages | {rows} |" in markdown(figures(wiki))


# The layouts


@pytest.mark.parametrize("task", ["nq", "webquestions", "curatedtrec", "triviaqa"])
def test_the_readers_of_the_published_sets_read_ours(wiki, folder, task):
    for split, examples in wiki.by_split(task).items():
        (path,) = (folder / task).glob(f"{split}.*")
        read = read_questions(path)
        assert [question.question for question in read] == [example.text for example in examples]
        assert [question.id for question in read] == [example.id for example in examples]
        if task == "curatedtrec":
            assert {question.match for question in read} == {"regex"}
            assert all(has_answer(e.answers[0], q.answers, "regex") for q, e in zip(read, examples, strict=True))
        else:
            assert [question.answers for question in read] == [example.answers for example in examples]


def test_curated_trec_looks_like_the_published_file(folder, shared):
    theirs = (shared / "curatedtrec" / "curated-train.tsv").read_text(encoding="utf-8").splitlines()[0].split("\t")
    ours = (folder / "curatedtrec" / "train.tsv").read_text(encoding="utf-8").splitlines()[0].split("\t")
    assert len(ours) == len(theirs) == 4
    assert ours[1] == theirs[1] == "factoid"


def test_fever_looks_like_the_published_file(folder, shared):
    with gzip.open(shared / "fever" / "paper_dev.jsonl.gz", "rt", encoding="utf-8") as file:
        theirs = [json.loads(line) for line in file]
    ours = lines(folder / "fever" / "test.jsonl")
    assert {tuple(sorted(row)) for row in ours} == {tuple(sorted(row)) for row in theirs}
    assert {row["label"] for row in ours} == {row["label"] for row in theirs}
    for label in ("SUPPORTS", "NOT ENOUGH INFO"):
        one, other = (next(row for row in rows if row["label"] == label) for rows in (ours, theirs))
        assert one["verifiable"] == other["verifiable"]
        assert [type(field) for field in one["evidence"][0][0]] == [type(field) for field in other["evidence"][0][0]]


def test_fevers_evidence_points_to_the_sentence_that_decides(wiki, folder):
    pages = {
        row["id"]: dict(line.split("\t", 1) for line in row["lines"].split("\n"))
        for row in lines(folder / "fever" / "wiki-pages.jsonl")
    }
    assert "Mercury_-LRB-planet-RRB-" in pages
    for split, examples in wiki.by_split("fever").items():
        for row, claim in zip(lines(folder / "fever" / f"{split}.jsonl"), examples, strict=True):
            assert (row["claim"], row["label"], str(row["id"])) == (claim.text, claim.answers[0], claim.id)
            for ((_, _, page, number),) in row["evidence"]:
                if row["verifiable"] == "VERIFIABLE":
                    told = wiki.evidence_of(claim)
                    assert pages[page][str(number)] in {place.page.sentences[place.sentence].text for place in told}


def test_ms_marco_has_ten_passages_and_selects_what_tells_the_fact(wiki, folder):
    missed = 0
    for split, examples in wiki.by_split("msmarco").items():
        columns = json.loads((folder / "msmarco" / f"{split}.json").read_text(encoding="utf-8"))
        assert sorted(columns) == ["answers", "passages", "query", "query_id", "query_type", "wellFormedAnswers"]
        assert {len(column) for column in columns.values()} == {len(examples)}
        for row, example in enumerate(examples):
            passages = columns["passages"][str(row)]
            assert len({passage["passage_text"] for passage in passages}) == 10
            selected = [passage["passage_text"] for passage in passages if passage["is_selected"]]
            assert 1 <= len(selected) <= 3
            (sentence,) = columns["wellFormedAnswers"][str(row)]
            assert sentence.endswith(".")
            assert len(sentence.split()) >= 3
            if example.told:
                missed += not any(has_answer(text, example.answers) for text in selected)
        assert set(columns["query_type"].values()) <= {"DESCRIPTION", "NUMERIC", "ENTITY", "LOCATION", "PERSON"}
    assert missed <= 5  # answers that a passage's end cuts in two, wherever they are told


def test_jeopardy_and_search_qa_tell_the_same_clues(wiki, folder):
    for split, examples in wiki.by_split("jeopardy").items():
        clues = json.loads((folder / "jeopardy" / f"{split}.json").read_text(encoding="utf-8"))
        keys = ["category", "air_date", "question", "value", "answer", "round", "show_number"]
        assert all(list(clue) == keys and clue["category"].isupper() for clue in clues)
        rows = [line.split(" ||| ") for line in (folder / "jeopardy" / f"{split}.txt").read_text(encoding="utf-8").splitlines()]
        assert [(clue["question"][1:-1], clue["answer"]) for clue in clues] == [(row[1], row[2]) for row in rows]
        assert all(row[0].startswith("<s> ") and row[0].endswith(" </s>") for row in rows)
        assert len(clues) == len(examples)


def test_kilts_provenance_cuts_out_the_sentence(wiki, folder):
    source = {row["wikipedia_id"]: row for row in lines(folder / "kilt" / "knowledge.jsonl")}
    for task in ("nq", "triviaqa", "fever"):
        for split, examples in wiki.by_split(task).items():
            for row, example in zip(lines(folder / "kilt" / f"{task}-{split}.jsonl"), examples, strict=True):
                assert (row["id"], row["input"]) == (example.id, example.text)
                assert list(dict.fromkeys(output["answer"] for output in row["output"])) == list(example.answers)
                told = [output for output in row["output"] if "provenance" in output]
                assert {output["answer"] for output in told} <= {example.answers[0]}
                for output, place in zip(told, wiki.evidence_of(example), strict=True):
                    (found,) = output["provenance"]
                    paragraph = source[found["wikipedia_id"]]["text"][found["start_paragraph_id"]]
                    cut = paragraph[found["start_character"] : found["end_character"]]
                    assert cut == place.page.sentences[place.sentence].text


def test_the_kilt_reader_reads_our_knowledge_source(wiki, folder):
    read = list(read_kilt(folder / "kilt" / "knowledge.jsonl"))
    assert [(article.id, article.title) for article in read] == [(page.id, page.title) for page in wiki.pages]
    assert [article.text.split() for article in read] == [page.article.text.split() for page in wiki.pages]


def test_every_example_is_marked(wiki, folder):
    marks = {(mark["task"], mark["id"]): mark for mark in lines(folder / "marks.jsonl")}
    count = sum(len(made) for made in wiki.examples.values())
    assert len(marks) == count
    for task, made in wiki.examples.items():
        for example in made:
            mark = marks[task, example.id]
            assert (mark["new_entity"], mark["new_phrasing"], mark["split"]) == (
                example.new_entity,
                example.new_phrasing,
                example.split,
            )


# The graph


def test_triples_name_the_passages_that_state_them(wiki, folder):
    """The passages hold the value in some spelling, or the entity where the fact is told from the value's side."""
    triples = lines(folder / "graph" / "triples.jsonl")
    assert len(triples) == len(wiki.triples) > 8_000
    texts = {passage.id: passage.text for passage in wiki.passages}
    pages = {page.id for page in wiki.pages}
    titles = {page.id: re.sub(r" \(.*\)$", "", page.title) for page in wiki.pages}
    named = 0
    for triple in triples:
        assert triple["subject"] in pages
        assert not triple["object_is_entity"] or triple["object"] in pages
        assert triple["passages"], triple
        assert all(id in texts for id in triple["passages"])
        value = titles[triple["object"]] if triple["object_is_entity"] else triple["object"]
        named += any(has_answer(texts[id], [value, value.removeprefix("the ")]) for id in triple["passages"])
    assert named > 0.9 * len(triples)  # the rest stand in another style or spelling


def test_a_triple_by_hand(tmp_path):
    wiki = load(tmp_path)
    found = {(t.subject, t.relation, t.object): t for t in wiki.triples}
    triple = found["lands/isles-of-ys", "capital", "Kêr-Is"]
    assert not triple.object_is_entity
    assert wiki.page_of_passage[triple.passages[0]] == "lands/isles-of-ys"
    assert "lands-overviews/capitals" in {wiki.page_of_passage[id] for id in triple.passages}


# The snapshots


def test_every_office_changed_hands(wiki):
    assert len(wiki.offices) >= 80
    for office in wiki.offices:
        before, after = (office.holders[year] for year in YEARS)
        names = [{name.lower() for name in (holder.name, *holder.aliases)} for holder in (before, after)]
        assert not names[0] & names[1], office.position
        assert before.since <= 2016 < after.since <= 2018


@pytest.mark.parametrize("year", YEARS)
def test_a_snapshot_answers_its_own_questions(wiki, folder, year):
    questions = read_questions(folder / "snapshots" / str(year) / "questions.jsonl")
    articles = {article.id: article for article in read_texts(folder / "snapshots" / str(year) / "articles.jsonl")}
    assert len(questions) == len(wiki.offices)
    assert [page.article for page in snapshot(wiki.offices, year, wiki.links)] == list(articles.values())
    for office, question in zip(wiki.offices, questions, strict=True):
        assert question.question == f"Who is {office.position}?"
        telling = [
            a
            for a in articles.values()
            if office.position.lower() in f"{a.title} {a.text}".lower() and has_answer(a.text, question.answers)
        ]
        assert len(telling) >= 2, office.position  # on its own page and on the holder's
        other = office.holders[sum(YEARS) - year]
        own = next(a for a in articles.values() if a.id.startswith("offices/") and office.position.lower() in a.text.lower())
        assert not has_answer(own.text, [other.name])


OFFICES = """position,country,holder_2016,aliases_2016,pronoun_2016,since_2016,holder_2018,aliases_2018,pronoun_2018,since_2018
the king of Ys,,Gradlon,,he,1990,Dahut,Ahès,she,2017
"""
OFFICE_PHRASINGS = {
    "articles_office": [f"{letter} {{position}} is {{holder}} since {{since}}." for letter in "ABCDEF"],
    "articles_person": [f"{letter} {{holder}} is {{position}} since {{since}}." for letter in "ABCDEF"],
    "background": [f"{letter} {{position}} is in {{country}}." for letter in "ABCD"],
    "question": "Who is {position}?",
}


def offices(folder: Path, table: str = OFFICES) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "offices.csv").write_text(table, encoding="utf-8")
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in OFFICE_PHRASINGS.items())
    (folder / "phrasings.toml").write_text(text, encoding="utf-8")
    return folder


def test_offices_are_read(tmp_path):
    (office,) = load_offices(offices(tmp_path / "snapshots"))
    assert office.question() == "Who is the king of Ys?"
    assert office.holders[2018].aliases == ("Ahès",)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("position,country", "office,country", "row 1: is not the header"),
        ("Ahès,she,2017", "Ahès,she", "row 2: has 9 cells"),
        ("Gradlon", "", "row 2: lacks a position, a holder or a pronoun"),
        ("he,1990", "it,1990", "row 2: lacks a position, a holder or a pronoun"),
        ("1990", "soon", "row 2: has since_2016 'soon'"),
        ("1990", "١٩٩٠", "row 2: has since_2016"),
        ("Dahut", '"Dahut', "offices.csv, row 2: is not CSV"),
        ("2017", "2019", "row 2: has since_2018 '2019'"),
        ("2017", "2015", "row 2: has one holder at both dates"),
        ("Dahut", "Gradlon", "row 2: has one holder at both dates"),
        ("she,2017", "she,2017\nThe king of Ys,,A,,he,1,B,,he,2018", "row 3: repeats 'The king of Ys'"),
    ],
)
def test_a_wrong_office_is_named(tmp_path, old, new, complaint):
    assert OFFICES.count(old) == 1
    with pytest.raises(MiniragError, match=re.escape(complaint)):
        load_offices(offices(tmp_path / "snapshots", OFFICES.replace(old, new)))


def test_files_that_are_missing_or_foreign_are_named(tmp_path):
    for name, content, complaint in (
        ("offices.csv", OFFICES.encode("latin1"), "offices.csv is not in UTF-8"),
        ("offices.csv", b"", "offices.csv, row 1: is not the header"),
        ("phrasings.toml", b"", "phrasings.toml: articles_office has 0 phrasings"),
        ("phrasings.toml", b'question = "Who?"', "articles_office has 0"),
        ("offices.csv", None, "offices.csv is missing"),
        ("phrasings.toml", None, "phrasings.toml is missing"),
    ):
        path = offices(tmp_path / "snapshots") / name
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(MiniragError, match=re.escape(complaint)):
            load_offices(tmp_path / "snapshots")


def test_an_office_is_asked_for_by_its_position(tmp_path):
    path = offices(tmp_path / "snapshots") / "phrasings.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("Who is {position}?", "Who is it?"), encoding="utf-8")
    with pytest.raises(MiniragError, match=r"phrasings\.toml: question is 'Who is it"):
        load_offices(tmp_path / "snapshots")


# Prose that is wrong


def prose(tmp_path: Path, old: str = "", new: str = "") -> Path:
    source = sorted((data_dir() / "miniwiki" / "prose").glob("*.toml"))[0]
    path = tmp_path / "one.toml"
    text = PROSE if old else source.read_text(encoding="utf-8")
    assert text.count(old) == 1 or not old
    path.write_text(text.replace(old, new) if old else text, encoding="utf-8")
    return path


PROSE = (
    f'''title = "The kings of Ys"
about = []
text = """
The old king Gradlon ruled a city below the level of the sea. {"Waves beat on its dike by day and by night. " * 10}

His daughter held the bronze keys of the gate. {"People danced until the morning in its towers. " * 7}
"""
'''
    + """
[[questions]]
question = "Who reigned over the sunken town?"
answers = ["Gradlon", "Gradlon the Great"]

[[questions]]
question = "Of which metal were the things that opened the entrance made?"
answers = ["bronze"]

[[questions]]
question = "Which relative of the ruler could unlock it?"
answers = ["His daughter", "his daughter"]

[[questions]]
question = "Until when did feasts last?"
answers = ["the morning"]

[[questions]]
question = "What protected the streets against flooding?"
answers = ["dike"]
"""
    + "".join(
        f'\n[[claims]]\nclaim = "Claim {number} on the keys of Ys."\nlabel = "{label}"\n'
        + ("" if label == "NOT ENOUGH INFO" else 'evidence = "His daughter held the bronze keys of the gate."\n')
        for number, label in enumerate(["SUPPORTS", "REFUTES", "NOT ENOUGH INFO"] * 2)
    )
    + """
[full_answer]
question = "Who could open the gate?"
answer = "The gate could be opened by the daughter of the king."

[clue]
category = "LOST CITIES"
clue = "This monarch lived under the level of the tide."
answer = "Gradlon"
"""
)


def test_prose_is_read(tmp_path):
    path = prose(tmp_path, "The kings of Ys", "The king of Ys")
    article = read_prose(path)
    assert (article.id, article.title, len(article.questions), len(article.claims)) == ("one", "The king of Ys", 5, 6)
    assert article.claims[2].evidence == ""
    read_prose(prose(tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('title = "The kings of Ys"', 'title = "The kings"x', "is not valid TOML"),
        ("about = []", "", "about is missing or unknown"),
        ("about = []", "about = [1]", "is missing, unknown, empty or of the wrong type"),
        ("about = []", 'about = "Nile"', "the list 'Nile' is missing, unknown, empty or of the wrong type"),
        ('["bronze"]', '"bronze"', "the list 'bronze' is missing, unknown, empty or of the wrong type"),
        ('["bronze"]', "[]", "the list [] is missing, unknown, empty or of the wrong type"),
        ('"Claim 0 on the keys of Ys."\n', '"Claim 0."\nlable = "x"\n', "the key 'lable' is missing, unknown, empty"),
        (
            '"Claim 0 on the keys of Ys."\nlabel = "SUPPORTS"',
            '"Claim 0."\nlabel = ["SUPPORTS"]',
            "the value ['SUPPORTS'] is missing",
        ),
        ('title = "The kings of Ys"', 'title = " "', "is missing, unknown, empty or of the wrong type"),
        ("The old king", "The old king " + "very " * 300, "words; write 150 to 350"),
        ('["bronze"]', '["brass"]', "questions[2] has the answer 'brass', which does not stand in the text"),
        ("Which relative of", "Which daughter of", "questions[3] gives away ['daughter'] of its answer"),
        ("Until when did feasts last?", "Until when people danced until the morning?", "questions[4] gives away ['morning']"),
        ("What protected the", "What below the level of the sea protected the", "questions[5] repeats the text's words"),
        ("flooding?", "flooding.", "questions[5] does not end with a question mark"),
        ('"Claim 0 on the keys of Ys."\nlabel = "SUPPORTS"', '"Claim 0."\nlabel = "REFUTES"', "claims are {"),
        (
            '"Claim 0 on the keys of Ys."',
            '"His daughter held the bronze keys of the gate."',
            "claims[1] is a sentence of the text",
        ),
        ('2 on the keys of Ys."\n', '2."\nevidence = "The old king Gradlon"\n', "claims[3].evidence"),
        ("The gate could be opened by", "By", "is no whole sentence")
        if False
        else ("daughter of the king.", "daughter", "full_answer.answer is no whole sentence"),
        ("This monarch", "Gradlon", "clue names its answer 'Gradlon'"),
        ('answer = "Gradlon"', 'answer = "Dahut"', "clue.answer 'Dahut' does not stand in the text"),
    ],
)
def test_wrong_prose_is_named(tmp_path, old, new, complaint):
    with pytest.raises(MiniragError, match=re.escape(complaint)) as error:
        read_prose(prose(tmp_path, old, new))
    assert "one.toml" in str(error.value)


def test_a_title_stands_once(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(PROSE, encoding="utf-8")
    with pytest.raises(MiniragError, match="has 2 articles with the title 'The kings of Ys'"):
        load_prose(tmp_path)


def test_sentences_end_where_a_capital_follows():
    assert sentences('One. "Two?" asked he. It is 3.5 m, no. 4 of them! Ä.') == [
        "One.",
        '"Two?" asked he.',
        "It is 3.5 m, no.",
        "4 of them!",
        "Ä.",
    ]


@given(st.text(st.sampled_from("aB. ?!'\"3"), max_size=60))
def test_sentences_lose_nothing(text):
    found = sentences(text)
    assert " ".join(found) == " ".join(text.split())
    assert all(sentence[:1].isupper() or sentence[:1] in "'\"3" for sentence in found[1:])


# The dossier and the card


def test_a_dossier_holds_all_there_is_on_an_article(wiki):
    nile = dossier(wiki, "nile")
    assert nile.page.id == "rivers/nile"
    assert [passage.text for passage in nile.passages] == nile.page.passages()
    assert ("rivers", "Nile", "mouth", "the Mediterranean Sea") in nile.as_dict()["facts"]
    assert any(task == "nq" for task, _ in nile.examples)
    assert "Nile" in nile.as_text()
    first = wiki.prose[0]
    written = dossier(wiki, first.title)
    assert Counter(task for task, _ in written.examples) == {"nq": 5, "fever": 6, "msmarco": 1, "jeopardy": 1}
    with pytest.raises(MiniragError, match=r"has no article 'Nil'; did you mean .*Nile"):
        dossier(wiki, "Nil")


def test_the_data_card_tells_the_figures_of_today(wiki):
    from minirag.evaluation.card import figures, markdown

    card = (data_dir() / "miniwiki" / "README.md").read_text(encoding="utf-8")
    made = figures(wiki)
    for row in markdown(made).splitlines():
        assert row in card
    recall = made["bm25"]
    for task in ("nq", "triviaqa", "webquestions", "curatedtrec"):
        assert 40 <= recall[f"{task}, test"]["top 1"] <= 90
    assert recall["nq, prose"]["top 1"] < recall["nq, test"]["top 1"]


def test_the_worked_example_of_contributing_works(tmp_path):
    """The CSV, the TOML and the prose printed there are read, rendered and asked of."""
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = re.search(r"```csv\n(.*?)```", text, re.S)[1]
    phrasings = re.search(r"```toml\n(kind = .*?)```", text, re.S)[1]
    wiki = MiniWiki.load(write(tmp_path, facts=table, phrasings=phrasings, name="bridges"))
    assert [domain.name for domain in wiki.domains] == ["bridges"]
    assert len(wiki.pages) >= len(list(csv.reader(table.splitlines()))) - 1
    assert sum(len(made) for made in wiki.examples.values()) > 10


def test_what_ships_is_read_once_and_a_folder_each_time(tmp_path):
    assert MiniWiki.load() is MiniWiki.load()
    folder = write(tmp_path)
    before = MiniWiki.load(folder).pages
    write(tmp_path, facts=FACTS.replace("Lemuria", "Mu"))
    assert MiniWiki.load(folder).pages != before


# Nobody else's sentences


def runs_of(text: str, length: int = 12) -> Iterator[str]:
    """All runs of so many words, without those that are hardly more than names ("the Democratic Republic of the Congo …")."""
    words = re.findall(r"\w+", text)
    for start in range(len(words) - length + 1):
        run = words[start : start + length]
        if sum(word.islower() and word not in ("the", "of", "and") for word in run) >= 4:
            yield " ".join(run).lower()


def real_lines(shared: Path) -> Iterator[str]:
    """Every line of the real texts beside the checkout."""
    for path in sorted(shared.rglob("*.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from file
    for path in shared.rglob("*.bz2"):
        with bz2.open(path, "rt", encoding="utf-8") as file:
            yield from file
    for path in shared.rglob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield from archive.read(name).decode("utf-8", "ignore").splitlines()


def test_no_sentence_of_wikipedia_or_of_a_data_set(wiki, shared):
    """No run of twelve words of our text, questions or claims stands in Wikipedia's, SQuAD's, FEVER's, SciFact's … texts."""
    ours = {run: page.id for page in wiki.pages for sentence in page.sentences for run in runs_of(sentence.text)}
    for made in wiki.examples.values():
        ours |= {run: example.text for example in made for text in (example.text, example.sentence) for run in runs_of(text)}
    theirs = (re.findall(r"\w+", line.lower()) for line in real_lines(shared))
    found = {run for words in theirs for i in range(len(words) - 11) if (run := " ".join(words[i : i + 12])) in ours}
    assert sorted((run, ours[run]) for run in found) == []


def test_a_borrowed_sentence_would_be_found():
    sentence = "The quick brown fox jumps over the lazy dog because it has nothing better to do."
    assert set(runs_of(sentence)) & set(runs_of(f"He wrote: {sentence}"))
    assert list(runs_of("the Democratic Republic of the Congo, the Republic of the Congo and Angola and Gabon")) == []
