"""Whose file is which: nbgrader's own folders, a folder of files, or the zip file that a learning platform exports.

    submitted/ann/moe/moe.ipynb                          nbgrader
    ann.ipynb, ann/moe.ipynb, ann/anything (2).ipynb     a folder a student, or a file
    Bo Li_4712_assignsubmission_file_moe (1).ipynb       Moodle, also as the name of a folder
    libo_LATE_4712_998877_moe-1.ipynb                    Canvas

Nothing is unpacked by a name that stands in a zip file: each notebook goes to `submitted/STUDENT/LAB/LAB.ipynb`.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path, PurePosixPath

from classroom.mend import LARGEST_BYTES

MOODLE = re.compile(r"^(?P<name>.+?)_(?P<id>\d+)_assignsubmission_[a-z]+(_|$)")
CANVAS = re.compile(r"^(?P<name>[^_]+)_(?:LATE_)?(?P<id>\d+)_\d+_.+\.ipynb$", re.I)
MOST_FILES = 20_000
EPOCH = datetime(1980, 1, 1, tzinfo=UTC)  # of a file whose time cannot be read; zip files begin here
STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
LONGEST_BYTES = 200  # of a name, so that a file system takes it with what is added


@dataclass(frozen=True)
class Found:
    """A file that a student handed in.

    Attributes:
        student: the name that nbgrader's folders and gradebook use.
        name: the person's, if the file's name says it.
        at: when the file was written or handed in.
        raw: its bytes; what passes the largest size is cut one byte beyond it, so that it is seen to be too large.
        path: where it was.
        problem: why its bytes could not be read.
    """

    student: str
    name: str
    at: datetime
    raw: bytes
    path: str
    problem: str = ""


def collected(where: Path, lab: str, others: Collection[str] = ()) -> tuple[list[Found], list[str]]:
    """Return a file for each student, the latest, and notes on what was left out; ValueError if there is nothing.

    What lies in a folder with the name of one of the other labs is left alone.
    """
    if not where.exists():
        raise ValueError(f"no submissions: there is no {where}")
    reader = _zipped if where.is_file() else _lying
    try:
        files = list(reader(where))
    except zipfile.BadZipFile as error:
        raise ValueError(f"{where} is neither a folder nor a zip file: {error}") from None
    parts = [PurePosixPath(path).parts for path, *_ in files]
    shared = _shared([folders[:-1] for folders in parts])
    others = set(others) - {lab}
    found = [
        _found(own, shared, lab, at, raw, problem)
        for own, (_, at, raw, problem) in zip(parts, files, strict=True)
        if not others & {*own[-2:-1]}
    ]
    latest, notes = dict[str, Found](), list[str]()
    for each in sorted(_apart(found), key=lambda f: (f.student, f.at, f.path.endswith(f"/{lab}.ipynb"), f.path)):
        if before := latest.get(each.student):
            notes.append(f"{each.student}: {each.path} is graded, {before.path} is not")
        latest[each.student] = each
    return list(latest.values()), notes


def _shared(folders: list[tuple[str, ...]]) -> int:
    """Return how many of the outermost folders are the same for all files."""
    levels = zip(*folders, strict=False)  # as deep as the file that lies highest
    return sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))


def _lying(where: Path) -> Iterator[tuple[str, datetime, bytes, str]]:
    """Yield path, time and bytes of each notebook in a folder; links are not followed."""
    for place, folders, files in os.walk(where):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in sorted(files):
            path = Path(place, name)
            if _is_notebook(name) and path.is_file() and not path.is_symlink():
                raw, problem, at = b"", "", EPOCH
                try:
                    with path.open("rb") as file:
                        raw = file.read(LARGEST_BYTES + 1)
                    at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                except OSError as error:  # closed, say: one student's trouble
                    problem = f"the file cannot be read: {error.strerror}"
                except (OverflowError, ValueError):
                    pass  # a time that no calendar has
                yield _legible(path.relative_to(where).as_posix()), at, raw, problem


def _zipped(where: Path) -> Iterator[tuple[str, datetime, bytes, str]]:
    """Yield path, time and bytes of each notebook in a zip file, and why one cannot be read."""
    with zipfile.ZipFile(where) as archive:
        for entry in archive.infolist()[:MOST_FILES]:
            path = PurePosixPath(entry.filename.replace("\\", "/"))
            if entry.is_dir() or not _is_notebook(path.name) or "__MACOSX" in path.parts:
                continue
            problem = ""
            try:
                with archive.open(entry) as file:
                    raw = file.read(LARGEST_BYTES + 1)
            except Exception as error:  # damaged, encrypted, packed in an unknown way: one student's trouble
                raw, problem = b"", f"the file cannot be read in the zip file: {error}"
            try:
                at = datetime(*entry.date_time, tzinfo=UTC)
            except ValueError:
                at = EPOCH
            yield _legible(path.as_posix()), at, raw, problem


def _legible(path: str) -> str:
    """Return a path that can be printed: in Latin-1 what is no UTF-8, and without signs that steer a terminal."""
    try:
        text = os.fsencode(path).decode()
    except UnicodeDecodeError:
        text = os.fsencode(path).decode("latin-1")
    except UnicodeEncodeError:
        text = path
    return STEERING.sub("_", text)


def _is_notebook(name: str) -> bool:
    return name.lower().endswith(".ipynb") and not name.startswith(".")


def _found(parts: tuple[str, ...], shared: int, lab: str, at: datetime, raw: bytes, problem: str) -> Found:
    """Read a student's name off a path, of which some folders are shared by all."""
    path = "/".join(parts)
    for part in parts:
        if told := MOODLE.match(part) or CANVAS.match(part):
            return Found(told["id"], told["name"].strip(), at, raw, path, problem)
    stem = re.sub(r"( ?\(\d+\)|-\d+)$", "", parts[-1][: -len(".ipynb")])
    own = re.sub(rf"^{re.escape(lab)}[-_ ]+|[-_ ]+{re.escape(lab)}$", "", stem)
    if len(parts) > 1 and parts[-2] != lab and (len(parts) - 1 > shared or own == lab):
        own = parts[-2]
    elif len(parts) > 2 and parts[-2] == lab:
        own = parts[-3]
    return Found(own, "", at, raw, path, problem)


def _apart(files: list[Found]) -> Iterator[Found]:
    """Give each student a name fit for folders, and two students never the same."""
    taken = dict[str, str]()
    for each in sorted(files, key=lambda f: (f.student != _fit(f.student), f.student)):
        fit = _fit(each.student)
        if taken.setdefault(fit.casefold(), each.student) != each.student:
            fit = f"{fit}-{hashlib.sha256(each.student.encode()).hexdigest()[:6]}"
        yield replace(each, student=fit)


def _fit(student: str) -> str:
    """Return a name that is one folder, on any system, and none of nbgrader's signs."""
    plain = re.sub(r"[^\w.@-]+", "_", unicodedata.normalize("NFC", student)).lstrip(".").strip("_")[:80]
    return plain.encode()[:LONGEST_BYTES].decode(errors="ignore") or "unnamed"
