"""A load spread evenly over a day or a week: which rows of the price list bill how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Literal

from costlab import checks
from costlab.catalog import LESSON_DAY, PriceRow, ServiceTier, moment
from costlab.catalog.price_lists import Publisher, start_of
from costlab.prices.charges import EXACT, UnitPrices, unit_prices
from costlab.prices.hours import window_edges
from costlab.prices.lists import history, price_at

#: When the calls of a load are made: all at one moment, or evenly over its day or its week, Monday to Sunday, in UTC.
Over = Literal["moment", "day", "week"]

#: Days that each of them lasts.
_DAYS: dict[Over, int] = {"moment": 0, "day": 1, "week": 7}


@dataclass(frozen=True)
class Portion:
    """The part of a load that one row of the price list bills."""

    row: PriceRow  # of the price list
    hours: float  # during which it applies
    share: Decimal  # of the load


def bounds(when: str | date | datetime, over: Over) -> tuple[datetime, datetime]:
    """Return the first moment of the day or week in which a moment lies, and the first after it, in UTC.

    Raises:
        ValueError: a span that is not known.
    """
    at = moment(when)
    days = _DAYS[checks.one_of(tuple(_DAYS), over, "span")]
    if not days:
        return at, at
    start = datetime.combine(at.date(), time(0), UTC)
    start -= timedelta(days=at.weekday() if over == "week" else 0)
    return start, start + timedelta(days=days)


def portions(
    product: str,
    when: str | date | datetime = LESSON_DAY,
    over: Over = "week",
    *,
    input_tokens: int = 0,
    currency: str = "USD",
    published_by: Publisher = "provider",
) -> tuple[Portion, ...]:
    """Return which rows bill a load that is spread evenly over a day or a week, the row of most hours first.

    Hours in which the product was not sold have no part.

    Args:
        product: as for `price_at`, like all that follows.
        when: a moment of the day or week.
        over: "day", "week", or "moment" for the one row that applies then.
        input_tokens: length of one call's input.
        currency: preferred.
        published_by: the provider's own list, or an article's table.

    Raises:
        ValueError: an unknown product, or one that was not sold in all that time.
    """
    start, end = bounds(when, over)

    def row_at(moment_: datetime) -> PriceRow:
        return price_at(product, moment_, input_tokens=input_tokens, currency=currency, published_by=published_by)

    if start == end:
        return (Portion(row_at(start), 0.0, Decimal(1)),)
    lasted: dict[PriceRow, float] = {}
    failed: ValueError | None = None
    edges = [*_edges(product, start, end, published_by), end]
    for left, right in pairwise(edges):
        try:
            row = row_at(left)
        except ValueError as error:
            failed = error
        else:
            lasted[row] = lasted.get(row, 0.0) + (right - left).total_seconds()
    if not lasted:
        raise failed or ValueError(f"no price of {product!r} is known in the {over} of {when}")
    return _shared(lasted)


def _shared(lasted: dict[PriceRow, float]) -> tuple[Portion, ...]:
    """Return the portions of rows that lasted so many seconds each."""
    with localcontext(EXACT):
        total = Decimal(sum(lasted.values()))
        found = [Portion(row, seconds / 3600, Decimal(seconds) / total) for row, seconds in lasted.items()]
    return tuple(sorted(found, key=lambda portion: -portion.hours))


def _edges(product: str, start: datetime, end: datetime, published_by: Publisher) -> list[datetime]:
    """Return the moments of a span at which another row may begin to apply, its start included."""
    rows = history(product, None, published_by)
    if published_by == "provider":  # an ended product's calls may be billed as its follower
        followers = {_price_or_none(product, at) for at in (start, end - timedelta(seconds=1))} - {None}
        rows += tuple(each for row in followers if row for each in history(row.product))
    found = {start}
    for row in rows:
        found |= {start_of(each) for each in (row.valid_from, row.valid_to) if each}
    for provider in {row.provider for row in rows}:
        found |= set(window_edges(provider, start, end))
    return sorted(each for each in found if start <= each < end)


def _price_or_none(product: str, at: datetime) -> PriceRow | None:
    """Return the row that applies to short calls at a moment; None where there is no price."""
    try:
        return price_at(product, at)
    except ValueError:
        return None


def mean_prices(parts: Sequence[Portion], service: ServiceTier | None = None, thinking: bool = False) -> UnitPrices:
    """Return what a million tokens of each kind cost on average over portions of one currency, see `unit_prices`."""
    each = [(part.share, unit_prices(part.row, service, thinking)) for part in parts]
    with localcontext(EXACT):
        return UnitPrices(
            hit=sum((share * at.hit for share, at in each), Decimal(0)),
            miss=sum((share * at.miss for share, at in each), Decimal(0)),
            write=sum((share * at.write for share, at in each), Decimal(0)),
            write_long=sum((share * at.write_long for share, at in each), Decimal(0)),
            output=sum((share * at.output for share, at in each), Decimal(0)),
        )
