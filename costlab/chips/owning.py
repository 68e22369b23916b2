"""What an hour of a chip that is bought costs: capital, interest, energy, maintenance and room.

Everything that is bought at once, one server or one rack, is one purchase; its cost is divided by its chips. Hours are
counted twice: an owned hour passes whether the chip works or not, a used hour is one in which it works.

What is spread over the life, evenly, is what is paid less the residual: the price, less VAT where that is refunded,
with the rest of the server and a share for the network. The three methods differ in interest alone, which is charged:

- straight line: on the mean capital, that is on the mean of what is paid and the residual;
- annuity: as equal payments at the end of each year, which repay what is paid but for the residual, leave it;
- exponential: on the mean of a value that loses the same share each year until only the residual is left.

Power rises from idling to full load with the share of the chips that work. So of a curve of use owning asks its mean
alone; its shape decides what is worth renting, see `renting.own_share`.

>>> from costlab.chips import owning
>>> [float(part) for part in owning.capital_charge(100.0, 0.0, 4.0, 0.10, "straight-line")]
[25.0, 5.0]

Chapter: chips
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np

from costlab import checks
from costlab.arrays import ArrayLike, Floats
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
from costlab.chips.loads import LoadCurve, load_curve

Charging = Literal["straight-line", "annuity", "exponential"]
CHARGINGS: tuple[Charging, ...] = ("straight-line", "annuity", "exponential")

HOURS_PER_YEAR = 8760
MONTHS_PER_YEAR = 12


#: Up to here interest is lost in the last digits of an annuity.
NO_INTEREST = 1e-12


def capital_charge(
    paid: ArrayLike, residual: ArrayLike, life: ArrayLike, interest: ArrayLike, method: Charging
) -> tuple[Floats, Floats]:
    """Return what capital costs a year: (its loss of value, interest), as the mean over the life.

    Args:
        paid: at the start, an amount.
        residual: worth at the end of the life, an amount from 0 to `paid`.
        life: years, from 0.1 to 50.
        interest: share per year, from 0 to 1.
        method: what interest is charged on, see above; "exponential" needs a residual above 0.

    Raises:
        ValueError: a method that is not known; "exponential" with a residual of 0; a number out of range, quoted.
    """
    check_values({"paid": paid}, {})
    check_values({"residual": residual, "life": life, "interest": interest}, {**LIMITS, "residual": (0.0, np.inf)})
    paid, residual, life, interest = (np.asarray(each, dtype=float) for each in (paid, residual, life, interest))
    if np.any(residual > paid * (1 + 1e-12)):
        raise ValueError(f"residual = {np.max(residual):g} should be at most what is paid, {np.min(paid):g}")
    loss = (paid - residual) / life
    if checks.one_of(CHARGINGS, method, "method") == "annuity":
        kept = np.exp(-life * np.log1p(interest))  # today's value of an amount at the end of the life
        rate = np.where(interest > NO_INTEREST, interest, 1.0)
        factor = np.where(interest > NO_INTEREST, rate / -np.expm1(-life * np.log1p(rate)), 1 / life)
        return loss, np.maximum((paid - residual * kept) * factor - loss, 0.0)
    return loss, interest * _mean_capital(paid, residual, method)


def _mean_capital(paid: Floats, residual: Floats, method: Charging) -> Floats:
    """The mean over the life of what is tied up."""
    if method == "straight-line":
        return (paid + residual) / 2
    if np.any(residual * paid <= 0):
        raise ValueError("residual = 0: a value that loses the same share each year never comes down to it")
    fall = np.log(paid) - np.log(residual)
    return np.where(fall > 1e-9, (paid - residual) / np.where(fall > 1e-9, fall, 1.0), paid)


@dataclass(frozen=True)
class HourlyCost:
    """What an owned hour of a chip costs, by part; a used hour bears the hours without work too."""

    currency: str  # ISO code of the amounts
    capital: float  # loss of value
    interest: float  # on what is tied up
    energy: float  # electricity, that of the room's cooling too
    maintenance: float  # repair
    room: float  # space and cooling plant
    utilisation: float  # used hours by owned hours

    @property
    def owned(self) -> float:
        """All parts, for an hour that is owned."""
        return self.capital + self.interest + self.energy + self.maintenance + self.room

    @property
    def used(self) -> float:
        """All parts, for an hour that is used."""
        return self.owned / self.utilisation

    @property
    def parts(self) -> dict[str, float]:
        """The parts of an owned hour by name."""
        return {name: getattr(self, name) for name in PARTS}


#: The parts of an hour's cost, in the order in which they are printed.
PARTS = ("capital", "interest", "energy", "maintenance", "room")

#: What an ownership rests on beside its price, with the least and the most that each may be.
LIMITS: Mapping[str, tuple[float, float]] = {
    "vat": (0.0, 1.0),
    "host": (0.0, 10.0),
    "network": (0.0, 10.0),
    "life": (0.1, 50.0),
    "residual": (0.0, 1.0),
    "interest": (0.0, 1.0),
    "rated_w": (0.0, 1e9),
    "load_w": (0.0, 1e9),
    "idle_w": (0.0, 1e9),
    "pue": (1.0, 10.0),
    "tariff": (0.0, 1e6),
    "maintenance": (0.0, 1.0),
    "room": (0.0, 1e9),
}
_INPUT_LIMITS = {**LIMITS, "utilisation": (0.0, 1.0), "decline": (0.0, 0.99)}


@dataclass(frozen=True)
class Ownership:
    """A purchase of chips, and what keeping them costs; watts and the price are of all chips together."""

    name: str  # of the candidate, unlike all others'
    currency: str  # ISO code of the answer
    chips: int  # that the price buys
    price: Assumption  # of the machine or of its chips, VAT contained
    life: Assumption  # years until it is written off
    residual: Assumption  # share of what was paid that is left then; `decline` takes its place
    interest: Assumption  # share per year
    rated_w: Assumption  # watts that the room must be able to feed and cool, its own plant apart
    load_w: Assumption  # watts drawn in a used hour
    idle_w: Assumption  # watts drawn in an hour without work
    pue: Assumption  # energy of the whole room by that of its machines
    tariff: Assumption  # per kWh
    maintenance: Assumption  # share of the server's net price per year, its network apart
    room: Assumption  # per kW of `rated_w` and month
    utilisation: Assumption  # used hours by owned hours
    vat: Assumption  # rate of the tax that the price contains, 0.13 for 13%
    host: Assumption  # rest of the server, as a share of the price; 0 where the price is a server's
    network: Assumption  # switches and cables, as a share of the server
    decline: Assumption | None = None  # share of its value that it loses each year; None: `residual` says what is left
    method: Charging = "annuity"  # what interest is charged on
    vat_recoverable: bool = True  # whether the buyer gets the tax back
    rates: tuple[Assumption, ...] = ()  # exchange rates into `currency`, each with its day; `currency` is what they buy
    curve: LoadCurve | None = None  # hours behind the utilisation; None: it is all that is known
    chip: str = ""  # key of the chip in the catalog, where it is from there
    place: str = ""  # country that the figures hold for
    day: date | None = None  # day of the purchase
    notes: tuple[str, ...] = ()  # what the figures rest on and do not show, a sentence each

    def __post_init__(self) -> None:
        checks.count(self.chips, "chips")
        checks.one_of(CHARGINGS, self.method, "method")
        for name, (least, most) in LIMITS.items():
            check_above(getattr(self, name), name, least, most)
        check_above(self.utilisation, "utilisation", 0.0, 1.0, exact=False)
        if self.idle_w.value > self.load_w.value:
            raise ValueError(f"idle_w = {self.idle_w.value:g} should not exceed load_w = {self.load_w.value:g}")
        if self.decline is not None:
            check_above(self.decline, "decline", 0.0, 0.99)
        elif self.method == "exponential":
            check_above(self.residual, "residual", 0.0, 1.0, exact=False)
        if self.curve is not None and abs(self.curve.mean - self.utilisation.value) > 1e-6:
            raise ValueError(f"utilisation = {self.utilisation.value:g}, its curve has a mean of {self.curve.mean:g}")
        check_rates(self.inputs(), self.rates, self.currency)
        check_price(self.price, self.currency, "price", self.chips)
        self.hourly()  # refuses what the method cannot take

    def inputs(self) -> dict[str, Assumption]:
        """Every figure that the cost rests on, by name; exchange rates are named for instance "CNY to USD"."""
        found = {"price": self.price, **{name: getattr(self, name) for name in LIMITS}}
        if self.decline is not None:
            found = {**{name: each for name, each in found.items() if name != "residual"}, "decline": self.decline}
        found["utilisation"] = self.utilisation
        return found | {f"{rate.currency} to {self.currency}": rate for rate in self.rates}

    @property
    def loads(self) -> LoadCurve:
        """The hours behind the utilisation; all or nothing where only their mean is known."""
        return self.curve or load_curve(self.utilisation.value)

    def parts(self, values: Overrides | None = None) -> dict[str, Floats]:
        """Return the parts of an owned chip-hour by name.

        Args:
            values: numbers or arrays of one shape that take the place of inputs, by name; a utilisation may be 0 here.

        Raises:
            ValueError: a name that is no input; a number that leaves what the input may be.
        """
        at = values_of(self, values)
        check_values(values or {}, _INPUT_LIMITS)
        server = in_currency(self, "price", at) / (1 + at["vat"] * self.vat_recoverable) * (1 + at["host"])
        paid = server * (1 + at["network"])
        share = at["residual"] if self.decline is None else (1 - at["decline"]) ** at["life"]
        capital, interest = capital_charge(paid, paid * share, at["life"], at["interest"], self.method)
        mean_w = at["idle_w"] + at["utilisation"] * (at["load_w"] - at["idle_w"])
        chip_hours = self.chips * HOURS_PER_YEAR
        return {
            "capital": capital / chip_hours,
            "interest": interest / chip_hours,
            "energy": mean_w / 1000 * at["pue"] * in_currency(self, "tariff", at) / self.chips,
            "maintenance": at["maintenance"] * server / chip_hours,
            "room": in_currency(self, "room", at) * at["rated_w"] / 1000 * MONTHS_PER_YEAR / chip_hours,
        }

    def owned_hour(self, values: Overrides | None = None) -> Floats:
        """Return the cost of an owned chip-hour, for numbers or arrays in the place of inputs."""
        return np.asarray(sum(self.parts(values).values()))

    def used_hour(self, values: Overrides | None = None) -> Floats:
        """Return the cost of a used chip-hour, for numbers or arrays in the place of inputs.

        Raises:
            ValueError: as `parts`; a utilisation of 0.
        """
        used = values_of(self, values)["utilisation"]
        check_values({"utilisation": used}, {})
        return np.asarray(self.owned_hour(values) / used)

    def hourly(self) -> HourlyCost:
        """Return the cost of a chip-hour at the values of all inputs."""
        parts = {name: float(part) for name, part in self.parts().items()}
        found = HourlyCost(self.currency, **parts, utilisation=self.utilisation.value)
        if not math.isfinite(found.used):
            raise ValueError(f"utilisation = {found.utilisation!r} leaves no finite cost of a used hour of {self.name}")
        return found
