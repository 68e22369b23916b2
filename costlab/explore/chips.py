"""Figures of the chapter `chips`: what an owned hour is paid for, what decides it, and when a rent is cheaper.

Chapter: chips
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from costlab import catalog
from costlab.checks import one_of, pick
from costlab.chips import Assumption, Contender, Ownership, Swing, buy_or_rent, ownership, rental, tornado
from costlab.chips.figures import offered, server_over_chips
from costlab.chips.owning import PARTS
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, INK, colour_key, label_ends, label_inside, new_figure, share_axis

#: The day of the chapter's purchases, as of all its list prices.
CHIPS_DAY = date(2026, 6, 1)


@dataclass(frozen=True)
class _Place:
    """A chip of the chapter, and where its machine stands."""

    name: str  # as people say it
    chip: str  # key in the catalog
    country: str  # as the catalog writes it


_PLACES = {
    "h20": _Place("H20", "h20", "China"),
    "910b": _Place("910B2", "ascend-910b", "China"),
    "910c": _Place("910C", "ascend-910c", "China"),
    "h100": _Place("H100 in the US", "h100-sxm", "US"),
}
#: Keys of the chapter's machines by the names that readers see.
MACHINES: Mapping[str, str] = {place.name: key for key, place in _PLACES.items()}
#: What one may take for a price that two sources put apart.
PRICES = ("both sources", "tender", "dealers")

# --- machines ----------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=32)
def machine(key: str, price: str = "both sources") -> Ownership:
    """Return one of the chapter's machines with all its assumptions, in US dollars.

    Most figures are the catalog's. Three are choices: the life of a published method, the use that article E takes,
    and, of the 910B, which of two sources its price is of.

    Args:
        key: "h20", "910b", "910c" or "h100".
        price: of the 910B, one of `PRICES`; others have one price or a range of their own.

    Raises:
        ValueError: another key or price.
    """
    found = pick(_PLACES, key, "machine")
    chosen: dict[str, Any] = {"life": _life()}
    if key == "910b":
        chosen |= {"price": price_910b(price), "host": 0.0, "vat": 0.0}
    if key == "h20":
        chosen["price"] = _price_h20()
    return ownership(found.chip, found.country, CHIPS_DAY, "USD", name=found.name, utilisation=used_share(), **chosen)


def used_share() -> Assumption:
    """Return the used hours by owned hours as article E takes them, from what China's new capacity had up to 0.9."""
    taken = catalog.tables().claims["chip-cost-per-tflops"].values["used"]
    seen = catalog.tables().costs["utilisation-china"]
    source = f"article E's; {seen.value:g} {seen.says}: {seen.source}"
    return Assumption(taken, "share of hours", source, CHIPS_DAY, seen.value, 0.9, key="utilisation")


def _life() -> Assumption:
    """The life that a published method of reckoning takes, within those that owners name."""
    named = [each for each in catalog.tables().costs.values() if each.what == "life"]
    least, most = min(each.low or each.value for each in named), max(each.value for each in named)
    taken = catalog.tables().costs["life-semianalysis"]
    return Assumption(taken.value, "years", taken.source, taken.date, least, most, key="life")


def _price_h20() -> Assumption:
    """The prices of servers with eight H20s, while they were sold: their median, within all of them."""
    servers = [each for each in catalog.chip("h20").offers if each.unit == "server"]
    return offered(servers, CHIPS_DAY, "8 chips", 8, "price of an H20")


def price_910b(price: str = "both sources") -> Assumption:
    """Return the price of eight 910Bs in a server: from a tender's, whose variant it does not say, to dealers' cards.

    The tender's price is without its tax. Dealers ask for a card; the rest of the server is what other servers add.

    Args:
        price: "both sources" for the range with its middle, "tender" or "dealers" for one end.

    Raises:
        ValueError: another word.
    """
    offers = catalog.chip("ascend-910b").offers
    tender = next(each for each in offers if each.kind == "tender")
    card = next(each for each in offers if each.kind == "price" and each.unit == "chip")
    host = server_over_chips()
    assert host is not None
    low, high = tender.net_amount, 8 * card.amount * (1 + host.value)
    source = f"from {tender.source}, without tax, to {card.source}, with the rest of the server"
    both = Assumption((low + high) / 2, "CNY per 8 chips", source, tender.date, low, high, "CNY", "price of a 910B")
    if one_of(PRICES, price, "price of a 910B") == "both sources":
        return both
    end = low if price == "tender" else high
    return replace(both, value=end, low=None, high=None)


# --- an owned hour -----------------------------------------------------------------------------------------------


@drawn
def owned_hour_parts(
    machine_key: str = "h20", life: float = 4, interest: float = 3.25, utilisation: float = 70, tariff: float = 8.8
) -> Words:
    """Draw what an hour of a chip costs who owns it, by part, for every hour and for each hour that is used.

    Args:
        machine_key: "h20", "910b", "910c" or "h100".
        life: years, 1 to 10.
        interest: per cent a year, 0 to 20.
        utilisation: per cent of the hours, 5 to 100.
        tariff: US cents per kWh, 0 to 30.

    Raises:
        ValueError: another machine, a number out of range.
    """
    for word, number, low, high in (
        ("life", life, 1, 10), ("interest", interest, 0, 20), ("utilisation", utilisation, 5, 100),
        ("tariff", tariff, 0, 30),
    ):  # fmt: skip
        if not low <= number <= high:
            raise ValueError(f"{word} = {number:g} should be from {low:g} to {high:g}")
    own = machine(machine_key)
    values = {"life": life, "interest": interest / 100, "utilisation": utilisation / 100}
    parts = own.parts(values | {"tariff": tariff / 100 / _usd(own, "tariff")})
    amounts = {name: float(parts[name]) for name in PARTS}
    owned = sum(amounts.values())
    used = owned / (utilisation / 100)
    axes = new_figure("What is an hour of a chip paid for?", "US dollars", "", wide=(7.2, 2.3), narrow=(3.6, 2.5))
    colour_key([(name, COLOURS[name]) for name in PARTS])
    for place, factor in ((0, 1.0), (1, used / owned)):
        left = 0.0
        for name, amount in amounts.items():
            axes.barh(place, amount * factor, left=left, height=0.5, color=COLOURS[name], linewidth=0)
            left += amount * factor
        label_inside(axes, f"${left:.2f}", left, place, weight="bold")
    marks = _published(axes, own.chip)
    most = max(used, owned, *marks.values(), 0.0) if marks else used
    axes.set(xlim=(0, (1.3 if is_narrow() else 1.12) * most), ylim=(1.5, -0.75))
    axes.set_yticks([0, 1], ["owned", "used"])
    axes.grid(axis="y", visible=False)
    return _hour_said(own.name, amounts, used, marks, life, interest, utilisation, tariff)


def _usd(own: Ownership, name: str) -> float:
    """Dollars of one unit of the currency that an input is in."""
    currency = own.inputs()[name].currency
    return 1.0 if currency in ("", "USD") else own.inputs()[f"{currency} to USD"].value


def _published(axes: Axes, chip: str) -> dict[str, float]:
    """Mark what others computed for an owned hour, and return the amounts by who owns."""
    found = {
        f"{each.buyer}, {each.date:%B %Y}": each.amounts[chip]
        for each in catalog.tables().owning.values()
        if each.kind == "own" and chip in each.amounts
    }
    for amount in found.values():
        axes.plot([amount, amount], [-0.36, 0.36], color=INK, linewidth=1.4)
    if found:
        middle = (min(found.values()) + max(found.values())) / 2
        axes.text(middle, -0.42, "published", ha="center", fontsize=10, in_layout=False)
    return found


def _hour_said(
    name: str, parts: Mapping[str, float], used: float, marks: Mapping[str, float], life: float, interest: float,
    utilisation: float, tariff: float,
) -> Words:  # fmt: skip
    owned = sum(parts.values())
    settings = (
        f"{life:g} years, {interest:g}% interest, {tariff:g} US cents per kWh, in use {utilisation:g}% of the time"
    )
    listed = ", ".join(f"{part} ${amount:.3f}" for part, amount in parts.items())
    beside = "; ".join(f"{who} ${amount:.2f}" for who, amount in marks.items())
    noted = ", ".join(f"{part} {value(amount, f'${amount:.3f}')}" for part, amount in parts.items())
    marked = "; ".join(f"{who} {value(amount, f'${amount:.2f}')}" for who, amount in marks.items())
    return Words(
        f"Two bars for a chip: {name}, {settings}. An owned hour costs ${owned:.2f}: {listed}. A used hour costs "
        f"${used:.2f}." + (f" Lines mark what others computed for an owned hour: {beside}." if marks else ""),
        f"{name}, {settings}. Owned {value(owned, f'${owned:.2f}', 'chips_owned')}: {noted}. Used "
        f"{value(used, f'${used:.2f}', 'chips_used')}." + (f" Lines: published, owned: {marked}." if marks else ""),
    )


# --- buying and renting ------------------------------------------------------------------------------------------


@drawn
def bought_or_rented(rent: float = 3.99, life: float = 4, interest: float = 10.25) -> Words:
    """Draw what a used hour of an H100 in the US costs bought and rented, against the share of hours in which it works.

    Args:
        rent: US dollars a chip-hour, 0.5 to 10.
        life: years, 1 to 10.
        interest: per cent a year, 0 to 20.

    Raises:
        ValueError: a number out of range.
    """
    for word, number, low, high in (("rent", rent, 0.5, 10), ("life", life, 1, 10), ("interest", interest, 0, 20)):
        if not low <= number <= high:
            raise ValueError(f"{word} = {number:g} should be from {low:g} to {high:g}")
    own = machine("h100")
    own = replace(own, life=_set(own.life, life), interest=_set(own.interest, interest / 100))
    found = buy_or_rent(own, rental("h100-sxm", "US", CHIPS_DAY, "USD", rent=rent))
    uses = np.linspace(0.1, 1, 91)
    bought = found.fixed / uses + found.per_use
    axes = new_figure(
        "From which use on is buying cheaper?", "share of the hours that are used", "US dollars per used hour"
    )
    axes.plot(uses, bought, color=COLOURS["capital"])
    axes.plot(uses, np.full_like(uses, rent), color=COLOURS["interest"])
    axes.plot(uses, rent / uses, "--", color=COLOURS["interest"])
    if 0.1 <= found.buy_above <= 1:
        axes.plot(found.buy_above, rent, "o", color=COLOURS["capital"])
    axes.set(xlim=(0.1, 1), ylim=(0, min(3 * rent, float(bought[0]))))
    share_axis(axes, "x", [0.2, 0.4, 0.6, 0.8, 1.0])
    ends = [(float(bought[-1]), "bought", COLOURS["capital"]), (rent, "rented, used hours", COLOURS["interest"])]
    label_ends(axes, 1, [*ends, (rent, "rented, all hours", COLOURS["interest"])], ["solid", "solid", "dashed"])
    return _rent_said(found.buy_above, found.buy_up_to, rent, life, interest, found.fixed, found.per_use)


def _set(found: Assumption, number: float) -> Assumption:
    return replace(found, value=number, low=None, high=None, source="set by the reader")


def _rent_said(
    above: float, up_to: float, rent: float, life: float, interest: float, fixed: float, per_use: float
) -> Words:
    if above <= 1:
        cheaper = f"buying is cheaper above {above:.0%} use"
        noted = f"buying is cheaper above {value(above, f'{above:.0%}', 'chips_buy_above')} use"
    else:
        cheaper = noted = "buying is never cheaper"
    always = "buying is cheaper at any use" if up_to >= 1 else "renting is cheaper at any use"
    if 0 < up_to < 1:
        always = f"buying is cheaper up to {up_to:.0%} use"
    setting = f"An H100 in the US, {life:g} years, {interest:g}% interest, rent ${rent:.2f}"
    costs = f"An owned hour costs ${fixed:.2f} unused, and ${per_use:.2f} more in use"
    return Words(
        f"{setting}. The cost of a used hour of a bought chip falls with its use. A rent for used hours stays what it "
        f"is; a rent for all hours falls too. {costs}. Against a rent for used hours {cheaper}; against one for all "
        f"hours {always}.",
        f"{setting}. An owned hour costs {value(fixed, f'${fixed:.2f}')} unused and "
        f"{value(per_use, f'${per_use:.2f}')} more in use. Against a rent for used hours {noted}; "
        f"against one for all hours {always}.",
    )


# --- what moves it -----------------------------------------------------------------------------------------------

_WORDS = {
    "utilisation": "use",
    "life": "life",
    "residual": "resale value",
    "maintenance": "maintenance",
    "pue": "PUE",
    "colocation": "room",
    "load": "power in use",
    "interest": "interest",
    "tariff": "electricity",
    "price": "price",
    "machine power": "rated power",
    "idle power": "idle power",
    "host": "rest of the server",
    "network": "network",
    "CNY to USD": "exchange rate",
}


def input_words(name: str) -> str:
    """Return what readers call an input: "interest, China" is interest, "910B2: idle_w" is idle power."""
    bare = name.rpartition(": ")[2].replace("idle_w", "idle power").replace("rated_w", "rated power")
    bare = bare.replace("load_w", "power in use").replace("room", "colocation")
    start = next((key for key in sorted(_WORDS, key=len, reverse=True) if bare.startswith(key)), bare)
    return _WORDS.get(start, bare)


_DRAWN = 9  # inputs, the widest first


@functools.lru_cache(maxsize=8)
def swings(key: str) -> tuple[Swing, ...]:
    """Return what each input of a machine does to its used hour, moved alone over its range, the widest first."""
    one = Assumption(1.0, "used chip-hours", "what is asked")
    return tornado(Contender(machine(key), one))


@drawn
def hour_tornado(machine_key: str = "910b") -> Words:
    """Draw how far a used hour's cost moves with each input alone, from its lowest to its highest figure.

    Args:
        machine_key: "h20", "910b", "910c" or "h100".

    Raises:
        ValueError: another machine.
    """
    own, found = machine(machine_key), swings(machine_key)[:_DRAWN]
    middle = float(own.used_hour())
    axes = new_figure(
        "Which figure moves the cost most?", "US dollars per used hour", "", wide=(7.2, 3.4), narrow=(3.6, 3.4)
    )
    colour_key([("at its lowest", COLOURS["energy"]), ("at its highest", COLOURS["maintenance"])])
    for place, swing in enumerate(found):
        for end, colour in ((swing.at_low, "energy"), (swing.at_high, "maintenance")):
            axes.barh(place, end - middle, left=middle, height=0.6, color=COLOURS[colour], linewidth=0)
    axes.axvline(middle, color=INK, linewidth=1)
    ends = [end for swing in found for end in (swing.at_low, swing.at_high)]
    axes.set(xlim=(0, 1.05 * max(ends)), ylim=(len(found) - 0.4, -0.6))
    axes.set_yticks(range(len(found)), [input_words(swing.name) for swing in found])
    axes.grid(axis="y", visible=False)
    listed = "; ".join(
        f"{input_words(s.name)} from {_figure(s.moved, 0)} to {_figure(s.moved, 2)}: "
        f"${s.at_low:.2f} to ${s.at_high:.2f}"
        for s in found
    )
    first, second = (found[0], found[1])
    return Words(
        f"A bar for each figure of {own.name}, the widest on top, around ${middle:.2f} for a used hour. {listed}.",
        f"{own.name}, {value(middle, f'${middle:.2f}')} for a used hour; by "
        + "; ".join(
            f"{input_words(s.name)} from {_figure(s.moved, 0)} to {_figure(s.moved, 2)}: "
            f"{value(s.at_low, f'${s.at_low:.2f}')} to {value(s.at_high, f'${s.at_high:.2f}')}"
            for s in (first, second)
        )
        + ".",
    )


def _figure(found: Assumption, bound: int) -> str:
    """A bound of an input as people read it."""
    number = found.bounds[bound]
    if found.unit.startswith("share"):
        return f"{number:.0%}" if number >= 0.1 or number == 0 else f"{number:.1%}"
    unit = "" if found.unit in ("ratio", "") else f" {found.unit}"
    return f"{number:,.0f}{unit}" if number >= 100 else f"{number:.3g}{unit}"


__all__ = [
    "CHIPS_DAY",
    "MACHINES",
    "PRICES",
    "bought_or_rented",
    "hour_tornado",
    "input_words",
    "machine",
    "owned_hour_parts",
    "price_910b",
    "swings",
    "used_share",
]  # fmt: skip
