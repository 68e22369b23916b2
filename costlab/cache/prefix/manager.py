"""The prefix cache: match a prompt, admit it with a lease on its pages, let it grow, pause and end.

A prompt is a chain of pages: each page's id stands for its tokens and all before them. Full pages (of layers that see
every token) and window pages (of layers that see the last ones) lie in tiers of their own; states of recurrent layers
share the bytes of the full pages, or have their own. Everything a running sequence needs is in the first tier and
pinned, whoever else shares it, but for a state: it is copied, as each token overwrites the copy. Pairs of `can_...` and
do: ask first, then do; what cannot be done raises. `check` asserts that every account balances.

>>> from costlab.cache import PrefixCache, Tier
>>> cache = PrefixCache([Tier("HBM", 4.0), Tier("DRAM")], page_bytes=1.0)
>>> cache.release(cache.admit([1, 2, 3]))
>>> cache.match([1, 2, 9]).pages
2
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import filterfalse, takewhile
from typing import Literal

from costlab import checks
from costlab.cache.footprints import boundaries
from costlab.cache.policies import EVICTIONS, make
from costlab.cache.policies.base import Key, Policy
from costlab.cache.policies.belady import Belady, Future
from costlab.cache.prefix.kept import KeptStates
from costlab.cache.prefix.match import Lease, Lookup, Match, lookup
from costlab.cache.prefix.pools import WRITES, LeavesFirst, PageTiers, WriteMode
from costlab.cache.prefix.stacks import Builder
from costlab.cache.prefix.states import ENDS, StateRule
from costlab.cache.tiers import Tier
from costlab.checks import count


class PrefixCache:
    """Pages of prompts in tiers, with leases.

    Args:
        tiers: fastest first; running sequences live in the first.
        page_bytes: of a full page.
        window_bytes: of a window page; 0 for models without windows.
        state_bytes: of a kept state, all recurrent layers together; 0 for models without them.
        page_tokens: tokens of a full page.
        capacities: (full pages, window pages) per tier; None: as many full pages as fit, for models without windows.
        state_rule: after which pages a state is kept.
        state_capacities: states per tier, apart from the full pages; None: both compete for what windows leave.
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
        state_bytes: float = 0.0,
        *,
        page_tokens: int = 1,
        capacities: Sequence[tuple[float, float]] | None = None,
        state_rule: StateRule = ENDS,
        state_capacities: Sequence[float] | None = None,
        eviction: str = "lru",
        write: str = "through",
        leaves_first: bool = True,
        checkpoint_tokens: int | None = None,
        branch_points: bool = False,
        selective_uses: int = 2,
        future: Future | None = None,
    ) -> None:
        if not tiers or not page_bytes >= 0 or not window_bytes >= 0 or not 0 <= state_bytes < math.inf:
            sizes = f"pages of {page_bytes}, windows of {window_bytes} and states of {state_bytes} bytes"
            raise ValueError(f"{len(tiers)} tiers, {sizes}: there should be a tier, and no size below 0")
        if checkpoint_tokens is not None:
            checkpoint_tokens = count(checkpoint_tokens, "checkpoint_tokens")
        eviction = checks.one_of(EVICTIONS, eviction, "eviction policy")
        if eviction == "belady" and future is None:
            raise ValueError("eviction 'belady' needs the future: what will be asked for")
        self.tiers = tuple(tiers)
        self.write: WriteMode = checks.one_of(WRITES, write, "write mode")
        self.page_tokens = count(page_tokens, "page_tokens")
        self.selective_uses = count(selective_uses, "selective_uses")
        self.checkpoint_tokens, self.branch_points = checkpoint_tokens, branch_points
        self.leaves_first, self.future = leaves_first, future
        # LRU evicts leaves first by itself, as pages are touched deepest first; other policies must be told the tree.
        self._parents: dict[Key, Key | None] | None = {} if leaves_first and eviction != "lru" else None
        # One tier and nothing but LRU, as beside a simulated worker: nothing is loaded or copied, so shorter ways do.
        self._plain = len(tiers) == 1 and not window_bytes + state_bytes and leaves_first and eviction == "lru"
        self._uses: dict[Key, int] = {}
        self._running: set[Lease] = set()
        self._latest: Lookup | None = None  # what `match` found last, as long as no page has moved since

        def policy(capacity: float) -> Policy:
            return make(eviction, capacity) if eviction != "belady" or future is None else Belady(capacity, future)

        def leaf_policy(capacity: float) -> Policy:
            return policy(capacity) if self._parents is None else LeavesFirst(policy(capacity), self._parents)

        built = Builder(
            self.tiers, page_bytes, window_bytes, state_bytes, self.write, leaves_first, self._forget, future
        ).build(capacities, state_capacities, leaf_policy, policy)
        self.full, self.windows, self.states = built
        self._kept = None if built.states is None else KeptStates(built.states, state_rule, self.page_tokens, self.full)

    @property
    def running(self) -> int:
        """Leases that hold pages."""
        return len(self._running)

    @property
    def pinned(self) -> int:
        """Pages in use."""
        return len(self.full.pins)

    # --- ask, then do ------------------------------------------------------------------------------------------

    def match(
        self,
        pages: Sequence[Key],
        limit: int | None = None,
        *,
        tokens: int | None = None,
        states_within: int | None = None,
    ) -> Match:
        """Return how much of a prompt is cached, without touching anything.

        Args:
            pages: prefix-chained ids of the prompt's pages.
            limit: look at the first so many pages only.
            tokens: length of the prompt, as a state behind its last token cannot be used; None: whole pages.
            states_within: use states of the first so many tiers only; None: of all.
        """
        asked = pages if limit is None else pages[:limit]
        if self._plain:
            count = len(list(takewhile(self.full.has[0], asked)))
            return Match(count, count, (count,))
        found = lookup(self.full.has, asked)
        if limit is None and isinstance(pages, tuple):
            self._latest = found
        return self._usable(found, len(pages) * self.page_tokens if tokens is None else tokens, states_within)

    def can_admit(self, pages: Sequence[Key]) -> bool:
        """Say whether the first tier can hold a sequence beside all running ones."""
        return self.full.fitting(pages) == len(pages)

    def admit(
        self, pages: Sequence[Key], tokens: int | None = None, match: Match | None = None, partial: bool = False
    ) -> Lease:
        """Bring a sequence's pages into the first tier and pin them: load what is cached, make room for the rest.

        Args:
            pages: prefix-chained ids, each once.
            tokens: length of the prompt; None: whole pages.
            match: what may be used of the cache, from `match`; None: all of it.
            partial: keep as much of the beginning as fits, rather than refuse.

        Raises:
            ValueError: a page twice; no room, without `partial`.
        """
        _no_doubles(pages, "a prompt's")
        fit = self.full.fitting(pages)
        if fit < len(pages) and not partial:
            raise ValueError(f"no room: {len(pages)} pages, only {fit} fit beside {self.running} running sequences")
        if self.future is not None:
            self.future.now += 1
        tokens = tokens if tokens is not None else len(pages) * self.page_tokens
        kept = pages if fit == len(pages) else pages[:fit]
        lease = Lease(list(kept), min(tokens, fit * self.page_tokens), uncached=len(pages) - fit)
        self._start(lease, self._lookup(kept), tokens, match)
        return lease

    def remember(self, pages: Sequence[Key]) -> None:
        """Cache as much of a prompt's beginning as fits, without a hold on it: as to admit it and release it at once.

        Raises:
            ValueError: a page twice.
        """
        if not self._plain:
            self.release(self.admit(pages, partial=True))
            return
        _no_doubles(pages, "a prompt's")
        kept, has = pages[: self.full.fitting(pages)], self.full.has[0]
        there, lacking = list(filter(has, kept)), list(filterfalse(has, kept))
        if lacking:
            self.full.put(0, lacking, "computed", moving=frozenset(there))
        self.full.touch(0, there)

    def can_extend(self, lease: Lease, pages: Sequence[Key]) -> bool:
        """Say whether a running sequence can grow by these pages."""
        return lease.state == "running" and self.can_admit(pages)

    def extend(self, lease: Lease, pages: Sequence[Key]) -> None:
        """Give a running sequence further pages, which follow those it has.

        Raises:
            ValueError: a sequence that is not running, a page it has already, or no room.
        """
        self._need(lease, "running")
        _no_doubles([*lease.pages, *pages], "a sequence's")
        if not self.can_extend(lease, pages):
            raise ValueError(f"no room for {len(pages)} further pages beside {self.running} running sequences")
        self._note_parents(pages, lease.pages[-1] if lease.pages else None)
        if self._kept is not None:
            self._kept.note_pages(pages, len(lease.pages))
        self.full.pin(pages)
        found = self._lookup(pages)
        self._load(found, 0)
        self._copy_down(found, Match(0, 0, (0,) * len(self.tiers)))
        lease.pages = [*lease.pages, *pages]
        lease.tokens += len(pages) * self.page_tokens
        lease.extended = True

    def preempt(self, lease: Lease) -> None:
        """Take a running sequence off; its pages stay cached as long as nobody needs the room.

        Raises:
            ValueError: a sequence that is not running.
        """
        self._stop(lease, "preempted")

    def can_resume(self, lease: Lease) -> bool:
        """Say whether a preempted sequence fits again."""
        return lease.state == "preempted" and self.can_admit(lease.pages)

    def resume(self, lease: Lease) -> None:
        """Bring a preempted sequence back: what was evicted meanwhile is loaded or computed again, see `lease.match`.

        Raises:
            ValueError: a sequence that is not preempted, or no room.
        """
        self._need(lease, "preempted")
        if not self.can_resume(lease):
            raise ValueError(f"no room to resume {len(lease.pages)} pages beside {self.running} running sequences")
        self._start(lease, self._lookup(lease.pages), lease.tokens + (lease.uncached > 0))

    def release(self, lease: Lease) -> None:
        """End a sequence; its pages stay cached as long as nobody needs the room.

        Raises:
            ValueError: a sequence that is not running or preempted.
        """
        if lease.state == "preempted":
            lease.state = "released"
        else:
            self._stop(lease, "released")

    def check(self) -> None:
        """Raise AssertionError unless all accounts balance.

        Bytes in = bytes out + resident in each pool; no pool above its capacity; pins equal leases; every pinned page
        in the first tier; every window with the page it belongs to; pages over each link as the pools counted them.
        """
        self.full.check()
        pages = Counter(key for lease in self._running for key in lease.pages)
        assert pages == self.full.pins, "reference counts differ from leases"
        assert all(lease.state == "running" for lease in self._running)
        assert all(map(self.full.has[0], pages)), "a page in use was evicted"
        for above, crossed in enumerate(self.full.read[1:]):
            assert self.full.pools[above].added["loaded"] <= crossed, "more pages loaded than crossed the link"
        if self.windows is not None:
            self.windows.check()
            assert self.windows.keys() <= self.full.keys(), "a window outlived its page"
            windows = Counter(lease.window for lease in self._running if lease.window is not None)
            assert windows == self.windows.pins, "reference counts of windows differ from leases"
        if self.states is not None:
            self.states.check()
            assert self.states.keys() <= self.full.keys(), "a state outlived its page"
            assert not self.states.pins, "a state is copied, not held"

    # --- how: sequences ----------------------------------------------------------------------------------------

    def _start(self, lease: Lease, found: Lookup, tokens: int, match: Match | None = None) -> None:
        """Pin a sequence's pages, touch those that are there, load or compute the rest into the first tier."""
        if match is None or match.pages > len(lease.pages):
            match = self._usable(found, tokens)
        lease.match, lease.resident, lease.admitted = match, found.resident, len(lease.pages)
        self._note_parents(lease.pages, None)
        self.full.pin(lease.pages)
        if self._kept is not None:  # before the pages: what the sequence resumes from must not go for them
            self._kept.note_pages(lease.pages)
            self._kept.use(lease, self._wants_copy)
        if not self.leaves_first:  # in the order of the prompt: first what was there, then what is new
            self._touch(found)
        self._load(found, match.pages - match.at[0])
        self._copy_down(found, match)
        if self.leaves_first:  # deepest first: what is new lies deeper than what was there
            self._touch(found)
        if self.windows is not None:
            self._use_window(self.windows, lease)
            self._keep_windows(self.windows, lease, match.pages)
        if self._kept is not None:
            self._kept.keep(lease, match.pages, self._wants_copy)
        lease.state = "running"
        self._running.add(lease)

    def _stop(self, lease: Lease, state: Literal["preempted", "released"]) -> None:
        """Unpin what a sequence holds."""
        self._need(lease, "running")
        if lease.extended and self.windows is not None:
            self._keep_windows(self.windows, lease, lease.admitted)
        if lease.extended and self._kept is not None:
            self._kept.note_pages(lease.pages)
            self._kept.keep(lease, lease.admitted, self._wants_copy)
        self._running.remove(lease)
        lease.state = state
        if self._running:
            self.full.unpin(lease.pages)
        else:  # nobody else is there: all at once
            self.full.pins.clear()
        if lease.window is not None and self.windows is not None:
            self.windows.unpin([lease.window])
            lease.window = None
        if lease.extended:  # the pages it grew are younger than those they build on
            self._touch(lookup(self.full.has, lease.pages))

    def _need(self, lease: Lease, state: Literal["running", "preempted"]) -> None:
        if lease.state != state or (state == "running" and lease not in self._running):
            raise ValueError(f"the sequence should be {state} here, it is {lease.state}")

    # --- how: full pages ---------------------------------------------------------------------------------------

    def _lookup(self, pages: Sequence[Key]) -> Lookup:
        """Look pages up before they move, unless `match` has just done so."""
        latest, self._latest = self._latest, None
        return latest if latest is not None and latest.pages is pages else lookup(self.full.has, pages)

    def _usable(self, found: Lookup, tokens: int, states_within: int | None = None) -> Match:
        """Return how many pages of those found can be used: with windows, up to the last one whose window is there.

        With recurrent layers up to the last one whose state is there, too.
        """
        pages = there = found.found
        window_at = state_at = None
        if self._kept is not None:
            cached = found.pages[:there]
            pages, window_at, state_at = self._kept.resumable(cached, tokens, self.windows, states_within)
        elif self.windows is not None and there:
            pages, window_at = self.windows.deepest(found.pages[:there])
        return Match(pages, there, found.at(pages), window_at, state_at)

    def _touch(self, found: Lookup) -> None:
        for level, held in enumerate(found.held):
            if held:
                self.full.touch(level, held)

    def _load(self, found: Lookup, loaded: int) -> None:
        """Bring what the first tier lacks into it: the first `loaded` pages from slower tiers, the others computed."""
        keys = found.lacking[0]
        if keys:
            came = self.full.put(0, keys, "computed", loaded)
            assert came == len(keys), "room was promised"

    def _copy_down(self, found: Lookup, match: Match) -> None:
        """Copy pages into slower tiers: those that pass on their way up, and those the write mode wants there."""
        if self.write == "selective":
            for key in found.pages:
                self._uses[key] = self._uses.get(key, 0) + 1
        for level in range(1, len(self.tiers)):
            passing = sum(match.at[level + 1 :])
            self.full.read[level] += match.at[level] + passing
            keys = found.lacking[level]
            if keys and self.write != "through":
                slower = found.below(level, match.pages) if passing else ()
                keys = [key for key in keys if key in slower or self._wants_copy(key)]
            if keys:
                self.full.put(level, keys, "written", passing)

    def _wants_copy(self, key: Key) -> bool:
        """Say whether the write mode wants a page, now in use, in slower tiers."""
        return self.write == "through" or (self.write == "selective" and self._uses[key] >= self.selective_uses)

    def _note_parents(self, pages: Sequence[Key], parent: Key | None) -> None:
        if self._parents is not None:
            for key in pages:
                self._parents.setdefault(key, parent)
                parent = key

    def _forget(self, keys: list[Key]) -> None:
        """Drop what belongs to pages that no tier holds any more: their windows and states are worthless now."""
        if self.windows is not None:
            self.windows.discard(keys)
        if self._kept is not None:
            self._kept.forget(keys)
        for table in (self._parents, self._uses):
            if table:
                for key in keys:
                    table.pop(key, None)

    # --- how: windows ------------------------------------------------------------------------------------------

    def _use_window(self, windows: PageTiers, lease: Lease) -> None:
        """Pin the window that the match rests on, and load it."""
        match = lease.match
        if not match.pages:
            return
        lease.window = lease.pages[match.pages - 1]
        windows.pin([lease.window])
        windows.fetch(lease.window, match.window_at or 0, self._wants_copy)

    def _keep_windows(self, windows: PageTiers, lease: Lease, start: int) -> None:
        """Keep a window at each boundary after page `start` that the prefill passes."""
        marks = boundaries(lease.tokens, self.page_tokens, self.checkpoint_tokens)
        if self.branch_points:
            marks = tuple(sorted({*marks, lease.match.found}))
        keys = [lease.pages[mark - 1] for mark in marks if start < mark <= len(lease.pages)]
        windows.keep(keys, self._wants_copy)


def _no_doubles(pages: Sequence[Key], whose: str) -> None:
    if len(set(pages)) != len(pages):
        twice = next(key for key, count in Counter(pages).items() if count > 1)
        raise ValueError(f"{whose} pages should differ: {twice!r} comes twice")
