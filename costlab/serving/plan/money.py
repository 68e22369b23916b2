"""What a plan costs: a month, and a million tokens of each class, at the load that is served on average.

Chips are rented whether they work or not, so a token bears the idle time too: the price of a token is the rent of the
pools that make it over the tokens that come on average, not at the peak. A pool that does several things is shared out
by the seconds that each would take alone: uncached prompt tokens, cached ones (queries attend to them) and answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from costlab.serving.plan.candidates import Candidate, PlannedPool
from costlab.serving.plan.pools import Prompts
from costlab.serving.plan.workers import WorkerKind
from costlab.serving.plan.workload import Demand, Mix

#: Hours of a month: a twelfth of 365 days.
HOURS_PER_MONTH = 730


@dataclass(frozen=True)
class Money:
    """The rent of a plan and what its tokens cost, in the currency of the rents (USD)."""

    usd_per_hour: float  # all chips
    usd_per_month: float  # the same for 730 hours
    miss_usd_per_million: float  # uncached input tokens; NaN where there are none
    hit_usd_per_million: float  # cached input tokens; NaN where there are none
    output_usd_per_million: float  # output tokens
    mean_tokens_per_s: float  # input and output tokens that are served on average
    utilisation: float  # of the capacity that is paid for, at the mean load: the pools' busy shares weighted by rent

    @property
    def usd_per_million(self) -> float:
        """All rent over all tokens, of all classes."""
        return self.usd_per_hour / 3600 / self.mean_tokens_per_s * 1e6


def price(candidate: Candidate, demand: Demand, rents: Mapping[str, float], running: float | None = None) -> Money:
    """Return what a plan costs at its mean load.

    Args:
        candidate: the plan.
        demand: the load that it was made for; the mean rate counts here.
        rents: USD per chip-hour, by chip.
        running: mean sequences that decode, on all workers together; None: as many as by the closed form.

    Raises:
        ValueError: a chip without rent.
    """
    tokens_s = {
        "miss": demand.rate_per_s * demand.mean(lambda mix: mix.new_tokens),
        "hit": demand.rate_per_s * demand.mean(lambda mix: mix.cached_tokens),
        "output": demand.rate_per_s * demand.mean(lambda mix: mix.output_tokens),
    }
    usd_s = dict.fromkeys(tokens_s, 0.0)
    used = 0.0
    for pool in candidate.pools:
        if pool.worker.chip not in rents:
            raise ValueError(f"no rent of {pool.worker.chip} is known")
        rent_s = pool.chips * rents[pool.worker.chip] / 3600
        used += rent_s * pool.busy / demand.peak_factor
        at_once = candidate.closed.running if running is None else running
        for name, share in _shares(candidate, pool, demand, at_once).items():
            usd_s[name] += rent_s * share
    total_s = sum(usd_s.values())
    each = {name: usd_s[name] / rate * 1e6 if rate else math.nan for name, rate in tokens_s.items()}
    return Money(
        usd_per_hour=total_s * 3600,
        usd_per_month=total_s * 3600 * HOURS_PER_MONTH,
        miss_usd_per_million=each["miss"],
        hit_usd_per_million=each["hit"],
        output_usd_per_million=each["output"],
        mean_tokens_per_s=sum(tokens_s.values()),
        utilisation=used / total_s if total_s else 0.0,
    )


def _shares(candidate: Candidate, pool: PlannedPool, demand: Demand, running: float) -> Mapping[str, float]:
    """Which share of a pool's rent each class of tokens bears."""
    seconds = dict.fromkeys(("miss", "hit", "output"), 0.0)
    decodes = pool is candidate.decode
    if decodes:
        seconds["output"] = _decode_s(pool.worker, running / pool.workers / pool.worker.ranks, demand)
    reads = demand if not candidate.prefill else demand.where(0, candidate.threshold_tokens or 0)
    part = reads if decodes else demand.where(pool.least_tokens, pool.most_tokens)
    if part is not None:
        weight = part.rate_per_s / demand.rate_per_s
        for mix, read_s in zip(part.mixes, Prompts(pool.worker, part).alone_s, strict=True):
            fresh_s = _without_prefix_s(pool.worker, mix, read_s)
            seconds["miss"] += weight * mix.share * fresh_s
            seconds["hit"] += weight * mix.share * (read_s - fresh_s)
    total = sum(seconds.values())
    if not total:  # a pool that decodes answers of one token, which prefill emits
        return {"miss": 0.0, "hit": 0.0, "output": 1.0}
    return {name: each / total for name, each in seconds.items()}


def _without_prefix_s(worker: WorkerKind, mix: Mix, read_s: float) -> float:
    """Seconds of the same new tokens behind an empty prefix; no longer than with it."""
    if not mix.cached_tokens:
        return read_s
    bare = Mix(mix.new_tokens, mix.output_tokens, 1.0)
    return min(read_s, Prompts(worker, Demand(1.0, (bare,))).alone_s[0])


def _decode_s(worker: WorkerKind, running: float, demand: Demand) -> float:
    """Seconds of a rank that a request's decode steps take, shared with those that run beside it."""
    steps = demand.mean(lambda mix: mix.decoded_tokens)
    context = demand.mean(lambda mix: mix.decoded_tokens * (mix.input_tokens + mix.output_tokens / 2))
    if not steps or running <= 0:
        return 0.0
    return steps * worker.step_s(running, context / steps) / running
