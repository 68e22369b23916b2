"""The replay: requests in order of arrival through one prefill instance with a tiered prefix cache.

A recurrent layer's state moves as a whole, and a prompt resumes only from a position where one was kept.
One request is served at a time, in order (a FIFO server). Its turn: match; wait for what the prefetch still brings
from SSD; load layer by layer from DRAM while the layers compute; write new pages down in the background. Links carry
one transfer at a time. A request is matched when its turn comes; the prefetch of its SSD pages starts at its arrival.
Bytes move in whole pages. Writes delay nobody; a link that they keep busy for more than the whole time cannot keep up.

>>> from costlab.cache import Plan, replay, standard
>>> from costlab.traces import Request
>>> plan = Plan("mimo-v2.5-pro", standard("80GB", "1TB"))
>>> report = replay([Request(0, 1024, 1, (1, 2)), Request(9, 1536, 1, (1, 2, 3))], plan)
>>> report.hit_tokens, report.computed_tokens
(1024, 1536)

Chapter: tiers
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from costlab import catalog, roofline
from costlab.cache import footprints
from costlab.cache.footprints import measured_multiplier
from costlab.cache.policies.belady import Future
from costlab.cache.prefix.manager import PrefixCache
from costlab.cache.prefix.match import Lease, Match
from costlab.cache.prefix.pools import Pool
from costlab.cache.sim import costs, loading
from costlab.cache.sim.plan import Plan
from costlab.cache.sim.prefetch import Prefetcher, TierLink
from costlab.cache.sim.report import LinkReport, PoolReport, Report, TierReport, percentiles
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
    state = Replay(plan, plan.cache(future))
    for served, request in enumerate(requests, 1):
        state.serve(request)
        if progress is not None and not served % 256:
            progress(served)
    if progress is not None:
        progress(state.totals.requests)
    return state.report()


@dataclass(frozen=True)
class ReplayTask:
    """Replays a trace under the plan that it is called with; many at once may, as threads or, pickled, as processes.

    Raises:
        TraceError: a trace that can be read only once.
    """

    trace: Trace  # replayed anew for each plan

    def __post_init__(self) -> None:
        if self.trace.is_stream:
            name = self.trace.name
            raise TraceError(f"{name}: each worker reads the trace for itself; save the stream to a file first")

    def __call__(self, plan: Plan) -> tuple[Report, tuple[str, ...]]:
        """Return the report, and what was met in the trace (`Trace.notes`)."""
        own = self.trace.apart()  # threads share one trace, and each would count what all of them met
        return replay(own, plan), tuple(own.notes())


@dataclass
class Totals:
    """What a replay has counted so far; the fields are those of `Report`."""

    requests: int = 0
    references: int = 0
    resident_references: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    wholly_cached: int = 0
    oversize: int = 0
    uncached_pages: int = 0
    recomputed_for_windows_tokens: int = 0
    recomputed_for_states_tokens: int = 0
    compute_s: float = 0.0
    stall_s: float = 0.0
    prefetch_wait_s: float = 0.0
    queue_s: float = 0.0


class Replay:
    """A replay under way: serve requests one by one, then ask for the report. `cache` may be looked at meanwhile.

    `totals` are the counts so far, `hits` and `hit_tokens` by tier, `links` the state of each tier's link, `ttft_s` and
    `service_s` the times to first token of each request, from its arrival and from the start of its turn.
    """

    def __init__(self, plan: Plan, cache: PrefixCache) -> None:
        self.plan, self.cache = plan, cache
        self.totals = Totals()
        self.hits, self.hit_tokens = [0] * len(plan.tiers), [0] * len(plan.tiers)
        self.ttft_s: list[float] = []
        self.service_s: list[float] = []
        self.links = [TierLink(tier) for tier in plan.tiers]
        self.prefetcher = Prefetcher(plan, cache, self.links)
        self._server_free = self._last_arrival = self._first_arrival = 0.0
        self._footprint = plan.footprint
        self._cost = roofline.prefill_cost(
            plan.model, roofline.seconds_per_flop_on(plan.chip, plan.chips, plan.compute_efficiency)
        )
        kinds = list(dict.fromkeys(self._footprint.layers))
        self._kinds = [(kind.full, kind.window_bytes * kind.window, kind.state_bytes) for kind in kinds]
        self._kind_of = [kinds.index(layer) for layer in self._footprint.layers]

    # --- one request -------------------------------------------------------------------------------------------

    def serve(self, request: Request) -> Lease:
        """Serve the next request and return its lease, released.

        Raises:
            ValueError: it arrives before its predecessor, or names a block twice.
        """
        arrival, totals = request.time_s, self.totals
        if arrival < self._last_arrival and totals.requests:
            raise ValueError(f"requests should come in order of time: {arrival} s after {self._last_arrival} s")
        self._first_arrival = self._first_arrival if totals.requests else arrival
        self._last_arrival = arrival
        start = max(arrival, self._server_free)
        match, ready = self.prefetcher.fetch(request, start)
        lease = self.cache.admit(request.blocks, request.input_tokens, match, partial=True)
        cached = self._count(request, lease)
        new = request.input_tokens - cached
        compute = self._cost.total_s(new, cached)
        delay = self._load(lease.match, new, cached, ready, compute)
        end = ready + compute + delay
        self.cache.release(lease)
        self._server_free = end
        totals.compute_s += compute
        totals.stall_s += ready - start + delay
        totals.prefetch_wait_s += ready - start
        totals.queue_s += start - arrival
        self.ttft_s.append(end - arrival)
        self.service_s.append(end - start)
        return lease

    def _count(self, request: Request, lease: Lease) -> int:
        """Count hits and sizes; return the tokens that need no computing."""
        match, tokens, totals, block_tokens = lease.match, request.input_tokens, self.totals, self.plan.block_tokens
        totals.requests += 1
        totals.references += len(request.blocks)
        totals.resident_references += lease.resident
        totals.input_tokens += tokens
        totals.output_tokens += request.output_tokens
        totals.oversize += lease.uncached > 0
        totals.uncached_pages += lease.uncached
        cached = usable = min(match.pages * block_tokens, tokens)
        if match.pages and cached == tokens:
            totals.wholly_cached += 1
            cached = tokens - LAST_TOKENS
        self._count_hits(match, cached)
        if self.cache.states is not None:
            found = min(match.found * block_tokens, tokens - LAST_TOKENS)
            totals.recomputed_for_states_tokens += max(found - usable, 0)
        else:
            totals.recomputed_for_windows_tokens += min(match.found * block_tokens, tokens) - usable
        return cached

    def _count_hits(self, match: Match, cached: int) -> None:
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
        pages = match.pages - match.at[0]
        window, state = bool(match.window_at), bool(match.state_at)
        if not (pages or window or state) or len(self.links) < 2:
            return 0.0
        link = self.links[1]
        tokens, rate = pages * self.plan.block_tokens, link.tier.bandwidth_bytes_per_s
        delay = max(link.free_s - ready, 0.0) + link.tier.latency_s
        by_kind = [
            (tokens * full + window * window_bytes + state * state_bytes) / rate
            for full, window_bytes, state_bytes in self._kinds
        ]
        loads = list(map(by_kind.__getitem__, self._kind_of))
        moving = sum(loads)
        link.free_s = ready + delay + moving
        link.busy_s += moving + link.tier.latency_s
        loads[0] += delay
        return max(loading.finish(loads, self._cost.layer_s(new, cached), self.plan.loading) - compute, 0.0)

    # --- the end -----------------------------------------------------------------------------------------------

    def report(self) -> Report:
        """Return the report of all requests served so far."""
        hits = sum(self.hit_tokens)
        makespan = max(self._server_free, self._last_arrival) - self._first_arrival
        return Report(
            **vars(self.totals),
            model=self.plan.model,
            hit_tokens=hits,
            computed_tokens=self.totals.input_tokens - hits,
            lost_pages=self.cache.full.lost,
            prefetch_given_up=round(self.prefetcher.given_up),
            makespan_s=makespan,
            ttft=percentiles(self.ttft_s),
            service=percentiles(self.service_s),
            tiers=tuple(self._tier(level) for level in range(len(self.links))),
            links=tuple(pair for level in range(1, len(self.links)) for pair in self._link_pair(level, makespan)),
            multiplier=self._multiplier(),
        )

    def _tier(self, level: int) -> TierReport:
        tier, full = self.plan.tiers[level], self.cache.full.pools[level]
        states = None if self.cache.states is None else self.cache.states.pools[level]
        per_token = self._footprint.bytes_per_token(self.plan.window_ratio)
        if states is not None and full.pages:
            per_token += states.resident_bytes / (full.pages * self.plan.block_tokens)
        price = tier.usd_per_gb_hour
        if price is None and not level and self.plan.usd_per_chip_hour is not None:
            # nobody rents a chip's memory by itself: the chip's whole rent, spread over its memory
            price = self.plan.usd_per_chip_hour / (catalog.chip(self.plan.chip).memory_bytes / 1e9)
        windows = self.cache.windows
        return TierReport(
            name=tier.name,
            hit_tokens=self.hit_tokens[level],
            hit_rate=_share(self.hit_tokens[level], self.totals.input_tokens),
            capacity_bytes=tier.capacity_bytes,
            capacity_tokens=full.capacity * self.plan.block_tokens,
            full=_pool_report("full", full),
            window=None if windows is None else _pool_report("window", windows.pools[level]),
            state=None if states is None else _pool_report("state", states),
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
            footprint=self._footprint,
        )

    def _link_pair(self, level: int, makespan: float) -> tuple[LinkReport, LinkReport]:
        fast, slow = self.plan.tiers[level - 1], self.plan.tiers[level]
        full, windows = self.cache.full.pools[level], self.cache.windows
        up = self.cache.full.read[level] * full.page_bytes
        down = full.added["written"] * full.page_bytes
        if windows is not None:
            up += windows.read[level] * self._footprint.window_bytes
            down += windows.pools[level].added["written"] * self._footprint.window_bytes
        states = self.cache.states
        if states is not None:
            up += states.read[level] * self._footprint.state_bytes
            down += states.pools[level].added["written"] * self._footprint.state_bytes
        read_s, write_s = self.links[level].busy_s, down / slow.write_rate
        return (
            LinkReport(f"{slow.name} to {fast.name}", up, read_s, _share(read_s, makespan)),
            LinkReport(f"{fast.name} to {slow.name}", down, write_s, _share(write_s, makespan)),
        )

    def _multiplier(self) -> float:
        """Cached tokens per byte at the slowest tier's peak, against every layer keeping every token."""
        if self.plan.keep == "everything":
            return 1.0
        full, windows = self.cache.full.pools[-1].peak, self.cache.windows
        peak = windows.pools[-1].peak if windows is not None else 0
        states = self.cache.states.pools[-1].peak if self.cache.states is not None else 0
        return measured_multiplier(footprints.footprint(self.plan.model), full, self.plan.block_tokens, peak, states)


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
