"""The report of runs on the paper's tasks, a page and Markdown: what was measured and, where the data are the same, published.

Measured and published never share a column. Published numbers are shown for a run on the published test set only (`data` is
"published"); other data, MiniWiki's among them, have tables of their own, titled so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minirag.errors import MiniragError
from minirag.evaluation.analysis import differing, overlap, unsupported
from minirag.evaluation.evaluate import difference, scored, significance
from minirag.evaluation.passages_read import heat_table, recall_table, score_table, speaking_table
from minirag.evaluation.predictions import Prediction, read_run
from minirag.evaluation.run import Result
from minirag.evaluation.tables import Table, percent
from minirag.files import atomic_path
from minirag.tasks.generation import distinct_ngrams
from minirag.tasks.openqa import Question
from minirag.tasks.paper import Published, published
from minirag.tasks.task import Task, task_called

PUBLISHED = "published"  # what `data` is called where it is the published test set, whole
SHOWN = 5  # examples of a kind
CLOSED_BOOK = "closed book"
LONG = ("msmarco", "jeopardy")  # whose outputs are long enough to repeat themselves: table 5


@dataclass(frozen=True)
class Measured:
    """A run as it lies on disk."""

    task: Task
    system: str
    data: str
    decoding: Mapping[str, Any]
    predictions: list[Prediction]

    @classmethod
    def read(cls, folder: str | Path) -> Measured:
        facts, predictions = read_run(folder)
        return cls(task_called(facts["task"]), facts["system"], facts["data"], facts["decoding"], predictions)

    @property
    def questions(self) -> list[Question]:
        return [one.example for one in self.predictions]


def write_task_report(
    folder: str | Path,
    runs: Sequence[Measured],
    trained: Mapping[str, Sequence[Question]] | None = None,
    command: str = "",
    more: Sequence[Table] = (),
) -> Path:
    """Write `report.html` and `report.md` into a folder; `trained`: the training examples of tasks, to tell overlap by; `more`:
    tables of other results, behind those of the runs, which may then be none."""
    from minirag.evaluation.task_page import html, markdown  # pictures need `findings`, which needs this module

    folder = Path(folder)
    tables = [*(tables_of(runs, trained or {}) if runs or not more else ()), *more]
    for name, text in (("report.html", html(tables, command)), ("report.md", markdown(tables, command))):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return folder / "report.html"


def tables_of(runs: Sequence[Measured], trained: Mapping[str, Sequence[Question]]) -> list[Table]:
    """Everything that is told: for each task and data its scores, published ones, differences, and what lies behind."""
    if not runs:
        raise MiniragError("there is no run to report on; name folders that `minirag evaluate` has written")
    groups = _groups(runs)
    named, tables = {key: _apart(group) for key, group in groups.items()}, []
    for key, group in named.items():
        results = [scored(run.task, run.questions, run.predictions, run.system) for run in group]
        known = trained.get(group[0].task.name, ())
        tables += [_scores(group, results), *_published(group), *_differences(group), *_behind(group, known)]
        tables += [*_passages(groups[key], results), *_examples(group), *_generations(group)]
    return [*tables, *_diversity(named), _settings(runs)]


def _groups(runs: Sequence[Measured]) -> dict[tuple[str, str], list[Measured]]:
    """The runs of each task and data, systems in the order in which they come, each by its number of passages."""
    order = list(dict.fromkeys(run.system for run in runs))
    groups: dict[tuple[str, str], list[Measured]] = {}
    for run in sorted(runs, key=lambda run: (order.index(run.system), run.decoding["k"])):
        groups.setdefault((run.task.name, run.data), []).append(run)
    return {key: groups[key] for key in dict.fromkeys((run.task.name, run.data) for run in runs)}


def _apart(group: Sequence[Measured]) -> list[Measured]:
    """The runs under names of their own: those of one system that differ in K alone bear their K."""
    named = []
    for run in group:
        twins = [other for other in group if other.system == run.system]
        alike = all(_same_examples(run, other) and _but_k(run) == _but_k(other) for other in twins)
        if len({other.decoding["k"] for other in twins}) < len(twins) or not alike:
            raise MiniragError(
                f"two runs are called {run.system} on {_name([run])}, and differ in nothing or in more than -k; give them "
                "names of their own by --system"
            )
        named.append(replace(run, system=f"{run.system}, K = {run.decoding['k']}") if len(twins) > 1 else run)
    return named


def _but_k(run: Measured) -> dict[str, Any]:
    return {name: value for name, value in run.decoding.items() if name != "k"}


def _passages(group: Sequence[Measured], results: Sequence[Sequence[Result]]) -> list[Table]:
    """Recall and the leading metric against K, how passages are weighed, who speaks: of each system the run with the most."""
    name = _name(group)
    scores: dict[str, dict[int, Result]] = {}
    for run, own in zip(group, results, strict=True):
        scores.setdefault(run.system, {})[int(run.decoding["k"])] = own[0]
    runs = {run.system: run.predictions for run in group}  # the last of a system has the most passages
    heats = [table for system, run in runs.items() for table in heat_table(name, system, run)]
    speaking = [table for system, run in runs.items() for table in speaking_table(name, system, run)]
    return [*recall_table(name, runs), *score_table(name, scores), *heats[:1], *speaking]


def _name(group: Sequence[Measured]) -> str:
    first = group[0]
    return first.task.title if first.data == PUBLISHED else f"{first.data}, in the format of {first.task.title}"


def _scores(group: Sequence[Measured], results: Sequence[Sequence[Result]]) -> Table:
    metrics = list(dict.fromkeys(one.metric for own in results for one in own))
    rows = tuple(
        (run.system, f"{own[0].n:,}", *(_cell(next((one for one in own if one.metric == metric), None)) for metric in metrics))
        for run, own in zip(group, results, strict=True)
    )
    note = "Measured by minirag: percent, with 95 % intervals (bootstrap)."
    return Table(_name(group), note, ("measured", "examples", *metrics), rows)


def _published(group: Sequence[Measured]) -> list[Table]:
    if group[0].data != PUBLISHED:
        return []
    found = [one for one in published(task=group[0].task.name) if one.table in ("1", "2", "6")]
    columns = list(dict.fromkeys((one.metric, one.split) for one in found))
    values = {(one.system, one.metric, one.split): one for one in found}
    rows = tuple(
        (system, *(_printed(values[system, *column]) if (system, *column) in values else "–" for column in columns))
        for system in dict.fromkeys(one.system for one in found)
    )
    (size,) = (one.value for one in published("7", group[0].task.name) if one.split == "test")
    note = "Published by Lewis et al. 2020, tables 1, 2 and 6; not measured by minirag. "
    note += f"The paper counts {size:,.0f} test examples (table 7), these runs have {len(group[0].predictions):,}."
    return [
        Table(f"{_name(group)}: published", note, ("published", *(f"{metric}, {split}" for metric, split in columns)), rows)
    ]


def _printed(one: Published) -> str:
    return f"{one.value} ({one.note})" if one.note else str(one.value)


def _differences(group: Sequence[Measured]) -> list[Table]:
    """Every other system against the closed book, or, where there is none, against the first."""
    base = next((run for run in group if run.system == CLOSED_BOOK), group[0])
    others = [run for run in group if run is not base and _same_examples(run, base)]
    if not others:
        return []
    told = [difference(run.task, run.questions, run.predictions, base.predictions, (run.system, base.system)) for run in others]
    chance = [significance(run.task, run.questions, run.predictions, base.predictions) for run in others]
    rows = tuple(
        (own[0].system, *(f"{_cell(one, sign=True)}, p = {p[one.metric]:.4f}" for one in own))
        for own, p in zip(told, chance, strict=True)
    )
    note = "By how many points the first scores higher on the same examples; interval of the paired bootstrap, p of the paired "
    note += "test by approximate randomisation."
    return [Table(f"{_name(group)}: differences", note, ("systems", *(one.metric for one in told[0])), rows)]


def _behind(group: Sequence[Measured], trained: Sequence[Question]) -> list[Table]:
    if not group[0].task.short:
        return []
    rows = []
    for run in group:
        alone = unsupported(run.task, run.predictions)
        cells = [run.system, f"{alone.hits} of {alone.n}"]
        if trained:
            own = overlap(run.task, trained, run.predictions)
            cells += [f"{part.hits} of {part.n}" for part in (own.known, own.new)]
        rows.append(tuple(cells))
    heads = ["system", "right, no passage holds the answer"]
    heads += ["right, answer known from training", "right, answer new"] if trained else []
    note = "Of the examples none of whose passages holds an answer, those that are right all the same."
    note += " And of those whose answer some training example has, and of the others." if trained else ""
    return [Table(f"{_name(group)}: behind the scores", note, tuple(heads), tuple(rows))]


def _examples(group: Sequence[Measured]) -> list[Table]:
    """Where closed book and another system differ, some of each kind."""
    base = next((run for run in group if run.system == CLOSED_BOOK), None)
    other = next((run for run in group if run is not base and base and _same_examples(run, base)), None)
    if base is None or other is None:
        return []
    better, worse = differing(base.task, other.predictions, base.predictions)
    rows = tuple(
        (one.question, one.output, two.output, " or ".join(one.answers[:2]), one.passages[0].title if one.passages else "")
        for row in [*better[:SHOWN], *worse[:SHOWN]]
        for one, two in [(other.predictions[row], base.predictions[row])]
    )
    note = f"{other.system} alone is right on {len(better)}, {base.system} alone on {len(worse)}; the first {SHOWN} of each."
    heads = ("input", other.system, base.system, "right", "first passage")
    return [Table(f"{_name(group)}: where they differ", note, heads, rows, prose=True)] if rows else []


def _generations(group: Sequence[Measured]) -> list[Table]:
    """Table 3: what each system writes for the first examples, beside what people wrote."""
    if group[0].task.name not in LONG or not all(_same_examples(run, group[0]) for run in group):
        return []
    rows = tuple(
        (one.question, one.answers[0], *(run.predictions[row].output for run in group))
        for row, one in enumerate(group[0].predictions[:SHOWN])
    )
    heads = ("input", "people", *(run.system for run in group))
    return [Table(f"{_name(group)}: what is written", f"The first {len(rows)} examples.", heads, rows, prose=True)]


def _diversity(groups: Mapping[tuple[str, str], Sequence[Measured]]) -> list[Table]:
    """Table 5: distinct tri-grams over all of them."""
    rows = []
    for (name, _), group in groups.items():
        if name in LONG:
            gold = [one.answers[0] for one in group[0].predictions]
            texts = {"people": gold} | {run.system: [one.output for one in run.predictions] for run in group}
            rows += [(_name(group), who, _ngrams(said)) for who, said in texts.items()]
    note = "Distinct tri-grams as a share of all, in percent: who repeats himself has few."
    return [Table("Diversity", note, ("task", "written by", "distinct tri-grams"), tuple(rows))] if rows else []


def _ngrams(texts: Sequence[str]) -> str:
    try:
        return f"{100 * distinct_ngrams(texts):.1f}"
    except MiniragError:  # nothing of three tokens was said
        return "–"


def _settings(runs: Sequence[Measured]) -> Table:
    rows = tuple(
        (
            _name([run]),
            run.system,
            *(str(run.decoding[name]) for name in ("decoder", "k", "beams")),
            f"{len(run.predictions):,}",
        )
        for run in runs
    )
    return Table(
        "Settings", "How each answer was looked for.", ("task", "system", "decoder", "passages", "beams", "examples"), rows
    )


def _same_examples(one: Measured, other: Measured) -> bool:
    return [each.id for each in one.predictions] == [each.id for each in other.predictions]


def _cell(result: Result | None, sign: bool = False) -> str:
    return percent(result.value, result.low, result.high, sign) if result else "–"
