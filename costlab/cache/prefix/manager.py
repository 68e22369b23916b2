"""The prefix cache itself: match a prompt, admit it with a lease on its pages, let it grow, pause and end.

Everything a running sequence needs is in the first tier and pinned, whoever else shares it. Pairs of `can_...` and
do: ask first, then do; what cannot be done raises. `check` asserts that every account balances.

>>> from costlab.cache import PrefixCache, Tier
>>> cache = PrefixCache([Tier("HBM", 4.0), Tier("DRAM")], page_bytes=1.0)
>>> cache.release(cache.admit([1, 2, 3]))
>>> cache.match([1, 2, 9]).pages
2
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from costlab.cache.policies.base import Key
from costlab.cache.prefix.leases import Lease, Match
from costlab.cache.prefix.look import look
from costlab.cache.prefix.residency import Residency, decrement


class PrefixCache(Residency):
    """Pages of prompts in tiers, with leases. Arguments and errors are those of `Residency`, its base."""

    # --- asking ------------------------------------------------------------------------------------------------

    def can_admit(self, pages: Sequence[Key]) -> bool:
        """Say whether the first tier can hold a sequence beside all running ones."""
        return self._fitting(pages) == len(pages)

    def can_extend(self, lease: Lease, pages: Sequence[Key]) -> bool:
        """Say whether a running sequence can grow by these pages."""
        return lease.state == "running" and self._fitting(pages) == len(pages)

    def can_resume(self, lease: Lease) -> bool:
        """Say whether a preempted sequence fits again."""
        return lease.state == "preempted" and self.can_admit(lease.pages)

    @property
    def running(self) -> int:
        """Leases that hold pages."""
        return len(self._leases)

    @property
    def pinned(self) -> int:
        """Pages in use."""
        return len(self._pins)

    # --- doing -------------------------------------------------------------------------------------------------

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
        if len(set(pages)) != len(pages):
            raise ValueError(f"a prompt's pages should differ: {_repeated(pages)!r} comes twice")
        fit = self._fitting(pages)
        if fit < len(pages) and not partial:
            raise ValueError(f"no room: {len(pages)} pages, only {fit} fit beside {self.running} running sequences")
        if self.future is not None:
            self.future.now += 1
        kept = list(pages if fit == len(pages) else pages[:fit])
        whole = tokens if tokens is not None else len(pages) * self.page_tokens
        lease = Lease(kept, min(whole, fit * self.page_tokens), uncached=len(pages) - fit)
        seen, self._seen = self._seen, None
        self._take(lease, match, seen[1] if seen is not None and seen[0] is pages and not lease.uncached else None)
        self._leases[id(lease)] = lease
        return lease

    def extend(self, lease: Lease, pages: Sequence[Key]) -> None:
        """Give a running sequence further pages, which follow those it has.

        Raises:
            ValueError: a sequence that is not running, a page it has already, or no room.
        """
        self._need(lease, "running")
        if len({*lease.pages, *pages}) != len(lease.pages) + len(pages):
            raise ValueError(f"a sequence's pages should differ: {_repeated([*lease.pages, *pages])!r} comes twice")
        if not self.can_extend(lease, pages):
            raise ValueError(f"no room for {len(pages)} further pages beside {self.running} running sequences")
        before, self._seen = lease.pages, None
        self._follow(pages, before[-1] if before else None)
        self._pin(pages)
        fresh = list(pages)
        seen = look(self.full.has, fresh)
        shares = seen.shares(fresh)
        self._bring(shares[0][1], 0)
        self._copy_down(fresh, seen, shares, Match(0, 0, (0,) * len(self.tiers)))
        lease.pages = [*before, *pages]
        lease.tokens += len(pages) * self.page_tokens
        lease.extended = True

    def preempt(self, lease: Lease) -> None:
        """Take a running sequence off; its pages stay cached as long as nobody needs the room.

        Raises:
            ValueError: a sequence that is not running.
        """
        self._let_go(lease, "preempted")

    def resume(self, lease: Lease) -> None:
        """Bring a preempted sequence back: what was evicted meanwhile is loaded or computed again, see `lease.match`.

        Raises:
            ValueError: a sequence that is not preempted, or no room.
        """
        self._need(lease, "preempted")
        if not self.can_resume(lease):
            raise ValueError(f"no room to resume {len(lease.pages)} pages beside {self.running} running sequences")
        self._seen = None
        self._take(lease, None)
        lease.state = "running"
        self._leases[id(lease)] = lease

    def release(self, lease: Lease) -> None:
        """End a sequence; its pages stay cached as long as nobody needs the room.

        Raises:
            ValueError: a sequence that is not running or preempted.
        """
        if lease.state == "preempted":
            lease.state = "released"
        else:
            self._let_go(lease, "released")

    def check(self) -> None:
        """Raise AssertionError unless all accounts balance.

        Bytes in = bytes out + resident in each pool; no pool above its capacity; pins equal leases; every pinned page
        in the first tier; every window with the page it belongs to; pages over each link as the pools counted them.
        """
        self.full.check()
        pins = Counter(key for lease in self._leases.values() for key in lease.pages)
        assert pins == self._pins, "reference counts differ from leases"
        assert all(lease.state == "running" for lease in self._leases.values())
        assert all(map(self.full.has[0], pins)), "a page in use was evicted"
        for above, crossed in enumerate(self.read[1:]):
            assert self.full.pools[above].added["loaded"] <= crossed, "more pages loaded than crossed the link"
        if self.windows is not None:
            self.windows.check()
            assert self.windows.keys() <= self.full.keys(), "a window outlived its page"
            held = Counter(lease.window for lease in self._leases.values() if lease.window is not None)
            assert held == self._window_pins, "reference counts of windows differ from leases"

    # --- how ---

    def _let_go(self, lease: Lease, state: Literal["preempted", "released"]) -> None:
        self._need(lease, "running")
        if lease.extended and self.windows is not None:
            self._keep_windows(self.windows, lease, lease.admitted)
        del self._leases[id(lease)]
        lease.state = state
        if not self._leases:
            self._pins.clear()
        else:
            for key in lease.pages:
                decrement(self._pins, key)
        if lease.window is not None:
            decrement(self._window_pins, lease.window)
            lease.window = None
        if lease.extended:  # the pages it grew are younger than those they build on
            self._touch(look(self.full.has, lease.pages).shares(lease.pages))

    def _need(self, lease: Lease, state: str) -> None:
        if lease.state != state or (state == "running" and id(lease) not in self._leases):
            raise ValueError(f"the sequence should be {state} here, it is {lease.state}")


def _repeated(pages: Sequence[Key]) -> Key:
    return next(key for key, count in Counter(pages).items() if count > 1)
