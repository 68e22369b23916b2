"""The bill of a workload: which rows of the price list apply, what they make of it, and what to know of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal, localcontext

from costlab.catalog import LESSON_DAY, FxRate, PriceRow, ServiceTier, moment, rate_rows
from costlab.catalog.price_lists import Publisher
from costlab.prices.charges import EXACT, UnitPrices, unit_prices
from costlab.prices.lists import end_of, history, minute_text, service_of
from costlab.prices.names import resolve
from costlab.prices.notes import Traits, row_notes, seller_note
from costlab.prices.spread import Over, Portion, bounds, portions
from costlab.prices.workload import Workload


@dataclass(frozen=True)
class Bill:
    """What a workload costs, by kind of token."""

    # the row of the price list that was applied, another product's where the asked name is billed as that one; of
    # several the one that bills most
    row: PriceRow
    currency: str  # ISO code of the amounts
    rate: float  # units of `currency` for one of the row's
    hit: float  # amount for tokens found in the cache
    miss: float  # amount for the other input tokens
    write: float  # amount for tokens written to the cache
    output: float  # amount for output tokens
    rates: tuple[FxRate, ...] = ()  # the catalog's rows behind that rate: one, two that were multiplied, or none
    notes: tuple[str, ...] = ()  # what the amounts rest on and do not show, a sentence each
    write_long: float = 0.0  # amount for tokens written to a cache of the longer lifetime
    service: ServiceTier | None = None  # how the calls were served; None: the standard way
    portions: tuple[Portion, ...] = ()  # the rows that were applied and the share of the load that each bills

    @property
    def rate_day(self) -> date | None:
        """The day of the exchange rate: the older one where two were multiplied, None where nothing was converted."""
        return min((rate.date for rate in self.rates), default=None)

    @property
    def total(self) -> float:
        """The sum of the five parts."""
        return self.hit + self.miss + self.write + self.write_long + self.output


def bill(
    product: str,
    workload: Workload,
    when: str | date | datetime = LESSON_DAY,
    *,
    currency: str = "USD",
    published_by: Publisher = "provider",
    service: str | None = None,
    over: Over = "moment",
) -> Bill:
    """Return what a workload costs.

    Input tokens that hit are billed at the hit price, or at the miss price where the list has none, which the bill's
    notes say; tokens written to a cache at the write price, or at the miss price where writing is not charged apart.

    Args:
        product: e.g. "deepseek-v4-pro"; of the providers' lists any name that `resolve` knows.
        workload: what is sent and received.
        when: see `moment`; it decides the row, the peak window and the exchange rate.
        currency: of the result.
        published_by: the provider's own list, or an article's table.
        service: another way to be served, e.g. "batch"; None for the standard way.
        over: whether all calls are made at that moment, or evenly over its day or week.

    Raises:
        ValueError: an unknown product, currency or service, or a day without price.
    """
    at = moment(when)
    parts = portions(
        product, at, over, input_tokens=workload.input_tokens, currency=currency, published_by=published_by
    )
    row = parts[0].row
    served = None if service is None else service_of(row, service, at)
    amounts = [_amounts(part, workload, served, rate_rows(part.row.currency, currency, at)[0]) for part in parts]
    fx, rates = rate_rows(row.currency, currency, at)
    hit, miss, write, write_long, output = (float(sum(kind)) for kind in zip(*amounts, strict=True))
    notes = dict.fromkeys(_notes(product, parts, workload, at, over, published_by))
    notes |= dict.fromkeys(_service_notes(served))
    if rates:
        notes[f"1 {row.currency} = {fx:.5g} {currency}, the rate of {min(r.date for r in rates)}"] = None
    return Bill(
        row=row, currency=currency, rate=fx, rates=rates, notes=tuple(notes), service=served, portions=parts,
        hit=hit, miss=miss, write=write, write_long=write_long, output=output,
    )  # fmt: skip


def _amounts(part: Portion, load: Workload, service: ServiceTier | None, fx: float) -> list[Decimal]:
    """Return what a portion of a load costs, by kind of token in the order of `UnitPrices`."""
    price = unit_prices(part.row, service, load.thinking_tokens > 0)
    tokens = {
        "hit": load.hits,
        "miss": load.misses,
        "write": Decimal(int(load.write_tokens)),
        "write_long": Decimal(int(load.write_long_tokens)),
        "output": Decimal(int(load.output_tokens)),
    }
    with localcontext(EXACT):
        scale = part.share * int(load.calls) * Decimal(repr(fx)) / 10**6
        return [tokens[each.name] * getattr(price, each.name) * scale for each in fields(UnitPrices)]


def _notes(
    product: str, parts: Sequence[Portion], load: Workload, at: datetime, over: Over, published_by: Publisher
) -> Iterator[str]:
    row = parts[0].row
    if published_by == "provider":
        yield from _name_notes(product, row, at)
    traits = Traits(
        input_tokens=int(load.input_tokens),
        hits=bool(load.hits),
        writes=bool(load.write_tokens or load.write_long_tokens),
        long_writes=bool(load.write_long_tokens),
        thinking=bool(load.thinking_tokens),
        spread=over != "moment",
    )
    if over == "moment":
        yield from row_notes(row, at, traits)
        return
    start, end = bounds(at, over)
    sold, hours = sum(part.hours for part in parts), (end - start).total_seconds() / 3600
    if sold < hours:
        yield f"sold during {sold:g} of the {hours:g} hours only"
    for part in parts:
        yield from row_notes(part.row, at, traits)


def _service_notes(service: ServiceTier | None) -> Iterator[str]:
    if service:
        hits = "" if service.hit_factor is None else f", of hits {service.hit_factor:g}"
        yield f"{service.name}: {service.factor:g} of the list price{hits}{f'; {service.note}' if service.note else ''}"


def _name_notes(product: str, row: PriceRow, at: datetime) -> Iterator[str]:
    """Say what an asked name means, where it is not the product's own."""
    name = resolve(product, at)
    if name != product.strip().lower():
        yield f"the name means {name}"
    if note := seller_note(product, row):
        yield note
    if row.product != name and (end := end_of(history(name))):
        yield f"ended on {minute_text(end)}; the name is billed as {row.product} since"
