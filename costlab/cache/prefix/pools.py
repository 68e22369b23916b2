"""Pools: the pages of one kind in each tier, who may stay, and an account of every page that came and went."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import filterfalse
from typing import Literal

from costlab.cache.policies.base import Key, Policy

#: Is told of pages that no tier holds any more.
OnLost = Callable[[list[Key]], None] | None

Write = Literal["through", "selective", "back"]
#: When pages are copied to slower tiers: when they come in, at their second use, or when they are evicted.
WRITES: tuple[Write, ...] = ("through", "selective", "back")

#: How a page came into a pool: computed there, loaded from a slower tier, written from a faster one.
CAUSES = ("computed", "loaded", "written")


class LeavesFirst(Policy):
    """A rule on top of any policy: a page whose children are there does not go before them.

    When the policy's choice has children here, its deepest descendant goes in its place. Pages in use pin all pages
    before them, so no descendant of a free page is pinned.
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

    def victim(self, pinned: AbstractSet[Key] = frozenset()) -> Key | None:
        """Return the policy's choice or, if it has children here, the leaf that its eldest children lead to."""
        key = self.inner.victim(pinned)
        passed = {key}
        while key in self._children:
            child = next((k for k in self._children[key] if k not in pinned), None)
            if child is None or child in passed:
                break  # pins reach up to the root, and chains end: only ids that are not prefix-chained come here
            passed.add(child)
            key = child
        return key

    def keys(self) -> Collection[Key]:
        """Return the pages that are there."""
        return self.inner.keys()


@dataclass
class Pool:
    """Pages of one size in one tier: at most `capacity` of them, ordered by `policy`."""

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
        write: "back": a page evicted from a tier is written to the next one if that lacks it; "through": whoever puts
            a page into a tier puts it into all slower ones that lack it.
        deepest_first: pages come root first; to keep leaves the first to go, they are queued in reverse.
        on_lost: called with the pages that no tier holds any more, which `lost` then counts.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        write: Write = "selective",
        deepest_first: bool = True,
        on_lost: OnLost = None,
    ) -> None:
        self.pools = tuple(pools)
        self._there = tuple(pool.policy.keys() for pool in self.pools)
        self.has = tuple(there.__contains__ for there in self._there)
        # where a page evicted from each tier may still be; the next tier most likely has it
        self._elsewhere = tuple((*self.has[i + 1 :], *self.has[:i]) for i in range(len(self.pools)))
        self.lost = 0
        self._write_back, self._write_through = write == "back", write == "through"
        self._deepest_first = deepest_first
        self._on_lost = on_lost
        self._follows = write == "back" or on_lost is not None  # whether anyone cares where evicted pages go

    def put(self, level: int, keys: list[Key], pinned: AbstractSet[Key], cause: str, loaded: int = 0) -> int:
        """Bring pages into a tier that lacks them, evicting others; return how many found room.

        Args:
            level: the tier's index.
            keys: root first; where room is short the first ones win.
            pinned: pages that must stay.
            cause: of `CAUSES`, for all but the first `loaded`, which count as "loaded".
            loaded: how many of the first pages come from a slower tier.
        """
        pool, there = self.pools[level], self._there[level]
        count = len(keys)
        over = len(there) + count - pool.capacity
        if over > 0:
            keys = self._squeeze(level, keys, pinned, over)
            count = len(keys)
        if not count:
            return 0
        pool.policy.add_all(reversed(keys) if self._deepest_first else keys)
        if loaded:
            first = min(loaded, count)
            pool.added["loaded"] += first
            pool.added[cause] -= first
        pool.added[cause] += count
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

    def last(self, keys: Sequence[Key]) -> tuple[int, int | None]:
        """Return how many of the pages there are up to the last one that any tier holds, and the fastest such tier."""
        for count in range(len(keys), 0, -1):
            for level, has in enumerate(self.has):
                if has(keys[count - 1]):
                    return count, level
        return 0, None

    def check(self) -> None:
        """Raise unless each pool's account balances."""
        for pool in self.pools:
            pool.check()

    def _squeeze(self, level: int, keys: list[Key], pinned: AbstractSet[Key], over: float) -> list[Key]:
        """Evict as many pages as are over capacity, and return those of the keys that then fit."""
        pool, there = self.pools[level], self._there[level]
        gone = pool.policy.evict(int(over), pinned)
        pool.evicted += len(gone)
        if gone and self._follows:
            self._left(level, gone, pinned)
        if len(gone) == over:
            return keys
        fit = int(pool.capacity - len(there))
        pool.refused += len(keys) - fit
        return keys[:fit]

    def _left(self, level: int, gone: list[Key], pinned: AbstractSet[Key]) -> None:
        """Write evicted pages down a tier if that is the rule, and report those that no tier holds any more."""
        below = level + 1
        if self._write_back and below < len(self.pools):
            down = list(filterfalse(self.has[below], gone))
            if self._deepest_first:
                down.reverse()
            self.put(below, down, pinned | set(down), "written")  # nor may those on their way get lost
        slowest = self.pools[-1]
        if self._write_through and below < len(self.pools) and not (slowest.evicted or slowest.refused):
            return  # it took in every page and let none go
        lost = gone
        for has in self._elsewhere[level]:
            if lost:
                lost = list(filterfalse(has, lost))
        self.lost += len(lost)
        if lost and self._on_lost is not None:
            self._on_lost(lost)
