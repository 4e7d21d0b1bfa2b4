"""MiniWiki's examples as files, each in the layout in which the published data set comes, so that one reader serves both.

    nq/{split}.jsonl            NQ-open: question, answer          webquestions/{split}.jsonl   the same with id
    triviaqa/{split}.json       TriviaQA: Data, Answer.Aliases     curatedtrec/{split}.tsv      id, factoid, question, regex
    msmarco/{split}.json        MS MARCO 2.1, by columns           jeopardy/{split}.json        J! Archive; .txt: SearchQA
    fever/{split}.jsonl         FEVER, fever/wiki-pages.jsonl      kilt/{task}-{split}.jsonl    KILT, kilt/knowledge.jsonl
    graph/triples.jsonl         the facts as a knowledge graph     snapshots/{year}/            articles and questions
    marks.jsonl                 for every example its facts and whether its entity and its phrasing are new

The split "prose" is a test set, too: natural language, about the prose articles.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from minirag.corpus.miniwiki.clues import category
from minirag.corpus.miniwiki.english import number_of
from minirag.corpus.miniwiki.examples import Example
from minirag.corpus.miniwiki.facts import contains
from minirag.corpus.miniwiki.graph import Place, fact_id
from minirag.corpus.miniwiki.pages import Page
from minirag.corpus.miniwiki.questions import answer_pattern
from minirag.corpus.miniwiki.snapshots import YEARS, Office, snapshot
from minirag.corpus.miniwiki.wiki import MiniWiki
from minirag.files import atomic_path, write_json
from minirag.paths import data_dir

PASSAGES = 10  # given with a query of MS MARCO
_KILT = ("nq", "triviaqa", "fever")
# MS MARCO's types of query, by the kind of the answer.
_QUERY_TYPES = {
    "NUMERIC": "year number date ordinal",
    "PERSON": "person",
    "LOCATION": "city country place state continent river",
}


def publish(folder: Path | str, wiki: MiniWiki | None = None) -> list[Path]:
    """Write all files of `wiki` (by default the shipped one) under `folder`, each whole or not at all; their paths."""
    written = []
    for name, content in files(MiniWiki.load() if wiki is None else wiki):
        with atomic_path(Path(folder) / name) as temporary:
            temporary.write_bytes(content)
        written.append(Path(folder) / name)
    return written


def checksums(wiki: MiniWiki) -> dict[str, str]:
    """SHA-256 of all passages and of every file that `publish` writes."""
    passages = "".join(f"{passage.id}\t{passage.text}\t{passage.title}\n" for passage in wiki.passages)
    contents = [("passages", passages.encode()), *files(wiki)]
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents}


def renew_checksums() -> None:
    """Write the checksums of what is rendered now to `data/miniwiki/checksums.json`: after a change that was meant."""
    write_json(data_dir() / "miniwiki" / "checksums.json", checksums(MiniWiki.load()))


def files(wiki: MiniWiki) -> Iterator[tuple[str, bytes]]:
    """Every file by its name under the folder, with its content."""
    writers: dict[str, tuple[str, Callable[[MiniWiki, str, Sequence[Example]], str]]] = {
        "nq": ("jsonl", _open_questions),
        "webquestions": ("jsonl", _open_questions),
        "curatedtrec": ("tsv", _trec),
        "triviaqa": ("json", _trivia),
        "msmarco": ("json", _marco),
        "jeopardy": ("json", _jeopardy),
        "fever": ("jsonl", _fever),
    }
    for task, (ending, write) in writers.items():
        for split, examples in wiki.by_split(task).items():
            yield f"{task}/{split}.{ending}", write(wiki, split, examples).encode()
            if task == "jeopardy":
                yield f"{task}/{split}.txt", _search_qa(wiki, examples).encode()
            if task in _KILT:
                yield f"kilt/{task}-{split}.jsonl", _lines(_kilt(wiki, example) for example in examples).encode()
    yield "fever/wiki-pages.jsonl", _lines(map(_fever_page, wiki.pages)).encode()
    yield "kilt/knowledge.jsonl", _lines(map(_kilt_page, wiki.pages)).encode()
    yield "graph/triples.jsonl", _lines(vars(triple) for triple in wiki.triples).encode()
    for year in YEARS if wiki.offices else ():
        yield f"snapshots/{year}/articles.jsonl", _lines(map(_plain, snapshot(wiki.offices, year, wiki.links))).encode()
        yield f"snapshots/{year}/questions.jsonl", _lines(_who(office, year) for office in wiki.offices).encode()
    marks = (_mark(task, example) for task in wiki.examples for group in wiki.by_split(task).values() for example in group)
    yield "marks.jsonl", _lines(marks).encode()


def _lines(rows: Iterable[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _mark(task: str, example: Example) -> dict[str, Any]:
    return {
        "task": task,
        "split": example.split,
        "id": example.id,
        "domain": example.domain,
        "entity": example.entity,
        "relations": example.relations,
        "inverse": example.inverse,
        "new_entity": example.new_entity,
        "new_phrasing": example.new_phrasing,
        "facts": [fact_id(fact) for fact in example.told],
    }


def _open_questions(wiki: MiniWiki, split: str, examples: Sequence[Example]) -> str:
    return _lines({"id": each.id, "question": each.text, "answer": each.answers} for each in examples)


def _trec(wiki: MiniWiki, split: str, examples: Sequence[Example]) -> str:
    return "".join(f"{each.id}\tfactoid\t{each.text}\t{answer_pattern(each.answers)}\n" for each in examples)


def _trivia(wiki: MiniWiki, split: str, examples: Sequence[Example]) -> str:
    data = []
    for each in examples:
        plain = [answer.lower() for answer in each.answers]
        answer = {
            "Aliases": each.answers,
            "MatchedWikiEntityName": each.entity,
            "NormalizedAliases": plain,
            "NormalizedMatchedWikiEntityName": each.entity.lower(),
            "NormalizedValue": plain[0],
            "Type": "WikipediaEntity",
            "Value": each.answers[0],
        }
        pages = [{"DocSource": "MiniWiki", "Filename": f"{p.id}.txt", "Title": p.title} for p in _pages(wiki, each)]
        question = {"Answer": answer, "EntityPages": pages, "Question": each.text, "QuestionId": each.id}
        data.append({**question, "QuestionSource": "MiniWiki", "SearchResults": []})
    whole = {"Data": data, "Domain": "unfiltered", "Split": split, "VerifiedEval": False, "Version": 1.0}
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def _marco(wiki: MiniWiki, split: str, examples: Sequence[Example]) -> str:
    columns: dict[str, dict[str, Any]] = {
        name: {} for name in ("answers", "passages", "query", "query_id", "query_type", "wellFormedAnswers")
    }
    for row, each in enumerate(examples):
        kind = each.told[0].relation.value.split() if each.told else []
        types = [name for name, kinds in _QUERY_TYPES.items() if set(kind) & set(kinds.split())]
        cells = (
            each.answers[:1],
            _ten_passages(wiki, each),
            each.text.rstrip("?").lower(),
            int(each.id, 16) % 10**9,
            types[0] if types else "DESCRIPTION" if each.split == "prose" else "ENTITY",
            [each.sentence],
        )
        for column, cell in zip(columns.values(), cells, strict=True):
            column[str(row)] = cell
    return json.dumps(columns, ensure_ascii=False) + "\n"


def _ten_passages(wiki: MiniWiki, example: Example) -> list[dict[str, Any]]:
    """The passages that tell the fact, for every other example a second place that does, and others from the same page, its
    neighbours and anywhere; in an order by lot."""
    places = wiki.all_places_of(example)
    telling = dict.fromkeys(id for place in places for id in place.passages)
    first = next((place for place in places if _names_the_answer(wiki, place, example)), places[0])
    chosen = list(first.passages)
    chosen += [id for id in telling if id not in chosen and number_of("second", example.id) % 2][:1]
    rows = len(wiki.passages)
    near = int(chosen[0]) - 1
    others = [*range(near - 2, near + 3)]
    others += [number_of("passage", example.id, str(i)) % rows for i in range(3 * PASSAGES)]
    others[5:5] = [near + step for step in (-9, -6, -4, 4, 6, 9)]
    for row in others:
        id = str(row % rows + 1)
        if len(chosen) < PASSAGES and id not in chosen and id not in telling:
            chosen.append(id)
    chosen.sort(key=lambda id: number_of("order", example.id, id))
    return [
        {
            "is_selected": int(id in telling),
            "passage_text": wiki.passages[int(id) - 1].text,
            "url": f"miniwiki:{wiki.page_of_passage[id]}#{id}",
        }
        for id in chosen
    ]


def _names_the_answer(wiki: MiniWiki, place: Place, example: Example) -> bool:
    texts = [wiki.passages[int(id) - 1].text for id in place.passages]
    return any(contains(text, answer) for text in texts for answer in example.answers)


def _jeopardy(wiki: MiniWiki, split: str, examples: Sequence[Example]) -> str:
    """J! Archive's keys; what a clue of MiniWiki has not (when and for how much it was asked) is null."""
    clues = [
        {
            "category": each.category or category(each, wiki.domains),
            "air_date": None,
            "question": f"'{each.text}'",
            "value": None,
            "answer": each.answers[0],
            "round": "MiniWiki",
            "show_number": each.id,
        }
        for each in examples
    ]
    return json.dumps(clues, ensure_ascii=False, indent=1) + "\n"


def _search_qa(wiki: MiniWiki, examples: Sequence[Example]) -> str:
    """SearchQA's lines: snippets, clue and answer."""
    lines = []
    for each in examples:
        ids = dict.fromkeys(id for place in wiki.places_of(each) for id in place.passages)
        snippets = " ".join(f"<s> {wiki.passages[int(id) - 1].text} </s>" for id in ids)
        lines.append(f"{snippets} ||| {each.text} ||| {each.answers[0]}\n")
    return "".join(lines)


def _fever(wiki: MiniWiki, split: str, examples: Sequence[Example]) -> str:
    rows = []
    for each in examples:
        number = int(each.id)
        places = wiki.evidence_of(each)
        evidence: list[list[list[Any]]] = [[[number, i, _fever_title(p.page.title), p.sentence]] for i, p in enumerate(places)]
        rows.append(
            {
                "id": number,
                "verifiable": "VERIFIABLE" if places else "NOT VERIFIABLE",
                "label": each.answers[0],
                "claim": each.text,
                "evidence": evidence or [[[number, None, None, None]]],
            }
        )
    return _lines(rows)


def _fever_page(page: Page) -> dict[str, Any]:
    lines = "\n".join(f"{number}\t{sentence.text}" for number, sentence in enumerate(page.sentences))
    return {"id": _fever_title(page.title), "text": page.article.text.replace("\n\n", " "), "lines": lines}


def _fever_title(title: str) -> str:
    """A title as FEVER spells it.

    >>> _fever_title("Mercury (planet)")
    'Mercury_-LRB-planet-RRB-'
    """
    for sign, name in ((" ", "_"), ("(", "-LRB-"), (")", "-RRB-"), (":", "-COLON-")):
        title = title.replace(sign, name)
    return title


def _kilt(wiki: MiniWiki, example: Example) -> dict[str, Any]:
    """Each place is evidence enough, so each is a provenance of its own; other spellings of the answer have none: an empty one
    would be evidence that is never found."""
    first, *rest = example.answers
    places = [{"answer": first, "meta": {}, "provenance": [_kilt_place(place)]} for place in wiki.evidence_of(example)]
    output = [*(places or [{"answer": first, "meta": {}}]), *({"answer": answer, "meta": {}} for answer in rest)]
    return {"id": example.id, "input": example.text, "output": output, "meta": {}}


def _kilt_place(place: Place) -> dict[str, Any]:
    paragraph, start, end = place.page.span(place.sentence)
    return {
        "wikipedia_id": place.page.id,
        "title": place.page.title,
        "section": "",
        "start_paragraph_id": paragraph,
        "start_character": start,
        "end_paragraph_id": paragraph,
        "end_character": end,
        "bleu_score": 1.0,
        "meta": {},
    }


def _kilt_page(page: Page) -> dict[str, Any]:
    """KILT's knowledge source: the first paragraph is the title."""
    paragraphs = [" ".join(sentence.text for sentence in paragraph) + "\n" for paragraph in page.paragraphs]
    text = [f"{page.title}\n", *paragraphs]
    names = {"wikipedia_id": page.id, "wikipedia_title": page.title}
    return {"_id": page.id, **names, "text": text, "anchors": [], "categories": page.id.split("/")[0]}


def _plain(page: Page) -> dict[str, str]:
    return {"id": page.id, "title": page.title, "text": page.article.text}


def _who(office: Office, year: int) -> dict[str, Any]:
    holder = office.holders[year]
    question = office.question()
    return {"id": f"{number_of(question):016x}", "question": question, "answer": [holder.name, *holder.aliases]}


def _pages(wiki: MiniWiki, example: Example) -> list[Page]:
    return list({place.page.id: place.page for place in wiki.places_of(example)}.values())
