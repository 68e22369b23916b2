"""What a watt costs: a chip's power with its share of the host and the room, the joules of a token, and their price.

Rated power is what cooling is built for. A machine that works draws a share of it, one without work draws less; the
room around it takes its own (PUE). All figures are the catalog's, with ranges.

>>> from costlab import limits
>>> found = limits.chip_power("h100-sxm")
>>> 0.5 < found.wall_w / 1000 < 2.5
True

Chapter: limits
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from costlab import catalog, prices
from costlab.catalog import FrozenDict, PublishedEnergy
from costlab.chips.assumptions import Assumption
from costlab.chips.figures import cost_figure, idle_power, machine_power
from costlab.chips.owning import HOURS_PER_YEAR
from costlab.levers import KINDS, Service, TokenCosts, TokenKind, rent, token_costs
from costlab.limits.floors import TokenFloor, short_name
from costlab.text import Table

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True)
class ChipPower:
    """What a chip draws at the meter, and what an hour of that costs."""

    chip: str  # key in the catalog
    place: str  # country whose tariff is paid
    machine_w: Assumption  # rated watts of the machine for each of its chips
    load: Assumption = field(repr=False)  # share of them that it draws at work
    idle_w: Assumption = field(repr=False)  # watts of the chip without work
    pue: Assumption = field(repr=False)  # energy of the whole room by that of its machines
    tariff: Assumption = field(repr=False)  # per kWh, in its currency
    usd: float  # dollars for one unit of that currency

    @property
    def wall_w(self) -> float:
        """Watts at the meter of a chip that works."""
        return self.machine_w.value * self.load.value * self.pue.value

    @property
    def idle_wall_w(self) -> float:
        """Watts at the meter of a chip without work; at most those at work."""
        return min(self.wall_w, self.idle_w.value * self.pue.value)

    @property
    def usd_per_kwh(self) -> float:
        """Dollars of a kilowatt-hour."""
        return self.tariff.value * self.usd

    @property
    def usd_per_hour(self) -> float:
        """Dollars of electricity for an hour of work of a chip."""
        return self.wall_w / 1000 * self.usd_per_kwh

    @property
    def usd_per_watt_year(self) -> float:
        """Dollars that a watt of a machine costs in a year, the room's share included."""
        return self.pue.value * HOURS_PER_YEAR / 1000 * self.usd_per_kwh

    def share_of(self, hourly: float) -> float:
        """Return the share of a chip-hour's price that electricity is, in an hour of work.

        Raises:
            ValueError: an amount that is not above 0 and finite.
        """
        if not 0 < hourly < np.inf:
            raise ValueError(f"hourly = {hourly!r} should be above 0 and finite")
        return self.usd_per_hour / hourly

    def joules(self, chip_s: float, utilisation: float = 1.0) -> float:
        """Return the joules at the meter of so many chip-seconds of work, with those of the hours without work.

        Args:
            chip_s: seconds in which a chip works.
            utilisation: share of hours in which it does, above 0 and at most 1.

        Raises:
            ValueError: a utilisation out of range.
        """
        if not 0 < utilisation <= 1:
            raise ValueError(f"utilisation = {utilisation!r} should be above 0 and at most 1")
        return chip_s * (self.wall_w + (1 / utilisation - 1) * self.idle_wall_w)

    @property
    def inputs(self) -> dict[str, Assumption]:
        """The figures that it rests on, by name."""
        names = ("machine_w", "load", "idle_w", "pue", "tariff")
        return {name: getattr(self, name) for name in names}


def chip_power(chip: str, place: str = "US", day: date | None = None) -> ChipPower:
    """Return what a chip draws and what that costs in a place.

    Args:
        chip: key in the catalog.
        place: country as the catalog writes it, "US" or "China".
        day: that the figures should hold on; None for the course's.

    Raises:
        ValueError: an unknown chip, one whose power nobody states, a place that the catalog has no tariff of.
    """
    record, key, when = catalog.chip(chip), chip.lower(), day or prices.moment(prices.LESSON_DAY).date()
    known = {each.place for each in catalog.tables().costs.values() if each.what == "tariff"}
    if place not in known:
        raise ValueError(f"no tariff of {place!r} is catalogued: should be {' or '.join(sorted(map(str, known)))}")
    machine, idle = machine_power(record), idle_power(record)
    if machine is None:
        raise ValueError(f"no power of {record.name} is known")
    load, pue, tariff = (cost_figure(what, record, key, place, when) for what in ("load", "pue", "tariff"))
    assert load is not None and pue is not None and tariff is not None  # the catalog has all three for any chip
    usd = catalog.exchange_rate(tariff.currency, "USD", when)
    return ChipPower(key, place, machine, load, idle or machine.times(0.0, "W a chip", "not known"), pue, tariff, usd)


@dataclass(frozen=True)
class TokenEnergy:
    """Joules at the meter of a token of each kind, and what they cost."""

    power: ChipPower  # of the chips that serve
    joules: Mapping[TokenKind, float]  # of a token, hours without work included
    request_j: float  # of a mean request

    def kwh_per_million(self, kind: TokenKind) -> float:
        """Kilowatt-hours of a million tokens of a kind."""
        return self.joules[kind] * 1e6 / JOULES_PER_KWH

    def usd_per_million(self, kind: TokenKind) -> float:
        """Dollars of electricity of a million tokens of a kind."""
        return self.kwh_per_million(kind) * self.power.usd_per_kwh

    @property
    def request_wh(self) -> float:
        """Watt-hours of a mean request."""
        return self.request_j / 3600


def token_energy(service: Service, place: str = "US", day: date | None = None) -> TokenEnergy:
    """Return the joules of a service's tokens: the chips' alone, without the storage that keeps hits.

    Args:
        service: how the model is served.
        place: country of the meter.
        day: as `chip_power`.

    Raises:
        ValueError: as `chip_power` and `levers.token_costs`.
    """
    power, costs = chip_power(service.chip, place, day), token_costs(service)
    at = {name: each.value for name, each in service.inputs().items()}
    used = {kind: _chip_s(costs, kind, at["rent"]) * at["utilisation"] for kind in KINDS}
    joules = {kind: power.joules(seconds, at["utilisation"]) for kind, seconds in used.items()}
    request = sum(joules[kind] * float(costs.request[kind]) for kind in KINDS)
    return TokenEnergy(power, FrozenDict(joules), request)


def _chip_s(costs: TokenCosts, kind: TokenKind, rent: float) -> float:
    """Chip-seconds that a token is charged with, whether chips work or wait."""
    dollars = float(costs.of(kind))
    if kind == "hit":
        dollars -= float(costs.hit_parts.get("keeping", 0.0))
    return dollars / 1e6 * 3600 / rent


def floor_energy(floor: TokenFloor, place: str = "US", day: date | None = None) -> float:
    """Return the joules of a token at its floor, all seconds worked.

    Raises:
        ValueError: as `chip_power`.
    """
    key = next(name for name, each in catalog.tables().chips.items() if each is floor.chip)
    return chip_power(key, place, day).joules(floor.seconds)


def published_joules(energy: PublishedEnergy) -> float | None:
    """Return the joules of a token of a published request, read and written ones alike; None where none are counted."""
    if energy.input is None or energy.output is None:
        return None
    return energy.wh * 3600 / (energy.input + energy.output)


def power_table(place: str = "US", day: date | None = None) -> Table:
    """Return what each chip of known power draws, and what its electricity costs beside its rent.

    Raises:
        ValueError: a place that the catalog has no tariff of.
    """

    rows = []
    for key, record in catalog.tables().chips.items():
        if machine_power(record) is None:
            continue
        found = chip_power(key, place, day)
        try:
            hourly: float | None = rent(key).value
        except ValueError:  # nobody lists an hour of it
            hourly = None
        rows.append(
            {
                "chip": short_name(record),
                "rated, W": record.power_w,
                "at the meter, W": round(found.wall_w),
                "cents an hour": f"{100 * found.usd_per_hour:.1f}",
                "rent, USD": None if hourly is None else f"{hourly:.2f}",
                "share": None if hourly is None else f"{found.share_of(hourly):.1%}",
            }
        )
    return Table(rows, "share")


__all__ = [
    "JOULES_PER_KWH", "ChipPower", "TokenEnergy", "chip_power", "floor_energy", "power_table",
    "published_joules", "token_energy",
]  # fmt: skip
