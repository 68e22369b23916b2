"""Prefetch: from a request's arrival on, its pages below the second tier are fetched into it, until its turn has come.

Chapter: tiers
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from costlab.cache.prefix.manager import PrefixCache
from costlab.cache.prefix.match import Match
from costlab.cache.sim.plan import Plan
from costlab.cache.tiers import Tier
from costlab.traces import Request


@dataclass
class TierLink:
    """The link from a tier to the next faster one, which carries one transfer at a time."""

    tier: Tier  # the slower one
    free_s: float = 0.0  # when it has carried everything so far, s
    busy_s: float = 0.0  # seconds that it has been carrying something


class Prefetcher:
    """Fetches pages from below the second tier; `given_up` counts those that a request did not wait for.

    Args:
        plan: the configuration; its `prefetch` says how long a request waits.
        cache: where the pages lie.
        links: of each tier, fastest first.
    """

    def __init__(self, plan: Plan, cache: PrefixCache, links: Sequence[TierLink]) -> None:
        self.plan, self.cache, self.links = plan, cache, links
        self.given_up = 0.0
        self._rule = plan.prefetch_rule
        self._page_bytes, self._window_bytes = cache.full.pools[0].page_bytes, plan.footprint.window_bytes
        self._state_bytes = plan.footprint.state_bytes

    def fetch(self, request: Request, start: float) -> tuple[Match | None, float]:
        """Fetch a request's pages; return what may be used of the cache then, and when computing may start.

        None stands for the whole match, which admission finds by itself.

        Args:
            request: whose turn it is.
            start: when its turn has come, s.
        """
        if len(self.links) < 3:
            return None, start
        match = self.cache.match(request.blocks, tokens=request.input_tokens)
        far, far_state = sum(match.at[2:]), match.state_at is not None and match.state_at >= 2
        if not far and not far_state:
            return match, start
        wanted = min(far, self.cache.full.pools[1].capacity * self._rule.host_share)
        if far and wanted * self.plan.block_tokens < self._rule.least_tokens:
            return self._limited(request, match, 0, far_state), start
        begin, page_s = self._transfer(match, request.time_s)
        done = begin + wanted * page_s + self._window_s(match) + self._state_s(match)
        ready = start if done <= start else self._ready(start, done, request.time_s, wanted)
        late = done > ready  # pages come first, so a state that lies below is what is late
        came: float = min(int(max(ready - begin, 0.0) / page_s), wanted) if late and far else wanted
        self.links[2].free_s = min(done, ready)
        self._note_busy(match, came, not late)
        if came == far and not (late and far_state):
            return match, ready
        self.given_up += far - came
        return self._limited(request, match, came, late and far_state), ready

    def _transfer(self, match: Match, arrival: float) -> tuple[float, float]:
        """Return when the first byte arrives in the second tier, and seconds per page from then on."""
        page_s, latency_s = 0.0, 0.0
        for level, link in enumerate(self.links[2:], 2):
            if sum(match.at[level:]) or (match.state_at or 0) >= level:
                page_s += self._page_bytes / link.tier.bandwidth_bytes_per_s
                latency_s += link.tier.latency_s
        return max(arrival, self.links[2].free_s) + latency_s, page_s

    def _window_s(self, match: Match) -> float:
        if match.window_at is None or match.window_at < 2:
            return 0.0
        return self._window_bytes / self.plan.tiers[match.window_at].bandwidth_bytes_per_s

    def _state_s(self, match: Match) -> float:
        """Return the seconds that a state below the second tier takes, over each link on its way."""
        links = self.plan.tiers[2 : (match.state_at or 0) + 1]
        return sum(self._state_bytes / tier.bandwidth_bytes_per_s for tier in links)

    def _ready(self, start: float, done: float, arrival: float, pages: float) -> float:
        """Return when a request whose pages come at `done` starts computing."""
        if self.plan.prefetch == "wait":
            return done
        if self.plan.prefetch == "best-effort":
            return start
        per_1024 = self._rule.timeout_s_per_1024_tokens * pages * self.plan.block_tokens / 1024
        return max(start, min(done, arrival + self._rule.timeout_s + per_1024))

    def _note_busy(self, match: Match, pages: float, state: bool) -> None:
        for level, link in enumerate(self.links[2:], 2):
            crossing = min(sum(match.at[level:]), pages) * self._page_bytes
            crossing += self._state_bytes * (state and (match.state_at or 0) >= level)
            link.busy_s += link.tier.read_s(crossing)

    def _limited(self, request: Request, match: Match, came: float, no_far_state: bool) -> Match:
        """Return the match up to the first page that did not come from below the second tier.

        Where the state did not come either, an earlier one does that lies nearer.
        """
        near, usable, left = self.cache.full.has[:2], 0, came
        for key in request.blocks[: match.pages]:
            if not any(has(key) for has in near):
                if left < 1:
                    break
                left -= 1
            usable += 1
        within = 2 if no_far_state else None
        return self.cache.match(request.blocks, usable, tokens=request.input_tokens, states_within=within)
