"""Exercises: a solved cell of a notebook, of which a reader gets the starter and the check.

The notebook holds the answer, so whatever runs the notebook tests it. Three lines divide the cell:

    def cost(tokens):
        ### BEGIN SOLUTION
        return tokens * 2
        ### END SOLUTION

    ### CHECK
    assert cost(3) == 6, f"cost(3) is {cost(3)}, it should be 6"

The reader sees `...` between the first two, may change all lines above the third, and runs those below it unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .notebook import Cell

TAG = "exercise"
BEGIN, END, CHECK = "### BEGIN SOLUTION", "### END SOLUTION", "### CHECK"
BLANK = "..."  # stands in the starter where the answer was


class ExerciseError(ValueError):
    """An exercise that no reader could do; the message names the cell and what is missing."""


@dataclass(frozen=True)
class Prediction:
    """What a reader commits to before the first run: one of some choices, or, without choices, a number of a unit."""

    ask: str
    choices: tuple[str, ...] = ()
    unit: str = ""


@dataclass(frozen=True)
class Exercise:
    """One exercise of a page.

    name: its id in the page. starter: what the reader begins with. solution: the same with the answer. check: what
    runs after either. minutes: how long it takes in class, None where nobody says.
    """

    cell: Cell
    name: str
    title: str
    minutes: float | None
    question: str
    predict: Prediction | None
    starter: str
    solution: str
    check: str

    def planned(self) -> dict[str, Any]:
        """Return what the page's script needs to know."""
        predict = vars(self.predict) if self.predict else None
        return {
            "name": self.name,
            "title": self.title,
            "starter": self.starter,
            "check": self.check,
            "predict": predict,
        }


def is_exercise(cell: Cell) -> bool:
    """Return whether a cell is tagged as an exercise."""
    return TAG in cell.tags


def read_exercises(cells: Iterable[Cell]) -> list[Exercise]:
    """Return the exercises of a page, in order.

    Raises ExerciseError where one lacks a part, or two have one title.
    """
    found = [read_exercise(cell) for cell in cells if is_exercise(cell)]
    for exercise in found:
        if len([each for each in found if each.name == exercise.name]) > 1:
            raise _error(exercise.cell, f"another exercise of the page has the title {exercise.title!r}, too")
    return found


def read_exercise(cell: Cell) -> Exercise:
    """Return the exercise that a solved cell holds.

    Raises ExerciseError where a part is missing or the metadata are of no use.
    """
    title = str(cell.metadata.get("title", "")).strip()
    if not title:
        raise _error(cell, "an exercise needs a 'title' in the cell's metadata")
    code, check = _split(cell)
    return Exercise(
        cell,
        "exercise-" + re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-"),
        title,
        _minutes(cell),
        str(cell.metadata.get("question", "")).strip(),
        _prediction(cell),
        _without_answer(cell, code),
        _without_marks(code),
        check,
    )


def _split(cell: Cell) -> tuple[list[str], str]:
    """Return the lines of the code and the text of the check."""
    lines = cell.source.rstrip().splitlines()
    marks = [number for number, line in enumerate(lines) if line.strip() == CHECK]
    if len(marks) != 1 or not "".join(lines[marks[0] + 1 :]).strip():
        raise _error(cell, f"an exercise needs one line {CHECK!r} and, below it, what tells whether an answer is right")
    return lines[: marks[0]], "\n".join(lines[marks[0] + 1 :]).strip("\n")


def _without_answer(cell: Cell, lines: list[str]) -> str:
    """Return the code with `...` in the place of each answer."""
    kept: list[str] = []
    is_answer = False
    for line in lines:
        mark = line.strip()
        if mark in (BEGIN, END) and (mark == BEGIN) == is_answer:
            raise _error(cell, f"a line {mark!r} without its partner")
        if mark == BEGIN:
            kept.append(line.replace(BEGIN, BLANK))
        elif mark != END and not is_answer:
            kept.append(line)
        is_answer = mark == BEGIN or (is_answer and mark != END)
    if is_answer or all(line.strip() != BEGIN for line in lines):
        raise _error(cell, f"an exercise needs its answer between the lines {BEGIN!r} and {END!r}")
    return "\n".join(kept).strip("\n")


def _without_marks(lines: list[str]) -> str:
    return "\n".join(line for line in lines if line.strip() not in (BEGIN, END)).strip("\n")


def _minutes(cell: Cell) -> float | None:
    given = cell.metadata.get("minutes")
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not given > 0:
        raise _error(cell, f"'minutes' is {given!r}; it should be a number above 0")
    return given


def _prediction(cell: Cell) -> Prediction | None:
    """Return what the metadata ask for under `predict`."""
    given = cell.metadata.get("predict")
    if given is None:
        return None
    if not isinstance(given, dict) or not given.get("ask") or given.keys() - {"ask", "choices", "unit"}:
        raise _error(cell, f"'predict' is {given!r}; it should have 'ask' and either 'choices' or 'unit'")
    choices = tuple(str(each) for each in given.get("choices", ()))
    if len(choices) == 1 or (choices and "unit" in given):
        raise _error(cell, f"'predict' is {given!r}; it should have two choices or more, or else a unit")
    return Prediction(str(given["ask"]), choices, str(given.get("unit", "")))


def _error(cell: Cell, message: str) -> ExerciseError:
    return ExerciseError(f"cell {cell.index + 1}: {message}")
