"""Steps that rise evenly: how many are over after a while, and up to where the largest of several lines stays so.

A step that decodes n sequences reads n tokens more than the one before, so each of its parts (compute, memory, link)
grows by the same seconds from step to step: a line. A run of steps ends where another line becomes the largest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from costlab.roofline.decoding import StepLine


def leading(lines: Sequence[StepLine], steps: int) -> tuple[int, float, float]:
    """Return how many of the next steps rise evenly, the seconds of the first, and by how much each further one rises.

    Args:
        lines: (seconds of step 0, rise); a step takes the largest.
        steps: how many at most; at least 1.
    """
    if len(lines) == 1:
        return steps, *lines[0]
    base, rise = max(lines)
    last = steps - 1
    if last and max([b + r * last for b, r in lines]) > base + rise * last:
        steps = min(steps, min([_overtakes(base - b, r - rise) for b, r in lines if r > rise]))
    return steps, base, rise


def _overtakes(ahead_s: float, rise_s: float) -> int:
    """Return the first step, after step 0, at which a line lies above that is so far behind and rises faster."""
    return int(ahead_s / rise_s) + 1


def seconds_of(steps: int, first_s: float, rise_s: float) -> float:
    """Return the seconds of so many steps that rise evenly."""
    return steps * (first_s + (steps - 1) * rise_s / 2)


def steps_before(seconds: float, most: int, first_s: float, rise_s: float) -> int:
    """Return how many whole steps, up to `most`, are over before so many seconds have passed."""
    if first_s >= seconds or not most:
        return 0
    if seconds_of(most, first_s, rise_s) < seconds:
        return most
    # rise / 2 x steps^2 + linear x steps = seconds, solved in the form that does not cancel
    linear = first_s - rise_s / 2
    steps = int(2 * seconds / (linear + math.sqrt(linear * linear + 2 * rise_s * seconds)))
    while seconds_of(steps, first_s, rise_s) >= seconds:
        steps -= 1
    while seconds_of(steps + 1, first_s, rise_s) < seconds:
        steps += 1
    return steps
