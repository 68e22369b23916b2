"""Whose file is which, and a student's cells put back among the lab's, whatever was done to the file."""

import json
import os
import zipfile
from pathlib import Path

import pytest
from classroom.collect import collected
from classroom.feedback import name_in_zip
from classroom.lab import Lab, title
from classroom.mend import Refused, mended, parse
from classroom.records import Record
from hypothesis import given
from hypothesis import strategies as st
from labs.classes import FULL, handed_in
from nbformat import NotebookNode

from labs import classes

pytestmark = pytest.mark.filterwarnings("ignore")


def put(folder: Path, *paths: str) -> Path:
    """Write files whose content is their path."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    return folder


def students(where: Path, lab: str = "moe") -> dict[str, str]:
    """Whose file is which."""
    found, _ = collected(where, lab, ["moe", "cache"])
    return {each.student: each.raw.decode() for each in found}


@pytest.mark.parametrize(
    "paths",
    [
        {"ann": "ann/moe/moe.ipynb", "bob": "bob/moe/moe.ipynb"},
        {"ann": "ann/moe/moe.ipynb"},
        {"ann": "ann.ipynb", "bob": "bob.ipynb"},
        {"ann": "ann/moe.ipynb", "bob": "bob/my answers (2).ipynb"},
        {"ann": "export/ann/moe.ipynb", "bob": "export/bob/moe.ipynb"},
        {"ann": "export/ann.ipynb", "bob": "export/bob.ipynb"},
        {"ann": "moe-ann.ipynb", "bob_lee": "bob lee_moe (1).ipynb"},
        {
            "4712": "Bo Li_4712_assignsubmission_file_moe (1).ipynb",
            "4713": "Ann van Dam_4713_assignsubmission_file_/moe.ipynb",
        },
        {"88": "libo_88_99_moe-1.ipynb", "77": "leeann_LATE_77_98_moe.ipynb"},
    ],
)
def test_names_of_students_in_what_is_handed_in(tmp_path: Path, paths: dict[str, str]) -> None:
    assert students(put(tmp_path / "in", *paths.values())) == paths
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in paths.values():
            archive.writestr(path, path)
    assert students(tmp_path / "in.zip") == paths


def test_moodle_tells_the_name_too(tmp_path: Path) -> None:
    found, _ = collected(put(tmp_path, "Bo Li_4712_assignsubmission_file_moe.ipynb"), "moe")
    assert [(each.student, each.name) for each in found] == [("4712", "Bo Li")]


def test_other_labs_and_other_files_are_left_alone(tmp_path: Path) -> None:
    put(tmp_path, "ann/moe/moe.ipynb", "ann/cache/cache.ipynb", "ann/moe/.ipynb_checkpoints/moe.ipynb", "ann/moe/x.txt")
    (tmp_path / "eve.ipynb").symlink_to("/etc/passwd")
    assert students(tmp_path) == {"ann": "ann/moe/moe.ipynb"}


def test_a_zip_file_cannot_write_elsewhere(tmp_path: Path) -> None:
    paths = ["../../evil.ipynb", "/etc/evil2.ipynb", "a\\..\\..\\evil3.ipynb", "ok.ipynb", "..ipynb"]
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in paths:
            archive.writestr(path, path)
    for student in students(tmp_path / "in.zip"):
        assert student
        assert not {"/", "\\"} & set(student)
        assert not student.startswith(".")


def test_students_whose_names_fall_together_stay_apart(tmp_path: Path) -> None:
    found = students(put(tmp_path, "a b.ipynb", "a_b.ipynb", "a:b.ipynb"))
    assert found.pop("a_b") == "a_b.ipynb"
    assert sorted(found.values()) == ["a b.ipynb", "a:b.ipynb"]
    assert all(student.startswith("a_b-") for student in found)


def test_the_latest_file_counts_and_the_other_is_named(tmp_path: Path) -> None:
    put(tmp_path, "ann/moe.ipynb", "ann/moe (1).ipynb", "bob/moe.ipynb")
    os.utime(tmp_path / "ann" / "moe.ipynb", (1, 1))
    found, notes = collected(tmp_path, "moe")
    assert found[0].raw == b"ann/moe (1).ipynb"
    assert notes == ["ann: ann/moe (1).ipynb is graded, ann/moe.ipynb is not"]


def test_a_damaged_part_of_a_zip_file_is_one_students_trouble(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("ann.ipynb", "A" * 1000)
        archive.writestr("bob.ipynb", "fine")
    raw = (tmp_path / "in.zip").read_bytes().replace(b"A" * 1000, b"B" * 1000)
    (tmp_path / "in.zip").write_bytes(raw)
    ann, bob = collected(tmp_path / "in.zip", "moe")[0]
    assert (bob.raw, bob.problem) == (b"fine", "")
    assert "Bad CRC-32" in ann.problem


@pytest.mark.parametrize("where", ["missing", "text.zip"])
def test_what_is_no_folder_and_no_zip_file_is_refused(tmp_path: Path, where: str) -> None:
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(ValueError, match=where):
        collected(tmp_path / where, "moe")


def test_a_notebook_of_far_too_many_cells_is_refused() -> None:
    """Each cell costs the grader a millisecond at least, and a file has room for 200,000."""
    cells = [{"cell_type": "code", "source": "", "metadata": {}}] * 2001
    with pytest.raises(Refused, match="2,001 cells, more than 2,000"):
        parse(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}).encode())


# --- mending ---------------------------------------------------------------------------------------------------

EDITS = ["delete", "copy", "up", "rename", "unmark", "split", "add", "type"]


def edited(notebook: NotebookNode, edit: str, at: int) -> None:
    """Do to a notebook what students do."""
    cells = notebook.cells
    index = at % len(cells)
    cell = cells[index]
    if edit == "delete" and len(cells) > 4:
        del cells[index]
    elif edit == "copy":
        cells.insert(index + 1, NotebookNode({**cell, "id": f"copy-{at}"}))
    elif edit == "up":
        cells.insert(max(0, index - 1), cells.pop(index))
    elif edit == "rename":
        cell.id = f"renamed-{at}"
    elif edit == "unmark":
        cell.metadata = {}
    elif edit == "split":
        lines = cell.source.split("\n")
        cell.source = "\n".join(lines[:1])
        cells.insert(index + 1, NotebookNode({**cell, "id": f"split-{at}", "source": "\n".join(lines[1:])}))
    elif edit == "add":
        cells.insert(index, NotebookNode(cell_type="code", id=f"own-{at}", metadata={}, source=f"own_{at} = 1"))
    elif edit == "type":
        cell.source += f"\n# typed {at}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The small lab."""
    return classes.Class.create(tmp_path_factory.mktemp("lab")).lab


@given(edits=st.lists(st.tuples(st.sampled_from(EDITS), st.integers(0, 99)), max_size=8))
def test_any_edits_leave_each_check_once_and_lose_no_line(lab: Lab, edits: list[tuple[str, int]]) -> None:
    notebook = handed_in()
    for edit, at in edits:
        edited(notebook, edit, at)
    try:
        whole = mended(parse(json.dumps(notebook).encode()), lab).notebook
    except Refused:
        assert edits
        return
    checks = [title(cell) for cell in whole.cells if title(cell) in FULL]
    assert checks == list(FULL)
    sources = {title(cell): cell.source for cell in whole.cells}
    assert all("BEGIN HIDDEN TESTS" in sources[check] for check in FULL)
    assert len({cell.id for cell in whole.cells}) == len(whole.cells)
    kept = "\n".join(cell.source for cell in whole.cells)
    for cell in notebook.cells:
        theirs = cell.id in ("double", "triple") or cell.id.startswith("own-")
        if theirs and cell.cell_type == "code":
            assert cell.source in kept


def test_the_lab_itself_is_not_changed(lab: Lab) -> None:
    before = [cell.source for cell in lab.cells]
    mended(parse(json.dumps(handed_in(double="def double(x): return 0")).encode()), lab)
    assert [cell.source for cell in lab.cells] == before


def test_feedback_goes_back_under_the_names_that_moodle_gave(lab: Lab) -> None:
    came = {"Bo Li_4712_assignsubmission_file_moe (1).ipynb": "Bo Li_4712_assignsubmission_file_tiny.html"}
    # Moodle reads five parts with an underscore between them; newer ones name a folder by four.
    for folder in ("Bo Li_4712_assignsubmission_file", "Bo Li_4712_assignsubmission_file_"):
        came[f"{folder}/tiny.ipynb"] = "Bo Li_4712_assignsubmission_file_tiny.html"
    came |= {"ann/tiny.ipynb": "ann/tiny.html"}
    for path, back in came.items():
        assert name_in_zip(lab, Record("ann", lab.name, {}, "graded", came_as=path)) == back


def test_names_that_no_system_agrees_on_are_read_and_printed(tmp_path: Path) -> None:
    raw = {b"M\xfcller": "Müller", "Zo\u00eb".encode(): "Zoë", b"a\nb\x1b[2J": "a_b__2J", "\u202egnp".encode(): "gnp"}
    for name in raw:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name + b".ipynb")).write_text("{}")
    found, _ = collected(tmp_path, "moe")
    assert {each.student for each in found} == set(raw.values())
    assert all(each.path.isprintable() and each.path.encode() for each in found)


def test_a_name_fits_into_a_file_system(tmp_path: Path) -> None:
    path = tmp_path / "class.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("\U00020000" * 100 + ".ipynb", "{}")
        archive.writestr("bo.ipynb", "{}")
    for each in collected(path, "moe")[0]:
        (tmp_path / f"{each.student}-123456.log").touch()
