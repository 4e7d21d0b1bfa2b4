"""One notebook as one page of the site: its formulas, links and pictures readable without a network, on screen and on paper.

Formulas become MathML, which browsers draw by themselves, where nbconvert's own pages fetch a script for them; links between
notebooks become links between pages; and a picture's alternative text is the sentence that stands beneath it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from nbconvert.filters.ansi import ansi2html
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

from minirag.corpus.words import escape
from minirag.errors import MiniragError

COLAB = "colab"  # tag of the cell that installs the package on Colab; the site does not show it
CAPTION = re.compile(r"\*(?!\*)(?:(?:The picture in words|Picture)[^:*]*: )?(?P<words>.+?)(?<!\*)\*(?!\*) *(?:\n|$)", re.DOTALL)
NEEDS = re.compile(r"\*\*Needs\*\* (?P<time>.+?), (?P<memory>[\d.]+ GB) of memory")
CODE, FORMATTER = get_lexer_by_name("ipython3"), HtmlFormatter(style="default")
Leads = Callable[[str], str]
BARE = re.compile(r"\\(math[a-z]+)(?![A-Za-z])\s*([A-Za-z])")  # \mathbf q, which the converter knows as \mathbf{q} alone
MARKS = re.compile(r"[*`]|\[(?P<words>[^\]]*)\]\([^)]*\)")


@dataclass(frozen=True)
class Lesson:
    """What the index tells of a notebook, all of it read from the notebook's first cell.

    `name`: its path below the folder of notebooks. `abilities`: Markdown. `time`, `memory`: as the notebook words them.
    """

    name: str
    title: str
    abilities: tuple[str, ...]
    time: str
    memory: str

    @property
    def page(self) -> str:
        return str(PurePosixPath(self.name).with_suffix(".html"))


def lesson_of(name: str, notebook: Any) -> Lesson:
    """What a notebook says of itself; MiniragError where it has no title.

    >>> from nbformat.v4 import new_markdown_cell, new_notebook
    >>> text = "# 4 · Search\\n**Afterwards you can**\\n* name the\\n  best;\\n* say why\\n**Needs** a minute, 1 GB of memory."
    >>> lesson_of("04_search.ipynb", new_notebook(cells=[new_markdown_cell(text)]))
    Lesson(name='04_search.ipynb', title='4 · Search', abilities=('name the best', 'say why'), time='a minute', memory='1 GB')
    """
    text = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    if not title:
        raise MiniragError(f"{name} has no title; let its first text begin with '# '")
    time, memory = _needs(text)
    return Lesson(name, title[1].strip(), _abilities(text), time, memory)


def _abilities(text: str) -> tuple[str, ...]:
    """The list under "Afterwards you can"."""
    _, _, rest = re.sub(r"^.*?(?=\*\*After)", "", text, count=1, flags=re.DOTALL).partition("\n")
    found: list[str] = []
    for line in rest.splitlines():
        if line.startswith(("* ", "- ")):
            found.append(line[2:])
        elif found and line.startswith("  "):
            found[-1] += " " + line.strip()
        elif line.strip():
            break
    return tuple(each.rstrip(" ;,.") for each in found)


def _needs(text: str) -> tuple[str, str]:
    """Time and memory: of a sentence that begins with "Needs", or of a table with columns of these names."""
    if said := NEEDS.search(text):
        return said["time"], said["memory"]
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    for heads, cells in zip(rows, rows[2:], strict=False):
        if {"time", "memory"} <= set(heads) and len(heads) == len(cells):
            return cells[heads.index("time")], cells[heads.index("memory")]
    return "", ""


def formula(latex: str, display: str) -> str:
    """LaTeX as MathML; `display` is "inline" or "block".

    >>> formula("p(z|x)", "inline")[:12]
    '<math xmlns='
    """
    from latex2mathml.converter import convert

    try:
        return str(convert(BARE.sub(r"\\\1{\2}", latex.strip()), display=display))
    except Exception as error:  # its errors have no common class
        said = f"${latex.strip()}$ cannot be shown ({type(error).__name__}); write the formula otherwise"
        raise MiniragError(said) from error


class _Renderer(IPythonRenderer):
    """nbconvert's Markdown, with formulas as MathML, links led elsewhere, and nothing that has to be fetched."""

    def __init__(self, leads: Leads) -> None:
        super().__init__(escape=False)
        self.leads = leads

    def block_math(self, body: str) -> str:
        return f'<div class="formula" tabindex="0">{formula(body, "block")}</div>'

    def inline_math(self, body: str) -> str:
        return formula(body, "inline")

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return super().link(text, self.leads(url), title)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """A badge from the network is its words."""
        return text if url.startswith("http") else super().image(text, url, title)

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        """With the name that Jupyter gives it, so that links to it lead there."""
        name = re.sub(r"<[^>]*>", "", text).strip().replace(" ", "-")
        return f'<h{level} id="{name}">{text}</h{level}>\n'

    def table(self, text: str) -> str:
        """A wide one moves sideways by itself, and not the page."""
        return f'<div class="scroll" tabindex="0" role="region" aria-label="table"><table>{text}</table></div>\n'


def markdown_html(text: str, leads: Leads = str) -> str:
    """Markdown as HTML. `leads`: where each link is to lead."""
    return MarkdownWithMath(renderer=_Renderer(leads)).render(text)


def body_of(notebook: Any, lesson: Lesson, pages: Collection[str], outside: Path) -> str:
    """A notebook's cells as HTML. `pages`: the notebooks that have a page; `outside`: from the page's folder to the notebook's,
    for links to anything else."""
    parts = []
    for cell, after in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "markdown":
            parts.append(markdown_html(cell.source, lambda link: target(link, lesson, pages, outside)))
        elif cell.cell_type == "code" and COLAB not in tags:
            live = ' class="live"' if "skip-execution" in tags else ""
            outputs = "".join(output_html(output, words_below(after)) for output in in_one(cell.outputs))
            parts.append(f"<section{live}>{highlight(cell.source, CODE, FORMATTER)}{outputs}</section>\n")
    return "".join(parts)


def in_one(outputs: Sequence[Any]) -> list[Any]:
    """Outputs in which what was printed in one go stands in one piece, however it arrived.

    >>> [each["text"] for each in in_one([{"name": "stdout", "text": "a"}, {"name": "stdout", "text": "b"}, {"text": "c"}])]
    ['ab', 'c']
    """
    found: list[Any] = []
    for output in outputs:
        if found and output.get("name") and output.get("name") == found[-1].get("name"):
            found[-1] = {**found[-1], "text": found[-1]["text"] + output["text"]}
        else:
            found.append(output)
    return found


def words_below(cell: Any) -> str:
    """What the text below a picture says that it shows: its alternative text.

    >>> from nbformat.v4 import new_markdown_cell
    >>> words_below(new_markdown_cell("*Picture: two **bars**.*\\n\\nThey differ."))
    'two bars.'
    """
    found = CAPTION.match(cell.source.strip()) if cell is not None and cell.cell_type == "markdown" else None
    words = MARKS.sub(lambda mark: mark["words"] or "", found["words"]) if found else "A picture, told in the text around it."
    return " ".join(words.split())


def output_html(output: Any, words: str) -> str:
    """An output in the richest form that needs no script; `words` are the alternative text of a picture."""
    data = output.get("data", {})
    if "text/html" in data or "image/svg+xml" in data:
        return f'<div class="output">{data.get("text/html") or data["image/svg+xml"]}</div>'
    if "text/markdown" in data:
        return f'<div class="output">{markdown_html(data["text/markdown"])}</div>'
    if "image/png" in data:
        png = data["image/png"].replace("\n", "")
        return f'<div class="output"><img alt="{escape(words)}" src="data:image/png;base64,{png}"></div>'
    text = output.get("text") or data.get("text/plain") or "\n".join(output.get("traceback", []))
    return f'<pre class="output" tabindex="0">{ansi2html(text)}</pre>'


def target(link: str, lesson: Lesson, pages: Collection[str], outside: Path) -> str:
    """Where a notebook's link leads from its page.

    >>> lesson = Lesson("exercises/08.ipynb", "8", (), "", "")
    >>> target("../08_two.ipynb#pitfalls", lesson, {"08_two.ipynb"}, Path("../../../notebooks/exercises"))
    '../08_two.html#pitfalls'
    >>> target("../../README.md", lesson, {"08_two.ipynb"}, Path("../../../notebooks/exercises"))
    '../../../README.md'
    """
    path, mark, part = link.partition("#")
    if not path or re.match(r"[a-z]+:", path):
        return link
    here = PurePosixPath(lesson.name).parent
    if os.path.normpath(here / path) in pages:
        return str(PurePosixPath(path).with_suffix(".html")) + mark + part
    return os.path.normpath(outside / path) + mark + part
