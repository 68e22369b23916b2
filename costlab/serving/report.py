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
from costlab.text import plain


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
    moved_bytes: float = 0.0  # bytes that crossed it, those of copies and failed tries among them
    busy_s: float = 0.0  # seconds with at least one transfer under way
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


@dataclass(frozen=True)
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

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types in base units."""
        found: dict[str, Any] = plain(dataclasses.asdict(self))
        return found
