"""Rows of price lists, and what belongs to them: hours, ways to be served, other names, what followed.

Prices are per million tokens; a row, window, service or name holds from `valid_from` until before `valid_to`.

Chapter: prices
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Literal

from costlab.catalog.decoding import FrozenDict

#: In the records a field is called `date`, so its type needs another name.
Day = date

#: A day, from 00:00 UTC, or an instant.
Moment = date | datetime

#: Who published a row: the provider, or the article that alone reports it.
Publisher = Literal["provider", "article-e"]

_AMOUNTS = ("miss", "output", "hit", "write", "write_long", "thinking_output", "storage")


@dataclass(frozen=True)
class PriceRow:
    """One row of a price list, per million tokens, valid from `valid_from` until before `valid_to`."""

    product: str  # name that a call is billed under; "host/product" where a host serves another maker's weights
    provider: str  # who sells it
    currency: str  # ISO code of the amounts
    miss: float  # per million input tokens that the cache does not hold
    output: float  # per million output tokens
    valid_from: Moment  # first day or moment
    source: str  # where the row stands
    date: date  # day it was read, or the announcement of a change to come
    hit: float | None = None  # per million input tokens found in the cache; None: no such price
    write: float | None = None  # per million input tokens written to a billed cache; None: no such price
    write_long: float | None = None  # per million written to be kept for the longer lifetime; None: no such price
    write_long_hours: int | None = None  # that lifetime, in hours
    thinking_output: float | None = None  # per million output tokens of a thinking call; None: `output`
    storage: float | None = None  # per million cached tokens and hour; None: keeping costs nothing or is not priced
    model: str | None = None  # key of the model behind it, where known
    host_of: str | None = None  # the maker's product whose weights a host serves; None: the maker's own
    valid_to: Moment | None = None  # first day or moment it holds no more; None: it still does
    min_input_tokens: int = 0  # smallest prompt of the tier, in tokens
    max_input_tokens: int | None = None  # largest prompt of the tier, in tokens; None: no limit
    window: Literal["peak", "off-peak"] | None = None  # the hours it holds in; None: all day
    promotion: bool = False  # whether it was announced as temporary
    published_by: Publisher = "provider"  # the provider, or the article that alone reports it
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        for what in _AMOUNTS:
            amount = getattr(self, what)
            if amount is not None and not 0 <= amount < math.inf:
                raise ValueError(f"{what} = {amount} should be a finite price of at least 0")
        _check_name("product", self.product)
        _check_period(self.valid_from, self.valid_to)
        if (self.write_long is None) != (self.write_long_hours is None):
            raise ValueError(
                f"write_long = {self.write_long} and write_long_hours = {self.write_long_hours} belong together"
            )
        if self.write_long_hours is not None and self.write_long_hours < 1:
            raise ValueError(f"write_long_hours = {self.write_long_hours} should be at least 1")
        if not 0 <= self.min_input_tokens <= (self.max_input_tokens or math.inf):
            raise ValueError(
                f"min_input_tokens = {self.min_input_tokens} should lie from 0 to max_input_tokens ="
                f" {self.max_input_tokens}"
            )
        if (self.host_of is None) != ("/" not in self.product):
            raise ValueError(f"product = {self.product!r} should look like host/product just where host_of is given")


@dataclass(frozen=True)
class PriceWindow:
    """When a provider's peak or off-peak prices apply: [start, end) in UTC; an end before its start passes midnight."""

    provider: str  # whose window
    name: str  # its name on the price list
    window: Literal["peak", "off-peak"]  # which of the two prices
    hours: tuple[tuple[time, time], ...]  # (start, end) times of day, UTC
    weekdays_only: bool  # whether weekends and holidays are left out
    valid_from: Moment  # first day or moment
    source: str  # where it stands
    date: date  # day it was read
    holidays: tuple[Day, ...] = ()  # days that count as weekends
    holidays_known_to: Day | None = None  # last day up to which `holidays` is complete; None: there are none to know
    valid_to: Moment | None = None  # first day or moment it holds no more; None: it still does

    def __post_init__(self) -> None:
        _check_period(self.valid_from, self.valid_to)
        if self.holidays and self.holidays_known_to is None:
            raise ValueError("holidays need holidays_known_to, the last day up to which they are complete")


@dataclass(frozen=True)
class Succession:
    """What took the place of a product whose prices have ended."""

    product: str  # the name whose prices ended
    superseded_by: str  # the product in its place
    source: str  # where it stands
    date: date  # day it was read
    name_billed: bool = False  # whether calls under the old name are billed as the new product
    note: str = ""  # what a reader should know


@dataclass(frozen=True)
class ServiceTier:
    """Another way to be served by a provider, at a factor of the list price: batch, flex, priority and the like."""

    provider: str  # whose
    name: str  # in lower case, e.g. "batch"
    factor: float  # on every price of the row
    valid_from: Moment  # first day or moment
    source: str  # where it stands
    date: date  # day it was read
    hit_factor: float | None = None  # on the price of hits where it differs; 1 where caching stays at full price
    products: tuple[str, ...] = ()  # those it is offered for; none: all of the provider's
    valid_to: Moment | None = None  # first day or moment it holds no more; None: it still does
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        _check_name("name", self.name)
        for what in ("factor", "hit_factor"):
            factor = getattr(self, what)
            if factor is not None and not 0 < factor < math.inf:
                raise ValueError(f"{what} = {factor} should be above 0 and finite")
        _check_period(self.valid_from, self.valid_to)


@dataclass(frozen=True)
class Alias:
    """Another name of a product, as APIs and logs write it."""

    name: str  # in lower case, e.g. "claude-opus-4-8"
    product: str  # the name it has here
    source: str  # where it stands
    date: date  # day it was read
    valid_from: Moment | None = None  # first day or moment; None: as long as the product
    valid_to: Moment | None = None  # first day or moment it means that product no more; None: it still does
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        _check_name("name", self.name)
        if self.valid_from is not None:
            _check_period(self.valid_from, self.valid_to)


def start_of(when: Moment) -> datetime:
    """Return the instant at which a day or moment begins, in UTC; a moment without zone is taken as UTC."""
    if not isinstance(when, datetime):
        return datetime.combine(when, time(0), UTC)
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def by_product(rows: Iterable[PriceRow], publisher: Publisher) -> Mapping[str, tuple[PriceRow, ...]]:
    """Return a publisher's rows by product, products in alphabetical order and rows oldest first."""
    found: dict[str, list[PriceRow]] = {}
    for row in sorted(rows, key=lambda row: start_of(row.valid_from)):
        if row.published_by == publisher:
            found.setdefault(row.product, []).append(row)
    return FrozenDict({product: tuple(found[product]) for product in sorted(found)})


def by_name(aliases: Iterable[Alias]) -> Mapping[str, tuple[Alias, ...]]:
    """Return what each other name means, in the order of the list."""
    found: dict[str, list[Alias]] = {}
    for alias in aliases:
        found.setdefault(alias.name, []).append(alias)
    return FrozenDict({name: tuple(meanings) for name, meanings in found.items()})


@dataclass(frozen=True)
class PriceLists:
    """All price lists of the catalog, consistent with one another."""

    prices: tuple[PriceRow, ...]  # rows of the price lists
    windows: tuple[PriceWindow, ...]  # peak and off-peak hours
    successions: tuple[Succession, ...]  # what took a product's place
    services: tuple[ServiceTier, ...]  # other ways to be served
    aliases: tuple[Alias, ...]  # other names of products

    def __post_init__(self) -> None:
        sellers: dict[str, set[str]] = {}
        for row in self.prices:
            sellers.setdefault(row.product, set()).add(row.provider)
        for row in self.prices:
            if row.host_of is not None and row.host_of not in sellers:
                raise ValueError(f"host_of = {row.host_of!r} of {row.product!r} is no product with a price")
        for service in self.services:
            _check_service(service, sellers)
        for i, alias in enumerate(self.aliases):
            _check_alias(alias, sellers.keys(), self.aliases[:i])


def _check_service(service: ServiceTier, sellers: Mapping[str, set[str]]) -> None:
    """Refuse a service of a product that its provider does not sell."""
    for product in service.products:
        if service.provider not in sellers.get(product, ()):
            raise ValueError(f"service {service.name!r}: {service.provider} does not sell {product!r}")


def _check_alias(alias: Alias, products: Collection[str], others: Iterable[Alias]) -> None:
    """Refuse a name of no product, of one that is a product itself, or of two at one time."""
    if alias.product not in products:
        raise ValueError(f"alias {alias.name!r} is of {alias.product!r}, no product with a price")
    if alias.name in products:
        raise ValueError(f"alias {alias.name!r} is itself a product with a price")
    for other in others:
        if other.name == alias.name and _meet(alias, other):
            raise ValueError(f"alias {alias.name!r} means {other.product!r} and {alias.product!r} at one time")


def _meet(a: Alias, b: Alias) -> bool:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

    def span(alias: Alias) -> tuple[datetime, datetime]:
        return (
            start_of(alias.valid_from) if alias.valid_from else first,
            start_of(alias.valid_to) if alias.valid_to else last,
        )

    (a_from, a_to), (b_from, b_to) = span(a), span(b)
    return a_from < b_to and b_from < a_to


def _check_name(what: str, name: str) -> None:
    if not name or name != name.lower() or " " in name:
        raise ValueError(f"{what} = {name!r} should be a name in lower case without blanks")


def _check_period(valid_from: Moment, valid_to: Moment | None) -> None:
    if valid_to is not None and start_of(valid_to) <= start_of(valid_from):
        raise ValueError(f"valid_to = {valid_to} should come after valid_from = {valid_from}")
