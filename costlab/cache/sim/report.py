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
    """A distribution of seconds.

    Attributes:
        mean_s: mean, s.
        p50_s: what half of the values do not exceed, s.
        p90_s: what 90% of them do not exceed, s.
        p99_s: what 99% of them do not exceed, s.
    """

    mean_s: float
    p50_s: float
    p90_s: float
    p99_s: float


def percentiles(seconds: list[float]) -> Percentiles:
    """Return mean and percentiles of a list of seconds; zeros for an empty one."""
    if not seconds:
        return Percentiles(0.0, 0.0, 0.0, 0.0)
    values = np.asarray(seconds, dtype=np.float64)
    p50, p90, p99 = (float(p) for p in np.percentile(values, [50, 90, 99]))
    return Percentiles(float(values.mean()), p50, p90, p99)


@dataclass(frozen=True)
class PoolReport:
    """The account of one kind of page in one tier.

    Attributes:
        kind: "full" or "window".
        page_bytes: bytes of a page.
        capacity: pages that fit; infinity is unlimited.
        computed: pages that were computed.
        loaded: pages that came from a slower tier.
        written: pages that were written from a faster tier.
        evicted: pages that went to make room.
        discarded: pages that went because nothing could use them any more.
        refused: pages that found no room, since those there were in use.
        peak: the most pages that were there at one time.
        resident: pages that are there at the end.
    """

    kind: str
    page_bytes: float
    capacity: float
    computed: int
    loaded: int
    written: int
    evicted: int
    discarded: int
    refused: int
    peak: int
    resident: int

    @property
    def peak_bytes(self) -> float:
        """The most bytes that were there at one time."""
        return self.peak * self.page_bytes

    def as_dict(self) -> dict[str, Any]:
        """Return everything under keys that say what is counted: pages."""
        counts = [f.name for f in dataclasses.fields(self) if f.name not in ("kind", "page_bytes")]
        return {"page_bytes": self.page_bytes, **{f"{name}_pages": getattr(self, name) for name in counts}}


@dataclass(frozen=True)
class TierReport:
    """One tier: what it held, and the tokens that were found there rather than in a faster tier.

    Attributes:
        name: of the tier.
        hit_tokens: input tokens found there.
        hit_rate: the same as a share of all input tokens.
        capacity_bytes: bytes that fit; infinity is unlimited.
        capacity_tokens: tokens whose full pages fit; infinity is unlimited.
        full: its full pages.
        window: its window pages; None for a model without windows.
        usd_per_million_tokens_hour: US dollars for keeping a million tokens there for an hour; None without a price.
        hit: the mean hit's prefix loaded from here, against computing it again; None without a hit.
    """

    name: str
    hit_tokens: int
    hit_rate: float
    capacity_bytes: float
    capacity_tokens: float
    full: PoolReport
    window: PoolReport | None
    usd_per_million_tokens_hour: float | None
    hit: HitCost | None

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the name, and what follows from the mean hit."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)[1:]}
        full, window, hit = (own.pop(name) for name in ("full", "window", "hit"))
        pools = {"full_pool": full.as_dict(), "window_pool": window and window.as_dict()}
        return {**own, **pools, "mean_hit": hit and _hit(hit)}


@dataclass(frozen=True)
class LinkReport:
    """The link between two tiers, in one direction.

    Attributes:
        name: from where to where, e.g. "DRAM to HBM".
        moved_bytes: bytes that crossed it.
        busy_s: seconds that this took.
        busy_share: the same as a share of the whole time; above 1 the link cannot keep up.
    """

    name: str
    moved_bytes: float
    busy_s: float
    busy_share: float

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the name."""
        return {"moved_bytes": self.moved_bytes, "busy_s": self.busy_s, "busy_share": self.busy_share}


@dataclass(frozen=True)
class Report:
    """The outcome of a replay.

    Rates are shares of input tokens (`token_hit_rate`) or of block references (`block_hit_rate`: the block was in some
    tier, usable or not). A reference is one block of one request's prompt.

    Attributes:
        model: key in the catalog.
        requests: requests served.
        references: block references.
        resident_references: block references whose block was in some tier.
        input_tokens: tokens of all prompts.
        output_tokens: tokens of all answers.
        hit_tokens: input tokens that were found and not computed.
        computed_tokens: input tokens that were computed.
        wholly_cached: requests whose whole prompt was found; their last token is computed all the same.
        oversize: requests with more pages than the first tier holds.
        uncached_pages: pages of such requests that were kept nowhere.
        lost_pages: pages that left the last tier that held them.
        recomputed_for_windows_tokens: input tokens that were found but computed, since no window behind them was kept.
        prefetch_given_up: pages below the second tier that a request did not wait for.
        compute_s: seconds that prefills computed.
        stall_s: seconds that they waited for loads, the waits for a prefetch among them.
        prefetch_wait_s: seconds that they waited for a prefetch.
        queue_s: seconds that requests waited for their turn, together.
        makespan_s: seconds from the first arrival to the last prefill's end.
        ttft: time to first token, from arrival.
        service: the same from the start of a request's turn, so without queueing.
        tiers: of each tier, fastest first.
        links: of each pair of neighbouring tiers, upwards and then downwards.
        multiplier: tokens that a byte of cache held, against every layer keeping every token; NaN if nothing was kept.
    """

    model: str
    requests: int
    references: int
    resident_references: int
    input_tokens: int
    output_tokens: int
    hit_tokens: int
    computed_tokens: int
    wholly_cached: int
    oversize: int
    uncached_pages: int
    lost_pages: int
    recomputed_for_windows_tokens: int
    prefetch_given_up: int
    compute_s: float
    stall_s: float
    prefetch_wait_s: float
    queue_s: float
    makespan_s: float
    ttft: Percentiles
    service: Percentiles
    tiers: tuple[TierReport, ...]
    links: tuple[LinkReport, ...]
    multiplier: float

    @property
    def token_hit_rate(self) -> float:
        """Input tokens that were not computed, as a share of all."""
        return self.hit_tokens / self.input_tokens if self.input_tokens else 0.0

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
        "peak": bytes_text(tier.full.peak_bytes + (tier.window.peak_bytes if tier.window else 0.0)),
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
