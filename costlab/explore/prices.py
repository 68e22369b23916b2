"""Figures of the chapter `prices`: three prices, their history, and what a workload makes of them.

Chapter: prices
"""

from __future__ import annotations

from datetime import date

import numpy as np
from matplotlib.dates import date2num

from costlab import catalog, prices
from costlab.explore.drawing import Words, drawn, say, value
from costlab.explore.style import COLOURS, INK, label_ends, log_axis, new_figure

SHOWN = ("deepseek-v4-pro", "mimo-v2.5-pro", "qwen-plus", "gpt-5.5", "claude-opus-4.8")
_MONEY = (0.001, 0.01, 0.1, 1.0, 10.0)


def _dollars(amount: float) -> str:
    return f"${amount:g}"


@drawn
def blended_price(hit_rate: float = 0.9) -> Words:
    """Draw the average price of a million input tokens against the hit rate, and mark one rate.

    Args:
        hit_rate: the rate to mark, 0 to 1.

    Raises:
        ValueError: a rate outside 0 to 1.
    """
    axes = new_figure("What does input cost once most of it is cached?", "hit rate", "USD per million input tokens")
    rates = np.linspace(0, 1, 201)
    ends, marked = [], {}
    for product in SHOWN:
        row = prices.price_at(product)
        colour = COLOURS.get(row.provider, COLOURS["other"])
        axes.plot(rates, prices.blended_input(row, rates), color=colour)
        marked[product] = float(prices.blended_input(row, hit_rate))
        axes.plot(hit_rate, marked[product], "o", color=colour)
        ends.append((float(prices.blended_input(row, 1.0)), product, colour))
    axes.axvline(hit_rate, color=INK, linewidth=1, linestyle=":")
    log_axis(axes, "y", _MONEY, _dollars)
    axes.set(xlim=(0, 1), ylim=(0.002, 10))
    axes.set_xticks(np.linspace(0, 1, 6), [f"{r:.0%}" for r in np.linspace(0, 1, 6)])
    label_ends(axes, 1.0, ends)
    first = marked[SHOWN[0]]
    return Words(
        alt=f"Average input price against hit rate, falling from left to right; at {hit_rate:.0%} hits a million input "
        f"tokens of {SHOWN[0]} cost ${first:.3g}.",
        note=f"A million input tokens at {hit_rate:.0%} hits: "
        + ", ".join(f"{product} {value(price, f'${price:.3g}')}" for product, price in marked.items()),
    )


@drawn
def bill_parts(input_tokens: int = 32_768, output_tokens: int = 8_192, hit_rate: float = 0.5) -> Words | None:
    """Draw the bill of one call split into hit, miss and output, at every shown product's price on the course's day.

    Args:
        input_tokens: of one call.
        output_tokens: of one call.
        hit_rate: share of input that hits, 0 to 1.

    Raises:
        ValueError: a count or rate out of range.
    """
    load = prices.Workload(input_tokens, output_tokens, hit_rate)
    bills = {name: prices.bill(name, load) for name in SHOWN}
    axes = new_figure("Which tokens make up the bill?", "share of the bill", "", wide=(7.2, 3.4))
    for row, due in enumerate(bills.values()):
        left = 0.0
        for part in ("hit", "miss", "output"):
            share = getattr(due, part) / due.total if due.total else 0.0
            axes.barh(row, share, left=left, color=COLOURS[part], height=0.6)
            if share > 0.09:
                axes.text(left + share / 2, row, f"{share:.0%}", ha="center", va="center", color="black", fontsize=10)
            left += share
        axes.text(1.02, row, f"${due.total:.4g}", va="center", weight="bold")
    axes.set_yticks(range(len(bills)), list(bills))
    axes.set_xlim(0, 1.2)
    axes.set_xticks(np.linspace(0, 1, 5), [f"{r:.0%}" for r in np.linspace(0, 1, 5)])
    axes.grid(axis="y", visible=False)
    for place, part in enumerate(("hit", "miss", "output")):
        axes.text(0.2 + 0.25 * place, len(bills) - 0.35, part, color=COLOURS[part], weight="bold")
    axes.set_ylim(-0.5, len(bills))
    for name, due in bills.items():
        say(f"{name}: {due.total:.12g} USD")


@drawn
def price_steps(product: str = "deepseek-v4-pro") -> Words | None:
    """Draw a product's three prices over time, off-peak where the day is split; no line where no price is listed.

    Args:
        product: with a price history in USD.

    Raises:
        ValueError: an unknown product, or one without prices in USD.
    """
    rows = [r for r in prices.history(product, "USD") if r.window != "peak" and not r.min_input_tokens]
    if not rows:
        raise ValueError(f"{product!r} has no price list in USD")
    days = date2num([prices.moment(r.valid_from).date() for r in rows])
    end = max(days[-1], date2num(prices.moment(rows[-1].valid_to or catalog_day()).date()))
    axes = new_figure(f"What has a million tokens of {product} cost?", "", "USD per million tokens")
    axes.xaxis_date()
    ends = []
    for part in ("hit", "miss", "output"):
        values = [np.nan if getattr(r, part) is None else getattr(r, part) for r in rows]
        axes.step([*days, end], [*values, values[-1]], where="post", color=COLOURS[part])
        if np.isfinite(values[-1]):
            ends.append((values[-1], f"{part} ${values[-1]:g}", COLOURS[part]))
    log_axis(axes, "y", _MONEY, _dollars)
    axes.margins(x=0.02)
    axes.tick_params(axis="x", rotation=30)
    label_ends(axes, end, ends)


def catalog_day() -> date:
    """Return the date of the catalog's newest price source: how far the history is known."""
    return max(row.date for row in catalog.tables().prices)
