"""How the labs are derived; nbgrader reads this where it is run, in this folder."""

import os
import sys
from pathlib import Path

# nbgrader calls a command that lies beside its Python: find it without an activated environment.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

from nbgrader import preprocessors as steps

from keyed import Keyed

c = get_config()  # noqa: F821 (nbgrader provides it)

c.CourseDirectory.course_id = "costlab"
c.CourseDirectory.root = str(Path(__file__).parent)

# Student versions. An answer not given says so; it raises, so it earns nothing.
NO_ANSWER = '# YOUR CODE HERE\nraise NotImplementedError("no answer yet")'
c.ClearSolutions.code_stub = {"python": NO_ANSWER}

# nbgrader's own steps, and Keyed where the gradebook has its copy and hidden checks are gone.
c.GenerateAssignment.preprocessors = [
    steps.IncludeHeaderFooter,
    steps.InstantiateTests,
    steps.LockCells,
    steps.ClearSolutions,
    steps.ClearOutput,
    steps.CheckCellMetadata,
    steps.ComputeChecksums,
    steps.SaveCells,
    steps.ClearHiddenTests,
    steps.ClearMarkScheme,
    Keyed,
    steps.ComputeChecksums,
    steps.CheckCellMetadata,
]


def refused(assignment, **about):
    """Stand before nbgrader's own grading, which would run students' code with your rights."""
    sys.exit(f"labs are graded in a sandbox: make grade LAB={assignment} (in the project's folder)")


c.Autograde.pre_convert_hook = refused  # Formgrader has a button for this too
