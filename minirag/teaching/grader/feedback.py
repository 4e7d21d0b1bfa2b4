"""What a student is told: a page of HTML with the points of each exercise, the check's words, and the cells that failed."""

from __future__ import annotations

from collections.abc import Sequence

from minirag.corpus.words import escape
from minirag.teaching.checks.design import Task
from minirag.teaching.checks.exercise import Outcome
from minirag.teaching.grader.grade import Grade
from minirag.teaching.grader.tables import number, told
from minirag.teaching.grader.values import text_of

_CSS = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h2 { font-size: 1.1rem; margin: 2rem 0 0.25rem }
pre { background: #f4f4f4; padding: 0.75rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere }
.right { border-left: 4px solid #1a7f37 } .wrong { border-left: 4px solid #b35900 }
"""


def feedback_of(grade: Grade, exercises: Sequence[Task]) -> str:
    """The page, complete in itself; everything that comes from a submission is escaped."""
    title = f"{text_of(grade.student)}: {number(grade.points)} of {grade.of} points"
    titles = {each.number: each.title for each in exercises}
    notes = "\n".join(f"{where}: {text}" for where, text in grade.notes)
    parts = [
        f"<p>{_safe(grade.remark)}</p>" if grade.remark else "",
        *(_exercise(each, titles.get(each.number, "")) for each in grade.outcomes),
        f"<h2>Cells that failed</h2>\n<pre>{_safe(notes)}</pre>" if notes else "",
        f"<h2>What the cells printed</h2>\n<pre>{_safe(grade.printed[:2000])}</pre>" if grade.printed.strip() else "",
    ]
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_safe(title)}</title><style>{_CSS}</style></head>
<body>
<h1>{_safe(title)}</h1>
{chr(10).join(filter(None, parts))}
</body>
</html>
"""


def _exercise(outcome: Outcome, title: str) -> str:
    points = f"{number(outcome.points)} of {outcome.of}"
    kind = "right" if outcome.passed else "wrong"
    head = f"<h2>{_safe(f'{outcome.number} {title}')} · {points} points</h2>"
    return f'{head}\n<pre class="{kind}">{_safe(told(outcome))}</pre>'


def _safe(text: str) -> str:
    return escape(text_of(text, 20_000))
