"""The site of the course: on three notebooks made for it, and on the course itself."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nbformat
import pytest
from bs4 import BeautifulSoup

from minirag.errors import MiniragError
from minirag.teaching.site import build, index_html, main
from minirag.teaching.site_page import Lesson, formula, lesson_of, markdown_html, target

ROOT = Path(__file__).parents[1]
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

FIRST = """# 1 · Sums & more
[![Open in Colab](https://example.org/badge.svg)](https://example.org/colab)

**Afterwards you can**
* add $a_1$ to $b$,
  both of them small;
* count.

**Needs** ten seconds on two CPU cores, 0.5 GB of memory, no network. Then comes [the second](02_second.ipynb#next).
"""
SECOND = """# 2 · Differences

**After it you can**

* subtract

| in the paper | time | memory | network |
|---|---|---|---|
| section 2 | a minute | 1 GB | none |

$$\\sum_i x_i = \\begin{cases} 1 & x \\lt 2 \\\\ 0 & \\text{else} \\end{cases}$$

Back to [the first](01_first.ipynb), or to the [README](../README.md), or on to [exercises](exercises/02_subtract.ipynb).
"""


def notebook(*cells: Any) -> Any:
    return nbformat.v4.new_notebook(cells=list(cells))


def code(source: str, *outputs: Any, tags: tuple[str, ...] = ()) -> Any:
    return nbformat.v4.new_code_cell(source, outputs=list(outputs), execution_count=1, metadata={"tags": list(tags)})


def picture() -> Any:
    return nbformat.v4.new_output("display_data", data={"image/png": DOT, "text/plain": "<Figure>"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with two notebooks and an exercise."""
    text = nbformat.v4.new_markdown_cell
    printed = nbformat.v4.new_output("stream", name="stdout", text="1 < 2 & 3\n")
    made = {
        "01_first": notebook(
            text(FIRST),
            code("%pip install minirag", tags=("colab",)),
            code("print('1 < 2 & 3')", printed),
            code("draw()", picture()),
            text("*Picture: two **bars**, the `left` one\nhigher.*\n\nMore text."),
            code("draw()", picture()),
        ),
        "02_second": notebook(text(SECOND), code("slider()", tags=("nbval-skip", "skip-execution"))),
        "exercises/02_subtract": notebook(text("# Exercise 2\n\nOf [notebook 2](../02_second.ipynb).")),
    }
    (tmp_path / "notebooks" / "exercises").mkdir(parents=True)
    (tmp_path / "README.md").write_text("# Read me\n", encoding="utf-8")
    for name, each in made.items():
        nbformat.write(each, tmp_path / "notebooks" / f"{name}.ipynb")
    return tmp_path


def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def faults(folder: Path) -> list[str]:
    """What keeps a site from being read without a network, or from being read aloud."""
    found = []
    for path in sorted(folder.rglob("*.html")):
        page, name = soup(path), path.relative_to(folder).as_posix()
        loaded = [each.get("src") or each.get("href") for each in page.select("script, link, iframe, img:not([src^='data:'])")]
        found += [f"{name}: {each} is loaded" for each in loaded]
        found += [f"{name}: a picture without words" for image in page.select("img") if len(image.get("alt", "")) < 20]
        for link in page.select("a[href]"):
            place = unquote(str(link["href"]))
            goal, _, part = place.partition("#")
            if not re.match(r"https?:", place) and not (path.parent / goal).exists():
                found.append(f"{name}: {place} leads nowhere")
            elif part and not goal and not page.find(id=part):
                found.append(f"{name}: {place} is no place of the page")
        for each in page.select("pre, code, style"):
            each.decompose()
        found += [f"{name}: raw {raw}" for raw in re.findall(r"\$\S[^$]*\$|\\[a-z]{3,}", page.get_text())]
        found += [f"{name}: formula {each.get_text()}" for each in page.select("math") if "\\" in each.get_text()]
    return found


def test_small_site(root: Path) -> None:
    out = root / "runs" / "site"
    lessons = build(root, out)
    assert [lesson.page for lesson in lessons] == ["01_first.html", "02_second.html", "exercises/02_subtract.html"]
    assert {path.name for path in out.rglob("*.html")} == {Path(lesson.page).name for lesson in lessons} | {"index.html"}
    assert faults(out) == []
    index = soup(out / "index.html")
    cards = [article.get_text(" ", strip=True) for article in index.select("article")]
    assert cards[0].startswith("1 · Sums & more ten seconds on two CPU cores · 0.5 GB add ")
    assert cards[1] == "2 · Differences a minute · 1 GB subtract"
    assert [link["href"] for link in index.select("h2 + ul a")] == ["exercises/02_subtract.html"]
    assert len(index.select("article math")) == 2


def test_page_shows_what_the_notebook_holds(root: Path) -> None:
    build(root, root / "runs" / "site")
    page = soup(root / "runs" / "site" / "01_first.html")
    assert page.select_one("pre.output").get_text().strip() == "1 < 2 & 3"
    assert [image["alt"] for image in page.select("img")] == [
        "two bars, the left one higher.",
        "A picture, told in the text around it.",
    ]
    assert "pip install" not in page.get_text()
    assert page.select_one("a[href='https://example.org/colab']").get_text() == "Open in Colab"
    assert [link.get_text() for link in page.select("nav")[0].select("a")] == ["minirag: the course", "2 · Differences →"]


def test_links_lead_to_pages_or_out_of_the_site(root: Path) -> None:
    out = root / "runs" / "site"
    build(root, out)
    links = [link["href"] for link in soup(out / "02_second.html").select("main a")]
    assert links == ["01_first.html", "../../README.md", "exercises/02_subtract.html"]
    assert (out / links[1]).read_text(encoding="utf-8") == "# Read me\n"
    exercise = soup(out / "exercises" / "02_subtract.html")
    assert [link["href"] for link in exercise.select("a")] == [
        *("../index.html", "../02_second.html"),
        "../02_second.html",
        *("../index.html", "../02_second.html"),
    ]


def test_faults_are_seen(root: Path) -> None:
    """The checker of this file, on planted faults."""
    out = root / "site"
    build(root, out)
    page = out / "01_first.html"
    right = page.read_text(encoding="utf-8")
    for fault, word in {
        "<script src='https://example.org/x.js'></script>": "is loaded",
        "<img src='https://example.org/x.png' alt='a picture of twenty letters'>": "is loaded",
        "<img src='data:image/png;base64,x' alt='No'>": "without words",
        "<a href='03_third.html'>": "leads nowhere",
        "<a href='#nothing'>": "no place",
        "<p>$x$</p>": "raw",
        "<p>\\sum</p>": "raw",
        "<math><mi>\\x</mi></math>": "formula",
    }.items():
        page.write_text(right.replace("<main>", "<main>" + fault), encoding="utf-8")
        assert word in " ".join(faults(out)), fault


def test_site_is_made_anew_and_nothing_else_is_removed(root: Path) -> None:
    out = root / "site"
    build(root, out)
    first = {path: path.read_bytes() for path in out.rglob("*.html")}
    (out / "old.html").write_text("old", encoding="utf-8")
    build(root, out)
    assert {path: path.read_bytes() for path in out.rglob("*.html")} == first
    other = root / "thesis"
    other.mkdir()
    (other / "chapter.tex").write_text("x", encoding="utf-8")
    with pytest.raises(MiniragError, match="thesis holds something other"):
        build(root, other)
    assert (other / "chapter.tex").exists()


def test_errors_say_what_to_do(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="holds no notebooks; start in minirag's checkout"):
        main(["--root", str(tmp_path / "nowhere"), "--out", str(tmp_path / "site")])
    main(["--root", str(root), "--out", str(tmp_path / "site")])
    assert capsys.readouterr().out.startswith("3 notebooks: open ")
    with pytest.raises(MiniragError, match=r"03\.ipynb has no title"):
        lesson_of("03.ipynb", notebook(nbformat.v4.new_markdown_cell("Sums")))
    with pytest.raises(MiniragError, match=r"\$\\frac\{1\}\{\$ cannot be shown"):
        formula(r"\frac{1}{", "inline")


@pytest.mark.parametrize(
    ("link", "leads"),
    [
        ("01_first.ipynb", "01_first.html"),
        ("01_first.ipynb#sums", "01_first.html#sums"),
        ("#here", "#here"),
        ("https://arxiv.org/abs/2005.11401", "https://arxiv.org/abs/2005.11401"),
        ("mailto:ann@example.org", "mailto:ann@example.org"),
        ("99_none.ipynb", "../../notebooks/99_none.ipynb"),
        ("../results/tasks.json", "../../results/tasks.json"),
    ],
)
def test_target(link: str, leads: str) -> None:
    lesson = Lesson("02_second.ipynb", "", (), "", "")
    assert target(link, lesson, {"01_first.ipynb"}, Path("../../notebooks")) == leads


def test_formulas_become_mathml() -> None:
    html = markdown_html("Here $p(z\\mid x) \\lt 1$, costs 5 \\$ and `$HOME`.\n\n$$\n\\frac{a}{b}\n$$")
    page = BeautifulSoup(html, "html.parser")
    assert [each["display"] for each in page.select("math")] == ["inline", "block"]
    assert page.select_one("mfrac").get_text() == "ab"
    assert page.select_one("math").get_text() == "p(z∣x)<1"
    assert page.select_one("code").get_text() == "$HOME"


def test_results_are_those_of_the_file() -> None:
    rows = [
        {"task": "tasks/nq", "system": system, "metric": metric, "value": value, "low": 0.0, "high": 0.875, "n": 1234}
        for system, value in (("RAG-Sequence", 0.5), ("RAG-Token", 0.25), ("closed book", 0.125), ("closed book − x", 1.0))
        for metric in ("exact match", "F1")
    ]
    page = BeautifulSoup(index_html([], {"machine": {"cores": 2, "date": "2026-01-02"}, "results": rows}), "html.parser")
    assert [cell.get_text() for cell in page.select("tbody th, tbody td")] == [
        "Natural Questions, exact match",
        *("50.0 (0.0–87.5)", "25.0 (0.0–87.5)", "12.5 (0.0–87.5)"),
        "1,234",
    ]


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Lesson]]:
    """The site of the course itself, beside a checkout's files."""
    root = tmp_path_factory.mktemp("checkout")
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name != "runs":
            (root / path.name).symlink_to(path)
    return root / "runs" / "site", build(root, root / "runs" / "site")


def test_course_reads_well_without_a_network(course: tuple[Path, list[Lesson]]) -> None:
    assert faults(course[0]) == []


def test_every_notebook_says_what_one_can_do_after_it_and_what_it_needs(course: tuple[Path, list[Lesson]]) -> None:
    lessons = [lesson for lesson in course[1] if "/" not in lesson.name]
    assert len(lessons) == len(list((ROOT / "notebooks").glob("*.ipynb")))
    lacking = [lesson.name for lesson in lessons if not (len(lesson.abilities) >= 2 and lesson.time and lesson.memory)]
    assert lacking == []
