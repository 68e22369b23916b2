"""Which sandbox is chosen, what a container would be started with, and a real lab graded in whatever there is."""

import json
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from classroom import choose, container
from classroom.container import Container, answered, asked
from classroom.records import Records
from classroom.sandbox import Bubblewrap, Limits, OtherUser, Unprotected
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from labs import classes
from labs import course as c

pytestmark = pytest.mark.filterwarnings("ignore")
LIMITS = Limits()


def test_without_a_sandbox_grading_is_refused_and_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"apt install bubblewrap.*--unsafe"):
        choose.chosen(False, LIMITS)
    assert type(choose.chosen(True, LIMITS)) is Unprotected


def test_bubblewrap_comes_before_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "found", lambda: (Container("podman"), ""))
    monkeypatch.setattr(choose, "why_no_bubblewrap", lambda limits: "")
    assert choose.chosen(False, LIMITS).name == "bubblewrap"
    monkeypatch.setattr(choose, "why_no_bubblewrap", lambda limits: "none")
    assert choose.chosen(False, LIMITS).name == "podman"


def test_a_class_that_lies_among_pythons_files_is_refused() -> None:
    with pytest.raises(ValueError, match="keep it elsewhere"):
        choose.chosen(False, LIMITS, [Path(sys.prefix) / "class"])


def test_an_engine_without_the_image_says_how_to_build_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_image(line, **named):
        return subprocess.CompletedProcess(line, 1, "", "Error: No such image: costlab-grader")

    monkeypatch.setattr(shutil, "which", lambda name: name if name == "docker" else None)
    monkeypatch.setattr(subprocess, "run", no_image)
    assert container.found()[1].endswith("docker build -t costlab-grader - < labs/classroom/Dockerfile")


def test_a_container_has_no_network_few_rights_and_two_folders(tmp_path: Path) -> None:
    line = Container("docker").line("grade-1", LIMITS)
    assert {"--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"} <= set(line)
    bounds = dict(re.findall(r"--(memory|memory-swap|pids-limit)=(\d+)", " ".join(line)))
    assert bounds == {"memory": "3500000000", "memory-swap": "3500000000", "pids-limit": "128"}
    folders = [each.split("=")[1].split(":") for each in line if each.startswith("--volume=")]
    assert [(Path(outside).name, mode) for outside, _, mode in folders] == [("classroom", "ro"), ("costlab", "ro")]
    assert line[-4:] == ["costlab-grader", "python", "-m", "classroom.container"]


def test_the_containers_packages_are_the_projects() -> None:
    pinned = set((c.ROOT / "constraints.txt").read_text().split())
    wanted = re.findall(r"\S+==\S+", (c.ROOT / "labs" / "classroom" / "Dockerfile").read_text())
    assert len(wanted) > 5
    assert set(wanted) <= pinned


def test_what_goes_into_a_container_and_comes_out_of_it() -> None:
    """The part that runs inside, here without a container: another user's rights need root."""
    cells = [
        new_markdown_cell("x"),
        new_code_cell("print(1)"),
        new_code_cell("import os\nos._exit(1)"),
        new_code_cell("1 / 0"),
    ]
    notebook = new_notebook(cells=cells)
    code = "from classroom import container, sandbox\ncontainer.OtherUser = sandbox.Unprotected\ncontainer.inside()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=asked(notebook, LIMITS),
        capture_output=True,
        env={"PYTHONPATH": f"{c.ROOT / 'labs'}:{c.ROOT}"},
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout).keys() == {"outputs", "failed", "culprits", "peak_bytes"}
    ran = answered(notebook, done.stdout)
    assert (ran.failed, set(ran.culprits)) == ({2, 3}, {2})
    assert notebook.cells[1].outputs[0].text == "1\n"
    assert notebook.cells[2].outputs[0].ename == "DeadKernelError"


def test_a_kernel_in_a_container_gives_up_its_rights(tmp_path: Path) -> None:
    line = OtherUser().command(tmp_path, tmp_path, LIMITS)
    assert line[:3] == ["setpriv", "--reuid=65534", "--regid=65534"]
    assert {"--clear-groups", "--no-new-privs", "--inh-caps=-all"} <= set(line)


def test_bubblewrap_shows_the_package_and_not_the_solutions_beside_it(tmp_path: Path) -> None:
    line = Bubblewrap().command(tmp_path / "run", tmp_path / "work", LIMITS)
    shown = [Path(path) for option, path in pairwise(line) if option in ("--ro-bind", "--bind")]
    assert c.ROOT / "costlab" in shown
    for path in (c.ROOT, c.ROOT / "labs", c.ROOT / "labs" / "source", Path.home()):
        assert path not in shown
    assert {"--unshare-all", "--die-with-parent", "--new-session"} <= set(line)


def test_a_real_lab_is_graded_there(tmp_path: Path) -> None:
    """The answers of a wrong submission get what `costlab.lab` gives them, in a process that sees no solution."""
    lab, release = "moe", c.read(c.ROOT / "labs" / "release" / "moe" / "moe.ipynb")
    (tmp_path / "course").mkdir()
    shutil.copytree(c.ROOT / "labs" / "source" / lab, tmp_path / "course" / "source" / lab)
    (tmp_path / "in").mkdir()
    nbformat.write(c.filled(release, c.solutions(lab) | c.wrong_answers(lab)), tmp_path / "in" / "ann.ipynb")
    unsafe = ["--unsafe"] if classes.NO_BUBBLEWRAP else []
    line = [sys.executable, c.ROOT / "labs" / "teach.py", "grade", lab, "--course", tmp_path / "course", *unsafe]
    done = subprocess.run([*line, "--submissions", tmp_path / "in"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    record = Records(tmp_path / "course").read("ann", lab)
    assert record is not None
    assert record.points == c.wrong_points(lab)
