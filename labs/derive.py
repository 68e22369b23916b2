"""`python labs/derive.py [LAB ...]`: student versions of these labs, or of all, from solved ones.

It does what `nbgrader generate_assignment --force LAB` does, for all in one process:
nbgrader takes a second and a half to start, and a third of one for a lab.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
# Where nothing is installed, as in Colab, the first cell of code installs costlab.
INSTALL = """try:
    import costlab
except ImportError:
    %pip install --quiet git+{address}
    import costlab
"""


def derive(course: Path, labs: list[str], key: str = "") -> None:
    """Write `release/LAB` of each lab, and its points into `gradebook.db`.

    Args:
        course: the folder with `nbgrader_config.py` and `source`.
        labs: their names; none for all.
        key: the course's; with one, the folder is `handout` and has what the key draws.

    Raises:
        SystemExit: naming a lab that is not there, or that nbgrader cannot derive.
    """
    from nbgrader.apps.nbgraderapp import NbGraderApp
    from nbgrader.converters import GenerateAssignment
    from nbgrader.coursedir import CourseDirectory

    known = sorted(folder.name for folder in (course / "source").iterdir() if folder.is_dir())
    if unknown := [lab for lab in labs if lab not in known]:
        sys.exit(f"no lab {unknown[0]!r}; there are {', '.join(known)}")
    os.chdir(course)  # where nbgrader looks for its configuration
    app = NbGraderApp()
    app.load_config_file()
    for lab in labs or known:
        config = app.config.copy()
        config.CourseDirectory.assignment_id = lab
        config.GenerateAssignment.force = True
        if key:
            config.CourseDirectory.release_directory = "handout"
            config.Keyed.key = key
        GenerateAssignment(coursedir=CourseDirectory(config=config), config=config).start()
        if address := repository(course.parent / "_config.yml"):
            add_install(course / "release" / lab / f"{lab}.ipynb", address)


def repository(book: Path) -> str:
    """Return where the book's configuration says that the course lies; "" where it does not say.

    Only what is committed counts, not the environment: the notebooks are committed, too.
    """
    text = book.read_text(encoding="utf-8") if book.is_file() else ""
    found = re.search(r"^ *site_repository: *['\"]?(https://[^'\"\s]+)", text, re.M)
    return found[1].rstrip("/") if found else ""


def add_install(path: Path, address: str) -> None:
    """Put the cell that installs costlab before a notebook's first cell of code."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = notebook["cells"]
    place = next(i for i, cell in enumerate(cells) if cell["cell_type"] == "code")
    source = INSTALL.format(address=address).strip().splitlines(keepends=True)
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "id": "install",
        "metadata": {},
        "outputs": [],
    }
    cells.insert(place, {**cell, "source": source})
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    derive(HERE.resolve(), sys.argv[1:])
