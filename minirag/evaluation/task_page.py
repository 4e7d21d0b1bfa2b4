"""Tables as a page that needs nothing else, with pictures as inline SVG, and as Markdown. Every text is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from minirag.corpus.words import escape
from minirag.evaluation.figures import drawn
from minirag.evaluation.tables import Table

CSS = Path(__file__).with_name("report.css")
INTERVAL = re.compile(r"\([-+.\d]+ to [-+.\d]+\)")


def markdown(tables: Sequence[Table], command: str = "") -> str:
    """The tables as Markdown, without pictures, whose numbers they hold. Bars in cells are escaped, and so is what HTML would
    read as a tag."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(escape(" ".join(cell.split())).replace("|", "\\|") for cell in cells) + " |"

    parts = [
        f"## {table.title}\n\n{table.note}\n\n"
        + "\n".join(line(cells) for cells in (table.heads, ["---"] * len(table.heads), *table.rows))
        for table in tables
    ]
    made = f"\n\nMade by `{command}`." if command else ""
    return "# The paper's tasks\n\n" + "\n\n".join(parts) + made + "\n"


def html(tables: Sequence[Table], command: str = "") -> str:
    """The tables as one page; the same tables give the same bytes."""
    made = f"<p>Made by <code>{escape(command)}</code>.</p>" if command else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>minirag: the paper's tasks</title>
<style>
{CSS.read_text(encoding="utf-8")}</style>
</head>
<body>
<main>
<h1>The paper's tasks</h1>
{sections(tables)}{made}
</main>
</body>
</html>
"""


def sections(tables: Sequence[Table], level: int = 2) -> str:
    """The tables as a part of a page, their titles as headings of a level."""
    return "".join(
        f"<h{level}>{escape(table.title)}</h{level}>\n<p class='note'>{escape(table.note)}</p>\n{_scroll(table)}"
        + (f"<figure>{drawn(table.picture)}</figure>\n" if table.picture else "")
        for table in tables
    )


def _scroll(table: Table) -> str:
    left = " style='text-align:left'" if table.prose else ""
    heads = "".join(f"<th scope='col'{left}>{escape(head)}</th>" for head in table.heads)
    rows = "".join(
        f"<tr><th scope='row'>{escape(row[0])}</th>"
        + "".join(f"<td{left}>{_unbroken(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    return f"""<div class='scroll' tabindex='0' role='region' aria-label='{escape(table.title)}'><table>
<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>
"""


def _unbroken(cell: str) -> str:
    """A cell as HTML, an interval in it on one line.

    >>> _unbroken("50.0 (25.0 to 75.0) <p>").split(" ")
    ['50.0', '(25.0\\xa0to\\xa075.0)', '&lt;p&gt;']
    """
    return INTERVAL.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), escape(cell))
