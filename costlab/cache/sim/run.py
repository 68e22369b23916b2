"""The replay: requests in order of arrival through one prefill instance with a tiered prefix cache.

One request is served at a time, in order (a FIFO server). Its turn: match; wait for what the prefetch still brings
from SSD; load layer by layer from DRAM while the layers compute; write new pages down in the background. Links carry
one transfer at a time. A request is matched when its turn comes; the prefetch of its SSD pages starts at its arrival.
Bytes move in whole pages. Writes delay nobody; a link that they keep busy for more than the whole time cannot keep up.

>>> from costlab.cache import Plan, Request, replay, standard
>>> plan = Plan("mimo-v2.5-pro", standard("80GB", "1TB"))
>>> report = replay([Request(0, 1024, 1, (1, 2)), Request(9, 1536, 1, (1, 2, 3))], plan)
>>> report.hit_tokens, report.computed_tokens
(1024, 1536)

Chapter: cache
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from costlab import catalog, roofline
from costlab.cache.footprints import footprint, measured_multiplier
from costlab.cache.policies.belady import Future
from costlab.cache.prefix.leases import Lease, Match
from costlab.cache.prefix.manager import PrefixCache
from costlab.cache.prefix.pools import Pool
from costlab.cache.sim import costs, loading
from costlab.cache.sim.plan import Plan
from costlab.cache.sim.report import LinkReport, PoolReport, Report, TierReport, spread
from costlab.cache.tiers import Tier
from costlab.traces import Request, Trace, TraceError

#: A prompt that is wholly cached still computes its last token: the first answer comes out of it.
LAST_TOKENS = 1


def replay(requests: Iterable[Request], plan: Plan, progress: Callable[[int], object] | None = None) -> Report:
    """Replay requests through a plan and report hit rates, bytes, seconds and money.

    Args:
        requests: in order of arrival.
        plan: the configuration.
        progress: called with the number of requests served so far, every 256 and at the end.

    Raises:
        ValueError: a request that arrives before its predecessor, or names a block twice.
    """
    future = None
    if plan.eviction == "belady":
        requests = list(requests)
        future = Future(request.blocks for request in requests)
    run = Run(plan, plan.cache(future))
    for served, request in enumerate(requests, 1):
        run.serve(request)
        if progress is not None and not served % 256:
            progress(served)
    if progress is not None:
        progress(run.requests)
    return run.report()


@dataclass(frozen=True)
class Replayer:
    """Replays a trace under the plan that it is called with; many at once may, as threads or, pickled, as processes.

    Raises:
        TraceError: a trace that can be read only once.

    Attributes:
        trace: replayed anew for each plan.
    """

    trace: Trace

    def __post_init__(self) -> None:
        if self.trace.is_stream:
            name = self.trace.name
            raise TraceError(f"{name}: each worker reads the trace for itself; save the stream to a file first")

    def __call__(self, plan: Plan) -> tuple[Report, tuple[str, ...]]:
        """Return the report, and what was met in the trace (`Trace.notes`)."""
        own = self.trace.apart()  # threads share one trace, and each would count what all of them met
        return replay(own, plan), tuple(own.notes())


class Run:
    """A replay under way: serve requests one by one, then ask for the report. `cache` may be looked at meanwhile."""

    def __init__(self, plan: Plan, cache: PrefixCache) -> None:
        self.plan, self.cache = plan, cache
        self.requests = self.references = self.resident = self.input_tokens = self.output_tokens = 0
        self.hit_tokens = [0] * len(plan.tiers)
        self.hits = [0] * len(plan.tiers)
        self.wholly_cached = self.oversize = self.uncached_pages = self.for_windows = 0
        self.given_up = 0.0
        self.compute_s = self.stall_s = self.wait_s = self.queue_s = 0.0
        self.ttft_s: list[float] = []
        self.service_s: list[float] = []
        self._server_free = self._last_arrival = self._first_arrival = 0.0
        self._links = [0.0] * len(plan.tiers)
        self._busy = [0.0] * len(plan.tiers)
        self._feet = plan.footprint
        self._cost = roofline.prefill_cost(
            plan.model, roofline.chip_rate(plan.chip, plan.chips, plan.compute_efficiency)
        )
        self._rule = catalog.load().prefetch["hicache"]
        self._mode = cast(loading.Mode, plan.loading)
        kinds = list(dict.fromkeys(self._feet.layers))
        self._kinds = [(k.full, k.window_bytes * k.window) for k in kinds]
        self._order = [kinds.index(layer) for layer in self._feet.layers]

    # --- one request -------------------------------------------------------------------------------------------

    def serve(self, request: Request) -> Lease:
        """Serve the next request and return its lease, released."""
        arrival = request.time_s
        if arrival < self._last_arrival and self.requests:
            raise ValueError(f"requests should come in order of time: {arrival} s after {self._last_arrival} s")
        self._first_arrival = self._first_arrival if self.requests else arrival
        self._last_arrival = arrival
        start = max(arrival, self._server_free)
        match, ready = self._fetch(request, start)
        lease = self.cache.admit(request.blocks, request.input_tokens, match, partial=True)
        cached = self._count(request, lease)
        new = request.input_tokens - cached
        compute = self._cost.total_s(new, cached)
        behind = self._load(lease.match, new, cached, ready, compute)
        end = ready + compute + behind
        self.cache.release(lease)
        self._server_free = end
        self.compute_s += compute
        self.stall_s += ready - start + behind
        self.wait_s += ready - start
        self.queue_s += start - arrival
        self.ttft_s.append(end - arrival)
        self.service_s.append(end - start)
        return lease

    def _count(self, request: Request, lease: Lease) -> int:
        """Book hits and sizes; return the tokens that need no computing."""
        match, tokens = lease.match, request.input_tokens
        self.requests += 1
        self.references += len(request.blocks)
        self.resident += lease.resident
        self.input_tokens += tokens
        self.output_tokens += request.output_tokens
        if lease.uncached:
            self.oversize += 1
            self.uncached_pages += lease.uncached
        cached = usable = min(match.pages * self.plan.block_tokens, tokens)
        if match.pages and cached == tokens:
            self.wholly_cached += 1
            cached = tokens - LAST_TOKENS
        if cached:
            self._book_hits(match, cached)
        if match.found != match.pages:
            self.for_windows += min(match.found * self.plan.block_tokens, tokens) - usable
        return cached

    def _book_hits(self, match: Match, cached: int) -> None:
        """Share the cached tokens among tiers; a partial last page and the last token count to the slowest of them."""
        left = cached
        for level, pages in enumerate(match.at):
            if pages and left:
                tokens = min(pages * self.plan.block_tokens, left)
                self.hit_tokens[level] += tokens
                self.hits[level] += 1
                left -= tokens

    def _load(self, match: Match, new: int, cached: int, ready: float, compute: float) -> float:
        """Load over the first link while computing; return by how much that delays the prefill's end."""
        loaded = match.pages - match.at[0]
        window = bool(match.window_at)
        if not (loaded or window) or len(self.plan.tiers) < 2:
            return 0.0
        tier = self.plan.tiers[1]
        tokens, rate = loaded * self.plan.block_tokens, tier.bandwidth_bytes_per_s
        delay = max(self._links[1] - ready, 0.0) + tier.latency_s
        each = [(tokens * full + window * kept) / rate for full, kept in self._kinds]
        loads = list(map(each.__getitem__, self._order))
        moving = sum(loads)
        self._links[1] = ready + delay + moving
        self._busy[1] += moving + tier.latency_s
        loads[0] += delay
        return max(loading.finish(loads, self._cost.layer_s(new, cached), self._mode) - compute, 0.0)

    # --- what lies on SSD --------------------------------------------------------------------------------------

    def _fetch(self, request: Request, start: float) -> tuple[Match | None, float]:
        """Fetch pages from below the second tier; return what may be used then, and when computing may start.

        None stands for the whole match, which admission finds by itself.
        """
        if len(self.plan.tiers) < 3:
            return None, start
        match = self.cache.match(request.blocks)
        far = sum(match.at[2:])
        if not far:
            return match, start
        wanted = min(far, self._host_room())
        if wanted * self.plan.block_tokens < self._rule.least_tokens:
            return self._limited(request, match, 0), start
        done, begin, page_s = self._transfer(match, wanted, request.time_s)
        ready = start if done <= start else self._patience(start, done, request.time_s, wanted)
        came: float = wanted if done <= ready else int(max(ready - begin, 0.0) / page_s)
        self._links[2] = min(done, max(ready, self._links[2]))
        self._keep_busy(match, came)
        if came == far:
            return match, ready
        self.given_up += far - came
        return self._limited(request, match, came), ready

    def _host_room(self) -> float:
        return self.cache.full.pools[1].capacity * self._rule.host_share

    def _transfer(self, match: Match, pages: float, arrival: float) -> tuple[float, float, float]:
        """Return when `pages` pages would be in the second tier, when the first byte flows, and seconds per page."""
        page_s, latency = 0.0, 0.0
        page_bytes = self.cache.full.pools[0].page_bytes
        for level in range(2, len(self.plan.tiers)):
            if sum(match.at[level:]):
                tier = self.plan.tiers[level]
                seconds = page_bytes / tier.bandwidth_bytes_per_s
                page_s, latency = page_s + seconds, latency + tier.latency_s
        begin = max(arrival, self._links[2]) + latency
        return begin + pages * page_s + self._window_s(match), begin, page_s

    def _keep_busy(self, match: Match, pages: float) -> None:
        for level in range(2, len(self.plan.tiers)):
            crossing = min(sum(match.at[level:]), pages)
            if crossing:
                self._busy[level] += self.plan.tiers[level].read_s(crossing * self.cache.full.pools[0].page_bytes)

    def _window_s(self, match: Match) -> float:
        if match.window_at is None or match.window_at < 2:
            return 0.0
        return self._feet.window_bytes / self.plan.tiers[match.window_at].bandwidth_bytes_per_s

    def _patience(self, start: float, done: float, arrival: float, pages: float) -> float:
        """Return when a request whose pages come at `done` starts computing."""
        if self.plan.prefetch == "wait":
            return done
        if self.plan.prefetch == "best-effort":
            return start
        per_1024 = self._rule.timeout_s_per_1024_tokens * pages * self.plan.block_tokens / 1024
        return max(start, min(done, arrival + self._rule.timeout_s + per_1024))

    def _limited(self, request: Request, match: Match, came: float) -> Match:
        """Return the match up to the first page that did not come from below the second tier."""
        near, usable, left = self.cache.full.has[:2], 0, came
        for key in request.blocks[: match.pages]:
            if not any(has(key) for has in near):
                if left < 1:
                    break
                left -= 1
            usable += 1
        return self.cache.match(request.blocks, usable)

    # --- the end -----------------------------------------------------------------------------------------------

    def report(self) -> Report:
        """Return the report of all requests served so far."""
        hits, plan = sum(self.hit_tokens), self.plan
        makespan = max(self._server_free, self._last_arrival) - self._first_arrival
        return Report(
            model=plan.model,
            requests=self.requests,
            references=self.references,
            resident_references=self.resident,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            hit_tokens=hits,
            computed_tokens=self.input_tokens - hits,
            wholly_cached=self.wholly_cached,
            oversize=self.oversize,
            uncached_pages=self.uncached_pages,
            lost_pages=self.cache.full.lost,
            recomputed_for_windows_tokens=self.for_windows,
            prefetch_given_up=round(self.given_up),
            compute_s=self.compute_s,
            stall_s=self.stall_s,
            prefetch_wait_s=self.wait_s,
            queue_s=self.queue_s,
            makespan_s=makespan,
            ttft=spread(self.ttft_s),
            service=spread(self.service_s),
            tiers=tuple(self._tier(level) for level in range(len(plan.tiers))),
            links=tuple(link for level in range(1, len(plan.tiers)) for link in self._link_pair(level, makespan)),
            multiplier=self._multiplier(),
        )

    def _tier(self, level: int) -> TierReport:
        tier, full = self.plan.tiers[level], self.cache.full.pools[level]
        per_token = self._feet.bytes_per_token(self.plan.window_ratio)
        price = tier.usd_per_gb_hour
        if price is None and not level and self.plan.usd_per_chip_hour is not None:
            # nobody rents a chip's memory by itself: the chip's whole rent, spread over its memory
            price = self.plan.usd_per_chip_hour / (catalog.chip(self.plan.chip).memory_bytes / 1e9)
        stack = self.cache.windows
        return TierReport(
            name=tier.name,
            hit_tokens=self.hit_tokens[level],
            hit_rate=self.hit_tokens[level] / self.input_tokens if self.input_tokens else 0.0,
            capacity_bytes=tier.capacity_bytes,
            capacity_tokens=full.capacity * self.plan.block_tokens,
            full=_pool_report("full", full),
            window=None if stack is None else _pool_report("window", stack.pools[level]),
            usd_per_million_tokens_hour=None if price is None else price * per_token * 1e6 / 1e9,
            hit=self._hit(level),
        )

    def _hit(self, level: int) -> costs.HitCost | None:
        """The mean hit of a tier, loaded over the slowest link on its way."""
        if not self.hits[level]:
            return None
        way: Sequence[Tier] = self.plan.tiers[1 : level + 1]
        return costs.hit_cost(
            self.plan.model,
            max(round(self.hit_tokens[level] / self.hits[level]), 1),
            bandwidth_bytes_per_s=min((tier.bandwidth_bytes_per_s for tier in way), default=math.inf),
            latency_s=sum(tier.latency_s for tier in way),
            chip=self.plan.chip,
            chips=self.plan.chips,
            efficiency=self.plan.compute_efficiency,
            usd_per_chip_hour=self.plan.usd_per_chip_hour,
            feet=self._feet,
        )

    def _link_pair(self, level: int, makespan: float) -> tuple[LinkReport, LinkReport]:
        fast, slow = self.plan.tiers[level - 1], self.plan.tiers[level]
        full, stack = self.cache.full.pools[level], self.cache.windows
        up = self.cache.read[level] * full.page_bytes
        down = full.added["written"] * full.page_bytes
        if stack is not None:
            up += self.cache.window_read[level] * self._feet.window_bytes
            down += stack.pools[level].added["written"] * self._feet.window_bytes
        write_s = down / slow.write_rate
        return (
            LinkReport(f"{slow.name} to {fast.name}", up, self._busy[level], _share(self._busy[level], makespan)),
            LinkReport(f"{fast.name} to {slow.name}", down, write_s, _share(write_s, makespan)),
        )

    def _multiplier(self) -> float:
        """Cached tokens per byte at the slowest tier's peak, against every layer keeping every token."""
        stack = self.cache.windows
        peak = stack.pools[-1].peak if stack is not None else 0
        feet = footprint(self.plan.model)
        if self.plan.keep == "everything":
            return 1.0
        return measured_multiplier(feet, self.cache.full.pools[-1].peak, self.plan.block_tokens, peak)


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _pool_report(kind: str, pool: Pool) -> PoolReport:
    return PoolReport(
        kind=kind,
        page_bytes=pool.page_bytes,
        capacity=pool.capacity,
        **pool.added,
        evicted=pool.evicted,
        discarded=pool.discarded,
        refused=pool.refused,
        peak=pool.peak,
        resident=pool.pages,
    )
