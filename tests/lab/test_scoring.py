"""A learner's notebook is scored with the hidden checks, whatever became of the file on the way."""

import json
from pathlib import Path

import pytest

from costlab.lab import find_solved, score, without_solutions
from costlab.lab.__main__ import main


def cell(name: str, text: str, points: float | None = None, solution: bool = False, kind: str = "code", tags=()):
    marked = {"nbgrader": {"grade_id": name, "grade": points is not None, "solution": solution}}
    if points is not None:
        marked["nbgrader"]["points"] = points
    if points is None and not solution:
        marked = {}
    return {"id": name, "cell_type": kind, "source": text, "metadata": {**marked, "tags": list(tags)}}


HIDDEN = "\n### BEGIN HIDDEN TESTS\nassert twice(-1) == -2, 'should be -2'\n### END HIDDEN TESTS"
SOLVED = [
    cell("title", "# Lab: doubling", kind="markdown"),
    cell("one", "## Task 1: twice (3 points)", kind="markdown"),
    cell("setup", "import math"),
    cell(
        "twice-answer", "def twice(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION", solution=True
    ),
    cell("twice", f"assert twice(2) == 4{HIDDEN}", 2),
    cell("twice-float", "assert twice(0.5) == 1.0, 'should be 1.0'", 1),
    cell("two", "## Task 2: why? (5 points)", kind="markdown"),
    cell("why", "Because.", 5, solution=True, kind="markdown"),
    cell("your-points", "1 / 0", tags=["score"]),
]


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    write(tmp_path / "labs" / "source" / "doubling" / "doubling.ipynb", SOLVED)
    return tmp_path


def write(path: Path, cells) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def answered(text: str, **others: str) -> list[dict]:
    """The student's cells: visible checks, and an answer."""
    changed = {"twice-answer": text, "twice": "assert twice(2) == 4", **others}
    return [{**each, "source": changed.get(each["id"], each["source"])} for each in SOLVED]


@pytest.mark.parametrize(
    ("answer", "points"),
    [
        ("def twice(x):\n    return x + x", 3),
        ("twice = lambda x: abs(2 * x)", 1),  # right where students see it
        ("def twice(x):\n    return 2 * int(x)", 2),
        ("def twice(x:\n    return", 0),
        ("exit()", 0),
        ("%time 1\n!ls\ndef twice(x): return x * 2", 3),
        ("import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int\ndef twice(x): return A(2 * x).x", 3),
        ("while True: pass", 0),
    ],
)
def test_each_check_counts_alone(lab: Path, answer: str, points: float) -> None:
    found = score(write(lab / "work" / "renamed (1).ipynb", answered(answer)), seconds=0.2)
    assert found.lab == "doubling"
    assert (found.points, found.of) == (points, 3)
    assert [task.by_hand for task in found.tasks] == [0, 5]


def test_changed_deleted_and_doubled_checks_are_put_right(lab: Path) -> None:
    wrong = "def twice(x): return 4"
    cells = answered(wrong, twice="assert True", **{"twice-float": "pass"})
    assert score(write(lab / "a.ipynb", cells)).points == 0
    kept = [each for each in answered("def twice(x): return 2 * x") if each["id"] == "twice-answer"]
    assert score(write(lab / "b.ipynb", kept)).points == 3
    pasted = [*answered(wrong), *answered("def twice(x): return 2 * x")]
    assert score(write(lab / "c.ipynb", pasted)).points == 3, "the last of two answers counts"


def test_the_report_says_what_to_look_at(lab: Path, capsys) -> None:
    path = write(lab / "a.ipynb", answered("twice = lambda x: abs(2 * x)"))
    assert main([str(path)]) == 1
    said = capsys.readouterr().out
    assert "doubling: 1 of 3 points, and up to 5 from a person" in said
    assert "AssertionError: should be -2" in said
    assert main([str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["points"] == 1
    unanswered = write(lab / "b.ipynb", answered('raise NotImplementedError("no answer yet")'))
    assert "no answer" not in score(unanswered).report()


def test_checks_lie_beside_a_notebook_where_there_is_no_course(tmp_path: Path) -> None:
    plain = without_solutions({"cells": SOLVED, "metadata": {}})
    assert "2 * x" not in json.dumps(plain)
    assert "Because" not in json.dumps(plain)
    assert "should be -2" in json.dumps(plain)
    write(tmp_path / "checks" / "doubling.ipynb", plain["cells"])
    path = write(tmp_path / "doubling.ipynb", answered("def twice(x): return 2 * x"))
    assert find_solved(path, json.loads(path.read_text())).parent.name == "checks"
    assert score(path).points == 3
    assert "and up to 5 from a person" in repr(score(path))  # as with the solved notebook


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"cells": 3}'])
def test_what_is_no_notebook_is_named(tmp_path: Path, text: str, capsys) -> None:
    path = tmp_path / "mine.ipynb"
    path.write_text(text)
    assert main([str(path)]) == 2
    assert f"{path} is no notebook" in capsys.readouterr().err
    assert main([str(tmp_path / "none.ipynb")]) == 2
    assert "none.ipynb" in capsys.readouterr().err


def test_a_notebook_of_no_lab_is_named(lab: Path, capsys) -> None:
    assert main([str(write(lab / "other.ipynb", [cell("x", "1")]))]) == 2
    assert "is none of the labs: no cell of it belongs to" in capsys.readouterr().err


def test_a_file_that_other_programs_wrote_is_read(tmp_path: Path, lab: Path) -> None:
    odd = [{"metadata": None}, {"metadata": {"nbgrader": "x", "tags": None}}, {"source": None}, {"source": [1]}, 5]
    cells = [{"cell_type": "code", **each} if isinstance(each, dict) else each for each in odd]
    path = lab / "odd.ipynb"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"cells": [*SOLVED, *cells]}).encode())
    assert score(path).points == 3
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is no notebook"):
        score(path)


def test_an_error_that_cannot_be_said_costs_its_cell(lab: Path) -> None:
    broken = "class Mute(Exception):\n    def __str__(self):\n        raise ValueError\nraise Mute"
    path = write(lab / "mute.ipynb", [*SOLVED, cell("mine", broken)])
    assert score(path).points == 3
