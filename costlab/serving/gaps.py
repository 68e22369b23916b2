"""The longest of the latest: how long the worst gap was since any past moment, without looking at each gap again."""

from __future__ import annotations

from bisect import bisect_left


class WorstGaps:
    """Gaps in order of when they began; of those only that no later one exceeds.

    >>> gaps = WorstGaps()
    >>> gaps.add(1.0, 0.5); gaps.add(1.5, 0.1); gaps.add(1.6, 0.2)
    >>> gaps.since(0.0), gaps.since(1.2)
    (0.5, 0.2)
    """

    def __init__(self) -> None:
        self._began_s: list[float] = []  # rising
        self._gaps_s: list[float] = []  # falling

    def add(self, began_s: float, gap_s: float) -> None:
        """Note a gap, which began no earlier than all before."""
        began, gaps = self._began_s, self._gaps_s
        while gaps and gaps[-1] <= gap_s:
            began.pop()
            gaps.pop()
        began.append(began_s)
        gaps.append(gap_s)

    def since(self, began_s: float) -> float:
        """Return the longest gap that began at a moment or later; 0 where there is none."""
        at = bisect_left(self._began_s, began_s)
        return self._gaps_s[at] if at < len(self._gaps_s) else 0.0

    def clear(self) -> None:
        """Forget all: nobody is there who has waited."""
        self._began_s.clear()
        self._gaps_s.clear()
