"""Does the queue grow? A run that cannot keep up has no mean waiting time: it depends on how long one looks.

The number of requests in a state is the difference of two counts, of those that came in and those that went out. It is
kept over time in bins whose width doubles when they are full, so that memory does not grow with the run.

The criterion. The first quarter of the arrivals' span is left out, since the system fills then; the rest is cut into
12 stretches, and the mean number in the state is taken in each. A queue that cannot keep up is a random walk with a
drift: its 11 increments have a mean above 0. A queue that can keep up comes back: they have the mean 0. So it is said
to grow where Student's t of the increments exceeds `CRITICAL`, the level that a walk without drift passes once in
twenty times, and where it takes in more than `LEAST_SHARE` of the arrivals. How seldom a queue that keeps up is
taken for one that does not, and how often one that does not is found, is tested in `tests/serving/test_metrics.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from costlab.arrays import Floats

STRETCHES = 12  # that the judged part of the run is cut into
SKIPPED = 0.25  # share of the arrivals' span that is left out before them
CRITICAL = 1.812  # Student's t, 10 degrees of freedom, one-sided 5%
LEAST_SHARE = 0.02  # of the arrivals, that a growing queue takes in
LEAST_ARRIVALS = 100  # fewer tell nothing
SETTLED = 0.25  # of the arrivals' span: the longest that nine of ten answers may take in a batch that has settled


@dataclass(frozen=True)
class Stability:
    """Whether the run kept up with what arrived, judged over the later three quarters of the arrivals."""

    verdict: str  # "steady", "growing" or "too short"
    what: str = ""  # which number grows: "queue" (before the first token) or "batch" (after it)
    growth_per_s: float = 0.0  # requests by which it grows in a second
    share: float = 0.0  # the same as a share of the arrivals

    @property
    def growing(self) -> bool:
        """Whether the run has no mean that a longer one would confirm."""
        return self.verdict == "growing"

    def sentence(self) -> str:
        """Return the finding in words; empty for a steady run."""
        if self.verdict == "too short":
            return "too short to tell whether the run keeps up: a longer one may have other means"
        if not self.growing:
            return ""
        return (
            f"unstable: the {self.what} grows by {self.growth_per_s:.3g} requests/s, {self.share:.0%} of what arrives, "
            "so that mean times depend on the length of the run and are not given"
        )


class Levels:
    """How many requests are in the queue (before their first token) and in a batch (after it), over time."""

    BINS = 1024

    def __init__(self) -> None:
        self.width_s = 1e-3
        self._counts = np.zeros((3, self.BINS))  # arrivals, first tokens, ends
        self._sums = np.zeros((3, self.BINS))  # of their times, s

    def add(self, arrival_s: Floats, first_s: Floats, end_s: Floats) -> None:
        """Count requests by their times since the run's start; one that has not come so far has infinity there."""
        for row, given in enumerate((arrival_s, first_s, end_s)):
            times = np.maximum(given[np.isfinite(given)], 0.0)
            while times.size and times.max() >= self.width_s * self.BINS:
                self._widen()
            bins = (times / self.width_s).astype(np.intp)  # 32 bits in a browser
            self._counts[row] += np.bincount(bins, minlength=self.BINS)
            self._sums[row] += np.bincount(bins, weights=times, minlength=self.BINS)

    def _widen(self) -> None:
        for kept in (self._counts, self._sums):
            kept[:, : self.BINS // 2] = kept[:, ::2] + kept[:, 1::2]
            kept[:, self.BINS // 2 :] = 0.0
        self.width_s *= 2

    def area_s(self, end_s: float) -> float:
        """Return the integral over time of the requests in the system, from the start to `end_s`, the last event."""
        into, _, out = self._counts.sum(1) * end_s - self._sums.sum(1)
        return float(into - out)

    def growth(self, arrivals_end_s: float, settled: bool) -> Stability:
        """Judge the run.

        Args:
            arrivals_end_s: the last arrival, in seconds since the run's start.
            settled: whether answers are short beside the run, so that a batch has filled up long before its end.
        """
        edges = np.linspace(SKIPPED * arrivals_end_s, arrivals_end_s, STRETCHES + 1)
        at = np.unique((edges / self.width_s).astype(np.int64))
        if self._counts[0].sum() < LEAST_ARRIVALS or at.size <= STRETCHES:
            return Stability("too short")
        for what, row in (("queue", 0), ("batch", 1)):
            found = self._growth(row, at)
            if found is not None:
                return Stability("growing", what, *found) if settled or what == "queue" else Stability("too short")
        return Stability("steady")

    def _growth(self, row: int, at: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[float, float] | None:
        """Return by how many requests a second a state grows, and that as a share of the arrivals; None if it does not.

        The state lies between the events of `row` and of the next; `at` are the stretches' edges, in bins.
        """
        edges = at * self.width_s
        before = np.concatenate([np.zeros((3, 1)), np.cumsum(self._counts, 1)], axis=1)[:, at]
        areas = before * edges - np.concatenate([np.zeros((3, 1)), np.cumsum(self._sums, 1)], axis=1)[:, at]
        means = np.diff(areas[row] - areas[row + 1]) / np.diff(edges)
        steps = np.diff(means)
        drift, error = steps.mean(), steps.std(ddof=1) / math.sqrt(steps.size)
        span_s = edges[-1] - edges[0]
        growth_per_s = drift * STRETCHES / span_s
        share = growth_per_s * span_s / max(before[0, -1] - before[0, 0], 1.0)
        grows = drift > CRITICAL * error and share > LEAST_SHARE
        return (float(growth_per_s), float(share)) if grows else None
