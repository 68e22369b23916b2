"""The price calculator: what a month of somebody's own calls costs by each list.

Chapter: prices
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from costlab import checks, prices
from costlab.catalog import FrozenDict
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.prices_market import MARKET_DAY, noon_and_peak
from costlab.explore.style import COLOURS, colour_key, label_inside, new_figure
from costlab.text import usd_text

#: Days whose lists the calculator applies.
DAYS: Mapping[str, date] = FrozenDict({day.isoformat(): day for day in (MARKET_DAY, prices.LESSON_DAY)})
#: Products that the calculator compares on each of them.
COMPARED: Mapping[date, tuple[str, ...]] = FrozenDict(
    {
        MARKET_DAY: (
            "deepseek-v4-pro", "deepseek-v4.1-flash", "mimo-v2.6-pro", "mimo-v2.6-flash", "glm-5.3", "glm-5.3-flash",
            "kimi-k3.1-pro", "qwen3.8-max", "qwen3.8-flash", "minimax-m3", "gpt-6.1-sol", "gpt-6-luna",
            "claude-opus-5.5", "claude-sonnet-5.5", "claude-haiku-5.5", "gemini-4-argon", "grok-4.7",
        ),
        prices.LESSON_DAY: (
            "deepseek-v4-pro", "deepseek-v4-flash", "mimo-v2.5-pro", "mimo-v2.5", "glm-5.1", "kimi-k2.6", "qwen-plus",
            "qwen3.7-max", "minimax-m3", "gpt-5.5", "gpt-5.4-mini", "claude-opus-4.8", "claude-haiku-4.5",
            "gemini-3.1-pro",
        ),
    }
)  # fmt: skip
BILLED = ("hit", "miss", "write", "output")
DAYS_A_MONTH = 30


def monthly_usd(
    product: str, load: prices.Workload, day: date = MARKET_DAY, peak_share: float = 35 / 168
) -> Mapping[str, float]:
    """Return dollars a month by kind of token, at `load.calls` calls a day.

    Args:
        product: e.g. "deepseek-v4-pro".
        load: what a call sends and receives, and calls a day.
        day: of the list.
        peak_share: share of the calls in the provider's peak hours, 0 to 1; 35 of a week's 168 hours are DeepSeek's.

    Raises:
        ValueError: an unknown product, a share out of range, a day without price.
    """
    if not 0 <= peak_share <= 1:
        raise ValueError(f"peak_share should lie between 0 and 1, got {peak_share!r}")
    off, peak = (prices.bill(product, load, at) for at in noon_and_peak(day))
    return {
        part: DAYS_A_MONTH * ((1 - peak_share) * getattr(off, part) + peak_share * getattr(peak, part))
        for part in BILLED
    }


@drawn
def price_calculator(
    calls: int = 1000,
    input_tokens: int = 20_000,
    output_tokens: int = 1_000,
    hit_rate: float = 0.8,
    written: float = 1.0,
    peak_share: float = 0.2,
    day: str = MARKET_DAY.isoformat(),
) -> Words:
    """Draw what a month of so many calls a day costs by each list, split by kind of token.

    Args:
        calls: a day.
        input_tokens: of a call.
        output_tokens: of a call.
        hit_rate: share of input tokens that hit, 0 to 1.
        written: share of the other input tokens that is written to a cache where writing is charged, 0 to 1.
        peak_share: share of the calls in a provider's peak hours, 0 to 1.
        day: key in `DAYS`.

    Raises:
        ValueError: a count or share out of range, another day.
    """
    at = checks.pick(DAYS, day, "day")
    if not 0 <= written <= 1:
        raise ValueError(f"written should lie between 0 and 1, got {written!r}")
    plain = prices.Workload(input_tokens, output_tokens, hit_rate, calls)
    stored = prices.Workload(
        input_tokens, output_tokens, hit_rate, calls, write_tokens=int(float(plain.misses) * written)
    )
    due = {p: monthly_usd(p, stored if charges_writes(p, at) else plain, at, peak_share) for p in COMPARED[at]}
    order = sorted(due, key=lambda p: sum(due[p].values()))
    axes = new_figure("What would a month of your calls cost?", "USD a month", "", wide=(7.2, 5.0), narrow=(3.6, 5.4))
    colour_key((part, COLOURS["other" if part == "write" else part]) for part in BILLED)
    most = max(sum(due[p].values()) for p in order) or 1.0
    for place, product in enumerate(order):
        left = 0.0
        for part in BILLED:
            colour = COLOURS["other" if part == "write" else part]
            axes.barh(place, due[product][part], left=left, color=colour, height=0.7)
            left += due[product][part]
        label_inside(axes, usd_text(left), left, place, weight="bold")
    axes.set_yticks(range(len(order)), order)
    axes.set(xlim=(0, most * (1.75 if is_narrow() else 1.15)), ylim=(len(order) - 0.5, -0.6))
    axes.grid(axis="y", visible=False)
    totals = {p: sum(due[p].values()) for p in order}
    least, dearest = order[0], order[-1]
    return Words(
        alt=f"A month of {calls:,} calls a day, each {input_tokens:,} input tokens with {hit_rate:.0%} hits and "
        f"{output_tokens:,} output tokens, by the lists of {at:%-d %B %Y}: {usd_text(totals[least])} at {least} to "
        f"{usd_text(totals[dearest])} at {dearest}.",
        note=f"Lists of {at:%-d %B %Y}, dollars, 30 days. "
        + ", ".join(
            f"{p} {value(totals[p], usd_text(totals[p]), 'prices_month' if p == 'deepseek-v4-pro' else '')}"
            for p in order
        )
        + ". Where writing to the cache is charged, the written share of the misses is billed at that price. "
        "Lists compare prices, not abilities.",
    )


def charges_writes(product: str, day: date) -> bool:
    """Return whether a product's list charges for input written to its cache."""
    return prices.price_at(product, day).write is not None
