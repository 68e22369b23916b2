"""A result on disk and in nbgrader's gradebook, whole or not at all.

Three writes, each of which happens or does not, in this order: the notebook as it ran (a rename), the points (one
transaction), the record (a rename). The record says which submission, lab and settings the points are of, so what it
does not say has not been done, and the next run does it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from nbgrader.api import Gradebook

from classroom import gradebook
from classroom.collect import Found
from classroom.job import FAILED, GRADED, Result
from classroom.lab import Lab


@dataclass(frozen=True)
class Record:
    """What is known of a student's last submission of a lab.

    Attributes:
        student: as in the folders.
        lab: its name.
        of: what the points are of: hashes of the submission, the lab and the grader's settings.
        status: as of a Result.
        reason: why there are no points.
        points: of each check.
        unread: open answers that were not empty.
        notes: what was mended, and what stopped Python.
        graded_at: when, as ISO 8601 in UTC.
        seconds: that it took.
        name: the person's, "" if not known.
        came_as: the path by which it was handed in.
    """

    student: str
    lab: str
    of: Mapping[str, str]
    status: str
    reason: str = ""
    points: Mapping[str, float] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    graded_at: str = ""
    seconds: float = 0.0
    name: str = ""
    came_as: str = ""

    @property
    def graded(self) -> bool:
        """Whether there are points."""
        return self.status == GRADED

    @property
    def whom(self) -> str:
        """The student's folder, and the name of the person where the folder is only a number."""
        return f"{self.student} {self.name}".rstrip()

    def booked(self, lab: Lab) -> dict[str, float | None]:
        """What the gradebook holds: points of checks, 0 for empty open answers, None for those to be read."""
        return {**self.points, **{name: None if name in self.unread else 0.0 for name in lab.open}}


@dataclass(frozen=True)
class Records:
    """The results of a course, in its folder.

    Attributes:
        course: the folder that holds `source`, `submitted`, `autograded`, `feedback` and `gradebook.db`.
    """

    course: Path

    def notebook(self, student: str, lab: str) -> Path:
        """Return where the notebook as it ran is: where nbgrader's Formgrader looks for it."""
        return self.course / "autograded" / student / lab / f"{lab}.ipynb"

    def path(self, student: str, lab: str) -> Path:
        """Return where the record is."""
        return self.notebook(student, lab).with_name("record.json")

    def read(self, student: str, lab: str) -> Record | None:
        """Return a record; None if there is none that is whole."""
        try:
            told = json.loads(self.path(student, lab).read_text())
            return Record(**told | {"unread": tuple(told["unread"]), "notes": tuple(told["notes"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def all(self, lab: str) -> list[Record]:
        """Return the records of a lab, by student."""
        paths = (self.course / "autograded").glob(f"*/{lab}/record.json")
        found = (self.read(path.parts[-3], lab) for path in sorted(paths))
        return [record for record in found if record]

    def done(self, book: Gradebook, student: str, lab: Lab, of: Mapping[str, str]) -> Record | None:
        """Return the record if the same submission was dealt with in the same way; None if there is something to do."""
        record = self.read(student, lab.name)
        if record is None or record.of != of or record.status == FAILED:
            return None
        given = gradebook.given(book, lab.name, student)
        stored = {name: given[name].machine for name in lab.points if name in given}
        whole = stored == record.booked(lab) and self.notebook(student, lab.name).is_file()
        return record if whole or not record.graded else None

    def write(self, book: Gradebook, lab: Lab, found: Found, of: Mapping[str, str], result: Result) -> Record:
        """Keep a result; the result of an older submission is put aside first.

        Args:
            book: the course's gradebook, where the lab is defined.
            lab: the lab.
            found: what was handed in.
            of: what the result is of.
            result: what became of it.
        """
        now = datetime.now(UTC).replace(microsecond=0).isoformat()
        record = Record(
            found.student, lab.name, of, result.status, result.reason, result.points, result.unread, result.notes,
            now, round(result.seconds, 2), found.name, found.path,
        )  # fmt: skip
        path, old = self.notebook(found.student, lab.name), self.read(found.student, lab.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = old is None or old.of.get("submission") != of["submission"]
        if old and new:
            self._put_aside(old)
        if record.graded:
            replace(path, result.notebook)
            gradebook.enter(book, lab, found.student, found.name, found.at, record.booked(lab), new)
        replace(self.path(found.student, lab.name), json.dumps(vars(record), indent=1))
        return record

    def _put_aside(self, old: Record) -> None:
        """Copy a result to `older`, under the time it was made, before another takes its place."""
        place = self.course / "older" / old.lab / old.student / old.graded_at.replace(":", "-").removesuffix("+00-00")
        for path in (self.notebook(old.student, old.lab), self.path(old.student, old.lab)):
            if path.is_file():
                place.mkdir(parents=True, exist_ok=True)
                replace(place / path.name, path.read_bytes())


def replace(path: Path, content: str | bytes) -> None:
    """Write a file so that there is the old one or the new one, never a part."""
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as file:
        file.write(content.encode("utf-8", "replace") if isinstance(content, str) else content)  # half a pair: "?"
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def digest(*parts: bytes | str) -> str:
    """Return a hash of some texts."""
    return hashlib.sha256(b"\0".join(p.encode() if isinstance(p, str) else p for p in parts)).hexdigest()
