"""A class graded: seconds and memory on two cores, beside nbgrader's own `autograde`, which protects nothing.

Both grade the same submissions of the moe lab, half of them right and half with mistakes, in turns of a quarter of the
class. nbgrader runs them one after the other with the teacher's rights; ours two at a time, each in a sandbox.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
import psutil
from peers import ROOT, Row, from_tests, main

LAB = "moe"
JOBS = 2
PEER = "nbgrader autograde (no sandbox)"
CONFIG = """
c = get_config()
c.CourseDirectory.course_id = "costlab"
c.ClearSolutions.code_stub = {"python": 'raise NotImplementedError("no answer yet")'}
"""


def submissions(folder: Path, number: int) -> list[list[Path]]:
    """Write a class's files, in four parts."""
    course = from_tests("labs/course.py")
    release = ROOT / "labs" / "release" / LAB / f"{LAB}.ipynb"
    answers = [course.solutions(LAB), course.solutions(LAB) | course.wrong_answers(LAB)]
    paths = [folder / f"s{i:03}.ipynb" for i in range(number)]
    for i, path in enumerate(paths):
        nbformat.write(course.filled(course.read(release), answers[i % 2]), path)
    quarter = -(-number // 4)
    return [paths[i : i + quarter] for i in range(0, number, quarter)]


def measured(line: Sequence[str], cwd: Path) -> tuple[float, float]:
    """Run a command; return its seconds, and the most MB that it and what it started held in memory together."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    start, most = time.perf_counter(), 0
    process = subprocess.Popen(line, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while True:
        try:
            process.communicate(timeout=0.2)
            break
        except subprocess.TimeoutExpired:
            most = max(most, held(process.pid))
    seconds = time.perf_counter() - start
    if process.returncode != 0:
        raise RuntimeError(f"{line[2]} ended with {process.returncode}")
    return seconds, most / 1e6


def held(pid: int) -> int:
    """Return the resident bytes of a process and all that it started; pages that they share count once for each."""
    total = 0
    try:
        for each in (top := psutil.Process(pid), *top.children(recursive=True)):
            try:
                total += each.memory_info().rss
            except psutil.Error:
                continue
    except psutil.Error:
        pass
    return total


def ours(course: Path, part: list[Path]) -> tuple[float, float]:
    """Grade a part of the class."""
    handed_in = course.parent / f"part-{part[0].stem}"
    handed_in.mkdir()
    for path in part:
        shutil.copy(path, handed_in)
    line = [sys.executable, str(ROOT / "labs" / "teach.py"), "grade", LAB, "--jobs", str(JOBS), "--course", str(course)]
    return measured([*line, "--submissions", str(handed_in)], course)


def theirs(course: Path, part: list[Path]) -> tuple[float, float]:
    """Grade the same part with nbgrader."""
    for path in part:
        place = course / "submitted" / path.stem / LAB
        place.mkdir(parents=True)
        shutil.copy(path, place / f"{LAB}.ipynb")
    return measured([sys.executable, "-m", "nbgrader", "autograde", LAB], course)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows."""
    number = 4 if options.quick else 100
    figures = {
        "labs-class-s": (f"{number} submissions of a lab graded on {JOBS} cores", "s"),
        "labs-class-mb": ("the most memory while they are", "MB"),
    }
    if not shutil.which("bwrap"):
        for name, (figure, unit) in figures.items():
            yield Row(name, figure, PEER, unit, why_not="no bubblewrap on this machine")
        return
    with tempfile.TemporaryDirectory() as folder:
        courses = [Path(folder) / side for side in ("ours", "theirs")]
        for course in courses:
            shutil.copytree(ROOT / "labs" / "source" / LAB, course / "source" / LAB)
        (courses[1] / "nbgrader_config.py").write_text(CONFIG)
        measured([sys.executable, "-m", "nbgrader", "generate_assignment", LAB], courses[1])
        found = [(ours(courses[0], part), theirs(courses[1], part)) for part in submissions(Path(folder), number)]
    for (name, (figure, unit)), which in zip(figures.items(), (sum, max), strict=True):
        index = 0 if which is sum else 1
        values = [which(side[index] for side in sides) for sides in zip(*found, strict=True)]
        yield Row(name, figure, PEER, unit, *values)


if __name__ == "__main__":
    main(rows, __doc__ or "")
