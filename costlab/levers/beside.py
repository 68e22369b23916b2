"""Costs beside list prices: what a price leaves on each day, and how full the engines must be for it to leave nothing.

The rent of chips and storage is the only cost here. Staff, training, free use and taxes come on top, so that a margin
is what is left for them.

>>> from costlab import levers
>>> found = levers.margin("deepseek-v4-pro", levers.served("deepseek-v4-pro"), when="2026-06-01")
>>> found.of("output") > 0
True

Chapter: levers
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from costlab import prices
from costlab.catalog import FrozenDict, PriceRow
from costlab.levers.services import KINDS, Service, TokenCosts, TokenKind, token_costs


@dataclass(frozen=True)
class ListMargin:
    """A row of a price list beside what the tokens cost."""

    row: PriceRow  # the list
    costs: TokenCosts  # of the service, in dollars
    paid: Mapping[TokenKind, float]  # dollars of a million tokens by the list
    utilisation: float  # that the costs assume

    def of(self, kind: TokenKind) -> float:
        """Return the share of a kind's price that is left; negative where it costs more than it brings."""
        return _left(float(self.costs.of(kind)), self.paid[kind])

    @property
    def revenue(self) -> float:
        """Dollars that a mean request brings."""
        return sum(self.paid[kind] * float(self.costs.request[kind]) for kind in KINDS) / 1e6

    @property
    def share_left(self) -> float:
        """Share of a mean request's revenue that is left."""
        return _left(float(self.costs.bill), self.revenue)

    @property
    def break_even(self) -> float:
        """Share of rented hours in which chips must serve for the revenue to pay their rent; above 1: it never does.

        What keeping the cache costs does not fall with use.
        """
        keeping = float(self.costs.hit_parts.get("keeping", 0.0)) * float(self.costs.request["hit"]) / 1e6
        left = self.revenue - keeping
        rented = float(self.costs.bill) - keeping
        return rented * self.utilisation / left if left > 0 else float("inf")


def _left(cost: float, price: float) -> float:
    """The share of a price that is left; of what is given away less than nothing."""
    return 1 - cost / price if price > 0 else -math.inf


def margin(
    product: str, service: Service, when: str | date | datetime = prices.LESSON_DAY, row: PriceRow | None = None
) -> ListMargin:
    """Return what a product's price leaves on a day, over the cost of a service.

    Args:
        product: with a price list.
        service: how its model is served.
        when: see `prices.moment`; of two daily prices the one that holds then.
        row: a row of the list in its place.

    Raises:
        ValueError: an unknown product, a day without price, a currency without an exchange rate.
    """
    listed = row or prices.price_at(product, when, input_tokens=_tokens(service))
    return _beside(listed, service, token_costs(service), when)


def margins_on(
    product: str, service: Service, when: str | date | datetime = prices.LESSON_DAY
) -> tuple[ListMargin, ...]:
    """Return what a product's price leaves on a day: both of its daily prices where it has two, the lower one first.

    Raises:
        ValueError: as `margin`.
    """
    now = prices.price_at(product, when, input_tokens=_tokens(service))
    alike = (row for row in prices.rows_on(when, currency=now.currency) if row.product == now.product)
    rows: dict[str | None, PriceRow] = {
        row.window: row for row in alike if row.window and prices.in_tier(row, _tokens(service))
    }
    rows[now.window] = now
    costs = token_costs(service)
    return tuple(_beside(row, service, costs, when) for row in sorted(rows.values(), key=lambda row: row.miss))


def margins(product: str, service: Service) -> tuple[ListMargin, ...]:
    """Return what every row of a product's price list left, the oldest first, each at the exchange rate of its day.

    Raises:
        ValueError: as `margin`.
    """
    rows = prices.history(product, "USD") or prices.history(product)
    tokens, costs = _tokens(service), token_costs(service)
    return tuple(_beside(row, service, costs, row.valid_from) for row in rows if prices.in_tier(row, tokens))


def _tokens(service: Service) -> int:
    """Tokens of a prompt, which decide the tier of a list."""
    return round(service.inputs()["input"].value)


def _beside(row: PriceRow, service: Service, costs: TokenCosts, when: str | date | datetime) -> ListMargin:
    rate = prices.exchange_rate(row.currency, "USD", when)
    paid = {"hit": prices.hit_price(row) * rate, "miss": row.miss * rate, "output": row.output * rate}
    return ListMargin(row, costs, FrozenDict(paid), service.inputs()["utilisation"].value)


__all__ = ["ListMargin", "margin", "margins", "margins_on"]
