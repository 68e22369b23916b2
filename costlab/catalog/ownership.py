"""What ownership.toml holds: what owning chips costs beside their price, and what others computed that owning costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from costlab.catalog.chips import Confidence, check_range
from costlab.catalog.decoding import FrozenDict

#: What a figure of ownership is of, each with the units that it may have.
COST_UNITS: Mapping[str, tuple[str, ...]] = FrozenDict(
    {
        "tariff": ("per kWh",),  # electricity
        "pue": ("ratio",),  # energy of the whole room over that of its machines
        "colocation": ("per kW-month",),  # room, cooling and guard; electricity apart
        "load": ("share",),  # drawn power over the rated
        "power": ("W",),  # of a machine
        "energy": ("ratio",),  # of a token over that on another chip
        "interest": ("share per year",),
        "life": ("years",),  # over which a purchase is written off
        "residual": ("share",),  # of the price, left after `after_years`
        "liquidation": ("share",),  # of what a dealer pays, at an auction
        "decline": ("share per year",),  # of the price of the same arithmetic
        "vat": ("share",),  # tax on a purchase
        "price": ("per server", "per switch"),  # of machines that are no offer of one chip
        "network": ("share",),  # of the servers' price
        "maintenance": ("share per year",),  # of the price
        "failures": ("share per year",),  # chips that stop a job
        "overhead": ("share",),  # of the whole cost, beyond the chip-hour
        "makeup": ("share",),  # of a whole that `says` names, by part
        "utilisation": ("share",),  # of the time that a chip works
        "salary": ("per month",),  # of an engineer
        "launch": ("s",),  # of one operator, on the device
        "efficiency": ("share",),  # of the peak, as a simulator assumes it
    }
)

CostKind = Literal[
    "tariff", "pue", "colocation", "load", "power", "energy", "interest", "life", "residual", "liquidation", "decline",
    "vat", "price", "network", "maintenance", "failures", "overhead", "makeup", "utilisation", "salary", "launch",
    "efficiency",
]  # fmt: skip


@dataclass(frozen=True)
class CostFigure:
    """One published figure that a cost of ownership rests on."""

    what: CostKind  # what it is of; `COST_UNITS` says in which units
    says: str  # the figure, in words
    value: float  # in `unit`; where the source gives a range alone, its middle
    unit: str  # share of 1, share per year, per kWh, years, W, s, ...
    source: str  # where it stands
    date: date  # day that it is of
    low: float | None = None  # least that the source names, or that sources of one kind name
    high: float | None = None  # most that it names
    currency: str | None = None  # ISO code where it is money
    place: str | None = None  # country or region that it holds for; None: everywhere
    maker: str | None = None  # whose chips alone it holds for
    chip: str | None = None  # key of the chip alone that it holds for
    part: str = ""  # of what: which operators, which company, which level of cache
    after_years: float | None = None  # age of what is worth a residual
    confidence: Confidence = "medium"  # how sure the figure is
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        if self.unit not in COST_UNITS[self.what]:
            raise ValueError(f"unit = {self.unit!r} should be {' or '.join(COST_UNITS[self.what])} for {self.what}")
        if (self.currency is None) == self.unit.startswith("per "):
            raise ValueError(f"currency = {self.currency!r} does not fit unit = {self.unit!r}: money alone has one")
        check_range(self.value, self.low, self.high, "value")


@dataclass(frozen=True)
class PublishedOwning:
    """What others computed, or asked, for an hour of a chip, for several chips by one method."""

    kind: Literal["own", "rent"]  # computed cost of owning, or a rent
    buyer: Literal["hyperscaler", "neocloud", "tenant"]  # who owns, or rents
    says: str  # the method, in words
    amounts: Mapping[str, float]  # for a chip-hour, by key of the chip
    currency: str  # ISO code
    source: str  # where they stand
    date: date  # day of publication
    life_years: float | None = None  # over which the source writes the machines off; None where not said
    # kW for each chip with its share of host and network, by key; the source counts rated power, not draw
    chip_kw: Mapping[str, float] = field(default_factory=FrozenDict)
    kw_of: Literal["machines", "utility"] | None = None  # without the room's cooling, or with it
    confidence: Confidence = "medium"  # how sure the figures are
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        for chip, amount in [*self.amounts.items(), *self.chip_kw.items()]:
            if not 0 < amount < math.inf:
                raise ValueError(f"{chip} = {amount} should be above 0 and finite: no placeholders")
        if bool(self.chip_kw) != (self.kw_of is not None):
            raise ValueError(f"kw_of = {self.kw_of!r} should say what chip_kw = {dict(self.chip_kw)} counts")


@dataclass(frozen=True)
class PublishedRun:
    """A published measurement of a model on many chips: the anchor of an efficiency, for that chip and model."""

    model: str  # key of the model
    chip: str  # key of the chip
    chips: int  # packages that served together
    phase: Literal["prefill", "decode"]  # what was measured
    weights: str  # precision of most weights as served
    math: str  # precision of most multiplications
    cache: str  # precision of the KV cache
    tokens_s_chip: float  # tokens per second and package, as published
    source: str  # where it stands
    date: date  # day of publication
    batch: int | None = None  # sequences under way on all chips together; None where not said
    context: int | None = None  # tokens of context; None where not said
    step_s: float | None = None  # time per output token of a sequence, accepted drafts counted; None where not said
    drafted: int = 0  # tokens drafted a step
    accepted: float = 0.0  # of them accepted on the mean
    confidence: Confidence = "medium"  # how sure the figures are
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        if min(self.chips, self.tokens_s_chip) <= 0:
            raise ValueError(f"chips = {self.chips} and tokens_s_chip = {self.tokens_s_chip} should be above 0")
        if not 0 <= self.accepted <= self.drafted:
            raise ValueError(f"accepted = {self.accepted} should lie between 0 and drafted = {self.drafted}")

    @property
    def computed_tokens_s_chip(self) -> float | None:
        """Tokens per second and package by batch and step time; None where either is not said."""
        return None if self.batch is None or self.step_s is None else self.batch / self.step_s / self.chips
