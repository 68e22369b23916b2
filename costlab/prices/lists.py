"""Rows of price lists: which one applies, what came before it, what comes after."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import NamedTuple

import numpy as np

from costlab import catalog, checks
from costlab.arrays import ArrayLike, Floats
from costlab.catalog import LESSON_DAY, Offer, PriceRow, ServiceTier, Succession, moment
from costlab.catalog.price_lists import Publisher, start_of
from costlab.prices.hours import window_at
from costlab.prices.names import listed, resolve
from costlab.prices.validity import holds


def chip_rent(chip: str) -> Offer:
    """Return the latest rent of a chip in the catalog, in dollars per chip-hour; of several on one day the lowest.

    Raises:
        ValueError: an unknown chip, or one that nobody in the catalog rents out for dollars.
    """
    rents = [o for o in catalog.chip(chip).offers if (o.kind, o.unit, o.currency) == ("rent", "chip-hour", "USD")]
    if not rents:
        raise ValueError(f"the catalog has no rent of {chip!r}")
    return max(rents, key=lambda offer: (offer.date, -offer.amount))


# --- rows ------------------------------------------------------------------------------------------------------


def history(product: str, currency: str | None = None, published_by: Publisher = "provider") -> tuple[PriceRow, ...]:
    """Return every price row of a product, oldest first.

    Args:
        product: e.g. "deepseek-v4-pro"; of the providers' lists any name that `resolve` knows.
        currency: only rows in it; None for all.
        published_by: the provider's own list, or an article's table.

    Raises:
        ValueError: an unknown product.
    """
    name = _known(product, None, published_by)
    return tuple(row for row in listed(published_by)[name] if currency in (None, row.currency))


def _known(product: str, when: datetime | None, published_by: Publisher) -> str:
    if published_by == "provider":
        return resolve(product, when)
    known = listed(published_by)
    if product.lower() not in known:
        raise ValueError(checks.unknown("product with a price", product, known))
    return product.lower()


def rows_on(
    when: str | date | datetime = LESSON_DAY, *, currency: str | None = None, provider: str | None = None
) -> tuple[PriceRow, ...]:
    """Return the rows that hold at a moment: each product's tiers, and both of its daily prices where it has two.

    Args:
        when: see `moment`.
        currency: a product's rows in it, or else in the currency that it has; None for all rows.
        provider: only its products, e.g. "OpenAI"; capitals do not matter. None for all.

    Returns:
        By provider, product, tier and price.

    Raises:
        ValueError: an unknown provider.
    """
    rows = [r for r in catalog.tables().prices if r.published_by == "provider"]
    if provider is not None:
        wanted = checks.pick({r.provider.lower(): r.provider for r in rows}, provider, "provider")
        rows = [r for r in rows if r.provider == wanted]
    at = moment(when)
    rows = [r for r in rows if holds(r, at)]
    there = {(r.product, r.currency) for r in rows}
    rows = [r for r in rows if currency in (None, r.currency) or (r.product, currency) not in there]
    return tuple(sorted(rows, key=lambda r: (r.provider, r.product, r.currency, r.min_input_tokens, r.miss)))


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
        product: e.g. "deepseek-v4-pro"; of the providers' lists any name that `resolve` knows.
        when: see `moment`.
        input_tokens: length of one call's input, which decides the context tier.
        currency: preferred; another catalogued currency's row is returned where this one has none.
        published_by: the provider's own list, or an article's table.

    Raises:
        ValueError: an unknown product, or a day without price; the message says since when there is one, or when the
            product ended and what took its place.
    """
    at = moment(when)
    name = _known(product, at, published_by)
    if published_by == "provider" and (billed := billed_as(name, at)):
        return price_at(billed, at, input_tokens=input_tokens, currency=currency)
    rows = listed(published_by)[name]
    open_now = [r for r in rows if holds(r, at)]
    fitting = [r for r in open_now if in_tier(r, input_tokens) and _in_window(r, at)]
    if not fitting:
        tier = f" for {input_tokens} input tokens" if open_now else ""
        why = _why_none(rows, at)
        raise ValueError(f"no price of {product!r} is known at {minute_text(at)}{tier}; {why}")
    # the asked currency first; then the newest row, which replaced the others
    return max(fitting, key=lambda r: (r.currency == currency, start_of(r.valid_from)))


def in_tier(row: PriceRow, input_tokens: int) -> bool:
    """Whether a call's input is of the length that a row is for."""
    return row.min_input_tokens <= input_tokens and input_tokens <= (row.max_input_tokens or math.inf)


def same_tier(a: PriceRow, b: PriceRow) -> bool:
    """Whether two rows are for the same lengths of input."""
    return (a.min_input_tokens, a.max_input_tokens) == (b.min_input_tokens, b.max_input_tokens)


def _in_window(row: PriceRow, at: datetime) -> bool:
    return row.window is None or row.window == window_at(row.provider, at)


def minute_text(at: datetime) -> str:
    """Return a moment as messages have it: 2026-08-16 16:00 UTC."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def tier_text(row: PriceRow) -> str | None:
    """Return the inputs that a row is for: "> 272,000 tokens"; None where the list has one price for all lengths."""
    least, most = row.min_input_tokens, row.max_input_tokens
    if least and most:
        return f"{least:,} to {most:,} tokens"
    if most:
        return f"{f'< {most + 1:,}' if most % 10 == 9 else f'≤ {most:,}'} tokens"  # borders are round numbers
    if least:
        return f"{f'> {least - 1:,}' if least % 10 == 1 else f'≥ {least:,}'} tokens"
    return None


# --- ends and followers ----------------------------------------------------------------------------------------


def _why_none(rows: tuple[PriceRow, ...], at: datetime) -> str:
    """Say when a product ended and what followed, or when its prices start."""
    end = end_of(rows)
    if end is None or at < end:
        return f"prices start on {', '.join(sorted({f'{r.valid_from:%Y-%m-%d}' for r in rows}))}"
    return f"it ended on {minute_text(end)}{followers_text(rows[0].product, at)}"


def followers_text(product: str, at: datetime) -> str:
    """Return what followed a product up to a moment, as the end of a sentence: ", followed by mimo-v2.6-pro"."""
    names = [f"{name}{'' if name in listed() else ' (no price known)'}" for name in _followers(product, at)]
    return f", followed by {', then '.join(names)}" if names else ""


def end_of(rows: Sequence[PriceRow]) -> datetime | None:
    """Return when the last of a product's rows ended, or will; None if one has no end."""
    ends = [start_of(r.valid_to) for r in rows if r.valid_to]
    return max(ends, default=None) if len(ends) == len(rows) else None


def _succession(product: str, at: datetime) -> Succession | None:
    """Return what took a product's place, if it has ended by that moment."""
    end = end_of(listed().get(product, ()))
    if end is None or at < end:
        return None
    return next((s for s in catalog.tables().successions if s.product == product), None)


def billed_as(product: str, at: datetime) -> str | None:
    """Return the product as which calls under an ended product's name are billed at a moment; None if there is none."""
    found = _succession(product, at)
    return found.superseded_by if found and found.name_billed else None


def _followers(product: str, at: datetime) -> Iterator[str]:
    """Yield what took a product's place, and what took that one's, up to what is sold at that moment."""
    while found := _succession(product, at):
        yield (product := found.superseded_by)


class Announced(NamedTuple):
    """A change of price that a list announces."""

    day: datetime  # of the change
    row: PriceRow | None  # the row from then on; None where the product ends


def announced_change(row: PriceRow, when: str | date | datetime) -> Announced | None:
    """Return how a row's price will change, as far as that had been announced at a moment; None if it had not."""
    at = moment(when)
    if row.valid_to is None or at >= start_of(row.valid_to):
        return None
    end = start_of(row.valid_to)
    rows = history(row.product, row.currency, row.published_by)
    later = [r for r in rows if start_of(r.valid_from) == end and in_tier(r, row.min_input_tokens)]
    if not later:
        return Announced(end, None) if end_of(history(row.product, None, row.published_by)) == end else None
    following = next((r for r in later if r.window == row.window), later[0])
    return Announced(end, following) if following.date <= at.date() else None


# --- other ways to be served -----------------------------------------------------------------------------------


def service_of(row: PriceRow, name: str, when: str | date | datetime) -> ServiceTier:
    """Return another way in which a row's provider serves its product, e.g. "batch".

    Raises:
        ValueError: a service that is not known for the product at that moment; the message has those that are.
    """
    at = moment(when)
    offered = [s for s in catalog.tables().services if s.provider == row.provider and holds(s, at)]
    fitting = {s.name: s for s in offered if not s.products or row.product in s.products}
    if name.lower() in fitting:
        return fitting[name.lower()]
    known = f"known: {', '.join(sorted(fitting))}" if fitting else "none is"
    raise ValueError(
        f"no service {name!r} of {row.provider} is known for {row.product!r} at {minute_text(at)}; {known}"
    )


# --- prices compared -------------------------------------------------------------------------------------------


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
