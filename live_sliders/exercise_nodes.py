"""Exercises in a page's document: the starter and its check where the solved cell stood, the answer folded below.

This is what every builder shows, and a reader without scripts. Where the browser can have Python, the page's script
puts a field to type in into the starter's place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from .exercises import TAG, Exercise, Prediction, read_exercise
from .notebook import Cell

CLASS = "live-exercise"
ANSWER_CLASS = "exercise-answer"
CHECK_NOTE = "The check. It runs after your code, and cannot be changed:"


def found(document: nodes.document) -> list[nodes.container]:
    """Return the cells of a page that are exercises."""
    return [node for node in document.findall(nodes.container) if _is_exercise(node)]


def _is_exercise(node: nodes.container) -> bool:
    return node.get("nb_element") == "cell_code" and TAG in node["cell_metadata"].get("tags", [])


class Exercises(SphinxPostTransform):
    """Shows of each exercise what a reader begins with, and folds its answer, for every builder."""

    default_priority = 6  # after the page's plan was made of the cells as they were

    def run(self, **kwargs: Any) -> None:
        """Transform one page."""
        for cell in found(self.document):
            _divide(cell)


def _divide(cell: nodes.container) -> None:
    """Replace a solved cell by its starter, its check and its folded answer, which takes the prose that follows it."""
    source = next(each for each in cell.findall(nodes.container) if each.get("nb_element") == "cell_code_source")
    shown = [each for each in cell.children if each is not source]
    literal = next(iter(source.findall(nodes.literal_block)))
    exercise = read_exercise(Cell(cell["cell_index"], literal.astext(), cell["cell_metadata"]))
    prose = _following(cell)
    if prose is not None:
        prose.parent.remove(prose)
    answer = nodes.container("", _code(literal, exercise.solution), *shown, classes=["cell"])
    place = cell.parent.index(cell)
    cell.parent[place : place + 1] = [
        _task(exercise, literal),
        _html('<details class="live-answer"><summary>Answer</summary>'),
        answer,
        *(prose.children if prose is not None else []),
        _html("</details>"),
    ]


def _task(exercise: Exercise, literal: nodes.literal_block) -> nodes.container:
    """Return what a reader begins with."""
    check = nodes.container(
        "",
        nodes.paragraph("", CHECK_NOTE, classes=["live-note"]),
        _code(literal, exercise.check),
        classes=["live-check"],
    )
    starter = nodes.container("", _code(literal, exercise.starter), classes=["cell", "live-starter"])
    first = [_asked(exercise.predict)] if exercise.predict else []
    return nodes.container("", *first, starter, check, classes=["live", CLASS], ids=[exercise.name])


def _asked(predict: Prediction) -> nodes.container:
    """Return the request for a prediction, in words."""
    ask = nodes.paragraph("", "", nodes.strong("", "Predict first. "), nodes.Text(predict.ask))
    choices = nodes.bullet_list("", *(nodes.list_item("", nodes.paragraph("", each)) for each in predict.choices))
    return nodes.container("", ask, *([choices] if predict.choices else []), classes=["live-predict"])


def _code(literal: nodes.literal_block, text: str) -> nodes.container:
    """Return code as the cell's own was shown."""
    block = literal.copy()
    block.rawsource = text
    block.children = []
    block += nodes.Text(text)
    return nodes.container("", block, classes=["cell_input"])


def _following(cell: nodes.container) -> nodes.container | None:
    """Return the container of the answer's prose, where the next node is one."""
    after = next(_after(cell), None)
    return after if isinstance(after, nodes.container) and ANSWER_CLASS in after["classes"] else None


def _after(cell: nodes.Element) -> Iterator[nodes.Node]:
    """Yield the nodes after a cell on its level that are shown."""
    siblings = cell.parent.children[cell.parent.index(cell) + 1 :]
    return (each for each in siblings if not isinstance(each, nodes.comment | nodes.target))


def _html(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")
