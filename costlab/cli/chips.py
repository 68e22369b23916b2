"""The verb chips."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from costlab import arch, catalog, roofline
from costlab.chips import (
    CHARGINGS,
    Assumption,
    Contender,
    Ownership,
    Ranking,
    Swing,
    break_even_price,
    buy_or_rent,
    port_budget,
    rank,
    tornado,
    unit_costs,
)
from costlab.chips.owning import HOURS_PER_YEAR, PARTS
from costlab.cli.arguments import add_verb, count_arg, model_arg, moment_arg, several, size_arg
from costlab.cli.candidates import (
    ASSUMED_USE,
    OPTIONS,
    ChipOption,
    candidates,
    day_arg,
    figure_row,
    may_buy,
)
from costlab.cli.compared import ComparedChip, answer_notes, assumption_lines, known_places, shown_columns, swing_lines
from costlab.cli.figures import amount_arg, figure_arg, loads_arg, measure_arg, watts_arg
from costlab.cli.output import Answer, Row, sources, view
from costlab.cli.served import TokenYield, token_yield

#: What chips may be ranked by, and the unit of it that a chip yields.
WORK = {"chip-hour": "chip-hours", "pflop-hour": "PFLOP-hours", "tb-s-hour": "TB/s-hours", "gb-hour": "GB-hours"}
#: Of all ranges: the memory that they take grows with them.
MOST_DRAWS = 1_000_000


def _chips(args: argparse.Namespace) -> Answer:
    if args.model is not None:
        args.by = "tokens"
    found = _all_compared(candidates(args), args)
    contenders = [each.contender for each in found if each.contender]
    ranking = rank(contenders, np.random.default_rng(args.seed), args.draws) if len(contenders) > 1 else None
    swings = _swings(found, args)
    rows = sorted((_row(each, found, ranking, swings, args) for each in found), key=_cost)
    table = view(rows, *shown_columns(args))
    lines = [*swing_lines(swings), *assumption_lines(found)]
    notes = answer_notes(found, args)
    _fill_inputs(args, found)
    used = sources(
        *(("chip", each.candidate.chip, each.candidate.record) for each in found),
        *([("model", args.model, arch.load(args.model).record)] if args.model else []),
    )
    return Answer(rows, table, lines, notes, used, status=0 if contenders else 1)


def _cost(row: Row) -> float:
    """By which the table is sorted: what cannot serve stands last."""
    return float("inf") if row["cost_amount"] is None else float(row["cost_amount"])


def _fill_inputs(args: argparse.Namespace, found: Sequence[ComparedChip]) -> None:
    """Fill in the chips that were compared, and put amounts back as they were typed."""
    args.chip = list(dict.fromkeys(each.candidate.chip for each in found))
    for name in ("price", "rent", "watts"):
        setattr(args, name, list(map(str, getattr(args, name))))
    args.replaces = args.replaces and "=".join(map(str, args.replaces))


def _all_compared(found: Sequence[ChipOption], args: argparse.Namespace) -> list[ComparedChip]:
    """Return what each candidate yields: of tokens on one basis for all, unless another one is asked for."""
    if args.model is None:
        return [ComparedChip(each, Contender(each.priced, _peak(each, args)), None) for each in found]
    how = [token_yield(each, args, "roofline" if args.basis == "roofline" else "published") for each in found]
    without = [each.name for each, one in zip(found, how, strict=True) if one.row["basis"] == "roofline"]
    if args.basis == "equal" and without:
        says = f"tokens by the roofline, as for all: no published run of this family on {', '.join(without)}"
        how = [token_yield(each, args, "roofline") for each in found]
        how = [replace(one, says=says) if one.output else one for one in how]
    return [
        ComparedChip(each, Contender(each.priced, one.output) if one.output else None, one)
        for each, one in zip(found, how, strict=True)
    ]


def _peak(candidate: ChipOption, args: argparse.Namespace) -> Assumption:
    """Return what a chip-hour yields of the work that chips are ranked by, at the data sheet's peak."""
    chip = candidate.record
    amounts = {
        "chip-hour": 1.0,
        "pflop-hour": roofline.rate(chip, args.precision) / 1e15,
        "tb-s-hour": chip.memory_bandwidth_bytes_s / 1e12,
        "gb-hour": chip.memory_bytes / 1e9,
    }
    return Assumption(amounts[args.by], f"{WORK[args.by]} a chip-hour", chip.source, chip.date)


# --- rows --------------------------------------------------------------------------------------------------------


def _row(
    each: ComparedChip,
    compared: Sequence[ComparedChip],
    ranking: Ranking | None,
    swings: Mapping[str, Sequence[Swing]],
    args: argparse.Namespace,
) -> dict[str, Any]:
    candidate, name = each.candidate, each.candidate.name
    used = float(candidate.priced.used_hour())
    per = unit_costs(used, candidate.record)
    band = ranking.bands[name] if ranking and name in ranking.bands else None
    return {
        "chip": candidate.chip,
        "way": "bought" if isinstance(candidate.priced, Ownership) else "rented",
        "currency": args.currency,
        "work": args.by,
        "cost_amount": float(each.contender.cost()) if each.contender else None,
        "low_cost_amount": band[0] if band else None,
        "high_cost_amount": band[2] if band else None,
        "win_share": ranking.wins.get(name) if ranking else None,
        **_hours(candidate),
        "used_hour_amount": used,
        "pflop_hour_amount": used / (roofline.rate(candidate.record, args.precision) / 1e15),
        "tb_s_hour_amount": per.tb_s_hour,
        "gb_hour_amount": per.gb_hour,
        **_choices(each, compared, args),
        **(each.served.row if each.served else dict.fromkeys(TokenYield.KEYS)),
        "may_buy": may_buy(candidate.record, args),
        "assumptions": [figure_row(what, figure) for what, figure in each.inputs().items()],
        "swings": [_swing_row(swing) for swing in swings[name]] if name in swings else None,
    }


def _hours(candidate: ChipOption) -> dict[str, float | None]:
    """Return the price of a chip and the parts of an owned hour; of a rented chip none of them."""
    owned = candidate.priced
    if not isinstance(owned, Ownership):
        return dict.fromkeys(["price_amount", "owned_hour_amount", *(f"{part}_hour_amount" for part in PARTS)])
    hour = owned.hourly()
    parts = {f"{part}_hour_amount": amount for part, amount in hour.parts.items()}
    return {"price_amount": _per_chip(owned, owned.price.value), "owned_hour_amount": hour.owned, **parts}


def _per_chip(owned: Ownership, amount: float) -> float:
    """Return a purchase's amount, in the currency of its price, for one chip in that of the answer."""
    rates = {rate.currency: rate.value for rate in owned.rates}
    currency = owned.price.currency or owned.currency
    return amount * (1.0 if currency == owned.currency else rates[currency]) / owned.chips


def _choices(each: ComparedChip, compared: Sequence[ComparedChip], args: argparse.Namespace) -> dict[str, float | None]:
    """Return the price for a tie, the use from which buying is cheaper, and the engineers that a port may cost."""
    owned, rented = each.candidate.priced, each.candidate.rented
    found: dict[str, float | None] = {"tie_price_amount": None, "rent_amount": None, "buy_above": None}
    rivals = (other.contender for other in compared if other is not each)
    others = [float(rival.cost()) for rival in rivals if rival]
    if isinstance(owned, Ownership) and each.contender and others:
        found["tie_price_amount"] = _per_chip(owned, break_even_price(each.contender, min(others)))
    if isinstance(owned, Ownership) and rented is not None:
        choice = buy_or_rent(owned, rented)
        found |= {"rent_amount": choice.rent, "buy_above": choice.buy_above if np.isfinite(choice.buy_above) else None}
    elif not isinstance(owned, Ownership):
        found["rent_amount"] = float(owned.used_hour())
    return found | {"engineer_months": _engineer_months(each, compared, args)}


def _engineer_months(each: ComparedChip, compared: Sequence[ComparedChip], args: argparse.Namespace) -> float | None:
    """Return what a port from the chips in use to this one may cost; 0 where it saves nothing, None if not asked."""
    owned, now = each.candidate.priced, args.replaces
    if now is None or each.contender is None or not isinstance(owned, Ownership):
        return None
    before = next(iter(_of_chip(compared, now[0])), None)
    if before is None:
        raise ValueError(f"--replaces {now[0]}={now[1]}: {now[0]} should be one of the chips that are compared")
    work = now[1] * HOURS_PER_YEAR * owned.utilisation.value * before.output.value
    saving = float(before.cost() - each.contender.cost()) * work
    salary = args.engineer_month
    if salary is None:
        raise ValueError("--replaces needs --engineer-month: what an engineer costs a month")
    return port_budget(max(saving, 0.0), owned.life.value, owned.interest.value, salary).engineer_months


# --- swings ------------------------------------------------------------------------------------------------------


def _swings(compared: Sequence[ComparedChip], args: argparse.Namespace) -> dict[str, Sequence[Swing]]:
    """Return what each input does to the cost of the chip that was asked for, by its name."""
    if args.tornado is None:
        return {}
    found = _of_chip(compared, args.tornado)
    if not found:
        names = ", ".join(dict.fromkeys(each.candidate.chip for each in compared))
        raise ValueError(f"--tornado {args.tornado!r} should be one of the chips that are compared: {names}")
    return {each.name: tornado(each) for each in found}


def _of_chip(compared: Sequence[ComparedChip], chip: str) -> list[Contender]:
    """Return a chip's contenders: as it is bought, as it is rented."""
    return [each.contender for each in compared if each.contender and each.candidate.chip == chip]


def _swing_row(swing: Swing) -> dict[str, Any]:
    low, _, high = swing.moved.bounds
    return {
        "what": swing.name,
        "low": low,
        "high": high,
        "at_low_amount": swing.at_low,
        "at_high_amount": swing.at_high,
    }


# --- options -----------------------------------------------------------------------------------------------------


def add_verbs(verbs: Any) -> None:
    """Add chips."""
    example = "chips h20 ascend-910b ascend-910c --currency CNY --by tb-s-hour"
    verb = add_verb(verbs, "chips", _chips, "what an hour of a chip costs, and which chip is the cheapest", example)
    names = f"{', '.join(catalog.tables().chips)} (default: those with a price that a buyer of the place may order)"
    verb.add_argument("chip", nargs="*", type=str.lower, metavar="CHIP", help=names)
    _add_where(verb)
    _add_amounts(verb)
    _add_work(verb)
    _add_answers(verb)


def _add_where(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--place", type=_place, default="China", help="country of the owner: tariff, interest, room (default China)"
    )
    day = f"of the purchase and of exchange rates (default {catalog.LESSON_DAY})"
    verb.add_argument("--day", type=day_arg(moment_arg), metavar="DATE", help=day)
    verb.add_argument(
        "--currency", default="USD", type=str.upper, help=f"{', '.join(catalog.currencies())} (default USD)"
    )
    verb.add_argument(
        "--ways", type=several(_way), default=["buy"], metavar="WAY,...",
        help="buy, rent, or both with a comma between them (default buy)",
    )  # fmt: skip


def _way(text: str) -> str:
    if text.lower() not in ("buy", "rent"):
        raise argparse.ArgumentTypeError(f"{text!r} should be buy or rent")
    return text.lower()


def _add_amounts(verb: argparse.ArgumentParser) -> None:
    amount = "a number or LOW:VALUE:HIGH, its currency and the chips that it pays behind it: h20=1.2e6CNY/8"
    verb.add_argument(
        "--price", type=amount_arg, action="append", default=[], metavar="CHIP=AMOUNT",
        help=f"of a server in place of the catalog's offers: {amount}; may be repeated",
    )  # fmt: skip
    verb.add_argument(
        "--rent", type=amount_arg, action="append", default=[], metavar="CHIP=AMOUNT",
        help="of a chip-hour in place of the catalog's offers; may be repeated",
    )  # fmt: skip
    verb.add_argument(
        "--watts", type=watts_arg, action="append", default=[], metavar="CHIP=RATED:LOAD:IDLE",
        help="that the machine draws in place of the catalog's figures: rated, at work, without work; may be repeated",
    )  # fmt: skip
    verb.add_argument("--always", action="store_true", help="a rent is paid for all hours, not for used ones alone")
    verb.add_argument(
        "--utilisation", type=loads_arg, metavar="SHARE",
        help=f"used hours by owned ones, or the loads of a day's hours with commas (default {ASSUMED_USE:g}, assumed)",
    )  # fmt: skip
    for name, (unit, says) in OPTIONS.items():
        verb.add_argument(
            f"--{name}", type=figure_arg, metavar="FIGURE",
            help=f"{unit.format('amount')}: {says}; a number or LOW:VALUE:HIGH (default: the catalog's)",
        )  # fmt: skip
    verb.add_argument("--keep-vat", action="store_true", help="the buyer does not get the tax back")
    charged = f"how interest is charged: {', '.join(CHARGINGS)} (default annuity)"
    verb.add_argument("--method", choices=CHARGINGS, default="annuity", metavar="NAME", help=charged)


def _add_work(verb: argparse.ArgumentParser) -> None:
    compared = f"by the data sheet's peak: {', '.join(WORK)} (default pflop-hour; with --model, tokens)"
    verb.add_argument("--by", choices=tuple(WORK), default="pflop-hour", metavar="WORK", help=compared)
    verb.add_argument("--precision", default="bf16", help="of a PFLOP (default bf16)")
    verb.add_argument("--model", type=model_arg, metavar="NAME", help="compare what its tokens cost at equal speed")
    verb.add_argument("--context", type=count_arg, default=8192, help="tokens of a sequence or a prompt (default 8K)")
    verb.add_argument(
        "--phase", choices=("prefill", "decode"), default="decode", help="prefill or decode (default decode)"
    )
    verb.add_argument(
        "--speed", type=measure_arg, default=20.0, dest="user_tokens_per_second", metavar="TOKENS/S",
        help="that each user gets at least, of decode (default 20)",
    )  # fmt: skip
    verb.add_argument(
        "--ttft", type=measure_arg, default=5.0, dest="ttft_s", metavar="SECONDS",
        help="to the first token at most, of prefill (default 5)",
    )  # fmt: skip
    bases = "published: what published runs reach, a chip without one unpriced; equal: so if each has one, else the "
    bases += "roofline for all (default)"
    verb.add_argument("--basis", choices=("equal", "published", "roofline"), default="equal", help=bases)


def _add_answers(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--draws", type=_draws, default=10_000, metavar="N", help="from all ranges (default 10,000)")
    verb.add_argument("--seed", type=size_arg, default=0, help="of the draws (default 0)")
    verb.add_argument("--tornado", type=str.lower, metavar="CHIP", help="say what each input does to its cost")
    verb.add_argument(
        "--replaces", type=_fleet, metavar="CHIP=COUNT",
        help="chips in use now: adds the engineer-months that moving their work may cost",
    )  # fmt: skip
    verb.add_argument(
        "--engineer-month", type=measure_arg, metavar="AMOUNT", help="what an engineer costs a month, in --currency"
    )


def _draws(text: str) -> int:
    """Read how many draws: more would need more memory than there is, and say nothing new."""
    number = count_arg(text)
    if number > MOST_DRAWS:
        raise argparse.ArgumentTypeError(f"{text!r} should be at most {MOST_DRAWS:,}")
    return number


def _place(text: str) -> str:
    """Read a place; one that the catalog has is written as there."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} should be a country such as China")
    return next((each for each in known_places() if each.lower() == text.strip().lower()), text.strip())


def _fleet(text: str) -> tuple[str, int]:
    """Read a chip and how many there are."""
    chip, _, count = text.partition("=")
    if not chip or not count:
        raise argparse.ArgumentTypeError(f"{text!r} should look like h20=800")
    return chip.lower(), count_arg(count)
