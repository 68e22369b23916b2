"""A course's key: what it draws into students' versions, and what it keeps secret."""

import json
import os
import re
import stat
import sys
from pathlib import Path
from types import ModuleType

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from costlab import lab
from costlab.lab.course import KEY
from labs import course as c

pytestmark = pytest.mark.filterwarnings("ignore")  # nbgrader's own libraries warn of their own futures

SECRET = "a secret of one course"
REQUESTS = (16, 1200, 24, 32)


@pytest.fixture(scope="module")
def keyed() -> ModuleType:
    """The module beside the labs' configuration."""
    sys.path.insert(0, str(c.ROOT / "labs"))
    import keyed

    return keyed


@pytest.fixture(scope="module")
def key(keyed: ModuleType) -> ModuleType:
    """The module of the secret itself."""
    import course_key

    return course_key


def notebook() -> NotebookNode:
    """A solved lab with one constant that a key draws."""
    check = "\n".join(
        (
            "assert twice(1) == 2",
            "### BEGIN HIDDEN TESTS",
            'assert REQUESTS == lab.chosen("made-requests", (16, 1200, 24, 32))',
            "for n in lab.seeded(1).integers(1, 9, 3):",
            '    assert twice(n) == 2 * n, f"{twice(n)}, should be {2 * n}"',
            "### END HIDDEN TESTS",
        )
    )
    given = 'from costlab import lab\n\nä, REQUESTS = "ä", lab.chosen("made-requests", (16, 1200, 24, 32))  # at once'
    answer = "def twice(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"
    marks = {"schema_version": 3, "task": False, "locked": True, "grade": False, "solution": False}
    return new_notebook(
        cells=[
            new_markdown_cell('At most <span data-chosen="made-requests">16</span> run at once.', id="text"),
            new_code_cell(given, id="given", metadata={"nbgrader": {**marks, "grade_id": "given"}}),
            new_code_cell(
                answer,
                id="answer",
                metadata={"nbgrader": {**marks, "grade_id": "answer", "solution": True, "locked": False}},
            ),
            new_code_cell(
                check, id="check", metadata={"nbgrader": {**marks, "grade_id": "check", "grade": True, "points": 2}}
            ),
        ]
    )


def test_a_key_draws_values_into_code_and_text(keyed: ModuleType, key: ModuleType) -> None:
    found = set()
    for n in range(12):
        made = notebook()
        with key.at_hand(f"{SECRET} {n}"):
            right = lab.chosen("made-requests", REQUESTS)
            keyed.draw(made)
        text, given = made.cells[0].source, made.cells[1].source
        assert given == f'from costlab import lab\n\nä, REQUESTS = "ä", {right}  # at once'
        assert text == f"At most {right:,} run at once."
        found.add(right)
    assert found == set(REQUESTS)
    assert KEY not in os.environ


def test_a_text_that_names_what_no_code_draws_is_refused(keyed: ModuleType, key: ModuleType) -> None:
    made = notebook()
    made.cells[0].source = made.cells[0].source.replace("made-requests", "other")
    with key.at_hand(SECRET), pytest.raises(ValueError, match="'other', but the code draws made-requests"):
        keyed.draw(made)


def derived(folder: Path) -> None:
    """Derive the made lab twice, without a key and with one."""
    sys.path.insert(0, str(folder))
    from derive import derive

    derive(folder, [])
    derive(folder, [], key=SECRET)


def test_a_handout_has_the_constants_and_no_key_and_is_graded_with_both(
    keyed: ModuleType, key: ModuleType, tmp_path: Path
) -> None:
    for each in c.CONFIGURATION:
        (tmp_path / each).write_text((c.ROOT / "labs" / each).read_text())
    (tmp_path / "source" / "made").mkdir(parents=True)
    (tmp_path / "source" / "made" / "made.ipynb").write_text(json.dumps(notebook()))
    c.in_fresh_process(derived, tmp_path)
    given, handed = (
        {cell.id: cell.source for cell in c.read(tmp_path / folder / "made" / "made.ipynb").cells}
        for folder in ("release", "handout")
    )
    mine = key.lab_key(SECRET, "made")
    with key.at_hand(mine):
        right = lab.chosen("made-requests", REQUESTS)
    assert 'lab.chosen("made-requests"' in given["given"] and ">16</span>" in given["text"]
    assert f", {right}  # at once" in handed["given"] and handed["text"] == f"At most {right:,} run at once."
    everything = (tmp_path / "handout" / "made" / "made.ipynb").read_text()
    assert SECRET not in everything and mine not in everything and "HIDDEN" not in everything
    names: dict[str, object] = {}
    check = notebook().cells[3].source
    with key.at_hand(mine):
        exec(handed["given"] + "\ntwice = lambda x: 2 * x", names)
        exec(check, names)
        names["twice"] = lambda x: x + 1
        with pytest.raises(AssertionError, match="should be"):
            exec(check, names)
    with key.at_hand("another key of a course"):
        hidden = [lab.seeded(1).integers(1, 9, 3).tolist()]
    with key.at_hand(mine):
        assert lab.seeded(1).integers(1, 9, 3).tolist() not in hidden


def test_the_key_is_kept_in_a_file_for_its_owner_alone(key: ModuleType, tmp_path: Path) -> None:
    assert key.course_key(tmp_path) == ""
    drawn = key.keep("new", tmp_path)
    assert re.fullmatch("[0-9a-f]{32}", drawn)
    assert stat.S_IMODE((tmp_path / "course.key").stat().st_mode) == 0o600
    assert key.course_key(tmp_path) == drawn == key.keep("new", tmp_path)
    with pytest.raises(ValueError, match=r"course\.key keeps another key"):
        key.keep(SECRET, tmp_path)
    assert key.course_key(tmp_path) == drawn


def test_a_key_that_could_be_guessed_is_refused(
    key: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="'autumn26' has 8 characters and could be guessed; should have at least 16"):
        key.keep("autumn26", tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv(KEY, "autumn26")
    with pytest.raises(ValueError, match="should have at least 16"):
        key.course_key(tmp_path)


def test_each_lab_is_graded_with_a_key_of_its_own(
    key: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key.keep(SECRET, tmp_path)
    monkeypatch.setattr(key, "_course_key", None)
    monkeypatch.setenv(KEY, "to be restored")
    monkeypatch.delenv(KEY)
    keys = []
    for each in ("moe", "cache", "moe"):
        key.use(each, tmp_path)
        keys.append(os.environ[KEY])
    assert keys[0] == keys[2] != keys[1] and SECRET not in keys


@pytest.mark.parametrize("name", c.LABS)
def test_a_lab_says_the_constants_that_it_has_without_a_key(keyed: ModuleType, key: ModuleType, name: str) -> None:
    """In the solved notebook, the text in each span is the first option that the code draws from."""
    made = c.source(name)
    said = [each for cell in made.cells if cell.cell_type == "markdown" for each in SPAN.findall(cell.source)]
    with key.at_hand(""):
        drawn: dict[str, object] = {}
        for cell in made.cells:
            if cell.cell_type == "code" and "chosen(" in cell.source:
                keyed.drawn_code(cell.source, drawn)
    assert [(each, text) for each, text in said if keyed.told(drawn[each]) != text] == []


SPAN = re.compile(r'<span data-chosen="([^"]+)">(.*?)</span>', re.S)
