"""`python labs/published.py LAB [--submissions FOLDER]`: who handed in the code of the solved lab.

Two answers are the same code if nothing but names, layout, comments, docstrings and annotations
tells them apart. Answers that the solution writes in fewer than four statements are left out:
there is often one way to write them. Equal code is a reason to ask its author, and no proof.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from costlab.lab.notebooks import Notebook, mark, name, read_notebook, source_of

HERE = Path(__file__).resolve().parent
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)  # no Python, or nested too deep
FEWEST = 4  # statements of an answer that can tell something


@dataclass(frozen=True)
class Found:
    """How much of one submission is published code."""

    student: str
    same: list[str]  # names of its answer cells that are
    of: int  # how many of its answers could tell

    def __str__(self) -> str:
        return f"{self.student}: {len(self.same)} of {self.of} {'  '.join(self.same)}".rstrip()


def compare(student: str, submitted: Notebook, solved: Notebook) -> Found:
    """Compare a submission's answers with those of the solved lab."""
    theirs = {each: code for each, code in answers(solved) if statements(code) >= FEWEST}
    mine = [(each, code) for each, code in answers(submitted) if each in theirs]
    same = [each for each, code in mine if canonical(code) == canonical(theirs[each])]
    return Found(student, same, len(theirs))


def answers(notebook: Notebook) -> Iterator[tuple[str, str]]:
    """Yield the code that stands in a notebook's answer cells, with the cells' names."""
    for cell in notebook["cells"]:
        if mark(cell, "solution") and cell.get("cell_type") == "code":
            yield name(cell), source_of(cell)


def statements(code: str) -> int:
    """Return how many statements an answer has, headers of functions and docstrings aside."""
    try:
        tree = Plain().visit(ast.parse(code))
    except UNREADABLE:
        return 0
    heads = ast.FunctionDef | ast.ClassDef | ast.Pass
    return sum(
        isinstance(node, ast.stmt) and not isinstance(node, heads) for node in ast.walk(tree)
    )


def canonical(code: str) -> str:
    """Return what is left of code without names, layout, comments, docstrings and annotations."""
    try:
        return ast.dump(Plain().visit(ast.parse(code)))
    except UNREADABLE:
        return f"no Python: {code}"


class Plain(ast.NodeTransformer):
    """Numbers the names that the code makes itself, and drops what does nothing."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.made: set[str] = set()

    def visit_Module(self, node: ast.Module) -> ast.AST:
        """Find the names that are made before any is used."""
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                self.made.add(each.id)
            elif isinstance(each, ast.arg):
                self.made.add(each.arg)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Number a name that the code makes."""
        node.id = self.numbered(node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Number an argument and drop its annotation."""
        return ast.arg(self.numbered(node.arg))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Drop what a function says of itself."""
        node.returns = None
        node.body = without_docstring(node.body)
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Drop what a class says of itself."""
        node.body = without_docstring(node.body)
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Read `x: int = 1` as `x = 1`."""
        value = node.value or ast.Constant(None)
        return self.generic_visit(ast.Assign([node.target], value))

    def numbered(self, word: str) -> str:
        """Return the number of a name, in the order of their first use."""
        if word not in self.made:
            return word
        return self.names.setdefault(word, f"_{len(self.names)}")


def without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return a body without the text that it begins with."""
    first = body[0]
    told = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return (body[1:] or [ast.Pass()]) if told else body


def main() -> int:
    """Print a line for each submission of a lab, those with most published code first."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("lab", help="such as moe")
    parser.add_argument("--submissions", type=Path, default=HERE / "submitted", metavar="FOLDER")
    given = parser.parse_args()
    solved = HERE / "source" / given.lab / f"{given.lab}.ipynb"
    if not solved.exists():
        known = ", ".join(sorted(path.name for path in (HERE / "source").iterdir()))
        print(f"no lab {given.lab!r}; there are {known}", file=sys.stderr)
        return 2
    files = sorted(given.submissions.glob(f"*/{given.lab}/*.ipynb"))
    if not files:
        print(f"{given.submissions} has no STUDENT/{given.lab}/*.ipynb", file=sys.stderr)
        return 2
    found = []
    for path in files:
        try:
            found.append(compare(path.parents[1].name, read_notebook(path), read_notebook(solved)))
        except ValueError as error:
            print(error, file=sys.stderr)
    print(f"{given.lab}: answers of {FEWEST} statements or more that are the published code")
    for each in sorted(found, key=lambda each: (-len(each.same), each.student)):
        print(each)
    return 0


if __name__ == "__main__":
    sys.exit(main())
