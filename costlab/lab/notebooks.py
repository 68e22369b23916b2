"""A student's notebook and the solved one, put together for scoring; notebooks are JSON, so nothing else is needed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Notebook = dict[str, Any]
Cell = dict[str, Any]

SOLUTION = re.compile(r"^([ \t]*)### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION[ \t]*$", re.M | re.S)
NO_ANSWER = 'raise NotImplementedError("no answer yet")'


def read_notebook(path: Path) -> Notebook:
    """Read a notebook.

    Raises:
        ValueError: naming a file that is no notebook, and why.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; should be a notebook (.ipynb)") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no notebook (.ipynb): {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("cells"), list):
        raise ValueError(f"{path} is no notebook of format 4: it has no list of cells")
    return {**found, "cells": [cell for cell in found["cells"] if isinstance(cell, dict)]}


def source_of(cell: Cell) -> str:
    """Return what stands in a cell."""
    source = cell.get("source", "")
    return "".join(map(str, source)) if isinstance(source, list) else str(source or "")


def name(cell: Cell) -> str:
    """Return a cell's name: that of its grade where it has one, as a copied cell gets another id."""
    return str(mark(cell, "grade_id") or cell.get("id", ""))


def mark(cell: Cell, key: str) -> Any:
    """Return what a cell's mark for grading says; None where it says nothing."""
    metadata = cell.get("metadata")
    marks = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return marks.get(key) if isinstance(marks, dict) else None


def is_check(cell: Cell) -> bool:
    """Whether a machine gives points for a cell."""
    return bool(mark(cell, "grade")) and not mark(cell, "solution") and cell.get("cell_type") == "code"


def without_solutions(notebook: Notebook) -> Notebook:
    """Return a solved notebook without its answers, but with its hidden checks: what scoring needs."""
    return {**notebook, "cells": [_unanswered(cell) for cell in notebook["cells"]]}


def _unanswered(cell: Cell) -> Cell:
    """Return a cell without its answer; an open question's cell stays, empty, as it carries points."""
    open_answer = mark(cell, "solution") and cell.get("cell_type") == "markdown"
    return {**cell, "source": "" if open_answer else SOLUTION.sub(rf"\1{NO_ANSWER}", source_of(cell))}


def find_solved(path: Path, student: Notebook) -> Path:
    """Return the file with the checks of a student's notebook, which is told by its cells and not by its name.

    It is looked for in the folder `checks` beside the notebook, in `labs/source` of all folders above, and of the
    folder that this package lies in.

    Raises:
        ValueError: where no lab has cells of these names.
    """
    mine = {name(cell) for cell in student["cells"]} - {""}
    shared = {
        each: len(mine & {name(cell) for cell in read_notebook(each)["cells"]}) for each in _solved_near(path.resolve())
    }
    best = max(shared, key=lambda each: shared[each], default=None)
    if best is None:
        raise ValueError(f"{path}: no labs found beside it or above; name the solved notebook with --source")
    if not shared[best]:
        known = ", ".join(sorted({each.stem for each in shared}))
        raise ValueError(f"{path} is none of the labs: no cell of it belongs to {known}")
    return best


def _solved_near(path: Path) -> Iterator[Path]:
    yield from sorted((path.parent / "checks").glob("*.ipynb"))
    for folder in dict.fromkeys([*path.parents, Path(__file__).resolve().parents[2]]):
        yield from sorted(folder.glob("labs/source/*/*.ipynb"))


def assembled(student: Notebook, solved: Notebook) -> list[Cell]:
    """Return the student's code cells in order, with each check as the course has it and missing cells put back.

    Args:
        student: the notebook handed in.
        solved: the one that has the checks.
    """
    mine = [dict(cell) for cell in student["cells"] if cell.get("cell_type") == "code"]
    theirs = [cell for cell in without_solutions(solved)["cells"] if cell.get("cell_type") == "code"]
    here = {name(cell) for cell in mine}
    place = 0
    for cell in theirs:
        if name(cell) not in here:
            mine.insert(place, cell)
        places = [i for i, each in enumerate(mine) if name(each) == name(cell)]
        if is_check(cell):
            for i in places:
                mine[i] = cell
        place = places[-1] + 1
    return mine
