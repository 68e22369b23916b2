"""What a served run was: who finished and who did not, how long users waited, how busy the pools were.

Every mean is a sum over a count. A run whose queue grows has no mean waiting time, and its report says so.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from costlab.serving.metrics import Distribution, Objective
from costlab.serving.stability import Stability
from costlab.text import Table, bytes_text, cell, digits_text, plain


@dataclass(frozen=True)
class Accounts:
    """Where every request that arrived is. Nobody is lost, and nobody is counted twice."""

    arrived: int  # requests that reached the service
    finished: int  # whose whole answer is there
    rejected: Mapping[str, int] = field(default_factory=dict)  # refused or given up by the service, by reason
    cancelled: int = 0  # whose user left
    expired: int = 0  # whose deadline passed
    queued: int = 0  # that wait for a step, before their first token or after a preemption
    running: int = 0  # in a worker's batch
    moving: int = 0  # whose cache is on its way to another worker

    @property
    def accounted(self) -> int:
        """How many requests are in any of the states."""
        ended = self.finished + sum(self.rejected.values()) + self.cancelled + self.expired
        return ended + self.queued + self.running + self.moving

    def require_balance(self) -> None:
        """Refuse accounts in which requests are lost or doubled.

        Raises:
            ValueError: quoting the accounts.
        """
        if self.arrived != self.accounted:
            raise ValueError(f"{self.arrived} requests arrived, but {self.accounted} are accounted for: {self}")


@dataclass(frozen=True)
class PoolUse:
    """What the workers of one pool did. Sums are over its workers."""

    name: str  # e.g. "prefill"
    workers: int  # how many
    chips: int = 0  # chips of all its workers; 0 where not known
    busy_s: float = 0.0  # seconds in steps, of all workers together
    steps: int = 0  # iterations
    prefill_tokens: int = 0  # prompt tokens computed, those of a recomputation among them
    cached_tokens: int = 0  # prompt tokens found in a prefix cache
    output_tokens: int = 0  # tokens emitted
    preemptions: int = 0  # sequences that lost their cache to make room
    kv_blocks: int = 0  # blocks of cache there are
    kv_peak_blocks: int = 0  # the most in use at one time, of the worker where that was largest a share
    kv_peak_share: float = 0.0  # the same as a share of that worker's blocks
    entered: int = 0  # requests that came into the pool
    left: int = 0  # requests that went out of it
    residence_s: float = 0.0  # seconds that those which left had spent there, together
    area_s: float = 0.0  # integral over time of how many were there, in request seconds

    def utilisation(self, span_s: float) -> float:
        """Return the share of `span_s` that a worker spends in steps, on average."""
        return self.busy_s / (self.workers * span_s) if self.workers and span_s > 0 else 0.0


@dataclass(frozen=True)
class LinkUse:
    """What one link carried."""

    name: str  # from where to where, e.g. "prefill to decode"
    transfers: int = 0  # that ended
    moved_bytes: float = 0.0  # bytes of pieces that arrived, those of copies and failed tries among them
    busy_s: float = 0.0  # seconds in which these crossed at full bandwidth; set-up is left out
    failed: int = 0  # transfers that did not arrive


@dataclass(frozen=True)
class RequestRecord:
    """One finished request, as it was measured."""

    arrival_s: float  # when it came
    first_s: float  # when its first token was emitted
    last_s: float  # when its last token was
    input_tokens: int  # length of its prompt
    output_tokens: int  # length of its answer
    worst_gap_s: float  # longest time between two of its tokens; NaN for one token
    kind: int = 0  # index of its class


@dataclass(frozen=True)
class ClassReport:
    """The requests of one class that finished and arrived after the warm-up."""

    name: str  # of the class
    requests: int  # finished
    input_tokens: int  # of their prompts
    output_tokens: int  # of their answers
    ttft: Distribution  # time to first token, s
    tpot: Distribution  # time per output token, s; of answers of two tokens and more
    worst_gap: Distribution  # each request's longest gap, s
    latency: Distribution  # arrival to last token, s
    judged: int = 0  # requests held against the objective: finished, rejected or expired
    met: int = 0  # requests that met it

    @property
    def attainment(self) -> float:
        """Share of the judged requests that met the objective; NaN where there are none."""
        return self.met / self.judged if self.judged else math.nan


@dataclass(frozen=True, repr=False)
class ServingReport:
    """The outcome of a run. Times are in seconds from the trace's beginning.

    Distributions are over requests that finished and arrived after the warm-up; gaps are over all steps that ended
    after it. A rejected or expired request misses every objective; one whose user left is not judged.
    """

    layout: str  # what served, in words
    accounts: Accounts  # where all requests are
    start_s: float  # first arrival
    last_arrival_s: float  # last arrival
    end_s: float  # last event
    warm_up_s: float  # seconds after the first arrival whose arrivals are left out
    overall: ClassReport  # all classes together
    gaps: Distribution  # times between neighbouring tokens of a sequence, s
    latency_sum_s: float  # seconds from arrival to last token, of all that finished
    area_s: float  # integral over time of how many requests were in the system, in request seconds
    stability: Stability  # whether the queue grew
    objective: Objective  # what requests were held against
    classes: tuple[ClassReport, ...] = ()  # each class, where there are several
    pools: tuple[PoolUse, ...] = ()  # of the layout
    links: tuple[LinkUse, ...] = ()  # between its pools
    failures: Mapping[str, int] = field(default_factory=dict)  # what users saw go wrong, by what they saw
    total_output_tokens: int = 0  # emitted, warm-up and unfinished answers included, none twice
    records: tuple[RequestRecord, ...] | None = None  # every finished request, where asked for

    @property
    def span_s(self) -> float:
        """Seconds from the first arrival to the last event."""
        return self.end_s - self.start_s

    @property
    def output_tokens_per_s(self) -> float:
        """Emitted tokens over the whole span; 0 for a run without duration."""
        return self.total_output_tokens / self.span_s if self.span_s > 0 else 0.0

    @property
    def goodput_per_s(self) -> float:
        """Requests a second, of those that arrived after the warm-up, that met the objective."""
        measured_s = self.last_arrival_s - self.start_s - self.warm_up_s
        return self.overall.met / measured_s if measured_s > 0 else math.nan

    @property
    def mean_in_system(self) -> float:
        """How many requests were in the system, on average over the span."""
        return self.area_s / self.span_s if self.span_s > 0 else 0.0

    @property
    def meets_objective(self) -> bool:
        """Whether enough of the judged requests met the objective, and the run kept up."""
        return not self.stability.growing and self.overall.attainment >= self.objective.share

    # --- for people --------------------------------------------------------------------------------------------

    def times(self) -> Table:
        """Return how long users waited: mean and percentiles of TTFT, TPOT, gaps, worst gap and latency."""
        spreads = {
            "time to first token": self.overall.ttft,
            "time per output token": self.overall.tpot,
            "gap between tokens": self.gaps,
            "a request's worst gap": self.overall.worst_gap,
            "arrival to last token": self.overall.latency,
        }
        return Table([self._time_row(what, spread) for what, spread in spreads.items()], caption=self._set())

    def _time_row(self, what: str, spread: Distribution) -> dict[str, Any]:
        mean = math.nan if self.stability.growing else spread.mean
        shown = {"mean": mean, **{name: getattr(spread, key) for name, key in _SHOWN.items()}}
        return {
            "seconds": what,
            **{head: None if value is None else digits_text(value) for head, value in shown.items()},
        }

    def _set(self) -> str:
        after = f" and arrived after the first {self.warm_up_s:g} s" if self.warm_up_s else ""
        return f"Seconds, over the {self.overall.requests:,} requests that finished{after}"

    def by_class(self) -> Table:
        """Return each class's requests, tokens, percentiles and share that met the objective; all together last."""
        return Table([_class_row(each) for each in (*self.classes, self.overall)])

    def by_pool(self) -> Table | None:
        """Return what each pool did; None where no pools were told of."""
        return Table([self._pool_row(pool) for pool in self.pools]) if self.pools else None

    def _pool_row(self, pool: PoolUse) -> dict[str, Any]:
        return {
            "pool": pool.name,
            "workers": pool.workers,
            "busy": f"{pool.utilisation(self.span_s):.0%}",
            "steps": pool.steps,
            "prefill tokens": pool.prefill_tokens,
            "from cache": pool.cached_tokens,
            "output tokens": pool.output_tokens,
            "preemptions": pool.preemptions,
            "KV peak": f"{pool.kv_peak_share:.0%}" if pool.kv_blocks else None,
        }

    def by_link(self) -> Table | None:
        """Return what each link carried; None where there are none."""
        rows = [
            {
                "link": link.name,
                "transfers": link.transfers,
                "moved": bytes_text(link.moved_bytes),
                "busy": f"{link.busy_s / self.span_s:.0%}" if self.span_s > 0 else None,
                "failed": link.failed,
            }
            for link in self.links
        ]
        return Table(rows) if rows else None

    def sentences(self) -> list[str]:
        """Return what became of the requests, how much was served, and what a reader should know, a sentence each."""
        accounts = self.accounts
        ends = {
            "finished": accounts.finished,
            **{f"rejected ({reason})": number for reason, number in accounts.rejected.items()},
            **{name: getattr(accounts, name) for name in ("cancelled", "expired", "queued", "running", "moving")},
        }
        of_all = ", ".join(f"{number:,} {what}" for what, number in ends.items() if number or what == "finished")
        found = [
            f"{accounts.arrived:,} request{'s' * (accounts.arrived != 1)} arrived: {of_all}",
            f"{self.output_tokens_per_s:,.0f} output tokens/s over {self.span_s:,.4g} s; "
            f"{cell(self.mean_in_system)} requests in the system on average",
            *([self._goodput()] if self._asks() else []),
            *([self._missed()] if self._asks() and self.overall.judged and not self.overall.met else []),
            *(f"{number:,} users saw: {what}" for what, number in self.failures.items() if number),
            self.stability.sentence(),
        ]
        return [sentence for sentence in found if sentence]

    def _asks(self) -> bool:
        return any(math.isfinite(limit) for limit in self._limits().values())

    def _limits(self) -> dict[str, float]:
        objective = self.objective
        return {"TTFT": objective.ttft_s, "TPOT": objective.tpot_s, "worst gap": objective.worst_gap_s}

    def _goodput(self) -> str:
        asked = ", ".join(f"{name} {digits_text(v)} s" for name, v in self._limits().items() if math.isfinite(v))
        if not self.overall.judged:
            return f"no request that arrived after the warm-up came to its end, to be held against {asked}"
        rate = self.goodput_per_s
        return (
            f"{self.overall.attainment:.1%} of {self.overall.judged:,} requests met {asked} (asked: "
            f"{self.objective.share:.0%})" + ("" if math.isnan(rate) else f"; goodput {rate:.3g} requests/s")
        )

    def _missed(self) -> str:
        """Say what kept every request from meeting the objective."""
        spreads = {"TTFT": self.overall.ttft, "TPOT": self.overall.tpot, "worst gap": self.overall.worst_gap}
        beyond = [
            f"the shortest {name} is {digits_text(spreads[name].least)} s"
            for name, limit in self._limits().items()
            if spreads[name].least > limit
        ]
        return f"no request met the objective: {', '.join(beyond) or 'each missed a part of it'}"

    def __repr__(self) -> str:
        tables = [self.times(), *([self.by_class()] if self.classes else []), self.by_pool(), self.by_link()]
        return "\n".join([self.layout, *self.sentences(), *(repr(table) for table in tables if table)])

    # --- for programs ------------------------------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types in base units; what is unknown, infinite or without sense is None."""
        growing, accounts = self.stability.growing, self.accounts
        counts = ("arrived", "finished", "cancelled", "expired", "queued", "running", "moving")
        found: dict[str, Any] = plain(
            {
                "layout": self.layout,
                **{f"{name}_requests": getattr(accounts, name) for name in counts},
                "rejected_requests": sum(accounts.rejected.values()),
                "rejected": [{"reason": why, "requests": number} for why, number in accounts.rejected.items()],
                **{name: getattr(self, name) for name in _TIMES},
                **_class_dict(self.overall, growing),
                "gap": _spread_dict(self.gaps, growing),
                "goodput_per_second": self.goodput_per_s,
                "meets_objective": self.meets_objective,
                "total_output_tokens": self.total_output_tokens,
                "tokens_per_s": self.output_tokens_per_s,
                "mean_in_system": None if growing else self.mean_in_system,
                "verdict": self.stability.verdict,
                "growing": self.stability.what or None,
                "growth_per_second": self.stability.growth_per_s,
                "growth_share": self.stability.share,
                "failures": [{"seen": seen, "requests": number} for seen, number in self.failures.items()],
                "classes": [{"name": each.name, **_class_dict(each, growing)} for each in self.classes],
                "pools": [self._pool_dict(pool) for pool in self.pools],
                "links": {link.name: self._link_dict(link) for link in self.links},
            }
        )
        return found

    def _pool_dict(self, pool: PoolUse) -> dict[str, Any]:
        return {**dataclasses.asdict(pool), "busy_share": pool.utilisation(self.span_s)}

    def _link_dict(self, link: LinkUse) -> dict[str, Any]:
        fields = {key: value for key, value in dataclasses.asdict(link).items() if key != "name"}
        return {**fields, "busy_share": link.busy_s / self.span_s if self.span_s > 0 else 0.0}


#: Heads of the percentiles and the fields that they show.
_SHOWN: Mapping[str, str] = {
    "p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99", "p99.9": "p999", "longest": "most"
}  # fmt: skip
_TIMES = ("start_s", "last_arrival_s", "end_s", "span_s", "warm_up_s")


def _class_row(each: ClassReport) -> dict[str, Any]:
    return {
        "class": each.name,
        "requests": each.requests,
        "input tokens": each.input_tokens,
        "output tokens": each.output_tokens,
        "TTFT p50 (s)": digits_text(each.ttft.p50),
        "p99 (s)": digits_text(each.ttft.p99),
        "TPOT p50 (s)": digits_text(each.tpot.p50),
        "TPOT p99 (s)": digits_text(each.tpot.p99),
        "met": "–" if math.isnan(each.attainment) else f"{each.attainment:.1%}",
    }


def _class_dict(each: ClassReport, growing: bool) -> dict[str, Any]:
    counts = {"measured_requests": each.requests}
    counts |= {name: getattr(each, name) for name in ("input_tokens", "output_tokens")}
    spreads = {name: _spread_dict(getattr(each, name), growing) for name in ("ttft", "tpot", "worst_gap", "latency")}
    judged = {"judged_requests": each.judged, "met_requests": each.met, "met_share": each.attainment}
    return {**counts, **judged, **spreads}


def _spread_dict(spread: Distribution, growing: bool) -> dict[str, Any]:
    found = {"mean_s": math.nan if growing else spread.mean}
    found |= {f"{key}_s": getattr(spread, key) for key in ("p50", "p90", "p95", "p99", "p999")}
    return {**found, "longest_s": spread.most, "error_share": spread.relative_error}
