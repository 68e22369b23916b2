"""What serving.toml holds: published figures of serving, of both phases on the same chips and of either on its own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Literal

from costlab.catalog.acceptance import ReadIn

#: A part of serving: reading the prompt, or writing the answer.
ServingPhase = Literal["prefill", "decode"]

#: What a published comparison changes.
ServingLever = Literal[
    "separation",  # prefill and decode on chips of their own, against both on the same
    "unlike chips",  # separation, with other chips for decode than for prefill
    "mixed layout",  # part separated, part not
    "chunked prefill",  # prompts read in pieces between decode steps
    "length buckets",  # prompts of like length served together
    "expert parallelism",  # experts spread over many chips, against tensor parallelism
    "expert balance",  # copies of the experts that are asked most
    "two-batch overlap",  # one half of a batch computes while the other communicates
]


@dataclass(frozen=True)
class PhaseRates:
    """Requests per second that a chip serves within the objectives: doing both phases, and doing one of them only."""

    what: str  # the workload, in words
    model: str  # as the source writes it
    chip: str  # as the source writes it
    both_requests_s: float  # of a chip that prefills and decodes
    prefill_requests_s: float  # of a chip that only prefills
    decode_requests_s: float  # of a chip that only decodes
    attainment: float  # share of requests that meet the objectives, 0 to 1
    read: ReadIn  # where the figures were read
    source: str  # where they stand
    date: date  # day of publication; second hand: day they were read
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        _above_zero(self, "both_requests_s", "prefill_requests_s", "decode_requests_s")
        _shares(self, "attainment")

    def separated_requests_s(self, prefill: int, decode: int) -> float:
        """Return requests per second and chip of separate pools: the slower pool's rate over all chips.

        Args:
            prefill: chips that prefill, at least 1.
            decode: chips that decode, at least 1.

        Raises:
            ValueError: a pool without a chip.
        """
        if prefill < 1 or decode < 1:
            raise ValueError(f"prefill = {prefill} and decode = {decode} chips should be at least 1 each")
        slower = min(prefill * self.prefill_requests_s, decode * self.decode_requests_s)
        return slower / (prefill + decode)


@dataclass(frozen=True)
class ServingObjective:
    """A workload of a published evaluation: mean lengths, and the times within which requests are to be served."""

    application: str  # what the requests are for
    dataset: str  # whose lengths they have
    model: str  # as the source writes it
    input_tokens: float  # mean of a request
    output_tokens: float  # mean of a request
    ttft_s: float  # time to first token, at most
    attainment: float  # share of requests that meet both, 0 to 1
    read: ReadIn  # where the figures were read
    source: str  # where they stand
    date: date  # day of publication; second hand: day they were read
    tpot_s: float | None = None  # time per output token, at most; None where not read
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        _above_zero(self, "input_tokens", "output_tokens", "ttft_s", *(() if self.tpot_s is None else ("tpot_s",)))
        _shares(self, "attainment")


@dataclass(frozen=True)
class SplitCluster:
    """A cluster whose machines, of 8 chips each, prefill or decode, against one whose machines do both."""

    design: str  # its name in the source
    workload: str  # what it was sized for
    prefill_chip: str  # key of the chip
    prefill_machines: int  # that prefill
    decode_chip: str  # key of the chip
    decode_machines: int  # that decode
    read: ReadIn  # where the figures were read
    source: str  # where they stand
    date: date  # day of publication; second hand: day they were read
    requests_s: float | None = None  # load that it serves, where named
    both_machines: int | None = None  # machines that serve the same load where each does both, of the prefill chip
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        _above_zero(self, "prefill_machines", "decode_machines")
        if self.both_machines is not None and not (self.both_machines >= 1 and self.requests_s):
            raise ValueError(f"both_machines = {self.both_machines} should be at least 1 and needs requests_s")

    @property
    def gain(self) -> float | None:
        """Load of a machine over that of one that does both; None where unlike, or where no such number is known."""
        if self.both_machines is None or self.prefill_chip != self.decode_chip:
            return None
        return self.both_machines / (self.prefill_machines + self.decode_machines)


@dataclass(frozen=True)
class ServingGain:
    """What a change of layout or scheduling gained: times the figure of the baseline, from `low` to `high`."""

    lever: ServingLever  # what was changed
    what: str  # the comparison, in words
    over: str  # the baseline
    measure: str  # what was compared, e.g. "requests/s within the objectives"
    low: float  # smallest of the published factors; below 1 where the change costs
    high: float  # largest of them
    read: ReadIn  # where the figures were read
    source: str  # where they stand
    date: date  # day of publication; second hand: day they were read
    equal_chips: bool = True  # whether the figure is for equal numbers of chips of the same kind
    simulated: bool = False  # whether computed rather than measured
    rounded: bool = False  # whether the source says "the same" and gives no number
    model: str = ""  # as the source writes it
    hardware: str = ""  # where named
    input_tokens: int | None = None  # of a prompt, where named
    output_tokens: int | None = None  # of an answer, where named
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        _above_zero(self, "low", "high")
        if self.low > self.high:
            raise ValueError(f"low = {self.low} should be at most high = {self.high}")

    @property
    def factors(self) -> tuple[float, ...]:
        """What was published: one factor, or the ends of a range."""
        return (self.low,) if self.low == self.high else (self.low, self.high)


@dataclass(frozen=True)
class ServingRow:
    """One line of a published table; what the source leaves out is None. Latencies in seconds."""

    setting: str  # the layout, scheduler or value that was tried
    value: float | None = None  # the same as a number, where it is one
    prefill_workers: int | None = None  # engines that only prefill
    decode_workers: int | None = None  # engines that only decode
    both_workers: int | None = None  # engines that do both
    ttft_mean_s: float | None = None  # time to first token
    ttft_p50_s: float | None = None  # its median
    ttft_p99_s: float | None = None  # exceeded by 1% of requests
    gap_mean_s: float | None = None  # between two tokens of a request
    gap_p99_s: float | None = None  # exceeded by 1% of gaps
    end_to_end_mean_s: float | None = None  # from arrival to the last token
    end_to_end_p50_s: float | None = None  # its median
    output_tokens_s: float | None = None  # of all engines
    total_tokens_s: float | None = None  # input and output
    requests_s: float | None = None  # finished
    preemptions: int | None = None  # requests that lost their KV cache and began anew

    def __post_init__(self) -> None:
        for each in fields(self)[1:]:
            number = getattr(self, each.name)
            if number is not None and not 0 <= number < math.inf:
                raise ValueError(f"{each.name} = {number} should be at least 0 and finite")


@dataclass(frozen=True)
class ServingTable:
    """A published table of latencies or rates, with what it was measured under."""

    what: str  # what was compared, in words
    model: str  # as the source writes it
    hardware: str  # chips of one engine
    rows: tuple[ServingRow, ...]  # one for each setting
    read: ReadIn  # where the figures were read
    source: str  # where they stand
    date: date  # day of publication; second hand: day they were read
    engine: str = ""  # software that served, where named
    tensor_parallel: int | None = None  # chips that share each layer
    input_tokens: int | None = None  # mean of a request, or its exact length
    output_tokens: int | None = None  # mean of a request, or its exact length
    requests: int | None = None  # how many were sent
    requests_s: float | None = None  # at which they arrived; None where a fixed number was under way
    concurrency: int | None = None  # requests under way at any time; None where they arrived at a rate
    kv_tokens: int | None = None  # tokens whose keys and values an engine holds
    running: int | None = None  # most requests in a step
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        if len({row.setting for row in self.rows}) < max(2, len(self.rows)):
            raise ValueError(f"rows = {[row.setting for row in self.rows]} should be two or more, each named once")

    def row(self, setting: str) -> ServingRow:
        """Return the line of a setting.

        Raises:
            ValueError: a setting that the table does not have.
        """
        for row in self.rows:
            if row.setting == setting:
                return row
        raise ValueError(f"unknown setting {setting!r}; known: {', '.join(row.setting for row in self.rows)}")


@dataclass(frozen=True)
class TransferTable:
    """Measured times of moving a prompt's keys and values from a prefill engine to a decode engine."""

    model: str  # as the source writes it
    hardware: str  # chips of each engine and what joins them
    tensor_parallel: int  # chips that share each layer, the same on both sides
    layers: int  # of the model, all with full attention
    kv_heads: int  # of a layer
    head_dim: int  # of keys and of values
    element_bytes: int  # of a stored number
    line_bytes_s: float  # of the network between the engines, as the source counts it
    input_tokens: tuple[int, ...]  # of the prompts, rising
    transfer_s: tuple[float, ...]  # at each
    ttft_s: tuple[float, ...]  # mean time to first token at each
    read: ReadIn  # where the figures were read
    source: str  # where they stand
    date: date  # day of publication
    engine: str = ""  # software that served
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        _above_zero(self, "tensor_parallel", "layers", "kv_heads", "head_dim", "element_bytes", "line_bytes_s")
        for name in ("transfer_s", "ttft_s"):
            if len(getattr(self, name)) != len(self.input_tokens):
                raise ValueError(f"{name} should have one figure for each of input_tokens = {self.input_tokens}")
        if self.input_tokens[:1] < (1,) or any(b <= a for a, b in itertools.pairwise(self.input_tokens)):
            raise ValueError(f"input_tokens = {self.input_tokens} should rise from 1 or more")

    @property
    def bytes_per_token(self) -> int:
        """Keys and values of one token in all layers, each stored once."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.element_bytes

    @property
    def copies(self) -> float:
        """How often each byte is sent: once, or more where there are more chips than heads to share among them."""
        return max(1.0, self.tensor_parallel / self.kv_heads)

    @property
    def moved_bytes(self) -> tuple[float, ...]:
        """Bytes that each transfer moves, repeated heads counted."""
        return tuple(n * self.bytes_per_token * self.copies for n in self.input_tokens)


@dataclass(frozen=True)
class NodeRate:
    """Tokens per second of one node that does one phase."""

    phase: ServingPhase  # which one
    model: str  # key of the model
    chip: str  # key of the chip
    nodes: int  # that share the experts
    tokens_s: float  # of one node
    engine: str  # whose software, and how
    read: ReadIn  # where the figures were read
    source: str  # where they stand
    date: date  # day of publication
    chips_per_node: int = 8  # in a node
    input_tokens: int | None = None  # of a prompt; None where not named
    context: int | None = None  # of a sequence at a decode step; None where not named
    tokens_per_chip: int | None = None  # of a prefill batch
    batch_per_chip: int | None = None  # sequences of a decode step
    alone: bool = False  # whether the other phase was taken as endlessly fast
    production: bool = False  # whether users were served
    simulated: str = ""  # what of it was not real
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        _above_zero(self, "nodes", "tokens_s", "chips_per_node")

    @property
    def step_s(self) -> float:
        """Seconds of a decode step in which each sequence of the batch gains one token.

        Raises:
            ValueError: a rate without a batch.
        """
        if self.batch_per_chip is None:
            raise ValueError(f"the {self.phase} rate {self.tokens_s:g} names no batch_per_chip, so its step is unknown")
        return self.batch_per_chip * self.chips_per_node / self.tokens_s


@dataclass(frozen=True)
class OutputPrice:
    """A published cost of output tokens with the deployment that it was reckoned from."""

    what: str  # the deployment, in words
    prefill: str  # key of its prefill nodes' rate
    decode: str  # key of its decode nodes' rate
    usd_per_million: float  # as published
    usd_per_chip_hour: float  # rent behind it
    input_tokens: int  # of a request in the benchmark
    output_tokens: int  # of a request in the benchmark
    source: str  # where it stands
    date: date  # day of publication
    rent_stated: bool = False  # whether the source names the rent; else it is the one that yields the price
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        _above_zero(self, "usd_per_million", "usd_per_chip_hour", "input_tokens", "output_tokens")


@dataclass(frozen=True)
class LayoutRegime:
    """Which layout a study finds best, by how tight the objectives are."""

    ttft: Literal["tight", "balanced", "loose", "any"]  # time to first token
    tpot: Literal["tight", "balanced", "loose", "any"]  # time per output token
    best: Literal["both together", "separated", "mixed", "no difference"]  # the layout
    says: str  # the finding, in our words
    read: ReadIn  # where it was read
    source: str  # where it stands
    date: date  # day of publication; second hand: day it was read
    values: Mapping[str, float] | None = None  # its figures by name
    simulated: bool = False  # whether computed rather than measured


@dataclass(frozen=True)
class ServingFigures:
    """Single figures about serving: parameters of routers and schedulers, overheads, errors of simulators."""

    says: str  # what they are, in our words
    values: Mapping[str, float]  # by name; shares from 0 to 1, seconds, bytes, counts
    read: ReadIn  # where they were read
    source: str  # where they stand
    date: date  # day of publication; second hand and living documents: day they were read
    note: str = ""  # what a reader should know


@dataclass(frozen=True)
class ServingCatalog:
    """Everything in serving.toml, by table and key; a price names rates that are there."""

    rates: Mapping[str, PhaseRates]  # requests per second of a chip by what it does
    objectives: Mapping[str, ServingObjective]  # workloads of evaluations
    clusters: Mapping[str, SplitCluster]  # machines that prefill and machines that decode
    gains: Mapping[str, ServingGain]  # what a change gained or cost
    tables: Mapping[str, ServingTable]  # latencies and rates by setting
    transfers: Mapping[str, TransferTable]  # times of moving keys and values
    nodes: Mapping[str, NodeRate]  # tokens per second of a node
    output_prices: Mapping[str, OutputPrice]  # costs that deployments claim
    regimes: Mapping[str, LayoutRegime]  # which layout is best when
    figures: Mapping[str, ServingFigures]  # single figures

    def __post_init__(self) -> None:
        for key, price in self.output_prices.items():
            for phase in ("prefill", "decode"):
                node = self.nodes.get(getattr(price, phase))
                if node is None or node.phase != phase:
                    raise ValueError(f"price.{key}: {phase} = {getattr(price, phase)!r} should be a {phase} node's key")


def _above_zero(record: object, *names: str) -> None:
    for name in names:
        number = getattr(record, name)
        if not 0 < number < math.inf:
            raise ValueError(f"{name} = {number} should be above 0 and finite")


def _shares(record: object, *names: str) -> None:
    for name in names:
        if not 0 < getattr(record, name) <= 1:
            raise ValueError(f"{name} = {getattr(record, name)} should be above 0 and at most 1")
