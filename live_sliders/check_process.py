"""Runs a page's slice as the page's own Python would, in a process for each page: `check_process.py FOLDER MODULES`.

The folder holds `job.json` and an empty `home` to run in; `result.json` is written into it. MODULES can be imported.
What the browser lacks is missing here too: other packages, the book's files, threads and the network.
"""

from __future__ import annotations

import importlib.abc
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WIDGET = "application/vnd.jupyter.widget-view+json"


class Absent(importlib.abc.MetaPathFinder):
    """Refuses, as the first finder, the modules that the browser does not have."""

    def __init__(self, present: list[str]) -> None:
        self._present = frozenset(present)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Let other finders look for a module, or raise ModuleNotFoundError."""
        if path is None and name not in self._present and not name.startswith("_"):
            raise ModuleNotFoundError(f"No module named {name!r} in the browser's Python", name=name)


class Unfound(importlib.abc.MetaPathFinder):
    """Remembers, as the last finder, the modules that the browser has and this Python has not."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Note a module that nobody found."""
        if path is None and name not in sys.stdlib_module_names and not name.startswith("_"):
            self.names.append(name)


def forbid_what_a_browser_cannot() -> None:
    """Have threads and connections fail as they do in Pyodide; Matplotlib's own timers are not the page's."""
    plain_start = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if not isinstance(thread, threading.Timer):
            raise RuntimeError("can't start new thread")
        plain_start(thread)

    def connect(*_: Any) -> None:
        raise OSError("no request leaves the page's site")

    setattr(threading.Thread, "start", start)  # noqa: B010 - mypy forbids assigning a method
    setattr(socket, "create_connection", connect)  # noqa: B010
    setattr(socket.socket, "connect", connect)  # noqa: B010


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Run the cells, set the controls as saved, and return each view's widgets: their state, depth first."""
    from live_kernel import kernel as kernels  # type: ignore[import-not-found]

    kernel = kernels.open_page(json.dumps(job["figure"]), 0)
    shown: dict[int, list[str]] = {}
    for cell in job["cells"]:
        report = json.loads(kernel.run_cell(cell["index"], cell["source"]))
        if report["error"]:
            return {"cell": cell["index"], "error": report["error"]}
        for event in report["events"]:
            model = event.get("output", {}).get("data", {}).get(WIDGET)
            if model:
                shown.setdefault(event["cell"], []).append(model["model_id"])
    views = [_widgets(shown.get(view["cell"], []), view["nth"]) for view in job["views"]]
    for view, widgets in zip(job["views"], views, strict=True):
        moves = list(_moves(view["controls"], widgets))
        report = json.loads(kernel.deliver(json.dumps(moves))) if moves else {"error": None}
        if report["error"]:
            return {"cell": view["cell"], "error": report["error"]}
    attempts = [_attempts(kernel, exercise) for exercise in job["exercises"]]
    return {"views": [[widget.get_state() for widget in widgets] for widgets in views], "exercises": attempts}


def _attempts(kernel: Any, exercise: dict[str, Any]) -> dict[str, Any]:
    """Return what came of an exercise's own answer and of its starter: None, or what went wrong."""
    return {
        name: json.loads(kernel.attempt(exercise[name], exercise["check"]))["trouble"]
        for name in ("solution", "starter")
    }


def _widgets(shown: list[str], nth: int) -> list[Any]:
    """Return the widgets of the nth view among those shown, depth first; none where there is no such view."""
    from ipywidgets.widgets.widget import _instances

    return list(_reachable(_instances[shown[nth]])) if nth < len(shown) else []


def _reachable(widget: Any) -> Iterator[Any]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from _reachable(child)


def _moves(saved: list[dict[str, Any]], widgets: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield the moves that bring controls to their saved values."""
    for state, widget in zip(saved, widgets, strict=False):
        own = json.loads(json.dumps(widget.get_state(list(state)), default=str))
        if state != own and state.keys() == own.keys():
            yield {"id": widget.model_id, "state": state}


def main(folder: Path, modules: Path) -> None:
    """Do the job in `folder`, with what lies in `modules`."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    unfound = Unfound()
    sys.path.insert(0, str(modules))
    sys.meta_path[:] = [Absent(job["modules"]), *sys.meta_path, unfound]
    forbid_what_a_browser_cannot()
    os.chdir(folder / "home")
    result = run(job) | {"unfound": unfound.names}
    (folder / "result.json").write_text(json.dumps(result, default=str), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
