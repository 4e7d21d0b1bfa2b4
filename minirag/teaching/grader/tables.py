"""Grades as tables: CSV for spreadsheets and Moodle, JUnit XML for whatever shows test results."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from minirag.teaching.checks.exercise import Outcome
from minirag.teaching.grader.grade import Grade
from minirag.teaching.grader.values import text_of


def csv_of(grades: Sequence[Grade]) -> str:
    """student, the points of each exercise, total, remark; a row each.

    >>> from minirag.teaching.checks.exercise import Outcome
    >>> print(csv_of([Grade("=1+1", (Outcome("8.2", 4, 4, "✓ 8.2 right"),))]), end="")
    student,8.2 (4),total (4),remark
    '=1+1,4,4,
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    first = grades[0]
    names = (f"{each.number} ({each.of})" for each in first.outcomes)
    writer.writerow(["student", *names, f"total ({first.of})", "remark"])
    for grade in grades:
        points = (number(each.points) for each in grade.outcomes)
        writer.writerow([_cell(grade.student), *points, number(grade.points), _cell(grade.remark)])
    return out.getvalue()


def junit_of(grades: Sequence[Grade]) -> str:
    """A suite for each student, a case for each exercise; one that earns less than all its points has failed."""
    root = ET.Element("testsuites", name="minirag exercises")
    for grade in grades:
        failed = [each for each in grade.outcomes if not each.passed]
        counts = {"tests": str(len(grade.outcomes)), "failures": str(len(failed)), "errors": "0"}
        suite = ET.SubElement(root, "testsuite", {"name": text_of(grade.student), **counts})
        for each in grade.outcomes:
            case = ET.SubElement(suite, "testcase", classname=text_of(grade.student), name=f"exercise {each.number}")
            if not each.passed:
                summary = f"{number(each.points)} of {each.of} points"
                ET.SubElement(case, "failure", message=summary).text = text_of(told(each), 5000)
        if grade.remark:
            ET.SubElement(suite, "system-out").text = text_of(grade.remark, 5000)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def told(outcome: Outcome) -> str:
    """The check's text; where there was nothing to check, that."""
    return outcome.text or f"✗ {outcome.number} not handed in."


def number(points: int | float) -> str:
    """Points without needless digits.

    >>> number(4), number(2.5), number(3.0)
    ('4', '2.5', '3')
    """
    return f"{points:.4g}"


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula, in one line."""
    line = " ".join(text_of(text, 5000).split())
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
