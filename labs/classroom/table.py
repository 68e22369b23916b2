"""The list of points: a row a student and lab, an empty cell where there is nothing to say yet.

make grades [LAB=moe]
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from nbgrader.api import Gradebook

from classroom import gradebook
from classroom.lab import Lab
from classroom.marks import Marks
from classroom.records import Record, Records, replace

FIRST = ("student", "name", "lab")
LAST = ("machine", "machine_max", "manual", "manual_max", "points", "max", "needs_reading", "graded", "problem")
Row = dict[str, str]


def rows(course: Path, labs: Sequence[Lab]) -> list[Row]:
    """Return a row for each student and each lab that anybody handed in."""
    records = Records(course)
    with gradebook.opened(course) as book:
        names = gradebook.people(book)
        found = {(lab.name, record.student): record for lab in labs for record in records.all(lab.name)}
        handed_in = [lab for lab in labs if any(name == lab.name for name, _ in found)]
        students = sorted({student for _, student in found} | names.keys())
        return [
            _row(book, lab, student, names.get(student, ""), found.get((lab.name, student)))
            for lab in handed_in
            for student in students
        ]


def _row(book: Gradebook, lab: Lab, student: str, name: str, record: Record | None) -> Row:
    """Return one student's row; what is not known is left out of it."""
    row = {"student": student, "name": name or (record.name if record else ""), "lab": lab.name, "graded": "no"}
    row |= {
        "machine_max": number(sum(lab.checks.values())),
        "manual_max": number(sum(lab.open.values())),
        "max": number(sum(lab.points.values())),
    }
    if record is None:
        return row | {"problem": "nothing handed in"}
    if not record.graded:
        return row | {"problem": record.reason}
    marks = Marks.of(lab, record, book)
    tasks = {task.short: marks.of_task(task) for task in lab.tasks}
    return row | {
        **{short: number(points) for short, points in tasks.items()},
        "machine": number(marks.machine),
        "manual": "" if marks.waits and not marks.person else number(marks.person),
        "points": number(marks.points),
        "needs_reading": "yes" if marks.waits else "no",
        "graded": "yes",
    }


def columns(labs: Sequence[Lab]) -> list[str]:
    """Return the columns: who, a task each, and sums."""
    tasks = dict.fromkeys(task.short for lab in labs for task in lab.tasks)
    return [*FIRST, *tasks, *LAST]


def text(found: Sequence[Row], labs: Sequence[Lab]) -> str:
    """Return rows as CSV."""
    written = io.StringIO()
    writer = csv.DictWriter(written, columns(labs), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _harmless(value) for key, value in row.items()} for row in found)
    return written.getvalue()


def write(course: Path, labs: Sequence[Lab], path: Path) -> list[Row]:
    """Write the list; return its rows."""
    found = rows(course, labs)
    replace(path, text(found, labs))
    return found


def said(found: Sequence[Row]) -> Iterator[str]:
    """Say in a line a lab how far it is."""
    for lab in dict.fromkeys(row["lab"] for row in found):
        mine = [row for row in found if row["lab"] == lab]
        graded = [row for row in mine if row["graded"] == "yes"]
        unread = sum(row["needs_reading"] == "yes" for row in graded)
        yield f"{lab}: {len(graded)} of {len(mine)} graded, {unread} with answers to read"


def number(value: float | None) -> str:
    """Return points as they are written: 5, 2.5, nothing for None."""
    return "" if value is None else f"{value:g}"


def _harmless(value: str) -> str:
    """Keep a spreadsheet from taking a name for a formula."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t")) and not _is_number(value) else value


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
