"""How people see what `chips` compared: the columns of its table, what it rests on, what to know of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from costlab import catalog, roofline
from costlab.chips import Assumption, Contender, Ownership, Swing
from costlab.cli.candidates import ChipOption, assumed, ways_left_out
from costlab.cli.output import Column
from costlab.cli.served import TokenYield
from costlab.text import columns, digits_text

OF_TOKENS = "million tokens"


@dataclass(frozen=True)
class ComparedChip:
    """A candidate with what it yields."""

    candidate: ChipOption  # the chip and its price
    contender: Contender | None  # with its yield; None where it cannot serve the model
    served: TokenYield | None  # how it serves the model; None where no model is asked for

    def inputs(self) -> Mapping[str, Assumption]:
        """Return what its cost rests on, by name."""
        return self.contender.inputs() if self.contender else self.candidate.priced.inputs()


def swing_lines(swings: Mapping[str, Sequence[Swing]]) -> list[str]:
    """Say what each input does to a cost when it alone is moved."""
    lines = []
    for name, found in swings.items():
        rows = [
            [swing.name, *(digits_text(each) for each in (swing.moved.bounds[0], swing.moved.bounds[2])),
             *(digits_text(each) for each in (swing.at_low, swing.at_high))]
            for swing in found
        ]  # fmt: skip
        heads = [f"moved alone, of {name}", "low", "high", "cost at low", "cost at high"]
        lines += [*columns([heads, *rows], {1, 2, 3, 4}).splitlines()]
    return lines


#: Costs of an hour that a table shows, by what chips are ranked by: that one stands in the column cost.
HOUR_COLUMNS = {"chip-hour": "used_hour", "pflop-hour": "pflop_hour", "tb-s-hour": "tb_s_hour", "gb-hour": "gb_hour"}


def shown_columns(args: argparse.Namespace) -> list[Column]:
    """Return the columns of the table; what an hour holds beside tokens stands in the JSON."""
    hours = ["used_hour"] if args.model else [name for by, name in HOUR_COLUMNS.items() if by != args.by]
    return [
        Column("chip", "chip"),
        Column("way", "way"),
        Column("cost", "cost_amount"),
        Column("low", "low_cost_amount"),
        Column("high", "high_cost_amount"),
        Column("win_share", "win_share"),
        *(Column(name, f"{name}_amount") for name in hours),
        *(Column(name, name) for name in ("chips", "batch")),
        Column("tokens_s", "user_tokens_per_second"),
        Column("efficiency", "efficiency"),
        Column("price", "price_amount"),
        Column("tie_price", "tie_price_amount"),
        Column("rent", "rent_amount"),
        Column("buy_above", "buy_above"),
        Column("engineer_months", "engineer_months"),
    ]


#: Letters of a source that are shown; all of it stands in the JSON.
SOURCE_LETTERS = 40


def assumption_lines(found: Sequence[ComparedChip]) -> list[str]:
    """Say what every cost rests on, each figure once."""
    every = len(found)
    rows = []
    for each in assumed((one.candidate.name, one.inputs()) for one in found):
        figure: Assumption = each["figure"]
        low, _, high = figure.bounds
        spread = f"{digits_text(low)} to {digits_text(high)}" if figure.is_range else "-"
        names = "all" if len(each["names"]) == every > 1 else ", ".join(each["names"])
        source = figure.source if len(figure.source) <= SOURCE_LETTERS else f"{figure.source[: SOURCE_LETTERS - 1]}…"
        rows.append([each["what"], names, digits_text(figure.value), spread, figure.unit or "-",
                     figure.date.isoformat() if figure.date else "-", source])  # fmt: skip
    heads = ["assumed", "of", "value", "range", "unit", "day", "source"]
    return columns([heads, *rows], {2}).splitlines()


def answer_notes(found: Sequence[ComparedChip], args: argparse.Namespace) -> list[str]:
    """Return what a reader should know: what the columns mean, what was left out, what each chip's price says."""
    meant = [_cost_note(found, args), "; ".join(_column_notes(found, args)), *_units(found, args)]
    if args.place not in known_places():
        known = " and ".join(known_places())
        meant.append(f"no figure of {args.place} is catalogued: those of {known} and of no one place stand for it")
    said = {f"{each.candidate.name}: {note}" for each in found for note in each.candidate.priced.notes}
    unserved = [f"{each.candidate.name}: {each.served.says}" for each in found if each.served and each.served.says]
    return [*meant, *sorted(said), *unserved, *ways_left_out(args, (each.candidate for each in found))]


def _cost_note(found: Sequence[ComparedChip], args: argparse.Namespace) -> str:
    ranked = OF_TOKENS if args.model else f"a {args.by}"
    at = f" at {args.precision}, its data sheet's peak" if args.by == "pflop-hour" else ""
    drawn = (
        f"; low and high: 5% and 95% of {args.draws:,} draws from all ranges, win_share: how often it is the cheapest"
        if _several(found)
        else ""
    )
    return f"cost in {args.currency} of {ranked}{at}, in {args.place} on {args.day}{drawn}"


def known_places() -> list[str]:
    """Return the places that figures of cost are known of."""
    return sorted({each.place for each in catalog.tables().costs.values() if each.place})


def _several(found: Sequence[ComparedChip]) -> bool:
    """Whether there is something to rank."""
    return sum(each.contender is not None for each in found) > 1


def _column_notes(found: Sequence[ComparedChip], args: argparse.Namespace) -> Iterator[str]:
    """Say what the columns mean that the answer has."""
    bought = any(isinstance(each.candidate.priced, Ownership) for each in found)
    yield "used_hour: of the hours in use"
    if args.model:
        speed = "each user gets" if args.phase == "decode" else "a prompt is read at"
        yield f"chips, batch: that serve the model together; tokens_s: that {speed}; efficiency: share of the roofline"
    if bought:
        yield "price: of a chip as it is offered, alone or with its share of the machine"
    if bought and _several(found):
        yield "tie_price: that at which it would cost as much as the cheapest other (below 0: not even as a gift)"
    if bought and any(each.candidate.rented for each in found):
        yield "buy_above: use above which buying beats renting by the hour"


def _units(found: Sequence[ComparedChip], args: argparse.Namespace) -> list[str]:
    """Say which unit serves a precision where a chip has none of its own."""
    if args.model:
        return []
    units = {each.candidate.chip: roofline.unit_for(each.candidate.record, args.precision) for each in found}
    own = {args.precision, "tf32" if args.precision == "fp32" else ""}
    return [f"{chip}: has no {args.precision}: {unit} serves it" for chip, unit in units.items() if unit not in own]
