"""How long prompts and answers are: all alike, spread by a formula, or from tables of public traces."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from costlab.arrays import Floats, Ints
from costlab.catalog.workloads import MixtureRecord, WorkloadRecord, check_bins, workloads
from costlab.checks import count, pick

#: Requests whose lengths and gaps are drawn at a time.
DRAWN = 512


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
        check_bins(self.upto, self.means, "bins")

    @functools.cached_property
    def lower(self) -> tuple[int, ...]:
        """The end of the bin before each; the first bin lies evenly around its mean, as far as that goes."""
        first = max(round(2 * self.means[0]) - self.upto[0] - 1, 0)
        return (min(first, self.upto[0] - 1), *self.upto[:-1])

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
    """Lengths of prompts and answers as counts in bins, together, so that both are drawn as they belong together.

    Raises:
        ValueError: counts that do not fit the bins, are negative, or all 0.
    """

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
    """Return the lengths of a trace in `catalog/workloads.toml`, or of a service's clients together.

    For example `lengths_of("azure-conv")`, `lengths_of("m-large")`.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    stored = workloads()
    records: dict[str, WorkloadRecord | MixtureRecord] = {**stored.workloads, **stored.mixtures}
    found = pick(records, name, "workload")
    return LengthTable(*bins_of(found), _counts(found))


def bins_of(found: WorkloadRecord | MixtureRecord) -> tuple[Bins, Bins]:
    """Return the bins of a record's prompts and of its answers."""
    return Bins(found.input_upto, found.input_means), Bins(found.output_upto, found.output_means)


def _counts(found: WorkloadRecord | MixtureRecord) -> Floats:
    if isinstance(found, WorkloadRecord):
        return np.array(found.counts, dtype=np.float64)
    shares, given, made = (np.array([getattr(c, each) for c in found.clients]) for each in ("share", "input", "output"))
    return np.asarray((shares[:, None] * given).T @ made)  # each client's prompts and answers are independent
