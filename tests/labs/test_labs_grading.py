"""Every lab, with all its checks: nothing for nothing, everything for the solution, some for mistakes."""

import re

import nbformat
import pytest

from labs import course as c

# nbgrader's own libraries warn of their own futures.
pytestmark = pytest.mark.filterwarnings("ignore")

REGION = re.compile(r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END", re.S)


# --- scoring ---------------------------------------------------------------------------------------------------


def test_nothing_done_scores_nothing(scored: c.Scored) -> None:
    assert scored.points(scored.empty) == dict.fromkeys(c.checks(scored.lab), 0)


def test_the_solution_scores_everything_and_runs_clean(scored: c.Scored) -> None:
    assert scored.solved == {}


def test_mistakes_score_in_part(scored: c.Scored) -> None:
    right, expected = c.checks(scored.lab), c.wrong_points(scored.lab)
    assert scored.points(scored.wrong) == expected
    assert 0 < sum(expected.values()) < sum(right.values())


def test_failed_checks_say_what_would_be_right(scored: c.Scored) -> None:
    """Each check that the wrong answers fail quotes what came out or names the rule that it breaks."""
    for check, points in c.wrong_points(scored.lab).items():
        if points == 0:
            assert re.search(r"should be|\d", scored.wrong[check]), check


def test_the_unsolved_notebook_runs_to_its_end(scored: c.Scored) -> None:
    """*Run All Cells* stops at an error in a cell that is not tagged for one: here only tagged cells fail."""
    assert set(c.checks(scored.lab)) <= set(scored.empty)
    assert all(message.startswith("NotImplementedError") for message in scored.empty.values()), scored.empty
    tagged = {cell.id for cell in c.source(scored.lab).cells if "raises-exception" in cell.metadata.get("tags", [])}
    assert set(scored.empty) <= tagged


# --- the student version ---------------------------------------------------------------------------------------


def test_the_student_version_is_current(scored: c.Scored) -> None:
    committed = c.ROOT / "labs" / "release" / scored.lab / f"{scored.lab}.ipynb"
    assert committed.is_file(), "run make labs"
    assert committed.read_text() == scored.release.read_text(), "stale: run make labs"


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
