"""What moving a model to another chip may cost: the engineer-months that its saving pays.

Chapter: chips
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from costlab.chips.owning import NO_INTEREST


@dataclass(frozen=True)
class PortBudget:
    """What a saving is worth today, and the work that it pays."""

    saving: float  # a year
    years: float  # that it lasts
    present: float  # today's value of all years' savings, each discounted from its end
    salary: float  # of an engineer, a month

    @property
    def engineer_months(self) -> float:
        """Months of one engineer that the saving pays."""
        return self.present / self.salary


def port_budget(saving: float, years: float, interest: float, salary: float) -> PortBudget:
    """Return the engineer-months that a yearly saving pays within the life of what is bought.

    The work is paid at the start and the saving from the first day on: months in which the port is not ready yet come
    off `years`.

    Args:
        saving: amount a year, at least 0.
        years: that it lasts, above 0.
        interest: share per year.
        salary: of an engineer to the employer, amount a month, above 0.

    Raises:
        ValueError: quoting an input outside these.
    """
    for name, value in (("years", years), ("salary", salary)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} = {value!r} should be above 0 and finite")
    if not 0 <= saving < math.inf:
        raise ValueError(f"saving = {saving!r} should be at least 0: a port that costs more pays no engineer")
    if not 0 <= interest <= 1:
        raise ValueError(f"interest = {interest!r} should be a share per year from 0 to 1")
    worth = -math.expm1(-years * math.log1p(interest)) / interest if interest > NO_INTEREST else years
    found = PortBudget(saving, years, saving * worth, salary)
    if not math.isfinite(found.engineer_months):
        raise ValueError(f"saving = {saving!r} over a salary = {salary!r} is no finite number of months")
    return found
