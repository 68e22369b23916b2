"""The chips that `chips` compares: bought or rented, with the catalog's figures or one's own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from costlab import catalog
from costlab.catalog import ChipRecord
from costlab.chips import Assumption, Ownership, Rental, load_curve, ownership, rental
from costlab.chips.renting import Paid
from costlab.cli.figures import Amount, given

#: Used hours by owned hours where nobody says it; the same for all, so it moves costs and hardly the order.
ASSUMED_USE = 0.7

#: Options that take the place of the catalog's figures: name, unit ("{}" is the currency), what is said of them.
OPTIONS: Mapping[str, tuple[str, str]] = {
    "life": ("years", "until the purchase is written off"),
    "residual": ("share", "of what was paid that is left then"),
    "interest": ("per year", "share of the tied-up capital"),
    "tariff": ("{} per kWh", "of electricity, in --currency"),
    "pue": ("ratio", "energy of the whole room by that of its machines, at least 1"),
    "maintenance": ("per year", "share of the server's price"),
    "room": ("{} per kW-month", "space and cooling plant by rated power, in --currency"),
    "network": ("share", "switches and cables, by the server's price"),
    "vat": ("share", "of the tax that the price contains, such as 0.13"),
}


#: Which offers of the catalog price a chip that is had in one way.
KINDS_OF_WAY: Mapping[str, tuple[str, ...]] = {"buy": ("price", "tender"), "rent": ("rent",)}


@dataclass(frozen=True)
class ChipOption:
    """A chip, bought or rented, and its rent beside a purchase where one is known."""

    chip: str  # key in the catalog
    record: ChipRecord  # its data sheet
    priced: Ownership | Rental  # what an hour of it costs
    rented: Rental | None  # the rent to hold a purchase against; None where no rent is known

    @property
    def name(self) -> str:
        """Unlike all others'."""
        return self.priced.name


def candidates(args: argparse.Namespace) -> list[ChipOption]:
    """Return the chips that the options name, or those with a price, in the catalog's order.

    Raises:
        ValueError: an unknown chip, an input that neither the catalog nor an option gives, mixed currencies.
    """
    _check_amounts(args)
    ways = list(dict.fromkeys(args.ways))
    chosen = list(dict.fromkeys(args.chip)) or _known(args)
    if not chosen:
        raise ValueError(
            f"no chip that a buyer in {args.place} may order is catalogued for {' or '.join(ways)}: name chips, or "
            "give --price or --rent"
        )
    found = [_candidate(chip, way, args, len(ways) > 1) for chip in chosen for way in ways]
    return [each for each in found if each is not None]


def ways_left_out(args: argparse.Namespace, found: Iterable[ChipOption]) -> list[str]:
    """Return a sentence for each chip that was asked for in two ways and that the catalog knows in one."""
    return [
        f"{chip}: {_no_amount(chip, way)}"
        for chip in dict.fromkeys(each.chip for each in found)
        for way in dict.fromkeys(args.ways)
        if not _is_known(catalog.chip(chip), way, args, chip)
    ]


def _known(args: argparse.Namespace) -> list[str]:
    """Return the chips that have a price, of the catalog's or an option's, and are not known to be closed to buyers."""
    typed = {each.chip for each in [*args.price, *args.rent]}
    chips = catalog.tables().chips.items()
    return [
        key for key, chip in chips if key in typed or (_offers(chip, args.ways) and may_buy(chip, args) is not False)
    ]


def may_buy(chip: ChipRecord, args: argparse.Namespace) -> bool | None:
    """Return whether a buyer of the place may order a chip on the day; None where the catalog does not say."""
    supply = chip.buyable(args.place, args.day)
    return None if supply is None else supply.buyable


def _offers(chip: ChipRecord, ways: Iterable[str]) -> bool:
    """Whether somebody sold or rented a chip in one of these ways."""
    kinds = {kind for way in ways for kind in KINDS_OF_WAY[way]}
    return any(offer.kind in kinds and offer.per_chip is not None for offer in chip.offers)


def _candidate(chip: str, way: str, args: argparse.Namespace, both: bool) -> ChipOption | None:
    """Return a chip that is had in one way; None of two ways where the catalog does not know this one."""
    record, key = catalog.chip(chip), chip.lower()
    name = f"{key} {'bought' if way == 'buy' else 'rented'}" if both else key
    if not _is_known(record, way, args, key):
        other = "rent" if way == "buy" else "buy"
        if both and _is_known(record, other, args, key):
            return None
        raise ValueError(_no_amount(key, way))
    if way == "rent":
        return ChipOption(key, record, _rented(key, args, name), None)
    return ChipOption(key, record, _bought(key, args, name), _known_rent(key, record, args))


def _is_known(record: ChipRecord, way: str, args: argparse.Namespace, key: str) -> bool:
    """Whether a price, or a rent, was typed or is in the catalog."""
    return key in _given(args, way) or any(offer.kind in KINDS_OF_WAY[way] for offer in record.offers)


def _no_amount(key: str, way: str) -> str:
    what = {"buy": "price", "rent": "rent"}[way]
    return f"no {what} of {catalog.chip(key).name} is catalogued: --{what} {key}=AMOUNT takes one"


def _given(args: argparse.Namespace, way: str) -> Mapping[str, Amount]:
    """Return the amounts that were typed for a way, by chip."""
    return {each.chip: each for each in (args.price if way == "buy" else args.rent)}


def _bought(key: str, args: argparse.Namespace, name: str) -> Ownership:
    if key not in _given(args, "buy") and not _offers(catalog.chip(key), ["buy"]):
        raise ValueError(
            f"the catalog has no price of {catalog.chip(key).name}: give --price {key}=AMOUNT, of a server"
        )
    instead: dict[str, Any] = {
        option: given(getattr(args, option), unit.format(args.currency), args.currency if "{}" in unit else "", option)
        for option, (unit, _) in OPTIONS.items()
        if getattr(args, option) is not None
    }
    if key in (own := _given(args, "buy")):
        chips = own[key].chips or catalog.chip(key).chips_per_node
        instead |= {"price": own[key].assumption(args.currency, f"for {chips} chips"), "chips": chips}
        instead.setdefault("host", given(0.0, "share"))
        instead.setdefault("vat", Assumption(0.0, "share", "none is named with the price: --vat has the rate"))
    instead |= _watts(key, args)
    return ownership(
        key,
        args.place,
        args.day,
        args.currency,
        name=name,
        utilisation=_used(args),
        method=args.method,
        vat_recoverable=not args.keep_vat,
        **instead,
    )


def _watts(key: str, args: argparse.Namespace) -> dict[str, Assumption]:
    """Return the watts that were typed for a chip's machine; none where the catalog's stand.

    Raises:
        ValueError: neither does.
    """
    typed = {each.chip: each for each in args.watts}
    record = catalog.chip(key)
    if key not in typed and not (record.power_w or record.node_power_w):
        raise ValueError(f"no power of {record.name} is catalogued: --watts {key}=RATED:LOAD:IDLE takes its machine's")
    return {name: given(each, "W") for name, each in typed[key].figures.items()} if key in typed else {}


def _used(args: argparse.Namespace) -> Any:
    """Return the utilisation: as typed, else one that is marked as assumed."""
    if args.utilisation is None:
        return Assumption(ASSUMED_USE, "share of hours", "assumed: --utilisation has one's own", key="utilisation")
    return args.utilisation


def _rented(key: str, args: argparse.Namespace, name: str) -> Rental:
    own = _given(args, "rent").get(key)
    rent = own.assumption(args.currency, "per chip-hour") if own else None
    paid: Paid = "always" if args.always else "used"
    mean = _used(args) if args.utilisation is None else load_curve(args.utilisation)
    return rental(key, args.place, args.day, args.currency, utilisation=mean, paid=paid, name=name, rent=rent)


def _known_rent(key: str, record: ChipRecord, args: argparse.Namespace) -> Rental | None:
    known = _offers(record, ["rent"]) or key in _given(args, "rent")
    return _rented(key, args, f"{key} rented") if known else None


def _check_amounts(args: argparse.Namespace) -> None:
    """Fill in the day, and refuse amounts in other currencies where no day was given for the exchange rate."""
    mixed = [each for each in [*args.price, *args.rent] if each.currency not in (None, args.currency)]
    if args.day is None:
        if mixed:
            raise ValueError(
                f"{mixed[0]} is in {mixed[0].currency}, the answer in {args.currency}: currencies are mixed without a "
                "day; give --day, whose exchange rate is taken"
            )
        args.day = catalog.LESSON_DAY
    for each in [*args.price, *args.rent, *args.watts]:
        catalog.chip(each.chip)


# --- what it rests on --------------------------------------------------------------------------------------------


def assumed(found: Iterable[tuple[str, Mapping[str, Assumption]]]) -> list[dict[str, Any]]:
    """Return every figure once, with the candidates that it holds for, in the order of the inputs.

    Args:
        found: name of each candidate, and its figures by name.
    """
    holders: dict[tuple[str, Assumption], list[str]] = {}
    every = list(found)
    for name, figures in every:
        for what, figure in figures.items():
            holders.setdefault((what, figure), []).append(name)
    order = list(dict.fromkeys(what for _, figures in every for what in figures))
    shared = sorted(holders.items(), key=lambda each: order.index(each[0][0]))
    return [{"what": what, "figure": figure, "names": names} for (what, figure), names in shared]


def figure_row(what: str, figure: Assumption) -> dict[str, Any]:
    """Return a figure as programs read it."""
    low, value, high = figure.bounds
    return {
        "what": what,
        "value": value,
        "low": low,
        "high": high,
        "unit": figure.unit or None,
        "date": figure.date.isoformat() if figure.date else None,
        "source": figure.source,
    }


def day_arg(reader: Callable[[str], Any]) -> Callable[[str], date]:
    """Return what reads a day by a reader of moments."""
    return lambda text: reader(text).date()
