"""Figures of the chapter `levers`: the book's opening figure, from a dense model to the price that a reader pays.

Chapter: levers
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date

from costlab import catalog, checks, prices
from costlab.arrays import Floats
from costlab.catalog import FrozenDict, PriceRow
from costlab.explore.drawing import Words, drawn, value
from costlab.explore.levers import (
    TRAFFIC,
    cost_bands,
    day_text,
    draw_falls,
    finish_rows,
    levers_of,
    list_name,
    listed_rows,
    listed_usd,
    model_name,
    request_mix,
    rung_costs,
    turns_text,
    where_text,
)
from costlab.explore.prices_market import MARKET_DAY
from costlab.explore.style import COLOURS, INK, new_figure
from costlab.text import usd_text

#: Days whose lists may be chosen: between each two a list of one of the models changed.
LANDING_DAYS: Mapping[str, str] = FrozenDict(
    {
        f"{day:%-d %B %Y}": day.isoformat()
        for day in (
            date(2026, 4, 24), date(2026, 4, 25), date(2026, 4, 27), date(2026, 5, 27), prices.LESSON_DAY,
            date(2026, 8, 17), date(2026, 9, 10), MARKET_DAY,
        )
    }
)  # fmt: skip


@drawn
def landing(model: str = "deepseek-v4-pro", hit_rate: float = 0.94, day: str = "2026-06-01") -> Words:
    """Draw how the cost of a million tokens of a mean request falls lever by lever, and what a day's price list leaves.

    Args:
        model: key of one of `LEVER_MODELS`.
        hit_rate: one of `HIT_RATES`, or the usual one.
        day: one of `LANDING_DAYS`.

    Raises:
        ValueError: another model, rate or day.
    """
    checks.one_of(LANDING_DAYS.values(), day, "day")
    costs = rung_costs(model, "request", hit_rate)
    mix = request_mix(model, hit_rate)
    listed = [(row, listed_usd(row, "request", mix)) for row in listed_rows(model, day)]
    axes = new_figure(
        f"What makes a million tokens cost {usd_text(costs[-1])} in place of {usd_text(costs[0])}?",
        "USD per million tokens", "", wide=(7.2, 4.2), narrow=(3.6, 4.6),
    )  # fmt: skip
    said = draw_falls(axes, costs, COLOURS["lever"])
    band = cost_bands(model, hit_rate)["request"]
    axes.plot(band, [len(costs)] * 2, color=COLOURS["lever"], linewidth=6, alpha=0.35, solid_capstyle="round")
    rows = [*zip(("dense model", *levers_of(model).levers, "cost"), said, strict=True)]
    for row, price in listed:
        colour = COLOURS[row.provider]
        axes.plot(price, len(rows), "D", color=colour, markersize=7)
        gain = price >= costs[-1]
        look = {"color": colour, "linewidth": 0} if gain else {"facecolor": "none", "edgecolor": INK}
        axes.barh(len(rows) + 1, price - costs[-1], left=costs[-1], height=0.62, **look)
        rows += [(list_name(row, day), usd_text(price)), ("left of it" if gain else "lost", _left(costs, price))]
    if not listed:
        rows.append((f"list, {prices.moment(day):%-d %b}", "not listed"))
    finish_rows(axes, rows, [costs, band, [price for _, price in listed]], ("dense model", "cost"))
    return _landing_said(model, hit_rate, day, costs, band, listed)


def share_left(costs: Floats, price: float) -> float:
    """Return the share of a price that is left over the cost with all levers; negative where it costs more."""
    return float(1 - costs[-1] / price)


def _left(costs: Floats, price: float) -> str:
    return f"{abs(share_left(costs, price)):.0%}"


def _landing_said(
    model: str, hit_rate: float, day: str, costs: Floats, band: tuple[float, float],
    listed: Sequence[tuple[PriceRow, float]],
) -> Words:  # fmt: skip
    kind = catalog.tables().traffic[TRAFFIC]
    tokens = f"{kind.input:,} tokens in, {kind.output:,} out"
    where, turns = where_text(model, hit_rate), turns_text(levers_of(model).levers, costs)
    low, high = (usd_text(end) for end in band)
    times = math.floor(costs[0] / costs[-1])
    plain, marked = [], []
    for row, price in listed:
        window, left = f" ({row.window})" if row.window else "", share_left(costs, price)
        word = "is left" if left >= 0 else "is lost"
        ends = " to ".join(f"{1 - end / price:.0%}" for end in reversed(band)).replace("-", "−")
        plain.append(f"{usd_text(price)}{window}, of which {_left(costs, price)} {word} ({ends} left)")
        marked.append(
            f"{value(price, usd_text(price), 'landing_list')}{window}, of which "
            f"{value(left, _left(costs, price), 'landing_left')} {word} ({ends} left)"
        )
    listing = f"By the list of {day_text(day)} they cost " if listed else _unlisted(model, day)
    return Words(
        f"What a million tokens of a mean request of a coding agent cost, {where}, {turns}; nine draws in ten of its "
        f"figures lie from {low} to {high}. {listing}{'; '.join(plain)}{'.' * bool(listed)}",
        f"{where}, {tokens}: {value(costs[0], usd_text(costs[0]), 'landing_dense')} "
        f"→ {value(costs[-1], usd_text(costs[-1]), 'landing_cost')}, "
        f"{value(times, f'{times:,} times less', 'landing_times')}; nine draws in ten: {low} to {high}. "
        f"{listing}{'; '.join(marked)}{'.' * bool(listed)} Hollow: dearer.",
    )


def _unlisted(model: str, day: str) -> str:
    """Say when a product that is not listed on a day is."""
    rows = prices.history(model, "USD")
    first, last = prices.moment(rows[0].valid_from), max(prices.moment(row.valid_to or date.max) for row in rows)
    since = f"from {first:%-d %B %Y} on" if prices.moment(day) < first else f"until {last:%-d %B %Y}"
    return f"{model_name(model)} is not listed on {day_text(day)}: it is {since}."
