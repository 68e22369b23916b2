"""A page a student: tasks and points, what each failed check said, and what a person wrote.

make feedback LAB=moe

A page is one file that asks nobody for anything: no scripts, no fonts, and formulas as they were typed. What a student
printed is text on it, never markup. Hidden checks are not on it; only what they said is.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from html import escape
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook

from classroom import gradebook
from classroom import lab as labs
from classroom.collect import MOODLE
from classroom.lab import Lab, Task
from classroom.marks import Mark, Marks, most
from classroom.records import Record, Records, replace
from classroom.table import number

LONGEST = 6_000  # characters of one text on the page
COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
UNREAD = "not read yet"
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}td,th{padding:.25rem .5rem;border-bottom:1px solid #ddd;text-align:left}
td.n{text-align:right;white-space:nowrap}.lost{color:#a33b00}.unread{color:#555;font-style:italic}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f5f5f5;padding:.5rem .75rem;font-size:.85rem}
blockquote{border-left:3px solid #0072b2;margin:.5rem 0;padding:.1rem .75rem}a{color:#0072b2}
@media (prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}td,th{border-color:#444}
pre{background:#242424}.lost{color:#ff9e64}.unread{color:#aaa}a{color:#56b4e9}}
"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title><style>{style}</style></head><body>
{body}
</body></html>
"""


def write(course: Path, lab: Lab) -> list[Path]:
    """Write each student's page, and all of them into one zip file; return the paths, the zip file last."""
    records, made = Records(course), list[Path]()
    packed = io.BytesIO()
    with gradebook.opened(course) as book, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for record in records.all(lab.name):
            text = page(lab, record, book, records.notebook(record.student, lab.name))
            path = course / "feedback" / record.student / lab.name / f"{lab.name}.html"
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, text)
            made.append(path)
            archive.writestr(name_in_zip(lab, record), text)
    if made:
        made.append(course / "feedback" / f"{lab.name}.zip")
        replace(made[-1], packed.getvalue())
    return made


def name_in_zip(lab: Lab, record: Record) -> str:
    """Return a page's name in the zip file: as Moodle named the submission, so that it finds the student."""
    for part in record.came_as.split("/"):
        if found := MOODLE.match(part):
            # Some folders' names lack the last underscore; Moodle takes no page back without it.
            return f"{found[0].removesuffix('_')}_{lab.name}.html"
    return f"{record.student}/{lab.name}.html"


def page(lab: Lab, record: Record, book: Gradebook, notebook: Path) -> str:
    """Return a student's page."""
    head = f"{lab.name}: {record.name or record.student}"
    if record.graded:
        marks = Marks.of(lab, record, book)
        cells = {labs.title(cell): cell for cell in nbformat.read(notebook, as_version=4).cells}
        parts = [
            *_sums(marks),
            *(line for index, task in enumerate(lab.tasks) for line in _task(index, task, marks, cells)),
        ]
    else:
        parts = [f"<p class=lost>This was not graded: {_text(record.reason)}.</p>"]
    return PAGE.format(title=escape(head), style=STYLE, body="\n".join([f"<h1>{escape(head)}</h1>", *parts]))


def _sums(marks: Marks) -> Iterator[str]:
    """Yield the points in all, and the list of tasks."""
    lab = marks.lab
    waits = ", some answers are <span class=unread>not read yet</span>" if marks.waits else ""
    yield f"<p><b>{number(marks.points)} of {number(sum(lab.points.values()))} points</b>{waits}.</p><table>"
    for index, task in enumerate(lab.tasks):
        points = marks.of_task(task)
        shown = f"<span class=unread>{UNREAD}</span>" if points is None else f"{number(points)}"
        lost = " class=lost" if points is not None and points < most(lab, task) else ""
        yield (
            f'<tr><td><a href="#task-{index}">{_text(task.title)}</a></td>'
            f"<td class=n><span{lost}>{shown}</span></td><td class=n>of {number(most(lab, task))}</td></tr>"
        )
    yield "</table>"


def _task(index: int, task: Task, marks: Marks, cells: dict[str, NotebookNode]) -> Iterator[str]:
    """Yield a task's answer, and what its checks and its reader said."""
    yield f'<h2 id="task-{index}">{_text(task.title)}</h2>'
    for name in task.cells:
        mark, cell = marks.cells[name], cells.get(name)
        yield f"<p>{_text(name)}: {_state(mark)}</p>"
        if cell is not None and labs.is_answer(cell):
            yield f"<details><summary>Your answer</summary><pre>{_text(cell.source)}</pre></details>"
        elif cell is not None and mark.machine != mark.most:
            yield from (f"<pre>{_text(said)}</pre>" for said in _said(cell))
        if mark.comment:
            yield f"<blockquote><pre>{_text(mark.comment)}</pre></blockquote>"


def _state(mark: Mark) -> str:
    """Say what a cell gave."""
    if mark.waits and mark.points is None:
        return f"<span class=unread>{UNREAD}</span> (of {number(mark.most)})"
    lost = " class=lost" if (mark.points or 0.0) < mark.most else ""
    again = f", <span class=unread>{UNREAD} since it was handed in again</span>" if mark.waits else ""
    return f"<span{lost}>{number(mark.points)} of {number(mark.most)}</span>{again}"


def _said(cell: NotebookNode) -> Iterator[str]:
    """Yield what a check printed and raised."""
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            yield output.text
        elif output.output_type == "error":
            yield f"{output.ename}: {output.evalue}" if output.evalue else output.ename


def _text(text: str) -> str:
    """Return a text as it stands on a page, cut where it is long."""
    plain = COLOURS.sub("", text)
    if len(plain) > LONGEST:
        plain = f"{plain[:LONGEST]}\n… and {len(plain) - LONGEST} characters more"
    return escape(plain)
