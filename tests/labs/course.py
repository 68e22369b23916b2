"""Submissions of the labs: made, scored in this process, and graded by nbgrader's commands in a temporary folder."""

import re
import runpy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from types import FunctionType
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

from costlab.lab import assembled, scoring

ROOT = Path(__file__).parents[2]
LABS = sorted(folder.name for folder in (ROOT / "labs" / "source").iterdir() if folder.is_dir())
WRONG = Path(__file__).parent / "wrong"
#: What a course's folder needs beside its sources.
CONFIGURATION = ("nbgrader_config.py", "keyed.py", "course_key.py", "derive.py")


def read(path: Path) -> NotebookNode:
    """A notebook of the labs."""
    return nbformat.read(path, as_version=4)


def source(lab: str) -> NotebookNode:
    """The solved notebook."""
    return read(ROOT / "labs" / "source" / lab / f"{lab}.ipynb")


def marked(cell: NotebookNode, mark: str) -> bool:
    """Whether nbgrader's metadata says this of the cell."""
    return bool(cell.metadata.get("nbgrader", {}).get(mark))


def name(cell: NotebookNode) -> str:
    """nbgrader's name of a cell."""
    return str(cell.metadata.nbgrader.grade_id)


def checks(lab: str) -> dict[str, float]:
    """Points of each check that a machine grades."""
    cells = [cell for cell in source(lab).cells if marked(cell, "grade") and not marked(cell, "solution")]
    return {name(cell): float(cell.metadata.nbgrader.points) for cell in cells}


def checks_of_first_answer(lab: str) -> set[str]:
    """The checks between the first answer and the second: what a lab loses when the first answer is no use."""
    mine: set[str] = set()
    answers = 0
    for cell in source(lab).cells:
        answers += marked(cell, "solution")
        if answers == 1 and marked(cell, "grade"):
            mine.add(name(cell))
    return mine


def changed(text: str, changes: list[tuple[str, str]]) -> str:
    """A cell's text with pieces of it replaced, each of which stands there once."""
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@cache
def cells(lab: str) -> dict[str, str]:
    """A solved lab's cells, by name."""
    return {cell.id: cell.source for cell in source(lab).cells}


@cache
def told(lab: str) -> dict[str, Any]:
    """What a lab's cells define, the solved answers among it; cells that only show something are left out."""
    names: dict[str, Any] = {"__name__": "lab"}
    for cell in source(lab).cells:
        if cell.cell_type == "code" and "raises-exception" not in cell.metadata.get("tags", []):
            exec(cell.source, names)
    return names


def given(lab: str, answer: str, changes: list[tuple[str, str]]) -> dict[str, Any]:
    """What a lab's cells define, with a changed answer."""
    return with_answer(lab, changed(cells(lab)[answer], changes))


def with_answer(lab: str, answer: str) -> dict[str, Any]:
    """What a lab's cells define, with another answer, which the lab's own functions call."""
    names: dict[str, Any] = {}
    for name, value in told(lab).items():
        mine = isinstance(value, FunctionType) and value.__globals__ is told(lab)
        names[name] = _moved(value, names) if mine else value
    exec(answer, names)
    return names


def _moved(function: FunctionType, names: dict[str, Any]) -> FunctionType:
    """A function that looks up what it calls among other names."""
    moved = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    moved.__kwdefaults__ = function.__kwdefaults__
    return moved


def passed(cells: dict[str, str], checks: str, names: dict[str, Any]) -> None:
    """Run checks, by the names of their cells, on what a lab's other cells define."""
    for check in checks.split():
        exec(cells[check], names)


def failed(cells: dict[str, str], checks: str, names: dict[str, Any]) -> None:
    """See that each of some checks fails, and says what would be right or what came out."""
    for check in checks.split():
        with pytest.raises(AssertionError, match=r"should be|\d"):
            exec(cells[check], names)


# --- submissions -----------------------------------------------------------------------------------------------


def filled(student: NotebookNode, answers: dict[str, str]) -> NotebookNode:
    """A student version with answers in it."""
    for cell in student.cells:
        if marked(cell, "solution") and name(cell) in answers:
            cell.source = answers[name(cell)]
    return student


def solutions(lab: str) -> dict[str, str]:
    """The answer cells of the solved notebook."""
    return {name(cell): cell.source for cell in source(lab).cells if marked(cell, "solution")}


def wrong_answers(lab: str) -> dict[str, str]:
    """The cells of the wrong submission."""
    parts = re.split(r"^# %% (\S+)\n", (WRONG / f"{lab}.py").read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def wrong_points(lab: str) -> dict[str, float]:
    """What the checks should give the wrong submission."""
    return {**checks(lab), **runpy.run_path(str(WRONG / f"{lab}.py"))["POINTS"]}


@dataclass(frozen=True)
class Scored:
    """What three submissions of a lab came to: by cell name, what each cell that failed says."""

    lab: str
    release: Path
    empty: dict[str, str]
    solved: dict[str, str]
    wrong: dict[str, str]

    @classmethod
    def of(cls, lab: str, release: Path) -> "Scored":
        """Score the student version as it is, with the solutions, and with the wrong answers."""
        answers = ({}, solutions(lab), solutions(lab) | wrong_answers(lab))
        return cls(lab, release, *(failures(lab, filled(read(release), each)) for each in answers))

    def points(self, failed: dict[str, str]) -> dict[str, float]:
        """The points of each check."""
        return {check: 0 if check in failed else points for check, points in checks(self.lab).items()}


def failures(lab: str, notebook: NotebookNode) -> dict[str, str]:
    """Run a submission with all checks in it; what each cell that failed says."""
    return scoring.run_cells(assembled(notebook, source(lab)))


# --- the course ------------------------------------------------------------------------------------------------

# Each command is a process forked from one that has imported nbgrader: with what it would import, but no state.
READY = get_context("forkserver")
READY.set_forkserver_preload(["nbgrader.apps.nbgraderapp", "nbgrader.preprocessors"])


def in_fresh_process(task: Callable[..., None], *arguments: Any) -> None:
    """Run a function to its end in a process of its own, in which nbgrader is imported."""
    process = READY.Process(target=task, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0, f"{task.__name__} ended with {process.exitcode}"


def derive_all(folder: Path) -> None:
    """Derive the student version of each lab in a course's folder."""
    runpy.run_path(str(ROOT / "labs" / "derive.py"))["derive"](folder, [])
