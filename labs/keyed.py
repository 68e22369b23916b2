"""`python labs/keyed.py KEY [LAB ...]`: handouts of one course, with what its key draws.

A student's version carries no key. A constant that `costlab.lab.chosen` draws stands there as its
value, in code and in text; the generators of hidden cases (`costlab.lab.seeded`) need the key
itself, which one of a few values does not tell.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from costlab.lab.course import chosen
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Unicode

from course_key import at_hand, keep, lab_key
from derive import derive

SPAN = re.compile(r'<span data-chosen="([^"]+)">.*?</span>', re.S)


class Keyed(NbGraderPreprocessor):
    """Writes what the course's key draws into a student's version, in place of the drawing.

    `lab.chosen("name", (1, 2))` in a code cell becomes the chosen value, and so does the text in
    `<span data-chosen="name">1</span>`. Without a key nothing changes: the first options stand.
    """

    key = Unicode("", help="The course's key.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, Any]:
        """Replace all drawings of a notebook."""
        if self.key:
            with at_hand(lab_key(self.key, resources["nbgrader"]["assignment"])):
                draw(nb)
        return nb, resources


def draw(nb: NotebookNode) -> None:
    """Replace all drawings of a notebook by what the key at hand draws.

    Raises:
        ValueError: a span names what no code cell draws.
    """
    drawn: dict[str, Any] = {}
    for cell in nb.cells:
        if cell.cell_type == "code" and "chosen(" in cell.source:
            cell.source = drawn_code(cell.source, drawn)
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            for name in SPAN.findall(cell.source):
                if name not in drawn:
                    known = ", ".join(sorted(drawn)) or "nothing"
                    raise ValueError(f"the text names {name!r}, but the code draws {known}")
            cell.source = SPAN.sub(lambda found: told(drawn[found[1]]), cell.source)


def drawn_code(code: str, drawn: dict[str, Any]) -> str:
    """Return code with each drawing replaced by its value, and note the values by their names."""
    lines = code.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[:i])) for i in range(len(lines))]
    text = code.encode()
    for call in sorted(drawings(code), key=lambda call: -starts[call.lineno - 1] - call.col_offset):
        name, options = map(ast.literal_eval, call.args)
        drawn[name] = chosen(name, options)
        begin = starts[call.lineno - 1] + call.col_offset
        end = starts[(call.end_lineno or 0) - 1] + (call.end_col_offset or 0)
        text = text[:begin] + repr(drawn[name]).encode() + text[end:]
    return text.decode()


def drawings(code: str) -> Iterator[ast.Call]:
    """Yield the calls of `chosen` in a cell."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "chosen":
            yield node


def told(value: Any) -> str:
    """Return a drawn value as a text has it."""
    return f"{value:,}" if isinstance(value, int | float) else str(value)


if __name__ == "__main__":
    try:
        if len(sys.argv) < 2:
            raise ValueError("which key? `keyed.py KEY [LAB ...]`; the key `new` draws one")
        here = Path(__file__).resolve().parent
        kept = keep(sys.argv[1], here)
        derive(here, sys.argv[2:], key=kept)
    except ValueError as error:
        sys.exit(str(error))
    print("labs/handout has the students' versions of this course; labs/course.key is its secret")
