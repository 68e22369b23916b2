"""What the labs check answers with, and how learners get their points by themselves."""

from costlab.lab.checking import check
from costlab.lab.comparing import first_difference, said_plainly
from costlab.lab.course import chosen, seeded
from costlab.lab.notebooks import assembled, find_solved, without_solutions
from costlab.lab.scoring import Score, TaskScore, score

__all__ = [
    "Score",
    "TaskScore",
    "assembled",
    "check",
    "chosen",
    "find_solved",
    "first_difference",
    "said_plainly",
    "score",
    "seeded",
    "without_solutions",
]
