"""What one course keeps to itself: constants and cases by a key, feedback without hidden code.

The key is the teacher's secret, in the file `course.key` of this folder or in `COSTLAB_COURSE_KEY`.
Each lab gets a key of its own, derived from it: who prints a lab's key while it is graded knows
nothing of the next lab's.

A student's version carries no key. A constant that `costlab.lab.chosen` draws stands there as its
value, in code and in text; the generators of hidden cases (`costlab.lab.seeded`) need the key
itself, which one of a few values does not tell.
"""

import ast
import hashlib
import hmac
import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from costlab.lab.course import KEY, chosen
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Unicode

from derive import derive

FILE = "course.key"
SHORTEST = 16  # characters: a shorter key could be guessed from the constants that it draws
SPAN = re.compile(r'<span data-chosen="([^"]+)">.*?</span>', re.S)
HIDDEN = re.compile(r"^[ \t]*### BEGIN HIDDEN TESTS\n.*?### END HIDDEN TESTS[ \t]*$", re.M | re.S)
NOT_SHOWN = "# ... and more cases, which are not shown"


# --- the key -------------------------------------------------------------------------------------


def course_key(folder: Path) -> str:
    """Return the course's key: of the environment, else of the file in a folder, else "".

    Raises:
        ValueError: the key is so short that it could be guessed.
    """
    given = os.environ.get(KEY)
    key = kept_in(folder) if given is None else given
    return checked(key) if key else ""


def kept_in(folder: Path) -> str:
    """Return the key that a folder keeps; "" without one."""
    path = folder / FILE
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def checked(key: str) -> str:
    """Return a key that is long enough.

    Raises:
        ValueError: it is not.
    """
    if len(key) < SHORTEST:
        raise ValueError(
            f"the course key {key!r} has {len(key)} characters and could be guessed; should have "
            f"at least {SHORTEST} (`make labs KEY=new` draws one)"
        )
    return key


def lab_key(key: str, lab: str) -> str:
    """Return the key of one lab, which does not tell the course's; "" without one."""
    return hmac.new(key.encode(), lab.encode(), hashlib.sha256).hexdigest() if key else ""


def keep(key: str, folder: Path) -> str:
    """Write a course's key, or for "new" one that is drawn, where grading finds it; return it.

    Raises:
        ValueError: it is too short, or the folder keeps another one, which earlier labs need.
    """
    path = folder / FILE
    before = kept_in(folder)
    wanted = (before or secrets.token_hex(16)) if key == "new" else checked(key)
    if before and before != wanted:
        raise ValueError(f"{path} keeps another key; move it away first, if that course is over")
    if not before:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(wanted + "\n")
    return wanted


# --- students' versions --------------------------------------------------------------------------


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


@contextmanager
def at_hand(key: str) -> Iterator[None]:
    """Let `costlab.lab` draw with a key for a while."""
    before = os.environ.get(KEY)
    os.environ[KEY] = key
    try:
        yield
    finally:
        if before is None:
            del os.environ[KEY]
        else:
            os.environ[KEY] = before


# --- grading and feedback ------------------------------------------------------------------------


class KeyAtHand(NbGraderPreprocessor):
    """Gives the kernels that come after it the key of their lab."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, Any]:
        """Put the lab's key into the environment, where kernels take it from."""
        use(resources["nbgrader"]["assignment"])
        return nb, resources


def use(lab: str, folder: Path = Path(__file__).parent) -> None:
    """Put a lab's key into the environment, for all that this process grades."""
    global _course_key
    if _course_key is None:
        _course_key = course_key(folder)
    os.environ[KEY] = lab_key(_course_key, lab)


_course_key: str | None = None  # read once: afterwards the environment has a lab's


class WithoutHidden(NbGraderPreprocessor):
    """Takes the hidden checks out of feedback: their code, and their lines in what went wrong.

    What a failed check says stays: the input, what came out, and what would be right.
    """

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], index: int
    ) -> tuple[NotebookNode, Any]:
        """Clear one cell."""
        if cell.cell_type == "code" and HIDDEN.search(cell.source):
            cell.source = HIDDEN.sub(NOT_SHOWN, cell.source)
            for output in cell.outputs:
                if output.output_type == "error":
                    output.traceback = [f"{output.ename}: {output.evalue}"]
        return cell, resources


if __name__ == "__main__":
    try:
        here = Path(__file__).resolve().parent
        kept = keep(sys.argv[1], here)
        derive(here, sys.argv[2:], key=kept)
    except ValueError as error:
        sys.exit(str(error))
    print("labs/handout has the students' versions of this course; labs/course.key is its secret")
