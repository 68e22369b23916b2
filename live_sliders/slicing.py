"""Which statements of a notebook a slider needs.

The cells that show a slider run whole. From the cells above them we keep the statements that define or change a
name in use, and what those need in turn. Where only running would tell whether a statement changes a name, it is
kept, unless the browser could not run it. The cell tag `live` keeps a cell whole.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .dialect import plain_python, without
from .effects import ANY
from .notebook import Cell
from .statements import Statement, read_statements

Lacks = Callable[[ast.stmt], bool]
"""Whether a statement imports what the browser does not have."""


class SliceError(ValueError):
    """Raised where a slider needs something that the browser must not run."""


@dataclass(frozen=True)
class LiveCell:
    """The part of a cell that runs in the browser."""

    index: int
    source: str
    shows: bool


def slice_cells(cells: Iterable[Cell], showing: Iterable[int], lacks: Lacks = lambda node: False) -> list[LiveCell]:
    """Return, in order, what the cells with index in `showing` need in order to run.

    Raises SliceError where a needed name is defined only by a cell tagged `not-live` or by a shell or magic command.
    """
    cells, shown = list(cells), set(showing)
    try:
        statements = read_statements(cells)
    except SyntaxError as error:
        raise SliceError(error.msg) from error
    closed = _closed(cells, statements, lacks)
    kept: list[LiveCell] = []
    needed: set[str] = set()
    for cell in reversed(cells):
        whole = cell.index in shown or (cell.whole and bool(kept))
        choose = _whole if whole else _needed
        chosen = choose(statements[cell.index], needed, closed)
        needed = _names_before(chosen, needed)
        if chosen:
            source = _source(cell, statements[cell.index], chosen, whole)
            kept.append(LiveCell(cell.index, source, cell.index in shown))
    return kept[::-1]


def _source(cell: Cell, statements: list[Statement], chosen: list[Statement], whole: bool) -> str:
    """Return chosen statements as source; a whole cell keeps its lines and comments."""
    if not whole:
        return "\n".join(ast.unparse(statement.node) for statement in chosen)
    return without(plain_python(cell.source), [each.node for each in statements if each not in chosen])


def _closed(cells: list[Cell], statements: dict[int, list[Statement]], lacks: Lacks) -> set[int]:
    """Return the ids of statements that the browser cannot run, for themselves or for a name that they use."""
    closed, names = set[int](), set[str]()
    for cell in cells:
        for each in statements[cell.index]:
            if cell.not_live or each.foreign or (each.uses & names) or lacks(each.node):
                closed.add(id(each))
                names |= each.defines
            elif each.replaces:
                names -= each.defines
    return closed


def _whole(statements: list[Statement], needed: set[str], closed: set[int]) -> list[Statement]:
    """Return the statements of a cell that runs whole: all but commands of the shell whose results nobody uses."""
    used = needed.union(*(each.uses for each in statements))
    for each in statements:
        if each.foreign and each.defines & used:
            _refuse(each, used)
    return [each for each in statements if not each.foreign]


def _needed(statements: list[Statement], needed: set[str], closed: set[int]) -> list[Statement]:
    """Return the statements that define or change a needed name, in order."""
    kept: list[Statement] = []
    for each in reversed(statements if needed else []):
        surely = (each.defines | each.changes) & needed
        perhaps = each.may_change & needed or ANY in each.defines
        if surely and (each.cell.not_live or each.foreign):
            _refuse(each, needed)
        if surely or (perhaps and id(each) not in closed):
            kept.append(each)
            needed = _names_before([each], needed)
    return kept[::-1]


def _refuse(statement: Statement, needed: set[str]) -> None:
    names = ", ".join(repr(name) for name in sorted((statement.defines | statement.changes) & needed))
    where = f"a live slider needs {names} from cell {statement.cell.index + 1}"
    if statement.cell.not_live:
        raise SliceError(
            f"{where}, which is tagged 'not-live'; tag the slider's cell 'not-live' too, "
            "or define the name in a cell that may run in the browser"
        )
    raise SliceError(
        f"{where}, line {statement.node.lineno}: {statement.foreign!r} cannot run in a browser; "
        "write the value into the notebook as Python, or tag the slider's cell 'not-live'"
    )


def _names_before(statements: Iterable[Statement], needed: set[str]) -> set[str]:
    """Return the names that must exist before `statements`, for `needed` to exist after them."""
    names = set(needed)
    for statement in reversed(list(statements)):
        if statement.replaces:
            names -= statement.defines  # other statements may leave the earlier value in place
        names |= statement.uses
    return names
