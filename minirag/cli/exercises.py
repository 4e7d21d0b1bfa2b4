"""`minirag exercises build | grade`: the students' notebooks from the solutions, and grades from what students hand in."""

import argparse
import os
import re
from pathlib import Path
from typing import Any

from minirag.cli.common import Commands, command, positive, printable
from minirag.errors import MiniragError

BUILD = """
minirag exercises build
minirag exercises build --check                       # are those that are there the ones that would be built?
minirag exercises build --nbgrader ~/course           # and sources for nbgrader, with their metadata
"""
GRADE = """
minirag exercises grade handed-in/*.ipynb --seed-file secret.txt --out grades.csv --feedback feedback
minirag exercises grade handed-in/* --only 8 --seed-file secret.txt --out week-4.csv --junit week-4.xml
MINIRAG_SEED=... minirag exercises grade handed-in/* --out grades.csv --docker minirag-grader
"""
SECRET = "MINIRAG_SEED"


def declare(commands: Commands) -> None:
    group = commands.add_parser(
        "exercises",
        help="build the students' notebooks, or grade what they hand in",
        description="Exercises: build, grade.",
    )
    actions = group.add_subparsers(metavar="ACTION", required=True)
    parser = command(actions, "build", "make the students' notebooks from the solutions", BUILD, run_build)
    parser.add_argument("--notebooks", type=Path, default=Path("notebooks"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where one is not as it would be built")
    parser.add_argument("--nbgrader", type=Path, metavar="DIR", help="also write an nbgrader course's source/ folder there")
    parser = command(actions, "grade", "grade submissions in a sandbox", GRADE, run_grade)
    parser.add_argument("submissions", type=Path, nargs="+", help="a notebook, or a folder of notebooks, for each student")
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument("--seed-file", type=Path, metavar="FILE", help="a file with a secret, from which all cases are drawn")
    secret.add_argument("--seed", metavar="SECRET", help=f"the secret itself, which `ps` shows (default: ${SECRET})")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the table of points, as CSV")
    parser.add_argument("--feedback", type=Path, metavar="DIR", help="a page of HTML for each student")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="the same as JUnit XML")
    parser.add_argument("--only", nargs="+", metavar="N", help="a notebook's exercises (8), or one (8.2); default: all")
    parser.add_argument("--jobs", type=positive, default=2, metavar="N", help="submissions at a time (default: %(default)s)")
    parser.add_argument("--docker", metavar="IMAGE", help="use Docker instead of bubblewrap (examples/grader.Dockerfile)")
    parser.add_argument("--unsafe", action="store_true", help="no sandbox at all: only for code that you trust")


def run_build(arguments: argparse.Namespace) -> None:
    from minirag.teaching import exercises

    if arguments.check:
        exercises.check(arguments.notebooks)
        print("the exercises are as the solutions make them")
        return
    for path in exercises.build(arguments.notebooks):
        print(path)
    if arguments.nbgrader:
        for path in exercises.export(arguments.notebooks, arguments.nbgrader):
            print(path)


def run_grade(arguments: argparse.Namespace) -> None:
    from minirag.files import atomic_path
    from minirag.teaching.checks import EXERCISES
    from minirag.teaching.grader.feedback import feedback_of
    from minirag.teaching.grader.grade import Grade, grade_class
    from minirag.teaching.grader.reading import read_submissions
    from minirag.teaching.grader.sandbox import choose
    from minirag.teaching.grader.tables import csv_of, junit_of, number

    wanted = chosen(EXERCISES, arguments.only)
    secret = secret_of(arguments)
    _check_places(arguments)
    submissions = read_submissions(arguments.submissions)
    private = (*arguments.submissions, arguments.seed_file, arguments.out, arguments.feedback, arguments.junit)
    sandbox = choose(arguments.unsafe, arguments.docker, filter(None, private))

    def tell(grade: Grade) -> None:
        print(printable(f"{grade.student}: {number(grade.points)} of {grade.of} points"), flush=True)

    grades = grade_class(submissions, wanted, secret, sandbox, jobs=arguments.jobs, done=tell)
    pages = {f"{grade.student}.html": feedback_of(grade, wanted) for grade in grades} if arguments.feedback else {}
    texts = {arguments.out: csv_of(grades), **{arguments.feedback / name: page for name, page in pages.items()}}
    for path, text in {**texts, **({arguments.junit: junit_of(grades)} if arguments.junit else {})}.items():
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _check_places(arguments: argparse.Namespace) -> None:
    """What is found out only after grading costs all grades. MiniragError: a file where a folder is meant, or the other way."""
    for path in filter(None, (arguments.out, arguments.junit)):
        if path.is_dir():
            raise MiniragError(f"{path} is a folder; name the file to write the grades to")
    if arguments.feedback and arguments.feedback.exists() and not arguments.feedback.is_dir():
        raise MiniragError(f"{arguments.feedback} is a file; name a folder for the pages of feedback")


def chosen(exercises: Any, only: list[str] | None) -> Any:
    """The exercises of these numbers, or of these notebooks. MiniragError: a number that means none."""
    found = [each for each in exercises if not only or {each.number, each.number.split(".")[0]} & {*map(_plain, only)}]
    for name in only or ():
        if not any(_plain(name) in (each.number, each.number.split(".")[0]) for each in exercises):
            raise MiniragError(f"--only {name}: no exercise and no notebook with exercises has that number; say 8, or 8.2")
    return found


def secret_of(arguments: argparse.Namespace) -> str:
    """What the cases are drawn from, of --seed-file, --seed or the environment. MiniragError: there is none."""
    if arguments.seed_file:
        try:
            text = arguments.seed_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise MiniragError(f"{arguments.seed_file} cannot be read as text; name a file that holds your secret") from None
    else:
        text = arguments.seed if arguments.seed is not None else os.environ.get(SECRET, "")
    if not text:
        raise MiniragError(f"grading needs a secret that draws the cases; give --seed-file FILE, --seed or ${SECRET}")
    return text


def _plain(name: str) -> str:
    """Without the zero of a notebook's file name.

    >>> _plain("08"), _plain("8.2"), _plain("00")
    ('8', '8.2', '0')
    """
    return re.sub(r"^0+(?=\d)", "", name)
