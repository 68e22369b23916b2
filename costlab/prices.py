"""Money: the bill of a workload at a catalogued price, on a date, in a currency.

>>> from costlab import prices
>>> load = prices.Workload(input_tokens=32_768, output_tokens=8_192, hit_rate=0.5, calls=10)
>>> round(prices.bill("deepseek-v4-pro", load, "2026-06-01").total, 3)
0.143

Chapter: prices
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Literal

import numpy as np

from costlab import catalog, checks
from costlab.arrays import ArrayLike, Floats
from costlab.catalog import (
    LESSON_DAY,
    FxRate,
    Offer,
    PriceRow,
    PriceWindow,
    Scenario,
    Succession,
    currencies,
    exchange_rate,
    moment,
    rate_rows,
)
from costlab.checks import MAX_COUNT

__all__ = [
    "LESSON_DAY", "Bill", "Publisher", "Workload", "bill", "blended_input", "chip_rent", "currencies", "cut",
    "exchange_rate", "history", "hit_price", "moment", "price_at", "products", "window_at",
]  # fmt: skip

Publisher = Literal["provider", "article-e"]


@dataclass(frozen=True)
class Workload:
    """Tokens of one call and how often it is made; `write_tokens` are input tokens written to a billed cache."""

    input_tokens: int  # of one call
    output_tokens: int  # of one call
    hit_rate: float = 0.0  # share of input tokens found in the cache, 0 to 1
    calls: int = 1  # how many
    write_tokens: int = 0  # input tokens of one call written to a billed cache

    def __post_init__(self) -> None:
        for name, least in (("input_tokens", 0), ("output_tokens", 0), ("calls", 1), ("write_tokens", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not least <= value <= MAX_COUNT or value != int(value):
                raise ValueError(f"{name} should be a whole number from {least} to 2**53, got {value!r}")
        if not 0 <= self.hit_rate <= 1:
            raise ValueError(f"hit_rate should lie between 0 and 1, got {self.hit_rate!r}")
        missed = self.input_tokens * (1 - self.hit_rate)
        # a rate made of whole counts is off by half a unit in the last place, and so are the difference and the product
        if self.write_tokens > missed + 1e-9 + self.input_tokens * 2.0**-51:
            raise ValueError(f"write_tokens = {self.write_tokens} exceed the {missed:.12g} input tokens that miss")

    @classmethod
    def from_scenario(cls, scenario: Scenario) -> Workload:
        """Return the workload of a catalogued scenario."""
        return cls(scenario.input_tokens, scenario.output_tokens, scenario.hit_rate, scenario.calls)


@dataclass(frozen=True)
class Bill:
    """What a workload costs, by kind of token."""

    # the row of the price list that was applied, another product's where the asked name is billed as that one
    row: PriceRow
    currency: str  # ISO code of the amounts
    rate: float  # units of `currency` for one of the row's
    hit: float  # amount for tokens found in the cache
    miss: float  # amount for the other input tokens
    write: float  # amount for tokens written to the cache
    output: float  # amount for output tokens
    rates: tuple[FxRate, ...] = ()  # the catalog's rows behind that rate: one, two that were multiplied, or none
    notes: tuple[str, ...] = ()  # what the amounts rest on and do not show, a sentence each

    @property
    def rate_day(self) -> date | None:
        """The day of the exchange rate: the older one where two were multiplied, None where nothing was converted."""
        return min((rate.date for rate in self.rates), default=None)

    @property
    def total(self) -> float:
        """The sum of the four parts."""
        return self.hit + self.miss + self.write + self.output


def chip_rent(chip: str) -> Offer:
    """Return the latest rent of a chip in the catalog, in dollars per chip-hour; of several on one day the lowest.

    Raises:
        ValueError: an unknown chip, or one that nobody in the catalog rents out for dollars.
    """
    rents = [o for o in catalog.chip(chip).offers if (o.kind, o.unit, o.currency) == ("rent", "chip-hour", "USD")]
    if not rents:
        raise ValueError(f"the catalog has no rent of {chip!r}")
    return max(rents, key=lambda offer: (offer.date, -offer.amount))


def _start(when: date | datetime) -> datetime:
    if isinstance(when, datetime):
        return moment(when)
    return datetime.combine(when, time(0), UTC)


def products(published_by: Publisher = "provider", when: str | date | datetime | None = None) -> tuple[str, ...]:
    """Return the products that have prices, in alphabetical order.

    Args:
        published_by: in the providers' own lists, or in an article's table.
        when: only those sold at that moment, see `moment`; None for all.
    """
    rows = (r for r in catalog.tables().prices if r.published_by == published_by)
    if when is not None:
        at = moment(when)
        rows = (r for r in rows if _holds(r.valid_from, r.valid_to, at))
    return tuple(sorted({r.product for r in rows}))


def history(product: str, currency: str | None = None, published_by: Publisher = "provider") -> tuple[PriceRow, ...]:
    """Return every price row of a product, oldest first.

    Args:
        product: e.g. "deepseek-v4-pro".
        currency: only rows in it; None for all.
        published_by: the provider's own list, or an article's table.

    Raises:
        ValueError: an unknown product; the message lists the known ones.
    """
    known = products(published_by)
    if product.lower() not in known:
        raise ValueError(checks.unknown("product with a price", product, known))
    rows = (r for r in catalog.tables().prices if r.product == product.lower() and r.published_by == published_by)
    return tuple(sorted((r for r in rows if currency in (None, r.currency)), key=lambda r: _start(r.valid_from)))


def price_at(
    product: str,
    when: str | date | datetime = LESSON_DAY,
    *,
    input_tokens: int = 0,
    currency: str = "USD",
    published_by: Publisher = "provider",
) -> PriceRow:
    """Return the row of the price list that applies: the right product, moment, context tier and peak window.

    Where the product has ended and its provider bills the old name as another product, that product's row is returned.

    Args:
        product: e.g. "deepseek-v4-pro".
        when: see `moment`.
        input_tokens: length of one call's input, which decides the context tier.
        currency: preferred; another catalogued currency's row is returned where this one has none.
        published_by: the provider's own list, or an article's table.

    Raises:
        ValueError: an unknown product, or a day without price; the message says since when there is one, or when the
            product ended and what took its place.
    """
    at = moment(when)
    rows = history(product, None, published_by)
    if published_by == "provider" and (billed := _billed_as(product.lower(), at)):
        return price_at(billed, at, input_tokens=input_tokens, currency=currency)
    open_now = [r for r in rows if _holds(r.valid_from, r.valid_to, at)]
    fitting = [r for r in open_now if _in_tier(r, input_tokens) and _in_window(r, at)]
    if not fitting:
        tier = f" for {input_tokens} input tokens" if open_now else ""
        why = _why_none(rows, at)
        raise ValueError(f"no price of {product!r} is known at {_minute(at)}{tier}; {why}")
    # the asked currency first; then the newest row, which replaced the others
    return max(fitting, key=lambda r: (r.currency == currency, _start(r.valid_from)))


def _why_none(rows: tuple[PriceRow, ...], at: datetime) -> str:
    """Say when a product ended and what followed, or when its prices start."""
    end = _end(rows)
    if end is None or at < end:
        return f"prices start on {', '.join(sorted({f'{r.valid_from:%Y-%m-%d}' for r in rows}))}"
    followers = [
        f"{name}{'' if name in products() else ' (no price known)'}" for name in _followers(rows[0].product, at)
    ]
    return f"it ended on {_minute(end)}" + (f", followed by {', then '.join(followers)}" if followers else "")


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _end(rows: tuple[PriceRow, ...]) -> datetime | None:
    """Return when the last of a product's rows ended; None if one has no end."""
    ends = [_start(r.valid_to) for r in rows if r.valid_to]
    return max(ends) if len(ends) == len(rows) else None


def _succession(product: str, at: datetime) -> Succession | None:
    """Return what took a product's place, if it has ended by that moment."""
    end = _end(history(product)) if product in products() else None
    if end is None or at < end:
        return None
    return next((s for s in catalog.tables().successions if s.product == product), None)


def _billed_as(product: str, at: datetime) -> str | None:
    found = _succession(product, at)
    return found.superseded_by if found and found.name_billed else None


def _followers(product: str, at: datetime) -> Iterator[str]:
    """Yield what took a product's place, and what took that one's, up to what is sold at that moment."""
    while found := _succession(product, at):
        yield (product := found.superseded_by)


def _in_tier(row: PriceRow, input_tokens: int) -> bool:
    return row.min_input_tokens <= input_tokens and input_tokens <= (row.max_input_tokens or math.inf)


def _in_window(row: PriceRow, at: datetime) -> bool:
    return row.window is None or row.window == window_at(row.provider, at)


def window_at(provider: str, when: str | date | datetime) -> Literal["peak", "off-peak"]:
    """Return which of a provider's two daily prices applies at a moment; "off-peak" where no window is known."""
    at = moment(when)
    for rule in catalog.tables().windows:
        if rule.provider == provider and _holds(rule.valid_from, rule.valid_to, at):
            return rule.window if _inside(rule, at) else _OTHER[rule.window]
    return "off-peak"


_OTHER: dict[str, Literal["peak", "off-peak"]] = {"peak": "off-peak", "off-peak": "peak"}


def _inside(rule: PriceWindow, at: datetime) -> bool:
    if at.date() in rule.holidays or (rule.weekdays_only and at.weekday() >= 5):
        return False
    return any(
        start <= at.time() < end if start < end else (at.time() >= start or at.time() < end)
        for start, end in rule.hours
    )


def _holds(valid_from: date | datetime, valid_to: date | datetime | None, at: datetime) -> bool:
    return _start(valid_from) <= at and (valid_to is None or at < _start(valid_to))


def bill(
    product: str,
    workload: Workload,
    when: str | date | datetime = LESSON_DAY,
    *,
    currency: str = "USD",
    published_by: Publisher = "provider",
) -> Bill:
    """Return what a workload costs.

    Input tokens that hit are billed at the hit price, or at the miss price where the list has none, which the bill's
    notes say; tokens written to a cache at the write price, or at the miss price where writing is not charged apart.

    Args:
        product: e.g. "deepseek-v4-pro".
        workload: what is sent and received.
        when: see `moment`; it decides the row, the peak window and the exchange rate.
        currency: of the result.
        published_by: the provider's own list, or an article's table.

    Raises:
        ValueError: an unknown product or currency, or a day without price.
    """
    at = moment(when)
    row = price_at(product, at, input_tokens=workload.input_tokens, currency=currency, published_by=published_by)
    fx, rates = rate_rows(row.currency, currency, at)
    hits = workload.input_tokens * workload.hit_rate
    writes = float(workload.write_tokens)
    misses = max(0.0, workload.input_tokens - hits - writes)
    scale = workload.calls * fx / 1e6
    notes = [*_successor_notes(product.lower(), row), *_price_notes(row, workload, at)]
    if rates:
        notes.append(f"1 {row.currency} = {fx:.5g} {currency}, the rate of {min(r.date for r in rates)}")
    return Bill(
        row=row,
        currency=currency,
        rate=fx,
        rates=rates,
        notes=tuple(notes),
        hit=hits * hit_price(row) * scale,
        miss=misses * row.miss * scale,
        write=writes * (row.miss if row.write is None else row.write) * scale,
        output=workload.output_tokens * row.output * scale,
    )


def _successor_notes(product: str, row: PriceRow) -> Iterator[str]:
    if row.product != product and (end := _end(history(product))):
        yield f"ended on {_minute(end)}; the name is billed as {row.product} since"


def _price_notes(row: PriceRow, load: Workload, at: datetime) -> Iterator[str]:
    """Yield what a reader of amounts at a row's prices would not expect."""
    if row.min_input_tokens:
        yield f"priced as an input of at least {row.min_input_tokens:,} tokens"
    if row.hit is None and load.input_tokens * load.hit_rate:
        yield "no hit price listed: hits billed as misses"
    if row.write is not None and load.input_tokens * load.hit_rate and not load.write_tokens:
        yield f"hits were written once, at {row.write:g} {row.currency} per million: no write counted"
    if row.valid_to is None and at.date() > row.date:
        yield f"price read on {row.date}; later changes unknown"


def hit_price(row: PriceRow) -> float:
    """Return the price of a million input tokens that hit the cache: the miss price where none is listed."""
    return row.miss if row.hit is None else row.hit


def blended_input(row: PriceRow, hit_rate: ArrayLike) -> Floats:
    """Return the average price of a million input tokens at a hit rate, in the row's currency.

    Args:
        row: a price row.
        hit_rate: shares between 0 and 1, any shape.

    Raises:
        ValueError: a share outside 0 to 1.
    """
    share = np.asarray(hit_rate, dtype=np.float64)
    if np.any(~((share >= 0) & (share <= 1))):
        raise ValueError(f"hit_rate should lie between 0 and 1, got {hit_rate!r}")
    blended: Floats = share * hit_price(row) + (1 - share) * row.miss
    return blended


def cut(before: PriceRow, after: PriceRow) -> dict[str, float]:
    """Return by which share each kind of token became cheaper; negative where it became dearer.

    Raises:
        ValueError: rows in different currencies.
    """
    if before.currency != after.currency:
        raise ValueError(f"can't compare {before.currency} with {after.currency}; take rows of one currency")
    kinds: Iterable[tuple[str, float | None, float | None]] = (
        ("hit", before.hit, after.hit),
        ("miss", before.miss, after.miss),
        ("output", before.output, after.output),
    )
    return {kind: 1 - new / old for kind, old, new in kinds if old and new is not None}
