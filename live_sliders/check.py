"""Runs each page's slice once, in the build, and compares what its views show with what the notebook saved.

A slice that keeps too little would otherwise show wrong numbers in silence. A page that has not changed since it was
found right, nor any of the code that it runs with, is not run again.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from itertools import zip_longest
from pathlib import Path
from typing import Any

from . import widgets
from .imports import PROVIDED, STANDARD
from .notebook import UNCHECKED_TAG
from .plan import Available, Page, PageError, Plan, View
from .wheel import Project
from .widgets import State

HERE = Path(__file__).parent
WIDGET = "application/vnd.jupyter.widget-view+json"
CONTROLS = widgets.NUMBERS | widgets.SELECTIONS | widgets.BOOLEANS | widgets.TEXTS
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
NEARLY = 1e-9  # of a number's size: what another processor may give
LONGEST = 160  # characters of a line that a message quotes
MEND = (
    "Something that changes it is not among the statements that the page runs: move it into the slider's cell, or tag "
    "its cell 'live'; or tag the slider's cell 'not-live'. Where the notebook's outputs are older than the packages "
    "that it imports, execute it again: a cache of executed notebooks looks at their text alone. A cell whose result "
    f"is meant to differ from run to run is tagged {UNCHECKED_TAG!r}"
)


class NotComparable(Exception):
    """Raised where this Python lacks a package that the browser has, so that the slice cannot run here."""


@dataclass(frozen=True)
class Checker:
    """Compares pages with their slices.

    projects: the packages that travel with the book. memory: the folder that remembers which pages were right.
    timeout_s: how long a page may take.
    """

    available: Available
    projects: Sequence[Project]
    memory: Path
    timeout_s: float | None = None

    def check(self, page: Page, plan: Plan) -> None:
        """Compare a page.

        Raises PageError where its slice fails or shows something else than the notebook, or where the check of an
        exercise refuses its answer or takes its starter; NotComparable where this Python cannot tell.
        """
        views = [view for view in page.live_views() if UNCHECKED_TAG not in view.cell.tags]
        job = self._job(page, plan, views)
        saved = [list(_saved(page.state, view)) for view in views]
        note = self.memory / f"{page.name.replace('/', '.')}.checked"
        key = hashlib.sha256(json.dumps([job, saved, self._surroundings], default=str).encode()).hexdigest()
        if note.is_file() and note.read_text(encoding="utf-8") == key:
            return
        self._compare(page, views, saved, self._run(page, job))
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(key, encoding="utf-8")

    def _job(self, page: Page, plan: Plan, views: list[View]) -> dict[str, Any]:
        """Return what the process needs to know."""
        nth = {entry["model"]: entry["nth"] for entry in plan.views}
        return {
            "cells": [vars(cell) for cell in plan.cells],
            "figure": plan.figure,
            "exercises": [
                {"cell": each.cell.index, "check": each.check, "solution": each.solution, "starter": each.starter}
                for each in page.exercises
            ],
            "modules": sorted({*self.available.modules, *self.available.own, *PROVIDED, *STANDARD, "live_kernel"}),
            "views": [
                {"cell": v.cell.index, "nth": nth[v.model_id], "controls": _controls(page.state, v)} for v in views
            ],
        }

    @cached_property
    def _surroundings(self) -> list[str]:
        """The versions of all that a slice runs with, which a build does not change."""
        files = [*sorted(HERE.glob("*.py")), *sorted(HERE.glob("web/python/*.py"))]
        files += [path for project in self.projects for path in project.files()]
        digests = [f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
        packages = sorted({*self.available.modules.values()})
        return [sys.version, *digests, *(f"{name} {_version(name)}" for name in packages)]

    def _run(self, page: Page, job: dict[str, Any]) -> list[list[dict[str, Any]]]:
        """Run the slice in a fresh process; return the states of each view's widgets."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "home").mkdir()
            (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
            command = [sys.executable, "-P", str(HERE / "check_process.py"), name, str(self._modules)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=self.timeout_s, check=False)
            except subprocess.TimeoutExpired as error:
                raise PageError(f"{page.name}: the page's Python did not finish in {self.timeout_s:g} s") from error
            path = folder / "result.json"
            if not path.is_file():
                raise PageError(f"{page.name}: the page's Python ended early: {done.stderr.strip()[-2000:]}")
            result = json.loads(path.read_text(encoding="utf-8"))
        said = [result["error"]] if "error" in result else [each["solution"]["text"] for each in _refused(result)]
        if missing := [name for name in result["unfound"] if f"No module named {name!r}" in "\n".join(said)]:
            raise NotComparable(f"{', '.join(map(repr, missing))} is not installed")
        if "error" not in result:
            _judge(page, result["exercises"])
            return list(result["views"])
        raise PageError(
            f"{page.name}: cell {result['cell'] + 1} fails in the page's Python, with the statements that it needs "
            f"from the cells above: {result['error'].strip()}\n{MEND}"
        )

    @cached_property
    def _modules(self) -> Path:
        """The page's kernel and the book's packages as far as they travel, copied once: pages share their bytecode."""
        modules = Path(tempfile.mkdtemp())
        weakref.finalize(self, shutil.rmtree, modules, ignore_errors=True)
        shutil.copytree(HERE / "web" / "python", modules / "live_kernel")
        for project in self.projects:
            for path in project.files():
                copy = modules / project.place(path)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
        return modules

    def _compare(self, page: Page, views: list[View], saved: list[list[str]], run: list[list[dict[str, Any]]]) -> None:
        for view, texts, states in zip(views, saved, run, strict=True):
            keys = [set(page.state[each]["state"]) for each in widgets.reachable(page.state, view.model_id)]
            found = [_described(state, kept) for state, kept in zip(states, keys, strict=False)]
            if len(states) != len(keys):
                texts, found = [f"{len(keys)} widgets"], [f"{len(states)} widgets"]
            for theirs, ours in zip(texts, found, strict=True):
                if not same_text(theirs, ours):
                    notebook, slice_ = first_difference(theirs, ours)
                    where = f"{page.name}: cell {view.cell.index + 1}"
                    raise PageError(f"{where}: the notebook shows {notebook!r}, the page {slice_!r}. {MEND}")


def _refused(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the attempts at a page's exercises whose own answer did not pass."""
    return [each for each in result["exercises"] if each["solution"]]


def _judge(page: Page, attempts: list[dict[str, Any]]) -> None:
    """Raise PageError where an exercise's answer is refused by itself, or its starter gives the answer away."""
    for exercise, attempt in zip(page.exercises, attempts, strict=True):
        where = f"{page.name}: cell {exercise.cell.index + 1}, exercise {exercise.title!r}"
        if attempt["solution"]:
            raise PageError(
                f"{where}: its own answer does not pass in the page's Python, where it runs without the cells above: "
                f"{attempt['solution']['text']}"
            )
        if not attempt["starter"]:
            raise PageError(f"{where}: the check takes the starter for an answer")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _controls(state: State, view: View) -> list[dict[str, Any]]:
    """Return, for each model of a view, the values that a reader could have set."""
    return [
        {
            key: state[each]["state"][key]
            for key in ("value", "index")
            if widgets.kind(state, each) in CONTROLS and "Progress" not in widgets.kind(state, each)
            if key in state[each]["state"]
        }
        for each in widgets.reachable(state, view.model_id)
    ]


# -- what a widget shows, as text -------------------------------------------------------------------------------


def _saved(state: State, view: View) -> Iterator[str]:
    for each in widgets.reachable(state, view.model_id):
        values = state[each]["state"]
        yield _described({**values, "_model_name": widgets.kind(state, each)}, values)


def _described(state: dict[str, Any], keys: Any) -> str:
    """Return what a widget shows as lines of text; of its state what the page uses, where it is among `keys`."""
    if state.get("_model_name") == "OutputModel":
        return "\n".join(shown_text(output) for output in _joined(state.get("outputs", [])))
    used = sorted(widgets.PAGE_KEYS & set(keys) - {"children"})
    name = str(state.get("_model_name", "no widget")).removesuffix("Model")
    return "\n".join([name, *(f"{key} = {json.dumps(state.get(key))}" for key in used)])


def _joined(outputs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return outputs with text of one stream in one piece; the page shows no standard error."""
    joined: list[dict[str, Any]] = []
    for output in outputs:
        if output["output_type"] != "stream":
            joined.append(output)
        elif output["name"] == "stdout":
            if joined and joined[-1]["output_type"] == "stream":
                output = {**output, "text": _text(joined.pop()["text"]) + _text(output["text"])}
            joined.append(output)
    return joined


def shown_text(output: dict[str, Any]) -> str:
    """Return what a reader sees of an output: of a picture its size, of HTML all but random names."""
    if output["output_type"] == "stream":
        return _text(output["text"])
    data = output.get("data", {})
    plain = _without_addresses(_text(data.get("text/plain", "")))
    if WIDGET in data:
        return "a widget"
    if plain.startswith("<Figure size") or any(mime.startswith("image/") for mime in data):
        return f"a picture {plain if plain.startswith('<Figure') else ''}".rstrip()
    if "text/html" in data:
        return _without_addresses(_numbered_ids(_text(data["text/html"])))
    for mime in ("text/latex", "text/markdown"):
        if mime in data:
            return re.sub(r"\s|\$|\\displaystyle", "", _text(data[mime]))
    return re.sub(r"\s", "", plain)  # IPython breaks long values into lines


def _text(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def _without_addresses(text: str) -> str:
    return re.sub(r"\b0x[0-9a-f]{6,}", "0x…", text)


def _numbered_ids(html: str) -> str:
    """Return HTML whose ids, which may be random, are numbered in order; so are references to them."""
    names = dict.fromkeys(re.findall(r'\bid="([^"]+)"', html))
    if not names:
        return html
    numbers = {name: f"id{number}" for number, name in enumerate(names)}
    either = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    return re.sub(rf'(?<=["#\s])({either})(?=["\s)])', lambda found: numbers[found[1]], html)


def same_text(one: str, other: str) -> bool:
    """Return whether texts have the same words, and the same numbers but for their last digits."""
    if one == other:
        return True
    if NUMBER.sub("#", one) != NUMBER.sub("#", other):
        return False
    pairs = zip(map(float, NUMBER.findall(one)), map(float, NUMBER.findall(other)), strict=True)
    return all(a == b or abs(a - b) <= NEARLY * max(abs(a), abs(b)) for a, b in pairs)


def first_difference(one: str, other: str) -> tuple[str, str]:
    """Return the first pair of lines that differ, long ones cut to where they do."""
    lines = zip_longest(one.splitlines(), other.splitlines(), fillvalue="")
    a, b = next((pair for pair in lines if not same_text(*pair)), (one, other))
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0)
    start = max(0, start - LONGEST // 2) if max(len(a), len(b)) > LONGEST else 0
    return a[start : start + LONGEST], b[start : start + LONGEST]
