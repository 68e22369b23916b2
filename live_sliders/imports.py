"""What a page's Python imports, followed through the course's own packages, without running any of it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from .dialect import plain_python

PROVIDED = frozenset({"IPython", "myst_nb", "ipywidgets", "js", "pyodide"})
"""Modules that the page's own start-up code brings."""
WITHOUT = frozenset(
    """
    curses dbm ensurepip idlelib lib2to3 tkinter turtle turtledemo venv
    """.split()  # noqa: SIM905
)
"""Modules of the standard library that Pyodide leaves out."""
STANDARD = frozenset(sys.stdlib_module_names) - WITHOUT


@dataclass
class Found:
    """The outside modules that some code needs, each with the chain of modules that led to it.

    chains: what is imported for certain. left_out: the own modules among that which the wheels do not carry.
    lazy: what is only imported inside functions.
    """

    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lazy: set[str] = field(default_factory=set)

    def missing(self, available: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return the modules imported for certain that the browser does not have, those left out of a wheel first."""
        known = set(available) | PROVIDED | STANDARD
        return self.left_out | {name: chain for name, chain in self.chains.items() if name not in known}


class ImportWalker:
    """Follows imports from the source of a cell through packages whose folders are known.

    files: where modules were found; walkers that share it look for each module once.
    """

    def __init__(
        self, packages: dict[str, Path], left_out: Container[Path] = (), files: dict[str, Path | None] | None = None
    ) -> None:
        self._packages = packages
        self._left_out = left_out
        self._files = {} if files is None else files
        self._visited: set[str] = set()
        self._followed: set[str] = set()
        self.found = Found()

    def visit_cell(self, source: str, label: str) -> None:
        """Follow a cell's imports; those inside its functions count, since a slider will call them."""
        for name in imported(ast.walk(ast.parse(plain_python(source)))):
            self.visit_module(name, (label,))

    def visit_module(self, name: str, chain: tuple[str, ...] = ()) -> None:
        """Follow the import of a module, which `chain` led to."""
        if name in self._followed:  # the first chain that leads to a module is the one that is told
            return
        self._followed.add(name)
        root = name.split(".")[0]
        if root not in self._packages:
            self.found.chains.setdefault(root, (*chain, root))
            return
        for module in _with_parents(name):
            path = self._file(module)
            if path in self._left_out:
                self.found.left_out.setdefault(module, (*chain, module))
                return
            if path and module not in self._visited:
                self._visited.add(module)
                self._visit_file(path, module, (*chain, module))

    def _visit_file(self, path: Path, module: str, chain: tuple[str, ...]) -> None:
        """Follow what a module imports for certain, at its top level; note what its functions may import."""
        certain, lazy = _imports_of(path, module, path.stat().st_mtime_ns)
        for name in sorted(certain):
            self.visit_module(name, chain)
        self.found.lazy |= {name.split(".")[0] for name in lazy}

    def _file(self, module: str) -> Path | None:
        if module not in self._files:
            self._files[module] = self._find(module)
        return self._files[module]

    def _find(self, module: str) -> Path | None:
        root, *rest = module.split(".")
        base = self._packages[root].joinpath(*rest)
        candidates = (base / "__init__.py", base.with_suffix(".py"))
        return next((path for path in candidates if path.is_file()), None)


@lru_cache(maxsize=4096)
def _imports_of(path: Path, module: str, changed_ns: int) -> tuple[frozenset[str], frozenset[str]]:
    """Return what a file imports for certain, and what only its functions or guarded lines import."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    certain = frozenset(imported(_module_level(tree), package))
    return certain, frozenset(imported(ast.walk(tree), package)) - certain


def _with_parents(name: str) -> Iterator[str]:
    """Yield what an import of `a.b.c` imports: a, then a.b, then a.b.c."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        yield ".".join(parts[:length])


def imported(nodes: Iterable[ast.AST], package: str = "") -> Iterator[str]:
    """Yield the full names of the modules that import statements among `nodes` name."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)  # it may be a submodule


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """Return the full name that a relative import means: `from .. import x` inside package a.b names a."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - node.level + 1])
    return f"{base}.{node.module}" if node.module else base


def _module_level(node: ast.AST) -> Iterator[ast.AST]:
    """Walk what runs on import: not function bodies, not `if TYPE_CHECKING`, not guarded `try` imports."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Try):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _module_level(child)
