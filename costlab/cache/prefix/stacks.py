"""What a prefix cache is built of: in each tier a pool of full pages, of window pages and of states, of given sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from costlab.cache.policies.base import Key, Policy
from costlab.cache.policies.belady import Future
from costlab.cache.prefix.pools import PageTiers, Pool, WriteMode
from costlab.cache.prefix.shared import LastUse, SharedTiers
from costlab.cache.tiers import Tier


class Stacks(NamedTuple):
    """The pools of each kind in every tier."""

    full: PageTiers  # of full pages
    windows: PageTiers | None  # of window pages; None for a model without windows
    states: PageTiers | None  # of kept states; None for a model without recurrent layers


@dataclass(frozen=True)
class Builder:
    """Makes the pools of a cache."""

    tiers: Sequence[Tier]  # fastest first
    page_bytes: float  # of a full page
    window_bytes: float  # of a window page; 0 without
    state_bytes: float  # of a state; 0 without
    write: WriteMode  # when pages are copied to slower tiers
    leaves_first: bool  # a page goes before the pages it builds on
    on_lost: Callable[[list[Key]], None]  # called with full pages that no tier holds any more
    future: Future | None = None  # what will be asked for, for "belady"

    def build(
        self,
        capacities: Sequence[tuple[float, float]] | None,
        state_capacities: Sequence[float] | None,
        leaf_policy: Callable[[float], Policy],
        policy: Callable[[float], Policy],
    ) -> Stacks:
        """Return empty pools.

        Args:
            capacities: (full pages, window pages) per tier; None: as many full pages as fit, without windows.
            state_capacities: states per tier; None: states compete with full pages for what windows leave.
            leaf_policy: makes the policy of full pages, for so many of them.
            policy: makes that of windows and of states.

        Raises:
            ValueError: windows without capacities.
        """
        if capacities is None:
            if self.window_bytes:
                raise ValueError("capacities should say how each tier is split between full and window pages")
            capacities = [(_fitting(tier.capacity_bytes, self.page_bytes), 0) for tier in self.tiers]
        room = [self._room(tier, windows) for tier, (_, windows) in zip(self.tiers, capacities, strict=True)]
        full = self._pools("full", self.page_bytes, [pages for pages, _ in capacities], leaf_policy)
        windows = self._pools("window", self.window_bytes, [pages for _, pages in capacities], policy)
        kept = PageTiers(windows, self.write, self.leaves_first) if self.window_bytes else None
        if not self.state_bytes:
            return Stacks(PageTiers(full, self.write, self.leaves_first, self.on_lost), kept, None)
        counts = state_capacities or [_fitting(each, self.state_bytes) for each in room]
        states = self._pools("state", self.state_bytes, counts, policy)
        if state_capacities is not None:
            apart = PageTiers(states, self.write, self.leaves_first)
            return Stacks(PageTiers(full, self.write, self.leaves_first, self.on_lost), kept, apart)
        uses = LastUse(0, self.future), LastUse(1, self.future)
        rival = SharedTiers(states, room, uses[0], self.write, self.leaves_first)
        pages = SharedTiers(full, room, uses[1], self.write, self.leaves_first, self.on_lost)
        pages.share_with(rival)
        return Stacks(pages, kept, rival)

    def _pools(
        self, kind: str, size: float, capacities: Sequence[float], policy: Callable[[float], Policy]
    ) -> list[Pool]:
        named = zip(self.tiers, capacities, strict=True)
        return [Pool(f"{tier.name} {kind}", size, pages, policy(max(pages, 1))) for tier, pages in named]

    def _room(self, tier: Tier, windows: float) -> float:
        """Return the bytes of a tier that its windows leave."""
        if math.isinf(tier.capacity_bytes) or not self.window_bytes:
            return tier.capacity_bytes
        return tier.capacity_bytes - windows * self.window_bytes


def _fitting(capacity_bytes: float, page_bytes: float) -> float:
    pages = capacity_bytes / page_bytes if page_bytes else math.inf
    return pages if math.isinf(pages) else math.floor(pages * (1 + 1e-12))
