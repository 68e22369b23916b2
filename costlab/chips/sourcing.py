"""Purchases and rents of the catalog's chips: which published figure stands for each input, and in which range.

Of the offers for a chip those of one kind of thing are taken: servers, else racks, else boards of eight, else chips.
A server whose offer does not say how many chips it holds is taken to hold as many as others do, and then what chips
alone are sold for, with the rest of a server, counts beside it: what is not known is a range and not one number.
How a value and a range come of several sources is told by `figures`. What the catalog does not hold must be given, and
so must the utilisation.

Chapter: chips
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from costlab import catalog
from costlab.catalog import ChipRecord, Offer
from costlab.catalog.chips import OfferKind, OfferUnit
from costlab.chips.assumptions import Assumption, assumption
from costlab.chips.figures import (
    PAID_IN,
    YEAR,
    cost_figure,
    day_rate,
    idle_power,
    machine_power,
    offered,
    offers_on,
    offers_to,
    residual_after,
    server_over_chips,
)
from costlab.chips.loads import LoadCurve, load_curve
from costlab.chips.memory import SERVER_CHIPS
from costlab.chips.owning import Charging, Ownership
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
    method: Charging = "annuity",
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


def ownership(
    chip: str,
    place: str,
    day: date,
    currency: str,
    *,
    utilisation: Use,
    name: str = "",
    unit: OfferUnit | None = None,
    kinds: Sequence[OfferKind] = ("price", "tender"),
    method: Charging = "annuity",
    vat_recoverable: bool = True,
    chips: int | None = None,
    **instead: Figure | None,
) -> Ownership:
    """Return what owning a chip of the catalog rests on.

    Args:
        chip: key in the catalog, e.g. "h100-sxm".
        place: country as the catalog writes it.
        day: of the purchase; figures and exchange rates are those that hold on it.
        currency: ISO code of the answer.
        utilisation: used hours by owned hours, as `purchase` takes it; no figure stands for one's own.
        name: of the candidate; else the chip's and the place.
        unit: what is bought, "server" for instance; else the first of server, rack, board and chip with an offer.
        kinds: of offers that count; ("used",) prices a second-hand machine.
        method: what interest is charged on; "exponential" takes the catalogued decline for what is left of the price.
        vat_recoverable: whether the buyer gets the tax back.
        chips: that one machine holds; else as the latest offer says, or as many as a server or the chip's node has.
        instead: what to take in the place of the catalog's figures, by the names of `Ownership`'s fields.

    Raises:
        ValueError: a chip that is not known; an input that neither the catalog holds nor `instead` gives.
    """
    record, key, place = catalog.chip(chip), chip.lower(), _as_written(place)
    offers = _bought(record, place, unit, kinds, day) if "price" not in instead else []
    unsaid = bool(offers) and not chips and not any(each.chips for each in offers) and offers[0].unit != "chip"
    if unsaid:
        offers = _supposed(record, offers, place, kinds, day)
    bought = offers[0].unit if offers else "server"
    held = chips or next((each.chips for each in reversed(offers) if each.chips), None) or record.chips_per_node
    found: dict[str, Any] = _figures(record, key, place, day, held, instead.get("life"))
    if offers:
        found["price"] = offered(offers, day, f"{held} chips", held, f"price of {key}")
        found["vat"] = _tax(max(offers, key=lambda each: each.date))
    found |= _around(bought)
    if method == "exponential":
        found["decline"] = cost_figure("decline", record, key, place, day)
    found |= instead
    if missing := sorted({name for name in NEEDED if found.get(name) is None}):
        raise ValueError(f"the catalog has no {' and no '.join(missing)} for {record.name} in {place}: should be given")
    price = found.pop("price")
    own = purchase(
        name or f"{record.name} in {place}",
        currency,
        price,
        chips=held,
        utilisation=utilisation,
        method=method,
        vat_recoverable=vat_recoverable,
        rates=_rates([price, *found.values()], currency, day),
        **found,
    )
    notes = (*_notes(record, place, day, offers), *([_supposing(record, held)] if unsaid else []))
    return replace(own, chip=key, place=place, day=day, notes=notes)


def _as_written(place: str) -> str:
    """Return a country as the catalog writes it; one that it does not name as given."""
    costs = (each.place for each in catalog.tables().costs.values())
    sales = (row.place for chip in catalog.tables().chips.values() for row in chip.supply)
    return next((each for each in (*costs, *sales) if each and each.lower() == place.lower()), place)


#: Inputs without which no cost is computed, rather than with a 0 in their place.
NEEDED = (
    "price", "host", "network", "life", "interest", "rated_w", "load_w", "idle_w", "pue", "tariff", "maintenance",
    "room",
)  # fmt: skip


def _bought(
    record: ChipRecord, place: str, unit: OfferUnit | None, kinds: Sequence[OfferKind], day: date
) -> list[Offer]:
    """Return the offers that count, of one unit, in the order of their days; none where nothing is offered.

    Offers that do not say how many chips they hold count only where none does.
    """
    asked = [each for each in record.offers if each.kind in kinds]
    for some in (offers_to(asked, place), asked):
        for wanted in [unit] if unit else UNITS:
            every = [each for each in some if each.unit == wanted]
            known = [each for each in every if each.per_chip is not None]
            if found := offers_on(known or every, day, 2 * YEAR, least=2):
                return sorted(found, key=lambda each: each.date)
    return []


def _supposed(
    record: ChipRecord, offers: Sequence[Offer], place: str, kinds: Sequence[OfferKind], day: date
) -> list[Offer]:
    """Return offers that do not say their chips with as many as a server has, beside single chips made up to one."""
    chips, share = min(SERVER_CHIPS, record.chips_per_node), server_over_chips()
    held = [replace(each, chips=chips) for each in offers]
    singles = [] if share is None else _bought(record, place, "chip", kinds, day)
    return sorted([*held, *(_server_of(each, chips, share) for each in singles if share)], key=lambda each: each.date)


def _server_of(chip: Offer, chips: int, share: Assumption) -> Offer:
    """Return the offer of a chip as that of a server around so many."""
    low, high = chip.low or chip.amount, chip.high or chip.amount
    least, value, most = (chips * (1 + each) for each in share.bounds)
    source = f"{chip.source}, for a chip, with the rest of a server ({share.source})"
    return replace(
        chip, unit="server", chips=chips, amount=chip.amount * value, low=low * least, high=high * most, source=source
    )


def _supposing(record: ChipRecord, chips: int) -> str:
    return (
        f"The offer for a server with {record.name} says neither its chips nor their variant: {chips} are assumed, and "
        "the price ranges from it to that of single chips with the rest of a server."
    )


#: What is bought, the most complete first.
UNITS: tuple[OfferUnit, ...] = ("server", "supernode", "module", "chip")


def _figures(
    record: ChipRecord, key: str, place: str, day: date, chips: int, life: Figure | None
) -> dict[str, Assumption | None]:
    """Return the catalog's figures by the names of `Ownership`'s fields; a life that was given decides the residual."""
    found = {what: cost_figure(WORDS.get(what, what), record, key, place, day) for what in LOOKED_UP}
    years = found["life"] if life is None else assumption(life, "years")
    return {
        **found,
        **_power(record, key, place, day, chips),
        "maintenance": _repair(found["maintenance"]),
        "residual": residual_after(years, key, day),
    }


def _power(record: ChipRecord, key: str, place: str, day: date, chips: int) -> dict[str, Assumption | None]:
    """Return the watts of a machine: rated, and in a used hour and in one without work where they follow from it."""
    rated, idle = machine_power(record), idle_power(record)
    drawn = cost_figure("load", record, key, place, day)
    return {
        "rated_w": rated and rated.times(chips, "W"),
        "load_w": rated and drawn and _drawn(rated, drawn, chips),
        "idle_w": idle and idle.times(chips, "W"),
    }


def _drawn(rated: Assumption, share: Assumption, chips: int) -> Assumption:
    """Return the watts that chips draw of what they are rated for, in the ranges of both."""
    low, value, high = (watts * part * chips for watts, part in zip(rated.bounds, share.bounds, strict=True))
    source = f"{share.source}; of {rated.value:.0f} W rated a chip"
    return replace(share, value=value, low=low, high=high, unit="W", source=source)


def _repair(asked: Assumption | None) -> Assumption | None:
    """Return what maintenance costs: the share of chips that fail, counted for few kinds, up to what is said of it."""
    failing = [each for each in catalog.tables().costs.values() if each.what == "failures"]
    least = min(failing, key=lambda each: each.value, default=None)
    if asked is None or least is None or least.value >= asked.bounds[0]:
        return asked
    source = f"the share of chips that fail in a year, as if each were bought anew: {least.source}; or {asked.source}"
    return replace(asked, value=least.value, low=least.value, source=source)


#: Inputs that are one figure of the catalog, and its name there where that is another.
LOOKED_UP = ("life", "interest", "pue", "tariff", "maintenance", "room", "network")
WORDS = {"room": "colocation"}


def _around(unit: OfferUnit) -> dict[str, Assumption]:
    """Return what comes around the chips that are bought: the rest of the server, and the network of a rack within."""
    whole = Assumption(0.0, "share", f"the price is that of a {unit}")
    if unit == "server":
        return {"host": whole}
    if unit == "supernode":
        return {"host": whole, "network": whole}
    share = server_over_chips()
    return {} if share is None else {"host": share}


def _tax(offer: Offer) -> Assumption:
    """Return the rate of the tax that an offer contains; where it names none 0, up to that of its country."""
    if offer.vat is not None:
        return Assumption(offer.vat, "share", offer.source, offer.date)
    taxes = [each for each in catalog.tables().costs.values() if each.what == "vat" and each.place]
    most = max((each.value for each in taxes if PAID_IN.get(str(each.place).lower()) == offer.currency), default=0.0)
    said = f"no tax is named, up to {most:.0%} may be contained: {offer.source}" if most else f"no tax: {offer.source}"
    return Assumption(0.0, "share", said, offer.date, 0.0, most)


def _rates(given: Iterable[object], currency: str, day: date) -> tuple[Assumption, ...]:
    """Return the day's rate of each currency that some amount is in."""
    others = {each.currency for each in given if isinstance(each, Assumption)} - {"", currency}
    return tuple(day_rate(other, currency, day) for other in sorted(others))


def _notes(record: ChipRecord, place: str, day: date, offers: Sequence[Offer]) -> tuple[str, ...]:
    supply = record.buyable(place, day)
    sale = (
        f"The catalog does not say whether {record.name} can be bought in {place}." if supply is None else supply.says
    )
    last = max((each.date for each in offers), default=day)
    if last > day:
        return (sale, "No offer is as old as the day: later ones stand for it.")
    old = f"The price is of {last}: no later offer before the day is catalogued."
    return (sale, old) if day - last > YEAR else (sale,)


def rental(
    chip: str, place: str, day: date, currency: str, *, utilisation: Use = 1.0, paid: Paid = "used", name: str = "",
    rent: Figure | None = None,
) -> Rental:  # fmt: skip
    """Return what renting a chip of the catalog rests on: the median of the rents asked in the year up to the day.

    Args:
        chip: key in the catalog.
        place: country; offers in dollars or in its currency come first.
        day: of the contract.
        currency: ISO code of the answer.
        utilisation: used hours by all hours; of account where all are paid.
        paid: which hours are paid.
        name: of the candidate; else the chip's and the place.
        rent: what to take in the place of the catalog's offers, per chip-hour.

    Raises:
        ValueError: a chip that is not known, or for which no rent is catalogued.
    """
    record, key = catalog.chip(chip), chip.lower()
    if rent is None:
        asked = [each for each in record.offers if each.kind == "rent"]
        offers = offers_on(offers_to(asked, place) or asked, day)
        if not offers:
            raise ValueError(f"no rent of {record.name} is catalogued: should be given")
        rent = offered(offers, day, "chip-hour", 1, f"rent of {key}")
    taken = assumption(rent, f"{currency} per chip-hour", currency=currency)
    return Rental(
        name or f"{record.name} rented",
        currency,
        taken,
        utilisation_of(utilisation)[0],
        paid,
        _rates([taken], currency, day),
        key,
        place,
        day,
    )
