"""The classic policies: first in first out, least recently used, segmented, least frequently used.

Chapter: cache
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from itertools import filterfalse, islice

from costlab.cache.policies.base import NOTHING_PINNED, Key, Policy, first_free


class FIFO(Policy):
    """First in, first out."""

    name = "fifo"

    def __init__(self, capacity: float) -> None:
        super().__init__(capacity)
        self._order: OrderedDict[Key, None] = OrderedDict()

    def add(self, key: Key) -> None:
        """Put the page at the end of the queue."""
        self._order[key] = None

    def hit(self, key: Key) -> None:
        """Leave the queue as it is: uses do not count."""

    def remove(self, key: Key) -> None:
        """Take the page out of the queue."""
        del self._order[key]

    def victim(self, pinned: AbstractSet[Key] = NOTHING_PINNED) -> Key | None:
        """Return the page at the front of the queue."""
        return first_free(self._order, pinned)

    def keys(self) -> Collection[Key]:
        """Return the queue."""
        return self._order

    def add_all(self, keys: Iterable[Key]) -> None:
        """Put the pages at the end of the queue, in order."""
        order = self._order
        for key in keys:
            order[key] = None

    def hit_all(self, keys: Iterable[Key]) -> None:
        """Leave the queue as it is: uses do not count."""

    def evict(self, count: int, pinned: AbstractSet[Key] = NOTHING_PINNED) -> list[Key]:
        """Remove up to `count` pages from the front, passing over those in use."""
        order = self._order
        gone = list(islice(order, count))
        if not pinned.isdisjoint(gone):
            gone = list(islice(filterfalse(pinned.__contains__, order), count))
        for key in gone:
            del order[key]
        return gone


class LRU(FIFO):
    """Least recently used: a used page goes to the end of the queue."""

    name = "lru"

    def hit(self, key: Key) -> None:
        """Put the page at the end of the queue."""
        self._order.move_to_end(key)

    def hit_all(self, keys: Iterable[Key]) -> None:
        """Put the pages at the end of the queue, in order."""
        deque(map(self._order.move_to_end, keys), maxlen=0)  # a loop that the interpreter need not step through


class SLRU(Policy):
    """Segmented LRU: a hit lifts a page one segment up, a full segment pushes its oldest page one down.

    Victims come from the lowest segment that has any. Source: Karedla et al., IEEE Computer 27(3), 1994, with
    libCacheSim's four equal segments.
    """

    name = "slru"

    def __init__(self, capacity: float, segments: int = 4) -> None:
        super().__init__(capacity)
        if segments < 1:
            raise ValueError(f"SLRU: segments = {segments} should be at least 1")
        self._room = max(capacity // segments, 1)
        self._segments: list[OrderedDict[Key, None]] = [OrderedDict() for _ in range(segments)]
        self._at: dict[Key, int] = {}

    def add(self, key: Key) -> None:
        """Put the page at the young end of the lowest segment with room, or of the lowest."""
        free = (i for i, segment in enumerate(self._segments) if len(segment) < self._room)
        self._put(key, next(free, 0))

    def hit(self, key: Key) -> None:
        """Lift the page one segment up, to the young end."""
        at = self._at[key]
        if at == len(self._segments) - 1:
            self._segments[at].move_to_end(key)
            return
        del self._segments[at][key]
        self._put(key, at + 1)
        self._cool(at + 1)

    def remove(self, key: Key) -> None:
        """Take the page out of its segment."""
        del self._segments[self._at.pop(key)][key]

    def victim(self, pinned: AbstractSet[Key] = NOTHING_PINNED) -> Key | None:
        """Return the oldest page of the lowest segment."""
        firsts = (first_free(segment, pinned) for segment in self._segments)
        return next((key for key in firsts if key is not None), None)

    def keys(self) -> Collection[Key]:
        """Return the pages of all segments."""
        return self._at

    def _put(self, key: Key, at: int) -> None:
        self._segments[at][key] = None
        self._at[key] = at

    def _cool(self, at: int) -> None:
        while at > 0 and len(self._segments[at]) > self._room:
            key, _ = self._segments[at].popitem(last=False)
            self._put(key, at - 1)
            at -= 1


class _Bucket:
    """Pages used equally often, in the order they came to that count; a link of LFU's chain."""

    __slots__ = ("after", "before", "pages", "uses")

    def __init__(self, uses: int, before: _Bucket | None = None, after: _Bucket | None = None) -> None:
        self.uses, self.before, self.after = uses, before, after
        self.pages: OrderedDict[Key, None] = OrderedDict()


class LFU(Policy):
    """Least frequently used since it came in; of equals, the one longest at that count goes.

    The counts form a chain of buckets, so that no operation searches (Shah, Mitra, Matani, 2010).
    """

    name = "lfu"

    def __init__(self, capacity: float) -> None:
        super().__init__(capacity)
        self._root = _Bucket(0)
        self._at: dict[Key, _Bucket] = {}

    def add(self, key: Key) -> None:
        """Put the page into the bucket of one use."""
        self._put(key, self._root)

    def hit(self, key: Key) -> None:
        """Move the page to the bucket of one use more."""
        bucket = self._at[key]
        self._put(key, bucket)
        self._drop(key, bucket)

    def remove(self, key: Key) -> None:
        """Take the page out of its bucket."""
        self._drop(key, self._at.pop(key))

    def victim(self, pinned: AbstractSet[Key] = NOTHING_PINNED) -> Key | None:
        """Return the first page of the bucket with the fewest uses."""
        bucket = self._root.after
        while bucket is not None:
            key = first_free(bucket.pages, pinned)
            if key is not None:
                return key
            bucket = bucket.after
        return None

    def keys(self) -> Collection[Key]:
        """Return the pages of all buckets."""
        return self._at

    def _put(self, key: Key, before: _Bucket) -> None:
        bucket = before.after
        if bucket is None or bucket.uses != before.uses + 1:
            bucket = _Bucket(before.uses + 1, before, before.after)
            if before.after is not None:
                before.after.before = bucket
            before.after = bucket
        bucket.pages[key] = None
        self._at[key] = bucket

    @staticmethod
    def _drop(key: Key, bucket: _Bucket) -> None:
        del bucket.pages[key]
        if not bucket.pages and bucket.before is not None:
            bucket.before.after = bucket.after
            if bucket.after is not None:
                bucket.after.before = bucket.before
