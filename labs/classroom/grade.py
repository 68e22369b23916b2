"""A class: each submission in a process and a sandbox of its own, many side by side, results written one by one."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import secrets
import signal
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from classroom import gradebook, job
from classroom.collect import Found
from classroom.job import FAILED, REFUSED, Result
from classroom.lab import Lab
from classroom.mend import LARGEST_BYTES
from classroom.records import Record, Records, digest
from classroom.records import replace as write_file
from classroom.sandbox import Limits, Unprotected, remove

#: Seconds that a job may take beyond its notebook's, before it is ended: to start, to read and to write.
SLACK_S = 90


class Trouble(Exception):
    """Something that a teacher has to mend before a class can be graded."""


@dataclass
class Running:
    """A job that runs: its student's file, its process, and where it says what came out."""

    found: Found
    of: dict[str, str]
    process: Any
    answers: Any
    scratch: Path
    began: float


class Class:
    """The grading of one lab for a class."""

    def __init__(self, course: Path, lab: Lab, sandbox: Unprotected, limits: Limits, jobs: int) -> None:
        self.course, self.lab, self.jobs = course, lab, jobs
        self.sandbox, self.limits = sandbox, limits
        self.records, self.logs = Records(course), course / "logs" / lab.name
        self.finished, self.total = 0, 0
        key = os.environ.get("COSTLAB_COURSE_KEY", "")
        self.settings = digest(repr(sorted(asdict(limits).items())), sandbox.name, key, *_own_code())

    def grade(self, found: Sequence[Found], again: bool) -> list[Record]:
        """Grade what is not graded yet, print a line a student, and return all records."""
        self.total = len(found)
        self.logs.mkdir(parents=True, exist_ok=True)
        with gradebook.opened(self.course) as book, _scratch(self.course) as scratch:
            gradebook.define(book, self.lab)
            waiting, records = deque[tuple[Found, dict[str, str]]](), list[Record]()
            for each in found:
                of = self._of(each)
                done = None if again else self.records.done(book, each.student, self.lab, of)
                if done is None:
                    waiting.append((each, of))
                else:
                    records.append(done)
            self._say_done(records)
            records += [self._keep(book, each, of, result) for each, of, result in self._results(waiting, scratch)]
        return records

    def _of(self, found: Found) -> dict[str, str]:
        """Say what a result would be of."""
        submission = digest(found.raw, found.problem)
        return {"submission": submission, "lab": self.lab.fingerprint, "settings": self.settings}

    def _results(
        self, waiting: deque[tuple[Found, dict[str, str]]], scratch: Path
    ) -> Iterator[tuple[Found, dict[str, str], Result]]:
        """Run jobs side by side and yield each one's result as it comes."""
        running = list[Running]()
        try:
            while waiting or running:
                while waiting and len(running) < self.jobs:
                    each, of = waiting.popleft()
                    if each.problem:
                        yield each, of, Result(REFUSED, each.problem)
                    else:
                        running.append(self._start(each, of, scratch))
                wait([each.answers for each in running], timeout=1)
                for one in list(running):
                    if (result := self._result(one)) is not None:
                        running.remove(one)
                        yield one.found, one.of, result
        finally:
            for left in running:
                _end(left)

    def _start(self, found: Found, of: dict[str, str], scratch: Path) -> Running:
        """Start a student's job."""
        place = Path(tempfile.mkdtemp(dir=scratch))
        answers, theirs = FORKS.Pipe(duplex=False)
        log = self.logs / f"{found.student}.log"
        about = (theirs, found.raw, self.lab, self.sandbox, self.limits, place, log)
        process = FORKS.Process(target=job.work, args=about)
        process.start()
        theirs.close()
        return Running(found, of, process, answers, place, time.monotonic())

    def _result(self, each: Running) -> Result | None:
        """Return what a job came to; None while it runs."""
        late = time.monotonic() - each.began > self.limits.notebook_s + SLACK_S
        if not each.answers.poll() and not late:
            return None
        try:
            result: Result = each.answers.recv() if each.answers.poll() else Result(FAILED, "the grader took too long")
        except (EOFError, OSError):
            each.process.join(5)
            result = Result(FAILED, f"the grader's process ended by itself (exit {each.process.exitcode})")
        _end(each)
        return replace(result, seconds=time.monotonic() - each.began)

    def _keep(self, book: Any, found: Found, of: dict[str, str], result: Result) -> Record:
        """Write a result, and say so in a line."""
        record = self.records.write(book, self.lab, found, of, result)
        with (self.logs / f"{found.student}.log").open("a", encoding="utf-8", errors="replace") as log:
            told = [f"{found.path}: {self._came_to(record)}", *result.notes]
            log.write("".join(f"{line}\n" for line in told))
        self.finished += 1
        seconds = f" ({result.seconds:.1f} s)" if record.graded else ""
        note = ", see its log" if record.notes else ""
        print(f"{self.finished}/{self.total} {record.whom} {self._came_to(record)}{seconds}{note}", flush=True)
        return record

    def _came_to(self, record: Record) -> str:
        """Say what became of a submission in a few words."""
        if not record.graded:
            return f"not graded: {record.reason}"
        return f"{sum(record.points.values()):g}/{sum(self.lab.checks.values()):g}"

    def _say_done(self, records: Sequence[Record]) -> None:
        self.finished = len(records)
        if records:
            print(f"{len(records)}/{self.total} were done before and have not changed (--again repeats them)")


def _own_code() -> list[bytes]:
    """Return the files that decide about points."""
    folder = Path(__file__).parent
    return [(folder / name).read_bytes() for name in ("lab.py", "mend.py", "kernel.py", "execute.py", "job.py")]


# A job is forked from a process that has imported what it needs: with that, but without any state.
FORKS = multiprocessing.get_context("forkserver")


def _end(running: Running) -> None:
    """End a job and its kernel, and clear its folder."""
    running.process.join(0.5)  # one that has answered ends by itself
    if running.process.is_alive():
        with suppress(OSError):
            os.killpg(running.process.pid, signal.SIGKILL)
        running.process.kill()
        running.process.join()
    running.answers.close()
    remove(running.scratch)


@contextmanager
def _scratch(course: Path) -> Iterator[Path]:
    """Lend a folder for jobs, its path short enough for sockets; one that a killed run left is cleared."""
    noted = course / ".grading"
    folder = Path(tempfile.gettempdir(), f"grade-{secrets.token_hex(4)}")
    with suppress(OSError):
        left = Path(noted.read_text())
        if left.name.startswith("grade-") and left.parent == folder.parent:
            remove(left)
    write_file(noted, str(folder))
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        remove(folder)


@contextmanager
def alone(course: Path) -> Iterator[None]:
    """See that nobody else writes grades into a course's folder; Trouble if someone does."""
    with (course / ".grading.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Trouble(f"another run is grading in {course}; wait for it or end it") from None
        yield


def store(course: Path, lab: str, found: Sequence[Found]) -> None:
    """Copy what was handed in to where nbgrader looks for it; an older file is put aside by its date."""
    for each in found:
        path = course / "submitted" / each.student / lab / f"{lab}.ipynb"
        cut = len(each.raw) > LARGEST_BYTES
        if each.problem or cut or (path.is_file() and path.read_bytes() == each.raw):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            day = datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y-%m-%dT%H-%M-%S")
            aside = course / "older" / lab / each.student / "submitted" / f"{day}.ipynb"
            aside.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, aside)
        write_file(path, each.raw)
        os.utime(path, (each.at.timestamp(), each.at.timestamp()))
