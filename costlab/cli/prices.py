"""The verb bill."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from costlab import prices
from costlab.cli.arguments import add_verb, count_arg, moment_arg, size_arg
from costlab.cli.output import Answer, Column, sources, view, with_ratio

Bills = Sequence[tuple[str, prices.Bill]]


def _bill(args: argparse.Namespace) -> Answer:
    args.product = [name.lower() for name in args.product or _compared(args.moment)]
    load = prices.Workload(
        args.input_tokens_per_call,
        args.output_tokens_per_call,
        args.hit_rate,
        args.calls,
        args.write_tokens_per_call,
    )
    bills = [(name, prices.bill(name, load, args.moment, currency=args.currency)) for name in args.product]
    rows = with_ratio([_bill_row(name, due) for name, due in bills], "total_amount")
    table = view(
        rows,
        Column("product", "product"),
        Column("currency", "currency"),
        *(Column(part, f"{part}_amount") for part in ("hit", "miss", "write", "output", "total")),
        Column("price_since", "price_since"),
        Column("window", lambda row: row["price_window"] or "all day"),
        Column("of_first", "of_first"),
    )
    at = f"prices at {args.moment:%Y-%m-%d %H:%M} UTC"
    return Answer(rows, table, [_load_line(load)], [at, *_bill_notes(bills)], sources(*_used(bills)))


def _compared(when: datetime) -> Sequence[str]:
    """Return the products that `bill` compares unless told which: those of the list that were sold then."""
    shown = ("deepseek-v4-pro", "mimo-v2.5-pro", "mimo-v2.6-pro", "qwen-plus", "gpt-5.5")
    sold = prices.products(when=when)
    return [name for name in shown if name in sold] or shown[:1]


def _bill_row(name: str, due: prices.Bill) -> dict[str, Any]:
    """Return the amounts, and what they rest on: the row of the price list and the exchange rate."""
    row = due.row
    return {
        "product": name,
        "currency": due.currency,
        "hit_amount": due.hit,
        "miss_amount": due.miss,
        "write_amount": due.write,
        "output_amount": due.output,
        "total_amount": due.total,
        "price_since": f"{row.valid_from:%Y-%m-%d}",
        "price_window": row.window,
        "billed_as": row.product,
        "list_currency": row.currency,
        "min_input_tokens": row.min_input_tokens,
        "max_input_tokens": row.max_input_tokens,
        "exchange_rate": due.rate,
        "exchange_date": due.rate_day and due.rate_day.isoformat(),
        "notes": list(due.notes),
    }


def _load_line(load: prices.Workload) -> str:
    calls = f"{load.calls:,} call{'s' * (load.calls > 1)}"
    written = f", {load.write_tokens:,} written to the cache" if load.write_tokens else ""
    return f"{calls} of {load.input_tokens:,} input tokens{written} and {load.output_tokens:,} output tokens"


def _bill_notes(bills: Bills) -> list[str]:
    """Return each note once, behind the products that it is about."""
    about: dict[str, list[str]] = {}
    for name, due in bills:
        for note in due.notes:
            about.setdefault(note, []).append(name)
    return [f"{', '.join(names)}: {note}" for note, names in about.items()]


def _used(bills: Bills) -> list[tuple[str, str, Any]]:
    rows = [("price", due.row.product, due.row) for _, due in bills]
    return rows + [("exchange rate", f"{rate.base}/{rate.quote}", rate) for _, due in bills for rate in due.rates]


def add_verbs(verbs: Any) -> None:
    """Add bill."""
    example = "bill --input 32K --output 8K --hit-rate 0.5 --calls 10 deepseek-v4-pro gpt-5.5"
    bill = add_verb(verbs, "bill", _bill, "what a workload costs at list prices", example)
    names = f"{', '.join(prices.products())} (default: a few that were sold on that day)"
    bill.add_argument("product", nargs="*", metavar="PRODUCT", help=names)
    for name, text in (("input", "input tokens of one call"), ("output", "output tokens of one call")):
        bill.add_argument(
            f"--{name}", type=size_arg, required=True, dest=f"{name}_tokens_per_call", metavar="TOKENS", help=text
        )
    hits = "share of input tokens that hit the cache, 0 to 1"
    bill.add_argument("--hit-rate", type=float, required=True, metavar="SHARE", help=hits)
    written = "input tokens written to a billed cache (default 0)"
    bill.add_argument("--write", type=size_arg, default=0, dest="write_tokens_per_call", metavar="TOKENS", help=written)
    bill.add_argument("--calls", type=count_arg, default=1, help="how often the call is made (default 1)")
    day = f"e.g. 2026-09-01 (its noon) or 2026-09-01T02:00, in UTC (default {prices.LESSON_DAY})"
    bill.add_argument(
        "--date", type=moment_arg, dest="moment", metavar="DATE", default=prices.LESSON_DAY.isoformat(), help=day
    )
    bill.add_argument(
        "--currency", default="USD", type=str.upper, help=f"{', '.join(prices.currencies())} (default USD)"
    )
