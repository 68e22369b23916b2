"""The secret of one course, from which hidden cases and constants of its labs are drawn.

It lies in the file `course.key` of this folder, or in `COSTLAB_COURSE_KEY`. Each lab gets a key of
its own, derived from it: who prints a lab's key while it is graded knows nothing of the next lab's.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from costlab.lab.course import KEY

FILE = "course.key"
SHORTEST = 16  # characters: a shorter key could be guessed from the constants that it draws


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


def use(lab: str, folder: Path = Path(__file__).parent) -> None:
    """Put a lab's key into the environment, for all that this process grades."""
    global _course_key
    if _course_key is None:
        _course_key = course_key(folder)
    os.environ[KEY] = lab_key(_course_key, lab)


_course_key: str | None = None  # read once: afterwards the environment has a lab's


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
