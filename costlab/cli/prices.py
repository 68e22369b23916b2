"""The verb bill."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from costlab import prices
from costlab.cli.arguments import add_verb, count_arg, size_arg
from costlab.cli.output import Answer, with_ratio


def _bill(args: argparse.Namespace) -> Answer:
    load = prices.Workload(args.input, args.output, args.hit_rate, args.calls, args.write)
    bills = [
        (name.lower(), prices.bill(name, load, args.date, currency=args.currency))
        for name in args.models or _compared(args.date)
    ]
    rows = with_ratio([_bill_row(name, due) for name, due in bills], "total")
    if args.json:
        rows = [{**row, **_bill_basis(due)} for row, (_, due) in zip(rows, bills, strict=True)]
    return Answer(rows, [f"prices at {prices.moment(args.date):%Y-%m-%d %H:%M} UTC", *_bill_notes(bills)])


def _compared(when: str) -> Sequence[str]:
    """Return the products that `bill` compares unless told which: those of the list that were sold then."""
    shown = ("deepseek-v4-pro", "mimo-v2.5-pro", "mimo-v2.6-pro", "qwen-plus", "gpt-5.5")
    sold = prices.products(when=when)
    return [name for name in shown if name in sold] or shown[:1]


def _bill_row(name: str, due: prices.Bill) -> dict[str, Any]:
    return {
        "product": name,
        "currency": due.currency,
        "hit": due.hit,
        "miss": due.miss,
        "write": due.write,
        "output": due.output,
        "total": due.total,
        "price_since": f"{due.row.valid_from:%Y-%m-%d}",
        "window": due.row.window or "all day",
    }


def _bill_basis(due: prices.Bill) -> dict[str, Any]:
    """Return what the amounts rest on: the row of the price list, its source, the exchange rate."""
    row = due.row
    return {
        "billed_as": row.product,
        "list_currency": row.currency,
        "tier": {"min_input_tokens": row.min_input_tokens, "max_input_tokens": row.max_input_tokens},
        "source": row.source,
        "source_date": row.date.isoformat(),
        "rate": due.rate,
        "rate_day": due.rate_day and due.rate_day.isoformat(),
        "notes": list(due.notes),
    }


def _bill_notes(bills: Sequence[tuple[str, prices.Bill]]) -> list[str]:
    """Return each note once, behind the products that it is about."""
    about: dict[str, list[str]] = {}
    for name, due in bills:
        for note in due.notes:
            about.setdefault(note, []).append(name)
    return [f"{', '.join(names)}: {note}" for note, names in about.items()]


def add_verbs(verbs: Any) -> None:
    """Add bill."""
    bill = add_verb(verbs, "bill", _bill, "what a workload costs at list prices")
    bill.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(prices.products()))
    bill.add_argument("--input", type=size_arg, required=True, help="input tokens of one call")
    bill.add_argument("--output", type=size_arg, required=True, help="output tokens of one call")
    bill.add_argument("--hit-rate", type=float, required=True, help="share of input tokens that hit the cache, 0 to 1")
    bill.add_argument("--write", type=size_arg, default=0, help="input tokens written to a billed cache")
    bill.add_argument("--calls", type=count_arg, default=1)
    bill.add_argument("--date", default=prices.LESSON_DAY.isoformat(), help="e.g. 2026-09-01 or 2026-09-01T02:00 (UTC)")
    bill.add_argument(
        "--currency", default="USD", type=str.upper, help=f"{', '.join(prices.currencies())} (default USD)"
    )
