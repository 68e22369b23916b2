"""Costs beside what others published: checks that could fail, each with what its figures rest on.

Chapter: levers
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from costlab.text import Table

#: What a statement is: read from a source or computed from figures that were, or concluded with an assumption.
Mark = Literal["fact", "inference"]
#: What is checked, from the first check to the last.
Topic = Literal["day", "margin", "host", "owning"]
#: How ours and theirs should stand: theirs within our interval, ours at most theirs, ours at least theirs.
Rule = Literal["inside", "at most", "at least"]


@dataclass(frozen=True)
class Check:
    """A figure of ours beside one that others published."""

    topic: Topic  # what is checked
    what: str  # which figure, of whom
    unit: str  # of all figures
    ours: float  # with every input at its value
    theirs: float  # as published
    rule: Rule  # how the two should stand
    low: float  # least of the middle nine tenths of draws
    high: float  # most of them
    fitted: str  # on what ours rests
    left_out: str  # what it may not rest on
    source: str  # where theirs stands
    date: date  # day of theirs
    kind: Mark = "fact"  # whether theirs counts the same thing as ours: then the comparison is no inference
    note: str = ""  # what differs between the two, and what a reader should know

    @property
    def ok(self) -> bool:
        """Whether the rule holds."""
        raise NotImplementedError

    @property
    def factor(self) -> float:
        """Ours over theirs."""
        return self.ours / self.theirs


@dataclass(frozen=True)
class Validation:
    """Checks, and what came of them."""

    checks: tuple[Check, ...]  # in the order in which they are told

    def of(self, topic: Topic) -> tuple[Check, ...]:
        """Return the checks of a topic."""
        return tuple(each for each in self.checks if each.topic == topic)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(each for each in self.checks if not each.ok)

    def table(self, topic: Topic | None = None) -> Table:
        """Return a row for each check, of one topic or of all."""
        raise NotImplementedError


def day_checks(times: float = 1.0) -> tuple[Check, ...]:
    """Predict DeepSeek's published day with efficiencies of other people's runs."""
    raise NotImplementedError


def margin_checks(times: float = 1.0) -> tuple[Check, ...]:
    """Put our margins of two listed companies' products beside those of their books."""
    raise NotImplementedError


def host_checks(times: float = 1.0) -> tuple[Check, ...]:
    """Put our costs beside the cheapest independent host's prices of the same weights, which should lie above."""
    raise NotImplementedError


def owning_checks(times: float = 1.0) -> tuple[Check, ...]:
    """Put our cost of a chip-hour and of a million tokens beside published ones."""
    raise NotImplementedError


def validation(times: float = 1.0) -> Validation:
    """Return all checks.

    Args:
        times: by which all our costs are multiplied, to see whether the checks would notice.
    """
    raise NotImplementedError


__all__ = [
    "Check", "Mark", "Rule", "Topic", "Validation", "day_checks", "host_checks", "margin_checks", "owning_checks",
    "validation",
]  # fmt: skip
