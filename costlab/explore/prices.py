"""Figures of the chapter `prices`: three prices, what they pay for, their history, and what a workload makes of them.

Chapter: prices
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from costlab import catalog, checks, prices, roofline
from costlab.arch import Model
from costlab.catalog import FrozenDict, PriceRow
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.style import (
    COLOURS,
    INK,
    colour_key,
    label_ends,
    label_inside,
    log_axis,
    new_figure,
    on,
    share_axis,
)
from costlab.text import list_text, tokens_text, usd_text

#: Products of the figures, and what they are called; each the one of its maker that the course compares.
SHOWN: Mapping[str, str] = FrozenDict(
    {
        "deepseek-v4-pro": "DeepSeek-V4-Pro",
        "mimo-v2.5-pro": "MiMo-V2.5-Pro",
        "qwen-plus": "Qwen-Plus",
        "gpt-5.5": "GPT-5.5",
        "claude-opus-4.8": "Claude Opus 4.8",
    }
)
#: Deployments of `token_costs`: chips of each model.
SERVED: Mapping[str, int] = FrozenDict({"deepseek-v4-flash": 8, "deepseek-v4-pro": 64})
TOKENS = ("hit", "miss", "output")
_MONEY = (0.001, 0.01, 0.1, 1.0, 10.0)


def product_name(product: str) -> str:
    """Return what a product is called: GPT-5.5."""
    models = catalog.tables().models
    return SHOWN.get(product) or (models[product].name if product in models else product)


# --- what sets a price -----------------------------------------------------------------------------------------


@drawn
def token_costs(context: int = 32_768, full: float = 1.0, model: str = "deepseek-v4-flash") -> Words:
    """Draw what a million tokens of each kind cost in compute, memory and link time, and in loading, at the peaks.

    Args:
        context: tokens of a prompt, and of the context that an output token sees.
        full: how much of the largest batch that memory holds is decoded together, above 0 and at most 1.
        model: key in `SERVED`.

    Raises:
        ValueError: another model, a context or share out of range, or one that leaves no room for a sequence.
    """
    if not 0 < full <= 1:
        raise ValueError(f"full should be above 0 and at most 1, got {full!r}")
    node = roofline.deployment(checks.one_of(tuple(SERVED), model, "model served here"), "h800", SERVED[model])
    node.check_room(node.replicas, context)
    batch = node.replicas * max(1, int(full * node.max_batch(context) / node.replicas))
    rent = prices.chip_rent("h800").amount
    steps = {"misses": node.prefill(context, batch=node.replicas), "output tokens": node.decode(batch, context)}
    bars = {kind: _usd_by_term(node, step, rent) for kind, step in steps.items()}
    load = loading_usd(node.model, context, rent)
    _draw_costs(bars, load)
    where = f"{node.model.name} on {node.chips} H800, {tokens_text(context)} tokens of context"
    found = []
    for (kind, step), name in zip(steps.items(), ("prices_miss", "prices_output"), strict=True):
        price = max(bars[kind].values())
        found.append(f"{kind} {value(price, usd_text(price), name)} ({step.bound})")
    return Words(
        alt=f"{where}. A million hits cost {usd_text(load)} of waiting for an SSD. "
        + " ".join(
            f"A million {kind} cost {', '.join(f'{usd_text(usd)} of {term}' for term, usd in terms.items())} time: "
            f"{steps[kind].bound} sets the price."
            for kind, terms in bars.items()
        ),
        note=f"{where}, {value(batch, f'{batch:,} sequences')} decoded together, at {usd_text(rent)} a chip-hour. "
        f"A million hits {value(load, usd_text(load), 'prices_hit')} (SSD), {', '.join(found)}.",
    )


def _usd_by_term(node: roofline.Deployment, step: roofline.Step, rent: float) -> dict[str, float]:
    """Return dollars per million tokens of each term of the roofline, as if it alone took time."""
    price = node.usd_per_million(step, rent)
    return {term: price * seconds / step.seconds for term, seconds in step.terms.items()}


def loading_usd(model: Model, context: int, usd_per_chip_hour: float) -> float:
    """Return what a chip costs that waits while one SSD delivers the cache entries of a million tokens.

    Args:
        model: whose cache.
        context: tokens of the prefix, over which what it keeps in windows is spread.
        usd_per_chip_hour: rent.

    Source: the drive's rate is in catalog/storage.toml.
    """
    kept = float(model.kv_bytes(context).total) / context
    return kept / catalog.tables().media["ssd"].read_bytes_s * usd_per_chip_hour / 3600 * 1e6


def _draw_costs(bars: Mapping[str, Mapping[str, float]], load: float) -> None:
    axes = new_figure("What sets a token's price?", "USD per million tokens", "", wide=(7.2, 3.9), narrow=(3.6, 4.2))
    most = max(load, *(usd for terms in bars.values() for usd in terms.values()))
    heads = {
        "hits": "hits, loaded from SSD",
        "misses": "misses, in prefill",
        "output tokens": "output tokens, in decode",
    }
    rows: list[tuple[str, str, float, bool]] = []  # of each bar: kind of token ("" for a heading), words, USD, longest
    for kind, terms in {"hits": {"SSD": load}, **bars}.items():
        rows.append(("", heads[kind], 0.0, False))
        rows += [(kind, term, usd, usd == max(terms.values())) for term, usd in terms.items()]
    for place, (kind, words, usd, longest) in enumerate(rows):
        if not kind:
            axes.annotate(words, (0, place + 0.15), (2, 0), textcoords="offset points", va="center", weight="bold")
            continue
        axes.barh(place, usd, color=COLOURS.get(words, COLOURS["ssd"]), alpha=1 if longest else 0.45, height=0.8)
        more = " sets the price" if longest and words != "SSD" and not is_narrow() else ""
        amount = usd_text(float(f"{usd:.2g}"))
        label_inside(axes, amount + more, usd, place, weight="bold" if longest else "normal")
    axes.set_yticks([i for i, row in enumerate(rows) if row[0]], [row[1] for row in rows if row[0]])
    axes.set(xlim=(0, most * 1.5), ylim=(len(rows) - 0.5, -0.6))
    axes.xaxis.set_major_locator(MaxNLocator(3 if is_narrow() else 6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda usd, _: usd_text(usd) if usd else "0"))
    axes.grid(axis="y", visible=False)


# --- bills -----------------------------------------------------------------------------------------------------


@drawn
def blended_price(hit_rate: float = 0.9) -> Words:
    """Draw the average price of a million input tokens against the hit rate, and mark one rate.

    Args:
        hit_rate: the rate to mark, 0 to 1.

    Raises:
        ValueError: a rate outside 0 to 1.
    """
    axes = new_figure("What does input cost once most of it is cached?", "hit rate", "USD per million input tokens")
    rates = np.linspace(0, 1, 101)
    ends, lines, marked = [], [], {}
    for name, (row, scale, colour, how) in _input_lists().items():
        average = scale * prices.blended_input(row, rates)
        axes.plot(rates, average, color=colour, linestyle={"solid": "-", "dashed": (0, (3, 3)), "dotted": ":"}[how])
        axes.plot([0, 1], [average[0], average[-1]], "o", color=colour, markersize=4, clip_on=False)  # as listed
        marked[name] = scale * float(prices.blended_input(row, hit_rate))
        axes.plot(hit_rate, marked[name], "o", color=colour, markersize=7)
        ends.append((float(average[-1]), name, colour))
        lines.append(how)
    axes.axvline(hit_rate, color=INK, linewidth=1, linestyle=":")
    log_axis(axes, "y", _MONEY[1:-1] if is_narrow() else _MONEY, list_text)
    axes.set(xlim=(0, 1), ylim=(0.002, 10))
    share_axis(axes, "x")
    label_ends(axes, 1.0, ends, lines)
    dearest = max(marked.values())
    return Words(
        alt=f"Average price of a million input tokens against the hit rate; each line falls from the miss price at 0% "
        f"to the hit price at 100%. At {hit_rate:.0%} hits the six lists ask {usd_text(min(marked.values()))} to "
        f"{usd_text(dearest)}.",
        note=f"At {hit_rate:.0%} hits: "
        + ", ".join(
            f"{name} {value(price, usd_text(price), 'prices_blend' if name == SHOWN['deepseek-v4-pro'] else '')}"
            for name, price in marked.items()
        )
        + f". Dots at the ends are list prices of {prices.LESSON_DAY:%-d %B %Y}.",
    )


def _input_lists() -> dict[str, tuple[PriceRow, float, str, str]]:
    """Return the lists that are compared: row, dollars for one unit of its currency, colour, and how it is drawn.

    Qwen-Plus has two that differ by far more than the exchange rate; where two lists agree, one is drawn dashed.
    """
    styles = {"mimo-v2.5-pro": "dashed", "claude-opus-4.8": "dashed"}
    found = {}
    for product, name in SHOWN.items():
        row = prices.price_at(product)
        colour = COLOURS[row.provider.removesuffix(" Cloud")]
        twice = product == "qwen-plus"
        found[f"{name} (dollar list)" if twice else name] = (row, 1.0, colour, styles.get(product, "solid"))
        if twice:
            yuan = prices.price_at(product, currency="CNY")
            found[f"{name} (yuan list)"] = (yuan, prices.exchange_rate("CNY", "USD"), colour, "dotted")
    return found


@drawn
def bill_parts(input_tokens: int = 32_768, output_tokens: int = 8_192, hit_rate: float = 0.9) -> Words:
    """Draw the bill of one call split into hit, miss and output, at every shown product's dollar list.

    Args:
        input_tokens: of one call.
        output_tokens: of one call.
        hit_rate: share of input that hits, 0 to 1.

    Raises:
        ValueError: a count or rate out of range.
    """
    load = prices.Workload(input_tokens, output_tokens, hit_rate)
    bills = sorted((prices.bill(product, load) for product in SHOWN), key=lambda due: -due.total)
    axes = new_figure("Which tokens make up the bill?", "share of the bill", "", wide=(7.2, 3.2), narrow=(3.6, 3.4))
    colour_key((kind, COLOURS[kind]) for kind in TOKENS)
    for place, due in enumerate(bills):
        left = 0.0
        for kind in TOKENS:
            share = getattr(due, kind) / due.total if due.total else 0.0
            axes.barh(place, share, left=left, color=COLOURS[kind], height=0.64)
            if share > (0.26 if is_narrow() else 0.09):
                middle = left + share / 2
                axes.text(middle, place, f"{share:.0%}", ha="center", va="center", color=on(COLOURS[kind]), fontsize=10)
            left += share
        label_inside(axes, usd_text(due.total), 1.0, place, weight="bold")
    axes.set_yticks(range(len(bills)), [product_name(due.row.product) for due in bills])
    axes.set(xlim=(0, 1.65 if is_narrow() else 1.2), ylim=(-0.5, len(bills) - 0.5))
    share_axis(axes, "x", np.linspace(0, 1, 3 if is_narrow() else 5))
    axes.grid(axis="y", visible=False)
    first = next(due for due in bills if due.row.product == "deepseek-v4-pro")
    unwritten = [
        product_name(due.row.product) for due in bills if any("no write counted" in note for note in due.notes)
    ]
    return Words(
        alt=f"The bill of a call of {input_tokens:,} input tokens, {hit_rate:.0%} of them hits, and {output_tokens:,} "
        f"output tokens. {_split(first)}; the others pay {usd_text(bills[-1].total)} to {usd_text(bills[0].total)}.",
        note=f"{_split(first)}. "
        + ", ".join(f"{product_name(b.row.product)} {value(b.total, usd_text(b.total))}" for b in reversed(bills))
        + "; by the dollar lists."
        + (
            f" {', '.join(unwritten)}: what hits was written to the cache once, which is not counted." * bool(unwritten)
        ),
    )


def _split(due: prices.Bill) -> str:
    parts = ", ".join(f"{kind} {usd_text(getattr(due, kind))}" for kind in TOKENS)
    return f"{product_name(due.row.product)}: {usd_text(due.total)}, of it {parts}"


# --- history ---------------------------------------------------------------------------------------------------


class PricePeriod(NamedTuple):
    """A time in which a product's list did not change; its day may be split into two prices."""

    start: datetime  # first moment
    end: datetime | None  # first moment after it; None where it still holds
    low: PriceRow  # off-peak, or the whole day's
    high: PriceRow  # peak, or the whole day's


def price_periods(product: str) -> tuple[PricePeriod, ...]:
    """Return a product's dollar list over time, of its lowest context tier.

    Raises:
        ValueError: an unknown product, or one without prices in USD.
    """
    rows = [row for row in prices.history(product, "USD") if not row.min_input_tokens]
    if not rows:
        raise ValueError(f"{product!r} has no price list in USD")
    found = []
    for start in dict.fromkeys(row.valid_from for row in rows):
        mine = sorted((row for row in rows if row.valid_from == start), key=lambda row: row.miss)
        end = mine[0].valid_to
        found.append(PricePeriod(prices.moment(start), None if end is None else prices.moment(end), mine[0], mine[-1]))
    return tuple(found)


@drawn
def price_steps(product: str = "deepseek-v4-pro") -> Words:
    """Draw a product's three prices from one change to the next, a band where the day is split into peak and off-peak.

    Nothing stands where no price is listed.

    Args:
        product: with a price history in USD.

    Raises:
        ValueError: an unknown product, or one without prices in USD.
    """
    found = price_periods(product)
    axes = new_figure(
        f"What has a million tokens of {product_name(product)} cost?",
        "price list from (not to scale)",
        "USD per million tokens",
    )
    edges = [*range(len(found)), len(found) - 1 + (1.3 if found[-1].low is not found[-1].high else 1)]
    for kind in TOKENS:
        for place, span in enumerate(found):
            before = found[place - 1] if place else None
            _price_step(axes, kind, span, before, edges[place], edges[place + 1])
    log_axis(axes, "y", _MONEY, list_text)
    axes.set(xlim=(-0.02, edges[-1]), ylim=(0.002, max(span.high.output for span in found) * 2.2))
    axes.set_xticks(edges[:-1], [_date_text(span, place) for place, span in enumerate(found)], ha="left")
    axes.grid(axis="x", visible=False)
    colour_key(((kind, COLOURS[kind]) for kind in TOKENS), "solid")
    return Words(alt=_history_alt(product, found), note=_history_note(found))


def _price_step(
    axes: Axes, kind: str, span: PricePeriod, before: PricePeriod | None, left: float, right: float
) -> None:
    low, high = getattr(span.low, kind), getattr(span.high, kind)
    if low is None:
        return
    colour, ends = COLOURS[kind], [left, right - 0.04]
    if high > low:
        axes.fill_between(ends, low, high, color=colour, alpha=0.3, linewidth=0)
    for price in {low, high}:
        axes.plot(ends, [price, price], color=colour)
    if before and (getattr(before.low, kind), getattr(before.high, kind)) == (low, high):
        return  # the number already stands there
    shift = 0 if high > low else 7
    size = 9 if is_narrow() else 10
    middle, words = (low * high) ** 0.5, _range_text(low, high)
    axes.annotate(words, (left, middle), (2, shift), textcoords="offset points", va="center", fontsize=size)


def _range_text(low: float, high: float) -> str:
    return list_text(low) if low == high else f"{list_text(low)}–{list_text(high)[1:]}"


def _date_text(span: PricePeriod, place: int) -> str:
    year = f"{span.start:%Y}" if not place or span.start.month == 1 else ""
    if is_narrow():
        return f"{span.start:%-d}\n{span.start:%b}\n{year}"
    event = "promotion" if span.low.promotion else "peak hours" if span.low is not span.high else ""
    return f"{span.start:%-d %b} {year}\n{event}"


def _prices_text(span: PricePeriod) -> str:
    listed = ((kind, getattr(span.low, kind), getattr(span.high, kind)) for kind in TOKENS)
    return ", ".join(f"{kind} {_range_text(low, high)}" for kind, low, high in listed if low is not None)


def _history_alt(product: str, found: Sequence[PricePeriod]) -> str:
    steps = "; ".join(f"from {span.start:%-d %B %Y} {_prices_text(span)}" for span in found)
    ended = f" It ended on {found[-1].end:%-d %B %Y}." if found[-1].end else ""
    return f"List prices of {product_name(product)}, USD per million tokens: {steps}.{ended}"


def _history_note(found: Sequence[PricePeriod]) -> str:
    last = found[-1]
    split = "Bands reach from the off-peak to the peak price. " if any(s.low is not s.high for s in found) else ""
    until = f"ended on {last.end:%-d %B %Y}" if last.end else f"still so on {last.low.date:%-d %B %Y}"
    amounts = ", ".join(
        f"{kind} {value(getattr(row, kind), list_text(getattr(row, kind)))}{when}"
        for row, when in ((last.low, ""), *([(last.high, " (peak)")] if last.low is not last.high else []))
        for kind in TOKENS
        if getattr(row, kind) is not None
    )
    return f"{split}The last list, from {last.start:%-d %B %Y} and {until}: {amounts}."
