"""Pools: the pages of one kind in each tier, who may stay, and an account of every page that came and went."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Container, Sequence
from dataclasses import dataclass
from itertools import filterfalse

from costlab.cache.policies import Key, Policy

#: Is told of pages that no tier holds any more.
OnLost = Callable[[list[Key]], None] | None

#: How a page came into a pool: computed there, loaded from a slower tier, written from a faster one.
CAUSES = ("computed", "loaded", "written")


class _Either:
    """Pages in use, and pages on their way between tiers, which must not get lost meanwhile."""

    __slots__ = ("moving", "pinned")

    def __init__(self, pinned: Container[Key], moving: set[Key]) -> None:
        self.pinned, self.moving = pinned, moving

    def __contains__(self, key: object) -> bool:
        return key in self.moving or key in self.pinned


class LeavesFirst(Policy):
    """A rule on top of any policy: a page whose children are there does not go before them.

    When the policy's choice has children here, its deepest descendant goes in its place. Pages in use pin all pages
    before them, so no descendant of a free page is pinned.

    Chapter: cache
    """

    name = "leaves-first"

    def __init__(self, inner: Policy, parents: dict[Key, Key | None]) -> None:
        super().__init__(inner.capacity)
        self.inner = inner
        self._parents = parents
        self._parent_of: dict[Key, Key] = {}  # of the pages that are there, as it was when they came
        self._children: dict[Key, dict[Key, None]] = {}

    def add(self, key: Key) -> None:
        """Take in a page, and note it with its parent."""
        self.inner.add(key)
        parent = self._parents.get(key)
        if parent is not None:
            self._parent_of[key] = parent
            self._children.setdefault(parent, {})[key] = None

    def hit(self, key: Key) -> None:
        """Note a use."""
        self.inner.hit(key)

    def remove(self, key: Key) -> None:
        """Let go of a page, and strike it from its parent."""
        self.inner.remove(key)
        parent = self._parent_of.pop(key, None)
        if parent is not None:
            del self._children[parent][key]
            if not self._children[parent]:
                del self._children[parent]

    def victim(self, pinned: Container[Key] = frozenset()) -> Key | None:
        """Return the policy's choice or, if it has children here, the leaf that its eldest children lead to."""
        key = self.inner.victim(pinned)
        while key in self._children:
            child = next((k for k in self._children[key] if k not in pinned), None)
            if child is None:
                break  # cannot happen where pins reach up to the root
            key = child
        return key

    def keys(self) -> Collection[Key]:
        """Return the pages that are there."""
        return self.inner.keys()


@dataclass
class Pool:
    """Pages of one size in one tier: at most `capacity` of them, ordered by `policy`.

    Chapter: cache
    """

    name: str
    page_bytes: float
    capacity: float
    policy: Policy

    def __post_init__(self) -> None:
        self.added = dict.fromkeys(CAUSES, 0)
        self.evicted = 0
        self.discarded = 0
        self.refused = 0
        self.peak = 0

    @property
    def pages(self) -> int:
        """Pages that are there now."""
        return len(self.policy)

    @property
    def bytes_in(self) -> float:
        """Bytes that ever came in."""
        return sum(self.added.values()) * self.page_bytes

    @property
    def bytes_out(self) -> float:
        """Bytes that went: evicted for room, or discarded because nothing can use them any more."""
        return (self.evicted + self.discarded) * self.page_bytes

    @property
    def resident_bytes(self) -> float:
        """Bytes that are there now."""
        return self.pages * self.page_bytes

    def check(self) -> None:
        """Raise unless pages in = pages out + resident, and no more pages are there than fit."""
        came, went = sum(self.added.values()), self.evicted + self.discarded
        assert came == went + self.pages, f"{self.name}: {came} pages came, {went} went, {self.pages} are there"
        assert self.pages <= self.peak <= self.capacity, f"{self.name}: {self.pages} pages, capacity {self.capacity}"
        assert math.isinf(self.capacity) or len(set(self.policy.keys())) == self.pages


class Stack:
    """The pools of one kind of page, fastest tier first; a page may be in any of them at once.

    `has` asks a tier for a page: `stack.has[1](key)`.

    Args:
        pools: one per tier.
        write_back: a page evicted from a tier is written to the next one if that lacks it.
        deepest_first: pages come root first; to keep leaves the first to go, they are queued in reverse.
        on_lost: called with the pages that no tier holds any more.

    Chapter: cache
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        write_back: bool = False,
        deepest_first: bool = True,
        on_lost: OnLost = None,
    ) -> None:
        self.pools = tuple(pools)
        self.has = tuple(pool.policy.keys().__contains__ for pool in self.pools)
        self.lost = 0
        self._write_back = write_back
        self._deepest_first = deepest_first
        self._on_lost = on_lost

    def put(self, level: int, keys: list[Key], pinned: Container[Key], cause: str, loaded: int = 0) -> int:
        """Bring pages into a tier that lacks them, evicting others; return how many found room.

        Args:
            level: the tier's index.
            keys: root first; where room is short the first ones win.
            pinned: pages that must stay.
            cause: of `CAUSES`, for all but the first `loaded`, which count as "loaded".
            loaded: how many of the first pages come from a slower tier.
        """
        pool = self.pools[level]
        policy = pool.policy
        there = policy.keys()
        if pool.capacity - len(there) < len(keys):
            keys = self._squeeze(level, keys, pinned)
        if not keys:
            return 0
        policy.add_all(reversed(keys) if self._deepest_first else keys)
        count = len(keys)
        first = min(loaded, count)
        pool.added["loaded"] += first
        pool.added[cause] += count - first
        if len(there) > pool.peak:
            pool.peak = len(there)
        return count

    def touch(self, level: int, keys: Sequence[Key]) -> None:
        """Note a use of pages, root first, that a tier holds."""
        self.pools[level].policy.hit_all(reversed(keys) if self._deepest_first else keys)

    def discard(self, keys: Sequence[Key]) -> None:
        """Drop pages from every tier that holds them."""
        for pool, has in zip(self.pools, self.has, strict=True):
            for key in filter(has, keys):
                pool.policy.remove(key)
                pool.discarded += 1

    def keys(self) -> set[Key]:
        """Return the pages that some tier holds."""
        return set().union(*(pool.policy.keys() for pool in self.pools))

    def fastest(self, key: Key) -> int | None:
        """Return the index of the fastest tier that holds a page; None if none does."""
        return next((level for level, has in enumerate(self.has) if has(key)), None)

    def check(self) -> None:
        """Raise unless each pool's account balances."""
        for pool in self.pools:
            pool.check()

    def _squeeze(self, level: int, keys: list[Key], pinned: Container[Key]) -> list[Key]:
        """Evict for room, and return those of the keys that then fit."""
        pool = self.pools[level]
        there = pool.policy.keys()
        over = len(there) + min(len(keys), pool.capacity) - pool.capacity
        if over > 0:
            gone = pool.policy.evict(int(over), pinned)
            pool.evicted += len(gone)
            self._left(level, gone, pinned)
        fit = int(pool.capacity - len(there))
        if fit >= len(keys):
            return keys
        pool.refused += len(keys) - fit
        return keys[:fit]

    def _left(self, level: int, gone: list[Key], pinned: Container[Key]) -> None:
        """Write evicted pages down a tier if that is the rule, and report those that no tier holds any more."""
        below = level + 1
        if self._write_back and below < len(self.pools):
            down = list(filterfalse(self.has[below], gone))
            if self._deepest_first:
                down.reverse()
            self.put(below, down, _Either(pinned, set(down)), "written")
        lost = gone
        for other in (*range(below, len(self.pools)), *range(level)):  # the next tier most likely has them
            if lost:
                lost = list(filterfalse(self.has[other], lost))
        self.lost += len(lost)
        if lost and self._on_lost is not None:
            self._on_lost(lost)
