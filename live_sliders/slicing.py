"""Which statements of a notebook a slider needs.

The cells that show a slider run whole. From the cells above them we keep the statements that define or change a
name in use, and what those need in turn. Like every static slice of Python this is a judgement: a call such as
`fill(table)` that changes its argument is not seen. The cell tag `live` keeps such a cell whole.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .notebook import Cell

# Calls on an imported module that change how later code computes or draws; all others are taken for output.
SETTING_CALLS = (
    "use",
    "update",
    "seed",
    "rc",
    "rcdefaults",
    "set_printoptions",
    "seterr",
    "simplefilter",
    "filterwarnings",
    "append",
    "insert",
    "set_matplotlib_formats",
)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


class SliceError(ValueError):
    """Raised where a slider needs something that the browser must not run."""


@dataclass(frozen=True)
class Statement:
    """One top-level statement of a cell and the names that it defines, changes and uses."""

    cell: Cell
    node: ast.stmt
    defines: frozenset[str]
    changes: frozenset[str]
    uses: frozenset[str]

    @property
    def is_import(self) -> bool:
        """Whether the statement only imports."""
        return isinstance(self.node, ast.Import | ast.ImportFrom)

    @property
    def is_binding(self) -> bool:
        """Whether it binds modules, functions or classes, that is, not data."""
        return self.is_import or isinstance(self.node, SCOPES)


@dataclass(frozen=True)
class LiveCell:
    """The part of a cell that runs in the browser."""

    index: int
    source: str
    shows: bool


def slice_cells(cells: Iterable[Cell], showing: Iterable[int]) -> list[LiveCell]:
    """Return, in order, what the cells with index in `showing` need in order to run.

    Raises SliceError where a needed name is defined only by a cell tagged `not-live`.
    """
    shown = set(showing)
    kept: list[LiveCell] = []
    needed: set[str] = set()
    for cell in reversed(list(cells)):
        if cell.index in shown or (cell.whole and kept):
            statements, source = parse(cell), plain_python(cell.source)
        else:
            statements = list(_needed_statements(cell, needed))
            source = "\n".join(ast.unparse(statement.node) for statement in statements)
        needed = _names_before(statements, needed)
        if statements:
            kept.append(LiveCell(cell.index, source, cell.index in shown))
    return kept[::-1]


def parse(cell: Cell) -> list[Statement]:
    """Split a cell into statements; lines for the notebook alone (`%magic`, `!shell`) are dropped."""
    try:
        body = ast.parse(plain_python(cell.source)).body
    except SyntaxError as error:
        raise SliceError(f"cell {cell.index + 1} is not Python: {error}") from error
    data = {name for node in body if isinstance(node, ast.Assign) for name in _stored(node)}
    return [Statement(cell, node, _defined(node), _changed(node, data), _used(node)) for node in body]


def plain_python(source: str) -> str:
    """Blank out what only IPython understands, keeping line numbers."""
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())


def _needed_statements(cell: Cell, needed: set[str]) -> Iterator[Statement]:
    """Yield the statements of `cell` that define or change a needed name, in order."""
    kept: list[Statement] = []
    for statement in reversed(parse(cell) if needed else []):
        if (statement.defines | statement.changes) & needed:
            if cell.not_live:
                _refuse(statement, needed)
            kept.append(statement)
            needed = _names_before([statement], needed)
    yield from reversed(kept)


def _refuse(statement: Statement, needed: set[str]) -> None:
    names = ", ".join(repr(name) for name in sorted((statement.defines | statement.changes) & needed))
    raise SliceError(
        f"a live slider needs {names} from cell {statement.cell.index + 1}, which is tagged 'not-live'; "
        "tag the slider's cell 'not-live' too, or define the name in a cell that may run in the browser"
    )


def _names_before(statements: Iterable[Statement], needed: set[str]) -> set[str]:
    """Return the names that must exist before `statements`, for `needed` to exist after them."""
    names = set(needed)
    for statement in reversed(list(statements)):
        if isinstance(statement.node, ast.Assign | ast.AnnAssign) or statement.is_binding:
            names -= statement.defines  # other statements may leave the earlier value in place
        names |= statement.uses
    return names


def _defined(node: ast.stmt) -> frozenset[str]:
    """Return the names that a statement binds at the notebook's top level."""
    names = set(_stored(node))
    for part in _same_scope(node):
        if isinstance(part, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in part.names}
        elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(part.name)
    return frozenset(names)


def _stored(node: ast.stmt) -> Iterator[str]:
    for part in _same_scope(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store | ast.Del):
            yield part.id


def _changed(node: ast.stmt, data: set[str]) -> frozenset[str]:
    """Return the names whose objects a statement changes: `x[0] = 1`, `x.y = 1`, `x.append(1)`."""
    names: set[str] = set()
    for part in _same_scope(node):
        if isinstance(part, ast.Subscript | ast.Attribute) and isinstance(part.ctx, ast.Store | ast.Del):
            names.add(_root(part))
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and _changes(part.func, data):
            names.add(_root(part.func))
    return frozenset(names - {""})


def _changes(method: ast.Attribute, data: set[str]) -> bool:
    """Return whether a method call may change its object: any on data, only settings on modules."""
    is_setting = method.attr in SETTING_CALLS or method.attr.startswith(("observe", "on_", "set_"))
    return is_setting or _root(method) in data


def _used(node: ast.stmt) -> frozenset[str]:
    """Return every name read anywhere inside, also in function bodies (their own locals do no harm)."""
    return frozenset(
        part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)
    ) | (_stored_by_increment(node))


def _stored_by_increment(node: ast.stmt) -> frozenset[str]:
    """Return the names that a statement changes from their old values: `x += 1` reads x too."""
    return frozenset(
        part.target.id
        for part in ast.walk(node)
        if isinstance(part, ast.AugAssign) and isinstance(part.target, ast.Name)
    )


def _same_scope(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a statement without entering functions and classes, whose names are their own."""
    yield node
    if isinstance(node, SCOPES):
        return
    for child in ast.iter_child_nodes(node):
        yield from _same_scope(child)


def _root(node: ast.AST) -> str:
    """Return the name at the left end of `name.a[0].b`, empty if there is none."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""
