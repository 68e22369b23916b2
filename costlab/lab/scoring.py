"""Points for a learner: a notebook run in this process, with the hidden checks in it."""

from __future__ import annotations

import contextlib
import io
import linecache
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from costlab.lab.notebooks import Cell, Notebook, assembled, find_solved, is_check, mark, name, read_notebook, source_of
from costlab.text import Table

HEADING = re.compile(r"^## (.+?)\s*\(\d+ points?.*\)\s*$", re.M)
UNANSWERED = "NotImplementedError: no answer yet"
Namespace = dict[str, Any]


@dataclass(frozen=True)
class TaskScore:
    """What one task of a lab came to."""

    title: str  # its heading
    points: float  # given
    of: float  # that can be given by checks
    by_hand: float  # points that a person gives after reading
    failed: tuple[tuple[str, str], ...]  # names of its checks that failed, and what they say


@dataclass(frozen=True)
class Score:
    """What a notebook came to; its text is a table."""

    lab: str  # the lab's name
    tasks: tuple[TaskScore, ...]  # in the order of the notebook

    @property
    def points(self) -> float:
        """Points given by checks."""
        return sum(task.points for task in self.tasks)

    @property
    def of(self) -> float:
        """Points that checks can give."""
        return sum(task.of for task in self.tasks)

    def table(self) -> Table:
        """Return the tasks with their points."""
        return Table([{"task": task.title, "points": _share(task), "look at": _remark(task)} for task in self.tasks])

    def __repr__(self) -> str:
        by_hand = sum(task.by_hand for task in self.tasks)
        more = f", and up to {by_hand:g} from a person who reads the open question" if by_hand else ""
        return f"{self.table()}\n{self.lab}: {self.points:g} of {self.of:g} points{more}"

    def report(self) -> str:
        """Return the table and, below it what each failed check says that is no empty answer."""
        failed = [(task.title, check, said) for task in self.tasks for check, said in task.failed]
        told = [f"{title}, {check}:\n{said}" for title, check, said in failed if not said.startswith(UNANSWERED)]
        if waiting := len(failed) - len(told):
            told.append(f"{waiting} checks wait for an answer.")
        return "\n\n".join([repr(self), *told])


def _share(task: TaskScore) -> str:
    return f"{task.points:g} of {task.of:g}" if task.of else f"read by a person, {task.by_hand:g}"


def _remark(task: TaskScore) -> str:
    return task.failed[0][0] if task.failed else ""


def score(path: str | Path, source: str | Path | None = None, *, seconds: float = 30) -> Score:
    """Run a student's notebook with all checks of its lab and return the points; a cell that fails costs itself alone.

    The notebook runs in this process, with your rights: score your own, and grade those of others by `make grade`.

    Args:
        path: the notebook, as saved.
        source: the solved notebook; found by itself where the labs lie beside or above.
        seconds: what one cell may take, on systems that can stop it.

    Raises:
        ValueError: naming a file that is no notebook, or that belongs to no lab.
    """
    path = Path(path)
    student = read_notebook(path)
    found = Path(source) if source else find_solved(path, student)
    solved = read_notebook(found)
    outcomes = run_cells(assembled(student, solved), seconds)
    return Score(found.stem, tuple(_tasks(solved, outcomes)))


def run_cells(cells: list[Cell], seconds: float = 30) -> dict[str, str]:
    """Run code cells one after the other and return, by cell name, what each that failed says.

    Args:
        cells: notebook cells; those tagged `score` are left out.
        seconds: what one may take, on systems that can stop it.
    """
    failed: dict[str, str] = {}
    with _module() as names, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cell in cells:
            if "score" in _tags(cell):
                continue
            failed.pop(name(cell), None)  # of a cell that stands there twice, the last counts
            if said := _said(cell, names, seconds):
                failed[name(cell)] = said
    return failed


def _said(cell: Cell, names: Namespace, seconds: float) -> str | None:
    """Run one cell and return how it failed, or None."""
    file = f"<cell {name(cell)}>"
    try:
        code = _compiled(source_of(cell), file)
        with _limited(seconds), contextlib.redirect_stdout(io.StringIO()):
            exec(code, names)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit: `exit()` in a cell ends that cell
        return _named(error)
    return None


def _tags(cell: Cell) -> list[Any]:
    metadata = cell.get("metadata")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return tags if isinstance(tags, list) else []


def _named(error: BaseException) -> str:
    """Say what was raised; one of the student's own need not be able to."""
    with contextlib.suppress(Exception):
        if said := str(error):
            return f"{type(error).__name__}: {said}"
    return type(error).__name__


def _compiled(source: str, file: str) -> Any:
    """Compile a cell; where its text is no Python, without the lines that speak to the notebook, as `%time`."""
    plain = re.sub(r"^[ \t]*[%!].*$", "", source, flags=re.M)
    try:
        code = compile(source, file, "exec")
    except SyntaxError:
        code, source = compile(plain, file, "exec"), plain
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    return code


@contextlib.contextmanager
def _module() -> Iterator[Namespace]:
    """Give cells a module of their own, which classes defined in them can be looked up in."""
    module = ModuleType("lab_in_scoring")
    module.__dict__.update(display=lambda *values: None, input=_no_input)
    sys.modules[module.__name__] = module
    try:
        yield module.__dict__
    finally:
        sys.modules.pop(module.__name__, None)


def _no_input(prompt: str = "") -> str:
    raise EOFError("nobody is there to answer input()")


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Stop what takes longer, where the system has an alarm and this is the thread that hears it."""
    if sys.platform in ("win32", "emscripten") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError(f"not done after {seconds:g} s, so it was stopped")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _tasks(solved: Notebook, failed: dict[str, str]) -> Iterator[TaskScore]:
    """Sort the checks of a lab under its headings."""
    title = ""
    groups: dict[str, list[Cell]] = {}
    for cell in solved["cells"]:
        if cell.get("cell_type") == "markdown" and (heading := HEADING.search(source_of(cell))):
            title = heading[1]
        if mark(cell, "grade"):
            groups.setdefault(title, []).append(cell)
    for title, cells in groups.items():
        yield TaskScore(
            title,
            _points(cells, lambda cell: is_check(cell) and name(cell) not in failed),
            _points(cells, is_check),
            _points(cells, lambda cell: not is_check(cell)),
            tuple((name(cell), failed[name(cell)]) for cell in cells if name(cell) in failed),
        )


def _points(cells: list[Cell], counts: Callable[[Cell], bool]) -> float:
    return sum(float(mark(cell, "points")) for cell in cells if counts(cell))
