"""The tables and pages: whatever a submission says is text in them, and nothing else."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from grader_cases import TINY

from minirag.teaching.checks.exercise import Outcome
from minirag.teaching.grader.feedback import feedback_of
from minirag.teaching.grader.grade import Grade
from minirag.teaching.grader.session import Limits
from minirag.teaching.grader.tables import csv_of, junit_of

DOCS = Path(__file__).resolve().parents[2] / "docs"

EVIL = "</pre><script>alert(1)</script>\x00\x1b\ud800 ]]> & \"'"
GRADES = (
    Grade("Ada, L.", (Outcome("0.1", 2, 2, "✓ 0.1 right"), Outcome("0.2", 1.5, 3, "1.5 of 3"))),
    Grade("=cmd()", (Outcome("0.1", 0, 2, EVIL), Outcome("0.2", 0, 3, "")), ((EVIL, EVIL),), "+" + EVIL + "\nline", EVIL),
)


def test_csv() -> None:
    rows = list(csv.reader(io.StringIO(csv_of(GRADES))))
    assert rows[0] == ["student", "0.1 (2)", "0.2 (3)", "total (5)", "remark"]
    assert rows[1] == ["Ada, L.", "2", "1.5", "3.5", ""]
    assert rows[2][:4] == ["'=cmd()", "0", "0", "0"]
    assert rows[2][4].startswith("'+</pre>")
    assert "\n" not in rows[2][4]
    csv_of(GRADES).encode()


def test_junit() -> None:
    root = ET.fromstring(junit_of(GRADES))
    assert [(each.get("name"), each.get("tests"), each.get("failures")) for each in root] == [
        ("Ada, L.", "2", "1"),
        ("=cmd()", "2", "2"),
    ]
    failures = [each.find("failure") for each in root.iter("testcase")]
    assert [each is not None and each.get("message") for each in failures] == [
        False,
        "1.5 of 3 points",
        "0 of 2 points",
        "0 of 3 points",
    ]
    assert "<script>alert(1)</script>" in failures[2].text, "as text, not as an element"
    assert "\x00" not in junit_of(GRADES)
    assert failures[3].text == "✗ 0.2 not handed in."


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)


def test_feedback() -> None:
    page = feedback_of(GRADES[1], TINY)
    assert "script" not in Tags(page).seen
    assert "&lt;script&gt;" in page
    assert "<h1>=cmd(): 0 of 5 points</h1>" in page
    assert "0.2 A function of each · 0 of 3 points" in page
    assert "Cells that failed" in page
    assert "What the cells printed" in page
    page.encode()
    plain = feedback_of(GRADES[0], TINY)
    assert 'class="right">✓ 0.1 right<' in plain
    assert "failed" not in plain


def test_the_page_for_instructors_shows_code_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "instructors.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("grades.csv").write_text(csv_of(GRADES[:1]), encoding="utf-8")
    exec(compile(snippet, "instructors.md", "exec"), {})
    assert json.loads(Path("results.json").read_text(encoding="utf-8")) == {
        "tests": [
            {"name": "Exercise 0.1", "score": 2.0, "max_score": 2.0},
            {"name": "Exercise 0.2", "score": 1.5, "max_score": 3.0},
        ],
        "output": "",
    }


def test_the_pages_tell_the_limits_that_hold_and_every_notebook() -> None:
    page, limits = (DOCS / "instructors.md").read_text(encoding="utf-8"), Limits()
    said = " ".join(page.split())
    assert f"A cell has {limits.cell:.0f} seconds" in said
    assert f"an exercise {limits.exercise:.0f} seconds" in said
    assert f"a notebook {limits.notebook / 60:.0f} minutes and {limits.memory >> 30} GB" in said
    syllabus = (DOCS / "syllabus.md").read_text(encoding="utf-8")
    for path in (DOCS.parent / "notebooks").glob("[0-9]*.ipynb"):
        assert f"\n| {path.name[:2]} " in syllabus
