"""`python labs/derive.py [LAB ...]`: student versions of these labs, or of all, from solved ones.

It does what `nbgrader generate_assignment --force LAB` does, for all in one process:
nbgrader takes a second and a half to start, and a third of one for a lab.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent


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


if __name__ == "__main__":
    derive(HERE.resolve(), sys.argv[1:])
