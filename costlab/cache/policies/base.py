"""What every eviction policy does, and how keys are replayed through one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import ClassVar

Key = Hashable


NOTHING_PINNED: frozenset[Key] = frozenset()


class Policy(ABC):
    """An eviction order over pages.

    `capacity` is in pages; only policies that divide it among segments (SLRU, S3-FIFO) use it.
    """

    #: Key in `POLICIES`.
    name: ClassVar[str] = ""

    def __init__(self, capacity: float) -> None:
        if not capacity >= 1 or (capacity < math.inf and capacity % 1):
            raise ValueError(f"{type(self).__name__}: capacity = {capacity} pages should be at least 1, and whole")
        self.capacity = capacity

    @abstractmethod
    def add(self, key: Key) -> None:
        """Take in a page that is not there."""

    @abstractmethod
    def hit(self, key: Key) -> None:
        """Note a use of a page that is there."""

    @abstractmethod
    def remove(self, key: Key) -> None:
        """Let go of a page that is there."""

    @abstractmethod
    def victim(self, pinned: AbstractSet[Key] = NOTHING_PINNED) -> Key | None:
        """Return the page that should go next, or None if every page is pinned."""

    @abstractmethod
    def keys(self) -> Collection[Key]:
        """Return the pages that are there."""

    def __len__(self) -> int:
        return len(self.keys())

    def __contains__(self, key: Key) -> bool:
        return key in self.keys()

    def add_all(self, keys: Iterable[Key]) -> None:
        """Take in several pages, in order."""
        for key in keys:
            self.add(key)

    def hit_all(self, keys: Iterable[Key]) -> None:
        """Note a use of several pages, in order."""
        for key in keys:
            self.hit(key)

    def evict(self, count: int, pinned: AbstractSet[Key] = NOTHING_PINNED) -> list[Key]:
        """Remove up to `count` victims and return them in order; fewer if the rest is pinned."""
        gone: list[Key] = []
        while len(gone) < count:
            key = self.victim(pinned)
            if key is None:
                break
            self.remove(key)
            gone.append(key)
        return gone


def first_free(order: Iterable[Key], pinned: AbstractSet[Key]) -> Key | None:
    """Return the first key that is not pinned."""
    return next((key for key in order if key not in pinned), None)


def replay_keys(keys: Iterable[Key], policy: Policy) -> Iterator[bool]:
    """Replay single references through a policy at its own capacity, and say of each whether it hit.

    Args:
        keys: what is asked for, in order.
        policy: a fresh policy.
    """
    for key in keys:
        found = key in policy
        if found:
            policy.hit(key)
        else:
            if len(policy) >= policy.capacity:
                policy.evict(1)
            policy.add(key)
        yield found
