"""Step times that are longer or shorter by a factor, whatever they were made from."""

from __future__ import annotations

import dataclasses
from typing import Any

from costlab.roofline import StepCost
from costlab.roofline.mixed import Coefficients, Experts


def scaled(cost: StepCost, factor: float) -> StepCost:
    """Return the same step times multiplied by a factor.

    Raises:
        ValueError: a factor that is not above 0.
    """
    if not factor > 0:
        raise ValueError(f"factor = {factor} should be above 0")
    scaled_cost: StepCost = _times(cost, factor)
    return scaled_cost


def _times(cost: Any, factor: float) -> Any:
    """Multiply what is in seconds: fields named so, the terms, and the seconds that stand in tuples."""
    fields = [field.name for field in dataclasses.fields(cost)]
    return dataclasses.replace(cost, **{name: _field(name, getattr(cost, name), factor) for name in fields})


def _field(name: str, value: Any, factor: float) -> Any:
    if isinstance(value, StepCost | Coefficients | Experts):
        return _times(value, factor)
    if name.endswith("_s"):
        return value * factor
    if name in ("pairs", "held") and isinstance(value, tuple):  # (seconds, stride, cap)
        return tuple((each_s * factor, stride, cap) for each_s, stride, cap in value)
    if name == "below":
        return tuple((token_s * factor, sequence_s * factor) for token_s, sequence_s in value)
    if name == "drafts":
        return tuple(_times(draft, factor) for draft in value)
    if name == "larger":
        return tuple((least, _times(each, factor)) for least, each in value)
    return value
