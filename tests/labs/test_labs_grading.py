"""Every lab, graded for real: nothing for nothing, everything for the solution, some for mistakes."""

import re

import nbformat
import pytest

from labs import course as c

# nbgrader's own libraries warn of their own futures.
pytestmark = pytest.mark.filterwarnings("ignore")

REGION = re.compile(r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END", re.S)


def errors(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """What each failed cell says."""
    outputs = [(cell.id, out) for cell in notebook.cells for out in cell.get("outputs", [])]
    return {cell: f"{out.ename}: {out.evalue}" for cell, out in outputs if out.output_type == "error"}


# --- grading ---------------------------------------------------------------------------------------------------


def test_nothing_done_scores_nothing(graded: c.Course) -> None:
    assert graded.scores("empty") == dict.fromkeys(c.checks(graded.lab), 0)


def test_the_solution_scores_everything(graded: c.Course) -> None:
    assert graded.scores("solved") == c.checks(graded.lab)


def test_mistakes_score_in_part(graded: c.Course) -> None:
    right, expected = c.checks(graded.lab), c.wrong_points(graded.lab)
    assert graded.scores("wrong") == expected
    assert 0 < sum(expected.values()) < sum(right.values())


def test_the_open_question_waits_for_a_person(graded: c.Course) -> None:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{graded.folder / 'gradebook.db'}", "costlab") as book:
        for student, waits in (("empty", False), ("solved", True)):
            (notebook,) = book.find_submission(graded.lab, student).notebooks
            open_ones = [grade for grade in notebook.grades if grade.name not in c.checks(graded.lab)]
            assert open_ones, "a lab has an open question"
            assert all(grade.needs_manual_grade == waits for grade in open_ones)


def test_failed_checks_say_what_would_be_right(graded: c.Course) -> None:
    """Each check that the wrong answers fail quotes what came out or names the rule that it breaks."""
    for check, points in c.wrong_points(graded.lab).items():
        if points == 0:
            assert re.search(r"should be|\d", graded.messages("wrong", check)), check


@pytest.mark.parametrize("lab", c.LABS[:1], indirect=True)  # both are the same for all labs
def test_feedback_and_export_work(graded: c.Course) -> None:
    graded.nbgrader("generate_feedback", graded.lab, "--student", "wrong")
    assert (graded.folder / "feedback" / "wrong" / graded.lab / f"{graded.lab}.html").is_file()
    graded.nbgrader("export", "--to", "grades.csv")
    rows = (graded.folder / "grades.csv").read_text().splitlines()
    assert len(rows) == 4
    assert rows[0].startswith("assignment,")


# --- the student version ---------------------------------------------------------------------------------------


def test_the_student_version_is_current(graded: c.Course) -> None:
    committed = c.ROOT / "labs" / "release" / graded.lab / f"{graded.lab}.ipynb"
    assert committed.is_file(), "run make labs"
    assert committed.read_text() == graded.path("release").read_text(), "stale: run make labs"


def test_the_student_version_gives_nothing_away(lab: str) -> None:
    student = (c.ROOT / "labs" / "release" / lab / f"{lab}.ipynb").read_text()
    cells = "\n".join(cell.source for cell in nbformat.reads(student, as_version=4).cells)
    secrets = [
        line.strip()
        for cell in c.source(lab).cells
        for part in REGION.findall(cell.source)
        for line in part.splitlines()
    ]
    assert len(secrets) > 20
    assert not [line for line in secrets if len(line) > 25 and line in cells]
    assert "BEGIN " not in student
    assert "outputs" not in {
        key for cell in nbformat.reads(student, as_version=4).cells for key in cell if cell.get(key)
    }


def test_the_solved_notebook_runs_clean(graded: c.Course) -> None:
    assert errors(graded.graded("solved")) == {}


def test_the_unsolved_notebook_runs_to_its_end(graded: c.Course) -> None:
    """*Run All Cells* stops at an error in a cell that is not tagged for one: here only tagged cells fail."""
    ran = graded.graded("empty")
    failed = errors(ran)
    assert set(c.checks(graded.lab)) <= set(failed)
    assert all(message.startswith("NotImplementedError") for message in failed.values()), failed
    code = [cell for cell in ran.cells if cell.cell_type == "code"]
    assert all("raises-exception" in cell.metadata.get("tags", []) for cell in code if cell.id in failed)
    assert code[-1].execution_count


# --- the source ------------------------------------------------------------------------------------------------


def test_headings_say_the_points(lab: str) -> None:
    """The points in the headings are those that the checks under them give."""
    heading = re.compile(r"^## .*\((\d+) points", re.M)
    told, given = [], []
    for cell in c.source(lab).cells:
        if found := heading.search(cell.source):
            told.append(float(found[1]))
            given.append(0.0)
        elif c.marked(cell, "grade"):
            given[-1] += cell.metadata.nbgrader.points
    assert 5 <= len(told) <= 8
    assert told == given


def test_the_source_is_clean(lab: str) -> None:
    """No outputs; ids that people can read; checks let *Run All Cells* go on; every answer has a region to clear."""
    for cell in c.source(lab).cells:
        assert not cell.get("outputs")
        assert "nbgrader" not in cell.metadata or c.name(cell) == cell.id
        if c.marked(cell, "grade") and cell.cell_type == "code":
            assert "raises-exception" in cell.metadata.tags
            assert "### BEGIN HIDDEN TESTS" in cell.source
        if c.marked(cell, "solution"):
            assert "### BEGIN SOLUTION" in cell.source
