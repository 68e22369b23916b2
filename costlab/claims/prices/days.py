"""The days on which claims about prices are settled, and what the lists say on them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from costlab import catalog, prices
from costlab.catalog import PriceRow
from costlab.claims.ledger import V4_PRO

POSTS = date(2026, 5, 27)  # articles A to D, and the first day of Xiaomi's new list
JUNE = date(2026, 6, 1)  # of article E
NOW = "2026-11-25"  # a Wednesday; a day alone is its noon, in UTC, when DeepSeek's prices are off-peak
NOW_PEAK = f"{NOW}T02:00"  # the same day, at DeepSeek's peak
NOVEMBER = date.fromisoformat(NOW)

ARTICLE: prices.Publisher = "article-e"
TOKEN_KINDS = "hit", "miss", "output"


def agent() -> prices.Workload:
    """Return article E's agent: a conversation of ten rounds."""
    return prices.Workload.from_scenario(catalog.tables().scenarios["agent"])


def priced_loads() -> tuple[prices.Workload, ...]:
    """Return the workloads that article E prices."""
    return tuple(prices.Workload.from_scenario(each) for each in catalog.tables().scenarios.values())


def row(product: str, when: str | date, currency: str = "USD", input_tokens: int = 0) -> PriceRow:
    """Return a product's row on a day, in a currency that its list has.

    Raises:
        ValueError: no list in that currency.
    """
    found = prices.price_at(product, when, currency=currency, input_tokens=input_tokens)
    if found.currency != currency:
        raise ValueError(f"{product} has no list in {currency} on {when}, only in {found.currency}")
    return found


def row_call(product: str, when: str | date, currency: str = "USD", input_tokens: int = 0, by: str = "") -> str:
    """Return the formula of a product's row on a day, see `row`; of the article's own table where `by` names it."""
    tokens = f", input_tokens={input_tokens}" if input_tokens else ""
    publisher = f', published_by="{by}"' if by else ""
    return f'prices.price_at("{product}", "{when}", currency="{currency}"{tokens}{publisher})'


def amounts(found: PriceRow) -> str:
    """Write the prices of hit, miss and output, e.g. "CNY 0.025 / 3 / 6"."""
    prefix = "$" if found.currency == "USD" else f"{found.currency} "
    return prefix + " / ".join("-" if price is None else f"{price:g}" for price in kinds(found))


def kinds(found: PriceRow) -> tuple[float | None, float, float]:
    """Return the prices of a million hits, misses and output tokens."""
    return found.hit, found.miss, found.output


def now_of_v4_pro(kind: str) -> str:
    """Write what V4-Pro asks in November, off-peak and at peak, e.g. "$1.98 off-peak and $3.96 at peak"."""
    off, peak = (getattr(row(V4_PRO, when), kind) for when in (NOW, NOW_PEAK))
    return f"${off:g} off-peak and ${peak:g} at peak"


def span(values: Iterable[float], form: str) -> str:
    """Write the least and the most of several values."""
    found = list(values)
    low, high = format(min(found), form), format(max(found), form)
    return low if low == high else f"{low} to {high}"


def bills_over(product: str, base: str, when: str | date, loads: Iterable[prices.Workload]) -> list[float]:
    """Return what a product costs in units of what another one costs, for each workload, by their lists in dollars."""
    return [prices.bill(product, load, when).total / prices.bill(base, load, when).total for load in loads]
