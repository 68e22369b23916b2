"""One submission, from its bytes to its points, in a process of its own that knows no gradebook and nobody else."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from classroom import lab as labs
from classroom.container import contained
from classroom.harmless import harmless
from classroom.lab import Lab
from classroom.mend import Refused, mended, parse
from classroom.sandbox import Limits, Unprotected

GRADED, REFUSED, FAILED = "graded", "refused", "failed"


@dataclass(frozen=True)
class Result:
    """What became of a submission.

    Attributes:
        status: "graded"; "refused", a file that cannot be graded; "failed", the grader's own fault.
        reason: why it was refused or failed.
        points: of each check, by its name.
        unread: names of the open answers that a person has to read; the others are empty.
        notes: what was mended, and what stopped Python, a sentence each.
        notebook: as it ran, as text; "" if it did not.
        seconds: that it took.
        peak_bytes: most resident memory of the student's processes.
    """

    status: str
    reason: str = ""
    points: Mapping[str, float] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    notebook: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0


def graded(raw: bytes, lab: Lab, sandbox: Unprotected, limits: Limits, scratch: Path) -> Result:
    """Grade a submission's bytes; whatever is in them, the answer is a Result."""
    began = time.monotonic()
    try:
        whole = mended(parse(raw), lab)
    except Refused as refused:
        return Result(REFUSED, str(refused), seconds=time.monotonic() - began)
    run = contained(whole.notebook, sandbox, scratch, limits)
    cells = whole.notebook.cells
    failed = {labs.title(cells[index]) for index in run.failed}
    stopped = [f"{labs.title(cells[i])}: {said.evalue}" for i, said in sorted(run.culprits.items())]
    given = {labs.title(cell): cell.source for cell in cells if labs.mark(cell)}
    empty = {labs.title(cell): cell.source for cell in lab.cells}
    return Result(
        GRADED,
        points={name: 0.0 if name in failed else points for name, points in lab.checks.items()},
        unread=tuple(name for name in lab.open if given[name].strip() != empty[name].strip()),
        notes=(*whole.notes, *stopped),
        notebook=nbformat.writes(harmless(whole.notebook)),
        seconds=time.monotonic() - began,
        peak_bytes=run.peak_bytes,
    )


def work(
    connection: Any,
    raw: bytes,
    lab: Lab,
    sandbox: Unprotected,
    limits: Limits,
    scratch: Path,
    log: Path,
) -> None:
    """Be the process of one submission: send the Result, or why there is none."""
    os.setsid()
    _end_with(os.getppid())
    with log.open("w", encoding="utf-8") as said:  # what libraries say, so that the class's own lines stay alone
        for stream in (1, 2):
            os.dup2(said.fileno(), stream)
    try:
        result = graded(raw, lab, sandbox, limits, scratch)
    except BaseException as error:
        traceback.print_exc()
        result = Result(FAILED, f"{type(error).__name__}: {error}")
    connection.send(result)
    connection.close()


def _end_with(parent: int) -> None:
    """End when the parent does, and leave no kernel behind: bubblewrap ends with this process."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()
