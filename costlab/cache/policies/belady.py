"""Belady's rule, which knows the future: the best that any policy can do.

Chapter: cache
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Container, Iterable
from itertools import count

from costlab.cache.policies.base import NOTHING_PINNED, Key, Policy, replay_keys


class Future:
    """What will be asked for, in steps: a step is one request, which names one or more pages.

    `now` is the step being served; whoever replays the trace advances it.
    """

    def __init__(self, steps: Iterable[Iterable[Key]]) -> None:
        self.now = -1
        self._uses: dict[Key, list[int]] = {}
        for step, keys in enumerate(steps):
            for key in keys:
                self._uses.setdefault(key, []).append(step)
        for uses in self._uses.values():
            uses.reverse()

    def next_use(self, key: Key) -> float:
        """Return the next step after `now` that names the page; infinity if none does."""
        uses = self._uses.get(key, [])
        while uses and uses[-1] <= self.now:
            uses.pop()
        return uses[-1] if uses else math.inf


class Belady(Policy):
    """MIN: the page whose next use is farthest goes; no policy that must take every page in has more hits.

    Not online: it needs the future, and serves as the bound. Source: Belady, IBM Systems Journal 5(2), 1966.
    """

    name = "belady"

    def __init__(self, capacity: float, future: Future) -> None:
        super().__init__(capacity)
        self._future = future
        self._next: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._serial = count()

    def add(self, key: Key) -> None:
        """Note when the page will be used next."""
        self._next[key] = due = self._future.next_use(key)
        heapq.heappush(self._heap, (-due, next(self._serial), key))

    def hit(self, key: Key) -> None:
        """Note when the page will be used next."""
        self.add(key)

    def remove(self, key: Key) -> None:
        """Forget the page; its entries in the heap are stale from now on."""
        del self._next[key]

    def victim(self, pinned: Container[Key] = NOTHING_PINNED) -> Key | None:
        """Return the page with the farthest next use."""
        spared: list[tuple[float, int, Key]] = []
        found: Key | None = None
        while self._heap and found is None:
            due, _, key = self._heap[0]
            if self._next.get(key) != -due:
                heapq.heappop(self._heap)
            elif key in pinned:
                spared.append(heapq.heappop(self._heap))
            else:
                found = key
        for entry in spared:
            heapq.heappush(self._heap, entry)
        return found

    def keys(self) -> Collection[Key]:
        """Return the pages that are there."""
        return self._next


def belady_hits(keys: Iterable[Key], capacity: float) -> int:
    """Return the most hits that any cache of `capacity` pages could have had on these references.

    Raises:
        ValueError: a capacity below 1.

    Source: Belady's MIN.
    """
    asked = list(keys)
    future = Future([key] for key in asked)
    policy = Belady(capacity, future)
    hits = 0
    for found in replay_keys(_stepping(asked, future), policy):
        hits += found
    return hits


def _stepping(keys: Iterable[Key], future: Future) -> Iterable[Key]:
    for key in keys:
        future.now += 1
        yield key
