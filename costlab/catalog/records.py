"""What one entry of each catalog file holds.

Sizes are in bytes, bandwidths in bytes per second, FLOP/s dense (no sparsity), prices per million tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any, Literal

from costlab.catalog.decoding import FrozenDict

#: In the records a field is called `date`, so its type needs other names.
Day = date
Moment = date | datetime

#: Bytes of one stored element. A block-scaled "mxfp4" weight carries one shared scale byte per 32 elements
#: (OCP Microscaling Formats specification 1.0, 2023-09); FP8 weights with 128x128 block scales add 0.02%, left out.
DTYPE_BYTES: Mapping[str, float] = FrozenDict(
    {
        "fp32": 4.0,
        "bf16": 2.0,
        "fp16": 2.0,
        "fp8": 1.0,
        "int8": 1.0,
        "ue8m0": 1.0,
        "pad": 1.0,
        "mxfp4": 0.5 + 1 / 32,
        "fp4": 0.5,
    }
)


@dataclass(frozen=True)
class Run:
    """`repeat` times the listed (attention, ffn) pairs."""

    repeat: int
    pairs: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        if self.repeat < 1 or not self.pairs:
            raise ValueError(f"a run needs repeat >= 1 and at least one pair, got {self.repeat} x {self.pairs}")


@dataclass(frozen=True)
class Published:
    """What the maker prints; `active_counts` says which tables it must have counted to arrive there.

    "head": the layers and the output head, DeepSeek's way and ours; "head+embedding": Xiaomi's; "layers": neither.
    """

    total: str
    active: str | None = None
    active_counts: Literal["layers", "head", "head+embedding"] = "head"


@dataclass(frozen=True)
class Mtp:
    """A multi-token-prediction module: one more layer behind `projections` matrices of (inputs x hidden) -> hidden."""

    projections: int
    projection_inputs: int
    attention: str
    ffn: str


@dataclass(frozen=True)
class RopeStretch:
    """YaRN's stretch of a rotary embedding (arXiv 2309.00071): by `factor`, from the context it was trained with.

    Pairs of channels that make more than `fast` turns within that context stay, those of fewer than `slow` stretch.
    """

    factor: float
    original_context: int
    fast: float = 32.0
    slow: float = 1.0


@dataclass(frozen=True)
class Running:
    """What running needs and no count does.

    rope_theta: rotary bases by attention kind; yarn: their stretch, where there is one; value_scale: factor on values;
    norm_eps: of the norms; sinkhorn_steps: of the mixing weights where the residual has several streams.
    """

    rope_theta: Mapping[str, float] = field(default_factory=FrozenDict)
    value_scale: float = 1.0
    norm_eps: float = 1e-6
    yarn: Mapping[str, RopeStretch] = field(default_factory=FrozenDict)
    sinkhorn_steps: int = 20


@dataclass(frozen=True)
class ModelRecord:
    """The dimensions of a model, as published."""

    name: str
    maker: str
    hidden: int
    vocab: int
    context: int
    source: str
    date: date
    layers: tuple[Run, ...]
    published: Published
    attention: Mapping[str, Mapping[str, Any]]
    ffn: Mapping[str, Mapping[str, Any]]
    weights: Mapping[str, str]
    math: Mapping[str, str]
    residual_streams: int = 1
    tied: bool = False
    mtp: Mtp | None = None
    running: Running = field(default_factory=Running)
    note: str = ""

    def __post_init__(self) -> None:
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
class ClaimedModel:
    """A model as an article describes it."""

    says: str
    total: str
    active: str
    experts: int
    top_k: int
    source: str
    date: date
    hidden: int | None = None
    expert_inner: int | None = None
    expert_params: str | None = None
    capacity_factor: float | None = None


@dataclass(frozen=True)
class Offer:
    """What a chip or a server of chips was rented or sold for; "claim-price" is an article's figure, unverified."""

    kind: Literal["rent", "price", "claim-price"]
    amount: float
    currency: str
    unit: Literal["chip-hour", "chip", "server"]
    date: date
    source: str
    note: str = ""


@dataclass(frozen=True)
class ChipRecord:
    """One accelerator: dense FLOP/s by precision, memory, links (one direction, per chip) and power."""

    name: str
    maker: str
    date: date
    source: str
    memory_bytes: int
    memory_bandwidth_bytes_s: float
    link_bytes_s: float
    network_bytes_s: float
    chips_per_node: int
    power_w: int
    flops: Mapping[str, float]
    node_power_w: int | None = None
    offers: tuple[Offer, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class PriceRow:
    """One row of a price list, per million tokens, valid from `valid_from` until before `valid_to`."""

    product: str
    provider: str
    currency: str
    miss: float
    output: float
    valid_from: Moment
    source: str
    date: date
    hit: float | None = None
    write: float | None = None
    model: str | None = None
    valid_to: Moment | None = None
    min_input_tokens: int = 0
    max_input_tokens: int | None = None
    window: Literal["peak", "off-peak"] | None = None
    promotion: bool = False
    published_by: Literal["provider", "article-e"] = "provider"
    note: str = ""

    def __post_init__(self) -> None:
        for what in ("miss", "output", "hit", "write"):
            amount = getattr(self, what)
            if amount is not None and not 0 <= amount < math.inf:
                raise ValueError(f"{what} = {amount} should be a finite price of at least 0")


@dataclass(frozen=True)
class PriceWindow:
    """When a provider's peak or off-peak prices apply: [start, end) in UTC; an end before its start passes midnight."""

    provider: str
    name: str
    window: Literal["peak", "off-peak"]
    hours: tuple[tuple[time, time], ...]
    weekdays_only: bool
    valid_from: Moment
    source: str
    date: date
    holidays: tuple[Day, ...] = ()
    valid_to: Moment | None = None


@dataclass(frozen=True)
class Succession:
    """What took the place of a product whose prices have ended.

    `name_billed`: the provider still takes calls under the old name, and bills them as `superseded_by`.
    """

    product: str
    superseded_by: str
    source: str
    date: date
    name_billed: bool = False
    note: str = ""


@dataclass(frozen=True)
class FxRate:
    """Units of `quote` for one `base` on a day; `claim` marks a rate that only an article uses."""

    base: str
    quote: str
    rate: float
    date: date
    source: str
    claim: bool = False
    implied: bool = False
    note: str = ""


@dataclass(frozen=True)
class Routing:
    """How an MoE layer chooses its experts."""

    score: Literal["softmax", "sigmoid", "sqrt-softplus"]
    select: Literal["top-k", "token-table"] = "top-k"
    groups: int = 1
    groups_kept: int = 1
    bias: bool = False
    scale: float = 1.0


@dataclass(frozen=True)
class Article:
    """A source article whose numbers the ledger recomputes."""

    title: str
    source: str
    date: date
    note: str = ""


@dataclass(frozen=True)
class ClaimRecord:
    """What articles say, in our words, with the figures as numbers.

    values: what they claim; setting: what we assume where they name no condition; published: what another source says
    of the same thing, with its `source` and `date`. No name stands in two of them.
    """

    says: str
    articles: tuple[str, ...]
    values: Mapping[str, float]
    setting: Mapping[str, float] = field(default_factory=FrozenDict)
    published: Mapping[str, float] = field(default_factory=FrozenDict)
    source: str | None = None
    date: Day | None = None

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
    """A workload as an article defines it; `hit_rate` is the share of input tokens found in the provider's cache."""

    name: str
    input_tokens: int
    output_tokens: int
    hit_rate: float
    calls: int
    source: str
    date: date


@dataclass(frozen=True)
class ServingDay:
    """A day of serving as its operator published it; per-node rates count cached input tokens too."""

    what: str
    model: str
    chip: str
    nodes: float
    nodes_peak: float
    chips_per_node: int
    usd_per_chip_hour: float
    input_tokens: float
    input_hit_tokens: float
    output_tokens: float
    node_input_tokens_s: float
    node_output_tokens_s: float
    user_tokens_s: tuple[float, float]
    mean_context: int
    prefill_chips: int
    decode_chips: int
    cost_usd: float
    revenue_usd: float
    margin: float
    hit_usd: float
    miss_usd: float
    output_usd: float
    source: str
    date: date


@dataclass(frozen=True)
class TraceStatistics:
    """What its publisher says of a trace: mean lengths of a request, and the share of input an endless cache holds.

    `session_hit_median` and `session_hit_mean` are of the hit rates of single conversations; `new_tokens` is the mean
    of a request's input tokens that no request before it had.
    """

    what: str
    source: str
    date: date
    requests: int | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    hit_rate: float | None = None
    session_hit_median: float | None = None
    session_hit_mean: float | None = None
    new_tokens: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        for what in ("hit_rate", "session_hit_median", "session_hit_mean"):
            share = getattr(self, what)
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"{what} = {share} should be between 0 and 1")


@dataclass(frozen=True)
class StorageMedium:
    """What holds cached pages below a chip's own memory: rates of one `unit`, and the price of keeping bytes there."""

    name: str
    unit: Literal["chip", "drive"]
    read_bytes_s: float
    write_bytes_s: float
    price_usd: float
    price_per: Literal["GiB-hour", "GiB-month"]
    source: str
    date: date
    latency_s: float = 0.0
    note: str = ""

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

    name: str
    least_tokens: int
    timeout_s: float
    timeout_s_per_1024_tokens: float
    host_share: float
    selective_uses: int
    source: str
    date: date
    note: str = ""


@dataclass(frozen=True)
class Catalog:
    """Everything in the catalog, by key."""

    models: Mapping[str, ModelRecord]
    claimed_models: Mapping[str, ClaimedModel]
    chips: Mapping[str, ChipRecord]
    prices: tuple[PriceRow, ...]
    fx: tuple[FxRate, ...]
    days: Mapping[str, ServingDay]
    traces: Mapping[str, TraceStatistics]
    scenarios: Mapping[str, Scenario]
    articles: Mapping[str, Article]
    claims: Mapping[str, ClaimRecord]
    windows: tuple[PriceWindow, ...]
    successions: tuple[Succession, ...]
    media: Mapping[str, StorageMedium]
    prefetch: Mapping[str, PrefetchRule]
