"""Price lists, what belongs to them, and exchange rates."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from costlab import catalog, checks
from costlab.catalog import MarginStatement, PriceRow
from costlab.catalog.cache_rules import cache_rules
from costlab.catalog.price_lists import Moment
from costlab.explore.reference.listing import Sourced, sourced
from costlab.text import number_text


def price_list(provider: str) -> Sourced:
    """Return every row of a provider's lists of products of its own, per million tokens.

    Args:
        provider: as the catalog names it, e.g. "DeepSeek".

    Raises:
        ValueError: a provider without prices.
    """
    if provider not in price_providers():
        raise ValueError(checks.unknown("provider", provider, price_providers()))
    rows = [row for row in catalog.tables().prices if row.provider == provider and row.host_of is None]
    return sourced(
        f"prices-{provider.lower().replace(' ', '-')}",
        ((_priced(row), row) for row in sorted(rows, key=lambda row: (row.product, row.currency))),
        f"{provider}: money per million tokens",
        filters=("product", "in"),
        bold="product",
    )


def _priced(row: PriceRow) -> dict[str, Any]:
    return {
        "product": row.product,
        "in": row.currency,
        "valid": _validity(row.valid_from, row.valid_to),
        "for": _condition(row),
        **{kind: _amount(getattr(row, kind)) for kind in ("hit", "miss", "write")},
        "long write": _long_write(row),
        "output": _amount(row.output),
        "thinking": _amount(row.thinking_output),
        "storage": _amount(row.storage),
    }


def _long_write(row: PriceRow) -> str | None:
    return None if row.write_long is None else f"{number_text(row.write_long)} for {row.write_long_hours} h"


def _amount(price: float | None) -> str | None:
    return None if price is None else number_text(price)


def _validity(start: Moment, end: Moment | None) -> str:
    return f"from {_moment(start)}" if end is None else f"{_moment(start)} to {_moment(end)}"


def _moment(when: Moment) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC" if isinstance(when, datetime) else f"{when}"


def _condition(row: PriceRow) -> str | None:
    low, high = row.min_input_tokens, row.max_input_tokens
    tier = f"prompts from {low:,}" if high is None else f"prompts of {f'{low:,} to' if low else 'at most'} {high:,}"
    words = [
        tier if low or high else None,
        row.window and f"{row.window} hours",
        "announced as temporary" if row.promotion else None,
        None if row.published_by == "provider" else "as article E prints it",
    ]
    return ", ".join(filter(None, words)) or None


def price_providers() -> tuple[str, ...]:
    """Return the providers that sell products of their own, in the catalog's order."""
    return tuple(dict.fromkeys(row.provider for row in catalog.tables().prices if row.host_of is None))


def host_prices() -> Sourced:
    """Return what hosts ask for serving open weights of other makers, per million tokens."""
    rows = [row for row in catalog.tables().prices if row.host_of is not None]
    return sourced(
        "hosts",
        (
            ({"host": row.provider, "weights of": row.host_of, **_priced(row)}, row)
            for row in sorted(rows, key=lambda row: (row.host_of or "", row.miss, row.product))
        ),
        "Hosts of open weights: money per million tokens",
        filters=("host", "weights of"),
        bold="product",
    )


def price_services() -> Sourced:
    """Return the ways to be served at a factor of the list price."""
    rows = (
        (
            {
                "provider": entry.provider,
                "service": entry.name,
                "factor": number_text(entry.factor),
                "on hits": None if entry.hit_factor is None else number_text(entry.hit_factor),
                "valid": _validity(entry.valid_from, entry.valid_to),
                "products": ", ".join(entry.products) or "all",
            },
            entry,
        )
        for entry in catalog.tables().services
    )
    caption = "Services: the list price times a factor"
    return sourced("services", rows, caption, filters=("provider", "service"), bold="factor")


def price_aliases() -> Sourced:
    """Return the other names that products have in APIs and logs."""
    rows = (
        (
            {
                "name": entry.name,
                "product": entry.product,
                "from": None if entry.valid_from is None else _moment(entry.valid_from),
                "to": None if entry.valid_to is None else _moment(entry.valid_to),
            },
            entry,
        )
        for entry in catalog.tables().aliases
    )
    return sourced("names", rows, "Names in APIs and logs", filters=("product",), bold="product")


def price_hours() -> Sourced:
    """Return when peak and off-peak prices apply."""
    rows = (
        (
            {
                "provider": window.provider,
                "name": window.name,
                "hours, UTC": ", ".join(f"{start:%H:%M} to {end:%H:%M} {window.window}" for start, end in window.hours),
                "days": "Monday to Friday" if window.weekdays_only else "every day",
                "holidays": ", ".join(map(str, window.holidays)) or None,
                "holidays complete to": window.holidays_known_to and str(window.holidays_known_to),
                "valid": _validity(window.valid_from, window.valid_to),
            },
            window,
        )
        for window in catalog.tables().windows
    )
    return sourced("hours", rows, "Hours of the day with a price of their own; all others have the other price")


def price_successions() -> Sourced:
    """Return what took the place of a product whose prices have ended."""
    rows = (
        (
            {
                "product": entry.product,
                "superseded by": entry.superseded_by,
                "billed as it": "yes" if entry.name_billed else "no",
            },
            entry,
        )
        for entry in catalog.tables().successions
    )
    return sourced("successions", rows, "Products that were withdrawn, and what took their place")


def exchange_rates() -> Sourced:
    """Return every exchange rate, with what it is good for."""
    rows = (
        (
            {
                "day": str(rate.date),
                "rate": f"1 {rate.base} = {number_text(rate.rate)} {rate.quote}",
                "kind": "an article's" if rate.claim else "implied by a price list" if rate.implied else "market",
            },
            rate,
        )
        for rate in catalog.tables().fx
    )
    caption = "Exchange rates. Money is converted at market rates only"
    return sourced("rates", rows, caption, filters=("kind",), bold="rate")


def prompt_cache_rules() -> Sourced:
    """Return what providers' prompt caches keep and find again, as `costlab prompts` replays them."""
    found = {"blocks": "any beginning", "units": "whole beginnings", "marks": "marked beginnings"}
    rows = (
        (
            {
                "provider": rule.provider or "all others",
                "products": ", ".join(rule.products) or None,
                "finds": found[rule.finds] + (", and whole requests" if rule.marks_end else ""),
                "from": f"{rule.minimum_tokens:,} tokens",
                "in steps of": f"{rule.block_tokens:,}",
                "unused for": f"{rule.lifetime_s:,.0f} s",
            },
            rule,
        )
        for rule in cache_rules().rules.values()
    )
    return sourced("caches", rows, "What prompt caches find again", filters=("provider", "finds"), bold="finds")


def token_ratios() -> Sourced:
    """Return how many bytes of text are taken for a token where no tokenizer is asked."""
    rows = (
        ({"statement": ratio.says, "bytes of a token": number_text(ratio.bytes_per_token)}, ratio)
        for ratio in cache_rules().ratios.values()
    )
    return sourced("ratios", rows, "Bytes of text that are taken for a token", bold="bytes of a token")


def margin_statements() -> Sourced:
    """Return what was said in public of margins, by what it counts as cost."""
    rows = (
        (
            {
                "who": stated.who,
                "of": stated.period,
                "left of the revenue": _share(stated),
                "costs counted": stated.counts,
                "who vouches": stated.basis,
                "evidence": stated.mark,
                "statement": stated.says,
            },
            stated,
        )
        for stated in catalog.tables().margins.values()
    )
    caption = "Margins by who counts what"
    return sourced("margins", rows, caption, filters=("costs counted", "who"), bold="left of the revenue")


def _share(stated: MarginStatement) -> str | None:
    """Write a margin and its range, e.g. "88% (77% to 92%)"."""
    ends = [f"{share:.0%}" for share in (stated.low, stated.high) if share is not None]
    if stated.margin is None:
        return " to ".join(ends) or None
    return f"{stated.margin:.1%}" + (f" ({' to '.join(ends)})" if ends else "")
