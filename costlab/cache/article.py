"""The cache manager printed in a source article, rule by rule, so that its accounts can be checked.

Written anew from the article's listing. Two of its functions are called but not printed: to release a block, taken here
as giving its bytes back, and to lift one from SSD to DRAM, taken as the one it prints for HBM, one tier below.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

L1, L2, L3 = range(3)


@dataclass
class ArticleManager:
    """Blocks of one size, each in one of three tiers, moved as the article's listing moves them.

    capacity, used: blocks per tier, as the listing counts them; level: where the listing says that each block is,
    least recently used first.

    Chapter: cache
    """

    capacity: tuple[int, int, int]
    used: list[int] = field(default_factory=lambda: [0, 0, 0])
    level: OrderedDict[Hashable, int] = field(default_factory=OrderedDict)
    hits: list[int] = field(default_factory=lambda: [0, 0, 0])
    evicted: int = 0

    def access(self, block: Hashable) -> None:
        """Look a block up; move it a tier up where there is room, or put a new one where there is room."""
        if block not in self.level:
            self._insert(block)
            return
        self.level.move_to_end(block)
        at = self.level[block]
        self.hits[at] += 1
        if at != L1 and self.used[at - 1] < self.capacity[at - 1]:
            self.promote(block)

    def _insert(self, block: Hashable) -> None:
        room = (tier for tier in (L1, L2) if self.used[tier] < self.capacity[tier])
        self._put(block, next(room, L3))  # into SSD unasked: the listing checks no room there

    def promote(self, block: Hashable) -> None:
        """Move a block a tier up, after evictions from HBM where that is full."""
        target = self.level[block] - 1
        while target == L1 and self.used[L1] >= self.capacity[L1]:
            self.evict()
        self.used[self.level[block]] -= 1
        self._put(block, target)

    def evict(self) -> None:
        """Move HBM's least recently used block to DRAM; where DRAM is full the listing forgets to move it."""
        coldest = next((block for block, tier in self.level.items() if tier == L1), None)
        if coldest is None:
            return
        self.evicted += 1
        self.used[L1] -= 1
        if self.used[L2] < self.capacity[L2]:
            self.level[coldest] = L2
            self.used[L2] += 1

    def _put(self, block: Hashable, tier: int) -> None:
        self.level[block] = tier
        self.used[tier] += 1

    def held(self) -> list[int]:
        """Return how many blocks each tier holds by their own labels; `used` should say the same."""
        labels = list(self.level.values())
        return [labels.count(tier) for tier in (L1, L2, L3)]
