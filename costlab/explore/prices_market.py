"""Figures of the chapter `prices` about the market: what makers asked over two years, and how cheap a hit is to whom.

Chapter: prices
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from matplotlib.dates import DateFormatter, date2num
from matplotlib.ticker import FixedLocator

from costlab import checks, prices
from costlab.catalog import FrozenDict, PriceRow
from costlab.catalog.price_lists import start_of
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, INK, label_ends, label_inside, log_axis, new_figure
from costlab.prices.lists import in_tier
from costlab.prices.validity import holds
from costlab.text import list_text, usd_text

#: The course's second day: six months after the cuts were made permanent, and the day most lists were read.
MARKET_DAY = date(2026, 11, 25)

#: Makers whose flagships are drawn: more lines than these cannot be told apart.
_DRAWN = ("DeepSeek", "Xiaomi", "Z.ai", "Moonshot", "OpenAI", "Anthropic")

#: Of each maker that is drawn, its products of one class; the newest one sold is the maker's price.
MAKER_FLAGSHIPS: Mapping[str, tuple[str, ...]] = FrozenDict(
    {line.maker: line.products for line in prices.LINES if not line.small and line.maker in _DRAWN}
)
MAKER_SMALL: Mapping[str, tuple[str, ...]] = FrozenDict(
    {line.maker: line.products for line in prices.LINES if line.small}
)
CLASSES: Mapping[str, Mapping[str, tuple[str, ...]]] = FrozenDict(
    {"flagships": MAKER_FLAGSHIPS, "small models": MAKER_SMALL}
)

#: A call of article E's agent, which makes ten: half of its input hits.
AGENT_CALL = prices.Counts(hit=16_384, miss=16_384, output=8_192)
AGENT_CALLS = 10
_READ: Mapping[str, tuple[str, Callable[[PriceRow], float | None]]] = FrozenDict(
    {
        "the agent's bill": ("USD per run of the agent", lambda row: agent_usd(row)),
        "misses": ("USD per million missed tokens", lambda row: row.miss),
        "hits": ("USD per million hit tokens", lambda row: row.hit),
        "output": ("USD per million output tokens", lambda row: row.output),
    }
)
_DECADES = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)


class PriceSpan(NamedTuple):
    """A time in which a maker's price did not change; the day may be split into two prices."""

    start: datetime  # first moment
    end: datetime  # first moment after it
    product: str  # the maker's newest product
    low: float  # off-peak, or the whole day's
    high: float  # peak, or the whole day's


def agent_usd(row: PriceRow) -> float:
    """Return what article E's agent pays at a row of a price list, in the row's currency."""
    return AGENT_CALLS * float(prices.charge(row, AGENT_CALL).total)


def maker_spans(products: Sequence[str], read: Callable[[PriceRow], float | None]) -> tuple[PriceSpan, ...]:
    """Return what a maker's newest product asked, from one change to the next, up to `MARKET_DAY`.

    Args:
        products: in the order in which they came.
        read: the number of interest of a row; None where the row has none.
    """
    until = datetime.combine(MARKET_DAY, time(12), UTC)
    rows = {product: _dollar_rows(product) for product in products}
    moments = {start_of(end) for of in rows.values() for r in of for end in (r.valid_from, r.valid_to) if end}
    edges = sorted(at for at in moments if at < until)
    found: list[PriceSpan] = []
    for start, end in zip(edges, [*edges[1:], until], strict=True):
        now = next((p for p in reversed(products) if any(holds(r, start) for r in rows[p])), None)
        if now is None:
            continue
        amounts = [x for r in rows[now] if holds(r, start) and (x := read(r)) is not None]
        if amounts:
            _append(found, PriceSpan(start, end, now, min(amounts), max(amounts)))
    return tuple(found)


def _append(found: list[PriceSpan], span: PriceSpan) -> None:
    """Add a span, or lengthen the last one where nothing changed."""
    if found and found[-1].end == span.start and found[-1][2:] == span[2:]:
        span = span._replace(start=found.pop().start)
    found.append(span)


def _dollar_rows(product: str) -> tuple[PriceRow, ...]:
    """Return the rows of a product in dollars that a prompt of the agent falls under."""
    return tuple(r for r in prices.history(product, "USD") if in_tier(r, AGENT_CALL.input_tokens))


@drawn
def price_map(what: str = "the agent's bill", products: str = "flagships") -> Words:
    """Draw what each maker's newest product asked over two years, bands where the day is split into two prices.

    Args:
        what: key of the number: "the agent's bill", "misses", "hits" or "output".
        products: key in `CLASSES`.

    Raises:
        ValueError: another word.
    """
    unit, read = checks.pick(_READ, what, "number to draw")
    makers = checks.pick(CLASSES, products, "class of products")
    spans = {maker: maker_spans(of, read) for maker, of in makers.items()}
    axes = new_figure(f"How far apart are the makers' {products}?", "", unit, wide=(7.2, 4.4), narrow=(3.6, 3.8))
    ends = []
    for maker, of in spans.items():
        for span in of:
            left, right = date2num(span.start), date2num(span.end)
            axes.fill_between([left, right], span.low, span.high, color=COLOURS[maker], alpha=0.3, linewidth=0)
            for amount in {span.low, span.high}:
                axes.plot([left, right], [amount, amount], color=COLOURS[maker], linewidth=2)
        for before, after in itertools.pairwise(of):
            if before.end == after.start:
                at = date2num(after.start)
                axes.plot([at, at], [before.high, after.high], color=COLOURS[maker], linewidth=0.8)
        if of:
            ends.append(((of[-1].low * of[-1].high) ** 0.5, maker, COLOURS[maker]))
    amounts = [amount for of in spans.values() for span in of for amount in (span.low, span.high)]
    low, high = min(amounts), max(amounts)
    steps = (1.0,) if high > 30 * low else (1.0, 2.0, 5.0)
    ticks = [round(decade * step, 6) for decade in _DECADES for step in steps]
    log_axis(axes, "y", [t for t in ticks if low / 1.5 < t < high * 1.5], list_text)
    for day in (prices.LESSON_DAY, MARKET_DAY):
        axes.axvline(date2num(day), color=INK, linewidth=0.8, linestyle=":")
    last = date2num(MARKET_DAY)
    first = min(of[0].start for of in spans.values() if of)
    axes.set_xlim(date2num(first), last)
    months = [date(year, month, 1) for year in range(first.year, MARKET_DAY.year + 1) for month in (1, 7)]
    shown = [day for day in months if first.date() <= day <= MARKET_DAY and not (is_narrow() and day.month == 7)]
    axes.xaxis.set_major_locator(FixedLocator([date2num(day) for day in shown]))
    axes.xaxis.set_major_formatter(DateFormatter("%b\n%Y"))
    label_ends(axes, last, ends)
    return Words(alt=_map_alt(what, products, spans), note=_map_note(what, spans))


def spread(spans: Mapping[str, Sequence[PriceSpan]], at: date) -> tuple[PriceSpan, PriceSpan]:
    """Return the cheapest and the dearest maker's span on a day, by the lower price of each.

    Args:
        spans: of each maker.
        at: the day, at noon.
    """
    noon = datetime.combine(at, time(11, 59), UTC)
    now = [span for of in spans.values() for span in of if span.start <= noon < span.end]
    return min(now, key=lambda span: span.low), max(now, key=lambda span: span.low)


def _map_alt(what: str, products: str, spans: Mapping[str, Sequence[PriceSpan]]) -> str:
    told = []
    for day in (prices.LESSON_DAY, MARKET_DAY):
        least, most = spread(spans, day)
        told.append(
            f"on {day:%-d %B %Y} from {usd_text(least.low)} ({least.product}) to {usd_text(most.low)} ({most.product})"
        )
    return f"Price over time of the makers' {products}, {what}, each line one maker: {'; '.join(told)}."


def _map_note(what: str, spans: Mapping[str, Sequence[PriceSpan]]) -> str:
    lines = []
    for day in (prices.LESSON_DAY, MARKET_DAY):
        least, most = spread(spans, day)
        times = most.low / least.low
        lines.append(
            f"{day:%-d %B %Y}: {least.product} {value(least.low, usd_text(least.low))}, "
            f"{most.product} {value(most.low, usd_text(most.low))}, {value(times, f'{times:.3g}')} times as much."
        )
    return f"Dotted: the two days that the text compares; {what}.<br>" + "<br>".join(lines)


#: Products whose discount on hits the chapter compares, on each of the two days.
DISCOUNTS: Mapping[str, tuple[str, ...]] = FrozenDict(
    {
        "DeepSeek": ("deepseek-v4-pro", "deepseek-v4-pro"),
        "Xiaomi": ("mimo-v2.5-pro", "mimo-v2.6-pro"),
        "Anthropic": ("claude-opus-4.8", "claude-opus-5.5"),
        "OpenAI": ("gpt-5.5", "gpt-6.1-sol"),
        "Google": ("gemini-3.1-pro", "gemini-4-argon"),
        "Moonshot": ("kimi-k2.6", "kimi-k3.1-pro"),
        "Alibaba": ("qwen3.7-max", "qwen3.8-max"),
        "Z.ai": ("glm-5.1", "glm-5.3"),
    }
)


@drawn
def hit_discounts() -> Words:
    """Draw how many hits cost as much as one miss, by maker, in June and in November 2026."""
    days = (prices.LESSON_DAY, MARKET_DAY)
    axes = new_figure(
        "How many hits for the price of one miss?", "miss price over hit price", "", wide=(7.2, 4.2), narrow=(3.6, 4.6)
    )
    ratios = {
        maker: tuple(miss_over_hit(p, day) for p, day in zip(of, days, strict=True)) for maker, of in DISCOUNTS.items()
    }
    for place, (maker, (june, november)) in enumerate(ratios.items()):
        axes.plot([june, november], [place, place], color=COLOURS[maker], linewidth=2)
        axes.plot(june, place, "o", markerfacecolor="none", markeredgecolor=COLOURS[maker], markersize=7)
        axes.plot(november, place, "o", color=COLOURS[maker], markersize=7)
        label_inside(axes, f"{june:.3g} → {november:.3g}", max(june, november), place)
    log_axis(axes, "x", (1, 2, 5, 10, 20, 50, 100), lambda x: f"{x:g}")
    axes.set(xlim=(3, 2000 if is_narrow() else 300), ylim=(len(ratios) - 0.5, -0.5))
    axes.set_yticks(range(len(ratios)), list(ratios))
    axes.grid(axis="y", visible=False)
    told = [f"{maker} {june:.3g} and {november:.3g}" for maker, (june, november) in ratios.items()]
    products = [f"{' / '.join(dict.fromkeys(of))}" for of in DISCOUNTS.values()]
    return Words(
        alt=f"Miss price over hit price on 1 June and on {MARKET_DAY:%-d %B %Y}: {'; '.join(told)}.",
        note=f"Open: {days[0]:%-d %B %Y}; filled: {days[1]:%-d %B %Y}. " + ", ".join(products) + ".",
    )


def miss_over_hit(product: str, day: date) -> float:
    """Return how many hits cost as much as a miss by a product's dollar list; its windows do not change that ratio.

    Raises:
        ValueError: a product that lists no hit price on that day.
    """
    row = prices.price_at(product, day)
    if row.hit is None:
        raise ValueError(f"{product!r} lists no hit price on {day}")
    return row.miss / row.hit


def noon_and_peak(day: date) -> tuple[datetime, datetime]:
    """Return a moment off-peak and one at peak of a working day, by DeepSeek's hours."""
    start = datetime.combine(day, time(0), UTC)
    return start + timedelta(hours=12), start + timedelta(hours=2)
