"""What a lab asks: its cells, checks, points and tasks, all from the solved notebook."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

#: What stands where an answer was; it raises, so an answer not given earns nothing.
NO_ANSWER = '# YOUR CODE HERE\nraise NotImplementedError("no answer yet")'
HEADING = re.compile(r"^## +(.*?) *\((\d+) points?\b", re.M)


@dataclass(frozen=True)
class Task:
    """A heading, and the cells below it that give points.

    Attributes:
        title: the heading, without its points.
        cells: names of the cells that give points, in order.
    """

    title: str
    cells: tuple[str, ...]

    @property
    def short(self) -> str:
        """What stands before the colon: "Task 1"."""
        return self.title.split(":")[0].strip()


@dataclass(frozen=True)
class Lab:
    """A lab as the grader sees it.

    Attributes:
        name: of the lab, of its folder, and of its notebook.
        cells: those of the solved notebook, hidden checks and all, with each answer as students get it: not given.
        metadata: of the notebook.
        fingerprint: changes when the solved notebook does.
    """

    name: str
    cells: tuple[NotebookNode, ...]
    metadata: NotebookNode
    fingerprint: str

    @classmethod
    def read(cls, course: Path, name: str) -> Lab:
        """Read a lab from a course's folder; ValueError if there is none of that name."""
        from nbgrader.preprocessors import ClearSolutions
        from nbgrader.utils import compute_checksum

        path = course / "source" / name / f"{name}.ipynb"
        if not path.is_file():
            there = ", ".join(names(course)) or "none"
            raise ValueError(f"no lab {name!r} in {course / 'source'}; there are: {there}")
        raw = path.read_bytes()
        notebook = nbformat.reads(raw.decode(), as_version=4)
        notebook, _ = ClearSolutions(code_stub={"python": NO_ANSWER}).preprocess(notebook, {})
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
            if mark(cell):
                cell.metadata.nbgrader["checksum"] = compute_checksum(cell)
        fingerprint = hashlib.sha256(raw).hexdigest()
        return cls(name, tuple(notebook.cells), notebook.metadata, fingerprint)

    @property
    def points(self) -> dict[str, float]:
        """Most points of each cell that gives some."""
        return {title(cell): float(cell.metadata.nbgrader.points) for cell in self.cells if is_grade(cell)}

    @property
    def checks(self) -> dict[str, float]:
        """Most points of each cell that a machine grades."""
        return {
            title(c): self.points[title(c)]
            for c in self.cells
            if is_grade(c) and not is_answer(c) and c.cell_type == "code"
        }

    @property
    def open(self) -> dict[str, float]:
        """Most points of each answer that a person reads."""
        return {name: points for name, points in self.points.items() if name not in self.checks}

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks in order; cells with points above the first heading are a task without a heading."""
        return tuple(Task(heading, tuple(cells)) for heading, cells in self._tasks() if cells)

    def _tasks(self) -> Iterator[tuple[str, list[str]]]:
        heading, cells = self.name, list[str]()
        for cell in self.cells:
            if cell.cell_type == "markdown" and not mark(cell) and (found := HEADING.search(cell.source)):
                yield heading, cells
                heading, cells = found[1], []
            if is_grade(cell):
                cells.append(title(cell))
        yield heading, cells


def names(course: Path) -> list[str]:
    """Return the labs of a course's folder."""
    return sorted(path.stem for path in (course / "source").glob("*/*.ipynb") if path.stem == path.parent.name)


def mark(cell: NotebookNode) -> NotebookNode:
    """Return nbgrader's mark of a cell, empty if it has none or one of another shape."""
    found = cell.get("metadata", {}).get("nbgrader", {})
    return found if isinstance(found, dict) else NotebookNode()


def title(cell: NotebookNode) -> str:
    """Return the name that a lab gives a cell."""
    return str(mark(cell).get("grade_id") or cell.get("id", ""))


def is_grade(cell: NotebookNode) -> bool:
    """Return whether a cell gives points."""
    return bool(mark(cell).get("grade"))


def is_answer(cell: NotebookNode) -> bool:
    """Return whether a student writes here."""
    return bool(mark(cell).get("solution"))


def is_open(cell: NotebookNode) -> bool:
    """Return whether a student may change a cell: an answer, or one that nobody marked."""
    return is_answer(cell) or not mark(cell).get("locked", is_grade(cell))
