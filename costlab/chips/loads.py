"""How much of what is owned is in use: a curve over the hours, of which one number is the simple case.

>>> from costlab.chips.loads import load_curve
>>> day = load_curve([0.2] * 8 + [0.9] * 16)
>>> round(day.mean, 3), day.busy_above(0.5)
(0.667, 0.6666666666666666)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: How far the shares of a curve's hours may be from 1 together.
ROUNDING = 1e-6


@dataclass(frozen=True)
class LoadCurve:
    """Pieces of time, in any order, each with the share of the owned chips that is in use."""

    pieces: tuple[tuple[float, float], ...]  # (share of all hours, load from 0 to 1); the shares sum to 1

    def __post_init__(self) -> None:
        for share, load in self.pieces:
            if not 0 <= share <= 1 or not 0 <= load <= 1:
                raise ValueError(f"({share!r}, {load!r}) should be a share of hours and a load, both from 0 to 1")
        hours = math.fsum(share for share, _ in self.pieces)
        if abs(hours - 1) > ROUNDING:
            raise ValueError(f"shares of hours sum to {hours:g}: should be 1")
        if not self.mean > 0:
            raise ValueError("the load is 0 in every hour: utilisation should be above 0 and at most 1")

    @property
    def mean(self) -> float:
        """Used chip-hours by owned chip-hours: the utilisation."""
        return min(1.0, math.fsum(share * load for share, load in self.pieces))

    def busy_above(self, level: float) -> float:
        """Return the share of hours with a load above a level: the use of the chip that is the last to be needed."""
        return math.fsum(share for share, load in self.pieces if load > level)

    def used_below(self, level: float) -> float:
        """Return the chip-hours, in those of the whole fleet, that the first `level` of it serves."""
        return math.fsum(share * min(load, level) for share, load in self.pieces)


def load_curve(given: float | Sequence[float] | Sequence[tuple[float, float]] | LoadCurve) -> LoadCurve:
    """Return a utilisation as a curve.

    Args:
        given: one number, the share of hours in which everything owned is in use, and nothing in the others; or a
            profile, such as 24 loads of a day's hours, all equally long; or pairs (share of hours, load).

    Raises:
        ValueError: a number outside (0, 1]; loads outside [0, 1]; shares that do not sum to 1; a load of 0 throughout.
    """
    if isinstance(given, LoadCurve):
        return given
    if isinstance(given, int | float):
        return _simple(float(given))
    if not len(given):
        raise ValueError("no loads: should be a number, a profile or pairs of (share of hours, load)")
    pairs = [each for each in given if isinstance(each, tuple)]
    if pairs and len(pairs) != len(given):
        raise ValueError(f"{given!r} mixes loads and pairs of (share of hours, load)")
    loads = [float(each) for each in given if not isinstance(each, tuple)]
    return LoadCurve(tuple(pairs) or tuple((1 / len(loads), load) for load in loads))


def _simple(use: float) -> LoadCurve:
    if not 0 < use <= 1:
        raise ValueError(f"utilisation = {use!r} should be above 0 and at most 1")
    return LoadCurve(((use, 1.0), (1 - use, 0.0)))
