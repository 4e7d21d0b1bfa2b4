"""KILT's files of TriviaQA, which have ids in place of questions, and of FEVER, which have labels in place of answers.

    qa/wikipedia-dev.json             {"Data": [{"QuestionId": "qw_2183", "Question": …}]}      TriviaQA's own files
    triviaqa-dev_id-kilt.jsonl        {"id": "qw_2183", "output": [{"answer", "provenance"}]}   KILT's
    fever-dev-kilt.jsonl              {"id", "input": a claim, "output": [{"answer": "SUPPORTS", "provenance"}]}

KILT takes the questions of TriviaQA's version for reading comprehension, from Wikipedia; those unfiltered have them, too.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from minirag.corpus.readers import id_of
from minirag.corpus.rows import BadRows, RowError, json_rows, made_of, text_lines, text_of
from minirag.errors import MiniragError
from minirag.tasks.fever import LABELS, UNDECIDED
from minirag.tasks.kilt import question_of
from minirag.tasks.openqa import Question

SHOWN = 20  # ids told one by one, of those that have no question


def read_kilt_triviaqa(path: str | Path, texts: Sequence[str | Path], bad: BadRows | None = None) -> list[Question]:
    """KILT's rows with the questions that TriviaQA's own files `texts` have for their ids; a row that has its own keeps it.

    Raises `MiniragError` that counts and names the ids without a question, unless `bad` skips them; and all that `read_kilt`
    raises.
    """
    path, bad = Path(path), BadRows() if bad is None else bad
    asked, lost = texts_by_id(texts), list[str]()

    def question(row: dict[str, object], number: int) -> Question | None:
        if isinstance(own := row.get("input"), str) and own.strip():
            return question_of(row, number)
        if (id := id_of(row, number)) not in asked:
            if bad.skip:
                raise RowError(f"no file of TriviaQA has a question for '{id}'")
            lost.append(id)
            return None
        return question_of(row | {"input": asked[id]}, number)

    found = [one for one in made_of(path, json_rows(path, bad), question, bad) if one is not None]
    if lost:
        names = ", ".join(map(repr, lost[:SHOWN])) + (f" and {len(lost) - SHOWN:,} more" if len(lost) > SHOWN else "")
        where = ", ".join(map(str, texts)) or "no file of TriviaQA"
        raise MiniragError(
            f"{path}: {len(lost):,} ids have no question in {where}: {names}; give TriviaQA's own files for them"
        )
    if not found:
        raise MiniragError(f"{path} holds no question; check that it is the right file")
    return found


def texts_by_id(paths: Sequence[str | Path]) -> Mapping[str, str]:
    """The questions of TriviaQA's own files by their ids; answers, which test sets have not, are not looked at.

    Raises `MiniragError` with file and row for a question without id or text, and for an id of two questions.
    """
    texts: dict[str, str] = {}
    for path in paths:
        try:
            whole = json.loads("".join(text_lines(path)))
        except (ValueError, RecursionError) as error:
            raise MiniragError(f"{path} is not JSON ({error}); fetch it again") from None
        rows = whole.get("Data") if isinstance(whole, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise MiniragError(f"{path} has no list of objects 'Data', as TriviaQA's own files have; check that it is one")

        def put(row: dict[str, object], number: int) -> None:
            id, text = text_of(row, "QuestionId"), text_of(row, "Question")
            if texts.setdefault(id, text) != text:
                raise RowError(f"the id '{id}' is that of another question, too")

        for _ in made_of(path, iter(enumerate(rows, 1)), put, BadRows()):
            pass
    return texts


def read_kilt_fever(path: str | Path, bad: BadRows | None = None) -> list[Question]:
    """KILT's FEVER: claims with one of two labels. Those that nothing decides, which KILT has not but MiniWiki, are left out
    and counted in `bad.passed_over`; a claim with another answer goes to `bad`."""
    path, bad = Path(path), BadRows() if bad is None else bad

    def claim(row: dict[str, object], number: int) -> Question | None:
        one = question_of(row, number)
        if one.answers == LABELS[2:]:
            bad.passed_over[UNDECIDED] += 1
            return None
        if len(one.answers) != 1 or one.answers[0] not in LABELS:
            raise RowError(f"has the labels {list(one.answers)!r:.60}, and not one of {', '.join(LABELS[:2])}")
        return one

    claims = [one for one in made_of(path, json_rows(path, bad), claim, bad) if one is not None]
    if not claims:
        raise MiniragError(f"{path} holds no claim that is supported or refuted; check that it is the right file")
    return claims
