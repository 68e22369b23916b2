"""A student's file made whole: the lab's own cells in the lab's order, the student's answers and other cells in place.

What a student's file says about points, checks and nbgrader's schema is never used. Only texts are, found by the
names of their cells; where names are lost, as in a notebook pasted together, by their place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from classroom import lab as labs
from classroom.lab import Lab

LARGEST_BYTES = 20_000_000
#: A lab has about fifty cells; what has many times more is no work of a student's hands, and takes the grader minutes.
MOST_CELLS = 2_000
HIDDEN = re.compile(r"^[ ]*### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS[ ]*$", re.M | re.S)
STUDENTS = "student"  # with a number, the id of a cell that is not the lab's
LOST = "# This answer's cell was deleted."


class Refused(ValueError):
    """A file that cannot be graded; the message says why, for the teacher and the student."""


@dataclass(frozen=True)
class Mended:
    """A notebook that is ready to run.

    Attributes:
        notebook: the lab's cells with the student's.
        notes: what was mended, a sentence each.
    """

    notebook: NotebookNode
    notes: tuple[str, ...]


def parse(raw: bytes) -> list[NotebookNode]:
    """Return the cells of a student's file, of any notebook format; Refused if it is no notebook."""
    if len(raw) > LARGEST_BYTES:
        raise Refused(f"the file has {len(raw) / 1e6:.0f} MB, more than {LARGEST_BYTES / 1e6:.0f}: clear its outputs")
    if not raw.strip():
        raise Refused("the file is empty")
    try:
        data = json.loads(raw.decode("utf-8-sig"))
        if not isinstance(data, dict) or not ("cells" in data or "worksheets" in data):
            raise Refused("the file is no notebook: it has no cells")
        if data.get("nbformat", 4) != 4:
            data = nbformat.convert(nbformat.from_dict(data), 4)
        if len(data["cells"]) > MOST_CELLS:
            raise Refused(f"the notebook has {len(data['cells']):,} cells, more than {MOST_CELLS:,}")
        cells = [_clean(cell) for cell in data["cells"]]
    except Refused:
        raise
    except Exception as error:  # whatever is wrong in a file that anybody may have written
        raise Refused(f"the file is no notebook: {_short(error)}") from None
    return [cell for cell in cells if cell is not None]


def _clean(cell: object) -> NotebookNode | None:
    """Return a cell's text, kind, id, tags and name; None for what is no code and no text."""
    if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown"):
        return None
    source = cell.get("source", "")
    text = "".join(map(str, source)) if isinstance(source, list) else str(source)
    text = text.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be sent to a kernel
    metadata = cell.get("metadata")
    told = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    name = told.get("grade_id") if isinstance(told, dict) else None
    return NotebookNode(kind=cell["cell_type"], source=text, id=str(cell.get("id", "")), name=str(name or ""))


def mended(cells: Sequence[NotebookNode], lab: Lab) -> Mended:
    """Return the lab's notebook with a student's answers; Refused if the cells are of another lab or of none."""
    whose = _names(cells, lab)
    wanted = {labs.title(cell) for cell in lab.cells if labs.is_answer(cell) or labs.is_grade(cell)}
    if len(wanted & set(whose)) < min(2, len(wanted)):
        raise Refused(f"the notebook has no cells of the lab {lab.name}: perhaps it is another lab's")
    notes, placed = list[str](), _placed(cells, whose)
    made = placed.get("", [])
    for cell in lab.cells:
        name = labs.title(cell)
        mine = [each for each, other in zip(cells, whose, strict=True) if other == name]
        if labs.is_answer(cell) and cell.cell_type == "markdown":
            made.append(_written(cell, mine, placed.get(name, []) if mine else placed.get(_before(lab, name), [])))
        elif labs.is_open(cell):
            made.extend(_mine(cell, mine))
        else:
            made.append(deepcopy(cell))
        notes.extend(_notes(name, cell, mine))
        made.extend(placed.get(name, []))
    for index, cell in enumerate(made):
        if cell.id == STUDENTS:
            cell.id = f"{STUDENTS}-{index}"
    return Mended(new_notebook(cells=made, metadata=deepcopy(lab.metadata)), tuple(notes))


def _names(cells: Sequence[NotebookNode], lab: Lab) -> list[str]:
    """Say which of the lab's cells each cell is: by its mark, its id, or its unchanged text; "" for none."""
    ours = {labs.title(cell): cell for cell in lab.cells}
    texts = {(cell.cell_type, _shown(cell.source)): name for name, cell in ours.items() if cell.source.strip()}

    def fits(cell: NotebookNode, name: str) -> bool:
        """Code that was turned into text is no answer in code; a check is the lab's own whatever became of it."""
        own = ours.get(name)
        return own is not None and (own.cell_type in (cell.kind, "markdown") or not labs.is_answer(own))

    def name(cell: NotebookNode) -> str:
        told = next((told for told in (cell.name, cell.id) if fits(cell, told)), "")
        return told or texts.get((cell.kind, _squeezed(cell.source)), "")

    return [name(cell) for cell in cells]


def _before(lab: Lab, name: str) -> str:
    """Return the name of the cell before one of the lab's."""
    order = ["", *(labs.title(cell) for cell in lab.cells)]
    return order[order.index(name) - 1]


def _new(kind: str, source: str) -> NotebookNode:
    """Return a cell that is not the lab's; it gets its id when its place is known."""
    make = new_code_cell if kind == "code" else new_markdown_cell
    return make(source, id=STUDENTS)


def _placed(cells: Sequence[NotebookNode], whose: Sequence[str]) -> dict[str, list[NotebookNode]]:
    """Return the student's further cells, by the cell of the lab that they stand behind."""
    found, last = dict[str, list[NotebookNode]](), ""
    for cell, name in zip(cells, whose, strict=True):
        if name:
            last = name
        elif cell.source.strip():
            found.setdefault(last, []).append(_new(cell.kind, cell.source))
    return found


def _mine(cell: NotebookNode, mine: Sequence[NotebookNode]) -> list[NotebookNode]:
    """Return each copy or piece of a cell that a student has, the last of them under the lab's name."""
    named = deepcopy(cell)
    if mine:
        named.source = mine[-1].source
    elif labs.is_answer(cell):
        named.source = LOST  # not the empty answer: it would define again what may stand in another cell
    return [*(_new(cell.cell_type, each.source) for each in mine[:-1]), named]


def _written(cell: NotebookNode, mine: Sequence[NotebookNode], near: Sequence[NotebookNode]) -> NotebookNode:
    """Return a written answer: all its pieces, or where its cell is lost, the texts that stand in its place."""
    given = deepcopy(cell)
    texts = [each.source for each in mine] or [each.source for each in near if each.cell_type == "markdown"]
    written = dict.fromkeys(text for text in texts if text.strip() != cell.source.strip())
    if written:
        given.source = "\n\n".join(written)
    return given


def _notes(name: str, cell: NotebookNode, mine: Sequence[NotebookNode]) -> list[str]:
    """Say what was mended of one cell."""
    if labs.is_answer(cell):
        if not mine:
            return [f"{name}: the answer's cell is missing"]
        return [f"{name}: {len(mine)} cells of this name, all kept"] if len(mine) > 1 else []
    if not labs.is_grade(cell):
        return []
    if not mine:
        return [f"{name}: the check was deleted, and put back"]
    if "chosen(" in cell.source:
        return []  # a course with a key hands out what was drawn here
    changed = any(_squeezed(each.source) not in (_shown(cell.source), _squeezed(cell.source)) for each in mine)
    return [f"{name}: the check was changed, and put back"] if changed else []


def _shown(source: str) -> str:
    """Return a check's text as students see it, without white space."""
    return _squeezed(HIDDEN.sub("", source))


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _short(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text if len(text) <= 120 else text[:119] + "…"
