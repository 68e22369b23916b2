"""Steps that rise evenly: how long so many take together, and how many are over after a while."""

from __future__ import annotations

import math


def seconds_of(steps: int, first_s: float, rise_s: float) -> float:
    """Return the seconds of so many steps that rise evenly."""
    return steps * (first_s + (steps - 1) * (rise_s / 2))


def steps_before(seconds: float, most: int, first_s: float, rise_s: float) -> int:
    """Return how many whole steps, up to `most`, are over before so many seconds have passed."""
    if first_s >= seconds or not most:
        return 0
    half_s = rise_s / 2
    if most * (first_s + (most - 1) * half_s) < seconds:
        return most
    # rise / 2 x steps^2 + linear x steps = seconds, solved in the form that does not cancel
    linear = first_s - half_s
    steps = int(2 * seconds / (linear + math.sqrt(linear * linear + 2 * rise_s * seconds)))
    while steps * (first_s + (steps - 1) * half_s) >= seconds:
        steps -= 1
    while (steps + 1) * (first_s + steps * half_s) < seconds:
        steps += 1
    return steps
