"""What one course keeps to itself: constants and hidden cases by a key, and feedback without the hidden checks.

The key is a secret of the teacher, in the file `course.key` of this folder or in `COSTLAB_COURSE_KEY`. Each lab gets a key
of its own, derived from it: who prints a lab's key while it is graded knows nothing of the next lab's.

A student's version carries no key. Where a task's constant is drawn by `costlab.lab.chosen`, it carries the drawn value;
the generators of hidden cases (`costlab.lab.seeded`) need the key itself, which one of a few values does not tell.
"""

import ast
import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from costlab.lab.course import KEY, chosen
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor

FILE = "course.key"
SHORTEST = 16  # characters: a shorter key could be guessed from the constants that it draws
SPAN = re.compile(r'<span data-chosen="([^"]+)">(.*?)</span>', re.S)
HIDDEN = re.compile(r"^[ \t]*### BEGIN HIDDEN TESTS\n.*?^[ \t]*### END HIDDEN TESTS[ \t]*$", re.M | re.S)
NOT_SHOWN = "# ... and more cases, which are not shown"


def course_key(folder: Path) -> str:
    """Return the course's key: of the environment, else of the file in a folder; "" where there is none.

    Raises:
        ValueError: the key is so short that it could be guessed.
    """
    path = folder / FILE
    key = os.environ.get(KEY)
    if key is None:
        key = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    return checked(key) if key else ""


def checked(key: str) -> str:
    """Return a key that is long enough.

    Raises:
        ValueError: it is not.
    """
    if len(key) < SHORTEST:
        raise ValueError(
            f"the course key {key!r} has {len(key)} characters and could be guessed; should have at least {SHORTEST} "
            "(`make labs KEY=new` draws one)"
        )
    return key


def lab_key(key: str, lab: str) -> str:
    """Return the key of one lab, which does not tell the course's; "" without one."""
    return hmac.new(key.encode(), lab.encode(), hashlib.sha256).hexdigest() if key else ""


def keep(key: str, folder: Path) -> str:
    """Write a course's key, or for "new" one that is drawn, where grading finds it; return it.

    Raises:
        ValueError: it is too short, or the folder keeps another key: with that, earlier labs could not be graded again.
    """
    path = folder / FILE
    before = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    wanted = (before or secrets.token_hex(16)) if key == "new" else checked(key)
    if before not in ("", wanted):
        raise ValueError(f"{path} keeps another key; move it away first if the course is over")
    if not before:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(wanted + "\n")
    return wanted
