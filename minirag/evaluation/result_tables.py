"""Results that lie in files of their own, as tables of the report: MiniWiki's ablations, and retrieval on real questions.

What is published has a table of its own here, too: other data, other numbers of passages, no common column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from minirag.errors import MiniragError
from minirag.evaluation.endtoend_page import SETS
from minirag.evaluation.run import Result
from minirag.evaluation.tables import Curves, Table, percent, table_of_curves
from minirag.files import read_json
from minirag.tasks.paper import published
from minirag.tasks.task import TASKS

Seeds = dict[int, Result]  # a result of each seed
EXACT_MATCH, RECALL = "exact_match", "recall"
READ = re.compile(rf"({EXACT_MATCH}|{RECALL}), (\d+) read, (\d+) in training")
AT = re.compile(r"recall@(\d+)")
OF_EXACT = re.compile(r"of the top \d+ of exact search")
TITLE = "MiniWiki, ablations as in the paper's table 6"


def study_tables(path: str | Path) -> list[Table]:
    """The ablations that `evaluation.study` has written: exact match of all variants, differences, and what more passages are
    worth; the means of the seeds. Behind them the paper's ablations, as published.

    Raises `MiniragError` for a file that is no study, or in which a system lacks a seed that another has.
    """
    pairs, rows = _read(path, "pairs", "study")
    by: dict[tuple[str, str, str], Seeds] = {}
    for result, row in rows:
        own = by.setdefault((result.task, result.system, result.metric), {})
        if not isinstance(seed := row.get("seed"), int) or seed in own:
            raise MiniragError(f"{path} tells {_of(result)} without a seed, or twice for one; {_again('study')}")
        own[seed] = result
    seeds = {seed for own in by.values() for seed in own}
    if not any(task in SETS and metric == EXACT_MATCH for task, _, metric in by):
        raise MiniragError(f"{path} tells no exact match of any system; {_again('study')}")
    for own in by.values():
        if own.keys() != seeds:
            lacks = min(seeds - own.keys())
            raise MiniragError(f"{path} lacks {_of(next(iter(own.values())))} for seed {lacks}; {_again('study')}")
    note = f"Measured by minirag on MiniWiki, over {len(seeds)} seeds: the mean, in percent, and in brackets the lowest and "
    note += f"the highest. Trainings drew from {pairs:,} question–answer pairs."
    return [*_ablations(by, note), *_more_passages(by, note), published_ablations()]


def _ablations(by: Mapping[tuple[str, str, str], Seeds], note: str) -> list[Table]:
    """Exact match and answer recall of each variant, and by how much one answers more than another."""
    names = list(dict.fromkeys(system for task, system, metric in by if task in SETS and metric == EXACT_MATCH))
    columns = [(metric, task) for metric in (EXACT_MATCH, RECALL) for task in SETS]
    heads = [f"{'exact match' if metric == EXACT_MATCH else 'answer recall'}, {SETS[task]}" for metric, task in columns]
    alone = [name for name in names if " − " not in name]
    own = tuple((name, *(_mean(by.get((task, name, metric))) for metric, task in columns)) for name in alone)
    apart = tuple(
        (name, *(_mean(by.get((task, name, EXACT_MATCH)), sign=True) for task in SETS)) for name in names if name not in alone
    )
    asked = ", ".join(f"{what} ({_n(by, task):,})" for task, what in SETS.items() if _n(by, task))
    tables = [Table(TITLE, f"{note} Sets of questions: {asked}.", ("measured", *heads), own)]
    if apart:
        less = f"{note} By how many points of exact match the first is better, on the same questions."
        tables.append(Table(f"{TITLE}: differences", less, ("systems", *SETS.values()), apart))
    return tables


def _n(by: Mapping[tuple[str, str, str], Seeds], task: str) -> int:
    return next((result.n for (own, _, _), seeds in by.items() if own == task for result in seeds.values()), 0)


def _mean(seeds: Seeds | None, sign: bool = False) -> str:
    return percent(*_spread(seeds), sign=sign) if seeds else "–"


def _spread(seeds: Seeds) -> tuple[float, float, float]:
    """Mean, lowest and highest."""
    values = [one.value for one in seeds.values()]
    return math.fsum(values) / len(values), min(values), max(values)


def _more_passages(by: Mapping[tuple[str, str, str], Seeds], note: str) -> list[Table]:
    """The paper's figure 3 for MiniWiki: exact match and answer recall against the number of passages read."""
    found: dict[str, dict[str, dict[int, tuple[float, float, float]]]] = {EXACT_MATCH: {}, RECALL: {}}
    for (_, system, metric), seeds in by.items():
        if match := READ.fullmatch(metric):
            name = f"{system}, {match[3]} in training"
            found[match[1]].setdefault(name, {})[int(match[2])] = _spread(seeds)
    tables = []
    for metric, what in ((EXACT_MATCH, "exact match"), (RECALL, "answer recall")):
        lines = {name: [(k, *own) for k, own in sorted(at.items())] for name, at in found[metric].items()}
        if lines:
            ks = sorted({k for at in found[metric].values() for k in at})
            whole = Curves(f"MiniWiki, {what} against passages read", what, lines)
            title, told = f"MiniWiki, {what} against K", f"{note} K passages are read for each question on facts never asked."
            table = table_of_curves(title, told, "measured", whole, ks)
            drawn = {name: points for name, points in lines.items() if len(points) > 1}  # a single point is no line
            tables.append(replace(table, picture=replace(whole, lines=drawn) if drawn else None))
    return tables


def published_ablations() -> Table:
    """Table 6 of the paper: a row for each task and metric, a column for each system."""
    found = published("6")
    systems = list(dict.fromkeys(one.system for one in found))
    values = {(one.task, one.metric, one.system): one for one in found}
    rows = tuple(
        (f"{TASKS[task].title}, {metric}", *(str(values[task, metric, system].value) for system in systems))
        for task, metric in dict.fromkeys((one.task, one.metric) for one in found)
    )
    slips = dict.fromkeys(f"{TASKS[one.task].title}: {one.note}." for one in found if one.note)
    note = "Published by Lewis et al. 2020, table 6, on the dev sets of the paper's tasks; not measured by minirag, and on "
    note += f"other data than minirag's own. {' '.join(slips)}"
    return Table("The paper's table 6: published", note.strip(), ("published", *systems), rows)


def retrieval_tables(path: str | Path) -> list[Table]:
    """Answer recall on real questions over real passages, as `evaluation.retrieval` has measured it: a table for each file of
    questions. Raises `MiniragError` for a file that holds something else."""
    passages, rows = _read(path, "passages", "retrieval")
    by: dict[str, dict[str, dict[int, Result]]] = {}
    of_exact: dict[str, str] = {}
    for result, _ in rows:
        if OF_EXACT.fullmatch(result.metric):
            of_exact[result.task] = f" {result.system} finds {result.value:.1%} {result.metric}."
        elif not (match := AT.fullmatch(result.metric)):
            raise MiniragError(f"{path} tells {_of(result)}, which is no answer recall; {_again('retrieval')}")
        else:
            by.setdefault(result.task, {}).setdefault(result.system, {})[int(match[1])] = result
    tables = []
    for task, systems in by.items():
        lines = {
            system: [(k, one.value, one.low, one.high) for k, one in sorted(own.items())] for system, own in systems.items()
        }
        n = next(one.n for own in systems.values() for one in own.values())
        note = f"Measured by minirag: of {n:,} questions, those with an answer in the first K of {passages:,} passages: "
        note += "percent, with 95 % intervals (Wilson). So few passages are easier to search than the paper's 21 million."
        note += of_exact.get(task, "")
        ks = sorted({k for own in systems.values() for k in own})
        curves = Curves(f"Answer recall, {task}", "questions with an answer found", lines)
        tables.append(table_of_curves(f"Retrieval on real questions: {task}", note, "measured", curves, ks))
    return tables


def _read(path: str | Path, counted: str, module: str) -> tuple[int, list[tuple[Result, dict[str, Any]]]]:
    """How many there were of what a file of results counts, and its rows, each a `Result` with all that stands beside it."""
    told = read_json(path)
    count, rows = (told.get(counted), told.get("results")) if isinstance(told, dict) else (None, None)
    if not isinstance(count, int) or not isinstance(rows, list) or not rows:
        raise MiniragError(f"{path} does not tell {counted} and results; name what minirag.evaluation.{module} has written")
    return count, [(_result(path, number, row), row) for number, row in enumerate(rows, 1)]


def _result(path: str | Path, number: int, row: Any) -> Result:
    try:
        task, system, metric = (str(row[name]) for name in ("task", "system", "metric"))
        value, low, high = (float(row[name]) for name in ("value", "low", "high"))
        n = int(row["n"])
    except (KeyError, TypeError, ValueError):
        raise MiniragError(f"{path}, result {number}, is no result; measure again") from None
    if not all(map(math.isfinite, (value, low, high))):
        raise MiniragError(f"{path}, result {number}, is not finite; measure again")
    return Result(task, system, metric, value, low, high, n)


def _of(result: Result) -> str:
    return f"{result.metric} of {result.system} on {result.task}"


def _again(module: str) -> str:
    return f"measure again by python -m minirag.evaluation.{module}"
