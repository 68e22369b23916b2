"""The statements of a notebook's cells: what each defines, uses and changes."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

from .dialect import foreign, plain_python
from .effects import CHANCE, CODE, Names, scope
from .notebook import Cell


@dataclass(frozen=True)
class Statement:
    """One top-level statement of a cell.

    changes: names whose data it changes for certain. may_change: names whose data a call in it may change.
    foreign: what in it only IPython can run, as its author wrote it.
    """

    cell: Cell
    node: ast.stmt
    defines: frozenset[str]
    changes: frozenset[str]
    may_change: frozenset[str]
    uses: frozenset[str]
    foreign: str = ""

    @property
    def is_import(self) -> bool:
        """Whether the statement only imports."""
        return isinstance(self.node, ast.Import | ast.ImportFrom)

    @property
    def replaces(self) -> bool:
        """Whether what it defines takes nothing over from an earlier value."""
        return self.is_import or isinstance(self.node, (ast.Assign, ast.AnnAssign, *CODE))


def read_statements(cells: Iterable[Cell]) -> dict[int, list[Statement]]:
    """Return the statements of cells, by their index.

    Raises SyntaxError, with the cell's number, where one is not Python. Of a cell that never runs in the browser, or
    that is meant to fail, nothing is expected: it then has no statements.
    """
    names = Names()
    return {cell.index: [_statement(cell, node, names) for node in _body(cell)] for cell in cells}


def _body(cell: Cell) -> list[ast.stmt]:
    try:
        return ast.parse(plain_python(cell.source)).body
    except SyntaxError as error:
        if cell.not_live or "raises-exception" in cell.tags:
            return []
        raise SyntaxError(f"cell {cell.index + 1} is not Python: {error}") from error


def _statement(cell: Cell, node: ast.stmt, names: Names) -> Statement:
    defines, uses = scope(node)
    changes, may_change = names.read(node)
    chance = (changes | may_change) & CHANCE
    uses |= names.mentioned(uses) | chance
    return Statement(cell, node, defines, changes, may_change - changes, uses, foreign(node))
