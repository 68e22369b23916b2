"""A small lab and its class in a temporary folder, graded by the teacher's own command."""

import csv
import json
import os
import subprocess
import sys
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import nbformat
from classroom.choose import why_no_bubblewrap
from classroom.lab import Lab
from classroom.records import Record, Records
from classroom.sandbox import Limits
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from labs import course as c

NAME = "tiny"
#: Full points of the checks, and of the answer that a person reads.
FULL = {"double-check": 2.0, "triple-check": 3.0}
OPEN = {"why": 5.0}
#: What the answers are when they are right.
RIGHT = {"double": "def double(x):\n    return 2 * x", "triple": "def triple(x):\n    return 3 * x", "why": "Because."}
NO_BUBBLEWRAP = why_no_bubblewrap(Limits())


def _marked(cell: NotebookNode, name: str, **marks: object) -> NotebookNode:
    told = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
    cell.id, cell.metadata = name, NotebookNode(nbgrader=NotebookNode({**told, "grade_id": name, **marks}))
    return cell


def _answer(name: str) -> NotebookNode:
    head, body = RIGHT[name].split("\n")
    text = f"{head}\n    ### BEGIN SOLUTION\n{body}\n    ### END SOLUTION"
    return _marked(new_code_cell(text), name, solution=True)


def _check(name: str, call: str, hidden: str) -> NotebookNode:
    shown, more = (f"assert {each}, '{each} should hold'" for each in (call, hidden))
    text = f"{shown}\n### BEGIN HIDDEN TESTS\n{more}\n### END HIDDEN TESTS"
    cell = _marked(new_code_cell(text), name, grade=True, locked=True, points=int(FULL[name]))
    cell.metadata.tags = ["raises-exception"]
    return cell


def solved() -> NotebookNode:
    """The solved notebook: two answers with a check each, and one that a person reads."""
    why = new_markdown_cell("### BEGIN SOLUTION\nBecause. To grade: 5 for the reason.\n### END SOLUTION")
    score = new_code_cell('raise SystemExit("the grader has no score")', id="your-points")
    score.metadata.tags = ["score", "raises-exception"]
    cells = [
        new_markdown_cell("# Tiny", id="intro"),
        new_markdown_cell("## Task 1: twice (2 points)", id="task-1"),
        _answer("double"),
        _check("double-check", "double(2) == 4", "double(-3) == -6"),
        new_markdown_cell("## Task 2: thrice (3 points)", id="task-2"),
        _answer("triple"),
        _check("triple-check", "triple(2) == 6", "triple(-3) == -9"),
        new_markdown_cell("## Task 3: why (5 points, read by a person)", id="task-3"),
        _marked(why, "why", grade=True, solution=True, points=5),
        score,
    ]
    return new_notebook(cells=cells)


def handed_in(**answers: str) -> NotebookNode:
    """A student's notebook: the right answers, but for those given; "" leaves one as it was handed out."""
    notebook = deepcopy(STUDENT)
    for cell in notebook.cells:
        text = answers.get(cell.id, RIGHT.get(cell.id, ""))
        if cell.id in RIGHT and text:
            cell.source = text
    return notebook


def _student() -> NotebookNode:
    """The student version, as `make labs` derives it."""
    stub = 'def {0}(x):\n    # YOUR CODE HERE\n    raise NotImplementedError("no answer yet")'
    notebook = solved()
    for cell in notebook.cells:
        if cell.id in ("double", "triple"):
            cell.source = stub.format(cell.id)
        elif cell.id == "why":
            cell.source = "YOUR ANSWER HERE"
        cell.source = cell.source.split("\n### BEGIN HIDDEN TESTS")[0]
    return notebook


STUDENT = _student()


@dataclass(frozen=True)
class Class:
    """A course's folder with the small lab, and a folder of what was handed in."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> "Class":
        """Make the folders."""
        path = folder / "course" / "source" / NAME / f"{NAME}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(solved(), path)
        (folder / "in").mkdir()
        return cls(folder)

    @property
    def course(self) -> Path:
        """The course's folder."""
        return self.folder / "course"

    @property
    def lab(self) -> Lab:
        """The lab as the grader sees it."""
        return Lab.read(self.course, NAME)

    @property
    def records(self) -> Records:
        """What is known of the class."""
        return Records(self.course)

    def record(self, student: str) -> Record:
        """What is known of a student."""
        found = self.records.read(student, NAME)
        assert found is not None, f"no record of {student}"
        return found

    def submit(self, student: str, what: NotebookNode | dict | str | bytes) -> None:
        """Hand in a notebook, or whatever is in the file."""
        raw = what if isinstance(what, bytes) else (what if isinstance(what, str) else json.dumps(what)).encode()
        (self.folder / "in" / f"{student}.ipynb").write_bytes(raw)

    def run(self, verb: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Type a teacher's command."""
        line = [sys.executable, str(c.ROOT / "labs" / "teach.py"), verb, *options, "--course", str(self.course)]
        env = {**os.environ, "PYTHONPATH": str(c.ROOT), **environment}
        return subprocess.run(line, env=env, capture_output=True, text=True, timeout=300)

    def grade(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Grade what was handed in."""
        return self.run("grade", NAME, "--submissions", str(self.folder / "in"), *options, **environment)

    def graded(self, student: str) -> NotebookNode:
        """A student's notebook as it ran."""
        return nbformat.read(self.records.notebook(student, NAME), as_version=4)

    def table(self) -> dict[str, dict[str, str]]:
        """The rows of the list of points, by student."""
        done = self.run("grades", NAME)
        assert done.returncode == 0, done.stderr
        with (self.course / f"grades-{NAME}.csv").open(newline="") as file:
            return {row["student"]: row for row in csv.DictReader(file)}
