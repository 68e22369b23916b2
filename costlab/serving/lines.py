"""Many steps at once: the time of a step is the largest of several straight lines, and their sum has a closed form.

A step that decodes n sequences reads n tokens more than the one before, so each of its parts (compute, memory, link)
grows by the same seconds from step to step: a line. A run of steps is cut where another line becomes the largest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

#: Seconds of step 0, and by how much each further step takes longer.
Line = tuple[float, float]


class Stretch(NamedTuple):
    """Steps whose seconds rise evenly."""

    steps: int  # how many
    first_s: float  # seconds of the first
    rise_s: float  # by how much each takes longer than the one before

    @property
    def last_s(self) -> float:
        """Seconds of the last."""
        return self.first_s + (self.steps - 1) * self.rise_s

    def seconds(self, steps: int) -> float:
        """Seconds of the first so many steps."""
        return steps * (self.first_s + (steps - 1) * self.rise_s / 2)

    def ended_before(self, seconds: float) -> int:
        """Return how many whole steps end before so many seconds have passed."""
        if self.seconds(self.steps) < seconds:
            return self.steps
        half, first = self.rise_s / 2, self.first_s - self.rise_s / 2
        # half x steps^2 + first x steps = seconds, in the form that does not cancel
        root = first + math.sqrt(max(first * first + 4 * half * seconds, 0.0))
        steps = min(int(2 * seconds / root), self.steps) if root > 0 else 0
        while steps and self.seconds(steps) >= seconds:
            steps -= 1
        while steps < self.steps and self.seconds(steps + 1) < seconds:
            steps += 1
        return steps

    def after(self, steps: int) -> Stretch:
        """Return what remains after so many steps."""
        return Stretch(self.steps - steps, self.first_s + steps * self.rise_s, self.rise_s)


def stretches(lines: Sequence[Line], steps: int) -> list[Stretch]:
    """Return the largest of some lines at steps 0, 1, ..., as stretches between which another line takes over."""
    found: list[Stretch] = []
    at = 0
    while at < steps:
        last = steps - 1
        first_s, rise_s = max((base + rise * at, rise) for base, rise in lines)
        end = steps
        if max(base + rise * last for base, rise in lines) > first_s + rise_s * (last - at):
            end = min(_overtakes(first_s, rise_s, at, line) for line in lines if line[1] > rise_s)
            end = min(max(end, at + 1), steps)
        found.append(Stretch(end - at, first_s, rise_s))
        at = end
    return found


def _overtakes(first_s: float, rise_s: float, at: int, line: Line) -> int:
    """Return the first step after `at` at which another, steeper line lies above."""
    base, rise = line
    return at + int((first_s - base - rise * at) / (rise - rise_s)) + 1
