"""What a replay found out: hit rates, bytes moved, seconds waited, and what keeping and using the cache costs."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from costlab.cache.sim.costs import HitCost
from costlab.text import bytes_text, count_text, plain


@dataclass(frozen=True)
class Percentiles:
    """A distribution of seconds."""

    mean_s: float  # mean, s
    p50_s: float  # what half of the values do not exceed, s
    p90_s: float  # what 90% of them do not exceed, s
    p99_s: float  # what 99% of them do not exceed, s


def percentiles(seconds: list[float]) -> Percentiles:
    """Return mean and percentiles of a list of seconds; zeros for an empty one."""
    if not seconds:
        return Percentiles(0.0, 0.0, 0.0, 0.0)
    values = np.asarray(seconds, dtype=np.float64)
    p50, p90, p99 = (float(p) for p in np.percentile(values, [50, 90, 99]))
    return Percentiles(float(values.mean()), p50, p90, p99)


@dataclass(frozen=True)
class PoolReport:
    """The account of one kind of page in one tier; a kept state counts as a page here."""

    kind: str  # "full", "window" or "state"
    page_bytes: float  # bytes of a page
    capacity: float  # pages that fit; infinity is unlimited
    computed: int  # pages that were computed
    loaded: int  # pages that came from a slower tier
    written: int  # pages that were written from a faster tier
    evicted: int  # pages that went to make room
    discarded: int  # pages that went because nothing could use them any more
    refused: int  # pages that found no room, since those there were in use
    peak: int  # the most pages that were there at one time
    resident: int  # pages that are there at the end

    @property
    def peak_bytes(self) -> float:
        """The most bytes that were there at one time."""
        return self.peak * self.page_bytes

    @property
    def resident_bytes(self) -> float:
        """Bytes that are there at the end."""
        return self.resident * self.page_bytes

    def as_dict(self) -> dict[str, Any]:
        """Return everything under keys that say what is counted: pages, or states."""
        counts = [f.name for f in dataclasses.fields(self) if f.name not in ("kind", "page_bytes")]
        one = "state" if self.kind == "state" else "page"
        return {f"{one}_bytes": self.page_bytes, **{f"{name}_{one}s": getattr(self, name) for name in counts}}


@dataclass(frozen=True)
class TierReport:
    """One tier: what it held, and the tokens that were found there rather than in a faster tier."""

    name: str  # of the tier
    hit_tokens: int  # input tokens found there
    hit_rate: float  # the same as a share of all input tokens
    capacity_bytes: float  # bytes that fit; infinity is unlimited
    capacity_tokens: float  # tokens whose full pages fit, if no state takes their room; infinity is unlimited
    full: PoolReport  # its full pages
    window: PoolReport | None  # its window pages; None for a model without windows
    state: PoolReport | None  # its kept states; None for a model without recurrent layers
    # US dollars for keeping a million tokens there for an hour; None without a price
    usd_per_million_tokens_hour: float | None
    hit: HitCost | None  # the mean hit's prefix loaded from here, against computing it again; None without a hit

    @property
    def peak_bytes(self) -> float:
        """The most bytes that were there at one time."""
        peaks = sum(pool.peak_bytes for pool in (self.full, self.window, self.state) if pool)
        return min(peaks, self.capacity_bytes)  # kinds that compete for room need not have their peaks together

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the name, and what follows from the mean hit."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)[1:]}
        full, window, state, hit = (own.pop(name) for name in ("full", "window", "state", "hit"))
        pools = {"full_pool": full.as_dict(), "window_pool": window and window.as_dict()}
        pools["state_pool"] = state and state.as_dict()
        return {**own, **pools, "mean_hit": hit and _hit(hit)}


@dataclass(frozen=True)
class LinkReport:
    """The link between two tiers, in one direction."""

    name: str  # from where to where, e.g. "DRAM to HBM"
    moved_bytes: float  # bytes that crossed it
    busy_s: float  # seconds that this took
    busy_share: float  # the same as a share of the whole time; above 1 the link cannot keep up

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the name."""
        return {"moved_bytes": self.moved_bytes, "busy_s": self.busy_s, "busy_share": self.busy_share}


@dataclass(frozen=True)
class Report:
    """The outcome of a replay.

    Rates are shares of input tokens (`token_hit_rate`) or of block references (`block_hit_rate`: the block was in some
    tier, usable or not). A reference is one block of one request's prompt.
    """

    model: str  # key in the catalog
    requests: int  # requests served
    references: int  # block references
    resident_references: int  # block references whose block was in some tier
    input_tokens: int  # tokens of all prompts
    output_tokens: int  # tokens of all answers
    hit_tokens: int  # input tokens that were found and not computed
    computed_tokens: int  # input tokens that were computed
    wholly_cached: int  # requests whose whole prompt was found; their last token is computed all the same
    oversize: int  # requests with more pages than the first tier holds
    uncached_pages: int  # pages of such requests that were kept nowhere
    lost_pages: int  # pages that left the last tier that held them
    # input tokens that were found but computed, since no window behind them was kept
    recomputed_for_windows_tokens: int
    # the same of a model with recurrent layers: found, but behind the last position where a state was kept
    recomputed_for_states_tokens: int
    prefetch_given_up: int  # pages below the second tier that a request did not wait for
    compute_s: float  # seconds that prefills computed
    stall_s: float  # seconds that they waited for loads, the waits for a prefetch among them
    prefetch_wait_s: float  # seconds that they waited for a prefetch
    queue_s: float  # seconds that requests waited for their turn, together
    makespan_s: float  # seconds from the first arrival to the last prefill's end
    ttft: Percentiles  # time to first token, from arrival
    service: Percentiles  # the same from the start of a request's turn, so without queueing
    tiers: tuple[TierReport, ...]  # of each tier, fastest first
    links: tuple[LinkReport, ...]  # of each pair of neighbouring tiers, upwards and then downwards
    # tokens that a byte of cache held, against every layer keeping every token; NaN if nothing was kept
    multiplier: float

    @property
    def token_hit_rate(self) -> float:
        """Input tokens that were not computed, as a share of all."""
        return self.hit_tokens / self.input_tokens if self.input_tokens else 0.0

    @property
    def page_hit_rate(self) -> float:
        """Input tokens whose pages were found, as a share of all: what would be a hit without windows and states."""
        found = self.hit_tokens + self.recomputed_for_windows_tokens + self.recomputed_for_states_tokens
        return found / self.input_tokens if self.input_tokens else 0.0

    @property
    def block_hit_rate(self) -> float:
        """Block references that found their block in some tier, as a share of all."""
        return self.resident_references / self.references if self.references else 0.0

    def rows(self) -> list[dict[str, Any]]:
        """Return the tiers as rows of a table that a person reads, the total last."""
        rows = [_row(tier) for tier in self.tiers]
        total = {"tier": "all", "hit rate": f"{self.token_hit_rate:.1%}"}
        return [*rows, {key: total.get(key, "") for key in rows[0]}]

    def summary(self) -> list[dict[str, str]]:
        """Return the report's totals as rows of (what, value)."""
        held = "-" if math.isnan(self.multiplier) else f"{self.multiplier:.2f}x"
        pairs = {
            "requests": f"{self.requests:,}",
            "input tokens": f"{self.input_tokens:,}",
            "token hit rate": f"{self.token_hit_rate:.3f}",
            "block hit rate": f"{self.block_hit_rate:.3f}",
            **self._about_states(),
            "TTFT p50 / p90 / p99": _three(self.ttft),
            "without queueing": _three(self.service),
            "compute": f"{self.compute_s:,.1f} s",
            "stall": f"{self.stall_s:,.1f} s",
            "cached tokens per byte, against every layer full": held,
        }
        pairs |= {
            f"moved {link.name}": f"{bytes_text(link.moved_bytes)}, {link.busy_share:.1%} busy" for link in self.links
        }
        return [{"what": what, "value": value} for what, value in pairs.items()]

    def _about_states(self) -> dict[str, str]:
        """Return what is told of the states of a model with recurrent layers, else nothing."""
        pools = {tier.name: tier.state for tier in self.tiers if tier.state is not None}
        if not pools:
            return {}
        lost = self.recomputed_for_states_tokens
        share = lost / self.input_tokens if self.input_tokens else 0.0
        told = {
            "page hit rate": f"{self.page_hit_rate:.3f}",
            "found but not resumable": f"{lost:,} tokens, {share:.3f} of the input",
        }
        for name, pool in pools.items():
            kept = pool.computed + pool.loaded + pool.written
            size, gone = bytes_text(pool.resident_bytes), pool.evicted + pool.discarded
            told[f"states in {name}"] = f"{kept:,} kept, {gone:,} gone, {pool.resident:,} there: {size}"
        return told

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types in base units, tiers and links by name, each key with its unit.

        What is infinite or unknown becomes None.
        """
        own = {_KEYS.get(f.name, f.name): getattr(self, f.name) for f in dataclasses.fields(self)}
        for name in ("ttft", "service"):
            own |= {f"{name}_{part}": value for part, value in dataclasses.asdict(own.pop(name)).items()}
        own |= {
            "hit_rate": self.token_hit_rate,
            "block_hit_rate": self.block_hit_rate,
            "page_hit_rate": self.page_hit_rate,
            "moved_bytes": sum(link.moved_bytes for link in self.links),
            "tiers": {tier.name: tier.as_dict() for tier in self.tiers},
            "links": {link.name: link.as_dict() for link in self.links},
        }
        cleaned: dict[str, Any] = plain(own)
        return cleaned


#: Keys that say what is counted, where the field's name leaves it to its class.
_KEYS = {
    "references": "block_references",
    "resident_references": "resident_block_references",
    "wholly_cached": "wholly_cached_requests",
    "oversize": "oversize_requests",
    "prefetch_given_up": "prefetch_given_up_pages",
    "compute_s": "prefill_compute_s",
}


def _hit(hit: HitCost) -> dict[str, Any]:
    fields = dataclasses.asdict(hit)
    more = {name: getattr(hit, name) for name in ("ratio", "load_usd", "recompute_usd")}
    return {"prefix_tokens": fields.pop("tokens"), **fields, **more}


def _row(tier: TierReport) -> dict[str, Any]:
    price = tier.usd_per_million_tokens_hour
    return {
        "tier": tier.name,
        "hit rate": f"{tier.hit_rate:.1%}",
        "capacity": bytes_text(tier.capacity_bytes),
        "tokens": count_text(tier.capacity_tokens),
        "peak": bytes_text(tier.peak_bytes),
        "evicted pages": f"{tier.full.evicted:,}",
        "USD per M tokens and hour": "" if price is None else f"{price:.4f}",
        "mean hit": "" if tier.hit is None else f"{tier.hit.load_s * 1e3:,.1f} ms",
        "recomputed": "" if tier.hit is None else f"{tier.hit.recompute_s * 1e3:,.0f} ms",
        "USD hit / recomputed": _usd(tier.hit),
    }


def _usd(hit: HitCost | None) -> str:
    if hit is None or hit.load_usd is None or hit.recompute_usd is None:
        return ""
    return f"{hit.load_usd:.2g} / {hit.recompute_usd:.2g}"


def _three(times: Percentiles) -> str:
    return " / ".join(f"{s:.3g} s" for s in (times.p50_s, times.p90_s, times.p99_s))
