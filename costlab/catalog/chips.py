"""What chips.toml holds: accelerators, what they were offered for, and who may buy them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date as Day
from typing import Literal

from costlab.catalog.decoding import FrozenDict

#: How sure a figure is. "high": read where it was first published; "medium": a named source quotes a named one;
#: "low": one page that names no source. A figure that nobody graded is "medium".
Confidence = Literal["high", "medium", "low"]

#: What an offer is. "tender": a public purchase, as awarded; "used": a price on the second-hand market;
#: "claim-price": an article's figure, unverified.
OfferKind = Literal["rent", "price", "tender", "used", "claim-price"]

#: What an amount buys. "module": eight chips on their board, without host; "supernode": chips, hosts and the network
#: that joins them, such as CloudMatrix-384 or a rack of GB200 NVL72.
OfferUnit = Literal["chip-hour", "chip", "module", "server", "supernode"]


@dataclass(frozen=True)
class Offer:
    """What a chip or a machine of chips was rented or sold for."""

    kind: OfferKind  # rent, purchase, awarded tender, second-hand price, or an article's unverified figure
    amount: float  # in `currency` per `unit`, all that `vat` says contained
    currency: str  # ISO code
    unit: OfferUnit  # what the amount buys
    date: Day  # day of the offer
    source: str  # where it stands
    low: float | None = None  # least that the same source names; None: it names one figure
    high: float | None = None  # most that it names
    chips: int | None = None  # chips in a unit; None where the source does not say
    vat: float | None = None  # rate of the value-added tax that the amount contains, 0.13 for 13%; None: not said
    confidence: Confidence = "medium"  # how sure the figure is
    note: str = ""  # its conditions

    def __post_init__(self) -> None:
        if not 0 < self.amount < math.inf:
            raise ValueError(f"amount = {self.amount} should be above 0 and finite: no placeholders")
        check_range(self.amount, self.low, self.high, "amount")
        if self.chips is not None and self.chips < 1:
            raise ValueError(f"chips = {self.chips} should be at least 1")
        if self.vat is not None and not 0 <= self.vat < 1:
            raise ValueError(f"vat = {self.vat} should be a rate from 0 to below 1, such as 0.13")

    @property
    def per_chip(self) -> float | None:
        """The amount for one chip, or for an hour of one; None where the source does not say how many there are."""
        if self.unit in ("chip", "chip-hour"):
            return self.amount
        return None if self.chips is None else self.amount / self.chips

    @property
    def net_amount(self) -> float:
        """The amount without the tax that it is said to contain."""
        return self.amount / (1 + (self.vat or 0.0))


def check_range(value: float, low: float | None, high: float | None, what: str) -> None:
    """Refuse a range that does not hold its value.

    Raises:
        ValueError: quoting the three numbers.
    """
    least, most = value if low is None else low, value if high is None else high
    if not 0 <= least <= value <= most < math.inf:
        raise ValueError(f"{what} = {value} should lie between low = {low} and high = {high}, all at least 0")


@dataclass(frozen=True)
class Supply:
    """Whether a chip may be bought somewhere, from a day on, until another row of the place follows."""

    place: str  # country of the buyer
    buyable: bool  # whether an order is allowed and served
    says: str  # one sentence
    date: Day  # first day on which it holds
    source: str  # where it stands


@dataclass(frozen=True)
class ChipRecord:
    """One accelerator: dense FLOP/s by precision, memory, links (one direction, per chip) and power."""

    name: str  # as its maker writes it
    maker: str  # company
    date: Day  # day the data sheet was read
    source: str  # where the figures stand
    memory_bytes: int  # capacity of the chip's memory (HBM)
    memory_bandwidth_bytes_s: float  # bytes per second from it
    link_bytes_s: float  # bytes per second to chips of the same node, in one direction
    chips_per_node: int  # chips that share links of `link_bytes_s`: of a server, or of a supernode
    flops: Mapping[str, float]  # dense FLOP/s by precision
    network_bytes_s: float | None = None  # bytes per second to other nodes, in one direction; None where not known
    power_w: int | None = None  # the chip's rated power, in watts; None where not known
    # the unit that serves a precision that the chip has none for: models stored so are converted to it beforehand
    serves: Mapping[str, str] = field(default_factory=FrozenDict)
    node_power_w: int | None = None  # rated power of a whole node, in watts; None where not known
    idle_power_w: int | None = None  # of the chip without work, in watts; None where not known
    dies: int = 1  # pieces of silicon that the software sees as devices of their own
    offers: tuple[Offer, ...] = ()  # dated rents and prices
    supply: tuple[Supply, ...] = ()  # who may buy it, since when
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.serves.values()) - set(self.flops)):
            raise ValueError(f"serves names {unknown}, flops has {', '.join(self.flops)}")
        if twice := sorted(set(self.serves) & set(self.flops)):
            raise ValueError(f"serves replaces {twice}, which flops has")

    @property
    def network(self) -> float:
        """Bytes per second to other nodes.

        Raises:
            ValueError: where that is not known.
        """
        if self.network_bytes_s is None:
            raise ValueError(
                f"no network of {self.name} is known beyond its {self.chips_per_node} joined chips; "
                "take at most so many, or give a bandwidth"
            )
        return self.network_bytes_s

    def buyable(self, place: str, day: Day) -> Supply | None:
        """Return what holds for a buyer on a day; None where the catalog says nothing of that place and time."""
        known = [row for row in self.supply if row.place.lower() == place.lower() and row.date <= day]
        return max(known, key=lambda row: row.date, default=None)
