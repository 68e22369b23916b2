"""What an amount at list prices rests on and does not show, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from costlab.catalog import PriceRow
from costlab.prices.hours import near_edge, window_at, window_rule
from costlab.prices.lists import announced_change, history, in_tier, minute_text, same_tier
from costlab.prices.names import names_weights
from costlab.prices.validity import holds

#: A request that lasts may begin in one window and end in the other; few last longer than this.
NEAR_EDGE = timedelta(minutes=10)

#: Inputs so near to a tier's border, as a share of it, may lie on its other side: tokens are estimated before a call.
NEAR_BORDER = 0.03

#: A product's end is said so long before.
ENDING = timedelta(days=60)


@dataclass(frozen=True)
class Traits:
    """What of a load decides which notes are due."""

    input_tokens: int  # of one call
    hits: bool = False  # whether tokens are found in the cache
    writes: bool = False  # whether tokens are written to a cache
    long_writes: bool = False  # whether some of them are for the longer lifetime
    thinking: bool = False  # whether the output has thinking in it
    spread: bool = False  # whether calls come at all hours of a day or week, not at one moment


def row_notes(row: PriceRow, at: datetime, load: Traits) -> Iterator[str]:
    """Yield what a reader of amounts at a row's prices would not expect.

    Args:
        row: of a price list, which applies at the moment.
        at: the moment of the calls.
        load: what is billed.
    """
    yield from _cache_notes(row, load)
    yield from _thinking_notes(row, load)
    yield from _border_notes(row, at, load.input_tokens)
    yield from _hour_notes(row, at, load.spread)
    yield from _time_notes(row, at)


def seller_note(name: str, row: PriceRow) -> str | None:
    """Say whose list was taken for a name of weights, which does not tell who sells them; None for other names.

    Args:
        name: as it was asked for.
        row: of the price list that was taken.
    """
    if not names_weights(name):
        return None
    text = name.strip()
    return f"many hosts may sell weights named {text!r}, at prices of their own: {row.provider}'s own list was taken"


def prices_text(row: PriceRow) -> str:
    """Return a row's three prices in words: "miss 10, hit 1, output 45 USD per million"."""
    hit = "no hit price" if row.hit is None else f"hit {row.hit:g}"
    return f"miss {row.miss:g}, {hit}, output {row.output:g} {row.currency} per million"


def _cache_notes(row: PriceRow, load: Traits) -> Iterator[str]:
    if row.hit is None and load.hits:
        yield "no hit price listed: hits billed as misses"
    if row.write is not None and row.write > 0 and load.hits and not load.writes:
        yield f"hits were written once, at {row.write:g} {row.currency} per million: no write counted"
    if load.long_writes and row.write_long is None:
        yield "no price listed for a longer lifetime in the cache: billed as other writes"
    if row.storage and (load.hits or load.writes):
        yield f"keeping a cache costs {row.storage:g} {row.currency} per million tokens and hour: not counted"


def _thinking_notes(row: PriceRow, load: Traits) -> Iterator[str]:
    if row.thinking_output is None:
        return
    if load.thinking:
        yield f"the output of a thinking call costs {row.thinking_output:g} {row.currency} per million, all of it"
    else:
        yield (
            f"output without thinking; with it {row.thinking_output:g} instead of {row.output:g} {row.currency} per"
            " million"
        )


def _border_notes(row: PriceRow, at: datetime, input_tokens: int) -> Iterator[str]:
    """Say what the other side of a tier's border costs, where an input is near one."""
    if not row.min_input_tokens and row.max_input_tokens is None:
        return
    for border, beyond, side in ((row.max_input_tokens, 1, "above"), (row.min_input_tokens - 1, 0, "up to")):
        if border is None or border <= 0 or abs(input_tokens - border) > NEAR_BORDER * border:
            continue
        others = (r for r in history(row.product, row.currency, row.published_by) if holds(r, at))
        other = next((r for r in others if r.window == row.window and in_tier(r, border + beyond)), None)
        if other:
            yield (
                f"{input_tokens:,} input tokens are within 3% of a tier's border: {side} {border:,} tokens"
                f" {prices_text(other)}"
            )


def _hour_notes(row: PriceRow, at: datetime, spread: bool) -> Iterator[str]:
    if row.window is None:
        return
    rule = window_rule(row.provider, at)
    if row.window == "peak" and rule and rule.holidays_known_to and at.date() > rule.holidays_known_to:
        yield f"holidays after {rule.holidays_known_to} unknown: priced as a working day"
    if spread:
        return
    others = (r for r in history(row.product, row.currency, row.published_by) if holds(r, at))
    if other := next((r for r in others if r.window not in (None, row.window) and same_tier(r, row)), None):
        yield f"{row.window} price; {other.window}: {prices_text(other)}"
    if edge := near_edge(row.provider, at, NEAR_EDGE):
        yield (
            f"{window_at(row.provider, edge)} hours begin at {edge:%H:%M} UTC: whether the start or the end of a"
            " request decides is not settled"
        )


def _time_notes(row: PriceRow, at: datetime) -> Iterator[str]:
    """Say what is known of a price's future, and how old the knowledge is."""
    if change := announced_change(row, at):
        if change.row:
            yield f"announced to change on {minute_text(change.day)}: {_changed_text(row, change.row)}"
        elif change.day - at <= ENDING:
            yield f"sold until {minute_text(change.day)}"
    elif row.promotion and row.valid_to is None:
        yield "announced as a temporary price"
    if at.date() > _last_reading(row):
        yield f"price read on {_last_reading(row)}; later changes unknown"


def _changed_text(row: PriceRow, new: PriceRow) -> str:
    hours = f", {new.window}" if new.window and new.window != row.window else ""
    return f"{prices_text(new)}{hours}"


def _last_reading(row: PriceRow) -> date:
    """The day up to which a row is known to hold: its reading, or that of a row that came after it."""
    if row.valid_to is None:
        return row.date
    return max(r.date for r in history(row.product, row.currency, row.published_by))
