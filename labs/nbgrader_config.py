"""How the labs are derived and graded; nbgrader reads this where it is run, in this folder."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
# nbgrader calls a command that lies beside its Python: find it without an activated environment.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

from nbconvert.preprocessors import ClearMetadataPreprocessor
from nbgrader import preprocessors as steps

from grading import Contained, Restored
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

# Grading: nbgrader's own steps, but for Restored (OverwriteCells) and Contained (Execute).
c.Autograde.sanitize_preprocessors = [
    steps.ClearOutput,
    steps.DeduplicateIds,
    steps.OverwriteKernelspec,
    Restored,
    steps.CheckCellMetadata,
]
c.Autograde.autograde_preprocessors = [
    Contained,
    steps.IgnorePattern,
    ClearMetadataPreprocessor,
    steps.LimitOutput,
    steps.SaveAutoGrades,
    steps.AssignLatePenalties,
    steps.CheckCellMetadata,
]
c.OverwriteCells.add_missing_cells = True  # a check that a student deleted runs all the same
c.Contained.timeout = 30  # seconds for one cell; the labs' own cells take less than two
