"""The verb prices: price lists on a day, and how they moved."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from costlab import catalog, prices
from costlab.catalog import FxRate, PriceRow
from costlab.checks import pick
from costlab.cli import clock
from costlab.cli.arguments import add_verb, moment_arg
from costlab.cli.output import Answer, Column, sources, view
from costlab.cli.plots import add_plot, plotter

#: More lines than these are told apart by nobody.
MOST_DRAWN = 7


def _prices(args: argparse.Namespace) -> Answer:
    args.moment = args.moment or prices.moment(clock.today())
    asked = args.product
    args.product = [prices.resolve(name, args.moment) for name in asked]
    draw = _plotter(args)
    listed = list(_history(args) if args.history else _on_day(args))
    if not listed:
        raise ValueError(f"no prices are known at {args.moment:%Y-%m-%d %H:%M} UTC")
    rows = [_row(row, args) for row in listed]
    if draw:
        draw(args.product, currency=args.currency or "USD", until=args.moment)
    at = [f"prices at {args.moment:%Y-%m-%d %H:%M} UTC"] * (not args.history)
    named = _name_notes(asked, args.product)
    notes = [*at, *named, *_hours_notes(listed, args), *_row_notes(listed, args), *_rate_notes(listed, args)]
    return Answer(rows, _table(rows), [], list(dict.fromkeys(notes)), sources(*_used(listed, args)))


def _on_day(args: argparse.Namespace) -> Iterator[PriceRow]:
    """Yield the rows that hold then: of the named products in their order, or of all."""
    rows = prices.rows_on(args.moment, currency=args.currency or "USD", provider=args.provider)
    if not args.product:
        yield from (row for row in rows if args.hosts or args.provider or row.host_of is None)
    for name in args.product:
        product = prices.price_at(name, args.moment, currency=args.currency or "USD").product  # or says why not
        mine = [row for row in rows if row.product == product]
        if not mine:
            raise ValueError(f"{args.provider} does not sell {product!r}")
        yield from mine


def _history(args: argparse.Namespace) -> Iterator[PriceRow]:
    """Yield every row of the named products, oldest first, or of all; in the asked currency where there is a list."""
    tables = catalog.tables().prices
    sellers = {row.provider.lower(): row.provider for row in tables}
    seller = None if args.provider is None else pick(sellers, args.provider, "provider")
    for name in args.product or prices.products():
        rows = [row for row in prices.history(name) if seller in (None, row.provider)]
        asked = [row for row in rows if args.currency in (None, row.currency)]
        yield from asked or rows


def _rate(row: PriceRow, args: argparse.Namespace) -> tuple[float, tuple[FxRate, ...]]:
    """Return what an amount of a row is multiplied by, and the catalog's rows behind it."""
    when = row.valid_from if args.history else args.moment
    return catalog.rate_rows(row.currency, args.currency or row.currency, when)


def _row(row: PriceRow, args: argparse.Namespace) -> dict[str, Any]:
    fx, rates = _rate(row, args)

    def amount(price: float | None) -> float | None:
        return None if price is None else price * fx

    return {
        "product": row.product,
        "provider": row.provider,
        "currency": args.currency or row.currency,
        "miss_price": amount(row.miss),
        "hit_price": amount(row.hit),
        "output_price": amount(row.output),
        "thinking_output_price": amount(row.thinking_output),
        "write_price": amount(row.write),
        "write_long_price": amount(row.write_long),
        "write_long_hours": row.write_long_hours,
        "storage_price": amount(row.storage),
        "miss_over_hit": row.miss / row.hit if row.hit else None,
        "price_tier": prices.tier_text(row),
        "price_window": row.window,
        "price_since": f"{row.valid_from:%Y-%m-%d}",
        "price_until": f"{row.valid_to:%Y-%m-%d}" if row.valid_to else None,
        "price_read": row.date.isoformat(),
        "price_source": row.source,
        "list_currency": row.currency,
        "min_input_tokens": row.min_input_tokens,
        "max_input_tokens": row.max_input_tokens,
        "exchange_rate": fx,
        "exchange_date": min((rate.date.isoformat() for rate in rates), default=None),
        "promotion": row.promotion,
        "host_of": row.host_of,
    }


def _table(rows: Sequence[dict[str, Any]]) -> Any:
    several = len({row["currency"] for row in rows}) > 1
    return view(
        rows,
        Column("product", "product"),
        *([Column("currency", "currency")] if several else []),
        Column("tier", lambda row: row["price_tier"] and row["price_tier"].removesuffix(" tokens")),
        Column("window", "price_window"),
        Column("miss", "miss_price"),
        Column("hit", "hit_price"),
        Column("output", "output_price"),
        Column("thinking", "thinking_output_price"),
        Column("write", "write_price"),
        Column("write_long", "write_long_price"),
        Column("miss/hit", "miss_over_hit"),
        Column("since", "price_since"),
        Column("until", "price_until"),
        Column("read", "price_read"),
    )


# --- notes -----------------------------------------------------------------------------------------------------


def _name_notes(asked: Sequence[str], products: Sequence[str]) -> Iterator[str]:
    """Say whose list was taken where a name does not tell who sells its product."""
    for name, product in zip(asked, products, strict=True):
        if note := prices.seller_note(name, prices.history(product)[0]):
            yield f"{product}: {note}"


def _hours_notes(listed: Sequence[PriceRow], args: argparse.Namespace) -> Iterator[str]:
    """Say in which currency amounts are, and which of two daily prices holds at the moment."""
    found = sorted({args.currency or row.currency for row in listed})
    yield f"{found[0] if len(found) == 1 else 'the currency shown'} for a million tokens"
    if not args.history:
        for provider in sorted({row.provider for row in listed if row.window}):
            yield f"{provider}: {prices.window_at(provider, args.moment)} hours"


def _row_notes(listed: Sequence[PriceRow], args: argparse.Namespace) -> Iterator[str]:
    """Say what is announced, and up to when the lists were read."""
    if args.history:
        return
    for row in listed:
        change = prices.announced_change(row, args.moment)
        if change and change.row:
            tier = prices.tier_text(row)
            which = f"{row.product}{f' {tier}' if tier else ''}"
            yield f"{which}: announced for {change.day:%Y-%m-%d}: {prices.prices_text(change.row)}"
        elif change:
            yield f"{row.product}: sold until {change.day:%Y-%m-%d %H:%M} UTC"
    last = max(row.date for row in listed)
    if args.moment.date() > last:
        yield f"lists read up to {last}; later changes unknown"


def _rate_notes(listed: Sequence[PriceRow], args: argparse.Namespace) -> Iterator[str]:
    said: dict[str, None] = {}
    for row in listed:
        fx, rates = _rate(row, args)
        if rates:
            day = min(rate.date for rate in rates)
            said[f"1 {row.currency} = {fx:.5g} {args.currency}, the rate of {day}"] = None
    if args.history and said:
        yield "converted at the rate of the day on which each row began"
    else:
        yield from said


def _used(listed: Sequence[PriceRow], args: argparse.Namespace) -> Iterator[tuple[str, str, Any]]:
    yield from (("price", row.product, row) for row in listed)
    for row in listed:
        yield from (("exchange rate", f"{rate.base}/{rate.quote}", rate) for rate in _rate(row, args)[1])


# --- the figure ------------------------------------------------------------------------------------------------


def _plotter(args: argparse.Namespace) -> Callable[..., None] | None:
    """Return what draws the products' prices; say at once what is in the way."""
    if args.plot is not None and not 0 < len(args.product) <= MOST_DRAWN:
        raise ValueError(f"--plot draws 1 to {MOST_DRAWN} products, name them: got {len(args.product)}")
    return plotter(args.plot, "price_moves.moves_figure")


def add_verbs(verbs: Any) -> None:
    """Add prices."""
    example = "prices --date 2026-11-25 deepseek-v4-pro gpt-6.1-sol"
    listed = add_verb(verbs, "prices", _prices, "price lists on a day, and how they moved", example)
    listed.add_argument("product", nargs="*", metavar="PRODUCT", help="(default: all makers' own that are sold)")
    day = "e.g. 2026-09-01 (its noon) or 2026-09-01T02:00, in UTC (default today)"
    listed.add_argument("--date", type=moment_arg, dest="moment", metavar="DATE", help=day)
    codes = ", ".join(prices.currencies())
    money = f"{codes}: convert where there is no list in it (default: as listed, in dollars if there is such a list)"
    listed.add_argument("--currency", type=str.upper, choices=prices.currencies(), metavar="CURRENCY", help=money)
    listed.add_argument("--provider", metavar="NAME", help="only what it sells, e.g. OpenAI")
    listed.add_argument("--hosts", action="store_true", help="with hosts of open weights, as products host/product")
    listed.add_argument("--history", action="store_true", help="every row over time, in each currency")
    add_plot(listed, "draw how the named products' prices moved, e.g. into out.svg")
