"""A class with every mishap and every attack we know of, graded in one run: each costs its own student, nobody else."""

import re
import zipfile
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import pytest
from classroom.lab import Lab
from labs.classes import FULL, NAME, RIGHT, STUDENT, Class, handed_in
from nbformat.v4 import new_markdown_cell

from labs import classes
from labs import course as c

pytestmark = pytest.mark.filterwarnings("ignore")

NO_DOUBLE = {"double-check": 0.0, "triple-check": 3.0}
NO_TRIPLE = {"double-check": 2.0, "triple-check": 0.0}
SECRET, KEY = "of-the-teacher", "autumn-term-of-2026"
CHILD = "left-behind-by-a-student"


@dataclass(frozen=True)
class Case:
    """A submission and what it should get: points, or the reason why there are none."""

    what: object
    points: dict[str, float] | None = None
    reason: str = ""
    note: str = ""


def with_code(code: str, cell: str = "double") -> object:
    """The right answers, with more code at the end of one."""
    return handed_in(**{cell: f"{RIGHT[cell]}\n{code}"})


def changed(change) -> object:
    """The right answers, with something done to the notebook."""
    notebook = handed_in()
    change(notebook)
    return notebook


# --- mishaps ---------------------------------------------------------------------------------------------------


def pasted(notebook):
    """A copy of an answer below it: the id is new, nbgrader's mark is the old one."""
    copy = deepcopy(notebook.cells[2])
    copy.id = "pasted"
    notebook.cells.insert(3, copy)


def split(notebook):
    """JupyterLab's *split cell*, in an answer and in a check."""
    for index, line in ((6, 1), (2, 1)):
        cell, rest = notebook.cells[index], deepcopy(notebook.cells[index])
        lines = (cell.source + "\n\ndone = True").split("\n")
        cell.source, rest.source, rest.id = "\n".join(lines[: line + 1]), "\n".join(lines[line + 1 :]), f"split-{index}"
        notebook.cells.insert(index + 1, rest)


def nameless(notebook):
    """Pasted into a new notebook: no id and no mark of nbgrader's is left."""
    for index, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"new-{index}", {}


def old_marks(notebook):
    """Marks of other schemas of nbgrader's, and of none."""
    marks = [{"schema_version": 1, "grade_id": "double"}, {}, {"schema_version": 99}, "text", ["list"], None]
    for cell, mark in zip(notebook.cells[2:], marks, strict=False):
        cell.metadata["nbgrader"] = mark


def bare(notebook):
    """The answers alone, in another order, and no check."""
    notebook.cells = [notebook.cells[5], notebook.cells[2]]


def cheating(notebook):
    """Checks that hold always, and a hundred points for each."""
    for cell in notebook.cells:
        if "check" in cell.id:
            cell.source, cell.metadata.nbgrader["points"] = "assert True", 100


def as_text(notebook):
    """A check turned to Markdown."""
    notebook.cells[3] = new_markdown_cell(notebook.cells[3].source, id="double-check")


def reversed_order(notebook):
    notebook.cells.reverse()


def other_lab() -> object:
    text = nbformat.writes(handed_in())
    for name in ("double", "triple", "why"):
        text = text.replace(f'"{name}', f'"other-{name}')
    return text.replace("assert ", "assert 1 and ")


OLD_FORMAT = {
    "nbformat": 3,
    "nbformat_minor": 0,
    "metadata": {},
    "worksheets": [
        {
            "metadata": {},
            "cells": [
                {
                    "cell_type": "code",
                    "input": cell.source,
                    "language": "python",
                    "metadata": dict(cell.metadata),
                    "outputs": [],
                    "collapsed": False,
                }
                for cell in handed_in().cells
                if cell.cell_type == "code"
            ],
        }
    ],
}
LATER = "import threading, os\nthreading.Timer(0.3, lambda: os._exit(1)).start()"
SLOW = "import time\ntime.sleep(0.6)"
STUBBORN = """
import time
while True:
    try:
        time.sleep(1)
    except BaseException:
        pass  # not even Ctrl-C
"""
MISHAPS = {
    "ann": Case(handed_in(), FULL),
    "zoe": Case(handed_in(), FULL),
    "bad-empty": Case(STUDENT, {"double-check": 0.0, "triple-check": 0.0}),
    "bad-file": Case('{"cells": [', reason="no notebook"),
    "bad-html": Case("<!doctype html><title>Log in</title>", reason="no notebook"),
    "bad-list": Case("[1, 2]", reason="no notebook"),
    "bad-nothing": Case("", reason="empty"),
    "bad-bytes": Case(b"\xff\xfe\x00\xd8", reason="no notebook"),
    "bad-deep": Case("[" * 200_000, reason="no notebook"),
    "bad-huge": Case(b" " * 20_000_001, reason="20 MB"),
    "bad-lab": Case(other_lab(), reason="another lab"),
    "cell-bare": Case(changed(bare), FULL, note="put back"),
    "cell-cheat": Case(changed(cheating), FULL, note="changed"),
    "cell-names": Case(changed(nameless), FULL),
    "cell-old": Case(OLD_FORMAT, FULL),
    "cell-order": Case(changed(reversed_order), FULL),
    "cell-paste": Case(changed(pasted), FULL, note="2 cells"),
    "cell-schema": Case(changed(old_marks), FULL),
    "cell-split": Case(changed(split), FULL, note="2 cells"),
    "cell-text": Case(changed(as_text), FULL),
    "run-exit": Case(with_code("exit()"), NO_DOUBLE, note="Python ended"),
    "run-later": Case(handed_in(double=f"{RIGHT['double']}\n{LATER}", triple=f"{RIGHT['triple']}\n{SLOW}"), NO_DOUBLE),
    "run-loop": Case(with_code(STUBBORN), NO_DOUBLE, note="not done after"),
    "run-streams": Case(with_code("import sys\nsys.stdout.close()\nsys.stderr = None"), FULL),
    "run-surrogate": Case(nbformat.writes(with_code("'x'")).replace("'x'", "'\\ud800'"), FULL),
    "run-syntax": Case(handed_in(double="def double(x: return"), NO_DOUBLE),
}

# --- attacks, for which there must be a sandbox ------------------------------------------------------------------


def closed(code: str) -> str:
    """Code that says so if it succeeds."""
    indented = "\n    ".join(code.strip().splitlines())
    return f"try:\n    {indented}\n    print('IT WORKED')\nexcept OSError as error:\n    print(error)"


def attacks(course: Path) -> dict[str, Case]:
    """What students may try, one each."""
    look = f"""
import os
seen = [name for name in os.environ.values() if {SECRET!r} in name]
for top, folders, files in os.walk("/"):
    if top.startswith(("/proc", "/sys", "/usr")) or top.endswith("/site-packages"):
        folders.clear()
    seen += [os.path.join(top, f) for f in files if f in ("gradebook.db", "{NAME}.ipynb", "ann.ipynb", "id_rsa")]
print("SEEN", seen)
"""
    garbage = """
kernel = get_ipython().kernel
for thing in (b"", b"x", b"<IDS|MSG>"):
    kernel.iopub_socket.send_multipart([thing, b"<IDS|MSG>", b"", b"[", b"{", b"1", b"null"])
"""
    child = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", {CHILD!r}], start_new_session=True)
"""
    half = r"""
import json
kernel = get_ipython().kernel
content = {"name": "stdout", "text": "HALF"}
message = kernel.session.msg("stream", content, parent=kernel.get_parent("shell"))
parts = [json.dumps(message[part], default=str) for part in ("header", "parent_header", "metadata", "content")]
raw = [part.replace("HALF", "\\ud800").encode() for part in parts]
kernel.iopub_socket.send_multipart([b"stream", b"<IDS|MSG>", kernel.session.sign(raw), *raw])
"""
    sockets = """
import os, time
(run,) = [line.split()[4] for line in open("/proc/self/mountinfo") if line.split()[4].endswith("/run")]
os.chdir(run)
"""
    nested = sockets + "for i in range(1100): os.mkdir('d' * 50); os.chdir('d' * 50)\ntime.sleep(3)"
    nameless = (
        sockets
        + """
held = []
for i in range(6):
    held.append(open("f", "wb"))
    os.unlink("f")
    held[-1].write(bytes(45_000_000))
    held[-1].flush()
time.sleep(3)
"""
    )
    delete = f"""
import shutil
for top in ({str(course)!r}, "/tmp", "/"):
    shutil.rmtree(top, ignore_errors=True)
"""
    disk = "for i in range(100): open(f'{i}', 'wb').write(bytes(10_000_000))"
    gradebook = f"""
import os, sqlite3
if not os.path.exists({str(course / "gradebook.db")!r}):
    raise FileNotFoundError("no gradebook")
sqlite3.connect({str(course / "gradebook.db")!r}).execute("update grade set manual_score = 40")
"""
    kill = """
import os, signal
for pid in (os.getppid(), 1, -1):
    try:
        os.kill(pid, signal.SIGTERM)
    except OSError:
        pass
"""
    network = "import socket\nsocket.create_connection(('1.1.1.1', 53), timeout=2)"
    shared = "for i in range(20): open(f'/dev/shm/{i}', 'wb').write(bytes(10_000_000))"
    return {
        "x-children": Case(with_code(child), FULL),
        "x-delete": Case(with_code(delete)),
        "x-disk": Case(with_code(closed(disk)), FULL),
        "x-flood": Case(with_code("print('x' * 60_000_000)\nfor i in range(100_000): print('y' * 50)"), FULL),
        "x-forks": Case(with_code("import os\nwhile True: os.fork()"), NO_DOUBLE, note="it took|it started|not done"),
        "x-garbage": Case(with_code(garbage), FULL),
        "x-gradebook": Case(with_code(closed(gradebook)), FULL),
        "x-half": Case(with_code(half), FULL),
        "x-kill": Case(with_code(kill)),
        "x-look": Case(with_code(look), FULL),
        "x-memory": Case(with_code("try: held = bytearray(6_000_000_000)\nexcept MemoryError: print('no')"), FULL),
        "x-nameless": Case(with_code(nameless), NO_DOUBLE, note="it wrote"),
        "x-nested": Case(with_code(nested), NO_DOUBLE, note="it wrote"),
        "x-network": Case(with_code(closed(network)), FULL),
        "x-shared": Case(with_code(closed(shared)), FULL),
        "x-stop": Case(with_code("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)"), NO_DOUBLE),
    }


# --- the run ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Graded:
    """The class after the run."""

    group: Class
    cases: dict[str, Case]
    said: str
    status: int


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Graded:
    """Grade all of them once, two at a time; without bubblewrap only the mishaps, with a teacher's rights."""
    group = Class.create(tmp_path_factory.mktemp("class"))
    cases = MISHAPS | ({} if classes.NO_BUBBLEWRAP else attacks(group.course))
    for student, case in cases.items():
        group.submit(student, case.what)
    unsafe = ["--unsafe"] if classes.NO_BUBBLEWRAP else []
    done = group.grade("--cell", "4", "--notebook", "60", *unsafe, TEACHERS_TOKEN=SECRET, COSTLAB_COURSE_KEY=KEY)
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr == ""
    return Graded(group, cases, done.stdout, done.returncode)


def attack(graded: Graded, student: str) -> str:
    """What an attacker's cell printed."""
    if classes.NO_BUBBLEWRAP:
        pytest.skip(f"no sandbox to try: {classes.NO_BUBBLEWRAP}")
    (cell,) = [cell for cell in graded.group.graded(student).cells if cell.id == "double"]
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.mark.parametrize("student", MISHAPS)
def test_mishaps_cost_what_they_should(graded: Graded, student: str) -> None:
    judge(graded, student)


@pytest.mark.parametrize("student", attacks(Path()))
def test_attacks_cost_at_most_their_own_points(graded: Graded, student: str) -> None:
    attack(graded, student)
    judge(graded, student)


def judge(graded: Graded, student: str) -> None:
    case, record = graded.cases[student], graded.group.record(student)
    if case.reason:
        assert (record.status, record.points) == ("refused", {})
        assert re.search(case.reason, record.reason)
        return
    assert record.status == "graded", record.reason
    if case.points is not None:
        assert record.points == case.points, record.notes
    assert re.search(case.note, " ".join(record.notes))


def test_one_line_a_student_counted_and_a_log_each(graded: Graded) -> None:
    lines = [line for line in graded.said.splitlines() if re.match(r"\d+/", line)]
    total = len(graded.cases)
    assert [line.split()[0] for line in lines] == [f"{i}/{total}" for i in range(1, total + 1)]
    assert {line.split()[1] for line in lines} == graded.cases.keys()
    assert any(re.fullmatch(r"\d+/\d+ ann 5/5 \(\d+\.\d s\)", line) for line in lines)
    assert {path.stem for path in (graded.group.course / "logs" / NAME).iterdir()} == graded.cases.keys()
    assert graded.status == 1  # some have no points, and are named at the end
    assert "bad-html: the file is no notebook" in graded.said.split("graded.")[-1]


def test_what_was_handed_in_is_untouched(graded: Graded) -> None:
    for student in graded.cases:
        raw = (graded.group.folder / "in" / f"{student}.ipynb").read_bytes()
        copy = graded.group.course / "submitted" / student / NAME / f"{NAME}.ipynb"
        assert student == "bad-huge" or copy.read_bytes() == raw


def test_nothing_else_was_written(graded: Graded) -> None:
    made = {path.name for path in graded.group.course.iterdir()}
    known = {"source", "submitted", "autograded", "logs", "gradebook.db", ".grading", ".grading.lock"}
    assert made - known <= {f"grades-{NAME}.csv", "feedback"}
    assert len(list((graded.group.course / "autograded").rglob("*.ipynb"))) == sum(
        not case.reason for case in graded.cases.values()
    )


def test_no_process_is_left(graded: Graded) -> None:
    attack(graded, "x-children")
    for process in psutil.process_iter(["cmdline"]):
        assert CHILD not in (process.info["cmdline"] or []), process


def test_students_see_no_other_and_no_solution(graded: Graded) -> None:
    assert attack(graded, "x-look").endswith("SEEN []\n")


@pytest.mark.parametrize("student", ["x-disk", "x-gradebook", "x-network", "x-shared"])
def test_ways_out_are_closed(graded: Graded, student: str) -> None:
    assert "IT WORKED" not in attack(graded, student)
    assert attack(graded, student).strip()


def test_the_course_key_goes_in(tmp_path: Path) -> None:
    from classroom.sandbox import environment

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COSTLAB_COURSE_KEY", KEY)
        patch.setenv("TEACHERS_TOKEN", SECRET)
        seen = environment(str(tmp_path))
    assert seen["COSTLAB_COURSE_KEY"] == KEY
    assert SECRET not in seen.values()


def test_notebooks_and_logs_stay_small(graded: Graded) -> None:
    for path in (*(graded.group.course / "autograded").rglob("*"), *(graded.group.course / "logs").rglob("*")):
        assert path.is_dir() or path.stat().st_size < 1_000_000, path


# --- what comes after --------------------------------------------------------------------------------------------


def test_the_list_has_the_points_of_the_records(graded: Graded) -> None:
    table = graded.group.table()
    assert table.keys() == graded.cases.keys()
    for student, case in graded.cases.items():
        row, record = table[student], graded.group.record(student)
        assert row["max"] == "10"
        if case.reason:
            assert (row["graded"], row["points"], row["machine"], row["Task 1"]) == ("no", "", "", "")
            assert re.search(case.reason, row["problem"])
            continue
        assert row["graded"] == "yes"
        assert float(row["machine"]) == float(row["points"]) == sum(record.points.values())
        assert float(row["Task 1"]) + float(row["Task 2"]) == sum(record.points.values())
        waits = "why" in record.unread
        assert (row["needs_reading"], row["Task 3"], row["manual"]) == (("yes", "", "") if waits else ("no", "0", "0"))
    assert table["ann"]["needs_reading"] == "yes"
    assert table["bad-empty"]["needs_reading"] == "no"


def test_feedback_is_small_asks_nobody_and_says_what_waits(graded: Graded) -> None:
    done = graded.group.run("feedback", NAME)
    assert done.returncode == 0, done.stderr
    folder = graded.group.course / "feedback"
    for student, case in graded.cases.items():
        text = (folder / student / NAME / f"{NAME}.html").read_text()
        assert len(text) < 1_000_000
        assert not re.search(r"https?:|<script|<img|<link|url\(|@import", text)
        assert "hidden" not in text.lower()
        assert case.reason in text if case.reason else "Task 1: twice" in text
    ann = (folder / "ann" / NAME / f"{NAME}.html").read_text()
    assert ann.count("not read yet") >= 2
    assert "not read yet" not in (folder / "bad-empty" / NAME / f"{NAME}.html").read_text()
    with zipfile.ZipFile(folder / f"{NAME}.zip") as archive:
        assert set(archive.namelist()) == {f"{student}/{NAME}.html" for student in graded.cases}


def test_the_next_run_has_nothing_to_do(graded: Graded) -> None:
    before = {student: graded.group.record(student) for student in graded.cases}
    unsafe = ["--unsafe"] if classes.NO_BUBBLEWRAP else []
    done = graded.group.grade("--cell", "4", "--notebook", "60", *unsafe, COSTLAB_COURSE_KEY=KEY)
    assert f"{len(graded.cases)}/{len(graded.cases)} were done before" in done.stdout
    assert {student: graded.group.record(student) for student in graded.cases} == before


def test_the_grader_and_make_labs_agree_on_what_is_unanswered() -> None:
    """An answer left as it was handed out is one that nbgrader's own derivation wrote."""
    handed_out = {cell.id: cell for cell in c.read(c.ROOT / "labs" / "release" / "moe" / "moe.ipynb").cells}
    answers = [cell for cell in Lab.read(c.ROOT / "labs", "moe").cells if c.marked(cell, "solution")]
    assert answers
    for cell in answers:
        assert cell.source == handed_out[cell.id].source
        assert cell.metadata.nbgrader.checksum == handed_out[cell.id].metadata.nbgrader.checksum
