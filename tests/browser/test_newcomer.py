"""The way of a new student, in JupyterLab and a real browser: exercise 1 fails, a hint is read, it passes, it is handed in.

make browser            # screenshots in runs/browser/
"""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab import CODE, SEEN, Lab, expect, keep, open_notebook, troubles

from minirag.cli import main

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

NAME = "exercises/01_passages.ipynb"
FORGETS_THE_REST = '''def split_words(words, n):
    """Passages of n words; the last may be shorter."""
    return [words[start : start + n] for start in range(0, len(words) - n + 1, n)]'''
RIGHT = FORGETS_THE_REST.replace("len(words) - n + 1", "len(words)")


def test_a_new_student_fails_reads_a_hint_passes_and_hands_in(page: "Page", lab: Lab, tmp_path: Path) -> None:
    open_notebook(page, lab, NAME)
    imports, own, check = (page.locator(CODE).nth(row) for row in range(3))
    run_cell(page, imports)
    run_cell(page, own)
    said(page, check, "✗ 1.1", "not written yet")

    write(page, own, FORGETS_THE_REST)
    run_cell(page, own)
    said(page, check, "it has", "should have", "hint", "The last words are a passage too")
    keep(check, "newcomer_fails")

    hint = page.locator("details").filter(has_text="Hint 1").first
    expect(hint.get_by_text("Passages begin at the words")).to_be_hidden()
    hint.locator("summary").click()
    expect(hint.get_by_text("Passages begin at the words")).to_be_visible()
    keep(page, "newcomer_reads_a_hint")

    write(page, own, RIGHT)
    run_cell(page, own)
    said(page, check, "✓ 1.1 right")
    keep(check, "newcomer_passes")
    assert troubles(page) == []

    with page.expect_response(lambda answer: answer.request.method == "PUT" and NAME in answer.url):
        page.keyboard.press("Control+s")
    handed_in = saved(lab, RIGHT)
    grades = tmp_path / "grades.csv"
    secret = ["--seed", "nobody has seen it"]
    assert main(["exercises", "grade", str(handed_in), "--only", "1.1", "--unsafe", *secret, "--out", str(grades)]) == 0
    with grades.open(encoding="utf-8") as file:
        head, row = csv.reader(file)
    assert row[head.index("1.1 (3)")] == "3"


def run_cell(page: "Page", cell: "Locator") -> None:
    """Run the cell, and wait until it has run once more."""
    number = cell.locator(".jp-InputArea-prompt")
    before = number.inner_text()
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    expect(number).not_to_have_text(before, use_inner_text=True, timeout=SEEN)
    expect(number).not_to_have_text("[*]:", use_inner_text=True, timeout=SEEN)


def said(page: "Page", check: "Locator", *parts: str) -> None:
    run_cell(page, check)
    for part in parts:
        expect(check.locator(".jp-Cell-outputWrapper")).to_contain_text(part, timeout=SEEN)


def write(page: "Page", cell: "Locator", code: str) -> None:
    """Replace what the cell holds, as by pasting."""
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(code)


def saved(lab: Lab, code: str) -> Path:
    """The notebook's file, once it holds what was written last."""
    path = lab.notebooks / NAME
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert any("".join(cell["source"]) == code for cell in notebook["cells"])
    return path
