"""The course as a site: a page for each notebook, and an index. It needs neither a server nor a network.

    python -m minirag.teaching.site          # ./notebooks into runs/site; `make html`

No notebook is run: the pages show the outputs that are committed, which the tests compare with what the cells do.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import nbformat

from minirag.corpus.words import escape
from minirag.errors import MiniragError, told_in_one_sentence
from minirag.files import atomic_folder, read_json
from minirag.tasks.task import TASKS
from minirag.teaching.site_page import FORMATTER, Lesson, body_of, lesson_of, markdown_html

CSS = Path(__file__).with_name("site.css")
INDEX = "index.html"
EXERCISES = "exercises"
SYSTEMS = ("RAG-Sequence", "RAG-Token", "closed book")


def build(root: Path, out: Path) -> list[Lesson]:
    """Write the site of the checkout `root` (its notebooks/, and results/tasks.json where it is there) to the folder `out`.

    The folder appears whole or not at all. MiniragError: no notebooks, or `out` holds something else.
    """
    notebooks = root / "notebooks"
    paths = [*sorted(notebooks.glob("*.ipynb")), *sorted((notebooks / EXERCISES).glob("*.ipynb"))]
    if not paths:
        raise MiniragError(f"{notebooks} holds no notebooks; start in minirag's checkout, or name it")
    read = {path.relative_to(notebooks).as_posix(): nbformat.read(path, as_version=4) for path in paths}
    lessons = [lesson_of(name, notebook) for name, notebook in read.items()]
    with atomic_folder(out, lambda folder: (folder / INDEX).is_file()) as folder:
        for number, lesson in enumerate(lessons):
            path = folder / lesson.page
            path.parent.mkdir(exist_ok=True)
            outside = Path(os.path.relpath((notebooks / lesson.name).parent, (out / lesson.page).parent))
            body = body_of(read[lesson.name], lesson, read, outside)
            around = (lessons[number - 1] if number else None, lessons[number + 1] if lesson is not lessons[-1] else None)
            path.write_text(page_html(lesson, body, around), encoding="utf-8")
        results = root / "results" / "tasks.json"
        (folder / INDEX).write_text(index_html(lessons, read_json(results) if results.is_file() else None), encoding="utf-8")
    return lessons


def page_html(lesson: Lesson, body: str, around: tuple[Lesson | None, Lesson | None]) -> str:
    """A notebook's page, with links to the index and to the notebooks before and after it."""
    up = "../" * (len(PurePosixPath(lesson.name).parts) - 1)
    before, after = around
    ways = [f'<a href="{up}{INDEX}">minirag: the course</a>']
    ways += [f'<a rel="prev" href="{up}{before.page}">← {escape(before.title)}</a>'] if before else []
    ways += [f'<a rel="next" href="{up}{after.page}">{escape(after.title)} →</a>'] if after else []
    nav = f"<nav>{' '.join(ways)}</nav>"
    return _document(lesson.title, f"{nav}\n<main>{body}</main>\n{nav}")


def index_html(lessons: Sequence[Lesson], results: dict[str, Any] | None = None) -> str:
    """The course: each notebook with what one can do after it and what it needs; then what the models reach."""
    course = [lesson for lesson in lessons if not lesson.name.startswith(f"{EXERCISES}/")]
    exercises = [lesson for lesson in lessons if lesson not in course]
    coursework = "".join(f'<li><a href="{each.page}">{escape(each.title)}</a></li>' for each in exercises)
    return _document(
        "minirag: the course",
        f"""<main>
<h1>Retrieval-augmented generation, from scratch</h1>
<p class="lead">{len(course)} notebooks that build, train and measure the system of Lewis et al. 2020 (arXiv 2005.11401): text
becomes passages, passages become vectors, vectors are searched, and a generator writes its answer from what was found.</p>
<p>Each notebook is one idea: worked by hand on a tiny case, proved equal to the package, then used. The tests run them all and
compare what they print with what these pages show. Times are of two CPU cores; nothing is downloaded.</p>
<h2>The course, and what you will be able to do</h2>
<div class="lessons">{"".join(map(_card, course))}</div>
{f"<h2>Coursework</h2><ul>{coursework}</ul>" if exercises else ""}
{_results(results) if results else ""}
</main>""",
    )


def _card(lesson: Lesson) -> str:
    abilities = "".join(f"<li>{markdown_html(each)}</li>" for each in lesson.abilities)
    needs = " · ".join(filter(None, (lesson.time, lesson.memory)))
    return f"""<article><h3><a href="{lesson.page}">{escape(lesson.title)}</a></h3>
<p class="needs">{escape(needs)}</p><ul>{abilities}</ul></article>
"""


def _results(made: dict[str, Any]) -> str:
    """Each task's leading metric of the generators that ship, as `evaluation.pocket` has measured it."""
    rows = []
    for name, task in TASKS.items():
        metric = task.metrics[0].name
        of = {
            each["system"]: each
            for each in made["results"]
            if (each["task"], each["metric"]) == (f"tasks/{name}", metric) and each["system"] in SYSTEMS
        }
        if of:
            cells = "".join(f"<td>{_percent(of[system])}</td>" for system in SYSTEMS)
            rows.append(f'<tr><th scope="row">{escape(task.title)}, {metric}</th>{cells}<td>{of[SYSTEMS[0]]["n"]:,}</td></tr>')
    heads = "".join(f'<th scope="col">{each}</th>' for each in ("task", *SYSTEMS, "examples"))
    return f"""<h2>What the generators that ship reach</h2>
<p>Percent with 95 % intervals, on MiniWiki's test examples in the data sets' formats: these are no numbers of the data sets
themselves. Measured on {made["machine"]["cores"]} cores, {escape(made["machine"]["date"])}.</p>
<div class="scroll" tabindex="0" role="region" aria-label="results"><table class="results">
<thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>"""


def _percent(row: dict[str, Any]) -> str:
    return "{:.1f} <small>({:.1f}–{:.1f})</small>".format(*(100 * row[key] for key in ("value", "low", "high")))


def _document(title: str, body: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{FORMATTER.get_style_defs(".highlight")}
{CSS.read_text(encoding="utf-8")}</style>
</head>
<body>
{body}
</body>
</html>
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Build the site, and say where it lies."""
    parser = argparse.ArgumentParser(prog="python -m minirag.teaching.site", description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(), help="the checkout (here)")
    parser.add_argument("--out", type=Path, default=Path("runs/site"), help="the folder to write (runs/site)")
    given = parser.parse_args(argv)
    with told_in_one_sentence():
        lessons = build(given.root, given.out)
        print(f"{len(lessons)} notebooks: open {given.out / INDEX}")


if __name__ == "__main__":
    main()
