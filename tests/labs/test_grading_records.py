"""A run killed at any instant is completed by the next; a changed submission is graded again, the older kept."""

import os
import signal
import sys
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest
from classroom import grade, gradebook, records
from classroom.collect import Found
from classroom.grade import Class
from classroom.job import Result
from classroom.sandbox import Limits, Unprotected
from classroom.table import rows
from labs.classes import FULL, NAME, handed_in
from nbgrader import api
from sqlalchemy.orm import Session

from labs import classes
from labs import course as c

pytestmark = pytest.mark.filterwarnings("ignore")

FIRST = {"ann": 5.0, "bob": 2.0}
SECOND = {"ann": 5.0, "bob": 3.0}


@pytest.fixture(scope="module")
def version() -> str:
    """The version of a new gradebook's tables, for which nbgrader starts a process each time."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return str(api.get_alembic_version())


@pytest.fixture(autouse=True)
def quick_gradebook(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start that process once."""
    monkeypatch.setattr(api, "get_alembic_version", lambda: version)


def found(student: str, points: float) -> Found:
    """A submission whose points stand in its bytes."""
    return Found(student, "", datetime(2026, 11, 27, tzinfo=UTC), f"{points}".encode(), f"{student}.ipynb")


class Quick(Class):
    """A class whose jobs run nothing: what a submission is worth stands in it."""

    def _results(self, waiting, scratch: Path) -> Iterator[tuple[Found, dict[str, str], Result]]:
        for each, of in list(waiting):
            left = float(each.raw)
            points = {}
            for check, most in FULL.items():
                points[check] = min(most, left)
                left -= points[check]
            text = nbformat.writes(handed_in(triple=f"# {each.raw}"))
            yield each, of, Result("graded", points=points, unread=("why",), notebook=text)


def run(course: Path, points: dict[str, float]) -> None:
    """Grade a class of such submissions."""
    lab = grade.Lab.read(course, NAME)
    handed = [found(student, worth) for student, worth in points.items()]
    with grade.alone(course):
        grade.store(course, NAME, handed)
        Quick(course, lab, Unprotected(), Limits(), 2).grade(handed, again=False)


def killed(course: Path, points: dict[str, float], step: int) -> None:
    """Be a run that is killed just before its step of that number: a file put in place, or a transaction ended."""
    counted = [0]

    def counting(do):
        def counts(*arguments, **named):
            if counted[0] == step:
                os.kill(os.getpid(), signal.SIGKILL)
            counted[0] += 1
            return do(*arguments, **named)

        return counts

    os.replace = counting(os.replace)
    Session.commit = counting(Session.commit)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    run(course, points)
    os._exit(7)  # there is no step of that number


def points_listed(course: Path) -> dict[str, float | None]:
    """The machine's points in the list; None where it says that there are none."""
    return {
        row["student"]: float(row["machine"]) if row["graded"] == "yes" else None
        for row in rows(course, [grade.Lab.read(course, NAME)])
    }


def points_booked(course: Path, student: str) -> float:
    """The machine's points in the gradebook."""
    with gradebook.opened(course) as book:
        return sum(each.machine or 0 for each in gradebook.given(book, NAME, student).values())


def killed_at_each_step(folder: Path, before: dict[str, float], version: str) -> None:
    """Kill a run at its first step, another at its second and so on, and complete each."""
    api.get_alembic_version = lambda: version
    step, ended = 0, -signal.SIGKILL
    while ended == -signal.SIGKILL:
        course = classes.Class.create(folder / str(step)).course
        if before:
            run(course, before)
        child = os.fork()
        if child == 0:
            killed(course, SECOND, step)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for student, points in points_listed(course).items():
            assert points in (None, before.get(student), SECOND[student]), step  # never a silent 0
        run(course, SECOND)
        assert points_listed(course) == SECOND, step
        assert {student: points_booked(course, student) for student in SECOND} == SECOND, step
        assert [path.name for path in course.rglob("*.new")] == [], step
        if before:
            (older,) = (course / "older" / NAME / "bob").glob("2*/record.json")
            assert '"triple-check": 0' in older.read_text()
            assert older.with_name(f"{NAME}.ipynb").is_file()
        step += 1
    assert ended == 7
    assert step > (8 if before else 12), step


@pytest.mark.parametrize("before", [{}, FIRST])
def test_a_run_killed_at_any_step_is_completed_by_the_next(
    tmp_path: Path, before: dict[str, float], version: str
) -> None:
    process = c.READY.Process(target=killed_at_each_step, args=(tmp_path, before, version))
    process.start()
    process.join()
    assert process.exitcode == 0  # its stderr says which step


def test_what_a_person_gave_stays_and_is_looked_at_again(tmp_path: Path) -> None:
    course = classes.Class.create(tmp_path).course
    run(course, {"ann": 5.0})
    with gradebook.opened(course) as book:
        mine = book.find_grade("why", NAME, NAME, "ann")
        mine.manual_score, mine.needs_manual_grade = 4.0, False
        book.db.commit()
    (row,) = rows(course, [grade.Lab.read(course, NAME)])
    assert (row["manual"], row["points"], row["needs_reading"]) == ("4", "9", "no")
    run(course, {"ann": 5.0})  # nothing changed
    assert rows(course, [grade.Lab.read(course, NAME)]) == [row]
    run(course, {"ann": 3.0})
    (row,) = rows(course, [grade.Lab.read(course, NAME)])
    assert (row["machine"], row["manual"], row["points"], row["needs_reading"]) == ("3", "4", "7", "yes")


def test_a_record_that_is_cut_short_is_no_record(tmp_path: Path) -> None:
    course = classes.Class.create(tmp_path).course
    run(course, {"ann": 5.0})
    path = records.Records(course).path("ann", NAME)
    path.write_text(path.read_text()[:-20])
    assert points_listed(course) == {"ann": None} or points_listed(course) == {}
    run(course, {"ann": 5.0})
    assert points_listed(course) == {"ann": 5.0}


def test_a_lab_that_changed_is_graded_again(tmp_path: Path) -> None:
    course = classes.Class.create(tmp_path).course
    run(course, {"ann": 5.0})
    path = course / "source" / NAME / f"{NAME}.ipynb"
    notebook = c.read(path)
    extra = deepcopy(notebook.cells[3])
    extra.id = extra.metadata.nbgrader.grade_id = "new-check"
    notebook.cells[6] = extra  # and the check of the second task is no more
    nbformat.write(notebook, path)
    with gradebook.opened(course) as book:
        gradebook.define(book, grade.Lab.read(course, NAME))
        assert gradebook.given(book, NAME, "ann").keys() == {"double-check", "why"}
    lab = grade.Lab.read(course, NAME)
    assert records.Records(course).read("ann", NAME).of["lab"] != lab.fingerprint


def test_two_runs_at_a_time_are_refused(tmp_path: Path) -> None:
    course = classes.Class.create(tmp_path).course
    with grade.alone(course), pytest.raises(grade.Trouble, match="another run"), grade.alone(course):
        pass


def test_what_formgrader_shows_runs_no_script() -> None:
    from classroom.harmless import harmless
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

    script, dots = "<script>alert(1)</script>", "iVBORw0KGgo=\n"
    data = {"text/html": script, "image/svg+xml": script, "application/javascript": "alert(1)", "text/plain": script}
    outputs = [
        new_output("display_data", {**data, "image/png": dots}, metadata={"image/png": {"width": script}}),
        new_output("execute_result", {"image/png": '" onerror="alert(1)', "text/markdown": script}),
        new_output("stream", text=script),
    ]
    answer = f"$x<y$ and 1 < 2 {script} <img src=x onerror=alert(1)> [a](javascript:alert(1)) [b](https://b.org)"
    given = new_notebook(cells=[new_code_cell("1", outputs=outputs), new_markdown_cell(answer)])
    code, text = harmless(given).cells
    assert [dict(output.data) for output in code.outputs[:2]] == [{"text/plain": script, "image/png": dots}, {}]
    assert not code.outputs[0].metadata
    assert code.outputs[2].text == script  # Formgrader escapes what was printed
    assert "<script" not in text.source and "<img" not in text.source and "](java" not in text.source
    assert "1 < 2" in text.source and "[b](https://b.org)" in text.source
    assert given.cells[1].source == answer
