"""S3-FIFO and SIEVE: queues that a hit does not reorder, unlike LRU's."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Container

from costlab.cache.policies.base import NOTHING_PINNED, Key, Policy


class S3FIFO(Policy):
    """Three FIFO queues: new pages enter a small one, used ones move to the main one, the ghost keeps evicted ids.

    A page leaves the small queue (a tenth of the pages) for the main one if it was used `threshold` times; a page
    that comes back while the ghost still knows it goes to the main queue at once; the main queue gives a used page
    another round, up to three times. Source: Yang et al., SOSP 2023, with libCacheSim's parameters.
    """

    name = "s3-fifo"

    def __init__(self, capacity: float, small: float = 0.1, ghost: float = 0.9, threshold: int = 2) -> None:
        super().__init__(capacity)
        self._small_room = max(_floor(capacity * small), 1)
        self._main_room = capacity - self._small_room
        self._ghost_room = _floor(capacity * ghost)
        self._threshold = threshold
        self._small: OrderedDict[Key, None] = OrderedDict()
        self._main: OrderedDict[Key, None] = OrderedDict()
        self._ghost: OrderedDict[Key, None] = OrderedDict()
        self._uses: dict[Key, int] = {}
        self._evicted = False

    def add(self, key: Key) -> None:
        """Put the page into the small queue, or into the main one if the ghost knows it or nothing had to go yet."""
        full = not self._evicted and len(self._small) >= self._small_room
        known = key in self._ghost
        if known:
            del self._ghost[key]
        while len(self._ghost) > self._ghost_room:
            self._ghost.popitem(last=False)
        (self._main if known or full else self._small)[key] = None
        self._uses[key] = 0

    def hit(self, key: Key) -> None:
        """Count the use."""
        self._uses[key] += 1

    def remove(self, key: Key) -> None:
        """Take the page out; the ghost remembers one that was in the small queue."""
        del self._uses[key]
        self._evicted = True
        if key in self._main:
            del self._main[key]
            return
        del self._small[key]
        self._ghost[key] = None  # trimmed in `add`: the page that displaced this one may be the ghost's oldest

    def victim(self, pinned: Container[Key] = NOTHING_PINNED) -> Key | None:
        """Advance both queues as far as needed and return the page that fails its test."""
        if len(self._main) <= self._main_room:
            key = self._from_small(pinned)
            if key is not None:
                return key
        key = self._from_main(pinned)
        return key if key is not None else self._from_small(pinned)

    def keys(self) -> Collection[Key]:
        """Return the pages of both queues."""
        return self._uses

    def _from_small(self, pinned: Container[Key]) -> Key | None:
        """Return the first page that was used too little; those before it move to the main queue."""
        for _ in range(len(self._small)):
            key = next(iter(self._small))
            if key in pinned:
                self._small.move_to_end(key)
            elif self._uses[key] >= self._threshold:
                del self._small[key]
                self._main[key] = None
                self._uses[key] = 0
            else:
                return key
        return None

    def _from_main(self, pinned: Container[Key]) -> Key | None:
        """Return the first page without use; used pages pay one use for another round."""
        passed = 0
        while passed < len(self._main):
            key = next(iter(self._main))
            if key not in pinned and not self._uses[key]:
                return key
            self._main.move_to_end(key)
            if key in pinned:
                passed += 1
            else:
                self._uses[key] = min(self._uses[key], 3) - 1
                passed = 0
        return None


class _Link:
    """A place in SIEVE's queue."""

    __slots__ = ("key", "newer", "older", "visited")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.newer: _Link | None = None
        self.older: _Link | None = None
        self.visited = False


class SIEVE(Policy):
    """A FIFO queue with a hand that walks from old to new and takes the first page not used since it last came by.

    Source: Zhang et al., NSDI 2024.
    """

    name = "sieve"

    def __init__(self, capacity: float) -> None:
        super().__init__(capacity)
        self._links: dict[Key, _Link] = {}
        self._newest: _Link | None = None
        self._oldest: _Link | None = None
        self._hand: _Link | None = None

    def add(self, key: Key) -> None:
        """Put the page at the new end of the queue."""
        link = self._links[key] = _Link(key)
        link.older, self._newest = self._newest, link
        if link.older is None:
            self._oldest = link
        else:
            link.older.newer = link

    def hit(self, key: Key) -> None:
        """Mark the page as used."""
        self._links[key].visited = True

    def remove(self, key: Key) -> None:
        """Take the page out of the queue; the hand steps on if it stood there."""
        link = self._links.pop(key)
        if link is self._hand:
            self._hand = link.newer
        if link.older is None:
            self._oldest = link.newer
        else:
            link.older.newer = link.newer
        if link.newer is None:
            self._newest = link.older
        else:
            link.newer.older = link.older

    def victim(self, pinned: Container[Key] = NOTHING_PINNED) -> Key | None:
        """Move the hand to the first page that was not used since it last came by."""
        link = self._hand or self._oldest
        for _ in range(2 * len(self._links)):
            assert link is not None
            if link.key not in pinned:
                if not link.visited:
                    self._hand = link
                    return link.key
                link.visited = False
            link = link.newer or self._oldest
        return None

    def keys(self) -> Collection[Key]:
        """Return the pages of the queue."""
        return self._links


def _floor(pages: float) -> float:
    return math.floor(pages) if math.isfinite(pages) else pages
