"""A figure of ours beside one that others published, and whether the two agree.

Chapter: levers
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np

from costlab import checks
from costlab.arrays import Floats
from costlab.levers.products import served
from costlab.levers.services import Service, TokenCosts
from costlab.levers.spread import spread_of
from costlab.text import Table

#: What a statement is: read from a source or computed from figures that were, or concluded with an assumption.
Mark = Literal["fact", "inference"]
#: What is checked: DeepSeek's published day, margins of companies' books, hosts' prices, the cost of owning.
Topic = Literal["day", "margin", "host", "owning"]
#: How ours and theirs should stand: theirs within our interval, ours at most theirs, ours at least theirs.
Bound = Literal["inside", "at most", "at least"]

#: Draws of each interval, and the seed of each.
CHECK_DRAWS, CHECK_SEED = 1000, 16


@dataclass(frozen=True)
class Check:
    """A figure of ours beside one that others published."""

    topic: Topic  # what is checked
    what: str  # which figure, of whom
    unit: str  # of all figures
    ours: float  # with every input at its value
    low: float  # least of the middle nine tenths of draws
    high: float  # most of them
    theirs: float  # as published
    rule: Bound  # how the two should stand
    fitted: str  # on what ours rests
    left_out: str  # what it may not rest on
    source: str  # where theirs stands
    date: date  # day of theirs
    kind: Mark = "fact"  # "inference" where theirs does not count the same as ours
    note: str = ""  # what differs between the two

    @property
    def ok(self) -> bool:
        """Whether the rule holds."""
        if self.rule == "inside":
            return self.low <= self.theirs <= self.high
        return self.ours <= self.theirs if self.rule == "at most" else self.ours >= self.theirs

    @property
    def sure(self) -> bool:
        """Whether the middle nine tenths of draws all say the same of a bound; of "inside" always."""
        return self.rule == "inside" or not self.low <= self.theirs <= self.high

    @property
    def factor(self) -> float:
        """Ours over theirs."""
        return self.ours / self.theirs


@dataclass(frozen=True)
class Validation:
    """Checks, and what came of them."""

    checks: tuple[Check, ...]  # in the order in which they are told

    def of(self, topic: Topic) -> tuple[Check, ...]:
        """Return the checks of a topic.

        Raises:
            ValueError: a topic of no check.
        """
        known = {each.topic for each in self.checks}
        checks.one_of(sorted(known), topic, "topic")
        return tuple(each for each in self.checks if each.topic == topic)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(each for each in self.checks if not each.ok)

    def table(self, topic: Topic | None = None) -> Table:
        """Return a row for each check, of one topic or of all.

        Raises:
            ValueError: as `of`.
        """
        return Table([_row(each) for each in (self.of(topic) if topic else self.checks)], stacked=True)


def _row(each: Check) -> dict[str, Any]:
    return {
        "what": each.what, "unit": each.unit, "ours": each.ours, "least": each.low, "most": each.high,
        "should be": {"inside": "an interval around", "at most": "at most", "at least": "at least"}[each.rule],
        "theirs": each.theirs, "ours/theirs": each.factor, "holds": "yes" if each.ok else "NO",
        "nine tenths agree": "yes" if each.sure else "no", "mark": each.kind, "rests on": each.fitted,
        "not on": each.left_out, "source": f"{each.source} ({each.date})", "what differs": each.note or "nothing known",
    }  # fmt: skip


@dataclass(frozen=True, eq=False)
class OurFigure:
    """A figure of ours: at the values of all inputs, and drawn."""

    value: float  # with each input at its value
    drawn: Floats  # of each draw

    @property
    def low(self) -> float:
        """What a twentieth of the draws lies below."""
        return float(np.quantile(self.drawn, 0.05, method="nearest"))  # a draw itself, as in `CostSpread`

    @property
    def high(self) -> float:
        """What a twentieth of the draws lies above."""
        return float(np.quantile(self.drawn, 0.95, method="nearest"))


@dataclass(frozen=True, eq=False)
class DrawnCosts:
    """Costs of a service at the values of its figures, and over draws of them."""

    at_values: TokenCosts  # with each figure at its value
    drawn: TokenCosts  # of each draw

    def figure(self, of: Callable[[TokenCosts], Floats]) -> OurFigure:
        """Return what follows from the costs."""
        return OurFigure(float(of(self.at_values)), np.asarray(of(self.drawn)))


def drawn_costs(service: Service) -> DrawnCosts:
    """Return the costs of a service with the draws of all checks."""
    found = spread_of(service, np.random.default_rng(CHECK_SEED), CHECK_DRAWS)
    return DrawnCosts(found.at_values, found.drawn)


@functools.cache
def drawn_costs_of(model: str, traffic: str) -> DrawnCosts:
    """Return the costs of a model with all levers, see `served`.

    Raises:
        ValueError: an unknown model or kind of use.
    """
    return drawn_costs(served(model, traffic=traffic))


__all__ = [
    "CHECK_DRAWS",
    "CHECK_SEED",
    "Bound",
    "Check",
    "DrawnCosts",
    "Mark",
    "OurFigure",
    "Topic",
    "Validation",
    "drawn_costs",
    "drawn_costs_of",
]  # fmt: skip
