"""SQuAD 1.1 (Rajpurkar et al. 2016): questions in people's own words, each about a paragraph of Wikipedia that answers it.

| layout | looks like |
|---|---|
| as published, one file | JSON `{"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers"}]}]}]}` |
| a folder | `paragraphs.jsonl` of `{"id", "title", "text"}` |
| | `questions.jsonl` of `{"id", "question", "answers", "passage_id"}` |

The files of a folder may be gzipped. Paragraphs are passages as they stand, longer or shorter than a hundred words.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minirag.corpus.passages import Passage
from minirag.corpus.readers import id_of
from minirag.corpus.rows import BadRows, RowError, json_rows, made_of, text_lines, text_of
from minirag.errors import MiniragError
from minirag.tasks.openqa import Question


@dataclass(frozen=True)
class Asked:
    """A question, and the row of the passage it was asked about."""

    question: Question
    row: int


@dataclass(frozen=True)
class Squad:
    """Passages, and the questions asked about them."""

    passages: tuple[Passage, ...]
    asked: tuple[Asked, ...]

    @property
    def titles(self) -> list[str]:
        """Of the articles that questions were asked about, in order."""
        return list(dict.fromkeys(self.passages[one.row].title for one in self.asked))

    def held_out(self, articles: int, seed: int = 0) -> tuple[list[Asked], list[Asked]]:
        """The questions about so many articles, drawn by lot, and before them all others: what is learnt from, and what for."""
        titles = self.titles
        if not 0 < articles < len(titles):
            raise MiniragError(f"of {len(titles)} articles with questions {articles} cannot be held out; leave some for both")
        drawn = set(random.Random(f"{seed} held out").sample(titles, articles))
        inside = [self.passages[one.row].title in drawn for one in self.asked]
        return (
            [one for one, out in zip(self.asked, inside, strict=True) if not out],
            [one for one, out in zip(self.asked, inside, strict=True) if out],
        )


def read_squad(path: str | Path) -> Squad:
    """Read SQuAD in either layout. Raises `MiniragError` with file and row, or paragraph, for anything else."""
    path = Path(path)
    found = _folder(path) if path.is_dir() else _published(path)
    if not found.asked:
        raise MiniragError(f"{path} holds no question; check that it is SQuAD's file, version 1.1")
    return found


def _folder(folder: Path) -> Squad:
    paragraphs, questions = (_either(folder, name) for name in ("paragraphs.jsonl", "questions.jsonl"))

    def passage(row: dict[str, object], number: int) -> Passage:
        return Passage(id_of(row, number), text_of(row, "title"), text_of(row, "text"))

    passages = tuple(made_of(paragraphs, json_rows(paragraphs, BadRows()), passage, BadRows()))
    rows = {each.id: row for row, each in enumerate(passages)}

    def asked(row: dict[str, object], number: int) -> Asked:
        about = str(row.get("passage_id"))
        if about not in rows:
            raise RowError(f"no paragraph has the id {about!r}, which 'passage_id' names")
        return Asked(_question(row, row.get("answers"), id_of(row, number)), rows[about])

    return Squad(passages, tuple(made_of(questions, json_rows(questions, BadRows()), asked, BadRows())))


def _either(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).exists() else folder / f"{name}.gz"


def _published(path: Path) -> Squad:
    try:
        whole = json.loads("".join(text_lines(path)))
        articles = [(article, about) for article in whole["data"] for about in article["paragraphs"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise MiniragError(f"{path} is not laid out as SQuAD's file; check that it is the right one") from None
    passages, asked = list[Passage](), list[Asked]()
    for number, (article, about) in enumerate(articles, 1):
        try:
            passages.append(Passage(str(number), text_of(article, "title").replace("_", " "), text_of(about, "context")))
            asked += [Asked(question, number - 1) for question in _questions(about)]
        except (RowError, TypeError, AttributeError) as why:
            raise MiniragError(f"{path}, paragraph {number}: {why}; mend it, or download the file again") from None
    return Squad(tuple(passages), tuple(asked))


def _questions(about: dict[str, Any]) -> Iterator[Question]:
    for number, one in enumerate(about.get("qas", []), 1):
        answers = one.get("answers")
        texts = [text_of(answer, "text") for answer in answers] if isinstance(answers, list) else answers
        if texts or not one.get("is_impossible"):  # version 2 asks what cannot be answered, too
            yield _question(one, texts, id_of(one, number))


def _question(row: dict[str, object], answers: object, id: str) -> Question:
    if not (isinstance(answers, list) and answers and all(isinstance(one, str) and one.strip() for one in answers)):
        raise RowError("'answers' should be a list of texts, and not empty")
    return Question(id, text_of(row, "question").strip(), tuple(dict.fromkeys(answers)))
