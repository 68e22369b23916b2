"""Running sums of the sequences that decode on a replica, and the lines on which their coming steps lie."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

#: A term's seconds in the next step, and by how much each later one takes longer. A step takes the largest of several.
StepLine = tuple[float, float]


class Bend:
    """The sequences whose context is below a limit, from which on some layers read no more."""

    __slots__ = ("_coming", "_left", "_steps", "limit", "sequences", "tokens")

    def __init__(self, limit: int) -> None:
        self.limit = limit  # tokens of context
        self.sequences = 0  # below the limit
        self.tokens = 0  # of their contexts together
        self._steps = 0  # taken so far
        self._left: dict[int, int] = {}  # sequences that reach the limit, by the step at which they do
        self._coming: list[int] = []  # heap of these steps

    def add(self, context: int) -> None:
        """Count a sequence, if it is below the limit."""
        if context < self.limit:
            at = self._steps + self.limit - context
            if at not in self._left:
                heapq.heappush(self._coming, at)
            self._left[at] = self._left.get(at, 0) + 1
            self.sequences += 1
            self.tokens += context

    def remove(self, context: int) -> None:
        """Count a sequence no more."""
        if context < self.limit:
            self._left[self._steps + self.limit - context] -= 1
            self.sequences -= 1
            self.tokens -= context

    @property
    def steps_left(self) -> float:
        """Steps until the next sequence reaches the limit; infinite where none is below it."""
        while self._coming and not self._left[self._coming[0]]:
            del self._left[heapq.heappop(self._coming)]
        return self._coming[0] - self._steps if self._coming else math.inf

    def advance(self, steps: int) -> None:
        """Take steps, in each of which all contexts grow by a token."""
        self._steps += steps
        self.tokens += steps * self.sequences
        while self.steps_left <= 0:
            at = heapq.heappop(self._coming)
            gone = self._left.pop(at)
            self.sequences -= gone
            self.tokens -= gone * (self.limit + self._steps - at)


class DecodeLoad:
    """The sequences that decode on a replica, as sums. A context is what the next step reads, its own token included.

    A sequence whose prompt has p tokens decodes first at context p + 1: prefill yielded the token that is read then.
    """

    __slots__ = ("bends", "context_tokens", "sequences")

    def __init__(self, bends: Sequence[int] = ()) -> None:
        self.sequences = 0  # that decode
        self.context_tokens = 0  # of all of them together
        self.bends = tuple(Bend(limit) for limit in bends)

    def add(self, context: int) -> None:
        """Count a sequence that decodes from now on."""
        self.sequences += 1
        self.context_tokens += context
        for bend in self.bends:
            bend.add(context)

    def remove(self, context: int) -> None:
        """Count a sequence no more: one that was added, and has grown to this context."""
        self.sequences -= 1
        self.context_tokens -= context
        for bend in self.bends:
            bend.remove(context)

    def advance(self, steps: int = 1) -> None:
        """Take decode steps, in each of which all contexts grow by a token."""
        self.context_tokens += steps * self.sequences
        for bend in self.bends:
            bend.advance(steps)

    @property
    def steps_to_bend(self) -> float:
        """Decode steps that `StepCost.lines_of` holds for: until the next sequence passes a bend; infinite without."""
        return min((bend.steps_left for bend in self.bends), default=math.inf)


def in_turn(passes: Sequence[Sequence[StepLine]], share: float = 1.0) -> list[StepLine]:
    """Return the lines of a share of several passes that follow one another in each step.

    The sum of two maxima is the largest sum of a line of either; lines that are never the largest are left out.

    Args:
        passes: the lines of each.
        share: of a round of all passes that makes up a step.
    """
    lines = [(base * share, slope * share) for base, slope in passes[0]]
    for each in passes[1:]:
        sums = [(a + base * share, b + slope * share) for a, b in lines for base, slope in each]
        lines, steepest = [], -math.inf
        for line in sorted(sums, reverse=True):
            if line[1] > steepest:
                lines.append(line)
                steepest = line[1]
    return lines


def lead(lines: Sequence[StepLine], steps: int) -> tuple[int, float, float]:
    """Return how many of the next steps lie on one line, the seconds of the first and how much each later one rises.

    Args:
        lines: of which a step takes the largest.
        steps: how many at most; at least 1.
    """
    base, slope = max(lines)
    for b, s in lines if steps > 1 else ():
        if s > slope and base - b < (s - slope) * (steps - 1):
            steps = math.floor((base - b) / (s - slope)) + 1  # from there on the steeper one is the higher
    return steps, base, slope
