"""What a plan is made for: the load that is offered, its lengths, what of it is cached, and its peaks.

The rate is that of arrivals. Completions are no measure of demand: an overloaded system completes fewer requests than
come, and would look like one that is asked for less.

>>> load = demand(rate_per_s=4, input_tokens=2048, output_tokens=256, hit_rate=0.5, peak_factor=1.5)
>>> load.peak_per_s, load.mixes[0].cached_tokens
(6.0, 1024)

Chapter: serving
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from costlab.arrays import Floats
from costlab.checks import count
from costlab.traces import Request, Trace, TraceError

#: Tokens of a block of cache: what is cached of a prompt is whole blocks.
BLOCK_TOKENS = 16
#: Lengths per axis that a spread distribution is cut into, each with the same share of the requests.
LEVELS = 4
#: Coefficients of variation that a load may have: even gaps, and one burst in ten thousand gaps.
LEAST_CV, MOST_CV = 0.01, 100.0


@dataclass(frozen=True)
class Mix:
    """Requests of one shape and their share of all requests.

    Raises:
        ValueError: lengths that are no counts, a share outside 0 to 1, or more cached than all but one token.
    """

    input_tokens: int  # of the prompt
    output_tokens: int  # of the answer
    share: float  # of all requests, 0 to 1
    cached_tokens: int = 0  # of the prompt, found in a cache; at least one token is always computed

    def __post_init__(self) -> None:
        count(self.input_tokens, "input_tokens")
        count(self.output_tokens, "output_tokens")
        if not 0 < self.share <= 1:
            raise ValueError(f"share = {self.share} should be above 0 and at most 1")
        if not 0 <= self.cached_tokens < self.input_tokens:
            raise ValueError(
                f"cached_tokens = {self.cached_tokens} should be from 0 to less than the prompt's {self.input_tokens}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """What the requests have alike, whatever their share is: tokens of the prompt, of the answer, cached ones."""
        return self.input_tokens, self.output_tokens, self.cached_tokens

    @property
    def new_tokens(self) -> int:
        """Tokens of the prompt that prefill computes."""
        return self.input_tokens - self.cached_tokens

    @property
    def decoded_tokens(self) -> int:
        """Tokens of the answer that decode steps make: all but the first, which prefill emits."""
        return self.output_tokens - 1

    @property
    def last_context(self) -> int:
        """Tokens that the sequence keeps when it ends."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True)
class Demand:
    """The offered load: requests per second, of which shapes, and how much more at peaks.

    Raises:
        ValueError: a rate, peak factor or coefficient of variation out of range; shares that do not sum to 1.
    """

    rate_per_s: float  # mean arrivals per second, over the hours that are paid
    mixes: tuple[Mix, ...]  # shapes of requests
    peak_factor: float = 1.0  # arrivals per second at the peak that the plan has to bear, over the mean; at least 1
    cv: float = 1.0  # coefficient of variation of the gaps between arrivals; 1 is a Poisson process

    def __post_init__(self) -> None:
        if not 0 < self.rate_per_s < math.inf:
            raise ValueError(f"rate = {self.rate_per_s} should be a finite number of requests per second above 0")
        if not 1 <= self.peak_factor < math.inf:
            raise ValueError(f"peak factor = {self.peak_factor} should be a finite number of at least 1")
        if not LEAST_CV <= self.cv <= MOST_CV:
            raise ValueError(f"cv = {self.cv} should be from {LEAST_CV:g} to {MOST_CV:g}")
        if not math.isclose(sum(mix.share for mix in self.mixes), 1.0, rel_tol=1e-6):
            raise ValueError(f"shares of the mixes sum to {sum(mix.share for mix in self.mixes):g}, not to 1")

    @property
    def peak_per_s(self) -> float:
        """Arrivals per second that the plan has to bear."""
        return self.rate_per_s * self.peak_factor

    def mean(self, of: Callable[[Mix], float]) -> float:
        """Return the mean of a number over requests, e.g. `load.mean(lambda mix: mix.new_tokens)`."""
        return sum(mix.share * of(mix) for mix in self.mixes)

    @property
    def hit_rate(self) -> float:
        """Share of the input tokens that a cache holds."""
        return self.mean(lambda mix: mix.cached_tokens) / self.mean(lambda mix: mix.input_tokens)

    def where(self, least: int = 0, most: float = math.inf) -> Demand | None:
        """Return the part of the load whose uncached prompt is longer than `least` and not longer than `most` tokens.

        None where there is none. The rate is that of this part alone.
        """
        kept = [mix for mix in self.mixes if least < mix.new_tokens <= most]
        share = sum(mix.share for mix in kept)
        if not kept:
            return None
        mixes = tuple(dataclasses.replace(mix, share=mix.share / share) for mix in kept)
        return dataclasses.replace(self, rate_per_s=self.rate_per_s * share, mixes=mixes)

    def requests(self, number: int, rng: np.random.Generator) -> Iterator[Request]:
        """Yield requests as they would come at the peak rate: gaps of a gamma distribution, shapes drawn by share.

        Args:
            number: how many.
            rng: the source of gaps and shapes.
        """
        gaps = rng.gamma(1 / self.cv**2, self.cv**2 / self.peak_per_s, number)
        drawn = rng.choice(len(self.mixes), number, p=[mix.share for mix in self.mixes])
        # one prefix that all share: what of it is as long as a shape's cached part is found from the second time on
        prefix = tuple(range(max(mix.cached_tokens for mix in self.mixes) // BLOCK_TOKENS))
        shapes = [
            (mix.input_tokens, mix.output_tokens, prefix[: mix.cached_tokens // BLOCK_TOKENS]) for mix in self.mixes
        ]
        for time_s, index in zip(np.cumsum(gaps).tolist(), drawn.tolist(), strict=True):
            yield Request(time_s, *shapes[index])


def demand(
    rate_per_s: float,
    input_tokens: int,
    output_tokens: int,
    *,
    hit_rate: float = 0.0,
    peak_factor: float = 1.0,
    cv: float = 1.0,
    length_cv: float = 0.0,
) -> Demand:
    """Return an offered load of stated means.

    Args:
        rate_per_s: mean arrivals per second.
        input_tokens: mean length of a prompt.
        output_tokens: mean length of an answer.
        hit_rate: share of each prompt's tokens that a cache holds, 0 to 1, in whole blocks of `BLOCK_TOKENS`.
        peak_factor: peak rate over the mean one.
        cv: coefficient of variation of the gaps between arrivals.
        length_cv: that of prompts and answers, each log-normal and independent; 0 makes all alike. Each is cut into
            `LEVELS` parts of equal share, which stand for their means.

    Raises:
        ValueError: a number out of range.
    """
    if not 0 <= hit_rate <= 1:
        raise ValueError(f"hit rate = {hit_rate} should lie between 0 and 1")
    if not 0 <= length_cv <= MOST_CV:
        raise ValueError(f"length cv = {length_cv} should be from 0 to {MOST_CV:g}")
    inputs = _spread(count(input_tokens, "input tokens"), length_cv)
    outputs = _spread(count(output_tokens, "output tokens"), length_cv)
    share = 1 / len(inputs) / len(outputs)
    mixes = tuple(Mix(i, o, share, _cached(i, hit_rate)) for i in inputs for o in outputs)
    return Demand(rate_per_s, mixes, peak_factor, cv)


def demand_of(trace: Trace, *, hit_rate: float = 0.0, peak_factor: float = 1.0, cv: float | None = None) -> Demand:
    """Return the load that a trace offers: arrivals over its span, its lengths in `LEVELS` x `LEVELS` groups.

    Args:
        trace: at least two requests that come at different times; those without answer are left out.
        hit_rate: share of each prompt's tokens that a cache holds, 0 to 1.
        peak_factor: peak rate over the mean one.
        cv: of the gaps; None takes the trace's own.

    Raises:
        ValueError: a trace without span, or a number out of range.
    """
    rows = np.array([(r.time_s, r.input_tokens, r.output_tokens) for r in trace if r.output_tokens > 0])
    if len(rows) < 2 or rows[-1, 0] <= rows[0, 0]:
        raise TraceError(f"trace {trace.name}: a rate needs two answered requests that come at different times")
    gaps = np.diff(rows[:, 0])
    spread = float(gaps.std() / gaps.mean()) if cv is None else cv
    rate = len(gaps) / float(gaps.sum())
    mixes = tuple(Mix(i, o, share, _cached(i, hit_rate)) for i, o, share in _grouped(rows[:, 1], rows[:, 2]))
    return Demand(rate, mixes, peak_factor, min(max(spread, LEAST_CV), MOST_CV) if cv is None else cv)


def _cached(input_tokens: int, hit_rate: float) -> int:
    """Cached tokens of a prompt: whole blocks, and never the whole prompt."""
    blocks = min(input_tokens * hit_rate, input_tokens - 1) // BLOCK_TOKENS
    return int(blocks) * BLOCK_TOKENS


def _spread(mean: int, cv: float) -> list[int]:
    """Return the means of equally frequent parts of a log-normal distribution, shortest first."""
    if cv == 0:
        return [mean]
    sigma, normal = math.sqrt(math.log1p(cv**2)), NormalDist()
    # the mean above a cut is mean x (1 - Phi(z - sigma)): what a log-normal's upper part holds of the whole
    cuts = [-math.inf, *(normal.inv_cdf(i / LEVELS) for i in range(1, LEVELS)), math.inf]
    held = [normal.cdf(cut - sigma) for cut in cuts]
    return [max(1, round(mean * LEVELS * (b - a))) for a, b in itertools.pairwise(held)]


def _grouped(inputs: Floats, outputs: Floats) -> Iterator[tuple[int, int, float]]:
    """Yield (input, output, share): prompts in equally frequent groups, the answers of each in such groups too."""
    for group in _cut(np.argsort(inputs, kind="stable")):
        for part in _cut(group[np.argsort(outputs[group], kind="stable")]):
            yield (
                max(1, round(float(inputs[part].mean()))),
                max(1, round(float(outputs[part].mean()))),
                len(part) / len(inputs),
            )


def _cut(order: np.ndarray) -> Sequence[np.ndarray]:
    return [part for part in np.array_split(order, LEVELS) if len(part)]
