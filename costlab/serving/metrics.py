"""What is measured of a served request, defined once, and how a million measurements are kept.

The times of one request, in the order in which they come:

- arrival: when the request reaches the service. The queue comes after it, and counts.
- first token: when the prompt's last token has been computed. Prefill emits the first token, whichever pool it ran in;
  a cache that moves to another worker delays the second token, not the first.
- last token: when the n-th token of the answer is there.

From them: the time to first token, TTFT = first - arrival; the time per output token, TPOT = (last - first) / (n - 1),
which a one-token answer does not have; the gaps between neighbouring tokens, whose sum is last - first; and the worst
gap of a request. Percentiles are taken over requests that finished and arrived after the warm-up, those of gaps over
all steps that ended after it. The percentile at a share q is the smallest value that at least q of the values do not
exceed.

>>> tpot_s(first_s=1.0, last_s=3.0, output_tokens=5)
0.5
>>> quantile([0.1, 0.2, 0.4, 0.8], 0.5)
0.2

Chapter: serving
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costlab.arrays import ArrayLike, Bools, Floats, Ints

#: Shares at which distributions are printed.
SHARES = (0.5, 0.9, 0.95, 0.99, 0.999)


def ttft_s(arrival_s: float, first_s: float) -> float:
    """Return the time to first token: from arrival, with all waiting in it, until prefill has emitted the token."""
    return first_s - arrival_s


def tpot_s(first_s: float, last_s: float, output_tokens: int) -> float:
    """Return the time per output token behind the first; NaN for an answer of one token, which has none."""
    return (last_s - first_s) / (output_tokens - 1) if output_tokens > 1 else math.nan


def gaps_s(token_times_s: Sequence[float]) -> list[float]:
    """Return the times between neighbouring tokens of one answer."""
    return [later - earlier for earlier, later in itertools.pairwise(token_times_s)]


def worst_gap_s(token_times_s: Sequence[float]) -> float:
    """Return the longest time between neighbouring tokens; NaN for an answer of one token, which has none."""
    return max(gaps_s(token_times_s), default=math.nan)


def quantile(values: ArrayLike, share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed; NaN where there are none.

    Raises:
        ValueError: a share outside 0 to 1.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    return float(ordered[_rank(ordered.size, share)]) if ordered.size else math.nan


def _rank(count: int, share: float) -> int:
    """Return the index, in rising order, of the value at a share: ceil(share x count) values do not exceed it."""
    if not 0 <= share <= 1:
        raise ValueError(f"share = {share} should be a number between 0 and 1")
    return max(math.ceil(share * count - 1e-9) - 1, 0)  # 0.999 x 1000 is a little above 999


@dataclass(frozen=True)
class Objective:
    """What a request should meet, and how many requests should.

    Raises:
        ValueError: times that are not above 0, or a share outside 0 to 1.
    """

    ttft_s: float = math.inf  # longest time to first token, s
    tpot_s: float = math.inf  # longest time per output token, s
    worst_gap_s: float = math.inf  # longest gap between two tokens, s
    share: float = 0.9  # of requests that should meet all of them

    def __post_init__(self) -> None:
        for name in ("ttft_s", "tpot_s", "worst_gap_s"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"objective {name} = {value} should be a number of seconds above 0")
        if not 0 < self.share <= 1:
            raise ValueError(f"objective share = {self.share} should be above 0 and at most 1")

    def met(self, ttft_s: float, tpot_s: float, worst_gap_s: float = math.nan) -> bool:
        """Return whether a request meets it; an answer of one token has no TPOT (NaN) and cannot miss it."""
        return not self.missed(ttft_s, tpot_s, worst_gap_s)

    def missed(self, ttft_s: Floats | float, tpot_s: Floats | float, worst_gap_s: Floats | float) -> Bools | bool:
        """Return whether a request, or each of many, misses it."""
        return (ttft_s > self.ttft_s) | (tpot_s > self.tpot_s) | (worst_gap_s > self.worst_gap_s)


@dataclass(frozen=True)
class Distribution:
    """How values are spread, in their own unit (seconds here); all NaN where there are none."""

    count: int  # how many values
    total: float  # their sum
    least: float  # the smallest
    most: float  # the largest
    p50: float  # what half of the values do not exceed
    p90: float  # what 90% of them do not exceed
    p95: float  # what 95% of them do not exceed
    p99: float  # what 99% of them do not exceed
    p999: float  # what 99.9% of them do not exceed
    relative_error: float = 0.0  # largest relative error of the percentiles; 0 where they are exact

    @property
    def mean(self) -> float:
        """Sum over count; NaN where there are no values."""
        return self.total / self.count if self.count else math.nan


class Histogram:
    """Counts of positive values in bins of equal ratio, in memory that does not grow.

    Up to `exact` values are kept as they are, and their percentiles are exact. Beyond, each falls into a bin whose
    middle is at most `relative_error` away from it. Count, sum, smallest and largest are exact always. Values below
    `LEAST` (1 ps) are told apart by nothing but the smallest.

    Args:
        relative_error: of a percentile, at most.
        exact: how many values are kept as they are.

    Raises:
        ValueError: an error outside 0 to 1.
    """

    LEAST, MOST = 1e-12, 1e12
    _PENDING = 8192  # values, or runs, that wait to be counted together

    def __init__(self, relative_error: float = 0.005, exact: int = 10_000) -> None:
        if not 0 < relative_error < 1:
            raise ValueError(f"relative_error = {relative_error} should be between 0 and 1")
        self.relative_error, self.exact = relative_error, exact
        self._log_ratio = 2 * math.log1p(relative_error)  # a bin's middle is sqrt(ratio) from both its ends
        self._bins: Ints | None = None  # counts; None while everything is kept as it is
        self._values: list[float] = []
        self._runs: list[float] = []  # flat: copies, first, last, steps; and so on
        self._count, self._total, self._least, self._most = 0, 0.0, math.inf, -math.inf

    # --- adding ------------------------------------------------------------------------------------------------

    def add(self, value: float) -> None:
        """Count one value of at least 0."""
        self._values.append(value)
        if len(self._values) > self._PENDING + self.exact:
            self._spill()

    def add_many(self, values: ArrayLike) -> None:
        """Count many values of at least 0."""
        many = np.asarray(values, dtype=np.float64)
        if self._bins is None and len(self._values) + many.size <= self.exact:
            self._values.extend(many.tolist())
        elif many.size:
            self._spill()
            self._count_values(many)

    def add_runs(self, runs: Sequence[float]) -> None:
        """Count runs, flat: copies, first, last, steps, and so on. Each is `copies` times the `steps` values that lie
        at equal distances from `first` to `last`.

        So decode steps that were summed in closed form are counted: each of `copies` sequences sees each step as a gap.
        It costs as much for a thousand steps as for one, and for each bin that the values reach.
        """
        self._runs += runs
        if len(self._runs) > 4 * self._PENDING:
            self._spill()

    # --- reading -----------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many values were counted."""
        copies, _, _, steps = self._pending_runs()
        return self._count + len(self._values) + int((copies * steps).sum())

    @property
    def total(self) -> float:
        """Their sum."""
        copies, first, last, steps = self._pending_runs()
        return self._total + math.fsum(self._values) + float((copies * steps * (first + last) / 2).sum())

    @property
    def mean(self) -> float:
        """Sum over count; NaN where there are no values."""
        return self.total / self.count if self.count else math.nan

    def quantile(self, share: float) -> float:
        """Return the smallest value that at least `share` of the values do not exceed; NaN where there are none."""
        return self.quantiles([share])[0]

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """Return the values at several shares.

        Raises:
            ValueError: a share outside 0 to 1.
        """
        values, counts = self._sorted()
        if not counts.size:
            return [math.nan for share in shares if _rank(0, share) >= 0]
        upto = np.cumsum(counts)
        at = upto.searchsorted([_rank(int(upto[-1]), share) for share in shares], side="right")
        return [float(value) for value in values[at]]

    def distribution(self) -> Distribution:
        """Return count, sum, extremes and the percentiles at `SHARES`."""
        least, p50, p90, p95, p99, p999, most = self.quantiles([0, *SHARES, 1])
        error = 0.0
        if self._bins is not None:
            least, most, error = self._least, self._most, self.relative_error
        return Distribution(self.count, self.total, least, most, p50, p90, p95, p99, p999, error)

    def _sorted(self) -> tuple[Floats, Ints]:
        """Return values in rising order and how often each was counted: exact ones, or the middles of bins."""
        copies, first, last, steps = self._pending_runs()
        if self._bins is None and len(self._values) + steps.sum() <= self.exact:
            values, counts = self._as_they_are(copies, first, last, steps.astype(np.intp))
            order = np.argsort(values, kind="stable")
            return values[order], counts[order]
        self._spill()
        assert self._bins is not None
        used = np.flatnonzero(self._bins)
        middles = np.where(used, self.LEAST * np.exp((used - 0.5) * self._log_ratio), 0.0)
        return np.clip(middles, self._least, self._most), self._bins[used]

    def _as_they_are(self, copies: Floats, first: Floats, last: Floats, steps: Ints) -> tuple[Floats, Ints]:
        place = np.arange(steps.sum()) - np.repeat(np.cumsum(steps) - steps, steps)
        rise = (last - first) / np.maximum(steps - 1, 1)
        run = np.repeat(first, steps) + place * np.repeat(rise, steps)
        values = np.concatenate([np.array(self._values, dtype=np.float64), run])
        return values, np.concatenate([np.ones(len(self._values), np.int64), np.repeat(copies, steps).astype(np.int64)])

    # --- counting what waits -----------------------------------------------------------------------------------

    def _pending_runs(self) -> Floats:
        """Return the runs that wait: copies, first, last and steps, [4, runs]."""
        return np.array(self._runs, dtype=np.float64).reshape(-1, 4).T

    def _index(self, values: Floats) -> Ints:
        """Return the bin of each value; bin 0 holds all below `LEAST`."""
        clipped = np.clip(values, self.LEAST, self.MOST)
        places = np.floor(np.log(clipped / self.LEAST) / self._log_ratio).astype(np.intp) + 1  # 32 bits in a browser
        return np.where(values < self.LEAST, 0, places)

    def _spill(self) -> None:
        """Count into bins what waits."""
        if self._bins is None:
            self._bins = np.zeros(int(math.log(self.MOST / self.LEAST) / self._log_ratio) + 3, np.int64)
        if self._values:
            self._count_values(np.array(self._values, dtype=np.float64))
            self._values.clear()
        if self._runs:
            self._count_runs(*self._pending_runs())
            self._runs.clear()

    def _count_values(self, values: Floats) -> None:
        assert self._bins is not None
        self._bins += np.bincount(self._index(values), minlength=self._bins.size)
        self._note(values.size, float(values.sum()), float(values.min()), float(values.max()))

    def _count_runs(self, copies: Floats, first: Floats, last: Floats, steps: Floats) -> None:
        """Count runs: how many of a run's steps lie below each edge that it crosses follows from its rise."""
        assert self._bins is not None
        low, high = np.minimum(first, last), np.maximum(first, last)
        begin, end = self._index(low), self._index(high)
        touched = end - begin + 1
        run = np.repeat(np.arange(low.size), touched)
        place = np.arange(run.size) - np.repeat(np.cumsum(touched) - touched, touched)  # of the bin in its run
        edge = self.LEAST * np.exp((begin[run] + place) * self._log_ratio)  # the bin's upper end
        rise = np.maximum(high - low, 1e-30) / np.maximum(steps - 1, 1)  # equal steps: all in one bin
        below = np.clip(np.ceil((edge - low[run]) / rise[run]), 0, steps[run])
        below[np.cumsum(touched) - 1] = steps  # the last bin takes the rest
        fresh = np.diff(below, prepend=0.0)
        fresh[np.cumsum(touched) - touched] = below[np.cumsum(touched) - touched]
        weights = fresh * copies[run]
        self._bins += np.bincount(begin[run] + place, weights, self._bins.size).astype(np.int64)
        self._note(int((copies * steps).sum()), float((copies * steps * (low + high) / 2).sum()), low.min(), high.max())

    def _note(self, count: int, total: float, least: float, most: float) -> None:
        self._count, self._total = self._count + count, self._total + total
        self._least, self._most = min(self._least, float(least)), max(self._most, float(most))
