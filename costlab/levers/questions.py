"""Three questions about the price lists of 2026, answered in steps that are facts or inferences.

Chapter: levers
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from costlab.text import Table


@dataclass(frozen=True)
class AnswerStep:
    """A step of an answer."""

    kind: Literal["fact", "inference"]  # read or computed from what was read; or concluded with an assumption
    says: str  # the step, in words with its numbers
    source: str  # of a fact where it stands, of an inference what it assumes


@dataclass(frozen=True)
class Question:
    """A question, the steps to its answer, and the answer."""

    question: str  # as a reader asks it
    answer: str  # in a sentence or two
    steps: tuple[AnswerStep, ...]  # that lead there
    numbers: dict[str, float]  # every number of the steps by name, for figures and prose

    def table(self) -> Table:
        """Return a row for each step."""
        raise NotImplementedError


def may_above_cost() -> Question:
    """Answer whether May's prices could be above cost."""
    raise NotImplementedError


def august_rise() -> Question:
    """Answer why DeepSeek's price rose in August when its cost did not."""
    raise NotImplementedError


def november_hits() -> Question:
    """Answer why everyone's price of hits fell by November."""
    raise NotImplementedError


def questions() -> tuple[Question, ...]:
    """Return the three answers."""
    return may_above_cost(), august_rise(), november_hits()


__all__ = ["AnswerStep", "Question", "august_rise", "may_above_cost", "november_hits", "questions"]
