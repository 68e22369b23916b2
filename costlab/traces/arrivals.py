"""Load: requests that come as often, as evenly and as long as one says, or as public traces have them.

Open loop: requests come whatever becomes of those before them. The gaps between them follow a family of a mean and a
coefficient of variation (CV, standard deviation over mean): Poisson has 1, production traffic often more. A service is
a sum of clients, each with its own gaps and lengths; a daily curve speeds all of them up and slows them down. Closed
loop: each user waits for the answer before it asks again, so that a slow service is asked less.

Lengths come from tables, condensed from public traces in `catalog/workloads.toml`, or from a formula. Nothing here
shares a prefix, except the `talks` of a closed loop.

>>> import numpy as np
>>> from costlab.traces import arrivals
>>> client = arrivals.Client(4.0, arrivals.lengths_of("azure-conv"))
>>> trace = arrivals.open_loop([client], 1000, np.random.default_rng(0))
>>> [round(request.time_s, 2) for request in trace][:3]
[0.82, 1.01, 1.33]

Chapter: serving
"""

from __future__ import annotations

import copy
import functools
import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from costlab.arrays import Floats, Ints
from costlab.catalog.workloads import MixtureRecord, workloads
from costlab.checks import count, one_of, pick
from costlab.traces.generators import Shape, session_calls
from costlab.traces.requests import Request, Trace

GapFamily = Literal["poisson", "gamma", "weibull", "even"]
#: What the gaps between a client's requests follow; "even" ones are all equal.
GAP_FAMILIES: tuple[GapFamily, ...] = ("poisson", "gamma", "weibull", "even")

_DRAWN = 512  # requests that are drawn at a time


# --- lengths ---------------------------------------------------------------------------------------------------


class Lengths(Protocol):
    """Where the lengths of prompts and answers come from."""

    def draw(self, requests: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Return lengths of prompts and of answers, in tokens, both at least 1: [requests] each."""


@dataclass(frozen=True)
class FixedLengths:
    """All requests alike.

    Raises:
        ValueError: a length that is no count.
    """

    input_tokens: int  # of each prompt
    output_tokens: int  # of each answer

    def __post_init__(self) -> None:
        for name in ("input_tokens", "output_tokens"):
            object.__setattr__(self, name, count(getattr(self, name), name))

    def draw(self, requests: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Return the same lengths over and over."""
        return np.full(requests, self.input_tokens), np.full(requests, self.output_tokens)


@dataclass(frozen=True)
class SpreadLengths:
    """Lognormal lengths of stated means, prompt and answer independent of each other.

    Raises:
        ValueError: means below 1, a spread that is negative or endless, a longest below the means.
    """

    input_tokens: float  # mean of the prompts
    output_tokens: float  # mean of the answers
    spread: float = 1.0  # standard deviation of the logarithm; 0 makes all equal
    longest_tokens: int = 131_072  # of either; longer ones are cut

    def __post_init__(self) -> None:
        if not 0 <= self.spread < math.inf:
            raise ValueError(f"spread = {self.spread} should be a finite number of at least 0")
        for name in ("input_tokens", "output_tokens"):
            if not 1 <= getattr(self, name) <= self.longest_tokens:
                raise ValueError(
                    f"{name} = {getattr(self, name)} should be from 1 to {self.longest_tokens}, the longest"
                )

    def draw(self, requests: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Return rounded lognormal lengths; their mean is exp(mu + sigma^2/2)."""
        sizes = rng.normal(-(self.spread**2) / 2, self.spread, (2, requests))
        drawn = np.array([[self.input_tokens], [self.output_tokens]]) * np.exp(sizes)
        given, made = np.clip(np.rint(drawn), 1, self.longest_tokens).astype(np.int64)
        return given, made


@dataclass(frozen=True)
class Bins:
    """Lengths in bins: each holds those above the one before it, up to its own upper end.

    Raises:
        ValueError: ends that do not rise, or a mean outside its bin.
    """

    upto: tuple[int, ...]  # upper ends, tokens
    means: tuple[float, ...]  # mean length in each, tokens; 0 in an empty one

    def __post_init__(self) -> None:
        rising = all(b > a for a, b in itertools.pairwise((0, *self.upto)))
        if not self.upto or not rising or len(self.means) != len(self.upto):
            raise ValueError(f"bins should have rising ends and a mean each, got {self.upto} and {self.means}")
        for low, high, mean in zip(self.lower, self.upto, self.means, strict=True):
            if mean and not low < mean <= high:
                raise ValueError(f"mean {mean} does not lie in the bin above {low} up to {high}")

    @functools.cached_property
    def lower(self) -> tuple[int, ...]:
        """The end of the bin before each; the first bin lies evenly around its mean, as far as that goes."""
        first = max(round(2 * self.means[0]) - self.upto[0] - 1, 0) if self.means and self.means[0] else 0
        return (min(first, self.upto[0] - 1), *self.upto[:-1]) if self.upto else ()

    def place(self, bins: Ints, rng: np.random.Generator) -> Ints:
        """Return a length in each bin: evenly below its mean and evenly above it, so that the mean is kept."""
        low, high = np.array(self.lower)[bins] + 0.5, np.array(self.upto)[bins] + 0.5
        mean = np.array(self.means)[bins]
        below = rng.random(bins.size) * (high - low) < high - mean
        length = np.where(below, low, mean) + rng.random(bins.size) * np.where(below, mean - low, high - mean)
        return np.clip(np.rint(length), low + 0.5, high - 0.5).astype(np.int64)

    def above(self, tokens: int) -> Floats:
        """Return the share of each bin's lengths above `tokens`, which should be a bin's end.

        Raises:
            ValueError: a length inside a bin, where the share is not known.
        """
        if tokens not in (0, *self.upto) and tokens < self.upto[-1]:
            raise ValueError(f"{tokens} tokens lie inside a bin; the shares are known above {self.upto}")
        return np.array([float(end > tokens) for end in self.upto])


@dataclass(frozen=True, eq=False)
class LengthTable:
    """Lengths of prompts and answers as counts in bins, together, so that both are drawn as they belong together."""

    inputs: Bins  # of prompts
    outputs: Bins  # of answers
    counts: Floats  # weight of each pair of bins: [bins of prompts, bins of answers]

    @classmethod
    def apart(cls, inputs: Bins, outputs: Bins, given: Sequence[float], made: Sequence[float]) -> LengthTable:
        """Return a table of prompts and answers that are independent of each other, from weights of the bins."""
        return cls(inputs, outputs, np.outer(given, made).astype(np.float64))

    def __post_init__(self) -> None:
        shape = (len(self.inputs.upto), len(self.outputs.upto))
        if self.counts.shape != shape or not (self.counts >= 0).all() or not 0 < self.counts.sum() < math.inf:
            raise ValueError(f"counts should be {shape[0]} x {shape[1]} numbers of at least 0, not all 0")

    @functools.cached_property
    def _upto(self) -> Floats:
        upto = np.cumsum(self.counts)
        return np.asarray(upto / upto[-1])

    def draw(self, requests: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Return lengths of prompts and answers drawn together: a pair of bins by its count, then a place in each."""
        cells = self._upto.searchsorted(rng.random(requests), side="right")
        given, made = np.divmod(cells, len(self.outputs.upto))
        return self.inputs.place(given, rng), self.outputs.place(made, rng)

    @property
    def mean_input_tokens(self) -> float:
        """Mean length of a prompt."""
        return float(self.counts.sum(1) @ np.array(self.inputs.means) / self.counts.sum())

    @property
    def mean_output_tokens(self) -> float:
        """Mean length of an answer."""
        return float(self.counts.sum(0) @ np.array(self.outputs.means) / self.counts.sum())

    def longer_than(self, tokens: int) -> tuple[float, float]:
        """Return which share of the requests has longer prompts than `tokens`, and which share of all prompt tokens.

        Raises:
            ValueError: a length inside a bin, where the share is not known.
        """
        weights = self.counts.sum(1)
        sums = weights * np.array(self.inputs.means)
        above = self.inputs.above(tokens)
        return float(weights @ above / weights.sum()), float(sums @ above / sums.sum())


def lengths_of(name: str) -> LengthTable:
    """Return the lengths of a trace in `catalog/workloads.toml`, e.g. `lengths_of("azure-conv")`.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    found = pick(workloads().workloads, name, "workload")
    inputs, outputs = Bins(found.input_upto, found.input_means), Bins(found.output_upto, found.output_means)
    return LengthTable(inputs, outputs, np.array(found.counts, dtype=np.float64))


# --- open loop -------------------------------------------------------------------------------------------------


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
        times = even_s + np.cumsum(client.gaps(_DRAWN, rng))
        even_s = float(times[-1])
        given, made = client.lengths.draw(_DRAWN, rng)
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
    inputs, outputs = Bins(found.input_upto, found.input_means), Bins(found.output_upto, found.output_means)
    total = sum(client.share for client in found.clients)
    return [
        Client(
            per_s * client.share / total,
            LengthTable.apart(inputs, outputs, client.input, client.output),
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


# --- closed loop -----------------------------------------------------------------------------------------------


class ClosedLoop:
    """Users that wait for an answer, think, and ask again: requests whose times depend on the service.

    A simulator takes `starts()`, and asks `ended` for the next request whenever one has come to its end.

    Args:
        users: who ask; at most so many requests are under way.
        requests: how many, all users together.
        sessions: talks of one call or more, without end, such as those of `talks` and `single_calls`: who has ended
            one takes the next. The pauses between the times of its calls, and that before the first, are the thinking.
        ramp_s: over which the users begin, at equal distances.

    Raises:
        ValueError: counts that are none, or a ramp that is negative or endless.
    """

    def __init__(self, users: int, requests: int, sessions: Iterator[list[Request]], ramp_s: float = 0.0) -> None:
        self.users, self.requests = count(users, "users"), count(requests, "requests")
        if not 0 <= ramp_s < math.inf:
            raise ValueError(f"ramp_s = {ramp_s} should be a number of seconds of at least 0")
        self.ramp_s, self.asked = ramp_s, 0
        self._sessions = sessions
        self._talks: dict[int, tuple[float, Iterator[Request]]] = {}  # by session: the last call's own time, the rest
        self._serial = itertools.count()

    def starts(self) -> Iterator[Request]:
        """Yield each user's first request, in order of time; the simulator may do it once."""
        for user in range(min(self.users, self.requests)):
            yield self._begin(self.ramp_s * user / self.users, thinks=False)

    def ended(self, request: Request, now_s: float) -> Request | None:
        """Return the next request of the user whose request has ended, at `now_s` or later; None if all are asked.

        Raises:
            ValueError: a request that is not under way.
        """
        if request.session not in self._talks:
            raise ValueError(f"{request} is not under way")
        before_s, rest = self._talks.pop(request.session)
        if self.asked >= self.requests:
            return None
        call = next(rest, None)
        if call is None:
            return self._begin(now_s, thinks=True)
        return self._ask(request.session, call, now_s + call.time_s - before_s, rest)

    def _begin(self, now_s: float, thinks: bool) -> Request:
        """Return the first call of a new talk, after its pause or at once."""
        calls = iter(next(self._sessions))
        first = next(calls)
        return self._ask(next(self._serial), first, now_s + (first.time_s if thinks else 0.0), calls)

    def _ask(self, session: int, call: Request, time_s: float, rest: Iterator[Request]) -> Request:
        self._talks[session] = (call.time_s, rest)
        self.asked += 1
        return replace(call, time_s=time_s, session=session)


def talks(shape: Shape, rng: np.random.Generator) -> Iterator[list[Request]]:
    """Yield talks of one shape without end: each prompt is the one before, its answer and something new.

    Their blocks are named, so that a prefix cache can hit.
    """
    return session_calls(shape, rng.spawn(1)[0])


def single_calls(lengths: Lengths, rng: np.random.Generator, think_s: float = 0.0) -> Iterator[list[Request]]:
    """Yield single calls without end, each after exponential thinking: with no thinking, a fixed concurrency.

    Raises:
        ValueError: thinking that is negative or endless.
    """
    if not 0 <= think_s < math.inf:
        raise ValueError(f"think_s = {think_s} should be a number of seconds of at least 0")
    return _single_calls(lengths, rng.spawn(1)[0], think_s)


def _single_calls(lengths: Lengths, rng: np.random.Generator, think_s: float) -> Iterator[list[Request]]:
    while True:
        given, made = lengths.draw(_DRAWN, rng)
        pauses = rng.exponential(think_s, _DRAWN)
        for pause, tokens, answer in zip(pauses.tolist(), given.tolist(), made.tolist(), strict=True):
            yield [Request(pause, tokens, answer, ())]
