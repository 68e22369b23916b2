"""Open loop: clients whose requests come whatever becomes of those before them."""

from __future__ import annotations

import copy
import functools
import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from costlab.arrays import Floats
from costlab.catalog.workloads import MixtureRecord, workloads
from costlab.checks import one_of, pick
from costlab.traces.arrivals.lengths import DRAWN, Lengths, LengthTable, bins_of
from costlab.traces.requests import Request, Trace

GapFamily = Literal["poisson", "gamma", "weibull", "even"]
#: What the gaps between a client's requests follow; "even" ones are all equal.
GAP_FAMILIES: tuple[GapFamily, ...] = ("poisson", "gamma", "weibull", "even")


@dataclass(frozen=True)
class Client:
    """Who sends requests: how many, how evenly, how long.

    Raises:
        ValueError: a rate or a CV that is not above 0, an unknown family, or a CV that it does not have.
    """

    per_s: float  # mean number of requests a second
    lengths: Lengths  # of its prompts and answers
    family: GapFamily = "poisson"  # one of `GAP_FAMILIES`
    cv: float = 1.0  # standard deviation of the gaps over their mean; 1 for Poisson, 0 for even gaps

    def __post_init__(self) -> None:
        object.__setattr__(self, "family", one_of(GAP_FAMILIES, self.family, "family of gaps"))
        if not 0 < self.per_s < math.inf:
            raise ValueError(f"per_s = {self.per_s} should be a number of requests a second above 0")
        if self.family == "poisson" and self.cv != 1:
            raise ValueError(f"cv = {self.cv}: Poisson arrivals have 1; the families gamma and weibull have others")
        if self.family in ("gamma", "weibull") and not _LEAST_CV <= self.cv <= _MOST_CV:
            raise ValueError(f"cv = {self.cv} should be from {_LEAST_CV} to {_MOST_CV}")

    def gaps(self, requests: int, rng: np.random.Generator) -> Floats:
        """Return gaps between requests, in seconds: [requests]."""
        return np.asarray(_GAPS[self.family](self.cv, requests, rng) / self.per_s)


_LEAST_CV, _MOST_CV = 0.05, 100.0


def _gamma(cv: float, size: int, rng: np.random.Generator) -> Floats:
    return rng.gamma(cv**-2, cv**2, size)


def _weibull(cv: float, size: int, rng: np.random.Generator) -> Floats:
    shape = weibull_shape(cv)
    return np.asarray(rng.weibull(shape, size) / math.gamma(1 + 1 / shape))


#: Gaps of mean 1.
_GAPS: Mapping[GapFamily, Callable[[float, int, np.random.Generator], Floats]] = {
    "poisson": lambda cv, size, rng: rng.exponential(1.0, size),
    "gamma": _gamma,
    "weibull": _weibull,
    "even": lambda cv, size, rng: np.ones(size),
}


@functools.cache
def weibull_shape(cv: float) -> float:
    """Return the shape k of the Weibull distribution of a CV: CV^2 + 1 = G(1 + 2/k) / G(1 + 1/k)^2, by bisection."""
    wanted = math.log1p(cv * cv)
    low, high = 0.1, 100.0
    for _ in range(60):
        middle = math.sqrt(low * high)
        spread = math.lgamma(1 + 2 / middle) - 2 * math.lgamma(1 + 1 / middle)
        low, high = (middle, high) if spread > wanted else (low, middle)
    return math.sqrt(low * high)


@dataclass(frozen=True)
class Curve:
    """How a rate goes up and down over a period, again and again: a day by its hours.

    The curve speeds up and slows down the clock by which gaps are drawn, so that any family can follow it.

    Raises:
        ValueError: levels that are negative or all 0, a period that is not above 0.
    """

    levels: tuple[float, ...]  # the rate in each of equal parts of the period, over its mean (any scale will do)
    period_s: float = 86_400.0  # a day
    begin_s: float = 0.0  # where in the period time 0 lies

    def __post_init__(self) -> None:
        levels = np.asarray(self.levels, dtype=np.float64)
        if levels.ndim != 1 or not (levels >= 0).all() or not 0 < levels.sum() < math.inf:
            raise ValueError(f"levels = {self.levels} should be numbers of at least 0, not all 0")
        if not 0 < self.period_s < math.inf or not 0 <= self.begin_s < math.inf:
            raise ValueError(f"period_s = {self.period_s}, begin_s = {self.begin_s} should be above 0 and at least 0")

    @functools.cached_property
    def _table(self) -> tuple[Floats, Floats]:
        """Clock times of the period and, at each, the mean-rate seconds that have passed."""
        levels = np.asarray(self.levels, dtype=np.float64)
        passed = np.concatenate([[0.0], np.cumsum(levels / levels.sum())]) * self.period_s
        return np.linspace(0, self.period_s, levels.size + 1), passed

    def passed(self, clock_s: Floats) -> Floats:
        """Return how long the mean rate would take for what comes up to each clock time, from the period's start."""
        clock, passed = self._table
        periods, rest = np.divmod(clock_s, self.period_s)
        return np.asarray(periods * self.period_s + np.interp(rest, clock, passed))

    def clock(self, even_s: Floats) -> Floats:
        """Return the clock times of events that would come at `even_s` at the mean rate, both from time 0."""
        clock, passed = self._table
        begun = even_s + self.passed(np.array(self.begin_s))
        periods, rest = np.divmod(begun, self.period_s)
        return np.asarray(periods * self.period_s + np.interp(rest, passed, clock) - self.begin_s)


def open_loop(
    clients: Sequence[Client],
    requests: int,
    rng: np.random.Generator,
    curve: Curve | None = None,
    name: str = "open loop",
) -> Trace:
    """Return the first requests of all clients together. The same seed gives the same trace, in every pass over it.

    Each client begins with a gap and has its own random numbers, so that one more changes nothing of the others.

    Args:
        clients: who sends.
        requests: how many, all clients together.
        rng: the seed's generator; it spawns one for each client.
        curve: of the rate, for all clients; None: it stays.
        name: of the trace.

    Raises:
        ValueError: no client, or a negative number of requests.
    """
    if not clients:
        raise ValueError("clients should name at least one")
    if requests < 0:
        raise ValueError(f"requests = {requests} should be at least 0")
    sends = tuple(zip(clients, rng.spawn(len(clients)), strict=True))
    return Trace(_OpenLoop(sends, requests, curve), None, name)


@dataclass(frozen=True)
class _OpenLoop:
    """Requests made anew in each pass, always the same ones."""

    sends: tuple[tuple[Client, np.random.Generator], ...]
    requests: int
    curve: Curve | None

    def __len__(self) -> int:
        return self.requests

    def __iter__(self) -> Iterator[Request]:
        calls = [_sent(client, copy.deepcopy(rng), self.curve) for client, rng in self.sends]
        merged = calls[0] if len(calls) == 1 else heapq.merge(*calls, key=lambda request: request.time_s)
        return itertools.islice(merged, self.requests)


def _sent(client: Client, rng: np.random.Generator, curve: Curve | None) -> Iterator[Request]:
    """Yield a client's requests, without end."""
    even_s = 0.0
    while True:
        times = even_s + np.cumsum(client.gaps(DRAWN, rng))
        even_s = float(times[-1])
        given, made = client.lengths.draw(DRAWN, rng)
        clock = times if curve is None else curve.clock(times)
        for time, tokens, answer in zip(clock.tolist(), given.tolist(), made.tolist(), strict=True):
            yield Request(time, tokens, answer, ())


def clients_of(name: str, per_s: float) -> list[Client]:
    """Return the clients of a service in `catalog/workloads.toml`, at a total rate, e.g. `clients_of("m-large", 10)`.

    Their gaps are those of one rate each, while those of the real clients rise and fall too: real load is less even.

    Raises:
        ValueError: an unknown name, or a rate that is not above 0.
    """
    found = _mixture(name)
    if not 0 < per_s < math.inf:
        raise ValueError(f"per_s = {per_s} should be a number of requests a second above 0")
    bins, total = bins_of(found), sum(client.share for client in found.clients)
    return [
        Client(
            per_s * client.share / total,
            LengthTable.apart(*bins, client.input, client.output),
            client.family,
            client.cv,
        )
        for client in found.clients
    ]


def day_of(name: str) -> Curve:
    """Return the hours of a service's day in `catalog/workloads.toml`, e.g. `day_of("m-large")`.

    Raises:
        ValueError: an unknown name.
    """
    return Curve(_mixture(name).hourly)


def _mixture(name: str) -> MixtureRecord:
    return pick(workloads().mixtures, name, "mixture of clients")
