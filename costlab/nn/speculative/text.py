"""The bytes that the small models learn from and are judged by: Python's own library and its help texts.

Training reads the library of the running Python, so its text changes from release to release; the weights that ship
were made from the one whose hash stands here. Some files and help texts are held out. They ship beside this module,
with the licence they are under, so that prompts and scores do not depend on the Python that runs.
"""

from __future__ import annotations

import hashlib
import lzma
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from costlab.checks import unknown

Kind = Literal["code", "prose"]

#: Files of the library that are held out of training.
HELD_OUT_FILES = (
    "asyncio/queues.py",
    "cmd.py",
    "concurrent/futures/thread.py",
    "json/decoder.py",
    "netrc.py",
    "sched.py",
    "shelve.py",
    "string.py",
    "textwrap.py",
    "unittest/suite.py",
)
#: Help texts that are held out: they share no line with another.
HELD_OUT_TOPICS = ("binary", "calls", "import", "objects", "raise", "strings", "typesmapping")

#: Folders and files that are no text to learn from: tests, tables of code pages and characters, other people's
#: packages, and what differs from machine to machine.
LEFT_OUT_FOLDERS = {"encodings", "idlelib", "lib2to3", "lib-dynload", "site-packages", "test", "tests", "turtledemo"}
LEFT_OUT_FILES = {"html/entities.py", "locale.py", "pydoc_data/topics.py", "stringprep.py"}

#: What the shipped weights were trained on.
TRAINED_ON = "Python 3.11.7"
TRAINING_SHA256 = "7d5425d41dab79791502f8eacd9bf1a558f93bdef2be557b51bebadae0c9dab5"
HELD_OUT_SHA256: dict[Kind, str] = {
    "code": "a028aa5d851fed478b9e0009a13e54e832ca0c307c12a0c2d912b2820f7b693f",
    "prose": "109c6837219c2b6d05f1c0555e269e32c8f0cae6325f120c8eb7475e186f5b43",
}

_DATA = Path(__file__).parent / "data"


def training_text(library: Path | None = None) -> bytes:
    """Return the running Python's library and help texts, one after another, without what is held out.

    Args:
        library: folder of the library; None: the running Python's.

    Raises:
        FileNotFoundError: a folder that holds no library.
    """
    library = library or Path(sysconfig.get_path("stdlib"))
    files = [library / name for name in _names(library) if name not in HELD_OUT_FILES]
    if not files:
        raise FileNotFoundError(f"no Python library in {str(library)!r}: is this a Python that came without sources?")
    topics = [text for name, text in _topics().items() if name not in HELD_OUT_TOPICS]
    return b"\n".join([*(path.read_bytes() for path in files), *topics])


def _names(library: Path) -> Iterator[str]:
    for path in sorted(library.rglob("*.py")):
        name = path.relative_to(library)
        odd = any(part in LEFT_OUT_FOLDERS or part.startswith(("config-", "__phello")) for part in name.parts[:-1])
        if not odd and name.as_posix() not in LEFT_OUT_FILES and not name.name.startswith("_sysconfigdata"):
            yield name.as_posix()


def _topics() -> dict[str, bytes]:
    from pydoc_data.topics import topics  # a megabyte that only training needs

    return {name: text.encode() for name, text in sorted(topics.items())}


def held_out_text(kind: Kind) -> bytes:
    """Return text that no model was trained on, as it ships.

    Args:
        kind: "code", ten files of Python 3.11's library; or "prose", seven of its help texts.

    Raises:
        ValueError: another kind.

    Source: Python 3.11.7; PSF licence, in `data/LICENSE-PYTHON.txt`.
    """
    if kind not in HELD_OUT_SHA256:
        raise ValueError(unknown("kind of text", kind, HELD_OUT_SHA256))
    return lzma.decompress((_DATA / f"held_out_{kind}.xz").read_bytes())


def sha256(text: bytes) -> str:
    """Return the hash of a text, in hexadecimal digits."""
    return hashlib.sha256(text).hexdigest()


def pack_held_out(library: Path | None = None, folder: Path = _DATA) -> None:
    """Write the held-out texts of the running Python, and its licence, as they ship.

    Args:
        library: folder of its library; None: the running Python's.
        folder: where.
    """
    library = library or Path(sysconfig.get_path("stdlib"))
    texts = {
        "code": [(library / name).read_bytes() for name in HELD_OUT_FILES],
        "prose": [_topics()[name] for name in HELD_OUT_TOPICS],
    }
    for kind, parts in texts.items():
        (folder / f"held_out_{kind}.xz").write_bytes(lzma.compress(b"\n".join(parts), preset=9))
    (folder / "LICENSE-PYTHON.txt").write_bytes((library / "LICENSE.txt").read_bytes())
