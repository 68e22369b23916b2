"""Where pages are, and what happens to them when a sequence comes: match, pin, touch, load, make room, copy down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import filterfalse

from costlab import checks
from costlab.cache.footprints import boundaries
from costlab.cache.policies import EVICTIONS, make
from costlab.cache.policies.base import Key, Policy
from costlab.cache.policies.belady import Belady, Future
from costlab.cache.prefix.leases import Lease, Match
from costlab.cache.prefix.look import Look, Share, look
from costlab.cache.prefix.pools import WRITES, LeavesFirst, OnLost, Pool, Stack, Write
from costlab.cache.tiers import Tier
from costlab.checks import whole


class Residency:
    """Pages of prompts in tiers; `PrefixCache` adds the leases.

    Args:
        tiers: fastest first; running sequences live in the first.
        page_bytes: of a full page.
        window_bytes: of a window page; 0 for models without windows.
        page_tokens: tokens of a full page.
        capacities: (full pages, window pages) per tier; None: as many full pages as fit, for models without windows.
        eviction: one of `POLICIES`, or "belady" with a `future`.
        write: one of `WRITES`.
        leaves_first: a page goes before the pages it builds on; False: the policy alone decides.
        checkpoint_tokens: windows are kept every so many tokens besides each prompt's end; None: at the end only.
        branch_points: a window is also kept where a prompt left a cached one.
        selective_uses: uses after which "selective" writes a page.
        future: what will be asked for, one step per admission, for "belady".

    Raises:
        ValueError: an unknown policy or write mode; no tier; sizes that are not above 0.
    """

    def __init__(
        self,
        tiers: Sequence[Tier],
        page_bytes: float,
        window_bytes: float = 0.0,
        *,
        page_tokens: int = 1,
        capacities: Sequence[tuple[float, float]] | None = None,
        eviction: str = "lru",
        write: str = "through",
        leaves_first: bool = True,
        checkpoint_tokens: int | None = None,
        branch_points: bool = False,
        selective_uses: int = 2,
        future: Future | None = None,
    ) -> None:
        page_tokens, selective_uses = whole(page_tokens, "page_tokens"), whole(selective_uses, "selective_uses")
        if not tiers or not page_bytes >= 0 or not window_bytes >= 0 or page_tokens < 1:
            raise ValueError(f"{len(tiers)} tiers, pages of {page_bytes} bytes and {page_tokens} tokens: none may be 0")
        if selective_uses < 1 or (checkpoint_tokens is not None and whole(checkpoint_tokens, "checkpoint_tokens") < 1):
            raise ValueError(
                f"{selective_uses} uses, checkpoints every {checkpoint_tokens} tokens: should be at least 1"
            )
        eviction = checks.pick({each: each for each in EVICTIONS}, eviction, "eviction policy")
        if eviction == "belady" and future is None:
            raise ValueError("eviction 'belady' needs the future: what will be asked for")
        self.tiers = tuple(tiers)
        self.write: Write = checks.pick({w: w for w in WRITES}, write, "write mode")
        self.page_tokens, self.checkpoint_tokens, self.branch_points = page_tokens, checkpoint_tokens, branch_points
        self.future, self._eviction, self._selective_uses = future, eviction, selective_uses
        if capacities is None:
            if window_bytes:
                raise ValueError("capacities should say how each tier is split between full and window pages")
            capacities = [(_pages(tier.capacity_bytes, page_bytes), 0) for tier in self.tiers]
        #: Full pages, and window pages, that crossed the link from tier i to tier i-1; index 0 stays 0.
        self.read, self.window_read = [0] * len(tiers), [0] * len(tiers)
        self._parents: dict[Key, Key | None] = {}
        self._ordered = leaves_first
        self._walks = leaves_first and eviction != "lru"  # LRU has it from the order of touching
        self.full = self._stack("full", page_bytes, [c[0] for c in capacities], self._on_lost)
        self.windows = self._stack("window", window_bytes, [c[1] for c in capacities]) if window_bytes else None
        self._pins: dict[Key, int] = {}
        self._window_pins: dict[Key, int] = {}
        self._in_use, self._windows_in_use = self._pins.keys(), self._window_pins.keys()
        self._uses: dict[Key, int] = {}
        self._leases: dict[int, Lease] = {}
        self._seen: tuple[Sequence[Key], Look] | None = None  # what `match` saw last, while it still holds

    def match(self, pages: Sequence[Key], limit: int | None = None) -> Match:
        """Return how much of a prompt is cached, without touching anything.

        Args:
            pages: prefix-chained ids of the prompt's pages.
            limit: look at the first so many pages only.
        """
        seen = look(self.full.has, pages if limit is None else pages[:limit])
        if limit is None and isinstance(pages, tuple):
            self._seen = (pages, seen)
        return self._match(pages, seen)

    # --- how ---------------------------------------------------------------------------------------------------

    def _stack(self, kind: str, page_bytes: float, capacities: list[float], on_lost: OnLost = None) -> Stack:
        pools = [
            Pool(f"{tier.name} {kind}", page_bytes, capacity, self._policy(max(capacity, 1), kind))
            for tier, capacity in zip(self.tiers, capacities, strict=True)
        ]
        return Stack(pools, self.write, self._ordered, on_lost)

    def _policy(self, capacity: float, kind: str) -> Policy:
        future = self.future if self._eviction == "belady" else None
        policy: Policy = make(self._eviction, capacity) if future is None else Belady(capacity, future)
        return LeavesFirst(policy, self._parents) if self._walks and kind == "full" else policy

    def _match(self, pages: Sequence[Key], seen: Look) -> Match:
        found = usable = seen.found
        window_at = None
        if self.windows is not None and found:
            usable, window_at = self.windows.last(pages[:found])
        return Match(usable, found, seen.at(usable), window_at)

    def _fitting(self, pages: Sequence[Key]) -> int:
        """How many of the first pages fit beside everything in use."""
        pins = self._pins
        room = self.full.pools[0].capacity - len(pins)
        if len(pages) <= room:
            return len(pages)
        for count, key in enumerate(pages):
            room -= key not in pins
            if room < 0:
                return count
        return len(pages)

    def _take(self, lease: Lease, match: Match | None, seen: Look | None = None) -> None:
        """Pin, touch, load and make room: what admission and resumption share."""
        pages = lease.pages
        if seen is None:
            seen = look(self.full.has, pages)
        if match is None or match.pages > len(pages):
            match = self._match(pages, seen)
        lease.match, lease.resident, lease.admitted = match, seen.resident, len(pages)
        self._follow(pages, None)
        self._pin(pages)
        loaded = match.pages - match.at[0]
        if loaded:
            for level in range(1, len(self.tiers)):
                self.read[level] += sum(match.at[level:])
        shares = seen.shares(pages)
        if not self._ordered:
            self._touch(shares)
        self._bring(shares[0][1], loaded)
        self._copy_down(pages, seen, shares, match)
        if self._ordered:  # deepest first: what is new lies deeper than what was there
            self._touch(shares)
        if self.windows is not None:
            self._take_windows(self.windows, lease)

    def _touch(self, shares: list[Share]) -> None:
        for level, (here, _) in enumerate(shares):
            if here:
                self.full.touch(level, here)

    def _bring(self, keys: list[Key], loaded: int) -> None:
        if keys:
            count = self.full.put(0, keys, self._in_use, "computed", loaded)
            assert count == len(keys), "room was promised"

    def _copy_down(self, pages: list[Key], seen: Look, shares: list[Share], match: Match) -> None:
        """Copy pages into slower tiers: those that pass on their way up, and those the write mode wants there."""
        if self.write == "selective":
            for key in pages:
                self._uses[key] = self._uses.get(key, 0) + 1
        for level in range(1, len(self.tiers)):
            keys = shares[level][1]
            if not keys:
                continue
            passing = sum(match.at[level + 1 :]) if match.pages > match.at[0] else 0
            if self.write != "through":
                slower = set(seen.slower(level, pages[: match.pages])) if passing else ()
                keys = [key for key in keys if key in slower or self._due(key)]
            self.full.put(level, keys, self._in_use, "written", passing)

    def _due(self, key: Key) -> bool:
        """Whether the write mode wants a page, now in use, in slower tiers."""
        return self.write == "through" or (self.write == "selective" and self._uses[key] >= self._selective_uses)

    def _take_windows(self, stack: Stack, lease: Lease) -> None:
        """Load the window that the match rests on, and keep one at each boundary that the prefill passes."""
        pages, match = lease.pages, lease.match
        if match.pages:
            lease.window = pages[match.pages - 1]
            self._window_pins[lease.window] = self._window_pins.get(lease.window, 0) + 1
            self._load_window(stack, lease.window, match.window_at or 0)
        self._keep_windows(stack, lease, match.pages)

    def _keep_windows(self, stack: Stack, lease: Lease, start: int) -> None:
        """Keep a window at each boundary after page `start`."""
        pages = lease.pages
        marks = boundaries(lease.tokens, self.page_tokens, self.checkpoint_tokens)
        if self.branch_points:
            marks = tuple(sorted({*marks, lease.match.found}))
        keys = [pages[mark - 1] for mark in marks if start < mark <= len(pages)]
        if not keys:
            return
        for level, has in enumerate(stack.has):
            if level == 1 and self.write != "through":
                keys = list(filter(self._due, keys))
            lacking = list(filterfalse(has, keys))
            if lacking:
                stack.put(level, lacking, self._windows_in_use, "written" if level else "computed")

    def _load_window(self, stack: Stack, key: Key, source: int) -> None:
        for level, has in enumerate(stack.has):
            if 0 < level <= source:
                self.window_read[level] += 1
            if has(key):
                stack.pools[level].policy.hit(key)
            elif level < source or self._due(key):
                stack.put(level, [key], self._windows_in_use, "written", int(level < source))

    def _pin(self, pages: Sequence[Key]) -> None:
        pins = self._pins
        if not pins:
            pins.update(dict.fromkeys(pages, 1))
            return
        for key in pages:
            pins[key] = pins.get(key, 0) + 1

    def _follow(self, pages: Sequence[Key], parent: Key | None) -> None:
        if self._walks:
            for key in pages:
                self._parents.setdefault(key, parent)
                parent = key

    def _on_lost(self, keys: list[Key]) -> None:
        """Forget pages that no tier holds; their windows are worthless now."""
        if self.windows is not None:
            self.windows.discard(keys)
        for table in (self._parents, self._uses):
            if table:
                for key in keys:
                    table.pop(key, None)


def decrement(counts: dict[Key, int], key: Key) -> None:
    """Count one less, and forget a key at 0."""
    if counts[key] == 1:
        del counts[key]
    else:
        counts[key] -= 1


def _pages(capacity_bytes: float, page_bytes: float) -> float:
    pages = capacity_bytes / page_bytes if page_bytes else math.inf
    return pages if math.isinf(pages) else math.floor(pages * (1 + 1e-12))
