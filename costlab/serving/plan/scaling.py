"""Step times that are longer or shorter by a factor, whatever they were made from."""

from __future__ import annotations

import dataclasses
from typing import Any

from costlab.roofline import StepCost
from costlab.roofline.mixed import Coefficients


def scaled(cost: StepCost, factor: float) -> StepCost:
    """Return the same step times multiplied by a factor.

    Raises:
        ValueError: a factor that is not above 0.
    """
    if not factor > 0:
        raise ValueError(f"factor = {factor} should be above 0")
    experts = cost.experts and dataclasses.replace(cost.experts, each_s=cost.experts.each_s * factor)
    terms = {name: _scaled(getattr(cost, name), factor) for name in ("compute", "memory", "link")}
    larger = tuple((least, scaled(each, factor)) for least, each in cost.larger)
    return dataclasses.replace(cost, **terms, experts=experts, fixed_s=cost.fixed_s * factor, larger=larger)


def _scaled(term: Coefficients, factor: float) -> Coefficients:
    return Coefficients(**{name: _times(getattr(term, name), factor) for name in term.__dataclass_fields__})


def _times(value: Any, factor: float) -> Any:
    """Multiply seconds: a number, those of bends (both numbers are), or (seconds, stride, cap) of reads."""
    if not isinstance(value, tuple):
        return value * factor
    return tuple(
        tuple(part * factor for part in each) if len(each) == 2 else (each[0] * factor, *each[1:]) for each in value
    )
