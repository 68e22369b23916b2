"""The catalog's figures as assumptions: one value and a range out of what several sources say.

- Rents: those asked in the year up to the day; else those before it, else those after it. Their median is the value,
  the least and the most of them the range.
- Purchases: the same, of two years, since few are told; a single one does not shut out older ones, for it would look
  certain.
- Figures of cost: those that are most particular, for that chip, else that maker, else that place, else anywhere. Of
  each part, such as a company, the latest counts; the median of the parts is the value, all figures are the range.
- Exchange rates: the latest on the day, within the range of the year before it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from costlab import catalog
from costlab.catalog import ChipRecord, CostFigure, FrozenDict, Offer
from costlab.chips.assumptions import Assumption

YEAR = timedelta(days=365)


def day_rate(base: str, quote: str, day: date) -> Assumption:
    """Return the units of `quote` for one `base` on a day, within their range over the year before.

    Raises:
        ValueError: a pair that is not catalogued.
    """
    rate, rows = catalog.rate_rows(base, quote, day)
    year = [catalog.exchange_rate(base, quote, row.date) for row in catalog.tables().fx if _counts(row, rows, day)]
    return Assumption(
        rate,
        f"{quote} for one {base}",
        "; ".join(row.source for row in rows),
        min(row.date for row in rows),
        min([rate, *year]),
        max([rate, *year]),
        base,
        f"{base} to {quote}",
    )


def _counts(row: catalog.FxRate, rows: Sequence[catalog.FxRate], day: date) -> bool:
    """Whether a rate is of the market, of one of the pairs that are used, and of the year up to a day."""
    pairs = [{each.base, each.quote} for each in rows]
    return (
        not row.claim
        and not row.implied
        and {row.base, row.quote} in pairs
        and row.date <= day
        and day - row.date < YEAR
    )


def cost_figure(what: str, chip: ChipRecord, key: str, place: str, day: date) -> Assumption | None:
    """Return what the catalog says of an input of a chip's cost, in a place and on a day; None where it says nothing.

    Figures later than the day count only where there is none before it. Where the place has no figure and others have,
    theirs stand for it; the source then says so. Amounts in several currencies are brought into the latest one's, at
    the day's rate.

    Args:
        what: the kind of figure, see `catalog.ownership.COST_UNITS`.
        chip: the data sheet.
        key: of the chip.
        place: country.
        day: that it should hold on.
    """
    every = [each for each in catalog.tables().costs.values() if each.what == what and _of(each, chip, key)]
    here = [each for each in every if each.place is None or each.place.lower() == place.lower()]
    rows = _most_particular(_up_to(here or every, day))
    if not rows:
        return None
    latest = {each.part: each for each in sorted(rows, key=lambda each: each.date)}
    last = max(latest.values(), key=lambda each: each.date)
    rate = {each.currency: _rate(each.currency, last.currency, day) for each in rows}
    said = "; ".join(dict.fromkeys(each.source for each in rows))
    text = said if len(latest) == 1 else f"median of {len(latest)} figures: {said}"
    return Assumption(
        statistics.median(each.value * rate[each.currency] for each in latest.values()),
        f"{last.currency} {last.unit}" if last.currency else last.unit,
        text if here else f"{text}; no figure of {place} is catalogued, this one stands for it",
        last.date,
        min((each.value if each.low is None else each.low) * rate[each.currency] for each in rows),
        max((each.value if each.high is None else each.high) * rate[each.currency] for each in rows),
        last.currency or "",
        ", ".join(filter(None, (what, last.place, last.maker, last.chip))),
    )


def _rate(base: str | None, quote: str | None, day: date) -> float:
    """The day's rate between two currencies; 1 where a figure is no amount."""
    return catalog.exchange_rate(base, quote, day) if base and quote else 1.0


def _of(figure: CostFigure, chip: ChipRecord, key: str) -> bool:
    """Whether a figure holds for a chip."""
    return figure.maker in (None, chip.maker) and figure.chip in (None, key)


def _up_to(rows: Sequence[CostFigure], day: date) -> Sequence[CostFigure]:
    return [each for each in rows if each.date <= day] or rows


def _most_particular(rows: Iterable[CostFigure]) -> list[CostFigure]:
    """Return the figures for the chip, else the maker, else the place, else anywhere."""
    by_rank: dict[tuple[bool, bool, bool], list[CostFigure]] = {}
    for each in rows:
        rank = (each.chip is not None, each.maker is not None, each.place is not None)
        by_rank.setdefault(rank, []).append(each)
    return by_rank[max(by_rank)] if by_rank else []


#: What buyers of a place pay in. An offer says its currency, not its place: one in dollars may be made to anybody, one
#: in another currency is made at home.
PAID_IN: Mapping[str, str] = FrozenDict({"china": "CNY"})


def offers_to(offers: Iterable[Offer], place: str) -> list[Offer]:
    """Return the offers that a buyer of a place may have had: in dollars, or in the currency of the place."""
    return [each for each in offers if each.currency in ("USD", PAID_IN.get(place.lower()))]


def offers_on(offers: Iterable[Offer], day: date, within: timedelta = YEAR, least: int = 1) -> list[Offer]:
    """Return the offers of the time up to a day, else those before it, else all.

    Args:
        offers: any.
        day: that they should be of.
        within: the time before it in which an offer is new.
        least: new offers without which the older ones count too.
    """
    every = list(offers)
    before = [each for each in every if each.date <= day]
    new = [each for each in before if each.date > day - within]
    return new if len(new) >= least else before or every


def offered(offers: Sequence[Offer], day: date, unit: str, chips: int, key: str) -> Assumption:
    """Return what one unit of several offers costs: their median, within all of them.

    Offers in other currencies than the latest are converted at the day's rate; all are brought to the latest's tax.

    Args:
        offers: one or more, of one unit.
        day: of the conversion.
        unit: the word for what is paid for.
        chips: that the unit holds; an offer that does not say its own number is taken to hold as many.
        key: of the figure.
    """
    last = max(offers, key=lambda each: each.date)
    found = [_amounts(each, last, day, chips) for each in offers]
    low, middle, high = zip(*found, strict=True)
    days = sorted(each.date for each in offers)
    said = "; ".join(dict.fromkeys(each.source for each in offers))
    span = f"median of {len(days)} offers from {days[0]} to {days[-1]}: {said}" if len(days) > 1 else said
    value = statistics.median(middle)
    return Assumption(value, f"{last.currency} per {unit}", span, last.date, min(low), max(high), last.currency, key)


def _amounts(offer: Offer, like: Offer, day: date, chips: int) -> tuple[float, float, float]:
    """Low, amount and high of an offer for so many chips, in the currency and with the tax of another one."""
    held = 1 if offer.unit in ("chip", "chip-hour") else offer.chips or chips
    taxed = (1 + (like.vat or 0.0)) / (1 + (offer.vat or 0.0))
    factor = catalog.exchange_rate(offer.currency, like.currency, day) * taxed * chips / held
    low, high = offer.low or offer.amount, offer.high or offer.amount
    return low * factor, offer.amount * factor, high * factor


def residual_after(life: Assumption | None, key: str, day: date) -> Assumption:
    """Return the share of the price that is left after a life: 0, as books write it off, or up to what dealers pay.

    Between the years of the dealers' curve the share is interpolated; after its last year that one stays the bound.
    """
    nothing = Assumption(0.0, "share", "written off to nothing, as the owners' books have it", day, key="residual")
    rows = [
        each for each in catalog.tables().costs.values() if each.what == "residual" and each.after_years is not None
    ]
    rows = sorted((each for each in rows if each.chip in (None, key)), key=lambda each: each.after_years or 0.0)
    if not rows or life is None:
        return nothing
    years, shares = zip(*((each.after_years or 0.0, each.value) for each in rows), strict=True)
    most = float(np.interp(life.value, years, shares))
    source = f"{nothing.source}, or up to what dealers pay after {life.value:g} years: {rows[-1].source}"
    return replace(nothing, high=most, source=source)


def server_over_chips() -> Assumption | None:
    """Return what a server adds to the price of its chips, over all chips of which both prices are catalogued.

    Both must have been asked within a year of one another; they are compared without tax, at the rate of the server's
    day. None where there is no such chip.
    """
    found = [share for chip in catalog.tables().chips.values() for share in _hosts(chip)]
    if not found:
        return None
    text = f"servers by their chips, {len(found)} pairs of catalogued prices"
    return Assumption(statistics.median(found), "share", text, None, min(found), max(found), key="host")


def _hosts(chip: ChipRecord) -> list[float]:
    """The shares that servers add to chips of the nearest day, where the server is the dearer."""
    asked = [each for each in chip.offers if each.kind == "price"]
    singles = [each for each in asked if each.unit == "chip"]
    shares = []
    for server in (each for each in asked if each.unit == "server" and each.chips):
        near = [each for each in singles if abs(each.date - server.date) <= YEAR]
        for single in sorted(near, key=lambda each: (abs(each.date - server.date), each.currency != server.currency))[
            :1
        ]:
            rate = catalog.exchange_rate(single.currency, server.currency, server.date)
            shares.append(server.net_amount / (single.net_amount * rate * (server.chips or 1)) - 1)
    return [share for share in shares if share > 0]


def machine_power(chip: ChipRecord) -> Assumption | None:
    """Return the rated watts of a machine for each of its chips, with its share of host and fans.

    Where the chip's machine is not known, the chip's own power stands for it, by as much more as machines of other
    chips take; None where that is not known either.
    """
    if chip.node_power_w:
        return Assumption(chip.node_power_w / chip.chips_per_node, "W a chip", chip.source, chip.date)
    if chip.power_w is None:
        return None
    ratios = [
        each.node_power_w / each.chips_per_node / each.power_w
        for each in catalog.tables().chips.values()
        if each.node_power_w and each.power_w
    ]
    return _by_others(chip.power_w, ratios, f"{chip.source}; its machine, by the ratio of", "machine power")


def idle_power(chip: ChipRecord) -> Assumption | None:
    """Return the watts of a chip without work; where not known, by the share of rated power that others draw.

    None where the chip's rated power is not known.
    """
    if chip.idle_power_w is not None:
        return Assumption(chip.idle_power_w, "W a chip", f"{chip.source}; without the host's", chip.date)
    if chip.power_w is None:
        return None
    shares = [
        each.idle_power_w / each.power_w
        for each in catalog.tables().chips.values()
        if each.idle_power_w is not None and each.power_w
    ]
    return _by_others(chip.power_w, shares, "not published; by the share of rated power of", "idle power")


def _by_others(power: float, ratios: Sequence[float], source: str, key: str) -> Assumption:
    """Watts by the ratios of other chips: their median, within all of them."""
    found = [power * ratio for ratio in ratios]
    text = f"{source} {len(found)} catalogued chips"
    return Assumption(statistics.median(found), "W a chip", text, None, min(found), max(found), key=key)
