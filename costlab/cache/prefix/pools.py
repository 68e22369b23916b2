"""Pools: the pages of one kind in each tier, who may stay, and an account of every page that came and went."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import filterfalse
from typing import Literal

from costlab.cache.policies.base import Key, Policy

WriteMode = Literal["through", "selective", "back"]
#: When pages are copied to slower tiers: when they come in, when they are used again, or when they are evicted.
WRITES: tuple[WriteMode, ...] = ("through", "selective", "back")

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
    """Pages of one size in one tier, and the account of those that came and went."""

    name: str  # of the tier, with the kind of page
    page_bytes: float  # bytes of a page
    capacity: float  # pages that fit; infinity is unlimited
    policy: Policy  # which pages are there, and who goes next

    def __post_init__(self) -> None:
        self.there = self.policy.keys()  # ids of the pages that are there now
        self.added = dict.fromkeys(CAUSES, 0)  # pages that ever came in
        self.evicted = 0  # pages that went to make room
        self.discarded = 0  # pages that went because nothing could use them any more
        self.refused = 0  # pages that found no room, since those there were in use
        self.peak = 0  # the most pages that were there at one time

    @property
    def pages(self) -> int:
        """Pages that are there now."""
        return len(self.there)

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
        assert math.isinf(self.capacity) or len(set(self.there)) == self.pages


class PageTiers:
    """The pages of one kind in every tier, fastest tier first; a page may be in any of them at once.

    `has[i](key)` says whether tier i has a page. `pins` counts the users of each page in use; such pages stay.

    Args:
        pools: one per tier.
        write: "back": a page evicted from a tier is written to the next one if that lacks it. In the other modes the
            owner puts pages into slower tiers itself: "through" says that it puts in every page.
        leaves_first: pages come root first, and are queued in reverse, so that the leaves are the first to go.
        on_lost: called with the pages that no tier holds any more, which `lost` counts; None: nobody asks for them.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        write: WriteMode = "selective",
        leaves_first: bool = True,
        on_lost: Callable[[list[Key]], None] | None = None,
    ) -> None:
        self.pools = tuple(pools)
        self.write, self.leaves_first, self.on_lost = write, leaves_first, on_lost
        self.has = tuple(pool.there.__contains__ for pool in self.pools)
        self.pins: dict[Key, int] = {}
        #: Pages that crossed the link from tier i to tier i - 1; index 0 stays 0.
        self.read = [0] * len(self.pools)
        self.lost = 0
        # where a page evicted from each tier may still be: in the next tier most likely
        self._elsewhere = [(*self.has[level + 1 :], *self.has[:level]) for level in range(len(self.pools))]

    def fitting(self, keys: Sequence[Key]) -> int:
        """Return how many of the first pages fit into the first tier beside all that are in use."""
        room = self.pools[0].capacity - len(self.pins)
        if len(keys) <= room:
            return len(keys)
        for count, key in enumerate(keys):
            room -= key not in self.pins
            if room < 0:
                return count
        return len(keys)

    def pin(self, keys: Sequence[Key]) -> None:
        """Count one more user of each page."""
        pins = self.pins
        if not pins:
            pins.update(dict.fromkeys(keys, 1))
            return
        for key in keys:
            pins[key] = pins.get(key, 0) + 1

    def unpin(self, keys: Sequence[Key]) -> None:
        """Count one user less of each page."""
        pins = self.pins
        for key in keys:
            if pins[key] == 1:
                del pins[key]
            else:
                pins[key] -= 1

    def put(
        self, level: int, keys: Sequence[Key], cause: str, loaded: int = 0, moving: frozenset[Key] = frozenset()
    ) -> int:
        """Bring pages into a tier that lacks them, evicting others; return how many found room.

        Args:
            level: the tier's index.
            keys: root first; where room is short the first ones win.
            cause: of `CAUSES`, for all but the first `loaded`, which count as "loaded".
            loaded: how many of the first pages come from a slower tier.
            moving: pages on their way from one tier to the next, which must stay as pages in use must.
        """
        pool = self.pools[level]
        there, added = pool.there, pool.added
        over = len(there) + len(keys) - pool.capacity
        if over > 0:
            keys = self._make_room(level, keys, int(over), moving)
        count = len(keys)
        if count:
            pool.policy.add_all(reversed(keys) if self.leaves_first else keys)
            added[cause] += count
            if loaded:
                first = min(loaded, count)
                added["loaded"] += first
                added[cause] -= first
            if len(there) > pool.peak:
                pool.peak = len(there)
        return count

    def touch(self, level: int, keys: Sequence[Key]) -> None:
        """Note a use of pages, root first, that a tier holds."""
        self.pools[level].policy.hit_all(reversed(keys) if self.leaves_first else keys)

    def discard(self, keys: Sequence[Key]) -> None:
        """Drop pages from every tier that holds them."""
        for pool, has in zip(self.pools, self.has, strict=True):
            for key in filter(has, keys):
                pool.policy.remove(key)
                pool.discarded += 1

    def keys(self) -> set[Key]:
        """Return the pages that some tier holds."""
        return set().union(*(pool.there for pool in self.pools))

    def deepest(self, keys: Sequence[Key]) -> tuple[int, int | None]:
        """Return how many of the pages there are up to the last one that any tier holds, and the fastest such tier."""
        for count in range(len(keys), 0, -1):
            for level, has in enumerate(self.has):
                if has(keys[count - 1]):
                    return count, level
        return 0, None

    def fastest(self, key: Key, within: int | None = None) -> int | None:
        """Return the fastest of all tiers, or of the first `within`, that holds a page; None if none does."""
        return next((level for level, has in enumerate(self.has[:within]) if has(key)), None)

    def fetch(self, key: Key, source: int, wants_copy: Callable[[Key], bool]) -> None:
        """Use a page that lies in tier `source`: it passes all faster ones, and is copied where `wants_copy` says."""
        for level, has in enumerate(self.has):
            self.read[level] += 0 < level <= source
            if has(key):
                self.pools[level].policy.hit(key)
            elif level < source or wants_copy(key):
                self.put(level, [key], "written", int(level < source))

    def keep(self, keys: Sequence[Key], wants_copy: Callable[[Key], bool]) -> None:
        """Put pages that were computed into the first tier, and into slower ones as the write mode says."""
        for level, has in enumerate(self.has):
            if level == 1 and self.write != "through":
                keys = list(filter(wants_copy, keys))
            lacking = list(filterfalse(has, keys))
            if lacking:
                self.put(level, lacking, "written" if level else "computed")

    def check(self) -> None:
        """Raise unless each pool's account balances."""
        for pool in self.pools:
            pool.check()

    def _make_room(self, level: int, keys: Sequence[Key], over: int, moving: frozenset[Key]) -> Sequence[Key]:
        """Evict as many pages as are over capacity, and return those of the keys that then fit."""
        pool, pins = self.pools[level], self.pins.keys()
        evicted = pool.policy.evict(over, pins | moving if pins and moving else moving or pins)
        if evicted:
            self._went(level, evicted, moving)
        if len(evicted) == over:
            return keys
        fit = int(pool.capacity - pool.pages)
        pool.refused += len(keys) - fit
        return keys[:fit]

    def _went(self, level: int, evicted: list[Key], moving: frozenset[Key]) -> None:
        """Count pages that were evicted from a tier, write them down where the mode says so, and report lost ones."""
        self.pools[level].evicted += len(evicted)
        if self.write == "back" and level + 1 < len(self.pools):
            self._write_down(level + 1, evicted, moving)
        if self.on_lost is not None:
            self._report_lost(level, evicted, self.on_lost)

    def _write_down(self, level: int, keys: list[Key], moving: frozenset[Key]) -> None:
        """Write pages that were evicted from the tier above into a tier, where it lacks them."""
        down = list(filterfalse(self.has[level], keys))
        if self.leaves_first:
            down.reverse()
        self.put(level, down, "written", moving=moving.union(down))

    def _report_lost(self, level: int, keys: list[Key], on_lost: Callable[[list[Key]], None]) -> None:
        """Report those of the pages evicted from a tier that no tier holds any more."""
        slowest = self.pools[-1]
        if self.write == "through" and not slowest.evicted and not slowest.refused:
            return  # the slowest tier was given every page and still has them all
        for has in self._elsewhere[level]:
            if keys:
                keys = list(filterfalse(has, keys))
        if keys:
            self.lost += len(keys)
            on_lost(keys)
