"""Points in nbgrader's gradebook, where its Formgrader finds them and keeps what a person gives."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from nbgrader import api
from nbgrader.api import Gradebook

from classroom import lab as labs
from classroom.lab import Lab

COURSE = "costlab"


@dataclass(frozen=True)
class Given:
    """What the gradebook holds of one cell of one student.

    Attributes:
        machine: points of a check, or 0 of an open answer that is empty; None where only a person can tell.
        person: points that a person gave, with any extra; None if nobody did.
        waits: whether a person should look at it.
        comment: what a person wrote.
    """

    machine: float | None
    person: float | None
    waits: bool
    comment: str = ""

    @property
    def points(self) -> float | None:
        """The points that count: a person's before a machine's; None while the answer waits."""
        return self.machine if self.person is None else self.person


@contextmanager
def opened(course: Path) -> Iterator[Gradebook]:
    """Open a course's gradebook; a course without one gets it, whole or not at all."""
    path, new = course / "gradebook.db", course / ".gradebook.new"
    # nbgrader calls a command that lies beside its Python: find it without an activated environment.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if not path.exists():
        new.unlink(missing_ok=True)
        Gradebook(f"sqlite:///{new}", COURSE).close()
        os.replace(new, path)
    book = Gradebook(f"sqlite:///{path}", COURSE)
    try:
        yield book
    finally:
        book.db.rollback()
        book.close()


def define(book: Gradebook, lab: Lab) -> None:
    """Write what a lab asks; a lab that changed loses the cells that are no more, whoever has points for them."""
    with _together(book):
        book.update_or_create_assignment(lab.name)
        notebook, at = book.update_or_create_notebook(lab.name, lab.name), (lab.name, lab.name)
        for cell in filter(labs.mark, lab.cells):
            name, kind = labs.title(cell), {"cell_type": cell.cell_type}
            about = {"source": cell.source, "checksum": cell.metadata.nbgrader.checksum, **kind}
            book.update_or_create_source_cell(name, *at, **about, locked=not labs.is_open(cell))
            if labs.is_grade(cell):
                book.update_or_create_grade_cell(name, *at, max_score=lab.points[name], **kind)
            if labs.is_answer(cell):
                book.update_or_create_solution_cell(name, *at)
        wanted = {(api.GradeCell, name) for name in lab.points}
        wanted |= {(api.SolutionCell, labs.title(cell)) for cell in lab.cells if labs.is_answer(cell)}
        for cell in (*notebook.grade_cells, *notebook.solution_cells):
            if (type(cell), cell.name) not in wanted:
                for row in (*cell.grades, *cell.comments, cell):
                    book.db.delete(row)


@contextmanager
def _together(book: Gradebook) -> Iterator[None]:
    """Make one transaction of calls that nbgrader would each commit by themselves."""
    book.db.commit = book.db.flush
    try:
        yield
    finally:
        del book.db.commit
    book.db.commit()


def enter(
    book: Gradebook, lab: Lab, student: str, name: str, at: datetime, points: Mapping[str, float | None], new: bool
) -> None:
    """Write a student's points in one transaction: all of them are there after it, or none.

    Args:
        book: where the lab is defined.
        lab: the lab.
        student: as in the folders.
        name: the person's, "" if not known.
        at: when it was handed in.
        points: by the names of cells; None for an answer that a person has to read.
        new: whether this was handed in since, so that what a person gave is to be looked at again.
    """
    db, notebook = book.db, book.find_notebook(lab.name, lab.name)
    with db.no_autoflush:
        person = db.get(api.Student, student) or _new(db, api.Student(id=student))
        if name and not person.last_name:
            *first, person.last_name = name.split()
            person.first_name = " ".join(first) or None
        submitted = next((each for each in person.submissions if each.assignment is notebook.assignment), None)
        if submitted is None:
            submitted = _new(db, api.SubmittedAssignment(assignment=notebook.assignment, student=person))
        submitted.timestamp = at.replace(tzinfo=None)
        mine = next(iter(submitted.notebooks), None)
        if mine is None:
            mine = _new(db, api.SubmittedNotebook(notebook=notebook, assignment=submitted))
        commented = {comment.cell for comment in mine.comments}
        for cell in set(notebook.solution_cells) - commented:
            _new(db, api.Comment(cell=cell, notebook=mine))
        grades = {grade.cell: grade for grade in mine.grades}
        for cell in notebook.grade_cells:
            grade = grades.get(cell) or _new(db, api.Grade(cell=cell, notebook=mine))
            grade.auto_score = points[cell.name]
            if grade.manual_score is None:
                grade.needs_manual_grade = points[cell.name] is None
            else:  # it stays
                grade.needs_manual_grade = new or grade.needs_manual_grade
    db.commit()


def _new(db: Any, row: Any) -> Any:
    """Add a row to what will be written."""
    db.add(row)
    return row


def given(book: Gradebook, lab: str, student: str) -> dict[str, Given]:
    """Return what the gradebook holds of a student's submission, by cell; empty if nothing was graded."""
    try:
        submission = book.find_submission(lab, student)
    except api.MissingEntry:
        return {}
    comments = {c.name: c.manual_comment or "" for n in submission.notebooks for c in n.comments}
    return {
        grade.name: Given(grade.auto_score, _person(grade), grade.needs_manual_grade, comments.get(grade.name, ""))
        for notebook in submission.notebooks
        for grade in notebook.grades
    }


def _person(grade: Any) -> float | None:
    if grade.manual_score is None and not grade.extra_credit:
        return None
    return (grade.manual_score or 0.0) + (grade.extra_credit or 0.0)


def people(book: Gradebook) -> dict[str, str]:
    """Return the names of all students by what they are called in folders, "" where no name is known."""
    return {each.id: " ".join(filter(None, (each.first_name, each.last_name))) for each in book.students}
