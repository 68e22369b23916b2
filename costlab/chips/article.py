"""An article's cost per TFLOPS and its three-year saving: by its own formula, and in right units.

The article divides the price of a server by the TFLOPS of one of its chips, and by 3600 more, and calls the result
an amount per TFLOPS-hour. It leaves electricity out, though it states a power.

Chapter: chips
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from costlab.chips.owning import HOURS_PER_YEAR


@dataclass(frozen=True)
class ArticleServer:
    """A server as an article describes it."""

    price: float  # of the server, in the article's currency
    tflops: float  # dense TFLOPS of one chip
    maintenance_year: float  # amount a year
    chips: int = 8  # in the server
    power_w: float = 0.0  # of the server, in watts

    def __post_init__(self) -> None:
        for name in ("price", "tflops", "chips"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)!r} should be above 0 and finite")
        for name in ("maintenance_year", "power_w"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)!r} should be at least 0 and finite")

    def total(self, years: float = 3.0) -> float:
        """Price and maintenance over the years, in which the price is written off."""
        return self.price + self.maintenance_year * years

    def electricity(self, years: float, tariff: float, utilisation: float = 1.0, pue: float = 1.0) -> float:
        """Return what electricity costs over the years: the article's own figures are at full load and a PUE of 1."""
        return self.power_w / 1000 * HOURS_PER_YEAR * years * utilisation * pue * tariff

    def implied_tariff(self, electricity: float, years: float = 3.0) -> float:
        """Return the tariff per kWh at which electricity costs a stated amount, at full load and a PUE of 1."""
        if not self.power_w:
            raise ValueError("power_w = 0: no tariff gives an amount for no power")
        return electricity / self.electricity(years, 1.0)


@dataclass(frozen=True)
class TflopsCost:
    """What a server's TFLOPS cost, three ways."""

    as_coded: float  # what the article's expression gives: price of all chips by one chip's TFLOPS, hours and 3600
    per_tflops_hour: float  # of the server's TFLOPS and its used hours
    with_electricity: float  # the same with electricity
    electricity_share: float  # of the whole cost, 0 to 1


def tflops_cost(
    server: ArticleServer, years: float = 3.0, utilisation: float = 0.7, tariff: float = 0.0, pue: float = 1.0
) -> TflopsCost:
    """Return what the article's expression gives for a server, and what a used TFLOPS-hour really costs.

    Args:
        server: the article's figures.
        years: that the price is written off in.
        utilisation: share of hours in use, above 0 and at most 1.
        tariff: per kWh, in the server's currency.
        pue: energy of the whole room by that of its machines.

    Raises:
        ValueError: utilisation outside (0, 1]; years not above 0, a tariff below 0, a PUE below 1; no finite number.
    """
    if not 0 < utilisation <= 1:
        raise ValueError(f"utilisation = {utilisation!r} should be above 0 and at most 1")
    _check_sums(years, tariff, pue)
    total, electricity = server.total(years), server.electricity(years, tariff, utilisation, pue)
    tflops_hours = server.tflops * years * HOURS_PER_YEAR * utilisation
    whole = server.chips * tflops_hours
    return TflopsCost(
        total / (tflops_hours * 3600), total / whole, (total + electricity) / whole, electricity / (total + electricity)
    )


def _check_sums(years: float, tariff: float, pue: float = 1.0) -> None:
    if not 0 < years < math.inf or not 0 <= tariff < math.inf or not 1 <= pue < math.inf:
        raise ValueError(
            f"years = {years!r}, tariff = {tariff!r}, pue = {pue!r}: should be above 0, at least 0 and 1, and finite"
        )


@dataclass(frozen=True)
class ServerSaving:
    """What one server costs less than another over some years; the two need not do the same work."""

    amount: float  # the first's total less the second's
    share: float  # of the first's total
    share_per_tflops: float  # of the first's total by its TFLOPS: the saving for the same peak


def server_saving(first: ArticleServer, second: ArticleServer, years: float, tariff: float) -> ServerSaving:
    """Return what the second of two servers saves, as the article counts it and for the same peak.

    Args:
        first: the dearer one.
        second: the one in its place.
        years: that both are kept.
        tariff: per kWh, at full load and a PUE of 1 as in the article.

    Raises:
        ValueError: years that are not above 0 and finite; a tariff that is not at least 0 and finite.
    """
    _check_sums(years, tariff)
    one, two = (each.total(years) + each.electricity(years, tariff) for each in (first, second))
    peak = (first.chips * first.tflops) / (second.chips * second.tflops)
    return ServerSaving(one - two, 1 - two / one, 1 - two / one * peak)
