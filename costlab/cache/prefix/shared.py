"""Two kinds in one tier: pages and states compete for the same bytes.

Each kind has its own policy, which names the one that should go next. Between the two kinds that goes which was used
longer ago (for Belady's rule: which is asked for later again); of a prefix used at one time the deeper goes first, and
a state before the page that it belongs to. With LRU this is one queue of both, leaves first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from costlab.cache.policies.base import Key
from costlab.cache.policies.belady import Future
from costlab.cache.prefix.pools import PageTiers, Pool, WriteMode

_Age = tuple[float, int, int]


class LastUse:
    """When pages or states were used last, and how deep in their prefix they stand.

    Args:
        order: of the kind; among equals the smallest goes first.
        future: what will be asked for, where the policy knows it; it then decides instead of the last use.
    """

    def __init__(self, order: int, future: Future | None = None) -> None:
        self._order, self._future = order, future
        self._used: dict[Key, tuple[int, int]] = {}

    def note(self, now: int, keys: Sequence[Key], depths: Sequence[int]) -> None:
        """Note a use of pages or states at the step `now`, each at its depth in pages."""
        for key, depth in zip(keys, depths, strict=True):
            self._used[key] = now, -depth

    def forget(self, keys: Sequence[Key]) -> None:
        """Drop what is known about pages or states that are gone."""
        for key in keys:
            self._used.pop(key, None)

    def age(self, key: Key) -> _Age:
        """Return what orders pages and states: the smallest goes first."""
        now, depth = self._used[key]
        return (now if self._future is None else -self._future.next_use(key)), depth, self._order


class SharedTiers(PageTiers):
    """The pages of one kind in every tier, in bytes that another kind uses too.

    Args:
        pools: one per tier; the capacity of each is what fits if the other kind has nothing.
        room_bytes: of each tier, for both kinds together.
        uses: when the pages of this kind were used.
        write: as of `PageTiers`.
        leaves_first: as of `PageTiers`.
        on_lost: as of `PageTiers`.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        room_bytes: Sequence[float],
        uses: LastUse,
        write: WriteMode = "selective",
        leaves_first: bool = True,
        on_lost: Callable[[list[Key]], None] | None = None,
    ) -> None:
        super().__init__(pools, write, leaves_first, on_lost)
        self.room_bytes = tuple(room * (1 + 1e-12) for room in room_bytes)  # rounding is no reason to refuse
        self.uses = uses
        self.other: SharedTiers | None = None  # the kind that it shares with

    def share_with(self, other: SharedTiers) -> None:
        """Let two kinds compete."""
        self.other, other.other = other, self

    def put(
        self, level: int, keys: Sequence[Key], cause: str, loaded: int = 0, moving: frozenset[Key] = frozenset()
    ) -> int:
        """Bring pages into a tier that lacks them, evicting others of both kinds; return how many found room."""
        fit = self._free(level, len(keys), moving)
        if fit < len(keys):
            self.pools[level].refused += len(keys) - fit
            keys = keys[:fit]
        return super().put(level, keys, cause, loaded, moving) if keys else 0

    def used_bytes(self, level: int) -> float:
        """Return the bytes of both kinds in a tier."""
        return sum(kind.pools[level].resident_bytes for kind in self._kinds())

    def check(self) -> None:
        """Raise unless each pool's account balances, and both kinds fit together."""
        super().check()
        for level, room in enumerate(self.room_bytes):
            used = self.used_bytes(level)
            assert used <= room, f"{self.pools[level].name}: {used} bytes of both kinds, room for {room}"

    def _kinds(self) -> tuple[SharedTiers, ...]:
        return (self,) if self.other is None else (self, self.other)

    def _free(self, level: int, count: int, moving: frozenset[Key]) -> int:
        """Evict pages of either kind until so many more of this one fit; return how many do."""
        page, room = self.pools[level].page_bytes, self.room_bytes[level]
        if not page or math.isinf(room):
            return count
        used = self.used_bytes(level)
        if room - used >= count * page:
            return count
        pinned: list[tuple[SharedTiers, AbstractSet[Key]]] = [(kind, kind.pins.keys()) for kind in self._kinds()]
        if moving:
            pinned[0] = self, self.pins.keys() | moving
        while room - used < count * page:
            oldest = _oldest(level, pinned)
            if oldest is None:
                return max(math.floor((room - used) / page), 0)
            kind, key = oldest
            kind.pools[level].policy.remove(key)
            kind._went(level, [key], moving if kind is self else frozenset())
            used = self.used_bytes(level)
        return count


def _oldest(level: int, kinds: Sequence[tuple[SharedTiers, AbstractSet[Key]]]) -> tuple[SharedTiers, Key] | None:
    """Return which page of which kind, none of its pinned ones, goes next from a tier; None if all are in use."""
    first: tuple[_Age, SharedTiers, Key] | None = None
    for kind, pinned in kinds:
        key = kind.pools[level].policy.victim(pinned)
        if key is not None:
            age = kind.uses.age(key)
            if first is None or age < first[0]:
                first = age, kind, key
    return first and first[1:]
