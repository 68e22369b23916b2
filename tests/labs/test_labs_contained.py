"""Cells that never end, or kill Python, are failed cells: they neither hang the grader nor cost other points."""

import sys
from pathlib import Path
from typing import Any

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from labs import course as c

# nbgrader's own libraries warn of their own futures.
pytestmark = pytest.mark.filterwarnings("ignore")

STUBBORN = """
import time
while True:
    try:
        while True:
            time.sleep(1)
    except BaseException:
        pass  # not even Ctrl-C
"""
CRASH = "\nimport os\nos._exit(1)\n"


# --- through nbgrader, on one lab --------------------------------------------------------------------


def in_first_answer(lab: str, extra: str) -> dict[str, str]:
    """The solutions, with more code at the end of the first answer."""
    answers = c.solutions(lab)
    first = next(iter(answers))
    return {**answers, first: answers[first] + extra}


def test_a_loop_a_crash_and_a_broken_file_cost_only_their_own(tmp_path: Path) -> None:
    lab = "moe"  # what contains them is the same for all labs
    course = c.Course.create(tmp_path, lab)
    course.submit("loops", c.filled(course.student_version(), in_first_answer(lab, STUBBORN)))
    course.submit("crashes", c.filled(course.student_version(), in_first_answer(lab, CRASH)))
    course.submit("garbles", '{"cells": [')
    only_answers = c.filled(course.student_version(), c.solutions(lab))
    only_answers.cells = [cell for cell in only_answers.cells if c.marked(cell, "solution")]
    course.submit("deletes", only_answers)

    done = course.typed("autograde", lab, "--Contained.timeout=10")
    assert done.returncode != 0
    assert "'garbles'" in done.stderr  # named, so that a teacher looks at the file

    full, lost = c.checks(lab), c.checks_of_first_answer(lab)
    assert lost
    for student in ("loops", "crashes"):
        assert course.scores(student) == {check: 0 if check in lost else full[check] for check in full}
    assert course.scores("deletes") == full
    assert not any(course.scores("garbles").values())
    first = next(iter(c.solutions(lab)))
    assert course.messages("loops", first) == "not done after 10 s, so it was stopped"
    assert course.messages("crashes", first) == "Python ended while this cell ran"


# --- the executor alone, on notebooks of a line or two -----------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    """A function that runs cells and returns what each came to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(c.ROOT / "labs"), *sys.path])
        from grading import Contained

    def outcome(cell: NotebookNode) -> str:
        kinds = [out.ename if out.output_type == "error" else out.name for out in cell.outputs]
        return kinds[-1] if kinds else "quiet"

    def run_cells(*sources: str, **settings: Any) -> list[str]:
        notebook = new_notebook(cells=[new_code_cell(text) for text in sources])
        resources = {"metadata": {"path": str(tmp_path_factory.mktemp("cells"))}}
        ran, _ = Contained(**{"timeout": 100, **settings}).preprocess(notebook, resources)
        return [outcome(cell) for cell in ran.cells]

    return run_cells


def test_each_cell_that_calls_a_crash_fails_and_the_others_go_on(run) -> None:
    cells = ["import os\ndef f(): os._exit(1)", "f()", "a = 1", "f()", "assert a == 1", "1 / 0", "print(a)"]
    fates = ["quiet", "DeadKernelError", "quiet", "DeadKernelError", "quiet", "ZeroDivisionError", "stdout"]
    assert run(*cells) == fates


def test_after_too_many_crashes_all_later_cells_fail(run) -> None:
    cells = ["import os\ndef f(): os._exit(1)", "print(1)", "f()", "f()", "a = 1", "b = 1"]
    fates = ["quiet", "stdout", "DeadKernelError", "DeadKernelError", "NotRunError", "NotRunError"]
    assert run(*cells, restarts=1) == fates


def test_a_flood_of_text_ends(run) -> None:
    cells = ["while True: print('x' * 1000)", "a = 1"]
    limits = dict(zip(cells, (1, 100), strict=True))
    assert run(*cells, timeout_func=lambda cell: limits[cell.source]) == ["CellTimeoutError", "quiet"]


def test_a_question_and_a_warning_are_no_trouble(run) -> None:
    cells = ["input()", "import warnings\nwarnings.warn('beware')"]
    assert run(*cells) == ["StdinNotImplementedError", "stdout"]
