"""Purchases and rents of the catalog's chips: which published figure stands for each input, and in which range.

Of the offers for a chip those of one kind of thing are taken: servers, else racks, else boards of eight, else chips.
The latest that is not after the day is the value, all that were made by then are the range. Of the figures of an input
the ones that are most particular are taken: for that chip, else that maker, else that place, else anywhere; the latest
is the value, all of them are the range. What the catalog does not hold must be given.

Chapter: chips
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from costlab.chips.assumptions import Assumption, assumption
from costlab.chips.loads import LoadCurve, load_curve
from costlab.chips.owning import Method, Ownership
from costlab.chips.renting import Paid, Rental

#: A utilisation as a reader may give it.
Use = float | Sequence[float] | Sequence[tuple[float, float]] | LoadCurve | Assumption

Figure = float | Assumption


def purchase(
    name: str,
    currency: str,
    price: Figure,
    *,
    chips: int = 8,
    life: Figure,
    utilisation: Use,
    residual: Figure = 0.0,
    interest: Figure = 0.0,
    rated_w: Figure = 0.0,
    load_w: Figure = 0.0,
    idle_w: Figure = 0.0,
    pue: Figure = 1.0,
    tariff: Figure = 0.0,
    maintenance: Figure = 0.0,
    room: Figure = 0.0,
    vat: Figure = 0.0,
    host: Figure = 0.0,
    network: Figure = 0.0,
    decline: Figure | None = None,
    method: Method = "annuity",
    vat_recoverable: bool = True,
    rates: Sequence[Assumption] = (),
) -> Ownership:
    """Return a purchase of plain numbers, which are then "given by the reader", or of assumptions.

    Args:
        name: of the candidate.
        currency: ISO code of the answer, and of amounts that are plain numbers.
        price: of all `chips` together, VAT contained.
        chips: that it buys.
        life: years; and so on as the fields of `Ownership`, in their units.
        utilisation: a number above 0 and at most 1, or anything that `load_curve` takes.

    Raises:
        ValueError: as `Ownership`.
    """
    use, curve = utilisation_of(utilisation)
    return Ownership(
        name,
        currency,
        chips,
        price=assumption(price, f"{currency} for {chips} chips", currency=currency),
        life=assumption(life, "years"),
        residual=assumption(residual, "share"),
        interest=assumption(interest, "per year"),
        rated_w=assumption(rated_w, "W"),
        load_w=assumption(load_w, "W"),
        idle_w=assumption(idle_w, "W"),
        pue=assumption(pue, ""),
        tariff=assumption(tariff, f"{currency} per kWh", currency=currency),
        maintenance=assumption(maintenance, "per year"),
        room=assumption(room, f"{currency} per kW-month", currency=currency),
        utilisation=use,
        vat=assumption(vat, "share"),
        host=assumption(host, "share"),
        network=assumption(network, "share"),
        decline=None if decline is None else assumption(decline, "per year"),
        method=method,
        vat_recoverable=vat_recoverable,
        rates=tuple(rates),
        curve=curve,
    )


def utilisation_of(given: Use) -> tuple[Assumption, LoadCurve | None]:
    """Return a utilisation as an assumption, and the curve behind it where one was given."""
    if isinstance(given, Assumption):
        return given, None
    curve = load_curve(given)
    simple = isinstance(given, int | float)
    source = "given by the reader" if simple else f"mean of {len(curve.pieces)} pieces of time given by the reader"
    return Assumption(curve.mean, "share of hours", source, key="utilisation"), None if simple else curve


def ownership(chip: str, place: str, day: date, currency: str, **instead: Figure | Use | bool | str) -> Ownership:
    """Return what owning a chip of the catalog rests on.

    Args:
        chip: key in the catalog, e.g. "h100-sxm".
        place: country as the catalog writes it, e.g. "US", "China".
        day: of the purchase; figures and exchange rates are those that hold on it.
        currency: ISO code of the answer.
        instead: what to take in the place of the catalog's figures, as `purchase` takes it; `chips` too.

    Raises:
        ValueError: a chip that is not known; an input that neither the catalog holds nor `instead` gives.
    """
    raise NotImplementedError


def rental(chip: str, place: str, day: date, currency: str, paid: Paid = "used", **instead: Figure | Use) -> Rental:
    """Return what renting a chip of the catalog rests on: its latest rent on the day, and the range of all since.

    Raises:
        ValueError: a chip that is not known, or for which no rent is catalogued.
    """
    raise NotImplementedError
