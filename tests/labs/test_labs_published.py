"""Whose answers are the published ones: the same but for names, layout and comments, and not what merely works."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from costlab.lab import without_solutions
from labs import course as c

SOLVED = '''
def kept(tokens: list[int], room: int) -> list[int]:
    """Return the last tokens that find room."""
    ### BEGIN SOLUTION
    found = []
    for token in tokens:
        if len(found) == room:
            found.pop(0)  # the oldest
        found.append(token)
    return found
    ### END SOLUTION
'''
RENAMED = """
def kept(xs, n):
    out: list[int] = []
    for x in xs:
        if len(out) == n: out.pop(0)
        out.append(x)
    return out
"""
OTHER = """
def kept(xs, n):
    out = []
    for x in xs:
        out.append(x)
        if len(out) > n:
            out.pop(0)
    return out
"""
GLOBAL = RENAMED.replace("len(out) == n", "len(out) == ROOM")


@pytest.fixture(scope="module")
def published() -> ModuleType:
    """The tool beside the labs."""
    sys.path.insert(0, str(c.ROOT / "labs"))
    import published

    return published


def notebook(**answers: str) -> dict:
    cells = [
        {"cell_type": "code", "source": code, "metadata": {"nbgrader": {"solution": True, "grade_id": each}}}
        for each, code in answers.items()
    ]
    return {"cells": cells}


@pytest.mark.parametrize(
    ("code", "same"), [(SOLVED, True), (RENAMED, True), (OTHER, False), (GLOBAL, False), ("def kept(:", False)]
)
def test_names_layout_and_comments_do_not_count(published: ModuleType, code: str, same: bool) -> None:
    found = published.compare("ann", notebook(kept=code), notebook(kept=SOLVED))
    assert (found.same, found.of) == (["kept"] * same, 1)


def test_short_answers_tell_nothing(published: ModuleType) -> None:
    short = "def twice(x):\n    '''Double.'''\n    y = 2 * x\n    return y"
    found = published.compare("ann", notebook(twice=short), notebook(twice=short))
    assert (found.same, found.of) == ([], 0)


@pytest.mark.parametrize("lab", c.LABS)
def test_nothing_done_is_no_copy_and_the_solution_is_one(published: ModuleType, lab: str) -> None:
    solved = json.loads((c.ROOT / "labs" / "source" / lab / f"{lab}.ipynb").read_text())
    whole = published.compare("ann", solved, solved)
    assert len(whole.same) == whole.of >= 2
    assert published.compare("ann", without_solutions(solved), solved).same == []


def test_a_line_a_student_those_with_most_first(
    published: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for student, kind in (("ann", "release"), ("bo", "source")):
        (tmp_path / student / "moe").mkdir(parents=True)
        text = (c.ROOT / "labs" / kind / "moe" / "moe.ipynb").read_text()
        (tmp_path / student / "moe" / "moe.ipynb").write_text(text)
    (tmp_path / "cy" / "moe").mkdir(parents=True)
    (tmp_path / "cy" / "moe" / "moe.ipynb").write_text("lost")
    monkeypatch.setattr(sys, "argv", ["published.py", "moe", "--submissions", str(tmp_path)])
    assert published.main() == 0
    said = capsys.readouterr()
    first, second = said.out.splitlines()[1:]
    assert first.startswith("bo: ") and second.startswith("ann: 0 of ")
    assert "cy" in said.err and "is no notebook" in said.err
    monkeypatch.setattr(sys, "argv", ["published.py", "mo", "--submissions", str(tmp_path)])
    assert published.main() == 2 and "no lab 'mo'; there are attention" in capsys.readouterr().err


@pytest.mark.parametrize("code", ["x = '\0'", "x = " + "-" * 50_000 + "1", "x = " + "+".join(["a"] * 20_000)])
def test_code_that_cannot_be_read_is_nobodys(code: str, published: ModuleType) -> None:
    assert published.statements(code) in (0, 1)
    assert published.canonical(code)
