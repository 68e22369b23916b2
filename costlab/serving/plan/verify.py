"""Every plan that is shown is simulated first: at its peak, with a worker lost, with step times not known well.

The closed form proposes; the simulator decides. Its workers have the memory that is left beside the weights and the
reserve, so what runs fits. A proposal that fails gets a tenth more workers in the pool that falls short, a few times,
and is refused with its reason if that does not help; the cheapest that passes is tried with fewer. What passes is
weighed by cost, TTFT and TPOT as they were simulated, and only the front is returned, with three more answers for each
plan: the share of requests that meet the objective at the mean load when one worker of a pool is gone; the chance that
the objective is met at the peak when all step times are longer or shorter by a common factor, drawn evenly from +-20%,
over a stated number of seeded runs; and what it costs.

Chapter: serving
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from costlab.checks import count
from costlab.serving.metrics import Objective, quantile, tpot_s, ttft_s
from costlab.serving.plan.candidates import Candidate, Figures, PlannedPool, Reason, Refused
from costlab.serving.plan.estimate import closed_form
from costlab.serving.plan.money import Money, price
from costlab.serving.plan.pareto import front
from costlab.serving.plan.running import layout_of
from costlab.serving.plan.searching import search
from costlab.serving.plan.space import Space
from costlab.serving.plan.workload import Demand
from costlab.serving.recorder import Recorder
from costlab.serving.report import ServingReport
from costlab.serving.simulation import simulate
from costlab.sweep import sweep

#: Candidates that are simulated at most, failed and enlarged ones included.
MOST_SIMULATED = 16
#: Times that a failed candidate gets workers added.
MOST_REPAIRS = 3
#: Step times are uncertain by so much, either way.
SPREAD = 0.2
#: Requests of a simulation: at least, and at most.
LEAST_REQUESTS, MOST_REQUESTS = 1000, 20_000


@dataclass(frozen=True)
class SimulatedPlan:
    """A plan that was simulated and met the objective."""

    candidate: Candidate  # what it is, with its closed form
    simulated: Figures  # the same figures, simulated at the peak load
    requests: int  # that were simulated
    short: bool  # whether that was too short to tell if a queue grows
    one_lost: Mapping[str, float]  # share that meets the objective at the mean load with a worker gone, by pool
    runs: int  # seeded runs with uncertain step times
    met_runs: int  # of them, those that met the objective
    money: Money | None  # what it costs; None where a chip's rent is not known

    @property
    def chance(self) -> float:
        """Share of the runs with uncertain step times that met the objective; NaN where there were none."""
        return self.met_runs / self.runs if self.runs else math.nan


@dataclass(frozen=True)
class Planning:
    """What came of planning."""

    plans: tuple[SimulatedPlan, ...]  # the front of cost, TTFT and TPOT, cheapest first
    refused: tuple[Refused, ...]  # what cannot serve, or failed when it was simulated, and why
    beaten: tuple[str, ...]  # what can serve, but another plan is better in everything
    simulated: int  # candidates that were simulated
    infeasible: Reason | None = None  # why nothing can serve, if no number of workers helps


@dataclass(frozen=True)
class _Trial:
    """A simulation to run."""

    candidate: Candidate
    seed: int
    factor: float = 1.0  # on all step times
    lost: str = ""  # name of the pool that has a worker less
    peak: bool = True  # whether the load is the peak's
    requests: int = 0  # 0: as many as make a steady run


class _Tried(NamedTuple):
    """What came of it."""

    figures: Figures
    reason: Reason | None  # why the objective was missed
    requests: int  # that were simulated
    short: bool  # whether the run was too short to tell if a queue grows


@dataclass(frozen=True)
class _Trials:
    """Runs simulations; it can be sent to another process."""

    space: Space
    demand: Demand
    objective: Objective

    def __call__(self, trial: _Trial) -> _Tried:
        """Run a simulation."""
        load = self.demand if trial.peak else dataclasses.replace(self.demand, peak_factor=1.0)
        latency_s = self._latency_s(trial.candidate)
        number = trial.requests or self._number(load, latency_s)
        warm_up_s = min(2 * latency_s, 0.25 * number / load.peak_per_s)
        recorder = Recorder(self.objective, warm_up_s, records=True)
        layout = layout_of(trial.candidate, self.space, load, trial.factor, trial.lost)
        requests = load.requests(number, np.random.default_rng(trial.seed))
        report = simulate(requests, layout, recorder=recorder, seed=trial.seed)
        short = report.stability.verdict == "too short"
        figures = _figures(report, self.objective)
        return _Tried(figures, self._reason(report, figures), number, short)

    def _latency_s(self, candidate: Candidate) -> float:
        longest = max(mix.decoded_tokens for mix in self.demand.mixes)
        return min(candidate.closed.ttft_s, 1e3) + (longest * candidate.closed.tpot_s if longest else 0.0)

    def _number(self, load: Demand, latency_s: float) -> int:
        """Requests of a run ten times as long as its longest answer."""
        return max(LEAST_REQUESTS, min(MOST_REQUESTS, round(10 * latency_s * load.peak_per_s)))

    def _reason(self, report: ServingReport, figures: Figures) -> Reason | None:
        """Why a run missed the objective, or did not fit."""
        goal = self.objective
        if report.accounts.rejected:
            reasons = ", ".join(f"{n} {reason}" for reason, n in report.accounts.rejected.items())
            return Reason("memory", f"simulated: requests rejected: {reasons}")
        if report.stability.growing:
            return Reason(
                "TPOT" if report.stability.what == "batch" else "TTFT", f"simulated: {report.stability.sentence()}"
            )
        if figures.met >= goal.share:
            return None
        if math.isnan(figures.met):
            return Reason("load", "simulated: no request came after the warm-up, to be held against the objective")
        late = not figures.tpot_s / goal.tpot_s > figures.ttft_s / goal.ttft_s
        met = f"simulated: {figures.met:.1%} of requests meet the objective, {goal.share:.0%} should"
        if late:
            return Reason("TTFT", f"{met}: TTFT {figures.ttft_s:.3g} s against {goal.ttft_s:.3g} s")
        return Reason("TPOT", f"{met}: TPOT {figures.tpot_s * 1e3:.3g} ms against {goal.tpot_s * 1e3:.3g} ms")


def _figures(report: ServingReport, objective: Objective) -> Figures:
    """The figures of a plan, of what a run measured."""
    begun = report.start_s + report.warm_up_s
    records = [each for each in report.records or () if each.arrival_s >= begun]
    first = [ttft_s(each.arrival_s, each.first_s) for each in records]
    token = [tpot_s(each.first_s, each.last_s, each.output_tokens) for each in records if each.output_tokens > 1]
    span_s = max(report.last_arrival_s - begun, 1e-9)
    reading = [pool for pool in report.pools if pool.name == "prefill"]
    return Figures(
        ttft_s=quantile(first, objective.share),
        tpot_s=quantile(token, objective.share),
        met=report.overall.attainment,
        running=sum(each.last_s - each.first_s for each in records) / span_s,
        prefill_busy=reading[0].utilisation(report.span_s) if reading else math.nan,
        decode_busy=math.nan,  # a batch has no limit that the report knows of
        kv_peak=max((pool.kv_peak_share for pool in report.pools), default=math.nan),
    )


# --- planning ----------------------------------------------------------------------------------------------------


def plan_serving(
    space: Space,
    demand: Demand,
    objective: Objective,
    *,
    most_simulated: int = MOST_SIMULATED,
    requests: int = 0,
    runs: int = 8,
    seed: int = 0,
    jobs: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int], object] | None = None,
) -> Planning:
    """Search, simulate, and return the plans that meet an objective and that none beats.

    Args:
        space: what to look through.
        demand: the offered load.
        objective: TTFT, TPOT, and the share of requests that should meet both.
        most_simulated: candidates that are simulated at most.
        requests: of a simulation; 0: as many as arrive in ten times the longest answer, 1,000 to 20,000.
        runs: with uncertain step times, of each plan that is returned; half as long as the one without.
        seed: of all that is drawn.
        jobs: processes; -1 is one per core.
        scheduler: address of a Dask scheduler; None stays on this machine.
        progress: called with 1 after each simulation.

    Raises:
        ValueError: an unknown model or chip; a count out of range; no such scheduler.
    """
    for value, what in ((most_simulated, "most_simulated"), (requests + 1, "requests + 1"), (runs + 1, "runs + 1")):
        count(value, what)
    found = search(space, demand, objective)
    trials = _Trials(space, demand, objective)

    def run(points: Sequence[_Trial]) -> list[_Tried]:
        outcomes = sweep(trials, points, jobs=jobs, scheduler=scheduler, progress=progress)
        for outcome in outcomes:
            if outcome.result is None:
                raise ValueError(f"{outcome.point.candidate.name}: {outcome.error}")
        return [outcome.result for outcome in outcomes if outcome.result is not None]

    passed, refused, done = _try_all(found.candidates, run, trials, seed, most_simulated, requests)
    best = front(passed, _costs)
    plans = _assessed(best, run, space, demand, seed, requests, runs)
    beaten = tuple(each[0].name for each in passed if each not in best)
    return Planning(tuple(plans), (*found.refused, *refused), beaten, done, found.infeasible)


_Passed = tuple[Candidate, _Tried]
_Run = Callable[[Sequence[_Trial]], list[_Tried]]


def _costs(passed: _Passed) -> tuple[float, float, float]:
    """What plans are weighed by; answers of one token have no TPOT, which counts as 0."""
    candidate, tried = passed
    return candidate.usd_per_hour, *_times(tried.figures)


def _times(figures: Figures) -> tuple[float, float]:
    return figures.ttft_s, 0.0 if math.isnan(figures.tpot_s) else figures.tpot_s


def _try_all(
    candidates: Sequence[Candidate], run: _Run, trials: _Trials, seed: int, most: int, requests: int
) -> tuple[list[_Passed], list[Refused], int]:
    """Simulate a short list, enlarge what fails, and return what passed, what did not, and how many were simulated."""
    waiting = [(candidate, 0) for candidate in _shortlist(candidates, most)]
    passed: list[_Passed] = []
    refused: list[Refused] = []
    done = 0
    while waiting and done < most:
        batch, waiting = waiting[: most - done], waiting[most - done :]
        done += len(batch)
        results = run([_Trial(candidate, seed, requests=requests) for candidate, _ in batch])
        for (candidate, repairs), tried in zip(batch, results, strict=True):
            if tried.reason is None:
                passed.append((candidate, tried))
                cheapest = min(_costs(each)[0] for each in passed)
                if repairs <= 0 and candidate.usd_per_hour <= cheapest:  # the closed form may have asked for too many
                    waiting += [(smaller, -1) for smaller in _trimmed(candidate, trials)]
                continue
            larger = _enlarged(candidate, tried.reason, trials) if 0 <= repairs < MOST_REPAIRS else None
            if larger is None or done >= most:
                refused.append(Refused(candidate.name, tried.reason, candidate.usd_per_hour))
            else:
                waiting.append((larger, repairs + 1))
    passed.sort(key=_costs)
    return passed, refused, done


def _shortlist(candidates: Sequence[Candidate], most: int) -> list[Candidate]:
    """The closed form's front of cost, TTFT and TPOT, and the cheapest of each layout: half of `most`."""
    cheapest: dict[str, Candidate] = {}
    for candidate in candidates:
        cheapest.setdefault(candidate.layout, candidate)
    best = front(candidates, lambda each: (each.usd_per_hour, *_times(each.closed)))
    return list(dict.fromkeys([*cheapest.values(), *best]))[: max(1, most // 2)]


def _enlarged(candidate: Candidate, reason: Reason, trials: _Trials) -> Candidate | None:
    """The same with a tenth more workers, at least one, where it falls short; None if there are no chips for them."""
    if candidate.prefill and reason.constraint == "TTFT":
        prefill = tuple(_more(pool) for pool in candidate.prefill)
        larger = dataclasses.replace(candidate, prefill=prefill)
    else:
        larger = dataclasses.replace(candidate, decode=_more(candidate.decode))
    most = trials.space.most_chips
    return None if most is not None and larger.chips > most else _resized(larger, trials)


def _trimmed(candidate: Candidate, trials: _Trials) -> list[Candidate]:
    """The same with a tenth fewer workers, at least one, in one of its pools, where work for less than all is left."""
    found = []
    for i, pool in enumerate(candidate.pools):
        fewer = _more(pool, -1)
        if 0 < fewer.workers < pool.workers and fewer.busy < 1:
            pools = [*candidate.pools[:i], fewer, *candidate.pools[i + 1 :]]
            found.append(dataclasses.replace(candidate, prefill=tuple(pools[:-1]), decode=pools[-1]))
    return [_resized(each, trials) for each in found]


def _resized(candidate: Candidate, trials: _Trials) -> Candidate:
    """The same with the cost and the closed form of its workers as they are now."""
    usd = trials.space.usd_per_hour(candidate.pools)
    closed = closed_form(candidate, trials.space, trials.demand, trials.objective)
    return dataclasses.replace(candidate, usd_per_hour=usd, closed=closed)


def _more(pool: PlannedPool, sign: int = 1) -> PlannedPool:
    workers = pool.workers + sign * max(1, pool.workers // 10)
    return dataclasses.replace(pool, workers=workers, busy=pool.busy * pool.workers / workers if workers else math.inf)


def _assessed(
    passed: Sequence[_Passed], run: _Run, space: Space, demand: Demand, seed: int, requests: int, runs: int
) -> list[SimulatedPlan]:
    """Add to each plan what a lost worker and uncertain step times do, and what it costs."""
    rng = np.random.default_rng(seed)
    factors = (1 + SPREAD * (2 * rng.random(runs) - 1)).tolist()
    points: list[_Trial] = []
    for candidate, tried in passed:
        names = dict.fromkeys(pool.name for pool in candidate.pools)
        points += [
            _Trial(candidate, seed, lost=name, peak=False, requests=requests)
            for name in names
            if _spare(candidate, name)
        ]
        half = requests or max(LEAST_REQUESTS, tried.requests) // 2
        points += [_Trial(candidate, seed + 1 + i, factor, requests=half) for i, factor in enumerate(factors)]
    results = dict(zip(points, run(points), strict=True)) if points else {}
    plans = []
    for candidate, tried in passed:
        mine = [point for point in points if point.candidate is candidate]
        lost = {pool.name: 0.0 for pool in candidate.pools}
        lost |= {point.lost: results[point].figures.met for point in mine if point.lost}
        met = sum(results[point].reason is None for point in mine if not point.lost)
        known = all(pool.worker.chip in space.rents for pool in candidate.pools)
        money = price(candidate, demand, space.rents, tried.figures.running) if known else None
        plans.append(SimulatedPlan(candidate, tried.figures, tried.requests, tried.short, lost, runs, met, money))
    return plans


def _spare(candidate: Candidate, name: str) -> bool:
    """Whether a pool serves on without one of its workers."""
    return all(pool.workers > 1 for pool in candidate.pools if pool.name == name)
