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
class LayerRun:
    """`repeat` times the listed (attention, ffn) pairs.

    Attributes:
        repeat: how often the pairs come, at least 1.
        pairs: (attention, ffn) names of the model's tables, one pair a layer.
    """

    repeat: int
    pairs: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        if self.repeat < 1 or not self.pairs:
            raise ValueError(f"a run needs repeat >= 1 and at least one pair, got {self.repeat} x {self.pairs}")


@dataclass(frozen=True)
class Published:
    """What the maker prints; `active_counts` says which tables it must have counted to arrive there.

    "head": the layers and the output head, DeepSeek's way and ours; "head+embedding": Xiaomi's; "layers": neither.

    Attributes:
        total: all parameters, as printed, e.g. "671B".
        active: parameters that a token multiplies, as printed; None where not printed.
        active_counts: the tables that figure counts.
    """

    total: str
    active: str | None = None
    active_counts: Literal["layers", "head", "head+embedding"] = "head"


@dataclass(frozen=True)
class Mtp:
    """A multi-token-prediction module: one more layer behind `projections` matrices of (inputs x hidden) -> hidden.

    Attributes:
        projections: matrices in front of the layer.
        projection_inputs: inputs of each, in units of the model's width.
        attention: name of its attention table.
        ffn: name of its feed-forward table.
    """

    projections: int
    projection_inputs: int
    attention: str
    ffn: str


@dataclass(frozen=True)
class RopeStretch:
    """YaRN's stretch of a rotary embedding (arXiv 2309.00071): by `factor`, from the context it was trained with.

    Pairs of channels that make more than `fast` turns within that context stay, those of fewer than `slow` stretch.

    Attributes:
        factor: how many times longer the context becomes.
        original_context: tokens it was trained with.
        fast: turns above which a pair of channels stays.
        slow: turns below which a pair stretches in full.
    """

    factor: float
    original_context: int
    fast: float = 32.0
    slow: float = 1.0


@dataclass(frozen=True)
class Running:
    """What running needs and no count does.

    Attributes:
        rope_theta: rotary base by attention kind.
        value_scale: factor on values.
        norm_eps: what the norms add under the root.
        yarn: stretch of the rotary embedding by attention kind, where there is one.
        sinkhorn_steps: of the mixing weights where the residual has several streams.
    """

    rope_theta: Mapping[str, float] = field(default_factory=FrozenDict)
    value_scale: float = 1.0
    norm_eps: float = 1e-6
    yarn: Mapping[str, RopeStretch] = field(default_factory=FrozenDict)
    sinkhorn_steps: int = 20


@dataclass(frozen=True)
class ModelRecord:
    """The dimensions of a model, as published.

    Attributes:
        name: as its maker writes it.
        maker: company.
        hidden: width of the residual stream, in elements.
        vocab: tokens in the vocabulary.
        context: longest context, in tokens.
        source: where the dimensions stand.
        date: day they were read.
        layers: runs of layers in order.
        published: parameter counts that the maker prints.
        attention: table of each attention kind by its name in `layers`; `kind` picks the class in arch.
        ffn: table of each feed-forward kind by its name in `layers`.
        weights: stored precision by component; "default" for the rest.
        math: precision of the multiplications by component; "default" for the rest.
        residual_streams: parallel residual streams (hyper-connections); 1 is a plain residual.
        tied: whether the output head is the embedding table.
        mtp: multi-token-prediction module, if there is one.
        running: what running needs and no count does.
        note: what a reader should know.
    """

    name: str
    maker: str
    hidden: int
    vocab: int
    context: int
    source: str
    date: date
    layers: tuple[LayerRun, ...]
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
    """A model as an article describes it.

    Attributes:
        says: the article's words, in ours.
        total: parameters, as printed.
        active: parameters a token multiplies, as printed.
        experts: routed experts per layer.
        top_k: experts that a token visits.
        source: the article.
        date: day it was read.
        hidden: width of the residual stream; None where not said.
        expert_inner: width inside an expert; None where not said.
        expert_params: parameters of an expert, as printed; None where not said.
        capacity_factor: slots per expert over the even share; None where not said.
    """

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
    """What a chip or a server of chips was rented or sold for; "claim-price" is an article's figure, unverified.

    Attributes:
        kind: rent, purchase price, or an article's unverified figure.
        amount: in `currency` per `unit`.
        currency: ISO code.
        unit: what the amount buys.
        date: day of the offer.
        source: where it stands.
        note: its conditions.
    """

    kind: Literal["rent", "price", "claim-price"]
    amount: float
    currency: str
    unit: Literal["chip-hour", "chip", "server"]
    date: date
    source: str
    note: str = ""


@dataclass(frozen=True)
class ChipRecord:
    """One accelerator: dense FLOP/s by precision, memory, links (one direction, per chip) and power.

    Attributes:
        name: as its maker writes it.
        maker: company.
        date: day the data sheet was read.
        source: where the figures stand.
        memory_bytes: capacity of the chip's memory (HBM).
        memory_bandwidth_bytes_s: bytes per second from it.
        link_bytes_s: bytes per second to chips of the same node, in one direction.
        network_bytes_s: bytes per second to other nodes, in one direction.
        chips_per_node: chips that share links of `link_bytes_s`.
        power_w: the chip's rated power, in watts.
        flops: dense FLOP/s by precision.
        node_power_w: rated power of a whole node, in watts; None where not known.
        offers: dated rents and prices.
        note: what a reader should know.
    """

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
    """One row of a price list, per million tokens, valid from `valid_from` until before `valid_to`.

    Attributes:
        product: name that a call is billed under.
        provider: who sells it.
        currency: ISO code of the amounts.
        miss: per million input tokens that the cache does not hold.
        output: per million output tokens.
        valid_from: first day or moment.
        source: where the row stands.
        date: day it was read.
        hit: per million input tokens found in the cache; None: no such price.
        write: per million input tokens written to a billed cache; None: no such price.
        model: key of the model behind it, where known.
        valid_to: first day or moment it holds no more; None: it still does.
        min_input_tokens: smallest prompt of the tier, in tokens.
        max_input_tokens: largest prompt of the tier, in tokens; None: no limit.
        window: the hours it holds in; None: all day.
        promotion: whether it was announced as temporary.
        published_by: the provider, or the article that alone reports it.
        note: what a reader should know.
    """

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
    """When a provider's peak or off-peak prices apply: [start, end) in UTC; an end before its start passes midnight.

    Attributes:
        provider: whose window.
        name: its name on the price list.
        window: which of the two prices.
        hours: (start, end) times of day, UTC.
        weekdays_only: whether weekends and holidays are left out.
        valid_from: first day or moment.
        source: where it stands.
        date: day it was read.
        holidays: days that count as weekends.
        valid_to: first day or moment it holds no more; None: it still does.
    """

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

    Attributes:
        product: the name whose prices ended.
        superseded_by: the product in its place.
        source: where it stands.
        date: day it was read.
        name_billed: whether calls under the old name are billed as the new product.
        note: what a reader should know.
    """

    product: str
    superseded_by: str
    source: str
    date: date
    name_billed: bool = False
    note: str = ""


@dataclass(frozen=True)
class FxRate:
    """Units of `quote` for one `base` on a day; `claim` marks a rate that only an article uses.

    Attributes:
        base: ISO code of what is bought.
        quote: ISO code of what it is paid in.
        rate: units of `quote` for one `base`.
        date: day of the rate.
        source: where it stands.
        claim: whether only an article uses it.
        implied: whether it follows from two prices of one list.
        note: what a reader should know.
    """

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
    """How an MoE layer chooses its experts.

    Attributes:
        score: what makes scores of the gate's logits.
        select: the best `top_k` scores, or a table by token id.
        groups: groups that the experts form.
        groups_kept: groups of which experts may be chosen.
        bias: whether a balancing bias steers the choice (and not the weights).
        scale: factor on the weights of the chosen.
    """

    score: Literal["softmax", "sigmoid", "sqrt-softplus"]
    select: Literal["top-k", "token-table"] = "top-k"
    groups: int = 1
    groups_kept: int = 1
    bias: bool = False
    scale: float = 1.0


@dataclass(frozen=True)
class Article:
    """A source article whose numbers the ledger recomputes.

    Attributes:
        title: of the article.
        source: where it stands.
        date: day it was read.
        note: what a reader should know.
    """

    title: str
    source: str
    date: date
    note: str = ""


@dataclass(frozen=True)
class ClaimRecord:
    """What articles say, in our words, with the figures as numbers; no name stands in two of the three tables.

    Attributes:
        says: the claim, in our words.
        articles: letters of the articles that make it.
        values: figures that they claim, by name.
        setting: what we assume where they name no condition.
        published: what another source says of the same thing.
        source: of the published figures.
        date: day it was read.
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
    """A workload as an article defines it.

    Attributes:
        name: in words.
        input_tokens: of one call.
        output_tokens: of one call.
        hit_rate: share of input tokens found in the cache, 0 to 1.
        calls: how many.
        source: the article.
        date: day it was read.
    """

    name: str
    input_tokens: int
    output_tokens: int
    hit_rate: float
    calls: int
    source: str
    date: date


@dataclass(frozen=True)
class ServingDay:
    """A day of serving as its operator published it; per-node rates count cached input tokens too.

    Attributes:
        what: the day, in words.
        model: key of the model served.
        chip: key of the chip it ran on.
        nodes: mean number of nodes in use.
        nodes_peak: most nodes in use.
        chips_per_node: chips in a node.
        usd_per_chip_hour: rent that the operator assumes.
        input_tokens: of the whole day, cached ones included.
        input_hit_tokens: of them, found in the cache on disk.
        output_tokens: of the whole day.
        node_input_tokens_s: tokens per second that a prefill node takes in, cached ones included.
        node_output_tokens_s: tokens per second that a decode node puts out.
        user_tokens_s: slowest and fastest mean speed of a user's answer, tokens per second.
        mean_context: mean tokens of context at an output token.
        prefill_chips: chips of one prefill deployment.
        decode_chips: chips of one decode deployment.
        cost_usd: the day's cost, as published.
        revenue_usd: what the list price would bring, as published.
        margin: (revenue - cost) / cost, as published.
        hit_usd: list price per million hit tokens.
        miss_usd: list price per million missed tokens.
        output_usd: list price per million output tokens.
        source: where it stands.
        date: day of publication.
    """

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

    Attributes:
        what: the trace, in words.
        source: where the figures stand.
        date: day they were read.
        requests: how many.
        input_tokens: mean of a request.
        output_tokens: mean of a request.
        hit_rate: share of input tokens that an endless cache holds, 0 to 1.
        session_hit_median: median of single conversations' hit rates, 0 to 1.
        session_hit_mean: mean of single conversations' hit rates, 0 to 1.
        new_tokens: mean input tokens of a request that no request before it had.
        note: what a reader should know.
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
    """What holds cached pages below a chip's own memory: rates of one `unit`, and the price of keeping bytes there.

    Attributes:
        name: in words.
        unit: what the rates are of.
        read_bytes_s: bytes per second read.
        write_bytes_s: bytes per second written.
        price_usd: of keeping a GiB for the time in `price_per`.
        price_per: unit of the price.
        source: where it stands.
        date: day it was read.
        latency_s: seconds before the first byte.
        note: what a reader should know.
    """

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
    """When a serving engine fetches pages from storage, how long it waits for them, and when it writes them there.

    Attributes:
        name: of the engine.
        least_tokens: shortest stretch worth fetching, in tokens.
        timeout_s: seconds that a request waits at most, whatever its length.
        timeout_s_per_1024_tokens: seconds more for each 1,024 tokens.
        host_share: share of host memory that fetched pages may fill, 0 to 1.
        selective_uses: uses after which "selective" writes a page to storage.
        source: where the rule stands.
        date: day it was read.
        note: what a reader should know.
    """

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
    """Everything in the catalog, by key.

    Attributes:
        models: dimensions by key.
        claimed_models: models as articles describe them.
        chips: data sheets by key.
        prices: rows of the price lists.
        fx: exchange rates.
        days: published days of serving.
        traces: published statistics of traces.
        scenarios: workloads of the articles.
        articles: the source articles by letter.
        claims: what they say, by key.
        windows: peak and off-peak hours.
        successions: what took a product's place.
        media: storage below a chip's memory.
        prefetch: engines' prefetch rules.
    """

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
