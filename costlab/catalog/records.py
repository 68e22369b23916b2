"""What one entry of each catalog file holds.

Sizes are in bytes, bandwidths in bytes per second, FLOP/s dense (no sparsity), prices per million tokens.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, get_args

from costlab.catalog.acceptance import AcceptanceCurve, EntropyFit, MeasuredSpeedup, PositionAcceptance
from costlab.catalog.chips import ChipRecord
from costlab.catalog.decoding import FrozenDict
from costlab.catalog.levers import LeverFigure, TrafficKind
from costlab.catalog.limits import OperationEnergy, PhysicalConstant, PublishedEnergy
from costlab.catalog.margins import MarginStatement
from costlab.catalog.ownership import CostFigure, PublishedOwning, PublishedRun
from costlab.catalog.price_lists import (
    Alias,
    PriceRow,
    PriceWindow,
    Publisher,
    ServiceTier,
    Succession,
    by_name,
    by_product,
)
from costlab.catalog.serving import ServingCatalog
from costlab.catalog.step_times import FittedSteps

#: In the records a field is called `date`, so its type needs another name.
Day = date

#: Bytes of one stored element. A block-scaled "mxfp4" weight carries one shared scale byte per 32 elements
#: (OCP Microscaling Formats specification 1.0, 2023-09), "int4-g32" one BF16 scale per 32 (compressed-tensors'
#: pack-quantized, as in Kimi-K2.5's config.json); FP8 weights with 128x128 block scales add 0.02%, left out.
DTYPE_BYTES: Mapping[str, float] = FrozenDict(
    {
        "fp64": 8.0,
        "fp32": 4.0,
        "bf16": 2.0,
        "fp16": 2.0,
        "fp8": 1.0,
        "int8": 1.0,
        "ue8m0": 1.0,
        "pad": 1.0,
        "mxfp4": 0.5 + 1 / 32,
        "fp4": 0.5,
        "int4": 0.5,
        "int4-g32": 0.5 + 2 / 32,
    }
)


@dataclass(frozen=True)
class LayerRun:
    """`repeat` times the listed (attention, ffn) pairs."""

    repeat: int  # how often the pairs come, at least 1
    pairs: tuple[tuple[str, str], ...]  # (attention, ffn) names of the model's tables, one pair a layer

    def __post_init__(self) -> None:
        if self.repeat < 1 or not self.pairs:
            raise ValueError(f"a run needs repeat >= 1 and at least one pair, got {self.repeat} x {self.pairs}")


@dataclass(frozen=True)
class Published:
    """What the maker prints; `active_counts` says which tables it must have counted to arrive there.

    "head": the layers and the output head, DeepSeek's way and ours; "head+embedding": Xiaomi's; "layers": neither.
    """

    total: str  # all parameters, as printed, e.g. "671B"
    active: str | None = None  # parameters that a token multiplies, as printed; None where not printed
    active_counts: Literal["layers", "head", "head+embedding"] = "head"  # the tables that figure counts

    def __post_init__(self) -> None:
        _ = self.total_params, self.active_params  # refuses what cannot be read

    @property
    def total_params(self) -> int:
        """All parameters as a plain number."""
        return _params(self.total)

    @property
    def active_params(self) -> int | None:
        """Parameters that a token multiplies as a plain number; None where not printed."""
        return None if self.active is None else _params(self.active)


def _params(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([BT])", text)
    if not found:
        raise ValueError(f"{text!r} parameters should look like 671B or 1.6T")
    return round(float(found[1]) * {"B": 1e9, "T": 1e12}[found[2]])


@dataclass(frozen=True)
class Mtp:
    """Multi-token-prediction modules: each one layer behind `projections` matrices of (inputs x hidden) -> hidden."""

    projections: int  # matrices in front of the layer
    projection_inputs: int  # inputs of each, in units of the model's width
    attention: str  # name of its attention table
    ffn: str  # name of its feed-forward table
    modules: int = 1  # how many there are, of one shape, each for its own position

    def __post_init__(self) -> None:
        if min(self.projections, self.projection_inputs, self.modules) < 1:
            raise ValueError(f"projections, projection_inputs and modules should be at least 1, got {self}")


@dataclass(frozen=True)
class RopeStretch:
    """YaRN's stretch of a rotary embedding (arXiv 2309.00071): by `factor`, from the context it was trained with.

    Pairs of channels that make more than `fast` turns within that context stay, those of fewer than `slow` stretch.
    """

    factor: float  # how many times longer the context becomes
    original_context: int  # tokens it was trained with
    fast: float = 32.0  # turns above which a pair of channels stays
    slow: float = 1.0  # turns below which a pair stretches in full


@dataclass(frozen=True)
class Running:
    """What running needs and no count does."""

    rope_theta: Mapping[str, float] = field(default_factory=FrozenDict)  # rotary base by attention kind
    value_scale: float = 1.0  # factor on values
    norm_eps: float = 1e-6  # what the norms add under the root
    # stretch of the rotary embedding by attention kind, where there is one
    yarn: Mapping[str, RopeStretch] = field(default_factory=FrozenDict)
    sinkhorn_steps: int = 20  # of the mixing weights where the residual has several streams


@dataclass(frozen=True)
class LookupTable:
    """A table of which tokens or runs of tokens pick rows: stored, but no matrix that multiplies.

    What joins the rows to the model is a matrix or two per layer; it counts here as `joined`.
    """

    rows: int  # entries of the table
    width: int  # elements of an entry
    copies: int = 1  # tables of that size
    joined: int = 0  # parameters of the matrices that join all its entries to the model, which each token multiplies
    norms: int = 0  # parameters of its norms

    def __post_init__(self) -> None:
        if min(self.rows, self.width, self.copies) < 1 or min(self.joined, self.norms) < 0:
            raise ValueError(f"a table needs rows, width and copies of at least 1, got {self}")


@dataclass(frozen=True)
class ModelRecord:
    """The dimensions of a model, as published."""

    name: str  # as its maker writes it
    maker: str  # company
    hidden: int  # width of the residual stream, in elements
    vocab: int  # tokens in the vocabulary
    context: int  # longest context, in tokens
    source: str  # where the dimensions stand
    date: date  # day they were read
    layers: tuple[LayerRun, ...]  # runs of layers in order
    # table of each attention kind by its name in `layers`; `kind` picks the class in arch
    attention: Mapping[str, Mapping[str, Any]]
    ffn: Mapping[str, Mapping[str, Any]]  # table of each feed-forward kind by its name in `layers`
    weights: Mapping[str, str]  # stored precision by component; "default" for the rest
    math: Mapping[str, str]  # precision of the multiplications by component; "default" for the rest
    published: Published | None = None  # parameter counts that the maker prints; None where it prints none
    residual_streams: int = 1  # parallel residual streams (hyper-connections); 1 is a plain residual
    streams_mixed: bool = True  # whether each layer mixes the streams with one another, by learned weights
    streams_joined: bool = True  # whether learned weights join them behind the last layer, instead of their mean
    tied: bool = False  # whether the output head is the embedding table
    mtp: Mtp | None = None  # multi-token-prediction modules, if there are any
    running: Running = field(default_factory=Running)  # what running needs and no count does
    norms: int = 1  # norms of the model's width around each attention and each feed-forward part
    prefill_layers: int | None = None  # first layers, which a prompt's tokens run; the rest run for its last; None: all
    lookup: Mapping[str, LookupTable] = field(default_factory=FrozenDict)  # tables that multiply nothing, by name
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        depth = sum(run.repeat * len(run.pairs) for run in self.layers)
        if self.prefill_layers is not None and not 1 <= self.prefill_layers <= depth:
            raise ValueError(f"prefill_layers = {self.prefill_layers} should be from 1 to the {depth} layers")
        if self.norms < 0:
            raise ValueError(f"norms = {self.norms} should be at least 0")
        kinds = {str(table.get("kind")) for table in self.attention.values()}
        if unused := self.running.rope_theta.keys() - kinds:
            raise ValueError(f"running.rope_theta names {sorted(unused)!r}, attention kinds are {sorted(kinds)}")
        if unused := self.running.yarn.keys() - self.running.rope_theta.keys():
            raise ValueError(
                f"running.yarn names {sorted(unused)!r}, running.rope_theta {sorted(self.running.rope_theta)}"
            )
        for part, known in (("attention", self.attention), ("ffn", self.ffn)):
            used = {pair[part == "ffn"] for run in self.layers for pair in run.pairs}
            if self.mtp:
                used.add(getattr(self.mtp, part))
            if missing := used - known.keys():
                raise ValueError(f"layers name {part} {sorted(missing)!r}, described are {sorted(known)}")
        for what in ("weights", "math"):
            if "default" not in getattr(self, what):
                raise ValueError(f"{what} needs a 'default' precision")
        for component, dtype in self.weights.items():
            if dtype not in DTYPE_BYTES:
                raise ValueError(f"weights.{component} = {dtype!r} should be one of {', '.join(DTYPE_BYTES)}")


@dataclass(frozen=True)
class DraftHead:
    """A head that drafts from a target's hidden states: one dense layer of the target's width, its own output head."""

    name: str  # as its authors call it
    features: int  # hidden states of the target that a matrix joins into one
    inputs: int  # vectors that the layer's projections read side by side
    vocab: int  # tokens that it can draft
    weights: str  # stored precision, and that of its multiplications
    source: str  # where the dimensions stand
    date: date  # day they were read


@dataclass(frozen=True)
class ClaimedModel:
    """A model as an article describes it."""

    says: str  # the article's words, in ours
    total: str  # parameters, as printed
    active: str  # parameters a token multiplies, as printed
    experts: int  # routed experts per layer
    top_k: int  # experts that a token visits
    source: str  # the article
    date: date  # day it was read
    hidden: int | None = None  # width of the residual stream; None where not said
    expert_inner: int | None = None  # width inside an expert; None where not said
    expert_params: str | None = None  # parameters of an expert, as printed; None where not said
    capacity_factor: float | None = None  # slots per expert over the even share; None where not said


@dataclass(frozen=True)
class FxRate:
    """Units of `quote` for one `base` on a day; `claim` marks a rate that only an article uses."""

    base: str  # ISO code of what is bought
    quote: str  # ISO code of what it is paid in
    rate: float  # units of `quote` for one `base`
    date: date  # day of the rate
    source: str  # where it stands
    claim: bool = False  # whether only an article uses it
    implied: bool = False  # whether it follows from two prices of one list
    note: str = ""  # what a reader should know


@dataclass(frozen=True)
class Routing:
    """How an MoE layer chooses its experts."""

    score: Literal["softmax", "sigmoid", "sqrt-softplus"]  # what makes scores of the gate's logits
    select: Literal["top-k", "token-table"] = "top-k"  # the best `top_k` scores, or a table by token id
    groups: int = 1  # groups that the experts form
    groups_kept: int = 1  # groups of which experts may be chosen
    bias: bool = False  # whether a balancing bias steers the choice (and not the weights)
    scale: float = 1.0  # factor on the weights of the chosen


@dataclass(frozen=True)
class Article:
    """A source article whose numbers the ledger recomputes."""

    title: str  # of the article
    author: str  # who wrote it, and for whom
    source: str  # where it stands
    date: date  # day it appeared
    note: str = ""  # what a reader should know


@dataclass(frozen=True)
class ClaimRecord:
    """What articles say, in our words, with the figures as numbers; no name stands in two of the three tables."""

    says: str  # the claim, in our words
    articles: tuple[str, ...]  # letters of the articles that make it
    values: Mapping[str, float]  # figures that they claim, by name
    setting: Mapping[str, float] = field(default_factory=FrozenDict)  # what we assume where they name no condition
    published: Mapping[str, float] = field(default_factory=FrozenDict)  # what another source says of the same thing
    source: str | None = None  # of the published figures
    date: Day | None = None  # day it was read

    def __post_init__(self) -> None:
        names = [*self.values, *self.setting, *self.published]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{twice} should stand in one of values, setting and published")
        if self.published and not (self.source and self.date):
            raise ValueError(f"published = {dict(self.published)} needs its source and date")

    @property
    def numbers(self) -> dict[str, float]:
        """Every number that the verdict may rest on, by name."""
        return {**self.values, **self.setting, **self.published}


@dataclass(frozen=True)
class Scenario:
    """A workload as an article defines it."""

    name: str  # in words
    input_tokens: int  # of one call
    output_tokens: int  # of one call
    hit_rate: float  # share of input tokens found in the cache, 0 to 1
    calls: int  # how many
    source: str  # the article
    date: date  # day it was read


@dataclass(frozen=True)
class ServingDay:
    """A day of serving as its operator published it; per-node rates count cached input tokens too."""

    what: str  # the day, in words
    model: str  # key of the model served
    chip: str  # key of the chip it ran on
    nodes: float  # mean number of nodes in use
    nodes_peak: float  # most nodes in use
    chips_per_node: int  # chips in a node
    usd_per_chip_hour: float  # rent that the operator assumes
    input_tokens: float  # of the whole day, cached ones included
    input_hit_tokens: float  # of them, found in the cache on disk
    output_tokens: float  # of the whole day
    node_input_tokens_s: float  # tokens per second that a prefill node takes in, cached ones included
    node_output_tokens_s: float  # tokens per second that a decode node puts out
    user_tokens_s: tuple[float, float]  # slowest and fastest mean speed of a user's answer, tokens per second
    mean_context: int  # mean tokens of context at an output token
    prefill_chips: int  # chips of one prefill deployment
    decode_chips: int  # chips of one decode deployment
    cost_usd: float  # the day's cost, as published
    revenue_usd: float  # what the list price would bring, as published
    margin: float  # (revenue - cost) / cost, as published
    hit_usd: float  # list price per million hit tokens
    miss_usd: float  # list price per million missed tokens
    output_usd: float  # list price per million output tokens
    source: str  # where it stands
    date: date  # day of publication


@dataclass(frozen=True)
class TraceStatistics:
    """What its publisher says of a trace: mean lengths of a request, and the share of input an endless cache holds."""

    what: str  # the trace, in words
    source: str  # where the figures stand
    date: date  # day they were read
    requests: int | None = None  # how many
    input_tokens: float | None = None  # mean of a request
    output_tokens: float | None = None  # mean of a request
    hit_rate: float | None = None  # share of input tokens that an endless cache holds, 0 to 1
    session_hit_median: float | None = None  # median of single conversations' hit rates, 0 to 1
    session_hit_mean: float | None = None  # mean of single conversations' hit rates, 0 to 1
    new_tokens: float | None = None  # mean input tokens of a request that no request before it had
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        for what in ("hit_rate", "session_hit_median", "session_hit_mean"):
            share = getattr(self, what)
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"{what} = {share} should be between 0 and 1")


@dataclass(frozen=True)
class StorageMedium:
    """What holds cached pages below a chip's own memory: rates of one `unit`, and the price of keeping bytes there."""

    name: str  # in words
    unit: Literal["chip", "drive"]  # what the rates are of
    read_bytes_s: float  # bytes per second read
    write_bytes_s: float  # bytes per second written
    price_usd: float  # of keeping a GiB for the time in `price_per`
    price_per: Literal["GiB-hour", "GiB-month"]  # unit of the price
    source: str  # where it stands
    date: date  # day it was read
    latency_s: float = 0.0  # seconds before the first byte
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        for what in ("read_bytes_s", "write_bytes_s"):
            if not 0 < getattr(self, what) < math.inf:
                raise ValueError(f"{what} = {getattr(self, what)} should be above 0 and finite")
        for what in ("price_usd", "latency_s"):
            if not 0 <= getattr(self, what) < math.inf:
                raise ValueError(f"{what} = {getattr(self, what)} should be at least 0 and finite")

    @property
    def usd_per_gb_hour(self) -> float:
        """The price of keeping 1e9 bytes for an hour; a month has 730."""
        return self.price_usd * 1e9 / 2**30 / (730 if self.price_per == "GiB-month" else 1)


@dataclass(frozen=True)
class PrefetchRule:
    """When a serving engine fetches pages from storage, how long it waits for them, and when it writes them there."""

    name: str  # of the engine
    least_tokens: int  # shortest stretch worth fetching, in tokens
    timeout_s: float  # seconds that a request waits at most, whatever its length
    timeout_s_per_1024_tokens: float  # seconds more for each 1,024 tokens
    host_share: float  # share of host memory that fetched pages may fill, 0 to 1
    selective_uses: int  # uses after which "selective" writes a page to storage
    source: str  # where the rule stands
    date: date  # day it was read
    note: str = ""  # what a reader should know


@dataclass(frozen=True)
class Catalog:
    """Everything in the catalog, by key."""

    models: Mapping[str, ModelRecord]  # dimensions by key
    claimed_models: Mapping[str, ClaimedModel]  # models as articles describe them
    draft_heads: Mapping[str, DraftHead]  # heads that draft for a target
    chips: Mapping[str, ChipRecord]  # data sheets by key
    prices: tuple[PriceRow, ...]  # rows of the price lists
    fx: tuple[FxRate, ...]  # exchange rates
    days: Mapping[str, ServingDay]  # published days of serving
    traces: Mapping[str, TraceStatistics]  # published statistics of traces
    scenarios: Mapping[str, Scenario]  # workloads of the articles
    articles: Mapping[str, Article]  # the source articles by letter
    claims: Mapping[str, ClaimRecord]  # what they say, by key
    windows: tuple[PriceWindow, ...]  # peak and off-peak hours
    successions: tuple[Succession, ...]  # what took a product's place
    services: tuple[ServiceTier, ...]  # other ways to be served, at a factor of the list price
    aliases: tuple[Alias, ...]  # other names of products in APIs and logs
    media: Mapping[str, StorageMedium]  # storage below a chip's memory
    prefetch: Mapping[str, PrefetchRule]  # engines' prefetch rules
    curves: Mapping[str, AcceptanceCurve]  # accepted lengths of drafters, by draft length
    positions: Mapping[str, PositionAcceptance]  # acceptance of drafted tokens, by position
    entropy_fits: Mapping[str, EntropyFit]  # accepted length by the entropy of the next token
    speedups: Mapping[str, MeasuredSpeedup]  # what drafting gained, by batch
    serving: ServingCatalog  # published figures of serving
    step_times: Mapping[str, FittedSteps]  # step times that others fitted
    costs: Mapping[str, CostFigure]  # what owning chips costs beside their price
    owning: Mapping[str, PublishedOwning]  # what others computed for an hour of a chip
    runs: Mapping[str, PublishedRun]  # published measurements of models on many chips
    margins: Mapping[str, MarginStatement]  # public statements on margins, by what they count
    lever_figures: Mapping[str, LeverFigure]  # what the levers together rest on
    traffic: Mapping[str, TrafficKind]  # mean requests by kind of use
    constants: Mapping[str, PhysicalConstant]  # of physics
    operation_energies: Mapping[str, OperationEnergy]  # what operations of circuits take
    energies: Mapping[str, PublishedEnergy]  # what was published for the energy of requests

    @functools.cached_property
    def rows_of(self) -> Mapping[Publisher, Mapping[str, tuple[PriceRow, ...]]]:
        """Rows of the price lists by publisher and product, products in alphabetical order and rows oldest first."""
        return FrozenDict({publisher: by_product(self.prices, publisher) for publisher in get_args(Publisher)})

    @functools.cached_property
    def meanings(self) -> Mapping[str, tuple[Alias, ...]]:
        """What each other name of products means."""
        return by_name(self.aliases)
