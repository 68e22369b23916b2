"""What a teacher types: grade, feedback, grades."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import course_key

from classroom import feedback, table
from classroom.choose import chosen
from classroom.collect import collected
from classroom.grade import Class, Trouble, alone, store
from classroom.lab import Lab, names
from classroom.records import Record, Records
from classroom.sandbox import Limits

HERE = Path(__file__).resolve().parents[1]


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="teach.py", description=__doc__)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--course", type=Path, default=HERE, help="the folder that holds source/ and gradebook.db")
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("grade", parents=[shared], help="grade a class")
    one.add_argument("lab")
    one.add_argument("--submissions", type=Path, help="a folder or a zip file; by default, submitted/ of the course")
    one.add_argument("--jobs", type=int, default=2, help="submissions at a time (2)")
    one.add_argument("--again", action="store_true", help="grade also what has not changed")
    one.add_argument("--unsafe", action="store_true", help="run students' code with your rights, without a sandbox")
    one.add_argument("--cell", type=float, default=Limits.cell_s, help="seconds for a cell (30)")
    one.add_argument("--notebook", type=float, default=Limits.notebook_s, help="seconds for a notebook (300)")
    one.add_argument("--memory", type=float, default=Limits.memory_bytes / 1e9, help="GB for a submission (3)")
    one.set_defaults(run=grade)
    two = verbs.add_parser("feedback", parents=[shared], help="write a page a student, and a zip file of all")
    two.add_argument("lab")
    two.set_defaults(run=give_back)
    three = verbs.add_parser("grades", parents=[shared], help="write the list of points")
    three.add_argument("lab", nargs="?", help="none: all")
    three.add_argument("--to", type=Path, help="the CSV file; by default, grades.csv or grades-LAB.csv of the course")
    three.set_defaults(run=take_list)
    asked = parser.parse_args(argv)
    if asked.verb == "grade" and asked.jobs < 1:
        parser.error(f"--jobs {asked.jobs} should be 1 or more")
    return asked


def main(argv: Sequence[str] | None = None) -> int:
    """Do what was typed; return 0, 1 if some submissions have no points, 2 if nothing could be done."""
    asked = options(argv)
    run: Callable[[Path, argparse.Namespace], int] = asked.run
    try:
        return run(asked.course.resolve(), asked)
    except (Trouble, ValueError) as trouble:
        print(f"{asked.verb}: {trouble}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130


def grade(course: Path, asked: argparse.Namespace) -> int:
    """Grade a class."""
    lab = Lab.read(course, asked.lab)
    course_key.use(lab.name, course)  # hidden cases are drawn by it
    where = (asked.submissions or course / "submitted").resolve()
    limits = Limits(cell_s=asked.cell, notebook_s=asked.notebook, memory_bytes=int(asked.memory * 1e9))
    found, notes = collected(where, lab.name, names(course))
    if not found:
        raise Trouble(f"no notebook (.ipynb) in {where}")
    sandbox = chosen(asked.unsafe, limits, (course, where))
    with alone(course):
        for note in notes:
            print(note)
        store(course, lab.name, found)
        records = Class(course, lab, sandbox, limits, asked.jobs).grade(found, asked.again)
    return _summary(records)


def _summary(records: Sequence[Record]) -> int:
    """Say what is left to do; return 0 if every submission has points."""
    without = [record for record in records if not record.graded]
    unread = sum(bool(record.unread) for record in records)
    print(f"{len(records) - len(without)} of {len(records)} graded.", end="")
    read = f" {unread} with open answers to read: make read, then Nbgrader > Formgrader > Manual Grading."
    print(read if unread else "")
    for record in without:
        print(f"  {record.whom}: {record.reason}")
    return 1 if without else 0


def give_back(course: Path, asked: argparse.Namespace) -> int:
    """Write the feedback pages of a lab."""
    lab = Lab.read(course, asked.lab)
    if not Records(course).all(lab.name):
        raise Trouble(f"nobody's {lab.name} is graded yet: make grade LAB={lab.name}")
    *pages, packed = feedback.write(course, lab)
    print(f"{len(pages)} pages in {course / 'feedback'}, all of them in {packed}")
    return 0


def take_list(course: Path, asked: argparse.Namespace) -> int:
    """Write the list of points."""
    labs = [Lab.read(course, name) for name in ([asked.lab] if asked.lab else names(course))]
    path = asked.to or course / (f"grades-{asked.lab}.csv" if asked.lab else "grades.csv")
    rows = table.write(course, labs, path)
    for line in table.said(rows):
        print(line)
    print(f"{len(rows)} rows in {path}")
    return 0
