"""What will happen when: a heap of times, and what to do at each."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush


class Events:
    """What is due, in order of time. At equal times arrivals come before the ends of steps, then who was first.

    >>> events = Events()
    >>> _ = events.at(2.0, lambda: print("second"))
    >>> _ = events.at(1.0, lambda: print("first"))
    >>> events.run_before(9.0)
    first
    second
    """

    def __init__(self) -> None:
        self.now = 0.0  # seconds since the run began
        self._heap: list[tuple[float, bool, int, Callable[[], None]]] = []
        self._cancelled: set[int] = set()  # numbers of what is in the heap and struck out
        self._serial = 0

    def at(self, time_s: float, action: Callable[[], None], last: bool = False) -> int:
        """Note what to do at a time, and return the number under which it can be cancelled.

        Args:
            time_s: when; not before now.
            action: what to do.
            last: after all else of the same time.

        Raises:
            ValueError: a time that has passed, or is none.
        """
        if not self.now <= time_s < math.inf:
            raise ValueError(f"time_s = {time_s} should be a number of seconds from now, {self.now}, on")
        self._serial = serial = self._serial + 1
        heappush(self._heap, (time_s, last, serial, action))
        return serial

    def cancel(self, number: int) -> None:
        """Strike out what was noted under a number and is not done yet."""
        self._cancelled.add(number)

    @property
    def next_s(self) -> float:
        """When something is due next, if only what was struck out; infinity where nothing is."""
        return self._heap[0][0] if self._heap else math.inf

    @property
    def idle(self) -> bool:
        """Whether nothing is due that is not struck out."""
        return all(number in self._cancelled for _, _, number, _ in self._heap)

    def run_before(self, time_s: float, stay: bool = False) -> None:
        """Do all that is due before a time, and set the clock to it, if it is finite.

        Args:
            time_s: seconds since the run began.
            stay: leave the clock at the last of it if nothing else is due later.
        """
        heap, cancelled = self._heap, self._cancelled
        while heap and heap[0][0] < time_s:
            due_s, _, number, action = heappop(heap)
            if cancelled and number in cancelled:
                cancelled.remove(number)
            else:
                self.now = due_s
                action()
        if time_s < math.inf and not (stay and self.idle):
            self.now = time_s
