"""Renting a chip instead of buying it, and the use at which buying becomes cheaper.

A rent is paid for used hours alone, where chips can be given back at any time, or for all hours, as by contracts of
months and years. Its price holds machine, room and electricity.

Chapter: chips
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np

from costlab import checks
from costlab.arrays import Floats
from costlab.chips.assumptions import (
    Assumption,
    Overrides,
    check_above,
    check_price,
    check_rates,
    check_values,
    in_currency,
    values_of,
)
from costlab.chips.loads import LoadCurve
from costlab.chips.owning import HOURS_PER_YEAR, Ownership

Paid = Literal["used", "always"]


@dataclass(frozen=True)
class Rental:
    """A chip that is rented by the hour."""

    name: str  # of the candidate, unlike all others'
    currency: str  # ISO code of the answer
    rent: Assumption  # per chip-hour
    utilisation: Assumption  # used hours by all hours; of account where all are paid
    paid: Paid = "used"  # which hours are paid: used ones alone, or all
    rates: tuple[Assumption, ...] = ()  # exchange rates into `currency`, each with its day; `currency` is what they buy
    chip: str = ""  # key of the chip in the catalog, where it is from there
    place: str = ""  # country that the figures hold for
    day: date | None = None  # day of the contract
    notes: tuple[str, ...] = ()  # what the figures rest on and do not show, a sentence each

    def __post_init__(self) -> None:
        checks.one_of(("used", "always"), self.paid, "paid hours")
        check_above(self.utilisation, "utilisation", 0.0, 1.0, exact=False)
        check_rates(self.inputs(), self.rates, self.currency)
        check_price(self.rent, self.currency, "rent", hours=HOURS_PER_YEAR)

    def inputs(self) -> dict[str, Assumption]:
        """Every figure that the cost rests on, by name; the utilisation only where all hours are paid."""
        found = {"rent": self.rent} | ({"utilisation": self.utilisation} if self.paid == "always" else {})
        return found | {f"{rate.currency} to {self.currency}": rate for rate in self.rates}

    def used_hour(self, values: Overrides | None = None) -> Floats:
        """Return the cost of a used chip-hour, for numbers or arrays in the place of inputs.

        Raises:
            ValueError: a name that is no input; a number that is not above 0, or a utilisation above 1.
        """
        at = values_of(self, values)
        check_values(values or {}, {})
        check_values({"utilisation": at.get("utilisation", 1.0)}, {"utilisation": (0.0, 1.0)})
        rent = in_currency(self, "rent", at)
        return rent if self.paid == "used" else np.asarray(rent / at["utilisation"])


@dataclass(frozen=True)
class BuyOrRent:
    """What a used chip-hour costs bought and rented, and the use at which both cost the same."""

    currency: str  # ISO code of the amounts
    fixed: float  # of an owned hour, whether it is used or not
    per_use: float  # what a used hour adds to it
    rent: float  # of a chip-hour
    utilisation: float  # as assumed
    # use above which buying is cheaper than a rent for used hours alone; above 1: it never is; infinite where the
    # electricity of a used hour alone costs more than its rent
    buy_above: float
    # use up to which buying is cheaper than a rent for all hours, whose price holds the electricity too; 0: it never
    # is; 1: it always is
    buy_up_to: float

    @property
    def bought(self) -> float:
        """Cost of a used hour of a chip that is bought."""
        return self.fixed / self.utilisation + self.per_use

    @property
    def rented(self) -> float:
        """Cost of a used hour where no other is paid."""
        return self.rent

    @property
    def rented_always(self) -> float:
        """Cost of a used hour where all are paid."""
        return self.rent / self.utilisation


def buy_or_rent(bought: Ownership, rented: Rental) -> BuyOrRent:
    """Compare a purchase with a rent of the same chip, or of one that does the same.

    A rent for used hours alone costs as much as the purchase at the use u where rent x u = fixed + per_use x u.

    Args:
        bought: the purchase, at its values.
        rented: the rent, at its value; which hours it is paid for does not matter here.

    Raises:
        ValueError: two currencies.
    """
    if bought.currency != rented.currency:
        raise ValueError(f"a purchase in {bought.currency} and a rent in {rented.currency}: should be in one currency")
    fixed, per_use = two_parts(bought)
    rent = float(in_currency(rented, "rent", values_of(rented)))
    above = fixed / (rent - per_use) if rent > per_use else math.inf
    up_to = (rent - fixed) / per_use if per_use > 0 else float(rent > fixed)
    use = bought.utilisation.value
    return BuyOrRent(bought.currency, fixed, per_use, rent, use, above, min(max(up_to, 0.0), 1.0))


def two_parts(bought: Ownership) -> tuple[float, float]:
    """Return what an owned hour costs without use, and what an hour's use adds: its electricity above idling."""
    fixed, full = (float(bought.owned_hour({"utilisation": use})) for use in (0.0, 1.0))
    return fixed, full - fixed


@dataclass(frozen=True)
class OwnedShare:
    """How much of a load that rises and falls to serve with chips of one's own; amounts per used chip-hour."""

    level: float  # share of the fleet to own; the rest is rented in the hours that need it
    cost: float  # of the mixture
    all_owned: float  # of owning the whole fleet
    all_rented: float  # of renting every used hour


def own_share(loads: LoadCurve, choice: BuyOrRent) -> OwnedShare:
    """Return the share of a fleet that is worth owning, where the rest can be rented by the hour.

    The chip that is the last to be needed is worth owning if it is in use for more than `choice.buy_above` of the
    hours. Cost is piecewise linear in the share, so the best one is 0 or one of the curve's loads.
    """
    levels = sorted({0.0, *(load for _, load in loads.pieces)})
    costs = {level: _mixture(loads, choice, level) for level in levels}
    best = min(levels, key=lambda level: costs[level])
    return OwnedShare(best, costs[best], _mixture(loads, choice, 1.0), choice.rent)


def _mixture(loads: LoadCurve, choice: BuyOrRent, level: float) -> float:
    """Cost of a used hour where a share of the fleet is owned and the rest is rented."""
    own = loads.used_below(level)
    paid = choice.fixed * level + choice.per_use * own + choice.rent * (loads.mean - own)
    return paid / loads.mean
