"""What one page needs in order to come alive: its views, the Python they run, the packages that this imports."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import widgets
from .dialect import magics
from .exercises import Exercise
from .imports import Found, ImportWalker, imported
from .notebook import Cell
from .slicing import Lacks, LiveCell, SliceError, slice_cells
from .widgets import State


class PageError(ValueError):
    """A page whose sliders or exercises cannot run in a browser; the message names the page and the cell."""


@dataclass(frozen=True)
class View:
    """One widget shown on a page: by which cell, and as which model."""

    cell: Cell
    model_id: str


@dataclass(frozen=True)
class Page:
    """A notebook page with widgets, exercises or both."""

    name: str
    cells: list[Cell]
    state: State
    views: list[View]
    exercises: list[Exercise] = field(default_factory=list)

    def live_views(self) -> list[View]:
        """Return the views that a browser can drive: not tagged, not unsupported."""
        return [view for view in self.views if not view.cell.not_live and not self.unsupported(view)]

    def unsupported(self, view: View) -> list[str]:
        """Return the kinds of widget in a view that stay static."""
        return widgets.unsupported(self.state, view.model_id)


@dataclass(frozen=True)
class Available:
    """What pages may import in the browser: the runtime's packages by module, and the course's own.

    left_out: files of the course's own packages that their wheels do not carry. One build's files stay as they are,
    so what was found out about a module is kept.
    """

    modules: dict[str, str]
    own: dict[str, Path] = field(default_factory=dict)
    left_out: frozenset[Path] = frozenset()
    _files: dict[str, Path | None] = field(default_factory=dict, repr=False, compare=False)
    _lacking: dict[str, bool] = field(default_factory=dict, repr=False, compare=False)

    def walker(self) -> ImportWalker:
        """Return what follows imports through the course's own packages."""
        return ImportWalker(self.own, self.left_out, self._files)

    def missing(self, found: Found) -> dict[str, tuple[str, ...]]:
        """Return what some code needs that the browser does not have."""
        return found.missing([*self.modules, *self.own])

    def lacks(self, module: str) -> bool:
        """Return whether to import a module would need what the browser does not have."""
        if module not in self._lacking:
            walker = self.walker()
            walker.visit_module(module)
            self._lacking[module] = bool(self.missing(walker.found))
        return self._lacking[module]


@dataclass(frozen=True)
class Plan:
    """The JSON that a live page carries."""

    views: list[dict[str, Any]]
    models: dict[str, dict[str, Any]]
    cells: list[LiveCell]
    packages: list[str]
    figure: dict[str, Any]
    exercises: list[dict[str, Any]]

    def to_json(self, **places: Any) -> str:
        """Return the plan as JSON that is safe inside a `<script>` element."""
        cells = [vars(cell) for cell in self.cells]
        text = json.dumps({**vars(self), "cells": cells, **places}, ensure_ascii=False, separators=(",", ":"))
        return text.replace("<", "\\u003c")


def make_plan(page: Page, available: Available) -> Plan | None:
    """Plan a page, or return None where no view can be live and no exercise is to be done.

    Raises PageError where the browser cannot run what a view needs.
    """
    views = page.live_views()
    if not (views or page.exercises):
        return None
    try:
        cells = slice_cells(page.cells, {view.cell.index for view in views}, _lacks(available))
    except SliceError as error:
        raise PageError(f"{page.name}: {error}") from error
    found = _imports(cells, page.exercises, available)
    _refuse_missing(page, found, available)
    return Plan(
        views=[{"model": v.model_id, "cell": v.cell.index, "nth": _nth(page, v), "alt": v.cell.alt} for v in views],
        models=widgets.page_state(page.state, [view.model_id for view in views]),
        cells=cells,
        packages=_packages(found, available),
        figure=figure_format(page.state),
        exercises=[exercise.planned() for exercise in page.exercises],
    )


def problems(page: Page) -> Iterable[tuple[str, str]]:
    """Yield what the author should hear about a page at build time, as (kind of warning, message)."""
    yield from _loose_figures(page)
    for view in page.views:
        where = f"cell {view.cell.index + 1}"
        if names := page.unsupported(view):
            yield "unsupported", f"{where}: no live control for {', '.join(names)}; the view stays static"
        if widgets.has_figure(page.state, view.model_id) and not view.cell.alt:
            yield "alt", f"{where}: the slider's figure has no alternative text (cell metadata mystnb.image.alt)"
        for error in widgets.errors(page.state, view.model_id):
            yield "error", f"{where}: the widget's callback raised {error}"
    yield from _links(page)


def _loose_figures(page: Page) -> Iterable[tuple[str, str]]:
    """Warn of `%matplotlib inline`: interact no longer recognises the backend, and figures land below the widget."""
    for cell in page.cells if page.live_views() else []:
        if "%matplotlib inline" in magics(cell.source):
            yield (
                "figure",
                (
                    f"cell {cell.index + 1}: leave out '%matplotlib inline'; with it, figures of a slider are shown "
                    "outside of the slider, and there they cannot follow it"
                ),
            )


def _links(page: Page) -> Iterable[tuple[str, str]]:
    """Warn of links in the notebook's JavaScript, which the page does not run."""
    cells = {
        each: view.cell.index for view in page.live_views() for each in widgets.reachable(page.state, view.model_id)
    }
    for maker, source, target in widgets.script_links(page.state):
        if cell := next((cells[end] + 1 for end in (source, target) if end in cells), None):
            ends = [widgets.label(page.state, end) for end in (source, target)]
            yield (
                "link",
                (
                    f"cell {cell}: the page does not follow {maker} between {ends[0]} and {ends[1]}, since that works "
                    f"in the notebook's own scripts; use ipywidgets.{maker.removeprefix('js')}, which works in Python"
                ),
            )


def _nth(page: Page, view: View) -> int:
    """Return a view's place among the views of its cell."""
    return [each for each in page.views if each.cell is view.cell].index(view)


def _lacks(available: Available) -> Lacks:
    """Return a test for statements that import what the browser does not have."""
    return lambda node: any(map(available.lacks, imported(ast.walk(node))))


def _imports(cells: list[LiveCell], exercises: list[Exercise], available: Available) -> Found:
    walker = available.walker()
    for cell in cells:
        walker.visit_cell(cell.source, f"cell {cell.index + 1}")
    for exercise in exercises:
        walker.visit_cell(f"{exercise.solution}\n{exercise.check}", f"cell {exercise.cell.index + 1}")
    return walker.found


def _refuse_missing(page: Page, found: Found, available: Available) -> None:
    missing = available.missing(found)
    if not missing:
        return
    reasons = "; ".join(_reason(name, chain, name in found.left_out) for name, chain in missing.items())
    raise PageError(
        f"{page.name}: {reasons}; the browser's Python has no such module. "
        "Compute without it; a cell that shows a slider may be tagged 'not-live' instead"
    )


def _reason(name: str, chain: tuple[str, ...], left_out: bool) -> str:
    why = ", which 'live_wheel_excludes' leaves out" if left_out else ""
    return f"{chain[0]} needs {name!r} ({' → '.join(chain)}){why}"


def _packages(found: Found, available: Available) -> list[str]:
    """Return the runtime's packages by name; what is only imported inside functions is fetched too, where it exists."""
    names = {available.modules[name] for name in {*found.chains, *found.lazy} if name in available.modules}
    return sorted(names | {"ipywidgets"})


def figure_format(state: State) -> dict[str, Any]:
    """Return how the notebook drew its figures, read from those it saved: PNG or SVG, and pixels per CSS pixel."""
    for model_id in state:
        for output in widgets.outputs(state, model_id) if widgets.kind(state, model_id) == "OutputModel" else []:
            data = output.get("data", {})
            if "image/svg+xml" in data and "image/png" not in data:
                return {"format": "svg", "scale": 1}
            if "image/png" in data:
                return {"format": "png", "scale": 2 if output.get("metadata", {}).get("image/png") else 1}
    return {"format": "png", "scale": 1}
