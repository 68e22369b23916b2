"""What workloads.toml holds: lengths and gaps of public traces, condensed by tools/workloads.py.

It is read when first asked for: who prices tokens needs none of it.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from costlab.catalog.decoding import CatalogError, FrozenDict, decode, read_toml

_FILE = Path(__file__).parent / "workloads.toml"


@dataclass(frozen=True)
class WorkloadRecord:
    """The lengths of one trace, input by output, and how its arrivals are spread.

    A bin holds the lengths above the bin before it, up to its own upper end.
    """

    what: str  # in words
    source: str  # where the trace lies
    licence: str  # of the trace
    date: date  # of the traffic, or of the release
    requests: int  # in it
    span_s: float  # from its first request to its last, s
    gap_cv: float  # standard deviation of the gaps between arrivals over their mean
    distinct_times: int  # arrival times that differ; fewer than requests where the trace rounds them
    input_tokens: int  # of all prompts
    output_tokens: int  # of all answers
    input_upto: tuple[int, ...]  # upper ends of the bins of prompts, tokens
    input_means: tuple[float, ...]  # mean length in each, tokens
    output_upto: tuple[int, ...]  # upper ends of the bins of answers, tokens
    output_means: tuple[float, ...]  # mean length in each, tokens
    counts: tuple[tuple[int, ...], ...]  # requests by bin of the prompt and bin of the answer
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        check_bins(self.input_upto, self.input_means, "bins of prompts")
        check_bins(self.output_upto, self.output_means, "bins of answers")
        if {len(row) for row in self.counts} != {len(self.output_upto)} or len(self.counts) != len(self.input_upto):
            raise ValueError(f"counts should have {len(self.input_upto)} rows of {len(self.output_upto)}")
        if (found := sum(map(sum, self.counts))) != self.requests:
            raise ValueError(f"counts sum to {found}, not to the {self.requests} requests")


@dataclass(frozen=True)
class ClientRecord:
    """One client of a service: how much of the traffic it sends, how evenly, and how long its requests are."""

    share: float  # of all requests
    family: Literal["gamma", "weibull"]  # of the gaps between its requests
    cv: float  # standard deviation of these gaps over their mean: the median of ten-minute windows
    input: tuple[int, ...]  # thousandths of its requests by bin of the prompt
    output: tuple[int, ...]  # thousandths of its requests by bin of the answer

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or not 0 < self.cv < math.inf:
            raise ValueError(f"share = {self.share}, cv = {self.cv} should be above 0, the share at most 1")
        if not sum(self.input) == sum(self.output) == 1000:
            raise ValueError(f"input and output should sum to 1000, not to {sum(self.input)} and {sum(self.output)}")


@dataclass(frozen=True)
class MixtureRecord:
    """A service as the sum of its clients whose lengths are stored: those that send much, and all others as one."""

    what: str  # in words
    source: str  # where the data lie
    licence: str  # of the data
    date: date  # of the release
    requests: int  # of all clients
    days: float  # that they took
    clients_seen: int  # how many clients there were
    covered: float  # share of the requests that the clients below sent
    pooled: int  # small clients that the last of those below stands for, with gaps of CV 1
    hourly: tuple[float, ...]  # requests in each hour of the day, over their mean
    input_upto: tuple[int, ...]  # upper ends of the bins of prompts, tokens
    input_means: tuple[float, ...]  # mean length in each, over all clients, tokens
    output_upto: tuple[int, ...]  # upper ends of the bins of answers, tokens
    output_means: tuple[float, ...]  # mean length in each, over all clients, tokens
    clients: tuple[ClientRecord, ...]  # the largest first
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        check_bins(self.input_upto, self.input_means, "bins of prompts")
        check_bins(self.output_upto, self.output_means, "bins of answers")
        if len(self.hourly) != 24 or not math.isclose(sum(self.hourly), 24, rel_tol=0.001):
            raise ValueError(f"hourly = {self.hourly} should be 24 numbers of mean 1")
        for client in self.clients:
            if len(client.input) != len(self.input_upto) or len(client.output) != len(self.output_upto):
                raise ValueError(f"client {client} should have {len(self.input_upto)} x {len(self.output_upto)} bins")


@dataclass(frozen=True)
class Workloads:
    """All that workloads.toml holds, by name."""

    workloads: FrozenDict[str, WorkloadRecord]  # single traces
    mixtures: FrozenDict[str, MixtureRecord]  # services by their clients


@functools.cache
def workloads(path: Path = _FILE) -> Workloads:
    """Read and check the file.

    Raises:
        CatalogError: naming file, line, key and value of the first fault.
    """
    source = read_toml(path)
    if unknown := sorted(source.data.keys() - {"workload", "mixture"}):
        raise CatalogError(f"{source.place(unknown[0])}: unknown table; known here: workload, mixture")
    traces, mixtures = (source.data.get(name, {}) for name in ("workload", "mixture"))
    return Workloads(
        FrozenDict({key: decode(WorkloadRecord, row, source.place("workload", key)) for key, row in traces.items()}),
        FrozenDict({key: decode(MixtureRecord, row, source.place("mixture", key)) for key, row in mixtures.items()}),
    )


def check_bins(upto: Sequence[int], means: Sequence[float], what: str) -> None:
    """Refuse bins whose upper ends do not rise, or with a mean outside its bin.

    Args:
        upto: upper ends, tokens.
        means: mean length in each, tokens; 0 in an empty one.
        what: the bins' name, for the message.

    Raises:
        ValueError: naming what is wrong.
    """
    if not upto or len(upto) != len(means) or any(b <= a for a, b in itertools.pairwise((0, *upto))):
        raise ValueError(f"{what} should have rising ends and a mean each, got {upto} and {means}")
    for low, high, mean in zip((0, *upto), upto, means, strict=False):
        if mean and not low < mean <= high:
            raise ValueError(f"{what}: mean {mean} does not lie in the bin above {low} up to {high}")
