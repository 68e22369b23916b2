"""Floors in money beside what a service costs and what a product is sold for.

>>> from costlab import limits
>>> found = limits.standing("deepseek-v4-pro", when="2026-06-01")
>>> found.floors["output"] < found.costs["output"] < found.paid["output"]
True

Chapter: limits
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from costlab import prices
from costlab.catalog import FrozenDict
from costlab.levers import KINDS, Service, TokenCosts, TokenKind, margin, served, token_costs
from costlab.levers.products import SERVING_CHIP
from costlab.limits.floors import TokenFloor, token_floor
from costlab.text import Table, digits_text

#: What lies between a floor and a list price, from below.
BETWEEN = ("layout", "share of peaks", "hours of use", "list over cost")


@dataclass(frozen=True)
class Standing:
    """A product's list price on a day, the cost of serving it and the floors below: dollars of a million tokens."""

    product: str  # with the list
    service: Service  # how its model is served
    written: TokenFloor  # of an output token
    read: TokenFloor  # of a miss
    floors: Mapping[TokenKind, float]  # the highest floor of each kind
    costs: Mapping[TokenKind, float]  # of the service
    paid: Mapping[TokenKind, float]  # by the list

    def factor(self, kind: TokenKind) -> float:
        """Return how many times the list price of a kind is its floor."""
        return self.paid[kind] / self.floors[kind]

    def cost_factor(self, kind: TokenKind) -> float:
        """Return how many times the cost of a kind is its floor."""
        return self.costs[kind] / self.floors[kind]

    @functools.cached_property
    def _without_losses(self) -> tuple[TokenCosts, TokenCosts]:
        """Costs at all peaks in all hours, and at the peaks' shares in all hours."""
        all_peaks = {"prefill share": 1.0, "decode share": 1.0, "utilisation": 1.0}
        return token_costs(self.service, all_peaks), token_costs(self.service, {"utilisation": 1.0})

    def between(self, kind: TokenKind) -> dict[str, float]:
        """Return the factors that lie between the floor and the list price of a kind, which multiply to `factor`.

        "layout": chips that hold copies, sending between experts, keeping the cache, the speed that users are promised;
        "share of peaks": what published runs reach of the roofline; "hours of use": those that are paid and not worked;
        "list over cost": what the price leaves.
        """
        ideal, full = (float(costs.of(kind)) for costs in self._without_losses)
        steps = [self.floors[kind], ideal, full, self.costs[kind], self.paid[kind]]
        return {name: after / before for name, before, after in zip(BETWEEN, steps, steps[1:], strict=False)}

    def table(self) -> Table:
        """Return a row for each kind of token: floor, cost, list price, and the two factors above the floor."""
        rows = [
            {
                "token": kind,
                "floor, USD": digits_text(self.floors[kind]),
                "cost, USD": digits_text(self.costs[kind]),
                "list, USD": digits_text(self.paid[kind]),
                "cost by floor": digits_text(self.cost_factor(kind)),
                "list by floor": digits_text(self.factor(kind)),
            }
            for kind in KINDS
        ]
        return Table(rows, "list by floor")


def standing(
    product: str,
    chip: str = SERVING_CHIP,
    *,
    traffic: str = "coding",
    when: str | date | datetime = prices.LESSON_DAY,
    service: Service | None = None,
) -> Standing:
    """Return how far a product's price and its cost stand above the floors on a chip.

    The floors take the service's rent and its mean request, and no other of its figures.

    Args:
        product: with a price list; its model is the catalog's of the same key, unless a service is given.
        chip: key in the catalog.
        traffic: kind of use.
        when: day of the list, see `prices.moment`.
        service: how it is served; None for all levers, with figures of the catalog.

    Raises:
        ValueError: an unknown product, model, chip or kind of use; a day without price; a chip without rent.
    """
    used = service or served(product, chip, traffic=traffic)
    found = margin(product, used, when)
    written, read = output_floor(used), miss_floor(used)
    rent = used.inputs()["rent"].value
    floors = {"hit": hit_floor(used), "miss": read.per_million(rent), "output": written.per_million(rent)}
    costs = {kind: float(found.costs.of(kind)) for kind in KINDS}
    return Standing(product, used, written, read, FrozenDict(floors), FrozenDict(costs), found.paid)


def output_floor(service: Service) -> TokenFloor:
    """Return the floors of a token that a service writes, in the middle of its mean answer.

    Raises:
        ValueError: as `token_floor`.
    """
    at = {name: each.value for name, each in service.inputs().items()}
    context = round(max(1, round(at["input"])) + max(1, round(at["output"])) / 2)
    return token_floor(service.model, service.chip, "decode", context, drafted=service.drafted)


def miss_floor(service: Service) -> TokenFloor:
    """Return the floors of a token that a service reads, in the mean of those of its mean request that are no hits.

    Raises:
        ValueError: as `token_floor`.
    """
    at = {name: each.value for name, each in service.inputs().items()}
    prompt = max(1, round(at["input"]))
    hits = min(prompt - 1, round(prompt * at["hit rate"])) if service.cached else 0
    return token_floor(service.model, service.chip, "prefill", prompt - hits)


def hit_floor(service: Service) -> float:
    """Return the least that a million hits cost, in dollars: being looked at and loaded, at all peaks.

    Keeping is left out: a cache that is used again at once keeps nothing for long.

    Raises:
        ValueError: as `levers.token_costs`.
    """
    ideal = {"prefill share": 1.0, "decode share": 1.0, "utilisation": 1.0, "kept": 0.0}
    slow = {"user speed": 1e-6, "first token": 1e9}
    return float(token_costs(service, {**ideal, **slow}).hit)


__all__ = ["BETWEEN", "Standing", "hit_floor", "miss_floor", "output_floor", "standing"]
