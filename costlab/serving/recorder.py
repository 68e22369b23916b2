"""What a simulation or an engine writes down while it runs, a microsecond a request, and the report made of it.

Chapter: serving
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from costlab.arrays import Bools, Floats
from costlab.checks import count
from costlab.serving.lines import seconds_of, steps_before
from costlab.serving.metrics import Histogram, Objective
from costlab.serving.report import (
    Accounts,
    ClassReport,
    LinkUse,
    PoolUse,
    RequestRecord,
    ServingReport,
)
from costlab.serving.stability import SETTLED, Levels
from costlab.traces import Request


@dataclass(frozen=True)
class Classes:
    """How requests are told apart.

    Raises:
        ValueError: no names, or one twice.
    """

    names: tuple[str, ...]  # of the classes
    index: Callable[[Request], int]  # which one a request belongs to

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"classes {self.names} should be one name or more, all different")

    @classmethod
    def by_prompt(cls, *upto: int) -> Classes:
        """Return classes of prompts of at most so many tokens each, and one of all that are longer.

        Raises:
            ValueError: limits that do not rise.
        """
        limits = [count(limit, "limit of a class") for limit in upto]
        if any(b <= a for a, b in itertools.pairwise(limits)) or not limits:
            raise ValueError(f"limits of classes {upto} should be one or more, rising")
        names = (*(f"up to {limit:,}" for limit in limits), f"above {limits[-1]:,}")
        return cls(names, lambda request: bisect_left(limits, request.input_tokens))


#: A request that is not at its end: when it arrived, and when its first token came (None where it has not).
Unfinished = tuple[float, float | None]

_FIELDS = 7  # of a finished request: those of `RequestRecord`
_PENDING = 4096  # finished requests that wait to be counted together


class Recorder:
    """Counts what happens to requests; memory does not grow with their number unless records are asked for.

    A simulator calls `arrive` once a request, then exactly one of `finish` and `leave`, and `gaps` for each step or
    stretch of equal or evenly rising steps. Times may come in any order, but the first arrival comes first.

    Args:
        objective: what requests are held against; None asks nothing of them.
        warm_up_s: seconds after the first arrival whose arrivals, and whose gaps, are left out of distributions.
        classes: how requests are told apart, or None.
        records: whether to keep each finished request, 7 numbers each.
        relative_error: of percentiles beyond `Histogram`'s exact ones.

    Raises:
        ValueError: a warm-up that is negative or endless, or an error outside 0 to 1.
    """

    def __init__(
        self,
        objective: Objective | None = None,
        warm_up_s: float = 0.0,
        classes: Classes | None = None,
        records: bool = False,
        relative_error: float = 0.005,
    ) -> None:
        if not 0 <= warm_up_s < math.inf:
            raise ValueError(f"warm_up_s = {warm_up_s} should be a number of seconds of at least 0")
        self.objective, self.warm_up_s, self.classes = objective or Objective(), warm_up_s, classes
        self.arrived = 0
        self.start_s = self.last_arrival_s = math.nan
        self.rejected: Counter[str] = Counter()
        self.cancelled = self.expired = 0
        self.gap_histogram = Histogram(relative_error)
        #: What `gaps` was given and is not counted yet, flat; whoever has much to count may add to it.
        self.gap_runs: list[float] = []
        self._measure_from_s = math.nan
        self._tallies = [_Tally(name, relative_error) for name in (classes.names if classes else ())]
        self._whole = _Tally("all", relative_error)
        self._rows: list[float] = []  # flat, `_FIELDS` a request
        self._kept: list[Floats] | None = [] if records else None
        self._levels = Levels()
        self._gone: list[float] = []  # flat: arrival, first token, end, of requests without an answer
        self._answering = Histogram(relative_error)  # first to last token, s
        self.finished, self.latency_sum_s, self._tokens = 0, 0.0, 0

    # --- what happens ------------------------------------------------------------------------------------------

    def arrive(self, time_s: float) -> None:
        """Count a request that reaches the service; the first comes first."""
        if not self.arrived:
            self.start_s = time_s
            self._measure_from_s = time_s + self.warm_up_s
        self.arrived += 1
        self.last_arrival_s = time_s

    def finish(
        self,
        arrival_s: float,
        first_s: float,
        last_s: float,
        input_tokens: int,
        output_tokens: int,
        worst_gap_s: float = math.nan,
        kind: int = 0,
    ) -> None:
        """Count a request whose last token is there.

        Args:
            arrival_s: when it came.
            first_s: when prefill emitted its first token; a preemption does not move it.
            last_s: when its last token came.
            input_tokens: length of its prompt.
            output_tokens: length of its answer, at least 1.
            worst_gap_s: longest time between two of its tokens; NaN for one token.
            kind: index of its class.
        """
        self._rows += (arrival_s, first_s, last_s, input_tokens, output_tokens, worst_gap_s, kind)
        if len(self._rows) >= _FIELDS * _PENDING:
            self._count()
        if len(self.gap_runs) >= 5 * _PENDING:
            self._count_gaps()

    def gaps(self, sequences: int, first_s: float, last_s: float, steps: int, end_s: float) -> None:
        """Count the gaps of `sequences` sequences over `steps` steps, evenly rising from `first_s` to `last_s`.

        Args:
            sequences: how many saw these steps.
            first_s: how long the first step took.
            last_s: how long the last one took; the same for steps of equal length.
            steps: how many.
            end_s: when the last one ended; gaps that end before the warm-up are left out.
        """
        self.gap_runs += (sequences, first_s, last_s, steps, end_s)

    def _warm(self, first_s: float, last_s: float, steps: int, end_s: float) -> tuple[float, int]:
        """Return how long the first step that ended after the warm-up took, and how many there are from it on."""
        rise_s = (last_s - first_s) / (steps - 1)
        cold_s = self._measure_from_s - (end_s - seconds_of(steps, first_s, rise_s))
        cold = steps_before(cold_s, steps - 1, first_s, rise_s)
        return first_s + cold * rise_s, steps - cold

    def gap(self, seconds: float, end_s: float) -> None:
        """Count one gap of one sequence, such as one with a preemption or a transfer in it."""
        if end_s >= self._measure_from_s:
            self.gap_histogram.add(seconds)

    def reject(
        self, reason: str, arrival_s: float, time_s: float, first_s: float | None = None, tokens: int = 0, kind: int = 0
    ) -> None:
        """Count a request that the service refuses or gives up.

        Args:
            reason: in words, e.g. "larger than memory" or "worker lost".
            arrival_s: when it came.
            time_s: when it was given up.
            first_s: when its first token was emitted; None where none was.
            tokens: how many were emitted.
            kind: index of its class.
        """
        self.rejected[reason] += 1
        self._leave(arrival_s, time_s, first_s, tokens)
        self._miss(arrival_s, kind)

    def expire(
        self, arrival_s: float, time_s: float, first_s: float | None = None, tokens: int = 0, kind: int = 0
    ) -> None:
        """Count a request whose deadline passed; the arguments are those of `reject`."""
        self.expired += 1
        self._leave(arrival_s, time_s, first_s, tokens)
        self._miss(arrival_s, kind)

    def cancel(self, arrival_s: float, time_s: float, first_s: float | None = None, tokens: int = 0) -> None:
        """Count a request whose user left; it is held against no objective. The arguments are those of `reject`."""
        self.cancelled += 1
        self._leave(arrival_s, time_s, first_s, tokens)

    def _leave(self, arrival_s: float, time_s: float, first_s: float | None, tokens: int) -> None:
        self._gone += (arrival_s, time_s if first_s is None else first_s, time_s)
        self._tokens += tokens
        if len(self._gone) >= 3 * _PENDING:
            self._count_gone()

    def _miss(self, arrival_s: float, kind: int) -> None:
        if arrival_s >= self._measure_from_s:
            self._whole.judged += 1
            if self._tallies:
                self._tallies[kind].judged += 1

    # --- counting what waits -----------------------------------------------------------------------------------

    def _count(self) -> None:
        """Count the finished requests that wait."""
        rows = np.array(self._rows, dtype=np.float64).reshape(-1, _FIELDS)
        self._rows.clear()
        if not rows.size:
            return
        arrival, first, last, _, output, _, _ = rows.T
        wrong = ~((arrival >= self.start_s) & (first >= arrival) & (last >= first) & np.isfinite(last) & (output >= 1))
        if wrong.any():
            raise ValueError(f"arrival, first and last token, output tokens out of order: {rows[wrong][0].tolist()}")
        self._levels.add(arrival - self.start_s, first - self.start_s, last - self.start_s)
        self._answering.add_many(last - first)
        self.finished += len(rows)
        self._tokens += int(output.sum())
        self.latency_sum_s += float((last - arrival).sum())
        if self._kept is not None:
            self._kept.append(rows)
        warm = rows[arrival >= self._measure_from_s]
        self._whole.count(warm, self.objective)
        if self._tallies:
            for index in np.unique(warm[:, -1]).astype(int):
                self._tallies[index].count(warm[warm[:, -1] == index], self.objective)

    def _count_gaps(self) -> None:
        """Count the gaps that wait."""
        runs = np.array(self.gap_runs, dtype=np.float64).reshape(-1, 5)
        runs = runs[runs[:, 4] >= self._measure_from_s]
        if self.warm_up_s:
            _, first_s, last_s, steps, end_s = runs.T
            for i in np.flatnonzero((steps > 1) & (end_s - steps * (first_s + last_s) / 2 < self._measure_from_s)):
                runs[i, 1], runs[i, 3] = self._warm(first_s[i], last_s[i], int(steps[i]), end_s[i])
        self.gap_histogram.add_runs(runs[:, :4].ravel().tolist())
        self.gap_runs.clear()

    def _count_gone(self) -> None:
        """Count those that wait among the requests that left without an answer."""
        times = np.array(self._gone, dtype=np.float64).reshape(-1, 3).T - self.start_s
        self._levels.add(times[0], times[1], times[2])
        self._gone.clear()

    # --- the report --------------------------------------------------------------------------------------------

    def report(
        self,
        layout: str,
        end_s: float,
        *,
        queued: Iterable[Unfinished] = (),
        running: Iterable[Unfinished] = (),
        moving: Iterable[Unfinished] = (),
        pools: Sequence[PoolUse] = (),
        links: Sequence[LinkUse] = (),
        failures: Mapping[str, int] | None = None,
        unfinished_tokens: int = 0,
    ) -> ServingReport:
        """Return the report of a run that has ended, or been cut, at `end_s`.

        Args:
            layout: what served, in words.
            end_s: the last event.
            queued: requests that wait for a step.
            running: requests in a batch.
            moving: requests whose cache is on its way.
            pools: what the pools did.
            links: what the links carried.
            failures: what users saw go wrong, by what they saw.
            unfinished_tokens: emitted to requests that are not at their end.

        Raises:
            ValueError: no request at all, or requests that are lost or counted twice.
        """
        if not self.arrived:
            raise ValueError("no request arrived, so there is nothing to report")
        self._count()
        self._count_gone()
        self._count_gaps()
        states = [list(queued), list(running), list(moving)]
        accounts = Accounts(
            self.arrived, self.finished, dict(self.rejected), self.cancelled, self.expired, *map(len, states)
        )
        accounts.require_balance()
        self._count_unfinished([request for state in states for request in state])
        arrivals_s = self.last_arrival_s - self.start_s
        return ServingReport(
            layout=layout,
            accounts=accounts,
            start_s=self.start_s,
            last_arrival_s=self.last_arrival_s,
            end_s=end_s,
            warm_up_s=self.warm_up_s,
            overall=self._whole.report(),
            gaps=self.gap_histogram.distribution(),
            latency_sum_s=self.latency_sum_s,
            area_s=self._levels.area_s(end_s - self.start_s),
            stability=self._levels.growth(arrivals_s, not self._answering.quantile(0.9) > SETTLED * arrivals_s),
            objective=self.objective,
            classes=tuple(tally.report() for tally in self._tallies),
            pools=tuple(pools),
            links=tuple(links),
            failures=dict(failures or {}),
            total_output_tokens=self._tokens + unfinished_tokens,
            records=self._records(),
        )

    def _count_unfinished(self, requests: Sequence[Unfinished]) -> None:
        times = [(arrival, math.inf if first is None else first, math.inf) for arrival, first in requests]
        arrival, first, end = np.array(times, dtype=np.float64).reshape(-1, 3).T - self.start_s
        self._levels.add(arrival, first, end)

    def _records(self) -> tuple[RequestRecord, ...] | None:
        if self._kept is None:
            return None
        rows = (row for block in self._kept for row in block.tolist())
        found = (RequestRecord(a, f, z, int(i), int(o), worst, int(kind)) for a, f, z, i, o, worst, kind in rows)
        return tuple(sorted(found, key=lambda record: record.arrival_s))


class _Tally:
    """The distributions of one class."""

    def __init__(self, name: str, relative_error: float) -> None:
        self.name = name
        self.ttft, self.tpot, self.worst_gap, self.latency = (Histogram(relative_error) for _ in range(4))
        self.requests = self.input_tokens = self.output_tokens = self.judged = self.met = 0

    def count(self, rows: Floats, objective: Objective) -> None:
        """Count finished requests, [requests, 7]."""
        arrival, first, last, given, output, worst, _ = rows.T
        ttft, latency = first - arrival, last - arrival
        several: Bools = output > 1
        tpot = np.where(several, (last - first) / np.maximum(output - 1, 1), np.nan)
        self.requests += len(rows)
        self.input_tokens += int(given.sum())
        self.output_tokens += int(output.sum())
        self.judged += len(rows)
        self.met += len(rows) - int(np.sum(objective.missed(ttft, tpot, worst)))
        self.ttft.add_many(ttft)
        self.latency.add_many(latency)
        self.tpot.add_many(tpot[several])
        self.worst_gap.add_many(worst[~np.isnan(worst)])

    def report(self) -> ClassReport:
        """Return what was counted."""
        return ClassReport(
            self.name,
            self.requests,
            self.input_tokens,
            self.output_tokens,
            self.ttft.distribution(),
            self.tpot.distribution(),
            self.worst_gap.distribution(),
            self.latency.distribution(),
            self.judged,
            self.met,
        )
