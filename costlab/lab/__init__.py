"""What the labs check answers with, and how learners get their points by themselves."""

from costlab.lab.checking import check
from costlab.lab.comparing import difference, shown
from costlab.lab.course import chosen, seeded
from costlab.lab.notebooks import find_solved, merged, without_solutions
from costlab.lab.scoring import Score, TaskScore, score

__all__ = [
    "Score",
    "TaskScore",
    "check",
    "chosen",
    "difference",
    "find_solved",
    "merged",
    "score",
    "seeded",
    "shown",
    "without_solutions",
]
